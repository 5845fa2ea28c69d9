//! A passive reply that somebody else wrote: body → [`Given`].

use super::{Article, Reply};
use crate::wechat::inbound::Inbound;
use crate::wechat::message::{optional, text};
use crate::wechat::tree::{self, Node};

/// What a back end said to a callback.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Given {
    /// `success`, or an empty body: nothing is shown.
    Nothing,
    /// `body`: the text to hand on, in the form of the callback.
    Reply { reply: Reply, body: String },
}

/// Reads the answer to this callback. The error says what is wrong, and quotes nothing.
pub fn read(body: &[u8], asked: &Inbound, create_time: i64) -> Result<Given, &'static str> {
    let trimmed = body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body).trim_ascii();
    if trimmed.is_empty() || trimmed == b"success" {
        return Ok(Given::Nothing);
    }
    let (root, format) = tree::parse(trimmed).map_err(|_| "it is neither `success` nor XML nor a JSON object")?;
    if root.text_of("ToUserName") != Some(&*asked.from_user_name) {
        return Err("its ToUserName is not the sender of the callback");
    }
    if root.text_of("FromUserName") != Some(&*asked.to_user_name) {
        return Err("its FromUserName is not the account of the callback");
    }
    let reply = Reply::read(&root)?;
    let own_words = (format == asked.format).then(|| str::from_utf8(trimmed).ok()).flatten();
    let body = match own_words {
        Some(text) => text.to_owned(),
        None => super::render(&reply, &asked.from_user_name, &asked.to_user_name, create_time, asked.format),
    };
    Ok(Given::Reply { reply, body })
}

impl Reply {
    /// The part behind the names.
    fn read(root: &Node) -> Result<Self, &'static str> {
        let media_id =
            |name: &str| root.child(name).and_then(|media| optional(media, "MediaId")).ok_or("it has no MediaId");
        Ok(match root.text_of("MsgType").unwrap_or_default() {
            "text" => Self::Text { content: optional(root, "Content").ok_or("it has no Content")? },
            "image" => Self::Image { media_id: media_id("Image")? },
            "voice" => Self::Voice { media_id: media_id("Voice")? },
            "video" => {
                let part = |name| root.child("Video").and_then(|video| optional(video, name));
                Self::Video { media_id: media_id("Video")?, title: part("Title"), description: part("Description") }
            }
            "music" => {
                let part = |name| root.child("Music").and_then(|music| optional(music, name));
                Self::Music {
                    title: part("Title"),
                    description: part("Description"),
                    music_url: part("MusicUrl"),
                    hq_music_url: part("HQMusicUrl"),
                    thumb_media_id: part("ThumbMediaId").ok_or("its Music has no ThumbMediaId")?,
                }
            }
            "news" => {
                let article = |node: &Node| Article {
                    title: text(node, "Title"),
                    description: text(node, "Description"),
                    pic_url: text(node, "PicUrl"),
                    url: text(node, "Url"),
                };
                let articles: Vec<_> = root.items("Articles", "item").into_iter().map(article).collect();
                if articles.is_empty() {
                    return Err("it has no Articles");
                }
                Self::News { articles }
            }
            "transfer_customer_service" => Self::TransferCustomerService {
                kf_account: root.child("TransInfo").and_then(|info| optional(info, "KfAccount")),
            },
            "transfer_biz_ai_ivr" => Self::TransferBizAiIvr,
            "" => return Err("it has no MsgType"),
            _ => return Err("its MsgType is none that a reply can have"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wechat::tree::Format;

    fn asked(format: &str) -> Inbound {
        let body = match format {
            "xml" => "<xml><ToUserName>gh_1</ToUserName><FromUserName>oA</FromUserName><MsgType>text</MsgType></xml>",
            _ => r#"{"ToUserName":"gh_1","FromUserName":"oA","MsgType":"text"}"#,
        };
        Inbound::parse(body.as_bytes()).unwrap()
    }

    fn every_type() -> Vec<Reply> {
        let (id, some) = (|| "M-1".to_owned(), |text: &str| Some(text.to_owned()));
        let article = |n: u8| Article {
            title: format!("t{n}"),
            description: "d".to_owned(),
            pic_url: "https://p".to_owned(),
            url: "https://u".to_owned(),
        };
        vec![
            Reply::Text { content: "a <b> ]]> 茶".to_owned() },
            Reply::Image { media_id: id() },
            Reply::Voice { media_id: id() },
            Reply::Video { media_id: id(), title: some("t"), description: None },
            Reply::Music {
                title: None,
                description: some("d"),
                music_url: some("https://m"),
                hq_music_url: None,
                thumb_media_id: id(),
            },
            Reply::News { articles: vec![article(1), article(2)] },
            Reply::News { articles: vec![article(1)] },
            Reply::TransferCustomerService { kf_account: some("a@b") },
            Reply::TransferCustomerService { kf_account: None },
            Reply::TransferBizAiIvr,
        ]
    }

    #[test]
    fn what_is_written_is_read_back_word_for_word_in_both_forms() {
        for (name, format) in [("xml", Format::Xml), ("json", Format::Json)] {
            for reply in every_type() {
                let body = super::super::render(&reply, "oA", "gh_1", 7, format);
                let read = read(format!("\u{feff} {body}\n").as_bytes(), &asked(name), 9).unwrap();
                assert_eq!(read, Given::Reply { reply, body });
            }
        }
    }

    #[test]
    fn an_answer_in_the_other_form_is_translated() {
        for reply in every_type() {
            let body = super::super::render(&reply, "oA", "gh_1", 7, Format::Json);
            let expected = super::super::render(&reply, "oA", "gh_1", 9, Format::Xml);
            assert_eq!(read(body.as_bytes(), &asked("xml"), 9), Ok(Given::Reply { reply, body: expected }));
        }
    }

    #[test]
    fn nothing_is_nothing_and_nonsense_is_refused() {
        for nothing in ["", "success", " success\r\n"] {
            assert_eq!(read(nothing.as_bytes(), &asked("xml"), 9), Ok(Given::Nothing));
        }
        let xml = |to: &str, from: &str, rest: &str| {
            format!("<xml><ToUserName>{to}</ToUserName><FromUserName>{from}</FromUserName>{rest}</xml>")
        };
        let text = "<MsgType>text</MsgType><Content>hi</Content>";
        for (body, word) in [
            ("SUCCESS!".to_owned(), "neither"),
            ("<html></html>".to_owned(), "neither"),
            ("<xml><MsgType>text".to_owned(), "neither"),
            (xml("oB", "gh_1", text), "ToUserName"),
            (xml("oA", "gh_2", text), "FromUserName"),
            (xml("oA", "gh_1", ""), "no MsgType"),
            (xml("oA", "gh_1", "<MsgType>event</MsgType>"), "none that"),
            (xml("oA", "gh_1", "<MsgType>text</MsgType>"), "Content"),
            (xml("oA", "gh_1", "<MsgType>image</MsgType>"), "MediaId"),
            (xml("oA", "gh_1", "<MsgType>music</MsgType><Music><Title>t</Title></Music>"), "ThumbMediaId"),
            (xml("oA", "gh_1", "<MsgType>news</MsgType><ArticleCount>0</ArticleCount>"), "Articles"),
        ] {
            let told = read(body.as_bytes(), &asked("xml"), 9).unwrap_err();
            assert!(told.contains(word), "{body}: {told}");
        }
    }
}
