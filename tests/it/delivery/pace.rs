//! How fast an account's messages go to WeChat: nothing is refused, it is spaced.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wxgate::domain::clock::{Clock, ManualClock, SystemClock};
use wxgate::sandbox::{Fault, Sandbox, SandboxAccount, SandboxConfig};
use wxgate::worker::Step;

use crate::harness::{Setup, TestApp, World, order_notice};

const SEND: &str = "/cgi-bin/message/template/send";

/// Ten a second, five saved up.
fn limits(rest: &str) -> String {
    format!(
        "\n[limits]\nopenid.rate = 0\nidentical.rate = 0\naccount = {{ rate = 10, per = \"second\", burst = 5, top = 10 }}\n{rest}"
    )
}

async fn paced() -> TestApp {
    TestApp::start_with(Setup { config: limits(""), ..Setup::default() }).await
}

async fn accept(app: &TestApp, name: &str, count: usize) {
    for n in 0..count {
        let reply = app.send_async(&format!("{name}{n}")).await;
        assert_eq!(reply.status, 202, "{}", reply.text);
    }
}

#[tokio::test]
async fn what_was_saved_up_goes_at_once_and_the_rest_at_the_pace() {
    let app = paced().await;
    accept(&app, "oPACED", 20).await;
    app.run_until_idle().await;
    assert_eq!(app.sandbox.messages().len(), 5);
    // Nobody polls: the next look is when the next turn comes.
    let Step::Idle { pause } = app.app.worker().step().await.unwrap() else { panic!("there is no turn") };
    assert!((Duration::from_millis(5)..=Duration::from_millis(100)).contains(&pause), "{pause:?}");
    for (millis, sent) in [(99, 5), (1, 6), (400, 10), (500, 15), (500, 20)] {
        app.advance(Duration::from_millis(millis)).await;
        app.run_until_idle().await;
        assert_eq!(app.sandbox.messages().len(), sent);
    }
    for n in 0..20 {
        assert_eq!(app.sandbox.deliveries_to(&format!("oPACED{n}")), 1);
    }
}

#[tokio::test]
async fn a_caller_that_waits_has_no_turn_before_the_queue() {
    let app = paced().await;
    accept(&app, "oBEFORE", 10).await;
    app.run_until_idle().await;
    let request = app.post("/send-template").header("prefer", "wait=0").json(&order_notice("oCALLER"));
    let reply = request.send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (202, "queued"), "{}", reply.text);
    app.advance(Duration::from_millis(500)).await;
    app.run_until_idle().await;
    assert_eq!((app.sandbox.messages().len(), app.sandbox.deliveries_to("oCALLER")), (10, 0));
    app.advance(Duration::from_millis(100)).await;
    app.run_until_idle().await;
    assert_eq!(app.sandbox.deliveries_to("oCALLER"), 1);
}

#[tokio::test]
async fn another_account_goes_its_own_pace() {
    let clock = Arc::new(ManualClock::starting_at(SystemClock.now()));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let sandbox_url = format!("http://{}", listener.local_addr().unwrap());
    let mut config = SandboxConfig::for_tests(None);
    config.accounts.push(SandboxAccount::new("wx00000000000other", "other-secret", "gh_other", None));
    let sandbox = Sandbox::new(config, clock.clone());
    tokio::spawn(sandbox.clone().serve(listener, CancellationToken::new()));
    let world = World { sandbox, sandbox_url, clock };
    let other = "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"other-secret\"\n";
    let app = TestApp::start_with(Setup { config: limits(other), world: Some(world), ..Setup::default() }).await;
    for n in 0..40 {
        let mut body = order_notice(&format!("oFIRST{n}"));
        body["account"] = "shop".into();
        let request = app.post("/send-template").header("prefer", "respond-async").json(&body);
        assert_eq!(request.send().await.status, 202);
    }
    let mut body = order_notice("oSECOND");
    body["account"] = "other".into();
    assert_eq!(app.post("/send-template").json(&body).send().await.status, 200);
    app.run_until_idle().await;
    assert_eq!(app.sandbox.messages().len(), 5 + 1);
}

#[tokio::test]
async fn a_wechat_that_is_asked_for_too_much_is_asked_less_and_then_more_again() {
    let app = paced().await;
    let pace = async || app.metric("wxgate_account_pace_per_second{account=\"shop\"}").await;
    accept(&app, "oWARM", 1).await;
    app.run_until_idle().await;
    assert_eq!(pace().await, 10.0);
    app.sandbox.set_fault(Fault::errcode(45011).on(SEND).times(1));
    accept(&app, "oBUSY", 1).await;
    app.run_until_idle().await;
    assert_eq!(pace().await, 5.0);
    accept(&app, "oAFTER", 2).await;
    app.run_until_idle().await;
    assert_eq!(app.sandbox.messages().len(), 1, "what was saved up is gone");
    app.advance(Duration::from_secs(15)).await;
    assert_eq!(pace().await, 7.5);
    app.advance(Duration::from_secs(60)).await;
    app.run_until_idle().await;
    assert_eq!((pace().await, app.sandbox.messages().len()), (10.0, 4), "and all of them went out");
}
