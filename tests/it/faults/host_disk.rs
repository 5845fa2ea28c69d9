//! A volume that runs full: refused before it is, what is in flight ends all the same, and it goes on without a restart.

use std::io::Write;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::sandbox::{CallbackRequest, Fault};

use crate::binary::process::{Place, Program, command, until};
use crate::harness::{Setup, TestApp, order_notice};

#[tokio::test]
async fn below_the_floor_sends_are_refused_and_all_else_goes_on() {
    let app = TestApp::start().await;
    let mut body = order_notice("oBEFORE");
    body["async"] = json!(true);
    let request = || app.post("/send-template").header("idempotency-key", "before").json(&body);
    let id = request().send().await.field("message_id");
    app.app.settled().await;
    let (folder, world) = app.stop().await;

    // No volume has that much room.
    let env = vec![("WXGATE__STORAGE__MIN_FREE", "1000000GiB")];
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), env, ..Setup::default() }).await;
    let refused = app.send("oREFUSED").await;
    refused.is_problem(503, "storage_unavailable");
    assert_eq!((refused.header("retry-after"), refused.json()["retryable"].as_bool()), (Some("5"), Some(true)));
    let detail = refused.field("detail");
    for part in
        ["nothing was stored", "the volume of the database has", "storage.min_free: 1024000000 MiB", "make room"]
    {
        assert!(detail.contains(part), "{detail}");
    }
    assert!(!detail.contains(&*app.folder.path().to_string_lossy()), "{detail}");
    let ready = app.anonymous(Method::GET, "/ready").send().await;
    assert_eq!((ready.status, &ready.json()["components"][0]["status"]), (503, &json!("down")), "{}", ready.text);
    assert!(ready.json()["components"][0]["detail"].as_str().unwrap().contains("too little room"), "{}", ready.text);
    assert!(app.metric("wxgate_storage_free_bytes").await > 0.0);
    // A repeat needs no room, a callback must not wait, and what was accepted goes on.
    let mut body = order_notice("oBEFORE");
    body["async"] = json!(true);
    let replayed = app.post("/send-template").header("idempotency-key", "before").json(&body).send().await;
    assert_eq!(
        (replayed.status / 100, replayed.header("idempotency-replayed"), replayed.field("message_id")),
        (2, Some("true"), id.clone())
    );
    assert!(app.sandbox.send_callback(CallbackRequest::text("oTALKS", "help")).await.unwrap().accepted);
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "sent");
    assert_eq!(app.sandbox.deliveries_to("oREFUSED"), 0);
    assert_eq!(app.metric("wxgate_messages_unaccounted").await, 0.0);
}

#[tokio::test]
async fn with_the_floor_at_nothing_there_is_no_reserve_and_no_refusal() {
    let app = TestApp::start().await;
    let reserve = app.folder.path().join("wxgate.db.reserve");
    assert!(reserve.exists(), "by default there is one");
    let (folder, world) = app.stop().await;
    let env = vec![("WXGATE__STORAGE__MIN_FREE", "0B")];
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), env, ..Setup::default() }).await;
    assert!(!reserve.exists());
    assert_eq!(app.send("oFINE").await.status, 200);
}

/// A volume of its own for one process, seen by nobody else and gone with it.
struct Volume {
    inside: PathBuf,
}

const MIB: usize = 1 << 20;

impl Volume {
    /// The command that mounts a volume of this size and serves a database on it.
    fn serve(place: &Place, mib: usize) -> Command {
        Self::serve_after(place, mib, "true")
    }

    /// The same, after a few words of shell on the fresh volume.
    fn serve_after(place: &Place, mib: usize, words: &str) -> Command {
        let disk = place.folder.path().join("disk");
        std::fs::create_dir_all(&disk).unwrap();
        let shown = disk.display();
        let mount =
            format!("mount -t tmpfs -o size={mib}m tmpfs {shown} && cd {shown} && {words} && cd / && exec \"$@\"");
        let inner = command(&place.config());
        let mut serve = Command::new("unshare");
        serve.arg("--mount").args(["--", "sh", "-c", &mount, "sh"]).arg(inner.get_program()).args(inner.get_args());
        serve.arg("serve").env("WXGATE__STORAGE__URL", format!("sqlite://{}", disk.join("wxgate.db").display()));
        serve.env_remove("RUST_LOG").env_remove("WXGATE_CONFIG");
        serve
    }

    fn of(program: &Program, place: &Place) -> Self {
        let disk = place.folder.path().join("disk");
        Self { inside: PathBuf::from(format!("/proc/{}/root{}", program.id(), disk.display())) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.inside.join(name)
    }

    /// Takes every byte that is left.
    fn fill(&self) {
        let mut filler = std::fs::File::create(self.path("filler")).unwrap();
        for size in [MIB, 4096, 1] {
            while filler.write_all(&vec![7; size]).is_ok() {}
        }
    }

    fn free(&self) {
        std::fs::remove_file(self.path("filler")).unwrap();
    }
}

/// May this user have volumes of its own?
fn can_mount() -> bool {
    let folder = tempfile::tempdir().unwrap();
    let mount = format!("mount -t tmpfs -o size=1m tmpfs {}", folder.path().display());
    let tried = Command::new("unshare").args(["--mount", "--", "sh", "-c", &mount]).output();
    match tried {
        Ok(output) if output.status.success() => true,
        other => {
            let _ = writeln!(
                std::io::stderr(),
                "NOT RUN on a real full volume: {other:?}. Run it as root. What it shows is shown without a volume by \
                 store::sqlite::writer::tests::on_a_full_disk_the_reserve_is_let_go_and_the_batch_runs_again, by \
                 store::sqlite::space::tests, and by below_the_floor_sends_are_refused_and_all_else_goes_on."
            );
            false
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_runs_full_under_load_loses_nothing_and_recovers() {
    if !can_mount() {
        // The deterministic half, in place of the volume.
        return floor_above_the_real_volume().await;
    }
    let place = Place::prepare("storage.min_free = \"8MiB\"\nqueue.concurrency = 16").await;
    place.sandbox.set_fault(Fault::slow(30).on("/cgi-bin/message/template/send"));
    let program = place.start_as(Volume::serve(&place, 64)).await;
    let volume = Volume::of(&program, &place);
    assert!(volume.path("wxgate.db.reserve").exists());

    let load = Load::begin(&program);
    until("the load flows", async || load.accepted.load(Ordering::SeqCst) > 100).await;
    volume.fill();
    until("sends are refused", async || load.refused.load(Ordering::SeqCst) > 0).await;
    // Large callbacks need room: they are kept, at the price of the reserve.
    let mut callbacks = 0;
    while volume.path("wxgate.db.reserve").exists() {
        let text = format!("{callbacks} {}", "x".repeat(60_000));
        let kept = place.sandbox.send_callback(CallbackRequest::text("oTALKS", &text)).await.unwrap();
        assert!(kept.accepted, "{callbacks}: {kept:?}");
        callbacks += 1;
        assert!(callbacks < 2_000, "the reserve was never needed");
    }
    let ids = load.end().await;
    until("what was accepted has ended, on the full disk", async || all_delivered(&program, &ids).await).await;
    let refused = send(&program, "oFULL").await;
    assert_eq!(refused.0, 503, "{refused:?}");
    assert!(refused.1["detail"].as_str().unwrap().contains("make room"), "{refused:?}");
    assert_eq!(program.request(Method::GET, "/ready").send().await.unwrap().status(), 503);

    volume.free();
    until("it accepts again", async || send(&program, "oAGAIN").await.0 == 200).await;
    until("the reserve is there again", async || volume.path("wxgate.db.reserve").exists()).await;
    until("it is ready", async || program.request(Method::GET, "/ready").send().await.unwrap().status() == 200).await;
    for touser in ids.keys() {
        assert_eq!(place.sandbox.deliveries_to(touser), 1, "{touser}");
    }
    assert_eq!(place.sandbox.deliveries_to("oFULL"), 0);
    let delivered: usize =
        place.sandbox.messages().iter().filter(|message| message.openid.starts_with("oLOAD")).count();
    assert_eq!(delivered, ids.len(), "what was refused was not sent");
    let metrics = program.request(Method::GET, "/metrics").send().await.unwrap().text().await.unwrap();
    assert!(metrics.contains("\nwxgate_messages_unaccounted 0\n"), "{metrics}");
    let log = std::fs::read_to_string(place.log()).unwrap();
    for (line, count) in [
        ("the volume of the database has too little room", 1),
        ("the reserve beside it was let go", 1),
        ("the volume of the database has room again", 1),
        ("the store did not write", 0),
    ] {
        assert_eq!(log.matches(line).count(), count, "{line}\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_that_starts_on_a_full_volume_ends_what_was_in_flight() {
    if !can_mount() {
        return floor_above_the_real_volume().await;
    }
    let place = Place::prepare("storage.min_free = \"8MiB\"\nqueue.concurrency = 16").await;
    place.sandbox.set_fault(Fault::slow(5_000).on("/cgi-bin/message/template/send"));
    let program = place.start().await;
    let mut ids = std::collections::BTreeMap::new();
    for n in 0..40 {
        let touser = format!("oLEFT{n}");
        let request = program.request(Method::POST, "/send-template").header("prefer", "respond-async");
        let body: Value = request.json(&order_notice(&touser)).send().await.unwrap().json().await.unwrap();
        ids.insert(touser, body["message_id"].as_str().unwrap().to_owned());
    }
    program.kill();
    place.sandbox.clear_faults();

    // The files as the kill left them, the reserve that was with them, and not one byte more.
    let from = place.folder.path().display();
    let words = format!(
        "cp {from}/wxgate.db {from}/wxgate.db-wal {from}/wxgate.db.reserve {from}/wxgate.db.key . && : > wxgate.db.lock && {{ cat /dev/zero > filler 2>&- || true; }}"
    );
    let program = place.start_as(Volume::serve_after(&place, 24, &words)).await;
    let volume = Volume::of(&program, &place);
    until("what was in flight has ended", async || all_delivered(&program, &ids).await).await;
    assert!(!volume.path("wxgate.db.reserve").exists(), "there was no other room");
    for touser in ids.keys() {
        assert_eq!(place.sandbox.deliveries_to(touser), 1, "{touser}");
    }
    assert_eq!(send(&program, "oFULL").await.0, 503);
}

/// The real program on a volume that never has enough: refuses, and says so once.
async fn floor_above_the_real_volume() {
    let place = Place::prepare("storage.min_free = \"1000000GiB\"").await;
    let program = place.start().await;
    for _ in 0..3 {
        assert_eq!(send(&program, "oFULL").await.0, 503);
    }
    assert!(place.sandbox.send_callback(CallbackRequest::text("oTALKS", "help")).await.unwrap().accepted);
    let log = std::fs::read_to_string(place.log()).unwrap();
    assert_eq!(log.matches("the volume of the database has too little room").count(), 1, "{log}");
}

async fn send(program: &Program, touser: &str) -> (u16, Value) {
    let response = program.request(Method::POST, "/send-template").json(&order_notice(touser)).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

async fn all_delivered(program: &Program, ids: &std::collections::BTreeMap<String, String>) -> bool {
    for id in ids.values() {
        let message = program.get(&format!("/v1/messages/{id}")).await;
        match message["state"].as_str() {
            Some("delivered") => {}
            Some("sent" | "queued" | "sending") => return false,
            other => panic!("{other:?}: {message}"),
        }
    }
    true
}

/// Callers who go on sending until they are told to stop.
struct Load {
    accepted: Arc<AtomicUsize>,
    refused: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    callers: Vec<tokio::task::JoinHandle<Vec<(String, String)>>>,
}

impl Load {
    fn begin(program: &Program) -> Self {
        let (accepted, refused, stop) = (Arc::default(), Arc::default(), Arc::default());
        let callers = (0..8)
            .map(|caller| {
                let (accepted, refused, stop): (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicBool>) =
                    (Arc::clone(&accepted), Arc::clone(&refused), Arc::clone(&stop));
                let request = program.request(Method::POST, "/send-template").header("prefer", "respond-async");
                tokio::spawn(async move {
                    let mut ids = Vec::new();
                    for number in 0.. {
                        if stop.load(Ordering::SeqCst) {
                            break;
                        }
                        let touser = format!("oLOAD{caller}x{number}");
                        let request = request.try_clone().unwrap().json(&order_notice(&touser));
                        let response = request.timeout(Duration::from_secs(30)).send().await.unwrap();
                        let status = response.status().as_u16();
                        let body: Value = response.json().await.unwrap();
                        if status == 202 {
                            accepted.fetch_add(1, Ordering::SeqCst);
                            ids.push((touser, body["message_id"].as_str().unwrap().to_owned()));
                        } else {
                            assert_eq!((status, &body["code"]), (503, &json!("storage_unavailable")), "{body}");
                            refused.fetch_add(1, Ordering::SeqCst);
                            tokio::task::yield_now().await;
                        }
                    }
                    ids
                })
            })
            .collect();
        Self { accepted, refused, stop, callers }
    }

    /// → recipient and id of everything that was answered 2xx.
    async fn end(self) -> std::collections::BTreeMap<String, String> {
        self.stop.store(true, Ordering::SeqCst);
        let mut ids = std::collections::BTreeMap::new();
        for caller in self.callers {
            ids.extend(caller.await.unwrap());
        }
        ids
    }
}
