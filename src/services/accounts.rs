//! The accounts that this gateway serves.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::domain::account::Account;

/// Accounts by name. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Accounts(Arc<BTreeMap<String, Arc<Account>>>);

impl Accounts {
    pub fn new(accounts: impl IntoIterator<Item = Arc<Account>>) -> Self {
        Self(Arc::new(accounts.into_iter().map(|account| (account.name.to_string(), account)).collect()))
    }

    pub fn look_up(&self, name: &str) -> Option<&Arc<Account>> {
        self.0.get(name)
    }

    pub fn iter(&self) -> impl Iterator<Item = &Arc<Account>> {
        self.0.values()
    }

    /// The one account, when there is exactly one.
    pub fn only(&self) -> Option<&Arc<Account>> {
        match self.0.len() {
            1 => self.0.values().next(),
            _ => None,
        }
    }
}
