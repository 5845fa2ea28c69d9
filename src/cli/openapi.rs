//! `wxgate openapi`: the document that a running gateway serves at `/openapi.json`.

use clap::Args;

use super::exit::Failure;
use super::out::say;

/// Print the OpenAPI document of the API
#[derive(Args)]
#[command(after_help = "Example:\n  wxgate openapi > wxgate.openapi.json")]
pub(super) struct Openapi {}

impl Openapi {
    pub(super) fn run(self) -> Result<(), Failure> {
        let document = crate::http::openapi::openapi().to_pretty_json().map_err(anyhow::Error::from)?;
        Ok(say(document)?)
    }
}
