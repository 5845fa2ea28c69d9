//! Logs: JSON or text lines to standard error, with the fields of the request's span (`request_id`, `trace_id`).

use std::io;

use anyhow::Context;
use tracing::Subscriber;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::util::SubscriberInitExt;

use super::span_fields::SpanFields;
use super::writer::{self, LogGuard};
use crate::config::telemetry::{LogFormat, TelemetryConfig};

/// Sends the logs of this process to standard error, and panics to the log.
///
/// `RUST_LOG` wins over `telemetry.level`. Fails when the filter cannot be read, or when logs are set up already.
pub fn init(config: &TelemetryConfig) -> anyhow::Result<LogGuard> {
    let wanted = std::env::var(EnvFilter::DEFAULT_ENV).ok().filter(|level| !level.trim().is_empty());
    let level = wanted.unwrap_or_else(|| config.level.clone());
    let filter = EnvFilter::try_new(&level).with_context(|| format!("RUST_LOG or telemetry.level: {level}"))?;
    let (lines, guard) = writer::start(io::stderr()).context("the log thread did not start")?;
    subscriber(config.log, filter, lines).try_init().context("logs are set up already")?;
    std::panic::set_hook(Box::new(log_panic));
    Ok(guard)
}

type Boxed = Box<dyn Subscriber + Send + Sync>;

fn subscriber<W>(format: LogFormat, filter: EnvFilter, writer: W) -> Boxed
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(writer);
    match format {
        LogFormat::Json => {
            let builder = builder.json().flatten_event(true).with_current_span(true).with_span_list(false);
            Box::new(builder.fmt_fields(SpanFields).finish())
        }
        LogFormat::Text => Box::new(builder.with_ansi(false).finish()),
    }
}

/// A panic with a fixed text is logged with it; a built text may hold what a caller sent, so only its place is.
fn log_panic(panic: &std::panic::PanicHookInfo<'_>) {
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let text = panic.payload().downcast_ref::<&'static str>().copied().unwrap_or("(text withheld)");
    tracing::error!(panic.location = place, panic.message = text, "a task panicked");
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::domain::secret::{Openid, Secret};

    /// Log lines caught in memory.
    #[derive(Clone, Default)]
    pub(crate) struct Caught(Arc<Mutex<Vec<u8>>>);

    impl Caught {
        pub(crate) fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }

        /// A subscriber that writes everything down to trace into this.
        pub(crate) fn subscriber(&self, format: LogFormat) -> Boxed {
            subscriber(format, EnvFilter::new("trace"), self.clone())
        }
    }

    impl Write for Caught {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Caught {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    #[test]
    fn a_json_line_carries_the_fields_of_its_span() {
        let caught = Caught::default();
        tracing::subscriber::with_default(caught.subscriber(LogFormat::Json), || {
            let _span = tracing::info_span!("request", request_id = "req-1", trace_id = "abc").entered();
            tracing::warn!(wechat.errcode = 40001, "the token was refused");
        });
        let line: serde_json::Value = serde_json::from_str(&caught.text()).unwrap();
        assert_eq!(line["level"], "WARN");
        assert_eq!(line["message"], "the token was refused");
        assert_eq!(line["wechat.errcode"], 40001);
        assert_eq!(line["span"]["request_id"], "req-1");
        assert_eq!(line["span"]["trace_id"], "abc");
    }

    #[test]
    fn secrets_and_openids_are_masked_in_lines() {
        for format in [LogFormat::Json, LogFormat::Text] {
            let caught = Caught::default();
            let (secret, openid) =
                (Secret::new("s3cr3t-value"), Openid::parse("oCLEAR0000000000000000000001").unwrap());
            tracing::subscriber::with_default(caught.subscriber(format), || {
                tracing::info!(%secret, ?openid, "both {secret:?} {openid}");
            });
            let text = caught.text();
            assert!(text.contains("both"), "{text}");
            assert!(!text.contains("s3cr3t-value") && !text.contains("oCLEAR000"), "{text}");
        }
    }
}
