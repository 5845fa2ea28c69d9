//! Bounds in queries: the stretch of ids that a stretch of time has, and counts as SQL takes them.

use std::time::Duration;

use ulid::Ulid;

use crate::domain::clock::Timestamp;

/// An id may have been made this much before or after the date in its row.
pub(super) const ID_SLACK: Duration = Duration::from_secs(60);

/// The lowest id with this prefix that can be made at this time.
pub(super) fn lowest_id(prefix: &str, at: Timestamp) -> String {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    format!("{prefix}{}", Ulid::from_parts(millis, 0))
}

/// A count as SQL takes it.
pub(super) fn limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
