//! `[telemetry]`.

use tracing_subscriber::EnvFilter;

use super::read::Section;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    Json,
    Text,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TelemetryConfig {
    pub log: LogFormat,
    /// A `tracing` filter: `info`, `wxgate=debug,info` …
    pub level: String,
}

impl TelemetryConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let words = [("json", LogFormat::Json), ("text", LogFormat::Text)];
        let log = section.choice("log", &words, LogFormat::Json);
        let level = section.parsed("level", |text| match EnvFilter::try_new(text) {
            Ok(_) => Ok(text.to_owned()),
            Err(_) => Err("is no filter; write error, warn, info, debug, trace, or \"wxgate=debug,info\"".to_owned()),
        });
        Self { log, level: level.unwrap_or_else(|| "info".to_owned()) }
    }
}
