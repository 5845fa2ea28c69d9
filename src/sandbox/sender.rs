//! Posts callbacks to the gateway and judges its answer. In: `CallbackRequest`. Out: `CallbackResult`.
//! Follows the page "Message push": 5 s for an answer, three attempts, a minute of silence after many failures.

use std::time::Duration;

use rand::RngExt;
use serde::Serialize;

use super::callback::CallbackRequest;
use super::config::CallbackTarget;
use super::draft::{Draft, draft};
use super::model::Sandbox;
use super::wire::{Content, Letter, Wire};
use super::world::World;
use crate::domain::account::CallbackMode;
use crate::domain::clock::Timestamp;
use crate::wechat::crypt::{self, EncodingAesKey};
use crate::wechat::signature;
use crate::wechat::tree::{self, Format, Node};

const SILENCE: Duration = Duration::from_secs(60);
const MOST_ATTEMPTS: u32 = 3;

/// What became of a callback.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct CallbackResult {
    /// HTTP status of the last attempt; 0: no answer.
    pub status: u16,
    /// Body of the last attempt, as it came.
    pub body: String,
    /// The reply in clear, when it was sealed for us and everything about it was right.
    pub decrypted_reply: Option<String>,
    /// WeChat would be content: 200 with `success`, nothing, or a reply.
    pub accepted: bool,
    pub attempts: u32,
    /// Why there is no answer, or what is wrong with the reply.
    pub error: Option<String>,
}

/// A callback, ready to be posted as often as needed.
struct Mission {
    account: String,
    original_id: String,
    target: CallbackTarget,
    openid: Option<String>,
    mode: CallbackMode,
    format: Format,
    request: CallbackRequest,
    content: Content,
    is_verification: bool,
    attempts: u32,
    spacing: Duration,
    timeout: Duration,
    silenced: bool,
}

impl Sandbox {
    /// Sends a callback now. The error says what is wrong with the request, or that the account has no target.
    pub async fn send_callback(&self, request: CallbackRequest) -> Result<CallbackResult, String> {
        let mission = self.with(|world, now| prepare(world, request, now))?;
        if mission.silenced {
            let error = Some("after many failures nothing is sent for a minute".to_owned());
            return Ok(CallbackResult { error, ..CallbackResult::default() });
        }
        let result = if mission.is_verification { self.verify(&mission).await } else { self.post(&mission).await? };
        self.with(|world, now| settle(world, &mission, &result, now));
        Ok(result)
    }

    async fn post(&self, mission: &Mission) -> Result<CallbackResult, String> {
        let letter = mission.letter();
        let plain = letter.plain(&mission.content);
        let mut result = CallbackResult::default();
        for attempt in 1..=mission.attempts {
            if attempt > 1 {
                tokio::time::sleep(mission.spacing).await;
            }
            let wire = self.with(|world, now| letter.seal(&plain, now, &mut world.rng))?;
            result = self.attempt(mission, wire).await;
            result.attempts = attempt;
            if result.accepted {
                break;
            }
        }
        Ok(result)
    }

    async fn attempt(&self, mission: &Mission, wire: Wire) -> CallbackResult {
        let media = if mission.format == Format::Xml { "text/xml" } else { "application/json" };
        let Some(http) = self.http() else { return failure("no HTTP client") };
        let request =
            http.post(address(&mission.target.url, &wire.query)).header("content-type", media).body(wire.body);
        let _permit = self.post_permit().await;
        match answer(request.timeout(mission.timeout)).await {
            Ok((status, body)) => mission.judge(status, body),
            Err(error) => failure(&error),
        }
    }

    /// The console's check of the URL: the echostr must come back as it is.
    async fn verify(&self, mission: &Mission) -> CallbackResult {
        let (mut query, echostr) = self.with(|world, now| {
            let echostr = world.rng.random_range(1_000_000_000_000_000_000..i64::MAX).to_string();
            let letter = Letter { mode: CallbackMode::Plain, ..mission.letter() };
            let wire = letter.seal("", now, &mut world.rng);
            (wire.map(|wire| wire.query).unwrap_or_default(), echostr)
        });
        query.push(("echostr", echostr.clone()));
        let Some(http) = self.http() else { return failure("no HTTP client") };
        let request = http.get(address(&mission.target.url, &query)).timeout(mission.timeout);
        match answer(request).await {
            Ok((status, body)) => {
                let accepted = status == 200 && body == echostr;
                CallbackResult { status, body, accepted, attempts: 1, ..CallbackResult::default() }
            }
            Err(error) => failure(&error),
        }
    }
}

fn failure(error: &str) -> CallbackResult {
    CallbackResult { error: Some(error.to_owned()), attempts: 1, ..CallbackResult::default() }
}

async fn answer(request: reqwest::RequestBuilder) -> Result<(u16, String), String> {
    // The error may hold the URL with its signature: it is of use here, and nothing secret.
    let response = request.send().await.map_err(|error| error.to_string())?;
    let status = response.status().as_u16();
    let body = response.text().await.map_err(|error| error.to_string())?;
    Ok((status, body))
}

fn address(url: &str, query: &[(&str, String)]) -> String {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(query).finish();
    let joint = if url.contains('?') { '&' } else { '?' };
    if query.is_empty() { url.to_owned() } else { format!("{url}{joint}{query}") }
}

fn prepare(world: &mut World, request: CallbackRequest, now: Timestamp) -> Result<Mission, String> {
    let msg_id = world.new_msgid();
    let settings = world.settings.clone();
    let account = world.account(request.account.as_deref()).ok_or("unknown account")?;
    let target = account.target.clone().ok_or("the account has no callback target")?;
    let (app_id, original_id) = (account.config.app_id.clone(), account.config.original_id.clone());
    let silenced = account.silent_until.is_some_and(|until| now < until);
    let format = match request.format.as_deref() {
        None => target.format,
        Some("xml") => Format::Xml,
        Some("json") => Format::Json,
        Some(other) => return Err(format!("format {other:?} is neither xml nor json")),
    };
    let is_verification = request.kind == "verify";
    let (openid, content) = match &request.raw {
        Some(body) => (request.openid.clone(), Content::Raw(body.clone())),
        None if is_verification => (None, Content::Raw(String::new())),
        None => {
            let Draft { openid, parts } = draft(request.clone(), &original_id, msg_id, now)?;
            act(world, &app_id, &openid, &request, now);
            (Some(openid), Content::Parts(parts))
        }
    };
    Ok(Mission {
        account: app_id,
        original_id,
        mode: request.mode.unwrap_or(target.mode),
        target,
        openid,
        format,
        attempts: request.attempts.unwrap_or(1).clamp(1, MOST_ATTEMPTS),
        request,
        content,
        is_verification,
        spacing: Duration::from_millis(settings.attempt_spacing_ms),
        timeout: Duration::from_millis(settings.callback_timeout_ms),
        silenced,
    })
}

/// What the person's act changes in the world, whatever the gateway makes of it.
fn act(world: &mut World, app_id: &str, openid: &str, request: &CallbackRequest, now: Timestamp) {
    let Some(account) = world.account(Some(app_id)) else { return };
    let minute = now.plus(Duration::from_secs(60));
    let days = now.plus(Duration::from_secs(48 * 3_600));
    match request.kind.as_str() {
        "subscribe" => {
            let user = account.user(openid, now);
            user.following = true;
            user.since = now;
            user.window = Some((minute, 3));
        }
        "unsubscribe" => account.user(openid, now).following = false,
        "scan" | "click" => account.user(openid, now).window = Some((minute, 3)),
        "text" | "image" | "voice" | "video" | "shortvideo" | "location" | "link" => {
            account.user(openid, now).window = Some((days, 5));
            let content = request.fields.get("content").and_then(|value| value.as_str());
            let shown = content.map_or_else(|| format!("[{}]", request.kind), str::to_owned);
            world.say(openid, "user", &shown, now);
        }
        _ => {}
    }
}

/// What the gateway's answer changes in the world.
fn settle(world: &mut World, mission: &Mission, result: &CallbackResult, now: Timestamp) {
    let silence_after = world.settings.silence_after;
    if let Some(account) = world.account(Some(&mission.account)) {
        account.failed_pushes = if result.accepted { 0 } else { account.failed_pushes + 1 };
        if silence_after.is_some_and(|limit| account.failed_pushes >= limit) {
            account.failed_pushes = 0;
            account.silent_until = Some(now.plus(SILENCE));
        }
    }
    let reply = result.decrypted_reply.as_deref().unwrap_or(&result.body);
    if let (true, Some(openid)) = (result.accepted, &mission.openid)
        && let Ok((node, _)) = tree::parse(reply.as_bytes())
        && let Some(msg_type) = node.text_of("MsgType")
    {
        let shown = node.text_of("Content").map_or_else(|| format!("[{msg_type}]"), str::to_owned);
        world.say(openid, "account", &shown, now);
    }
}

impl Mission {
    fn letter(&self) -> Letter<'_> {
        Letter {
            target: &self.target,
            app_id: &self.account,
            original_id: &self.original_id,
            openid: self.openid.as_deref(),
            mode: self.mode,
            format: self.format,
            broken: self.request.broken,
        }
    }

    fn judge(&self, status: u16, body: String) -> CallbackResult {
        let mut result = CallbackResult { status, body, ..CallbackResult::default() };
        if status != 200 {
            return result;
        }
        if matches!(result.body.trim(), "" | "success") {
            result.accepted = true;
            return result;
        }
        match tree::parse(result.body.as_bytes()) {
            Ok((node, _)) if node.text_of("Encrypt").is_some() => match self.open(&node) {
                Ok(reply) => {
                    result.accepted = true;
                    result.decrypted_reply = Some(reply);
                }
                Err(error) => result.error = Some(error),
            },
            Ok((node, _)) if node.text_of("MsgType").is_some() => {
                result.accepted = self.mode != CallbackMode::Safe;
                if !result.accepted {
                    result.error = Some("a plain reply in safe mode".to_owned());
                }
            }
            _ => result.error = Some("neither success nor a reply".to_owned()),
        }
        result
    }

    /// Checks the signature of a sealed reply and opens it with the current key, else with the previous one.
    fn open(&self, node: &Node) -> Result<String, String> {
        let text = |name: &str| node.text_of(name).ok_or_else(|| format!("the reply has no {name}"));
        let (encrypt, given) = (text("Encrypt")?, text("MsgSignature")?);
        let (timestamp, nonce) = (text("TimeStamp")?, text("Nonce")?);
        if !signature::verify(given, &[self.target.token.expose(), timestamp, nonce, encrypt]) {
            return Err("the MsgSignature of the reply is wrong".to_owned());
        }
        let tail = self.target.app_id.as_deref().unwrap_or(&self.account);
        let keys = [&self.target.encoding_aes_key, &self.target.previous_encoding_aes_key];
        for key in keys.into_iter().flatten() {
            let Ok(key) = EncodingAesKey::parse(key.expose()) else { continue };
            if let Ok(reply) = crypt::decrypt(&key, encrypt, tail) {
                return String::from_utf8(reply).map_err(|_| "the reply is no UTF-8".to_owned());
            }
        }
        Err("the reply cannot be opened".to_owned())
    }
}
