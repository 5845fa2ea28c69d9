//! Clocks around the doors.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt, TryStreamExt};
use wxgate::domain::attempt::{Attempt, AttemptOutcome};
use wxgate::domain::callback::NewCallback;
use wxgate::domain::clock::Timestamp;
use wxgate::domain::ids::{CallbackId, MessageId};
use wxgate::domain::message::{IdempotencyKey, Lease, NewMessage};
use wxgate::domain::receipt::{Receipt, ReceiptStatus};
use wxgate::domain::secret::Openid;
use wxgate::domain::settlement::{Next, Settlement};
use wxgate::domain::state::{Lane, OnUnknown};
use wxgate::services::sweep::FORGET_BATCH;
use wxgate::store::{OpenAccount, Stores};

use super::{DAY, NOW};

pub(super) const MESSAGES: usize = 4_096;
pub(super) const AT_ONCE: usize = 256;
/// As the worker does.
const LEASES: usize = 64;
const HOLD: Duration = Duration::from_secs(60);
/// One by one each commit waits for the disk: fewer of them.
const ALONE: usize = 200;
/// Callers while rows are deleted.
const CALLERS: usize = 16;

static NUMBER: AtomicU64 = AtomicU64::new(0);

/// Microseconds a message.
pub(super) struct Round {
    pub(super) accept: f64,
    pub(super) lease: f64,
    pub(super) settle: f64,
    pub(super) receipt: f64,
    pub(super) alone: f64,
}

pub(super) async fn round(store: &Stores) -> anyhow::Result<Round> {
    let begun = Instant::now();
    all((0..MESSAGES).map(|_| accept(store))).await?;
    let accept_us = per(begun, MESSAGES);

    let begun = Instant::now();
    let open = [OpenAccount { name: "shop".into(), room: usize::MAX }];
    let mut leases = Vec::new();
    while leases.len() < MESSAGES {
        leases.extend(store.queue.lease(Lane::Normal, &open, LEASES, NOW, HOLD).await?);
    }
    let lease_us = per(begun, MESSAGES);

    let sent: Vec<_> = leases.iter().map(|lease| (lease.touser.clone(), format!("{}", next() + (1 << 62)))).collect();
    let begun = Instant::now();
    all(leases.into_iter().zip(&sent).map(|(lease, (_, msgid))| settle(store, lease, msgid))).await?;
    let settle_us = per(begun, MESSAGES);

    let begun = Instant::now();
    all(sent.into_iter().map(|(touser, msgid)| record(store, touser, msgid))).await?;
    let receipt_us = per(begun, MESSAGES);

    let begun = Instant::now();
    let mut ids = Vec::new();
    for _ in 0..ALONE {
        ids.push(accept(store).await?);
    }
    let alone = per(begun, ALONE);
    for id in ids {
        store.messages.cancel(id, NOW).await?;
    }
    Ok(Round { accept: accept_us, lease: lease_us, settle: settle_us, receipt: receipt_us, alone })
}

/// What the sweep does: batches back to back until nothing old is left. → messages, keys, callbacks.
pub(super) async fn forget(store: &Stores, before: Timestamp) -> anyhow::Result<(usize, usize, usize)> {
    let mut gone = (0, 0, 0);
    loop {
        let messages = store.messages.forget(before, FORGET_BATCH).await?;
        let keys = store.outbox.forget_keys(before, FORGET_BATCH).await?;
        let callbacks = store.inbox.forget(before, FORGET_BATCH).await?;
        gone = (gone.0 + messages, gone.1 + keys, gone.2 + callbacks);
        if messages + keys + callbacks == 0 {
            return Ok(gone);
        }
    }
}

/// How long each accept took, in milliseconds, sorted.
pub(super) struct Accepts {
    times: Vec<f64>,
    span: Duration,
}

impl Accepts {
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "an index"
    )]
    pub(super) fn at(&self, share: f64) -> f64 {
        let last = self.times.len().saturating_sub(1);
        self.times.get((last as f64 * share) as usize).copied().unwrap_or(f64::NAN)
    }

    #[expect(clippy::cast_precision_loss, reason = "a count")]
    pub(super) fn per_second(&self) -> f64 {
        self.times.len() as f64 / self.span.as_secs_f64()
    }
}

/// A few callers who send without a pause for as long as `work` goes on.
pub(super) async fn accepts_while<T>(store: &Stores, work: impl Future<Output = T>) -> anyhow::Result<(Accepts, T)> {
    let (begun, over) = (Instant::now(), AtomicBool::new(false));
    let caller = || async {
        let mut times = Vec::new();
        while !over.load(Ordering::Relaxed) {
            let begun = Instant::now();
            accept(store).await?;
            times.push(begun.elapsed().as_secs_f64() * 1e3);
        }
        anyhow::Ok(times)
    };
    let callers = join_all((0..CALLERS).map(|_| caller()));
    let work = async {
        let done = work.await;
        over.store(true, Ordering::Relaxed);
        done
    };
    let (times, done) = tokio::join!(callers, work);
    let mut times = times.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
    times.sort_by(f64::total_cmp);
    Ok((Accepts { times, span: begun.elapsed() }, done))
}

async fn all<T>(calls: impl Iterator<Item = impl Future<Output = anyhow::Result<T>>>) -> anyhow::Result<Vec<T>> {
    stream::iter(calls).buffer_unordered(AT_ONCE).try_collect().await
}

/// Microseconds each.
fn per(begun: Instant, count: usize) -> f64 {
    begun.elapsed().as_secs_f64() * 1e6 / f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

fn next() -> u64 {
    NUMBER.fetch_add(1, Ordering::Relaxed)
}

async fn accept(store: &Stores) -> anyhow::Result<MessageId> {
    let (id, number) = (MessageId::generate(NOW), next());
    let touser = format!("o{:027x}", (number % 100_000).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let message = NewMessage {
        id,
        account: "shop".into(),
        client: "crm".into(),
        body: format!(
            "{{\"touser\":\"{touser}\",\"template_id\":\"TPL-ORDER\",\"data\":{{\"thing1\":{{\"value\":\"茉莉花茶\"}}}}}}"
        ),
        touser: Openid::parse(&touser).context("an openid")?,
        template_id: "TPL-ORDER".to_owned(),
        client_msg_id: id.body(),
        lane: Lane::Normal,
        on_unknown: OnUnknown::Retry,
        created_at: NOW,
        send_at: None,
        wait_reason: None,
        expires_at: NOW.plus(DAY),
        metadata: None,
        retry_of: None,
        batch_id: None,
        idempotency: Some(IdempotencyKey {
            client: "crm".to_owned(),
            endpoint: "POST /send-template",
            key: format!("new-{:x}", number.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            body_hash: "cd".repeat(32),
        }),
        trace: None,
    };
    store.outbox.accept(message, None).await?;
    Ok(id)
}

async fn settle(store: &Stores, lease: Lease, msgid: &str) -> anyhow::Result<()> {
    let attempt = Attempt {
        at: NOW,
        duration_ms: 84,
        errcode: Some(0),
        errmsg: Some("ok".to_owned()),
        rid: Some("64f0a1b2-1c2d3e4f-5a6b7c8d".to_owned()),
        outcome: AttemptOutcome::Accepted,
    };
    let next = Next::Sent { msgid: Some(msgid.to_owned()) };
    store.queue.settle(lease, Settlement { attempts: vec![attempt], next }, NOW).await?;
    Ok(())
}

async fn record(store: &Stores, openid: Openid, msgid: String) -> anyhow::Result<()> {
    let callback = NewCallback {
        id: CallbackId::generate(NOW),
        account: "shop".to_owned(),
        dedupe_key: format!("TEMPLATESENDJOBFINISH/{msgid}"),
        kind: "event.TEMPLATESENDJOBFINISH".to_owned(),
        openid: Some(openid.clone()),
        body: format!("<xml><Event>TEMPLATESENDJOBFINISH</Event><MsgID>{msgid}</MsgID><Status>success</Status></xml>"),
        reply: None,
        received_at: NOW,
        receipts: vec![Receipt { msgid, openid, status: ReceiptStatus::Delivered, is_template: true }],
        user: None,
        is_relayed: false,
        told: Some(r#"{"content":{}}"#.to_owned()),
    };
    store.inbox.record(callback).await?;
    Ok(())
}
