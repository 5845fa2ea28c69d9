//! The contract of each door, once for every backend.

pub(crate) mod backend;
mod batches;
mod build;
mod clock;
mod counts;
mod events;
mod files;
mod inbox;
mod keys;
mod lanes;
mod late;
mod laws;
mod messages;
mod nonces;
mod outbox;
mod poison;
mod postgres;
mod queue;
mod redis;
mod restore;
mod rivals;
mod tokens;
mod users;
