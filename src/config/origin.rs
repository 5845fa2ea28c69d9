//! Where a setting comes from, and what can be wrong with it.

use std::fmt;
use std::sync::Arc;

/// The place of one setting. A later one beats an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// `config/default.toml`, compiled in.
    Default,
    /// A line (from 1) of the operator's file.
    File { path: Arc<str>, line: usize },
    /// A variable of the environment.
    Env { name: Arc<str> },
}

impl Origin {
    /// Do both stand in the same layer?
    pub(super) fn is_level_with(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File { path, line } => write!(f, "{path}:{line}"),
            Self::Env { name } => write!(f, "environment {name}"),
        }
    }
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Dotted: `accounts.shop.app_id`. Empty when no key is meant.
    pub key: String,
    /// `None` when the key is missing everywhere.
    pub origin: Option<Origin>,
    /// What is wrong, and what is allowed. Never holds a secret.
    pub problem: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.origin, self.key.is_empty()) {
            (Some(origin), false) => write!(f, "{} ({origin}): {}", self.key, self.problem),
            (Some(origin), true) => write!(f, "{origin}: {}", self.problem),
            (None, false) => write!(f, "{}: {}", self.key, self.problem),
            (None, true) => f.write_str(&self.problem),
        }
    }
}

/// Everything that is wrong, at once. Never empty.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct ConfigErrors(pub Vec<ConfigError>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => f.write_str("the configuration has an error:")?,
            n => write!(f, "the configuration has {n} errors:")?,
        }
        for error in &self.0 {
            write!(f, "\n  {error}")?;
        }
        Ok(())
    }
}
