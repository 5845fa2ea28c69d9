//! The contract of each door, once for every backend.

mod backend;
mod batches;
mod build;
mod counts;
mod files;
mod inbox;
mod keys;
mod lanes;
mod late;
mod laws;
mod messages;
mod outbox;
mod queue;
mod redis;
mod rivals;
mod tokens;
mod users;
