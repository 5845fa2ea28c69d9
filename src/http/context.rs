//! What is known of a request before it is read: its id, its trace, and where it comes from.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The other end of the connection; the server puts it into the request's extensions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer(pub SocketAddr);

/// In the extensions of an answer without an end: its connection is cut when the reader takes nothing for so long.
#[derive(Clone, Copy, Debug)]
pub struct Patience(pub Duration);

/// In the extensions of every request that passes the front.
#[derive(Clone, Debug)]
pub struct RequestContext {
    /// The caller's `x-request-id` if sane, else ours.
    pub request_id: Arc<str>,
    /// The caller's `traceparent`, when it is a legal one.
    pub traceparent: Option<Arc<str>>,
    /// Whose request it is, as far as proxies are trusted.
    pub client: Option<IpAddr>,
    fresh: u128,
}

impl RequestContext {
    /// `fresh`: 128 random bits, for what the caller does not name.
    pub fn read(headers: &HeaderMap, peer: Option<Peer>, trusted: &[(IpAddr, u8)], fresh: u128) -> Self {
        let request_id = match headers.get(X_REQUEST_ID).and_then(sane_id) {
            Some(text) => Arc::from(text),
            None => Arc::from(format!("{fresh:032x}")),
        };
        let traceparent = headers.get(TRACEPARENT).and_then(|value| value.to_str().ok());
        Self {
            request_id,
            traceparent: traceparent.filter(|text| is_traceparent(text)).map(Arc::from),
            client: peer.map(|peer| client(peer.0.ip(), headers, trusted)),
            fresh,
        }
    }

    /// Whose request it is, when it came through the front and over a connection.
    pub(super) fn client_of(extensions: &Extensions) -> Option<IpAddr> {
        extensions.get::<Self>()?.client
    }

    /// The caller's trace, or a new one: 32 hex digits.
    pub fn trace_id(&self) -> String {
        match self.traceparent.as_deref().and_then(|text| text.get(3..35)) {
            Some(id) => id.to_owned(),
            None => format!("{:032x}", self.fresh),
        }
    }

    pub(super) fn request_id_header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.request_id).ok()
    }
}

fn sane_id(value: &HeaderValue) -> Option<&str> {
    let text = value.to_str().ok()?;
    let legal = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    ((1..=64).contains(&text.len()) && text.bytes().all(legal)).then_some(text)
}

/// W3C Trace Context, version 00: `00-<32 hex>-<16 hex>-<2 hex>`, lower case, neither id all zero. Later versions may be longer.
fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut next = |len: usize| {
        let part = parts.next().unwrap_or_default();
        let hex = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        (part.len() == len && part.bytes().all(hex)).then_some(part)
    };
    let (Some(version), Some(trace), Some(span), Some(_flags)) = (next(2), next(32), next(16), next(2)) else {
        return false;
    };
    let longer = parts.next().is_some();
    let zero = |part: &str| part.bytes().all(|b| b == b'0');
    text.len() <= 128 && version != "ff" && !(version == "00" && longer) && !zero(trace) && !zero(span)
}

/// From the right of `X-Forwarded-For`, the first address that is not a trusted proxy; the peer itself when that is not
/// trusted, for then the header may say anything.
fn client(peer: IpAddr, headers: &HeaderMap, trusted: &[(IpAddr, u8)]) -> IpAddr {
    let is_trusted = |ip: IpAddr| trusted.iter().any(|(net, bits)| contains(*net, *bits, ip));
    let mut client = peer.to_canonical();
    if trusted.is_empty() || !is_trusted(client) {
        return client;
    }
    let values: Vec<&str> = headers.get_all(X_FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok()).collect();
    for hop in values.iter().rev().flat_map(|value| value.rsplit(',')) {
        let Ok(ip) = hop.trim().parse::<IpAddr>() else { break };
        client = ip.to_canonical();
        if !is_trusted(client) {
            break;
        }
    }
    client
}

fn contains(net: IpAddr, bits: u8, ip: IpAddr) -> bool {
    match (net.to_canonical(), ip) {
        (IpAddr::V4(net), IpAddr::V4(ip)) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            net.to_bits() & mask == ip.to_bits() & mask
        }
        (IpAddr::V6(net), IpAddr::V6(ip)) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            net.to_bits() & mask == ip.to_bits() & mask
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    fn read(headers: &[(&'static str, &str)], peer: &str, trusted: &[(IpAddr, u8)]) -> RequestContext {
        let headers = headers.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()));
        let peer = Peer(SocketAddr::new(peer.parse().unwrap(), 1));
        RequestContext::read(&headers.collect(), Some(peer), trusted, 0xabc)
    }

    #[test]
    fn a_sane_request_id_of_the_caller_is_kept() {
        assert_eq!(&*read(&[("x-request-id", "Order.7_a-b")], "10.0.0.1", &[]).request_id, "Order.7_a-b");
        for insane in ["", "a b", "用", &"x".repeat(65), "a\"b", "<script>"] {
            let context = read(&[("x-request-id", insane)], "10.0.0.1", &[]);
            assert_eq!(&*context.request_id, "00000000000000000000000000000abc", "{insane:?}");
        }
    }

    #[test]
    fn only_a_legal_traceparent_goes_on() {
        let context = read(&[("traceparent", TRACE)], "10.0.0.1", &[]);
        assert_eq!(context.traceparent.as_deref(), Some(TRACE));
        assert_eq!(context.trace_id(), "4bf92f3577b34da6a3ce929d0e0e4736");
        for broken in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
        ] {
            let context = read(&[("traceparent", broken)], "10.0.0.1", &[]);
            assert_eq!(context.traceparent, None, "{broken}");
            assert_eq!(context.trace_id().len(), 32);
        }
    }

    #[test]
    fn forwarded_addresses_are_believed_from_trusted_proxies_only() {
        let trusted = [("10.0.0.0".parse().unwrap(), 8), ("fd00::".parse().unwrap(), 8)];
        let forwarded =
            |chain: &str, peer: &str| read(&[("x-forwarded-for", chain)], peer, &trusted).client.unwrap().to_string();
        assert_eq!(forwarded("1.2.3.4", "203.0.113.9"), "203.0.113.9");
        assert_eq!(forwarded("1.2.3.4", "10.0.0.1"), "1.2.3.4");
        assert_eq!(forwarded("6.6.6.6, 1.2.3.4, 10.0.0.2", "10.0.0.1"), "1.2.3.4");
        assert_eq!(forwarded("6.6.6.6, nonsense, 10.0.0.2", "10.0.0.1"), "10.0.0.2");
        assert_eq!(forwarded("2001:db8::1", "fd00::7"), "2001:db8::1");
        assert_eq!(forwarded("1.2.3.4", "::ffff:10.0.0.1"), "1.2.3.4");
        assert_eq!(read(&[("x-forwarded-for", "1.2.3.4")], "10.0.0.1", &[]).client.unwrap().to_string(), "10.0.0.1");
    }
}
