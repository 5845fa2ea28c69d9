//! `Reseal`: everything sealed, under another key.

use async_trait::async_trait;
use rusqlite::params;

use super::writer::Unit;
use super::{Sqlite, audit};
use crate::domain::audit::Act;
use crate::domain::seal::Sealer;
use crate::store::reseal::{Progress, Resealed, Work, columns};
use crate::store::{Error, Reseal};

#[async_trait]
impl Reseal for Sqlite {
    async fn reseal(
        &self,
        to: Sealer,
        leave_unreadable: bool,
        progress: Progress,
        act: Act,
    ) -> Result<Resealed, Error> {
        let from = self.sealer.clone();
        self.writer.run(move |unit| reseal(unit, Work::new(&from, &to, &progress), leave_unreadable, &act)).await
    }
}

/// First everything is read and sealed, then written: a refusal writes nothing.
fn reseal(unit: &Unit<'_>, mut work: Work<'_>, leave_unreadable: bool, act: &Act) -> Result<Resealed, Error> {
    let mut changes = Vec::new();
    for column in columns() {
        let (table, id, name) = (column.table, column.id, column.column);
        let mut select = unit.tx.prepare(&format!("SELECT {id}, {name} FROM {table} WHERE {name} IS NOT NULL"))?;
        let mut rows = select.query([])?;
        let update = format!("UPDATE {table} SET {name} = ?2 WHERE {id} = ?1");
        while let Some(row) = rows.next()? {
            let (id, sealed): (String, String) = (row.get(0)?, row.get(1)?);
            let text = work.text(&column, &id, &sealed)?;
            changes.extend(text.map(|text| (update.clone(), id, text)));
        }
    }
    if !work.may_stay(leave_unreadable) {
        return Ok(work.result);
    }
    for (update, id, text) in changes {
        unit.tx.prepare_cached(&update)?.execute(params![id, text])?;
    }
    audit::write(unit, &work.result.told(act))?;
    Ok(Resealed { applied: true, ..work.result })
}
