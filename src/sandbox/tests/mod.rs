//! The model over the wire: each test starts a sandbox on a free port, acts as a gateway would, and looks at the world.

mod callbacks;
mod control;
mod faults;
mod gateway;
mod sends;
mod tokens;

use std::sync::Arc;

use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{CallbackTarget, DEMO_APP_ID, DEMO_APP_SECRET, Sandbox, SandboxConfig};
use crate::domain::clock::{ManualClock, Timestamp};

const SEND: &str = "/cgi-bin/message/template/send";
/// 43 characters whose last one has spare bits.
const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

/// A served sandbox and a caller.
struct Bench {
    sandbox: Sandbox,
    clock: Arc<ManualClock>,
    base: String,
    http: reqwest::Client,
    _stop: DropGuard,
}

impl Bench {
    async fn start() -> Self {
        Self::with(SandboxConfig::for_tests(None)).await
    }

    async fn calling(target: CallbackTarget) -> Self {
        Self::with(SandboxConfig::for_tests(Some(target))).await
    }

    async fn with(config: SandboxConfig) -> Self {
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_seconds(1_700_000_000)));
        let sandbox = Sandbox::new(config, clock.clone());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        tokio::spawn(sandbox.clone().serve(listener, stop.clone()));
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self { sandbox, clock, base, http, _stop: stop.drop_guard() }
    }

    async fn get(&self, path: &str) -> Value {
        self.http.get(format!("{}{path}", self.base)).send().await.unwrap().json().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> Value {
        self.post_text(path, &body.to_string()).await.unwrap()
    }

    /// `Err` when the connection is cut or the answer is no JSON.
    async fn post_text(&self, path: &str, body: &str) -> Result<Value, reqwest::Error> {
        self.http.post(format!("{}{path}", self.base)).body(body.to_owned()).send().await?.json().await
    }

    async fn stable(&self, forced: bool) -> Value {
        let body = json!({
            "grant_type": "client_credential", "appid": DEMO_APP_ID, "secret": DEMO_APP_SECRET, "force_refresh": forced,
        });
        self.post("/cgi-bin/stable_token", &body).await
    }

    async fn token(&self) -> String {
        self.stable(false).await["access_token"].as_str().unwrap().to_owned()
    }

    async fn send_text(&self, body: &str) -> Result<Value, reqwest::Error> {
        let token = self.token().await;
        self.post_text(&format!("{SEND}?access_token={token}"), body).await
    }

    async fn send(&self, touser: &str, client_msg_id: &str) -> Result<Value, reqwest::Error> {
        self.send_text(&push(touser, client_msg_id).to_string()).await
    }

    /// The errcode of a send.
    async fn errcode(&self, touser: &str, client_msg_id: &str) -> i64 {
        self.send(touser, client_msg_id).await.unwrap()["errcode"].as_i64().unwrap()
    }
}

fn push(touser: &str, client_msg_id: &str) -> Value {
    json!({
        "touser": touser, "template_id": "TPL-ORDER-PAID", "client_msg_id": client_msg_id,
        "data": {"thing1": {"value": "咖啡豆"}},
    })
}
