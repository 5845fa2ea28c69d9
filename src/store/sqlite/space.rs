//! Room on the database's volume. Below the floor (`storage.min_free`) nothing new is accepted, so that what is under way
//! can end; and when the volume is full all the same, a reserve beside the database is let go for it.
//!
//! In: how much is free, about once a second, while something is written. Out: the refusal for those who would add rows.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use nix::sys::statvfs::statvfs;

use super::reserve::{RESERVE_BYTES, Reserve};
use crate::config::store::SqliteConfig;
use crate::store::{Error, Space};

/// Between two looks.
const LOOK: Duration = Duration::from_secs(1);
/// With less than this a volume counts as full.
const NOTHING_BYTES: u64 = 256 * 1024;
const MIB: u64 = 1 << 20;

/// What was seen last, for those who ask.
pub(super) type Seen = Arc<Mutex<Option<Space>>>;

/// The free bytes of the volume; `None` when they cannot be had.
type Free = Box<dyn Fn() -> Option<u64> + Send>;

/// The volume's keeper, owned by the writer.
pub(super) struct Watch {
    free: Free,
    volume: PathBuf,
    floor_bytes: u64,
    reserve: Option<Reserve>,
    every: Duration,
    looked_at: Option<Instant>,
    shortage: Option<Error>,
    seen: Seen,
}

impl Watch {
    /// The serving process's: looks at once, and makes the reserve if there is room for it.
    pub(super) fn start(config: &SqliteConfig, database: &Path) -> Self {
        let volume = database.parent().unwrap_or(Path::new("/")).to_owned();
        let folder = volume.clone();
        let free = move || {
            let disk = statvfs(&folder).ok()?;
            Some(disk.blocks_available().saturating_mul(disk.fragment_size()))
        };
        let mut watch = Self::with(Box::new(free), volume, config.min_free_bytes, LOOK);
        if config.min_free_bytes > 0 {
            watch.reserve = Some(Reserve::beside(database));
        } else {
            Reserve::beside(database).let_go();
        }
        watch.look();
        watch
    }

    /// Looks at nothing: for tools beside a gateway.
    pub(super) fn off() -> Self {
        Self::with(Box::new(|| None), PathBuf::new(), 0, LOOK)
    }

    fn with(free: Free, volume: PathBuf, floor_bytes: u64, every: Duration) -> Self {
        let (looked_at, shortage, seen) = (None, None, Seen::default());
        Self { free, volume, floor_bytes, reserve: None, every, looked_at, shortage, seen }
    }

    pub(super) fn seen(&self) -> Seen {
        self.seen.clone()
    }

    /// The refusal for what would add rows, while there is too little room.
    pub(super) fn shortage(&self) -> Option<&Error> {
        self.shortage.as_ref()
    }

    /// Looks, if the last look is over.
    pub(super) fn keep(&mut self) {
        if self.looked_at.is_none_or(|at| at.elapsed() >= self.every) {
            self.look();
        }
    }

    /// A write has failed: was the volume full? Then the reserve is let go, and the write is worth another try: `true`.
    pub(super) fn make_room(&mut self, error: &Error) -> bool {
        let Some(free) = (self.free)() else { return false };
        let is_full = matches!(error, Error::NoRoom { .. }) || free < NOTHING_BYTES;
        let gone = is_full && self.reserve.as_mut().is_some_and(Reserve::let_go);
        if gone {
            tracing::error!(
                volume = %self.volume.display(),
                reserve_bytes = RESERVE_BYTES,
                "the volume of the database is full: the reserve beside it was let go, for what is under way"
            );
            let left = (self.free)().unwrap_or(free);
            self.begin_shortage(left);
        }
        gone
    }

    fn look(&mut self) {
        self.looked_at = Some(Instant::now());
        let Some(free) = (self.free)() else { return };
        let enough = self.floor_bytes.saturating_add(RESERVE_BYTES);
        // Made anew before anybody is let in: what is left then is still as much as the floor.
        let is_kept = free >= enough && self.fill_reserve();
        match (free < self.floor_bytes, self.shortage.is_some()) {
            (true, _) => self.begin_shortage(free),
            (false, true) if !is_kept => self.begin_shortage(free),
            (false, _) => self.end_shortage(free),
        }
    }

    fn fill_reserve(&mut self) -> bool {
        let made = self.reserve.as_mut().map_or(Ok(false), Reserve::make);
        if let Err(error) = &made {
            tracing::debug!(%error, "the reserve beside the database cannot be made now");
        }
        made.is_ok()
    }

    fn begin_shortage(&mut self, free: u64) {
        if self.shortage.is_none() {
            tracing::error!(
                volume = %self.volume.display(),
                free_bytes = free,
                min_free_bytes = self.floor_bytes,
                "the volume of the database has too little room (storage.min_free): sends are refused until there is more; \
                 what was accepted goes on"
            );
        }
        self.shortage = Some(Error::NoRoom {
            advice: format!(
                "the volume of the database has {} free, less than it must keep (storage.min_free: {}): make room there, \
                 {} or more",
                mib(free),
                mib(self.floor_bytes),
                mib(self.floor_bytes.saturating_add(RESERVE_BYTES).saturating_sub(free))
            ),
        });
        self.tell(free);
    }

    fn end_shortage(&mut self, free: u64) {
        if self.shortage.take().is_some() {
            tracing::info!(
                volume = %self.volume.display(),
                free_bytes = free,
                "the volume of the database has room again: sends are accepted"
            );
        }
        self.tell(free);
    }

    fn tell(&self, free_bytes: u64) {
        let space = Space { free_bytes, is_short: self.shortage.is_some() };
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(space);
    }
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(MIB))
}

#[cfg(test)]
impl Watch {
    /// A watch over this folder with its reserve made; every look is due. `free` says how much is free.
    pub(super) fn over(folder: &Path, floor_bytes: u64, free: Free) -> Self {
        let mut watch = Self::with(free, folder.to_owned(), floor_bytes, Duration::ZERO);
        watch.reserve = Some(Reserve::beside(&folder.join("t.db")));
        watch.look();
        watch
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A watch over a volume of which the test says how much is free; every `keep` looks.
    fn watch(floor_mib: u64) -> (tempfile::TempDir, Watch, Arc<AtomicU64>) {
        let folder = tempfile::tempdir().unwrap();
        let free = Arc::new(AtomicU64::new(100 * MIB));
        let reading = free.clone();
        let free_now = Box::new(move || Some(reading.load(Ordering::SeqCst)));
        let watch = Watch::over(folder.path(), floor_mib * MIB, free_now);
        (folder, watch, free)
    }

    fn is_short(watch: &Watch) -> bool {
        assert_eq!(watch.seen.lock().unwrap().unwrap().is_short, watch.shortage().is_some());
        watch.shortage().is_some()
    }

    #[test]
    fn below_the_floor_it_refuses_and_well_above_it_takes_again() {
        let (_folder, mut watch, free) = watch(64);
        for (mib, short) in [(100, false), (64, false), (63, true), (79, true), (80, false), (70, false), (0, true)] {
            free.store(mib * MIB, Ordering::SeqCst);
            watch.keep();
            assert_eq!(is_short(&watch), short, "{mib} MiB");
            assert_eq!(watch.seen.lock().unwrap().unwrap().free_bytes, mib * MIB);
        }
    }

    #[test]
    fn the_refusal_tells_where_how_much_and_what_to_do() {
        let (folder, mut watch, free) = watch(64);
        free.store(41 * MIB, Ordering::SeqCst);
        watch.keep();
        let text = watch.shortage().unwrap().to_string();
        for part in
            ["the volume of the database has 41 MiB free", "storage.min_free: 64 MiB", "make room there, 39 MiB"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains(&*folder.path().to_string_lossy()), "callers read it: {text}");
    }

    #[test]
    fn between_two_looks_the_volume_is_not_asked() {
        let (_folder, mut watch, free) = watch(64);
        watch.every = Duration::from_secs(3600);
        watch.keep();
        free.store(0, Ordering::SeqCst);
        watch.keep();
        assert!(!is_short(&watch));
    }

    #[test]
    fn a_full_volume_costs_the_reserve_once_and_gets_it_back() {
        let (folder, mut watch, free) = watch(64);
        let file = folder.path().join("t.db.reserve");
        watch.keep();
        assert!(file.exists());
        assert!(!watch.make_room(&Error::Overloaded), "another fault, and there is room");
        assert!(watch.make_room(&Error::NoRoom { advice: String::new() }));
        assert!(!file.exists() && is_short(&watch));
        assert!(!watch.make_room(&Error::NoRoom { advice: String::new() }), "there is nothing more to let go");
        free.store(79 * MIB, Ordering::SeqCst);
        watch.keep();
        assert!(!file.exists() && is_short(&watch), "room for the floor, not for the reserve");
        free.store(80 * MIB, Ordering::SeqCst);
        watch.keep();
        assert!(file.exists() && !is_short(&watch));
    }

    #[test]
    fn a_fault_of_another_name_on_a_full_volume_counts_as_full() {
        let (_folder, mut watch, free) = watch(64);
        watch.keep();
        free.store(4096, Ordering::SeqCst);
        assert!(watch.make_room(&super::super::fault::unavailable("disk I/O error")));
    }

    #[test]
    fn without_a_floor_nothing_is_ever_short() {
        let (_folder, mut watch, free) = watch(0);
        watch.reserve = None;
        free.store(0, Ordering::SeqCst);
        watch.keep();
        assert!(!is_short(&watch));
        assert!(!watch.make_room(&Error::NoRoom { advice: String::new() }));
    }

    #[test]
    fn a_real_volume_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let config = SqliteConfig { min_free_bytes: 1 << 50, ..SqliteConfig::at(folder.path().join("t.db")) };
        let watch = Watch::start(&config, &config.path);
        assert!(is_short(&watch), "no volume is that large");
        assert!(watch.seen.lock().unwrap().unwrap().free_bytes > 0);
    }
}
