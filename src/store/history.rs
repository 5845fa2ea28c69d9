//! `attempts` and `history` as they are kept: lines of JSON, one a value, each ended by a newline, so that appending is
//! `column || lines`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::domain::attempt::HistoryEntry;
use crate::domain::clock::Timestamp;
use crate::domain::state::State;

/// One line of `history`.
pub(super) fn line(state: State, at: Timestamp, reason: Option<&str>) -> Result<String, Error> {
    lines(&[HistoryEntry { state, at, reason: reason.map(str::to_owned) }])
}

pub(super) fn lines<T: Serialize>(values: &[T]) -> Result<String, Error> {
    let mut text = String::new();
    for value in values {
        let json = serde_json::to_string(value)
            .map_err(|error| Error::Unavailable { reason: format!("a line of history cannot be written: {error}") })?;
        text += &json;
        text.push('\n');
    }
    Ok(text)
}

/// `None` when a line cannot be read.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Option<Vec<T>> {
    text.lines().map(|line| serde_json::from_str(line).ok()).collect()
}
