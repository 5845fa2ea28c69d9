//! Passive replies (page "Passive user replies"): [`Reply`] → XML or JSON text, and that text sealed.
//!
//! The bare `success` is no reply and is never sealed. Who speaks to whom is swapped by the caller.

mod custom;
pub mod read;
mod write;

use self::write::{Value, clean};
use super::crypt::{self, EncodingAesKey};
use super::signature;
use super::tree::Format;

/// Articles that WeChat shows; those beyond are left out. After most messages it shows the first only.
pub const MAX_ARTICLES: usize = 8;

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
    /// Hands the chat to the agents' console. Answers messages only, not events.
    TransferCustomerService {
        kf_account: Option<String>,
    },
    /// Hands the chat to the platform's own answers. Limited release.
    TransferBizAiIvr,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Article {
    pub title: String,
    pub description: String,
    pub pic_url: String,
    pub url: String,
}

/// The plain reply. `to` is the user's openid, `from` our `gh_` id.
///
/// Characters that XML 1.0 does not know are dropped, in both forms.
pub fn render(reply: &Reply, to: &str, from: &str, create_time: i64, format: Format) -> String {
    let mut members = vec![
        ("ToUserName", Value::text(to)),
        ("FromUserName", Value::text(from)),
        ("CreateTime", Value::Number(create_time)),
        ("MsgType", Value::text(reply.msg_type())),
    ];
    members.extend(reply.members());
    Value::Members(members).write(format)
}

impl Reply {
    /// `text`, `news` …, as `MsgType` says it.
    pub const fn msg_type(&self) -> &'static str {
        match self {
            Self::Text { .. } => "text",
            Self::Image { .. } => "image",
            Self::Voice { .. } => "voice",
            Self::Video { .. } => "video",
            Self::Music { .. } => "music",
            Self::News { .. } => "news",
            Self::TransferCustomerService { .. } => "transfer_customer_service",
            Self::TransferBizAiIvr => "transfer_biz_ai_ivr",
        }
    }

    fn members(&self) -> Vec<(&'static str, Value)> {
        match self {
            Self::Text { content } => vec![("Content", Value::text(content))],
            Self::Image { media_id } => vec![("Image", media(media_id))],
            Self::Voice { media_id } => vec![("Voice", media(media_id))],
            Self::Video { media_id, title, description } => {
                let mut video = vec![("MediaId", Value::text(media_id))];
                push(&mut video, "Title", title);
                push(&mut video, "Description", description);
                vec![("Video", Value::Members(video))]
            }
            Self::Music { title, description, music_url, hq_music_url, thumb_media_id } => {
                let mut music = Vec::new();
                push(&mut music, "Title", title);
                push(&mut music, "Description", description);
                push(&mut music, "MusicUrl", music_url);
                push(&mut music, "HQMusicUrl", hq_music_url);
                music.push(("ThumbMediaId", Value::text(thumb_media_id)));
                vec![("Music", Value::Members(music))]
            }
            Self::News { articles } => news(articles),
            Self::TransferCustomerService { kf_account } => {
                let mut info = Vec::new();
                push(&mut info, "KfAccount", kf_account);
                if info.is_empty() { Vec::new() } else { vec![("TransInfo", Value::Members(info))] }
            }
            Self::TransferBizAiIvr => Vec::new(),
        }
    }
}

fn media(media_id: &str) -> Value {
    Value::Members(vec![("MediaId", Value::text(media_id))])
}

fn push(members: &mut Vec<(&'static str, Value)>, name: &'static str, text: &Option<String>) {
    if let Some(text) = text {
        members.push((name, Value::text(text)));
    }
}

fn news(articles: &[Article]) -> Vec<(&'static str, Value)> {
    let item = |article: &Article| {
        Value::Members(vec![
            ("Title", Value::text(&article.title)),
            ("Description", Value::text(&article.description)),
            ("PicUrl", Value::text(&article.pic_url)),
            ("Url", Value::text(&article.url)),
        ])
    };
    let items: Vec<Value> = articles.iter().take(MAX_ARTICLES).map(item).collect();
    let count = i64::try_from(items.len()).unwrap_or_default();
    vec![("ArticleCount", Value::Number(count)), ("Articles", Value::Members(vec![("item", Value::Repeated(items))]))]
}

/// What an encrypted reply needs beside the text.
pub struct SealWith<'a> {
    pub token: &'a str,
    pub key: &'a EncodingAesKey,
    pub app_id: &'a str,
    /// Fresh for each reply.
    pub random: [u8; 16],
    /// Seconds since 1970.
    pub timestamp: i64,
    /// The nonce of the request that is answered.
    pub nonce: &'a str,
}

/// A plain reply → the encrypted body (page "Message encryption and decryption").
pub fn seal(plain: &str, with: &SealWith<'_>, format: Format) -> String {
    let encrypt = crypt::encrypt(with.key, with.random, plain.as_bytes(), with.app_id);
    let timestamp = with.timestamp.to_string();
    // The signature must cover the nonce as it will be read out of the body.
    let nonce = clean(with.nonce);
    let signature = signature::sign(&[with.token, &timestamp, &nonce, &encrypt]);
    let members = vec![
        ("Encrypt", Value::text(&encrypt)),
        ("MsgSignature", Value::text(&signature)),
        ("TimeStamp", Value::Number(with.timestamp)),
        ("Nonce", Value::text(&nonce)),
    ];
    Value::Members(members).write(format)
}

#[cfg(test)]
mod tests;
