//! The tries of one lane that are under way, each a task of its own.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::task::{Id, JoinError, JoinSet};

use crate::domain::clock::Timestamp;
use crate::domain::ids::DeliveryId;
use crate::domain::webhook::{Due, Webhook};
use crate::services::webhooks::gate::Era;
use crate::services::webhooks::teller::{Ended, Teller};
use crate::upstream::webhook::Subscriber;

pub(super) struct Tries {
    teller: Teller,
    webhook: Arc<Webhook>,
    subscriber: Arc<Subscriber>,
    tasks: JoinSet<Ended>,
    under_way: HashMap<Id, UnderWay>,
}

struct UnderWay {
    due: Due,
    era: Era,
    at: Timestamp,
}

impl Tries {
    pub(super) fn new(teller: Teller, webhook: Arc<Webhook>) -> Self {
        let subscriber = Arc::new(Subscriber::of(&webhook));
        Self { teller, webhook, subscriber, tasks: JoinSet::new(), under_way: HashMap::new() }
    }

    pub(super) fn begin(&mut self, due: Due, era: Era, at: Timestamp) {
        let (teller, webhook, subscriber) = (self.teller.clone(), self.webhook.clone(), self.subscriber.clone());
        let under_way = UnderWay { due: due.clone(), era, at };
        let task = self.tasks.spawn(async move { teller.tell(&webhook.key, &subscriber, due).await });
        self.under_way.insert(task.id(), under_way);
    }

    /// The next that ends; `None`: none is under way. Nothing is lost when it is not waited for to the end.
    pub(super) async fn next(&mut self) -> Option<(Ended, Era)> {
        let ended = self.tasks.join_next_with_id().await?;
        self.take(ended)
    }

    /// One that has ended already.
    pub(super) fn ended(&mut self) -> Option<(Ended, Era)> {
        let ended = self.tasks.try_join_next_with_id()?;
        self.take(ended)
    }

    pub(super) fn count(&self) -> usize {
        self.under_way.len()
    }

    /// Those that began in this era of the gate.
    pub(super) fn count_of(&self, era: Era) -> usize {
        self.under_way.values().filter(|under_way| under_way.era == era).count()
    }

    pub(super) fn ids(&self) -> Vec<DeliveryId> {
        self.under_way.values().map(|under_way| under_way.due.id).collect()
    }

    /// A task that has died counts as a try that has failed.
    fn take(&mut self, ended: Result<(Id, Ended), JoinError>) -> Option<(Ended, Era)> {
        let id = match &ended {
            Ok((id, _)) => *id,
            Err(error) => error.id(),
        };
        let UnderWay { due, era, at } = self.under_way.remove(&id)?;
        let ended = match ended {
            Ok((_, ended)) => ended,
            Err(error) => {
                tracing::error!(%error, delivery.id = %due.id, "a try has died: it counts as failed");
                self.teller.died(&self.webhook.key, &due, at)
            }
        };
        Some((ended, era))
    }
}
