//! The fields of a span as JSON text. Every request has a span and hardly any has a line, so they are written once, straight
//! away; the library's own way builds a map first.

use std::fmt::{self, Debug};

use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FormatFields, FormattedFields};

pub(super) struct SpanFields;

impl<'writer> FormatFields<'writer> for SpanFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        writer.write_char('{')?;
        let mut members = Members { writer, written: Ok(false) };
        fields.record(&mut members);
        members.written?;
        members.writer.write_char('}')
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let is_first = current.fields.pop().is_none() || current.fields.len() <= 1;
        if current.fields.is_empty() {
            current.fields.push('{');
        }
        let mut members = Members { writer: current.as_writer(), written: Ok(!is_first) };
        fields.record(&mut members);
        members.written?;
        members.writer.write_char('}')
    }
}

struct Members<'writer> {
    writer: Writer<'writer>,
    /// Whether there is a member already, so that the next one needs a comma.
    written: Result<bool, fmt::Error>,
}

impl Members<'_> {
    fn put(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        self.written = self.written.and_then(|has_member| {
            if has_member {
                self.writer.write_char(',')?;
            }
            quote(&mut self.writer, field.name())?;
            self.writer.write_char(':')?;
            value(&mut self.writer)?;
            Ok(true)
        });
    }
}

impl Visit for Members<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, |writer| quote(writer, value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, |writer| write!(writer, "{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, |writer| quote(writer, &format!("{value:?}")));
    }
}

fn quote(writer: &mut Writer<'_>, text: &str) -> fmt::Result {
    let is_plain = |b: u8| b >= 0x20 && !matches!(b, b'"' | b'\\');
    if text.bytes().all(is_plain) {
        writer.write_char('"')?;
        writer.write_str(text)?;
        return writer.write_char('"');
    }
    writer.write_str(&serde_json::to_string(text).map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use crate::config::telemetry::LogFormat;
    use crate::telemetry::logging::tests::Caught;

    #[test]
    fn fields_of_every_kind_stand_in_the_line() {
        let caught = Caught::default();
        tracing::subscriber::with_default(caught.subscriber(LogFormat::Json), || {
            let late = tracing::field::Empty;
            let span =
                tracing::info_span!("request", text = "a \"b\"\n茶", n = -1, m = 7u64, yes = true, at = ?Some(1), late);
            let _entered = span.enter();
            span.record("late", "now");
            tracing::warn!("one");
            let _bare = tracing::info_span!("bare", only = tracing::field::Empty).entered();
            tracing::Span::current().record("only", 1);
            tracing::warn!("two");
        });
        let text = caught.text();
        let spans: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let expected = serde_json::json!({
            "name": "request", "text": "a \"b\"\n茶", "n": -1, "m": 7, "yes": true, "at": "Some(1)", "late": "now"
        });
        assert_eq!(spans[0]["span"], expected);
        assert_eq!(spans[1]["span"], serde_json::json!({"name": "bare", "only": 1}));
    }
}
