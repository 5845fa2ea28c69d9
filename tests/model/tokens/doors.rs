//! SQL, Redis and WeChat behind gates.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use axum::routing::post;
use axum::{Json, Router};
use serde_json::{Value, json};
use wxgate::domain::event::NewEvent;
use wxgate::domain::token::AccessToken;
use wxgate::store::tokens::RefreshLock;
use wxgate::store::{self, Allowance};

use super::stage::{Gate, Stage};

/// A place where one token is kept; a newer generation stays.
#[derive(Default)]
pub(crate) struct Place(Mutex<Option<AccessToken>>);

impl Place {
    fn get(&self) -> Option<AccessToken> {
        self.0.lock().expect("no step panics").clone()
    }

    fn put(&self, token: &AccessToken) -> bool {
        let mut place = self.0.lock().expect("no step panics");
        let is_older = place.as_ref().is_some_and(|kept| kept.generation > token.generation);
        if !is_older {
            *place = Some(token.clone());
        }
        !is_older
    }
}

/// What a node sees of the outside.
pub(crate) struct Door {
    pub(crate) node: usize,
    pub(crate) stage: Arc<Stage>,
    pub(crate) place: Arc<Place>,
    /// On purpose: the right to refresh is given to everybody.
    pub(crate) gives_all: bool,
}

/// Nobody is told.
pub(super) struct Unheard;

#[async_trait]
impl store::Raise for Unheard {
    async fn raise(&self, _: NewEvent) -> Result<(), store::Error> {
        Ok(())
    }
}

#[async_trait]
impl store::Tokens for Door {
    async fn load(&self, _: &str, _: &str) -> Result<Option<AccessToken>, store::Error> {
        self.stage.pass(self.node, Gate::Load).await;
        Ok(self.place.get())
    }

    async fn keep(&self, _: &str, _: &str, token: &AccessToken) -> Result<bool, store::Error> {
        self.stage.pass(self.node, Gate::Keep).await;
        Ok(self.place.put(token))
    }
}

#[async_trait]
impl store::SharedTokens for Door {
    async fn load(&self, _: &mut Allowance, _: &str, _: &str) -> Result<Option<AccessToken>, store::Error> {
        self.stage.pass(self.node, Gate::LoadShared).await;
        Ok(self.place.get())
    }

    async fn publish(&self, _: &mut Allowance, _: &str, _: &str, token: &AccessToken) -> Result<bool, store::Error> {
        self.stage.pass(self.node, Gate::Publish).await;
        Ok(self.place.put(token))
    }

    async fn lock(
        &self,
        _: &mut Allowance,
        account: &str,
        _: &str,
        hold: Duration,
    ) -> Result<Option<RefreshLock>, store::Error> {
        self.stage.pass(self.node, Gate::Lock).await;
        let mut inner = self.stage.inner();
        if inner.locked_by.is_some() && !self.gives_all {
            inner.asleep.insert(self.node);
            return Ok(None);
        }
        inner.locked_by = Some(self.node);
        Ok(Some(RefreshLock { key: account.to_owned(), holder: self.node.to_string(), hold }))
    }

    async fn unlock(&self, _: &mut Allowance, _: RefreshLock) -> Result<(), store::Error> {
        self.stage.pass(self.node, Gate::Unlock).await;
        let mut inner = self.stage.inner();
        inner.locked_by = inner.locked_by.filter(|holder| *holder != self.node);
        Ok(())
    }
}

/// WeChat's token call, as one node reaches it.
pub(crate) fn wechat(node: usize, stage: Arc<Stage>, is_shared: bool) -> Router {
    let answer = async move |Json(body): Json<Value>| {
        let asking = {
            let mut inner = stage.inner();
            inner.wechat.asking[node] += 1;
            inner.wechat.asking
        };
        if asking[node] > 1 {
            stage.broken(|| format!("node {node} asks for two tokens at once"));
        }
        if is_shared && asking.iter().sum::<u32>() > 1 {
            stage.broken(|| "two nodes ask for a token at once".to_owned());
        }
        stage.pass(node, Gate::Ask).await;
        let text = stage.inner().wechat.give(body["force_refresh"] == true);
        stage.pass(node, Gate::Answer).await;
        stage.inner().wechat.asking[node] -= 1;
        Json(json!({ "access_token": text, "expires_in": 7200 }))
    };
    Router::new().route("/cgi-bin/stable_token", post(answer))
}
