//! Settings as they are written: a tree of values, each with its origin. TOML text → tree; a later tree over an earlier one.

use std::collections::BTreeMap;
use std::sync::Arc;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::origin::{ConfigError, Origin};

pub(super) type Table = BTreeMap<String, Node>;

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Node {
    pub(super) raw: Raw,
    pub(super) origin: Origin,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Raw {
    Text(String),
    Integer(i64),
    Boolean(bool),
    List(Vec<Raw>),
    Table(Table),
    /// A number with a fraction, or one beyond 64 bits: no setting takes it.
    Number(String),
}

impl Raw {
    /// What it is, for "expected …, found …".
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Text(_) => "a text",
            Self::Integer(_) | Self::Number(_) => "a number",
            Self::Boolean(_) => "true or false",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Reads a TOML text. `file`: its name for errors; `None`: the compiled-in one.
pub(super) fn parse(text: &str, file: Option<&Arc<str>>) -> Result<Table, Vec<ConfigError>> {
    let place = Place { text, file };
    let (document, errors) = DeTable::parse_recoverable(text);
    if errors.is_empty() {
        return Ok(place.table(document.get_ref()));
    }
    let as_error = |error: &toml::de::Error| ConfigError {
        key: String::new(),
        origin: Some(place.origin(error.span().map_or(0, |span| span.start))),
        problem: format!("not TOML: {}", error.message()),
    };
    Err(errors.iter().map(as_error).collect())
}

struct Place<'a> {
    text: &'a str,
    file: Option<&'a Arc<str>>,
}

impl Place<'_> {
    fn origin(&self, offset: usize) -> Origin {
        let Some(path) = self.file else {
            return Origin::Default;
        };
        let before = self.text.as_bytes().get(..offset).unwrap_or_default();
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        Origin::File { path: path.clone(), line }
    }

    fn table(&self, table: &DeTable<'_>) -> Table {
        let node = |key: &Spanned<_>, value: &Spanned<DeValue<'_>>| Node {
            raw: self.raw(value.get_ref()),
            origin: self.origin(key.span().start),
        };
        table.iter().map(|(key, value)| (key.get_ref().to_string(), node(key, value))).collect()
    }

    fn raw(&self, value: &DeValue<'_>) -> Raw {
        match value {
            DeValue::String(text) => Raw::Text(text.to_string()),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Raw::Integer(number),
                Err(_) => Raw::Number(number.to_string()),
            },
            DeValue::Float(number) => Raw::Number(number.to_string()),
            DeValue::Boolean(is) => Raw::Boolean(*is),
            DeValue::Datetime(at) => Raw::Text(at.to_string()),
            DeValue::Array(items) => Raw::List(items.iter().map(|item| self.raw(item.get_ref())).collect()),
            DeValue::Table(table) => Raw::Table(self.table(table)),
        }
    }
}

/// Lays `over` on `base`: tables are merged, anything else is replaced.
pub(super) fn merge(base: &mut Table, over: Table) {
    for (key, node) in over {
        match (base.get_mut(&key), node) {
            (Some(Node { raw: Raw::Table(below), .. }), Node { raw: Raw::Table(above), .. }) => merge(below, above),
            (_, node) => {
                base.insert(key, node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file() -> Arc<str> {
        Arc::from("my.toml")
    }

    #[test]
    fn each_value_knows_its_line() {
        let tree = parse("# one\n[server]\n\nlisten = 'x'\nsize = 3\n", Some(&file())).unwrap();
        let Raw::Table(server) = &tree["server"].raw else { panic!("a table") };
        assert_eq!(server["listen"].origin.to_string(), "my.toml:4");
        assert_eq!(server["size"], Node { raw: Raw::Integer(3), origin: Origin::File { path: file(), line: 5 } });
    }

    #[test]
    fn a_text_that_is_not_toml_gives_the_line_and_shows_no_content() {
        let errors = parse("[accounts.shop]\napp_secret = s3cr3t\"\n", Some(&file())).unwrap_err();
        let shown = errors[0].to_string();
        assert!(shown.starts_with("my.toml:2: not TOML"), "{shown}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
    }

    #[test]
    fn tables_are_merged_and_values_replaced() {
        let mut base = parse("[a]\nx = 1\ny = 2\n", None).unwrap();
        merge(&mut base, parse("b = true\n[a]\ny = 3\n", Some(&file())).unwrap());
        let Raw::Table(a) = &base["a"].raw else { panic!("a table") };
        assert_eq!(
            (&a["x"].raw, &a["y"].raw, &base["b"].raw),
            (&Raw::Integer(1), &Raw::Integer(3), &Raw::Boolean(true))
        );
        assert_eq!(a["x"].origin, Origin::Default);
    }
}
