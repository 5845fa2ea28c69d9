//! Keys that sign, made and used beside the real program; and a log that tells of credentials without showing one.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use wxgate::domain::clock::{Clock, SystemClock, Timestamp};

use super::process::{Place, Program, command, until};
use crate::harness::order_notice;
use crate::harness::sign::{self, Signed, SigningKey, by_secret, token};

/// `wxgate key …` → standard output.
fn key(config: &Path, arguments: &[&str]) -> String {
    let output = command(config).arg("key").args(arguments).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The entry of `wxgate key list --json`.
fn listed(config: &Path, id: &str) -> serde_json::Value {
    let keys: serde_json::Value = serde_json::from_str(&key(config, &["list", "--json"])).unwrap();
    keys.as_array().unwrap().iter().find(|key| key["id"] == id).unwrap().clone()
}

async fn read(program: &Program, headers: &[(&'static str, String)], target: &str) -> u16 {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let request = client.get(format!("{}{target}", program.url));
    headers
        .iter()
        .fold(request, |request, (name, value)| request.header(*name, value))
        .send()
        .await
        .unwrap()
        .status()
        .as_u16()
}

fn signed(key: &SigningKey, target: &str) -> Vec<(&'static str, String)> {
    let timestamp = SystemClock.now().as_seconds();
    key.headers(&Signed { timestamp, nonce: sign::nonce(), method: "GET", target, body: "" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_made_beside_the_gateway_signs_and_its_last_use_is_shown() {
    let place = Place::prepare("").await;
    let program = place.start().await;
    let config = place.config();
    let text = key(&config, &["create", "--client", "crm", "--scopes", "read", "--signing"]);
    let plain = SigningKey::of(&key(&config, &["create", "--client", "crm", "--scopes", "read"]));
    let signer = SigningKey::of(&text);
    assert_eq!(
        (&listed(&config, &signer.id)["signing"], &listed(&config, &plain.id)["signing"]),
        (&"yes".into(), &"no".into())
    );
    assert!(listed(&config, &signer.id)["last_used_at"].is_null());

    let request = signed(&signer, "/v1/messages?limit=1");
    assert_eq!(read(&program, &request, "/v1/messages?limit=1").await, 200);
    assert_eq!(read(&program, &request, "/v1/messages?limit=1").await, 401);
    assert_eq!(read(&program, &signed(&plain, "/v1/messages"), "/v1/messages").await, 401);
    until("the use is kept", async || listed(&config, &signer.id)["last_used_at"].is_string()).await;
    let kept = |key: &SigningKey| Timestamp::parse(listed(&config, &key.id)["last_used_at"].as_str().unwrap()).unwrap();
    let first = kept(&signer);

    // A use within the same minute is written when the gateway stops.
    let again = SystemClock.now();
    assert_eq!(read(&program, &signed(&signer, "/v1/messages"), "/v1/messages").await, 200);
    program.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));
    assert!(first < again && kept(&signer) >= again, "{first} {again} {}", kept(&signer));
    let table = key(&config, &["list"]);
    assert!(table.lines().next().unwrap().contains("LAST USED") && table.contains("never"), "{table}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_another_seal_key_a_key_signs_no_more_and_says_so() {
    let place = Place::prepare("").await;
    let config = place.config();
    let signer = SigningKey::of(&key(&config, &["create", "--client", "crm", "--scopes", "read", "--signing"]));
    std::fs::remove_file(place.folder.path().join("wxgate.db.key")).unwrap();
    assert_eq!(listed(&config, &signer.id)["signing"], "lost");
    let program = place.start().await;
    assert_eq!(read(&program, &signed(&signer, "/v1/messages"), "/v1/messages").await, 401);
    let bearer = vec![("authorization", format!("Bearer wxg_{}_{}", signer.id, signer.secret))];
    assert_eq!(read(&program, &bearer, "/v1/messages").await, 200);
    until("the log tells it", async || {
        std::fs::read_to_string(place.log()).unwrap().contains("sealed under another secrets.key")
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_log_at_trace_tells_who_was_refused_and_no_credential() {
    const JWT_SECRET: &str = "5ecret-of-gateway-and-provider-0123456789";
    let sign_secret = "5e".repeat(32);
    let extra = format!(
        "auth.jwt = {{ algorithm = \"HS256\", secret = \"{JWT_SECRET}\", audience = \"wxgate\" }}\n\
         clients.signer = {{ sign_secret = \"{sign_secret}\", scopes = [\"send\", \"read\"] }}\n"
    );
    let place = Place::prepare(&extra).await;
    let config = std::fs::read_to_string(place.config()).unwrap();
    std::fs::write(place.config(), config.replace("level = \"info\"", "level = \"trace\"")).unwrap();
    let program = place.start().await;
    let signer = SigningKey { id: "signer".to_owned(), secret: sign_secret.clone() };
    let exp = SystemClock.now().as_seconds() + 600;
    let claims = json!({"sub": "tests", "scope": "read", "aud": "wxgate", "exp": exp});
    let right = token(&json!({"alg": "HS256"}), &claims, by_secret(JWT_SECRET));
    let wrong = token(&json!({"alg": "HS256"}), &claims, by_secret("wrong"));
    let none = token(&json!({"alg": "none"}), &claims, |_| b"no signature at all".to_vec());
    let bearer = |text: &str| vec![("authorization", format!("Bearer {text}"))];
    let path = "/v1/messages";

    assert_eq!(read(&program, &bearer(&right), path).await, 200);
    assert_eq!(read(&program, &signed(&signer, path), path).await, 200);
    let mut macs = Vec::new();
    for target in [format!("{path}?key={}", program.key), format!("{path}?access_token={right}")] {
        assert_eq!(read(&program, &[], &target).await, 401);
        assert_eq!(read(&program, &bearer(&program.key), &target).await, 401);
    }
    for text in [&wrong, &none, &format!("wxg_signer_{}", "0f".repeat(32)), "a.b.c"] {
        assert_eq!(read(&program, &bearer(text), path).await, 401);
    }
    let replayed = signed(&signer, path);
    assert_eq!(read(&program, &replayed, path).await, 200);
    let mut forged = signed(&SigningKey { secret: "0f".repeat(32), ..signer.clone() }, path);
    macs.extend([replayed[3].1.clone(), forged[3].1.clone()]);
    assert_eq!((read(&program, &replayed, path).await, read(&program, &forged, path).await), (401, 401));
    // A caller that takes the header's name by its word.
    forged[0].1 = format!("wxg_signer_{sign_secret}");
    assert_eq!(read(&program, &forged, path).await, 401);
    let body = order_notice("oLOGCREDENTIAL00000000000001").to_string();
    let content =
        Signed { timestamp: exp - 600, nonce: sign::nonce(), method: "POST", target: "/send-template", body: &body };
    let mut send = program.anonymous(Method::POST, "/send-template").header("content-type", "application/json");
    for (name, value) in signer.headers(&content) {
        send = send.header(name, value);
    }
    assert_eq!(send.body(body.clone()).send().await.unwrap().status(), 200);
    let key = program.key.clone();
    program.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));

    let log = std::fs::read_to_string(place.log()).unwrap();
    for reason in
        ["the signature is wrong", "the nonce was used before", "the token cannot be read", "the secret is wrong"]
    {
        assert!(log.contains(reason), "{reason} is not told");
    }
    let part = |token: &str| token.rsplit_once('.').unwrap().1.to_owned();
    let mut secrets = vec![JWT_SECRET.to_owned(), sign_secret, key, "0f".repeat(32), "oLOGCREDENTIAL".to_owned()];
    secrets.extend([&right, &wrong, &none].map(|token| token.clone()));
    secrets.extend([&right, &wrong, &none].map(|token| part(token)));
    secrets.extend(macs);
    for secret in secrets {
        assert_eq!(log.lines().find(|line| line.contains(&secret)), None, "{secret} is in the log");
    }
}
