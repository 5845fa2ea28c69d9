//! How a command ends: 0 well, 1 a fault at run time, 2 wrong usage or configuration.

use std::process::ExitCode;

use super::out::complain;
use crate::config::ConfigErrors;

#[derive(Debug)]
pub(super) enum Failure {
    /// The command line or the configuration has to be changed.
    Usage(String),
    Runtime(anyhow::Error),
    /// The command has said itself what is wrong.
    Told,
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        Self::Usage(errors.to_string())
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self::Runtime(error)
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Runtime(error.into())
    }
}

impl From<crate::store::Error> for Failure {
    fn from(error: crate::store::Error) -> Self {
        Self::Runtime(error.into())
    }
}

pub(super) fn report(result: Result<(), Failure>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Usage(problem)) => {
            complain(format!("error: {problem}"));
            ExitCode::from(2)
        }
        Err(Failure::Runtime(error)) => {
            complain(format!("error: {error:#}"));
            ExitCode::FAILURE
        }
        Err(Failure::Told) => ExitCode::FAILURE,
    }
}
