//! Station 5 and 6: take a lease to WeChat, judge what came of it, settle.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::account::Account;
use crate::domain::attempt::{Attempt, AttemptOutcome};
use crate::domain::clock::{Clock, JUMP, Timestamp};
use crate::domain::ids::MessageId;
use crate::domain::message::Lease;
use crate::domain::quiet::QUIET_HOURS;
use crate::domain::retry::Backoff;
use crate::domain::settlement::{Next, Settlement};
use crate::domain::state::{Lane, State};
use crate::domain::token::AccessToken;
use crate::failpoint::{Point, reach};
use crate::services::accounts::Accounts;
use crate::services::breaker::{Admission, Breakers, Health, Permit};
use crate::services::outcomes::{Outcomes, Progress};
use crate::services::pace::Paces;
use crate::services::quota::Quotas;
use crate::services::tokens::{TokenError, Tokens};
use crate::services::verdict::{RetryRules, Situation, Verdict, WINDOW_OVER, is_congestion};
use crate::store::{self, OpenAccount};
use crate::telemetry::metrics::Metrics;
use crate::upstream::wechat::{CallError, WechatClient, errcode_label};
use crate::wechat::answer::Answer;

/// Room between the longest call and the end of a lease.
const LEASE_MARGIN: Duration = Duration::from_secs(2);
/// The pauses between two tries to keep a result while the store is away.
const SETTLE_PAUSE: Backoff = Backoff { base: Duration::from_millis(50), max: Duration::from_secs(5) };

/// Is a caller waiting for this very attempt?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// A caller waits: a fault of the account is told at once, and the message ends.
    Caller,
    /// Nobody does: such a message waits in the queue until the operator has acted, or it expires.
    Nobody,
}

/// The doors this station needs.
#[derive(Clone)]
pub struct Dispatch {
    pub queue: Arc<dyn store::Queue>,
    pub accounts: Accounts,
    pub tokens: Tokens,
    pub client: WechatClient,
    pub breakers: Breakers,
    pub paces: Paces,
    pub quotas: Quotas,
    pub outcomes: Outcomes,
    pub rules: RetryRules,
    /// The longest that one call can take.
    pub call_limit: Duration,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
    pub running: Running,
}

/// The messages under way in this process: however old their leases, they are no orphans. Cheap to clone.
#[derive(Clone, Default)]
pub struct Running(Arc<Mutex<HashSet<MessageId>>>);

/// A message's place among the running; leaving it takes the message out, also when its task panics.
struct Place<'a> {
    running: &'a Running,
    id: MessageId,
}

impl Running {
    pub fn list(&self) -> Vec<MessageId> {
        self.set().iter().copied().collect()
    }

    fn enter(&self, id: MessageId) -> Place<'_> {
        self.set().insert(id);
        Place { running: self, id }
    }

    fn set(&self) -> MutexGuard<'_, HashSet<MessageId>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.running.set().remove(&self.id);
    }
}

/// The attempts of one lease so far.
struct Trip {
    lease: Lease,
    begun_at: Timestamp,
    attempts: Vec<Attempt>,
    renewed: bool,
}

/// One call that has ended.
struct Call {
    started_at: Timestamp,
    took: Duration,
    reply: Result<Answer, CallError>,
}

impl Dispatch {
    /// Runs one lease to its end. → the state afterwards.
    pub async fn run(&self, lease: Lease, permit: Permit, audience: Audience) -> State {
        let begun_at = self.clock.now();
        if lease.tries == 0 && lease.generation == 1 {
            self.metrics.accept_to_attempt(begun_at.since(lease.created_at));
        }
        let _place = self.running.enter(lease.message_id);
        reach(Point::DispatchBegun);
        let mut trip = Trip { lease, begun_at, attempts: Vec::new(), renewed: false };
        let next = self.travel(&mut trip, permit, audience).await;
        let next = by_a_sound_clock(next, trip.begun_at, self.clock.now());
        let account = self.accounts.look_up(&trip.lease.account);
        let said = trip.attempts.last().and_then(|attempt| attempt.errcode);
        let state = self.settle(trip, next).await;
        if let (Some(account), Some(errcode)) = (account, said) {
            self.quotas.answered(&account, errcode).await;
        }
        state
    }

    /// A place on the account's line, and its turn, to be asked for by whoever takes a lease. The turn is never refused: the
    /// worker takes no more leases than there are turns.
    pub fn admit(&self, account: &Arc<str>) -> Permit {
        let now = self.clock.now();
        let permit = self.breakers.admit(account, now);
        if matches!(permit, Permit::Go(_)) {
            self.paces.take(account, now);
            self.quotas.goes(account, now);
        }
        permit
    }

    /// The same for a message that comes in now, if its account has more turns than the queue's share and is not parked.
    pub fn admit_caller(&self, account: &Arc<str>) -> Option<Admission> {
        let now = self.clock.now();
        if self.quotas.room(account, now) < usize::MAX {
            return None;
        }
        match self.breakers.admit(account, now) {
            Permit::Go(admission) if self.paces.take_for_caller(account, now) => Some(admission),
            Permit::Go(_) | Permit::Wait { .. } => None,
        }
    }

    /// Is a message of this account likely to be called for at once? Not while there is neither a token nor leave to fetch one.
    pub fn can_send(&self, account: &str) -> bool {
        self.tokens.can_send(account)
    }

    /// Whoever ends an attempt of this account makes room for another.
    pub fn is_narrow(&self, account: &Arc<str>) -> bool {
        self.breakers.is_narrow(account)
    }

    /// The accounts that messages can be sent for now, and how many: what the worker takes up. And how soon another one has
    /// its turn.
    pub fn open_accounts(&self) -> (Vec<OpenAccount>, Option<Duration>) {
        let now = self.clock.now();
        let (mut open, mut next_turn) = (Vec::new(), None);
        let accounts = self.accounts.table();
        for Account { name, .. } in accounts.values().map(Arc::as_ref) {
            let room = if self.tokens.can_send(name) { self.breakers.room(name, now) } else { 0 };
            let room = room.min(self.quotas.room(name, now));
            match room.min(self.paces.room(name, now)) {
                0 if room > 0 => {
                    let wait = self.paces.next_turn(name, now);
                    next_turn = Some(next_turn.map_or(wait, |soonest: Duration| soonest.min(wait)));
                }
                0 => {}
                room => open.push(OpenAccount { name: name.clone(), room }),
            }
        }
        (open, next_turn)
    }

    /// The place on the line is held until the last call has ended, and no longer.
    async fn travel(&self, trip: &mut Trip, permit: Permit, audience: Audience) -> Next {
        let Some(account) = self.accounts.look_up(&trip.lease.account) else {
            let pause = self.clock.now().plus(Duration::from_secs(60));
            return self.rules.wait(self.situation(trip, self.clock.now()), pause, "account_not_configured".to_owned());
        };
        if let Some(next) = self.too_late(trip) {
            return next;
        }
        if let Some(next) = self.quiet(trip, &account) {
            return next;
        }
        let admission = match permit {
            Permit::Go(admission) => admission,
            Permit::Wait { pause } => {
                let now = self.clock.now();
                let due_at = now.plus(pause + Duration::from_millis(500).mul_f64(rand::random()));
                return self.rules.wait(self.situation(trip, now), due_at, "breaker_open".to_owned());
            }
        };
        let token = match self.tokens.current(&account.name).await {
            Ok(token) => token,
            Err(error) => return self.without_token(trip, &error, &admission, audience),
        };
        reach(Point::DispatchToken);
        self.travel_with(trip, &account, token, &admission, audience).await
    }

    async fn travel_with(
        &self,
        trip: &mut Trip,
        account: &Account,
        mut token: Arc<AccessToken>,
        admission: &Admission,
        audience: Audience,
    ) -> Next {
        loop {
            if let Some(next) = self.too_late(trip) {
                return next;
            }
            let call = self.call(trip, account, &token).await;
            reach(Point::DispatchAnswered);
            let health = health_of(&call.reply);
            admission.report(health, self.clock.now());
            if health == Health::Busy {
                self.paces.slow_down(&account.name, self.clock.now());
            }
            let mut situation = self.situation(trip, call.started_at);
            situation.now = self.clock.now();
            match self.rules.judge(&call.reply, situation) {
                Verdict::Settle { outcome, next } => {
                    if outcome == AttemptOutcome::TokenRefused {
                        self.tokens.report_refused_again(&account.name, token.generation);
                    }
                    trip.attempts.push(attempt_of(call, outcome));
                    return next;
                }
                Verdict::RenewToken => {
                    trip.attempts.push(attempt_of(call, AttemptOutcome::TokenRefused));
                    trip.renewed = true;
                }
            }
            token = match self.tokens.renew(&account.name, token.generation).await {
                Ok(token) => token,
                Err(error) => return self.without_token(trip, &error, admission, audience),
            };
        }
    }

    async fn call(&self, trip: &Trip, account: &Account, token: &AccessToken) -> Call {
        let started_at = self.clock.now();
        let started = Instant::now();
        let reply = self.client.send_template(account, &token.token, &trip.lease.body).await;
        let took = started.elapsed();
        let label = match &reply {
            Ok(answer) => errcode_label(answer.errcode),
            Err(error) => error.label().to_owned(),
        };
        self.metrics.wechat_request(&account.name, "template_send", &label, took);
        tracing::debug!(
            message.id = %trip.lease.message_id,
            account.id = %account.name,
            wechat.errcode = %label,
            duration_ms = millis(took),
            "attempt ended"
        );
        Call { started_at, took, reply }
    }

    /// Before each call: what must not begin any more ends here.
    fn too_late(&self, trip: &Trip) -> Option<Next> {
        self.rules.too_late(self.situation(trip, self.clock.now()), self.call_limit + LEASE_MARGIN)
    }

    /// What must not wake anybody waits for the end of the quiet hours, whenever it was accepted. A repeat of what WeChat may
    /// have does not: it may have been shown, and later it would be in doubt for good.
    fn quiet(&self, trip: &Trip, account: &Account) -> Option<Next> {
        let lease = &trip.lease;
        let may_wait = lease.lane != Lane::Urgent && lease.doubtful_since.is_none() && lease.busy_since.is_none();
        let due_at = account.quiet.filter(|_| may_wait)?.end(self.clock.now())?;
        Some(Next::Scheduled { due_at, reason: QUIET_HOURS.to_owned() })
    }

    fn without_token(&self, trip: &mut Trip, error: &TokenError, admission: &Admission, audience: Audience) -> Next {
        let now = self.clock.now();
        let (errcode, errmsg, rid) = match error {
            TokenError::Refused { errcode, errmsg, rid } => (Some(*errcode), Some(errmsg.clone()), rid.clone()),
            TokenError::Unavailable { reason } => (None, Some(reason.clone()), None),
            TokenError::UnknownAccount => (None, None, None),
        };
        let is_account_fault = errcode.is_some_and(|code| {
            crate::wechat::errcode::class_on_token_call(code) == crate::wechat::errcode::Class::PermanentAccount
        });
        let is_heard = audience == Audience::Caller && self.outcomes.is_awaited(trip.lease.message_id);
        if is_account_fault && is_heard && trip.lease.doubtful_since.is_none() {
            // The caller is told what WeChat said. A message that only waits makes no attempt.
            let outcome = AttemptOutcome::NotSent;
            trip.attempts.push(Attempt { at: now, duration_ms: 0, errcode, errmsg, rid, outcome });
            return Next::Rejected { reason: "account_refused".to_owned() };
        }
        if !is_account_fault {
            admission.report(Health::Lost, now);
        }
        // A fault of the account is mended by people: no need to look every second.
        let pause = if is_account_fault { Duration::from_secs(60) } else { Duration::ZERO };
        match self.rules.wait_for_line(self.situation(trip, now), "no_token") {
            Next::Queued { due_at, reason, tries, doubtful_since, busy_since } => {
                Next::Queued { due_at: due_at.max(now.plus(pause)), reason, tries, doubtful_since, busy_since }
            }
            other => other,
        }
    }

    fn situation<'a>(&self, trip: &'a Trip, started_at: Timestamp) -> Situation<'a> {
        Situation {
            lease: &trip.lease,
            started_at,
            now: started_at,
            renewed: trip.renewed,
            line_failures: self.breakers.failures(&trip.lease.account),
            jitter: rand::random(),
        }
    }

    async fn settle(&self, trip: Trip, next: Next) -> State {
        let id = trip.lease.message_id;
        let due_at = match &next {
            Next::Queued { due_at, .. } | Next::Scheduled { due_at, .. } => Some(*due_at),
            _ => None,
        };
        let settlement = Settlement { attempts: trip.attempts, next };
        let settled = self.write_down(trip.lease, &settlement).await;
        reach(Point::SettleKept);
        if settled.applied && self.outcomes.is_awaited(id) {
            let progress = Progress {
                state: settled.state,
                reason: settled.reason,
                msgid: settled.msgid,
                next_attempt_at: due_at.filter(|_| matches!(settled.state, State::Queued | State::Scheduled)),
                attempts: settlement.attempts,
                at: self.clock.now(),
            };
            self.outcomes.tell(id, progress);
        }
        settled.state
    }

    /// A result is never thrown away: the permit that is held meanwhile is the brake. When the process ends first, the row is
    /// taken back at the next start.
    async fn write_down(&self, lease: Lease, settlement: &Settlement) -> store::Settled {
        let id = lease.message_id;
        let mut tries = 0u32;
        loop {
            match self.queue.settle(lease.clone(), settlement.clone(), self.clock.now()).await {
                Ok(settled) => {
                    if !settled.applied {
                        tracing::warn!(message.id = %id, "the lease was no longer ours: its result is not written");
                    }
                    return settled;
                }
                Err(error) => {
                    tries = tries.saturating_add(1);
                    if error.is_said() {
                        tracing::debug!(message.id = %id, %error, tries, "the result of an attempt waits for the store");
                    } else {
                        tracing::warn!(message.id = %id, %error, tries, "the result of an attempt waits for the store");
                    }
                    tokio::time::sleep(SETTLE_PAUSE.delay(tries, rand::random())).await;
                }
            }
        }
    }
}

fn health_of(reply: &Result<Answer, CallError>) -> Health {
    match reply {
        Ok(answer) if is_congestion(answer.errcode) => Health::Busy,
        Ok(_) => Health::Answered,
        Err(_) => Health::Lost,
    }
}

/// A clock that was set back during the attempt cannot tell any more how old a doubt is: no repeat.
fn by_a_sound_clock(next: Next, begun_at: Timestamp, now: Timestamp) -> Next {
    match next {
        Next::Queued { doubtful_since, busy_since, .. }
            if begun_at.since(now) > JUMP && (doubtful_since.is_some() || busy_since.is_some()) =>
        {
            Next::Unknown { reason: WINDOW_OVER.to_owned() }
        }
        next => next,
    }
}

fn attempt_of(call: Call, outcome: AttemptOutcome) -> Attempt {
    let (errcode, errmsg, rid) = match call.reply {
        Ok(answer) => (Some(answer.errcode), Some(answer.errmsg), answer.rid),
        Err(error) => (None, Some(error.to_string()), None),
    };
    Attempt { at: call.started_at, duration_ms: millis(call.took), errcode, errmsg, rid, outcome }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}
