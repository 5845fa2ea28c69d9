//! The token engine against a WeChat that retires, refuses and withholds tokens.

mod bench;
mod nodes;
mod outages;

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::json;
use wxgate::sandbox::Fault;

use crate::harness::TestApp;

const TOKEN_API: &str = "/cgi-bin/stable_token";

#[tokio::test]
async fn two_hundred_sends_with_a_dead_token_cause_one_refresh_and_nothing_is_lost_or_doubled() {
    let app = TestApp::start().await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    let before = app.sandbox.token_calls();
    app.sandbox.revoke_tokens();
    let people: Vec<String> = (0..200).map(|n| format!("oPERSON{n}")).collect();
    let replies = join_all(people.iter().map(|person| app.send(person))).await;
    for reply in &replies {
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
    for person in &people {
        assert_eq!(app.sandbox.deliveries_to(person), 1, "{person}");
    }
    let after = app.sandbox.token_calls();
    assert_eq!((after.normal - before.normal, after.forced - before.forced), (1, 0));
    assert_eq!(app.metric(r#"wxgate_token_refreshes_total{account="shop",result="conflict"}"#).await, 1.0);
}

#[tokio::test]
async fn a_token_that_normal_mode_gives_again_is_forced_once() {
    let app = TestApp::start().await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    // WeChat refuses the current token on sends, and normal mode does not know.
    app.sandbox.refuse_tokens();
    assert_eq!(app.send("oSECOND").await.status, 200);
    assert_eq!(app.sandbox.token_calls().forced, 1);
    app.sandbox.refuse_tokens();
    let reply = app.send_async("oTHIRD").await;
    app.run_until_idle().await;
    assert_eq!(app.sandbox.token_calls().forced, 1, "not again within 30 s");
    assert_eq!(app.state_of(&reply.field("message_id")).await, "queued");
    app.advance(Duration::from_secs(120)).await;
    app.run_until_idle().await;
    assert_eq!(app.state_of(&reply.field("message_id")).await, "sent");
}

#[tokio::test]
async fn a_token_is_renewed_ahead_of_its_end_without_a_send_waiting() {
    let app = TestApp::start().await;
    app.tick().await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    let first = app.get("/v1/accounts/shop/token").send().await.json();
    app.advance(Duration::from_secs(6_950)).await;
    app.tick().await;
    let second = app.get("/v1/accounts/shop/token").send().await;
    assert_eq!(second.status, 200);
    // The refresh of the tick runs beside: the next answer shows it at the latest.
    assert_eq!(app.send("oSECOND").await.status, 200);
    let third = app.get("/v1/accounts/shop/token").send().await.json();
    assert_ne!(first["access_token"], third["access_token"]);
    assert_eq!(third["generation"], 2);
}

#[tokio::test]
async fn the_last_good_token_serves_while_refreshing_fails() {
    let app = TestApp::start().await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    app.sandbox.set_fault(Fault::errcode(40164).on(TOKEN_API));
    app.advance(Duration::from_secs(7_000)).await;
    app.tick().await;
    assert_eq!(app.send("oSECOND").await.status, 200);
    let tries = app.sandbox.token_calls();
    for _ in 0..50 {
        app.tick().await;
    }
    assert_eq!(app.sandbox.token_calls(), tries, "refusals are not asked for again at once");
}

#[tokio::test]
async fn a_wrong_secret_is_told_to_the_waiting_caller_and_never_loops() {
    let app = TestApp::start().await;
    app.sandbox.set_fault(Fault::errcode(40125).on(TOKEN_API));
    for _ in 0..20 {
        let reply = app.send("oNOBODY").await;
        reply.is_problem(502, "account_refused");
        assert_eq!(reply.json()["upstream"]["errcode"], 40125);
    }
    let calls = app.sandbox.token_calls();
    assert!(calls.normal + calls.forced + calls.legacy <= 1, "{calls:?}");
    let ready = app.get("/ready").send().await;
    assert_eq!(ready.status, 200, "WeChat does not make us unready: {}", ready.text);
    assert_eq!(app.sandbox.deliveries_to("oNOBODY"), 0);
}

#[tokio::test]
async fn a_token_is_handed_out_to_the_token_scope_only() {
    use wxgate::domain::caller::Scope;
    let mut app = TestApp::start().await;
    let reply = app.get("/v1/accounts/shop/token").send().await;
    let body = reply.json();
    assert!(body["access_token"].as_str().unwrap().len() > 20 && body["expires_in"].as_i64().unwrap() > 6_000);
    assert_eq!(body["generation"], json!(1));
    app.get("/v1/accounts/nowhere/token").send().await.is_problem(404, "not_found");
    app.key = app.make_key("sender", &[Scope::Send, Scope::Read], None, None).await;
    app.get("/v1/accounts/shop/token").send().await.is_problem(403, "forbidden");
    app.key = app.make_key("other", &[Scope::Token], Some(&["elsewhere"]), None).await;
    app.get("/v1/accounts/shop/token").send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn messages_do_not_try_a_token_that_wechat_has_refused_while_none_other_can_be_had() {
    let app = TestApp::start().await;
    assert_eq!(app.send("oFIRST").await.status, 200);
    app.sandbox.refuse_tokens();
    assert_eq!(app.send("oSECOND").await.status, 200, "forced");
    app.sandbox.refuse_tokens();
    let mut ids = Vec::new();
    for n in 0..20 {
        ids.push(app.send_async(&format!("oWAITS{n}")).await.field("message_id"));
    }
    for _ in 0..20 {
        app.advance(Duration::from_secs(1)).await;
        app.tick().await;
        app.run_until_idle().await;
    }
    let refused =
        app.metric(r#"wxgate_wechat_requests_total{account="shop",api="template_send",errcode="40001"}"#).await;
    assert!(refused <= 22.0, "each knew that the token is dead once it was told: {refused}");
    assert!(app.message(&ids[0]).await["attempts"].as_array().unwrap().len() <= 2);
    for _ in 0..20 {
        app.advance(Duration::from_secs(5)).await;
        app.tick().await;
        app.run_until_idle().await;
    }
    for (n, id) in ids.iter().enumerate() {
        assert_eq!(app.state_of(id).await, "sent", "{n}");
        assert_eq!(app.sandbox.deliveries_to(&format!("oWAITS{n}")), 1);
    }
}
