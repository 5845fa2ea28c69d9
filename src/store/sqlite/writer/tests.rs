use super::*;

fn started() -> Writer {
    started_with("")
}

fn started_with(settings: &str) -> Writer {
    started_on(settings, Watch::off())
}

fn started_on(settings: &str, space: Watch) -> Writer {
    let conn = Connection::open_in_memory().unwrap();
    conn.execute_batch("CREATE TABLE t (n INTEGER UNIQUE, filling BLOB)").unwrap();
    conn.execute_batch(settings).unwrap();
    Writer::start(conn, Arc::default(), Arc::default(), Arc::default(), space, None).unwrap()
}

fn insert(unit: &mut Unit<'_>, n: i64) -> Result<i64, Error> {
    unit.tx.execute("INSERT INTO t (n) VALUES (?1)", [n])?;
    Ok(unit.tx.query_row("SELECT count(*) FROM t", [], |row| row.get(0))?)
}

#[tokio::test]
async fn a_poisonous_command_hurts_only_its_caller() {
    let writer = started();
    let (first, twice, panicking, last) = tokio::join!(
        writer.run(|unit| insert(unit, 1)),
        writer.run(|unit| insert(unit, 1)),
        writer.run(|unit| {
            insert(unit, 7)?;
            if unit.tx.is_autocommit() { Ok(()) } else { panic!("on purpose") }
        }),
        writer.run(|unit| insert(unit, 2)),
    );
    assert_eq!(first.unwrap(), 1);
    assert!(matches!(twice, Err(Error::Unavailable { .. })));
    assert!(matches!(panicking, Err(Error::Unavailable { .. })));
    assert_eq!(last.unwrap(), 2);
}

#[tokio::test]
async fn a_full_disk_is_told_with_its_cure_and_spares_what_still_fits() {
    let writer = started_with("PRAGMA max_page_count = 8");
    let fill = |unit: &mut Unit<'_>| -> Result<(), Error> {
        unit.tx.execute("INSERT INTO t (filling) VALUES (zeroblob(100000))", [])?;
        Ok(())
    };
    let (small, large) = tokio::join!(writer.run(|unit| insert(unit, 1)), writer.run(fill));
    assert_eq!(small.unwrap(), 1);
    assert!(matches!(large, Err(Error::NoRoom { advice }) if advice.contains("make room")));
    assert_eq!(writer.run(|unit| insert(unit, 2)).await.unwrap(), 2);
}

#[tokio::test]
async fn on_a_full_disk_the_reserve_is_let_go_and_the_batch_runs_again() {
    let folder = tempfile::tempdir().unwrap();
    let reserve = folder.path().join("t.db.reserve");
    let writer =
        started_on("PRAGMA max_page_count = 8", Watch::over(folder.path(), 1 << 20, Box::new(|| Some(1 << 30))));
    assert!(reserve.exists());
    let seen = reserve.clone();
    let fill = move |unit: &mut Unit<'_>| -> Result<bool, Error> {
        // What a volume does by itself: without the reserve there is room.
        if !seen.exists() {
            unit.tx.execute_batch("PRAGMA max_page_count = 1000")?;
        }
        unit.tx.execute("INSERT INTO t (filling) VALUES (zeroblob(100000))", [])?;
        Ok(unit.shortage.is_some())
    };
    let (before, filled) = tokio::join!(writer.run(|unit| insert(unit, 1)), writer.run(fill));
    assert_eq!(before.unwrap(), 1);
    assert!(filled.unwrap(), "nothing new is let in from then on");
    assert!(writer.space().unwrap().is_short);
    // The next look finds room: the reserve is there again.
    let short = writer.run(|unit| Ok(unit.shortage.is_some())).await.unwrap();
    assert!(!short && reserve.exists());
}

#[tokio::test]
async fn closing_commits_what_waits_and_refuses_the_rest() {
    let writer = started();
    let (kept, ()) = tokio::join!(writer.run(|unit| insert(unit, 1)), writer.close());
    assert_eq!(kept.unwrap(), 1);
    let late = writer.run(|unit| insert(unit, 2)).await;
    assert!(matches!(late, Err(Error::Unavailable { reason }) if reason.contains("closed")));
    writer.close().await;
}

#[tokio::test]
async fn a_writer_that_is_far_behind_refuses_what_need_not_wait() {
    let writer = started();
    let (hold, held) = std::sync::mpsc::channel::<()>();
    let held = std::sync::Mutex::new(held);
    let (begin, begun) = std::sync::mpsc::channel();
    let mut running = Box::pin(writer.run(move |_| {
        begin.send(()).unwrap();
        // Ends when the test lets go of the other end.
        Ok(held.lock().unwrap().recv().is_err())
    }));
    assert!(futures_util::poll!(&mut running).is_pending());
    // From here on the thread is busy with a batch of one and takes nothing more.
    begun.recv().unwrap();
    let mut waiting = Vec::new();
    for n in 0..i64::try_from(QUEUE).unwrap() {
        let mut call = Box::pin(writer.try_run(move |unit| insert(unit, n)));
        assert!(futures_util::poll!(&mut call).is_pending());
        waiting.push(call);
    }
    let refused = writer.try_run(|unit| insert(unit, -1)).await;
    assert!(matches!(refused, Err(Error::Overloaded)));
    drop(hold);
    assert!(running.await.unwrap());
    for call in waiting {
        call.await.unwrap();
    }
}
