//! Bodies that are no good: each is refused with its status, its code and its place, and nothing is kept.

use super::wire::{JSON, nothing_happened, post_raw};
use crate::harness::TestApp;

/// A good body as far as it goes, without its closing brace.
const BASE: &str = r#"{"touser":"oX","template_id":"TPL-ORDER","data":{"thing1":"tea"}"#;

fn with(members: &str) -> Vec<u8> {
    format!("{BASE},{members}}}").into_bytes()
}

/// The base with another `data`.
fn data(data: &str) -> Vec<u8> {
    format!(r#"{{"touser":"oX","template_id":"TPL-ORDER","data":{data}}}"#).into_bytes()
}

fn to(recipient: &str) -> Vec<u8> {
    format!(r#"{{{recipient}"template_id":"TPL-ORDER","data":{{"thing1":"tea"}}}}"#).into_bytes()
}

async fn refused(status: u16, code: &str, cases: Vec<(Vec<u8>, &str, &str)>) {
    let app = TestApp::start().await;
    for (body, path, fault) in cases {
        let shown = String::from_utf8_lossy(&body[..body.len().min(300)]).into_owned();
        let answer = post_raw(&app, JSON, &body).await;
        let problem: serde_json::Value =
            serde_json::from_str(&answer.body).unwrap_or_else(|_| panic!("{shown} {answer:?}"));
        assert_eq!((answer.status, problem["code"].as_str()), (status, Some(code)), "{shown}\n{problem}");
        answer.is_problem(status, code);
        assert_eq!(problem["retryable"], false, "{shown}");
        let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("{shown}\n{problem}"));
        let told: Vec<_> =
            errors.iter().map(|error| (error["path"].as_str().unwrap(), error["code"].as_str().unwrap())).collect();
        assert_eq!(told, [(path, fault)], "{shown}\n{problem}");
        assert!(errors[0]["detail"].as_str().is_some_and(|text| !text.is_empty()), "{shown}");
    }
    nothing_happened(&app).await;
    assert_eq!(app.send("sim-ok").await.status, 200, "after all that a good one still goes");
}

#[tokio::test]
async fn what_is_not_json_is_400() {
    let cases = [
        &b""[..],
        b" ",
        b"\r\n\t ",
        b"nonsense",
        b"{",
        b"}",
        b"{}x",
        b"{}{}",
        b"{} []",
        b"{\"touser\"",
        b"{\"touser\":",
        b"{\"touser\":\"o",
        b"{\"touser\":\"o\",",
        b"{\"touser\":\"o\",}",
        b"{\"touser\" \"o\"}",
        b"{touser:\"o\"}",
        b"{'touser':'o'}",
        b"{\"touser\":undefined}",
        b"{\"touser\":NaN}",
        b"{\"touser\":Infinity}",
        b"{\"touser\":01}",
        b"{\"touser\":+1}",
        b"{\"touser\":.5}",
        b"{\"touser\":1.}",
        b"{\"touser\":0x1}",
        b"{\"touser\":1e}",
        b"{\"touser\":TRUE}",
        b"{/* no */}",
        b"// no\n{}",
        b"{\"touser\":\"a\nb\"}",
        b"{\"touser\":\"\\x41\"}",
        b"{\"touser\":\"\\u12\"}",
        b"{\"touser\":\"\\ud800\"}",
        b"{\"touser\":\"\\udc00\\ud800\"}",
        b"{\"touser\":\"\\ud800\\u0041\"}",
        b"\xef\xbb\xbf{}",
        b"\0",
        b"{\"touser\":\"a\0b\"}",
        b"{\0}",
        b"[",
        b"[1,]",
        b"touser=o&template_id=t",
        b"<xml></xml>",
        b"--boundary\r\n",
    ];
    // A lone surrogate is found when its string is read, so it has its place.
    let place = |body: &[u8]| {
        let text = String::from_utf8_lossy(body);
        if text.contains("\\ud") || text.contains("\\udc00") { "/touser" } else { "" }
    };
    refused(400, "malformed_request", cases.iter().map(|body| (body.to_vec(), place(body), "json")).collect()).await;
}

#[tokio::test]
async fn what_is_not_utf8_is_400() {
    let utf16 = "{}".encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<u8>>();
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (b"\xff\xfe".to_vec(), "", "utf8"),
        (b"{\"touser\":\"\xc3\x28\"}".to_vec(), "", "utf8"),
        (b"{\"touser\":\"\xe8\x8c\"}".to_vec(), "", "utf8"),
        (b"{\"touser\":\"\xed\xa0\x80\"}".to_vec(), "", "utf8"),
        (b"{\"touser\":\"\xc0\x80\"}".to_vec(), "", "utf8"),
        // GBK
        (b"{\"touser\":\"\xb2\xe8\"}".to_vec(), "", "utf8"),
        (utf16, "", "json"),
    ];
    refused(400, "malformed_request", cases).await;
}

#[tokio::test]
async fn keys_that_come_twice_and_nesting_without_end_are_400() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth)).into_bytes();
    let deep_place = "/0".repeat(17);
    let objects = format!("{}1{}", "{\"a\":".repeat(30_000), "}".repeat(30_000)).into_bytes();
    let objects_place = "/a".repeat(17);
    let in_data = format!("{{\"a\":{}}}", String::from_utf8(deep(500)).unwrap());
    let in_data_place = format!("/data/a{}", "/0".repeat(15));
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (with(r#""touser":"oY""#), "/touser", "duplicate"),
        (with(r#""touser":"oX""#), "/touser", "duplicate"),
        (with(r#""t\u006fuser":"oY""#), "/touser", "duplicate"),
        (with(r#""url":"https://a.example","url":null"#), "/url", "duplicate"),
        (data(r#"{"thing1":"a","thing1":"b"}"#), "/data/thing1", "duplicate"),
        (data(r#"{"thing1":{"value":"a","value":"b"}}"#), "/data/thing1/value", "duplicate"),
        (data(r#"{"a/b~c":{"x":1,"x":2}}"#), "/data/a~1b~0c/x", "duplicate"),
        (with(r#""miniprogram":{"appid":"wx1","appid":"wx2"}"#), "/miniprogram/appid", "duplicate"),
        (with(r#""metadata":{"k":"1","k":"2"}"#), "/metadata/k", "duplicate"),
        (with(r#""unknown":[{"k":{"z":1,"z":2}}]"#), "/unknown/0/k/z", "duplicate"),
        (deep(17), &deep_place[..32], "type"),
        (deep(60), &deep_place, "too_deep"),
        (deep(120_000), &deep_place, "too_deep"),
        (objects, &objects_place, "too_deep"),
        (data(&in_data), &in_data_place, "too_deep"),
    ];
    // Seventeen levels are read; that it is an array then is told first.
    let cases =
        cases.into_iter().map(|(body, path, code)| if code == "type" { (body, "", code) } else { (body, path, code) });
    refused(400, "malformed_request", cases.collect()).await;
}

#[tokio::test]
async fn a_wrong_type_is_400_with_its_place() {
    let whole = [&b"[]"[..], b"null", b"1", b"-0", b"\"text\"", b"true", b"[{}]"];
    let mut cases: Vec<(Vec<u8>, &str, &str)> = whole.iter().map(|body| (body.to_vec(), "", "type")).collect();
    cases.extend([
        (to(r#""touser":7,"#), "/touser", "type"),
        (to(r#""touser":true,"#), "/touser", "type"),
        (to(r#""touser":["oX"],"#), "/touser", "type"),
        (to(r#""touser":{"openid":"oX"},"#), "/touser", "type"),
        (to(r#""user_id":12345,"#), "/user_id", "type"),
        (with(r#""account":1"#), "/account", "type"),
        (br#"{"touser":"oX","template_id":1,"data":{"thing1":"tea"}}"#.to_vec(), "/template_id", "type"),
        (data("[]"), "/data", "type"),
        (data("\"thing1\""), "/data", "type"),
        (data("7"), "/data", "type"),
        (data(r#"{"thing1":true}"#), "/data/thing1", "type"),
        (data(r#"{"thing1":null}"#), "/data/thing1", "type"),
        (data(r#"{"thing1":[]}"#), "/data/thing1", "type"),
        (data(r#"{"thing1":{"value":true}}"#), "/data/thing1/value", "type"),
        (data(r#"{"thing1":{"value":{}}}"#), "/data/thing1/value", "type"),
        (data(r#"{"thing1":{"value":["a"]}}"#), "/data/thing1/value", "type"),
        (data(r#"{"thing1":{"value":"a","color":7}}"#), "/data/thing1/color", "type"),
        (with(r#""url":7"#), "/url", "type"),
        (with(r#""url":{}"#), "/url", "type"),
        (with(r#""miniprogram":"wx1""#), "/miniprogram", "type"),
        (with(r#""miniprogram":[]"#), "/miniprogram", "type"),
        (with(r#""miniprogram":{"appid":"wx1","pagepath":7}"#), "/miniprogram/pagepath", "type"),
        (with(r#""client_msg_id":7"#), "/client_msg_id", "type"),
        (with(r#""async":"true""#), "/async", "type"),
        (with(r#""async":1"#), "/async", "type"),
        (with(r#""dry_run":"yes""#), "/dry_run", "type"),
        (with(r#""send_at":1767400000"#), "/send_at", "type"),
        (with(r#""send_at":"tomorrow""#), "/send_at", "time"),
        (with(r#""send_at":"""#), "/send_at", "time"),
        (with(r#""send_at":"2026-01-31""#), "/send_at", "time"),
        (with(r#""send_at":"2026-01-31T08:00:00""#), "/send_at", "time"),
        (with(r#""send_at":"2026-02-30T08:00:00Z""#), "/send_at", "time"),
        (with(r#""expires_at":"in an hour""#), "/expires_at", "time"),
        (with(r#""expires_at":false"#), "/expires_at", "type"),
        (with(r#""ttl_s":"60""#), "/ttl_s", "type"),
        (with(r#""ttl_s":1.5"#), "/ttl_s", "type"),
        (with(r#""ttl_s":1e3"#), "/ttl_s", "type"),
        (with(r#""ttl_s":60.0"#), "/ttl_s", "type"),
        (with(r#""priority":"high""#), "/priority", "choice"),
        (with(r#""priority":"URGENT""#), "/priority", "choice"),
        (with(r#""priority":1"#), "/priority", "type"),
        (with(r#""on_unknown":"drop""#), "/on_unknown", "choice"),
        (with(r#""on_limit":"ignore""#), "/on_limit", "choice"),
        (with(r#""metadata":"order 7""#), "/metadata", "type"),
        (with(r#""metadata":[]"#), "/metadata", "type"),
        (with(r#""metadata":{"order":7}"#), "/metadata/order", "type"),
        (with(r#""metadata":{"order":{"id":"7"}}"#), "/metadata/order", "type"),
        (with(r#""metadata":{"a":null}"#), "/metadata/a", "type"),
    ]);
    refused(400, "malformed_request", cases).await;
}

#[tokio::test]
async fn an_unknown_field_is_400_and_the_nearest_name_is_offered() {
    let app = TestApp::start().await;
    for (body, path, nearest) in [
        (with(r#""to_user":"oY""#), "/to_user", "touser"),
        (with(r#""templateid":"t""#), "/templateid", "template_id"),
        (with(r#""Url":"https://a.example""#), "/Url", "url"),
        (with(r#""mini_program":{}"#), "/mini_program", "miniprogram"),
        (with(r#""ttl":60"#), "/ttl", "ttl_s"),
        (with(r#""sendat":"x""#), "/sendat", "send_at"),
        (with(r#""dryrun":true"#), "/dryrun", "dry_run"),
        (with(r#""miniprogram":{"appid":"wx1","page_path":"p"}"#), "/miniprogram/page_path", "pagepath"),
        (data(r#"{"thing1":{"value":"a","colour":"red"}}"#), "/data/thing1/colour", "color"),
        (data(r#"{"thing1":{"value":"a","vlaue":"b"}}"#), "/data/thing1/vlaue", "value"),
    ] {
        let answer = post_raw(&app, JSON, &body).await;
        answer.is_problem(400, "malformed_request");
        let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
        let error = &problem["errors"][0];
        assert_eq!((error["path"].as_str(), error["code"].as_str()), (Some(path), Some("unknown_field")), "{problem}");
        let offer = format!("did you mean {nearest}?");
        assert!(error["detail"].as_str().unwrap().contains(&offer), "{offer} {problem}");
    }
    let answer = post_raw(&app, JSON, with(r#""zzzzzzzzzz":1"#)).await;
    assert!(!answer.body.contains("did you mean"), "nothing is near: {}", answer.body);
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_broken_rule_is_422_with_its_place() {
    let long = |n: usize| "x".repeat(n);
    let keywords: Vec<String> = (0..65).map(|n| format!("\"k{n}\":\"v\"")).collect();
    let far = r#""send_at":"2027-01-01T00:00:00Z""#;
    let cases: Vec<(Vec<u8>, &str, &str)> = vec![
        (to(""), "/touser", "required"),
        (to(r#""touser":null,"#), "/touser", "required"),
        (to(r#""touser":null,"user_id":null,"#), "/touser", "required"),
        (to(r#""touser":"oX","user_id":"u","#), "/user_id", "exclusive"),
        (to(r#""touser":"","#), "/touser", "invalid_openid"),
        (to(r#""touser":"o X","#), "/touser", "invalid_openid"),
        (to(r#""touser":"o\u0000X","#), "/touser", "invalid_openid"),
        (to(r#""touser":"用户","#), "/touser", "invalid_openid"),
        (to(r#""touser":"../../x","#), "/touser", "invalid_openid"),
        (to(&format!(r#""touser":"{}","#, long(129))), "/touser", "invalid_openid"),
        (to(&format!(r#""touser":"{}","#, long(200_000))), "/touser", "invalid_openid"),
        (br#"{"touser":"oX","data":{"thing1":"tea"}}"#.to_vec(), "/template_id", "required"),
        (br#"{"touser":"oX","template_id":"","data":{"thing1":"tea"}}"#.to_vec(), "/template_id", "required"),
        (
            br#"{"touser":"oX","template_id":"a b","data":{"thing1":"tea"}}"#.to_vec(),
            "/template_id",
            "invalid_template_id",
        ),
        (
            br#"{"touser":"oX","template_id":"a\nb","data":{"thing1":"tea"}}"#.to_vec(),
            "/template_id",
            "invalid_template_id",
        ),
        (
            format!(r#"{{"touser":"oX","template_id":"{}","data":{{"thing1":"tea"}}}}"#, long(129)).into_bytes(),
            "/template_id",
            "invalid_template_id",
        ),
        (br#"{"touser":"oX","template_id":"TPL-ORDER"}"#.to_vec(), "/data", "required"),
        (data("null"), "/data", "required"),
        (data("{}"), "/data", "empty"),
        (data(&format!("{{{}}}", keywords.join(","))), "/data", "too_many"),
        (data(r#"{"thing1.DATA":"a"}"#), "/data/thing1.DATA", "invalid_keyword"),
        (data(r#"{"{{thing1.DATA}}":"a"}"#), "/data/{{thing1.DATA}}", "invalid_keyword"),
        (data(r#"{"a b":"a"}"#), "/data/a b", "invalid_keyword"),
        (data(r#"{"":"a"}"#), "/data/", "invalid_keyword"),
        (data(r#"{"茶":"a"}"#), "/data/茶", "invalid_keyword"),
        (data(r#"{"a/b~c":"a"}"#), "/data/a~1b~0c", "invalid_keyword"),
        (data(r#"{"thing1":{}}"#), "/data/thing1/value", "required"),
        (data(r#"{"thing1":{"value":null}}"#), "/data/thing1/value", "required"),
        (data(&format!(r#"{{"thing1":"{}"}}"#, long(2_001))), "/data/thing1", "too_long"),
        (data(&format!(r#"{{"thing1":{}}}"#, "9".repeat(2_001))), "/data/thing1", "too_long"),
        (
            data(&format!(r#"{{"thing1":{{"value":"a","color":"{}"}}}}"#, long(17))),
            "/data/thing1/color",
            "invalid_color",
        ),
        (with(r#""url":"javascript:alert(1)""#), "/url", "invalid_url"),
        (with(r#""url":"""#), "/url", "invalid_url"),
        (with(r#""url":"ftp://a.example/""#), "/url", "invalid_url"),
        (with(r#""url":"//a.example/""#), "/url", "invalid_url"),
        (with(r#""url":"/orders/7""#), "/url", "invalid_url"),
        (with(r#""url":"http://""#), "/url", "invalid_url"),
        (with(r#""url":"https://a.example/\u000a""#), "/url", "invalid_url"),
        (with(&format!(r#""url":"https://a.example/{}""#, long(2_048))), "/url", "invalid_url"),
        (with(r#""miniprogram":{}"#), "/miniprogram/appid", "required"),
        (with(r#""miniprogram":{"pagepath":"index"}"#), "/miniprogram/appid", "required"),
        (with(r#""miniprogram":{"appid":"wx 1"}"#), "/miniprogram/appid", "invalid_appid"),
        (with(r#""miniprogram":{"appid":""}"#), "/miniprogram/appid", "invalid_appid"),
        (
            with(&format!(r#""miniprogram":{{"appid":"wx1","pagepath":"{}"}}"#, long(1_025))),
            "/miniprogram/pagepath",
            "invalid_pagepath",
        ),
        (with(&format!(r#""client_msg_id":"{}""#, long(33))), "/client_msg_id", "invalid_client_msg_id"),
        (with(r#""client_msg_id":"""#), "/client_msg_id", "invalid_client_msg_id"),
        (with(r#""client_msg_id":"a b""#), "/client_msg_id", "invalid_client_msg_id"),
        (with(r#""client_msg_id":"键""#), "/client_msg_id", "invalid_client_msg_id"),
        (with(r#""ttl_s":0"#), "/ttl_s", "out_of_range"),
        (with(r#""ttl_s":-1"#), "/ttl_s", "out_of_range"),
        (with(r#""ttl_s":2592001"#), "/ttl_s", "out_of_range"),
        (with(r#""ttl_s":99999999999999999999999999999999"#), "/ttl_s", "out_of_range"),
        (with(r#""ttl_s":60,"expires_at":"2026-01-31T08:00:00Z""#), "/ttl_s", "exclusive"),
        (with(far), "/send_at", "out_of_range"),
        (with(r#""expires_at":"2027-01-01T00:00:00Z""#), "/expires_at", "out_of_range"),
        (with(&format!(r#""metadata":{{"a":"{}"}}"#, long(2_048))), "/metadata", "too_long"),
    ];
    refused(422, "invalid_message", cases).await;
}

#[tokio::test]
async fn every_fault_of_a_body_is_told_at_once() {
    let app = TestApp::start().await;
    let body = r#"{"touser":"o X","template_id":"a b","data":{"a b":"x","thing1":{"value":"y","color":"123456789012345678"}},
                   "url":"ftp://x","miniprogram":{"appid":""},"client_msg_id":""}"#;
    let answer = post_raw(&app, JSON, body).await;
    answer.is_problem(422, "invalid_message");
    let problem: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let paths: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|error| error["path"].as_str().unwrap()).collect();
    let expected =
        ["/template_id", "/data/a b", "/data/thing1/color", "/url", "/miniprogram/appid", "/client_msg_id", "/touser"];
    assert_eq!(paths, expected);
    nothing_happened(&app).await;
}

#[tokio::test]
async fn what_names_an_unknown_thing_or_an_impossible_time_has_a_code_of_its_own() {
    let app = TestApp::start().await;
    for (body, code) in [
        (with(r#""account":"nowhere""#), "unknown_account"),
        (with(r#""account":"""#), "unknown_account"),
        (with(r#""account":"../shop""#), "unknown_account"),
        (to(r#""user_id":"nobody","#), "unknown_user"),
        (to(r#""user_id":"","#), "unknown_user"),
        (with(r#""expires_at":"2020-01-01T00:00:00Z""#), "would_expire"),
        (with(r#""send_at":"2026-01-10T00:00:00Z","expires_at":"2026-01-09T00:00:00Z""#), "would_expire"),
        (with(r#""send_at":"2026-01-10T00:00:00Z","expires_at":"2026-01-10T00:00:00Z""#), "would_expire"),
    ] {
        post_raw(&app, JSON, &body).await.is_problem(422, code);
    }
    nothing_happened(&app).await;
}
