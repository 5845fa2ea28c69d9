//! The machine's clock jumps by two hours, WeChat's does not: nothing is lost, nothing is sent twice, nothing is stuck.

use std::sync::Arc;
use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wxgate::domain::clock::{Clock, ManualClock, Timestamp};
use wxgate::domain::state::Lane;
use wxgate::sandbox::{Fault, FaultKind, Sandbox, SandboxConfig};

use crate::harness::{Reply, Setup, TestApp, World, order_notice};

const SEND: &str = "/cgi-bin/message/template/send";
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

/// A gateway whose clock may be wrong, and WeChat with the true time.
struct Skewed {
    app: TestApp,
    true_time: Arc<ManualClock>,
}

#[derive(Clone, Copy, Debug)]
enum Jump {
    Forward,
    Back,
}

impl Skewed {
    async fn start(config: &str) -> Self {
        let start = Timestamp::from_seconds(1_767_400_000);
        let (true_time, clock) = (Arc::new(ManualClock::starting_at(start)), Arc::new(ManualClock::starting_at(start)));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let sandbox_url = format!("http://{}", listener.local_addr().unwrap());
        let sandbox = Sandbox::new(SandboxConfig::for_tests(None), true_time.clone());
        tokio::spawn(sandbox.clone().serve(listener, CancellationToken::new()));
        let world = World { sandbox, sandbox_url, clock };
        let app =
            TestApp::start_with(Setup { world: Some(world), config: config.to_owned(), ..Setup::default() }).await;
        Self { app, true_time }
    }

    /// So much time goes by; the gateway does what is due, second by second as far as it matters.
    async fn pass(&self, span: Duration) {
        let steps = span.as_secs().clamp(1, 30);
        for _ in 0..steps {
            self.true_time.advance(span / u32::try_from(steps).unwrap());
            self.app.clock.advance(span / u32::try_from(steps).unwrap());
            self.work().await;
        }
    }

    async fn work(&self) {
        self.app.tick().await;
        self.app.run_until_idle().await;
    }

    fn jump(&self, jump: Jump, span: Duration) {
        let now = self.app.clock.now();
        self.app.clock.set(match jump {
            Jump::Forward => now.plus(span),
            Jump::Back => now.minus(span),
        });
    }

    async fn send_at(&self, touser: &str, at: Timestamp) -> Reply {
        let mut body = order_notice(touser);
        body["send_at"] = json!(at.to_string());
        self.app.post("/send-template").header("prefer", "respond-async").json(&body).send().await
    }

    /// A message whose answer was lost: WeChat has it, and we do not know.
    async fn doubtful(&self, touser: &str) -> String {
        let lost = Fault { after: Some(true), ..Fault::of(FaultKind::Reset) };
        self.app.sandbox.set_fault(lost.on(SEND).times(1));
        let id = self.app.send_async(touser).await.field("message_id");
        self.app.app.settled().await;
        assert_eq!(self.app.sandbox.deliveries_to(touser), 1);
        assert_eq!(self.app.state_of(&id).await, "queued", "it waits for its repeat");
        id
    }
}

#[rstest]
#[tokio::test]
async fn what_is_queued_goes_out_at_once(#[values(Jump::Forward, Jump::Back)] jump: Jump) {
    let skewed = Skewed::start("").await;
    let mut body = order_notice("oWAITS");
    body["on_unknown"] = json!("hold");
    // Nobody waits and it may not be repeated, so it is left to the queue.
    let id = skewed
        .app
        .post("/send-template")
        .header("prefer", "respond-async")
        .json(&body)
        .send()
        .await
        .field("message_id");
    assert_eq!(skewed.app.state_of(&id).await, "queued");
    skewed.app.app.worker().step().await.unwrap();
    skewed.app.app.settled().await;
    // Throttled messages wait a minute.
    skewed.app.sandbox.set_fault(Fault::errcode(45011).on(SEND).times(1));
    let throttled = skewed.app.send_async("oTHROTTLED").await.field("message_id");
    skewed.app.app.settled().await;
    let queued = skewed
        .app
        .post("/send-template")
        .header("prefer", "respond-async")
        .json(&body)
        .send()
        .await
        .field("message_id");
    skewed.jump(jump, 2 * HOUR);
    skewed.work().await;
    assert_eq!(skewed.app.state_of(&queued).await, "sent");
    skewed.pass(2 * MINUTE).await;
    assert_eq!(skewed.app.state_of(&throttled).await, "sent", "its minute is over");
    assert_eq!((skewed.app.sandbox.deliveries_to("oWAITS"), skewed.app.sandbox.deliveries_to("oTHROTTLED")), (2, 1));
}

#[tokio::test]
async fn what_is_queued_goes_out_when_the_clock_was_set_back_while_the_gateway_was_down() {
    let skewed = Skewed::start("").await;
    skewed.app.sandbox.set_fault(Fault::errcode(45011).on(SEND).times(1));
    let id = skewed.app.send_async("oTHROTTLED").await.field("message_id");
    skewed.app.app.settled().await;
    let doubtful = skewed.doubtful("oDOUBT").await;
    let Skewed { app, true_time } = skewed;
    let (folder, world) = app.stop().await;
    world.clock.set(world.clock.now().minus(2 * HOUR));
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    let skewed = Skewed { app, true_time };
    skewed.pass(2 * MINUTE).await;
    assert_eq!(skewed.app.state_of(&id).await, "sent");
    // How old its doubt is nobody knows any more.
    skewed.pass(2 * HOUR).await;
    assert_eq!(skewed.app.state_of(&doubtful).await, "unknown");
    assert_eq!(skewed.app.sandbox.deliveries_to("oDOUBT"), 1);
}

#[rstest]
#[tokio::test]
async fn a_doubt_is_not_repeated_after_a_jump(#[values(Jump::Forward, Jump::Back)] jump: Jump) {
    let skewed = Skewed::start("").await;
    let id = skewed.doubtful("oDOUBT").await;
    skewed.jump(jump, 2 * HOUR);
    skewed.work().await;
    // Long after WeChat has forgotten it, the wrong clock shows the time of the doubt again.
    skewed.pass(2 * HOUR + MINUTE).await;
    assert_eq!(skewed.app.sandbox.deliveries_to("oDOUBT"), 1);
    let message = skewed.app.message(&id).await;
    assert_eq!((&message["state"], &message["state_reason"]), (&json!("unknown"), &json!("repeat_window_over")));
}

#[tokio::test]
async fn a_doubt_looks_no_younger_after_a_small_jump_back() {
    // The line is given up after one failure, and tried again after ten minutes.
    let skewed = Skewed::start("[queue]\nbreaker_failures = 1\nbreaker_open = \"9m\"\n").await;
    let id = skewed.doubtful("oDOUBT").await;
    skewed.pass(8 * MINUTE + 50 * SECOND).await;
    assert_eq!(skewed.app.state_of(&id).await, "queued", "its line is broken");
    // Eight minutes of doubt look like one; WeChat forgets it in the tenth.
    skewed.jump(Jump::Back, 8 * MINUTE);
    skewed.pass(MINUTE + 30 * SECOND).await;
    assert_eq!(skewed.app.state_of(&id).await, "unknown");
    assert_eq!(skewed.app.sandbox.deliveries_to("oDOUBT"), 1);
}

#[tokio::test]
async fn a_doubt_looks_no_younger_when_the_jump_comes_during_its_repeat() {
    let skewed = Skewed::start("[queue]\nbreaker_failures = 1\nbreaker_open = \"8m\"\n").await;
    let id = skewed.doubtful("oDOUBT").await;
    skewed.pass(8 * MINUTE - SECOND).await;
    assert_eq!(skewed.app.state_of(&id).await, "queued", "its line is broken");
    // The repeat, whose answer is lost too.
    let lost = Fault { after: Some(true), latency_ms: 300, ..Fault::of(FaultKind::Reset) };
    skewed.app.sandbox.set_fault(lost.on(SEND).times(1));
    skewed.true_time.advance(2 * SECOND);
    skewed.app.clock.advance(2 * SECOND);
    let jumps = async {
        while skewed.app.sandbox.calls(SEND) < 2 {
            tokio::task::yield_now().await;
        }
        skewed.jump(Jump::Back, 8 * MINUTE);
        skewed.app.app.worker().step().await.unwrap();
    };
    tokio::join!(skewed.work(), jumps);
    skewed.pass(8 * MINUTE + 30 * SECOND).await;
    assert_eq!(skewed.app.sandbox.deliveries_to("oDOUBT"), 1);
    assert_eq!(skewed.app.state_of(&id).await, "unknown");
}

#[rstest]
#[tokio::test]
async fn an_attempt_under_way_ends_once(#[values(Jump::Forward, Jump::Back)] jump: Jump) {
    let skewed = Skewed::start("").await;
    skewed.app.sandbox.set_fault(Fault::slow(300).on(SEND));
    let sends = async {
        let (first, second) = tokio::join!(skewed.app.send("oFLIES1"), skewed.app.send("oFLIES2"));
        assert_eq!((first.status, second.status), (200, 200), "{} {}", first.text, second.text);
    };
    let jumps = async {
        while skewed.app.sandbox.calls(SEND) < 2 {
            tokio::task::yield_now().await;
        }
        skewed.jump(jump, 2 * HOUR);
        skewed.app.tick().await;
        skewed.app.app.worker().step().await.unwrap();
    };
    tokio::join!(sends, jumps);
    skewed.pass(2 * HOUR + MINUTE).await;
    assert_eq!((skewed.app.sandbox.deliveries_to("oFLIES1"), skewed.app.sandbox.deliveries_to("oFLIES2")), (1, 1));
    assert_eq!(skewed.app.metric("wxgate_messages_unaccounted").await, 0.0);
}

#[rstest]
#[tokio::test]
async fn a_lease_whose_task_has_ended_strands_nothing(#[values(Jump::Forward, Jump::Back)] jump: Jump) {
    let skewed = Skewed::start("").await;
    let at = skewed.app.clock.now().plus(SECOND);
    let id = skewed.send_at("oLENT", at).await.field("message_id");
    skewed.true_time.advance(2 * SECOND);
    skewed.app.clock.advance(2 * SECOND);
    // Lent by this very process to a task that dies before it begins.
    let open = [wxgate::store::OpenAccount { name: "shop".into(), room: 9 }];
    let now = skewed.app.clock.now();
    let lent = skewed.app.app.stores().queue.lease(Lane::Normal, &open, 9, now, MINUTE).await.unwrap();
    assert_eq!(lent.len(), 1);
    drop(lent);
    skewed.jump(jump, 2 * HOUR);
    skewed.work().await;
    let message = skewed.app.message(&id).await;
    // Perhaps it had begun: how long ago, such a clock cannot tell.
    assert_eq!((&message["state"], &message["state_reason"]), (&json!("unknown"), &json!("crash")));
}

#[rstest]
#[tokio::test]
async fn a_broken_line_is_tried_again_after_its_pause(#[values(Jump::Forward, Jump::Back)] jump: Jump) {
    let skewed = Skewed::start("[queue]\nbreaker_failures = 1\nbreaker_open = \"5s\"\n").await;
    assert_eq!(skewed.app.send("oFIRST").await.status, 200);
    skewed.app.sandbox.set_fault(Fault::of(FaultKind::Reset).on(SEND));
    let mut body = order_notice("oBREAKS");
    body["on_unknown"] = json!("hold");
    skewed.app.post("/send-template").json(&body).send().await;
    skewed.app.sandbox.clear_faults();
    let id = skewed.app.send_async("oAFTER").await.field("message_id");
    skewed.app.app.settled().await;
    assert_eq!(skewed.app.state_of(&id).await, "queued", "the line is shut");
    skewed.jump(jump, 2 * HOUR);
    skewed.pass(10 * SECOND).await;
    assert_eq!(skewed.app.state_of(&id).await, "sent");
    assert_eq!(skewed.app.sandbox.deliveries_to("oAFTER"), 1);
}

#[rstest]
#[tokio::test]
async fn tokens_are_renewed_before_any_send_suffers(#[values(Jump::Forward, Jump::Back)] jump: Jump) {
    let skewed = Skewed::start("").await;
    assert_eq!(skewed.app.send("oFIRST").await.status, 200);
    skewed.jump(jump, 2 * HOUR);
    for hour in 0..6 {
        skewed.pass(HOUR).await;
        let reply = skewed.app.send(&format!("oLATER{hour}")).await;
        assert_eq!((reply.status, reply.json()["attempts"].as_u64()), (200, Some(1)), "{hour}: {}", reply.text);
    }
    let calls = skewed.app.sandbox.token_calls();
    assert!((3..=6).contains(&calls.normal), "{calls:?}");
}

#[tokio::test]
async fn the_token_kept_from_a_time_ahead_serves_no_longer_than_wechat_lets_it() {
    let skewed = Skewed::start("").await;
    assert_eq!(skewed.app.send("oFIRST").await.status, 200);
    let Skewed { app, true_time } = skewed;
    let (folder, world) = app.stop().await;
    world.clock.set(world.clock.now().minus(2 * HOUR));
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    let skewed = Skewed { app, true_time };
    for hour in 0..4 {
        skewed.pass(HOUR).await;
        let reply = skewed.app.send(&format!("oLATER{hour}")).await;
        assert_eq!((reply.status, reply.json()["attempts"].as_u64()), (200, Some(1)), "{hour}: {}", reply.text);
    }
}

#[rstest]
#[tokio::test]
async fn an_idempotency_key_is_known_on_both_sides_of_a_jump(#[values(Jump::Forward, Jump::Back)] jump: Jump) {
    let skewed = Skewed::start("").await;
    let body = order_notice("oONCE");
    let send = || skewed.app.post("/send-template").header("idempotency-key", "order-1").json(&body).send();
    let first = send().await;
    skewed.jump(jump, 2 * HOUR);
    skewed.work().await;
    let second = send().await;
    assert_eq!((second.status, second.header("idempotency-replayed")), (200, Some("true")), "{}", second.text);
    assert_eq!(first.field("message_id"), second.field("message_id"));
    assert_eq!(skewed.app.sandbox.deliveries_to("oONCE"), 1);
}

#[tokio::test]
async fn a_scheduled_message_follows_the_clock_that_it_was_asked_by_and_goes_once() {
    for jump in [Jump::Forward, Jump::Back] {
        let skewed = Skewed::start("").await;
        let at = skewed.app.clock.now().plus(HOUR);
        let id = skewed.send_at("oLATER", at).await.field("message_id");
        skewed.work().await;
        skewed.jump(jump, 2 * HOUR);
        skewed.work().await;
        let expected = match jump {
            Jump::Forward => "sent",
            Jump::Back => "scheduled",
        };
        assert_eq!(skewed.app.state_of(&id).await, expected, "{jump:?}");
        // It is the date that was asked for, not a span.
        assert_eq!(skewed.app.message(&id).await["send_at"], Value::from(at.to_string()));
        skewed.pass(3 * HOUR + MINUTE).await;
        assert_eq!(skewed.app.state_of(&id).await, "sent", "{jump:?}");
        assert_eq!(skewed.app.sandbox.deliveries_to("oLATER"), 1, "{jump:?}");
    }
}
