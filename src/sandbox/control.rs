//! The control API under `/sandbox/`: HTTP ⇄ the methods of [`Sandbox`]. The table of routes stands in the room's docs.

use axum::body::Bytes;
use axum::extract::{FromRequestParts, Path, Query, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Json, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::callback::CallbackRequest;
use super::config::{CallbackTarget, Settings};
use super::faults::Fault;
use super::model::{Sandbox, UserChange};
use super::recipients::scripted_recipients;
use super::taken::TakenMessage;
use super::templates::TEMPLATES;
use crate::domain::account::CallbackMode;
use crate::domain::secret::{Openid, Secret};
use crate::wechat::crypt::EncodingAesKey;
use crate::wechat::tree::Format;

const SHOWN: usize = 100;

/// A bad request: status and one sentence.
pub(super) struct Refused(StatusCode, String);

impl Refused {
    fn bad(sentence: impl Into<String>) -> Self {
        Self(StatusCode::BAD_REQUEST, sentence.into())
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        (self.0, Json(json!({"error": self.1}))).into_response()
    }
}

type Answer = Result<Json<Value>, Refused>;

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body).map_err(|error| Refused::bad(error.to_string()))
}

fn unknown_account() -> Refused {
    Refused(StatusCode::NOT_FOUND, "unknown account".to_owned())
}

fn done() -> Answer {
    Ok(Json(json!({"ok": true})))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Wanted {
    openid: Option<String>,
    account: Option<String>,
    limit: Option<usize>,
}

impl<S: Send + Sync> FromRequestParts<S> for Wanted {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refused> {
        Query::try_from_uri(&parts.uri).map(|Query(wanted)| wanted).map_err(|error| Refused::bad(error.body_text()))
    }
}

pub(super) async fn method_not_allowed() -> Refused {
    Refused(StatusCode::METHOD_NOT_ALLOWED, "another method is wanted here".to_owned())
}

pub(super) async fn not_found() -> Refused {
    Refused(StatusCode::NOT_FOUND, "no such route".to_owned())
}

pub(super) async fn info(State(sandbox): State<Sandbox>) -> Json<Value> {
    let templates: Vec<Value> = TEMPLATES.iter().map(|template| template.listed()).collect();
    Json(json!({
        "title": sandbox.title(),
        "accounts": sandbox.accounts(),
        "recipients": scripted_recipients().collect::<Vec<_>>(),
        "templates": templates,
        "messages": sandbox.message_count(),
        "pending_receipts": sandbox.pending_receipts(),
    }))
}

pub(super) async fn messages(State(sandbox): State<Sandbox>, wanted: Wanted) -> Json<Value> {
    let limit = wanted.limit.unwrap_or(SHOWN);
    let fits = |message: &&TakenMessage| {
        wanted.openid.as_ref().is_none_or(|openid| *openid == message.openid)
            && wanted.account.as_ref().is_none_or(|account| *account == message.account)
    };
    let mut found: Vec<TakenMessage> =
        sandbox.with(|world, _| world.taken.list().rev().filter(fits).take(limit).cloned().collect());
    found.reverse();
    let views: Vec<Value> = found.iter().map(view).collect();
    Json(json!({"messages": views, "total": sandbox.message_count()}))
}

fn view(message: &TakenMessage) -> Value {
    let mut view = serde_json::to_value(message).unwrap_or_default();
    view["data"] = message.data();
    view
}

pub(super) async fn deliveries(State(sandbox): State<Sandbox>, wanted: Wanted) -> Json<Value> {
    match wanted.openid {
        Some(openid) => Json(json!({"deliveries": {&openid: sandbox.deliveries_to(&openid)}})),
        None => Json(json!({"deliveries": sandbox.deliveries()})),
    }
}

pub(super) async fn chat(State(sandbox): State<Sandbox>, wanted: Wanted) -> Json<Value> {
    Json(json!({"chat": sandbox.chat(wanted.openid.as_deref())}))
}

pub(super) async fn users(State(sandbox): State<Sandbox>, wanted: Wanted) -> Json<Value> {
    Json(json!({"users": sandbox.users(wanted.account.as_deref())}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct UserOrder {
    openid: String,
    action: UserChange,
    account: Option<String>,
}

pub(super) async fn change_user(State(sandbox): State<Sandbox>, body: Bytes) -> Answer {
    let order: UserOrder = read(&body)?;
    if Openid::parse(&order.openid).is_none() {
        return Err(Refused::bad("openid has 1 to 128 characters A-Z a-z 0-9 _ -"));
    }
    if sandbox.change_user(order.account.as_deref(), &order.openid, order.action) {
        done()
    } else {
        Err(unknown_account())
    }
}

pub(super) async fn faults(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({"faults": sandbox.faults()}))
}

pub(super) async fn set_fault(State(sandbox): State<Sandbox>, body: Bytes) -> Answer {
    let fault: Fault = read(&body)?;
    match fault.problem() {
        Some(problem) => Err(Refused::bad(problem)),
        None => Ok(Json(json!({"id": sandbox.set_fault(fault)}))),
    }
}

pub(super) async fn clear_faults(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({"removed": sandbox.clear_faults()}))
}

pub(super) async fn remove_fault(State(sandbox): State<Sandbox>, Path(id): Path<String>) -> Answer {
    let id = id.parse().map_err(|_| Refused::bad("the id of a fault is a number"))?;
    if sandbox.remove_fault(id) { done() } else { Err(Refused(StatusCode::NOT_FOUND, "no such fault".to_owned())) }
}

pub(super) async fn tokens(State(sandbox): State<Sandbox>) -> Json<Value> {
    let accounts = sandbox.accounts().into_iter();
    let by_account: Vec<Value> =
        accounts.map(|account| json!({"account": account, "calls": sandbox.token_calls_of(&account)})).collect();
    Json(json!({"calls": sandbox.token_calls(), "accounts": by_account}))
}

pub(super) async fn change_tokens(State(sandbox): State<Sandbox>, Path(action): Path<String>) -> Answer {
    let changed = match action.as_str() {
        "expire" => sandbox.expire_tokens(),
        "revoke" => sandbox.revoke_tokens(),
        "refuse" => sandbox.refuse_tokens(),
        _ => return Err(Refused(StatusCode::NOT_FOUND, "expire, revoke or refuse".to_owned())),
    };
    Ok(Json(json!({"changed": changed})))
}

pub(super) async fn settings(State(sandbox): State<Sandbox>) -> Json<Settings> {
    Json(sandbox.settings())
}

pub(super) async fn change_settings(State(sandbox): State<Sandbox>, body: Bytes) -> Result<Json<Settings>, Refused> {
    let changes: serde_json::Map<String, Value> = read(&body)?;
    let mut merged = serde_json::to_value(sandbox.settings()).unwrap_or_default();
    for (name, value) in changes {
        merged[name] = value;
    }
    let settings: Settings = serde_json::from_value(merged).map_err(|error| Refused::bad(error.to_string()))?;
    sandbox.change_settings(|current| *current = settings.clone());
    Ok(Json(settings))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct QuotaOrder {
    used: u64,
    account: Option<String>,
}

pub(super) async fn set_quota(State(sandbox): State<Sandbox>, body: Bytes) -> Answer {
    let order: QuotaOrder = read(&body)?;
    if sandbox.set_quota_used(order.account.as_deref(), order.used) { done() } else { Err(unknown_account()) }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TargetOrder {
    account: Option<String>,
    url: String,
    token: Secret,
    encoding_aes_key: Option<Secret>,
    previous_encoding_aes_key: Option<Secret>,
    #[serde(default)]
    mode: Option<CallbackMode>,
    #[serde(default)]
    format: Option<String>,
    app_id: Option<String>,
}

/// The target without its secrets.
pub(super) async fn target(State(sandbox): State<Sandbox>, wanted: Wanted) -> Json<Value> {
    let shown = sandbox.callback_target(wanted.account.as_deref()).map(|target| {
        let format = if target.format == Format::Xml { "xml" } else { "json" };
        json!({
            "url": target.url, "mode": target.mode, "format": format, "app_id": target.app_id,
            "has_encoding_aes_key": target.encoding_aes_key.is_some(),
        })
    });
    Json(json!({"target": shown}))
}

pub(super) async fn set_target(State(sandbox): State<Sandbox>, body: Bytes) -> Answer {
    let Some(order) = read::<Option<TargetOrder>>(&body)? else {
        sandbox.set_callback_target(None, None);
        return done();
    };
    let account = order.account.clone();
    let target = checked(order)?;
    if sandbox.set_callback_target(account.as_deref(), Some(target)) { done() } else { Err(unknown_account()) }
}

fn checked(order: TargetOrder) -> Result<CallbackTarget, Refused> {
    let url = url::Url::parse(&order.url).map_err(|error| Refused::bad(format!("url: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refused::bad("url: http or https"));
    }
    for key in [&order.encoding_aes_key, &order.previous_encoding_aes_key].into_iter().flatten() {
        EncodingAesKey::parse(key.expose()).map_err(|error| Refused::bad(error.to_string()))?;
    }
    let usual = if order.encoding_aes_key.is_some() { CallbackMode::Safe } else { CallbackMode::Plain };
    let mode = order.mode.unwrap_or(usual);
    if mode != CallbackMode::Plain && order.encoding_aes_key.is_none() {
        return Err(Refused::bad("compatible and safe mode need an encoding_aes_key"));
    }
    let format = match order.format.as_deref() {
        None | Some("xml") => Format::Xml,
        Some("json") => Format::Json,
        Some(_) => return Err(Refused::bad("format: xml or json")),
    };
    Ok(CallbackTarget {
        url: order.url,
        token: order.token,
        encoding_aes_key: order.encoding_aes_key,
        previous_encoding_aes_key: order.previous_encoding_aes_key,
        mode,
        format,
        app_id: order.app_id,
    })
}

pub(super) async fn send_callback(State(sandbox): State<Sandbox>, body: Bytes) -> Answer {
    let request: CallbackRequest = read(&body)?;
    let result = sandbox.send_callback(request).await.map_err(Refused::bad)?;
    Ok(Json(serde_json::to_value(result).unwrap_or_default()))
}

pub(super) async fn deliver_receipts(State(sandbox): State<Sandbox>) -> Json<Value> {
    Json(json!({"acknowledged": sandbox.deliver_receipts().await}))
}

pub(super) async fn reset(State(sandbox): State<Sandbox>) -> Answer {
    sandbox.reset();
    done()
}
