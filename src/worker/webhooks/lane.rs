//! The lane of one webhook: settle → take what is due → claim what is new → try, as many at once as its gate lets through.
//!
//! It shares nothing with other lanes, so an endpoint that hangs holds up nobody else. What it keeps in memory is what is under way.
//! Whatever is under way when the process dies is still pending, and is tried again.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::tries::Tries;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::event::Position;
use crate::domain::webhook::{Due, Tried, Webhook};
use crate::services::webhooks::gate::{Era, Gate, Swing};
use crate::services::webhooks::teller::{Ended, Teller, disabled};
use crate::store::{self, Claim, Claimed, Cursor, Ring, Settling};
use crate::telemetry::metrics::Metrics;

/// The longest time between two looks: another process may have made something due.
const FLOOR: Duration = Duration::from_secs(1);
/// When it looks again for what can be read in a moment.
const MOMENT: Duration = Duration::from_millis(20);
/// How long it waits for company when something was kept: one look is for all that comes meanwhile.
const GATHER: Duration = Duration::from_millis(10);
/// How often the place is kept of a lane for which nothing comes.
const KEEP: Duration = Duration::from_secs(60);
/// How often its figures are read.
const FIGURES: Duration = Duration::from_secs(10);

/// The doors of every lane.
#[derive(Clone)]
pub(super) struct LaneDoors {
    pub(super) deliveries: Arc<dyn store::Deliveries>,
    pub(super) teller: Teller,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metrics: Metrics,
}

pub(super) struct Lane {
    doors: LaneDoors,
    webhook: Arc<Webhook>,
    cursor: Cursor,
    /// When the cursor was kept.
    kept_at: Timestamp,
    gate: Gate,
    tries: Tries,
    /// Ended, and not kept yet.
    ended: Vec<Tried>,
    gone: Gone,
    /// Nothing is due before this; `None`: it has to be asked.
    quiet_until: Option<Timestamp>,
    figures_at: Option<Timestamp>,
}

/// Whether the endpoint has answered 410.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gone {
    No,
    Seen,
    /// The webhook is disabled.
    Kept,
}

/// What one turn did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// Something was begun, or there is more to look at.
    Busy,
    /// Nothing to do; look again after this, or when woken.
    Idle {
        pause: Duration,
        /// New events are of use.
        may_claim: bool,
        /// There are some, which can be read in a moment.
        is_waiting: bool,
    },
    /// Another process runs it, or the webhook is off.
    Over,
}

impl Lane {
    /// `at`: its cursor, as it is kept.
    pub(super) fn new(doors: LaneDoors, webhook: Arc<Webhook>, at: Position) -> Self {
        let (tries, kept_at) = (Tries::new(doors.teller.clone(), webhook.clone()), doors.clock.now());
        Self {
            doors,
            webhook,
            cursor: Cursor { kept: at, seen: at },
            kept_at,
            gate: Gate::default(),
            tries,
            ended: Vec::new(),
            gone: Gone::No,
            quiet_until: None,
            figures_at: None,
        }
    }

    /// Until `stop`, or until it is over; then every try under way ends and is kept.
    pub(super) async fn run(mut self, mut ring: Ring, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let (pause, may_claim) = match self.turn().await {
                Ok(Turn::Busy) => continue,
                Ok(Turn::Idle { pause, may_claim, .. }) => (pause, may_claim),
                Ok(Turn::Over) => break,
                Err(error) => {
                    self.report("deliveries cannot be read or kept", &error);
                    (FLOOR, false)
                }
            };
            self.show().await;
            tokio::select! {
                () = stop.cancelled() => {}
                () = self.next_end() => {}
                () = ring.rung(), if may_claim => tokio::time::sleep(GATHER).await,
                () = tokio::time::sleep(pause) => {}
            }
        }
        if let Err(error) = self.finish().await {
            self.report("what the last tries came to cannot be kept: they are made again", &error);
        }
    }

    fn report(&self, what: &'static str, error: &store::Error) {
        match error.is_said() {
            true => tracing::debug!(webhook.key = &*self.webhook.key, %error, "{what}"),
            false => tracing::error!(webhook.key = &*self.webhook.key, %error, "{what}"),
        }
    }

    pub(super) fn webhook(&self) -> &Arc<Webhook> {
        &self.webhook
    }

    pub(super) fn is_under_way(&self) -> bool {
        self.tries.count() > 0
    }

    /// Keeps what has ended, and begins what there is room for.
    pub(super) async fn turn(&mut self) -> Result<Turn, store::Error> {
        self.settle().await?;
        if self.gone == Gone::Kept {
            return Ok(Turn::Over);
        }
        let now = self.doors.clock.now();
        let room = self.gate.room(now, self.tries.count_of(self.gate.era()));
        if room == 0 {
            let pause = self.gate.pause(now).map_or(FLOOR, |pause| pause.min(FLOOR));
            return Ok(Turn::Idle { pause, may_claim: false, is_waiting: false });
        }
        // A probe with what is new says more than one with what has failed before.
        let is_probe = self.gate.is_shut();
        let mut begun = if is_probe { 0 } else { self.begin_due(room).await? };
        let mut looked = Looked::Nothing;
        if begun < room {
            let before = self.tries.count();
            looked = self.claim(room - begun).await?;
            begun += self.tries.count() - before;
        }
        if is_probe && begun == 0 {
            begun = self.begin_due(room).await?;
        }
        match looked {
            Looked::Lost => Ok(Turn::Over),
            _ if begun > 0 => Ok(Turn::Busy),
            Looked::More => Ok(Turn::Busy),
            _ => self.idle(looked == Looked::Waiting).await,
        }
    }

    /// Waits for the next try to end, and takes its result. Waits for ever when none is under way. Nothing is lost when it is not
    /// waited for to the end.
    pub(super) async fn next_end(&mut self) {
        match self.tries.next().await {
            Some(ended) => self.take(ended),
            None => std::future::pending().await,
        }
    }

    /// Every try under way has ended and is kept.
    pub(super) async fn finish(&mut self) -> Result<(), store::Error> {
        while let Some(ended) = self.tries.next().await {
            self.take(ended);
        }
        self.settle().await
    }

    /// Says how far behind it is, now and then.
    pub(super) async fn show(&mut self) {
        let now = self.doors.clock.now();
        // A clock that was set back is no reason to be silent.
        if self.figures_at.is_some_and(|at| at <= now && now.since(at) < FIGURES) {
            return;
        }
        self.figures_at = Some(now);
        let webhook = &*self.webhook;
        let read = self.doors.deliveries.backlog(&webhook.key, webhook.interest.clone(), Some(self.cursor.seen)).await;
        match read {
            Ok(backlog) => {
                let lag = backlog.oldest_at.map(|at| now.since(at));
                self.doors.metrics.webhook_backlog(&webhook.key, backlog.pending, lag.unwrap_or_default());
            }
            Err(error) => tracing::debug!(%error, "how far a webhook is behind cannot be read"),
        }
    }

    /// What others may have made due is looked for at the latest after [`FLOOR`].
    pub(super) fn look_again(&mut self) {
        self.quiet_until = None;
    }

    async fn begin_due(&mut self, room: usize) -> Result<usize, store::Error> {
        let now = self.doors.clock.now();
        if self.quiet_until.is_some_and(|until| now < until && until <= now.plus(FLOOR)) {
            return Ok(0);
        }
        self.quiet_until = None;
        let due = self.doors.deliveries.due(&self.webhook.key, room, self.tries.ids(), now).await?;
        let count = due.len();
        due.into_iter().for_each(|due| self.begin(due));
        Ok(count)
    }

    async fn claim(&mut self, limit: usize) -> Result<Looked, store::Error> {
        let now = self.doors.clock.now();
        let claim = Claim {
            webhook: self.webhook.key.to_string(),
            interest: self.webhook.interest.clone(),
            from: self.cursor,
            limit,
            keep: now.since(self.kept_at) >= KEEP,
            now,
        };
        let Claimed::Kept(claims) = self.doors.deliveries.claim(claim).await? else { return Ok(Looked::Lost) };
        if claims.cursor.kept != self.cursor.kept {
            self.kept_at = now;
        }
        self.cursor = claims.cursor;
        let looked = match claims {
            _ if claims.made > 0 || claims.has_more => Looked::More,
            _ if claims.is_waiting => Looked::Waiting,
            _ => Looked::Nothing,
        };
        claims.due.into_iter().for_each(|due| self.begin(due));
        Ok(looked)
    }

    async fn idle(&mut self, is_waiting: bool) -> Result<Turn, store::Error> {
        let now = self.doors.clock.now();
        let until = match self.quiet_until {
            Some(until) => until,
            None => {
                let next = self.doors.deliveries.next_due(&self.webhook.key, self.tries.ids()).await?;
                next.unwrap_or(Timestamp::from_millis(i64::MAX)).min(now.plus(FLOOR))
            }
        };
        self.quiet_until = Some(until);
        let pause = until.since(now).min(if is_waiting { MOMENT } else { FLOOR });
        Ok(Turn::Idle { pause, may_claim: true, is_waiting })
    }

    fn begin(&mut self, due: Due) {
        self.tries.begin(due, self.gate.era(), self.doors.clock.now());
    }

    fn take(&mut self, (ended, era): (Ended, Era)) {
        self.weigh(&ended, era);
        if ended.is_gone && self.gone == Gone::No {
            self.gone = Gone::Seen;
        }
        self.ended.push(ended.tried);
    }

    fn weigh(&mut self, ended: &Ended, era: Era) {
        let (key, host) = (&*self.webhook.key, self.webhook.url.host());
        let swing = match ended.is_good() {
            true => self.gate.succeeded(era),
            false => self.gate.failed(era, ended.pause, self.doors.clock.now()),
        };
        match swing {
            Swing::None => {}
            Swing::Opened => {
                tracing::info!(
                    webhook.key = key,
                    host,
                    "a webhook's endpoint is well again: deliveries resume step by step"
                );
            }
            Swing::Shut => tracing::warn!(
                webhook.key = key,
                host,
                failures = self.gate.failures_in_a_row(),
                error = ended.tried.error.as_deref(),
                "a webhook's endpoint does not take deliveries: they wait, and one probes now and then"
            ),
        }
    }

    /// What could not be kept is kept the next time; nothing is begun before that.
    async fn settle(&mut self) -> Result<(), store::Error> {
        while let Some(ended) = self.tries.ended() {
            self.take(ended);
        }
        if self.ended.is_empty() {
            return Ok(());
        }
        let now = self.doors.clock.now();
        let gone = (self.gone == Gone::Seen).then(|| disabled(&self.webhook, now));
        let settling = Settling { webhook: self.webhook.key.to_string(), tried: self.ended.clone(), gone, now };
        self.doors.deliveries.settle(settling).await?;
        self.ended.clear();
        self.look_again();
        if self.gone == Gone::Seen {
            self.gone = Gone::Kept;
            tracing::warn!(
                webhook.key = &*self.webhook.key,
                host = self.webhook.url.host(),
                "a webhook was disabled: its endpoint has answered 410; enable it again when that was a mistake"
            );
        }
        Ok(())
    }
}

/// What a look at the events came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Looked {
    /// Something was made of them, or there are more of them.
    More,
    /// There are more, which can be read in a moment.
    Waiting,
    Nothing,
    Lost,
}
