//! Lists: filters, pages, and what is refused.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream;
use serde_json::{Value, json};
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;

use crate::harness::{TestApp, order_notice};

/// Accepts `count` messages that wait a day.
async fn fill(app: &TestApp, count: usize, touser: &str) -> Vec<String> {
    let at = app.clock.now().plus(Duration::from_secs(86_400)).to_string();
    let accept = |n: usize| {
        let mut body = order_notice(&format!("{touser}{n}"));
        body["send_at"] = json!(at);
        let request = app.post("/send-template").header("prefer", "wait=0").json(&body);
        async move { request.send().await.field("message_id") }
    };
    stream::iter(0..count).map(accept).buffer_unordered(32).collect().await
}

async fn page(app: &TestApp, path: &str) -> (Vec<String>, Option<String>, Option<String>) {
    let reply = app.get(path).send().await;
    assert_eq!(reply.status, 200, "{path}: {}", reply.text);
    let body = reply.json();
    let ids = body["data"].as_array().unwrap().iter().map(|view| view["message_id"].as_str().unwrap().to_owned());
    let link = reply.header("link").map(|link| {
        let path = link.strip_prefix('<').and_then(|rest| rest.strip_suffix(">; rel=\"next\""));
        path.unwrap_or_else(|| panic!("{link}")).to_owned()
    });
    (ids.collect(), body["next_cursor"].as_str().map(str::to_owned), link)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn four_hundred_and_fifty_messages_are_three_pages_and_newcomers_do_not_disturb() {
    let app = TestApp::start().await;
    let mut ids: HashSet<String> = HashSet::new();
    for part in 0..3 {
        ids.extend(fill(&app, 150, &format!("oLIST{part}x")).await);
        app.advance(Duration::from_millis(5)).await;
    }
    assert_eq!(ids.len(), 450);
    let (first, cursor, link) = page(&app, "/v1/messages?limit=200&state=scheduled").await;
    let link = link.unwrap();
    assert!(
        link.contains("state=scheduled") && link.contains("limit=200") && link.contains(&cursor.unwrap()),
        "{link}"
    );
    let newcomers = fill(&app, 20, "oLATE").await;
    let (second, _, link) = page(&app, &link).await;
    let (third, cursor, none) = page(&app, &link.unwrap()).await;
    assert_eq!((first.len(), second.len(), third.len()), (200, 200, 50));
    assert_eq!((cursor, none), (None, None));
    let all: Vec<String> = [first, second, third].concat();
    assert!(all.windows(2).all(|pair| pair[0] > pair[1]), "newest first, none twice");
    assert_eq!(all.iter().cloned().collect::<HashSet<_>>(), ids);
    let (newest, _, _) = page(&app, "/v1/messages?limit=20").await;
    assert_eq!(newest.into_iter().collect::<HashSet<_>>(), newcomers.into_iter().collect());
    // By default fifty.
    assert_eq!(page(&app, "/v1/messages").await.0.len(), 50);
}

#[tokio::test]
async fn pages_that_end_exactly_say_so() {
    let app = TestApp::start().await;
    fill(&app, 4, "oE").await;
    let (first, _, link) = page(&app, "/v1/messages?limit=2").await;
    let (second, cursor, end) = page(&app, &link.unwrap()).await;
    assert_eq!((first.len(), second.len()), (2, 2));
    assert_eq!((cursor, end), (None, None), "nothing is behind it");
    let (none, cursor, _) = page(&app, "/v1/messages?touser=oNOBODY").await;
    assert_eq!((none.len(), cursor), (0, None));
}

#[tokio::test]
async fn filters_pick_what_they_name() {
    let app = TestApp::start().await;
    let before = app.clock.now().to_string();
    let sent = app.send("oSENT").await.field("message_id");
    app.advance(Duration::from_secs(10)).await;
    let middle = app.clock.now();
    let mut body = order_notice("oOTHER");
    body["template_id"] = json!("TPL-OTHER");
    body["send_at"] = json!(middle.plus(Duration::from_secs(600)).to_string());
    let key = app.make_key("another", &Scope::ALL, None, None).await;
    let request =
        app.anonymous(reqwest::Method::POST, "/send-template").header("authorization", &format!("Bearer {key}"));
    let other = request.header("prefer", "wait=0").json(&body).send().await.field("message_id");
    let beijing = middle.to_string().replace('Z', "%2B00:00");
    let bare_plus = middle.to_string().replace('Z', "+00:00");
    for (query, expected) in [
        ("account=shop".to_owned(), vec![&other, &sent]),
        ("account=nowhere".to_owned(), vec![]),
        ("state=sent".to_owned(), vec![&sent]),
        ("state=scheduled".to_owned(), vec![&other]),
        ("state=failed".to_owned(), vec![]),
        ("touser=oSENT".to_owned(), vec![&sent]),
        ("touser=oSEN".to_owned(), vec![]),
        ("template_id=TPL-OTHER".to_owned(), vec![&other]),
        ("client=tests".to_owned(), vec![&sent]),
        ("client=another".to_owned(), vec![&other]),
        ("batch_id=bat_01ARZ3NDEKTSV4RRFFQ69G5FAV".to_owned(), vec![]),
        (format!("created_after={middle}"), vec![&other]),
        (format!("created_after={beijing}"), vec![&other]),
        (format!("created_after={bare_plus}"), vec![&other]),
        (format!("created_before={middle}"), vec![&sent]),
        (format!("created_after={before}&created_before={middle}"), vec![&sent]),
        ("account=shop&state=sent&touser=oSENT&template_id=TPL-ORDER&client=tests&limit=1".to_owned(), vec![&sent]),
        ("account=shop&state=sent&touser=oOTHER".to_owned(), vec![]),
        ("touser=&state=&cursor=&limit=".to_owned(), vec![&other, &sent]),
    ] {
        let (ids, _, _) = page(&app, &format!("/v1/messages?{query}")).await;
        assert_eq!(ids.iter().collect::<Vec<_>>(), expected, "{query}");
    }
}

#[tokio::test]
async fn a_page_shows_whole_messages() {
    let app = TestApp::start().await;
    let id = app.send("oWHOLE").await.field("message_id");
    let list = app.get("/v1/messages").send().await.json();
    assert_eq!(list["data"][0], app.message(&id).await);
    assert!(list["data"][0]["msgid"].is_string() && list["data"][0]["attempts"].is_array());
    assert_eq!(list["next_cursor"], Value::Null);
}

#[tokio::test]
async fn what_a_list_cannot_understand_is_400_and_named() {
    let app = TestApp::start().await;
    for (query, name, code) in [
        ("limit=0", "limit", "query"),
        ("limit=201", "limit", "query"),
        ("limit=-1", "limit", "query"),
        ("limit=1.5", "limit", "query"),
        ("limit=ten", "limit", "query"),
        ("limit=99999999999999999999", "limit", "query"),
        ("cursor=garbage", "cursor", "query"),
        ("cursor=%00", "cursor", "query"),
        ("cursor=bXNnX3g", "cursor", "query"),
        ("cursor=msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "cursor", "query"),
        ("created_after=yesterday", "created_after", "query"),
        ("created_after=1767400000", "created_after", "query"),
        ("created_before=2026-01-31", "created_before", "query"),
        ("created_before=2026-13-01T00:00:00Z", "created_before", "query"),
        ("state=lost", "state", "query"),
        ("state=sent,failed", "state", "query"),
        ("state=SENT", "state", "query"),
        ("batch_id=msg_01ARZ3NDEKTSV4RRFFQ69G5FAV", "batch_id", "query"),
        ("offset=5", "offset", "unknown_parameter"),
        ("stat=sent", "stat", "unknown_parameter"),
        ("=x", "", "unknown_parameter"),
        ("state=sent&state=failed", "state", "duplicate"),
        ("limit=5&limit=5", "limit", "duplicate"),
    ] {
        let reply = app.get(&format!("/v1/messages?{query}")).send().await;
        reply.is_problem(400, "malformed_request");
        let error = &reply.json()["errors"][0];
        assert_eq!((&error["path"], &error["code"]), (&json!(format!("?{name}")), &json!(code)), "{query} {error}");
    }
    let reply = app.get("/v1/messages?limit=0&stat=sent&created_after=x").send().await;
    assert_eq!(reply.json()["errors"].as_array().unwrap().len(), 3, "all at once: {}", reply.text);
    assert!(reply.text.contains("did you mean state?"));
}
