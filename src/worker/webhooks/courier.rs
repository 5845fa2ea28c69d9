//! Sees to it that a lane runs for each webhook that is enabled and that no other process runs.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::lane::{Lane, LaneDoors, Turn};
use crate::domain::event::Position;
use crate::domain::webhook::Webhook;
use crate::services::webhooks::register::Webhooks;
use crate::services::webhooks::teller::Teller;
use crate::store::{self, Stores};

/// Between two looks at who runs what, and what has changed.
const LOOK: Duration = Duration::from_secs(1);
/// When it looks again for what can be read in a moment.
const MOMENT: Duration = Duration::from_millis(20);

/// Cheap to clone.
#[derive(Clone)]
pub struct Courier {
    webhooks: Webhooks,
    kept: Arc<dyn store::Webhooks>,
    events: Arc<dyn store::Events>,
    doors: LaneDoors,
    /// Of those who step it themselves.
    stepped: Arc<Mutex<HashMap<Arc<str>, Lane>>>,
}

/// A lane that runs by itself.
struct Running {
    webhook: Arc<Webhook>,
    stop: CancellationToken,
    task: JoinHandle<()>,
}

type Place = (Arc<Webhook>, Position);

impl Courier {
    pub fn new(stores: &Stores, webhooks: Webhooks, teller: Teller) -> Self {
        let (clock, metrics) = (teller.clock.clone(), teller.metrics.clone());
        let doors = LaneDoors { deliveries: stores.deliveries.clone(), teller, clock, metrics };
        let (kept, events) = (stores.webhooks.clone(), stores.events.clone());
        Self { webhooks, kept, events, doors, stepped: Arc::default() }
    }

    /// Until `stop`; then every try under way ends and is kept, and other processes may run the lanes.
    pub async fn run(self, stop: CancellationToken) {
        let mut lanes = HashMap::new();
        while !stop.is_cancelled() {
            match self.look(&mut lanes).await {
                Ok(()) => {}
                Err(error) if error.is_said() => tracing::debug!(%error, "webhooks cannot be read"),
                Err(error) => tracing::error!(%error, "webhooks cannot be read"),
            }
            tokio::select! {
                () = stop.cancelled() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        }
        let keys: Vec<_> = lanes.keys().map(ToString::to_string).collect();
        lanes.values().for_each(|lane| lane.stop.cancel());
        for lane in lanes.into_values() {
            lane.ended().await;
        }
        if let Err(error) = self.kept.give_back(keys).await {
            tracing::debug!(%error, "lanes cannot be given back: other processes take them when this one has ended");
        }
    }

    /// One look, and every lane worked off as far as that goes at this moment: for those who step it themselves.
    pub async fn step(&self) -> Result<(), store::Error> {
        let mut lanes = self.stepped.lock().await;
        let places = self.places().await?;
        lanes.retain(|key, lane| places.iter().any(|(webhook, _)| webhook.key == *key && webhook == lane.webhook()));
        for (webhook, at) in places {
            let new = || Lane::new(self.doors.clone(), webhook.clone(), at);
            let lane = lanes.entry(webhook.key.clone()).or_insert_with(new);
            lane.look_again();
            if work_off(lane).await? == Turn::Over {
                lane.finish().await?;
                lanes.remove(&webhook.key);
            }
        }
        Ok(())
    }

    /// Ends the lanes that are not to run here (so) any more, and starts those that are.
    async fn look(&self, lanes: &mut HashMap<Arc<str>, Running>) -> Result<(), store::Error> {
        let places = self.places().await?;
        for (key, lane) in lanes.iter() {
            if !places.iter().any(|(webhook, _)| webhook.key == *key && *webhook == lane.webhook) {
                lane.stop.cancel();
            }
        }
        let over: Vec<_> =
            lanes.iter().filter(|(_, lane)| lane.task.is_finished()).map(|(key, _)| key.clone()).collect();
        for key in over {
            if let Some(lane) = lanes.remove(&key) {
                lane.ended().await;
                self.doors.metrics.forget_webhook(&key);
            }
        }
        if places.iter().all(|(webhook, _)| lanes.contains_key(&webhook.key)) {
            return Ok(());
        }
        // Where a lane stands is read when nobody moves it any more.
        for (webhook, at) in self.places().await? {
            lanes.entry(webhook.key.clone()).or_insert_with(|| self.start(webhook, at));
        }
        Ok(())
    }

    fn start(&self, webhook: Arc<Webhook>, at: Position) -> Running {
        let stop = CancellationToken::new();
        let lane = Lane::new(self.doors.clone(), webhook.clone(), at);
        let task = tokio::spawn(lane.run(self.events.ring(), stop.clone()));
        Running { webhook, stop, task }
    }

    /// The webhooks whose lanes are ours to run, and where they stand.
    async fn places(&self) -> Result<Vec<Place>, store::Error> {
        self.webhooks.refresh().await?;
        let all = self.webhooks.all();
        let standings = self.kept.standings().await?;
        let enabled = standings.iter().filter(|standing| standing.disabled.is_none());
        let enabled: HashMap<_, _> = enabled.map(|standing| (standing.webhook.as_str(), standing.cursor)).collect();
        let wanted = all.iter().filter(|webhook| enabled.contains_key(&*webhook.key));
        let wanted: Vec<_> = wanted.map(|webhook| webhook.key.to_string()).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let ours = self.kept.take(wanted).await?;
        let ours = all.iter().filter(|webhook| ours.iter().any(|key| **key == *webhook.key));
        Ok(ours.filter_map(|webhook| Some((webhook.clone(), *enabled.get(&*webhook.key)?))).collect())
    }
}

impl Running {
    async fn ended(self) {
        if let Err(error) = self.task.await {
            tracing::error!(%error, webhook.key = &*self.webhook.key, "a webhook's lane broke down: it starts again");
        }
    }
}

/// Until nothing is under way, and nothing is due at this moment.
async fn work_off(lane: &mut Lane) -> Result<Turn, store::Error> {
    loop {
        match lane.turn().await? {
            Turn::Busy => {}
            Turn::Idle { .. } if lane.is_under_way() => lane.next_end().await,
            Turn::Idle { is_waiting: true, .. } => tokio::time::sleep(MOMENT).await,
            idle @ Turn::Idle { .. } => {
                lane.show().await;
                return Ok(idle);
            }
            Turn::Over => return Ok(Turn::Over),
        }
    }
}
