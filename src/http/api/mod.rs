//! The REST API: wire types stand beside their handlers.

pub mod accounts;
pub mod audit;
pub mod batches;
pub mod events;
pub mod events_ws;
pub mod messages;
pub mod send_request;
pub mod suppressions;
pub mod tickets;
pub mod users;
pub mod views;
mod watching;
pub mod webhooks;
