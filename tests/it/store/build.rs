//! Small builders of what the doors take.

use std::time::Duration;

use wxgate::domain::attempt::{Attempt, AttemptOutcome};
use wxgate::domain::audit::{Act, Action, Actor};
use wxgate::domain::callback::{NewCallback, UserSeen};
use wxgate::domain::clock::Timestamp;
use wxgate::domain::ids::{CallbackId, MessageId};
use wxgate::domain::message::{IdempotencyKey, Lease, Message, NewMessage};
use wxgate::domain::receipt::{Receipt, ReceiptStatus};
use wxgate::domain::secret::Openid;
use wxgate::domain::settlement::{Next, Settlement};
use wxgate::domain::state::{Lane, OnUnknown, State};
use wxgate::store::{OpenAccount, Stores};

pub(crate) const HOLD: Duration = Duration::from_secs(60);
pub(crate) const WINDOW: Duration = Duration::from_secs(540);

/// So many seconds after the tests' beginning of time.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_700_000_000 + seconds)
}

pub(crate) fn openid(text: &str) -> Openid {
    Openid::parse(text).unwrap()
}

/// A plain message to `touser` of account `shop`, accepted at `created_at`, good for an hour.
pub(crate) fn message(touser: &str, created_at: Timestamp) -> NewMessage {
    let id = MessageId::generate(created_at);
    NewMessage {
        id,
        account: "shop".into(),
        client: "crm".into(),
        touser: openid(touser),
        template_id: "TPL".to_owned(),
        body: format!("{{\"touser\":\"{touser}\",\"data\":{{\"thing1\":{{\"value\":\"订单\"}}}}}}"),
        client_msg_id: id.body(),
        lane: Lane::Normal,
        on_unknown: OnUnknown::Retry,
        created_at,
        send_at: None,
        wait_reason: None,
        expires_at: created_at.plus(Duration::from_secs(3600)),
        metadata: None,
        retry_of: None,
        batch_id: None,
        idempotency: None,
        trace: None,
    }
}

pub(crate) fn key(key: &str, body_hash: &str) -> Option<IdempotencyKey> {
    Some(IdempotencyKey {
        client: "crm".to_owned(),
        endpoint: "send-template",
        key: key.to_owned(),
        body_hash: body_hash.to_owned(),
    })
}

/// Account `shop`, open without a limit of its own.
pub(crate) fn shop() -> Vec<OpenAccount> {
    vec![open_account("shop", 1000)]
}

pub(crate) fn open_account(name: &str, room: usize) -> OpenAccount {
    OpenAccount { name: name.into(), room }
}

/// A message that is `sending`, held by us.
pub(crate) async fn leased(stores: &Stores, message: NewMessage) -> Lease {
    let lease = message.first_lease(HOLD);
    stores.outbox.accept(message, Some(HOLD)).await.unwrap();
    lease
}

/// A message that is `sent` under this msgid.
pub(crate) async fn sent(stores: &Stores, touser: &str, msgid: &str) -> MessageId {
    let lease = leased(stores, message(touser, at(0))).await;
    let id = lease.message_id;
    assert!(stores.queue.settle(lease, to_sent(Some(msgid)), at(1)).await.unwrap().applied);
    id
}

/// A message that is `unknown` since 1 s.
pub(crate) async fn unknown(stores: &Stores, touser: &str) -> MessageId {
    let lease = leased(stores, message(touser, at(0))).await;
    let id = lease.message_id;
    let next = Next::Unknown { reason: "timeout".to_owned() };
    stores.queue.settle(lease, settlement(next), at(1)).await.unwrap();
    id
}

pub(crate) async fn look_up(stores: &Stores, id: MessageId) -> Message {
    stores.messages.look_up(id).await.unwrap().expect("the message is there")
}

pub(crate) fn path(message: &Message) -> Vec<State> {
    message.history.iter().map(|entry| entry.state).collect()
}

pub(crate) fn attempt(outcome: AttemptOutcome) -> Attempt {
    Attempt { at: at(0), duration_ms: 12, errcode: Some(0), errmsg: Some("ok".to_owned()), rid: None, outcome }
}

pub(crate) fn settlement(next: Next) -> Settlement {
    Settlement { attempts: vec![attempt(AttemptOutcome::Accepted)], next }
}

pub(crate) fn to_sent(msgid: Option<&str>) -> Settlement {
    settlement(Next::Sent { msgid: msgid.map(str::to_owned) })
}

pub(crate) fn to_queued(due_at: Timestamp, doubtful_since: Option<Timestamp>) -> Settlement {
    settlement(Next::Queued { due_at, reason: "busy".to_owned(), tries: 1, doubtful_since, busy_since: None })
}

/// A callback without effects, received at 5 s.
pub(crate) fn callback(dedupe_key: &str) -> NewCallback {
    NewCallback {
        id: CallbackId::generate(at(5)),
        account: "shop".to_owned(),
        dedupe_key: dedupe_key.to_owned(),
        kind: "text".to_owned(),
        openid: Some(openid("o1")),
        body: "<xml/>".to_owned(),
        reply: None,
        received_at: at(5),
        receipts: Vec::new(),
        user: None,
        told: Some(r#"{"content":{}}"#.to_owned()),
        is_relayed: false,
    }
}

/// A receipt of another kind of message than a template message.
pub(crate) fn foreign_receipt(msgid: &str, touser: &str, status: &str) -> NewCallback {
    let mut callback = receipt(msgid, touser, status);
    callback.receipts[0].is_template = false;
    callback
}

/// A receipt callback of a template message, received at 5 s. `status` as WeChat writes it.
pub(crate) fn receipt(msgid: &str, touser: &str, status: &str) -> NewCallback {
    let status_read = ReceiptStatus::parse(status);
    let receipt = Receipt { msgid: msgid.to_owned(), openid: openid(touser), status: status_read, is_template: true };
    NewCallback { receipts: vec![receipt], ..callback(&format!("receipt/{msgid}/{touser}/{status}")) }
}

pub(crate) fn seen(touser: &str, subscribed: Option<bool>) -> Option<UserSeen> {
    Some(UserSeen { openid: openid(touser), subscribed })
}

/// The shipped steps of one kind of store, in order.
pub(crate) fn migrations(kind: &str) -> Vec<String> {
    let files = std::fs::read_dir(format!("migrations/{kind}")).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<std::path::PathBuf> = files.collect();
    files.sort();
    files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

/// What an operator did, for verbs that write it down.
pub(crate) fn act() -> Act {
    Act::new(at(0), Actor::command("tests"), Action::KeyCreated, "thing")
}
