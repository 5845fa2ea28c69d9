//! XML → [`Node`]: a real parser without the parts of XML that attack.
//!
//! Refused: DOCTYPE and with it every declared entity, unknown entities, processing instructions, anything but blanks
//! and comments beside the one root `<xml>`. Attributes are ignored.

use quick_xml::Reader;
use quick_xml::events::{BytesRef, Event};

use super::{BLANKS, Budget, Node, ParseError};

const ROOT: &str = "xml";

/// `text` has no BOM and no blanks around it.
pub(super) fn parse(text: &str) -> Result<Node, ParseError> {
    let mut reader = Reader::from_str(text);
    let mut growing = Growing::default();
    let mut at_start = true;
    loop {
        let event = reader.read_event().map_err(|_| ParseError::new("not well-formed XML"))?;
        match event {
            Event::Start(tag) => growing.open(tag.name().0)?,
            Event::Empty(tag) => {
                growing.open(tag.name().0)?;
                growing.close()?;
            }
            Event::End(_) => growing.close()?,
            Event::Text(text) => growing.text(&text.xml10_content())?,
            Event::CData(text) => growing.cdata(&text.xml10_content())?,
            Event::GeneralRef(name) => growing.reference(&name)?,
            Event::Comment(_) => {}
            Event::Decl(_) if at_start => {}
            Event::Decl(_) | Event::PI(_) => return Err(ParseError::new("a processing instruction")),
            Event::DocType(_) => return Err(ParseError::new("a DOCTYPE")),
            Event::Eof => return growing.finish(),
        }
        at_start = false;
    }
}

/// The nodes that are open, outermost first, and the root once it is closed.
#[derive(Default)]
struct Growing {
    open: Vec<(String, Node)>,
    root: Option<Node>,
    budget: Budget,
}

impl Growing {
    fn open(&mut self, name: &str) -> Result<(), ParseError> {
        if self.root.is_some() {
            return Err(ParseError::new("content after the root"));
        }
        if self.open.is_empty() && name != ROOT {
            return Err(ParseError::new("the root is not <xml>"));
        }
        if name.is_empty() {
            return Err(ParseError::new("a tag without a name"));
        }
        self.budget.take(self.open.len())?;
        self.open.push((name.to_owned(), Node::default()));
        Ok(())
    }

    fn close(&mut self) -> Result<(), ParseError> {
        let Some((name, mut node)) = self.open.pop() else {
            return Err(ParseError::new("an end without a start"));
        };
        trim(&mut node.text);
        match self.open.last_mut() {
            Some((_, parent)) => parent.children.push((name, node)),
            None => self.root = Some(node),
        }
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), ParseError> {
        if self.open.is_empty() && text.trim_matches(BLANKS).is_empty() {
            return Ok(());
        }
        self.cdata(text)
    }

    fn cdata(&mut self, text: &str) -> Result<(), ParseError> {
        let Some((_, node)) = self.open.last_mut() else {
            return Err(ParseError::new("content outside the root"));
        };
        node.text.push_str(text);
        Ok(())
    }

    /// The five predefined names and numeric references; nothing else can be declared, so nothing else is known.
    fn reference(&mut self, name: &BytesRef<'_>) -> Result<(), ParseError> {
        let numeric = name.resolve_char_ref().map_err(|_| ParseError::new("an impossible character reference"))?;
        let character = match (numeric, &**name) {
            (Some(character), _) => character,
            (None, "amp") => '&',
            (None, "lt") => '<',
            (None, "gt") => '>',
            (None, "quot") => '"',
            (None, "apos") => '\'',
            (None, _) => return Err(ParseError::new("an unknown entity")),
        };
        self.cdata(character.encode_utf8(&mut [0; 4]))
    }

    fn finish(self) -> Result<Node, ParseError> {
        if !self.open.is_empty() {
            return Err(ParseError::new("the XML ends too early"));
        }
        self.root.ok_or_else(|| ParseError::new("no root"))
    }
}

fn trim(text: &mut String) {
    text.truncate(text.trim_end_matches(BLANKS).len());
    let lead = text.len() - text.trim_start_matches(BLANKS).len();
    text.drain(..lead);
}
