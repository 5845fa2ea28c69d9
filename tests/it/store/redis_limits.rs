//! `SharedLimits` against a real Redis on a private port.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use wxgate::config::store::RedisConfig;
use wxgate::domain::clock::{Clock, SystemClock};
use wxgate::domain::limit::Rate;
use wxgate::domain::secret::Secret;
use wxgate::store::limits::{BucketStanding, LimitVerb, SharedAsk, SharedBucket};
use wxgate::store::redis::Link;
use wxgate::store::{Allowance, Error, SharedLimits, open};

use crate::harness::RedisServer;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn door(port: u16) -> Arc<dyn SharedLimits> {
    let config = RedisConfig { url: Secret::new(format!("redis://127.0.0.1:{port}")), prefix: "test:".to_owned() };
    open::share_limits(&Link::new(&config).unwrap())
}

/// So many a day, all of them at once.
fn bucket(name: &str, count: u32) -> SharedBucket {
    let number = NonZeroU32::new(count).unwrap();
    SharedBucket { name: name.to_owned(), rate: Rate { count: number, per: DAY, burst: number } }
}

async fn ask(
    door: &Arc<dyn SharedLimits>,
    verb: LimitVerb,
    buckets: &[SharedBucket],
) -> Result<Vec<BucketStanding>, Error> {
    let asks = [SharedAsk { verb, buckets: buckets.to_vec() }];
    // Connecting and a busy machine take their time; how long a request waits is tested elsewhere.
    for _ in 0..50 {
        match door.ask(&mut Allowance::default(), &asks).await {
            Ok(standings) => return Ok(standings.into_iter().next().unwrap()),
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
    Err(Error::Unavailable { reason: "Redis does not answer".to_owned() })
}

async fn takes(door: &Arc<dyn SharedLimits>, buckets: &[SharedBucket]) -> bool {
    ask(door, LimitVerb::Take, buckets).await.unwrap().iter().all(|standing| standing.is_taken)
}

#[tokio::test]
async fn a_burst_is_taken_once_by_however_many_ask_at_the_same_time() {
    let redis = RedisServer::start();
    let doors = [door(redis.port), door(redis.port)];
    let shared = [bucket("openid:1", 7), bucket("client:1", 1000)];
    let taken = join_all((0..60).map(|n| takes(&doors[n % 2], &shared))).await;
    assert_eq!(taken.into_iter().filter(|taken| *taken).count(), 7);
    let standings = ask(&doors[0], LimitVerb::Look, &shared).await.unwrap();
    let remaining = |index: usize| shared[index].rate.remaining(standings[index].full_in);
    assert_eq!((remaining(0), remaining(1)), (0, 993), "a refusal by one took nothing from the other");
}

#[tokio::test]
async fn several_messages_in_one_question_are_decided_one_after_the_other() {
    let redis = RedisServer::start();
    let door = door(redis.port);
    let verb = LimitVerb::Take;
    let (client, person) = (bucket("client:1", 5), bucket("openid:1", 2));
    let other = |n: usize| vec![client.clone(), bucket(&format!("openid:other{n}"), 2)];
    assert!(takes(&door, &[bucket("client:2", 1)]).await, "connected");
    let mut asks: Vec<SharedAsk> =
        (0..4).map(|_| SharedAsk { verb, buckets: vec![client.clone(), person.clone()] }).collect();
    asks.extend((0..4).map(|n| SharedAsk { verb, buckets: other(n) }));
    let standings = door.ask(&mut Allowance::default(), &asks).await.unwrap();
    let taken: Vec<bool> = standings.iter().map(|buckets| buckets.iter().all(|one| one.is_taken)).collect();
    assert_eq!(taken, [true, true, false, false, true, true, true, false]);
    assert_eq!(standings.iter().map(Vec::len).sum::<usize>(), 16);
}

#[tokio::test]
async fn places_are_reserved_one_after_the_other_and_not_beyond_the_end() {
    let redis = RedisServer::start();
    let door = door(redis.port);
    let hourly = SharedBucket {
        name: "openid:1".to_owned(),
        rate: Rate { count: NonZeroU32::MIN, per: Duration::from_secs(3600), burst: NonZeroU32::MIN },
    };
    let verb = LimitVerb::Reserve { within: Duration::from_secs(3 * 3600) };
    let mut hours = Vec::new();
    for _ in 0..5 {
        let standing = ask(&door, verb, std::slice::from_ref(&hourly)).await.unwrap()[0];
        hours.push((standing.is_taken, (standing.wait.as_secs_f64() / 3600.0).round()));
    }
    assert_eq!(hours, [(true, 0.0), (true, 1.0), (true, 2.0), (true, 3.0), (false, 4.0)]);
    ask(&door, LimitVerb::GiveBack, std::slice::from_ref(&hourly)).await.unwrap();
    assert!(ask(&door, verb, std::slice::from_ref(&hourly)).await.unwrap()[0].is_taken, "one was given back");
}

#[tokio::test]
async fn observing_takes_where_there_is_one_and_looking_takes_nothing() {
    let redis = RedisServer::start();
    let door = door(redis.port);
    let buckets = [bucket("openid:1", 1), bucket("client:1", 3)];
    for _ in 0..4 {
        ask(&door, LimitVerb::Look, &buckets).await.unwrap();
    }
    let mut taken = Vec::new();
    for _ in 0..4 {
        let standings = ask(&door, LimitVerb::Observe, &buckets).await.unwrap();
        taken.push((standings[0].is_taken, standings[1].is_taken));
    }
    assert_eq!(taken, [(true, true), (false, true), (false, true), (false, false)]);
}

#[tokio::test]
async fn buckets_end_by_themselves_and_what_is_none_of_ours_counts_as_full() {
    let redis = RedisServer::start();
    let door = door(redis.port);
    let quick = SharedBucket {
        name: "openid:quick".to_owned(),
        rate: Rate { count: NonZeroU32::MIN, per: Duration::from_millis(300), burst: NonZeroU32::MIN },
    };
    assert!(takes(&door, std::slice::from_ref(&quick)).await);
    let left = redis.command(&["PTTL", "test:limit:openid:quick"]).await;
    assert!(matches!(left, redis::Value::Int(-2..=300)), "{left:?}");

    let day_ahead = SystemClock.now().plus(DAY).as_millis() * 1000;
    for (name, value) in [
        ("noise", "x".to_owned()),
        // Written by a clock that was set back since.
        ("future", format!("{} {day_ahead}", day_ahead + 1)),
    ] {
        redis.command(&["SET", &format!("test:limit:openid:{name}"), &value]).await;
        assert!(takes(&door, &[bucket(&format!("openid:{name}"), 1)]).await, "{name}");
        assert!(!takes(&door, &[bucket(&format!("openid:{name}"), 1)]).await, "{name}");
    }
    redis.command(&["LPUSH", "test:limit:openid:list", "x"]).await;
    assert!(takes(&door, &[bucket("openid:list", 1)]).await);
    assert!(!takes(&door, &[bucket("openid:list", 1)]).await);
}
