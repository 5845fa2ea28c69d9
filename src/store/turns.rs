//! The clients of a lane and account take turns, so that the backlog of one is not the waiting of another.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};

use crate::domain::state::Lane;

/// Who was served last, by lane and account: as many entries as there are of these.
#[derive(Default)]
pub(super) struct Turns(Mutex<HashMap<(Lane, Arc<str>), String>>);

/// Who is asked for messages, how many are still wanted.
pub(super) struct Round {
    clients: VecDeque<String>,
    wanted: usize,
    last: Option<String>,
}

impl Turns {
    /// `clients`: those with work that is due, in alphabetical order. Whoever comes after the one served last begins.
    pub(super) fn begin(&self, lane: Lane, account: &Arc<str>, clients: Vec<String>, wanted: usize) -> Round {
        let served = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let last = served.get(&(lane, account.clone())).map_or("", String::as_str);
        let first = clients.partition_point(|client| client.as_str() <= last);
        let mut clients = VecDeque::from(clients);
        if first < clients.len() {
            clients.rotate_left(first);
        }
        Round { clients, wanted, last: None }
    }

    pub(super) fn end(&self, lane: Lane, account: &Arc<str>, round: Round) {
        if let Some(last) = round.last {
            self.0.lock().unwrap_or_else(PoisonError::into_inner).insert((lane, account.clone()), last);
        }
    }
}

impl Round {
    /// Whose turn it is, and for how many: an even share of what is wanted.
    pub(super) fn next(&mut self) -> Option<(String, usize)> {
        if self.wanted == 0 {
            return None;
        }
        let share = self.wanted.div_ceil(self.clients.len().max(1));
        Some((self.clients.pop_front()?, share))
    }

    /// So many came of a turn. Whoever had less than the share has no more.
    pub(super) fn took(&mut self, client: String, share: usize, count: usize) {
        self.wanted = self.wanted.saturating_sub(count);
        if count > 0 {
            self.last = Some(client.clone());
        }
        if count >= share {
            self.clients.push_back(client);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays rounds against backlogs. → who was served, in order.
    fn play(turns: &Turns, backlog: &mut [(&str, usize)], wanted: usize) -> Vec<String> {
        let clients = backlog.iter().filter(|(_, left)| *left > 0).map(|(name, _)| (*name).to_owned()).collect();
        let account: Arc<str> = "shop".into();
        let mut round = turns.begin(Lane::Normal, &account, clients, wanted);
        let mut served = Vec::new();
        while let Some((client, share)) = round.next() {
            let (_, left) = backlog.iter_mut().find(|(name, _)| *name == client).unwrap();
            let count = share.min(*left);
            *left -= count;
            served.extend(std::iter::repeat_n(client.clone(), count));
            round.took(client, share, count);
        }
        turns.end(Lane::Normal, &account, round);
        served
    }

    #[test]
    fn one_at_a_time_they_take_turns() {
        let turns = Turns::default();
        let mut backlog = [("a", 5_000), ("b", 2), ("c", 1)];
        let served: Vec<_> = (0..8).flat_map(|_| play(&turns, &mut backlog, 1)).collect();
        assert_eq!(served, ["a", "b", "c", "a", "b", "a", "a", "a"]);
    }

    #[test]
    fn many_at_once_are_shared_and_nothing_is_left_lying() {
        let turns = Turns::default();
        let mut backlog = [("a", 5_000), ("b", 1), ("c", 10)];
        let served = play(&turns, &mut backlog, 64);
        assert_eq!(served.len(), 64);
        assert_eq!(backlog, [("a", 5_000 - 53), ("b", 0), ("c", 0)]);
        assert_eq!(play(&turns, &mut [("a", 3), ("b", 3)], 100).len(), 6);
        assert_eq!(play(&turns, &mut [], 5), Vec::<String>::new());
    }

    #[test]
    fn a_crowd_of_clients_is_served_one_after_the_other() {
        let turns = Turns::default();
        let names: Vec<String> = (0..50).map(|n| format!("{n:02}")).collect();
        let mut backlog: Vec<(&str, usize)> = names.iter().map(|name| (name.as_str(), 9)).collect();
        let served: Vec<_> = (0..5).flat_map(|_| play(&turns, &mut backlog, 10)).collect();
        assert_eq!(served, names, "nobody is second before everybody was first");
    }
}
