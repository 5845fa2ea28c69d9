//! The process dies while it keeps a callback, or between that and its acknowledgement. WeChat repeats it: it counts once.

use rand::SeedableRng;
use rand::rngs::StdRng;
use rstest::rstest;
use serde_json::{Value, json};
use wxgate::failpoint::Point;
use wxgate::sandbox::CallbackRequest;

use crate::aim::Armed;
use crate::books::Kind;
use crate::stay::Stay;
use crate::support::process::{Caller, until};

const SECOND: i64 = 1_767_400_000;

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_callback_that_is_repeated_after_a_crash_is_one_event(
    #[values(Kind::Sqlite, Kind::Postgres)] kind: Kind,
    #[values(Point::CallbackWritten, Point::CallbackKept, Point::CallbackAnswered)] point: Point,
) {
    let mut stay = Stay::begin(kind, &mut StdRng::seed_from_u64(1)).await;
    let text = CallbackRequest::text("oWRITES", "在吗").msg_id(77).create_time(SECOND);
    let follows = CallbackRequest::new("subscribe", "oFOLLOWS").create_time(SECOND);
    for request in [text.clone(), follows.clone()] {
        let variables = stay.variables(Some(Armed { point, times: 1, panics: false }), false);
        let program = stay.spawn(&variables);
        until("it is ready", async || program.answers("/ready").await).await;
        let first = stay.sandbox().send_callback(request).await.unwrap();
        assert!(!first.accepted, "{first:?}");
        assert_eq!(program.ended().await, None, "killed by its own hand, before it answered");
    }
    let variables = stay.variables(None, false);
    let program = stay.spawn(&variables);
    until("it is ready", async || program.answers("/ready").await).await;
    // As WeChat does; and once more, as it does when the acknowledgement is lost on its way.
    for _ in 0..2 {
        for request in [&text, &follows] {
            let again = stay.sandbox().send_callback(request.clone()).await.unwrap();
            assert!(again.accepted, "{again:?}");
        }
    }
    let told = data(&program, "/v1/events?limit=200").await;
    let mut types: Vec<_> = told.iter().map(|event| event["type"].as_str().unwrap()).collect();
    types.sort_unstable();
    assert_eq!(types, ["callback.event.subscribe", "callback.text", "user.subscribed"], "{point:?}");
    let users = data(&program, "/v1/accounts/shop/users").await;
    let users: Vec<_> = users.iter().map(|user| (&user["openid"], &user["subscribed"])).collect();
    assert_eq!(users, [(&json!("oFOLLOWS"), &json!(true)), (&json!("oWRITES"), &Value::Null)]);
    assert_eq!(stay.books.number("SELECT count(*) FROM callbacks").await.unwrap(), 2);
    drop(program);
    stay.end(false).await;
}

async fn data(caller: &Caller, target: &str) -> Vec<Value> {
    let answer = caller.request(reqwest::Method::GET, target).send().await.unwrap();
    assert_eq!(answer.status(), 200);
    answer.json::<Value>().await.unwrap()["data"].as_array().unwrap().clone()
}
