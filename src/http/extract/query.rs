//! Query parameters: each name known, each once.

use axum::extract::FromRequestParts;
use http::request::Parts;
use url::form_urlencoded;

use super::nearest;
use crate::http::error::{ApiError, Code};
use crate::services::accept::FieldError;

/// The parameters of a request, to be taken one by one.
pub struct Query {
    pairs: Vec<(String, String)>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl<S: Send + Sync> FromRequestParts<S> for Query {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, ApiError> {
        Self::parse(parts.uri.query().unwrap_or_default())
    }
}

impl Query {
    pub fn parse(query: &str) -> Result<Self, ApiError> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            if pairs.iter().any(|(known, _)| *known == name) {
                return Err(ApiError::with_errors(
                    Code::MalformedRequest,
                    vec![fault(&name, "duplicate", "comes twice")],
                ));
            }
            pairs.push((name.into_owned(), value.into_owned()));
        }
        Ok(Self { pairs, known: Vec::new(), errors: Vec::new() })
    }

    /// An empty value counts as missing.
    pub fn text(&mut self, name: &'static str) -> Option<String> {
        self.known.push(name);
        let index = self.pairs.iter().position(|(written, _)| written == name)?;
        Some(self.pairs.remove(index).1).filter(|value| !value.is_empty())
    }

    /// `parse` gives `None` for what is not legal; `expected` says what is.
    pub fn parsed<T>(
        &mut self,
        name: &'static str,
        expected: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let value = parse(&text);
        if value.is_none() {
            self.errors.push(fault(name, "query", &format!("expected {expected}")));
        }
        value
    }

    /// 400 when a parameter was not legal, or is left over.
    pub fn close(self) -> Result<(), ApiError> {
        let mut errors = self.errors;
        for (name, _) in &self.pairs {
            errors.push(fault(name, "unknown_parameter", &format!("unknown parameter{}", nearest(name, &self.known))));
        }
        if errors.is_empty() {
            return Ok(());
        }
        Err(ApiError::with_errors(Code::MalformedRequest, errors))
    }
}

fn fault(name: &str, code: &'static str, detail: &str) -> FieldError {
    FieldError { path: format!("?{name}"), code, detail: detail.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_taken_once_and_the_rest_is_refused() {
        let mut query = Query::parse("state=sent&limit=5&touser=").unwrap();
        assert_eq!(query.text("state").as_deref(), Some("sent"));
        assert_eq!(query.text("touser"), None);
        assert_eq!(query.parsed("limit", "1 to 200", |text| text.parse::<u32>().ok()), Some(5));
        assert!(query.close().is_ok());

        let mut query = Query::parse("stat=sent&limit=x").unwrap();
        query.text("state");
        query.parsed("limit", "1 to 200", |text| text.parse::<u32>().ok());
        let error = query.close().unwrap_err();
        assert_eq!(error.errors().len(), 2);
        assert!(error.errors()[1].detail.contains("did you mean state?"));
        assert_eq!(Query::parse("a=1&a=2").err().map(|error| error.code()), Some(Code::MalformedRequest));
    }
}
