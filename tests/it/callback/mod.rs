//! What WeChat sends us: verified, kept, acknowledged, answered.

mod dedupe;
mod receipts;
mod refused;
mod replies;
mod told;
mod types;
mod users;
