//! `wxgate restore-check`: a backup was put back; what it shows as waiting may have been sent since.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;

use super::actor;
use super::exit::Failure;
use super::out::{columns, say};
use crate::config::Config;
use crate::config::store::StoreConfig;
use crate::domain::audit::{Act, Action};
use crate::domain::clock::{Clock, JUMP, SystemClock, Timestamp};
use crate::domain::ids::BootId;
use crate::domain::seal::Sealer;
use crate::store::{self, Restore, StateCount};

/// Messages in one transaction, and how many between two words of progress.
const BATCH: usize = 500;
const PROGRESS: usize = 5_000;

/// After a backup was put back, and before the first start: see to it that nobody gets a message twice
///
/// A backup shows messages as queued, sending or scheduled that were sent after it was taken; a gateway that starts with
/// it sends them again. This lists how many those may be: all that are due by now. With --apply they become `unknown`,
/// reason `restored`: nothing is sent, and you decide about each (resolve, or retry). What is due later is left alone: it
/// cannot have been sent yet.
///
/// No gateway may be serving the store. Without --apply no message is changed. Exit code 0: nothing is left that could be
/// sent twice; 1: something is, or a fault; 2: wrong usage or configuration.
#[derive(Args)]
#[command(after_help = "Examples:\n  \
    wxgate restore-check --config /etc/wxgate.toml            what would be sent again?\n  \
    wxgate restore-check --config /etc/wxgate.toml --apply    prevent it\n  \
    wxgate restore-check --taken-at 2026-01-31T02:00:00Z      when you know when the backup was taken")]
pub(super) struct RestoreCheck {
    /// Mark them as unknown; otherwise they are only counted
    #[arg(long)]
    apply: bool,
    /// When the backup was taken; otherwise the newest date in it
    #[arg(long, value_name = "RFC3339", value_parser = time)]
    taken_at: Option<Timestamp>,
}

fn time(text: &str) -> Result<Timestamp, String> {
    Timestamp::parse(text).ok_or_else(|| "write it as 2026-01-31T02:00:00Z".to_owned())
}

impl RestoreCheck {
    pub(super) async fn run(self, config: Config) -> Result<(), Failure> {
        let shown = config.store.place();
        if let StoreConfig::Sqlite(sqlite) = &config.store
            && !sqlite.path.exists()
        {
            return Err(Failure::Usage(format!(
                "there is no database at {shown} (storage.url): put the backup there first"
            )));
        }
        let now = SystemClock.now();
        let sealer = Sealer::new(config.secrets.open().context("the key that seals secrets")?.0);
        say(format!("looking at {shown} …"))?;
        let stores = store::open::open(&config.store, BootId::generate(now), sealer).await?;
        let outcome = match stores.restore.others().await? {
            0 => self.look(&stores.restore, now).await,
            others => Err(anyhow!("{shown} is served by {others} wxgate process(es): stop them first").into()),
        };
        stores.close().await;
        outcome
    }

    async fn look(&self, store: &Arc<dyn Restore>, now: Timestamp) -> Result<(), Failure> {
        let newest = store.newest().await?;
        let taken_at = self.moment(newest, now)?;
        let lines = store.at_stake(now).await?;
        let total = count(&lines);
        say(format!(
            "\nThe backup was taken at {taken_at} or a little later. Until now, {now}, {} are missing.",
            span(now.since(taken_at))
        ))?;
        if total == 0 {
            say("No message in it can have been sent since.")?;
        } else {
            say(format!("Due since, so perhaps sent already:\n\n{}\n", table(&lines)))?;
        }
        if self.apply && total > 0 {
            doubt(store, now, total).await?;
        }
        say(ALSO_MISSING)?;
        if total > 0 && !self.apply {
            say(format!(
                "\nNothing was changed. A gateway that starts now sends these {total} again: run this with --apply first."
            ))?;
            return Err(Failure::Told);
        }
        Ok(())
    }

    /// When the backup was taken.
    fn moment(&self, newest: Option<Timestamp>, now: Timestamp) -> Result<Timestamp, Failure> {
        let newest = newest.unwrap_or(now);
        if newest > now.plus(JUMP) {
            return Err(Failure::Runtime(anyhow!(
                "the store holds something of {newest}, and this machine's clock says {now}: set the clock first, or what \
                 is due could not be told"
            )));
        }
        match self.taken_at {
            Some(at) if at > now => Err(Failure::Usage(format!("--taken-at {at} has not come yet"))),
            Some(at) if at.plus(Duration::from_secs(1)) < newest => Err(Failure::Usage(format!(
                "the store holds something of {newest}: it cannot have been taken at {at} already"
            ))),
            Some(at) => Ok(at),
            None => Ok(newest.min(now)),
        }
    }
}

const ALSO_MISSING: &str = "
Gone with that time, and nothing can bring it back:
  - what clients have sent: such ids answer 404, and their receipts stay unmatched. A client that repeats a request of
    that time, even with the same Idempotency-Key, makes a second message: tell them the span above
  - receipts: what is `sent` may stay so. Cancellations: cancel again what must not go out. Changes by hand (resolve)
  - keys made or revoked, users bound or unbound, and what people wrote to the account";

async fn doubt(store: &Arc<dyn Restore>, now: Timestamp, total: u64) -> Result<(), Failure> {
    let (mut done, mut told) = (0, 0);
    // With the first of them.
    let mut act = Some(Act::new(now, actor::of_command(), Action::RestoreApplied, "messages").with("messages", total));
    loop {
        let touched = store.doubt(now, BATCH, act.take()).await?;
        if touched == 0 {
            break;
        }
        done += touched;
        if done >= told + PROGRESS {
            told = done;
            say(format!("  {done} of {total} …"))?;
        }
    }
    say(format!(
        "{done} messages are `unknown` now, reason `restored`; none of them is sent by itself. To decide about them:\n  \
         GET /v1/messages?state=unknown, then POST /v1/messages/{{id}}/resolve or …/retry"
    ))?;
    Ok(())
}

fn count(lines: &[StateCount]) -> u64 {
    lines.iter().map(|line| line.count).sum()
}

/// By account and state, whatever the lane.
fn table(lines: &[StateCount]) -> String {
    let mut sums = BTreeMap::new();
    for line in lines {
        *sums.entry((&line.account, line.state)).or_insert(0) += line.count;
    }
    let head = ["account", "state", "messages"].map(str::to_owned).to_vec();
    let rows = sums
        .iter()
        .map(|((account, state), count)| vec![(*account).clone(), state.as_str().to_owned(), count.to_string()]);
    columns(&std::iter::once(head).chain(rows).collect::<Vec<_>>())
}

/// In days, hours and minutes.
fn span(span: Duration) -> String {
    let minutes = span.as_secs() / 60;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    match (days, hours) {
        (0, 0) => format!("{minutes} min"),
        (0, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} days {hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    fn check(taken_at: Option<Timestamp>) -> RestoreCheck {
        RestoreCheck { apply: false, taken_at }
    }

    #[test]
    fn the_moment_is_the_newest_date_or_a_later_one_that_is_told() {
        assert_eq!(check(None).moment(Some(at(50)), at(100)).unwrap(), at(50));
        assert_eq!(check(Some(at(60))).moment(Some(at(50)), at(100)).unwrap(), at(60));
        assert!(matches!(check(Some(at(101))).moment(Some(at(50)), at(100)), Err(Failure::Usage(_))));
        assert!(matches!(check(Some(at(40))).moment(Some(at(50)), at(100)), Err(Failure::Usage(_))));
        assert!(matches!(check(None).moment(Some(at(106)), at(100)), Err(Failure::Runtime(_))), "the clock is wrong");
    }

    #[test]
    fn spans_are_for_people() {
        for (seconds, text) in [(59, "0 min"), (4_320, "1 h 12 min"), (90_061, "1 days 1 h 1 min")] {
            assert_eq!(span(Duration::from_secs(seconds)), text);
        }
    }

    #[test]
    fn lanes_of_a_state_are_one_line() {
        let line = |lane, count| StateCount {
            account: "shop".to_owned(),
            lane,
            state: crate::domain::state::State::Queued,
            count,
        };
        let lanes = crate::domain::state::Lane::ALL.map(|lane| line(lane, 2));
        assert_eq!(table(&lanes), "account  state   messages\nshop     queued  6");
    }
}
