//! Writes one ordered tree as XML (text in CDATA) or as JSON.

use std::fmt::Write;

use crate::wechat::tree::Format;

pub(super) enum Value {
    /// Cleaned text.
    Text(String),
    Number(i64),
    Members(Vec<(&'static str, Value)>),
    /// One name, several values: repeated tags, or an array.
    Repeated(Vec<Value>),
}

impl Value {
    pub(super) fn text(text: &str) -> Self {
        Self::Text(clean(text))
    }

    pub(super) fn write(&self, format: Format) -> String {
        let mut out = String::new();
        match format {
            Format::Xml => self.tag("xml", &mut out),
            Format::Json => self.json(&mut out),
        }
        out
    }

    fn tag(&self, name: &str, out: &mut String) {
        if let Self::Repeated(values) = self {
            for value in values {
                value.tag(name, out);
            }
            return;
        }
        put(out, format_args!("<{name}>"));
        match self {
            Self::Text(text) => cdata(text, out),
            Self::Number(number) => put(out, format_args!("{number}")),
            Self::Members(members) => {
                for (name, value) in members {
                    value.tag(name, out);
                }
            }
            Self::Repeated(_) => {}
        }
        put(out, format_args!("</{name}>"));
    }

    fn json(&self, out: &mut String) {
        match self {
            Self::Text(text) => quote(text, out),
            Self::Number(number) => put(out, format_args!("{number}")),
            Self::Members(members) => {
                out.push('{');
                for (index, (name, value)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    quote(name, out);
                    out.push(':');
                    value.json(out);
                }
                out.push('}');
            }
            Self::Repeated(values) => {
                out.push('[');
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        out.push(',');
                    }
                    value.json(out);
                }
                out.push(']');
            }
        }
    }
}

fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    // Writing into a String cannot fail.
    let _ = out.write_fmt(what);
}

fn quote(text: &str, out: &mut String) {
    put(out, format_args!("{}", serde_json::Value::from(text)));
}

/// `]]>` ends a section wherever it stands, so it is laid across two.
fn cdata(text: &str, out: &mut String) {
    put(out, format_args!("<![CDATA[{}]]>", text.replace("]]>", "]]]]><![CDATA[>")));
}

/// Without the characters that XML 1.0 forbids.
pub(super) fn clean(text: &str) -> String {
    let allowed =
        |c: &char| matches!(c, '\t' | '\n' | '\r' | ' '..='\u{D7FF}' | '\u{E000}'..='\u{FFFD}' | '\u{10000}'..);
    text.chars().filter(allowed).collect()
}
