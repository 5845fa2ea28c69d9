//! The relay of an account that is made at run time.

use serde_json::json;

use super::backend::{BackEnd, Say, text};
use crate::harness::TestApp;

fn account(relay: &serde_json::Value) -> serde_json::Value {
    json!({"name": "branch", "app_id": "wx0000000000000002", "app_secret": "x", "token": "atoken1", "mode": "plain",
        "relay": relay})
}

#[tokio::test]
async fn it_is_written_and_read_back_and_replaced_as_a_whole() {
    let app = TestApp::start().await;
    let relay = json!({"url": "https://backend.example.com/wechat", "timeout": "3s", "late_reply": "custom", "routes": [
        {"url": "https://new.example.com/", "mode": "copy", "types": ["text"], "events": ["CLICK"], "openids": ["oA"],
         "percent": 10, "timeout": "1500ms"}]});
    let made = app.post("/v1/accounts").json(&account(&relay)).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    assert_eq!(made.json()["relay"], relay);
    let path = "/v1/accounts/branch";
    assert_eq!(app.get(path).send().await.json()["relay"], relay);
    let change = json!({"relay": {"url": "https://other.example.com/"}});
    let changed = app.request(reqwest::Method::PATCH, path).json(&change).send().await.json();
    let expected =
        json!({"url": "https://other.example.com/", "timeout": "4500ms", "late_reply": "drop", "routes": []});
    assert_eq!(changed["relay"], expected);
    let changed = app.request(reqwest::Method::PATCH, path).json(&json!({"relay": null})).send().await.json();
    assert_eq!(changed["relay"], json!(null));
}

#[tokio::test]
async fn what_is_wrong_is_told_with_its_place() {
    let app = TestApp::start().await;
    for (relay, status, path) in [
        (json!({"url": "ftp://x/"}), 422, "/relay/url"),
        (json!({"url": "https://u:p@x/"}), 422, "/relay/url"),
        (json!({}), 422, "/relay/url"),
        (json!({"url": "https://x/", "timeout": "6s"}), 422, "/relay/timeout"),
        (json!({"url": "https://x/", "timeout": "soon"}), 400, "/relay/timeout"),
        (json!({"routes": [{"url": "https://x/"}, {"mode": "copy"}]}), 422, "/relay/routes/1/url"),
        (json!({"routes": [{"url": "https://x/", "openids": ["a b"]}]}), 422, "/relay/routes/0/openids"),
        (json!({"routes": [{"url": "https://x/", "percent": 101}]}), 422, "/relay/routes/0/percent"),
        (json!({"url": "https://x/", "token": "abc"}), 400, "/relay/token"),
        (json!({"url": "http://10.0.0.7/"}), 422, "/relay/url"),
        (json!({"routes": [{"url": "http://localhost:8080/"}]}), 422, "/relay/routes/0/url"),
    ] {
        let reply = app.post("/v1/accounts").json(&account(&relay)).send().await;
        assert_eq!(reply.status, status, "{relay}: {}", reply.text);
        assert_eq!(reply.json()["errors"][0]["path"], path, "{relay}: {}", reply.text);
    }
}

#[tokio::test]
async fn a_url_from_outside_does_not_lead_inside() {
    let app = TestApp::start().await;
    let backend = BackEnd::with_token(Say::Reply(text("secret of the house")), "atoken1").await;
    let relay = json!({"url": "https://backend.example.com/"});
    let made = app.post("/v1/accounts").json(&account(&relay)).send().await;
    assert_eq!(made.status, 201, "{}", made.text);
    // However it came into the store, and whatever a name means today.
    let conn = rusqlite::Connection::open(app.database()).unwrap();
    let swap = "UPDATE accounts SET options = replace(options, 'https://backend.example.com/', ?1)";
    assert_eq!(conn.execute(swap, [&backend.url]).unwrap(), 1);
    conn.execute("UPDATE totals SET value = value + 1 WHERE name = 'accounts'", []).unwrap();
    app.tick().await;
    assert_eq!(app.get("/v1/accounts/branch").send().await.json()["relay"]["url"], json!(backend.url));
    let now = wxgate::domain::clock::Clock::now(&*app.clock).as_seconds().to_string();
    let signature = wxgate::wechat::signature::sign(&["atoken1", &now, "n"]);
    let body = "<xml><ToUserName>gh_2</ToUserName><FromUserName>oA</FromUserName><CreateTime>1</CreateTime>\
                <MsgType>text</MsgType><Content>hi</Content><MsgId>5</MsgId></xml>";
    let url = format!("{}/wechat/branch?signature={signature}&timestamp={now}&nonce=n", app.url);
    let answer = reqwest::Client::builder().no_proxy().build().unwrap().post(url).body(body).send().await.unwrap();
    assert_eq!((answer.status().as_u16(), answer.text().await.unwrap().as_str()), (200, "success"));
    assert_eq!(backend.asked().len(), 0);
    assert_eq!(app.metric("wxgate_relay_requests_total{account=\"branch\",result=\"failed\"}").await, 1.0);
}
