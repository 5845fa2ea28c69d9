//! Ordinary messages.

#[derive(Clone, Debug, PartialEq)]
pub enum Message {
    Unknown { msg_type: String },
}
