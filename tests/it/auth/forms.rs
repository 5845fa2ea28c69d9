//! The three forms of credentials, right and wrong, and requests that carry them.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::audit::Actor;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;
use wxgate::services::access::KeyRequest;

use crate::harness::sign::{self, Signed, SigningKey};
use crate::harness::{Reply, TestApp};

pub(super) const JWT_SECRET: &str = "a secret that gateway and provider share";

pub(super) fn jwt_config() -> String {
    format!("\n[auth.jwt]\nalgorithm = \"HS256\"\nsecret = \"{JWT_SECRET}\"\n")
}

/// What a request carries.
#[derive(Clone, Debug)]
pub(super) enum Credential {
    Nothing,
    /// Behind `Bearer`.
    Bearer(String),
    Signed(SigningKey),
}

pub(super) async fn ask(app: &TestApp, credential: &Credential, method: Method, target: &str, body: &str) -> Reply {
    let mut request = app.anonymous(method.clone(), target);
    match credential {
        Credential::Nothing => {}
        Credential::Bearer(text) => request = request.header("authorization", &format!("Bearer {text}")),
        Credential::Signed(key) => {
            let timestamp = app.clock.now().as_seconds();
            let signed = Signed { timestamp, nonce: sign::nonce(), method: method.as_str(), target, body };
            for (name, value) in key.headers(&signed) {
                request = request.header(name, &value);
            }
        }
    }
    if body.is_empty() { request.send().await } else { request.body("application/json", body.to_owned()).send().await }
}

/// Claims that are right now, for a client `tests`.
pub(super) fn claims(app: &TestApp, scopes: &[Scope], accounts: Option<&[&str]>) -> Value {
    let scope: Vec<&str> = scopes.iter().map(|scope| scope.as_str()).collect();
    let mut claims = json!({"sub": "tests", "exp": app.clock.now().as_seconds() + 600, "scope": scope.join(" ")});
    if let Some(accounts) = accounts {
        claims["accounts"] = json!(accounts);
    }
    claims
}

pub(super) fn hs256(claims: &Value) -> String {
    sign::token(&json!({"alg": "HS256", "typ": "JWT"}), claims, sign::by_secret(JWT_SECRET))
}

/// Each form with these rights.
pub(super) async fn with_rights(app: &TestApp, scopes: &[Scope], accounts: Option<&[&str]>) -> Vec<Credential> {
    vec![
        Credential::Bearer(app.make_key("tests", scopes, accounts, None).await),
        Credential::Bearer(hs256(&claims(app, scopes, accounts))),
        Credential::Signed(app.make_signing_key("tests", scopes, accounts).await),
    ]
}

/// Each form with every right but the secret.
pub(super) async fn with_wrong_secrets(app: &TestApp) -> Vec<Credential> {
    let key = app.make_key("tests", &Scope::ALL, None, None).await;
    let (head, _) = key.rsplit_once('_').unwrap();
    let signer = app.make_signing_key("tests", &Scope::ALL, None).await;
    let token = sign::token(&json!({"alg": "HS256"}), &claims(app, &Scope::ALL, None), sign::by_secret("another"));
    vec![
        Credential::Bearer(format!("{head}_{}", "0".repeat(64))),
        Credential::Bearer(token),
        Credential::Signed(SigningKey { secret: "0".repeat(64), ..signer }),
    ]
}

/// Each form, expired or revoked. (A token cannot be revoked.)
pub(super) async fn over(app: &TestApp) -> Vec<Credential> {
    let now = app.clock.now();
    let request = KeyRequest {
        client: "tests".to_owned(),
        scopes: Scope::ALL.to_vec(),
        accounts: None,
        templates: None,
        expires_at: Some(now),
        signing: true,
    };
    let expired = app.app.access().create(request.clone(), Actor::gateway()).await.unwrap().1;
    let (key, revoked) =
        app.app.access().create(KeyRequest { expires_at: None, ..request }, Actor::gateway()).await.unwrap();
    let past = now.minus(Duration::from_secs(61)).as_seconds();
    let mut claims = claims(app, &Scope::ALL, None);
    claims["exp"] = json!(past);
    // It works once, so that the gateway knows it well.
    let known = Credential::Bearer(revoked.expose().to_owned());
    assert_eq!(ask(app, &known, Method::GET, "/v1/messages", "").await.status, 200);
    assert!(app.app.access().revoke(&key.id, Actor::gateway()).await.unwrap());
    app.tick().await;
    let texts = [expired.expose(), revoked.expose()];
    let signed = texts.map(|text| Credential::Signed(SigningKey::of(text)));
    let bearers = texts.map(|text| Credential::Bearer(text.to_owned()));
    [Credential::Bearer(hs256(&claims))].into_iter().chain(bearers).chain(signed).collect()
}
