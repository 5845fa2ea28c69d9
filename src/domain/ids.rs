//! Identifiers: a prefix that names the kind, and 26 characters that sort by time (ULID).

use std::fmt;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;

use super::clock::Timestamp;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Ulid);

        impl $name {
            pub const PREFIX: &'static str = $prefix;

            /// A new id for this moment; ids of later moments sort later.
            pub fn generate(now: Timestamp) -> Self {
                let since_epoch = Duration::from_millis(u64::try_from(now.as_millis()).unwrap_or(0));
                Self(Ulid::from_datetime(UNIX_EPOCH + since_epoch))
            }

            /// `None` unless the text is the prefix followed by 26 ULID characters in upper case.
            pub fn parse(text: &str) -> Option<Self> {
                let body = text.strip_prefix($prefix)?;
                let ulid = Ulid::from_string(body).ok()?;
                (ulid.to_string() == body).then_some(Self(ulid))
            }

            /// The 26 characters behind the prefix.
            pub fn body(&self) -> String {
                self.0.to_string()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($prefix)?;
                f.write_str(self.0.array_to_str(&mut [0; ulid::ULID_LEN]))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::parse(&text).ok_or_else(|| {
                    serde::de::Error::custom(concat!("expected an id that starts with ", $prefix))
                })
            }
        }
    };
}

id!(
    /// One push to one recipient.
    MessageId, "msg_"
);
id!(
    /// Many messages accepted together.
    BatchId, "bat_"
);
id!(
    /// Something that happened here, told to subscribers.
    EventId, "evt_"
);
id!(
    /// A key made by `wxgate key create`.
    KeyId, "key_"
);
id!(
    /// One administrative act.
    AuditId, "aud_"
);
id!(
    /// A request from WeChat.
    CallbackId, "cbk_"
);
id!(
    /// A webhook made by the API.
    WebhookId, "wh_"
);
id!(
    /// One event on its way to one webhook.
    DeliveryId, "whd_"
);
id!(
    /// One start of the gateway process: who holds a lease.
    BootId, "boot_"
);

macro_rules! in_a_row {
    ($($name:ident),*) => {$(
        impl $name {
            /// As `generate`, and sorted behind `earlier` when that was made at the same moment.
            pub fn generate_behind(earlier: Option<Self>, now: Timestamp) -> Self {
                let new = Self::generate(now);
                let same_moment = earlier.filter(|earlier| earlier.0.timestamp_ms() == new.0.timestamp_ms());
                same_moment.and_then(|earlier| earlier.0.increment().ok()).map_or(new, Self)
            }
        }
    )*};
}

in_a_row!(EventId, DeliveryId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_back_and_sorts_by_time() {
        let early = MessageId::generate(Timestamp::from_millis(1_000));
        let late = MessageId::generate(Timestamp::from_millis(2_000));
        assert_eq!(MessageId::parse(&early.to_string()), Some(early));
        assert!(early.to_string() < late.to_string());
        assert_eq!(early.body().len(), 26);
    }

    #[test]
    fn ids_of_one_moment_sort_as_they_were_made() {
        let at = Timestamp::from_millis(1_000);
        let mut ids = vec![EventId::generate(at)];
        for _ in 0..20 {
            ids.push(EventId::generate_behind(ids.last().copied(), at));
        }
        assert!(ids.is_sorted_by(|a, b| a < b), "{ids:?}");
        let later = EventId::generate_behind(ids.last().copied(), Timestamp::from_millis(1_001));
        assert!(Some(&later) > ids.last());
    }

    #[test]
    fn a_foreign_or_broken_id_is_none() {
        for text in ["", "msg_", "bat_01ARZ3NDEKTSV4RRFFQ69G5FAV", "msg_01arz3ndektsv4rrffq69g5fav", "msg_zzz"] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }
}
