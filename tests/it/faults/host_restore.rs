//! A backup of before is put back: nobody's phone shows anything a second time.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use nix::sys::signal::Signal;
use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::clock::{Clock, SystemClock};
use wxgate::sandbox::Fault;

use crate::binary::process::{Place, Program, command, until};
use crate::harness::order_notice;

const SEND: &str = "/cgi-bin/message/template/send";
const QUEUED: usize = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_sent_after_the_backup_is_not_sent_again() {
    let place = Place::prepare("queue.concurrency = 1").await;
    // Slow enough that the backup meets a queue.
    let slow = place.sandbox.set_fault(Fault::slow(300).on(SEND));
    let program = place.start().await;
    for n in 0..QUEUED {
        send(&program, &format!("oQUEUED{n}"), &json!({})).await;
    }
    let now = SystemClock.now();
    send(&program, "oSOON", &json!({ "send_at": now.plus(Duration::from_secs(2)).to_string() })).await;
    let far = send(&program, "oFAR", &json!({ "send_at": now.plus(Duration::from_secs(3600)).to_string() })).await;

    let backup = place.folder.path().join("backup.db");
    let database = place.folder.path().join("wxgate.db");
    rusqlite::Connection::open(&database).unwrap().execute("VACUUM INTO ?1", [backup.to_str().unwrap()]).unwrap();
    assert!(place.sandbox.message_count() < QUEUED as u64, "the backup came too late to mean anything");
    place.sandbox.remove_fault(slow);

    // An hour goes by, as it were: everything is sent, and more.
    send(&program, "oAFTER", &json!({})).await;
    let everybody = || (0..QUEUED).map(|n| format!("oQUEUED{n}")).chain(["oSOON".to_owned(), "oAFTER".to_owned()]);
    until("all are delivered", async || everybody().all(|touser| place.sandbox.deliveries_to(&touser) == 1)).await;
    let refused = check(&place, &["--apply"]);
    assert_eq!(refused.status.code(), Some(1), "{refused:?}");
    assert!(text(&refused.stderr).contains("is served by another wxgate process"), "{refused:?}");
    program.signal(Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));

    put_back(&backup, &database);
    let before = states(&database);
    let report = check(&place, &[]);
    let said = text(&report.stdout);
    assert_eq!(report.status.code(), Some(1), "{said}");
    for part in ["shop     queued", "shop     scheduled  1", "Nothing was changed", "Idempotency-Key"] {
        assert!(said.contains(part), "{part}\n{said}");
    }
    assert_eq!(states(&database), before, "it only looked");
    let applied = check(&place, &["--apply"]);
    let said = text(&applied.stdout);
    assert_eq!(applied.status.code(), Some(0), "{said}");
    let at_stake = states(&database).into_iter().filter(|(_, reason)| reason.as_deref() == Some("restored")).count();
    assert!(at_stake > 2 && said.contains(&format!("{at_stake} messages are `unknown` now")), "{at_stake}\n{said}");
    let again = check(&place, &["--apply"]);
    assert_eq!(again.status.code(), Some(0));
    assert!(text(&again.stdout).contains("No message in it can have been sent since"), "{again:?}");

    let calls = place.sandbox.calls(SEND);
    let program = place.start().await;
    send(&program, "oNEXT", &json!({})).await;
    until("the queue is worked off", async || place.sandbox.deliveries_to("oNEXT") == 1).await;
    assert_eq!(place.sandbox.calls(SEND), calls + 1, "nothing else has left");
    for touser in everybody() {
        assert_eq!(place.sandbox.deliveries_to(&touser), 1, "{touser}");
    }
    let message = program.get(&format!("/v1/messages/{far}")).await;
    assert_eq!(message["state"], "scheduled", "it cannot have been sent: {message}");
    let metrics = program.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nwxgate_messages_unaccounted 0\n"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_call_ends_with_2_and_makes_nothing() {
    let place = Place::prepare("").await;
    let missing = check(&place, &[]);
    assert_eq!(missing.status.code(), Some(2), "{missing:?}");
    assert!(text(&missing.stderr).contains("there is no database at"), "{missing:?}");
    assert!(!place.folder.path().join("wxgate.db").exists());
    for (argument, word) in [("yesterday", "2026-01-31T02:00:00Z"), ("2999-01-01T00:00:00Z", "has not come yet")] {
        std::fs::write(place.folder.path().join("wxgate.db"), "").unwrap();
        let wrong = check(&place, &["--taken-at", argument]);
        assert_eq!(wrong.status.code(), Some(2), "{wrong:?}");
        assert!(text(&wrong.stderr).contains(word), "{wrong:?}");
    }
}

async fn send(program: &Program, touser: &str, more: &Value) -> String {
    let mut body = order_notice(touser);
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    let request = program.request(Method::POST, "/send-template").header("prefer", "respond-async").json(&body);
    let response = request.send().await.unwrap();
    assert_eq!(response.status(), 202);
    response.json::<Value>().await.unwrap()["message_id"].as_str().unwrap().to_owned()
}

fn check(place: &Place, arguments: &[&str]) -> Output {
    command(&place.config()).arg("restore-check").args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// As the page for operators says.
fn put_back(backup: &Path, database: &Path) {
    for side in ["-wal", "-shm"] {
        let _ = std::fs::remove_file(format!("{}{side}", database.display()));
    }
    std::fs::copy(backup, database).unwrap();
}

/// State and reason of every message, beside the gateway.
fn states(database: &Path) -> Vec<(String, Option<String>)> {
    let conn = rusqlite::Connection::open(database).unwrap();
    let mut select = conn.prepare("SELECT state, state_reason FROM messages ORDER BY id").unwrap();
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    rows.map(Result::unwrap).collect()
}
