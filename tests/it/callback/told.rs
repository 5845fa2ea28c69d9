//! What subscribers are told of each type is what the OpenAPI document says of it.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde_json::{Value, json};
use wxgate::sandbox::CallbackRequest;
use wxgate::wechat::event;
use wxgate::wechat::message::Message;

use crate::harness::TestApp;

const FIXTURES: &str = "tests/fixtures/wechat";
/// In every sample of a message.
const SAMPLE_MSG_ID: &str = "31007199254740993";

/// A reader of JSON Schema that knows the words that the document uses, and stops at others. Members that no schema names
/// are faults here.
struct Schemas(Value);

impl Schemas {
    fn of(document: &Value) -> Self {
        Self(document["components"]["schemas"].clone())
    }

    fn faults(&self, name: &str, value: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        self.check(&json!({"$ref": format!("#/components/schemas/{name}")}), value, name, &mut faults);
        faults
    }

    fn check(&self, schema: &Value, value: &Value, path: &str, faults: &mut Vec<String>) {
        for (word, rule) in schema.as_object().unwrap() {
            match word.as_str() {
                "$ref" => {
                    let name = rule.as_str().unwrap().strip_prefix("#/components/schemas/").unwrap();
                    assert!(self.0[name].is_object(), "{name} is not there");
                    self.check(&self.0[name], value, path, faults);
                }
                "type" => {
                    let types: Vec<&str> = match rule {
                        Value::Array(types) => types.iter().map(|one| one.as_str().unwrap()).collect(),
                        one => vec![one.as_str().unwrap()],
                    };
                    if !types.iter().any(|one| is_of(value, one)) {
                        faults.push(format!("{path}: {value} is none of {types:?}"));
                    }
                }
                "enum" => {
                    if !rule.as_array().unwrap().contains(value) {
                        faults.push(format!("{path}: {value} is none of {rule}"));
                    }
                }
                "required" => {
                    for name in rule.as_array().unwrap() {
                        if value.get(name.as_str().unwrap()).is_none() {
                            faults.push(format!("{path}: {name} is missing"));
                        }
                    }
                }
                "properties" => {
                    for (name, member) in value.as_object().into_iter().flatten() {
                        match rule.get(name) {
                            Some(rule) => self.check(rule, member, &format!("{path}/{name}"), faults),
                            None => faults.push(format!("{path}: nobody has said that there is {name}")),
                        }
                    }
                }
                "additionalProperties" => {
                    assert_eq!(*rule, json!(false));
                    if value.as_object().is_some_and(|members| !members.is_empty()) {
                        faults.push(format!("{path}: {value} is not empty"));
                    }
                }
                "items" => {
                    for item in value.as_array().into_iter().flatten() {
                        self.check(rule, item, &format!("{path}/-"), faults);
                    }
                }
                "description" | "format" | "examples" => {}
                other => panic!("{path}: this test does not know `{other}` yet"),
            }
        }
    }
}

fn is_of(value: &Value, kind: &str) -> bool {
    match kind {
        "string" => value.is_string(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        "boolean" => value.is_boolean(),
        "object" => value.is_object(),
        "array" => value.is_array(),
        "null" => value.is_null(),
        other => panic!("{other}"),
    }
}

fn fixtures(folder: &str, format: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == format)).collect();
    found.sort();
    found
}

async fn document(app: &TestApp) -> Value {
    app.get("/openapi.json").send().await.json()
}

#[tokio::test]
async fn every_documented_type_has_a_schema_and_an_example_that_fits() {
    let app = TestApp::start().await;
    let document = document(&app).await;
    let schemas = Schemas::of(&document);
    let events = event::names().map(|name| format!("callback.event.{name}"));
    let known: Vec<String> = Message::TYPES.iter().map(|name| format!("callback.{name}")).chain(events).collect();
    assert_eq!(known.len(), 52);
    let union = &schemas.0["CallbackEvent"];
    let members: BTreeSet<&str> =
        union["oneOf"].as_array().unwrap().iter().map(|one| one["$ref"].as_str().unwrap()).collect();
    for name in &known {
        let schema = &schemas.0[name];
        let examples = schema["examples"].as_array().unwrap_or_else(|| panic!("{name} has no example"));
        assert_eq!(examples.len(), 1, "{name}");
        assert_eq!(examples[0]["type"], json!(name));
        assert_eq!(schemas.faults(name, &examples[0]), Vec::<String>::new());
        let content = &schema["properties"]["data"]["properties"]["content"];
        let is_typed =
            ["properties", "$ref", "items", "additionalProperties"].iter().any(|word| !content[word].is_null());
        assert!(is_typed, "{name} is not typed: {content}");
        let place = format!("#/components/schemas/{name}");
        assert!(members.contains(place.as_str()), "{name} is not in CallbackEvent");
        assert_eq!(union["discriminator"]["mapping"][name], json!(place));
        assert!(schema["description"].as_str().is_some_and(|text| !text.contains("not documented")), "{name}");
    }
    // The reader does find faults.
    let mut broken = schemas.0["callback.event.SCAN"]["examples"][0].clone();
    broken["data"]["content"]["ticket"] = json!(7);
    broken["data"]["content"]["more"] = json!("x");
    broken["data"]["msg_type"] = json!("text");
    assert_eq!(schemas.faults("callback.event.SCAN", &broken).len(), 3);
    broken["data"].as_object_mut().unwrap().remove("content");
    assert_eq!(schemas.faults("callback.event.SCAN", &broken).len(), 2);
}

#[tokio::test]
async fn what_is_told_of_each_sample_is_what_the_document_says() {
    let app = TestApp::start().await;
    let schemas = Schemas::of(&document(&app).await);
    let mut seen = BTreeSet::new();
    for (number, path) in ["xml", "json"].iter().flat_map(|format| fixtures(FIXTURES, format)).enumerate() {
        // WeChat gives no MsgId twice, and an event of the same second and content is the same one.
        let (id, second) = (format!("{}", 9_000_000 + number), format!("{}", 1_700_000_000 + number));
        let body = std::fs::read_to_string(&path).unwrap().replace(SAMPLE_MSG_ID, &id).replace("1700000000", &second);
        let body = body.replace("3487542469355618313", &format!("34875424693556{number:05}"));
        let body = body.replace("1864323726461255680", &format!("18643237264612{number:05}"));
        assert!(app.sandbox.send_callback(CallbackRequest::raw(&body)).await.unwrap().accepted, "{}", path.display());
        let told = newest(&app).await;
        let kind = told["type"].as_str().unwrap().to_owned();
        assert_eq!(kind, format!("callback.{}", path.file_stem().unwrap().to_str().unwrap()));
        if kind == "callback.event.not_yet_documented" {
            continue;
        }
        assert_eq!(schemas.faults(&kind, &told), Vec::<String>::new());
        let text = told["data"].to_string().replace(&id, SAMPLE_MSG_ID).replace(&second, "1700000000");
        let text = text.replace(&format!("34875424693556{number:05}"), "3487542469355618313");
        let text = text.replace(&format!("18643237264612{number:05}"), "1864323726461255680");
        let example = &schemas.0[&kind]["examples"][0]["data"];
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), *example, "{kind}");
        seen.insert(kind);
    }
    assert_eq!(seen.len(), 54);
}

#[tokio::test]
async fn other_ways_to_say_it_fit_too() {
    let app = TestApp::start().await;
    let schemas = Schemas::of(&document(&app).await);
    let folder = format!("{FIXTURES}/variants");
    let mut count = 0;
    for (number, path) in ["xml", "json"].iter().flat_map(|format| fixtures(&folder, format)).enumerate() {
        let body =
            std::fs::read_to_string(&path).unwrap().replace("oTEST000000000000000000000001", &format!("o{number}"));
        assert!(app.sandbox.send_callback(CallbackRequest::raw(&body)).await.unwrap().accepted, "{}", path.display());
        let told = newest(&app).await;
        assert_eq!(told["data"]["openid"], json!(format!("o{number}")), "{}", path.display());
        assert_eq!(schemas.faults(told["type"].as_str().unwrap(), &told), Vec::<String>::new());
        count += 1;
    }
    assert!(count > 15, "{count}");
}

async fn newest(app: &TestApp) -> Value {
    app.advance(std::time::Duration::from_secs(1)).await;
    let (mut newest, mut after) = (Value::Null, String::new());
    loop {
        let page = app.get(&format!("/v1/events?types=callback.*&limit=200{after}")).send().await.json();
        let Some(last) = page["data"].as_array().unwrap().last().cloned() else { return newest };
        after = format!("&after={}", last["id"].as_str().unwrap());
        newest = last;
    }
}

/// The members of an event's `data`, and of the event.
fn members(event: &Value) -> (Vec<&String>, Vec<&String>) {
    (event["data"].as_object().unwrap().keys().collect(), event.as_object().unwrap().keys().collect())
}

#[tokio::test]
async fn the_examples_of_other_events_in_the_page_have_the_members_of_real_ones() {
    let app = TestApp::start().await;
    let path = "/v1/accounts/shop/users/oABCD1234567890abcdefghijklmn";
    app.request(reqwest::Method::PUT, path).json(&json!({"user_id": "customer-7"})).send().await;
    let follows = CallbackRequest::new("subscribe", "oABCD1234567890abcdefghijklmn");
    assert!(app.sandbox.send_callback(follows).await.unwrap().accepted);
    let batch = json!({"template_id": "order_paid", "data": {"thing1": "茶"}, "messages": [{"touser": "sim-ok"}]});
    assert_eq!(app.post("/send-template/batch").json(&batch).send().await.status, 202);
    app.run_until_idle().await;
    assert_eq!(app.send("oONE").await.status, 200);
    app.sandbox.deliver_receipts().await;
    let real = app.get("/v1/events?limit=200").send().await.json()["data"].as_array().unwrap().clone();

    let page = std::fs::read_to_string("docs/events.md").unwrap();
    let (page, _) = page.split_once("<!-- callbacks:begin -->").unwrap();
    let blocks = page.split("```json\n").skip(1).map(|block| block.split("\n```").next().unwrap());
    let examples: Vec<Value> = blocks.map(|block| serde_json::from_str(block).unwrap()).collect();
    assert_eq!(examples.len(), 3);
    for example in examples {
        let is_alone =
            |event: &&Value| event["data"].get("batch_id").is_some() == example["data"].get("batch_id").is_some();
        let same = real.iter().filter(|event| event["type"] == example["type"]).find(is_alone);
        let same = same.unwrap_or_else(|| panic!("no {} has happened: {real:?}", example["type"]));
        assert_eq!(members(&example), members(same));
    }
    // Every type has a word in the page.
    let source = std::fs::read_to_string("src/domain/event.rs").unwrap();
    let source = source.split("#[cfg(test)]").next().unwrap();
    let types: Vec<&str> = source.split('"').filter(|text| text.contains('.') && !text.contains([' ', '*'])).collect();
    for name in types.iter().filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase())) {
        let is_there = name.starts_with("callback.") || page.contains(&format!("`{name}`"));
        assert!(is_there, "docs/events.md does not tell of {name}");
    }
    assert!(types.len() > 10, "{types:?}");
}
