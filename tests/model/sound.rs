//! The rules as they are.

use wxgate::domain::state::OnUnknown;

use crate::gateway::Gateway;
use crate::laws::{DELIVERED, EARLY, FOUND, LATE, REPEAT, STALE, UNKNOWN};
use crate::world::Left;
use crate::{holds, plain};

/// Answers are lost or bad, processes and tasks die, clocks are a minute off.
fn one_after_the_other() -> Gateway {
    Gateway {
        left: Left { faults: 2, ..plain().left },
        behind: 1,
        sees: &[DELIVERED, UNKNOWN, REPEAT, EARLY, FOUND],
        ..plain()
    }
}

/// Two nodes on one store.
fn together() -> Gateway {
    Gateway {
        left: Left { faults: 1, ..plain().left },
        together: true,
        sees: &[DELIVERED, UNKNOWN, REPEAT, EARLY, FOUND],
        ..plain()
    }
}

/// Two messages to one person: whose receipt is it?
fn two_messages() -> Gateway {
    Gateway {
        messages: vec![OnUnknown::Retry, OnUnknown::Hold],
        left: Left { faults: 2, short: 0, long: 0, ..plain().left },
        sees: &[DELIVERED, UNKNOWN, REPEAT, EARLY, FOUND],
        ..plain()
    }
}

fn by_hand(messages: &[OnUnknown]) -> Gateway {
    Gateway {
        messages: messages.to_vec(),
        left: Left { faults: 1, hands: 1, long: 0, ..plain().left },
        sees: &[DELIVERED, UNKNOWN, EARLY],
        ..plain()
    }
}

#[test]
fn one_node_after_the_other() {
    holds(one_after_the_other());
}

#[test]
fn two_nodes_together() {
    holds(together());
}

#[test]
fn lending_in_two_steps_when_the_second_looks_again() {
    let left = Left { short: 0, ..together().left };
    holds(Gateway { looks_first: true, left, sees: &[DELIVERED, UNKNOWN, REPEAT], ..together() });
}

#[test]
fn a_node_that_is_taken_for_dead_and_goes_on() {
    holds(Gateway { cut_off: true, strict: false, sees: &[STALE, LATE], ..together() });
}

#[test]
fn two_messages_to_one_person() {
    holds(two_messages());
}

#[test]
fn people_cancel_and_resolve() {
    holds(by_hand(&[OnUnknown::Retry, OnUnknown::Retry]));
}

#[test]
fn people_cancel_and_resolve_what_is_held() {
    holds(by_hand(&[OnUnknown::Hold]));
}

#[test]
#[ignore = "minutes; run it optimized"]
fn one_node_after_the_other_and_more_faults() {
    let left = Left { faults: 3, hands: 1, short: 2, long: 1, end: true };
    holds(Gateway { left, ..one_after_the_other() });
}

#[test]
#[ignore = "minutes; run it optimized"]
fn two_nodes_together_and_more_faults() {
    holds(Gateway { left: Left { faults: 2, hands: 1, short: 1, long: 1, end: true }, behind: 1, ..together() });
    let left = Left { faults: 2, hands: 0, short: 1, long: 1, end: true };
    holds(Gateway { left, cut_off: true, strict: false, sees: &[STALE, LATE], ..together() });
}

#[test]
#[ignore = "minutes; run it optimized"]
fn two_messages_and_more_faults() {
    let messages = vec![OnUnknown::Retry, OnUnknown::Retry];
    holds(Gateway { messages, left: Left { faults: 2, hands: 1, short: 1, long: 0, end: true }, ..two_messages() });
}
