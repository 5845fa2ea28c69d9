//! The crash harness: the real program dies at every line between two stations, starts again, and every message is counted by
//! its id: none lost, none doubled.
//!
//! A *cycle* is a few lives of one process in one place: load until it dies, a clean start, and the count. What each cycle
//! aims at, and how the lives follow each other, stands in `aim`; who sends what in `load`; what was promised to them in
//! `person`; what the store says in `books`; what has to hold in `check`. `scripts/crash` runs as many cycles as you like and
//! writes the report; the tests here are the short set.
#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test may stop at once")]

mod aim;
mod books;
mod check;
mod cycle;
mod life;
mod load;
mod long;
mod person;
mod redis;
mod repeat;
mod report;
mod series;
mod short;
mod stay;
mod subscriber;
#[path = "../support/mod.rs"]
mod support;
mod weather;
