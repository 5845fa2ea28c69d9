//! Names to addresses, without those that must not be reached.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use tokio::sync::Semaphore;

use crate::domain::webhook::address::Reach;

/// Different names asked for at once: each holds a thread for as long as the system takes.
const LOOKUPS: usize = 64;

/// Every address of this name is forbidden.
#[derive(Debug, thiserror::Error)]
#[error("no address may be reached")]
pub(super) struct Blocked(pub(super) Vec<IpAddr>);

/// The name has no address, or nobody could say.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unresolved(pub(super) String);

/// Leaves out what must not be reached. It stands between every name and its connection.
pub(super) struct Guarded {
    reach: Arc<Reach>,
    names: Arc<dyn Resolve>,
}

impl Guarded {
    pub(super) fn new(reach: Arc<Reach>, names: Arc<dyn Resolve>) -> Self {
        Self { reach, names }
    }
}

impl Resolve for Guarded {
    fn resolve(&self, name: Name) -> Resolving {
        let (reach, asked) = (self.reach.clone(), self.names.resolve(name));
        Box::pin(async move {
            let found = asked.await.map_err(|error| Unresolved(error.to_string()))?;
            let (allowed, forbidden): (Vec<SocketAddr>, Vec<SocketAddr>) =
                found.partition(|address| reach.allows(address.ip()));
            if allowed.is_empty() {
                return Err(match forbidden.as_slice() {
                    [] => Unresolved("the name has no address".to_owned()).into(),
                    forbidden => Blocked(forbidden.iter().map(SocketAddr::ip).collect()).into(),
                });
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

type Lookup = Shared<BoxFuture<'static, Result<Vec<SocketAddr>, String>>>;

/// Asks the system. Whoever asks for a name that is being asked for waits with the others: a name server that hangs holds one
/// thread for each name, however many deliveries wait for it.
pub struct SystemNames {
    under_way: Arc<Mutex<HashMap<String, Lookup>>>,
    threads: Arc<Semaphore>,
}

impl Default for SystemNames {
    fn default() -> Self {
        Self { under_way: Arc::default(), threads: Arc::new(Semaphore::new(LOOKUPS)) }
    }
}

impl SystemNames {
    fn look_up(&self, name: &str) -> Lookup {
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(lookup) = under_way.get(name) {
            return lookup.clone();
        }
        let (key, threads, all) = (name.to_owned(), self.threads.clone(), self.under_way.clone());
        let lookup = async move {
            let found = ask(key.clone(), threads).await;
            all.lock().unwrap_or_else(PoisonError::into_inner).remove(&key);
            found
        };
        let lookup = lookup.boxed().shared();
        under_way.insert(name.to_owned(), lookup.clone());
        // It ends also when nobody waits for it any more.
        tokio::spawn(lookup.clone());
        lookup
    }
}

async fn ask(name: String, threads: Arc<Semaphore>) -> Result<Vec<SocketAddr>, String> {
    let permit = threads.acquire_owned().await.map_err(|error| error.to_string())?;
    let asked = tokio::task::spawn_blocking(move || (name.as_str(), 0).to_socket_addrs().map(Iterator::collect));
    let found: Result<io::Result<Vec<_>>, _> = asked.await;
    drop(permit);
    found.map_err(|error| error.to_string())?.map_err(|error| error.to_string())
}

impl Resolve for SystemNames {
    fn resolve(&self, name: Name) -> Resolving {
        let lookup = self.look_up(name.as_str());
        Box::pin(async move {
            let found = lookup.await.map_err(Unresolved)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
