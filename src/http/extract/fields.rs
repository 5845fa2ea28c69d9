//! Takes the members of a JSON object one by one and gathers what is wrong, each fault with its JSON pointer.

use super::json::{Json, push};
use super::nearest;
use crate::domain::clock::Timestamp;
use crate::http::error::{ApiError, Code};
use crate::services::accept::FieldError;

/// Faults, sorted by what they mean.
#[derive(Debug, Default)]
pub struct Faults {
    /// It cannot be read: 400.
    malformed: Vec<FieldError>,
    /// It can be read and breaks a rule: 422.
    invalid: Vec<FieldError>,
}

impl Faults {
    pub fn malformed(&mut self, path: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.malformed.push(FieldError { path: path.into(), code, detail: detail.into() });
    }

    pub fn invalid(&mut self, path: impl Into<String>, code: &'static str, detail: impl Into<String>) {
        self.invalid.push(FieldError { path: path.into(), code, detail: detail.into() });
    }

    /// `Ok` when nothing is wrong. What cannot be read is told before rules that are broken.
    pub fn check(self) -> Result<(), ApiError> {
        if !self.malformed.is_empty() {
            return Err(ApiError::with_errors(Code::MalformedRequest, self.malformed));
        }
        if !self.invalid.is_empty() {
            return Err(ApiError::with_errors(Code::InvalidMessage, self.invalid));
        }
        Ok(())
    }
}

/// One object, its members taken away one by one. A member that is `null` counts as missing.
pub struct Fields {
    path: String,
    members: Vec<(String, Json)>,
    known: Vec<&'static str>,
}

impl Fields {
    /// `None` (and a fault) when it is no object.
    pub fn open(json: Json, path: &str, faults: &mut Faults) -> Option<Self> {
        match json {
            Json::Object(members) => Some(Self { path: path.to_owned(), members, known: Vec::new() }),
            other => {
                wrong_type(faults, path, "an object", &other);
                None
            }
        }
    }

    pub fn path_of(&self, name: &str) -> String {
        let mut path = self.path.clone();
        push(&mut path, name);
        path
    }

    pub fn take(&mut self, name: &'static str) -> Option<Json> {
        self.known.push(name);
        let index = self.members.iter().position(|(written, _)| written == name)?;
        match self.members.remove(index).1 {
            Json::Null => None,
            value => Some(value),
        }
    }

    /// The same, but null is told from what is missing.
    pub fn patch(&mut self, name: &'static str) -> Option<Json> {
        if self.is_null(name) {
            self.take(name);
            return Some(Json::Null);
        }
        self.take(name)
    }

    pub fn is_null(&self, name: &str) -> bool {
        self.members.iter().any(|(written, value)| written == name && *value == Json::Null)
    }

    pub fn is_missing(&self, name: &str) -> bool {
        !self.members.iter().any(|(written, value)| written == name && *value != Json::Null)
    }

    pub fn string(&mut self, name: &'static str, faults: &mut Faults) -> Option<String> {
        match self.take(name)? {
            Json::String(text) => Some(text),
            other => {
                wrong_type(faults, &self.path_of(name), "a string", &other);
                None
            }
        }
    }

    pub fn boolean(&mut self, name: &'static str, faults: &mut Faults) -> Option<bool> {
        match self.take(name)? {
            Json::Bool(value) => Some(value),
            other => {
                wrong_type(faults, &self.path_of(name), "a boolean", &other);
                None
            }
        }
    }

    pub fn time(&mut self, name: &'static str, faults: &mut Faults) -> Option<Timestamp> {
        let text = self.string(name, faults)?;
        let at = Timestamp::parse(&text);
        if at.is_none() {
            faults.malformed(self.path_of(name), "time", "not an RFC 3339 time such as 2026-01-31T08:00:00Z");
        }
        at
    }

    /// A whole number; out of range is a broken rule.
    pub fn integer(
        &mut self,
        name: &'static str,
        range: std::ops::RangeInclusive<u64>,
        faults: &mut Faults,
    ) -> Option<u64> {
        let value = self.take(name)?;
        let Json::Number(literal) = &value else {
            wrong_type(faults, &self.path_of(name), "a whole number", &value);
            return None;
        };
        if literal.bytes().any(|b| matches!(b, b'.' | b'e' | b'E')) {
            faults.malformed(self.path_of(name), "type", "expected a whole number");
            return None;
        }
        let number = literal.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            let detail = format!("expected {} to {}", range.start(), range.end());
            faults.invalid(self.path_of(name), "out_of_range", detail);
        }
        number
    }

    /// One of a few words.
    pub fn choice<T>(
        &mut self,
        name: &'static str,
        words: &[&str],
        parse: impl FnOnce(&str) -> Option<T>,
        faults: &mut Faults,
    ) -> Option<T> {
        let text = self.string(name, faults)?;
        let value = parse(&text);
        if value.is_none() {
            let detail = format!("expected {}{}", words.join(", "), nearest(&text, words));
            faults.malformed(self.path_of(name), "choice", detail);
        }
        value
    }

    pub fn object(&mut self, name: &'static str, faults: &mut Faults) -> Option<Fields> {
        let json = self.take(name)?;
        Self::open(json, &self.path_of(name), faults)
    }

    /// The members of a nested object under names of the caller's own, in their order.
    pub fn free_object(&mut self, name: &'static str, faults: &mut Faults) -> Option<Vec<(String, Json)>> {
        self.object(name, faults).map(|fields| fields.members)
    }

    /// What is left over nobody asked for: most likely a slip of the pen.
    pub fn close(self, faults: &mut Faults) {
        for (name, _) in &self.members {
            let detail = format!("unknown field{}", nearest(name, &self.known));
            faults.malformed(self.path_of(name), "unknown_field", detail);
        }
    }
}

pub fn wrong_type(faults: &mut Faults, path: &str, expected: &str, found: &Json) {
    faults.malformed(path, "type", format!("expected {expected}, found {}", found.kind()));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(text: &str, faults: &mut Faults) -> Fields {
        Fields::open(Json::parse(text).unwrap(), "", faults).unwrap()
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let mut faults = Faults::default();
        let mut fields =
            open(r#"{"text":1,"flag":"x","at":"soon","lane":"urgnt","n":1.5,"in":[],"txet":""}"#, &mut faults);
        assert_eq!(fields.string("text", &mut faults), None);
        assert_eq!(fields.boolean("flag", &mut faults), None);
        assert_eq!(fields.time("at", &mut faults), None);
        assert_eq!(fields.choice("lane", &["urgent", "bulk"], |_| None::<()>, &mut faults), None);
        assert_eq!(fields.integer("n", 1..=5, &mut faults), None);
        assert!(fields.object("in", &mut faults).is_none());
        fields.close(&mut faults);
        let told: Vec<_> = faults.malformed.iter().map(|fault| (fault.path.as_str(), fault.code)).collect();
        let expected = [
            ("/text", "type"),
            ("/flag", "type"),
            ("/at", "time"),
            ("/lane", "choice"),
            ("/n", "type"),
            ("/in", "type"),
            ("/txet", "unknown_field"),
        ];
        assert_eq!(told, expected);
        assert!(faults.malformed[3].detail.contains("did you mean urgent?"));
        assert!(faults.malformed[6].detail.contains("did you mean text?"));
        assert_eq!(faults.check().unwrap_err().code(), Code::MalformedRequest);
    }

    #[test]
    fn a_number_out_of_range_breaks_a_rule() {
        for text in [r#"{"n":0}"#, r#"{"n":-1}"#, r#"{"n":99999999999999999999999}"#] {
            let mut faults = Faults::default();
            assert_eq!(open(text, &mut faults).integer("n", 1..=5, &mut faults), None);
            assert_eq!(faults.check().unwrap_err().code(), Code::InvalidMessage);
        }
    }

    #[test]
    fn null_is_as_good_as_missing() {
        let mut faults = Faults::default();
        let mut fields = open(r#"{"text":null}"#, &mut faults);
        assert_eq!(fields.string("text", &mut faults), None);
        fields.close(&mut faults);
        assert!(faults.check().is_ok());
    }
}
