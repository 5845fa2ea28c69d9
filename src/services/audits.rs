//! Who did what to the gateway itself. What a caller may not see is not there.

use std::sync::Arc;

use crate::domain::audit::{Act, ActFilter};
use crate::domain::caller::Caller;
use crate::domain::page::{Page, PageRequest};
use crate::store;

#[derive(Clone)]
pub struct Audits {
    pub kept: Arc<dyn store::Audit>,
}

impl Audits {
    /// Newest first. A caller that is bound to accounts sees the acts of those.
    pub async fn list(&self, caller: &Caller, filter: ActFilter, page: PageRequest) -> Result<Page<Act>, store::Error> {
        let filter = ActFilter { visible_accounts: caller.accounts.clone(), ..filter };
        self.kept.list(filter, page).await
    }
}
