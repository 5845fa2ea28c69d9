//! The token engines themselves, as they are shipped, under a scheduler: whenever something could happen, the next number of
//! a list says what does. So the same numbers give the same run, and a run that breaks a law is made short by itself.
//!
//! `stage`: gates, and WeChat's side · `doors`: SQL, Redis and WeChat behind gates · `run`: callers, steps, laws.

mod doors;
mod run;
mod stage;

use proptest::prelude::*;
use proptest::test_runner::{TestError, TestRunner};

use run::{Clients, Run, Scope};

/// One process, three callers; the token dies twice.
const ALONE: Scope =
    Scope { callers: &[0, 0, 0], is_shared: false, gives_all: false, deaths: 2, blind: 0, leaves: 1, ages: 0 };
/// Two processes that share a Redis.
const SHARED: Scope =
    Scope { callers: &[0, 1, 0, 1], is_shared: true, gives_all: false, deaths: 1, blind: 1, leaves: 1, ages: 1 };

/// Runs of a scope; fails with the shortest list of numbers that breaks a law.
fn search(scope: Scope, runs: u32) -> Result<(), TestError<Vec<u8>>> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().event_interval(1).enable_all().build().expect("a runtime");
    let clients = Clients::new();
    let config = ProptestConfig { cases: runs, failure_persistence: None, ..ProptestConfig::default() };
    // Not at random: the same runs every time.
    let mut runner = TestRunner::new_with_rng(
        config,
        proptest::test_runner::TestRng::deterministic_rng(proptest::test_runner::RngAlgorithm::ChaCha),
    );
    runner.run(&proptest::collection::vec(any::<u8>(), 0..100), |choices| {
        let run = runtime.block_on(Run::play(scope, &clients, &choices));
        run.map_err(TestCaseError::fail)
    })
}

#[test]
fn one_process_asks_once_whatever_comes_between() {
    search(ALONE, 100).expect("no law is broken");
}

#[test]
fn two_processes_ask_once_whatever_comes_between() {
    search(SHARED, 100).expect("no law is broken");
}

/// The scheduler would notice.
#[test]
fn a_right_to_refresh_that_is_given_to_everybody() {
    search(Scope { gives_all: true, ..SHARED }, 100).expect_err("two nodes ask at once");
}
