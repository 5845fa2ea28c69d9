//! The accounts that this gateway serves: those of the configuration, and those made at run time ([`register`]).

mod register;

use std::collections::BTreeMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

pub use register::{AccountError, Known, Register, RegisterDoors, problem_of};

use crate::domain::account::Account;

/// Accounts by name.
pub type Table = BTreeMap<String, Arc<Account>>;

/// The accounts of this moment. Reading takes no lock; whoever holds an account keeps it as it was. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Accounts(Arc<ArcSwap<Table>>);

impl Accounts {
    pub fn new(accounts: impl IntoIterator<Item = Arc<Account>>) -> Self {
        let this = Self::default();
        this.replace(accounts);
        this
    }

    pub fn look_up(&self, name: &str) -> Option<Arc<Account>> {
        self.0.load().get(name).cloned()
    }

    /// All of them, as they are now.
    pub fn table(&self) -> Arc<Table> {
        self.0.load_full()
    }

    /// The one account, when there is exactly one.
    pub fn only(&self) -> Option<Arc<Account>> {
        let table = self.0.load();
        match table.len() {
            1 => table.values().next().cloned(),
            _ => None,
        }
    }

    fn replace(&self, accounts: impl IntoIterator<Item = Arc<Account>>) {
        self.0.store(Arc::new(accounts.into_iter().map(|account| (account.name.to_string(), account)).collect()));
    }
}
