//! Webhooks of the configuration, through the program itself.

use reqwest::Method;

use super::{FIRST, SECOND};
use crate::binary::process::{Place, command, until};
use crate::harness::{Subscriber, order_notice};

fn run(place: &Place, arguments: &[&str]) -> (Option<i32>, String) {
    let output = command(&place.config()).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_the_configuration_is_told_what_happens_and_no_log_shows_where() {
    let subscriber = Subscriber::start().await;
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), format!("{FIRST}\n")).unwrap();
    let webhook = format!(
        "webhooks.crm = {{ url = '{}?key=h1dden', secret_file = '{}', previous_secret = '{SECOND}', events = ['message.*'], \
         allow_private = true }}\n",
        subscriber.url,
        secret.path().display()
    );
    let place = Place::prepare(&webhook).await;
    let program = place.start().await;
    let sent = program.request(Method::POST, "/send-template").json(&order_notice("sim-ok")).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    until("both events are told", async || subscriber.told().len() >= 2).await;
    assert_eq!(subscriber.kinds(), ["message.sent", "message.delivered"]);
    assert!(subscriber.told().iter().all(|told| told.is_signed_with(FIRST) && told.is_signed_with(SECOND)));
    let view = program.get("/v1/webhooks/crm").await;
    assert_eq!((&view["origin"], &view["previous_secret_set"]), (&"file".into(), &true.into()));

    // What it has missed comes when it is there again, once for each event.
    subscriber.next(&[503]);
    let sent = program.request(Method::POST, "/send-template").json(&order_notice("sim-ok")).send().await.unwrap();
    assert_eq!(sent.status(), 200);
    until("they are told after a retry", async || subscriber.told().len() >= 5).await;
    assert_eq!(subscriber.kinds()[2..], ["message.sent", "message.sent", "message.delivered"]);
    program.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));
    let log = std::fs::read_to_string(place.log()).unwrap();
    for hidden in ["h1dden", &FIRST[6..], &SECOND[6..]] {
        assert!(!log.contains(hidden), "{hidden} is in the log");
    }
    let (code, shown) = run(&place, &["config", "show"]);
    assert!(code == Some(0) && shown.contains("[webhooks.crm]"), "{shown}");
    for hidden in ["h1dden", &FIRST[6..], &SECOND[6..]] {
        assert!(!shown.contains(hidden), "{shown}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_webhook_is_told_before_anything_starts() {
    let webhook =
        "webhooks.crm = { url = 'http://127.0.0.1:9/x?key=h1dden', secret = 's3cret', events = ['mesage.*'] }\n";
    let place = Place::prepare(webhook).await;
    let (code, told) = run(&place, &["config", "check"]);
    assert_eq!(code, Some(2), "{told}");
    for part in ["webhooks.crm.url", "webhooks.crm.secret", "webhooks.crm.events", "allow_private"] {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("h1dden") && !told.contains("s3cret"), "{told}");
}
