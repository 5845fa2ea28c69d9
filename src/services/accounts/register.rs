//! The register of accounts: those of the configuration, which are changed there, and those of the store, which are made,
//! changed and deleted at run time. What one process changes, every other takes over at its next look (`refresh`).

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use tokio::sync::Mutex;

use super::Accounts;
use crate::config::accounts::{NAME_RULE, check, is_name};
use crate::domain::account::{Account, AccountChange, AccountSettings, StoredAccount};
use crate::domain::audit::{Act, Action};
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::webhook::address::Reach;
use crate::domain::webhook::url::WebhookUrl;
use crate::services::accept::FieldError;
use crate::services::tokens::Tokens;
use crate::store::accounts::{Added, Removed};
use crate::store::{self};
use crate::telemetry::metrics::Metrics;

/// Somebody else changed the same account in between: how often a change is tried anew.
const TRIES: usize = 5;

#[derive(Debug, thiserror::Error)]
pub enum AccountError {
    /// Not there, or not for this caller.
    #[error("there is no such account")]
    NotFound,
    /// The caller's key is bound to other accounts.
    #[error("this key is bound to other accounts: it cannot make this one")]
    Forbidden,
    #[error("the account is not valid")]
    Invalid(Vec<FieldError>),
    /// It clashes with what is there.
    #[error("{detail}")]
    Conflict { detail: String },
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// An account, and who says so.
#[derive(Clone, Debug)]
pub enum Known {
    Configured(Arc<Account>),
    /// `problem`: why it cannot be used as it is.
    Stored {
        stored: Box<StoredAccount>,
        base_url: String,
        problem: Option<String>,
    },
}

impl Known {
    pub fn name(&self) -> &str {
        match self {
            Self::Configured(account) => &account.name,
            Self::Stored { stored, .. } => &stored.name,
        }
    }
}

/// The doors the register needs.
pub struct RegisterDoors {
    pub stored: Arc<dyn store::Accounts>,
    pub accounts: Accounts,
    pub tokens: Tokens,
    /// Which addresses relays may have whose URLs come over the API (`webhooks.allow_cidrs`).
    pub reach: Reach,
    pub clock: Arc<dyn Clock>,
    pub metrics: Metrics,
}

#[derive(Clone)]
pub struct Register {
    inner: Arc<Inner>,
}

struct Inner {
    configured: Vec<Arc<Account>>,
    /// Of accounts that have none of their own.
    base_url: String,
    doors: RegisterDoors,
    /// The store's version that is in force here; -1: none yet. One look at a time.
    seen_version: AtomicI64,
    looking: Mutex<()>,
}

impl Register {
    /// `base_url`: `wechat.base_url`.
    pub fn new(doors: RegisterDoors, configured: Vec<Arc<Account>>, base_url: String) -> Self {
        let seen_version = AtomicI64::new(-1);
        Self { inner: Arc::new(Inner { configured, base_url, doors, seen_version, looking: Mutex::default() }) }
    }

    /// Takes over the stored accounts when they have changed. → whether they had.
    pub async fn refresh(&self) -> Result<bool, store::Error> {
        let Inner { doors, seen_version, looking, .. } = &*self.inner;
        let _one_at_a_time = looking.lock().await;
        let version = doors.stored.version().await?;
        if seen_version.load(Ordering::Acquire) == version {
            return Ok(false);
        }
        let stored = doors.stored.list().await?;
        let mut accounts = self.inner.configured.clone();
        for stored in &stored {
            match self.problem_of(stored) {
                Some(problem) => tracing::error!(account.id = %stored.name, "this account is out of use: {problem}"),
                None => accounts.push(Arc::new(stored.settings.account(&stored.name, &self.inner.base_url))),
            }
        }
        let before = doors.accounts.table();
        // Tokens first: whoever finds an account finds its engine.
        doors.tokens.take_over(&accounts);
        doors.accounts.replace(accounts);
        let table = doors.accounts.table();
        for name in before.keys().filter(|name| !table.contains_key(*name)) {
            doors.metrics.forget_account(name);
        }
        if seen_version.swap(version, Ordering::AcqRel) >= 0 {
            tracing::info!(accounts = table.len(), "the accounts have changed");
        }
        Ok(true)
    }

    /// By name; those that the caller may see.
    pub async fn list(&self, caller: &Caller) -> Result<Vec<Known>, AccountError> {
        let configured = self.inner.configured.iter().cloned().map(Known::Configured);
        let stored = self.inner.doors.stored.list().await?.into_iter();
        let stored = stored.filter(|stored| self.configured(&stored.name).is_none()).map(|stored| self.known(stored));
        let mut known: Vec<Known> =
            configured.chain(stored).filter(|known| caller.may_use_account(known.name())).collect();
        known.sort_by(|a, b| a.name().cmp(b.name()));
        Ok(known)
    }

    pub async fn look_up(&self, caller: &Caller, name: &str) -> Result<Known, AccountError> {
        if !caller.may_use_account(name) {
            return Err(AccountError::NotFound);
        }
        if let Some(account) = self.configured(name) {
            return Ok(Known::Configured(account.clone()));
        }
        let stored = self.inner.doors.stored.look_up(name).await?.ok_or(AccountError::NotFound)?;
        Ok(self.known(stored))
    }

    pub async fn create(&self, caller: &Caller, name: &str, change: &AccountChange) -> Result<Known, AccountError> {
        if !caller.may_use_account(name) {
            return Err(AccountError::Forbidden);
        }
        let settings = change.apply(&AccountSettings::default());
        let mut faults = self.faults_of(&settings);
        if !is_name(name) {
            faults.insert(0, fault("/name", NAME_RULE));
        }
        if !faults.is_empty() {
            return Err(AccountError::Invalid(faults));
        }
        if self.configured(name).is_some() {
            return Err(self.is_configured(name));
        }
        if self.configured_app(&settings.app_id).is_some() {
            return Err(app_taken());
        }
        let now = self.inner.doors.clock.now();
        let name = name.to_owned();
        let stored = StoredAccount { name, settings, lost: Vec::new(), revision: 1, created_at: now, updated_at: now };
        let fields = AccountSettings::default().differences(&stored.settings);
        let act = Act::new(now, caller, Action::AccountCreated, &*stored.name)
            .of_account(&stored.name)
            .with("fields", fields);
        match self.inner.doors.stored.add(stored.clone(), act).await? {
            Added::Kept => {}
            Added::NameTaken => {
                let detail = format!("there is an account {:?} already: PATCH changes it", stored.name);
                return Err(AccountError::Conflict { detail });
            }
            Added::AppTaken => return Err(app_taken()),
        }
        self.look_again().await;
        Ok(self.known(stored))
    }

    pub async fn change(&self, caller: &Caller, name: &str, change: &AccountChange) -> Result<Known, AccountError> {
        for _ in 0..TRIES {
            let stored = self.own(caller, name).await?;
            let after = self.changed(&stored, change)?;
            if stored.settings == after && stored.lost.is_empty() {
                return Ok(self.known(stored));
            }
            let now = self.inner.doors.clock.now();
            let mut fields = stored.settings.differences(&after);
            // What was lost is given anew, or cleared: either way it changes.
            fields.extend(
                stored
                    .lost
                    .iter()
                    .map(|field| field.as_str())
                    .filter(|field| !fields.contains(field))
                    .collect::<Vec<_>>(),
            );
            let act = Act::new(now, caller, Action::AccountChanged, name).of_account(name).with("fields", fields);
            let revision = stored.revision + 1;
            let after = StoredAccount { settings: after, lost: Vec::new(), revision, updated_at: now, ..stored };
            if self.inner.doors.stored.change(after.clone(), act).await? {
                self.look_again().await;
                return Ok(self.known(after));
            }
        }
        Err(AccountError::Conflict { detail: "others change this account all the time: try again".to_owned() })
    }

    /// → how many messages wait for an account of this name now.
    pub async fn delete(&self, caller: &Caller, name: &str, force: bool) -> Result<u64, AccountError> {
        self.own(caller, name).await?;
        let now = self.inner.doors.clock.now();
        let act = Act::new(now, caller, Action::AccountDeleted, name).of_account(name).with("force", force);
        match self.inner.doors.stored.remove(name, force, act).await? {
            Removed::NotThere => Err(AccountError::NotFound),
            Removed::Busy { waiting } => Err(AccountError::Conflict {
                detail: format!(
                    "{waiting} messages of this account are under way (scheduled, queued or sending): wait for them or \
                     cancel them; or delete it with ?force=true, then they wait for an account of this name until they expire"
                ),
            }),
            Removed::Done { waiting } => {
                self.look_again().await;
                Ok(waiting)
            }
        }
    }

    /// The settings after the change, if they keep the rules.
    fn changed(&self, stored: &StoredAccount, change: &AccountChange) -> Result<AccountSettings, AccountError> {
        let after = change.apply(&stored.settings);
        let mut faults = self.faults_of(&after);
        if after.app_id != stored.settings.app_id {
            faults.retain(|fault| fault.path != "/app_id");
            faults.insert(
                0,
                fault("/app_id", "cannot be changed: openids and messages are of that app; make another account"),
            );
        }
        for lost in stored.lost.iter().filter(|field| !change.secrets.contains_key(field)) {
            let path = format!("/{}", lost.as_str());
            faults.retain(|fault| fault.path != path);
            faults.push(fault(&path, "was sealed under another secrets.key and is lost: give it anew, or null"));
        }
        if faults.is_empty() { Ok(after) } else { Err(AccountError::Invalid(faults)) }
    }

    /// A stored account that may be changed.
    async fn own(&self, caller: &Caller, name: &str) -> Result<StoredAccount, AccountError> {
        match self.look_up(caller, name).await? {
            Known::Stored { stored, .. } => Ok(*stored),
            Known::Configured(_) => Err(self.is_configured(name)),
        }
    }

    /// Here at once; elsewhere within a second. What fails now is done by the next tick.
    async fn look_again(&self) {
        if let Err(error) = self.refresh().await {
            tracing::warn!(%error, "the changed accounts cannot be read: the next look takes them over");
        }
    }

    fn known(&self, stored: StoredAccount) -> Known {
        let base_url = stored.settings.options.base_url.clone().unwrap_or_else(|| self.inner.base_url.clone());
        Known::Stored { problem: self.problem_of(&stored), stored: Box::new(stored), base_url }
    }

    /// Why it cannot be used as it is. The configuration comes before the store.
    fn problem_of(&self, stored: &StoredAccount) -> Option<String> {
        problem_of(stored, &self.inner.configured)
    }

    fn faults_of(&self, settings: &AccountSettings) -> Vec<FieldError> {
        let mut faults: Vec<_> = check(settings).into_iter().map(|(path, problem)| fault(&path, &problem)).collect();
        let Some(relay) = &settings.options.relay else { return faults };
        let routes = relay.routes.iter().enumerate().map(|(n, route)| (format!("/relay/routes/{n}/url"), &route.url));
        for (path, url) in relay.url.iter().map(|url| ("/relay/url".to_owned(), url)).chain(routes) {
            // What a name leads to is asked when it is connected to.
            if WebhookUrl::parse(url).is_ok_and(|url| url.is_plainly_forbidden(&self.inner.doors.reach)) {
                faults.push(fault(
                    &path,
                    "is not a public address; webhooks.allow_cidrs opens it, or the configuration file",
                ));
            }
        }
        faults
    }

    fn configured(&self, name: &str) -> Option<&Arc<Account>> {
        self.inner.configured.iter().find(|account| *account.name == *name)
    }

    fn configured_app(&self, app_id: &str) -> Option<&Arc<Account>> {
        self.inner.configured.iter().find(|account| account.app_id == app_id)
    }

    fn is_configured(&self, name: &str) -> AccountError {
        let detail = format!("account {name:?} stands in the configuration ([accounts.{name}]): change it there");
        AccountError::Conflict { detail }
    }
}

/// Why a stored account is out of use beside these of the configuration.
pub fn problem_of(stored: &StoredAccount, configured: &[Arc<Account>]) -> Option<String> {
    if configured.iter().any(|account| *account.name == *stored.name) {
        return Some(format!(
            "the configuration has an account of this name: take [accounts.{0}] out there, or give it another name",
            stored.name
        ));
    }
    if let Some(account) = configured.iter().find(|account| account.app_id == stored.settings.app_id) {
        return Some(format!("the configuration has its app_id as [accounts.{}]", account.name));
    }
    let lost: Vec<&str> = stored.lost.iter().map(|field| field.as_str()).collect();
    (!lost.is_empty())
        .then(|| format!("sealed under another secrets.key: {}; put that key back, or give them anew", lost.join(", ")))
}

fn app_taken() -> AccountError {
    AccountError::Conflict { detail: "there is an account with this app_id already; an app has one account".to_owned() }
}

fn fault(path: &str, detail: &str) -> FieldError {
    FieldError { path: path.to_owned(), code: "invalid", detail: detail.to_owned() }
}
