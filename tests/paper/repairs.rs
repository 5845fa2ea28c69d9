//! Leases whose holder died, messages whose time is over.

use std::time::Duration;

use wxgate::domain::clock::{JUMP, Timestamp};
use wxgate::domain::state::{OnUnknown, State};
use wxgate::store::queue::CRASHES;

use super::{Boot, CRASH, Flaw, Id, Paper, QUARANTINED, Row, is_waiting};

impl Paper {
    /// As `Queue::rescue` by `own`, with room for all: the messages that were taken back. `alive`: the processes that live.
    pub(crate) fn rescue(
        &mut self,
        own: Boot,
        alive: &[Boot],
        now: Timestamp,
        window: Duration,
        running: &[Id],
    ) -> Vec<Id> {
        let is_found = |id: &Id| self.is_orphan(*id, own, alive, now) && !running.contains(id);
        let mut found: Vec<Id> = (0..self.rows.len()).filter(is_found).collect();
        found.sort_by_key(|id| self.rows[*id].lease_until);
        for id in &found {
            self.take_back(*id, now, window);
        }
        found
    }

    /// What a living process holds is its own business, also when the lease has ended.
    pub(crate) fn is_orphan(&self, id: Id, own: Boot, alive: &[Boot], now: Timestamp) -> bool {
        let Row { state, boot, leased_at, lease_until, .. } = &self.rows[id];
        let Some(boot) = boot else { return *state == State::Sending };
        // A lease from the future: the clock was set back.
        let is_over = lease_until.is_some_and(|until| until < now) || leased_at.is_some_and(|at| at > now.plus(JUMP));
        let ended = is_over && self.flaw != Some(Flaw::RescueLooksOnlyAtOthers);
        *state == State::Sending && if *boot == own { ended } else { !alive.contains(boot) }
    }

    fn take_back(&mut self, id: Id, now: Timestamp, window: Duration) {
        let flaw = self.flaw;
        let row = &mut self.rows[id];
        let since = row.doubtful_since.or(row.leased_at).unwrap_or(now);
        // A doubt from the future: the clock was set back, and how old it is nobody knows.
        let young = since <= now && now.since(since) < window;
        let repeats = row.on_unknown == OnUnknown::Retry || flaw == Some(Flaw::RescueRepeatsWhatIsHeld);
        if flaw != Some(Flaw::RescueLeavesNoDoubt) {
            row.doubtful_since = Some(since);
        }
        row.due_at = now;
        let (state, reason) = match repeats && young {
            true if row.crashes + 1 >= CRASHES => (State::Unknown, QUARANTINED),
            true => (State::Queued, CRASH),
            false => (State::Unknown, CRASH),
        };
        self.change(id, state, Some(reason.into()));
        if let Some(kept) = self.meant_for(id, since) {
            self.deliver(id, kept);
        }
    }

    /// As `Queue::expire`, with room for all.
    pub(crate) fn expire(&mut self, now: Timestamp) -> Vec<Id> {
        let is_over = |row: &Row| is_waiting(row.state) && row.expires_at <= now;
        let mut found: Vec<Id> = self.ids(is_over).collect();
        found.sort_by_key(|id| self.rows[*id].expires_at);
        for id in &found {
            let doubt = self.rows[*id].doubtful_since.is_some() && self.flaw != Some(Flaw::ExpiryForgetsDoubt);
            self.change(*id, if doubt { State::Unknown } else { State::Expired }, Some("expired".into()));
        }
        found
    }
}
