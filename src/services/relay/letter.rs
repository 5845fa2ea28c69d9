//! A callback as it is handed on: the plain body, and the query that WeChat sends in plain mode.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use crate::domain::account::Account;
use crate::domain::clock::Timestamp;
use crate::domain::ids::CallbackId;
use crate::domain::relay::Target;
use crate::domain::secret::Openid;
use crate::wechat::event::Event;
use crate::wechat::inbound::{Inbound, Kind};
use crate::wechat::signature;

/// Customer-service messages are allowed so long after a message …
const AFTER_MESSAGE: Duration = Duration::from_secs(48 * 3600);
/// … and so long after one of some events (page "Customer service messages").
const AFTER_EVENT: Duration = Duration::from_secs(60);

pub struct Letter {
    pub id: CallbackId,
    pub account: Arc<Account>,
    pub dedupe_key: String,
    pub inbound: Inbound,
    /// As it was inside.
    pub body: Bytes,
    /// When WeChat's request came.
    pub arrived: Instant,
}

impl Letter {
    /// `signature`, `timestamp`, `nonce` and, of a person, `openid`.
    pub(super) fn query(&self, target: &Target, now: Timestamp) -> Vec<(&'static str, String)> {
        let timestamp = now.as_seconds().to_string();
        let nonce = rand::random_range(100_000_000..1_000_000_000u32).to_string();
        let own = || self.account.callback.as_ref().and_then(|keys| keys.tokens.first());
        let token = target.token.as_ref().or_else(own).map_or("", |token| token.expose());
        let signature = signature::sign(&[token, &timestamp, &nonce]);
        let mut query = vec![("signature", signature), ("timestamp", timestamp), ("nonce", nonce)];
        let openid = Openid::parse(&self.inbound.from_user_name);
        query.extend(openid.map(|openid| ("openid", openid.as_str().to_owned())));
        query
    }

    /// How long the person may be sent customer-service messages because of this; `None`: it allows none.
    pub(super) fn window(&self) -> Option<Duration> {
        match &self.inbound.kind {
            Kind::Message { .. } => Some(AFTER_MESSAGE),
            Kind::Event(
                Event::Subscribe { .. }
                | Event::Scan { .. }
                | Event::Click { .. }
                | Event::ScanCodePush { .. }
                | Event::ScanCodeWaitMsg { .. },
            ) => Some(AFTER_EVENT),
            Kind::Event(_) | Kind::Other => None,
        }
    }
}
