//! What is not WeChat's, or not readable, is refused in few words and leaves nothing behind.

use reqwest::Method;
use wxgate::domain::account::CallbackMode;
use wxgate::sandbox::{Broken, CallbackRequest};

use crate::harness::{Setup, TestApp};

async fn status_of(app: &TestApp, broken: Broken) -> u16 {
    let result = app.sandbox.send_callback(CallbackRequest::text("oBAD", "hi").broken(broken)).await.unwrap();
    assert!(result.body.len() < 64, "{broken:?}: {}", result.body);
    result.status
}

#[tokio::test]
async fn a_safe_account_refuses_every_forgery() {
    let app = TestApp::start().await;
    for (broken, status) in [
        (Broken::WrongAppid, 401),
        (Broken::WrongMsgSignature, 401),
        (Broken::WrongSignature, 401),
        (Broken::NoQuery, 401),
        (Broken::Plaintext, 401),
        (Broken::OldKey, 401),
        (Broken::StaleTimestamp, 401),
        (Broken::HugeBody, 413),
        (Broken::Doctype, 400),
        (Broken::CutBody, 400),
        (Broken::EmptyBody, 400),
        (Broken::Garbage, 400),
    ] {
        assert_eq!(status_of(&app, broken).await, status, "{broken:?}");
    }
    assert_eq!(kept(&app), 0);
}

#[tokio::test]
async fn what_is_merely_odd_is_taken() {
    let app = TestApp::start().await;
    for broken in [Broken::LargeBody, Broken::ReorderedTags, Broken::UnknownTags, Broken::Blanks] {
        assert_eq!(status_odd(&app, broken).await, 200, "{broken:?}");
    }
    assert_eq!(kept(&app), 4);
}

async fn status_odd(app: &TestApp, broken: Broken) -> u16 {
    app.sandbox.send_callback(CallbackRequest::text("oODD", "hi").broken(broken)).await.unwrap().status
}

#[tokio::test]
async fn the_previous_key_and_token_still_work() {
    let previous = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFG";
    let account = format!("previous_encoding_aes_key = \"{previous}\"\nprevious_token = \"oldtoken\"");
    let app = TestApp::start_with(Setup { account, ..Setup::default() }).await;
    let mut target = app.sandbox.callback_target(None).unwrap();
    target.token = wxgate::domain::secret::Secret::new("oldtoken");
    target.encoding_aes_key = Some(wxgate::domain::secret::Secret::new(previous));
    app.sandbox.set_callback_target(None, Some(target));
    let result = app.sandbox.send_callback(CallbackRequest::text("oOLD", "help")).await.unwrap();
    assert!(result.accepted && result.decrypted_reply.is_some(), "sealed with the keys that came: {result:?}");
}

#[tokio::test]
async fn compatible_mode_believes_only_the_sealed_part() {
    let app = TestApp::start_with(Setup { mode: "compatible", ..Setup::default() }).await;
    let text = CallbackRequest::text("oBOTH", "help").mode(CallbackMode::Compatible);
    assert!(app.sandbox.send_callback(text).await.unwrap().accepted);
    let forged = CallbackRequest::text("oBOTH", "hi").mode(CallbackMode::Compatible).broken(Broken::WrongMsgSignature);
    assert_eq!(app.sandbox.send_callback(forged).await.unwrap().status, 401);
}

#[tokio::test]
async fn the_console_check_echoes_and_refuses() {
    let app = TestApp::start().await;
    let result = app.sandbox.send_callback(CallbackRequest::verify()).await.unwrap();
    assert!(result.status == 200 && result.accepted, "{result:?}");
    for path in ["/wechat/shop", "/wechat/shop?signature=x&timestamp=1&nonce=2&echostr=3", "/wechat"] {
        assert_eq!(app.anonymous(Method::GET, path).send().await.status, 401, "{path}");
    }
    assert_eq!(app.anonymous(Method::GET, "/wechat/nowhere").send().await.status, 404);
    assert_eq!(app.anonymous(Method::PUT, "/wechat/shop").send().await.status, 405);
    assert_eq!(app.anonymous(Method::POST, "/wechat/nowhere").send().await.status, 404);
}

fn kept(app: &TestApp) -> i64 {
    let conn = rusqlite::Connection::open(app.database()).unwrap();
    conn.query_row("SELECT count(*) FROM callbacks", [], |row| row.get(0)).unwrap()
}
