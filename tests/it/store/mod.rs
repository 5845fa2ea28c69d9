//! The contract of each door, once for every backend.

mod accounts;
mod audit;
pub(crate) mod backend;
mod batches;
mod build;
mod clock;
mod counts;
mod files;
mod inbox;
mod keys;
mod lanes;
mod late;
mod laws;
mod messages;
mod nonces;
mod outbox;
mod parks;
mod poison;
mod postgres;
mod queue;
mod redis;
mod redis_limits;
mod restore;
mod rivals;
mod suppressions;
mod tokens;
mod users;
