//! `[auth.jwt]`: tokens of somebody else that are taken beside keys.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::read::Section;
use crate::domain::jwt::{Algorithm, Keys, Rules};
use crate::domain::secret::Secret;

const ALGORITHMS: [(&str, Option<Algorithm>); 5] = [
    ("", None),
    (Algorithm::ALL[0].as_str(), Some(Algorithm::ALL[0])),
    (Algorithm::ALL[1].as_str(), Some(Algorithm::ALL[1])),
    (Algorithm::ALL[2].as_str(), Some(Algorithm::ALL[2])),
    (Algorithm::ALL[3].as_str(), Some(Algorithm::ALL[3])),
];
/// Of HS256 (RFC 7518, 3.2).
const SECRET_BYTES: usize = 32;
/// A larger file is no key set.
const MAX_FILE_BYTES: u64 = 1 << 20;
const FIVE_MINUTES: Duration = Duration::from_secs(300);

#[derive(Clone, Debug, Default)]
pub struct AuthConfig {
    /// `None`: no tokens are taken.
    pub jwt: Option<JwtConfig>,
}

#[derive(Clone, Debug)]
pub struct JwtConfig {
    pub rules: Rules,
    pub keys: Keys,
    pub source: KeySource,
}

/// Where the keys came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// From the configuration: they stay until the next start.
    Given,
    /// From this file, which held this text, and may change.
    JwksFile { path: PathBuf, text: String },
}

impl AuthConfig {
    pub(super) fn read(section: &mut Section<'_>) -> Self {
        let mut jwt = section.section("jwt");
        let config = read_jwt(&mut jwt);
        jwt.close();
        Self { jwt: config }
    }
}

fn read_jwt(section: &mut Section<'_>) -> Option<JwtConfig> {
    let algorithm = section.choice("algorithm", &ALGORITHMS, None);
    let secret = section.secret("secret");
    let public_key = section.secret("public_key");
    let jwks_file = section.text("jwks_file");
    let (issuer, audience) = (section.text("issuer"), section.text("audience"));
    let leeway = section.span("leeway", Duration::ZERO..=FIVE_MINUTES);
    let Some(algorithm) = algorithm else {
        if secret.is_some() || public_key.is_some() || jwks_file.is_some() {
            section.wrong("algorithm", "is missing; one of \"HS256\", \"RS256\", \"ES256\", \"EdDSA\"");
        }
        return None;
    };
    if issuer.is_none() && audience.is_none() {
        section.warn(
            "audience",
            "is not set, nor is issuer: every token under this key is taken, also one for another program",
        );
    }
    let (keys, source) = read_keys(section, algorithm, secret, public_key, jwks_file)?;
    Some(JwtConfig { rules: Rules { algorithm, issuer, audience, leeway }, keys, source })
}

/// The one thing that the algorithm needs, and nothing else: a public key that somebody takes for a secret opens every door.
fn read_keys(
    section: &mut Section<'_>,
    algorithm: Algorithm,
    secret: Option<Secret>,
    public_key: Option<Secret>,
    jwks_file: Option<String>,
) -> Option<(Keys, KeySource)> {
    let name = algorithm.as_str();
    match (algorithm, secret, public_key, jwks_file) {
        (Algorithm::Hs256, Some(secret), None, None) => {
            check_secret(section, &secret);
            Some((Keys::from_secret(&secret), KeySource::Given))
        }
        (Algorithm::Hs256, ..) => {
            section.wrong("secret", format!("has to be given for {name}, and neither public_key nor jwks_file"));
            None
        }
        (_, None, Some(pem), None) => match Keys::from_pem(algorithm, pem.expose()) {
            Ok(keys) => Some((keys, KeySource::Given)),
            Err(problem) => {
                section.wrong("public_key", problem);
                None
            }
        },
        (_, None, None, Some(file)) => {
            let path = PathBuf::from(file);
            let read = read_jwks(&path).and_then(|text| Ok((Keys::from_jwks(algorithm, &text)?, text)));
            match read {
                Ok((keys, text)) => Some((keys, KeySource::JwksFile { path, text })),
                Err(problem) => {
                    section.wrong("jwks_file", format!("{} {problem}", path.display()));
                    None
                }
            }
        }
        _ => {
            section.wrong(
                "public_key",
                format!("or jwks_file, one of the two, has to be given for {name}, and no secret"),
            );
            None
        }
    }
}

fn check_secret(section: &Section<'_>, secret: &Secret) {
    if secret.expose().contains("-----BEGIN") {
        section.wrong("secret", "is a key in PEM; HS256 needs a secret that both sides keep, RS256 a public_key");
    }
    if secret.expose().len() < SECRET_BYTES {
        section.warn(
            "secret",
            "is shorter than 32 bytes: whoever sees one token can guess it; openssl rand -hex 32 makes one",
        );
    }
}

/// The text of a JWKS file; `Err` says why there is none, to stand behind its name.
pub fn read_jwks(path: &Path) -> Result<String, String> {
    let cannot = |error: std::io::Error| format!("cannot be read: {error}");
    let file = std::fs::metadata(path).map_err(cannot)?;
    if !file.is_file() || file.len() > MAX_FILE_BYTES {
        return Err("is no file of 1 MiB at most".to_owned());
    }
    std::fs::read_to_string(path).map_err(cannot)
}
