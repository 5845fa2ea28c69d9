//! The rows of `counts` and `totals`: written with the change they count, read as sums over every process.

use super::command::Unit;
use super::fault::unavailable;
use super::sql::Sql;
use crate::store::Error;
use crate::store::figures::{Deltas, Sums};

/// `$1` boot; `$2`–`$5` the changes, sorted; `$6` messages accepted; `$7` the transaction's number.
pub(super) const WRITE: &str = "
    WITH changes AS (
        INSERT INTO counts (boot, account, lane, state, count)
        SELECT $1::text, account, lane, state, change
        FROM unnest($2::text[], $3::text[], $4::text[], $5::bigint[]) AS t (account, lane, state, change)
        ON CONFLICT (boot, account, lane, state) DO UPDATE SET count = counts.count + excluded.count)
    INSERT INTO totals (name, boot, value) VALUES ('accepted', $1, $6::bigint), ('batch', $1, $7::bigint)
    ON CONFLICT (name, boot) DO UPDATE
        SET value = CASE WHEN excluded.name = 'batch' THEN excluded.value ELSE totals.value + excluded.value END";

const READ: &str = "
    SELECT account, lane, state, sum(count)::bigint AS count FROM counts GROUP BY account, lane, state
    UNION ALL SELECT NULL, NULL, NULL, coalesce(sum(value), 0)::bigint FROM totals WHERE name = 'accepted'";

pub(super) async fn write(unit: &Unit<'_>, boot: &str, number: i64, deltas: &Deltas) -> Result<(), Error> {
    let mut lines: Vec<_> = deltas.lines().collect();
    lines.sort_unstable();
    let accounts: Vec<_> = lines.iter().map(|line| line.0).collect();
    let lanes: Vec<_> = lines.iter().map(|line| line.1.as_str()).collect();
    let states: Vec<_> = lines.iter().map(|line| line.2.as_str()).collect();
    let changes: Vec<_> = lines.iter().map(|line| line.3).collect();
    let accepted = deltas.count_of_accepted();
    unit.execute(WRITE, &[&boot, &accounts, &lanes, &states, &changes, &accepted, &number]).await?;
    Ok(())
}

/// The sums of one moment.
pub(super) async fn load(sql: &impl Sql) -> Result<Sums, Error> {
    let rows = sql.rows(READ, &[]).await?;
    let unreadable = |_| unavailable("the figures in counts and totals cannot be read");
    let mut sums = Sums::default();
    for row in rows {
        let count: i64 = row.try_get("count").map_err(unreadable)?;
        match row.try_get::<_, Option<String>>("account").map_err(unreadable)? {
            Some(account) => {
                let (lane, state) =
                    (row.try_get("lane").map_err(unreadable)?, row.try_get("state").map_err(unreadable)?);
                sums.put(account, lane, state, count)?;
            }
            None => sums.accept(count),
        }
    }
    Ok(sums)
}
