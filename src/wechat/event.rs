//! Events.

#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    Unknown { event: String },
}

/// A receipt as an event carries it: `TEMPLATESENDJOBFINISH`, or one `List` entry of `subscribe_msg_sent_event`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryReport {
    pub msgid: String,
    pub status: String,
}
