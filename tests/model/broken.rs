//! The rules with one of them broken: each has to be noticed, or the laws say nothing.

use stateright::{Checker, HasDiscoveries, Model};
use wxgate::domain::state::OnUnknown;

use crate::gateway::{Broken, Gateway};
use crate::laws::{ENDS, FIGURES, FINAL, GENERATION, HELD, NO_BLIND_REPEAT, ONCE, ONE_HOLDER, OVER, OWN, REST, TOLD};
use crate::paper::Flaw;
use crate::plain;
use crate::world::Left;

fn with(flaw: Broken) -> Gateway {
    Gateway { left: Left { faults: 2, ..plain().left }, flaw: Some(flaw), ..plain() }
}

/// Two nodes, and one may be taken for dead that lives.
fn cut_off(gateway: Gateway) -> Gateway {
    Gateway { together: true, cut_off: true, ..gateway }
}

fn two_messages(flaw: Flaw) -> Gateway {
    Gateway { messages: vec![OnUnknown::Retry, OnUnknown::Retry], ..with(Broken::Store(flaw)) }
}

/// Breadth first: the counterexample is a shortest one.
fn breaks(gateway: Gateway, law: &'static str) {
    let wanted = HasDiscoveries::AnyOf([law].into());
    let checker = gateway.checker().finish_when(wanted).spawn_bfs().join();
    assert!(checker.discovery(law).is_some(), "not noticed in {} states", checker.unique_state_count());
}

#[test]
fn a_settlement_that_ignores_the_generation() {
    breaks(cut_off(with(Broken::Store(Flaw::SettleIgnoresGeneration))), GENERATION);
}

#[test]
fn a_settlement_that_counts_from_sending_whatever_came_between() {
    breaks(cut_off(with(Broken::Store(Flaw::SettleCountsFromSending))), FIGURES);
}

#[test]
fn a_rescue_that_leaves_no_doubt() {
    breaks(with(Broken::Store(Flaw::RescueLeavesNoDoubt)), NO_BLIND_REPEAT);
    breaks(with(Broken::Store(Flaw::RescueLeavesNoDoubt)), ONCE);
}

#[test]
fn a_rescue_that_looks_only_at_other_processes() {
    breaks(with(Broken::Store(Flaw::RescueLooksOnlyAtOthers)), REST);
}

#[test]
fn a_rescue_that_repeats_what_is_held() {
    let gateway = with(Broken::Store(Flaw::RescueRepeatsWhatIsHeld));
    breaks(Gateway { messages: vec![OnUnknown::Hold], ..gateway }, HELD);
}

#[test]
fn a_repeat_of_what_is_held() {
    let gateway = with(Broken::RepeatsWhatIsHeld);
    breaks(Gateway { messages: vec![OnUnknown::Hold], ..gateway }, HELD);
}

#[test]
fn a_repeat_after_the_window() {
    breaks(with(Broken::RepeatsAfterWindow), ONCE);
}

#[test]
fn a_cancel_that_forgets_the_doubt() {
    let gateway = with(Broken::Store(Flaw::CancelForgetsDoubt));
    breaks(Gateway { left: Left { hands: 1, ..gateway.left }, ..gateway }, ENDS);
}

#[test]
fn an_expiry_that_forgets_the_doubt() {
    breaks(with(Broken::Store(Flaw::ExpiryForgetsDoubt)), ENDS);
}

#[test]
fn a_receipt_that_beats_a_final_state() {
    let gateway = with(Broken::Store(Flaw::ReceiptBeatsFinal));
    breaks(gateway, FINAL);
}

#[test]
fn a_receipt_that_takes_the_first_message_in_doubt() {
    breaks(two_messages(Flaw::ReceiptTakesAnyDoubt), OWN);
}

#[test]
fn a_receipt_that_believes_what_wechat_said_when_it_was_busy() {
    breaks(two_messages(Flaw::ReceiptBelievesBusy), OWN);
}

#[test]
fn a_receipt_that_believes_an_operator() {
    let gateway = two_messages(Flaw::ReceiptBelievesOperator);
    let left = Left { hands: 1, short: 0, long: 0, ..gateway.left };
    breaks(Gateway { messages: vec![OnUnknown::Hold, OnUnknown::Retry], left, ..gateway }, OWN);
}

#[test]
fn a_lease_that_does_not_look_again() {
    let gateway = with(Broken::Store(Flaw::LeaseIgnoresState));
    breaks(Gateway { together: true, looks_first: true, ..gateway }, ONE_HOLDER);
}

#[test]
fn an_answer_before_the_commit() {
    breaks(with(Broken::AnswersBeforeCommit), TOLD);
    breaks(with(Broken::AnswersBeforeCommit), OVER);
}

// What no rule can mend, shown for what it is.

#[test]
fn a_clock_that_is_wrong_by_more_than_the_margin() {
    let left = Left { faults: 2, ..plain().left };
    breaks(Gateway { left, behind: 2, ..plain() }, ONCE);
}

/// Its request comes after that of its successor: one and the same push, but the successor's answer was told already.
#[test]
fn a_node_that_goes_on_though_the_others_take_it_for_dead() {
    let gateway = cut_off(Gateway { left: Left { faults: 2, ..plain().left }, ..plain() });
    breaks(gateway.clone(), TOLD);
    breaks(gateway, OVER);
}
