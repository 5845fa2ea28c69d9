//! The WeChat side: `/cgi-bin/…`. In: a call. Out: what WeChat would answer, or the fault that was switched on.
//! Follows the pages of the named APIs; every business error has HTTP status 200.

use std::net::IpAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::calendar::{day, month};
use super::call::{Answer, Call, Refusal};
use super::faults::{Fault, FaultKind, Scope};
use super::send::{self, Outcome};
use super::templates::TEMPLATES;
use super::tokens::{Grant, Kind};
use super::world::{RequestRecord, World};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;

pub(super) const TOKEN: &str = "/cgi-bin/token";
pub(super) const STABLE_TOKEN: &str = "/cgi-bin/stable_token";
pub(super) const SEND: &str = "/cgi-bin/message/template/send";

/// How often a month quotas may be cleared.
const CLEARS_A_MONTH: u64 = 10;

/// Answers a call. `in_flight` counts the calls of this API under way, this one included.
pub(super) fn process(world: &mut World, call: &Call, in_flight: u32, now: Timestamp) -> Outcome {
    if let Some(count) = world.calls.get_mut(&call.path) {
        *count += 1;
    } else if world.calls.len() < 1_000 {
        world.calls.insert(call.path.clone(), 1);
    }
    let account = owner(world, call);
    if let (Some(app_id), Some(kind)) = (&account, token_kind(call)) {
        world.tokens.count(app_id, kind);
    }
    let scope = Scope { account: account.as_deref(), path: &call.path, in_flight };
    let fault = world.faults.strike_call(&scope, now, &mut world.rng);
    let mut outcome = match &fault {
        Some(fault) if !fault.is_processed() => Outcome::now(Answer::Empty),
        _ => match route(world, call, now) {
            Ok(outcome) => outcome,
            Err(refusal) => refuse(world, call, account.as_deref(), refusal, now),
        },
    };
    if let Some(fault) = fault {
        outcome.wait += Duration::from_millis(fault.latency_ms);
        outcome.answer = spoil(world, call, account.as_deref(), &fault, outcome.answer, now);
    }
    outcome
}

fn route(world: &mut World, call: &Call, now: Timestamp) -> Result<Outcome, Refusal> {
    match call.path.as_str() {
        TOKEN => legacy_token(world, call, now),
        STABLE_TOKEN => stable_token(world, call, now),
        SEND => send::template(world, call, now),
        "/cgi-bin/message/custom/send" => send::custom(world, call, now),
        path => tool(world, call, path, now).map(Outcome::json),
    }
}

fn tool(world: &mut World, call: &Call, path: &str, now: Timestamp) -> Result<Value, Refusal> {
    match path {
        "/cgi-bin/openapi/quota/get" => quota_get(world, call, now),
        "/cgi-bin/clear_quota" => clear_quota(world, call, now),
        "/cgi-bin/openapi/rid/get" => rid_get(world, call, now),
        "/cgi-bin/callback/check" => callback_check(world, call, now),
        "/cgi-bin/getcallbackip" => get(world, call, now).map(|_| json!({"ip_list": ["127.0.0.1"]})),
        "/cgi-bin/get_api_domain_ip" => get(world, call, now).map(|_| json!({"ip_list": ["127.0.0.1"]})),
        "/cgi-bin/template/get_all_private_template" => get(world, call, now).map(|_| {
            let list: Vec<Value> = TEMPLATES.iter().map(|template| template.listed()).collect();
            json!({"template_list": list})
        }),
        "/cgi-bin/user/info" => user_info(world, call, now),
        _ => Err(40066.into()),
    }
}

/// A GET with a good token → whose it is.
fn get(world: &World, call: &Call, now: Timestamp) -> Result<String, Refusal> {
    if call.is_post {
        return Err(43001.into());
    }
    Ok(world.tokens.check(call.token(), now)?.to_owned())
}

/// A POST with a good token and a JSON object → whose it is, and the object.
fn post(world: &World, call: &Call, now: Timestamp) -> Result<(String, Value), Refusal> {
    if !call.is_post {
        return Err(43002.into());
    }
    let app_id = world.tokens.check(call.token(), now)?.to_owned();
    Ok((app_id, call.json()?))
}

/// The account that a call concerns, as far as it tells.
fn owner(world: &World, call: &Call) -> Option<String> {
    let named = match call.path.as_str() {
        TOKEN => call.param("appid").map(str::to_owned),
        STABLE_TOKEN => call.json().ok().and_then(|body| Some(body.get("appid")?.as_str()?.to_owned())),
        _ => world.tokens.owner(call.token()?).map(str::to_owned),
    };
    named.filter(|app_id| world.accounts.contains_key(app_id))
}

fn token_kind(call: &Call) -> Option<Kind> {
    match call.path.as_str() {
        TOKEN => Some(Kind::Legacy),
        STABLE_TOKEN if is_forced(&call.json().unwrap_or_default()) => Some(Kind::Forced),
        STABLE_TOKEN => Some(Kind::Normal),
        _ => None,
    }
}

fn is_forced(body: &Value) -> bool {
    body.get("force_refresh").and_then(Value::as_bool).unwrap_or(false)
}

fn legacy_token(world: &mut World, call: &Call, now: Timestamp) -> Result<Outcome, Refusal> {
    if call.is_post {
        return Err(43001.into());
    }
    let app_id = identify(world, call, call.param("grant_type"), call.param("appid"), call.param("secret"))?;
    let life = world.token_lifetime();
    Ok(granted(world.tokens.legacy(&app_id, life, now, &mut world.rng)?))
}

fn stable_token(world: &mut World, call: &Call, now: Timestamp) -> Result<Outcome, Refusal> {
    let body = call.json()?;
    let field = |name: &str| body.get(name).and_then(Value::as_str);
    if body.get("force_refresh").is_some_and(|force| !force.is_boolean()) {
        return Err(47001.into());
    }
    let app_id = identify(world, call, field("grant_type"), field("appid"), field("secret"))?;
    let life = world.token_lifetime();
    Ok(granted(world.tokens.stable(&app_id, is_forced(&body), life, now, &mut world.rng)?))
}

fn granted(grant: Grant) -> Outcome {
    Outcome::json(json!({"access_token": grant.token, "expires_in": grant.expires_in}))
}

/// Checks the credentials and the caller's address.
fn identify(
    world: &World,
    call: &Call,
    grant_type: Option<&str>,
    app_id: Option<&str>,
    secret: Option<&str>,
) -> Result<String, Refusal> {
    if grant_type != Some("client_credential") {
        return Err(40002.into());
    }
    let app_id = app_id.filter(|text| !text.is_empty()).ok_or(41002_i64)?;
    let secret = secret.filter(|text| !text.is_empty()).ok_or(41004_i64)?;
    let account = world.accounts.get(app_id).ok_or(40013_i64)?;
    if account.config.app_secret.expose() != secret {
        return Err(40125.into());
    }
    let list = &account.config.ip_list;
    let is_listed = list.is_empty() || call.caller.is_some_and(|ip| list.contains(&ip.to_canonical()));
    if is_listed { Ok(app_id.to_owned()) } else { Err(ip_refusal(call)) }
}

fn ip_refusal(call: &Call) -> Refusal {
    let ip = call.caller.map_or_else(|| IpAddr::from([203, 0, 113, 7]), |ip| ip.to_canonical());
    let mapped = if ip.is_ipv4() { format!("::ffff:{ip}") } else { ip.to_string() };
    Refusal::with(40164, format!("invalid ip {ip} ipv6 {mapped}, not in whitelist"))
}

fn quota_get(world: &mut World, call: &Call, now: Timestamp) -> Result<Value, Refusal> {
    let (app_id, body) = post(world, call, now)?;
    let path = body.get("cgi_path").and_then(Value::as_str).unwrap_or_default();
    let (limit, used) = match path {
        SEND => world
            .accounts
            .get(&app_id)
            .map_or((0, 0), |account| (account.config.daily_quota, account.used.used(day(now)))),
        known if known.starts_with("/cgi-bin/") => (500_000, world.calls.get(known).copied().unwrap_or(0)),
        _ => return Err(76021.into()),
    };
    Ok(json!({
        "errcode": 0, "errmsg": "ok",
        "quota": {"daily_limit": limit, "used": used, "remain": limit.saturating_sub(used)},
        "rate_limit": {"call_count": 10_000, "refresh_second": 60},
    }))
}

fn clear_quota(world: &mut World, call: &Call, now: Timestamp) -> Result<Value, Refusal> {
    let (app_id, body) = post(world, call, now)?;
    if body.get("appid").and_then(Value::as_str) != Some(&app_id) {
        return Err(40013.into());
    }
    let account = world.account(Some(&app_id)).ok_or(40013_i64)?;
    if !account.clears.take(month(now), CLEARS_A_MONTH) {
        return Err(48006.into());
    }
    account.used.set(day(now), 0);
    Ok(json!({"errcode": 0, "errmsg": "ok"}))
}

fn rid_get(world: &mut World, call: &Call, now: Timestamp) -> Result<Value, Refusal> {
    let (app_id, body) = post(world, call, now)?;
    let rid = body.get("rid").and_then(Value::as_str).ok_or(76002_i64)?;
    if rid.split('-').count() != 3 || !rid.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-') {
        return Err(76002.into());
    }
    let record = world.requests.iter().rev().find(|record| record.rid == rid).ok_or(76001_i64)?;
    if record.account.as_ref().is_some_and(|owner| *owner != app_id) {
        return Err(76004.into());
    }
    Ok(json!({"errcode": 0, "errmsg": "ok", "request": record.request}))
}

fn callback_check(world: &mut World, call: &Call, now: Timestamp) -> Result<Value, Refusal> {
    let (app_id, body) = post(world, call, now)?;
    let field = |name: &str| body.get(name).and_then(Value::as_str).unwrap_or_default();
    let action = field("action");
    if !matches!(action, "dns" | "ping" | "all") {
        return Err(40202.into());
    }
    if !matches!(field("check_operator"), "" | "CHINANET" | "UNICOM" | "CAP" | "DEFAULT") {
        return Err(40203.into());
    }
    if world.account(Some(&app_id)).is_none_or(|account| account.target.is_none()) {
        return Err(40201.into());
    }
    let mut answer = json!({"errcode": 0, "errmsg": "ok"});
    if action != "ping" {
        answer["dns"] = json!([{"ip": "127.0.0.1", "real_operator": "DEFAULT"}]);
    }
    if action != "dns" {
        answer["ping"] =
            json!([{"ip": "127.0.0.1", "from_operator": "DEFAULT", "package_loss": "0%", "time": "0.100ms"}]);
    }
    Ok(answer)
}

fn user_info(world: &mut World, call: &Call, now: Timestamp) -> Result<Value, Refusal> {
    let app_id = get(world, call, now)?;
    let openid = call.param("openid").filter(|text| !text.is_empty()).ok_or(41009_i64)?;
    if Openid::parse(openid).is_none() {
        return Err(40003.into());
    }
    let user = world.account(Some(&app_id)).and_then(|account| account.users.get(openid));
    if user.is_some_and(|user| !user.following) {
        return Ok(json!({"subscribe": 0, "openid": openid}));
    }
    let since = user.map_or(now, |user| user.since).as_seconds();
    Ok(json!({
        "subscribe": 1, "openid": openid, "nickname": "", "sex": 0, "language": "zh_CN", "city": "", "province": "",
        "country": "", "headimgurl": "", "subscribe_time": since, "remark": "", "groupid": 0, "tagid_list": [],
        "subscribe_scene": "ADD_SCENE_QR_CODE", "qr_scene": 0, "qr_scene_str": "",
    }))
}

/// The refusal as WeChat writes it, and the note for rid/get.
fn refuse(world: &mut World, call: &Call, account: Option<&str>, refusal: Refusal, now: Timestamp) -> Outcome {
    let rid = world.new_rid(now);
    let answer = refusal.into_body(&rid);
    let is_token_call = matches!(call.path.as_str(), TOKEN | STABLE_TOKEN);
    // A token call's body holds the secret.
    let body = if is_token_call { String::new() } else { String::from_utf8_lossy(&call.body).into_owned() };
    let request = json!({
        "invoke_time": now.as_seconds(),
        "cost_in_ms": 1,
        "request_url": "access_token=***",
        "request_body": body,
        "response_body": answer.to_string(),
        "client_ip": call.caller.map(|ip| ip.to_canonical().to_string()).unwrap_or_default(),
    });
    world.record(RequestRecord { rid, account: account.map(str::to_owned), request });
    Outcome::json(answer)
}

/// What the fault makes of the answer.
fn spoil(
    world: &mut World,
    call: &Call,
    account: Option<&str>,
    fault: &Fault,
    answer: Answer,
    now: Timestamp,
) -> Answer {
    match fault.kind {
        FaultKind::Errcode => {
            let refusal = match &fault.errmsg {
                Some(text) => Refusal::with(fault.errcode, text),
                None if fault.errcode == 40164 => ip_refusal(call),
                None => fault.errcode.into(),
            };
            refuse(world, call, account, refusal, now).answer
        }
        FaultKind::Http => Answer::Html(fault.status),
        FaultKind::Html => Answer::Html(200),
        FaultKind::Empty => Answer::Empty,
        FaultKind::Reset | FaultKind::ResetBefore => Answer::Cut,
        FaultKind::Hang => Answer::Hang,
        FaultKind::Truncated => match answer {
            Answer::Json(body) => Answer::Truncated(body),
            other => other,
        },
        _ => answer,
    }
}
