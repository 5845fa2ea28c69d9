//! Load shedding: what is too much is refused at once, and what must answer still does.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use wxgate::sandbox::{CallbackRequest, Fault};

use super::wire::{no_fault_inside, rows};
use crate::harness::{Setup, TestApp, order_notice};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_send_too_many_is_refused_at_once_while_health_and_callbacks_answer() {
    let app =
        TestApp::start_with(Setup { config: "\n[server]\nmax_requests = 2\n".to_owned(), ..Setup::default() }).await;
    assert_eq!(app.send("oFIRST").await.status, 200, "the token is here now");
    app.sandbox.set_fault(Fault::slow(2_500).on("/cgi-bin/message/template/send"));
    let slow = join_all(["oSLOW1", "oSLOW2"].map(|touser| {
        let request = app.post("/send-template").json(&order_notice(touser));
        tokio::spawn(request.send())
    }));
    // Until both are under way at WeChat.
    while app.sandbox.message_count() < 3 {
        tokio::task::yield_now().await;
    }
    let started = Instant::now();
    for touser in ["oMORE1", "oMORE2", "oMORE3"] {
        let reply = app.send(touser).await;
        reply.is_problem(503, "overloaded");
        assert_eq!((reply.header("retry-after"), reply.json()["retryable"].as_bool()), (Some("1"), Some(true)));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    app.get("/v1/messages").send().await.is_problem(503, "overloaded");
    for path in ["/health", "/ready", "/metrics", "/docs", "/problems/overloaded"] {
        assert_eq!(app.anonymous(Method::GET, path).send().await.status, 200, "{path}");
    }
    assert!(app.sandbox.send_callback(CallbackRequest::text("oTALKS", "help")).await.unwrap().accepted);
    assert!(app.metric("wxgate_http_requests_shed_total").await >= 4.0);
    assert!(started.elapsed() < Duration::from_millis(2_400), "none of them waited: {:?}", started.elapsed());
    for reply in slow.await {
        assert_eq!(reply.unwrap().status, 200);
    }
    app.sandbox.clear_faults();
    assert_eq!(app.send("oAGAIN").await.status, 200, "there is room again");
    assert_eq!(rows(&app, "messages"), 4);
    no_fault_inside(&app).await;
}

#[tokio::test]
async fn a_caller_who_leaves_gives_the_room_back_and_the_message_goes_on() {
    let app =
        TestApp::start_with(Setup { config: "\n[server]\nmax_requests = 1\n".to_owned(), ..Setup::default() }).await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    app.sandbox.set_fault(Fault::slow(500).on("/cgi-bin/message/template/send").times(1));
    let leaving = tokio::spawn(app.post("/send-template").json(&order_notice("oLEAVES")).send());
    while app.sandbox.message_count() < 2 {
        tokio::task::yield_now().await;
    }
    leaving.abort();
    let mut reply = app.get("/v1/messages?touser=oLEAVES").send().await;
    // The server notices the end of a connection when it reads there next.
    while reply.status == 503 {
        reply = app.get("/v1/messages?touser=oLEAVES").send().await;
    }
    app.run_until_idle().await;
    let id = reply.json()["data"][0]["message_id"].as_str().unwrap().to_owned();
    assert_eq!(app.state_of(&id).await, "sent");
    assert_eq!(app.sandbox.deliveries_to("oLEAVES"), 1);
}
