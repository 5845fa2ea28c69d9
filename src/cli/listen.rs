//! Listening sockets, and what to say when one cannot be had.

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use anyhow::anyhow;
use tokio::net::{TcpListener, TcpSocket};

/// How many ports after the wanted one are tried.
const NEIGHBOURS: u16 = 50;

/// Connections that may wait to be accepted; the system may allow fewer (Linux: `net.core.somaxconn`). Whoever finds no place
/// tries again after a second: a crowd that comes at once, as after a restart, must find one.
const BACKLOG: u32 = 4096;

/// Listens on exactly this address. `setting`: what to change when that cannot be.
pub(super) fn bind(address: SocketAddr, setting: &str) -> anyhow::Result<TcpListener> {
    listen(address).map_err(|error| match error.kind() {
        ErrorKind::AddrInUse => {
            anyhow!("{address} is in use by another program; stop that one, or choose another address with {setting}")
        }
        ErrorKind::AddrNotAvailable => {
            anyhow!("{address} is not an address of this machine; choose another one with {setting}")
        }
        ErrorKind::PermissionDenied => {
            anyhow!("{address} is not allowed: ports below 1024 need a privilege; choose another one with {setting}")
        }
        _ => anyhow!("cannot listen on {address}: {error}"),
    })
}

/// Listens on this address, or on the next free port above it.
pub(super) fn bind_near(wanted: SocketAddr) -> anyhow::Result<TcpListener> {
    let mut address = wanted;
    for _ in 0..NEIGHBOURS {
        match listen(address) {
            Err(error) if error.kind() == ErrorKind::AddrInUse => match address.port().checked_add(1) {
                Some(port) => address.set_port(port),
                None => break,
            },
            other => return other.map_err(|error| anyhow!("cannot listen on {address}: {error}")),
        }
    }
    Err(anyhow!("no port from {} to {} is free", wanted.port(), address.port()))
}

fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    // As the library does it; elsewhere the option means that two may listen.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// The address to call for what listens there: "every address" becomes loopback.
pub(super) fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_taken_port_gives_the_next_one_or_an_explanation() {
        let first = bind_near(([127, 0, 0, 1], 18_400).into()).unwrap();
        let taken = first.local_addr().unwrap();
        let second = bind_near(taken).unwrap();
        assert!(second.local_addr().unwrap().port() > taken.port());
        let error = bind(taken, "server.listen").unwrap_err().to_string();
        assert!(error.contains("in use") && error.contains("server.listen"), "{error}");
    }

    #[test]
    fn every_address_is_called_by_loopback() {
        assert_eq!(reachable(([0, 0, 0, 0], 80).into()), ([127, 0, 0, 1], 80).into());
        assert_eq!(reachable("[::]:80".parse().unwrap()), "[::1]:80".parse().unwrap());
        assert_eq!(reachable(([10, 0, 0, 1], 80).into()), ([10, 0, 0, 1], 80).into());
    }
}
