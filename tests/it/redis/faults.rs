//! Whatever Redis does: nothing is lost or doubled, nobody waits long, it is said once, and it is over soon after.

use std::time::Duration;

use rstest::rstest;

use super::bench::Trial;
use crate::harness::{RedisServer, Way};

#[derive(Clone, Copy, Debug)]
enum Fault {
    Killed,
    Slow,
    Asleep,
    Frozen,
    Refused,
    ReadOnly,
    NoPassword,
    OtherPassword,
    OutOfMemory,
    Loading,
    SaysHttp,
    SaysNoise,
    SaysNumbers,
}

impl Fault {
    async fn begin(self, trial: &mut Trial) {
        let redis = &mut trial.redis;
        match self {
            Self::Killed => redis.stop(),
            Self::Slow => trial.road.set(Way::Delay(Duration::from_secs(2))),
            Self::Asleep => redis.freeze(),
            Self::Frozen => trial.road.set(Way::Freeze),
            Self::Refused => trial.road.set(Way::Refuse),
            Self::ReadOnly => drop(redis.command(&["REPLICAOF", "127.0.0.1", "1"]).await),
            Self::NoPassword | Self::OtherPassword => {
                redis.set_password("another").await;
                // Connections that are open already stay let in.
                trial.road.cut();
            }
            Self::OutOfMemory => drop(redis.command(&["CONFIG", "SET", "maxmemory", "1"]).await),
            Self::Loading => redis.restart_loading(25_000, 100).await,
            Self::SaysHttp => trial.road.set(Way::Say(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")),
            Self::SaysNoise => trial.road.set(Way::Say(b"\x16\x03\x01\x02\x00\x01\xff\xfe")),
            Self::SaysNumbers => trial.road.set(Way::Say(b":7\r\n:7\r\n:7\r\n")),
        }
    }

    async fn end(self, trial: &mut Trial) {
        let redis = &mut trial.redis;
        match self {
            Self::Killed => redis.restart(),
            Self::Asleep => redis.thaw(),
            Self::ReadOnly => drop(redis.command(&["REPLICAOF", "NO", "ONE"]).await),
            Self::NoPassword => redis.set_password("").await,
            Self::OtherPassword => redis.set_password("right").await,
            Self::OutOfMemory => drop(redis.command(&["CONFIG", "SET", "maxmemory", "0"]).await),
            Self::Loading => redis.until_loaded().await,
            _ => trial.road.set(Way::Pass),
        }
    }
}

#[rstest]
#[case(Fault::Killed, "connect")]
#[case(Fault::Slow, "timeout")]
#[case(Fault::Asleep, "timeout")]
#[case(Fault::Frozen, "timeout")]
#[case(Fault::Refused, "connect")]
#[case(Fault::ReadOnly, "read_only")]
#[case(Fault::NoPassword, "auth")]
#[case(Fault::OtherPassword, "auth")]
#[case(Fault::OutOfMemory, "out_of_memory")]
#[case(Fault::Loading, "loading")]
#[case(Fault::SaysHttp, "garbage")]
#[case(Fault::SaysNoise, "garbage")]
#[case(Fault::SaysNumbers, "garbage")]
#[tokio::test]
async fn a_fault_of_redis_costs_little_and_is_over_soon(#[case] fault: Fault, #[case] kind: &str) {
    let mut redis = RedisServer::start();
    let credentials = match fault {
        Fault::OtherPassword => {
            redis.set_password("right").await;
            ":right@"
        }
        _ => "",
    };
    let mut trial = Trial::start(redis, credentials).await;
    let calm = trial.rounds_for(Duration::from_millis(300)).await;
    trial.until_it_is_back().await;

    fault.begin(&mut trial).await;
    // Longer than a look for whether it is back, twice.
    let troubled = trial.rounds_for(Duration::from_millis(2_500)).await;
    if !matches!(fault, Fault::Loading) {
        assert_eq!((trial.redis_stands().await.as_str(), trial.up().await), ("degraded", 0.0));
    }
    let errors = trial.errors(kind).await;
    assert!(errors >= 1.0, "{:#?}", trial.logs.with("edis"));
    assert!(errors <= 10.0, "one look a second, whatever is going on: {errors}");

    fault.end(&mut trial).await;
    trial.until_it_is_back().await;
    trial.until_the_token_is_shared().await;
    let calm = calm.max(trial.rounds_for(Duration::from_millis(300)).await);
    Trial::nobody_waited_long(calm, troubled);
    trial.nothing_is_lost_or_doubled().await;
    trial.told(1).await;
}
