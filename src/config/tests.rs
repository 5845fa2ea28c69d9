//! The whole way from text and variables to a checked configuration.

mod auth;
mod relay;
mod webhooks;

use std::io::Write;
use std::time::Duration;

use super::store::{SecretsConfig, StoreConfig};
use super::*;
use crate::domain::account::CallbackMode;
use crate::domain::caller::Scope;
use crate::domain::limit::Pace;

const SHOP: &str = "[accounts.shop]\napp_id = 'wx1'\napp_secret = 's3cr3t-1'\ntoken = 'tok3n'\n\
                    encoding_aes_key = 'abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG'\n";
const HASH: &str = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";

/// The errors of a file and an environment, a line each.
fn wrong(text: &str, env: &[(&str, &str)]) -> Vec<String> {
    match load(text, env) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.0.iter().map(ToString::to_string).collect(),
    }
}

fn load(text: &str, env: &[(&str, &str)]) -> Result<Config, ConfigErrors> {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    Config::load(Some(file.path()), env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())))
}

#[track_caller]
fn has(lines: &[String], parts: &[&str]) {
    assert!(lines.iter().any(|line| parts.iter().all(|part| line.contains(part))), "{parts:?} in {lines:#?}");
}

#[test]
fn the_compiled_in_defaults_are_a_whole_configuration() {
    let config = Config::load(None, std::iter::empty()).unwrap();
    assert_eq!(config.server.listen.to_string(), "127.0.0.1:8080");
    assert_eq!(config.server.body_limit_bytes, 262_144);
    assert_eq!(config.queue.lease, Duration::from_secs(60));
    assert_eq!(config.wechat.base_url, "https://api.weixin.qq.com");
    assert_eq!(config.redis, None);
    let Pace { first, top } = config.limits.account.unwrap();
    assert_eq!((first.count.get(), first.per, first.burst.get(), top.get()), (50, Duration::from_secs(1), 50, 1000));
    assert_eq!(config.secrets, SecretsConfig::GeneratedAt("data/wxgate.db.key".into()));
    assert!(config.accounts.is_empty() && config.clients.is_empty());
    assert_eq!(config.notes.warnings, Vec::<String>::new());
}

#[test]
fn the_environment_beats_the_file_and_the_file_beats_the_defaults() {
    let env = [("WXGATE__SERVER__LISTEN", "0.0.0.0:9"), ("WXGATE__QUEUE__CONCURRENCY", "7")];
    let config = load("[server]\nlisten = '127.0.0.1:1'\nidle_timeout = '5s'\n", &env).unwrap();
    assert_eq!(config.server.listen.to_string(), "0.0.0.0:9");
    assert_eq!(config.server.idle_timeout, Duration::from_secs(5));
    assert_eq!(config.queue.concurrency, 7);
    assert_eq!(config.api.wait, Duration::from_secs(10));
}

#[test]
fn the_variable_names_the_file_when_the_command_line_does_not() {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(b"[api]\nwait = '1s'\n").unwrap();
    let env = [("WXGATE_CONFIG".to_owned(), file.path().display().to_string())];
    assert_eq!(Config::load(None, env.into_iter()).unwrap().api.wait, Duration::from_secs(1));

    let env = [("WXGATE_CONFIG".to_owned(), "/does/not/exist.toml".to_owned())];
    let error = Config::load(None, env.into_iter()).unwrap_err();
    assert!(error.to_string().contains("/does/not/exist.toml cannot be read"), "{error}");
}

#[test]
fn an_account_is_read_whole() {
    let text = format!(
        "{SHOP}previous_token = 'old'\non_unknown = 'hold'\ndaily_quota = 90_000\ntemplates.order_paid = 'TPL'\nbase_url = 'http://sandbox:8081/'\n\
         replies = {{ subscribe = 'Welcome', keywords = {{ '时间' = '9 to 5' }}, default = 'Hm' }}\n"
    );
    let config = load(&text, &[("WXGATE__ACCOUNTS__SHOP__TEMPLATES__OTHER", "TPL2")]).unwrap();
    let account = &config.accounts[0];
    assert_eq!((&*account.name, &*account.app_id, account.app_secret.expose()), ("shop", "wx1", "s3cr3t-1"));
    let callback = account.callback.as_ref().unwrap();
    assert_eq!(callback.mode, CallbackMode::Safe);
    assert_eq!(callback.tokens.iter().map(|token| token.expose()).collect::<Vec<_>>(), ["tok3n", "old"]);
    assert_eq!(account.base_url, "http://sandbox:8081");
    assert_eq!((account.daily_quota, account.templates.len()), (Some(90_000), 2));
    assert_eq!(account.replies.keywords["时间"], "9 to 5");
}

#[test]
fn an_account_can_come_from_the_environment_alone() {
    let config =
        load("", &[("WXGATE__ACCOUNTS__SHOP__APP_ID", "wx1"), ("WXGATE__ACCOUNTS__SHOP__APP_SECRET", "x")]).unwrap();
    assert_eq!(&*config.accounts[0].name, "shop");
    assert_eq!(config.accounts[0].callback, None);
}

#[test]
fn a_secret_is_read_from_its_file_without_the_line_end() {
    let mut secret = tempfile::NamedTempFile::new().unwrap();
    secret.write_all(b"from-a-file\n").unwrap();
    let path = secret.path().to_str().unwrap();

    let config =
        load("[accounts.shop]\napp_id = 'wx1'\n", &[("WXGATE__ACCOUNTS__SHOP__APP_SECRET_FILE", path)]).unwrap();
    assert_eq!(config.accounts[0].app_secret.expose(), "from-a-file");
    assert!(config.render().contains(path), "the name of the file may be shown");

    let in_file = load(&format!("[accounts.shop]\napp_id = 'wx1'\napp_secret_file = '{path}'\n"), &[]).unwrap();
    assert_eq!(in_file.accounts[0].app_secret.expose(), "from-a-file");

    let later_layer = load(SHOP, &[("WXGATE__ACCOUNTS__SHOP__APP_SECRET_FILE", path)]).unwrap();
    assert_eq!(later_layer.accounts[0].app_secret.expose(), "from-a-file");
}

#[test]
fn a_secret_given_twice_or_in_a_missing_file_is_an_error() {
    let both =
        [("WXGATE__ACCOUNTS__SHOP__APP_SECRET", "a"), ("WXGATE__ACCOUNTS__SHOP__APP_SECRET_FILE", "/run/secrets/x")];
    has(&wrong(SHOP, &both), &["accounts.shop.app_secret_file", "given too"]);
    let lines = wrong("[accounts.shop]\napp_id = 'wx1'\napp_secret_file = '/does/not/exist'\n", &[]);
    has(&lines, &["app_secret_file", ":3)", "/does/not/exist cannot be read"]);
    assert_eq!(lines.len(), 1, "not missing as well: {lines:?}");
}

#[test]
fn every_mistake_is_told_at_once_with_its_place() {
    let text = "[server]\nlisten = 'here'\nbody_limit = 5\nlisen = ''\n[api]\nwait = '40s'\n[accounts.shop]\napp_id = 'wx1'\n\
                [accounts.Shop]\napp_id = 'wx2'\napp_secret = 'x'\nmode = 'open'\n[telemetry]\notlp_endpoint = 'x'\n";
    let lines = wrong(text, &[("WXGATE__QUEUE__CONCURENCY", "1"), ("WXGATE__QUEUE__MAX_ATTEMPTS", "many")]);
    has(&lines, &["server.listen (", ":2): \"here\" is not an address", "127.0.0.1:8080"]);
    has(&lines, &["server.body_limit (", ":3): expected a size such as \"256KiB\""]);
    has(&lines, &["server.lisen (", ":4): unknown key; did you mean `listen`?"]);
    has(&lines, &["api.wait (", ":6): \"40s\" is not allowed; it has to be from \"0s\" to \"30s\""]);
    has(&lines, &["accounts.shop.app_secret: is missing"]);
    has(&lines, &["accounts.Shop (", ":9): a name is 1 to 64 of a-z"]);
    has(&lines, &["accounts.Shop.mode (", ":12): \"open\" is none of \"plain\", \"compatible\", \"safe\""]);
    has(&lines, &["telemetry.otlp_endpoint (", ":14): not available in this version"]);
    has(
        &lines,
        &["queue.concurency (environment WXGATE__QUEUE__CONCURENCY): unknown key; did you mean `concurrency`?"],
    );
    has(
        &lines,
        &["queue.max_attempts (environment WXGATE__QUEUE__MAX_ATTEMPTS): expected a whole number from 1 to 100"],
    );
    assert_eq!(lines.len(), 10, "{lines:#?}");
}

#[test]
fn values_of_the_wrong_kind_are_named() {
    let lines =
        wrong("server = 3\n[queue]\nconcurrency = '7'\n[wechat]\ntimeout = 10\n[telemetry]\nlevel = ['info']\n", &[]);
    has(&lines, &["server (", ":1): expected a table, found a number"]);
    has(&lines, &["queue.concurrency (", "expected a whole number, found a text"]);
    has(&lines, &["wechat.timeout (", "expected a time such as \"10s\""]);
    has(&lines, &["telemetry.level (", "expected a text in quotes, found a list"]);
}

#[test]
fn callback_keys_have_to_fit_together() {
    let account = "[accounts.shop]\napp_id = 'wx1'\napp_secret = 'x'\n";
    has(&wrong(&format!("{account}token = 'abc'\n"), &[]), &["encoding_aes_key: is missing", "plain"]);
    assert_eq!(wrong(&format!("{account}token = 'abc'\nmode = 'plain'\n"), &[]), Vec::<String>::new());
    has(&wrong(&format!("{account}token = 'a-b-c'\nmode = 'plain'\n"), &[]), &["token", "3 to 32 letters and digits"]);
    let short = format!("{account}token = 'abc'\nencoding_aes_key = 'short'\n");
    has(&wrong(&short, &[]), &["encoding_aes_key", "43 letters and digits"]);
    has(&wrong(&format!("{account}previous_token = 'abc'\n"), &[]), &["previous_token", "without token"]);
    for line in wrong(&format!("{account}token = 'SECRET_TOKEN'\nmode = 'plain'\n"), &[]) {
        assert!(!line.contains("SECRET_TOKEN"), "{line}");
    }
}

#[test]
fn two_accounts_cannot_be_one_app() {
    let text = format!("{SHOP}[accounts.other]\napp_id = 'wx1'\napp_secret = 'x'\n");
    has(&wrong(&text, &[]), &["accounts.shop.app_id", "is the app_id of accounts.other too"]);
}

#[test]
fn clients_become_keys() {
    let other = HASH.replace('9', "A");
    let text = format!(
        "{SHOP}[clients.order-service]\nkey_sha256 = ['{HASH}', '{other}']\nscopes = ['send', 'read']\naccounts = ['shop']\n\
         expires_at = 2030-01-01T00:00:00Z\n"
    );
    let keys = load(&text, &[]).unwrap().clients;
    assert_eq!(keys.len(), 2);
    assert!(keys.iter().all(|key| key.id == "order-service" && key.client == "order-service"));
    assert_eq!(keys[1].secret_sha256, other.to_ascii_lowercase());
    assert_eq!(keys[0].scopes, [Scope::Send, Scope::Read]);
    assert_eq!(keys[0].accounts.as_deref(), Some(&["shop".to_owned()][..]));
    assert_eq!(keys[0].expires_at.unwrap().to_string(), "2030-01-01T00:00:00.000Z");

    let env = [("WXGATE__CLIENTS__CRM__KEY_SHA256", HASH), ("WXGATE__CLIENTS__CRM__SCOPES", "send, admin")];
    assert_eq!(load("", &env).unwrap().clients[0].scopes, [Scope::Send, Scope::Admin]);
}

#[test]
fn a_client_that_could_do_nothing_is_refused() {
    let text = format!(
        "{SHOP}[clients.crm]\nkey_sha256 = 'wxg_crm_1'\nscopes = ['sned']\naccounts = ['shpo']\ntemplates = []\n"
    );
    let lines = wrong(&text, &[]);
    has(&lines, &["clients.crm.key_sha256", "64 hex digits"]);
    has(&lines, &["clients.crm.scopes", "\"sned\" is none of"]);
    has(&lines, &["clients.crm.accounts", "no account \"shpo\"; did you mean \"shop\"?"]);
    has(&lines, &["clients.crm.templates", "allows nothing"]);
}

#[test]
fn a_lease_is_longer_than_an_attempt() {
    has(&wrong("[queue]\nlease = '18s'\n", &[]), &["queue.lease", "at least \"19s\""]);
    let tight = load("[queue]\nlease = '19s'\n", &[]).unwrap();
    assert!(tight.notes.warnings[0].starts_with("queue.lease: "), "{:?}", tight.notes.warnings);
}

#[test]
fn plain_http_to_a_public_host_is_warned_about() {
    let config = load("[wechat]\nbase_url = 'http://api.weixin.qq.com'\n", &[]).unwrap();
    assert!(config.notes.warnings[0].contains("use https"), "{:?}", config.notes.warnings);
    has(&wrong("[wechat]\nbase_url = 'api.weixin.qq.com'\n", &[]), &["wechat.base_url", "https://"]);
}

#[test]
fn a_store_is_a_file_or_a_postgresql_database() {
    has(&wrong("[storage]\nurl = 'mysql://db/x'\n", &[]), &["storage.url", "sqlite://", "postgres://"]);
    let file = load("[storage]\nurl = 'sqlite:///tmp/a.db'\n", &[]).unwrap().store;
    assert_eq!(file.place(), "/tmp/a.db");
    let postgres = "[storage]\nurl = 'postgres://wx:s3cr3t@db/x'\npool_size = 5\n[server]\nlisten = '127.0.0.1:7'\n";
    let key = "[secrets]\nkey = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";
    let config = load(&format!("{postgres}{key}"), &[]).unwrap();
    let StoreConfig::Postgres(store) = &config.store else { panic!("{:?}", config.store) };
    assert_eq!((store.pool_size, store.node.as_str()), (5, "127.0.0.1:7"));
    assert_eq!(config.store.place(), "postgres://wx:***@db/x");
    assert!(config.render().contains("url = \"postgres://wx:***@db/x\""), "{}", config.render());
    assert!(!format!("{} {config:?}", config.render()).contains("s3cr3t"));
    has(&wrong(postgres, &[]), &["secrets.key", "is needed with PostgreSQL", "openssl rand -base64 32"]);
}

#[test]
fn a_url_from_a_file_beats_the_default() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("url");
    std::fs::write(&file, "postgres://wx:s3cr3t@db/x\n").unwrap();
    let key = "[secrets]\nkey = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n";
    let config = load(&format!("[storage]\nurl_file = '{}'\n{key}", file.display()), &[]).unwrap();
    assert_eq!(config.store.place(), "postgres://wx:***@db/x");
    assert!(!config.render().contains("s3cr3t"), "{}", config.render());
}

#[test]
fn a_seal_key_is_32_bytes() {
    has(&wrong("[secrets]\nkey = 'abc'\n", &[]), &["secrets.key", "32 bytes in base64"]);
    let key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    assert!(matches!(load(&format!("[secrets]\nkey = '{key}'\n"), &[]).unwrap().secrets, SecretsConfig::Key(_)));
}

#[test]
fn what_is_rendered_hides_every_secret_and_is_a_configuration_again() {
    let text = format!(
        "{SHOP}previous_token = 'oldtok3n'\ntemplates.order_paid = 'TPL'\nreplies.keywords = {{ 'a b' = \"x\\ny\" }}\n\
         [redis]\nurl = 'redis://:redispass@localhost:6379/1'\n[wechat]\nproxy = 'http://u:proxypass@p:3128'\n\
         [secrets]\nkey = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA='\n\
         [clients.crm]\nkey_sha256 = '{HASH}'\nscopes = ['send']\n"
    );
    let config = load(&text, &[("WXGATE__API__WAIT", "2s")]).unwrap();
    let shown = config.render();
    for secret in ["s3cr3t-1", "tok3n", "abcdefghijklmn", "redispass", "proxypass", "AAAAAAAA"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
        assert!(!format!("{config:?}").contains(secret), "{secret}");
    }
    assert!(shown.contains("wait = \"2s\"  # environment WXGATE__API__WAIT\n"), "{shown}");
    assert!(shown.contains("url = \"redis://:***@localhost:6379/1\""), "{shown}");
    let again: toml::Table = shown.parse().unwrap();
    assert_eq!(again["accounts"]["shop"]["replies"]["keywords"]["a b"].as_str(), Some("x\ny"));
    assert_eq!(again["queue"]["concurrency"].as_integer(), Some(256));
}

#[test]
fn the_defaults_are_shown_as_they_stand_in_the_file() {
    let shown: toml::Table = Config::load(None, std::iter::empty()).unwrap().render().parse().unwrap();
    let file: toml::Table = include_str!("../../config/default.toml").parse().unwrap();
    for (section, keys) in &file {
        for (key, value) in keys.as_table().unwrap() {
            assert_eq!(shown[section].get(key).map(ToString::to_string), Some(value.to_string()), "{section}.{key}");
        }
    }
}

#[test]
fn the_example_is_right_but_for_the_secrets_that_it_points_to() {
    let lines = wrong(include_str!("../../config/example.toml"), &[]);
    assert_eq!(lines.len(), 3, "{lines:#?}");
    for key in ["app_secret_file", "token_file", "encoding_aes_key_file"] {
        has(&lines, &[&format!("accounts.shop.{key} ("), "cannot be read"]);
    }
}
