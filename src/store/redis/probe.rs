//! Is Redis of use? Asked now and then while all is well, so that a connection which died in silence is found before a
//! request needs it; every second in trouble.

use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{ErrorKind, RedisResult};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::line::CONNECT;
use super::link::Inner;
use super::script::Script;

const IN_PEACE: Duration = Duration::from_secs(5);
const IN_TROUBLE: Duration = Duration::from_secs(1);

/// A script that writes and reads, as the doors do: a replica, a full memory or a missing right answer PING all the same.
const PROBE: Script = Script("redis.call('SET', KEYS[1], ARGV[1], 'PX', 10000) return redis.call('GET', KEYS[1])");

pub(super) async fn ask(mut connection: MultiplexedConnection, key: String) -> RedisResult<()> {
    let word = hex::encode(rand::random::<[u8; 8]>());
    let echo: String = PROBE.of(key).arg(&word).query_async(&mut connection).await?;
    match echo == word {
        true => Ok(()),
        false => Err((ErrorKind::UnexpectedReturnType, "another word came back").into()),
    }
}

/// Probes until it is dropped.
pub(super) struct Watcher {
    task: AbortHandle,
    trouble: Arc<Notify>,
}

impl Watcher {
    pub(super) fn start(link: Weak<Inner>) -> Self {
        let trouble = Arc::new(Notify::new());
        let task = tokio::spawn(watch(link, trouble.clone())).abort_handle();
        Self { task, trouble }
    }

    /// A trouble has begun, or goes on.
    pub(super) fn hurry(&self) {
        self.trouble.notify_one();
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch(link: Weak<Inner>, trouble: Arc<Notify>) {
    loop {
        let Some(is_away) = link.upgrade().map(|link| link.is_away()) else { return };
        tokio::select! {
            () = tokio::time::sleep(if is_away { IN_TROUBLE } else { IN_PEACE }) => {}
            () = trouble.notified(), if !is_away => continue,
        }
        let Some(link) = link.upgrade() else { return };
        link.probe(CONNECT).await;
    }
}
