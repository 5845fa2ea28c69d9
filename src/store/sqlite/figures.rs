//! How many messages stand where: what one transaction changes, and the sum in memory.
//!
//! A batch collects its [`Deltas`], writes them in its own transaction, and adds them to [`Figures`] after its commit:
//! asking for a figure touches no row.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rusqlite::{Connection, params};

use crate::domain::state::{Lane, State};
use crate::store::{Error, StateCount};

/// Counts of one account, by lane and state.
type Grid = [[i64; State::ALL.len()]; Lane::ALL.len()];

/// What a transaction changes.
#[derive(Default)]
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

    pub(super) fn write(&self, tx: &Connection) -> Result<(), Error> {
        if self.accepted != 0 {
            tx.prepare_cached("UPDATE totals SET value = value + ?1 WHERE name = 'accepted'")?
                .execute([self.accepted])?;
        }
        for (account, lane, state, change) in lines(self.accounts.iter().map(|(name, grid)| (name, grid))) {
            tx.prepare_cached(
                "INSERT INTO counts (account, lane, state, count) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET count = count + excluded.count",
            )?
            .execute(params![account, lane, state, change])?;
        }
        Ok(())
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
struct Sums {
    accepted: i64,
    accounts: BTreeMap<String, Grid>,
}

impl Figures {
    pub(super) fn load(conn: &Connection) -> Result<Self, Error> {
        let mut sums = Sums {
            accepted: conn.query_row("SELECT value FROM totals WHERE name = 'accepted'", [], |row| row.get(0))?,
            ..Sums::default()
        };
        let mut select = conn.prepare("SELECT account, lane, state, count FROM counts")?;
        let mut rows = select.query([])?;
        while let Some(row) = rows.next()? {
            let (account, lane, state): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let corrupt = |column| Error::Corrupt { table: "counts", column, row: account.clone() };
            let lane = Lane::parse(&lane).ok_or_else(|| corrupt("lane"))?;
            let state = State::parse(&state).ok_or_else(|| corrupt("state"))?;
            sums.accounts.entry(account).or_default()[lane as usize][state as usize] = row.get(3)?;
        }
        Ok(Self(Mutex::new(sums)))
    }

    pub(super) fn add(&self, deltas: &Deltas) {
        let mut sums = self.sums();
        sums.accepted += deltas.accepted;
        for (account, lane, state, change) in lines(deltas.accounts.iter().map(|(name, grid)| (name, grid))) {
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
