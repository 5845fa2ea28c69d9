//! Every nonce once, within the window in which its request could come again: in Redis for all nodes, and in this process
//! for when there is no Redis or it fails.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::domain::clock::Timestamp;
use crate::domain::signed::{NonceId, WINDOW_SECONDS};
use crate::store::{Allowance, SharedNonces};
use crate::telemetry::metrics::Metrics;

/// What this process remembers at most: some 30 MB. At an even pace, 1,600 signed requests a second.
const ROOM: usize = 500_000;
/// How far the clocks of nodes may be apart.
const SKEW_SECONDS: i64 = 60;

pub(super) struct Nonces {
    shared: Option<Arc<dyn SharedNonces>>,
    own: Mutex<Memory>,
    metrics: Metrics,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    First,
    /// It came before, or may have come before.
    Again,
    /// It cannot be remembered, so it is not to be taken.
    NoRoom,
}

/// Nonces by the second in which their window ends.
struct Memory {
    room: usize,
    seen: HashSet<NonceId>,
    by_end: BTreeMap<i64, Vec<NonceId>>,
    /// Windows up to this second are forgotten: whatever ends there may have come before.
    forgotten: i64,
}

impl Nonces {
    pub(super) fn new(shared: Option<Arc<dyn SharedNonces>>, metrics: Metrics) -> Self {
        Self { shared, own: Mutex::new(Memory::new(ROOM)), metrics }
    }

    /// Remembers the nonce of a request that was signed at this second and is right. Our own memory is asked even where Redis
    /// answers: it then knows what came through this process, should Redis fail or be flushed.
    pub(super) async fn remember(
        &self,
        allowance: &mut Allowance,
        nonce: NonceId,
        signed_at: i64,
        now: Timestamp,
    ) -> Verdict {
        let end = signed_at + WINDOW_SECONDS;
        let own = self.own.lock().unwrap_or_else(PoisonError::into_inner).remember(nonce, end, now.as_seconds());
        let Some(shared) = self.shared.as_ref().filter(|_| own != Verdict::Again) else {
            return own;
        };
        let hold = Duration::from_secs((end + SKEW_SECONDS - now.as_seconds()).max(1).unsigned_abs());
        match shared.remember(allowance, nonce, hold).await {
            Ok(true) => Verdict::First,
            Ok(false) => Verdict::Again,
            // Each node takes it once, then.
            Err(_) => {
                self.metrics.nonce_fallback();
                own
            }
        }
    }
}

impl Memory {
    fn new(room: usize) -> Self {
        Self { room, seen: HashSet::new(), by_end: BTreeMap::new(), forgotten: i64::MIN }
    }

    /// `end`: the last second in which its request would be taken.
    fn remember(&mut self, nonce: NonceId, end: i64, now: i64) -> Verdict {
        while let Some(over) = self.by_end.first_entry().filter(|first| *first.key() < now) {
            self.forgotten = *over.key();
            for nonce in over.remove() {
                self.seen.remove(&nonce);
            }
        }
        if end <= self.forgotten || self.seen.contains(&nonce) {
            return Verdict::Again;
        }
        if self.seen.len() >= self.room {
            return Verdict::NoRoom;
        }
        self.seen.insert(nonce);
        self.by_end.entry(end).or_default().push(nonce);
        Verdict::First
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;
    use crate::store::Error;

    const NOW: i64 = 1_767_400_000;

    fn id(n: u8) -> NonceId {
        NonceId([n; 16])
    }

    fn now() -> Timestamp {
        Timestamp::from_seconds(NOW)
    }

    #[test]
    fn a_nonce_is_forgotten_only_when_its_window_is_over() {
        let mut memory = Memory::new(9);
        assert_eq!(memory.remember(id(1), NOW + 300, NOW), Verdict::First);
        assert_eq!(memory.remember(id(1), NOW + 300, NOW), Verdict::Again);
        assert_eq!(memory.remember(id(1), NOW + 300, NOW + 300), Verdict::Again, "still in its window");
        assert_eq!(memory.remember(id(2), NOW + 601, NOW + 301), Verdict::First);
        assert_eq!((memory.seen.len(), memory.by_end.len()), (1, 1));
        // The clock is set back: what was forgotten is not taken for new.
        assert_eq!(memory.remember(id(1), NOW + 300, NOW), Verdict::Again);
        assert_eq!(memory.remember(id(3), NOW + 300, NOW), Verdict::Again);
        assert_eq!(memory.remember(id(3), NOW + 301, NOW), Verdict::First);
    }

    #[test]
    fn a_full_memory_forgets_nothing() {
        let mut memory = Memory::new(2);
        for n in 1..=2 {
            assert_eq!(memory.remember(id(n), NOW + 300, NOW), Verdict::First);
        }
        assert_eq!(memory.remember(id(3), NOW + 300, NOW), Verdict::NoRoom);
        assert_eq!(memory.remember(id(1), NOW + 300, NOW), Verdict::Again);
        assert_eq!(memory.remember(id(3), NOW + 601, NOW + 301), Verdict::First, "there is room again");
    }

    /// A Redis that answers as it is told to.
    struct Told(Mutex<Vec<Result<bool, Error>>>, Mutex<Vec<Duration>>);

    impl Told {
        fn nonces(answers: Vec<Result<bool, Error>>) -> (Arc<Self>, Nonces) {
            let told = Arc::new(Self(Mutex::new(answers), Mutex::default()));
            (told.clone(), Nonces::new(Some(told), Metrics::new()))
        }
    }

    #[async_trait]
    impl SharedNonces for Told {
        async fn remember(&self, _: &mut Allowance, _nonce: NonceId, hold: Duration) -> Result<bool, Error> {
            self.1.lock().unwrap().push(hold);
            self.0.lock().unwrap().remove(0)
        }
    }

    fn down() -> Result<bool, Error> {
        Err(Error::Unavailable { reason: "down".to_owned() })
    }

    #[tokio::test]
    async fn what_another_node_has_seen_is_refused_here() {
        let (told, nonces) = Told::nonces(vec![Ok(true), Ok(false)]);
        assert_eq!(nonces.remember(&mut Allowance::default(), id(1), NOW - 300, now()).await, Verdict::First);
        assert_eq!(
            nonces.remember(&mut Allowance::default(), id(1), NOW - 300, now()).await,
            Verdict::Again,
            "without a question"
        );
        assert_eq!(nonces.remember(&mut Allowance::default(), id(2), NOW + 300, now()).await, Verdict::Again);
        // As long as it could come again, and a minute for other clocks.
        assert_eq!(*told.1.lock().unwrap(), [60, 660].map(Duration::from_secs));
    }

    #[tokio::test]
    async fn without_redis_this_process_remembers() {
        let (_, nonces) = Told::nonces(vec![Ok(true), down(), down()]);
        assert_eq!(nonces.remember(&mut Allowance::default(), id(1), NOW, now()).await, Verdict::First);
        assert_eq!(nonces.remember(&mut Allowance::default(), id(2), NOW, now()).await, Verdict::First);
        for n in 1..=2 {
            assert_eq!(nonces.remember(&mut Allowance::default(), id(n), NOW, now()).await, Verdict::Again);
        }
        assert_eq!(nonces.remember(&mut Allowance::default(), id(3), NOW, now()).await, Verdict::First);
        let text = nonces.metrics.render(&crate::telemetry::metrics::Scrape::default());
        assert!(text.contains("wxgate_nonce_fallbacks_total 2\n"), "{text}");
    }

    #[tokio::test]
    async fn redis_has_room_when_this_process_has_none() {
        let (_, mut nonces) = Told::nonces(vec![Ok(true), down()]);
        nonces.own = Mutex::new(Memory::new(0));
        assert_eq!(nonces.remember(&mut Allowance::default(), id(1), NOW, now()).await, Verdict::First);
        assert_eq!(nonces.remember(&mut Allowance::default(), id(2), NOW, now()).await, Verdict::NoRoom);
    }
}
