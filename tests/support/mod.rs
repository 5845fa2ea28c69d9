//! What the tests of the real program share: the process, the place where it lives, and a message.

pub(crate) mod process;

pub(crate) const CALLBACK_TOKEN: &str = "demotoken";
pub(crate) const AES_KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

/// The body of an order notice.
pub(crate) fn order_notice(touser: &str) -> serde_json::Value {
    serde_json::json!({
        "touser": touser,
        "template_id": "TPL-ORDER",
        "data": { "thing1": { "value": "茉莉花茶" }, "amount2": "¥28.00" },
    })
}
