//! `Suppressions`: who is not written to.

use async_trait::async_trait;
use rusqlite::{Connection, Row, params};

use super::readers::PATIENCE;
use super::row::Fields;
use super::writer::Unit;
use super::{Sqlite, audit};
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::page::{Page, PageRequest};
use crate::domain::secret::Openid;
use crate::domain::suppression::{Suppression, SuppressionFilter, SuppressionReason};
use crate::store::rules::Told;
use crate::store::suppressed::Suppressed;
use crate::store::{Error, Suppressions};

#[async_trait]
impl Suppressions for Sqlite {
    fn may_hold(&self, account: &str, openid: &Openid) -> bool {
        self.suppressed.may_hold(account, openid.as_str())
    }

    async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<Suppression>, Error> {
        let (asked, whom) = (account.to_owned(), openid.clone());
        let found = self.readers.read(move |conn| find(conn, &asked, &whom)).await?;
        if found.is_none() {
            self.suppressed.remove(account, openid.as_str());
        }
        Ok(found)
    }

    async fn list(
        &self,
        account: &str,
        filter: SuppressionFilter,
        page: PageRequest,
    ) -> Result<Page<Suppression>, Error> {
        let account = account.to_owned();
        self.readers.read_within(PATIENCE, move |conn| list(conn, &account, &filter, &page)).await
    }

    async fn lift(&self, account: &str, openid: &Openid, act: Act) -> Result<bool, Error> {
        let (account, openid) = (account.to_owned(), openid.clone());
        self.writer.run(move |unit| lift(unit, &account, &openid, &act)).await
    }

    /// This process alone writes them.
    async fn catch_up(&self) -> Result<(), Error> {
        Ok(())
    }
}

/// Into memory, at the start.
pub(super) fn load(conn: &Connection, suppressed: &Suppressed) -> Result<(), Error> {
    let mut select = conn.prepare("SELECT account, openid FROM suppressions")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let fields = Fields::new(row, "suppressions", "account");
        suppressed.add(&fields.get::<String>("account")?, &fields.get::<String>("openid")?);
    }
    Ok(())
}

/// Takes in what was told of this person.
pub(super) fn heed(
    unit: &Unit<'_>,
    account: &str,
    openid: &str,
    told: Option<Told>,
    now: Timestamp,
) -> Result<(), Error> {
    match told {
        Some(Told::Refuses { reason, errmsg }) => remember(unit, account, openid, reason, &errmsg, now),
        Some(Told::IsReached) => {
            forget(unit, account, openid, "DELETE FROM suppressions WHERE account = ?1 AND openid = ?2")
        }
        Some(Told::IsTaken) => forget(
            unit,
            account,
            openid,
            "DELETE FROM suppressions WHERE account = ?1 AND openid = ?2 AND reason <> 'user_block'",
        ),
        None => Ok(()),
    }
}

fn remember(
    unit: &Unit<'_>,
    account: &str,
    openid: &str,
    reason: SuppressionReason,
    errmsg: &str,
    now: Timestamp,
) -> Result<(), Error> {
    unit.tx
        .prepare_cached(
            "INSERT INTO suppressions (account, openid, reason, errmsg, since) VALUES (?1, ?2, ?3, ?4, ?5)
             ON CONFLICT (account, openid) DO UPDATE SET reason = excluded.reason, errmsg = excluded.errmsg,
                since = excluded.since",
        )?
        .execute(params![account, openid, reason.as_str(), errmsg, now])?;
    unit.suppressed.add(account, openid);
    Ok(())
}

/// Nearly nobody is suppressed, and every message that goes well comes here: memory is asked first.
fn forget(unit: &Unit<'_>, account: &str, openid: &str, delete: &str) -> Result<(), Error> {
    if unit.suppressed.may_hold(account, openid) {
        // What stays in memory too long costs a query.
        unit.tx.prepare_cached(delete)?.execute(params![account, openid])?;
    }
    Ok(())
}

fn lift(unit: &Unit<'_>, account: &str, openid: &Openid, act: &Act) -> Result<bool, Error> {
    let mut delete = unit.tx.prepare_cached("DELETE FROM suppressions WHERE account = ?1 AND openid = ?2")?;
    let is_lifted = delete.execute(params![account, openid])? > 0;
    if is_lifted {
        audit::write(unit, act)?;
    }
    Ok(is_lifted)
}

fn find(conn: &Connection, account: &str, openid: &Openid) -> Result<Option<Suppression>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT account, openid, reason, errmsg, since FROM suppressions WHERE account = ?1 AND openid = ?2",
    )?;
    let mut rows = select.query(params![account, openid])?;
    rows.next()?.map(read).transpose()
}

fn list(
    conn: &Connection,
    account: &str,
    filter: &SuppressionFilter,
    page: &PageRequest,
) -> Result<Page<Suppression>, Error> {
    let mut select = conn.prepare_cached(
        "SELECT account, openid, reason, errmsg, since FROM suppressions
         WHERE account = ?1 AND openid > ?2 AND (?3 IS NULL OR reason = ?3) AND (?4 IS NULL OR since >= ?4)
            AND (?5 IS NULL OR since < ?5) AND (?6 IS NULL OR openid = ?6)
         ORDER BY openid LIMIT ?7",
    )?;
    let mut rows = select.query(params![
        account,
        page.after.as_deref().unwrap_or_default(),
        filter.reason.map(SuppressionReason::as_str),
        filter.since_after,
        filter.since_before,
        filter.openid,
        i64::from(page.limit) + 1,
    ])?;
    let mut items = Vec::new();
    while let Some(row) = rows.next()? {
        items.push(read(row)?);
    }
    Ok(Page::cut(items, page.limit, |last: &Suppression| last.openid.as_str().to_owned()))
}

fn read(row: &Row<'_>) -> Result<Suppression, Error> {
    // The account names the row in errors: openids are not shown.
    let fields = Fields::new(row, "suppressions", "account");
    Ok(Suppression {
        account: fields.get("account")?,
        openid: fields.parsed("openid", Openid::parse)?,
        reason: fields.parsed("reason", SuppressionReason::parse)?,
        errmsg: fields.get("errmsg")?,
        since: fields.get("since")?,
    })
}
