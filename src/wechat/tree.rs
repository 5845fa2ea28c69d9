//! XML and JSON bodies as one tree of named nodes: bytes → [`Node`], whatever the wire form.
//!
//! Both readers are bounded in depth and in the number of nodes, run in time linear to the body, and never recurse
//! deeper than [`MAX_DEPTH`]. Faults tell what is wrong, never what the body said.

mod json;
mod xml;

/// Levels of nodes below the root.
pub const MAX_DEPTH: usize = 32;
/// Nodes in one body.
pub const MAX_NODES: usize = 10_000;

const BOM: &[u8] = b"\xEF\xBB\xBF";
/// What XML calls white space. A user's own wide blanks are content.
const BLANKS: [char; 4] = [' ', '\t', '\r', '\n'];

/// The wire form of a body; a reply is written in the same one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    Xml,
    Json,
}

/// Why a body is not one of ours to read. The text quotes nothing of the body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ParseError(pub String);

impl ParseError {
    pub(super) fn new(reason: &str) -> Self {
        Self(reason.to_owned())
    }
}

/// A node: its own trimmed text, and its children in order (names may repeat).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node {
    pub text: String,
    pub children: Vec<(String, Node)>,
}

impl Node {
    /// The first child of this name.
    pub fn child(&self, name: &str) -> Option<&Node> {
        self.children.iter().find(|(own, _)| own == name).map(|(_, node)| node)
    }

    /// Every child of this name, in order.
    pub fn all<'n>(&'n self, name: &str) -> impl Iterator<Item = &'n Node> {
        self.children.iter().filter(move |(own, _)| own == name).map(|(_, node)| node)
    }

    /// The text of the child, if there is one and it is not empty.
    pub fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|node| node.text.as_str()).filter(|text| !text.is_empty())
    }

    /// The entries of a list, in the two ways it is written: `<list><item>…</item><item>…</item></list>`, or the
    /// list's own name repeated (a JSON array).
    pub(super) fn items(&self, list: &str, item: &str) -> Vec<&Node> {
        let mut found = Vec::new();
        for node in self.all(list) {
            if node.child(item).is_some() {
                found.extend(node.all(item));
            } else if !node.children.is_empty() {
                found.push(node);
            }
        }
        found
    }
}

/// The children of `<xml>`, or the members of the JSON object. The first character that is not blank decides.
pub fn parse(body: &[u8]) -> Result<(Node, Format), ParseError> {
    let body = body.strip_prefix(BOM).unwrap_or(body);
    let text = str::from_utf8(body).map_err(|_| ParseError::new("the body is not UTF-8"))?;
    let text = text.trim_matches(BLANKS);
    match text.as_bytes().first() {
        Some(b'<') => Ok((xml::parse(text)?, Format::Xml)),
        Some(b'{') => Ok((json::parse(text)?, Format::Json)),
        Some(_) => Err(ParseError::new("the body is neither XML nor a JSON object")),
        None => Err(ParseError::new("the body is empty")),
    }
}

/// Counts nodes and levels while a tree grows.
#[derive(Default)]
struct Budget {
    nodes: usize,
}

impl Budget {
    /// One more node, at this many levels below the root.
    fn take(&mut self, depth: usize) -> Result<(), ParseError> {
        self.nodes += 1;
        if depth > MAX_DEPTH {
            return Err(ParseError::new("nested too deeply"));
        }
        if self.nodes > MAX_NODES {
            return Err(ParseError::new("too many nodes"));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
