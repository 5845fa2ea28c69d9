//! A back end of the operator's behind the gateway: it is asked as WeChat asks in plain mode, and its answer is WeChat's answer.

mod answers;
pub(crate) mod backend;
mod copies;
mod faults;
mod late;
mod nodes;
mod process;
mod repeats;
mod rest;
mod routes;

use wxgate::sandbox::{CallbackRequest, CallbackResult};

use self::backend::BackEnd;
use crate::harness::{Setup, TestApp};

/// A gateway whose account is relayed to this back end; `more` goes on in `[accounts.shop.relay]`.
async fn relayed(backend: &BackEnd, mode: &'static str, more: &str) -> TestApp {
    let account = format!("[accounts.shop.relay]\nurl = \"{}\"\n{more}", backend.url);
    TestApp::start_with(Setup { mode, account, ..Setup::default() }).await
}

/// The reply that the person sees; `None`: none.
fn shown(result: &CallbackResult) -> Option<String> {
    assert!(result.accepted, "{result:?}");
    let bare = || (!matches!(result.body.as_str(), "" | "success")).then(|| result.body.clone());
    result.decrypted_reply.clone().or_else(bare)
}

async fn says(app: &TestApp, openid: &str, content: &str) -> Option<String> {
    shown(&app.sandbox.send_callback(CallbackRequest::text(openid, content)).await.unwrap())
}

async fn relays(app: &TestApp, result: &str) -> f64 {
    app.metric(&format!("wxgate_relay_requests_total{{account=\"shop\",result=\"{result}\"}}")).await
}

/// How the callbacks stand, oldest first, looked up past the gateway.
fn kept(app: &TestApp) -> Vec<Option<String>> {
    let conn = rusqlite::Connection::open(app.database()).unwrap();
    let mut select = conn.prepare("SELECT relay FROM callbacks ORDER BY rowid").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}
