//! The pages that `type` of a problem points to: cause, cure and advice on retries.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use serde::Serialize;

use super::code::Code;
use super::error::ApiError;
use super::extract::path::Texts;
use super::page::{frame, html, prose, wants_html};

/// A code, explained.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ProblemPage {
    #[serde(rename = "type")]
    #[schema(example = "/problems/recipient_refused")]
    pub kind: String,
    pub code: Code,
    pub status: u16,
    pub title: &'static str,
    pub cause: &'static str,
    pub cure: &'static str,
    pub retryable: bool,
}

impl From<Code> for ProblemPage {
    fn from(code: Code) -> Self {
        let meaning = code.meaning();
        Self {
            kind: format!("/problems/{}", meaning.text),
            code,
            status: meaning.status.as_u16(),
            title: meaning.title,
            cause: meaning.cause,
            cure: meaning.cure,
            retryable: meaning.retryable,
        }
    }
}

/// All codes.
#[utoipa::path(get, path = "/problems", tag = "operation", responses((status = 200, description = "Every error code.", body = Vec<ProblemPage>)))]
pub async fn list(headers: HeaderMap) -> Response {
    if !wants_html(&headers) {
        return Json(Code::ALL.into_iter().map(ProblemPage::from).collect::<Vec<_>>()).into_response();
    }
    let mut rows = String::new();
    for code in Code::ALL {
        let meaning = code.meaning();
        rows.push_str(&format!(
            "<tr><td><a href=\"/problems/{0}\"><code>{0}</code></a></td><td>{1}</td><td>{2}</td></tr>",
            meaning.text,
            meaning.status.as_u16(),
            prose(meaning.title)
        ));
    }
    let table = format!("<h1>Problems</h1><table><tr><th>code</th><th>status</th><th>meaning</th></tr>{rows}</table>");
    html(frame("wxgate: problems", &table))
}

/// One code.
#[utoipa::path(
    get, path = "/problems/{code}", tag = "operation",
    params(("code" = String, Path,)),
    responses((status = 200, description = "The code, explained.", body = ProblemPage)),
)]
pub async fn look_up(Texts(code): Texts<String>, headers: HeaderMap) -> Result<Response, ApiError> {
    let code = Code::parse(&code).ok_or_else(ApiError::not_found)?;
    if !wants_html(&headers) {
        return Ok(Json(ProblemPage::from(code)).into_response());
    }
    let meaning = code.meaning();
    let retry = match meaning.retryable {
        true => {
            "Yes: the same request may succeed later. Wait for <code>Retry-After</code> when it is there, and send the same <code>Idempotency-Key</code> again."
        }
        false => "No: the same request would be refused again.",
    };
    let body = format!(
        "<p class=\"mute\"><a href=\"/problems\">Problems</a></p><h1>{}</h1><p><code>{}</code>, status {}</p>\
         <h2>Cause</h2><p>{}</p><h2>Cure</h2><p>{}</p><h2>Retry?</h2><p>{retry}</p>",
        prose(meaning.title),
        meaning.text,
        meaning.status.as_u16(),
        prose(meaning.cause),
        prose(meaning.cure),
    );
    Ok(html(frame(meaning.title, &body)))
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::extract::Request;
    use http::header::{ACCEPT, CONTENT_TYPE};
    use http_body_util::BodyExt;
    use tower::ServiceExt;

    use super::*;

    async fn ask(path: &str, accept: &'static str) -> (u16, String, String) {
        let app: Router = crate::http::pages();
        let request = Request::get(path).header(ACCEPT, accept).body(Body::empty()).unwrap();
        let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
        let text = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
        let content_type = parts.headers.get(CONTENT_TYPE).map(|value| value.to_str().unwrap().to_owned());
        (parts.status.as_u16(), content_type.unwrap_or_default(), text)
    }

    #[tokio::test]
    async fn every_code_has_its_page_for_people_and_for_programs() {
        for code in Code::ALL {
            let path = format!("/problems/{}", code.as_str());
            let (status, content_type, page) = ask(&path, "text/html,application/xhtml+xml").await;
            assert_eq!((status, content_type.as_str()), (200, "text/html; charset=utf-8"));
            assert!(page.contains("<h2>Cure</h2>"));
            let (status, _, text) = ask(&path, "*/*").await;
            let page: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!((status, page["code"].as_str()), (200, Some(code.as_str())));
        }
        assert_eq!(ask("/problems/made_up", "*/*").await.0, 404);
        let (_, _, text) = ask("/problems", "application/json").await;
        assert_eq!(serde_json::from_str::<Vec<serde_json::Value>>(&text).unwrap().len(), Code::ALL.len());
    }

    #[tokio::test]
    async fn the_other_pages_are_there_and_load_nothing_from_elsewhere() {
        for path in ["/", "/docs", "/problems"] {
            let (status, content_type, page) = ask(path, "text/html").await;
            assert_eq!((status, content_type.as_str()), (200, "text/html; charset=utf-8"), "{path}");
            assert!(!page.contains("<script") && !page.contains("src=\"http"), "{path}");
        }
        let (status, content_type, text) = ask("/openapi.json", "*/*").await;
        assert_eq!((status, content_type.as_str()), (200, "application/json"));
        assert!(text.contains("\"openapi\":\"3.1.0\""));
    }
}
