//! The short set, run with every test run: each point once, and some kills from outside.

use rstest::rstest;

use crate::aim::Aim;
use crate::books::Kind;
use crate::long::seed;
use crate::series::Series;

/// Tests run side by side: each takes its share of the points.
const PARTS: usize = 4;

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_dies_at_a_point_loses_and_doubles_nothing(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
    #[values(0, 1, 2, 3)] part: usize,
) {
    let aims: Vec<_> = Aim::all().into_iter().skip(part).step_by(PARTS).collect();
    is_clean(Series { kind, seed: seed(), number: part, aims }).await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_killed_loses_and_doubles_nothing(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
    #[values(0, 1)] part: usize,
) {
    let aims = [Aim::AnyMoment, Aim::Unanswered, Aim::AnyMoment, Aim::AnyMoment, Aim::AnyMoment].to_vec();
    is_clean(Series { kind, seed: seed(), number: PARTS + part, aims }).await;
}

#[test]
fn a_point_that_does_not_exist_is_refused_with_those_that_do() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_wxgate"));
    let output = command.arg("openapi").env("WXGATE_FAILPOINT", "settle.keep").output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{text}");
    assert!(text.contains("settle.keep") && text.contains("\n  settle.kept\n"), "{text}");
}

async fn is_clean(series: Series) {
    let failure = series.run(|_, _| {}).await;
    assert!(
        failure.is_none(),
        "{}\nagain: WXGATE_CRASH_SEED={} and this test",
        failure.unwrap_or_default(),
        series.seed
    );
}
