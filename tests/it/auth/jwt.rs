//! Tokens on the wire: what the provider signed passes, and everything that looks like it is refused.

use std::path::PathBuf;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;

use super::forms::{Credential, ask, claims, hs256, jwt_config};
use crate::api::wire::nothing_happened;
use crate::harness::sign::{self, by_ed25519, by_rsa, by_secret, der, pem_path, token};
use crate::harness::{Reply, Setup, TestApp, order_notice};

const ISSUER: &str = "https://id.example";

/// RS256 with issuer and audience; nobody is told to wait.
async fn house() -> TestApp {
    let config = format!(
        "\n[auth.jwt]\nalgorithm = \"RS256\"\npublic_key_file = \"{}\"\nissuer = \"{ISSUER}\"\naudience = \"wxgate\"\n\
         [limits]\nauth_failures.rate = 0\n",
        pem_path("rsa.pub")
    );
    TestApp::start_with(Setup { config, ..Setup::default() }).await
}

fn good(app: &TestApp) -> Value {
    let mut claims = claims(app, &[Scope::Send, Scope::Read], None);
    (claims["iss"], claims["aud"]) = (json!(ISSUER), json!("wxgate"));
    claims
}

fn with(app: &TestApp, name: &str, value: Value) -> Value {
    let mut claims = good(app);
    claims[name] = value;
    claims
}

fn rs256(claims: &Value) -> String {
    token(&json!({"alg": "RS256", "typ": "JWT"}), claims, by_rsa)
}

async fn send(app: &TestApp, token: &str) -> Reply {
    let body = order_notice("oTOKEN").to_string();
    ask(app, &Credential::Bearer(token.to_owned()), Method::POST, "/send-template", &body).await
}

#[tokio::test]
async fn a_token_of_the_provider_speaks_for_its_subject() {
    let app = house().await;
    let sent = send(&app, &rs256(&with(&app, "sub", json!("order-service")))).await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    let message = app.message(&sent.field("message_id")).await;
    assert_eq!(message["client"], "order-service");
    // It is gone a minute after its time, which other clocks may need.
    let token = rs256(&good(&app));
    app.advance(std::time::Duration::from_secs(659)).await;
    assert_eq!(send(&app, &token).await.status, 200);
    app.advance(std::time::Duration::from_secs(1)).await;
    send(&app, &token).await.is_problem(401, "unauthenticated");
    // Scopes and accounts are what it says, no more.
    let read = rs256(&with(&app, "scope", json!("read fly")));
    send(&app, &read).await.is_problem(403, "forbidden");
    let elsewhere = rs256(&with(&app, "accounts", json!("elsewhere")));
    send(&app, &elsewhere).await.is_problem(422, "unknown_account");
    assert_eq!(send(&app, &rs256(&with(&app, "accounts", json!("shop elsewhere")))).await.status, 200);
}

#[tokio::test]
async fn whatever_only_looks_like_a_token_of_the_provider_is_refused() {
    let app = house().await;
    let now = app.clock.now().as_seconds();
    let good = good(&app);
    let public = std::fs::read_to_string(pem_path("rsa.pub")).unwrap();
    let right = rs256(&good);
    let (message, mac) = right.rsplit_once('.').unwrap();
    let header = |header: Value| token(&header, &good, by_rsa);
    let claim = |name: &str, value: Value| rs256(&with(&app, name, value));
    let without = |name: &str| {
        let mut claims = good.clone();
        claims.as_object_mut().unwrap().remove(name);
        rs256(&claims)
    };
    let other_claims = token(&json!({"alg": "RS256"}), &with(&app, "scope", json!("admin")), |_| Vec::new());
    let attacks = [
        ("alg none", token(&json!({"alg": "none"}), &good, |_| Vec::new())),
        ("alg none with a signature", header(json!({"alg": "none"}))),
        ("alg nOnE", header(json!({"alg": "nOnE"}))),
        ("no alg", header(json!({"typ": "JWT"}))),
        ("the public key as a secret", token(&json!({"alg": "HS256"}), &good, by_secret(&public))),
        (
            "its bytes as a secret",
            token(&json!({"alg": "HS256"}), &good, {
                let der = der("rsa.pub");
                move |message| {
                    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &der);
                    ring::hmac::sign(&key, message).as_ref().to_vec()
                }
            }),
        ),
        ("another algorithm of the same key", header(json!({"alg": "RS512"}))),
        ("PSS of the same key", header(json!({"alg": "PS256"}))),
        ("another kind of key", token(&json!({"alg": "EdDSA"}), &good, by_ed25519)),
        ("another kind of key under the right name", token(&json!({"alg": "RS256"}), &good, by_ed25519)),
        ("a key of its own", header(json!({"alg": "HS256", "jwk": {"kty": "oct", "k": "AAAA"}}))),
        ("critical headers", header(json!({"alg": "RS256", "crit": ["exp"]}))),
        ("expired", claim("exp", json!(now - 61))),
        ("expired at once", claim("exp", json!(0))),
        ("no exp", without("exp")),
        ("exp as a text", claim("exp", json!((now + 600).to_string()))),
        ("not yet", claim("nbf", json!(now + 61))),
        ("another audience", claim("aud", json!("other"))),
        ("no audience", without("aud")),
        ("another issuer", claim("iss", json!("https://evil.example"))),
        ("no issuer", without("iss")),
        ("no subject", without("sub")),
        ("an empty subject", claim("sub", json!(""))),
        ("accounts of nothing", claim("accounts", Value::Null)),
        ("other claims under the same signature", format!("{}{mac}", other_claims)),
        ("no signature", format!("{message}.")),
        ("two parts", message.to_owned()),
        ("four parts", format!("{right}.{mac}")),
        ("five parts", format!("{right}.{mac}.{mac}")),
        ("a cut signature", right[..right.len() - 4].to_owned()),
        ("padding", format!("{right}==")),
        ("more than 8 KiB", claim("pad", json!("x".repeat(8 * 1024)))),
        ("a key's beginning", format!("wxg_{right}")),
        ("dots", "..".to_owned()),
    ];
    for (what, token) in attacks {
        let reply = send(&app, &token).await;
        assert_eq!(reply.status, 401, "{what}: {}", reply.text);
        reply.is_problem(401, "unauthenticated");
        assert_eq!(reply.field("detail"), "the key, token or signature is not valid", "{what}");
    }
    nothing_happened(&app).await;
    assert_eq!(send(&app, &right).await.status, 200, "and the right one is right");
}

#[tokio::test]
async fn a_token_is_nothing_where_none_is_configured() {
    let app = TestApp::start().await;
    send(&app, &hs256(&claims(&app, &Scope::ALL, None))).await.is_problem(401, "unauthenticated");
    nothing_happened(&app).await;
}

#[tokio::test]
async fn a_token_counts_as_often_as_it_comes_and_keys_work_beside_it() {
    let app = TestApp::start_with(Setup { config: jwt_config(), ..Setup::default() }).await;
    let token = Credential::Bearer(hs256(&claims(&app, &[Scope::Read], None)));
    for credential in [&token, &Credential::Bearer(app.key.clone()), &token] {
        assert_eq!(ask(&app, credential, Method::GET, "/v1/messages", "").await.status, 200);
    }
}

/// A gateway whose keys are in a file, which tests change.
struct Rotating {
    app: TestApp,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

fn jwk(kid: &str, kind: &str) -> Value {
    let x = if kind == "live" { der("ed25519.pub")[12..].to_vec() } else { vec![9; 32] };
    use base64::Engine;
    let x = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(x);
    json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": kid, "x": x})
}

impl Rotating {
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks.json");
        std::fs::write(&file, json!({"keys": [jwk("a", "live"), jwk("b", "spare")]}).to_string()).unwrap();
        let config = format!("\n[auth.jwt]\nalgorithm = \"EdDSA\"\njwks_file = \"{}\"\n", file.display());
        let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
        Self { app, file, _folder: folder }
    }

    async fn ask(&self, header: Value) -> u16 {
        let token = sign::token(&header, &claims(&self.app, &[Scope::Read], None), by_ed25519);
        ask(&self.app, &Credential::Bearer(token), Method::GET, "/v1/messages", "").await.status
    }

    async fn change(&self, text: &str) {
        std::fs::write(&self.file, text).unwrap();
        self.app.tick().await;
    }
}

#[tokio::test]
async fn a_key_is_found_by_its_kid_and_the_file_is_followed() {
    let house = Rotating::start().await;
    let kid = |kid: &str| json!({"alg": "EdDSA", "kid": kid});
    assert_eq!(house.ask(kid("a")).await, 200);
    assert_eq!(house.ask(kid("b")).await, 401, "another key");
    assert_eq!(house.ask(kid("c")).await, 401, "no key");
    assert_eq!(house.ask(json!({"alg": "EdDSA"})).await, 401, "one of two");

    // The provider rotates: the new key comes beside the old one, then the old one goes.
    house.change(&json!({"keys": [jwk("a", "spare"), jwk("c", "live")]}).to_string()).await;
    assert_eq!((house.ask(kid("c")).await, house.ask(kid("a")).await), (200, 401));
    house.change(&json!({"keys": [jwk("c", "live")]}).to_string()).await;
    assert_eq!((house.ask(kid("c")).await, house.ask(json!({"alg": "EdDSA"})).await), (200, 200));
}

#[tokio::test]
async fn a_broken_file_changes_nothing() {
    let house = Rotating::start().await;
    let live = || json!({"alg": "EdDSA", "kid": "a"});
    for broken in
        ["", "{", "[]", r#"{"keys":[]}"#, &json!({"keys": [{"kty": "oct", "k": "AAAA", "kid": "a"}]}).to_string()]
    {
        house.change(broken).await;
        assert_eq!(house.ask(live()).await, 200, "{broken}");
    }
    std::fs::remove_file(&house.file).unwrap();
    house.app.tick().await;
    assert_eq!(house.ask(live()).await, 200);
    house.change(&json!({"keys": [jwk("a", "spare")]}).to_string()).await;
    assert_eq!(house.ask(live()).await, 401, "a file that is whole again counts");
}
