//! The OpenAPI 3.1 document, put together from the handlers and their wire types.

use utoipa::openapi::path::{Operation, PathItem};
use utoipa::openapi::{ContentBuilder, Ref, ResponseBuilder};
use utoipa::{Modify, OpenApi};

use super::api::{
    accounts, audit, batches, events, events_ws, messages, send_request, suppressions, tickets, users, views, webhooks,
};
use super::callback_events::CallbackEvents;
use super::error::{Code, Problem, Upstream};
use super::security::Schemes;
use super::{health, problems};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "wxgate",
        description = "A WeChat push gateway. A 2xx answer to a send means: the message is on disk and will reach a final state that can be read. Any 4xx or 5xx means: nothing more will be sent.",
    ),
    paths(
        messages::send, messages::list, messages::look_up, messages::cancel, messages::retry, messages::resolve,
        batches::send, batches::look_up, batches::cancel,
        events::list, events_ws::watch, tickets::create,
        accounts::list, accounts::create, accounts::look_up, accounts::change, accounts::delete, accounts::token::token,
        users::list, users::look_up, users::change, users::forget, suppressions::list, suppressions::lift, audit::list,
        webhooks::list, webhooks::create, webhooks::look_up, webhooks::change, webhooks::delete, webhooks::rotate, webhooks::test,
        webhooks::deliveries::list, webhooks::deliveries::retry, webhooks::replay::replay,
        health::health, health::ready, health::metrics, problems::list, problems::look_up,
    ),
    components(schemas(
        Problem, Upstream, Code, events::EventView, send_request::KeywordValue, send_request::MiniProgramValue, views::RehearsalView,
    )),
    tags(
        (name = "messages", description = "Send, read, cancel, retry, resolve."),
        (name = "batches", description = "Many sends at once: keep, read, cancel."),
        (name = "events", description = "What happened: to go through, or as it happens."),
        (name = "accounts", description = "WeChat accounts made at run time, and the tokens of all."),
        (name = "users", description = "Openids that were seen, their business user ids, and whom WeChat refuses."),
        (name = "webhooks", description = "Where events are delivered to, and how that goes."),
        (name = "audit", description = "Who did what to the gateway itself."),
        (name = "operation", description = "Health, figures, error codes."),
    ),
    modifiers(&Schemes, &Refusals, &CallbackEvents),
)]
struct Document;

/// What every route of a kind may answer besides what its handler tells.
struct Refusals;

/// Of every route that asks who calls.
const OF_CALLERS: [Code; 7] = [
    Code::Unauthenticated,
    Code::Forbidden,
    Code::RateLimited,
    Code::MethodNotAllowed,
    Code::Internal,
    Code::Overloaded,
    Code::StorageUnavailable,
];
/// Of every route that reads a body.
const OF_BODIES: [Code; 4] =
    [Code::MalformedRequest, Code::RequestTimeout, Code::PayloadTooLarge, Code::UnsupportedMediaType];

impl Modify for Refusals {
    fn modify(&self, document: &mut utoipa::openapi::OpenApi) {
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            if operation.security.is_some() {
                OF_CALLERS.into_iter().for_each(|code| tell(operation, code));
            }
            if operation.request_body.is_some() {
                OF_BODIES.into_iter().for_each(|code| tell(operation, code));
            }
        }
    }
}

pub(super) fn operations(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
}

/// Adds the answer, unless the handler has told of its status already.
fn tell(operation: &mut Operation, code: Code) {
    let meaning = code.meaning();
    let description = format!("`{}`: {}.", meaning.text, meaning.title);
    let problem = ContentBuilder::new().schema(Some(Ref::from_schema_name("Problem"))).build();
    let response = ResponseBuilder::new().description(description).content("application/problem+json", problem);
    let status = meaning.status.as_str().to_owned();
    operation.responses.responses.entry(status).or_insert_with(|| response.build().into());
}

/// The document, as `/openapi.json` and `wxgate openapi` give it.
pub fn openapi() -> utoipa::openapi::OpenApi {
    Document::openapi()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_document_names_every_path_and_code() {
        let document = serde_json::to_value(openapi()).unwrap();
        assert_eq!(document["openapi"], "3.1.0");
        assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
        let schemes = &document["components"]["securitySchemes"];
        assert_eq!((&schemes["key"]["scheme"], &schemes["jwt"]["bearerFormat"]), (&"bearer".into(), &"JWT".into()));
        assert_eq!(schemes["signed_nonce"]["name"], "X-Wxgate-Nonce");
        let needs = &document["paths"]["/send-template"]["post"]["security"];
        let signed = serde_json::json!({
            "signed_key": ["send"], "signed_timestamp": ["send"], "signed_nonce": ["send"], "signed_signature": ["send"],
        });
        assert_eq!(*needs, serde_json::json!([{"key": ["send"]}, {"jwt": ["send"]}, signed]));
        assert!(document["paths"]["/health"]["get"]["security"].is_null());
        let paths: Vec<&str> = document["paths"].as_object().unwrap().keys().map(String::as_str).collect();
        for path in ["/send-template", "/v1/messages/{id}", "/v1/accounts/{account}/token", "/ready"] {
            assert!(paths.contains(&path), "{path} in {paths:?}");
        }
        assert_eq!(document["components"]["schemas"]["Code"]["enum"].as_array().unwrap().len(), Code::ALL.len());
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let text = serde_json::to_string(&openapi()).unwrap();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        for part in text.split("\"$ref\":\"#").skip(1) {
            let pointer = part.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
        }
    }

    #[test]
    fn fields_that_are_not_on_the_wire_are_not_in_the_document() {
        let document = serde_json::to_value(openapi()).unwrap();
        let send = &document["components"]["schemas"]["SendRequest"]["properties"];
        assert!(send["async"].is_object() && send["ttl_s"].is_object() && send["metadata"].is_object());
        assert!(send["warnings"].is_null() && send["r#async"].is_null());
    }
}
