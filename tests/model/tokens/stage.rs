//! Where the engines run: every door that they go through is a gate, and somebody else opens one gate at a time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::oneshot;

/// Turns of the runtime after which nothing more comes by itself. A request or an answer over the loopback takes a few.
const QUIET_TURNS: u32 = 60;

/// What somebody is about to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gate {
    /// SQL is read, or written.
    Load,
    Keep,
    /// Redis: the token is read, or published.
    LoadShared,
    Publish,
    Lock,
    Unlock,
    /// WeChat gets the request for a token; its answer comes back.
    Ask,
    Answer,
    /// WeChat gets a message with a caller's token.
    Use,
}

/// Somebody who waits at a gate: a node, or its caller.
struct Visitor {
    number: u64,
    node: usize,
    gate: Gate,
    open: oneshot::Sender<()>,
}

#[derive(Default)]
pub(crate) struct Stage {
    inner: Mutex<Inner>,
}

#[derive(Default)]
pub(crate) struct Inner {
    waiting: Vec<Visitor>,
    /// Counted up whenever something happens.
    pub(crate) events: u64,
    pub(crate) wechat: Wechat,
    /// Who has the cluster's right to refresh.
    pub(crate) locked_by: Option<usize>,
    /// Who was refused it, and will look again in a moment.
    pub(crate) asleep: BTreeSet<usize>,
    /// The first law that was broken.
    pub(crate) breach: Option<String>,
}

/// WeChat's side of one account's token.
#[derive(Default)]
pub(crate) struct Wechat {
    /// The token that it gives; 0: none yet.
    newest: u32,
    /// Gone before their time.
    dead: BTreeSet<u32>,
    /// It does not know itself that the newest is dead.
    is_blind: bool,
    /// The newest ends soon: the next request gets another.
    pub(crate) is_old: bool,
    /// Requests of each node that are under way.
    pub(crate) asking: [u32; 2],
    pub(crate) normal: u32,
    pub(crate) forced: u32,
}

impl Wechat {
    /// The newest token dies; `blind`: normal mode goes on giving it.
    pub(crate) fn kill(&mut self, blind: bool) {
        self.dead.insert(self.newest);
        self.is_blind = blind;
    }

    pub(crate) fn give(&mut self, force: bool) -> String {
        *(if force { &mut self.forced } else { &mut self.normal }) += 1;
        let is_known_dead = self.dead.contains(&self.newest) && !self.is_blind;
        if force || self.newest == 0 || is_known_dead || self.is_old {
            self.newest += 1;
            (self.is_blind, self.is_old) = (false, false);
        }
        format!("token-{}", self.newest)
    }

    pub(crate) fn accepts(&self, text: &str) -> bool {
        let number = text.strip_prefix("token-").and_then(|number| number.parse().ok());
        number.is_some_and(|number| number <= self.newest && !self.dead.contains(&number))
    }
}

impl Stage {
    pub(crate) fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().expect("no step panics")
    }

    /// Waits until the gate is opened.
    pub(crate) async fn pass(self: &Arc<Self>, node: usize, gate: Gate) {
        let (open, opened) = oneshot::channel();
        {
            let mut inner = self.inner();
            inner.events += 1;
            inner.asleep.remove(&node);
            let number = inner.events;
            inner.waiting.push(Visitor { number, node, gate, open });
        }
        // The end of the run opens all that is left.
        let _ = opened.await;
    }

    /// The gates where somebody waits.
    pub(crate) fn gates(&self) -> Vec<(u64, usize, Gate)> {
        let mut inner = self.inner();
        inner.waiting.retain(|visitor| !visitor.open.is_closed());
        inner.waiting.iter().map(|visitor| (visitor.number, visitor.node, visitor.gate)).collect()
    }

    pub(crate) fn open(&self, number: u64) {
        let mut inner = self.inner();
        if let Some(at) = inner.waiting.iter().position(|visitor| visitor.number == number) {
            let _ = inner.waiting.remove(at).open.send(());
        }
    }

    pub(crate) fn happened(&self) {
        self.inner().events += 1;
    }

    pub(crate) fn broken(&self, what: impl FnOnce() -> String) {
        self.inner().breach.get_or_insert_with(what);
    }

    /// Lets everybody run to the next gate. Who has only a moment to sleep is waited for.
    pub(crate) async fn settle(&self) {
        let (mut turns, mut events) = (0, 0);
        while turns < QUIET_TURNS || !self.inner().asleep.is_empty() {
            tokio::task::yield_now().await;
            turns += 1;
            let now = self.inner().events;
            if now != events {
                (turns, events) = (0, now);
            }
        }
    }
}
