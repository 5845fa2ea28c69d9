//! Webhooks: events delivered to a subscriber's URL, as Standard Webhooks 1.0 asks (<https://www.standardwebhooks.com>).

pub mod address;
pub mod signing;
pub mod url;
