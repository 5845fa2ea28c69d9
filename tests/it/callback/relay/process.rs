//! The real binary, and behind it a real back end: a program of another language that knows nothing of us.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use wxgate::sandbox::CallbackRequest;

#[cfg(feature = "failpoints")]
use super::backend::Say::Numbered;
use super::backend::{BackEnd, Say, text};
use super::shown;
use crate::binary::process::{Place, until};

const SCRIPT: &str = "tests/fixtures/relay/backend.py";

struct Script {
    child: Child,
    url: String,
}

impl Script {
    fn start() -> Self {
        let mut command = Command::new("python3");
        let mut child = command.arg(SCRIPT).arg("demotoken").stdout(Stdio::piped()).spawn().expect("python3 is there");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        Self { child, url: format!("http://127.0.0.1:{}/wx", line.trim()) }
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const RELAY_URL: &str = "WXGATE__ACCOUNTS__SHOP__RELAY__URL";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_back_end_that_knows_only_wechat_answers_in_safe_mode_in_time() {
    let script = Script::start();
    let place = Place::prepare("").await;
    let _program = place.start_with(&[(RELAY_URL, &script.url)]).await;
    let begun = Instant::now();
    let result = place.sandbox.send_callback(CallbackRequest::text("oASKS", "hours?")).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(result.decrypted_reply.is_some(), "sealed: {result:?}");
    let reply = shown(&result).unwrap();
    assert!(reply.contains("you said: hours?") && reply.contains("<ToUserName><![CDATA[oASKS]]>"), "{reply}");
}

#[cfg(feature = "failpoints")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_kept_and_not_answered_when_the_process_died_is_asked_when_it_is_repeated() {
    let backend = BackEnd::start(Numbered).await;
    let place = Place::prepare("").await;
    let program = place.start_with(&[(RELAY_URL, &backend.url), ("WXGATE_FAILPOINT", "callback.kept")]).await;
    let question = || CallbackRequest::text("oASKS", "hi").msg_id(77);
    let result = place.sandbox.send_callback(question()).await.unwrap();
    assert_eq!((result.status, backend.asked().len()), (0, 0), "it died: {result:?}");
    assert_eq!(program.ended().await, None, "by a signal");

    let _program = place.start_with(&[(RELAY_URL, &backend.url)]).await;
    for _ in 0..2 {
        let reply = shown(&place.sandbox.send_callback(question()).await.unwrap()).unwrap();
        assert!(reply.contains("answer 1"), "{reply}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_relay_under_way_is_answered_before_the_process_stops() {
    let backend = BackEnd::start(Say::Held(text("before the end"))).await;
    let place = Place::prepare("").await;
    let program = place.start_with(&[(RELAY_URL, &backend.url)]).await;
    let stop = async {
        backend.until_asked(1).await;
        program.signal(Signal::SIGTERM);
        let health = || program.anonymous(reqwest::Method::GET, "/health").send();
        until("it takes nothing new", async || health().await.is_err()).await;
        backend.release(1);
    };
    let (result, ()) = tokio::join!(place.sandbox.send_callback(CallbackRequest::text("oASKS", "hi")), stop);
    assert!(shown(&result.unwrap()).unwrap().contains("before the end"));
    assert_eq!(program.ended().await, Some(0));
}
