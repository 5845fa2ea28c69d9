//! What WeChat's error codes mean.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Class {
    Success,
    Token,
    Transient,
    ThrottledMinute,
    QuotaExhausted,
    PermanentRecipient,
    PermanentRequest,
    PermanentAccount,
    Unknown,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Meaning {
    pub code: i64,
    pub class: Class,
    pub meaning: &'static str,
    pub action: &'static str,
}

pub fn look_up(_code: i64) -> Option<&'static Meaning> {
    todo!()
}
/// Class on a business call.
pub fn class(_code: i64) -> Class {
    todo!()
}
/// Class on a token call (40001 there: the secret is wrong).
pub fn class_on_token_call(_code: i64) -> Class {
    todo!()
}
/// The `rid` at the end of an errmsg.
pub fn rid(_errmsg: &str) -> Option<&str> {
    todo!()
}
