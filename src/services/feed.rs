//! Events as they happen: read once for everybody who listens, and handed to each.
//!
//! A listener first reads what is behind it from the store, then goes on with what the one reader hands out; whoever falls behind
//! reads from the store again. So nobody misses anything, sees anything twice, or holds up anybody. Nobody reads while
//! nobody listens.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio_util::sync::CancellationToken;

use crate::domain::caller::Caller;
use crate::domain::event::{Event, EventFilter, Position};
use crate::domain::ids::EventId;
use crate::store::{self, Ring, Stretch};

/// Listeners at once.
const LISTENERS: usize = 512;
/// Events that one may be behind before it reads from the store again.
const BUFFER: usize = 256;
/// Events read at once.
const STRETCH: usize = 200;
/// How often the reader looks by itself: what other nodes keep may not ring here.
const FLOOR: Duration = Duration::from_secs(1);
/// When it looks again for what can be read in a moment.
const MOMENT: Duration = Duration::from_millis(20);
/// How long the reader may take to begin.
const BEGIN: Duration = Duration::from_secs(5);

/// Why nobody can listen now.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("too many listen already: {LISTENERS} at once")]
    Full,
    #[error("the gateway is stopping")]
    Stopping,
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Cheap to clone.
#[derive(Clone)]
pub struct Feed(Arc<Inner>);

struct Inner {
    events: Arc<dyn store::Events>,
    live: broadcast::Sender<Arc<Event>>,
    /// The reader runs. Held while somebody joins, and while the reader looks whether anybody is left.
    runs: Mutex<bool>,
    /// It knows where it stands: whatever is kept from now on is handed out.
    ready: watch::Sender<bool>,
    /// Told when the reader panics: whoever listens has a gap from then on.
    fallen: watch::Sender<()>,
    room: Arc<Semaphore>,
    stopping: CancellationToken,
}

impl Feed {
    /// `stopping`: everybody who listens is let go.
    pub fn new(events: Arc<dyn store::Events>, stopping: CancellationToken) -> Self {
        Self(Arc::new(Inner {
            events,
            live: broadcast::Sender::new(BUFFER),
            runs: Mutex::new(false),
            ready: watch::Sender::new(false),
            fallen: watch::Sender::new(()),
            room: Arc::new(Semaphore::new(LISTENERS)),
            stopping,
        }))
    }

    /// Oldest first, what this caller may see; `limit` at most.
    pub async fn list(
        &self,
        caller: &Caller,
        filter: EventFilter,
        after: Option<EventId>,
        limit: usize,
    ) -> Result<Stretch, store::Error> {
        let after = self.position(after).await?.unwrap_or_default();
        self.0.events.read(seen_by(caller, filter), after, limit).await
    }

    /// From behind `after`; `None`: from now on.
    pub async fn listen(
        &self,
        caller: &Caller,
        filter: EventFilter,
        after: Option<EventId>,
    ) -> Result<Listening, FeedError> {
        if self.0.stopping.is_cancelled() {
            return Err(FeedError::Stopping);
        }
        let place = self.0.room.clone().try_acquire_owned().map_err(|_| FeedError::Full)?;
        let (live, fallen) = self.join();
        let mut ready = self.0.ready.subscribe();
        let begun = tokio::time::timeout(BEGIN, ready.wait_for(|is_ready| *is_ready)).await;
        if !matches!(begun, Ok(Ok(_))) {
            return Err(store::Error::Unavailable { reason: "the events cannot be read now".to_owned() }.into());
        }
        drop(begun);
        let at = match self.position(after).await? {
            Some(at) => at,
            None => self.0.events.newest().await?,
        };
        let filter = seen_by(caller, filter);
        let behind = VecDeque::new();
        Ok(Listening { feed: self.clone(), filter, live, fallen, at, is_behind: true, behind, _place: place })
    }

    async fn position(&self, id: Option<EventId>) -> Result<Option<Position>, store::Error> {
        match id {
            Some(id) => self.0.events.position_of(id).await.map(Some),
            None => Ok(None),
        }
    }

    /// A place in the handing out, and the reader started if nobody else has.
    fn join(&self) -> (broadcast::Receiver<Arc<Event>>, watch::Receiver<()>) {
        let mut runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let joined = (self.0.live.subscribe(), self.0.fallen.subscribe());
        if !*runs {
            *runs = true;
            let reader = self.clone();
            tokio::spawn(async move {
                let stopping = reader.0.stopping.clone();
                stopping.run_until_cancelled_owned(reader.follow()).await;
            });
        }
        joined
    }

    /// Reads and hands out until nobody listens.
    async fn follow(self) {
        let _guard = Guard(self.clone());
        let (mut at, mut is_in_trouble, mut bell) = (None, false, self.0.events.ring());
        while !self.is_alone() {
            match self.step(&mut at, &mut bell).await {
                Ok(false) => is_in_trouble = false,
                Ok(true) => tokio::time::sleep(MOMENT).await,
                Err(error) => {
                    if !std::mem::replace(&mut is_in_trouble, true) {
                        tracing::warn!(%error, "events cannot be read: whoever listens waits");
                    }
                    tokio::time::sleep(FLOOR).await;
                }
            }
        }
    }

    /// → whether more can be read in a moment. Waits for the next bell when there is nothing more.
    async fn step(&self, at: &mut Option<Position>, bell: &mut Ring) -> Result<bool, store::Error> {
        let from = match *at {
            Some(from) => from,
            None => self.0.events.newest().await?,
        };
        *at = Some(from);
        self.0.ready.send_replace(true);
        let stretch = self.0.events.read(EventFilter::default(), from, STRETCH).await?;
        for event in stretch.events {
            // Nobody is there: they have just left.
            let _ = self.0.live.send(Arc::new(event));
        }
        *at = stretch.next.or(*at);
        if stretch.is_full || stretch.is_waiting {
            return Ok(stretch.is_waiting);
        }
        tokio::select! {
            () = bell.rung() => {}
            () = tokio::time::sleep(FLOOR) => {}
        }
        Ok(false)
    }

    /// Nobody listens: the reader ends, and whoever comes starts another.
    fn is_alone(&self) -> bool {
        let mut runs = self.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        let is_alone = self.0.live.receiver_count() == 0;
        if is_alone {
            *runs = false;
            self.0.ready.send_replace(false);
        }
        is_alone
    }
}

/// Of the reader: what it leaves when it panics.
struct Guard(Feed);

impl Drop for Guard {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        tracing::error!(
            "the reader of events has panicked: whoever listens is let go, and the next one starts another"
        );
        let mut runs = self.0.0.runs.lock().unwrap_or_else(PoisonError::into_inner);
        *runs = false;
        self.0.0.ready.send_replace(false);
        self.0.0.fallen.send_replace(());
    }
}

fn seen_by(caller: &Caller, filter: EventFilter) -> EventFilter {
    EventFilter { visible_accounts: caller.accounts.clone(), ..filter }
}

/// One who listens.
pub struct Listening {
    feed: Feed,
    filter: EventFilter,
    live: broadcast::Receiver<Arc<Event>>,
    fallen: watch::Receiver<()>,
    at: Position,
    is_behind: bool,
    behind: VecDeque<Arc<Event>>,
    _place: OwnedSemaphorePermit,
}

impl Listening {
    /// The next event; nothing is lost when it is not waited for to the end. `None`: the gateway stops, the store does not
    /// answer, or the reader has panicked; whoever comes back goes on behind the last one.
    pub async fn next(&mut self) -> Option<Arc<Event>> {
        let stopping = self.feed.0.stopping.clone();
        stopping.run_until_cancelled(self.next_unstopped()).await.flatten()
    }

    /// Goes back, or on, to behind this event.
    pub async fn go_to(&mut self, id: EventId) -> Result<(), store::Error> {
        self.at = self.feed.0.events.position_of(id).await?;
        self.behind.clear();
        self.is_behind = true;
        Ok(())
    }

    pub fn is_stopping(&self) -> bool {
        self.feed.0.stopping.is_cancelled()
    }

    async fn next_unstopped(&mut self) -> Option<Arc<Event>> {
        loop {
            if let Some(event) = self.behind.pop_front() {
                return Some(event);
            }
            if self.is_behind {
                self.catch_up().await?;
                continue;
            }
            let next = tokio::select! {
                biased;
                // From here on there is a gap.
                _ = self.fallen.changed() => return None,
                next = self.live.recv() => next,
            };
            match next {
                Ok(event) if event.position <= self.at => {}
                Ok(event) => {
                    self.at = event.position;
                    if self.filter.fits(&event) {
                        return Some(event);
                    }
                }
                Err(broadcast::error::RecvError::Lagged(_)) => self.is_behind = true,
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    async fn catch_up(&mut self) -> Option<()> {
        let read = self.feed.0.events.read(self.filter.clone(), self.at, STRETCH).await;
        let stretch = read.inspect_err(|error| tracing::debug!(%error, "a listener is let go")).ok()?;
        self.at = stretch.next.unwrap_or(self.at);
        self.is_behind = stretch.is_full;
        self.behind.extend(stretch.events.into_iter().map(Arc::new));
        Some(())
    }
}

#[cfg(test)]
mod tests;
