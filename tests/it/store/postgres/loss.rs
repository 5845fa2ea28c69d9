//! Connections that die, a server that restarts, freezes or is full: nothing acknowledged is missing, nothing refused is
//! sent, nobody waits for ever, and it goes on by itself.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wxgate::config::store::{PostgresConfig, StoreConfig};
use wxgate::domain::ids::{BootId, MessageId};
use wxgate::domain::message::MessageFilter;
use wxgate::domain::page::PageRequest;
use wxgate::domain::state::{Lane, State};
use wxgate::store::{Accepted, Error, Stores, open};

use super::super::backend::{Database, sealer};
use super::super::build::{HOLD, at, callback, look_up, message, shop, to_sent};
use super::server::{Server, Way};
use super::{open_as, open_through, until};

/// Callers, a worker and WeChat at work, all at once, until they are stopped.
struct Load {
    stores: Stores,
    stop: AtomicBool,
    answers: AtomicUsize,
    refusals: AtomicUsize,
    accepted: std::sync::Mutex<Vec<MessageId>>,
    refused: std::sync::Mutex<Vec<MessageId>>,
    sent: std::sync::Mutex<HashSet<MessageId>>,
}

impl Load {
    fn start(stores: &Stores) -> (Arc<Self>, Vec<tokio::task::JoinHandle<()>>) {
        let load = Arc::new(Self {
            stores: stores.clone(),
            stop: AtomicBool::new(false),
            answers: AtomicUsize::new(0),
            refusals: AtomicUsize::new(0),
            accepted: std::sync::Mutex::default(),
            refused: std::sync::Mutex::default(),
            sent: std::sync::Mutex::default(),
        });
        let mut tasks = Vec::new();
        for n in 0..8 {
            tasks.push(tokio::spawn(load.clone().accept(n)));
        }
        tasks.push(tokio::spawn(load.clone().work()));
        tasks.push(tokio::spawn(load.clone().report()));
        (load, tasks)
    }

    async fn accept(self: Arc<Self>, n: usize) {
        while !self.stop.load(Ordering::SeqCst) {
            let new = message(&format!("o{n}"), at(0));
            let id = new.id;
            match self.stores.outbox.accept(new, None).await {
                Ok(Accepted::New) => self.accepted.lock().unwrap().push(id),
                Ok(other) => panic!("{other:?}"),
                Err(error) => {
                    self.count(&error).await;
                    self.refused.lock().unwrap().push(id);
                }
            }
            self.answers.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Lends and settles as the worker does: a result is never thrown away.
    async fn work(self: Arc<Self>) {
        while !self.stop.load(Ordering::SeqCst) {
            let lent = match self.stores.queue.lease(Lane::Normal, &shop(), 20, at(1), HOLD).await {
                Ok(lent) => lent,
                Err(error) => {
                    self.count(&error).await;
                    continue;
                }
            };
            let settled = lent.into_iter().map(|lease| {
                let this = &self;
                async move {
                    // From here on somebody has seen it.
                    assert!(this.sent.lock().unwrap().insert(lease.message_id), "{} was lent twice", lease.message_id);
                    let msgid = lease.message_id.to_string();
                    while let Err(error) = this.stores.queue.settle(lease.clone(), to_sent(Some(&msgid)), at(2)).await {
                        this.count(&error).await;
                    }
                }
            });
            futures_util::future::join_all(settled).await;
        }
    }

    async fn report(self: Arc<Self>) {
        let mut n = 0;
        while !self.stop.load(Ordering::SeqCst) {
            n += 1;
            while let Err(error) = self.stores.inbox.record(callback(&n.to_string())).await {
                self.count(&error).await;
            }
        }
    }

    async fn count(&self, error: &Error) {
        assert!(matches!(error, Error::Unavailable { .. }), "{error}");
        self.refusals.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    /// Waits for so many more answers.
    async fn goes_on(&self, count: usize) {
        let before = self.accepted.lock().unwrap().len();
        until("messages are accepted", async || self.accepted.lock().unwrap().len() >= before + count).await;
    }

    async fn end(self: Arc<Self>, tasks: Vec<tokio::task::JoinHandle<()>>) {
        self.stop.store(true, Ordering::SeqCst);
        for task in tasks {
            task.await.unwrap();
        }
        let stores = &self.stores;
        let accepted = self.accepted.lock().unwrap().clone();
        for id in accepted {
            let state = look_up(stores, id).await.state;
            let is_sent = self.sent.lock().unwrap().contains(&id);
            // A lease whose answer was lost is given back, or still held by nobody: it was never sent.
            let fits = if is_sent { state == State::Sent } else { matches!(state, State::Queued | State::Sending) };
            assert!(fits, "{id}: {state:?}, sent: {is_sent}");
        }
        let refused = self.refused.lock().unwrap().clone();
        for id in refused {
            let message = stores.messages.look_up(id).await.unwrap();
            assert!(message.is_none_or(|message| message.state == State::Canceled), "{id} was refused and is there");
            assert!(!self.sent.lock().unwrap().contains(&id), "{id} was refused and sent");
        }
        until("the figures agree", async || {
            let states = stores.counts.states();
            let total: u64 = states.iter().map(|line| line.count).sum();
            stores.counts.unaccounted() == 0 && total == stores.counts.accepted()
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_may_be_cut_at_any_moment() {
    let database = Database::create().await;
    let stores = open_as(&database, "a").await;
    let (load, tasks) = Load::start(&stores);
    for _ in 0..12 {
        load.goes_on(40).await;
        database
            .execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE datname = current_database() AND application_name LIKE 'wxgate%'",
            )
            .await;
    }
    load.goes_on(40).await;
    load.end(tasks).await;
    check_rows(&database).await;
    stores.close().await;
}

async fn canceled(database: &Database) -> i64 {
    database.column("SELECT count(*) FROM messages WHERE state = 'canceled'").await[0]
}

/// The hardest of all: answers to COMMIT are lost, now and then for longer than anybody waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_may_lose_their_answers_at_any_moment() {
    let database = Database::create().await;
    let way = Way::to(&database).await;
    let stores = open_through(&database, way.url(&database)).await;
    let (load, tasks) = Load::start(&stores);
    for round in 1..=8 {
        load.goes_on(40).await;
        way.lose_commits(1);
        until("an answer is lost", async || way.lost() == round).await;
    }
    // The lost one may hold no new message: then there is nothing to take back, and another is lost.
    for (round, pause) in (9..).zip([300, 20, 7000, 7000, 7000, 7000]) {
        load.goes_on(40).await;
        way.lose_commit_and_close();
        until("an answer is lost", async || way.lost() == round).await;
        tokio::time::sleep(Duration::from_millis(pause)).await;
        way.open();
        load.goes_on(40).await;
        if canceled(&database).await > 0 {
            break;
        }
    }
    load.end(tasks).await;
    check_rows(&database).await;
    assert!(canceled(&database).await > 0, "nothing was ever taken back");
    stores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_restarts_costs_time_and_nothing_else() {
    let server = Server::start();
    let database = Database::create_in(server.url.clone()).await;
    let stores = open_as(&database, "a").await;
    let (load, tasks) = Load::start(&stores);
    for _ in 0..2 {
        load.goes_on(100).await;
        let place = server.place();
        let restarted = tokio::task::spawn_blocking(move || super::server::restart(&place));
        restarted.await.unwrap();
        load.goes_on(100).await;
    }
    assert!(load.refusals.load(Ordering::SeqCst) > 0, "nobody noticed");
    load.end(tasks).await;
    check_rows(&database).await;
    stores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_refuses_at_once_and_a_start_says_why() {
    let server = Server::start();
    let database = Database::create_in(server.url.clone()).await;
    let stores = open_as(&database, "a").await;
    stores.outbox.accept(message("o1", at(0)), None).await.unwrap();
    server.stop();
    // The first one notices.
    assert!(stores.outbox.accept(message("o1", at(0)), None).await.is_err());
    for _ in 0..20 {
        let begun = Instant::now();
        let refused = stores.outbox.accept(message("o1", at(0)), None).await.unwrap_err();
        assert!(refused.to_string().contains("does not answer: check host and port"), "{refused}");
        assert!(stores.queue.next_due(&shop()).await.is_err());
        assert!(begun.elapsed() < Duration::from_millis(500), "{:?}", begun.elapsed());
    }
    let refused = open::migrate(&StoreConfig::Postgres(database.config())).await.unwrap_err().to_string();
    assert!(refused.contains("check host and port"), "{refused}");
    server.restart();
    until("it works again", async || stores.counts.probe().await.is_ok()).await;
    assert_eq!(stores.queue.next_due(&shop()).await.unwrap(), Some(at(0)));
    stores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_server_holds_nobody_up_for_ever() {
    let server = Server::start();
    let database = Database::create_in(server.url.clone()).await;
    let stores = open_as(&database, "a").await;
    let (load, tasks) = Load::start(&stores);
    load.goes_on(50).await;
    let all = processes(server.pid());
    signal(&all, Signal::SIGSTOP);
    let (begun, open) = (Instant::now(), shop());
    let (accepted, read) = tokio::join!(stores.outbox.accept(message("o1", at(0)), None), stores.queue.next_due(&open));
    let waited = begun.elapsed();
    signal(&all, Signal::SIGCONT);
    assert!(matches!(accepted, Err(Error::Unavailable { .. })), "{accepted:?}");
    assert!(matches!(read, Err(Error::Unavailable { .. })), "{read:?}");
    assert!(waited < Duration::from_secs(25), "{waited:?}");
    load.goes_on(50).await;
    load.end(tasks).await;
    check_rows(&database).await;
    stores.close().await;
}

/// Every connection for queries hangs in a lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_used_up_pool_refuses_soon_and_recovers() {
    let database = Database::create().await;
    let config = StoreConfig::Postgres(PostgresConfig { pool_size: 3, ..database.config() });
    let stores = open::open(&config, BootId::generate(at(0)), sealer()).await.unwrap();
    let id = message("o1", at(0)).id;
    let holder = database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    let hanging = tokio::spawn({
        let messages = stores.messages.clone();
        async move { messages.look_up(id).await }
    });
    until("the one quick connection hangs", async || {
        let waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        database.column::<i32>(waits).await.len() == 1
    })
    .await;
    let begun = Instant::now();
    let refused = stores.messages.look_up(id).await.unwrap_err();
    assert!(refused.to_string().contains("storage.pool_size"), "{refused}");
    assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
    // What hangs is given up too, and others find its place free.
    let given_up = hanging.await.unwrap().unwrap_err();
    assert!(given_up.to_string().contains("took too long"), "{given_up}");
    holder.batch_execute("COMMIT").await.unwrap();
    assert!(stores.messages.look_up(id).await.unwrap().is_none());
    stores.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_takes_too_long_is_given_up_with_advice() {
    let database = Database::create().await;
    let stores = open_as(&database, "a").await;
    let holder = database.connect().await;
    holder.batch_execute("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
    for _ in 0..3 {
        let begun = Instant::now();
        let page = PageRequest { limit: 9, after: None };
        let refused = stores.messages.list(MessageFilter::default(), page).await.unwrap_err();
        assert!(matches!(&refused, Error::TooSlow { advice } if advice.contains("narrow the filter")), "{refused}");
        assert!(begun.elapsed() < Duration::from_secs(4), "{:?}", begun.elapsed());
    }
    holder.batch_execute("COMMIT").await.unwrap();
    let page = PageRequest { limit: 9, after: None };
    assert!(stores.messages.list(MessageFilter::default(), page).await.unwrap().items.is_empty());
    stores.close().await;
}

/// A caller that leaves does not take a connection with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_query_whose_caller_left_holds_nobody_up() {
    let database = Database::create().await;
    let config = StoreConfig::Postgres(PostgresConfig { pool_size: 3, ..database.config() });
    let stores = open::open(&config, BootId::generate(at(0)), sealer()).await.unwrap();
    let id = message("o1", at(0)).id;
    for _ in 0..3 {
        let holder = database.connect().await;
        holder.batch_execute("BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE").await.unwrap();
        let hanging = tokio::spawn({
            let messages = stores.messages.clone();
            async move { messages.look_up(id).await }
        });
        let waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        until("the query hangs", async || database.column::<i32>(waits).await.len() == 1).await;
        hanging.abort();
        until("the server has given it up", async || database.column::<i32>(waits).await.is_empty()).await;
        holder.batch_execute("COMMIT").await.unwrap();
        assert!(stores.messages.look_up(id).await.unwrap().is_none());
    }
    stores.close().await;
}

/// What the figures say is what the rows are, and every history begins and goes on as it should.
async fn check_rows(database: &Database) {
    let wrong: Vec<String> = database
        .column(
            "WITH rows AS (SELECT account, lane, state, count(*)::bigint AS count FROM messages GROUP BY 1, 2, 3),
                  kept AS (SELECT account, lane, state, sum(count)::bigint AS count FROM counts GROUP BY 1, 2, 3)
             SELECT coalesce(rows.state, kept.state) || ': ' || coalesce(rows.count, 0) || ' rows, counted ' || coalesce(kept.count, 0)
             FROM rows FULL JOIN kept USING (account, lane, state) WHERE coalesce(rows.count, 0) <> coalesce(kept.count, 0)",
        )
        .await;
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// The server and its children.
fn processes(parent: i32) -> Vec<i32> {
    let is_child = |pid: &i32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let fields = stat.rsplit_once(')').map(|(_, rest)| rest.to_owned()).unwrap_or_default();
        fields.split_whitespace().nth(1) == Some(&parent.to_string())
    };
    let all = std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    std::iter::once(parent).chain(all.filter(is_child)).collect()
}

fn signal(processes: &[i32], signal: Signal) {
    for pid in processes {
        // One may have ended by itself.
        let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(*pid), signal);
    }
}
