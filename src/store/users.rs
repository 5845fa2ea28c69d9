//! Users that we have seen.

use async_trait::async_trait;

use super::Error;
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;
use crate::domain::user::User;

#[async_trait]
pub trait Users: Send + Sync {
    async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<User>, Error>;

    async fn by_user_id(&self, account: &str, user_id: &str) -> Result<Option<User>, Error>;

    /// Binds a business user id (`None` unbinds), making the user if need be. A `user_id` that is bound to another openid
    /// moves here. `act` is written into `audit` in the same transaction.
    async fn bind(
        &self,
        account: &str,
        openid: &Openid,
        user_id: Option<&str>,
        now: Timestamp,
        act: Act,
    ) -> Result<User, Error>;
}
