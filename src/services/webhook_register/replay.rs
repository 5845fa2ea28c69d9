//! Deliveries: what became of them, and telling events once more.

use super::{WebhookError, WebhookRegister, act};
use crate::domain::audit::Action;
use crate::domain::caller::Caller;
use crate::domain::event::Position;
use crate::domain::ids::DeliveryId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::webhook::{Delivery, DeliveryFilter, DeliveryStatus, Replayed};
use crate::store::{Replay, ReplayOf};

/// Events of one transaction.
pub const PART: usize = 500;
/// Transactions of one call.
const PARTS: usize = 20;

impl WebhookRegister {
    /// Newest first.
    pub async fn deliveries(
        &self,
        caller: &Caller,
        key: &str,
        filter: DeliveryFilter,
        page: PageRequest,
    ) -> Result<Page<Delivery>, WebhookError> {
        self.find(caller, key).await?;
        let filter = DeliveryFilter { webhook: Some(key.to_owned()), ..filter };
        Ok(self.inner.doors.deliveries.list(filter, page).await?)
    }

    /// `what`: [`PART`] ids at most, or what fits, from behind `after`. A bounded stretch of it: [`Replayed::next`] tells where to
    /// go on. A dry run only counts.
    pub async fn replay(
        &self,
        caller: &Caller,
        key: &str,
        what: ReplayOf,
        mut after: Position,
        is_dry_run: bool,
    ) -> Result<Replayed, WebhookError> {
        let found = self.find(caller, key).await?;
        let mut all = Replayed::default();
        for _ in 0..PARTS {
            let now = self.now();
            let replay = Replay {
                webhook: key.to_owned(),
                interest: found.interest(),
                what: what.clone(),
                is_dry_run,
                after,
                now,
                act: act(now, caller, Action::WebhookReplayed, key, found.accounts()),
            };
            all.add(self.inner.doors.deliveries.replay(replay, PART).await?);
            match all.next {
                Some(next) => after = next,
                None => break,
            }
        }
        Ok(all)
    }

    /// A new delivery of the same event. What is pending is tried by itself.
    pub async fn retry(&self, caller: &Caller, key: &str, id: DeliveryId) -> Result<Replayed, WebhookError> {
        self.find(caller, key).await?;
        let delivery = self.inner.doors.deliveries.look_up(id).await?;
        let delivery = delivery.filter(|delivery| delivery.webhook == key).ok_or(WebhookError::NotFound)?;
        if delivery.status == DeliveryStatus::Pending {
            let detail = "the delivery is pending: it is tried by itself".to_owned();
            return Err(WebhookError::Conflict { detail });
        }
        let what = ReplayOf::Events(vec![delivery.event_id]);
        let again = self.replay(caller, key, what, Position::default(), false).await?;
        if again.matched == 0 {
            let detail = "its event is no longer kept (retention.events), or no longer one of its accounts".to_owned();
            return Err(WebhookError::Conflict { detail });
        }
        Ok(again)
    }
}
