//! File handles: as many as the system gives, and connections of callers only as many as leave enough for everything else.

use nix::sys::resource::{Resource, getrlimit, rlim_t, setrlimit};

use crate::config::http::ServerConfig;

/// The store's files and readers, the listeners, the log, name look-ups.
const OWN: usize = 64;

/// Raises this process's limit as far as it may and as is needed; when that is not enough, fewer connections are served.
pub(super) fn fit(server: &mut ServerConfig, calls_at_once: usize) {
    let needed = server.max_connections.saturating_add(calls_at_once).saturating_add(OWN);
    let Some(limit) = raise(needed) else { return };
    let allowed = connections_within(limit, calls_at_once);
    if allowed < server.max_connections {
        tracing::warn!(
            limit,
            connections = allowed,
            "server.max_connections is {}, but this process may open {limit} files only: fewer connections are served. \
             Raise the limit (systemd: LimitNOFILE=, shells: ulimit -n)",
            server.max_connections
        );
        server.max_connections = allowed;
    }
}

/// → the limit that is in force then; `None` when it cannot be read.
fn raise(needed: usize) -> Option<usize> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    let wanted = rlim_t::try_from(needed).unwrap_or(rlim_t::MAX).min(hard);
    let raised = soft < wanted && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok();
    let limit = if raised { wanted } else { soft };
    Some(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// What is left for callers; a quarter of all where that is next to nothing.
fn connections_within(limit: usize, calls_at_once: usize) -> usize {
    let left = limit.saturating_sub(calls_at_once.saturating_add(OWN));
    left.max(limit / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn callers_get_what_is_left_and_always_something() {
        assert_eq!(connections_within(1024, 256), 704);
        assert_eq!(connections_within(256, 256), 64);
        assert_eq!(connections_within(usize::MAX, 256), usize::MAX - 320);
        assert_eq!(connections_within(2, 256), 1);
    }
}
