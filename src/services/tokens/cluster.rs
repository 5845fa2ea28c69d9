//! What the nodes share through Redis: the token, and the right to refresh it. Without Redis each node works for itself.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::engine::Core;
use crate::domain::token::AccessToken;
use crate::failpoint::{Point, reach};
use crate::store::tokens::RefreshLock;
use crate::store::{Allowance, Error};

/// How long this node may hold the cluster's right to refresh, at least: two calls and room for the stores around them.
const LOCK_HOLD: Duration = Duration::from_secs(30);
const STORE_ROOM: Duration = Duration::from_secs(5);
/// How often it looks whether the node that has the right has finished: soon at first (it may be about to give it back), then
/// at an even pace. And for how long.
const FIRST_POLL: Duration = Duration::from_millis(10);
const PEER_POLL: Duration = Duration::from_millis(100);
const PEER_PATIENCE: Duration = Duration::from_secs(5);

impl Core {
    /// The token that is shared, whatever it is worth.
    pub(super) async fn load_shared(&self, allowance: &mut Allowance) -> Result<Option<AccessToken>, Error> {
        let Some(shared) = &self.doors.shared else { return Ok(None) };
        let token = shared.load(allowance, &self.account.name, &self.account.app_id).await;
        if let Err(error @ Error::Corrupt { .. }) = &token {
            tracing::warn!(account.id = %self.account.name, %error, "the shared token is of no use: the next one replaces it");
        }
        token
    }

    /// A newer token of another node.
    pub(super) async fn take_shared(
        &self,
        allowance: &mut Allowance,
        refused: Option<i64>,
    ) -> Result<Option<Arc<AccessToken>>, Error> {
        let Some(token) = self.load_shared(allowance).await? else { return Ok(None) };
        let before = self.current.load_full().map(|token| token.generation);
        let is_news = before.is_none_or(|generation| token.generation > generation);
        let is_good = token.is_valid(self.doors.clock.now()) && Some(token.generation) != refused;
        Ok((is_news && is_good).then(|| self.adopt(token)))
    }

    /// The cluster's right to refresh. `Err` brings the token that another node fetched meanwhile. Redis out of reach, or
    /// a node that does not finish, never holds us up for long: then each node refreshes for itself.
    pub(super) async fn lock_cluster(
        self: &Arc<Self>,
        allowance: &mut Allowance,
        refused: Option<i64>,
    ) -> Result<Option<RefreshLock>, Arc<AccessToken>> {
        let Some(shared) = &self.doors.shared else { return Ok(None) };
        let hold = LOCK_HOLD.max(self.doors.call_limit * 2 + STORE_ROOM);
        let (begun, mut pause) = (Instant::now(), FIRST_POLL);
        loop {
            // While another node fetches it is that node which is waited for, not Redis: only what fails is charged.
            let mut asked = *allowance;
            match shared.lock(&mut asked, &self.account.name, &self.account.app_id, hold).await {
                Ok(None) => {}
                Ok(Some(lock)) => {
                    *allowance = asked;
                    // Another node may have finished between our look and our lock.
                    let Ok(Some(token)) = self.take_shared(allowance, refused).await else { return Ok(Some(lock)) };
                    self.hand_on(None, Some(lock));
                    return Err(token);
                }
                Err(_) => {
                    *allowance = asked;
                    return Ok(None);
                }
            }
            if begun.elapsed() >= PEER_PATIENCE {
                return Ok(None);
            }
            tokio::time::sleep(pause).await;
            pause = PEER_POLL.min(pause * 2);
            let mut asked = *allowance;
            match self.take_shared(&mut asked, refused).await {
                Ok(None) => {}
                Ok(Some(token)) => return Err(token),
                Err(_) => *allowance = asked,
            }
        }
    }

    pub(super) async fn publish(&self, allowance: &mut Allowance, token: &AccessToken) {
        if let Some(shared) = &self.doors.shared {
            // Redis out of reach is told by its own door; other nodes fetch for themselves.
            let _ = shared.publish(allowance, &self.account.name, &self.account.app_id, token).await;
            reach(Point::TokenPublished);
        }
    }

    /// To the other nodes, beside the road: nobody here waits for it. First the token, then the right to refresh.
    pub(super) fn hand_on(self: &Arc<Self>, token: Option<Arc<AccessToken>>, lock: Option<RefreshLock>) {
        let Some(shared) = self.doors.shared.clone() else { return };
        let core = self.clone();
        tokio::spawn(async move {
            if let Some(token) = token {
                core.publish(&mut Allowance::default(), &token).await;
            }
            if let Some(lock) = lock {
                let _ = shared.unlock(&mut Allowance::default(), lock).await;
            }
        });
    }
}
