//! Passive replies.

use super::crypt::EncodingAesKey;
use super::tree::Format;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    Text {
        content: String,
    },
    Image {
        media_id: String,
    },
    Voice {
        media_id: String,
    },
    Video {
        media_id: String,
        title: Option<String>,
        description: Option<String>,
    },
    Music {
        title: Option<String>,
        description: Option<String>,
        music_url: Option<String>,
        hq_music_url: Option<String>,
        thumb_media_id: String,
    },
    News {
        articles: Vec<Article>,
    },
    TransferCustomerService {
        kf_account: Option<String>,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    pub title: String,
    pub description: String,
    pub pic_url: String,
    pub url: String,
}

/// The plain reply. `to` is the user's openid, `from` our `gh_` id.
pub fn render(_reply: &Reply, _to: &str, _from: &str, _create_time: i64, _format: Format) -> String {
    todo!()
}

/// What an encrypted reply needs beside the text.
pub struct SealWith<'a> {
    pub token: &'a str,
    pub key: &'a EncodingAesKey,
    pub app_id: &'a str,
    pub random: [u8; 16],
    pub timestamp: i64,
    pub nonce: &'a str,
}

/// A plain reply → the encrypted body.
pub fn seal(_plain: &str, _with: &SealWith<'_>, _format: Format) -> String {
    todo!()
}
