//! From layers to a checked [`Config`].

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::auth::AuthConfig;
use super::http::{ApiConfig, CallbackConfig, ServerConfig};
use super::limits::LimitsConfig;
use super::origin::{ConfigError, ConfigErrors};
use super::queue::QueueConfig;
use super::read::{Findings, Section};
use super::store::{RedisConfig, RetentionConfig, SecretsConfig, StoreConfig};
use super::telemetry::TelemetryConfig;
use super::tree::{self, Table};
use super::webhooks::WebhooksConfig;
use super::wechat::{TokenConfig, WechatConfig};
use super::{Config, accounts, clients, environment, unknown};

/// Every key with its default: also the page to read about them.
pub const DEFAULT: &str = include_str!("../../config/default.toml");
const FILE_VARIABLE: &str = "WXGATE_CONFIG";

impl Config {
    /// Defaults ← `file`, or the one that `WXGATE_CONFIG` names ← variables `WXGATE__SECTION__KEY`.
    ///
    /// Secrets are read from the files that `…_file` keys name. Errors: all that were found.
    pub fn load(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> Result<Self, ConfigErrors> {
        let env: Vec<(String, String)> = env.collect();
        let named = env.iter().find(|(name, value)| name == FILE_VARIABLE && !value.is_empty());
        let file = file.map(Path::to_owned).or_else(|| named.map(|(_, path)| PathBuf::from(path)));
        let Some(file) = file else {
            return Self::assemble(None, &env);
        };
        let text = std::fs::read_to_string(&file).map_err(|error| {
            let problem = format!("{} cannot be read: {error}", file.display());
            ConfigErrors(vec![ConfigError { key: String::new(), origin: None, problem }])
        })?;
        Self::assemble(Some((Arc::from(file.display().to_string()), text)), &env)
    }

    /// Defaults ← `text`, a configuration file's content.
    pub fn parse(text: &str) -> Result<Self, ConfigErrors> {
        Self::assemble(Some((Arc::from("configuration"), text.to_owned())), &[])
    }

    /// What is in force as TOML, secrets hidden, the origin of each setting behind it.
    pub fn render(&self) -> String {
        self.notes.render()
    }

    fn assemble(file: Option<(Arc<str>, String)>, env: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let mut settings = tree::parse(DEFAULT, None).map_err(ConfigErrors)?;
        if let Some((name, text)) = file {
            tree::merge(&mut settings, tree::parse(&text, Some(&name)).map_err(ConfigErrors)?);
        }
        let misplaced = environment::lay_over(&mut settings, env);
        let findings = RefCell::new(Findings { errors: misplaced, ..Findings::default() });
        let mut config = read(settings, &findings);

        let Findings { mut errors, notes, known, unknown } = findings.into_inner();
        errors.extend(unknown.into_iter().map(|(key, origin)| unknown::explain(key, origin, &known)));
        if !errors.is_empty() {
            return Err(ConfigErrors(errors));
        }
        config.notes = notes;
        Ok(config)
    }
}

fn read(settings: Table, findings: &RefCell<Findings>) -> Config {
    let mut root = Section::new(String::new(), settings, findings);
    let server = with(&mut root, "server", ServerConfig::read);
    let store = with(&mut root, "storage", |section| StoreConfig::read(section, server.listen));
    let redis = with(&mut root, "redis", RedisConfig::read);
    let secrets = with(&mut root, "secrets", |section| SecretsConfig::read(section, &store));
    let api = with(&mut root, "api", ApiConfig::read);
    let wechat = with(&mut root, "wechat", WechatConfig::read);
    let queue = with(&mut root, "queue", |section| QueueConfig::read(section, &wechat));
    let callback = with(&mut root, "callback", CallbackConfig::read);
    let auth = with(&mut root, "auth", AuthConfig::read);
    let token = with(&mut root, "token", TokenConfig::read);
    let limits = with(&mut root, "limits", LimitsConfig::read);
    let retention = with(&mut root, "retention", RetentionConfig::read);
    let telemetry = with(&mut root, "telemetry", TelemetryConfig::read);
    let accounts = accounts::read(&mut root, &wechat);
    let clients = clients::read(&mut root, &accounts);
    let webhooks = with(&mut root, "webhooks", |section| WebhooksConfig::read(section, &accounts));
    root.close();
    let notes = super::notes::Notes::default();
    Config {
        server,
        api,
        callback,
        auth,
        store,
        redis,
        secrets,
        queue,
        wechat,
        token,
        limits,
        retention,
        telemetry,
        accounts,
        clients,
        webhooks,
        notes,
    }
}

fn with<T>(root: &mut Section<'_>, key: &str, read: impl FnOnce(&mut Section<'_>) -> T) -> T {
    let mut section = root.section(key);
    let value = read(&mut section);
    section.close();
    value
}
