use super::*;

const SECOND: Duration = Duration::from_secs(1);

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(seconds)
}

fn breakers(failures_to_shut: u32, full: usize) -> Breakers {
    Breakers::new(BreakerRules { failures_to_shut, pause: 4 * SECOND, full })
}

fn shop() -> Arc<str> {
    "shop".into()
}

#[track_caller]
fn go(breakers: &Breakers, now: Timestamp) -> Admission {
    match breakers.admit(&shop(), now) {
        Permit::Go(admission) => admission,
        Permit::Wait { pause } => panic!("waits for {pause:?}"),
    }
}

#[track_caller]
fn waits_until(breakers: &Breakers, now: Timestamp) -> Timestamp {
    match breakers.admit(&shop(), now) {
        Permit::Wait { pause } => now.plus(pause),
        Permit::Go(_) => panic!("admitted"),
    }
}

fn shut(breakers: &Breakers, failures: usize, now: Timestamp) {
    for _ in 0..failures {
        go(breakers, now).report(Health::Lost, now);
    }
}

#[test]
fn it_shuts_probes_and_opens() {
    let breakers = breakers(3, 64);
    shut(&breakers, 3, at(0));
    assert_eq!((waits_until(&breakers, at(3)), breakers.failures(&shop())), (at(4), 3));
    assert_eq!((breakers.room(&shop(), at(3)), breakers.room(&shop(), at(4))), (0, 1));
    let probe = go(&breakers, at(4));
    assert_eq!(breakers.room(&shop(), at(4)), 0);
    assert_eq!(waits_until(&breakers, at(4)), at(5), "the others wait for it");
    probe.report(Health::Lost, at(4));
    assert_eq!(waits_until(&breakers, at(5)), at(8), "one probe each time");
    go(&breakers, at(8)).report(Health::Answered, at(8));
    assert_eq!((breakers.room(&shop(), at(8)), breakers.failures(&shop())), (2, 0));
}

#[test]
fn its_room_doubles_from_round_to_round_until_it_is_free() {
    let breakers = breakers(1, 16);
    shut(&breakers, 1, at(0));
    let mut rounds = Vec::new();
    loop {
        let room = breakers.room(&shop(), at(4));
        if room == usize::MAX {
            break;
        }
        rounds.push(room);
        let round: Vec<_> = (0..room).map(|_| go(&breakers, at(4))).collect();
        assert_eq!(breakers.room(&shop(), at(4)), 0);
        for admission in &round {
            admission.report(Health::Answered, at(4));
        }
    }
    assert_eq!(rounds, [1, 2, 4, 8]);
    assert!(!breakers.is_narrow(&shop()));
}

#[test]
fn a_fault_while_it_is_narrow_takes_room_away_and_at_last_shuts_it() {
    for fault in [Health::Lost, Health::Busy] {
        let breakers = breakers(10, 64);
        shut(&breakers, 10, at(0));
        for _ in 0..3 {
            go(&breakers, at(4)).report(Health::Answered, at(4));
        }
        assert!(breakers.is_narrow(&shop()));
        let mut rooms = Vec::new();
        while breakers.room(&shop(), at(4)) > 0 {
            rooms.push(breakers.room(&shop(), at(4)));
            go(&breakers, at(4)).report(fault, at(4));
        }
        assert_eq!(rooms, [4, 3, 2, 1], "{fault:?}");
        assert_eq!(waits_until(&breakers, at(4)), at(8));
    }
}

#[test]
fn a_narrow_line_is_shut_at_once_by_as_many_faults_in_a_row_as_a_free_one() {
    let breakers = breakers(3, 64);
    shut(&breakers, 3, at(0));
    for _ in 0..20 {
        go(&breakers, at(4)).report(Health::Answered, at(4));
    }
    shut(&breakers, 3, at(4));
    assert_eq!(waits_until(&breakers, at(4)), at(8));
}

#[test]
fn a_free_line_is_shut_by_so_many_faults_in_a_row_and_by_no_fewer() {
    let breakers = breakers(3, 64);
    for health in [Health::Lost, Health::Busy, Health::Answered, Health::Busy, Health::Lost] {
        go(&breakers, at(0)).report(health, at(0));
    }
    assert_eq!(breakers.room(&shop(), at(0)), usize::MAX);
    go(&breakers, at(0)).report(Health::Busy, at(0));
    assert_eq!(breakers.room(&shop(), at(0)), 0);
}

#[test]
fn what_was_under_way_before_it_shut_neither_shuts_it_longer_nor_opens_it() {
    let breakers = breakers(1, 64);
    let (late_loser, late_winner) = (go(&breakers, at(0)), go(&breakers, at(0)));
    shut(&breakers, 1, at(0));
    late_loser.report(Health::Lost, at(3));
    late_winner.report(Health::Answered, at(3));
    assert_eq!(waits_until(&breakers, at(3)), at(4));
    let probe = go(&breakers, at(4));
    drop((late_loser, late_winner));
    assert_eq!(breakers.room(&shop(), at(4)), 0, "their places are not given back to the probe's time");
    drop(probe);
}

#[test]
fn a_probe_that_never_reports_is_followed_by_another() {
    let breakers = breakers(1, 64);
    shut(&breakers, 1, at(0));
    drop(go(&breakers, at(4)));
    drop(go(&breakers, at(4)));
    assert_eq!(breakers.room(&shop(), at(4)), 1);
}

#[test]
fn accounts_do_not_share_a_breaker() {
    let breakers = breakers(1, 64);
    shut(&breakers, 1, at(0));
    assert!(matches!(breakers.admit(&"other".into(), at(0)), Permit::Go(_)));
    assert_eq!(breakers.room(&"other".into(), at(0)), usize::MAX);
    waits_until(&breakers, at(0));
}

#[test]
fn a_clock_that_is_set_back_does_not_lengthen_the_pause() {
    let breakers = breakers(1, 64);
    shut(&breakers, 1, at(20_000));
    assert_eq!(waits_until(&breakers, at(10_000)), at(10_004));
    assert_eq!(breakers.room(&shop(), at(10_003)), 0);
    go(&breakers, at(10_004));
}
