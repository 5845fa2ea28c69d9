//! What can be wrong with Redis, by what an operator does about it.

use redis::{ErrorKind, RedisError, ServerErrorKind};

/// Why a request to Redis brought nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// No connection can be made.
    Connect,
    /// No answer in time.
    Timeout,
    /// The connection broke.
    Broken,
    /// An answer that is none of Redis.
    Garbage,
    /// No password, another one, or no right to do this.
    Auth,
    /// It is a replica.
    ReadOnly,
    /// `maxmemory` is reached.
    OutOfMemory,
    /// It has started and is not ready yet.
    Loading,
    /// Any other refusal.
    Refused,
}

/// One failed request.
#[derive(Clone, Debug)]
pub(super) struct Fault {
    pub(super) kind: Kind,
    /// Without what was asked or answered: that may be anything.
    pub(super) reason: String,
    /// Redis will not have this request, such as one for a key that holds something else; another may fare better.
    pub(super) is_of_the_request: bool,
    /// The connection is still being made.
    pub(super) is_connecting: bool,
}

impl Kind {
    /// In the order of their numbers.
    pub(super) const ALL: [Self; 9] = [
        Self::Connect,
        Self::Timeout,
        Self::Broken,
        Self::Garbage,
        Self::Auth,
        Self::ReadOnly,
        Self::OutOfMemory,
        Self::Loading,
        Self::Refused,
    ];

    /// As metrics and the log call it.
    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Timeout => "timeout",
            Self::Broken => "broken",
            Self::Garbage => "garbage",
            Self::Auth => "auth",
            Self::ReadOnly => "read_only",
            Self::OutOfMemory => "out_of_memory",
            Self::Loading => "loading",
            Self::Refused => "refused",
        }
    }

    fn of(error: &RedisError) -> Self {
        use ServerErrorKind as Server;
        match error.kind() {
            _ if error.is_timeout() => Self::Timeout,
            ErrorKind::Io => Self::Broken,
            ErrorKind::AuthenticationFailed | ErrorKind::Server(Server::NoPerm) => Self::Auth,
            ErrorKind::Server(Server::ReadOnly) => Self::ReadOnly,
            ErrorKind::Server(Server::BusyLoading) => Self::Loading,
            ErrorKind::Server(_) | ErrorKind::Extension => match error.code() {
                Some("NOAUTH" | "WRONGPASS") => Self::Auth,
                Some("OOM") => Self::OutOfMemory,
                _ => Self::Refused,
            },
            _ => Self::Garbage,
        }
    }
}

impl Fault {
    fn new(kind: Kind, reason: String) -> Self {
        Self { kind, reason, is_of_the_request: false, is_connecting: false }
    }

    pub(super) fn silence() -> Self {
        Self::new(Kind::Timeout, "it did not answer in time".to_owned())
    }

    pub(super) fn still_connecting() -> Self {
        Self { is_connecting: true, ..Self::new(Kind::Timeout, "no connection in time".to_owned()) }
    }

    /// Of the making of a connection.
    pub(super) fn of_connecting(error: &RedisError) -> Self {
        let kind = match Kind::of(error) {
            Kind::Broken => Kind::Connect,
            other => other,
        };
        Self::new(kind, reason(kind, error))
    }

    /// Of one verb.
    pub(super) fn of(error: &RedisError) -> Self {
        let kind = Kind::of(error);
        let is_of_the_request =
            kind == Kind::Refused && matches!(error.code(), Some("ERR" | "WRONGTYPE" | "CROSSSLOT" | "EXECABORT"));
        Self { is_of_the_request, ..Self::new(kind, reason(kind, error)) }
    }
}

fn reason(kind: Kind, error: &RedisError) -> String {
    match (kind, error.code()) {
        (Kind::Connect | Kind::Broken | Kind::Timeout, _) => error.to_string(),
        (_, Some(code)) if code.len() <= 32 && code.bytes().all(|b| b.is_ascii_uppercase()) => {
            format!("it says {code}")
        }
        (Kind::Auth, _) => "it does not let us in".to_owned(),
        (Kind::Refused, _) => "it refuses".to_owned(),
        _ => "its answer is not one of Redis".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(line: &str) -> RedisError {
        let value = redis::parse_redis_value(line.as_bytes()).unwrap();
        value.extract_error().unwrap_err()
    }

    #[test]
    fn refusals_are_told_apart_by_their_code() {
        for (line, kind) in [
            ("-NOAUTH Authentication required.\r\n", Kind::Auth),
            ("-WRONGPASS invalid username-password pair\r\n", Kind::Auth),
            ("-NOPERM this user has no permissions\r\n", Kind::Auth),
            ("-READONLY You can't write against a read only replica.\r\n", Kind::ReadOnly),
            ("-OOM command not allowed when used memory > 'maxmemory'.\r\n", Kind::OutOfMemory),
            ("-LOADING Redis is loading the dataset in memory\r\n", Kind::Loading),
            ("-MISCONF Redis is configured to save RDB snapshots\r\n", Kind::Refused),
            ("-BUSY Redis is busy running a script.\r\n", Kind::Refused),
            ("-MOVED 3999 127.0.0.1:6381\r\n", Kind::Refused),
        ] {
            let fault = Fault::of(&said(line));
            assert_eq!((fault.kind, fault.is_of_the_request), (kind, false), "{line}");
            assert!(fault.reason.starts_with("it says "), "{fault:?}");
        }
        for line in ["-WRONGTYPE Operation against a key\r\n", "-ERR unknown command `secret`\r\n"] {
            let fault = Fault::of(&said(line));
            assert!(fault.is_of_the_request && !fault.reason.contains("secret"), "{fault:?}");
            assert!(!Fault::of_connecting(&said(line)).is_of_the_request, "nothing goes without a connection");
        }
    }

    #[test]
    fn every_kind_stands_at_its_number() {
        for (number, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, number);
        }
    }
}
