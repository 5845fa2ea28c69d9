//! The same for people: the part of docs/events.md that lists the types of callbacks.

use serde_json::Value;

use super::{PREFIX, SAMPLES};
use crate::http::openapi::openapi;
use crate::wechat::inbound::Inbound;

/// A section for each type: when it comes, its fields, and what is told of the sample.
pub fn render() -> String {
    let document = serde_json::to_value(openapi()).unwrap_or_default();
    let schemas = &document["components"]["schemas"];
    let mut page = String::new();
    for inbound in SAMPLES.lines().filter_map(|sample| Inbound::parse(sample.as_bytes()).ok()) {
        let name = format!("{PREFIX}{}", inbound.label());
        let schema = &schemas[&name];
        let when = schema["description"].as_str().unwrap_or_default();
        let fields = fields(schemas, &schema["properties"]["data"]["properties"]["content"]);
        let example = inbound.told().unwrap_or_default();
        page += &format!("### `{name}`\n\n{when}\n\n`content`: {fields}\n\n```json\n{example}\n```\n\n");
    }
    page
}

/// One after the other: `scene` text or null, `code` {`scan_type` text, …}.
fn fields(schemas: &Value, schema: &Value) -> String {
    let schema = resolved(schemas, schema);
    if schema["type"] == "array" {
        return format!("a list, each {}", fields(schemas, &schema["items"]));
    }
    let Some(members) = schema["properties"].as_object() else {
        return if schema["additionalProperties"] == false {
            "{}".to_owned()
        } else {
            "everything that came".to_owned()
        };
    };
    let members: Vec<_> = members.iter().map(|(name, member)| field(schemas, name, member)).collect();
    format!("{{{}}}", members.join(", "))
}

fn field(schemas: &Value, name: &str, member: &Value) -> String {
    let member = resolved(schemas, member);
    let told = member["description"].as_str().map(|text| format!(" ({})", text.trim_end_matches('.')));
    let is_nested = member["properties"].is_object() || member["items"]["$ref"].is_string();
    let form = if is_nested { fields(schemas, member) } else { type_of(member) };
    format!("`{name}` {form}{}", told.unwrap_or_default())
}

fn type_of(member: &Value) -> String {
    if let Some(words) = member["enum"].as_array() {
        let words: Vec<_> = words.iter().filter_map(Value::as_str).map(|word| format!("`{word}`")).collect();
        return words.join(" or ");
    }
    match &member["type"] {
        Value::String(one) if one == "array" => format!("list of {}", type_of(&member["items"])),
        Value::String(one) => one.clone(),
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or "),
        _ => String::new(),
    }
}

fn resolved<'a>(schemas: &'a Value, schema: &'a Value) -> &'a Value {
    match schema["$ref"].as_str().and_then(|place| place.rsplit('/').next()) {
        Some(name) => &schemas[name],
        None => schema,
    }
}
