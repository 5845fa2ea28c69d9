//! The stations of a message's road, one file a station.
//!
//! The road: [`accept`] → [`dispatch`] (with [`tokens`]) → [`verify`] → [`receive`].
//! Beside it: [`access`] (keys, tokens and signatures of callers), [`accounts`], [`audits`], [`batches`], [`users`], [`feed`] (events), [`reports`] (views and changes by hand), [`outcomes`] (who waits
//! for what), [`relay`] (back ends that answer callbacks), [`limits`] (how often), [`verdict`], [`breaker`], [`pace`] and [`quota`] (rules of [`dispatch`]), [`slots`] (how many at once), [`webhooks`] (rules of the lanes), [`sweep`] (repairs), [`clock_watch`], [`health`].

pub mod accept;
pub mod access;
pub mod accounts;
mod announce;
pub mod audits;
pub mod batches;
pub mod breaker;
pub mod clock_watch;
pub mod dispatch;
pub mod feed;
pub mod health;
pub mod limits;
pub mod outcomes;
pub mod pace;
pub mod quota;
pub mod receive;
pub mod relay;
pub mod reports;
pub mod slots;
pub mod suppressions;
pub mod sweep;
pub mod tokens;
pub mod users;
pub mod verdict;
pub mod verify;
pub mod webhooks;
