//! Station 7b: keep what WeChat said, let it take effect, and answer; what a back end of the operator's is asked for, it
//! answers.

use std::sync::Arc;

use bytes::Bytes;
use tokio::time::Instant;

use super::verify::{ReplySeal, Verified};
use crate::domain::account::{Account, Replies};
use crate::domain::callback::{NewCallback, ReceiptEffect, Recorded, UserSeen};
use crate::domain::clock::Clock;
use crate::domain::ids::CallbackId;
use crate::domain::receipt::{Receipt, ReceiptStatus};
use crate::domain::relay::{Plan, RelayState};
use crate::domain::secret::Openid;
use crate::failpoint::{Point, reach};
use crate::services::outcomes::{Outcomes, Progress};
use crate::services::relay::{Letter, Relay, Waiting};
use crate::store;
use crate::telemetry::metrics::Metrics;
use crate::wechat::crypt::EncodingAesKey;
use crate::wechat::event::{CardKind, Event};
use crate::wechat::inbound::{Inbound, Kind};
use crate::wechat::message::Message;
use crate::wechat::reply::{self, Reply, SealWith};
use crate::wechat::tree::Format;

/// The answer to WeChat.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The bare word `success`, text/plain.
    Success,
    /// A passive reply, sealed if need be.
    Reply { body: String, format: Format },
}

/// A callback that is kept, and its answer, which may be on its way.
pub struct Kept {
    account: Arc<Account>,
    seal: Option<ReplySeal>,
    format: Format,
    reply: Awaited,
}

/// The plain reply.
enum Awaited {
    Known(Option<String>),
    Asked(Waiting),
}

/// The doors this station needs.
#[derive(Clone)]
pub struct Receive {
    pub inbox: Arc<dyn store::Inbox>,
    pub outcomes: Outcomes,
    pub relay: Relay,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

impl Receive {
    /// Stored first, then answered ([`Self::answer`]). An error means: not kept, so it must not be acknowledged.
    /// `arrived`: when WeChat's request came.
    pub async fn take(&self, verified: Verified, arrived: Instant) -> Result<Kept, store::Error> {
        let Verified { account, body, inbound, seal } = verified;
        let kind = inbound.label();
        let format = inbound.format;
        let plan = self.relay.plan(&account, &inbound);
        let body = Bytes::from(body);
        let callback = self.callback_of(&account, &body, &inbound, &kind, &plan);
        let reports: Vec<_> = callback.receipts.iter().map(|receipt| receipt.status.as_str()).collect();
        let (id, dedupe_key, reply) = (callback.id, callback.dedupe_key.clone(), callback.reply.clone());
        // Looked for before the row is read: a flight that ends in between has left its answer there.
        let flight = plan.owner.as_ref().and_then(|_| self.relay.under_way(&account.name, &dedupe_key));
        let recorded = self.inbox.record(callback).await;
        if recorded.is_err() {
            self.metrics.callback(&account.name, &kind, "failed");
        }
        let letter = || Arc::new(Letter { id, account: account.clone(), dedupe_key, inbound, body, arrived });
        let reply = match recorded? {
            Recorded::First { receipts } => {
                reach(Point::CallbackKept);
                self.metrics.callback(&account.name, &kind, "stored");
                self.tell(&account, &reports, receipts);
                self.relayed(plan, letter, reply)
            }
            Recorded::Seen { reply, relay } => {
                self.metrics.callback(&account.name, &kind, "repeat");
                match (relay, flight, plan.owner) {
                    (Some(RelayState::Pending), Some(flight), _) => Awaited::Asked(flight),
                    (Some(RelayState::Pending), None, Some(owner)) => {
                        Awaited::Asked(self.relay.ask(letter(), owner, reply))
                    }
                    _ => Awaited::Known(reply),
                }
            }
        };
        Ok(Kept { account, seal, format, reply })
    }

    fn relayed(&self, plan: Plan, letter: impl FnOnce() -> Arc<Letter>, reply: Option<String>) -> Awaited {
        if plan.owner.is_none() && plan.copies.is_empty() {
            return Awaited::Known(reply);
        }
        let letter = letter();
        self.relay.copy(&letter, plan.copies);
        match plan.owner {
            Some(owner) => Awaited::Asked(self.relay.ask(letter, owner, reply)),
            None => Awaited::Known(reply),
        }
    }

    /// The answer to WeChat. A back end that is asked for it has the time that is left of its budget.
    pub async fn answer(&self, kept: Kept) -> Answer {
        let Kept { account, seal, format, reply } = kept;
        let plain = match reply {
            Awaited::Known(plain) => plain,
            Awaited::Asked(waiting) => waiting.first().await,
        };
        match plain {
            Some(plain) => self.sealed(&account, &plain, seal.as_ref(), format),
            None => Answer::Success,
        }
    }

    fn callback_of(&self, account: &Account, body: &[u8], inbound: &Inbound, kind: &str, plan: &Plan) -> NewCallback {
        let now = self.clock.now();
        let is_template = matches!(&inbound.kind, Kind::Event(Event::TemplateSendJobFinish { .. }));
        let receipts = inbound
            .delivery_reports()
            .into_iter()
            .filter_map(|report| {
                Some(Receipt {
                    msgid: report.msgid,
                    openid: Openid::parse(&inbound.from_user_name)?,
                    status: ReceiptStatus::parse(&report.status),
                    is_template,
                })
            })
            .collect();
        let reply = reply_to(&account.replies, inbound).map(|reply| {
            let (to, from) = (&inbound.from_user_name, &inbound.to_user_name);
            reply::render(&reply, to, from, now.as_seconds(), inbound.format)
        });
        NewCallback {
            id: CallbackId::generate(now),
            account: account.name.to_string(),
            dedupe_key: inbound.dedupe_key(body),
            kind: kind.to_owned(),
            openid: Openid::parse(&inbound.from_user_name),
            body: String::from_utf8_lossy(body).into_owned(),
            reply,
            received_at: now,
            receipts,
            user: user_seen(inbound),
            told: inbound.told(),
            is_relayed: plan.owner.is_some(),
        }
    }

    fn tell(&self, account: &Account, reports: &[&'static str], effects: Vec<ReceiptEffect>) {
        for (report, effect) in reports.iter().zip(effects) {
            match effect {
                ReceiptEffect::Settled { message_id, state, reason, msgid } => {
                    reach(Point::ReceiptKept);
                    self.metrics.receipt(&account.name, report);
                    let (at, msgid, attempts) = (self.clock.now(), Some(msgid), Vec::new());
                    let progress = Progress { state, reason, msgid, next_attempt_at: None, attempts, at };
                    self.outcomes.tell(message_id, progress);
                }
                ReceiptEffect::AlreadyFinal { .. } => self.metrics.receipt(&account.name, "late"),
                ReceiptEffect::Unmatched => self.metrics.receipt(&account.name, "unmatched"),
                ReceiptEffect::NotFinal => self.metrics.receipt(&account.name, "other"),
            }
        }
    }

    /// Sealed with the keys that opened the request ("Message push" page). A key that cannot seal costs the reply, never
    /// the acknowledgement.
    fn sealed(&self, account: &Account, plain: &str, seal: Option<&ReplySeal>, format: Format) -> Answer {
        let Some(seal) = seal else {
            return Answer::Reply { body: plain.to_owned(), format };
        };
        let keys = account.callback.as_ref();
        let token = keys.and_then(|keys| keys.tokens.get(seal.token_index));
        let key = keys.and_then(|keys| keys.aes_keys.get(seal.key_index));
        let key = key.and_then(|key| EncodingAesKey::parse(key.expose()).ok());
        let (Some(token), Some(key)) = (token, key) else { return Answer::Success };
        let with = SealWith {
            token: token.expose(),
            key: &key,
            app_id: &account.app_id,
            random: rand::random(),
            timestamp: self.clock.now().as_seconds(),
            nonce: &seal.nonce,
        };
        Answer::Reply { body: reply::seal(plain, &with, format), format }
    }
}

/// The configured answer to this callback, if there is one.
fn reply_to(replies: &Replies, inbound: &Inbound) -> Option<Reply> {
    let content = match &inbound.kind {
        Kind::Event(Event::Subscribe { .. }) => replies.subscribe.as_ref(),
        Kind::Message { message: Message::Text { content, .. }, .. } => {
            replies.keywords.get(content.trim()).or(replies.default.as_ref())
        }
        Kind::Message { .. } => replies.default.as_ref(),
        Kind::Event(_) | Kind::Other => None,
    }?;
    Some(Reply::Text { content: content.clone() })
}

/// Messages and a person's own events are signs of life; receipts and notices of the platform are not.
fn user_seen(inbound: &Inbound) -> Option<UserSeen> {
    let subscribed = match &inbound.kind {
        Kind::Event(Event::Subscribe { .. }) => Some(true),
        Kind::Event(Event::Unsubscribe) => Some(false),
        Kind::Event(event) if !is_by_user(event) => return None,
        Kind::Other => return None,
        Kind::Message { .. } | Kind::Event(_) => None,
    };
    Some(UserSeen { openid: Openid::parse(&inbound.from_user_name)?, subscribed })
}

fn is_by_user(event: &Event) -> bool {
    if let Event::Card(card) = event {
        // Reviews, stock and the account's own purchases are not.
        return !matches!(
            card.kind,
            CardKind::PassCheck | CardKind::NotPassCheck | CardKind::SkuRemind | CardKind::PayOrder
        );
    }
    !matches!(
        event,
        Event::TemplateSendJobFinish { .. }
            | Event::MassSendJobFinish(_)
            | Event::SubscribeMsgSent(_)
            | Event::PublishJobFinish(_)
            | Event::Verification(_)
            | Event::KfCreateSession { .. }
            | Event::KfCloseSession { .. }
            | Event::KfSwitchSession { .. }
            | Event::DebugDemo { .. }
            | Event::Unknown { .. }
    )
}
