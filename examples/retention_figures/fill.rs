//! A year of a gateway's life, written beside its doors: ended messages, keys and callbacks older than any retention.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, params};
use wxgate::domain::clock::Timestamp;
use wxgate::domain::ids::{CallbackId, MessageId};

use super::{DAY, NOW, open_at};

/// The oldest row, and the youngest.
const FROM: Duration = Duration::from_secs(465 * 24 * 3600);
const TO: Duration = Duration::from_secs(100 * 24 * 3600);
/// Rows in one transaction.
const BATCH: usize = 20_000;

pub(super) async fn fill(path: &Path, rows: usize) -> anyhow::Result<()> {
    open_at(path).await?.close().await;
    let path = path.to_owned();
    tokio::task::spawn_blocking(move || write(&path, rows)).await?
}

fn write(path: &Path, rows: usize) -> anyhow::Result<()> {
    let mut conn = Connection::open(path)?;
    // Nobody's promise is at stake yet.
    conn.execute_batch("PRAGMA synchronous = OFF; PRAGMA cache_size = -262144")?;
    let step = (FROM - TO) / u32::try_from(rows.max(1))?;
    for start in (0..rows).step_by(BATCH) {
        let tx = conn.transaction()?;
        for row in start..rows.min(start + BATCH) {
            one(&tx, row, NOW.minus(FROM).plus(step * u32::try_from(row)?))?;
        }
        tx.commit()?;
    }
    conn.execute("UPDATE totals SET value = ?1 WHERE name = 'accepted'", [i64::try_from(rows)?])?;
    conn.execute("INSERT INTO counts VALUES ('shop', 'normal', 'delivered', ?1)", [i64::try_from(rows)?])?;
    conn.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

fn one(conn: &Connection, row: usize, at: Timestamp) -> anyhow::Result<()> {
    let id = MessageId::generate(at);
    // A hundred thousand people, in no order.
    let touser = format!("o{:027x}", (row % 100_000).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let msgid = format!("{}", 3_000_000_000_000_000_000 + row);
    let body = format!(
        "{{\"touser\":\"{touser}\",\"template_id\":\"TPL-ORDER\",\"client_msg_id\":\"{}\",\"data\":{{\"thing1\":{{\"value\":\"茉莉花茶\"}},\
         \"amount2\":{{\"value\":\"¥28.00\"}},\"date3\":{{\"value\":\"2026-01-03\"}},\"thing4\":{{\"value\":\"订单已经发货，请留意查收\"}}}}}}",
        id.body()
    );
    let attempts = format!(
        "{{\"at\":\"{at}\",\"duration_ms\":84,\"errcode\":0,\"errmsg\":\"ok\",\"rid\":\"64f0a1b2-1c2d3e4f-5a6b7c8d\",\"outcome\":\"accepted\"}}\n"
    );
    let history: String = ["queued", "sending", "sent", "delivered"]
        .map(|state| format!("{{\"state\":\"{state}\",\"at\":\"{at}\"}}\n"))
        .concat();
    conn.prepare_cached(
        "INSERT INTO messages (id, account, client, touser, template_id, body, client_msg_id, lane, on_unknown, state, msgid,
            created_at, updated_at, expires_at, due_at, lease_boot, lease_generation, leased_at, lease_until, tries,
            attempts, history)
         VALUES (?1, 'shop', 'crm', ?2, 'TPL-ORDER', ?3, ?4, 'normal', 'retry', 'delivered', ?5, ?6, ?6, ?7, ?6, 'boot', 1, ?6,
            ?6, 0, ?8, ?9)",
    )?
    .execute(params![
        id.to_string(),
        touser,
        body,
        id.body(),
        msgid,
        at.as_millis(),
        at.plus(DAY).as_millis(),
        attempts,
        history
    ])?;
    conn.prepare_cached("INSERT INTO idempotency VALUES ('crm', 'POST /send-template', ?1, ?2, ?3, ?4)")?.execute(
        params![
            format!("order-{:x}", row.wrapping_mul(0x9E37_79B9_7F4A_7C15)),
            "ab".repeat(32),
            id.to_string(),
            at.as_millis()
        ],
    )?;
    conn.prepare_cached(
        "INSERT INTO callbacks (id, account, dedupe_key, kind, openid, body, received_at)
         VALUES (?1, 'shop', ?2, 'event.TEMPLATESENDJOBFINISH', ?3, ?4, ?5)",
    )?
    .execute(params![
        CallbackId::generate(at).to_string(),
        format!("TEMPLATESENDJOBFINISH/{msgid}"),
        touser,
        format!("<xml><FromUserName>{touser}</FromUserName><Event>TEMPLATESENDJOBFINISH</Event><MsgID>{msgid}</MsgID><Status>success</Status></xml>"),
        at.as_millis()
    ])?;
    Ok(())
}
