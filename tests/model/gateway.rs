//! What is searched: the scope, the steps, and the laws as the checker takes them.

use stateright::{Model, Property};
use wxgate::domain::state::{OnUnknown, State};

use crate::laws;
use crate::paper::{Flaw, Id, Msgid, Paper};
use crate::world::{Left, Node, Work, World};

/// What is searched: a few messages to one person, and what may go wrong.
#[derive(Clone, Debug)]
pub(crate) struct Gateway {
    pub(crate) messages: Vec<OnUnknown>,
    pub(crate) left: Left,
    /// Both nodes may run at once. Otherwise the second starts when the first is dead.
    pub(crate) together: bool,
    /// A node that runs may be taken for dead: the line between them is cut.
    pub(crate) cut_off: bool,
    /// All laws are asked for, also those that a node which is cut off may break.
    pub(crate) strict: bool,
    /// How many minutes a clock may be behind the true time.
    pub(crate) behind: i64,
    /// Lending is two steps: look, then claim.
    pub(crate) looks_first: bool,
    pub(crate) flaw: Option<Broken>,
    /// What has to be seen somewhere, or the scope is too small to say anything.
    pub(crate) sees: &'static [&'static str],
}

/// One rule that is broken on purpose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    Store(Flaw),
    RepeatsAfterWindow,
    RepeatsWhatIsHeld,
    AnswersBeforeCommit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    Start(usize),
    Accept {
        node: usize,
        leased: bool,
    },
    Lend(usize),
    Look(usize, Id),
    Claim(usize),
    /// The attempt is not begun: too late.
    GiveUp(usize),
    Send(usize, Fate),
    Hear(usize),
    HearNothing(usize),
    Settle(usize),
    Commit(usize),
    Rescue(usize),
    /// The same, and whoever else lives is taken for dead.
    RescueFromAll(usize),
    Expire(usize),
    Receipt(Msgid),
    ReceiptAgain(Msgid),
    /// A second one that says: not delivered.
    OtherReceipt(Msgid),
    Crash(usize),
    /// The task of the attempt breaks down; its process goes on.
    Panic(usize),
    ClockBack(usize),
    ClockForth(usize),
    Cancel(Id),
    Resolve(Id, State),
    Tick(i64),
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// Errcode 0; a repeat is told with the msgid of the first push, with one of its own, or refused as a duplicate.
    Taken,
    TakenAsFirst,
    Duplicate,
    TakenButBusy,
    Busy,
    Refused,
    Lost,
    NotSent,
}

impl Model for Gateway {
    type State = World;
    type Action = Step;

    fn init_states(&self) -> Vec<World> {
        let flaw = match self.flaw {
            Some(Broken::Store(flaw)) => Some(flaw),
            _ => None,
        };
        let node = |boot| Node { boot, behind: 0, work: Work::Idle };
        let empty = World {
            paper: Paper::with(flaw),
            nodes: [node(Some(1)), node(self.together.then_some(2))],
            boots: if self.together { 2 } else { 1 },
            pushes: Vec::new(),
            truths: Vec::new(),
            minute: 0,
            left: self.left,
            strict: self.strict,
            breach: None,
        };
        // The first message is there from the beginning.
        [true, false].map(|leased| self.take(&empty, Step::Accept { node: 0, leased })).to_vec()
    }

    fn actions(&self, world: &World, steps: &mut Vec<Step>) {
        self.work(world, steps);
        self.mischief(world, steps);
    }

    fn next_state(&self, world: &World, step: Step) -> Option<World> {
        Some(self.take(world, step))
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut all = laws::always();
        if self.strict {
            all.extend(laws::of_the_connected());
        }
        all.extend(laws::sights().into_iter().filter(|sight| self.sees.contains(&sight.name)));
        all
    }
}
