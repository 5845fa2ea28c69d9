//! JSON → [`Node`]: members become children, arrays repeat their name, numbers keep the digits that were written.
//!
//! `true` and `false` become their own text, `null` the empty text. Two members of one name are refused: readers
//! differ in which one they take, and what was signed must mean one thing.

use std::collections::HashSet;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::{BLANKS, Budget, MAX_DEPTH, Node, ParseError};

/// `text` starts with `{`.
pub(super) fn parse(text: &str) -> Result<Node, ParseError> {
    // The whole text is checked once, without recursion; below, every level is only cut into its parts.
    let raw: &RawValue = serde_json::from_str(text).map_err(malformed)?;
    let mut budget = Budget::default();
    budget.take(0)?;
    object(raw.get(), 0, &mut budget)
}

fn malformed(fault: serde_json::Error) -> ParseError {
    let what = if fault.is_data() { "two members of one name" } else { "not well-formed JSON" };
    ParseError::new(what)
}

fn object(raw: &str, depth: usize, budget: &mut Budget) -> Result<Node, ParseError> {
    let members = serde_json::Deserializer::from_str(raw).deserialize_map(Members).map_err(malformed)?;
    let mut node = Node::default();
    for (name, value) in members {
        add(&mut node, &name, value.get(), depth + 1, budget)?;
    }
    Ok(node)
}

/// Adds the value under this name: once, or once for each element of an array.
fn add(node: &mut Node, name: &str, raw: &str, depth: usize, budget: &mut Budget) -> Result<(), ParseError> {
    let child = match raw.as_bytes().first() {
        Some(b'{') => {
            budget.take(depth)?;
            object(raw, depth, budget)?
        }
        Some(b'[') => return elements(node, name, raw, depth, budget),
        Some(b'"') => {
            budget.take(depth)?;
            let text: String = serde_json::from_str(raw).map_err(malformed)?;
            leaf(text.trim_matches(BLANKS))
        }
        Some(b'n') => {
            budget.take(depth)?;
            leaf("")
        }
        _ => {
            budget.take(depth)?;
            leaf(raw)
        }
    };
    node.children.push((name.to_owned(), child));
    Ok(())
}

fn elements(node: &mut Node, name: &str, raw: &str, depth: usize, budget: &mut Budget) -> Result<(), ParseError> {
    if depth >= MAX_DEPTH {
        return Err(ParseError::new("nested too deeply"));
    }
    let values = serde_json::Deserializer::from_str(raw).deserialize_seq(Elements).map_err(malformed)?;
    for value in values {
        add(node, name, value.get(), depth + 1, budget)?;
    }
    Ok(())
}

fn leaf(text: &str) -> Node {
    Node { text: text.to_owned(), children: Vec::new() }
}

/// The members of one object, each value uncut.
struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<(String, &'de RawValue)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut seen = HashSet::new();
        let mut members = Vec::new();
        while let Some(name) = map.next_key::<String>()? {
            if !seen.insert(name.clone()) {
                return Err(A::Error::custom("two members of one name"));
            }
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

/// The elements of one array, each uncut.
struct Elements;

impl<'de> Visitor<'de> for Elements {
    type Value = Vec<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while let Some(element) = seq.next_element()? {
            elements.push(element);
        }
        Ok(elements)
    }
}
