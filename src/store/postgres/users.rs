//! `Users`: who we have seen, and who they are in the business.

use async_trait::async_trait;

use super::Postgres;
use super::command::Unit;
use super::fault::unavailable;
use crate::domain::callback::UserSeen;
use crate::domain::clock::Timestamp;
use crate::domain::secret::Openid;
use crate::domain::user::User;
use crate::store::{Error, Users};

#[async_trait]
impl Users for Postgres {
    async fn look_up(&self, _account: &str, _openid: &Openid) -> Result<Option<User>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn by_user_id(&self, _account: &str, _user_id: &str) -> Result<Option<User>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn bind(
        &self,
        _account: &str,
        _openid: &Openid,
        _user_id: Option<&str>,
        _now: Timestamp,
    ) -> Result<User, Error> {
        Err(unavailable("not written yet"))
    }
}

/// A sign of life: makes the user, or moves `last_seen_at` (never back). The caller holds `LockKey::user`.
pub(super) async fn see(_unit: &Unit<'_>, _account: &str, _seen: &UserSeen, _at: Timestamp) -> Result<(), Error> {
    Err(unavailable("not written yet"))
}
