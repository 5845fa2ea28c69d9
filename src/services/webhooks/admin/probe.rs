//! A try by hand: what would become of a delivery right now.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{WebhookAdmin, WebhookError};
use crate::domain::caller::Caller;
use crate::domain::event::{Event, Position, WEBHOOK_TEST};
use crate::domain::ids::EventId;
use crate::upstream::outside::{OutsideAnswer, OutsideFault};

/// What came of it.
#[derive(Clone, Debug)]
pub struct Probe {
    pub event_id: EventId,
    pub answer: Result<OutsideAnswer, OutsideFault>,
    pub took: Duration,
}

impl WebhookAdmin {
    /// Sends a `webhook.test`, signed as every delivery is, whether the webhook is enabled or not. It is not kept, and not
    /// tried again.
    pub async fn test(&self, caller: &Caller, key: &str) -> Result<Probe, WebhookError> {
        let found = self.find(caller, key).await?;
        let subscriber = found.subscriber().ok_or_else(WebhookError::lost)?;
        let now = self.now();
        let data = serde_json::json!({ "webhook": key });
        let event = Event {
            position: Position::default(),
            id: EventId::generate(now),
            kind: WEBHOOK_TEST.to_owned(),
            account: None,
            message_id: None,
            batch_id: None,
            client: None,
            at: now,
            data: serde_json::value::to_raw_value(&data).unwrap_or_default(),
        };
        let body = Bytes::from(serde_json::to_vec(&event).unwrap_or_default());
        let begun = Instant::now();
        let answer = subscriber.tell(&self.inner.doors.client, event.id, body, now).await;
        Ok(Probe { event_id: event.id, answer, took: begun.elapsed() })
    }
}
