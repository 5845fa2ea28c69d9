//! What one check has found.

use std::fmt;

use serde::Serialize;

use crate::config::ConfigErrors;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Ok,
    Warning,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Finding {
    pub(super) name: String,
    pub(super) status: Status,
    pub(super) detail: String,
    /// What to do about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) cure: Option<String>,
}

impl Finding {
    pub(super) fn ok(name: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Ok, detail: detail.into(), cure: None }
    }

    pub(super) fn warning(name: impl Into<String>, detail: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Warning, detail: detail.into(), cure: Some(cure.into()) }
    }

    pub(super) fn failed(name: impl Into<String>, detail: impl Into<String>, cure: impl Into<String>) -> Self {
        Self { name: name.into(), status: Status::Failed, detail: detail.into(), cure: Some(cure.into()) }
    }
}

pub(super) fn of_errors(errors: &ConfigErrors) -> Finding {
    let lines: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
    Finding::failed("configuration", lines.join("\n  "), "change these; `wxgate config default` shows what is allowed")
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.status {
            Status::Ok => '✓',
            Status::Warning => '!',
            Status::Failed => '✗',
        };
        write!(f, "{sign} {}: {}", self.name, self.detail)?;
        match &self.cure {
            Some(cure) => write!(f, "\n    → {cure}"),
            None => Ok(()),
        }
    }
}
