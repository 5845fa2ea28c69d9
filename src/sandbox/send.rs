//! Template messages and customer-service messages: body checks, scripted recipients, acceptance.
//! Follows the pages "Send template message" and "Customer service messages". In: a call. Out: an answer and its receipts.

use std::time::Duration;

use serde_json::{Value, json};

use super::call::{Answer, Call, Refusal};
use super::keywords;
use super::memory::digest;
use super::receipts::{self, Receipt};
use super::recipients::Script;
use super::taken::{Channel, TakenMessage};
use super::templates;
use super::world::World;
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;
use crate::sandbox::config::DuplicateAnswer;

const SLOW: Duration = Duration::from_secs(8);
const LONGEST_URL: usize = 2_048;
const LONGEST_TEXT: usize = 2_048;

/// What a call leads to.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) answer: Answer,
    /// Real time before the answer.
    pub(super) wait: Duration,
    pub(super) receipts: Vec<Receipt>,
    /// The receipts go out before the answer does.
    pub(super) receipts_first: bool,
}

impl Outcome {
    pub(super) fn now(answer: Answer) -> Self {
        Self { answer, wait: Duration::ZERO, receipts: Vec::new(), receipts_first: false }
    }

    pub(super) fn json(body: Value) -> Self {
        Self::now(Answer::Json(body))
    }
}

/// The fields of a template send that the model looks at.
struct Push<'a> {
    touser: &'a str,
    template_id: &'a str,
    url: Option<&'a str>,
    client_msg_id: Option<&'a str>,
    raw: &'a str,
}

/// `POST /cgi-bin/message/template/send`.
pub(super) fn template(world: &mut World, call: &Call, now: Timestamp) -> Result<Outcome, Refusal> {
    if !call.is_post {
        return Err(43002.into());
    }
    let app_id = match world.tokens.check(call.token(), now) {
        Ok(app_id) => app_id.to_owned(),
        Err(errcode) => {
            note_refused_token(world, call, errcode, now);
            return Err(errcode.into());
        }
    };
    let within_quota = world.account(Some(&app_id)).is_some_and(|account| account.use_quota(now));
    if !within_quota {
        return Err(45009.into());
    }
    refuse_escapes(world, call)?;
    let body = call.json()?;
    let push = read(call, &body)?;
    if world.settings.strict_templates {
        check_keywords(push.template_id, &body)?;
    }
    check_recipient(world, &app_id, push.touser)?;
    if let Some(id) = push.client_msg_id
        && let Some(earlier) = world.taken.repeat(&app_id, push.touser, id, now)
    {
        return duplicate(world, earlier.msgid);
    }
    play(world, call, &app_id, &push, now)
}

/// What the script of the recipient says, else acceptance.
fn play(world: &mut World, call: &Call, app_id: &str, push: &Push<'_>, now: Timestamp) -> Result<Outcome, Refusal> {
    let script = Script::of(push.touser);
    if let Some(errcode) = script.and_then(Script::errcode) {
        return Err(errcode.into());
    }
    let key = script_key(push.touser, push.client_msg_id, push.raw);
    match script {
        Some(Script::Busy) if world.taken.script(key, now) < 2 => return Err(Refusal::from(-1)),
        Some(Script::TokenOnce) if world.taken.script(key, now) < 1 => {
            if let Some(token) = call.token() {
                world.tokens.supersede(token, now);
            }
            return Err(40001.into());
        }
        Some(Script::Garbage) => return Ok(Outcome::now(Answer::Html(world.settings.garbage_status))),
        _ => {}
    }
    let mut outcome = accept(world, app_id, push, script, now);
    match script {
        Some(Script::Reset) => outcome.answer = Answer::Cut,
        Some(Script::Slow8s) => outcome.wait = SLOW,
        _ => {}
    }
    Ok(outcome)
}

fn accept(world: &mut World, app_id: &str, push: &Push<'_>, script: Option<Script>, now: Timestamp) -> Outcome {
    let msgid = world.new_msgid();
    let status = Script::receipt(script);
    let shown = !matches!(script, Some(Script::UserBlock | Script::SystemFailed));
    world.taken.take(TakenMessage {
        number: 0,
        account: app_id.to_owned(),
        channel: Channel::Template,
        openid: push.touser.to_owned(),
        template_id: push.template_id.to_owned(),
        url: push.url.map(str::to_owned),
        msgid: Some(msgid.to_string()),
        client_msg_id: push.client_msg_id.map(str::to_owned),
        taken_at: now,
        repeated_at: None,
        repeats: 0,
        delivered: u32::from(shown),
        receipt: status.map(str::to_owned),
        raw_body: push.raw.to_owned(),
    });
    let plan = receipts::plan(world, app_id, push.touser, msgid, status, now);
    let answer = Answer::Json(json!({"errcode": 0, "errmsg": "ok", "msgid": msgid}));
    Outcome { answer, wait: Duration::ZERO, receipts: plan.receipts, receipts_first: plan.first }
}

fn duplicate(world: &mut World, earlier: i64) -> Result<Outcome, Refusal> {
    let msgid = match world.settings.duplicate_answer {
        DuplicateAnswer::SameMsgid => earlier,
        DuplicateAnswer::NewMsgid => world.new_msgid(),
        DuplicateAnswer::Refuse => return Err(40241.into()),
    };
    Ok(Outcome::json(json!({"errcode": 0, "errmsg": "ok", "msgid": msgid})))
}

/// A `sim-token-once` that meets a token which was superseded meanwhile has had its 40001.
fn note_refused_token(world: &mut World, call: &Call, errcode: i64, now: Timestamp) {
    if errcode != 40001 {
        return;
    }
    let Ok(body) = call.json() else { return };
    let Ok(push) = read(call, &body) else { return };
    if Script::of(push.touser) == Some(Script::TokenOnce) {
        world.taken.script(script_key(push.touser, push.client_msg_id, push.raw), now);
    }
}

/// One message, also when it comes again: its `client_msg_id`, else its text.
fn script_key(touser: &str, client_msg_id: Option<&str>, raw: &str) -> u128 {
    client_msg_id.map_or_else(|| digest(&["text", touser, raw]), |id| digest(&["id", touser, id]))
}

/// Refuses `\uXXXX` for characters beyond ASCII: WeChat wants them raw.
fn refuse_escapes(world: &World, call: &Call) -> Result<(), Refusal> {
    let mut bytes = call.body.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' || bytes.next() != Some(b'u') {
            continue;
        }
        let digits: Vec<u8> = bytes.by_ref().take(4).collect();
        let code = std::str::from_utf8(&digits).ok().and_then(|text| u32::from_str_radix(text, 16).ok());
        if code.is_some_and(|code| code >= 0x80) {
            return Err(world.settings.escape_errcode.into());
        }
    }
    Ok(())
}

fn read<'a>(call: &'a Call, body: &'a Value) -> Result<Push<'a>, Refusal> {
    let touser = text(body, "touser")?.unwrap_or_default();
    if Openid::parse(touser).is_none() {
        return Err(40003.into());
    }
    let template_id = text(body, "template_id")?.unwrap_or_default();
    if template_id.is_empty() || template_id.starts_with(templates::UNKNOWN_PREFIX) {
        return Err(40037.into());
    }
    let url = text(body, "url")?;
    if url.is_some_and(|url| url.len() > LONGEST_URL) {
        return Err(40039.into());
    }
    text(body, "color")?;
    text(body, "topcolor")?;
    check_miniprogram(body)?;
    check_data(body)?;
    let client_msg_id = text(body, "client_msg_id")?.filter(|id| !id.is_empty());
    let raw = std::str::from_utf8(&call.body).map_err(|_| 47001_i64)?;
    Ok(Push { touser, template_id, url, client_msg_id, raw })
}

/// A text field: 47001 when it is of another type.
fn text<'a>(object: &'a Value, name: &str) -> Result<Option<&'a str>, i64> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(47001),
    }
}

fn check_miniprogram(body: &Value) -> Result<(), i64> {
    match body.get("miniprogram") {
        None | Some(Value::Null) => Ok(()),
        Some(jump) if jump.is_object() => {
            text(jump, "pagepath")?;
            text(jump, "appid")?.filter(|app_id| !app_id.is_empty()).map(|_| ()).ok_or(40166)
        }
        Some(_) => Err(47001),
    }
}

fn check_data(body: &Value) -> Result<(), i64> {
    let data = body.get("data").and_then(Value::as_object).ok_or(47001_i64)?;
    for value in data.values() {
        if !value.is_object() || text(value, "value")?.is_none() {
            return Err(47001);
        }
        text(value, "color")?;
    }
    Ok(())
}

fn check_keywords(template_id: &str, body: &Value) -> Result<(), Refusal> {
    let invalid = |key: &str| Refusal::with(47003, format!("argument invalid! data.{key}.value invalid"));
    let value = |key: &str| body["data"][key]["value"].as_str();
    for (_, key, _) in templates::look_up(template_id).map_or(&[][..], |template| template.lines) {
        // Head and tail line are no longer shown, so nobody misses them.
        if value(key).is_none() && !matches!(*key, "first" | "remark") {
            return Err(invalid(key));
        }
    }
    let Some(data) = body["data"].as_object() else { return Ok(()) };
    match data.keys().find(|key| !keywords::fits(key, value(key).unwrap_or_default())) {
        Some(key) => Err(invalid(key)),
        None => Ok(()),
    }
}

fn check_recipient(world: &mut World, app_id: &str, openid: &str) -> Result<(), Refusal> {
    let Some(account) = world.account(Some(app_id)) else { return Err(40014.into()) };
    match account.users.get(openid) {
        Some(user) if user.blacklisted => Err(43019.into()),
        Some(user) if !user.following => Err(43004.into()),
        _ => Ok(()),
    }
}

/// `POST /cgi-bin/message/custom/send`; the model draws `text` and takes the other types as they are.
pub(super) fn custom(world: &mut World, call: &Call, now: Timestamp) -> Result<Outcome, Refusal> {
    if !call.is_post {
        return Err(43002.into());
    }
    let app_id = world.tokens.check(call.token(), now)?.to_owned();
    refuse_escapes(world, call)?;
    let body = call.json()?;
    let openid = text(&body, "touser")?.unwrap_or_default();
    if Openid::parse(openid).is_none() {
        return Err(40003.into());
    }
    let shown = custom_text(&body)?;
    check_recipient(world, &app_id, openid)?;
    use_window(world, &app_id, openid, now)?;
    world.say(openid, "account", &shown, now);
    world.taken.take(TakenMessage {
        number: 0,
        account: app_id,
        channel: Channel::Custom,
        openid: openid.to_owned(),
        template_id: String::new(),
        url: None,
        msgid: None,
        client_msg_id: None,
        taken_at: now,
        repeated_at: None,
        repeats: 0,
        delivered: 1,
        receipt: None,
        raw_body: String::from_utf8_lossy(&call.body).into_owned(),
    });
    Ok(Outcome::json(json!({"errcode": 0, "errmsg": "ok"})))
}

const CUSTOM_TYPES: &[&str] =
    &["image", "voice", "video", "music", "news", "mpnews", "mpnewsarticle", "msgmenu", "wxcard", "miniprogrampage"];

fn custom_text(body: &Value) -> Result<String, i64> {
    let msgtype = text(body, "msgtype")?.unwrap_or_default();
    if msgtype != "text" {
        let known = CUSTOM_TYPES.contains(&msgtype);
        return if known { Ok(format!("[{msgtype}]")) } else { Err(40008) };
    }
    let content = body.get("text").map(|part| text(part, "content")).transpose()?.flatten().unwrap_or_default();
    match content.len() {
        0 => Err(44004),
        length if length > LONGEST_TEXT => Err(45002),
        _ => Ok(content.to_owned()),
    }
}

/// Messages are allowed for a while after the person did something: 45015 outside, 45047 when used up.
fn use_window(world: &mut World, app_id: &str, openid: &str, now: Timestamp) -> Result<(), i64> {
    let user = world.account(Some(app_id)).and_then(|account| account.users.get_mut(openid));
    match user.and_then(|user| user.window.as_mut()).filter(|(until, _)| now < *until) {
        None => Err(45015),
        Some((_, 0)) => Err(45047),
        Some((_, left)) => {
            *left -= 1;
            Ok(())
        }
    }
}
