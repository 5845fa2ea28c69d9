//! Who is refused at accept because WeChat has refused them before.

use std::sync::Arc;

use super::accounts::Accounts;
use crate::config::limits::SuppressionConfig;
use crate::domain::audit::{Act, Action};
use crate::domain::caller::Caller;
use crate::domain::clock::{Clock, Timestamp};
use crate::domain::page::{Page, PageRequest};
use crate::domain::secret::Openid;
use crate::domain::suppression::{Suppression, SuppressionFilter};
use crate::store;
use crate::telemetry::metrics::Metrics;

#[derive(Debug, thiserror::Error)]
pub enum SuppressionError {
    /// There is no such account for the caller, or there can be no such openid.
    #[error("there is no such account or openid")]
    NotFound,
    #[error(transparent)]
    Store(#[from] store::Error),
}

#[derive(Clone)]
pub struct Suppressions {
    kept: Arc<dyn store::Suppressions>,
    accounts: Accounts,
    rules: SuppressionConfig,
    metrics: Metrics,
    clock: Arc<dyn Clock>,
}

impl Suppressions {
    pub fn new(
        kept: Arc<dyn store::Suppressions>,
        accounts: Accounts,
        rules: SuppressionConfig,
        metrics: Metrics,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { kept, accounts, rules, metrics, clock }
    }

    /// Why this person is not to be written to. Whoever is in good standing costs no query.
    pub(super) async fn check(
        &self,
        account: &str,
        openid: &Openid,
        now: Timestamp,
    ) -> Result<Option<Suppression>, store::Error> {
        if !self.rules.is_on || !self.kept.may_hold(account, openid) {
            return Ok(None);
        }
        let found = self.kept.look_up(account, openid).await?;
        let is_over = |since: Timestamp| self.rules.age.is_some_and(|age| now.since(since) >= age);
        Ok(found.filter(|suppression| !is_over(suppression.since)))
    }

    /// A send was refused.
    pub(super) fn count(&self, account: &str) {
        self.metrics.suppressed(account);
    }

    /// Hears what other nodes have learnt.
    pub async fn catch_up(&self) -> Result<(), store::Error> {
        self.kept.catch_up().await
    }

    pub async fn list(
        &self,
        caller: &Caller,
        account: &str,
        filter: SuppressionFilter,
        page: PageRequest,
    ) -> Result<Page<Suppression>, SuppressionError> {
        self.check_account(caller, account)?;
        Ok(self.kept.list(account, filter, page).await?)
    }

    /// Lets WeChat be asked again, whether it was suppressed or not.
    pub async fn lift(&self, caller: &Caller, account: &str, openid: &str) -> Result<(), SuppressionError> {
        self.check_account(caller, account)?;
        let openid = Openid::parse(openid).ok_or(SuppressionError::NotFound)?;
        let act = Act::new(self.clock.now(), caller, Action::SuppressionLifted, openid.as_str()).of_account(account);
        self.kept.lift(account, &openid, act).await?;
        Ok(())
    }

    fn check_account(&self, caller: &Caller, account: &str) -> Result<(), SuppressionError> {
        let known = self.accounts.look_up(account).is_some() && caller.may_use_account(account);
        known.then_some(()).ok_or(SuppressionError::NotFound)
    }
}
