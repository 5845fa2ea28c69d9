//! The REST face on the wire: what callers send, well or badly, and what they get back.

mod auth;
mod batches;
mod changes;
mod events;
mod events_nodes;
mod events_ws;
mod figures;
mod headers;
mod idempotency;
mod limits;
mod lists;
mod malformed;
mod overload;
mod pages;
mod raw;
mod send;
mod storage;
mod suppressions;
mod tickets;
mod users;
pub(crate) mod wire;
