//! Places where the gateway can be made to die, for the crash tests: one at every line between two stations of the road.
//!
//! Builds that are shipped do not have the cargo feature `failpoints`: [`reach`] is empty there, and nothing is read. With the
//! feature, `WXGATE_FAILPOINT` names one point, as `<name>`, `<name>@<n>` (the n-th time it is reached) or
//! `<name>@<n>=panic`. There the process kills itself as `kill -9` does, nothing unwound and nothing flushed, or it panics.

#[cfg(feature = "failpoints")]
mod armed;

#[cfg(feature = "failpoints")]
pub use armed::{arm_from_environment, reach};

macro_rules! points {
    ($($name:ident = $text:literal,)*) => {
        /// A place between two stations. `…Written`: inside the transaction. `…Kept`: after its commit, before anybody is told.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point {
            $($name,)*
        }

        impl Point {
            /// Along the road.
            pub const ALL: &[Self] = &[$(Self::$name,)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }

            pub fn parse(text: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|point| point.as_str() == text)
            }
        }
    };
}

points! {
    StartMigrated = "start.migrated",
    StartOpened = "start.opened",
    RescueWritten = "rescue.written",
    RescueKept = "rescue.kept",
    ExpireWritten = "expire.written",
    ExpireKept = "expire.kept",
    ForgetWritten = "forget.written",
    ForgetKept = "forget.kept",
    RequestRead = "request.read",
    AcceptWritten = "accept.written",
    AcceptKept = "accept.kept",
    AcceptReplayed = "accept.replayed",
    AnswerReady = "answer.ready",
    EventsWritten = "events.written",
    CommitBefore = "commit.before",
    CommitAfter = "commit.after",
    LeaseWritten = "lease.written",
    LeaseKept = "lease.kept",
    DispatchBegun = "dispatch.begun",
    DispatchToken = "dispatch.token",
    CallReady = "call.ready",
    CallHead = "call.head",
    DispatchAnswered = "dispatch.answered",
    SettleWritten = "settle.written",
    SettleKept = "settle.kept",
    TokenFetched = "token.fetched",
    TokenKept = "token.kept",
    TokenPublished = "token.published",
    TokenMarked = "token.marked",
    CallbackWritten = "callback.written",
    CallbackKept = "callback.kept",
    CallbackAnswered = "callback.answered",
    ReceiptWritten = "receipt.written",
    ReceiptKept = "receipt.kept",
    ChangeWritten = "change.written",
    CancelKept = "cancel.kept",
    ResolveKept = "resolve.kept",
    RetryKept = "retry.kept",
    ClaimWritten = "claim.written",
    ClaimKept = "claim.kept",
    DeliveryTried = "delivery.tried",
    DeliverySettleWritten = "delivery.settle.written",
    DeliverySettleKept = "delivery.settle.kept",
    DrainBegun = "drain.begun",
    DrainEnded = "drain.ended",
    DrainClosed = "drain.closed",
}

/// Dies here, when this is the point that was asked for.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub const fn reach(_: Point) {}

/// Reads which point was asked for; the error says what is wrong with it.
#[cfg(not(feature = "failpoints"))]
pub const fn arm_from_environment() -> Result<(), String> {
    Ok(())
}
