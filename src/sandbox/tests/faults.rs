//! Faults over the wire: what a caller sees, and whether the message was taken.

use std::time::Duration;

use super::*;
use crate::sandbox::{Fault, FaultKind};

#[tokio::test]
async fn each_kind_shows_itself_and_says_whether_it_was_taken() {
    for (kind, is_taken) in [
        (FaultKind::Reset, 1),
        (FaultKind::ResetBefore, 0),
        (FaultKind::Truncated, 1),
        (FaultKind::Html, 0),
        (FaultKind::Empty, 0),
        (FaultKind::Http, 0),
    ] {
        let bench = Bench::start().await;
        bench.sandbox.set_fault(Fault::of(kind).on(SEND).times(1));
        assert!(bench.send("o1", "a").await.is_err(), "{kind:?}");
        assert_eq!(bench.sandbox.message_count(), is_taken, "{kind:?}");
        assert_eq!(bench.errcode("o1", "a").await, 0, "{kind:?}");
        assert_eq!(bench.sandbox.deliveries_to("o1"), 1, "{kind:?}");
    }
}

#[tokio::test]
async fn a_fault_may_strike_after_the_message_was_taken() {
    let bench = Bench::start().await;
    bench.sandbox.set_fault(Fault { after: Some(true), ..Fault::http(504).on(SEND) });
    let token = bench.token().await;
    let url = format!("{}{SEND}?access_token={token}", bench.base);
    let response = bench.http.post(url).body(push("o1", "a").to_string()).send().await.unwrap();
    assert_eq!((response.status().as_u16(), bench.sandbox.message_count()), (504, 1));
}

#[tokio::test]
async fn errcodes_come_every_nth_time_until_switched_off() {
    let bench = Bench::start().await;
    let id = bench.sandbox.set_fault(Fault::errcode(45011).on(SEND).every(2));
    let mut codes = Vec::new();
    for client_msg_id in ["a", "b", "c", "d"] {
        codes.push(bench.errcode("o1", client_msg_id).await);
    }
    assert_eq!(codes, [0, 45011, 0, 45011]);
    assert_eq!((bench.sandbox.faults()[0].seen, bench.sandbox.faults()[0].struck), (4, 2));
    assert!(bench.sandbox.remove_fault(id));
    assert!(!bench.sandbox.remove_fault(id));
    assert_eq!(bench.errcode("o1", "b").await, 0);
}

#[tokio::test]
async fn the_minute_limit_ends_with_the_minute() {
    let bench = Bench::start().await;
    bench.sandbox.set_fault(Fault { until_minute_ends: true, ..Fault::errcode(45011).on(SEND) });
    assert_eq!(bench.errcode("o1", "a").await, 45011);
    bench.clock.advance(Duration::from_secs(60));
    assert_eq!(bench.errcode("o1", "a").await, 0);
}

#[tokio::test]
async fn calls_above_a_number_in_parallel_are_busy() {
    let bench = Bench::start().await;
    let fault = Fault { parallel_above: Some(1), ..Fault::errcode(-1).on(SEND) };
    bench.sandbox.set_fault(fault);
    assert_eq!(bench.errcode("o1", "a").await, 0);
    let held = bench.sandbox.enter(SEND);
    assert_eq!(bench.errcode("o1", "b").await, -1);
    drop(held);
    assert_eq!(bench.errcode("o1", "b").await, 0);
}

#[tokio::test]
async fn a_hanging_call_never_answers_and_ends_with_its_caller() {
    let bench = Bench::start().await;
    let token = bench.token().await;
    bench.sandbox.set_fault(Fault::of(FaultKind::Hang).on(SEND));
    let url = format!("{}{SEND}?access_token={token}", bench.base);
    let request = bench.http.post(url).body(push("o1", "a").to_string()).timeout(Duration::from_millis(50));
    assert!(request.send().await.unwrap_err().is_timeout());
    assert_eq!(bench.sandbox.message_count(), 0);
}
