//! `[telemetry]`.

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
