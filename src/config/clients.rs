//! `[clients.<name>]` → keys. A client with several hashes becomes several keys with the same id: any of them opens.

use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::accounts::{NAME_RULE, is_name};
use super::read::Section;
use super::unknown::nearest_name;
use crate::domain::account::Account;
use crate::domain::caller::{Key, Scope, Signing};
use crate::domain::clock::Timestamp;
use crate::domain::secret::Secret;

pub(super) fn read(root: &mut Section<'_>, accounts: &[Arc<Account>]) -> Vec<Key> {
    let mut keys = Vec::new();
    for (name, mut section) in root.sections("clients") {
        if !is_name(&name) {
            section.wrong("", NAME_RULE);
        }
        keys.extend(read_client(&name, &mut section, accounts));
        section.close();
    }
    keys
}

fn read_client(name: &str, section: &mut Section<'_>, accounts: &[Arc<Account>]) -> Vec<Key> {
    let signing = read_signing(section);
    let hashes = read_hashes(section, signing.is_empty());
    let scopes = read_scopes(section);
    let accounts = read_accounts(section, accounts);
    let templates = section.list("templates");
    if templates.as_ref().is_some_and(Vec::is_empty) {
        section.wrong("templates", "allows nothing; leave it out to allow every template");
    }
    let expires_at = section.parsed("expires_at", |text| {
        Timestamp::parse(text).ok_or_else(|| "is no time; write it like \"2030-01-01T00:00:00Z\"".to_owned())
    });
    let key = |(secret_sha256, signing): (String, Signing)| Key {
        id: name.to_owned(),
        client: name.to_owned(),
        secret_sha256,
        scopes: scopes.clone(),
        accounts: accounts.clone(),
        templates: templates.clone(),
        created_at: Timestamp::default(),
        expires_at,
        revoked_at: None,
        signing,
        last_used_at: None,
    };
    let bearers = hashes.into_iter().map(|hash| (hash, Signing::Not));
    let signers = signing.into_iter().map(|secret| (hash_of(&secret), Signing::With(secret)));
    bearers.chain(signers).map(key).collect()
}

/// The secrets themselves, for a client that signs its requests. They open the door as bearers as well.
fn read_signing(section: &mut Section<'_>) -> Vec<Secret> {
    let mut secrets = Vec::new();
    for key in ["sign_secret", "previous_sign_secret"] {
        let Some(secret) = section.secret(key) else { continue };
        if secret.expose().len() != 64 || !secret.expose().bytes().all(|b| b.is_ascii_hexdigit()) {
            section
                .wrong(key, "has to be 64 hex digits (openssl rand -hex 32), what stands behind the last _ of a key");
        }
        if key == "previous_sign_secret" && secrets.is_empty() {
            section.wrong(key, "stands without sign_secret, the one that takes its place");
        }
        secrets.push(secret);
    }
    secrets
}

fn hash_of(secret: &Secret) -> String {
    hex::encode(Sha256::digest(secret.expose().as_bytes()))
}

fn read_hashes(section: &mut Section<'_>, is_needed: bool) -> Vec<String> {
    let hashes = section.one_or_more("key_sha256").unwrap_or_default();
    if hashes.is_empty() && is_needed {
        section.wrong("key_sha256", "is missing; make it with: printf %s <64 hex digits> | sha256sum");
    }
    if hashes.iter().any(|hash| hash.len() != 64 || !hash.bytes().all(|b| b.is_ascii_hexdigit())) {
        section
            .wrong("key_sha256", "has to be 64 hex digits: the SHA-256 of the key's secret part, never the key itself");
    }
    hashes.into_iter().map(|hash| hash.to_ascii_lowercase()).collect()
}

fn read_scopes(section: &mut Section<'_>) -> Vec<Scope> {
    let words = section.list("scopes").unwrap_or_default();
    if words.is_empty() {
        section.wrong("scopes", "is missing; give at least one of send, read, token, proxy, admin");
    }
    for word in words.iter().filter(|word| Scope::parse(word).is_none()) {
        section.wrong("scopes", format!("{word:?} is none of send, read, token, proxy, admin"));
    }
    words.iter().filter_map(|word| Scope::parse(word)).collect()
}

pub(super) fn read_accounts(section: &mut Section<'_>, accounts: &[Arc<Account>]) -> Option<Vec<String>> {
    let names = section.list("accounts")?;
    if names.is_empty() {
        section.wrong("accounts", "allows nothing; leave it out to allow every account");
    }
    for name in &names {
        if accounts.iter().any(|account| *account.name == **name) {
            continue;
        }
        let known = accounts.iter().map(|account| &*account.name);
        match nearest_name(name, known) {
            Some(guess) => section.wrong("accounts", format!("there is no account {name:?}; did you mean {guess:?}?")),
            // It may be one of those made at run time.
            None => {
                section.warn("accounts", &format!("the configuration has no account {name:?}; is it made at run time?"))
            }
        }
    }
    Some(names)
}
