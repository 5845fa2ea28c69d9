//! Changes of an account that is in use.

use serde_json::json;
use wxgate::sandbox::{CallbackRequest, CallbackTarget};

use super::{bare, make, patch, shop};
use crate::harness::{AES_KEY, CALLBACK_TOKEN, TestApp};

const NEW_TOKEN: &str = "thenexttoken";
const NEW_KEY: &str = "ABCDEFGabcdefghijklmnopqrstuvwxyz0123456789";

/// WeChat's console has these now. → the status that its callback gets.
async fn callback(app: &TestApp, token: &str, aes_key: &str) -> u16 {
    let target = CallbackTarget::safe(&format!("{}/wechat/shop", app.url), token, aes_key);
    assert!(app.sandbox.set_callback_target(None, Some(target)));
    app.sandbox.send_callback(CallbackRequest::text("oU", "help")).await.unwrap().status
}

#[tokio::test]
async fn token_and_key_are_rotated_without_a_callback_lost() {
    let app = bare().await;
    make(&app, &shop()).await;
    assert_eq!(callback(&app, CALLBACK_TOKEN, AES_KEY).await, 200);
    assert_eq!(callback(&app, NEW_TOKEN, NEW_KEY).await, 401);

    let rotated = patch(&app, "shop", &json!({"token": NEW_TOKEN, "encoding_aes_key": NEW_KEY})).await;
    assert_eq!(rotated.status, 200, "{}", rotated.text);
    assert_eq!(
        (rotated.field("previous_token_set"), rotated.field("previous_encoding_aes_key_set")),
        ("true".into(), "true".into())
    );
    assert_eq!(callback(&app, CALLBACK_TOKEN, AES_KEY).await, 200, "the console has not followed yet");
    assert_eq!(callback(&app, NEW_TOKEN, NEW_KEY).await, 200);

    let ended = patch(&app, "shop", &json!({"previous_token": null, "previous_encoding_aes_key": null})).await;
    assert_eq!((ended.status, ended.field("previous_token_set")), (200, "false".into()));
    assert_eq!(callback(&app, CALLBACK_TOKEN, AES_KEY).await, 401);
    assert_eq!(callback(&app, NEW_TOKEN, NEW_KEY).await, 200);

    let closed = patch(&app, "shop", &json!({"token": null, "encoding_aes_key": null})).await;
    assert_eq!((closed.status, closed.field("token_set")), (200, "false".into()), "{}", closed.text);
    assert_eq!(callback(&app, NEW_TOKEN, NEW_KEY).await, 404, "it takes no callbacks any more");
}

#[tokio::test]
async fn a_wrong_secret_is_mended_at_once() {
    let app = bare().await;
    let mut account = shop();
    account["app_secret"] = json!("wrong");
    assert_eq!(make(&app, &account).await.status, 201);
    app.send("oX").await.is_problem(502, "account_refused");
    let mended = patch(&app, "shop", &json!({"app_secret": "demo-secret"})).await;
    assert_eq!(mended.status, 200, "{}", mended.text);
    assert_eq!(app.send("oX").await.status, 200, "no pause of the wrong one is left");
}

#[tokio::test]
async fn what_is_not_named_stays_and_tables_are_merged() {
    let app = bare().await;
    let made = make(&app, &shop()).await.json();
    let changed =
        patch(&app, "shop", &json!({"templates": {"order_sent": "TPL-SENT"}, "on_unknown": "hold"})).await.json();
    assert_eq!(changed["templates"], json!({"order_paid": "TPL-ORDER", "order_sent": "TPL-SENT"}));
    let mut expected = made.clone();
    expected["templates"] = changed["templates"].clone();
    expected["on_unknown"] = json!("hold");
    assert_eq!(changed, expected);
    let back = json!({"templates": {"order_sent": null}, "on_unknown": null});
    assert_eq!(patch(&app, "shop", &back).await.json(), made);
}
