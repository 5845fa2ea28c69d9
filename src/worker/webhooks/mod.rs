//! Deliveries to webhooks: one [`lane`] for each, and the [`courier`] who sees to it that the right lanes run here.

mod courier;
mod lane;
mod tries;

pub use courier::Courier;
