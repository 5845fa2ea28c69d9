//! What holds whatever happens: random verbs in random order, each held against the store on paper (`tests/paper`), which
//! the checker of `tests/model` searches.

mod verbs;

use std::collections::HashMap;

use proptest::prelude::*;
use wxgate::domain::attempt::{Attempt, AttemptOutcome};
use wxgate::domain::callback::{ReceiptEffect, Recorded};
use wxgate::domain::ids::MessageId;
use wxgate::domain::message::{Lease, Message, MessageFilter};
use wxgate::domain::page::PageRequest;
use wxgate::domain::receipt::ReceiptStatus;
use wxgate::domain::settlement::{Next, Settlement};
use wxgate::domain::state::{Lane, OnUnknown, State};
use wxgate::store::{Accepted, Settled};

use self::verbs::{Verb, verbs};
use super::backend::{Backend, House};
use super::build::{HOLD, WINDOW, act, at, attempt, foreign_receipt, key, message, open_account, path, receipt};
use crate::paper::{self, Boot, Effect, Held, Id, Order, Paper, Report, is_waiting};

/// Enough for every message of a run: what a limit does is another test's business.
const ALL: usize = 100;

/// The run so far: the store, and what it should hold.
struct Run {
    house: House,
    paper: Paper,
    boot: Boot,
    now: i64,
    accepted_at: i64,
    /// The first of the two people that it is about.
    people: u8,
    /// The store's names for the messages of the paper.
    ids: Vec<MessageId>,
    paths: Vec<Vec<State>>,
    keys: HashMap<u8, Id>,
    /// Kept after their settlement, so that stale ones are tried too.
    leases: Vec<(Lease, Held)>,
}

impl Run {
    async fn open(backend: Backend) -> Self {
        Self {
            house: backend.open().await,
            paper: Paper::default(),
            boot: 1,
            now: 0,
            accepted_at: 0,
            people: 0,
            ids: Vec::new(),
            paths: Vec::new(),
            keys: HashMap::new(),
            leases: Vec::new(),
        }
    }

    async fn step(&mut self, verb: Verb) {
        let stores = self.house.stores.clone();
        let now = at(self.now);
        match verb {
            Verb::Accept { .. } => self.accept(verb).await,
            Verb::Lease { limit, room } => {
                let open = [open_account("other", 9), open_account("shop", room)];
                let lent = stores.queue.lease(Lane::Normal, &open, limit, now, HOLD).await.unwrap();
                let held = self.paper.lease(self.boot, limit.min(room), now, HOLD);
                assert_eq!(lent.iter().map(|lease| self.held(lease)).collect::<Vec<_>>(), held);
                self.leases.extend(lent.into_iter().zip(held));
            }
            Verb::Extend { which, seconds } => {
                if let Some((lease, held)) = self.leases.iter().rev().nth(which) {
                    let until = at(self.now + seconds);
                    let extended = stores.queue.extend(lease.message_id, lease.generation, until).await.unwrap();
                    assert_eq!(extended, self.paper.extend(held.id, held.generation, until));
                }
            }
            Verb::Settle { which, how, msgid } => self.settle(which, how, msgid).await,
            Verb::Receipt { user, msgid, status, foreign } => self.receipt(user, msgid, status, foreign).await,
            Verb::Cancel { which } => {
                if let Some((id, message_id)) = self.nth(which) {
                    let changed = stores.messages.cancel(message_id, now).await.unwrap().unwrap();
                    assert_eq!(changed.applied, self.paper.cancel(id));
                }
            }
            Verb::Resolve { which, state } => {
                if let Some((id, message_id)) = self.nth(which) {
                    let state = [State::Sent, State::Failed, State::Delivered][usize::from(state)];
                    let changed = stores.messages.resolve(message_id, state, now, act()).await.unwrap().unwrap();
                    assert_eq!(changed.applied, self.paper.resolve(id, state));
                }
            }
            Verb::Rescue { running } => {
                let running: Vec<Id> = (0..self.ids.len()).take(running).collect();
                let named: Vec<_> = running.iter().map(|id| self.ids[*id]).collect();
                let rescued = stores.queue.rescue(now, WINDOW, ALL, &named).await.unwrap();
                let settled = rescued.settled.iter().map(|(id, _)| *id);
                let left = rescued.queued.iter().chain(&rescued.unknown).chain(&rescued.quarantined);
                let touched = left.copied().chain(settled);
                let expected = self.paper.rescue(self.boot, &[self.boot], now, WINDOW, &running);
                self.same_messages(touched, expected);
            }
            Verb::Expire => {
                let expired = stores.queue.expire(now, ALL).await.unwrap();
                let expected = self.paper.expire(now);
                self.same_messages(expired.into_iter().map(|(id, _)| id), expected);
            }
            Verb::Wait { seconds } => self.now += seconds,
            Verb::Restart => {
                self.house.restart().await;
                self.boot += 1;
            }
            Verb::NextPeople => self.people = self.people.saturating_add(2),
        }
    }

    async fn accept(&mut self, verb: Verb) {
        let Verb::Accept { user, key: name, first_lease, hold, later } = verb else { return };
        // Ids grow: of messages that are due at the same moment, one store takes the lower id, the other the older row.
        self.now = self.now.max(self.accepted_at) + 1;
        self.accepted_at = self.now;
        let (user, now) = (self.people + user, at(self.now));
        let mut new = message(&format!("o{user}"), now);
        new.idempotency = name.and_then(|name| key(&name.to_string(), "hash"));
        new.on_unknown = if hold { OnUnknown::Hold } else { OnUnknown::Retry };
        new.send_at = later.map(|later| at(self.now + later));
        let order =
            Order { touser: user, on_unknown: new.on_unknown, now, send_at: new.send_at, expires_at: new.expires_at };
        let (message_id, lease) = (new.id, new.first_lease(HOLD));
        let accepted = self.house.stores.outbox.accept(new, first_lease.then_some(HOLD)).await.unwrap();
        if let Some(known) = name.and_then(|name| self.keys.get(&name)) {
            assert_eq!(accepted, Accepted::Replay { message_id: self.ids[*known] });
            return;
        }
        assert_eq!(accepted, Accepted::New);
        let (id, held) = self.paper.accept(order, first_lease.then_some((self.boot, HOLD)));
        self.ids.push(message_id);
        self.keys.extend(name.map(|name| (name, id)));
        self.leases.extend(held.map(|held| (lease, held)));
    }

    async fn settle(&mut self, which: usize, how: u8, msgid: u8) {
        let Some((lease, held)) = self.leases.iter().rev().nth(which).cloned() else { return };
        let now = at(self.now);
        let reason = "timeout".to_owned();
        let queued = |doubtful_since, busy_since| {
            let reason = "busy".to_owned();
            Next::Queued { due_at: now, reason, tries: lease.tries + 1, doubtful_since, busy_since }
        };
        let next = match how {
            0 | 1 => Next::Sent { msgid: Some(msgid.to_string()) },
            2 => Next::Sent { msgid: None },
            3 => queued(lease.doubtful_since.or(Some(now)), lease.busy_since),
            4 => queued(lease.doubtful_since, lease.busy_since),
            5 => queued(lease.doubtful_since, lease.busy_since.or(Some(now))),
            6 => Next::Unknown { reason },
            7 => Next::Failed { reason },
            8 => Next::Expired { reason },
            _ => Next::Rejected { reason },
        };
        let busy_at = matches!(how, 5 | 7).then_some(now);
        let outcome = if busy_at.is_some() { AttemptOutcome::Busy } else { AttemptOutcome::Accepted };
        let attempts = vec![Attempt { at: now, ..attempt(outcome) }];
        let expected = self.paper.settle(&held, &next, busy_at);
        let settled = self.house.stores.queue.settle(lease, Settlement { attempts, next }, now).await.unwrap();
        let Settled { applied, state, reason, msgid } = settled;
        let msgid = msgid.map(|msgid| msgid.parse().unwrap());
        assert_eq!(paper::Settled { applied, state, reason: reason.map(Into::into), msgid }, expected);
    }

    async fn receipt(&mut self, user: u8, msgid: u8, status: u8, foreign: bool) {
        let text = ["success", "success", "failed:user block", "failed: system failed", "pending"][usize::from(status)];
        let make = if foreign { foreign_receipt } else { receipt };
        let user = self.people + user;
        let mut callback = make(&msgid.to_string(), &format!("o{user}"), text);
        callback.received_at = at(self.now);
        let status_no = status;
        let status = match &callback.receipts[0].status {
            ReceiptStatus::Delivered => Some((State::Delivered, None)),
            ReceiptStatus::Undelivered { reason } => Some((State::Undelivered, Some(reason.clone().into()))),
            ReceiptStatus::Other { .. } => None,
        };
        let report = Report { msgid: msgid.into(), touser: user, status, is_template: !foreign };
        let name = (u64::from(user) << 16) | (u64::from(msgid) << 8) | u64::from(status_no.max(1));
        let expected = self.paper.record(name, &report, at(self.now));
        let effect = match self.house.stores.inbox.record(callback).await.unwrap() {
            Recorded::Seen { .. } => Effect::Seen,
            Recorded::First { receipts } => match &receipts[..] {
                [ReceiptEffect::Settled { message_id, .. }] => Effect::Settled(self.id(*message_id)),
                [ReceiptEffect::AlreadyFinal { message_id }] => Effect::AlreadyFinal(self.id(*message_id)),
                [ReceiptEffect::Unmatched] => Effect::Unmatched,
                [ReceiptEffect::NotFinal] => Effect::NotFinal,
                other => panic!("one receipt, one effect: {other:?}"),
            },
        };
        assert_eq!(effect, expected);
    }

    /// Rows, figures and receipts are those of the paper, and no final state was left.
    async fn check(&mut self) {
        for moved in self.paper.take_moves() {
            assert!(moved.from.is_none_or(|from| !from.is_final()), "{} left {:?}", moved.id, moved.from);
            self.paths.resize(self.paper.rows.len(), Vec::new());
            self.paths[moved.id].push(moved.to);
        }
        let stores = &self.house.stores;
        let page = PageRequest { limit: 200, after: None };
        let rows = stores.messages.list(MessageFilter::default(), page).await.unwrap().items;
        assert_eq!(rows.len(), self.ids.len());
        for message in &rows {
            self.check_row(message);
        }
        let mut figures: HashMap<State, i64> = State::ALL.map(|state| (state, 0)).into();
        for line in stores.counts.states() {
            *figures.entry(line.state).or_default() += i64::try_from(line.count).unwrap();
        }
        assert_eq!(figures, State::ALL.map(|state| (state, self.paper.count(state))).into());
        assert_eq!((stores.counts.accepted(), stores.counts.unaccounted()), (self.ids.len() as u64, 0));
        let unmatched = self.paper.receipts.iter().filter(|kept| kept.is_unmatched()).count();
        assert_eq!(stores.counts.unmatched_receipts().await.unwrap(), unmatched as u64);
    }

    fn check_row(&self, message: &Message) {
        let id = self.id(message.id);
        let row = &self.paper.rows[id];
        let msgid = message.msgid.as_ref().map(|msgid| msgid.parse().unwrap());
        assert_eq!(
            (message.state, message.state_reason.as_deref(), msgid),
            (row.state, row.reason.as_deref(), row.msgid)
        );
        assert_eq!(message.next_attempt_at, is_waiting(row.state).then_some(row.due_at));
        assert_eq!(path(message), self.paths[id]);
    }

    fn held(&self, lease: &Lease) -> Held {
        Held {
            id: self.id(lease.message_id),
            touser: lease.touser.as_str().trim_start_matches('o').parse().unwrap(),
            on_unknown: lease.on_unknown,
            generation: lease.generation,
            created_at: lease.created_at,
            expires_at: lease.expires_at,
            until: lease.until,
            tries: lease.tries,
            doubtful_since: lease.doubtful_since,
            busy_since: lease.busy_since,
        }
    }

    fn nth(&self, which: usize) -> Option<(Id, MessageId)> {
        self.ids.iter().copied().enumerate().rev().nth(which)
    }

    fn id(&self, message_id: MessageId) -> Id {
        self.ids.iter().position(|known| *known == message_id).unwrap()
    }

    fn same_messages(&self, found: impl Iterator<Item = MessageId>, mut expected: Vec<Id>) {
        let mut found: Vec<Id> = found.map(|id| self.id(id)).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found, expected);
    }
}

fn hold_against_paper(backend: Backend, verbs: Vec<Verb>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let mut run = Run::open(backend).await;
        for some in verbs.chunks(6) {
            for verb in some {
                run.step(verb.clone()).await;
            }
            run.check().await;
        }
        run.house.stores.close().await;
    });
}

fn runs(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, max_shrink_time: 20_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(runs(20))]

    #[test]
    fn sqlite_does_what_the_paper_says(verbs in verbs()) {
        hold_against_paper(Backend::Sqlite, verbs);
    }
}

proptest! {
    #![proptest_config(runs(12))]

    #[test]
    fn postgres_does_what_the_paper_says(verbs in verbs()) {
        hold_against_paper(Backend::Postgres, verbs);
    }
}
