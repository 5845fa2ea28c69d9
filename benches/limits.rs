//! What the limits of one process cost a request: `cargo bench --bench limits`.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use futures_util::FutureExt;
use wxgate::config::limits::LimitsConfig;
use wxgate::domain::clock::Timestamp;
use wxgate::domain::limit::{OnLimit, Rate};
use wxgate::services::limits::{Answer, Ask, Limits};
use wxgate::telemetry::metrics::Metrics;

/// As many as write within a day: the store of buckets is as large as in life.
const PEOPLE: usize = 100_000;

fn rate(count: u32, per: Duration, burst: u32) -> Option<Rate> {
    let number = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Some(Rate { count: number(count), per, burst: number(burst) })
}

/// All three limits, on each of many people in turn; all of it passes, or all of it is refused.
fn ask_all(limits: &Limits, people: &[Arc<str>], turn: usize, is_refused: bool) {
    let openid = &people[turn % people.len()];
    let now = Timestamp::from_millis(1_700_000_000_000);
    let ask = Ask {
        client: "order-service",
        account: "shop",
        openid,
        content: Some(7),
        on_limit: OnLimit::Reject,
        until: now.plus(Duration::from_secs(3600)),
    };
    let answers = limits.ask(&[ask], now, Duration::ZERO).now_or_never();
    let answer = answers.and_then(|answers| answers.into_iter().next());
    assert_eq!(matches!(answer, Some(Answer::Refused(_))), is_refused);
}

fn bench(criterion: &mut Criterion) {
    let people: Vec<Arc<str>> = (0..PEOPLE).map(|n| format!("oABCD{n:023}").into()).collect();
    let day = Duration::from_secs(24 * 3600);
    let generous = rate(1_000_000, day, 1_000_000);
    let config = |client| LimitsConfig { client, openid: generous, identical: generous, ..LimitsConfig::default() };
    let with = |client| Limits::new(&config(client), None, Metrics::new());

    let limits = with(rate(1_000_000, Duration::from_secs(1), 1_000_000_000));
    let mut turn = 0;
    criterion.bench_function("three limits, passed", |bencher| {
        bencher.iter(|| {
            turn += 1;
            ask_all(&limits, &people, turn, false);
        });
    });

    let limits = with(rate(1, day, 1));
    ask_all(&limits, &people, 0, false);
    criterion.bench_function("three limits, refused", |bencher| {
        bencher.iter(|| {
            turn += 1;
            ask_all(&limits, &people, turn, true);
        });
    });
}

criterion_group!(benches, bench);
criterion_main!(benches);
