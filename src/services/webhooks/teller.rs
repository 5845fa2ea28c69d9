//! One try: the request, and what follows from its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::schedule::{Seen, weigh};
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::{self, NewEvent};
use crate::domain::webhook::{DisabledReason, Due, Outcome, Tried, Webhook};
use crate::failpoint::{Point, reach};
use crate::telemetry::metrics::Metrics;
use crate::upstream::outside::{FaultKind, OutsideClient, OutsideFault};
use crate::upstream::webhook::Subscriber;

/// The longest text of an error that is kept, in characters.
const ERROR_CHARS: usize = 200;

/// Makes tries. Cheap to clone.
#[derive(Clone)]
pub struct Teller {
    pub client: OutsideClient,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

/// A try that has ended.
#[derive(Debug)]
pub struct Ended {
    pub tried: Tried,
    /// The endpoint wants nothing any more.
    pub is_gone: bool,
    /// How long it wants to be left alone.
    pub pause: Option<Duration>,
}

impl Ended {
    pub fn is_good(&self) -> bool {
        self.tried.outcome == Outcome::Delivered
    }
}

impl Teller {
    /// Tries once. The envelope's text is made of what is kept, so it is the same in every try.
    pub async fn tell(&self, webhook: &str, subscriber: &Subscriber, due: Due) -> Ended {
        let (at, begun) = (self.clock.now(), Instant::now());
        let body = serde_json::to_vec(&due.event).map(Bytes::from);
        let seen = match body {
            Ok(body) => subscriber.tell(&self.client, due.event.id, body, at).await,
            Err(error) => Err(broken(&error)),
        };
        reach(Point::DeliveryTried);
        self.end(webhook, &due, seen, at, begun.elapsed())
    }

    /// A try whose task has died.
    pub fn died(&self, webhook: &str, due: &Due, at: Timestamp) -> Ended {
        self.end(webhook, due, Err(broken(&"a defect of the gateway; its log tells where")), at, Duration::ZERO)
    }

    fn end(&self, webhook: &str, due: &Due, seen: Seen, at: Timestamp, duration: Duration) -> Ended {
        let attempt = due.attempts.saturating_add(1);
        let verdict = weigh(&seen, attempt, self.clock.now(), rand::random());
        let result = match verdict.outcome {
            Outcome::Delivered => "delivered",
            Outcome::Retry { .. } => "failed",
            Outcome::Dead if verdict.is_gone => "gone",
            Outcome::Dead => "dead",
        };
        self.metrics.webhook_delivery(webhook, result);
        if let (Outcome::Dead, false) = (verdict.outcome, verdict.is_gone) {
            tracing::warn!(
                webhook.key = webhook, delivery.id = %due.id, event.id = %due.event.id, attempts = attempt,
                error = verdict.error.as_deref(), "a delivery was given up: replay it when the endpoint is well"
            );
        }
        let error = verdict.error.map(|text| text.chars().take(ERROR_CHARS).collect());
        let (id, outcome, status_code) = (due.id, verdict.outcome, verdict.status_code);
        let tried = Tried { id, attempt, outcome, status_code, error, at, duration };
        Ended { tried, is_gone: verdict.is_gone, pause: verdict.pause }
    }
}

fn broken(detail: &impl ToString) -> OutsideFault {
    OutsideFault { kind: FaultKind::Broken, detail: detail.to_string() }
}

/// What subscribers are told of a webhook that answers 410.
pub fn disabled(webhook: &Webhook, now: Timestamp) -> NewEvent {
    let data = serde_json::json!({
        "webhook": &*webhook.key,
        "reason": DisabledReason::Gone.as_str(),
        "host": webhook.url.host(),
    });
    NewEvent {
        kind: event::WEBHOOK_DISABLED.into(),
        account: None,
        message_id: None,
        batch_id: None,
        client: None,
        at: now,
        data: data.to_string(),
    }
}
