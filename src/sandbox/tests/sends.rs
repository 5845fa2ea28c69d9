//! Template sends: body checks, scripted recipients, duplicates, quota, tools.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, Uri};
use serde_json::json;

use super::*;
use crate::sandbox::api::process;
use crate::sandbox::call::Call;
use crate::sandbox::{CallbackRequest, DuplicateAnswer, Fault};

#[tokio::test]
async fn an_accepted_push_has_a_large_msgid_and_is_shown_once() {
    let bench = Bench::start().await;
    let answer = bench.send("oFollower", "id-1").await.unwrap();
    assert_eq!((&answer["errcode"], &answer["errmsg"]), (&json!(0), &json!("ok")));
    assert!(answer["msgid"].as_i64().unwrap() > 1 << 53);
    let message = &bench.sandbox.messages_to("oFollower")[0];
    assert_eq!(message.msgid.as_deref(), Some(answer["msgid"].to_string().as_str()));
    assert_eq!(message.data()["thing1"]["value"], "咖啡豆");
    assert_eq!((bench.sandbox.deliveries_to("oFollower"), bench.sandbox.deliveries_of("id-1")), (1, 1));
}

#[tokio::test]
async fn bodies_are_checked_as_wechat_does() {
    let bench = Bench::start().await;
    let data = r#""data":{"thing1":{"value":"x"}}"#;
    let cases = [
        (String::new(), 44002),
        ("{".to_owned(), 47001),
        ("[]".to_owned(), 47001),
        (format!(r#"{{"touser":"o1","template_id":"T",{data},"url":5}}"#), 47001),
        (r#"{"touser":"o1","template_id":"T"}"#.to_owned(), 47001),
        (r#"{"touser":"o1","template_id":"T","data":{"n":{"value":5}}}"#.to_owned(), 47001),
        (r#"{"touser":"o1","template_id":"T","data":{"n":"short"}}"#.to_owned(), 47001),
        (format!(r#"{{"template_id":"T",{data}}}"#), 40003),
        (format!(r#"{{"touser":"o 1","template_id":"T",{data}}}"#), 40003),
        (format!(r#"{{"touser":"o1",{data}}}"#), 40037),
        (format!(r#"{{"touser":"o1","template_id":"TPL-UNKNOWN-7",{data}}}"#), 40037),
        (format!(r#"{{"touser":"o1","template_id":"T",{data},"miniprogram":{{"pagepath":"p"}}}}"#), 40166),
        (r#"{"touser":"o1","template_id":"T","data":{"n":{"value":"\u5496"}}}"#.to_owned(), 40033),
        (r#"{"touser":"o1","template_id":"T","data":{"n":{"value":"\\u5496 \u0009"}}}"#.to_owned(), 0),
    ];
    for (body, errcode) in cases {
        assert_eq!(bench.send_text(&body).await.unwrap()["errcode"], errcode, "{body}");
    }
    bench.sandbox.change_settings(|settings| settings.escape_errcode = 47002);
    let escaped = r#"{"touser":"o1","template_id":"T","data":{"n":{"value":"\u5496"}}}"#;
    assert_eq!(bench.send_text(escaped).await.unwrap()["errcode"], 47002);
    let token = bench.token().await;
    assert_eq!(bench.get(&format!("{SEND}?access_token={token}")).await["errcode"], 43002);
    assert_eq!(bench.get("/cgi-bin/nothing").await["errcode"], 40066);
    assert_eq!(bench.sandbox.message_count(), 1);
}

#[tokio::test]
async fn keyword_types_count_only_when_strict() {
    let bench = Bench::start().await;
    assert_eq!(bench.errcode("o1", "a").await, 0);
    bench.sandbox.change_settings(|settings| settings.strict_templates = true);
    let missing = bench.send("o1", "b").await.unwrap();
    assert!(missing["errmsg"].as_str().unwrap().starts_with("argument invalid! data.amount2.value invalid rid: "));
    let long = json!({"touser":"o1","template_id":"T","data":{"thing1":{"value":"长".repeat(21)}}});
    let answer = bench.send_text(&long.to_string()).await.unwrap();
    assert_eq!(answer["errcode"], 47003);
    assert!(answer["errmsg"].as_str().unwrap().contains("data.thing1.value"));
}

#[tokio::test]
async fn scripted_recipients_keep_to_their_script() {
    let bench = Bench::start().await;
    for (openid, errcode, receipt) in [
        ("sim-ok", 0, Some("success")),
        ("sim-ok-2", 0, Some("success")),
        ("sim-user-block", 0, Some("failed:user block")),
        ("sim-system-failed", 0, Some("failed: system failed")),
        ("sim-no-receipt", 0, None),
        ("sim-not-subscribed", 43004, None),
        ("sim-invalid", 40003, None),
        ("sim-quota", 45009, None),
    ] {
        assert_eq!(bench.errcode(openid, openid).await, errcode, "{openid}");
        let taken = bench.sandbox.messages_to(openid);
        assert_eq!(taken.len(), usize::from(errcode == 0), "{openid}");
        assert_eq!(taken.first().and_then(|message| message.receipt.as_deref()), receipt, "{openid}");
    }
    assert_eq!((bench.sandbox.deliveries_to("sim-user-block"), bench.sandbox.deliveries_to("sim-no-receipt")), (0, 1));
}

#[tokio::test]
async fn sim_busy_is_busy_twice_for_each_message() {
    let bench = Bench::start().await;
    for id in ["a", "b"] {
        let mut codes = Vec::new();
        for _ in 0..3 {
            codes.push(bench.errcode("sim-busy", id).await);
        }
        assert_eq!(codes, [-1, -1, 0], "{id}");
    }
    assert_eq!(bench.sandbox.deliveries_to("sim-busy"), 2);
}

#[tokio::test]
async fn sim_token_once_needs_one_new_token_for_each_message() {
    let bench = Bench::start().await;
    let old = bench.token().await;
    assert_eq!(bench.errcode("sim-token-once", "a").await, 40001);
    assert_ne!(bench.token().await, old);
    assert_eq!(bench.errcode("sim-token-once", "a").await, 0);
    assert_eq!(bench.sandbox.token_calls().issued, 2);
}

#[tokio::test]
async fn two_sim_token_once_that_share_a_token_cost_one_refresh() {
    let bench = Bench::start().await;
    let old = bench.token().await;
    for id in ["a", "b"] {
        let answer = bench.post(&format!("{SEND}?access_token={old}"), &push("sim-token-once", id)).await;
        assert_eq!(answer["errcode"], 40001, "{id}");
    }
    for id in ["a", "b"] {
        assert_eq!(bench.errcode("sim-token-once", id).await, 0, "{id}");
    }
    assert_eq!(bench.sandbox.token_calls().issued, 2);
}

#[tokio::test]
async fn sim_reset_is_taken_cut_and_not_shown_again() {
    let bench = Bench::calling(CallbackTarget::plain("http://127.0.0.1:9/", "token")).await;
    assert!(bench.send("sim-reset", "a").await.is_err());
    let again = bench.send("sim-reset", "a").await.unwrap();
    let taken = bench.sandbox.messages();
    assert_eq!((taken.len(), taken[0].repeats), (1, 1));
    assert_eq!(taken[0].msgid.as_deref(), Some(again["msgid"].to_string().as_str()));
    assert_eq!((bench.sandbox.deliveries_to("sim-reset"), bench.sandbox.pending_receipts()), (1, 1));
}

#[tokio::test]
async fn sim_garbage_is_html_and_never_taken() {
    let bench = Bench::start().await;
    let token = bench.token().await;
    for status in [502, 200] {
        bench.sandbox.change_settings(|settings| settings.garbage_status = status);
        let url = format!("{}{SEND}?access_token={token}", bench.base);
        let response = bench.http.post(url).body(push("sim-garbage", "a").to_string()).send().await.unwrap();
        assert_eq!(response.status().as_u16(), status);
        assert!(response.text().await.unwrap().starts_with("<html>"));
    }
    assert_eq!(bench.sandbox.message_count(), 0);
}

#[tokio::test]
async fn sim_slow_is_taken_at_once_and_answered_after_eight_seconds() {
    let bench = Bench::start().await;
    let token = bench.token().await;
    let uri: Uri = format!("{SEND}?access_token={token}").parse().unwrap();
    let body = Bytes::from(push("sim-slow-8s", "a").to_string());
    let call = Call::new(&Method::POST, &uri, body, None);
    let outcome = bench.sandbox.with(|world, now| process(world, &call, 1, now));
    assert_eq!(outcome.wait, Duration::from_secs(8));
    assert_eq!(bench.sandbox.deliveries_to("sim-slow-8s"), 1);
}

#[tokio::test]
async fn a_client_msg_id_is_remembered_for_ten_minutes() {
    let bench = Bench::start().await;
    let first = bench.send("o1", "a").await.unwrap();
    assert_eq!(bench.send("o1", "a").await.unwrap(), first);
    bench.sandbox.change_settings(|settings| settings.duplicate_answer = DuplicateAnswer::NewMsgid);
    assert_ne!(bench.send("o1", "a").await.unwrap()["msgid"], first["msgid"]);
    bench.sandbox.change_settings(|settings| settings.duplicate_answer = DuplicateAnswer::Refuse);
    assert_eq!(bench.errcode("o1", "a").await, 40241);
    assert_eq!(bench.errcode("o2", "a").await, 0);
    assert_eq!(bench.sandbox.deliveries_to("o1"), 1);
    bench.clock.advance(Duration::from_secs(601));
    assert_eq!(bench.errcode("o1", "a").await, 0);
    assert_eq!((bench.sandbox.deliveries_to("o1"), bench.sandbox.deliveries_of("a")), (2, 3));
}

#[tokio::test]
async fn followers_come_and_go() {
    let bench = Bench::start().await;
    bench.sandbox.unfollow("o1");
    bench.sandbox.blacklist("o2");
    assert_eq!((bench.errcode("o1", "a").await, bench.errcode("o2", "b").await), (43004, 43019));
    bench.sandbox.follow("o1");
    assert_eq!(bench.errcode("o1", "a").await, 0);
    assert_eq!(bench.sandbox.followers(), ["o1"]);
    let token = bench.token().await;
    let info = bench.get(&format!("/cgi-bin/user/info?access_token={token}&openid=o1")).await;
    assert_eq!((&info["subscribe"], &info["openid"]), (&json!(1), &json!("o1")));
}

#[tokio::test]
async fn the_daily_quota_runs_out_until_midnight_or_cleared() {
    let mut config = SandboxConfig::for_tests(None);
    config.accounts[0].daily_quota = 2;
    let bench = Bench::with(config).await;
    let token = bench.token().await;
    let mut codes = Vec::new();
    for id in ["a", "b", "c"] {
        codes.push(bench.errcode("o1", id).await);
    }
    assert_eq!(codes, [0, 0, 45009]);
    let path = json!({"cgi_path": SEND});
    let quota = bench.post(&format!("/cgi-bin/openapi/quota/get?access_token={token}"), &path).await;
    assert_eq!(quota["quota"], json!({"daily_limit": 2, "used": 2, "remain": 0}));
    let clear = bench.post(&format!("/cgi-bin/clear_quota?access_token={token}"), &json!({"appid": DEMO_APP_ID})).await;
    assert_eq!(clear["errcode"], 0);
    assert_eq!(bench.errcode("o1", "c").await, 0);
    bench.sandbox.set_quota_used(None, 2);
    assert_eq!(bench.errcode("o1", "d").await, 45009);
    bench.clock.advance(Duration::from_secs(86_400));
    assert_eq!(bench.errcode("o1", "d").await, 0);
}

#[tokio::test]
async fn a_rid_leads_to_its_request_without_the_token() {
    let bench = Bench::start().await;
    let token = bench.token().await;
    let refused = bench.send("sim-invalid", "a").await.unwrap();
    let rid = refused["errmsg"].as_str().unwrap().rsplit_once("rid: ").unwrap().1.to_owned();
    let path = format!("/cgi-bin/openapi/rid/get?access_token={token}");
    let answer = bench.post(&path, &json!({"rid": rid})).await;
    assert!(answer["request"]["request_body"].as_str().unwrap().contains("sim-invalid"));
    assert!(!answer.to_string().contains(&token));
    assert_eq!(bench.post(&path, &json!({"rid": "61725984-6126f6f9-040f19c4"})).await["errcode"], 76001);
    assert_eq!(bench.post(&path, &json!({"rid": "what"})).await["errcode"], 76002);
}

#[tokio::test]
async fn lists_and_checks_have_their_shapes() {
    let bench = Bench::start().await;
    let token = bench.token().await;
    for path in ["getcallbackip", "get_api_domain_ip"] {
        let answer = bench.get(&format!("/cgi-bin/{path}?access_token={token}")).await;
        assert_eq!(answer, json!({"ip_list": ["127.0.0.1"]}));
    }
    let list = bench.get(&format!("/cgi-bin/template/get_all_private_template?access_token={token}")).await;
    assert_eq!(list["template_list"][0]["template_id"], "TPL-ORDER-PAID");
    let path = format!("/cgi-bin/callback/check?access_token={token}");
    assert_eq!(bench.post(&path, &json!({"action": "all", "check_operator": "DEFAULT"})).await["errcode"], 40201);
    bench.sandbox.set_callback_target(None, Some(CallbackTarget::plain("http://127.0.0.1:9/", "token")));
    let answer = bench.post(&path, &json!({"action": "all", "check_operator": "DEFAULT"})).await;
    assert_eq!(answer["ping"][0]["package_loss"], "0%");
    assert_eq!(bench.post(&path, &json!({"action": "x"})).await["errcode"], 40202);
}

#[tokio::test]
async fn customer_messages_need_an_open_window() {
    let bench = Bench::start().await;
    let token = bench.token().await;
    let path = format!("/cgi-bin/message/custom/send?access_token={token}");
    let body = json!({"touser": "o1", "msgtype": "text", "text": {"content": "hi"}});
    assert_eq!(bench.post(&path, &body).await["errcode"], 45015);
    bench.sandbox.set_callback_target(None, Some(CallbackTarget::plain("http://127.0.0.1:9/", "token")));
    bench.sandbox.send_callback(CallbackRequest::text("o1", "hello?")).await.unwrap();
    let mut codes = Vec::new();
    for _ in 0..6 {
        codes.push(bench.post(&path, &body).await["errcode"].as_i64().unwrap());
    }
    assert_eq!(codes, [0, 0, 0, 0, 0, 45047]);
    assert_eq!(bench.sandbox.chat(Some("o1"))[1].text, "hi");
}

#[tokio::test]
async fn a_reset_forgets_messages_but_never_repeats_an_id() {
    let bench = Bench::start().await;
    let before = bench.send("o1", "a").await.unwrap();
    bench.sandbox.set_fault(Fault::errcode(-1));
    let issued = bench.sandbox.token_calls().issued;
    bench.sandbox.reset();
    assert_eq!((issued, bench.sandbox.token_calls().issued), (1, 0));
    let after = bench.send("o1", "a").await.unwrap();
    assert_eq!((after["errcode"].as_i64(), bench.sandbox.message_count()), (Some(0), 1));
    assert_ne!(after["msgid"], before["msgid"]);
}
