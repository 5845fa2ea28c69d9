//! What WeChat sends us: verified, kept, acknowledged, answered.

mod dedupe;
mod receipts;
mod refused;
pub(crate) mod relay;
mod replies;
mod told;
mod types;
mod users;
