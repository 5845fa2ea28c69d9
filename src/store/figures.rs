//! How many messages stand where: what one transaction changes, and the sum in memory.
//!
//! A batch collects its [`Deltas`], writes them in its own transaction, and adds them to [`Figures`] after its commit:
//! asking for a figure touches no row.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Error, StateCount};
use crate::domain::state::{Lane, State};

/// Counts of one account, by lane and state.
type Grid = [[i64; State::ALL.len()]; Lane::ALL.len()];

/// What a transaction changes.
#[derive(Clone, Default)]
pub(super) struct Deltas {
    accepted: i64,
    /// A batch knows few accounts: a look along the line beats a map.
    accounts: Vec<(String, Grid)>,
}

impl Deltas {
    pub(super) fn accepted(&mut self, account: &str, lane: Lane, state: State) {
        self.accepted += 1;
        self.grid(account)[lane as usize][state as usize] += 1;
    }

    pub(super) fn moved(&mut self, account: &str, lane: Lane, from: State, to: State) {
        let counts = &mut self.grid(account)[lane as usize];
        counts[from as usize] -= 1;
        counts[to as usize] += 1;
    }

    /// No message was accepted or changed its state.
    pub(super) fn is_empty(&self) -> bool {
        self.accounts.is_empty()
    }

    pub(super) fn count_of_accepted(&self) -> i64 {
        self.accepted
    }

    /// What changes where, without what stays the same.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&str, Lane, State, i64)> {
        lines(self.accounts.iter().map(|(name, grid)| (name, grid)))
    }

    fn grid(&mut self, account: &str) -> &mut Grid {
        let known = self.accounts.iter().position(|(name, _)| name == account);
        let index = known.unwrap_or_else(|| {
            self.accounts.push((account.to_owned(), Grid::default()));
            self.accounts.len() - 1
        });
        &mut self.accounts[index].1
    }
}

/// The non-zero cells.
fn lines<'a>(
    accounts: impl IntoIterator<Item = (&'a String, &'a Grid)>,
) -> impl Iterator<Item = (&'a str, Lane, State, i64)> {
    accounts.into_iter().flat_map(|(account, grid)| {
        Lane::ALL.into_iter().flat_map(move |lane| {
            State::ALL.into_iter().filter_map(move |state| {
                let count = grid[lane as usize][state as usize];
                (count != 0).then_some((account.as_str(), lane, state, count))
            })
        })
    })
}

/// The sums, as of the last commit.
#[derive(Default)]
pub(super) struct Figures(Mutex<Sums>);

#[derive(Default)]
pub(super) struct Sums {
    accepted: i64,
    accounts: BTreeMap<String, Grid>,
}

impl Sums {
    pub(super) fn new(accepted: i64) -> Self {
        Self { accepted, accounts: BTreeMap::new() }
    }

    /// Adds accepted messages.
    pub(super) fn accept(&mut self, count: i64) {
        self.accepted += count;
    }

    /// Adds a row of `counts`.
    pub(super) fn put(&mut self, account: String, lane: &str, state: &str, count: i64) -> Result<(), Error> {
        let corrupt = |column| Error::Corrupt { table: "counts", column, row: account.clone() };
        let lane = Lane::parse(lane).ok_or_else(|| corrupt("lane"))?;
        let state = State::parse(state).ok_or_else(|| corrupt("state"))?;
        self.accounts.entry(account).or_default()[lane as usize][state as usize] += count;
        Ok(())
    }
}

impl Figures {
    /// Other sums altogether, of one moment.
    pub(super) fn replace(&self, sums: Sums) {
        *self.sums() = sums;
    }

    pub(super) fn add(&self, deltas: &Deltas) {
        let mut sums = self.sums();
        sums.accepted += deltas.accepted;
        for (account, lane, state, change) in deltas.lines() {
            if !sums.accounts.contains_key(account) {
                sums.accounts.insert(account.to_owned(), Grid::default());
            }
            if let Some(grid) = sums.accounts.get_mut(account) {
                grid[lane as usize][state as usize] += change;
            }
        }
    }

    pub(super) fn states(&self) -> Vec<StateCount> {
        let sums = self.sums();
        lines(&sums.accounts)
            .map(|(account, lane, state, count)| StateCount {
                account: account.to_owned(),
                lane,
                state,
                count: u64::try_from(count).unwrap_or(0),
            })
            .collect()
    }

    /// How many messages are `scheduled` or `queued`.
    pub(super) fn waiting(&self) -> u64 {
        let waits = |state| matches!(state, State::Scheduled | State::Queued);
        let sums = self.sums();
        let count: i64 = lines(&sums.accounts).filter(|(_, _, state, _)| waits(*state)).map(|(.., count)| count).sum();
        u64::try_from(count).unwrap_or(0)
    }

    pub(super) fn accepted(&self) -> u64 {
        u64::try_from(self.sums().accepted).unwrap_or(0)
    }

    pub(super) fn unaccounted(&self) -> i64 {
        let sums = self.sums();
        sums.accepted - lines(&sums.accounts).map(|(.., count)| count).sum::<i64>()
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
