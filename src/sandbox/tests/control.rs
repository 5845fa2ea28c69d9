//! The control API over HTTP.

use serde_json::json;

use super::gateway::Gateway;
use super::*;

#[tokio::test]
async fn a_test_can_drive_the_world_over_http() {
    let gateway = Gateway::content().await;
    let bench = Bench::start().await;
    let target = json!({"url": gateway.url, "token": "callbackToken", "encoding_aes_key": AES_KEY});
    assert_eq!(bench.post("/sandbox/callback-target", &target).await, json!({"ok": true}));
    let shown = bench.get("/sandbox/callback-target").await;
    assert_eq!(shown["target"]["mode"], "safe");
    assert!(!shown.to_string().contains("callbackToken"));
    bench.send("o1", "id-1").await.unwrap();
    let messages = bench.get("/sandbox/messages?openid=o1").await;
    assert_eq!(messages["messages"][0]["data"]["thing1"]["value"], "咖啡豆");
    assert_eq!(messages["messages"][0]["client_msg_id"], "id-1");
    assert_eq!(bench.get("/sandbox/deliveries").await, json!({"deliveries": {"o1": 1}}));
    assert_eq!(bench.post("/sandbox/receipts", &json!({})).await, json!({"acknowledged": 1}));
    let callback = json!({"type": "text", "content": "hi", "openid": "o1", "broken": "blanks", "msg_id": 77});
    let result = bench.post("/sandbox/callbacks", &callback).await;
    assert_eq!((&result["status"], &result["accepted"]), (&json!(200), &json!(true)));
    assert_eq!(bench.get("/sandbox/chat?openid=o1").await["chat"][0]["text"], "hi");
    let raw = json!({"raw": "<xml><action>CheckContainerPath</action></xml>", "mode": "plain"});
    assert_eq!(bench.post("/sandbox/callbacks", &raw).await["accepted"], true);
    assert_eq!(gateway.seen().pop().unwrap().body, "<xml><action>CheckContainerPath</action></xml>");
}

#[tokio::test]
async fn faults_users_tokens_and_settings_are_switched() {
    let bench = Bench::start().await;
    let fault = json!({"kind": "errcode", "errcode": 45011, "path": SEND, "times": 1});
    let id = bench.post("/sandbox/faults", &fault).await["id"].as_u64().unwrap();
    assert_eq!(bench.errcode("o1", "a").await, 45011);
    assert_eq!(bench.get("/sandbox/faults").await["faults"][0]["struck"], 1);
    let url = format!("{}/sandbox/faults/{id}", bench.base);
    assert_eq!(bench.http.delete(&url).send().await.unwrap().status(), 200);
    assert_eq!(bench.http.delete(&url).send().await.unwrap().status(), 404);
    bench.post("/sandbox/users", &json!({"openid": "o1", "action": "unfollow"})).await;
    assert_eq!(bench.errcode("o1", "a").await, 43004);
    assert_eq!(bench.get("/sandbox/users").await["users"][0]["following"], false);
    let token = bench.token().await;
    assert_eq!(bench.post("/sandbox/tokens/revoke", &json!({})).await, json!({"changed": 1}));
    assert_ne!(bench.token().await, token);
    assert_eq!(bench.get("/sandbox/tokens").await["calls"]["issued"], 2);
    let settings = bench.post("/sandbox/settings", &json!({"duplicate_answer": "refuse"})).await;
    assert_eq!((&settings["duplicate_answer"], &settings["receipts"]), (&json!("refuse"), &json!("manual")));
    bench.post("/sandbox/quota", &json!({"used": 100_000_000})).await;
    assert_eq!(bench.errcode("o2", "b").await, 45009);
    bench.post("/sandbox/reset", &json!({})).await;
    assert_eq!(bench.errcode("o1", "a").await, 0);
}

#[tokio::test]
async fn bad_input_is_answered_with_a_sentence() {
    let bench = Bench::start().await;
    for (path, body) in [
        ("/sandbox/faults", r#"{"kind":"earthquake"}"#),
        ("/sandbox/faults", r#"{"share":2}"#),
        ("/sandbox/faults", "nonsense"),
        ("/sandbox/users", r#"{"openid":"a b","action":"follow"}"#),
        ("/sandbox/settings", r#"{"receipt":"manual"}"#),
        ("/sandbox/callback-target", r#"{"url":"ftp://x","token":"t"}"#),
        ("/sandbox/callback-target", r#"{"url":"http://x","token":"t","mode":"safe"}"#),
        ("/sandbox/callbacks", r#"{"type":"text","openid":"o1"}"#),
        ("/sandbox/tokens/melt", "{}"),
        ("/sandbox/nothing", "{}"),
    ] {
        let response = bench.http.post(format!("{}{path}", bench.base)).body(body).send().await.unwrap();
        assert!(response.status().is_client_error(), "{path} {body}");
        let answer: Value = response.json().await.unwrap();
        assert!(!answer["error"].as_str().unwrap().is_empty(), "{path} {body}");
    }
    let response = bench.http.get(format!("{}/sandbox/messages?limit=x", bench.base)).send().await.unwrap();
    assert_eq!(response.status(), 400);
}

#[tokio::test]
async fn the_page_is_one_file_that_loads_nothing_from_elsewhere() {
    let bench = Bench::start().await;
    let response = bench.http.get(format!("{}/sandbox", bench.base)).send().await.unwrap();
    assert!(response.headers()["content-security-policy"].to_str().unwrap().contains("connect-src 'self'"));
    let page = response.text().await.unwrap();
    assert!(page.starts_with("<!doctype html>"));
    for sign in ["http://", "https://", "innerHTML", "src=\"", "@import"] {
        assert!(!page.contains(sign), "{sign}");
    }
}
