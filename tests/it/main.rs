//! Behaviour on the wire, by station: the real router or the real binary, the sandbox as WeChat, real stores.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at once")]

mod accounts;
mod api;
mod auth;
mod binary;
mod callback;
mod cluster;
mod courier;
mod delivery;
mod docs;
mod faults;
mod harness;
#[path = "../paper/mod.rs"]
#[expect(dead_code, reason = "only the checker breaks its rules")]
mod paper;
mod redis;
mod store;
mod supply;
mod webhook_admin;
