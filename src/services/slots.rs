//! How many attempts are under way, and the bell that wakes the worker. Callers who wait may take a slot at once, but a part
//! is kept for the queue, so that a stream of callers cannot starve what waits there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

/// The share of all slots that only the queue may take: one in so many.
const QUEUE_SHARE: usize = 8;

/// The slots of one gateway. Cheap to clone.
#[derive(Clone)]
pub struct Slots(Arc<Inner>);

struct Inner {
    free: Arc<Semaphore>,
    total: usize,
    kept_for_queue: usize,
    bell: Notify,
    /// The worker found work but no slot: the next one that is freed rings.
    hungry: AtomicBool,
}

/// The right to make one attempt.
pub struct Slot {
    permit: Option<OwnedSemaphorePermit>,
    slots: Slots,
}

impl Slots {
    pub fn new(total: usize) -> Self {
        let total = total.clamp(1, Semaphore::MAX_PERMITS);
        Self(Arc::new(Inner {
            free: Arc::new(Semaphore::new(total)),
            total,
            kept_for_queue: total / QUEUE_SHARE,
            bell: Notify::new(),
            hungry: AtomicBool::new(false),
        }))
    }

    /// A slot for a message that comes in now, if there is more than the queue's share.
    pub fn for_caller(&self) -> Option<Slot> {
        if self.0.free.available_permits() <= self.0.kept_for_queue {
            return None;
        }
        self.take()
    }

    /// As many slots as there are, at most `most`. When there are fewer, the next one that is freed rings.
    pub fn for_queue(&self, most: usize) -> Vec<Slot> {
        self.0.hungry.store(true, Ordering::SeqCst);
        let slots: Vec<_> = std::iter::from_fn(|| self.take()).take(most).collect();
        if slots.len() == most {
            self.0.hungry.store(false, Ordering::SeqCst);
        }
        slots
    }

    /// There is work in the queue.
    pub fn ring(&self) {
        self.0.bell.notify_one();
    }

    /// Returns when somebody rang since the last time.
    pub async fn rung(&self) {
        self.0.bell.notified().await;
    }

    /// Returns when no attempt is under way.
    pub async fn all_free(&self) {
        let all = u32::try_from(self.0.total).unwrap_or(u32::MAX);
        // It is never closed.
        let _ = self.0.free.acquire_many(all).await;
    }

    fn take(&self) -> Option<Slot> {
        let permit = self.0.free.clone().try_acquire_owned().ok()?;
        Some(Slot { permit: Some(permit), slots: self.clone() })
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        drop(self.permit.take());
        if self.slots.0.hungry.swap(false, Ordering::SeqCst) {
            self.slots.ring();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;

    use super::*;

    #[test]
    fn callers_leave_the_queue_its_share() {
        let slots = Slots::new(16);
        let taken: Vec<_> = std::iter::from_fn(|| slots.for_caller()).collect();
        assert_eq!(taken.len(), 14);
        assert_eq!(slots.for_queue(10).len(), 2);
    }

    #[test]
    fn a_single_slot_serves_both() {
        let slots = Slots::new(1);
        let taken = slots.for_caller();
        assert!(taken.is_some() && slots.for_queue(1).is_empty());
        drop(taken);
        assert_eq!(slots.for_queue(1).len(), 1);
    }

    #[tokio::test]
    async fn a_freed_slot_rings_only_when_the_queue_went_without() {
        let slots = Slots::new(2);
        drop(slots.for_caller());
        assert!(poll!(std::pin::pin!(slots.rung())).is_pending());
        let both = slots.for_queue(2);
        assert!(slots.for_queue(1).is_empty());
        drop(both);
        assert!(poll!(std::pin::pin!(slots.rung())).is_ready());
    }
}
