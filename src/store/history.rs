//! `attempts` and `history` as they are kept: lines of JSON, one a value, each ended by a newline, so that appending is
//! `column || lines`.

use std::fmt::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Error;
use crate::domain::attempt::HistoryEntry;
use crate::domain::clock::Timestamp;
use crate::domain::state::State;

/// One line of `history`.
pub(super) fn line(state: State, at: Timestamp, reason: Option<&str>) -> Result<String, Error> {
    let mut text = String::with_capacity(128);
    write_step(&mut text, state, at, reason)?;
    Ok(text)
}

/// Lines of `history`.
pub(super) fn steps(steps: &[HistoryEntry]) -> Result<String, Error> {
    let mut text = String::with_capacity(128);
    for HistoryEntry { state, at, reason } in steps {
        write_step(&mut text, *state, *at, reason.as_deref())?;
    }
    Ok(text)
}

/// As serde would write a [`HistoryEntry`]. Four of them stand in every message that is sent.
fn write_step(text: &mut String, state: State, at: Timestamp, reason: Option<&str>) -> Result<(), Error> {
    write!(text, "{{\"state\":\"{}\",\"at\":\"{at}\"", state.as_str()).map_err(unwritten)?;
    if let Some(reason) = reason {
        *text += ",\"reason\":";
        *text += &serde_json::to_string(reason).map_err(unwritten)?;
    }
    *text += "}\n";
    Ok(())
}

fn unwritten(error: impl std::fmt::Display) -> Error {
    Error::Unavailable { reason: format!("a line of history cannot be written: {error}") }
}

pub(super) fn lines<T: Serialize>(values: &[T]) -> Result<String, Error> {
    let mut text = String::new();
    for value in values {
        text += &serde_json::to_string(value).map_err(unwritten)?;
        text.push('\n');
    }
    Ok(text)
}

/// `None` when a line cannot be read.
pub(super) fn read<T: DeserializeOwned>(text: &str) -> Option<Vec<T>> {
    text.lines().map(|line| serde_json::from_str(line).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_written_as_serde_writes_it() {
        let at = Timestamp::from_millis(1_700_000_000_123);
        for state in State::ALL {
            for reason in [None, Some("busy"), Some("\"quoted\"\n\\ 中文")] {
                let entry = HistoryEntry { state, at, reason: reason.map(str::to_owned) };
                let expected = serde_json::to_string(&entry).unwrap() + "\n";
                assert_eq!(line(state, at, reason).unwrap(), expected);
                assert_eq!(steps(&[entry.clone(), entry]).unwrap(), expected.repeat(2));
            }
        }
    }
}
