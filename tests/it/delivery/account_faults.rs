//! The account is at fault: the waiting caller hears it; queued messages wait for the operator.

use std::time::Duration;

use wxgate::sandbox::Fault;

use crate::harness::TestApp;

#[tokio::test]
async fn queued_messages_wait_until_the_operator_has_mended_the_account() {
    let app = TestApp::start().await;
    app.sandbox.set_fault(Fault::errcode(40164).on("/cgi-bin/stable_token"));
    let id = app.send_async("oWAITS").await.field("message_id");
    app.run_until_idle().await;
    let message = app.message(&id).await;
    assert_eq!((message["state"].as_str(), message["state_reason"].as_str()), (Some("queued"), Some("no_token")));
    app.sandbox.clear_faults();
    app.advance(Duration::from_secs(15 * 60)).await;
    app.run_until_idle().await;
    assert_eq!(app.state_of(&id).await, "sent");
    assert_eq!(app.sandbox.deliveries_to("oWAITS"), 1);
}

#[tokio::test]
async fn a_missing_permission_is_final_and_names_wechats_words() {
    let app = TestApp::start().await;
    app.sandbox.set_fault(Fault::errcode(48001).on("/cgi-bin/message/template/send"));
    let reply = app.send("oNOBODY").await;
    reply.is_problem(502, "account_refused");
    assert_eq!(reply.json()["upstream"]["errcode"], 48001);
    assert_eq!(app.state_of(reply.json()["message_id"].as_str().unwrap()).await, "rejected");
}

#[tokio::test]
async fn a_breaker_opens_when_wechat_is_out_of_reach_and_nothing_is_lost() {
    let app = TestApp::start().await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    app.sandbox.set_fault(Fault::http(502).on("/cgi-bin/message/template/send"));
    let mut ids = Vec::new();
    for n in 0..30 {
        ids.push(app.send_async(&format!("oOUTAGE{n}")).await.field("message_id"));
        app.app.settled().await;
    }
    let tried =
        app.metric(r#"wxgate_wechat_requests_total{account="shop",api="template_send",errcode="garbage"}"#).await;
    assert!(tried < 30.0, "the breaker spares the rest: {tried}");
    app.sandbox.clear_faults();
    for _ in 0..20 {
        app.advance(Duration::from_secs(20)).await;
        app.run_until_idle().await;
    }
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(app.state_of(id).await, "sent", "{n}");
        assert_eq!(app.sandbox.deliveries_to(&format!("oOUTAGE{n}")), 1);
    }
}
