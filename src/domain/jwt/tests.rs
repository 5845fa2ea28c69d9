//! Tokens made by hand, so that every part of them can be wrong.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::rand::SystemRandom;
use ring::{hmac, signature};
use serde_json::{Value, json};

use super::*;
use crate::domain::secret::Secret;

const RSA_PUBLIC: &str = include_str!("../../../tests/fixtures/jwt/rsa.pub.pem");
const SECRET: &str = "a shared secret of thirty-two bytes or more";
const NOW: i64 = 1_767_400_000;

fn pem(name: &str) -> String {
    std::fs::read_to_string(format!("{}/tests/fixtures/jwt/{name}.pem", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn der(name: &str) -> Vec<u8> {
    let text: String = pem(name).lines().filter(|line| !line.starts_with("-----")).collect();
    base64::engine::general_purpose::STANDARD.decode(text).unwrap()
}

fn encode(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn signed(header: &Value, claims: &Value, sign: impl Fn(&[u8]) -> Vec<u8>) -> String {
    let message = format!("{}.{}", encode(header.to_string()), encode(claims.to_string()));
    format!("{message}.{}", encode(sign(message.as_bytes())))
}

fn by_secret(secret: &[u8]) -> impl Fn(&[u8]) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
    move |message| hmac::sign(&key, message).as_ref().to_vec()
}

fn by_rsa(message: &[u8]) -> Vec<u8> {
    let key = signature::RsaKeyPair::from_pkcs8(&der("rsa")).unwrap();
    let mut mac = vec![0; key.public().modulus_len()];
    key.sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut mac).unwrap();
    mac
}

fn by_p256(message: &[u8]) -> Vec<u8> {
    let random = SystemRandom::new();
    let way = &signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = signature::EcdsaKeyPair::from_pkcs8(way, &der("p256"), &random).unwrap();
    key.sign(&random, message).unwrap().as_ref().to_vec()
}

fn by_ed25519(message: &[u8]) -> Vec<u8> {
    let key = signature::Ed25519KeyPair::from_pkcs8_maybe_unchecked(&der("ed25519")).unwrap();
    key.sign(message).as_ref().to_vec()
}

fn rules(algorithm: Algorithm) -> Rules {
    Rules { algorithm, issuer: None, audience: None, leeway: Duration::from_secs(60) }
}

fn claims() -> Value {
    json!({"sub": "crm", "exp": NOW + 600, "scope": "send read"})
}

fn verify(rules: &Rules, token: &str) -> Result<Grant, Refusal> {
    rules.verify(&Keys::from_secret(&Secret::new(SECRET)), token, Timestamp::from_seconds(NOW))
}

fn hs256(claims: &Value) -> String {
    signed(&json!({"alg": "HS256", "typ": "JWT"}), claims, by_secret(SECRET.as_bytes()))
}

fn with(key: &str, value: Value) -> Value {
    let mut claims = claims();
    claims[key] = value;
    claims
}

fn grant(claims: &Value) -> Result<Grant, Refusal> {
    verify(&rules(Algorithm::Hs256), &hs256(claims))
}

#[test]
fn each_algorithm_takes_its_own_signature_and_no_other() {
    let now = Timestamp::from_seconds(NOW);
    let makers: [(Algorithm, Keys, String); 4] = [
        (Algorithm::Hs256, Keys::from_secret(&Secret::new(SECRET)), hs256(&claims())),
        (
            Algorithm::Rs256,
            Keys::from_pem(Algorithm::Rs256, RSA_PUBLIC).unwrap(),
            signed(&json!({"alg": "RS256"}), &claims(), by_rsa),
        ),
        (
            Algorithm::Es256,
            Keys::from_pem(Algorithm::Es256, &pem("p256.pub")).unwrap(),
            signed(&json!({"alg": "ES256"}), &claims(), by_p256),
        ),
        (
            Algorithm::EdDsa,
            Keys::from_pem(Algorithm::EdDsa, &pem("ed25519.pub")).unwrap(),
            signed(&json!({"alg": "EdDSA"}), &claims(), by_ed25519),
        ),
    ];
    for (algorithm, keys, token) in &makers {
        let grant = rules(*algorithm).verify(keys, token, now).unwrap();
        assert_eq!(grant.client, "crm");
        let (message, _) = token.rsplit_once('.').unwrap();
        let changed = format!("{message}.{}", encode([7; 64]));
        assert_eq!(rules(*algorithm).verify(keys, &changed, now), Err(Refusal::Signature), "{algorithm:?}");
        for (other, _, foreign) in makers.iter().filter(|(other, ..)| other != algorithm) {
            assert_eq!(rules(*algorithm).verify(keys, foreign, now), Err(Refusal::Algorithm), "{other:?}");
            // The right name over a foreign signature.
            let (_, mac) = foreign.rsplit_once('.').unwrap();
            let mixed = format!("{message}.{mac}");
            assert_eq!(rules(*algorithm).verify(keys, &mixed, now), Err(Refusal::Signature), "{other:?}");
        }
    }
}

#[test]
fn a_public_key_is_never_a_secret() {
    let forged = signed(&json!({"alg": "HS256"}), &claims(), by_secret(RSA_PUBLIC.as_bytes()));
    let keys = Keys::from_pem(Algorithm::Rs256, RSA_PUBLIC).unwrap();
    let now = Timestamp::from_seconds(NOW);
    assert_eq!(rules(Algorithm::Rs256).verify(&keys, &forged, now), Err(Refusal::Algorithm));
    // Even if the rules and the keys did not fit together.
    assert_eq!(rules(Algorithm::Hs256).verify(&keys, &forged, now), Err(Refusal::Malformed));
    assert!(Keys::from_pem(Algorithm::Hs256, RSA_PUBLIC).is_err());
}

#[test]
fn without_a_signature_there_is_no_token() {
    for alg in ["none", "None", "NONE", "nOnE", "", "HS256 ", "HS512", "RS256"] {
        let header = json!({"alg": alg});
        for token in
            [signed(&header, &claims(), |_| Vec::new()), signed(&header, &claims(), by_secret(SECRET.as_bytes()))]
        {
            assert!(verify(&rules(Algorithm::Hs256), &token).is_err(), "{alg}");
        }
    }
    let token = hs256(&claims());
    let (message, mac) = token.rsplit_once('.').unwrap();
    for wrong in [
        message.to_owned(),
        format!("{message}."),
        format!("{message}.{}", &mac[..mac.len() - 2]),
        format!("{message}.{mac}="),
        format!("{token}.{mac}"),
        format!("{token} "),
        token.replacen('.', "", 1),
        String::new(),
        "..".to_owned(),
        "a.b.c".to_owned(),
        "x".repeat(MAX_BYTES + 1),
    ] {
        assert!(verify(&rules(Algorithm::Hs256), &wrong).is_err(), "{wrong:.80}");
    }
    assert!(verify(&rules(Algorithm::Hs256), &token).is_ok());
}

#[test]
fn a_header_that_must_be_understood_is_not() {
    for header in [
        json!({"alg": "HS256", "crit": ["exp"]}),
        json!({"alg": "HS256", "crit": []}),
        json!({"alg": "HS256", "b64": false, "crit": ["b64"]}),
    ] {
        let token = signed(&header, &claims(), by_secret(SECRET.as_bytes()));
        assert_eq!(verify(&rules(Algorithm::Hs256), &token), Err(Refusal::Critical), "{header}");
    }
    // Headers that point to keys elsewhere are not followed.
    let header = json!({"alg": "HS256", "jku": "https://evil.example/keys", "x5u": "https://evil.example", "kid": "../../etc/passwd"});
    assert!(verify(&rules(Algorithm::Hs256), &signed(&header, &claims(), by_secret(b"mine"))).is_err());
}

#[test]
fn times_are_those_of_our_clock_with_leeway() {
    for (exp, valid) in [(NOW + 1, true), (NOW, true), (NOW - 59, true), (NOW - 60, false), (NOW - 3600, false)] {
        let expected = if valid { Ok(()) } else { Err(Refusal::Expired) };
        assert_eq!(grant(&with("exp", json!(exp))).map(|_| ()), expected, "{exp}");
    }
    for (nbf, valid) in [(NOW - 1, true), (NOW + 60, true), (NOW + 61, false)] {
        let expected = if valid { Ok(()) } else { Err(Refusal::NotYet) };
        assert_eq!(grant(&with("nbf", json!(nbf))).map(|_| ()), expected, "{nbf}");
    }
    assert!(grant(&with("exp", json!(NOW as f64 + 0.5))).is_ok());
    for wrong in
        [json!(null), json!("2030-01-01"), json!((NOW + 600).to_string()), json!(-1), json!(true), json!([NOW + 600])]
    {
        assert!(grant(&with("exp", wrong.clone())).is_err(), "{wrong}");
    }
    assert_eq!(grant(&json!({"sub": "crm"})), Err(Refusal::Malformed));
    assert!(grant(&with("nbf", json!("soon"))).is_err());
}

#[test]
fn issuer_and_audience_are_asked_for_when_they_are_set() {
    let rules = Rules {
        issuer: Some("https://id.example".to_owned()),
        audience: Some("wxgate".to_owned()),
        ..rules(Algorithm::Hs256)
    };
    let ask = |iss: Value, aud: Value| {
        let mut claims = claims();
        for (name, value) in [("iss", iss), ("aud", aud)] {
            if !value.is_null() {
                claims[name] = value;
            }
        }
        verify(&rules, &hs256(&claims)).map(|_| ())
    };
    let (iss, aud) = (json!("https://id.example"), json!("wxgate"));
    assert_eq!(ask(iss.clone(), aud.clone()), Ok(()));
    assert_eq!(ask(iss.clone(), json!(["other", "wxgate"])), Ok(()));
    for wrong in [json!("https://id.example/"), json!("evil"), json!(7), Value::Null] {
        assert!(matches!(ask(wrong.clone(), aud.clone()), Err(Refusal::Issuer | Refusal::Malformed)), "{wrong}");
    }
    for wrong in [json!("other"), json!([]), json!(["other"]), json!(7), Value::Null] {
        assert!(matches!(ask(iss.clone(), wrong.clone()), Err(Refusal::Audience | Refusal::Malformed)), "{wrong}");
    }
    // Meant for somebody else, and we have no name.
    assert_eq!(grant(&with("aud", json!("other"))), Err(Refusal::Audience));
}

#[test]
fn a_grant_says_client_scopes_and_accounts() {
    let full =
        json!({"sub": "crm", "exp": NOW + 1, "scope": " send  fly read admins token", "accounts": ["shop", "b"]});
    let expected = Grant {
        client: "crm".to_owned(),
        scopes: vec![Scope::Send, Scope::Read, Scope::Token],
        accounts: Some(vec!["shop".to_owned(), "b".to_owned()]),
        expires_at: Timestamp::from_seconds(NOW + 61),
    };
    assert_eq!(grant(&full).unwrap(), expected);
    assert_eq!(grant(&with("accounts", json!("shop b"))).unwrap().accounts, expected.accounts);
    assert_eq!(grant(&claims()).unwrap().accounts, None);
    assert_eq!(grant(&with("accounts", json!([]))).unwrap().accounts, Some(Vec::new()));
    assert_eq!(grant(&with("accounts", json!(""))).unwrap().accounts, Some(Vec::new()));
    assert_eq!(grant(&json!({"sub": "crm", "exp": NOW + 1})).unwrap().scopes, Vec::new());
    for (name, wrong) in [
        ("accounts", Value::Null),
        ("accounts", json!(7)),
        ("accounts", json!([7])),
        ("scope", json!(["send"])),
        ("sub", json!("")),
        ("sub", json!(7)),
        ("sub", Value::Null),
        ("sub", json!("a\nb")),
        ("sub", json!("x".repeat(129))),
    ] {
        assert!(grant(&with(name, wrong.clone())).is_err(), "{name} {wrong}");
    }
    let twice = format!(r#"{{"sub":"crm","sub":"admin","exp":{}}}"#, NOW + 600);
    let message = format!("{}.{}", encode(r#"{"alg":"HS256"}"#), encode(twice));
    let token = format!("{message}.{}", encode(by_secret(SECRET.as_bytes())(message.as_bytes())));
    assert_eq!(verify(&rules(Algorithm::Hs256), &token), Err(Refusal::Malformed));
}

fn jwk(kind: &str, kid: Option<&str>) -> Value {
    let mut jwk = match kind {
        "rsa" => {
            let public = signature::RsaKeyPair::from_pkcs8(&der("rsa")).unwrap();
            let parts: signature::RsaPublicKeyComponents<Vec<u8>> = public.public().into();
            json!({"kty": "RSA", "n": encode(parts.n), "e": encode(parts.e)})
        }
        "p256" => {
            let point = der("p256.pub")[26..].to_vec();
            json!({"kty": "EC", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..])})
        }
        _ => json!({"kty": "OKP", "crv": "Ed25519", "x": encode(&der("ed25519.pub")[12..])}),
    };
    if let Some(kid) = kid {
        jwk["kid"] = json!(kid);
    }
    jwk
}

#[test]
fn a_set_is_looked_into_by_kid() {
    let now = Timestamp::from_seconds(NOW);
    let mut spare = jwk("ed25519", Some("spare"));
    spare["x"] = json!(encode([9; 32]));
    let both =
        json!({"keys": [spare, jwk("ed25519", Some("live")), jwk("rsa", Some("rsa")), {"kty": "oct", "k": "AAAA"}]});
    let keys = Keys::from_jwks(Algorithm::EdDsa, &both.to_string()).unwrap();
    assert_eq!(keys.count(), 2);
    let ask = |keys: &Keys, kid: Option<&str>| {
        let header = kid.map_or_else(|| json!({"alg": "EdDSA"}), |kid| json!({"alg": "EdDSA", "kid": kid}));
        rules(Algorithm::EdDsa).verify(keys, &signed(&header, &claims(), by_ed25519), now).map(|_| ())
    };
    assert_eq!(ask(&keys, Some("live")), Ok(()));
    assert_eq!(ask(&keys, Some("spare")), Err(Refusal::Signature));
    assert_eq!(ask(&keys, Some("gone")), Err(Refusal::UnknownKey));
    assert_eq!(ask(&keys, Some("rsa")), Err(Refusal::UnknownKey));
    assert_eq!(ask(&keys, None), Err(Refusal::UnknownKey));
    let one = Keys::from_jwks(Algorithm::EdDsa, &json!({"keys": [jwk("ed25519", None)]}).to_string()).unwrap();
    assert_eq!(ask(&one, None), Ok(()));
    assert_eq!(ask(&one, Some("live")), Err(Refusal::UnknownKey));

    for (algorithm, kind, sign) in
        [(Algorithm::Rs256, "rsa", by_rsa as fn(&[u8]) -> Vec<u8>), (Algorithm::Es256, "p256", by_p256)]
    {
        let set = json!({"keys": [jwk(kind, Some("k"))]});
        let keys = Keys::from_jwks(algorithm, &set.to_string()).unwrap();
        let header = json!({"alg": algorithm.as_str(), "kid": "k"});
        assert!(rules(algorithm).verify(&keys, &signed(&header, &claims(), sign), now).is_ok(), "{kind}");
    }
}

#[test]
fn keys_that_do_not_fit_are_told() {
    let of_pem = |algorithm, name: &str| Keys::from_pem(algorithm, &pem(name)).map(|_| ()).unwrap_err();
    assert!(of_pem(Algorithm::Rs256, "rsa").contains("private key"));
    assert!(of_pem(Algorithm::Rs256, "rsa-1024.pub").contains("2048 bits"));
    assert!(of_pem(Algorithm::Rs256, "p256.pub").contains("RSA key"));
    assert!(of_pem(Algorithm::Es256, "p384.pub").contains("P-256"));
    assert!(of_pem(Algorithm::Es256, "rsa.pub").contains("P-256"));
    assert!(of_pem(Algorithm::EdDsa, "p256.pub").contains("Ed25519"));
    assert!(Keys::from_pem(Algorithm::Rs256, "no PEM").unwrap_err().contains("PEM"));
    let of_set = |set: Value| Keys::from_jwks(Algorithm::Rs256, &set.to_string()).map(|_| ()).unwrap_err();
    assert!(of_set(json!({})).contains("no JWK set"));
    assert!(of_set(json!({"keys": [jwk("p256", None)]})).contains("no key for RS256"));
    assert!(of_set(json!({"keys": [jwk("rsa", Some("a")), jwk("rsa", Some("a"))]})).contains("same kid"));
    for (name, value) in
        [("use", json!("enc")), ("alg", json!("RS512")), ("alg", json!("HS256")), ("key_ops", json!(["encrypt"]))]
    {
        let mut other = jwk("rsa", Some("a"));
        other[name] = value;
        assert!(of_set(json!({"keys": [other]})).contains("no key for RS256"), "{name}");
    }
    let mut short = jwk("rsa", Some("a"));
    short["n"] = json!(encode([255; 128]));
    assert!(of_set(json!({"keys": [short]})).contains("key a: is an RSA key of less than 2048 bits"));
    assert!(Keys::from_jwks(Algorithm::Rs256, "{").is_err());
}
