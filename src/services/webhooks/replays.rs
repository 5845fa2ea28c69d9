//! Events told once more: in parts, so that a large replay holds up nobody who writes.

use std::sync::Arc;

use crate::domain::audit::Act;
use crate::domain::ids::AuditId;
use crate::domain::webhook::Replayed;
use crate::store::{self, Replay, ReplayOf};

/// Events of one replay at most: whoever wants more narrows the time, and asks again.
pub const LIMIT: usize = 10_000;
/// Events of one transaction.
pub const PART: usize = 500;

#[derive(Clone)]
pub struct Replays {
    pub deliveries: Arc<dyn store::Deliveries>,
}

impl Replays {
    /// Up to [`LIMIT`] events; [`Replayed::next`] is there when more are meant. Parts that were made stay when a later one fails;
    /// asking again makes no second delivery of what is pending. Each part has an entry of its own in `audit`.
    pub async fn replay(&self, replay: Replay) -> Result<Replayed, store::Error> {
        match &replay.what {
            ReplayOf::Events(ids) => {
                let mut sum = Replayed::default();
                for ids in ids.chunks(PART) {
                    let what = ReplayOf::Events(ids.to_vec());
                    sum.add(self.deliveries.replay(part(&replay, what), PART).await?);
                }
                Ok(sum)
            }
            ReplayOf::Filter { .. } => self.replay_filter(replay).await,
        }
    }

    async fn replay_filter(&self, mut replay: Replay) -> Result<Replayed, store::Error> {
        let mut sum = Replayed::default();
        loop {
            let limit = PART.min(LIMIT.saturating_sub(sum.matched));
            sum.add(self.deliveries.replay(part(&replay, replay.what.clone()), limit).await?);
            match sum.next {
                Some(next) if sum.matched < LIMIT => replay.after = next,
                _ => return Ok(sum),
            }
        }
    }
}

fn part(replay: &Replay, what: ReplayOf) -> Replay {
    let act = Act { id: AuditId::generate(replay.now), ..replay.act.clone() };
    Replay { what, act, ..replay.clone() }
}
