//! A year of old rows is deleted: callers, repairs and the stop do not wait for it.

use std::time::Duration;

use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::binary::process::until;
use crate::harness::{TestApp, order_notice};

/// So many ended messages, older than any retention, beside the gateway.
fn fill(app: &TestApp, rows: usize) {
    let conn = rusqlite::Connection::open(app.database()).unwrap();
    conn.busy_timeout(Duration::from_secs(5)).unwrap();
    conn.execute(
        "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
         INSERT INTO messages (id, account, client, touser, template_id, body, client_msg_id, lane, on_unknown, state, created_at,
            updated_at, expires_at, due_at, lease_generation, tries, attempts, history)
         SELECT 'msg_' || printf('%026d', i), 'shop', 'crm', 'o' || hex(randomblob(13)), 'TPL', '{}', 'x', 'normal', 'retry',
            'delivered', 0, 0, 0, 0, 1, 0, '', '' FROM n",
        [i64::try_from(rows).unwrap()],
    )
    .unwrap();
}

fn old_rows(app: &TestApp) -> i64 {
    let conn = rusqlite::Connection::open(app.database()).unwrap();
    conn.query_row("SELECT count(*) FROM messages WHERE updated_at = 0", [], |row| row.get(0)).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_go_on_between_the_batches() {
    let app = TestApp::start().await;
    fill(&app, 20_000);
    let forget = app.app.timer().sweep.forget();
    tokio::pin!(forget);
    let mut sends = 0;
    let gone = loop {
        let touser = format!("oBETWEEN{sends}");
        tokio::select! {
            gone = &mut forget => break gone.unwrap(),
            reply = app.send(&touser) => {
                assert_eq!(reply.status, 200, "{}", reply.text);
                sends += 1;
            }
        }
    };
    assert_eq!((gone, old_rows(&app)), ((20_000, 0), 0));
    // Each of them needs two commits: they came between at least every fourth batch.
    assert!(sends >= 20_000 / wxgate::services::sweep::FORGET_BATCH / 8, "{sends}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repairs_and_the_stop_do_not_wait_for_it() {
    let app = TestApp::start().await;
    let mut body = order_notice("oSHORT");
    (body["ttl_s"], body["on_unknown"]) = (json!(60), json!("hold"));
    let reply = app.post("/send-template").header("prefer", "respond-async").json(&body).send().await;
    let id = reply.field("message_id");
    fill(&app, 150_000);
    let stop = CancellationToken::new();
    let timer = tokio::spawn(app.app.timer().clone().run(stop.clone()));
    until("deleting has begun", async || old_rows(&app) < 150_000).await;
    app.advance(Duration::from_secs(61)).await;
    until("the message has expired", async || app.state_of(&id).await == "expired").await;
    assert!(old_rows(&app) > 0, "and not because the deleting was over");
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), timer).await.expect("it stops at once").unwrap();
    assert!(old_rows(&app) > 0);
}
