//! `Suppressions`: who is not written to.

use async_trait::async_trait;
use tokio_postgres::Row;

use super::command::{Command, Unit};
use super::lock_key::LockKey;
use super::row::Fields;
use super::sql::Sql;
use super::{Postgres, audit};
use crate::domain::audit::Act;
use crate::domain::clock::Timestamp;
use crate::domain::page::{Page, PageRequest};
use crate::domain::secret::Openid;
use crate::domain::suppression::{Suppression, SuppressionFilter, SuppressionReason};
use crate::store::rules::Told;
use crate::store::suppressed::Suppressed;
use crate::store::{Error, Suppressions};

const FIND: &str = "SELECT account, openid, reason, errmsg, since FROM suppressions WHERE account = $1 AND openid = $2";
/// Numbers are given before the commit: so many that are lower than one that was seen may still come.
const LATE: i64 = 1_000;
/// Rows of one look.
const PORTION: i64 = 10_000;

#[async_trait]
impl Suppressions for Postgres {
    fn may_hold(&self, account: &str, openid: &Openid) -> bool {
        self.suppressed.may_hold(account, openid.as_str())
    }

    async fn look_up(&self, account: &str, openid: &Openid) -> Result<Option<Suppression>, Error> {
        let row = self.readers.quick().await?.row(FIND, &[&account, openid]).await?;
        if row.is_none() {
            self.suppressed.remove(account, openid.as_str());
        }
        row.as_ref().map(read).transpose()
    }

    async fn list(
        &self,
        account: &str,
        filter: SuppressionFilter,
        page: PageRequest,
    ) -> Result<Page<Suppression>, Error> {
        let select = "SELECT account, openid, reason, errmsg, since FROM suppressions
             WHERE account = $1 AND openid > $2 AND ($3::text IS NULL OR reason = $3)
                AND ($4::bigint IS NULL OR since >= $4) AND ($5::bigint IS NULL OR since < $5)
                AND ($6::text IS NULL OR openid = $6)
             ORDER BY openid LIMIT $7";
        let after = page.after.as_deref().unwrap_or_default();
        let reason = filter.reason.map(SuppressionReason::as_str);
        let limit = i64::from(page.limit) + 1;
        let reader = self.readers.slow().await?;
        let values: super::sql::Values<'_> =
            &[&account, &after, &reason, &filter.since_after, &filter.since_before, &filter.openid, &limit];
        let rows = reader.rows(select, values).await?;
        let items = rows.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        Ok(Page::cut(items, page.limit, |last: &Suppression| last.openid.as_str().to_owned()))
    }

    async fn lift(&self, account: &str, openid: &Openid, act: Act) -> Result<bool, Error> {
        self.writer.run(Lift { account: account.to_owned(), openid: openid.clone(), act }).await
    }

    async fn catch_up(&self) -> Result<(), Error> {
        catch_up(&self.readers.quick().await?, &self.suppressed).await
    }
}

/// Takes into memory what it does not know yet: everything, the first time.
pub(super) async fn catch_up(sql: &impl Sql, suppressed: &Suppressed) -> Result<(), Error> {
    let newest = sql.row("SELECT max(number) AS number FROM suppressions", &[]).await?;
    let newest: Option<i64> = match &newest {
        Some(row) => Fields::new(row, "suppressions", "number").get("number")?,
        None => None,
    };
    let seen = suppressed.seen();
    if newest.is_none_or(|newest| newest <= seen) {
        return Ok(());
    }
    let mut after = seen - LATE;
    loop {
        let select = "SELECT number, account, openid FROM suppressions WHERE number > $1 ORDER BY number LIMIT $2";
        let rows = sql.rows(select, &[&after, &PORTION]).await?;
        for row in &rows {
            let fields = Fields::new(row, "suppressions", "number");
            suppressed.add(fields.get("account")?, fields.get("openid")?);
            after = fields.get("number")?;
        }
        suppressed.saw(after);
        if i64::try_from(rows.len()).unwrap_or(PORTION) < PORTION {
            return Ok(());
        }
    }
}

/// Takes in what was told of this person. The caller holds `LockKey::user`.
pub(super) async fn heed(
    unit: &Unit<'_>,
    account: &str,
    openid: &str,
    told: Option<Told>,
    now: Timestamp,
) -> Result<(), Error> {
    // Nearly nobody is suppressed, and every message that goes well comes here: memory is asked first.
    let may_hold = || unit.suppressed().is_none_or(|suppressed| suppressed.may_hold(account, openid));
    match told {
        Some(Told::Refuses { reason, errmsg }) => {
            let insert = "INSERT INTO suppressions (account, openid, reason, errmsg, since) VALUES ($1, $2, $3, $4, $5)
                 ON CONFLICT (account, openid) DO UPDATE SET reason = excluded.reason, errmsg = excluded.errmsg,
                    since = excluded.since";
            unit.execute(insert, &[&account, &openid, &reason.as_str(), &errmsg, &now]).await?;
            unit.suppressed().into_iter().for_each(|suppressed| suppressed.add(account, openid));
        }
        Some(Told::IsReached) if may_hold() => {
            unit.execute("DELETE FROM suppressions WHERE account = $1 AND openid = $2", &[&account, &openid]).await?;
        }
        Some(Told::IsTaken) if may_hold() => {
            let delete = "DELETE FROM suppressions WHERE account = $1 AND openid = $2 AND reason <> 'user_block'";
            unit.execute(delete, &[&account, &openid]).await?;
        }
        _ => {}
    }
    Ok(())
}

struct Lift {
    account: String,
    openid: Openid,
    act: Act,
}

#[async_trait]
impl Command for Lift {
    type Answer = bool;

    fn keys(&self) -> Vec<LockKey> {
        vec![LockKey::user(&self.account, self.openid.as_str())]
    }

    async fn run(&self, unit: &Unit<'_>) -> Result<bool, Error> {
        let delete = "DELETE FROM suppressions WHERE account = $1 AND openid = $2";
        let is_lifted = unit.execute(delete, &[&self.account, &self.openid]).await? > 0;
        if is_lifted {
            audit::write(unit, &self.act).await?;
        }
        Ok(is_lifted)
    }
}

fn read(row: &Row) -> Result<Suppression, Error> {
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
