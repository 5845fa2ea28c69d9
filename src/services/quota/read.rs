//! WeChat's own figures of a quota.

use std::time::{Duration, Instant};

use crate::domain::account::Account;
use crate::services::tokens::Tokens;
use crate::telemetry::metrics::Metrics;
use crate::upstream::wechat::{WechatClient, errcode_label};

/// A reading is a help: nothing waits longer for it.
const LIMIT: Duration = Duration::from_secs(5);

/// Asks WeChat. Cheap to clone.
#[derive(Clone)]
pub struct QuotaReader {
    pub client: WechatClient,
    pub tokens: Tokens,
    pub metrics: Metrics,
}

impl QuotaReader {
    /// Without a token at hand none is fetched for this.
    pub(super) fn can_read(&self, account: &str) -> bool {
        self.tokens.status(account).is_some_and(|status| status.state == "ready")
    }

    /// The limit of the day for template messages, and how many are used; `None` when WeChat does not say it now.
    pub(super) async fn read(&self, account: &Account) -> Option<(u64, u64)> {
        if !self.can_read(&account.name) {
            return None;
        }
        let token = self.tokens.current(&account.name).await.ok()?;
        let begun = Instant::now();
        let asked = self.client.fetch_quota(account, &token.token);
        let (label, figures) = match tokio::time::timeout(LIMIT, asked).await {
            Ok(Ok(answer)) => {
                let number = |name: &str| answer.body.get("quota")?.get(name)?.as_u64();
                let figures = number("daily_limit").zip(number("used")).filter(|_| answer.errcode == 0);
                (errcode_label(answer.errcode), figures)
            }
            Ok(Err(error)) => (error.label().to_owned(), None),
            Err(_) => ("timeout".to_owned(), None),
        };
        self.metrics.wechat_request(&account.name, "quota_get", &label, begun.elapsed());
        if figures.is_none() {
            tracing::debug!(account.id = &*account.name, wechat.errcode = %label, "the quota cannot be read");
        }
        figures
    }
}
