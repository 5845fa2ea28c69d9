//! Who may call: every way to be nobody, scopes, and what belongs to others.

use std::time::Duration;

use reqwest::Method;
use serde_json::json;
use wxgate::domain::audit::Actor;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;
use wxgate::services::access::KeyRequest;

use super::wire::{JSON, Wire, nothing_happened};
use crate::harness::{Setup, TestApp, order_notice};

const OTHER: &str = "\n[accounts.other]\napp_id = \"wx00000000000other\"\napp_secret = \"other-secret\"\n";
const SOME_ID: &str = "msg_01ARZ3NDEKTSV4RRFFQ69G5FAV";

#[tokio::test]
async fn nobody_gets_in_without_a_good_key() {
    let app = TestApp::start().await;
    let (head, secret) = app.key.rsplit_once('_').unwrap();
    let stranger = format!("wxg_key_01ARZ3NDEKTSV4RRFFQ69G5FAV_{secret}");
    let (wrong, upper, short) = (format!("{head}_{}", "0".repeat(64)), secret.to_uppercase(), &secret[..63]);
    for authorization in [
        String::new(),
        "Bearer".to_owned(),
        "Bearer ".to_owned(),
        app.key.clone(),
        format!("Basic {}", app.key),
        format!("Token {}", app.key),
        "Basic dGVzdHM6c2VjcmV0".to_owned(),
        "Bearer nonsense".to_owned(),
        "Bearer wxg_".to_owned(),
        "Bearer wxg__".to_owned(),
        format!("Bearer {head}"),
        format!("Bearer {head}_"),
        format!("Bearer {head}_{short}"),
        format!("Bearer {head}_{upper}"),
        format!("Bearer {}0", app.key),
        format!("Bearer {} {}", app.key, app.key),
        format!("Bearer wxg__{secret}"),
        format!("Bearer wxg_tests_{secret}"),
        format!("Bearer {stranger}"),
        format!("Bearer {wrong}"),
        format!("Bearer {}", "x".repeat(8_000)),
        "Bearer ключ".to_owned(),
        format!("Bearer {}\u{0}", app.key),
    ] {
        // Not so fast that the address is told to wait.
        app.advance(Duration::from_secs(3)).await;
        let mut wire = Wire::connect(&app).await;
        let body = order_notice("oNOBODY").to_string();
        let head = format!("POST /send-template HTTP/1.1\r\nhost: x\r\nauthorization: {authorization}\r\n{JSON}");
        wire.write(format!("{head}content-length: {}\r\n\r\n{body}", body.len())).await;
        let answer = wire.answer().await.unwrap();
        if authorization.contains('\0') {
            assert_eq!(answer.status, 400, "no header may hold this");
            continue;
        }
        answer.is_problem(401, "unauthenticated");
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"), "{authorization}");
        assert!(!answer.body.contains(secret) && !answer.body.contains("key_"), "{}", answer.body);
    }
    app.anonymous(Method::POST, "/send-template")
        .json(&order_notice("oNOBODY"))
        .send()
        .await
        .is_problem(401, "unauthenticated");
    let twice = app.post("/send-template").header("authorization", &format!("Bearer {}", app.key));
    twice.json(&order_notice("oNOBODY")).send().await.is_problem(401, "unauthenticated");
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_key_ends_when_it_expires_and_at_the_tick_after_it_was_revoked() {
    let app = TestApp::start().await;
    let request = KeyRequest {
        client: "short-lived".to_owned(),
        scopes: vec![Scope::Read],
        accounts: None,
        templates: None,
        expires_at: Some(app.clock.now().plus(Duration::from_secs(60))),
        signing: false,
    };
    let (_, expiring) = app.app.access().create(request.clone(), Actor::gateway()).await.unwrap();
    let (revoked, text) =
        app.app.access().create(KeyRequest { expires_at: None, ..request }, Actor::gateway()).await.unwrap();
    let ask = |key: String| {
        app.anonymous(Method::GET, "/v1/messages").header("authorization", &format!("Bearer {key}")).send()
    };
    let (expiring, text) = (expiring.expose().to_owned(), text.expose().to_owned());
    assert_eq!(ask(expiring.clone()).await.status, 200);
    app.advance(Duration::from_secs(60)).await;
    ask(expiring).await.is_problem(401, "unauthenticated");

    assert_eq!(ask(text.clone()).await.status, 200);
    assert!(app.app.access().revoke(&revoked.id, Actor::gateway()).await.unwrap());
    app.tick().await;
    ask(text).await.is_problem(401, "unauthenticated");
}

#[tokio::test]
async fn every_route_that_asks_for_a_key_refuses_a_call_without_one_and_the_others_do_not() {
    let app = TestApp::start().await;
    let document = app.anonymous(Method::GET, "/openapi.json").send().await.json();
    let (mut guarded, mut open) = (0, 0);
    for (path, verbs) in document["paths"].as_object().unwrap() {
        for (verb, operation) in verbs.as_object().unwrap().iter().filter(|(_, operation)| operation.is_object()) {
            let method = Method::from_bytes(verb.to_uppercase().as_bytes()).unwrap();
            let real = path.replace("{id}", SOME_ID).replace("{account}", "shop").replace("{openid}", "oX");
            let real = real.replace("{code}", "not_found").replace("{delivery}", "whd_01ARZ3NDEKTSV4RRFFQ69G5FAV");
            assert!(!real.contains('{'), "{path} has a part that this test does not know");
            let reply = app.anonymous(method, &real).send().await;
            if operation["security"].as_array().is_some_and(|needs| !needs.is_empty()) {
                reply.is_problem(401, "unauthenticated");
                guarded += 1;
            } else {
                assert_eq!(reply.status, 200, "{verb} {path}: {}", reply.text);
                open += 1;
            }
        }
    }
    assert!(guarded >= 9 && open >= 5, "{guarded} {open}");
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_key_does_what_its_scopes_say_and_no_more() {
    let app = TestApp::start().await;
    let message = format!("/v1/messages/{SOME_ID}");
    let calls = [
        (Method::POST, "/send-template".to_owned(), Scope::Send),
        (Method::GET, "/v1/messages".to_owned(), Scope::Read),
        (Method::GET, message.clone(), Scope::Read),
        (Method::DELETE, message.clone(), Scope::Send),
        (Method::POST, format!("{message}/retry"), Scope::Send),
        (Method::POST, format!("{message}/resolve"), Scope::Admin),
        (Method::GET, "/v1/accounts/shop/token".to_owned(), Scope::Token),
        (Method::GET, "/v1/accounts/shop/users/oX".to_owned(), Scope::Read),
        (Method::PUT, "/v1/accounts/shop/users/oX".to_owned(), Scope::Admin),
        (Method::DELETE, "/v1/accounts/shop/users/oX".to_owned(), Scope::Admin),
        (Method::GET, "/v1/accounts/shop/users".to_owned(), Scope::Read),
    ];
    for scope in [Scope::Send, Scope::Read, Scope::Token, Scope::Proxy] {
        let key = app.make_key("narrow", &[scope], None, None).await;
        for (method, path, needed) in &calls {
            let request = app.anonymous(method.clone(), path).header("authorization", &format!("Bearer {key}"));
            let reply = request.body("application/json", "{}").send().await;
            if scope == *needed {
                assert!(![401, 403].contains(&reply.status), "{method} {path}: {}", reply.text);
            } else {
                reply.is_problem(403, "forbidden");
            }
        }
    }
    assert_eq!(app.sandbox.message_count(), 0);
}

#[tokio::test]
async fn what_belongs_to_others_is_not_there() {
    let app = TestApp::start_with(Setup { config: OTHER.to_owned(), ..Setup::default() }).await;
    let mut body = order_notice("oMINE");
    body["account"] = json!("shop");
    body["send_at"] = json!(app.clock.now().plus(Duration::from_secs(600)).to_string());
    let id = app.post("/send-template").header("prefer", "wait=0").json(&body).send().await.field("message_id");
    let bound = app.make_key("elsewhere", &Scope::ALL, Some(&["other"]), None).await;
    let bearer = format!("Bearer {bound}");
    let ask = |method: Method, path: &str| app.anonymous(method, path).header("authorization", &bearer);
    let message = format!("/v1/messages/{id}");
    ask(Method::GET, &message).send().await.is_problem(404, "not_found");
    ask(Method::DELETE, &message).send().await.is_problem(404, "not_found");
    ask(Method::POST, &format!("{message}/retry")).send().await.is_problem(404, "not_found");
    let resolve = ask(Method::POST, &format!("{message}/resolve")).json(&json!({"state": "sent"}));
    resolve.send().await.is_problem(404, "not_found");
    ask(Method::GET, "/v1/accounts/shop/token").send().await.is_problem(404, "not_found");
    ask(Method::GET, "/v1/accounts/shop/users/oMINE").send().await.is_problem(404, "not_found");
    let bind = ask(Method::PUT, "/v1/accounts/shop/users/oMINE").json(&json!({"user_id": "u"}));
    bind.send().await.is_problem(404, "not_found");
    ask(Method::GET, "/v1/accounts/shop/users").send().await.is_problem(404, "not_found");
    ask(Method::DELETE, "/v1/accounts/shop/users/oMINE").send().await.is_problem(404, "not_found");
    assert_eq!(ask(Method::GET, "/v1/messages").send().await.json()["data"], json!([]));
    assert_eq!(ask(Method::GET, "/v1/messages?account=shop").send().await.json()["data"], json!([]));
    ask(Method::POST, "/send-template").json(&body).send().await.is_problem(422, "unknown_account");
    // Word for word what is said of an account that does not exist.
    let mut nowhere = body.clone();
    nowhere["account"] = json!("nowhere");
    let (here, gone) = (
        ask(Method::POST, "/send-template").json(&body).send().await.field("detail"),
        ask(Method::POST, "/send-template").json(&nowhere).send().await.field("detail"),
    );
    assert_eq!(here.replace("shop", "nowhere"), gone);
    assert_eq!(app.state_of(&id).await, "scheduled");
}

#[tokio::test]
async fn a_key_for_sends_alone_touches_only_its_own_messages() {
    let app = TestApp::start().await;
    let mut body = order_notice("oMINE");
    body["send_at"] = json!(app.clock.now().plus(Duration::from_secs(600)).to_string());
    let foreign = app.post("/send-template").header("prefer", "wait=0").json(&body).send().await.field("message_id");
    let bearer = format!("Bearer {}", app.make_key("sender", &[Scope::Send], None, None).await);
    let ask = |method: Method, path: &str| app.anonymous(method, path).header("authorization", &bearer);
    let own = ask(Method::POST, "/send-template").header("prefer", "wait=0").json(&body).send().await;
    ask(Method::DELETE, &format!("/v1/messages/{foreign}")).send().await.is_problem(404, "not_found");
    let canceled = ask(Method::DELETE, &format!("/v1/messages/{}", own.field("message_id"))).send().await;
    assert_eq!((canceled.status, canceled.field("state").as_str()), (200, "canceled"));
    assert_eq!(app.state_of(&foreign).await, "scheduled");
}

#[tokio::test]
async fn a_key_for_some_templates_sends_only_those_by_either_name() {
    let app = TestApp::start().await;
    let bearer = format!("Bearer {}", app.make_key("narrow", &[Scope::Send], None, Some(&["order_paid"])).await);
    let ask = async |template: &str| {
        let mut body = order_notice("oT");
        body["template_id"] = json!(template);
        app.anonymous(Method::POST, "/send-template").header("authorization", &bearer).json(&body).send().await
    };
    assert_eq!(ask("order_paid").await.status, 200);
    ask("TPL-OTHER").await.is_problem(403, "forbidden");
}
