//! The queue's side of the road: what is due is leased and run; the clock's work is done beside it.

mod lane;
mod listener;
mod timer;
mod webhooks;

pub use lane::{Step, Worker};
pub use listener::Listener;
pub use timer::Timer;
pub use webhooks::Courier;
