//! `Keys`: what `wxgate key` made.

use async_trait::async_trait;

use super::Postgres;
use super::fault::unavailable;
use crate::domain::caller::Key;
use crate::domain::clock::Timestamp;
use crate::store::{Error, Keys};

#[async_trait]
impl Keys for Postgres {
    async fn add(&self, _key: Key) -> Result<(), Error> {
        Err(unavailable("not written yet"))
    }

    async fn list(&self) -> Result<Vec<Key>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn look_up(&self, _id: &str) -> Result<Option<Key>, Error> {
        Err(unavailable("not written yet"))
    }

    async fn revoke(&self, _id: &str, _now: Timestamp) -> Result<bool, Error> {
        Err(unavailable("not written yet"))
    }

    async fn version(&self) -> Result<i64, Error> {
        Err(unavailable("not written yet"))
    }
}
