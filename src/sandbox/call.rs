//! One API call and its answer, in the shapes of the page "Return codes". In: an HTTP request. Out: an HTTP response.

use std::net::{IpAddr, SocketAddr};

use axum::body::{Body, Bytes};
use axum::http::header::CONTENT_TYPE;
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// The address of the caller, put into each request by `Sandbox::serve`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer(pub(super) SocketAddr);

/// In a response: close the connection instead of writing it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut;

/// A request to `/cgi-bin/…`.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) is_post: bool,
    pub(super) path: String,
    pub(super) query: Vec<(String, String)>,
    pub(super) body: Bytes,
    pub(super) caller: Option<IpAddr>,
}

impl Call {
    pub(super) fn new(method: &Method, uri: &Uri, body: Bytes, caller: Option<IpAddr>) -> Self {
        let query = url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes());
        Self {
            is_post: method == Method::POST,
            path: uri.path().to_owned(),
            query: query.into_owned().collect(),
            body,
            caller,
        }
    }

    pub(super) fn param(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn token(&self) -> Option<&str> {
        self.param("access_token")
    }

    /// The body as a JSON object, or 43002, 44002, 47001.
    pub(super) fn json(&self) -> Result<Value, i64> {
        if !self.is_post {
            return Err(43002);
        }
        if self.body.is_empty() {
            return Err(44002);
        }
        let body: Value = serde_json::from_slice(&self.body).map_err(|_| 47001_i64)?;
        if body.is_object() { Ok(body) } else { Err(47001) }
    }
}

/// A refusal: the errcode, and the text when it is not the usual one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) errcode: i64,
    pub(super) errmsg: Option<String>,
}

impl Refusal {
    pub(super) fn with(errcode: i64, errmsg: impl Into<String>) -> Self {
        Self { errcode, errmsg: Some(errmsg.into()) }
    }

    /// `{"errcode":…,"errmsg":"… rid: …"}`.
    pub(super) fn into_body(self, rid: &str) -> Value {
        let text = self.errmsg.unwrap_or_else(|| usual_errmsg(self.errcode).to_owned());
        json!({"errcode": self.errcode, "errmsg": format!("{text} rid: {rid}")})
    }
}

impl From<i64> for Refusal {
    fn from(errcode: i64) -> Self {
        Self { errcode, errmsg: None }
    }
}

/// What goes over the wire.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Json(Value),
    /// The first half of the text.
    Truncated(Value),
    Html(u16),
    Empty,
    /// The connection is closed without an answer.
    Cut,
    /// Nothing comes, ever.
    Hang,
}

const HTML: &str = "<html>\r\n<head><title>Bad Gateway</title></head>\r\n<body>\r\n<center><h1>Bad Gateway</h1></center>\r\n<hr><center>sandbox</center>\r\n</body>\r\n</html>\r\n";

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        match self {
            Self::Json(body) => json_response(body.to_string()),
            Self::Truncated(body) => {
                let text = body.to_string();
                let half = text.char_indices().nth(text.chars().count() / 2).map_or(0, |(at, _)| at);
                json_response(text[..half].to_owned())
            }
            Self::Html(status) => {
                let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
                (status, [(CONTENT_TYPE, "text/html")], HTML).into_response()
            }
            Self::Empty => Body::empty().into_response(),
            // Whoever calls the router in process sees 502; over a socket nothing is written.
            Self::Cut | Self::Hang => {
                let mut response = StatusCode::BAD_GATEWAY.into_response();
                response.extensions_mut().insert(Cut);
                response
            }
        }
    }
}

fn json_response(text: String) -> Response {
    ([(CONTENT_TYPE, "application/json; encoding=utf-8")], text).into_response()
}

/// The text that WeChat writes beside an errcode.
fn usual_errmsg(errcode: i64) -> &'static str {
    match errcode {
        -1 => "system error",
        40001 => {
            "invalid credential, access_token is invalid or not latest, could get access_token by \
             getStableAccessToken, more details at https://mmbizurl.cn/s/JtxxFh33r"
        }
        40002 => "invalid grant_type",
        40003 => "invalid openid",
        40008 => "invalid message type",
        40013 => "invalid appid",
        40014 => "invalid access_token",
        40033 => "invalid charset. please check your request, if include \\uxxxx will create fail!",
        40037 => "invalid template_id",
        40066 => "invalid url",
        40125 => "invalid appsecret",
        40164 => "invalid ip, not in whitelist",
        40166 => "invalid weapp appid",
        40201 => "callback url is not set",
        40202 => "invalid action",
        40203 => "invalid check_operator",
        40241 => "duplicate message in 60 seconds",
        40243 => "appsecret is frozen",
        40249 => "marketing content is not allowed",
        41001 => "access_token missing",
        41002 => "appid missing",
        41004 => "appsecret missing",
        41009 => "missing openid",
        42001 => "access_token expired",
        43001 => "require GET method",
        43002 => "require POST method",
        43004 => "require subscribe",
        43019 => "require remove blacklist",
        43116 => "template banned",
        43117 => "send too frequently to this user",
        44002 => "empty post data",
        44004 => "empty content",
        45002 => "content size out of limit",
        45009 => "reach max api daily quota limit",
        45011 => "api minute-quota reach limit, must slower, retry next minute",
        45015 => "response out of time limit or subscription is canceled",
        45047 => "out of response count limit",
        47001 => "data format error",
        47002 => "unicode escape is not allowed, use utf-8",
        47003 => "argument invalid!",
        48001 => "api unauthorized",
        48004 => "api forbidden for irregularities",
        48006 => "forbid to clear quota because of reaching the limit",
        50002 => "user limited",
        50004 => "access_token api is forbidden",
        50007 => "account frozen",
        61024 => "this api requires a component access_token",
        76001 => "rid not found",
        76002 => "rid error",
        76004 => "rid is of another account",
        76021 => "cgi_path not found",
        89501..=89505 => "this ip needs to be confirmed by the administrator",
        89506 | 89507 => "this ip was refused by the administrator",
        _ => "refused by a switch of the sandbox",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_ends_with_its_rid() {
        let body = Refusal::from(43004).into_body("61725984-6126f6f9-040f19c4");
        assert_eq!(body, json!({"errcode":43004,"errmsg":"require subscribe rid: 61725984-6126f6f9-040f19c4"}));
    }

    #[test]
    fn a_truncated_answer_is_no_json_and_has_status_200() {
        let response = Answer::Truncated(json!({"errcode":0,"errmsg":"ok"})).into_response();
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json; encoding=utf-8");
    }

    #[test]
    fn parameters_are_decoded() {
        let uri = Uri::from_static("/cgi-bin/token?access_token=a%2Bb&x=");
        let call = Call::new(&Method::GET, &uri, Bytes::new(), None);
        assert_eq!((call.token(), call.param("x"), call.param("y")), (Some("a+b"), Some(""), None));
        assert_eq!(call.json(), Err(43002));
    }
}
