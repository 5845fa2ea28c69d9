//! A script over one key.

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
}
