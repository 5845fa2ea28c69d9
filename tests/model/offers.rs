//! What may happen next.

use wxgate::domain::state::State;

use crate::gateway::{Fate, Gateway, Step};
use crate::moves::{LAST_TICK_MINUTES, LONG, SHORT};
use crate::paper::{Held, is_waiting};
use crate::rules;
use crate::world::{Left, Node, Wire, Work, World};

impl Gateway {
    /// What the gateway does by itself, and WeChat with it. When there is none of it, everything has come to rest.
    pub(crate) fn work(&self, world: &World, steps: &mut Vec<Step>) {
        for (node, Node { boot, work, .. }) in world.nodes.iter().enumerate() {
            let Some(boot) = *boot else {
                if self.may_start(world, node) {
                    steps.push(Step::Start(node));
                }
                continue;
            };
            let now = world.now(node);
            let ids = || 0..world.paper.rows.len();
            match work {
                Work::Idle => {
                    let due = ids().filter(|id| world.paper.is_lendable(*id, now));
                    if self.looks_first {
                        steps.extend(due.map(|id| Step::Look(node, id)));
                    } else {
                        steps.extend(due.take(1).map(|_| Step::Lend(node)));
                    }
                }
                Work::Seen(_) => steps.push(Step::Claim(node)),
                Work::Lent(held) => self.sends(world, node, held, steps),
                Work::Out { reply: Wire::Lost, .. } => steps.push(Step::HearNothing(node)),
                Work::Out { .. } => steps.push(Step::Hear(node)),
                Work::Judged { .. } => steps.push(Step::Settle(node)),
                Work::Told { .. } => steps.push(Step::Commit(node)),
            }
            let busy_with = work.message();
            if ids().any(|id| Some(id) != busy_with && world.paper.is_orphan(id, boot, &world.alive(), now)) {
                steps.push(Step::Rescue(node));
            }
            let rows = &world.paper.rows;
            if rows.iter().any(|row| is_waiting(row.state) && row.expires_at <= now) {
                steps.push(Step::Expire(node));
            }
        }
    }

    pub(crate) fn has_work(&self, world: &World) -> bool {
        let mut steps = Vec::new();
        self.work(world, &mut steps);
        !steps.is_empty()
    }

    fn sends(&self, world: &World, node: usize, held: &Held, steps: &mut Vec<Step>) {
        if rules::too_late(held, world.now(node), self.flaw).is_some() {
            steps.push(Step::GiveUp(node));
            return;
        }
        let mut fates = vec![Fate::Taken];
        if world.remembered(held.id).is_some() {
            fates.extend([Fate::TakenAsFirst, Fate::Duplicate]);
        }
        if world.left.faults > 0 {
            fates.extend([Fate::TakenButBusy, Fate::Busy, Fate::Lost, Fate::NotSent]);
            // What was shown met the rule by which it would be refused.
            if world.shown(held.id) == 0 {
                fates.push(Fate::Refused);
            }
        }
        steps.extend(fates.into_iter().map(|fate| Step::Send(node, fate)));
    }

    /// What people, faults and time do.
    pub(crate) fn mischief(&self, world: &World, steps: &mut Vec<Step>) {
        let (ids, left) = (0..world.paper.rows.len(), world.left);
        self.receipts(world, steps);
        if !left.end {
            return;
        }
        for (node, Node { boot, behind, work }) in world.nodes.iter().enumerate() {
            if boot.is_none() {
                continue;
            }
            if world.paper.rows.len() < self.messages.len() {
                steps.push(Step::Accept { node, leased: false });
                if *work == Work::Idle {
                    steps.push(Step::Accept { node, leased: true });
                }
            }
            if left.faults > 0 {
                steps.push(Step::Crash(node));
                if *work != Work::Idle {
                    steps.push(Step::Panic(node));
                }
                if matches!(work, Work::Out { reply, .. } if *reply != Wire::NotSent && *reply != Wire::Lost) {
                    steps.push(Step::HearNothing(node));
                }
                let others = world.nodes[1 - node].work.message();
                if self.cut_off && others.is_some_and(|id| world.paper.rows[id].state == State::Sending) {
                    steps.push(Step::RescueFromAll(node));
                }
                if *behind < self.behind {
                    steps.push(Step::ClockBack(node));
                }
                if *behind > 0 {
                    steps.push(Step::ClockForth(node));
                }
            }
        }
        if left.hands > 0 {
            for id in ids {
                let state = world.paper.rows[id].state;
                if is_waiting(state) {
                    steps.push(Step::Cancel(id));
                }
                if state == State::Unknown {
                    steps.extend([Step::Resolve(id, State::Sent), Step::Resolve(id, State::Failed)]);
                }
            }
        }
        // A call is over long before a minute is.
        if !world.nodes.iter().any(|node| matches!(node.work, Work::Out { .. })) {
            self.ticks(left, steps);
        }
    }

    fn receipts(&self, world: &World, steps: &mut Vec<Step>) {
        for (msgid, push) in (0..).zip(&world.pushes) {
            if !push.repeat {
                steps.push(if push.reported { Step::ReceiptAgain(msgid) } else { Step::Receipt(msgid) });
                if push.reported && world.left.faults > 0 {
                    steps.push(Step::OtherReceipt(msgid));
                }
            }
        }
    }

    fn ticks(&self, left: Left, steps: &mut Vec<Step>) {
        let kinds = [(left.short > 0, SHORT), (left.long > 0, LONG), (left.end, LAST_TICK_MINUTES)];
        steps.extend(kinds.into_iter().filter(|(may, _)| *may).map(|(_, minutes)| Step::Tick(minutes)));
    }

    fn may_start(&self, world: &World, node: usize) -> bool {
        self.together || world.nodes[1 - node].boot.is_none()
    }
}
