//! Clients that sign, and tokens of a provider.

use super::*;
use crate::domain::caller::Signing;
use crate::domain::secret::Secret;

fn wrong_in(text: &str) -> Vec<String> {
    wrong(text, &[])
}

#[test]
fn a_client_that_signs_has_its_secret_here() {
    let [secret, old] = ["ab", "cd"].map(|half| half.repeat(32));
    let text = format!("[clients.crm]\nscopes = ['send']\nsign_secret = '{secret}'\nprevious_sign_secret = '{old}'\n");
    let config = load(&text, &[]).unwrap();
    let secrets: Vec<_> = config.clients.iter().map(|key| key.signing.clone()).collect();
    assert_eq!(secrets, [secret.as_str(), &old].map(|text| Signing::With(Secret::new(text))));
    assert_ne!(config.clients[0].secret_sha256, config.clients[1].secret_sha256);
    assert!(!config.render().contains(&secret) && !format!("{config:?}").contains(&old));

    let both = format!("[clients.crm]\nscopes = ['send']\nsign_secret = '{secret}'\nkey_sha256 = '{HASH}'\n");
    let keys = load(&both, &[]).unwrap().clients;
    assert_eq!((keys[0].signing.clone(), keys[0].secret_sha256.as_str()), (Signing::Not, HASH));
    for wrong in ["short", &format!("wxg_crm_{secret}"), &"x".repeat(64)] {
        let lines = wrong_in(&format!("[clients.crm]\nscopes = ['send']\nsign_secret = '{wrong}'\n"));
        has(&lines, &["clients.crm.sign_secret (", "64 hex digits"]);
        assert!(!lines.concat().contains(wrong), "{lines:?}");
    }
    let alone = format!("[clients.crm]\nscopes = ['send']\nprevious_sign_secret = '{old}'\n");
    has(&wrong_in(&alone), &["previous_sign_secret", "without sign_secret"]);
}

fn pem(name: &str) -> String {
    format!("{}/tests/fixtures/jwt/{name}.pem", env!("CARGO_MANIFEST_DIR"))
}

#[test]
fn tokens_are_taken_by_one_algorithm_and_its_kind_of_key() {
    assert!(load("", &[]).unwrap().auth.jwt.is_none());
    let secret = "s3cr3t-that-is-longer-than-32-bytes!";
    let text = format!("[auth.jwt]\nalgorithm = 'HS256'\nsecret = '{secret}'\nissuer = 'me'\nleeway = '5s'\n");
    let config = load(&text, &[]).unwrap();
    let jwt = config.auth.jwt.clone().unwrap();
    assert_eq!(
        (jwt.rules.issuer.as_deref(), jwt.rules.audience, jwt.rules.leeway),
        (Some("me"), None, Duration::from_secs(5))
    );
    assert!(!config.render().contains(secret) && !format!("{config:?}").contains(secret));
    assert_eq!(config.notes.warnings, Vec::<String>::new());

    let public = pem("rsa.pub");
    let from_file = load(
        "[auth.jwt]\nalgorithm = 'RS256'\naudience = 'wxgate'\n",
        &[("WXGATE__AUTH__JWT__PUBLIC_KEY_FILE", &public)],
    );
    assert_eq!(from_file.unwrap().auth.jwt.unwrap().keys.count(), 1);
    let inline = std::fs::read_to_string(&public).unwrap();
    let text = format!("[auth.jwt]\nalgorithm = 'RS256'\naudience = 'wxgate'\npublic_key = '''\n{inline}'''\n");
    assert!(load(&text, &[]).unwrap().auth.jwt.is_some());
}

#[test]
fn settings_of_tokens_that_do_not_fit_are_told() {
    let jwt = |lines: &str| wrong_in(&format!("[auth.jwt]\n{lines}\n"));
    let secret = "secret = 's3cr3t-that-is-longer-than-32-bytes!'";
    has(&jwt(secret), &["auth.jwt.algorithm", "is missing", "RS256"]);
    has(&jwt(&format!("algorithm = 'none'\n{secret}")), &["auth.jwt.algorithm", "\"none\" is none of", "\"HS256\""]);
    has(&jwt(&format!("algorithm = 'RS512'\n{secret}")), &["auth.jwt.algorithm", "is none of"]);
    has(&jwt("algorithm = 'HS256'"), &["auth.jwt.secret", "has to be given for HS256"]);
    has(&jwt("algorithm = 'RS256'"), &["auth.jwt.public_key", "jwks_file", "has to be given for RS256"]);
    has(&jwt(&format!("algorithm = 'RS256'\n{secret}")), &["auth.jwt.public_key", "no secret"]);
    let key = format!("public_key_file = '{}'", pem("rsa.pub"));
    has(&jwt(&format!("algorithm = 'HS256'\n{key}")), &["auth.jwt.secret", "neither public_key"]);
    has(&jwt(&format!("algorithm = 'HS256'\n{secret}\n{key}")), &["auth.jwt.secret", "neither public_key"]);
    has(&jwt(&format!("algorithm = 'RS256'\n{key}\njwks_file = 'x.json'")), &["one of the two"]);
    has(&jwt(&format!("algorithm = 'ES256'\n{key}")), &["auth.jwt.public_key", "P-256"]);
    has(&jwt(&format!("algorithm = 'RS256'\npublic_key_file = '{}'", pem("rsa"))), &["is a private key"]);
    has(
        &jwt("algorithm = 'RS256'\njwks_file = '/does/not/exist'"),
        &["auth.jwt.jwks_file (", "/does/not/exist cannot be read"],
    );
    has(&jwt("algorithm = 'RS256'\njwks_file = '/dev/zero'"), &["auth.jwt.jwks_file (", "is no file"]);
    has(&jwt("algoritm = 'RS256'"), &["did you mean `algorithm`?"]);
    let as_secret = format!("algorithm = 'HS256'\nsecret_file = '{}'", pem("rsa.pub"));
    has(&jwt(&as_secret), &["auth.jwt.secret", "is a key in PEM"]);

    let short = load("[auth.jwt]\nalgorithm = 'HS256'\nsecret = 'short'\n", &[]).unwrap();
    has(&short.notes.warnings, &["auth.jwt.secret", "32 bytes"]);
    has(&short.notes.warnings, &["auth.jwt.audience", "another program"]);
}
