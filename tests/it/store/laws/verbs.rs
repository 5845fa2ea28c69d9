//! What may happen to a store.

use proptest::option;
use proptest::prelude::*;

#[derive(Clone, Debug)]
pub(super) enum Verb {
    Accept {
        user: u8,
        key: Option<u8>,
        first_lease: bool,
        hold: bool,
        later: Option<i64>,
    },
    Lease {
        limit: usize,
        room: usize,
    },
    Extend {
        which: usize,
        seconds: i64,
    },
    Settle {
        which: usize,
        how: u8,
        msgid: u8,
    },
    Receipt {
        user: u8,
        msgid: u8,
        status: u8,
        foreign: bool,
    },
    Cancel {
        which: usize,
    },
    Resolve {
        which: usize,
        state: u8,
    },
    Rescue {
        running: usize,
    },
    Expire,
    Wait {
        seconds: i64,
    },
    Restart,
    /// From here on it is about others, who have no history yet.
    NextPeople,
}

/// Mostly the same one: what one person's messages do to one another is what is hard.
fn user() -> impl Strategy<Value = u8> {
    proptest::bool::weighted(0.2).prop_map(u8::from)
}

/// `which`: counted from the newest back.
fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        6 => (user(), option::weighted(0.2, 0..4u8), any::<bool>(), any::<bool>(), option::weighted(0.2, 1..900i64))
            .prop_map(|(user, key, first_lease, hold, later)| Verb::Accept { user, key, first_lease, hold, later }),
        3 => (1..4usize, 1..4usize).prop_map(|(limit, room)| Verb::Lease { limit, room }),
        1 => (0..8usize, 0..900i64).prop_map(|(which, seconds)| Verb::Extend { which, seconds }),
        6 => (0..8usize, 0..10u8, 0..4u8).prop_map(|(which, how, msgid)| Verb::Settle { which, how, msgid }),
        5 => (user(), 0..4u8, 0..5u8, proptest::bool::weighted(0.2))
            .prop_map(|(user, msgid, status, foreign)| Verb::Receipt { user, msgid, status, foreign }),
        2 => (0..8usize).prop_map(|which| Verb::Cancel { which }),
        2 => (0..8usize, 0..3u8).prop_map(|(which, state)| Verb::Resolve { which, state }),
        3 => (0..4usize).prop_map(|running| Verb::Rescue { running }),
        1 => Just(Verb::Expire),
        2 => (-100..2000i64).prop_map(|seconds| Verb::Wait { seconds }),
        1 => Just(Verb::Restart),
        1 => Just(Verb::NextPeople),
    ]
}

pub(super) fn verbs() -> impl Strategy<Value = Vec<Verb>> {
    proptest::collection::vec(verb(), 1..200)
}
