//! Every verb finds its rows by an index, however many there are, also when nobody has analyzed the tables yet.

use rstest::rstest;
use wxgate::domain::ids::{CallbackId, MessageId};
use wxgate::domain::message::MessageFilter;
use wxgate::domain::page::PageRequest;
use wxgate::domain::state::{Lane, State};
use wxgate::domain::user::UserFilter;
use wxgate::store::Stores;

use super::super::backend::Database;
use super::super::build::{
    HOLD, WINDOW, at, callback, key, leased, message, receipt, shop, to_queued, to_sent, unknown,
};
use super::{open_as, until};

/// Rows of each kind.
const ROWS: i64 = 30_000;

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_verb_reads_through_a_table(#[values(false, true)] is_analyzed: bool) {
    let database = Database::create().await;
    open_as(&database, "a").await.close().await;
    fill(&database).await;
    if is_analyzed {
        database.execute("VACUUM ANALYZE").await;
    }
    // What a session has read is told when it ends, or soon after.
    let mut before = (0, 0);
    until("the filling is counted", async || {
        before = reads(&database).await;
        before.0 >= ROWS
    })
    .await;
    let stores = open_as(&database, "a").await;
    for n in 0..10 {
        let lent = stores.queue.lease(Lane::Normal, &shop(), 5, at(0), HOLD).await.unwrap();
        assert_eq!(lent.len(), 5);
        for (lease, next) in lent.into_iter().zip([to_sent(Some("1")), to_sent(None), to_queued(at(9), Some(at(0)))]) {
            stores.queue.settle(lease, next, at(1)).await.unwrap();
        }
        assert!(stores.queue.next_due(&shop()).await.unwrap().is_some());
        let mut new = message("o1", at(n));
        new.idempotency = key(&n.to_string(), "hash");
        stores.outbox.accept(new, None).await.unwrap();
        leased(&stores, message("o2", at(n))).await;
        let doubtful = unknown(&stores, &format!("oNEW{n}")).await;
        stores.inbox.record(receipt(&format!("early{n}"), "oNEW", "success")).await.unwrap();
        stores.inbox.record(receipt(&format!("late{n}"), &format!("oNEW{n}"), "success")).await.unwrap();
        stores.inbox.record(callback(&format!("new{n}"))).await.unwrap();
        assert_eq!(stores.messages.look_up(doubtful).await.unwrap().unwrap().state, State::Delivered);
        stores.messages.cancel(doubtful, at(9)).await.unwrap();
        stores.queue.expire(at(-10), 9).await.unwrap();
        stores.queue.rescue(at(1), WINDOW, 9, &[]).await.unwrap();
        stores.counts.oldest_ready(at(0)).await.unwrap();
        assert_eq!(stores.outbox.forget_keys(at(-2_500_000), 9).await.unwrap(), 9);
        assert_eq!(stores.messages.forget(at(-2_500_000), 9).await.unwrap(), 9);
        assert_eq!(stores.inbox.forget(at(-2_500_000), 9).await.unwrap(), 9);
        let filter = MessageFilter { touser: Some("oROW7".to_owned()), ..MessageFilter::default() };
        stores.messages.list(filter, PageRequest { limit: 20, after: None }).await.unwrap();
        let filter = MessageFilter { account: Some("shop".to_owned()), ..MessageFilter::default() };
        stores.messages.list(filter, PageRequest { limit: 20, after: None }).await.unwrap();
        list_users(&stores, n).await;
    }
    stores.close().await;
    until("the readers have ended", async || {
        let ours =
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND application_name LIKE 'wxgate%'";
        database.column::<i32>(ours).await.is_empty()
    })
    .await;
    let after = reads(&database).await;
    assert_eq!(after.0, before.0, "rows read in the order of the tables");
    let read = after.1 - before.1;
    assert!(read > 0 && read < ROWS / 2, "{read} rows were read for some 300 verbs");
}

/// By every index of users.
async fn list_users(stores: &Stores, n: i64) {
    let any = UserFilter::default;
    for filter in [
        any(),
        UserFilter { user_id: Some(format!("u{n}")), ..any() },
        UserFilter { subscribed: Some(false), ..any() },
        UserFilter { tag: Some("rare".to_owned()), ..any() },
        UserFilter { seen_after: Some(at(-2_600_000)), ..any() },
    ] {
        for after in [None, Some("oROW00005000"), Some(&*format!("{}/oROW00005000", at(-2_590_000).as_millis()))] {
            let page = PageRequest { limit: 20, after: after.map(str::to_owned) };
            let found = stores.users.list("shop", filter.clone(), page).await.unwrap();
            assert!(!found.items.is_empty() || filter.user_id.is_some(), "{filter:?}");
        }
    }
}

/// Rows read in the order of the tables, and by way of indexes, so far.
async fn reads(database: &Database) -> (i64, i64) {
    let of = "WHERE relname IN ('messages', 'callbacks', 'receipts', 'idempotency', 'users', 'user_tags')";
    let sequential = format!("SELECT sum(seq_tup_read)::bigint FROM pg_stat_user_tables {of}");
    let by_index = format!("SELECT coalesce(sum(idx_tup_read), 0)::bigint FROM pg_stat_user_indexes {of}");
    (database.column(&sequential).await[0], database.column(&by_index).await[0])
}

/// A great many messages in every state, callbacks, receipts and keys, all of them of a month ago.
async fn fill(database: &Database) {
    // The part of an id that is its time.
    let message = &MessageId::generate(at(-2_600_000)).to_string()[..14];
    let callback = &CallbackId::generate(at(-2_600_000)).to_string()[..14];
    let (then, now) = (at(-2_600_000).as_millis(), at(0).as_millis());
    database
        .execute(&format!(
            "SET enable_seqscan = on;
             INSERT INTO messages
             SELECT '{message}' || lpad(i::text, 16, '0'), 'shop', 'crm', 'oROW' || i % 1000, 'TPL', '{{}}', i::text, 'normal', 'retry',
                (ARRAY['queued', 'delivered', 'sent', 'unknown', 'failed', 'scheduled'])[i % 6 + 1], NULL, 'm' || i,
                {then} + i, {then} + i, NULL, {now} + 86400000, {now} - 40000 + i, NULL, 0, NULL, NULL, 0,
                CASE WHEN i % 6 = 3 THEN {then} + i END, NULL, NULL, NULL, NULL, NULL, '', '' FROM generate_series(1, {ROWS}) AS i;
             INSERT INTO idempotency SELECT 'crm', 'send-template', 'old' || i, 'h', 'msg_' || i, {then} + i
                FROM generate_series(1, {ROWS}) AS i;
             INSERT INTO callbacks SELECT '{callback}' || lpad(i::text, 16, '0'), 'shop', 'old' || i, 'text', NULL, '', NULL, {then} + i
                FROM generate_series(1, {ROWS}) AS i;
             INSERT INTO receipts (account, msgid, openid, status, received_at, callback_id, is_template)
                SELECT 'shop', 'r' || i, 'oROW' || i % 1000, 'delivered', {then} + i, 'cbk_' || i, true
                FROM generate_series(1, {ROWS}) AS i;
             INSERT INTO users (account, openid, user_id, subscribed, first_seen_at, last_seen_at)
                SELECT 'shop', 'oROW' || lpad(i::text, 8, '0'), 'u' || i, i % 1000 > 0, {then} + i * 1000, {then} + i * 1000
                FROM generate_series(1, {ROWS}) AS i;
             INSERT INTO user_tags SELECT 'shop', 'rare', openid FROM users WHERE NOT subscribed;
             INSERT INTO user_tags SELECT 'shop', 'common', openid FROM users;
             INSERT INTO counts (account, lane, state, count) SELECT account, lane, state, count(*) FROM messages GROUP BY 1, 2, 3;
             UPDATE totals SET value = {ROWS} WHERE name = 'accepted' AND boot = ''"
        ))
        .await;
}
