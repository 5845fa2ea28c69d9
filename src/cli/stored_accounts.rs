//! The accounts made at run time, for commands that only look.

use std::sync::Arc;

use crate::config::Config;
use crate::domain::account::Account;
use crate::domain::seal::Sealer;
use crate::services::accounts::problem_of;
use crate::store;

/// One of them.
pub(super) struct Peeked {
    pub(super) name: String,
    pub(super) account: Arc<Account>,
    /// Why the gateway does not use it.
    pub(super) problem: Option<String>,
}

/// None when there is no store yet. Nothing is changed, neither the store nor the file of the key.
pub(super) async fn peek(config: &Config) -> Result<Vec<Peeked>, String> {
    let Some(key) = config.secrets.existing().map_err(|error| error.to_string())? else { return Ok(Vec::new()) };
    let stored = store::open::peek_accounts(&config.store, Sealer::new(key.0)).await;
    let stored = stored.map_err(|error| error.to_string())?.unwrap_or_default();
    let peeked = stored.into_iter().map(|stored| Peeked {
        problem: problem_of(&stored, &config.accounts),
        account: Arc::new(stored.settings.account(&stored.name, &config.wechat.base_url)),
        name: stored.name,
    });
    Ok(peeked.collect())
}
