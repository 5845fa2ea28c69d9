//! One person, a few messages, two nodes, one WeChat, and a clock of whole minutes.

use wxgate::domain::clock::Timestamp;
use wxgate::domain::settlement::Next;
use wxgate::domain::state::State;

use crate::paper::{Boot, Held, Id, Msgid, Paper};

/// How long WeChat remembers a `client_msg_id` (template message page).
const MEMORY_MINUTES: i64 = 10;

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct World {
    pub(crate) paper: Paper,
    pub(crate) nodes: [Node; 2],
    pub(crate) boots: Boot,
    /// What WeChat took, by `msgid`.
    pub(crate) pushes: Vec<Push>,
    pub(crate) truths: Vec<Truth>,
    /// The true time.
    pub(crate) minute: i64,
    pub(crate) left: Left,
    pub(crate) strict: bool,
    /// The first law that a step has broken.
    pub(crate) breach: Option<&'static str>,
}

/// How much more may happen: this bounds the search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    /// Lost and bad answers, crashes, steps of a clock.
    pub(crate) faults: u8,
    /// Cancel, resolve.
    pub(crate) hands: u8,
    /// Ticks of one minute.
    pub(crate) short: u8,
    /// Ticks of nine minutes.
    pub(crate) long: u8,
    /// The last tick, past every date.
    pub(crate) end: bool,
}

/// A gateway process, or the place where one may be started.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Node {
    /// `None`: not running.
    pub(crate) boot: Option<Boot>,
    /// How many minutes its clock is behind the true time.
    pub(crate) behind: i64,
    pub(crate) work: Work,
}

/// What a node does for a message.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Work {
    Idle,
    /// It has seen that the message is due (only where lending takes two steps).
    Seen(Id),
    Lent(Held),
    /// The request has left; this is what becomes of it.
    Out {
        held: Held,
        started_at: Timestamp,
        reply: Wire,
    },
    Judged {
        held: Held,
        next: Next,
        busy_at: Option<Timestamp>,
    },
    /// The caller was told; the store was not (only where that is the flaw).
    Told {
        held: Held,
        next: Next,
        busy_at: Option<Timestamp>,
    },
}

impl Work {
    /// The message that it is about, when a lease is held.
    pub(crate) fn message(&self) -> Option<Id> {
        match self {
            Self::Idle | Self::Seen(_) => None,
            Self::Lent(held) | Self::Out { held, .. } | Self::Judged { held, .. } | Self::Told { held, .. } => {
                Some(held.id)
            }
        }
    }
}

/// WeChat's answer to a send, while it is on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wire {
    Taken(Msgid),
    /// 40241.
    Duplicate,
    /// -1.
    Busy,
    /// 43004.
    Refused,
    /// It will never come.
    Lost,
    NotSent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Push {
    pub(crate) id: Id,
    pub(crate) minute: i64,
    /// Recognised as a repeat: not shown, and there is no receipt.
    pub(crate) repeat: bool,
    /// Its receipt has come.
    pub(crate) reported: bool,
}

/// What nobody inside the gateway can know for certain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub(crate) struct Truth {
    /// A request left, or a holder died.
    pub(crate) tried: bool,
    /// It was shown, and WeChat answered -1 all the same.
    pub(crate) shown_though_busy: bool,
    /// An operator has decided.
    pub(crate) by_hand: bool,
    /// What a caller was told last, and how often the message had been shown then.
    pub(crate) told: Option<(State, usize)>,
}

impl World {
    /// A node's own clock.
    pub(crate) fn now(&self, node: usize) -> Timestamp {
        time(self.minute - self.nodes[node].behind)
    }

    /// The boot of a node that runs.
    pub(crate) fn boot(&self, node: usize) -> Boot {
        self.nodes[node].boot.unwrap_or_default()
    }

    pub(crate) fn alive(&self) -> Vec<Boot> {
        self.nodes.iter().filter_map(|node| node.boot).collect()
    }

    /// How often a phone showed the message.
    pub(crate) fn shown(&self, id: Id) -> usize {
        self.pushes.iter().filter(|push| push.id == id && !push.repeat).count()
    }

    /// The push that WeChat would recognise a repeat of.
    pub(crate) fn remembered(&self, id: Id) -> Option<Msgid> {
        let is_fresh = |push: &Push| push.id == id && !push.repeat && self.minute - push.minute < MEMORY_MINUTES;
        self.pushes.iter().position(is_fresh).and_then(|at| Msgid::try_from(at).ok())
    }

    /// Takes a request: shown, unless it is recognised.
    pub(crate) fn push(&mut self, id: Id) -> Msgid {
        let repeat = self.remembered(id).is_some();
        self.pushes.push(Push { id, minute: self.minute, repeat, reported: repeat });
        Msgid::try_from(self.pushes.len() - 1).unwrap_or_default()
    }

    pub(crate) fn break_law(&mut self, law: &'static str) {
        self.breach.get_or_insert(law);
    }
}

/// A minute of the model.
pub(crate) fn time(minute: i64) -> Timestamp {
    Timestamp::from_seconds(1_700_000_000 + minute * 60)
}
