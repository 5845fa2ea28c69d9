//! Accounts made, changed and deleted while the gateway runs. The sandbox's demo app is the account `shop` in all of them.

mod binary;
mod change;
mod life;
mod nodes;
mod refused;

use serde_json::{Value, json};

use crate::harness::{AES_KEY, CALLBACK_TOKEN, Reply, Setup, TestApp};

/// A gateway whose configuration has no account.
pub(super) async fn bare() -> TestApp {
    TestApp::start_with(Setup { bare: true, ..Setup::default() }).await
}

/// The demo app, with callbacks in safe mode.
pub(super) fn shop() -> Value {
    json!({
        "name": "shop", "app_id": "wx0000000000000demo", "app_secret": "demo-secret", "token": CALLBACK_TOKEN,
        "encoding_aes_key": AES_KEY, "templates": {"order_paid": "TPL-ORDER"}, "replies": {"keywords": {"help": "How?"}},
    })
}

pub(super) async fn make(app: &TestApp, account: &Value) -> Reply {
    app.post("/v1/accounts").json(account).send().await
}

pub(super) async fn patch(app: &TestApp, name: &str, change: &Value) -> Reply {
    app.request(reqwest::Method::PATCH, &format!("/v1/accounts/{name}")).json(change).send().await
}
