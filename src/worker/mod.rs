//! The queue's side of the road: what is due is leased and run; the clock's work is done beside it.

mod lane;
mod timer;

pub use lane::{Step, Worker};
pub use timer::Timer;
