//! Who is behind an openid: look up, list, bind to a business user id, tag, forget.

use std::sync::Arc;

use super::accounts::Accounts;
use crate::domain::audit::{Act, Action};
use crate::domain::caller::Caller;
use crate::domain::clock::Clock;
use crate::domain::page::{Page, PageRequest};
use crate::domain::secret::Openid;
use crate::domain::user::{Tags, TagsError, User, UserChange, UserFilter};
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
    #[error("{}", tags_fault(*.0))]
    InvalidTags(TagsError),
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

    pub async fn list(
        &self,
        caller: &Caller,
        account: &str,
        filter: UserFilter,
        page: PageRequest,
    ) -> Result<Page<User>, UserError> {
        self.check_account(caller, account)?;
        Ok(self.users.list(account, filter, page).await?)
    }

    /// A user that was never seen is made.
    pub async fn change(
        &self,
        caller: &Caller,
        account: &str,
        openid: &str,
        request: UserRequest,
    ) -> Result<User, UserError> {
        self.check_account(caller, account)?;
        let openid = Openid::parse(openid).ok_or(UserError::InvalidOpenid)?;
        let UserRequest { user_id, tags } = request;
        if !user_id.iter().flatten().all(|user_id| is_user_id(user_id)) {
            return Err(UserError::InvalidUserId);
        }
        let tags = tags.map(Tags::new).transpose().map_err(UserError::InvalidTags)?;
        let now = self.clock.now();
        let action = if user_id.is_some() { Action::UserBound } else { Action::UserTagged };
        let mut act = Act::new(now, caller, action, openid.as_str()).of_account(account);
        if let Some(user_id) = &user_id {
            act = act.with("bound", user_id.is_some());
        }
        if let Some(tags) = &tags {
            act = act.with("tags", tags.as_slice().len());
        }
        Ok(self.users.change(account, &openid, UserChange { user_id, tags }, now, act).await?)
    }

    /// Deletes what is known of this person here.
    pub async fn forget(&self, caller: &Caller, account: &str, openid: &str) -> Result<(), UserError> {
        self.check_account(caller, account)?;
        let openid = Openid::parse(openid).ok_or(UserError::NotFound)?;
        let act = Act::new(self.clock.now(), caller, Action::UserForgotten, openid.as_str()).of_account(account);
        let was_known = self.users.forget(account, &openid, act).await?;
        was_known.then_some(()).ok_or(UserError::NotFound)
    }

    fn check_account(&self, caller: &Caller, account: &str) -> Result<(), UserError> {
        let known = self.accounts.look_up(account).is_some() && caller.may_use_account(account);
        known.then_some(()).ok_or(UserError::NotFound)
    }
}

/// What a caller wants to be otherwise; what is `None` stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UserRequest {
    /// `Some(None)` unbinds.
    pub user_id: Option<Option<String>>,
    /// Instead of those that the user has.
    pub tags: Option<Vec<String>>,
}

fn tags_fault(error: TagsError) -> String {
    match error {
        TagsError::TooMany => format!("a user has at most {} tags", Tags::MOST),
        TagsError::Invalid { .. } => format!(
            "a tag has 1–{} characters, none of them a control character, and no blank at either end",
            Tags::MAX_CHARS
        ),
        TagsError::Doubled { .. } => "the tag comes twice".to_owned(),
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

        async fn list(
            &self,
            _account: &str,
            _filter: UserFilter,
            _page: PageRequest,
        ) -> Result<Page<User>, store::Error> {
            Ok(Page { items: self.0.lock().unwrap().clone(), next: None })
        }

        async fn change(
            &self,
            account: &str,
            openid: &Openid,
            change: UserChange,
            now: Timestamp,
            _act: Act,
        ) -> Result<User, store::Error> {
            let user = User {
                account: account.to_owned(),
                openid: openid.clone(),
                user_id: change.user_id.flatten(),
                tags: change.tags.unwrap_or_default(),
                subscribed: None,
                first_seen_at: now,
                last_seen_at: now,
            };
            self.0.lock().unwrap().push(user.clone());
            Ok(user)
        }

        async fn forget(&self, _account: &str, openid: &Openid, _act: Act) -> Result<bool, store::Error> {
            let mut kept = self.0.lock().unwrap();
            let before = kept.len();
            kept.retain(|user| user.openid != *openid);
            Ok(kept.len() < before)
        }
    }

    fn bind(user_id: &str) -> UserRequest {
        UserRequest { user_id: Some(Some(user_id.to_owned())), tags: None }
    }

    fn tag(tags: &[&str]) -> UserRequest {
        UserRequest { user_id: None, tags: Some(tags.iter().map(|tag| (*tag).to_owned()).collect()) }
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
            relay: None,
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
        users.change(&caller, "shop", "o1", bind("user-7")).await.unwrap();
        assert_eq!(users.look_up(&caller, "shop", "o1").await.unwrap().user_id.as_deref(), Some("user-7"));
    }

    #[tokio::test]
    async fn an_account_of_others_does_not_exist() {
        let (users, stranger) = (users(), caller(Some(vec!["other".to_owned()])));
        users.change(&caller(None), "shop", "o1", bind("u")).await.unwrap();
        for (who, account) in [(&stranger, "shop"), (&caller(None), "nowhere")] {
            let page = PageRequest { limit: 9, after: None };
            assert!(matches!(users.change(who, account, "o1", bind("u")).await, Err(UserError::NotFound)));
            assert!(matches!(users.forget(who, account, "o1").await, Err(UserError::NotFound)));
            let listed = users.list(who, account, UserFilter::default(), page).await;
            assert!(matches!(listed, Err(UserError::NotFound)));
        }
    }

    #[tokio::test]
    async fn illegal_ids_are_refused() {
        let (users, caller) = (users(), caller(None));
        assert!(matches!(users.change(&caller, "shop", "o 1", bind("u")).await, Err(UserError::InvalidOpenid)));
        assert!(matches!(users.forget(&caller, "shop", "o 1").await, Err(UserError::NotFound)));
        for user_id in ["", "a\nb", &"x".repeat(129)] {
            let changed = users.change(&caller, "shop", "o1", bind(user_id)).await;
            assert!(matches!(changed, Err(UserError::InvalidUserId)));
        }
        for tags in [&[""][..], &["a", "a"], &["a\tb"], &["x"; 21]] {
            let changed = users.change(&caller, "shop", "o1", tag(tags)).await;
            assert!(matches!(changed, Err(UserError::InvalidTags(_))), "{tags:?}");
        }
        assert!(users.users.look_up("shop", &Openid::parse("o1").unwrap()).await.unwrap().is_none());
    }
}
