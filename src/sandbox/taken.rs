//! The messages that the model took, and what became of them on the phones. In: accepted sends. Out: lists and counts.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use serde_json::Value;

use super::memory::{Memory, digest};
use crate::domain::clock::Timestamp;

/// WeChat's own memory of a `client_msg_id`.
const DEDUPE: Duration = Duration::from_secs(600);
/// Counts per `client_msg_id` are exact for that many ids.
const COUNTED_IDS: usize = 2_000_000;
/// Scripted outcomes remember that many messages.
const SCRIPTED: usize = 200_000;

/// How a message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Template,
    /// A customer-service message.
    Custom,
}

/// A message that was accepted (errcode 0, whether or not the caller saw it).
#[derive(Clone, Debug, Serialize)]
pub struct TakenMessage {
    /// Counts up from 0.
    pub number: u64,
    pub account: String,
    pub channel: Channel,
    pub openid: String,
    pub template_id: String,
    pub url: Option<String>,
    /// Decimal text; `None` for customer-service messages.
    pub msgid: Option<String>,
    pub client_msg_id: Option<String>,
    pub taken_at: Timestamp,
    /// When the same `client_msg_id` came again last.
    pub repeated_at: Option<Timestamp>,
    /// How often it came again within ten minutes.
    pub repeats: u32,
    /// How often the phone showed it: 0 or 1.
    pub delivered: u32,
    /// What the receipt will say; `None`: there is none.
    pub receipt: Option<String>,
    /// The body as it was sent.
    pub raw_body: String,
}

impl TakenMessage {
    /// The body's `data`, for a customer-service message its `text`.
    pub fn data(&self) -> Value {
        let body: Value = serde_json::from_str(&self.raw_body).unwrap_or_default();
        let part = if self.channel == Channel::Template { "data" } else { "text" };
        body.get(part).cloned().unwrap_or_default()
    }
}

/// What the memory holds of a `client_msg_id`.
#[derive(Clone, Debug, Default)]
pub(super) struct Earlier {
    pub(super) msgid: i64,
    number: u64,
}

#[derive(Debug)]
pub(super) struct Taken {
    ring: VecDeque<TakenMessage>,
    keep: usize,
    next_number: u64,
    by_openid: HashMap<String, u64>,
    by_client_msg_id: Memory<u32>,
    dedupe: Memory<Earlier>,
    scripts: Memory<u32>,
}

impl Taken {
    pub(super) fn new(keep: usize) -> Self {
        Self {
            ring: VecDeque::new(),
            keep: keep.max(1),
            next_number: 0,
            by_openid: HashMap::new(),
            by_client_msg_id: Memory::new(COUNTED_IDS),
            dedupe: Memory::new(usize::MAX),
            scripts: Memory::new(SCRIPTED),
        }
    }

    /// Keeps a message and counts its delivery.
    pub(super) fn take(&mut self, mut message: TakenMessage) {
        message.number = self.next_number;
        self.next_number += 1;
        if message.delivered > 0 {
            self.count_delivery(&message);
        }
        if let Some(id) = &message.client_msg_id {
            let key = digest(&[&message.account, &message.openid, id]);
            let msgid = message.msgid.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default();
            *self.dedupe.entry(key, message.taken_at) = Earlier { msgid, number: message.number };
        }
        if self.ring.len() >= self.keep {
            self.ring.pop_front();
        }
        self.ring.push_back(message);
    }

    /// The message with this id of the last ten minutes, and notes that it came again.
    pub(super) fn repeat(&mut self, account: &str, openid: &str, id: &str, now: Timestamp) -> Option<Earlier> {
        self.dedupe.forget_until(now.minus(DEDUPE));
        let earlier = self.dedupe.get(digest(&[account, openid, id])).cloned()?;
        let first = self.ring.front().map_or(0, |message| message.number);
        // The message itself may have left the ring already.
        let place = earlier.number.checked_sub(first).and_then(|place| usize::try_from(place).ok());
        if let Some(message) = place.and_then(|place| self.ring.get_mut(place)) {
            message.repeats += 1;
            message.repeated_at = Some(now);
        }
        Some(earlier)
    }

    /// How often this scripted message was tried before; counts it.
    pub(super) fn script(&mut self, key: u128, now: Timestamp) -> u32 {
        let tries = self.scripts.entry(key, now);
        *tries += 1;
        *tries - 1
    }

    fn count_delivery(&mut self, message: &TakenMessage) {
        if let Some(count) = self.by_openid.get_mut(&message.openid) {
            *count += 1;
        } else {
            self.by_openid.insert(message.openid.clone(), 1);
        }
        if let Some(id) = &message.client_msg_id {
            *self.by_client_msg_id.entry(digest(&[id]), message.taken_at) += 1;
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.next_number
    }

    pub(super) fn list(&self) -> impl DoubleEndedIterator<Item = &TakenMessage> {
        self.ring.iter()
    }

    pub(super) fn deliveries(&self) -> &HashMap<String, u64> {
        &self.by_openid
    }

    pub(super) fn deliveries_of(&self, client_msg_id: &str) -> u32 {
        self.by_client_msg_id.get(digest(&[client_msg_id])).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(openid: &str, id: &str, at: i64) -> TakenMessage {
        TakenMessage {
            number: 0,
            account: "wx1".to_owned(),
            channel: Channel::Template,
            openid: openid.to_owned(),
            template_id: "T".to_owned(),
            url: None,
            msgid: Some("9007199254740993".to_owned()),
            client_msg_id: Some(id.to_owned()),
            taken_at: Timestamp::from_seconds(at),
            repeated_at: None,
            repeats: 0,
            delivered: 1,
            receipt: None,
            raw_body: r#"{"data":{"thing1":{"value":"x"}}}"#.to_owned(),
        }
    }

    #[test]
    fn an_id_is_known_for_ten_minutes_and_per_openid() {
        let mut taken = Taken::new(10);
        taken.take(message("o1", "a", 1_000));
        let at = |second| Timestamp::from_seconds(second);
        assert_eq!(taken.repeat("wx1", "o1", "a", at(1_599)).unwrap().msgid, 9_007_199_254_740_993);
        assert!(taken.repeat("wx1", "o2", "a", at(1_599)).is_none());
        assert_eq!(taken.list().next().unwrap().repeats, 1);
        assert!(taken.repeat("wx1", "o1", "a", at(1_600)).is_none());
    }

    #[test]
    fn counts_outlive_the_ring() {
        let mut taken = Taken::new(2);
        for n in 0..5 {
            taken.take(message("o1", &format!("id{n}"), 1_000));
        }
        assert_eq!((taken.list().count(), taken.count()), (2, 5));
        assert_eq!((taken.deliveries()["o1"], taken.deliveries_of("id0")), (5, 1));
        assert!(taken.repeat("wx1", "o1", "id0", Timestamp::from_seconds(1_001)).is_some());
        assert_eq!(taken.list().next().unwrap().data()["thing1"]["value"], "x");
    }
}
