//! Ordinary messages of users (page "Receiving messages"): tree → [`Message`].
//!
//! A field that did not come is empty or `None`; a type that is not in the page is kept as [`Message::Unknown`].

use serde::Serialize;
use utoipa::ToSchema;

use super::tree::Node;

/// What a user sent. Media ids are temporary (three days).
/// Serialized, it is what came with the message, under the names that stand here; its type is told elsewhere.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum Message {
    #[schema(title = "Text")]
    Text {
        content: String,
        /// The entry's id when the user tapped one of a `msgmenu`.
        menu_id: Option<String>,
    },
    #[schema(title = "Image")]
    Image {
        pic_url: String,
        media_id: String,
    },
    #[schema(title = "Voice")]
    Voice {
        media_id: String,
        /// `amr`, `speex`.
        format: String,
        /// Only with speech recognition switched on.
        recognition: Option<String>,
        media_id_16k: Option<String>,
    },
    #[schema(title = "Video")]
    Video {
        media_id: String,
        thumb_media_id: String,
    },
    #[schema(title = "ShortVideo")]
    ShortVideo {
        media_id: String,
        thumb_media_id: String,
    },
    Location(Place),
    #[schema(title = "Link")]
    Link {
        title: String,
        description: String,
        url: String,
    },
    /// `file` and whatever is not documented.
    #[schema(title = "Unknown")]
    Unknown {
        msg_type: String,
    },
}

/// A point on the map that a user chose.
#[derive(Clone, Debug, Default, PartialEq, Serialize, ToSchema)]
pub struct Place {
    /// Degrees; `Location_X`.
    pub latitude: Option<f64>,
    /// Degrees; `Location_Y`.
    pub longitude: Option<f64>,
    pub scale: Option<i64>,
    pub label: Option<String>,
    /// `Poiname`; only in the menu event.
    pub poi_name: Option<String>,
}

impl Message {
    /// The documented ones, as WeChat writes them.
    pub const TYPES: [&str; 7] = ["text", "image", "voice", "video", "shortvideo", "location", "link"];

    /// `msg_type` is matched exactly, then without regard to case.
    pub(super) fn read(msg_type: &str, root: &Node) -> Self {
        match msg_type.to_ascii_lowercase().as_str() {
            "text" => Self::Text { content: text(root, "Content"), menu_id: optional(root, "bizmsgmenuid") },
            "image" => Self::Image { pic_url: text(root, "PicUrl"), media_id: text(root, "MediaId") },
            "voice" => Self::Voice {
                media_id: text(root, "MediaId"),
                format: text(root, "Format"),
                recognition: optional(root, "Recognition"),
                media_id_16k: optional(root, "MediaId16K"),
            },
            "video" => Self::Video { media_id: text(root, "MediaId"), thumb_media_id: text(root, "ThumbMediaId") },
            "shortvideo" => {
                Self::ShortVideo { media_id: text(root, "MediaId"), thumb_media_id: text(root, "ThumbMediaId") }
            }
            "location" => Self::Location(Place::read(root)),
            "link" => Self::Link {
                title: text(root, "Title"),
                description: text(root, "Description"),
                url: text(root, "Url"),
            },
            _ => Self::Unknown { msg_type: msg_type.to_owned() },
        }
    }
}

impl Place {
    pub(super) fn read(node: &Node) -> Self {
        Self {
            latitude: number(node, "Location_X"),
            longitude: number(node, "Location_Y"),
            scale: integer(node, "Scale"),
            label: optional(node, "Label"),
            poi_name: optional(node, "Poiname"),
        }
    }
}

/// The child's text; empty when there is none.
pub(super) fn text(node: &Node, name: &str) -> String {
    node.text_of(name).unwrap_or_default().to_owned()
}

pub(super) fn optional(node: &Node, name: &str) -> Option<String> {
    node.text_of(name).map(str::to_owned)
}

pub(super) fn integer(node: &Node, name: &str) -> Option<i64> {
    node.text_of(name)?.parse().ok()
}

pub(super) fn number(node: &Node, name: &str) -> Option<f64> {
    node.text_of(name)?.parse().ok().filter(|value: &f64| value.is_finite())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::tree;

    fn read(msg_type: &str, members: &str) -> Message {
        let (root, _) = tree::parse(format!("{{{members}}}").as_bytes()).unwrap();
        Message::read(msg_type, &root)
    }

    #[test]
    fn a_tap_in_a_menu_message_tells_its_entry() {
        let message = read("text", r#""Content":"yes","bizmsgmenuid":101"#);
        assert_eq!(message, Message::Text { content: "yes".to_owned(), menu_id: Some("101".to_owned()) });
    }

    #[test]
    fn an_impossible_number_is_no_number() {
        let Message::Location(place) = read("location", r#""Location_X":"NaN","Location_Y":"113.35","Scale":"x""#)
        else {
            panic!("a location");
        };
        assert_eq!((place.latitude, place.longitude, place.scale), (None, Some(113.35), None));
    }

    #[test]
    fn the_case_of_a_type_does_not_matter_and_an_unknown_one_is_kept() {
        assert!(matches!(read("TEXT", ""), Message::Text { .. }));
        assert_eq!(read("File", ""), Message::Unknown { msg_type: "File".to_owned() });
    }
}
