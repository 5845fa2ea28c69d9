//! A script over one key or several.

use redis::{Cmd, ToRedisArgs};

/// Its text goes along each time: one round trip also when Redis has just started or was flushed, and has not heard it yet.
pub(super) struct Script(pub(super) &'static str);

impl Script {
    /// The arguments are still to be added.
    pub(super) fn of(&self, key: impl ToRedisArgs) -> Cmd {
        let mut call = redis::cmd("EVAL");
        call.arg(self.0).arg(1).arg(key);
        call
    }

    /// The same over several keys.
    pub(super) fn of_all(&self, keys: &[String]) -> Cmd {
        let mut call = redis::cmd("EVAL");
        call.arg(self.0).arg(keys.len()).arg(keys);
        call
    }
}
