//! Telling one subscriber of one event, as Standard Webhooks asks.

use std::time::Duration;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};

use super::outside::{OutsideAnswer, OutsideCall, OutsideClient, OutsideFault};
use crate::domain::clock::Timestamp;
use crate::domain::ids::EventId;
use crate::domain::webhook::Webhook;
use crate::domain::webhook::signing::{ID, SIGNATURE, Signer, TIMESTAMP};
use crate::domain::webhook::url::WebhookUrl;

/// For a whole try.
pub const TIMEOUT: Duration = Duration::from_secs(15);

/// Where to, and what to sign with.
#[derive(Clone)]
pub struct Subscriber {
    pub url: WebhookUrl,
    pub signer: Signer,
    /// Also to addresses that are not public.
    pub allow_private: bool,
}

impl Subscriber {
    pub fn of(webhook: &Webhook) -> Self {
        let secrets = &webhook.secrets;
        let signer = Signer::new([&secrets.current].into_iter().chain(&secrets.previous));
        Self { url: webhook.url.clone(), signer, allow_private: webhook.allow_private }
    }

    /// One try. `body`: the envelope, the same bytes in every try; `now`: when this one begins.
    pub async fn tell(
        &self,
        client: &OutsideClient,
        event: EventId,
        body: Bytes,
        now: Timestamp,
    ) -> Result<OutsideAnswer, OutsideFault> {
        let headers = self.headers(&event.to_string(), &body, now);
        let (url, allow_private) = (self.url.clone(), self.allow_private);
        client.post(OutsideCall { url, allow_private, headers, body, timeout: TIMEOUT }).await
    }

    fn headers(&self, id: &str, body: &[u8], now: Timestamp) -> HeaderMap {
        let signature = self.signer.sign(id, now, body);
        let ours = [(ID, id.to_owned()), (TIMESTAMP, now.as_seconds().to_string()), (SIGNATURE, signature)];
        let ours = ours
            .into_iter()
            .filter_map(|(name, value)| Some((HeaderName::from_static(name), HeaderValue::from_str(&value).ok()?)));
        ours.chain([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]).collect()
    }
}
