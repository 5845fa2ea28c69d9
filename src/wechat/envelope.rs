//! The outer body of a callback.

use super::tree::{Format, Node, ParseError};

/// What is seen before anything is decrypted.
#[derive(Clone, Debug)]
pub struct Envelope {
    pub format: Format,
    pub encrypt: Option<String>,
    pub root: Node,
}

pub fn parse(_body: &[u8]) -> Result<Envelope, ParseError> {
    todo!()
}
