//! Sends that are good: WeChat's own body, ours on top of it, rehearsals and times.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use wxgate::domain::clock::Clock;

use super::wire::{JSON, no_fault_inside, nothing_happened, post_raw, rows};
use crate::harness::{Setup, TestApp, order_notice};

/// The body of WeChat's page "Send template message", its placeholders filled in.
const OF_THE_PAGE: &str = r##"{
    "touser": "oPAGE",
    "template_id": "ngqIpbwh8bUfcSsECmogfXcV14J0tQlEpBO27izEYtY",
    "url": "http://weixin.qq.com/download",
    "topcolor": "#FF0000",
    "miniprogram": { "appid": "xiaochengxuappid12345", "pagepath": "index?foo=bar" },
    "client_msg_id": "MSG_000001",
    "data": {
        "keyword1": { "value": "巧克力", "color": "#173177" },
        "keyword2": { "value": "39.8元" },
        "keyword3": { "value": "2014年9月22日" }
    }
}"##;

#[tokio::test]
async fn the_body_that_wechat_documents_works_unchanged() {
    let app = TestApp::start().await;
    let answer = post_raw(&app, JSON, OF_THE_PAGE).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!((&body["state"], &body["errcode"], &body["errmsg"]), (&json!("sent"), &json!(0), &json!("ok")));
    let warned: Vec<_> = body["warnings"].as_array().unwrap().iter().map(|warning| warning["path"].clone()).collect();
    assert_eq!(warned, ["/topcolor", "/data/keyword1/color"]);
    let mut expected: Value = serde_json::from_str(OF_THE_PAGE).unwrap();
    expected.as_object_mut().unwrap().remove("topcolor");
    let taken = app.sandbox.messages_to("oPAGE");
    assert_eq!(serde_json::from_str::<Value>(&taken[0].raw_body).unwrap(), expected);
    let order = ["keyword1", "keyword2", "keyword3"].map(|name| taken[0].raw_body.find(name).unwrap());
    assert!(order.is_sorted(), "{}", taken[0].raw_body);
}

#[tokio::test]
async fn the_short_form_is_the_long_form_and_numbers_keep_their_digits() {
    let app = TestApp::start().await;
    let body = r#"{"touser":"oSHORT","template_id":"order_paid","data":{"amount1":12.30,"number2":-0,"big3":18446744073709551617,
        "exp4":1E5,"thing5":"tea","thing6":{"value":7.50}}}"#;
    let answer = post_raw(&app, JSON, body).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let raw = app.sandbox.messages_to("oSHORT")[0].raw_body.clone();
    let sent: Value = serde_json::from_str(&raw).unwrap();
    assert_eq!(sent["template_id"], "TPL-ORDER", "the alias is resolved");
    let expected = json!({
        "amount1": {"value": "12.30"}, "number2": {"value": "-0"}, "big3": {"value": "18446744073709551617"},
        "exp4": {"value": "1E5"}, "thing5": {"value": "tea"}, "thing6": {"value": "7.50"},
    });
    assert_eq!(sent["data"], expected);
}

#[tokio::test]
async fn a_rehearsal_shows_the_exact_body_and_keeps_nothing() {
    let app = TestApp::start_with(Setup { config: "\n[limits]\n".to_owned(), ..Setup::default() }).await;
    let mut body = order_notice("oDRY");
    body["template_id"] = json!("order_paid");
    body["client_msg_id"] = json!("fixed");
    body["data"]["thing1"]["color"] = json!("#173177");
    body["dry_run"] = json!(true);
    for prefer in ["wait=5", "respond-async"] {
        let reply = app.post("/send-template").header("prefer", prefer).json(&body).send().await;
        assert_eq!(reply.status, 200, "{}", reply.text);
        let rehearsal = reply.json();
        assert_eq!(rehearsal["dry_run"], true);
        // The person's bucket is still full: a rehearsal takes nothing.
        let limit = json!({"limit": "openid", "rate": 30, "window_s": 60, "burst": 10, "remaining": 10, "reset_s": 0});
        assert_eq!(rehearsal["limits"][0], limit);
        assert_eq!(rehearsal["warnings"][0]["path"], "/data/thing1/color");
        assert!(rehearsal["token"].as_str().is_some());
        assert!(reply.header("location").is_none());
    }
    let rehearsed = app.post("/send-template").header("idempotency-key", "k").json(&body).send().await;
    nothing_happened(&app).await;
    body["dry_run"] = json!(false);
    let real = app.post("/send-template").header("idempotency-key", "k").json(&body).send().await;
    assert_eq!((real.status, real.header("idempotency-replayed")), (200, None), "{}", real.text);
    let raw = &app.sandbox.messages_to("oDRY")[0].raw_body;
    assert!(rehearsed.text.contains(&format!("\"wechat_body\":{raw},")), "{}\n{raw}", rehearsed.text);
    // What is wrong is told by a rehearsal as by a send.
    let wrong = json!({"touser": "o X", "template_id": "t", "data": {"a": "b"}, "dry_run": true});
    app.post("/send-template").json(&wrong).send().await.is_problem(422, "invalid_message");
}

#[tokio::test]
async fn an_answer_at_once_and_an_answer_with_the_outcome_lead_to_the_same_message() {
    let app = TestApp::start().await;
    let waited = app.send("oWAIT").await;
    assert_eq!((waited.status, waited.field("state").as_str()), (200, "sent"));
    let mut body = order_notice("oASYNC");
    body["async"] = json!(true);
    let at_once = [
        app.post("/send-template").json(&body).send().await,
        app.post("/send-template").header("prefer", "respond-async").json(&order_notice("oASYNC")).send().await,
        // The body's word weighs more than the header's.
        app.post("/send-template").header("prefer", "wait=5").json(&body).send().await,
    ];
    app.run_until_idle().await;
    for reply in at_once {
        assert_eq!(reply.status, 202, "{}", reply.text);
        assert!(["queued", "sending"].contains(&reply.field("state").as_str()), "{}", reply.text);
        let location = reply.header("location").unwrap().to_owned();
        assert_eq!(location, format!("/v1/messages/{}", reply.field("message_id")));
        let message = app.get(&location).send().await;
        assert_eq!((message.status, message.field("state").as_str()), (200, "sent"));
        assert_eq!(message.field("message_id"), reply.field("message_id"));
    }
    assert_eq!(app.sandbox.deliveries_to("oASYNC"), 3);
    no_fault_inside(&app).await;
}

#[tokio::test]
async fn a_time_that_has_passed_means_now() {
    let app = TestApp::start().await;
    let mut body = order_notice("oPAST");
    body["send_at"] = json!("2020-01-01T00:00:00+08:00");
    let reply = app.post("/send-template").json(&body).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (200, "sent"), "{}", reply.text);
    body["send_at"] = json!(app.clock.now().plus(Duration::from_secs(30 * 24 * 3600)).to_string());
    body["ttl_s"] = json!(2_592_000);
    let reply = app.post("/send-template").header("prefer", "wait=0").json(&body).send().await;
    assert_eq!((reply.status, reply.field("state").as_str()), (202, "scheduled"), "{}", reply.text);
}

#[tokio::test]
async fn everything_that_was_said_comes_back_in_the_view() {
    let app = TestApp::start().await;
    let mut body = order_notice("oVIEW");
    body["account"] = json!("shop");
    body["priority"] = json!("bulk");
    body["on_unknown"] = json!("hold");
    body["on_limit"] = json!("defer");
    body["ttl_s"] = json!(600);
    body["metadata"] = json!({"order": "7", "Ünïcode": "茶"});
    body["client_msg_id"] = json!("order-7");
    let id = app.post("/send-template").json(&body).send().await.field("message_id");
    let view = app.message(&id).await;
    for (field, expected) in [
        ("account", json!("shop")),
        ("client", json!("tests")),
        ("touser", json!("oVIEW")),
        ("template_id", json!("TPL-ORDER")),
        ("client_msg_id", json!("order-7")),
        ("priority", json!("bulk")),
        ("on_unknown", json!("hold")),
        ("state", json!("sent")),
        ("errcode", json!(0)),
        ("receipt_overdue", json!(false)),
        ("metadata", json!({"order": "7", "Ünïcode": "茶"})),
        ("created_at", json!(app.clock.now().to_string())),
        ("expires_at", json!(app.clock.now().plus(Duration::from_secs(600)).to_string())),
    ] {
        assert_eq!(view[field], expected, "{field}");
    }
    let msgid = view["msgid"].as_str().unwrap();
    assert!(msgid.parse::<u64>().unwrap() > 1 << 53, "{msgid}");
    let attempt = &view["attempts"][0];
    assert_eq!(
        (&attempt["errcode"], &attempt["errmsg"], &attempt["outcome"]),
        (&json!(0), &json!("ok"), &json!("accepted"))
    );
    assert!(attempt["at"].is_string() && attempt["duration_ms"].is_u64(), "{attempt}");
    let states: Vec<_> = view["history"].as_array().unwrap().iter().map(|entry| entry["state"].clone()).collect();
    assert_eq!(states, ["queued", "sending", "sent"]);
    assert!(view["history"].as_array().unwrap().iter().all(|entry| entry["at"].is_string()));
}

#[tokio::test]
async fn a_user_id_finds_the_openid_that_it_was_bound_to() {
    let app = TestApp::start().await;
    let path = "/v1/accounts/shop/users/oBOUND";
    let bind = async |body: Value| app.request(reqwest::Method::PUT, path).json(&body).send().await;
    assert_eq!(bind(json!({"user_id": "customer-7"})).await.status, 200);
    let mut body = order_notice("");
    body.as_object_mut().unwrap().remove("touser");
    body["user_id"] = json!("customer-7");
    let reply = app.post("/send-template").json(&body).send().await;
    assert_eq!((reply.status, reply.field("touser").as_str()), (200, "oBOUND"), "{}", reply.text);
    assert_eq!(bind(json!({"user_id": null})).await.status, 200);
    app.post("/send-template").json(&body).send().await.is_problem(422, "unknown_user");
    for (wrong, status, code) in [
        (json!({}), 400, "malformed_request"),
        (json!({"user_id": 7}), 400, "malformed_request"),
        (json!({"user_id": "u", "openid": "o"}), 400, "malformed_request"),
        (json!([]), 400, "malformed_request"),
        (json!({"user_id": ""}), 422, "invalid_message"),
        (json!({"user_id": "x".repeat(4_000)}), 422, "invalid_message"),
    ] {
        bind(wrong).await.is_problem(status, code);
    }
    assert_eq!(rows(&app, "messages"), 1);
}

#[tokio::test]
async fn what_is_warned_of_is_sent_unless_it_is_meant_strictly() {
    let app = TestApp::start().await;
    let mut body = order_notice("oSTRICT");
    body["topcolor"] = json!("#FF0000");
    body["data"] = json!({
        "thing1": "二十个字以内二十个字以内二十个字以内二十个", "number2": "twelve", "amount3": "¥28.00", "remark": "thank you",
        "phrase4": {"value": "ok", "color": "red"}
    });
    let expected = BTreeSet::from([
        ("/topcolor", "ignored"),
        ("/data/thing1", "too_long"),
        ("/data/number2", "keyword_type"),
        ("/data/remark", "not_displayed"),
        ("/data/phrase4", "keyword_type"),
        ("/data/phrase4/color", "invalid_color"),
    ]);
    let check = |told: &Value| {
        let place = |one: &'static str, of: &Value| of[one].as_str().unwrap().to_owned();
        let told: BTreeSet<_> =
            told.as_array().unwrap().iter().map(|of| (place("path", of), place("code", of))).collect();
        let expected = expected.iter().map(|(path, code)| ((*path).to_owned(), (*code).to_owned())).collect();
        assert_eq!(told, expected);
    };
    let sent = app.post("/send-template").json(&body).send().await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    check(&sent.json()["warnings"]);
    body["dry_run"] = json!(true);
    let dry = app.post("/send-template").json(&body).send().await;
    assert_eq!(dry.status, 200, "{}", dry.text);
    check(&dry.json()["warnings"]);
    for name in ["wechat_body", "limits", "token"] {
        assert!(!dry.json()[name].is_null(), "{name}: {}", dry.text);
    }
    // Strictly, each of them is a fault, in a rehearsal as in a send as in a batch.
    body["strict"] = json!(true);
    for dry_run in [true, false] {
        body["dry_run"] = json!(dry_run);
        let refused = app.post("/send-template").json(&body).send().await;
        check(&refused.is_problem(422, "invalid_message").json()["errors"]);
    }
    body.as_object_mut().unwrap().retain(|name, _| !["dry_run", "touser"].contains(&name.as_str()));
    body["messages"] = json!([{"touser": "oONE"}, {"touser": "oTWO", "strict": false}]);
    let batch = app.post("/send-template/batch").json(&body).send().await;
    assert_eq!((batch.status, batch.field("accepted").as_str()), (202, "1"), "{}", batch.text);
    let errors = batch.json()["rejected"][0]["error"]["errors"].to_string();
    assert!(errors.contains("/messages/0/data/thing1"), "{errors}");
    let mut plain = order_notice("oPLAIN");
    plain["strict"] = json!(true);
    assert_eq!(app.post("/send-template").json(&plain).send().await.status, 200, "nothing was warned of");
    plain = json!({"user_id": "two\nlines", "template_id": "t", "data": {"a": "b"}});
    let refused = app.post("/send-template").json(&plain).send().await;
    assert_eq!(refused.is_problem(422, "invalid_message").json()["errors"][0]["path"], "/user_id");
}
