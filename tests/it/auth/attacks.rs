//! One attacker, one gateway: everything tried against what an administrator may do. The same attacks on sends stand in
//! `signed`, `jwt`, `url`, `routes` and in the `hostile_…` tests of faults.

use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use wxgate::domain::account::CallbackMode;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;
use wxgate::sandbox::{Broken, CallbackRequest, CallbackTarget};

use super::forms::{Credential, JWT_SECRET, ask, claims, hs256, jwt_config, with_rights};
use crate::harness::sign::{self, Signed, SigningKey, by_rsa, by_secret, token};
use crate::harness::{AES_KEY, CALLBACK_TOKEN, Reply, Setup, TestApp};

const ACCOUNTS: &str = "/v1/accounts";

fn account(name: &str) -> Value {
    json!({
        "name": name, "app_id": "wx0000000000000demo", "app_secret": "demo-secret", "token": CALLBACK_TOKEN,
        "encoding_aes_key": AES_KEY,
    })
}

struct Victim {
    app: TestApp,
    /// Account and acts before the attack.
    before: (Value, usize),
}

impl Victim {
    /// With the account `shop`, made at run time; nobody is told to wait.
    async fn stand_up() -> Self {
        let config = format!("{}[limits]\nauth_failures.rate = 0\nopenid.rate = 0\nidentical.rate = 0\n", jwt_config());
        let app = TestApp::start_with(Setup { bare: true, config, ..Setup::default() }).await;
        assert_eq!(app.post(ACCOUNTS).json(&account("shop")).send().await.status, 201);
        let before = Self::look(&app).await;
        Self { app, before }
    }

    async fn look(app: &TestApp) -> (Value, usize) {
        let accounts = app.get(ACCOUNTS).send().await.json();
        let acts = app.get("/v1/audit?limit=200").send().await.json()["data"].as_array().unwrap().clone();
        // Keys are made by the tests themselves.
        (accounts, acts.iter().filter(|act| act["action"] != "key.created").count())
    }

    async fn stands_unmoved(&self) {
        assert_eq!(Self::look(&self.app).await, self.before);
        let body = crate::harness::order_notice("sim-ok");
        assert_eq!(self.app.post("/send-template").json(&body).send().await.status, 200);
        assert_eq!(self.app.sandbox.send_callback(CallbackRequest::text("oU", "hi")).await.unwrap().status, 200);
    }

    async fn send(&self, key: &SigningKey, signed: &Signed<'_>, body: &str) -> Reply {
        let method = Method::from_bytes(signed.method.as_bytes()).unwrap();
        let request = self.app.anonymous(method, signed.target);
        let headers = key.headers(signed);
        headers
            .iter()
            .fold(request, |request, (name, value)| request.header(name, value))
            .body("application/json", body.to_owned())
            .send()
            .await
    }
}

#[tokio::test]
async fn a_signed_change_is_taken_once_in_its_time_and_as_it_was_signed() {
    let victim = Victim::stand_up().await;
    let key = victim.app.make_signing_key("ops", &[Scope::Admin], None).await;
    let body = json!({"on_unknown": "hold"}).to_string();
    let now = victim.app.clock.now().as_seconds();
    let target = "/v1/accounts/shop";
    let at = |timestamp, nonce| Signed { timestamp, nonce, method: "PATCH", target, body: &body };
    let right = at(now, sign::nonce());
    // Its body, its method and its target belong to it; so do its time and its nonce.
    let worse = json!({"base_url": "https://evil.example"}).to_string();
    victim.send(&key, &right, &worse).await.is_problem(401, "unauthenticated");
    for offset in [-301, 301] {
        victim.send(&key, &at(now + offset, sign::nonce()), &body).await.is_problem(401, "unauthenticated");
    }
    let mut moved = key.headers(&right);
    moved[1].1 = (now + 1).to_string();
    let request = victim.app.anonymous(Method::PATCH, target);
    let request = moved.iter().fold(request, |request, (name, value)| request.header(name, value));
    request.body("application/json", body.clone()).send().await.is_problem(401, "unauthenticated");
    victim.stands_unmoved().await;

    assert_eq!(victim.send(&key, &right, &body).await.status, 200);
    assert_eq!(victim.app.request(Method::PATCH, target).json(&json!({"on_unknown": null})).send().await.status, 200);
    victim.send(&key, &right, &body).await.is_problem(401, "unauthenticated");
    victim.app.advance(Duration::from_secs(301)).await;
    victim.send(&key, &right, &body).await.is_problem(401, "unauthenticated");
    assert_eq!(Victim::look(&victim.app).await.1, victim.before.1 + 2, "each change once");
}

#[tokio::test]
async fn no_token_of_the_attackers_making_is_an_administrators() {
    let victim = Victim::stand_up().await;
    let good = claims(&victim.app, &[Scope::Admin], None);
    let none = token(&json!({"alg": "none"}), &good, |_| Vec::new());
    let right = hs256(&good);
    let (head, mac) = right.rsplit_once('.').unwrap();
    let forged = [
        ("alg none", none),
        ("alg none over a right signature", format!("{}{mac}", token(&json!({"alg": "none"}), &good, |_| Vec::new()))),
        ("another secret", token(&json!({"alg": "HS256"}), &good, by_secret("guess"))),
        ("an algorithm of public keys, where a secret is meant", token(&json!({"alg": "RS256"}), &good, by_rsa)),
        ("the secret under a stronger name", token(&json!({"alg": "HS512"}), &good, by_secret(JWT_SECRET))),
        ("no signature", format!("{head}.")),
    ];
    for (what, forged) in forged {
        for (method, path) in
            [(Method::POST, ACCOUNTS), (Method::DELETE, "/v1/accounts/shop"), (Method::GET, "/v1/audit")]
        {
            let body = if method == Method::POST { account("evil").to_string() } else { String::new() };
            let reply = ask(&victim.app, &Credential::Bearer(forged.clone()), method, path, &body).await;
            assert_eq!(reply.status, 401, "{what}: {}", reply.text);
        }
    }
    victim.stands_unmoved().await;
}

#[tokio::test]
async fn who_may_less_or_elsewhere_gets_no_further() {
    let victim = Victim::stand_up().await;
    let less = with_rights(&victim.app, &[Scope::Send, Scope::Read, Scope::Token, Scope::Proxy], None).await;
    let elsewhere = with_rights(&victim.app, &Scope::ALL, Some(&["branch"])).await;
    let downgrade = json!({"mode": "plain"}).to_string();
    let attempts = [
        (Method::PATCH, "/v1/accounts/shop", downgrade.as_str()),
        (Method::DELETE, "/v1/accounts/shop?force=true", ""),
        (Method::GET, "/v1/accounts/shop", ""),
    ];
    for (method, path, body) in attempts {
        for credential in &less {
            ask(&victim.app, credential, method.clone(), path, body).await.is_problem(403, "forbidden");
        }
        for credential in &elsewhere {
            ask(&victim.app, credential, method.clone(), path, body).await.is_problem(404, "not_found");
            // What is not there answers in the same words.
            let nowhere = path.replace("shop", "nowhere");
            ask(&victim.app, credential, method.clone(), &nowhere, body).await.is_problem(404, "not_found");
        }
    }
    for credential in &elsewhere {
        let made = ask(&victim.app, credential, Method::POST, ACCOUNTS, &account("shop2").to_string()).await;
        made.is_problem(403, "forbidden");
        // The app of another account cannot be taken over under a name of one's own.
        let taken = ask(&victim.app, credential, Method::POST, ACCOUNTS, &account("branch").to_string()).await;
        assert!(!taken.is_problem(409, "account_conflict").text.contains("shop"), "{}", taken.text);
        let acts = ask(&victim.app, credential, Method::GET, "/v1/audit?account=shop", "").await;
        assert_eq!(acts.json()["data"], json!([]));
    }
    victim.stands_unmoved().await;
}

#[tokio::test]
async fn the_body_of_an_account_reads_no_file_calls_no_other_scheme_and_has_its_limits() {
    let victim = Victim::stand_up().await;
    let post = async |change: Value| {
        let mut body = account("evil");
        body["app_id"] = json!("wx000000000000evil");
        body.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        victim.app.post(ACCOUNTS).json(&body).send().await
    };
    for field in ["app_secret_file", "token_file", "encoding_aes_key_file", "source", "problem", "revision"] {
        let reply = post(json!({field: "/etc/hostname"})).await;
        assert!(reply.is_problem(400, "malformed_request").text.contains(field), "{}", reply.text);
    }
    for url in ["file:///etc/passwd", "gopher://x", "//evil", "https://user:secret@evil", "https://evil/?a=1"] {
        post(json!({"base_url": url})).await.is_problem(422, "invalid_account");
    }
    for name in ["../shop", "shop/token", "Shop", "", "shop\n", "ѕhop"] {
        post(json!({"name": name})).await.is_problem(422, "invalid_account");
    }
    post(json!({"templates": {"a": "x".repeat(300 * 1024)}})).await.is_problem(413, "payload_too_large");
    let twice = account("evil").to_string().replacen('{', "{\"name\":\"shop\",", 1);
    victim.app.post(ACCOUNTS).body("application/json", twice).send().await.is_problem(400, "malformed_request");
    victim.stands_unmoved().await;
}

#[tokio::test]
async fn headers_neither_carry_two_identities_nor_forge_what_is_written_down() {
    let victim = Victim::stand_up().await;
    let low = victim.app.make_key("low", &[Scope::Read], None, None).await;
    let ask = |path: &str| victim.app.anonymous(Method::GET, path);
    let bearer = |key: &str| format!("Bearer {key}");
    for (first, second) in [(&low, &victim.app.key), (&victim.app.key, &low)] {
        let both = ask("/v1/audit").header("authorization", &bearer(first)).header("authorization", &bearer(second));
        both.send().await.is_problem(401, "unauthenticated");
    }
    let joined = format!("Bearer {low}, Bearer {}", victim.app.key);
    ask("/v1/audit").header("authorization", &joined).send().await.is_problem(401, "unauthenticated");
    let signed = ask("/v1/audit").header("authorization", &bearer(&victim.app.key)).header("x-wxgate-key", "ops");
    signed.send().await.is_problem(401, "unauthenticated");
    let url = format!("/v1/audit?key={}", victim.app.key);
    ask(&url).header("authorization", &bearer(&victim.app.key)).send().await.is_problem(401, "unauthenticated");
    victim.stands_unmoved().await;

    // No proxy is trusted here, so whoever says to be somebody else is not believed.
    let change = victim.app.request(Method::PATCH, "/v1/accounts/shop").header("x-forwarded-for", "203.0.113.7");
    let change = change.header("x-real-ip", "203.0.113.7").header("x-request-id", "<b>forged id</b>");
    assert_eq!(change.json(&json!({"on_unknown": "hold"})).send().await.status, 200);
    let act = victim.app.get("/v1/audit?action=account.changed").send().await.json()["data"][0].clone();
    assert_eq!((&act["remote"], &act["action"]), (&json!("127.0.0.1"), &json!("account.changed")));
    let id = act["request_id"].as_str().unwrap();
    assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
}

#[tokio::test]
async fn an_account_made_at_run_time_is_no_easier_to_write_to_than_a_configured_one() {
    let victim = Victim::stand_up().await;
    for (broken, status) in [
        (Broken::Plaintext, 401),
        (Broken::WrongMsgSignature, 401),
        (Broken::WrongAppid, 401),
        (Broken::OldKey, 401),
        (Broken::StaleTimestamp, 401),
        (Broken::HugeBody, 413),
        (Broken::Doctype, 400),
    ] {
        let result =
            victim.app.sandbox.send_callback(CallbackRequest::text("oBAD", "hi").broken(broken)).await.unwrap();
        assert_eq!(result.status, status, "{broken:?}");
    }
    let mut plain = CallbackTarget::plain(&format!("{}/wechat/shop", victim.app.url), CALLBACK_TOKEN);
    plain.mode = CallbackMode::Plain;
    let safe = victim.app.sandbox.callback_target(None);
    assert!(victim.app.sandbox.set_callback_target(None, Some(plain)));
    let result = victim.app.sandbox.send_callback(CallbackRequest::text("oBAD", "hi")).await.unwrap();
    assert_eq!(result.status, 401, "safe mode is not left because the other side did");
    assert!(victim.app.sandbox.set_callback_target(None, safe));
    victim.stands_unmoved().await;
}
