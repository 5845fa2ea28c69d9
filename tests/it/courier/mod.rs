//! Deliveries to webhooks: real gateways, real subscribers, a clock that moves by hand.

mod lanes;
mod nodes;
mod order;
mod outage;
mod tries;

use std::time::Duration;

use wxgate::domain::event::NewEvent;
use wxgate::domain::page::PageRequest;
use wxgate::domain::webhook::{Delivery, DeliveryFilter, DeliveryStatus};
use wxgate::store::Stores;

use crate::harness::{Endpoint, Setup, TestApp};

pub(crate) const MINUTE: Duration = Duration::from_secs(60);

/// A gateway with the webhook `crm`.
async fn with_crm(subscriber: &Endpoint) -> TestApp {
    TestApp::start_with(Setup { config: subscriber.toml("crm", ""), ..Setup::default() }).await
}

impl TestApp {
    /// All webhooks, as far as that goes at this moment.
    pub(crate) async fn deliver(&self) {
        self.app.courier().step().await.unwrap();
    }

    /// An event without a message or (with one) of it.
    pub(crate) async fn raise(&self, kind: &'static str, message: Option<&str>, number: usize) {
        raise(self.app.stores(), kind, message, number, self.now()).await;
    }

    pub(crate) fn now(&self) -> wxgate::domain::clock::Timestamp {
        use wxgate::domain::clock::Clock;
        self.clock.now()
    }

    pub(crate) async fn deliveries(&self, status: Option<DeliveryStatus>) -> Vec<Delivery> {
        let filter = DeliveryFilter { status, ..DeliveryFilter::default() };
        let page = PageRequest { limit: 200, after: None };
        self.app.stores().deliveries.list(filter, page).await.unwrap().items
    }
}

async fn raise(
    stores: &Stores,
    kind: &'static str,
    message: Option<&str>,
    number: usize,
    at: wxgate::domain::clock::Timestamp,
) {
    let data = serde_json::json!({ "message_id": message, "n": number, "text": "not-for-logs" }).to_string();
    let account = Some("shop".to_owned());
    let message_id = message.map(str::to_owned);
    let event = NewEvent { kind: kind.into(), account, message_id, batch_id: None, client: None, at, data };
    stores.events.raise(event).await.unwrap();
}

/// Looks until it holds: what runs by itself is looked at from outside.
async fn until(mut holds: impl AsyncFnMut() -> bool) {
    let begun = std::time::Instant::now();
    while !holds().await {
        assert!(begun.elapsed() < Duration::from_secs(60));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
