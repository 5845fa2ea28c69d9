//! The rows of `counts` and `totals`: written with the change they count, read when the file is opened.

use rusqlite::{Connection, params};

use crate::store::Error;
use crate::store::figures::{Deltas, Sums};

pub(super) fn write(deltas: &Deltas, tx: &Connection) -> Result<(), Error> {
    let accepted = deltas.count_of_accepted();
    if accepted != 0 {
        tx.prepare_cached("UPDATE totals SET value = value + ?1 WHERE name = 'accepted'")?.execute([accepted])?;
    }
    for (account, lane, state, change) in deltas.lines() {
        tx.prepare_cached(
            "INSERT INTO counts (account, lane, state, count) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET count = count + excluded.count",
        )?
        .execute(params![account, lane, state, change])?;
    }
    Ok(())
}

pub(super) fn load(conn: &Connection) -> Result<Sums, Error> {
    let accepted = conn.query_row("SELECT value FROM totals WHERE name = 'accepted'", [], |row| row.get(0))?;
    let mut sums = Sums::new(accepted);
    let mut select = conn.prepare("SELECT account, lane, state, count FROM counts")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        let (lane, state): (String, String) = (row.get(1)?, row.get(2)?);
        sums.put(row.get(0)?, &lane, &state, row.get(3)?)?;
    }
    Ok(sums)
}
