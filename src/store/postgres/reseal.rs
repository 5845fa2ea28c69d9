//! `Reseal`: everything sealed, under another key.

use async_trait::async_trait;

use super::command::{Command, Unit};
use super::sql::Sql;
use super::{Postgres, audit};
use crate::domain::audit::Act;
use crate::domain::seal::Sealer;
use crate::store::reseal::{Progress, Resealed, Work, columns};
use crate::store::{Error, Reseal};

#[async_trait]
impl Reseal for Postgres {
    async fn reseal(
        &self,
        to: Sealer,
        leave_unreadable: bool,
        progress: Progress,
        act: Act,
    ) -> Result<Resealed, Error> {
        self.writer.run(Again { from: self.sealer.clone(), to, leave_unreadable, progress, act }).await
    }
}

struct Again {
    from: Sealer,
    to: Sealer,
    leave_unreadable: bool,
    progress: Progress,
    act: Act,
}

#[async_trait]
impl Command for Again {
    type Answer = Resealed;

    /// First everything is read and sealed, then written: a refusal writes nothing.
    async fn run(&self, unit: &Unit<'_>) -> Result<Resealed, Error> {
        let mut work = Work::new(&self.from, &self.to, &self.progress);
        let mut changes = Vec::new();
        for column in columns() {
            let (table, id, name) = (column.table, column.id, column.column);
            let select = format!("SELECT {id}, {name} FROM {table} WHERE {name} IS NOT NULL FOR UPDATE");
            let update = format!("UPDATE {table} SET {name} = $2 WHERE {id} = $1");
            for row in unit.rows(&select, &[]).await? {
                let (id, sealed): (String, String) = (row.try_get(0)?, row.try_get(1)?);
                let text = work.text(&column, &id, &sealed)?;
                changes.extend(text.map(|text| (update.clone(), id, text)));
            }
        }
        if !work.may_stay(self.leave_unreadable) {
            return Ok(work.result);
        }
        for (update, id, text) in changes {
            unit.execute(&update, &[&id, &text]).await?;
        }
        audit::write(unit, &work.result.told(&self.act)).await?;
        Ok(Resealed { applied: true, ..work.result })
    }
}
