//! Reading a section, key by key. Whatever is wrong is noted and reading goes on, so that one run finds every mistake;
//! the value handed back then is a stand-in that nobody will see.
//!
//! The keys that are asked for are the known ones: what is left when a section is closed is unknown.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::notes::{Notes, Shown};
use super::origin::{ConfigError, Origin};
use super::tree::{Node, Raw, Table};
use super::units::{parse_size, parse_span, render_size, render_span};
use crate::domain::secret::Secret;

/// What has been found so far.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) errors: Vec<ConfigError>,
    pub(super) notes: Notes,
    /// Every key that has been asked for, dotted.
    pub(super) known: Vec<String>,
    pub(super) unknown: Vec<(String, Origin)>,
}

pub(super) struct Section<'a> {
    path: String,
    table: Table,
    origins: BTreeMap<String, Origin>,
    findings: &'a RefCell<Findings>,
}

impl<'a> Section<'a> {
    pub(super) fn new(path: String, table: Table, findings: &'a RefCell<Findings>) -> Self {
        Self { path, table, origins: BTreeMap::new(), findings }
    }

    /// Notes what is wrong with `key`; with the section itself when it is empty.
    pub(super) fn wrong(&self, key: &str, problem: impl Into<String>) {
        let origin = self.origins.get(key).cloned();
        let error = ConfigError { key: self.dotted(key), origin, problem: problem.into() };
        self.findings.borrow_mut().errors.push(error);
    }

    /// Notes what works but should not stay so.
    pub(super) fn warn(&self, key: &str, problem: &str) {
        self.findings.borrow_mut().notes.warnings.push(format!("{}: {problem}", self.dotted(key)));
    }

    /// A text; `None` when it is missing or empty.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        let text = self.plain_text(key)?;
        self.show(key, quoted(&text));
        (!text.is_empty()).then_some(text)
    }

    /// A text read by `parse`, which says what is allowed when it is not.
    pub(super) fn parsed<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let text = self.text(key)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(problem) => {
                self.wrong(key, format!("{text:?} {problem}"));
                None
            }
        }
    }

    pub(super) fn address(&mut self, key: &str) -> Option<SocketAddr> {
        self.parsed(key, |text| {
            text.parse().map_err(|_| "is not an address; write IP:port, such as \"127.0.0.1:8080\"".to_owned())
        })
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(&mut self, key: &str, words: &[(&str, T)], default: T) -> T {
        let allowed = || words.iter().map(|(word, _)| format!("{word:?}")).collect::<Vec<_>>().join(", ");
        let find = |text: &str| words.iter().find(|(word, _)| *word == text).map(|(_, value)| *value);
        self.parsed(key, |text| find(text).ok_or_else(|| format!("is none of {}", allowed()))).unwrap_or(default)
    }

    /// `true` or `false`.
    pub(super) fn switch(&mut self, key: &str) -> bool {
        let value = match self.take(key) {
            Some(Raw::Boolean(value)) => Some(value),
            Some(Raw::Text(text)) if self.is_from_env(key) => text.parse().ok(),
            _ => None,
        };
        if value.is_none() {
            self.wrong(key, "expected true or false");
        }
        self.show(key, value.unwrap_or_default().to_string());
        value.unwrap_or_default()
    }

    /// The same, where it need not be given.
    pub(super) fn switch_or(&mut self, key: &str, default: bool) -> bool {
        if self.table.contains_key(key) {
            return self.switch(key);
        }
        self.findings.borrow_mut().known.push(self.dotted(key));
        default
    }

    /// `key`, or what stands in the file that `<key>_file` names, without the line end.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let file_key = format!("{key}_file");
        let given = self.plain_text(key).filter(|text| !text.is_empty());
        let file = self.plain_text(&file_key).filter(|text| !text.is_empty());
        let (given, file) = match (given, file) {
            (Some(given), Some(file)) => self.settle_pair(key, &file_key, given, file),
            pair => pair,
        };
        if let Some(path) = file {
            self.show(&file_key, quoted(&path));
            return self.secret_from(&file_key, &path);
        }
        if self.origins.contains_key(key) {
            self.show(key, quoted(if given.is_some() { "***" } else { "" }));
        }
        given.map(Secret::new)
    }

    /// Both are given: in one layer that is a mistake, otherwise the later layer counts.
    fn settle_pair(&self, key: &str, file_key: &str, given: String, file: String) -> (Option<String>, Option<String>) {
        match (self.origins.get(key), self.origins.get(file_key)) {
            (Some(a), Some(b)) if a.is_level_with(b) => {
                self.wrong(file_key, format!("{} is given too; keep one of the two", self.dotted(key)));
                (Some(given), None)
            }
            (a, b) if a > b => (Some(given), None),
            _ => (None, Some(file)),
        }
    }

    fn secret_from(&self, file_key: &str, path: &str) -> Option<Secret> {
        match std::fs::read_to_string(path) {
            Ok(text) if text.trim_end_matches(['\r', '\n']).is_empty() => {
                self.wrong(file_key, format!("{path} is empty"))
            }
            Ok(text) => return Some(Secret::new(text.trim_end_matches(['\r', '\n']))),
            Err(error) => self.wrong(file_key, format!("{path} cannot be read: {error}")),
        }
        None
    }

    /// What `take` reads has to be there. Says so only when nothing else is wrong with it.
    pub(super) fn needed<T>(&mut self, key: &str, take: impl FnOnce(&mut Self, &str) -> Option<T>) -> Option<T> {
        let wrong_before = self.findings.borrow().errors.len();
        let value = take(self, key);
        if value.is_none() && self.findings.borrow().errors.len() == wrong_before {
            self.wrong(key, "is missing");
        }
        value
    }

    pub(super) fn span(&mut self, key: &str, allowed: RangeInclusive<Duration>) -> Duration {
        let value = self.plain_text_or(key, "a time such as \"10s\", \"250ms\" or \"24h\"", parse_span);
        self.within(key, value, allowed, |span| quoted(&render_span(*span)))
    }

    /// The same, where it need not be given.
    pub(super) fn span_if_given(&mut self, key: &str, allowed: RangeInclusive<Duration>) -> Option<Duration> {
        if self.has(key) {
            return Some(self.span(key, allowed));
        }
        self.findings.borrow_mut().known.push(self.dotted(key));
        None
    }

    pub(super) fn size(&mut self, key: &str, allowed: RangeInclusive<u64>) -> usize {
        let value = self.plain_text_or(key, "a size such as \"256KiB\" or \"1MiB\"", parse_size);
        let bytes = self.within(key, value, allowed, |bytes| quoted(&render_size(*bytes)));
        usize::try_from(bytes).unwrap_or(usize::MAX)
    }

    pub(super) fn count<T: TryFrom<u64> + Default>(&mut self, key: &str, allowed: RangeInclusive<u64>) -> T {
        let value = match self.take(key) {
            Some(Raw::Integer(number)) => u64::try_from(number).ok(),
            Some(Raw::Text(text)) if self.is_from_env(key) => text.parse().ok(),
            Some(other) => {
                self.wrong(key, format!("expected a whole number, found {}", other.kind()));
                return T::default();
            }
            None => {
                self.wrong(key, "is missing");
                return T::default();
            }
        };
        if value.is_none() {
            self.wrong(key, format!("expected a whole number from {} to {}", allowed.start(), allowed.end()));
        }
        self.show(key, value.unwrap_or_default().to_string());
        T::try_from(self.within(key, value, allowed, u64::to_string)).unwrap_or_default()
    }

    /// The same, where it need not be given.
    pub(super) fn count_if_given<T: TryFrom<u64> + Default>(
        &mut self,
        key: &str,
        allowed: RangeInclusive<u64>,
    ) -> Option<T> {
        if self.table.contains_key(key) {
            return Some(self.count(key, allowed));
        }
        self.findings.borrow_mut().known.push(self.dotted(key));
        None
    }

    /// A list of texts; from the environment: separated by commas. `None` when it is missing.
    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let texts: Option<Vec<String>> = match self.take(key)? {
            Raw::List(items) => items.into_iter().map(text_of).collect(),
            Raw::Text(text) if self.is_from_env(key) => Some(split(&text)),
            _ => None,
        };
        let Some(texts) = texts else {
            self.wrong(key, "expected a list of texts, such as [\"a\", \"b\"]");
            return Some(Vec::new());
        };
        self.show(key, format!("[{}]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(", ")));
        Some(texts)
    }

    /// One text or a list of them.
    pub(super) fn one_or_more(&mut self, key: &str) -> Option<Vec<String>> {
        if let Some(Node { raw: Raw::Text(text), origin }) = self.table.get(key) {
            let one = if matches!(origin, Origin::Env { .. }) { split(text) } else { vec![text.clone()] };
            let one = one.into_iter().map(Raw::Text).collect();
            let origin = origin.clone();
            self.table.insert(key.to_owned(), Node { raw: Raw::List(one), origin });
        }
        self.list(key)
    }

    /// A table of texts under names of the operator's choice. Empty when it is missing.
    pub(super) fn texts(&mut self, key: &str) -> BTreeMap<String, String> {
        let mut section = self.section(key);
        let names: Vec<String> = section.table.keys().cloned().collect();
        names.into_iter().filter_map(|name| section.needed(&name, Self::text).map(|text| (name, text))).collect()
    }

    /// A section below this one. Empty when it is missing.
    pub(super) fn section(&mut self, key: &str) -> Self {
        let table = match self.take(key) {
            Some(Raw::Table(table)) => table,
            Some(other) => {
                self.wrong(key, format!("expected a table, found {}", other.kind()));
                Table::new()
            }
            None => Table::new(),
        };
        let origins = self.origins.get(key).map(|origin| (String::new(), origin.clone())).into_iter().collect();
        Self { path: self.dotted(key), table, origins, findings: self.findings }
    }

    /// Every section below `key`, by name.
    pub(super) fn sections(&mut self, key: &str) -> Vec<(String, Self)> {
        let mut outer = self.section(key);
        let names: Vec<String> = outer.table.keys().cloned().collect();
        names.into_iter().map(|name| (name.clone(), outer.section(&name))).collect()
    }

    /// Every section of a list of them, `[[key]]`; each is named by its place, from 0.
    pub(super) fn table_list(&mut self, key: &str) -> Vec<Self> {
        let Some(given) = self.take(key) else { return Vec::new() };
        let origin = self.origins.get(key).cloned();
        let tables: Option<Vec<Table>> = match given {
            Raw::List(items) => items.into_iter().map(table_of).collect(),
            _ => None,
        };
        let Some(tables) = tables else {
            self.wrong(key, format!("expected a list of tables; write [[{}]]", self.dotted(key)));
            return Vec::new();
        };
        let section = |(place, table)| {
            let path = format!("{}.{place}", self.dotted(key));
            self.findings.borrow_mut().notes.listed.push(path.clone());
            let origins = origin.iter().map(|origin| (String::new(), origin.clone())).collect();
            Self { path, table, origins, findings: self.findings }
        };
        tables.into_iter().enumerate().map(section).collect()
    }

    /// Something is written under this key.
    pub(super) fn has(&self, key: &str) -> bool {
        self.table.contains_key(key)
    }

    /// What is left and is a table: sections under names of the operator's choice beside keys of ours.
    pub(super) fn tables(&mut self) -> Vec<(String, Self)> {
        let is_table = |(name, node): (&String, &Node)| matches!(node.raw, Raw::Table(_)).then(|| name.clone());
        let names: Vec<String> = self.table.iter().filter_map(is_table).collect();
        names.into_iter().map(|name| (name.clone(), self.section(&name))).collect()
    }

    /// What nobody asked for is unknown.
    pub(super) fn close(self) {
        let mut findings = self.findings.borrow_mut();
        for (key, node) in &self.table {
            findings.unknown.push((join(&self.path, key), node.origin.clone()));
        }
    }

    fn plain_text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Raw::Text(text) => Some(text),
            other => {
                self.wrong(key, format!("expected a text in quotes, found {}", other.kind()));
                None
            }
        }
    }

    fn plain_text_or<T>(&mut self, key: &str, what: &str, parse: fn(&str) -> Option<T>) -> Option<T> {
        let value = match self.take(key) {
            Some(Raw::Text(text)) => {
                self.show(key, quoted(&text));
                parse(&text)
            }
            Some(_) => None,
            None => {
                self.wrong(key, "is missing");
                return None;
            }
        };
        if value.is_none() {
            self.wrong(key, format!("expected {what}"));
        }
        value
    }

    fn within<T: PartialOrd + Default>(
        &self,
        key: &str,
        value: Option<T>,
        allowed: RangeInclusive<T>,
        render: impl Fn(&T) -> String,
    ) -> T {
        let Some(value) = value else { return T::default() };
        if !allowed.contains(&value) {
            let (given, from, to) = (render(&value), render(allowed.start()), render(allowed.end()));
            self.wrong(key, format!("{given} is not allowed; it has to be from {from} to {to}"));
        }
        value
    }

    fn take(&mut self, key: &str) -> Option<Raw> {
        self.findings.borrow_mut().known.push(self.dotted(key));
        let node = self.table.remove(key)?;
        self.origins.insert(key.to_owned(), node.origin);
        Some(node.raw)
    }

    fn is_from_env(&self, key: &str) -> bool {
        matches!(self.origins.get(key), Some(Origin::Env { .. }))
    }

    fn show(&self, key: &str, value: String) {
        let Some(origin) = self.origins.get(key).cloned() else { return };
        let shown = Shown { section: self.path.clone(), key: key.to_owned(), value, origin };
        self.findings.borrow_mut().notes.shown.push(shown);
    }

    /// Shows a value in other words than it was written with: a URL without its password.
    pub(super) fn show_as(&self, key: &str, value: impl Display) {
        let mut findings = self.findings.borrow_mut();
        for shown in &mut findings.notes.shown {
            if shown.section == self.path && shown.key == key {
                shown.value = quoted(&value.to_string());
            }
        }
    }

    fn dotted(&self, key: &str) -> String {
        join(&self.path, key)
    }
}

fn join(path: &str, key: &str) -> String {
    match (path, key) {
        ("", name) | (name, "") => name.to_owned(),
        _ => format!("{path}.{key}"),
    }
}

fn split(text: &str) -> Vec<String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

fn text_of(raw: Raw) -> Option<String> {
    match raw {
        Raw::Text(text) => Some(text),
        _ => None,
    }
}

fn table_of(raw: Raw) -> Option<Table> {
    match raw {
        Raw::Table(table) => Some(table),
        _ => None,
    }
}

fn quoted(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
