//! What each step does. What stations and stores do is not written anew here: sends are judged by the gateway's own rules,
//! and rows are changed by the store on paper.

use std::time::Duration;

use wxgate::domain::state::State;
use wxgate::services::verdict::REPEAT_WINDOW;

use crate::gateway::{Broken, Fate, Gateway, Step};
use crate::laws;
use crate::paper::{Boot, Effect, Id, Msgid, Order, Report};
use crate::rules;
use crate::world::{Left, Node, Truth, Wire, Work, World, time};

/// How long a lease is held: long enough for a call, and over when a minute is.
const HOLD: Duration = Duration::from_secs(40);
/// How long a message is good for.
const LIFE_MINUTES: i64 = 25;
pub(crate) const SHORT: i64 = 1;
/// The window for repeats; with a short one, WeChat's whole memory.
pub(crate) const LONG: i64 = 9;
/// Names of receipts that contradict others.
const OTHER: u64 = 1000;
/// Past every date.
pub(crate) const LAST_TICK_MINUTES: i64 = 60;

impl Gateway {
    pub(crate) fn take(&self, world: &World, step: Step) -> World {
        let mut world = world.clone();
        match step {
            Step::Start(node) => {
                world.boots += 1;
                world.nodes[node].boot = Some(world.boots);
            }
            Step::Accept { node, leased } => self.accept(&mut world, node, leased),
            Step::Lend(node) => {
                let (boot, now) = (world.boot(node), world.now(node));
                let held = world.paper.lease(boot, 1, now, HOLD).pop();
                world.nodes[node].work = held.map_or(Work::Idle, Work::Lent);
            }
            Step::Look(node, id) => world.nodes[node].work = Work::Seen(id),
            Step::Claim(node) => {
                if let Work::Seen(id) = world.nodes[node].work {
                    let (boot, now) = (world.boot(node), world.now(node));
                    let is_held = world.paper.rows[id].state == State::Sending;
                    let held = world.paper.claim(id, boot, now, HOLD);
                    if is_held && held.is_some() {
                        world.break_law(laws::ONE_HOLDER);
                    }
                    world.nodes[node].work = held.map_or(Work::Idle, Work::Lent);
                }
            }
            Step::GiveUp(node) => self.give_up(&mut world, node),
            Step::Send(node, fate) => self.send(&mut world, node, fate),
            Step::Hear(node) => self.hear(&mut world, node),
            Step::HearNothing(node) => {
                let lost = matches!(world.nodes[node].work, Work::Out { reply: Wire::Lost, .. });
                world.left.faults -= u8::from(!lost);
                if let Work::Out { reply, .. } = &mut world.nodes[node].work {
                    *reply = Wire::Lost;
                }
                self.hear(&mut world, node);
            }
            Step::Settle(node) => self.settle(&mut world, node),
            Step::Commit(node) => {
                if let Work::Told { held, next, busy_at } = world.nodes[node].work.clone() {
                    world.paper.settle(&held, &next, busy_at);
                    world.nodes[node].work = Work::Idle;
                }
            }
            Step::Rescue(node) => {
                let alive = world.alive();
                rescue(&mut world, node, &alive);
            }
            Step::RescueFromAll(node) => {
                world.left.faults -= 1;
                let boot = world.boot(node);
                rescue(&mut world, node, &[boot]);
            }
            Step::Expire(node) => drop(world.paper.expire(world.now(node))),
            Step::Receipt(msgid) | Step::ReceiptAgain(msgid) => {
                receipt(&mut world, msgid, msgid.into(), State::Delivered);
            }
            Step::OtherReceipt(msgid) => {
                world.left.faults -= 1;
                receipt(&mut world, msgid, OTHER + u64::from(msgid), State::Undelivered);
            }
            Step::Crash(node) => {
                world.left.faults -= 1;
                world.nodes[node] = Node { boot: None, work: Work::Idle, ..world.nodes[node].clone() };
            }
            Step::Panic(node) => {
                world.left.faults -= 1;
                world.nodes[node].work = Work::Idle;
            }
            Step::ClockBack(node) => {
                world.left.faults -= 1;
                world.nodes[node].behind = self.behind;
            }
            Step::ClockForth(node) => {
                world.left.faults -= 1;
                world.nodes[node].behind = 0;
            }
            Step::Cancel(id) => {
                world.left.hands -= 1;
                world.paper.cancel(id);
            }
            Step::Resolve(id, state) => {
                world.left.hands -= 1;
                world.truths[id].by_hand = true;
                world.paper.resolve(id, state);
            }
            Step::Tick(minutes) => {
                world.minute += minutes;
                match minutes {
                    SHORT => world.left.short -= 1,
                    LONG => world.left.long -= 1,
                    _ => world.left = Left { short: 0, long: 0, end: false, ..world.left },
                }
            }
        }
        laws::watch(&mut world);
        world
    }

    fn accept(&self, world: &mut World, node: usize, leased: bool) {
        let now = world.now(node);
        let order = Order {
            touser: 0,
            on_unknown: self.messages[world.paper.rows.len()],
            now,
            send_at: None,
            expires_at: time(LIFE_MINUTES),
        };
        let first_lease = leased.then(|| (world.boot(node), HOLD));
        let (_, held) = world.paper.accept(order, first_lease);
        world.truths.push(Truth::default());
        if let Some(held) = held {
            world.nodes[node].work = Work::Lent(held);
        }
    }

    fn give_up(&self, world: &mut World, node: usize) {
        let now = world.now(node);
        if let Work::Lent(held) = world.nodes[node].work.clone()
            && let Some(next) = rules::too_late(&held, now, self.flaw)
        {
            world.nodes[node].work = Work::Judged { held, next, busy_at: None };
        }
    }

    fn send(&self, world: &mut World, node: usize, fate: Fate) {
        let Work::Lent(held) = world.nodes[node].work.clone() else { return };
        let id = held.id;
        if world.shown(id) > 0 && fate != Fate::NotSent {
            laws::watch_repeat(world, &held);
        }
        let reply = match fate {
            Fate::Taken => Wire::Taken(world.push(id)),
            Fate::TakenAsFirst => {
                let first = world.remembered(id);
                world.push(id);
                first.map_or(Wire::Busy, Wire::Taken)
            }
            Fate::Duplicate => Wire::Duplicate,
            Fate::TakenButBusy => {
                world.push(id);
                world.truths[id].shown_though_busy = true;
                Wire::Busy
            }
            Fate::Busy => Wire::Busy,
            Fate::Refused => Wire::Refused,
            Fate::Lost => Wire::Lost,
            Fate::NotSent => Wire::NotSent,
        };
        world.left.faults -= u8::from(!matches!(fate, Fate::Taken | Fate::TakenAsFirst | Fate::Duplicate));
        world.truths[id].tried |= fate != Fate::NotSent;
        let started_at = world.now(node);
        world.nodes[node].work = Work::Out { held, started_at, reply };
    }

    fn hear(&self, world: &mut World, node: usize) {
        let now = world.now(node);
        if let Work::Out { held, started_at, reply } = world.nodes[node].work.clone() {
            let busy_at = (reply == Wire::Busy).then_some(started_at);
            let next = rules::judge(&held, reply, started_at, now, self.flaw);
            world.nodes[node].work = Work::Judged { held, next, busy_at };
        }
    }

    fn settle(&self, world: &mut World, node: usize) {
        let Work::Judged { held, next, busy_at } = world.nodes[node].work.clone() else { return };
        if self.flaw == Some(Broken::AnswersBeforeCommit) {
            world.truths[held.id].told = Some((next.state(), world.shown(held.id)));
            world.nodes[node].work = Work::Told { held, next, busy_at };
            return;
        }
        let generation = world.paper.rows[held.id].generation;
        let settled = world.paper.settle(&held, &next, busy_at);
        if settled.applied {
            if generation != held.generation {
                world.break_law(laws::GENERATION);
            }
            world.truths[held.id].told = Some((settled.state, world.shown(held.id)));
        }
        world.nodes[node].work = Work::Idle;
    }
}

fn rescue(world: &mut World, node: usize, alive: &[Boot]) {
    let now = world.now(node);
    let running: Vec<Id> = world.nodes[node].work.message().into_iter().collect();
    for id in world.paper.rescue(world.boot(node), alive, now, REPEAT_WINDOW, &running) {
        world.truths[id].tried = true;
    }
}

fn receipt(world: &mut World, msgid: Msgid, name: u64, state: State) {
    let Some(push) = world.pushes.get_mut(msgid as usize) else { return };
    push.reported = true;
    let id = push.id;
    let report = Report { msgid, touser: 0, status: Some((state, None)), is_template: true };
    // Dates of receipts go by the first node's clock.
    let now = world.now(0);
    if let Effect::Settled(settled) = world.paper.record(name, &report, now)
        && settled != id
    {
        world.break_law(laws::OWN);
    }
}
