//! `attempts` and `history`: lines of JSON, one a value, each ended by a newline, so that appending is `column || lines`.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::unavailable;
use super::row::Fields;
use crate::domain::attempt::HistoryEntry;
use crate::domain::clock::Timestamp;
use crate::domain::state::State;
use crate::store::Error;

/// One line of `history`.
pub(super) fn line(state: State, at: Timestamp, reason: Option<&str>) -> Result<String, Error> {
    lines(&[HistoryEntry { state, at, reason: reason.map(str::to_owned) }])
}

pub(super) fn lines<T: Serialize>(values: &[T]) -> Result<String, Error> {
    let mut text = String::new();
    for value in values {
        let json = serde_json::to_string(value);
        text += &json.map_err(|error| unavailable(format!("a line of history cannot be written: {error}")))?;
        text.push('\n');
    }
    Ok(text)
}

pub(super) fn read<T: DeserializeOwned>(fields: &Fields<'_>, column: &'static str) -> Result<Vec<T>, Error> {
    let text: String = fields.get(column)?;
    text.lines().map(|line| serde_json::from_str(line).map_err(|_| fields.corrupt(column))).collect()
}
