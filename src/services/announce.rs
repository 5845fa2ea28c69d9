//! Tells subscribers what happened without a row that changes, beside the road: nobody waits for it.

use std::sync::Arc;

use crate::domain::clock::Timestamp;
use crate::domain::event::NewEvent;
use crate::store::Raise;

/// `kind`: an event of [`crate::domain::event`] that concerns one account; `data`: a JSON object.
pub(super) fn announce(
    events: &Arc<dyn Raise>,
    account: &Arc<str>,
    kind: &'static str,
    at: Timestamp,
    data: &serde_json::Value,
) {
    let (events, name) = (events.clone(), account.clone());
    let event = NewEvent::of_account(kind, &name, at, data.to_string());
    let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
    runtime.spawn(async move {
        if let Err(error) = events.raise(event).await {
            tracing::warn!(account.id = %name, event = kind, %error, "an event cannot be kept");
        }
    });
}
