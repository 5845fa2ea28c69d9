//! Events as they happen, over a WebSocket: each a text frame.

use std::time::Duration;

use axum::extract::State;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use serde::Deserialize;
use tokio::time::{Instant, MissedTickBehavior, timeout};

use super::events::{HEARTBEAT, PATIENCE, after, filter};
use super::watching::Watching;
use crate::domain::ids::EventId;
use crate::http::error::{ApiError, Code, Problem};
use crate::http::extract::watcher::Watcher;
use crate::services::access::Access;
use crate::services::feed::Feed;

/// How long the client may take to say where it goes on.
const FIRST_FRAME: Duration = Duration::from_secs(1);
/// Without any sign of life for so long, the client is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// Nobody has to say more.
const LONGEST_FRAME: usize = 4096;

/// What the client may say first.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Hello {
    after: EventId,
}

/// Events as they happen, over a WebSocket.
///
/// Each event is a text frame. The client's first frame, within a second, may be `{"after":"evt_…"}`.
#[utoipa::path(
    get, path = "/v1/events/ws", operation_id = "watch_events", tag = "events", security(("key" = ["read"])),
    params(
        ("types" = Option<String>, Query, description = "As in a list.", example = "message.*"),
        ("account" = Option<String>, Query,), ("message_id" = Option<String>, Query,), ("batch_id" = Option<String>, Query,),
        ("created_after" = Option<String>, Query, description = "RFC 3339"), ("created_before" = Option<String>, Query, description = "RFC 3339"),
        ("after" = Option<String>, Query, description = "Go on behind this event; without it, from now on."),
        ("ticket" = Option<String>, Query, description = "In place of a key and of filters"),
    ),
    responses(
        (status = 101, description = "From here on it is a WebSocket."),
        (status = 400, description = "No WebSocket was asked for, or a parameter is unknown, doubled or illegal.", body = Problem, content_type = "application/problem+json"),
    ),
)]
pub async fn watch(
    watcher: Watcher,
    State(feed): State<Feed>,
    State(access): State<Access>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, ApiError> {
    let Watcher { caller, filter, mut query, .. } = watcher;
    let filter = filter.unwrap_or_else(|| self::filter(&mut query));
    let after = after(&mut query, "after");
    query.close()?;
    let upgrade = upgrade.map_err(|error| {
        let detail = format!("this is a WebSocket, and this is no request for one: {}", error.body_text());
        ApiError::new(Code::MalformedRequest, detail)
    })?;
    let listening = feed.listen(&caller, filter, after).await?;
    let watching = Watching::new(listening, access, caller);
    Ok(upgrade.max_message_size(LONGEST_FRAME).on_upgrade(|socket| Session::new(socket, watching).run()))
}

/// Why a session ends, as it is told.
struct Farewell {
    code: u16,
    reason: String,
}

impl Farewell {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

struct Session {
    socket: WebSocket,
    watching: Watching,
    /// What was sent last.
    last: Option<EventId>,
    heard_at: Instant,
}

impl Session {
    fn new(socket: WebSocket, watching: Watching) -> Self {
        Self { socket, watching, last: None, heard_at: Instant::now() }
    }

    async fn run(mut self) {
        let Some(Farewell { code, reason }) = self.hear_first().await else { return };
        let frame = CloseFrame { code, reason: reason.into() };
        // Whoever takes nothing does not take this either.
        let _ = timeout(PATIENCE, self.socket.send(Message::Close(Some(frame)))).await;
    }

    /// `None`: the client has left. So for the others.
    async fn hear_first(&mut self) -> Option<Farewell> {
        if let Ok(first) = timeout(FIRST_FRAME, self.socket.recv()).await {
            match self.hear(first?.ok()?) {
                Heard::Text(text) => {
                    let Ok(hello) = serde_json::from_str::<Hello>(&text) else {
                        let reason = "expected {\"after\":\"evt_…\"} or nothing";
                        return Some(Farewell::new(close_code::POLICY, reason));
                    };
                    if self.watching.listening.go_to(hello.after).await.is_err() {
                        return Some(Farewell::new(close_code::AGAIN, "the store does not answer"));
                    }
                    self.last = Some(hello.after);
                }
                Heard::Nothing => {}
                Heard::End => return None,
            }
        }
        self.tell().await
    }

    async fn tell(&mut self) -> Option<Farewell> {
        let mut beat = tokio::time::interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let (message, id) = tokio::select! {
                event = self.watching.next() => match event {
                    Some(event) => (Message::text(serde_json::to_string(&*event).ok()?), Some(event.id)),
                    None if self.watching.is_over => {
                        return Some(Farewell::new(close_code::POLICY, "the key, token or ticket has ended"));
                    }
                    None if self.watching.listening.is_stopping() => {
                        return Some(Farewell::new(close_code::AWAY, self.last_id()));
                    }
                    None => return Some(Farewell::new(close_code::AGAIN, self.last_id())),
                },
                _ = beat.tick() => {
                    if self.heard_at.elapsed() > SILENCE {
                        return None;
                    }
                    (Message::Ping(Vec::new().into()), None)
                }
                heard = self.socket.recv() => match self.hear(heard?.ok()?) {
                    Heard::End => return None,
                    Heard::Text(_) | Heard::Nothing => continue,
                },
            };
            match timeout(PATIENCE, self.socket.send(message)).await {
                Ok(Ok(())) => self.last = id.or(self.last),
                Ok(Err(_)) => return None,
                Err(_) => return Some(Farewell::new(close_code::AGAIN, self.last_id())),
            }
        }
    }

    fn hear(&mut self, message: Message) -> Heard {
        self.heard_at = Instant::now();
        match message {
            Message::Text(text) => Heard::Text(text.to_string()),
            Message::Close(_) => Heard::End,
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => Heard::Nothing,
        }
    }

    /// Where to go on. What was on its way when a slow client is cut comes once more then.
    fn last_id(&self) -> String {
        self.last.map(|id| id.to_string()).unwrap_or_default()
    }
}

enum Heard {
    Text(String),
    /// Nothing that we wait for.
    Nothing,
    End,
}
