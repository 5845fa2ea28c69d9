//! A passive reply as a customer-service message (page "Customer service messages"): [`Reply`] → the body of
//! `/cgi-bin/message/custom/send`.

use serde_json::{Map, Value, json};

use super::Reply;
use crate::wechat::send::clean;

impl Reply {
    /// `None`: there is no such message. Of several articles only the first can be sent.
    pub fn as_custom(&self, openid: &str) -> Option<String> {
        let content = match self {
            Self::Text { content } => object(&[("content", Some(content))]),
            Self::Image { media_id } | Self::Voice { media_id } => object(&[("media_id", Some(media_id))]),
            Self::Video { media_id, title, description } => object(&[
                ("media_id", Some(media_id)),
                ("title", title.as_ref()),
                ("description", description.as_ref()),
            ]),
            Self::Music { title, description, music_url, hq_music_url, thumb_media_id } => object(&[
                ("title", title.as_ref()),
                ("description", description.as_ref()),
                ("musicurl", music_url.as_ref()),
                ("hqmusicurl", hq_music_url.as_ref()),
                ("thumb_media_id", Some(thumb_media_id)),
            ]),
            Self::News { articles } => {
                let article = articles.first()?;
                let article = object(&[
                    ("title", Some(&article.title)),
                    ("description", Some(&article.description)),
                    ("url", Some(&article.url)),
                    ("picurl", Some(&article.pic_url)),
                ]);
                json!({ "articles": [article] })
            }
            Self::TransferCustomerService { .. } | Self::TransferBizAiIvr => return None,
        };
        let kind = self.msg_type();
        Some(json!({ "touser": clean(openid), "msgtype": kind, kind: content }).to_string())
    }
}

fn object(members: &[(&str, Option<&String>)]) -> Value {
    let given = members
        .iter()
        .filter_map(|(name, text)| Some(((*name).to_owned(), Value::String(clean((*text)?).into_owned()))));
    Value::Object(given.collect::<Map<_, _>>())
}

#[cfg(test)]
mod tests {
    use super::super::Article;
    use super::*;

    fn custom(reply: &Reply) -> Value {
        serde_json::from_str(&reply.as_custom("oA").unwrap()).unwrap()
    }

    #[test]
    fn each_type_has_the_names_of_the_other_page() {
        let id = || "M-1".to_owned();
        let text = Reply::Text { content: "a\u{1}茶".to_owned() };
        assert_eq!(custom(&text), json!({"touser": "oA", "msgtype": "text", "text": {"content": "a茶"}}));
        assert!(text.as_custom("oA").unwrap().contains("茶"), "raw, not escaped");
        let image = Reply::Image { media_id: id() };
        assert_eq!(custom(&image), json!({"touser": "oA", "msgtype": "image", "image": {"media_id": "M-1"}}));
        let voice = Reply::Voice { media_id: id() };
        assert_eq!(custom(&voice)["voice"], json!({"media_id": "M-1"}));
        let video = Reply::Video { media_id: id(), title: Some("t".to_owned()), description: None };
        assert_eq!(custom(&video)["video"], json!({"media_id": "M-1", "title": "t"}));
        let music = Reply::Music {
            title: None,
            description: Some("d".to_owned()),
            music_url: Some("https://m".to_owned()),
            hq_music_url: Some("https://h".to_owned()),
            thumb_media_id: id(),
        };
        assert_eq!(
            custom(&music)["music"],
            json!({"description": "d", "musicurl": "https://m", "hqmusicurl": "https://h", "thumb_media_id": "M-1"})
        );
        let article = |title: &str| Article {
            title: title.to_owned(),
            description: "d".to_owned(),
            pic_url: "https://p".to_owned(),
            url: "https://u".to_owned(),
        };
        let news = Reply::News { articles: vec![article("one"), article("two")] };
        assert_eq!(
            custom(&news)["news"],
            json!({"articles": [{"title": "one", "description": "d", "url": "https://u", "picurl": "https://p"}]})
        );
        assert_eq!(Reply::TransferCustomerService { kf_account: None }.as_custom("oA"), None);
        assert_eq!(Reply::TransferBizAiIvr.as_custom("oA"), None);
    }
}
