//! Every order in which lending, sending, settling, crashing and reporting can happen, for a few messages and two nodes:
//! searched whole, not sampled. `paper` says what the store does, `wxgate::services::verdict` what follows from an answer.
//!
//! Each search has a scope that is over in a few seconds; `cargo test --release --test model -- --ignored` takes wider ones.
#![expect(clippy::expect_used, reason = "a test may stop at once")]

#[path = "../paper/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests of the stores use the rest")]
mod paper;

mod broken;
mod gateway;
mod laws;
mod moves;
mod offers;
mod rules;
mod sound;
mod tokens;
mod world;

use stateright::{Checker, Model};
use wxgate::domain::state::OnUnknown;

use gateway::Gateway;
use world::Left;

/// One message, one node after the other, nothing goes wrong.
fn plain() -> Gateway {
    Gateway {
        messages: vec![OnUnknown::Retry],
        left: Left { faults: 0, hands: 0, short: 1, long: 1, end: true },
        together: false,
        cut_off: false,
        strict: true,
        behind: 0,
        looks_first: false,
        flaw: None,
        sees: &[laws::DELIVERED],
    }
}

/// No law is broken anywhere, and the search has come across what it was to see.
fn holds(gateway: Gateway) {
    let checker = gateway.checker().spawn_bfs().join();
    assert!(checker.is_done(), "the search was given up");
    checker.assert_properties();
}
