//! What holds whatever happens: random verbs in random order, checked after each.

use std::collections::HashMap;

use proptest::prelude::*;
use wxgate::domain::ids::MessageId;
use wxgate::domain::message::{Lease, MessageFilter};
use wxgate::domain::page::PageRequest;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::{Lane, OnUnknown, State};

use super::backend::{Backend, House};
use super::build::{
    HOLD, WINDOW, act, at, foreign_receipt, key, message, open_account, receipt, settlement, to_queued, to_sent,
};

#[derive(Clone, Debug)]
enum Verb {
    Accept { user: u8, key: Option<u8>, first_lease: bool, hold: bool },
    Lease { limit: usize, room: usize },
    Settle { which: usize, how: u8, msgid: u8 },
    Receipt { user: u8, msgid: u8, good: bool, foreign: bool },
    Cancel { which: usize },
    Resolve { which: usize, sent: bool },
    Rescue { running: usize },
    Expire,
    Wait { seconds: i64 },
    Restart,
}

fn verb() -> impl Strategy<Value = Verb> {
    prop_oneof![
        6 => (0..3u8, proptest::option::of(0..4u8), any::<bool>(), any::<bool>())
            .prop_map(|(user, key, first_lease, hold)| Verb::Accept { user, key, first_lease, hold }),
        3 => (1..4usize, 1..4usize).prop_map(|(limit, room)| Verb::Lease { limit, room }),
        6 => (0..8usize, 0..7u8, 0..6u8).prop_map(|(which, how, msgid)| Verb::Settle { which, how, msgid }),
        4 => (0..3u8, 0..6u8, any::<bool>(), any::<bool>())
            .prop_map(|(user, msgid, good, foreign)| Verb::Receipt { user, msgid, good, foreign }),
        1 => (0..20usize).prop_map(|which| Verb::Cancel { which }),
        1 => (0..20usize, any::<bool>()).prop_map(|(which, sent)| Verb::Resolve { which, sent }),
        2 => (0..4usize).prop_map(|running| Verb::Rescue { running }),
        1 => Just(Verb::Expire),
        2 => (1..2000i64).prop_map(|seconds| Verb::Wait { seconds }),
        1 => Just(Verb::Restart),
    ]
}

/// The run so far.
struct Run {
    house: House,
    now: i64,
    ids: Vec<MessageId>,
    leases: Vec<Lease>,
    finals: HashMap<MessageId, State>,
}

impl Run {
    async fn step(&mut self, verb: Verb) {
        let stores = self.house.stores.clone();
        let now = at(self.now);
        match verb {
            Verb::Accept { user, key: name, first_lease, hold } => {
                let mut new = message(&format!("o{user}"), now);
                new.idempotency = name.and_then(|name| key(&name.to_string(), "hash"));
                new.on_unknown = if hold { OnUnknown::Hold } else { OnUnknown::Retry };
                let (id, lease) = (new.id, new.first_lease(HOLD));
                let accepted = stores.outbox.accept(new, first_lease.then_some(HOLD)).await.unwrap();
                if accepted == wxgate::store::Accepted::New {
                    self.ids.push(id);
                    self.leases.extend(first_lease.then_some(lease));
                }
            }
            Verb::Lease { limit, room } => {
                let open = [open_account("other", 9), open_account("shop", room)];
                let lent = stores.queue.lease(Lane::Normal, &open, limit, now, HOLD).await.unwrap();
                assert!(lent.len() <= limit.min(room), "{} of {limit}, {room}", lent.len());
                self.leases.extend(lent);
            }
            Verb::Settle { which, how, msgid } => self.settle(which, how, msgid).await,
            Verb::Receipt { user, msgid, good, foreign } => {
                let status = if good { "success" } else { "failed:user block" };
                let make = if foreign { foreign_receipt } else { receipt };
                let mut callback = make(&msgid.to_string(), &format!("o{user}"), status);
                callback.received_at = now;
                stores.inbox.record(callback).await.unwrap();
            }
            Verb::Cancel { which } => {
                if let Some(id) = self.ids.get(which) {
                    stores.messages.cancel(*id, now).await.unwrap().unwrap();
                }
            }
            Verb::Resolve { which, sent } => {
                if let Some(id) = self.ids.get(which) {
                    let state = if sent { State::Sent } else { State::Failed };
                    stores.messages.resolve(*id, state, now, act()).await.unwrap().unwrap();
                }
            }
            Verb::Rescue { running } => {
                let running: Vec<_> = self.ids.iter().take(running).copied().collect();
                let rescued = stores.queue.rescue(now, WINDOW, 3, &running).await.unwrap();
                let settled = rescued.settled.iter().map(|(id, _)| id);
                let mut touched = rescued.queued.iter().chain(&rescued.unknown).chain(settled);
                assert!(touched.all(|id| !running.contains(id)));
            }
            Verb::Expire => drop(stores.queue.expire(now, 3).await.unwrap()),
            Verb::Wait { seconds } => self.now += seconds,
            Verb::Restart => self.house.restart().await,
        }
    }

    /// Leases are kept after their settlement, so that stale ones are tried too.
    async fn settle(&mut self, which: usize, how: u8, msgid: u8) {
        let Some(lease) = self.leases.get(which).cloned() else { return };
        let now = at(self.now);
        let settlement = match how {
            0 | 1 => to_sent(Some(&msgid.to_string())),
            2 => to_sent(None),
            3 => to_queued(now, lease.doubtful_since.or(Some(now))),
            4 => to_queued(now, lease.doubtful_since),
            5 => settlement(Next::Unknown { reason: "timeout".to_owned() }),
            _ => settlement(Next::Rejected { reason: "43004".to_owned() }),
        };
        let (id, generation) = (lease.message_id, lease.generation);
        let settled = self.house.stores.queue.settle(lease, settlement, now).await.unwrap();
        let later = self.leases.iter().any(|other| other.message_id == id && other.generation > generation);
        assert!(!(settled.applied && later), "a stale lease settled {id}");
    }

    /// Figures add up, agree with the rows, and no final state was left.
    async fn check(&mut self) {
        let stores = &self.house.stores;
        assert_eq!(stores.counts.accepted(), u64::try_from(self.ids.len()).unwrap());
        assert_eq!(stores.counts.unaccounted(), 0);
        let page = PageRequest { limit: 200, after: None };
        let rows = stores.messages.list(MessageFilter::default(), page).await.unwrap().items;
        assert_eq!(rows.len(), self.ids.len());
        let mut counted: HashMap<State, u64> = HashMap::new();
        for row in &rows {
            *counted.entry(row.state).or_default() += 1;
            assert_eq!(row.history.last().unwrap().state, row.state);
            let before = self.finals.get(&row.id);
            assert!(before.is_none_or(|state| *state == row.state), "{} left {before:?}", row.id);
            if row.state.is_final() {
                self.finals.insert(row.id, row.state);
            }
        }
        let mut figures: HashMap<State, u64> = HashMap::new();
        for line in stores.counts.states() {
            *figures.entry(line.state).or_default() += line.count;
        }
        assert_eq!(figures, counted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn figures_add_up_and_final_states_stay_whatever_happens(verbs in proptest::collection::vec(verb(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = Backend::Sqlite.open().await;
            let mut run = Run { house, now: 0, ids: Vec::new(), leases: Vec::new(), finals: HashMap::new() };
            for verb in verbs {
                run.step(verb).await;
                run.check().await;
            }
            run.house.stores.close().await;
        });
    }
}
