//! What anybody may read, and how paths and methods that are none are refused.

use std::collections::HashSet;

use reqwest::Method;
use serde_json::Value;

use super::wire::{Wire, no_fault_inside, nothing_happened};
use crate::harness::{Reply, TestApp};

const METHODS: [&str; 5] = ["get", "put", "post", "delete", "patch"];

async fn ask(app: &TestApp, method: Method, path: &str) -> Reply {
    app.anonymous(method, path).send().await
}

/// Every operation: path, verb, what the document says of it.
fn operations(document: &Value) -> Vec<(&str, &str, &Value)> {
    let paths = document["paths"].as_object().unwrap();
    let all = paths.iter().flat_map(|(path, verbs)| {
        verbs.as_object().unwrap().iter().map(move |(verb, operation)| (path, verb, operation))
    });
    all.map(|(path, verb, operation)| (path.as_str(), verb.as_str(), operation)).collect()
}

#[tokio::test]
async fn paths_that_are_none_are_404() {
    let app = TestApp::start().await;
    for path in [
        "/nowhere",
        "/send-template/",
        "/send-template/x",
        "/v1",
        "/v1/",
        "/v1/message",
        "/v1/messages/",
        "/V1/messages",
        "/docs/x",
        "//health",
        "/health/",
    ] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            ask(&app, method, path).await.is_problem(404, "not_found");
        }
    }
    ask(&app, Method::GET, "/problems/made_up").await.is_problem(404, "not_found");
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_method_that_a_path_does_not_know_is_405_with_those_it_knows() {
    let app = TestApp::start().await;
    let document = ask(&app, Method::GET, "/openapi.json").await.json();
    for (path, verbs) in document["paths"].as_object().unwrap() {
        let known: HashSet<&str> = verbs.as_object().unwrap().keys().map(String::as_str).collect();
        let real = path
            .replace("{id}", "msg_x")
            .replace("{account}", "shop")
            .replace("{openid}", "oX")
            .replace("{code}", "internal");
        for verb in METHODS.iter().chain(&["options", "trace", "brew"]).filter(|verb| !known.contains(*verb)) {
            let method = Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap();
            let reply = ask(&app, method, &real).await;
            reply.is_problem(405, "method_not_allowed");
            let allow = reply.header("allow").unwrap().to_lowercase();
            let allowed: HashSet<&str> = allow.split(',').map(str::trim).filter(|verb| *verb != "head").collect();
            assert_eq!(allowed, known, "{verb} {path}");
        }
    }
    for method in [Method::PUT, Method::DELETE, Method::OPTIONS] {
        for path in ["/wechat", "/wechat/shop", "/wechat/nowhere"] {
            let reply = ask(&app, method.clone(), path).await;
            assert_eq!((reply.status, reply.header("allow")), (405, Some("GET,HEAD,POST")), "{method} {path}");
        }
    }
    nothing_happened(&app).await;
}

#[tokio::test]
async fn head_is_get_without_a_body() {
    let app = TestApp::start().await;
    for path in ["/", "/health", "/ready", "/metrics", "/docs", "/openapi.json", "/problems", "/problems/internal"] {
        let mut wire = Wire::connect(&app).await;
        wire.write(format!("HEAD {path} HTTP/1.1\r\nhost: x\r\n\r\nGET /health HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        // The heads one after the other, nothing between them.
        let text = wire.read_until("\"version\"").await;
        assert!(text.starts_with("HTTP/1.1 200"), "{path} {text}");
        assert!(text.split_once("\r\n\r\n").unwrap().1.starts_with("HTTP/1.1 200"), "{path} {text}");
    }
    let refused = ask(&app, Method::HEAD, "/v1/messages").await;
    assert_eq!((refused.status, refused.text.as_str()), (401, ""));
    let nowhere = ask(&app, Method::HEAD, "/nowhere").await;
    assert_eq!((nowhere.status, nowhere.text.as_str()), (404, ""));
}

#[tokio::test]
async fn every_code_has_its_page_for_people_and_for_programs() {
    let app = TestApp::start().await;
    let document = ask(&app, Method::GET, "/openapi.json").await.json();
    let codes = document["components"]["schemas"]["Code"]["enum"].as_array().unwrap();
    let listed = ask(&app, Method::GET, "/problems").await.json();
    assert_eq!(listed.as_array().unwrap().len(), codes.len());
    for (code, entry) in codes.iter().zip(listed.as_array().unwrap()) {
        let code = code.as_str().unwrap();
        let path = format!("/problems/{code}");
        let page = ask(&app, Method::GET, &path).await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("application/json")), "{code}");
        assert_eq!(&page.json(), entry);
        for field in ["title", "cause", "cure"] {
            assert!(entry[field].as_str().is_some_and(|text| text.len() > 5), "{code} {field}");
        }
        assert_eq!((&entry["code"], &entry["type"]), (&Value::from(code), &Value::from(path.as_str())));
        assert!((400..600).contains(&entry["status"].as_u64().unwrap()) && entry["retryable"].is_boolean());
        let page = app.anonymous(Method::GET, &path).header("accept", "text/html").send().await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{code}");
        assert!(page.text.contains(entry["title"].as_str().unwrap()) && page.text.contains(code), "{}", page.text);
    }
}

#[tokio::test]
async fn pages_need_nothing_from_elsewhere() {
    let app = TestApp::start().await;
    for path in ["/", "/docs", "/problems", "/problems/internal"] {
        let page = app.anonymous(Method::GET, path).header("accept", "text/html").send().await;
        assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")), "{path}");
        assert!(page.header("content-security-policy").unwrap().contains("default-src 'none'"));
        for attribute in ["src=", "href=", "@import", "url("] {
            for part in page.text.split(attribute).skip(1) {
                let target = part.trim_start_matches(['"', '\'']);
                assert!(
                    !target.starts_with("http") && !target.starts_with("//"),
                    "{path} {attribute}{}",
                    &part[..40.min(part.len())]
                );
            }
        }
        // Every link within leads somewhere.
        for part in page.text.split("href=\"/").skip(1) {
            let target = format!("/{}", part.split(['"', '#']).next().unwrap());
            assert_eq!(ask(&app, Method::GET, &target).await.status, 200, "{path} -> {target}");
        }
    }
    no_fault_inside(&app).await;
}

#[tokio::test]
async fn the_openapi_document_holds_together() {
    let app = TestApp::start().await;
    let reply = ask(&app, Method::GET, "/openapi.json").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    let document = reply.json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    assert!(document["info"]["title"].is_string() && document["info"]["version"].is_string());
    let tags: HashSet<&str> =
        document["tags"].as_array().unwrap().iter().map(|tag| tag["name"].as_str().unwrap()).collect();
    let schemes = document["components"]["securitySchemes"].as_object().unwrap();
    let mut ids = HashSet::new();
    for (path, verb, operation) in operations(&document) {
        let place = format!("{verb} {path}");
        assert!(METHODS.contains(&verb) && path.starts_with('/'), "{place}");
        assert!(ids.insert(operation["operationId"].as_str().unwrap()), "{place}: an id that another operation has");
        assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{place}");
        for tag in operation["tags"].as_array().unwrap() {
            assert!(tags.contains(tag.as_str().unwrap()), "{place}");
        }
        check_parameters(path, operation, &place);
        check_responses(operation, &place);
        for need in operation["security"].as_array().into_iter().flatten() {
            assert!(need.as_object().unwrap().keys().all(|name| schemes.contains_key(name)), "{place}");
        }
    }
    check_references(&document, &document);
}

fn check_parameters(path: &str, operation: &Value, place: &str) {
    let parameters = operation["parameters"].as_array().cloned().unwrap_or_default();
    let mut seen = HashSet::new();
    for parameter in &parameters {
        let (name, place_of) = (parameter["name"].as_str().unwrap(), parameter["in"].as_str().unwrap());
        assert!(seen.insert((name.to_lowercase(), place_of.to_owned())), "{place}: {name} twice");
        assert!(["path", "query", "header"].contains(&place_of) && parameter["schema"].is_object(), "{place}: {name}");
    }
    let in_path: HashSet<&str> = parameters
        .iter()
        .filter(|p| p["in"] == "path" && p["required"] == true)
        .map(|p| p["name"].as_str().unwrap())
        .collect();
    let in_template: HashSet<&str> =
        path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
    assert_eq!(in_path, in_template, "{place}");
}

fn check_responses(operation: &Value, place: &str) {
    let responses = operation["responses"].as_object().unwrap();
    assert!(responses.keys().any(|status| status.starts_with('2') || status == "101"), "{place}");
    for (status, response) in responses {
        assert!(response["description"].as_str().is_some_and(|text| !text.is_empty()), "{place} {status}");
        let problem = &response["content"]["application/problem+json"]["schema"]["$ref"];
        if status.starts_with(['4', '5']) && place != "get /ready" {
            assert_eq!(problem, "#/components/schemas/Problem", "{place} {status}");
        }
    }
    let told = |status: &str| responses.contains_key(status) || responses.contains_key(&format!("{}XX", &status[..1]));
    if operation["security"].is_array() {
        for status in ["401", "403", "500", "503"] {
            assert!(told(status), "{place} says nothing of {status}");
        }
    }
    if operation["requestBody"].is_object() {
        for status in ["400", "408", "413", "415"] {
            assert!(told(status), "{place} says nothing of {status}");
        }
    }
}

/// Every `$ref` leads somewhere, and every example and default has the type of its schema.
fn check_references(document: &Value, node: &Value) {
    match node {
        Value::Object(members) => {
            if let Some(target) = members.get("$ref").and_then(Value::as_str) {
                let pointer = target.strip_prefix('#').unwrap_or_else(|| panic!("{target} leads outside"));
                assert!(document.pointer(pointer).is_some(), "{target}");
            }
            if let (Some(example), Some(Value::String(kind))) = (members.get("example"), members.get("type")) {
                let fits = match kind.as_str() {
                    "string" => example.is_string(),
                    "integer" => example.is_i64() || example.is_u64(),
                    "number" => example.is_number(),
                    "boolean" => example.is_boolean(),
                    "array" => example.is_array(),
                    "object" => example.is_object(),
                    _ => false,
                };
                assert!(fits, "{example} is no {kind}");
                let required = members.get("required").and_then(Value::as_array).into_iter().flatten();
                for name in required {
                    assert!(example.get(name.as_str().unwrap()).is_some(), "{name} is missing in {example}");
                }
                for name in example.as_object().into_iter().flat_map(|example| example.keys()) {
                    let is_known = node["properties"].get(name).is_some() || node.get("additionalProperties").is_some();
                    assert!(is_known, "{name} is not among the properties of {example}");
                }
            }
            members.values().for_each(|value| check_references(document, value));
        }
        Value::Array(items) => items.iter().for_each(|value| check_references(document, value)),
        _ => {}
    }
}

#[tokio::test]
async fn examples_of_the_document_are_taken_by_the_server_that_serves_it() {
    let app = TestApp::start().await;
    let document = ask(&app, Method::GET, "/openapi.json").await.json();
    let mut examples = 0;
    for (path, verb, operation) in operations(&document) {
        let Some(target) = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].as_str() else {
            continue;
        };
        let mut example = document.pointer(target.strip_prefix('#').unwrap()).unwrap()["example"].clone();
        assert!(example.is_object(), "{verb} {path} has no example");
        if path == "/send-template" {
            example["dry_run"] = true.into();
        }
        let real = path
            .replace("{id}", "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV")
            .replace("{account}", if path == "/v1/accounts/{account}" { "branch" } else { "shop" })
            .replace("{openid}", "oX");
        let reply =
            app.request(Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap(), &real).json(&example).send().await;
        assert!([200, 201, 202, 404].contains(&reply.status), "{verb} {path} {}", reply.text);
        examples += 1;
    }
    assert!(examples >= 3);
}

#[tokio::test]
async fn a_view_has_no_field_that_the_document_does_not_name() {
    let app = TestApp::start().await;
    let document = ask(&app, Method::GET, "/openapi.json").await.json();
    let check = |schema: &str, value: &Value| {
        let schema = &document["components"]["schemas"][schema];
        for name in value.as_object().unwrap().keys() {
            assert!(schema["properties"].get(name).is_some(), "{name} in {value}");
        }
        for name in schema["required"].as_array().into_iter().flatten() {
            assert!(value.get(name.as_str().unwrap()).is_some(), "{name} is missing in {value}");
        }
    };
    let sent = app.send("sim-ok").await;
    check("SentView", &sent.json());
    let message = app.message(&sent.field("message_id")).await;
    check("MessageView", &message);
    check("Attempt", &message["attempts"][0]);
    check("HistoryEntry", &message["history"][0]);
    check("MessageList", &app.get("/v1/messages").send().await.json());
    check("TokenView", &app.get("/v1/accounts/shop/token").send().await.json());
    check("HealthView", &app.get("/health").send().await.json());
    let ready = app.get("/ready").send().await.json();
    check("ReadyView", &ready);
    check("Component", &ready["components"][0]);
    let problem = app.send("sim-not-subscribed").await.json();
    check("Problem", &problem);
    check("Upstream", &problem["upstream"]);
    check("SuppressionList", &app.get("/v1/accounts/shop/suppressions").send().await.json());
    let invalid = app.post("/send-template").json(&serde_json::json!({})).send().await.json();
    check("Problem", &invalid);
    check("FieldError", &invalid["errors"][0]);
}
