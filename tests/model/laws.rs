//! What holds whatever happens.

use stateright::Property;
use wxgate::domain::state::{OnUnknown, State};

use crate::gateway::Gateway;
use crate::paper::{CRASH, Held};
use crate::world::{Work, World};

pub(crate) const ONCE: &str = "never shown twice";
pub(crate) const DOUBT: &str = "unknown only in doubt";
pub(crate) const FIGURES: &str = "figures add up";
pub(crate) const REST: &str = "all comes to rest";
pub(crate) const ENDS: &str = "an end is true";
pub(crate) const TOLD: &str = "what callers were told stays true";

pub(crate) const DELIVERED: &str = "a message is delivered";
pub(crate) const UNKNOWN: &str = "a message ends in doubt";
pub(crate) const REPEAT: &str = "WeChat recognises a repeat";
pub(crate) const STALE: &str = "a result comes when another holds the message";
pub(crate) const LATE: &str = "a result comes after a rescue";
pub(crate) const EARLY: &str = "a receipt waits for its message";
pub(crate) const FOUND: &str = "an early receipt is found";

/// Laws about a step.
pub(crate) const FINAL: &str = "nothing leaves a final state";
pub(crate) const GENERATION: &str = "only the current generation writes";
pub(crate) const ONE_HOLDER: &str = "nobody lends what another holds";
pub(crate) const OWN: &str = "a receipt settles its own message";
pub(crate) const NO_BLIND_REPEAT: &str = "no repeat without a doubt";
pub(crate) const HELD: &str = "what is held is not repeated";
pub(crate) const OVER: &str = "no repeat of what a caller was told the end of";

/// After each step.
pub(crate) fn watch(world: &mut World) {
    for moved in world.paper.take_moves() {
        if moved.from.is_some_and(|from| from.is_final() && from != moved.to) {
            world.break_law(FINAL);
        }
    }
}

/// A request leaves for a message that a phone has shown already.
pub(crate) fn watch_repeat(world: &mut World, held: &Held) {
    let truth = world.truths[held.id];
    // A holder that was taken for dead does not know of the doubt; the row does.
    let row = &world.paper.rows[held.id];
    let known = held.doubtful_since.or(held.busy_since).or(row.doubtful_since);
    if known.is_none() {
        world.break_law(NO_BLIND_REPEAT);
    }
    if held.on_unknown == OnUnknown::Hold && !truth.shown_though_busy {
        world.break_law(HELD);
    }
    let told = truth.told.is_some_and(|(state, _)| state != State::Queued);
    if told && world.strict {
        world.break_law(OVER);
    }
}

/// No step has broken this law.
macro_rules! kept {
    ($($law:expr),*) => {
        [$(Property::always($law, |_: &Gateway, world: &World| world.breach != Some($law))),*]
    };
}

/// Laws that hold in every scope.
pub(crate) fn always() -> Vec<Property<Gateway>> {
    let mut laws = vec![
        Property::always(ONCE, |_, world: &World| (0..world.truths.len()).all(|id| world.shown(id) <= 1)),
        Property::always(DOUBT, |_, world: &World| {
            let mut of = world.paper.rows.iter().zip(&world.truths);
            of.all(|(row, truth)| row.state != State::Unknown || (row.doubtful_since.is_some() && truth.tried))
        }),
        Property::always(FIGURES, |_, world: &World| {
            let rows = |state| world.paper.rows.iter().filter(|row| row.state == state).count();
            State::ALL.into_iter().all(|state| i64::try_from(rows(state)) == Ok(world.paper.count(state)))
        }),
        Property::always(REST, |gateway: &Gateway, world: &World| {
            let waits = world.paper.rows.iter().any(|row| row.state.is_under_way());
            world.left.end || !waits || gateway.has_work(world)
        }),
    ];
    laws.extend(kept![FINAL, GENERATION, ONE_HOLDER, OWN, NO_BLIND_REPEAT, HELD, OVER]);
    laws
}

/// Laws that hold unless a node goes on that the others take for dead.
pub(crate) fn of_the_connected() -> Vec<Property<Gateway>> {
    vec![Property::always(ENDS, ends_are_true), Property::always(TOLD, what_was_told_stays)]
}

/// What a search that means something comes across.
pub(crate) fn sights() -> Vec<Property<Gateway>> {
    vec![
        Property::sometimes(DELIVERED, |_, world: &World| has(world, State::Delivered)),
        Property::sometimes(UNKNOWN, |_, world: &World| has(world, State::Unknown) && !world.left.end),
        Property::sometimes(REPEAT, |_, world: &World| world.pushes.iter().any(|push| push.repeat)),
        Property::sometimes(STALE, |_, world: &World| {
            judged(world).any(|held| world.paper.rows[held.id].generation > held.generation)
        }),
        Property::sometimes(LATE, |_, world: &World| {
            judged(world).any(|held| {
                let row = &world.paper.rows[held.id];
                row.generation == held.generation && row.reason.as_deref() == Some(CRASH)
            })
        }),
        Property::sometimes(EARLY, |_, world: &World| world.paper.receipts.iter().any(|kept| kept.is_unmatched())),
        Property::sometimes(FOUND, |_, world: &World| world.paper.receipts.iter().any(|kept| kept.message.is_some())),
    ]
}

/// `canceled`, `expired` and `rejected` say: no phone has shown it. `failed`: WeChat says so. `delivered`: one has.
fn ends_are_true(_: &Gateway, world: &World) -> bool {
    world.paper.rows.iter().enumerate().all(|(id, row)| {
        let (shown, truth) = (world.shown(id) > 0, world.truths[id]);
        match row.state {
            // WeChat's word that it did not (-1) is believed, though it is known to be wrong now and then.
            State::Canceled | State::Expired | State::Rejected => !shown || truth.shown_though_busy,
            State::Failed => !shown || truth.shown_though_busy || truth.by_hand,
            State::Delivered | State::Undelivered => shown,
            State::Sent => shown || truth.by_hand,
            _ => true,
        }
    })
}

/// 200: it was sent, and stays so. 4xx and 5xx: nothing more is sent.
fn what_was_told_stays(_: &Gateway, world: &World) -> bool {
    world.paper.rows.iter().enumerate().all(|(id, row)| match world.truths[id].told {
        // Told, and not yet written: the flaw shows when it never is.
        _ if world.nodes.iter().any(|node| matches!(&node.work, Work::Told { held, .. } if held.id == id)) => true,
        Some((State::Sent, _)) => matches!(row.state, State::Sent | State::Delivered | State::Undelivered),
        Some((told, shown)) if told.is_final() => row.state == told && shown == world.shown(id),
        _ => true,
    })
}

fn judged(world: &World) -> impl Iterator<Item = &Held> {
    world.nodes.iter().filter_map(|node| match &node.work {
        Work::Judged { held, .. } => Some(held),
        _ => None,
    })
}

fn has(world: &World, state: State) -> bool {
    world.paper.rows.iter().any(|row| row.state == state)
}
