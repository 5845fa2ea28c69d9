//! Webhooks: which there are, what may be done to them, what follows a try, when a lane pauses. The lanes themselves run in
//! `worker/webhooks`.

pub mod admin;
pub mod gate;
pub mod register;
pub mod replays;
pub mod schedule;
pub mod teller;
