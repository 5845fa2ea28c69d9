//! `/docs`: the OpenAPI document as one page that needs no script and no network. And `/`, the plain index.

use std::sync::LazyLock;

use axum::response::{IntoResponse, Response};
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::openapi::openapi;
use super::page::{escape, frame, html, prose};

/// Made once: neither changes while the program runs.
static JSON: LazyLock<String> = LazyLock::new(|| openapi().to_json().unwrap_or_default());
static PAGE: LazyLock<String> =
    LazyLock::new(|| frame("wxgate API", &render(&serde_json::from_str(&JSON).unwrap_or_default())));

const METHODS: [&str; 5] = ["get", "post", "put", "delete", "patch"];

pub(super) async fn json() -> Response {
    ([(CONTENT_TYPE, "application/json")], JSON.as_str()).into_response()
}

pub(super) async fn docs() -> Response {
    html(PAGE.as_str())
}

pub(super) async fn index() -> Response {
    let links = [
        ("/docs", "the API"),
        ("/openapi.json", "the API for programs"),
        ("/problems", "error codes"),
        ("/ready", "readiness"),
    ];
    let items: String = links
        .iter()
        .map(|(path, what)| format!("<li><a href=\"{path}\"><code>{path}</code></a> {what}</li>"))
        .collect();
    html(frame("wxgate", &format!("<h1>wxgate {}</h1><ul>{items}</ul>", env!("CARGO_PKG_VERSION"))))
}

fn render(document: &Value) -> String {
    let mut page = format!(
        "<h1>wxgate API <span class=\"mute\">{}</span></h1><p>{}</p><p><a href=\"/openapi.json\">openapi.json</a> · <a href=\"/problems\">error codes</a></p>",
        escape(text(&document["info"]["version"])),
        prose(text(&document["info"]["description"])),
    );
    for tag in items(&document["tags"]) {
        let name = text(&tag["name"]);
        page.push_str(&format!("<h2>{}</h2><p>{}</p>", escape(name), prose(text(&tag["description"]))));
        for (path, verbs) in members(&document["paths"]) {
            for method in METHODS {
                let operation = &verbs[method];
                if items(&operation["tags"]).any(|tag| text(tag) == name) {
                    page.push_str(&render_operation(method, path, operation));
                }
            }
        }
    }
    page.push_str("<h2>Shapes</h2>");
    for (name, schema) in members(&document["components"]["schemas"]) {
        page.push_str(&render_schema(name, schema));
    }
    page
}

fn render_operation(method: &str, path: &str, operation: &Value) -> String {
    let mut html = format!(
        "<details><summary><span class=\"method\">{}</span> <code>{}</code> {}</summary><p>{}</p>",
        method.to_uppercase(),
        escape(path),
        prose(text(&operation["summary"])),
        prose(text(&operation["description"])),
    );
    let scopes = items(&operation["security"]).flat_map(|need| items(&need["key"]).map(text)).collect::<Vec<_>>();
    if !scopes.is_empty() {
        html.push_str(&format!("<p>Scope: <code>{}</code></p>", escape(&scopes.join(" "))));
    }
    let mut rows = String::new();
    for parameter in items(&operation["parameters"]) {
        let required = if parameter["required"] == true { "required" } else { "" };
        rows.push_str(&row(&[
            &format!("<code>{}</code>", escape(text(&parameter["name"]))),
            &escape(text(&parameter["in"])),
            required,
            &prose(text(&parameter["description"])),
        ]));
    }
    if !rows.is_empty() {
        html.push_str(&format!("<table>{rows}</table>"));
    }
    let body = &operation["requestBody"]["content"]["application/json"]["schema"];
    if !body.is_null() {
        html.push_str(&format!("<p>Body: {}</p>", kind(body)));
    }
    html.push_str("<table>");
    for (status, response) in members(&operation["responses"]) {
        let shape =
            members(&response["content"]).map(|(_, content)| kind(&content["schema"])).next().unwrap_or_default();
        html.push_str(&row(&[&escape(status), &prose(text(&response["description"])), &shape]));
    }
    html.push_str("</table></details>");
    html
}

fn render_schema(name: &str, schema: &Value) -> String {
    let mut html = format!("<details id=\"{0}\"><summary><code>{0}</code></summary>", escape(name));
    html.push_str(&format!("<p>{}</p>", prose(text(&schema["description"]))));
    let required: Vec<&str> = items(&schema["required"]).map(text).collect();
    let mut rows = String::new();
    for (field, shape) in members(&schema["properties"]) {
        let need = if required.contains(&field.as_str()) { "required" } else { "" };
        rows.push_str(&row(&[
            &format!("<code>{}</code>", escape(field)),
            &kind(shape),
            need,
            &prose(text(&shape["description"])),
        ]));
    }
    match rows.is_empty() {
        true => html.push_str(&format!("<p>{}</p>", kind(schema))),
        false => html.push_str(&format!("<table>{rows}</table>")),
    }
    if !schema["example"].is_null() {
        let example = serde_json::to_string_pretty(&schema["example"]).unwrap_or_default();
        html.push_str(&format!("<pre>{}</pre>", escape(&example)));
    }
    html.push_str("</details>");
    html
}

/// A schema in a few words, with links to named shapes.
fn kind(schema: &Value) -> String {
    if let Some(name) = schema["$ref"].as_str().and_then(|path| path.rsplit('/').next()) {
        return format!("<a href=\"#{0}\"><code>{0}</code></a>", escape(name));
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if schema[choice].is_array() {
            return items(&schema[choice]).map(kind).collect::<Vec<_>>().join(" or ");
        }
    }
    if schema["enum"].is_array() {
        let words = items(&schema["enum"]).map(|word| format!("<code>{}</code>", escape(text(word))));
        return words.collect::<Vec<_>>().join(" ");
    }
    let names: Vec<&str> = match &schema["type"] {
        Value::Array(names) => names.iter().map(text).collect(),
        name => vec![text(name)],
    };
    let of = match (names.contains(&"array"), schema["additionalProperties"].is_object()) {
        (true, _) => format!(" of {}", kind(&schema["items"])),
        (_, true) => format!(" of {}", kind(&schema["additionalProperties"])),
        _ => String::new(),
    };
    format!("{}{of}", escape(&names.join(" or ")))
}

fn row(cells: &[&str]) -> String {
    let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
    format!("<tr>{cells}</tr>")
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn members(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_every_operation_and_shape() {
        let document: Value = serde_json::from_str(&JSON).unwrap();
        for (path, verbs) in members(&document["paths"]) {
            let count = METHODS.iter().filter(|method| verbs[**method].is_object()).count();
            assert!(PAGE.matches(&format!("<code>{}</code>", escape(path))).count() >= count, "{path}");
        }
        for (name, _) in members(&document["components"]["schemas"]) {
            assert!(PAGE.contains(&format!("<details id=\"{name}\">")), "{name}");
        }
        assert!(PAGE.contains("Scope: <code>send</code>"));
    }
}
