//! Every route that asks for a caller, by every form of credential. The list is the OpenAPI document's, and the document has
//! every route: a new one comes in here by itself.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;
use wxgate::sandbox::CallbackRequest;

use super::forms::{Credential, ask, jwt_config, over, with_rights, with_wrong_secrets};
use crate::harness::{Setup, Subscriber, TestApp, order_notice};

const OTHER: &str = "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"other-secret\"\n";
const CRM: &str = "secret = 'whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw'\naccounts = ['shop']\nallow_private = true\n";
/// Routes that are not in the document: pages, and what WeChat calls.
const UNDOCUMENTED: [&str; 5] = ["/", "/docs", "/openapi.json", "/wechat", "/wechat/{account}"];

/// One operation of the API, about things of the account `shop`.
struct Operation {
    id: String,
    method: Method,
    target: String,
    scope: Scope,
    body: String,
}

struct House {
    app: TestApp,
    operations: Vec<Operation>,
}

impl House {
    /// With a scheduled message, a batch and a user of `shop`, and a webhook that was told something of it.
    async fn open() -> Self {
        let subscriber = Subscriber::start().await;
        let crm = format!("[webhooks.crm]\nurl = '{}'\n{CRM}", subscriber.url);
        let config = format!("{OTHER}{crm}{}", jwt_config());
        let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
        let sent = app.post("/send-template").json(&notice(&app)).send().await;
        let batch = app.post("/send-template/batch").json(&batch(&app)).send().await;
        assert_eq!(batch.status, 202, "{}", batch.text);
        app.sandbox.send_callback(CallbackRequest::text("oSHOP", "help")).await.unwrap();
        app.app.courier().step().await.unwrap();
        let told = app.get("/v1/webhooks/crm/deliveries").send().await.json();
        let delivery = told["data"][0]["id"].as_str().unwrap().to_owned();
        let ids = Ids { message: sent.field("message_id"), batch: batch.field("batch_id"), delivery };
        assert_eq!(sent.status, 202);
        let document = app.anonymous(Method::GET, "/openapi.json").send().await.json();
        let operations = operations(&app, &document, &ids);
        let house = Self { app, operations };
        house.bind_user().await;
        house
    }

    async fn bind_user(&self) {
        let bind = self.app.request(Method::PUT, "/v1/accounts/shop/users/oSHOP").json(&json!({"user_id": "u7"}));
        assert_eq!(bind.send().await.status, 200);
    }

    /// Not so fast that the address is told to wait.
    async fn ask(&self, credential: &Credential, operation: &Operation) -> crate::harness::Reply {
        self.app.advance(Duration::from_secs(3)).await;
        ask(&self.app, credential, operation.method.clone(), &operation.target, &operation.body).await
    }
}

/// A send that waits for an hour.
fn notice(app: &TestApp) -> Value {
    let mut notice = order_notice("oSHOP");
    notice["account"] = json!("shop");
    notice["send_at"] = json!(app.clock.now().plus(Duration::from_secs(3600)).to_string());
    notice["async"] = json!(true);
    notice
}

fn batch(app: &TestApp) -> Value {
    let mut batch = notice(app);
    batch.as_object_mut().unwrap().retain(|name, _| !["touser", "async"].contains(&name.as_str()));
    batch["messages"] = json!([{"touser": "oSHOP1"}, {"touser": "oSHOP2"}]);
    batch
}

struct Ids {
    message: String,
    batch: String,
    delivery: String,
}

fn operations(app: &TestApp, document: &Value, ids: &Ids) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap() {
            let Some(needs) = operation["security"].as_array() else { continue };
            let id = operation["operationId"].as_str().unwrap().to_owned();
            let scopes = needs.iter().flat_map(|need| need.as_object().unwrap().values());
            let scopes: BTreeSet<&str> =
                scopes.flat_map(|names| names.as_array().unwrap()).filter_map(Value::as_str).collect();
            assert_eq!(scopes.len(), 1, "{id} has one scope, whatever the form");
            let scope = Scope::parse(scopes.first().unwrap()).unwrap();
            let id_of = match path.split('/').nth(2) {
                Some("batches") => &ids.batch,
                Some("webhooks") => "crm",
                _ => &ids.message,
            };
            let target = path.replace("{id}", id_of).replace("{account}", "shop").replace("{openid}", "oSHOP");
            let target = target.replace("{delivery}", &ids.delivery);
            assert!(
                !target.contains('{'),
                "{path} has a part that this test does not know: add a thing of `shop` for it"
            );
            let body = body_of(app, &id, operation["requestBody"].is_object());
            let method = Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap();
            operations.push(Operation { id, method, target, scope, body });
        }
    }
    operations
}

fn body_of(app: &TestApp, id: &str, has_one: bool) -> String {
    match id {
        "send_template" => notice(app).to_string(),
        "send_batch" => batch(app).to_string(),
        "resolve_message" => json!({"state": "sent"}).to_string(),
        "change_user" => json!({"user_id": "u8"}).to_string(),
        "create_event_ticket" => json!({"account": "shop"}).to_string(),
        "create_account" => json!({"name": "shop", "app_id": "wx1", "app_secret": "x"}).to_string(),
        "create_webhook" => json!({"url": "https://crm.example.com/", "accounts": ["shop"]}).to_string(),
        "change_webhook" => json!({"enabled": true}).to_string(),
        "rotate_webhook_secret" => json!({}).to_string(),
        "replay_events" => json!({"types": ["callback.*"], "dry_run": true}).to_string(),
        "change_account" => json!({"on_unknown": "hold"}).to_string(),
        _ if has_one => panic!("{id} takes a body that this test does not know: add a right one here"),
        _ => String::new(),
    }
}

/// What a caller of another account gets for things of `shop`: 404, but where no thing is named.
fn foreign(id: &str) -> (u16, &'static str) {
    match id {
        "send_template" => (422, "unknown_account"),
        "send_batch" => (422, "invalid_message"),
        "list_messages" | "list_events" | "list_audit" | "list_webhooks" => (200, ""),
        // Nobody asks for a WebSocket here; what one may hear is tested with the events.
        "watch_events" => (400, "malformed_request"),
        "create_account" | "create_webhook" => (403, "forbidden"),
        "list_accounts" => (200, "other"),
        _ => (404, "not_found"),
    }
}

#[test]
fn every_route_of_the_code_is_in_the_document() {
    let mut routes = BTreeSet::new();
    let mut folders = vec![Path::new("src/http").to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let source = std::fs::read_to_string(&path).unwrap();
            let code = source.split("#[cfg(test)]").next().unwrap();
            let found = code.split(".route(\"").skip(1).filter_map(|rest| rest.split('"').next());
            routes.extend(found.map(str::to_owned));
        }
    }
    assert!(routes.len() > 12, "{routes:?}");
    let document = serde_json::to_value(wxgate::http::openapi::openapi()).unwrap();
    for route in routes.iter().filter(|route| !UNDOCUMENTED.contains(&route.as_str())) {
        assert!(document["paths"][route].is_object(), "{route} is not in the OpenAPI document");
    }
}

#[tokio::test]
async fn without_a_right_credential_no_route_opens() {
    let house = House::open().await;
    let mut wrong = vec![Credential::Nothing];
    wrong.extend(with_wrong_secrets(&house.app).await);
    wrong.extend(over(&house.app).await);
    assert_eq!(wrong.len(), 9);
    for operation in &house.operations {
        for credential in &wrong {
            let reply = house.ask(credential, operation).await;
            reply.is_problem(401, "unauthenticated");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer"), "{} {credential:?}", operation.id);
        }
    }
    assert!(house.operations.len() >= 9, "{}", house.operations.len());
    assert_eq!(house.app.sandbox.message_count(), 0);
}

#[tokio::test]
async fn without_the_scope_a_route_is_forbidden() {
    let house = House::open().await;
    for operation in &house.operations {
        let others: Vec<Scope> =
            Scope::ALL.into_iter().filter(|scope| ![operation.scope, Scope::Admin].contains(scope)).collect();
        for credential in with_rights(&house.app, &others, None).await {
            house.ask(&credential, operation).await.is_problem(403, "forbidden");
        }
        for credential in with_rights(&house.app, &[operation.scope], None).await {
            // One of the operations forgets them.
            house.bind_user().await;
            let reply = house.ask(&credential, operation).await;
            assert!(![401, 403, 404].contains(&reply.status), "{}: {}", operation.id, reply.text);
        }
    }
}

#[tokio::test]
async fn things_of_a_foreign_account_are_not_there() {
    let house = House::open().await;
    let before = house.app.get("/v1/messages").send().await.json()["data"].clone();
    for operation in &house.operations {
        for credential in with_rights(&house.app, &Scope::ALL, Some(&["other"])).await {
            let reply = house.ask(&credential, operation).await;
            match foreign(&operation.id) {
                (200, "") => assert_eq!((reply.status, &reply.json()["data"]), (200, &json!([])), "{}", operation.id),
                (200, only) => {
                    let data = reply.json()["data"].as_array().unwrap().clone();
                    assert_eq!(data.iter().map(|thing| &thing["name"]).collect::<Vec<_>>(), [only], "{}", operation.id);
                }
                (status, code) => drop(reply.is_problem(status, code)),
            }
        }
    }
    assert_eq!(house.app.get("/v1/messages").send().await.json()["data"], before, "nothing was changed");
    let user = house.app.get("/v1/accounts/shop/users/oSHOP").send().await;
    assert_eq!(user.field("user_id"), "u7");
}
