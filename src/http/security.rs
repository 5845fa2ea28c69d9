//! How callers show who they are, as the OpenAPI document tells it. Handlers name the key's scope; the other forms of
//! credentials are added here, with the same scope.

use utoipa::Modify;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};

use super::openapi::operations;

const KEY: &str = "key";
const JWT: &str = "jwt";
/// The four headers of a signed request: only together.
const SIGNED: [(&str, &str, &str); 4] = [
    ("signed_key", "X-Wxgate-Key", "The id of a key that can sign: `key_…`, or the name of a configured client."),
    ("signed_timestamp", "X-Wxgate-Timestamp", "Seconds since 1970, at most 300 from the gateway's clock."),
    ("signed_nonce", "X-Wxgate-Nonce", "Taken once: 1–128 visible ASCII characters, such as 32 random hex digits."),
    (
        "signed_signature",
        "X-Wxgate-Signature",
        "`v1=` and, in lower-case hex, `hmac-sha256(secret, \"{timestamp}.{nonce}.{METHOD}.{path?query}.{hex sha256(body)}\")`; `secret` is the text behind the last `_` of the key.",
    ),
];

pub(super) struct Schemes;

impl Modify for Schemes {
    fn modify(&self, document: &mut OpenApi) {
        let components = document.components.get_or_insert_default();
        let mut bearer = |name: &str, format: Option<&str>, description: &str| {
            let mut scheme = Http::new(HttpAuthScheme::Bearer);
            scheme.bearer_format = format.map(str::to_owned);
            scheme.description = Some(description.to_owned());
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        };
        bearer(KEY, None, "`Authorization: Bearer wxg_<keyid>_<secret>`; `wxgate key create` makes a key.");
        bearer(
            JWT,
            Some("JWT"),
            "A token of the provider that `[auth.jwt]` names: `sub` is the client; `scope`, `accounts`, `exp`.",
        );
        for (name, header, description) in SIGNED {
            let scheme = SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(header, description)));
            components.add_security_scheme(name, scheme);
        }
        for operation in document.paths.paths.values_mut().flat_map(operations) {
            if let Some(needs) = &mut operation.security {
                let scopes: Vec<String> = needs.iter().flat_map(scopes).collect();
                needs.push(SecurityRequirement::new(JWT, scopes.clone()));
                let signed = SIGNED
                    .iter()
                    .fold(SecurityRequirement::default(), |need, (name, ..)| need.add(*name, scopes.clone()));
                needs.push(signed);
            }
        }
    }
}

/// What a handler asks of the key; the type keeps it to itself, but not its JSON.
fn scopes(need: &SecurityRequirement) -> Vec<String> {
    let need = serde_json::to_value(need).unwrap_or_default();
    serde_json::from_value(need[KEY].clone()).unwrap_or_default()
}
