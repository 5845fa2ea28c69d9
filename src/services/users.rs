//! Who is behind an openid: look up, and bind to a business user id.

use std::sync::Arc;

use super::accounts::Accounts;
use crate::domain::audit::{Act, Action};
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::secret::Openid;
use crate::domain::user::User;
use crate::store;

const USER_ID_MAX_CHARS: usize = 128;

#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// No such account or user, or the caller may not see the account.
    #[error("there is no such user")]
    NotFound,
    #[error("an openid has 1–128 characters A–Z a–z 0–9 _ -")]
    InvalidOpenid,
    #[error("a user id has 1–128 characters, none of them a control character")]
    InvalidUserId,
    #[error(transparent)]
    Store(#[from] store::Error),
}

#[derive(Clone)]
pub struct Users {
    users: Arc<dyn store::Users>,
    accounts: Accounts,
    clock: Arc<dyn Clock>,
}

impl Users {
    pub fn new(users: Arc<dyn store::Users>, accounts: Accounts, clock: Arc<dyn Clock>) -> Self {
        Self { users, accounts, clock }
    }

    pub async fn look_up(&self, caller: &Caller, account: &str, openid: &str) -> Result<User, UserError> {
        self.check_account(caller, account)?;
        let openid = Openid::parse(openid).ok_or(UserError::NotFound)?;
        self.users.look_up(account, &openid).await?.ok_or(UserError::NotFound)
    }

    /// `None` unbinds. A user that was never seen is made.
    pub async fn bind(
        &self,
        caller: &Caller,
        account: &str,
        openid: &str,
        user_id: Option<&str>,
    ) -> Result<User, UserError> {
        self.check_account(caller, account)?;
        let openid = Openid::parse(openid).ok_or(UserError::InvalidOpenid)?;
        if !user_id.is_none_or(is_user_id) {
            return Err(UserError::InvalidUserId);
        }
        let now = self.clock.now();
        let act = Act::new(now, caller, Action::UserBound, openid.as_str())
            .of_account(account)
            .with("bound", user_id.is_some());
        Ok(self.users.bind(account, &openid, user_id, now, act).await?)
    }

    fn check_account(&self, caller: &Caller, account: &str) -> Result<(), UserError> {
        let known = self.accounts.look_up(account).is_some() && caller.may_use_account(account);
        known.then_some(()).ok_or(UserError::NotFound)
    }
}

/// 1–128 characters, none of them a control character.
pub(super) fn is_user_id(text: &str) -> bool {
    (1..=USER_ID_MAX_CHARS).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use async_trait::async_trait;

    use super::*;
    use crate::domain::account::{Account, Replies, TokenApi};
    use crate::domain::audit::Origin;
    use crate::domain::clock::{ManualClock, Timestamp};
    use crate::domain::secret::Secret;
    use crate::domain::state::OnUnknown;

    #[derive(Default)]
    struct Kept(Mutex<Vec<User>>);

    #[async_trait]
    impl store::Users for Kept {
        async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<User>, store::Error> {
            let kept = self.0.lock().unwrap();
            Ok(kept.iter().find(|user| user.account == account && user.openid == *openid).cloned())
        }

        async fn by_user_id(&self, _account: &str, _user_id: &str) -> Result<Option<User>, store::Error> {
            Ok(None)
        }

        async fn bind(
            &self,
            account: &str,
            openid: &Openid,
            user_id: Option<&str>,
            now: Timestamp,
            _act: Act,
        ) -> Result<User, store::Error> {
            let user = User {
                account: account.to_owned(),
                openid: openid.clone(),
                user_id: user_id.map(str::to_owned),
                subscribed: None,
                first_seen_at: now,
                last_seen_at: now,
            };
            self.0.lock().unwrap().push(user.clone());
            Ok(user)
        }
    }

    fn users() -> Users {
        let account = Account {
            name: "shop".into(),
            app_id: "wx1".to_owned(),
            app_secret: Secret::default(),
            callback: None,
            token_api: TokenApi::Stable,
            base_url: String::new(),
            on_unknown: OnUnknown::Retry,
            daily_quota: None,
            templates: Default::default(),
            replies: Replies::default(),
            quiet: None,
        };
        let clock = Arc::new(ManualClock::starting_at(Timestamp::from_seconds(1)));
        Users::new(Arc::new(Kept::default()), Accounts::new([Arc::new(account)]), clock)
    }

    fn caller(accounts: Option<Vec<String>>) -> Caller {
        Caller {
            client: "crm".to_owned(),
            key_id: "crm".to_owned(),
            scopes: Vec::new(),
            accounts,
            templates: None,
            valid_until: None,
            origin: Origin::default(),
            waited: std::time::Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn a_bound_user_is_found_again() {
        let (users, caller) = (users(), caller(None));
        assert!(matches!(users.look_up(&caller, "shop", "o1").await, Err(UserError::NotFound)));
        users.bind(&caller, "shop", "o1", Some("user-7")).await.unwrap();
        assert_eq!(users.look_up(&caller, "shop", "o1").await.unwrap().user_id.as_deref(), Some("user-7"));
    }

    #[tokio::test]
    async fn an_account_of_others_does_not_exist() {
        let (users, stranger) = (users(), caller(Some(vec!["other".to_owned()])));
        assert!(matches!(users.bind(&stranger, "shop", "o1", None).await, Err(UserError::NotFound)));
        assert!(matches!(users.bind(&caller(None), "nowhere", "o1", None).await, Err(UserError::NotFound)));
    }

    #[tokio::test]
    async fn illegal_ids_are_refused() {
        let (users, caller) = (users(), caller(None));
        assert!(matches!(users.bind(&caller, "shop", "o 1", None).await, Err(UserError::InvalidOpenid)));
        for user_id in ["", "a\nb", &"x".repeat(129)] {
            assert!(matches!(users.bind(&caller, "shop", "o1", Some(user_id)).await, Err(UserError::InvalidUserId)));
        }
    }
}
