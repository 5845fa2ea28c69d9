//! Logs and metrics.

pub mod logging;
pub mod metrics;
mod span_fields;
mod writer;

pub use writer::LogGuard;
