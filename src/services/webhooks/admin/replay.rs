//! Deliveries: what became of them, and telling events once more.

use super::{WebhookAdmin, WebhookError, act};
use crate::domain::audit::Action;
use crate::domain::caller::Caller;
use crate::domain::event::Position;
use crate::domain::ids::DeliveryId;
use crate::domain::page::{Page, PageRequest};
use crate::domain::webhook::{Delivery, DeliveryFilter, DeliveryStatus, Replayed};
use crate::services::webhooks::replays::Replays;
use crate::store::{Replay, ReplayOf};

impl WebhookAdmin {
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

    /// Events by id, or what fits, from behind `after`, as far as one call goes: [`Replayed::next`] tells where to go on. A dry run
    /// only counts.
    pub async fn replay(
        &self,
        caller: &Caller,
        key: &str,
        what: ReplayOf,
        after: Position,
        is_dry_run: bool,
    ) -> Result<Replayed, WebhookError> {
        let (found, now) = (self.find(caller, key).await?, self.now());
        let replay = Replay {
            webhook: key.to_owned(),
            interest: found.interest(),
            what,
            is_dry_run,
            after,
            now,
            act: act(now, caller, Action::WebhookReplayed, key, found.accounts()),
        };
        let replays = Replays { deliveries: self.inner.doors.deliveries.clone() };
        Ok(replays.replay(replay).await?)
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
