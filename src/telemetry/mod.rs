//! Logs and metrics.

pub mod logging;
pub mod metrics;
mod writer;

pub use writer::LogGuard;
