//! Users on the wire: listed, bound, tagged, written to, forgotten.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::caller::Scope;
use wxgate::sandbox::CallbackRequest;

use super::wire::rows;
use crate::harness::{Logs, Reply, Setup, TestApp, order_notice};

const LIST: &str = "/v1/accounts/shop/users";

async fn call(app: &TestApp, kind: &str, openid: &str) {
    app.advance(Duration::from_secs(60)).await;
    assert!(app.sandbox.send_callback(CallbackRequest::new(kind, openid)).await.unwrap().accepted);
}

async fn put(app: &TestApp, openid: &str, body: Value) -> Reply {
    app.request(Method::PUT, &format!("{LIST}/{openid}")).json(&body).send().await
}

fn openids(page: &Value) -> Vec<&str> {
    page["data"].as_array().unwrap().iter().map(|user| user["openid"].as_str().unwrap()).collect()
}

/// `order_notice` to a business user id.
fn notice_to(user_id: &str) -> Value {
    let mut body = order_notice("");
    body.as_object_mut().unwrap().remove("touser");
    body["user_id"] = json!(user_id);
    body
}

#[tokio::test]
async fn pages_are_gone_through_with_every_filter() {
    let app = TestApp::start().await;
    for n in 0..7 {
        call(&app, if n % 2 == 0 { "subscribe" } else { "unsubscribe" }, &format!("o{n}")).await;
    }
    let third = app.get(&format!("{LIST}/o3")).send().await.field("last_seen_at");
    put(&app, "o2", json!({"tags": ["老客户", "vip"]})).await;
    put(&app, "o5", json!({"tags": ["vip"], "user_id": "u5"})).await;
    for (query, expected) in [
        ("", vec!["o0", "o1", "o2", "o3", "o4", "o5", "o6"]),
        ("subscribed=false", vec!["o1", "o3", "o5"]),
        ("tag=vip", vec!["o2", "o5"]),
        ("tag=%E8%80%81%E5%AE%A2%E6%88%B7", vec!["o2"]),
        ("tag=vip&subscribed=true", vec!["o2"]),
        ("user_id=u5", vec!["o5"]),
        ("user_id=nobody", vec![]),
        (&format!("seen_after={third}"), vec!["o3", "o4", "o5", "o6"]),
    ] {
        let (mut seen, mut target) = (Vec::new(), format!("{LIST}?limit=2&{query}"));
        loop {
            let page = app.get(&target).send().await;
            assert_eq!(page.status, 200, "{}", page.text);
            seen.extend(openids(&page.json()).into_iter().map(str::to_owned));
            let Some(link) = page.header("link") else { break };
            assert!(page.json()["next_cursor"].is_string());
            target = link.split(['<', '>']).nth(1).unwrap().to_owned();
        }
        assert_eq!(seen, expected, "{query}");
    }
    let by_openid = app.get(&format!("{LIST}?limit=2")).send().await.field("next_cursor");
    for wrong in [
        "subscribed=maybe",
        "tag=%20",
        "seen_after=today",
        "limit=0",
        "openid=o1",
        &format!("cursor={by_openid}&seen_after={third}"),
    ] {
        app.get(&format!("{LIST}?{wrong}")).send().await.is_problem(400, "malformed_request");
    }
    app.get("/v1/accounts/nowhere/users").send().await.is_problem(404, "not_found");
}

#[tokio::test]
async fn faults_of_a_change_are_told_with_their_places() {
    let app = TestApp::start().await;
    let many: Vec<String> = (0..21).map(|n| n.to_string()).collect();
    for (body, status, path) in [
        (json!({"tags": ["vip", ""]}), 422, "/tags/1"),
        (json!({"tags": ["vip", "new", "vip"]}), 422, "/tags/2"),
        (json!({"tags": many}), 422, "/tags"),
        (json!({"tags": ["x".repeat(33)]}), 422, "/tags/0"),
        (json!({"user_id": "a\tb"}), 422, "/user_id"),
        (json!({"tags": ["vip", 7]}), 400, "/tags/1"),
        (json!({"tags": null}), 400, "/tags"),
        (json!({"tag": ["vip"]}), 400, "/tag"),
        (json!({}), 400, ""),
    ] {
        let reply = put(&app, "oU", body.clone()).await;
        reply.is_problem(status, if status == 422 { "invalid_message" } else { "malformed_request" });
        assert_eq!(reply.json()["errors"][0]["path"], path, "{body}: {}", reply.text);
    }
    put(&app, "o%20U", json!({"user_id": "u"})).await.is_problem(400, "malformed_request");
    assert_eq!(rows(&app, "users"), 0);
    assert_eq!(app.get("/v1/audit?action=user.bound").send().await.json()["data"], json!([]));
    let changed = put(&app, "oU", json!({"user_id": "u7", "tags": ["b", "a"]})).await;
    assert_eq!((changed.status, &changed.json()["tags"]), (200, &json!(["a", "b"])), "{}", changed.text);
    put(&app, "oU", json!({"tags": []})).await;
    let user = app.get(&format!("{LIST}/oU")).send().await.json();
    assert_eq!((&user["tags"], &user["user_id"]), (&json!([]), &json!("u7")));
}

#[tokio::test]
async fn batches_are_addressed_by_user_ids_too() {
    let app = TestApp::start().await;
    put(&app, "oSEVEN", json!({"user_id": "u7"})).await;
    let messages =
        json!([{"user_id": "u7"}, {"touser": "oOTHER"}, {"user_id": "nobody"}, {"user_id": "u7", "touser": "oSEVEN"}]);
    let body = json!({"template_id": "order_paid", "data": {"thing1": "茶"}, "messages": messages});
    let reply = app.post("/send-template/batch").json(&body).send().await;
    assert_eq!(reply.status, 202, "{}", reply.text);
    let rejected = reply.json()["rejected"].clone();
    let told = |n: usize| (rejected[n]["index"].clone(), rejected[n]["error"]["code"].clone());
    assert_eq!(
        (reply.json()["accepted"].clone(), told(0)),
        (json!(2), (json!(2), json!("unknown_user"))),
        "{rejected}"
    );
    assert_eq!(told(1), (json!(3), json!("invalid_message")));
    app.run_until_idle().await;
    assert_eq!((app.sandbox.deliveries_to("oSEVEN"), app.sandbox.deliveries_to("oOTHER")), (1, 1));
}

#[tokio::test]
async fn whoever_has_left_is_warned_of_and_wechat_decides() {
    let app = TestApp::start().await;
    call(&app, "subscribe", "oGONE").await;
    put(&app, "oGONE", json!({"user_id": "u7"})).await;
    let sent = app.post("/send-template").json(&notice_to("u7")).send().await;
    assert_eq!((sent.status, &sent.json()["warnings"]), (200, &json!([])), "{}", sent.text);
    call(&app, "unsubscribe", "oGONE").await;
    let mut dry = notice_to("u7");
    dry["dry_run"] = json!(true);
    let told = app.post("/send-template").json(&dry).send().await.json();
    assert_eq!(
        (&told["warnings"][0]["path"], &told["warnings"][0]["code"]),
        (&json!("/user_id"), &json!("unsubscribed")),
        "{told}"
    );
    app.sandbox.set_fault(wxgate::sandbox::Fault::errcode(43004).on("/cgi-bin/message/template/send"));
    for _ in 0..2 {
        app.post("/send-template").json(&notice_to("u7")).send().await.is_problem(422, "recipient_refused");
    }
    assert_eq!(rows(&app, "messages"), 2, "the second time nobody is asked");
    app.sandbox.clear_faults();
    call(&app, "subscribe", "oGONE").await;
    let sent = app.post("/send-template").json(&notice_to("u7")).send().await;
    assert_eq!((sent.status, &sent.json()["warnings"]), (200, &json!([])), "{}", sent.text);
}

#[tokio::test]
async fn a_repeat_by_user_id_gets_its_message_whoever_is_bound_now() {
    let app = TestApp::start().await;
    put(&app, "oFIRST", json!({"user_id": "u7"})).await;
    let send = async |body: &Value| app.post("/send-template").header("idempotency-key", "k1").json(body).send().await;
    let first = send(&notice_to("u7")).await;
    assert_eq!(first.status, 200, "{}", first.text);
    for change in [json!({"user_id": null}), json!({"user_id": "u8"})] {
        put(&app, "oFIRST", change).await;
        let again = send(&notice_to("u7")).await;
        assert_eq!((again.status, again.field("message_id")), (200, first.field("message_id")), "{}", again.text);
        assert_eq!(again.header("idempotency-replayed"), Some("true"));
    }
    put(&app, "oSECOND", json!({"user_id": "u7"})).await;
    let again = send(&notice_to("u7")).await;
    assert_eq!((again.field("touser").as_str(), again.field("message_id")), ("oFIRST", first.field("message_id")));
    send(&notice_to("u9")).await.is_problem(422, "idempotency_mismatch");
    app.post("/send-template").json(&notice_to("u9")).send().await.is_problem(422, "unknown_user");
    assert_eq!((rows(&app, "messages"), app.sandbox.message_count()), (1, 1));
}

#[tokio::test]
async fn forgetting_deletes_the_person_and_leaves_the_act() {
    let app = TestApp::start_with(Setup::default()).await;
    let logs = Logs::catch();
    let id = app.send("oGONE").await.field("message_id");
    call(&app, "subscribe", "oGONE").await;
    put(&app, "oGONE", json!({"user_id": "u7", "tags": ["vip"]})).await;
    let one = format!("{LIST}/oGONE");
    let reader = app.make_key("reader", &[Scope::Read, Scope::Send], None, None).await;
    let refused = app.anonymous(Method::DELETE, &one).header("authorization", &format!("Bearer {reader}"));
    refused.send().await.is_problem(403, "forbidden");
    let gone = app.delete(&one).send().await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    app.get(&one).send().await.is_problem(404, "not_found");
    app.delete(&one).send().await.is_problem(404, "not_found");
    assert_eq!((rows(&app, "users"), rows(&app, "user_tags")), (0, 0));
    app.post("/send-template").json(&notice_to("u7")).send().await.is_problem(422, "unknown_user");
    let acts = app.get("/v1/audit?action=user.forgotten").send().await.json();
    assert_eq!(acts["data"].as_array().unwrap().len(), 1);
    assert_eq!((&acts["data"][0]["object"], &acts["data"][0]["account"]), (&json!("oGONE"), &json!("shop")));
    // What was sent is kept by its own rules.
    assert_eq!(app.message(&id).await["touser"], "oGONE");
    assert_eq!(logs.with("oGONE"), Vec::<String>::new(), "openids are in no log");
}
