//! Which idempotency keys may have come before: nearly every key is new, and is known to be so without a look into the table.
//!
//! Bloom filters over the keys of a span of time each, 20 bits a key (2.5 MB for a million): of ten thousand new keys one is
//! looked up needlessly. They are made anew at every start, beside the road; until then every key is looked up.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use fastbloom::AtomicBloomFilter;
use rusqlite::{Connection, OpenFlags};

use super::fault::unavailable;
use crate::store::Error;

const BITS_PER_KEY: usize = 20;
/// Keys of the first shelf, and of the largest; each has twice the room of the one before.
const FIRST: usize = 1 << 14;
const LARGEST: usize = 1 << 20;
/// Rows that are read between two looks whether the store is closed.
const CHUNK: usize = 4_096;

/// Hours since 1970, both included.
pub(super) type Hours = std::ops::RangeInclusive<i64>;

#[derive(Default)]
pub(super) struct Seen {
    shelves: RwLock<Vec<Arc<Shelf>>>,
    /// What was kept before this start is on the shelves too.
    complete: AtomicBool,
    closed: AtomicBool,
}

/// Only the last one of a row takes more.
struct Shelf {
    filter: AtomicBloomFilter,
    size: usize,
    taken: AtomicUsize,
    first_hour: AtomicI64,
    last_hour: AtomicI64,
}

impl Seen {
    /// When it may have come; `None`: never.
    pub(super) fn hours_of(&self, key: &str) -> Option<Hours> {
        if !self.complete.load(Ordering::Acquire) {
            return Some(i64::MIN..=i64::MAX);
        }
        let shelves = self.shelves.read().unwrap_or_else(PoisonError::into_inner);
        let hours = shelves.iter().filter(|shelf| shelf.filter.contains(key)).map(|shelf| shelf.hours());
        hours.reduce(|one, other| *one.start().min(other.start())..=*one.end().max(other.end()))
    }

    /// Of two writers at once neither is lost, and the writer thread is the only one.
    pub(super) fn add(&self, key: &str, hour: i64) {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        add(&mut shelves, key, hour);
    }

    /// Keys of before this hour are in the table no more.
    pub(super) fn forget(&self, before: i64) {
        let mut shelves = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.retain(|shelf| *shelf.hours().end() >= before);
    }

    pub(super) fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Reads what the file holds, on a thread of its own. Whoever adds keys to the file from now on adds them here first.
    pub(super) fn fill_from(self: &Arc<Self>, path: PathBuf) -> Result<(), Error> {
        let this = self.clone();
        let fill = move || match this.read(&path) {
            Ok(rows) => tracing::debug!(rows, "the idempotency keys of before this start are known"),
            Err(error) => {
                tracing::warn!(%error, "the idempotency keys of before this start cannot be read ahead: each is looked up")
            }
        };
        let thread = std::thread::Builder::new().name("sqlite-keys".to_owned()).spawn(fill);
        thread.map(drop).map_err(|error| unavailable(format!("a thread of the store cannot start: {error}")))
    }

    fn read(&self, path: &std::path::Path) -> Result<usize, Error> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let conn = Connection::open_with_flags(path, flags)?;
        conn.busy_timeout(super::open::BUSY_TIMEOUT)?;
        let mut select =
            conn.prepare("SELECT created_at / 3600000, key FROM idempotency INDEXED BY idempotency_hour")?;
        let mut rows = select.query([])?;
        let (mut shelves, mut count) = (Vec::new(), 0usize);
        while let Some(row) = rows.next()? {
            // What is no text is no caller's key.
            if let Ok(key) = row.get_ref(1)?.as_str() {
                add(&mut shelves, key, row.get(0)?);
            }
            count += 1;
            if count.is_multiple_of(CHUNK) && self.closed.load(Ordering::Acquire) {
                return Ok(count);
            }
        }
        let mut ours = self.shelves.write().unwrap_or_else(PoisonError::into_inner);
        shelves.append(&mut ours);
        *ours = shelves;
        self.complete.store(true, Ordering::Release);
        Ok(count)
    }
}

fn add(shelves: &mut Vec<Arc<Shelf>>, key: &str, hour: i64) {
    let last = shelves.last().filter(|shelf| shelf.taken.load(Ordering::Relaxed) < shelf.size);
    let shelf = match last {
        Some(shelf) => shelf,
        None => {
            let size = shelves.last().map_or(FIRST, |full| (full.size * 2).min(LARGEST));
            shelves.push(Arc::new(Shelf::new(size, hour)));
            &shelves[shelves.len() - 1]
        }
    };
    shelf.filter.insert(key);
    shelf.taken.fetch_add(1, Ordering::Relaxed);
    shelf.first_hour.fetch_min(hour, Ordering::Relaxed);
    shelf.last_hour.fetch_max(hour, Ordering::Relaxed);
}

impl Shelf {
    fn new(size: usize, hour: i64) -> Self {
        Self {
            filter: AtomicBloomFilter::with_num_bits(size * BITS_PER_KEY).seed(&rand::random()).expected_items(size),
            size,
            taken: AtomicUsize::new(0),
            first_hour: AtomicI64::new(hour),
            last_hour: AtomicI64::new(hour),
        }
    }

    fn hours(&self) -> Hours {
        self.first_hour.load(Ordering::Relaxed)..=self.last_hour.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete() -> Seen {
        Seen { complete: AtomicBool::new(true), ..Seen::default() }
    }

    #[test]
    fn no_key_that_came_is_taken_for_new_and_few_new_ones_for_known() {
        let seen = complete();
        let many = 3 * FIRST + 7;
        for number in 0..many {
            seen.add(&format!("order-{number}"), i64::try_from(number / 1000).unwrap());
        }
        for number in 0..many {
            let hours = seen.hours_of(&format!("order-{number}")).unwrap();
            assert!(hours.contains(&i64::try_from(number / 1000).unwrap()), "{number}: {hours:?}");
        }
        let wrong = (0..many).filter(|number| seen.hours_of(&format!("other-{number}")).is_some()).count();
        assert!(wrong * 1000 < many, "{wrong} of {many}");
    }

    #[test]
    fn shelves_go_with_their_last_hour() {
        let seen = complete();
        (0..FIRST).for_each(|number| seen.add(&format!("old-{number}"), 5));
        seen.add("new", 9);
        seen.forget(6);
        assert_eq!((seen.hours_of("old-1"), seen.hours_of("new")), (None, Some(9..=9)));
    }

    #[test]
    fn before_the_file_is_read_every_key_may_have_come() {
        let seen = Seen::default();
        assert_eq!(seen.hours_of("anything"), Some(i64::MIN..=i64::MAX));
    }
}
