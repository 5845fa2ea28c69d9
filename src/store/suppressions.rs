//! Who is not written to, until something says that they can be again.

use async_trait::async_trait;

use super::Error;
use crate::domain::audit::Act;
use crate::domain::page::{Page, PageRequest};
use crate::domain::secret::Openid;
use crate::domain::suppression::{Suppression, SuppressionFilter};

/// What changes them is part of the verbs that learn it: `Queue::settle` (a refusal of the person is remembered, errcode 0
/// lifts what an errcode told), a receipt that settles a message, in whichever verb (`user_block` is remembered, success
/// lifts everything), and `Inbox::record` of somebody who subscribes (lifts everything).
#[async_trait]
pub trait Suppressions: Send + Sync {
    /// From memory. `false`: not suppressed, as far as this process has heard. `true`: probably; `look_up` knows.
    fn may_hold(&self, account: &str, openid: &Openid) -> bool;

    async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<Suppression>, Error>;

    /// Those of one account by openid; the key of a page is an openid.
    async fn list(
        &self,
        account: &str,
        filter: SuppressionFilter,
        page: PageRequest,
    ) -> Result<Page<Suppression>, Error>;

    /// → whether there was one. Then `act` is written into `audit` in the same transaction.
    async fn lift(&self, account: &str, openid: &Openid, act: Act) -> Result<bool, Error>;

    /// Hears what other processes have learnt since the last time.
    async fn catch_up(&self) -> Result<(), Error>;
}
