//! What every message passes, and the verbs of the store: `cargo bench --bench hot`.
#![expect(clippy::expect_used, reason = "a measurement that cannot be made has nothing to say")]

mod cases;

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use futures_util::future::join_all;
use wxgate::config::store::{SqliteConfig, StoreConfig};
use wxgate::domain::attempt::{Attempt, AttemptOutcome};
use wxgate::domain::clock::Timestamp;
use wxgate::domain::ids::{BootId, MessageId};
use wxgate::domain::message::NewMessage;
use wxgate::domain::seal::Sealer;
use wxgate::domain::secret::Openid;
use wxgate::domain::settlement::{Next, Settlement};
use wxgate::domain::state::{Lane, OnUnknown};
use wxgate::store::{Stores, open};

const NOW: Timestamp = Timestamp::from_seconds(1_700_000_000);
/// Callers at once: their writes share transactions.
const AT_ONCE: usize = 64;
const HOLD: Duration = Duration::from_secs(60);

fn hot(criterion: &mut Criterion) {
    for (name, mut case) in cases::all() {
        criterion.bench_function(name, |bencher| bencher.iter(&mut case));
    }
}

fn message(n: u64) -> NewMessage {
    let id = MessageId::generate(NOW);
    NewMessage {
        id,
        account: "shop".into(),
        client: "crm".into(),
        touser: Openid::parse(&format!("oBENCH{:020}", n.wrapping_mul(7_919) % 2_000)).expect("an openid"),
        template_id: "TPL-ORDER-PAID".to_owned(),
        body: "x".repeat(600),
        client_msg_id: id.body(),
        lane: Lane::Normal,
        on_unknown: OnUnknown::Retry,
        created_at: NOW,
        send_at: None,
        wait_reason: None,
        expires_at: NOW.plus(Duration::from_secs(86_400)),
        metadata: None,
        retry_of: None,
        batch_id: None,
        idempotency: None,
        trace: None,
    }
}

/// From accept to settled, as a send that somebody waits for.
async fn life(stores: &Stores, n: u64) {
    let message = message(n);
    let lease = message.first_lease(HOLD);
    stores.outbox.accept(message, Some(HOLD)).await.expect("accepted");
    let attempt = Attempt {
        at: NOW,
        duration_ms: 1,
        errcode: Some(0),
        errmsg: Some("ok".to_owned()),
        rid: None,
        outcome: AttemptOutcome::Accepted,
    };
    let settlement = Settlement { attempts: vec![attempt], next: Next::Sent { msgid: Some(n.to_string()) } };
    stores.queue.settle(lease, settlement, NOW).await.expect("settled");
}

fn store(criterion: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let folder = tempfile::tempdir().expect("a folder");
    let config = StoreConfig::Sqlite(SqliteConfig::at(folder.path().join("bench.db")));
    let opened = open::open(&config, BootId::generate(NOW), Sealer::new([7; 32]));
    let stores = runtime.block_on(opened).expect("a store");
    let mut n = 0;
    let mut group = criterion.benchmark_group("store");
    group.throughput(Throughput::Elements(AT_ONCE as u64)).sample_size(20);
    group.bench_function("accepted and settled, 64 at once", |bencher| {
        bencher.iter_custom(|rounds| {
            let begun = Instant::now();
            for _ in 0..rounds {
                n += AT_ONCE as u64;
                runtime.block_on(join_all((n..n + AT_ONCE as u64).map(|n| life(&stores, n))));
            }
            begun.elapsed()
        });
    });
    group.finish();
    runtime.block_on(stores.close());
}

criterion_group!(benches, hot, store);
criterion_main!(benches);
