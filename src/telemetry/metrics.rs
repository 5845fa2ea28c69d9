//! Every metric of the gateway, in one place.

use std::time::Duration;

/// The registry and its families. Cheap to clone; two of them share nothing.
#[derive(Clone)]
pub struct Metrics {}

impl Metrics {
    pub fn new() -> Self {
        Self {}
    }
    /// One call to WeChat has ended. `errcode`: the number, or `timeout`, `connect`, `broken`, `garbage`.
    pub fn wechat_request(&self, _account: &str, _api: &'static str, _errcode: &str, _took: Duration) {}
    /// Time from accept to the first attempt.
    pub fn accept_to_attempt(&self, _waited: Duration) {}
    /// `result`: `ok`, `failed`, `conflict`.
    pub fn token_refresh(&self, _account: &str, _result: &'static str) {}
    pub fn token_expires_in(&self, _account: &str, _seconds: f64) {}
    /// `result`: `stored`, `repeat`, `refused`, `unparsable`, `failed`.
    pub fn callback(&self, _account: &str, _kind: &str, _result: &'static str) {}
    /// `status`: `delivered`, `undelivered`, `other`, `unmatched`, `late`.
    pub fn receipt(&self, _account: &str, _status: &'static str) {}
    /// `limit`: `client`, `openid`, `identical`, `account`.
    pub fn rate_limited(&self, _limit: &'static str) {}
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}
