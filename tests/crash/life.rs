//! One life of the process: started, loaded, and dead in the way that was aimed at.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use tokio_util::sync::CancellationToken;
use wxgate::sandbox::Fault;

use crate::aim::{Deed, End, Life};
use crate::load::{Crowd, Load};
use crate::stay::Stay;
use crate::support::process::Program;

/// Longer than a point can take to be reached, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(30);
const GLANCE: Duration = Duration::from_millis(2);
const SEND: &str = "/cgi-bin/message/template/send";
/// Longer than it takes to kill.
const SLOW_MS: u64 = 400;
const PARKED: &str = "SELECT count(*) FROM messages WHERE touser LIKE 'sim-quota%' AND state = 'queued'";

impl Stay {
    /// Returns when the process is dead. The error says that it did not die as it should have.
    pub(crate) async fn live(&mut self, life: &Life, seed: u64, tag: &str, crowd: &mut Crowd) -> Result<(), String> {
        if let Some(deed) = life.before {
            self.act(deed).await?;
        }
        let variables = self.variables(life.armed, life.shares_tokens);
        let log_begin = self.log_from(0).map_or(0, |log| log.len());
        let mut program = self.spawn(&variables);
        let caller = program.caller.clone();
        let dead = CancellationToken::new();
        let load = async {
            if life.is_loaded && is_up(&mut program).await? {
                let load = Load::new(seed, tag, life.has_quota_met);
                let run = load.run(&caller, self.sandbox(), &dead, crowd);
                let ((), status) = tokio::join!(run, self.end_of(life.end, &mut program, &dead, log_begin));
                return status;
            }
            self.end_of(life.end, &mut program, &dead, log_begin).await
        };
        let status = load.await?;
        self.check_death(life, status, log_begin)
    }

    /// Sees to the end of the process and waits for it.
    async fn end_of(
        &self,
        end: End,
        program: &mut Program,
        dead: &CancellationToken,
        log_begin: usize,
    ) -> Result<ExitStatus, String> {
        // Whoever sends must not go on for ever when something is wrong here.
        let _dead = dead.clone().drop_guard();
        let mut fault = None;
        match end {
            End::AtPoint => {}
            End::KilledAfter(span) => tokio::time::sleep(span).await,
            End::KilledAfterPanic(span) => {
                wait_until("the panic", async || Ok(self.log_from(log_begin)?.contains("failpoint reached"))).await?;
                tokio::time::sleep(span).await;
            }
            End::KilledWhenTaken(messages) => {
                let enough = self.sandbox().message_count() + messages;
                fault = Some(self.sandbox().set_fault(Fault::slow(SLOW_MS).on(SEND)));
                wait_until("messages are taken", async || Ok(self.sandbox().message_count() >= enough)).await?;
            }
            End::KilledWhenParked => {
                wait_until("messages wait for the quota", async || Ok(self.books.number(PARKED).await? > 0)).await?;
            }
            End::StoppedAfter(span) => tokio::time::sleep(span).await,
        }
        match end {
            End::AtPoint => {}
            End::StoppedAfter(_) => program.signal(Signal::SIGTERM),
            _ => program.signal(Signal::SIGKILL),
        }
        let mut status = None;
        let died = wait_until("the process dies", async || {
            status = program.status();
            Ok(status.is_some())
        });
        let died = died.await;
        fault.map(|fault| self.sandbox().remove_fault(fault));
        died?;
        status.ok_or_else(|| "it has no status".to_owned())
    }

    /// What it has said since.
    fn log_from(&self, begin: usize) -> Result<String, String> {
        let log = std::fs::read(self.place.log()).map_err(|error| format!("no log: {error}"))?;
        Ok(String::from_utf8_lossy(log.get(begin..).unwrap_or_default()).into_owned())
    }

    fn check_death(&self, life: &Life, status: ExitStatus, log_begin: usize) -> Result<(), String> {
        let log = self.log_from(log_begin)?;
        let last = || log.lines().rev().take(5).collect::<Vec<_>>().join("\n");
        if status.signal() != Some(Signal::SIGKILL as i32) {
            return Err(format!("it ended with {status} rather than by SIGKILL; the end of its log:\n{}", last()));
        }
        if let Some(armed) = life.armed
            && !log.contains(&format!("failpoint reached: {}\n", armed.text()))
        {
            return Err(format!("killed, but not at {}; the end of its log:\n{}", armed.text(), last()));
        }
        Ok(())
    }

    pub(crate) async fn act(&mut self, deed: Deed) -> Result<(), String> {
        match deed {
            Deed::RevokeTokens => drop(self.sandbox().revoke_tokens()),
            Deed::RefuseTokens => drop(self.sandbox().refuse_tokens()),
            Deed::Expire => {
                let over = "UPDATE messages SET expires_at = 1 WHERE touser LIKE 'sim-quota%'";
                self.books.change(over).await?;
            }
            Deed::Age => self.age().await?,
        }
        Ok(())
    }

    /// Ids begin with their time, so both become old.
    async fn age(&mut self) -> Result<(), String> {
        // Names tell the cycle (`load`): what this one has sent stays as it is.
        let earlier = |column: &str| format!("{column} NOT LIKE '%o{}-%'", self.cycles);
        let over = "state IN ('sent', 'delivered', 'undelivered', 'rejected', 'failed', 'expired', 'canceled')";
        let over = format!("{over} AND {}", earlier("touser"));
        let counts = format!("SELECT state, count(*) FROM messages WHERE {over} GROUP BY state");
        for row in self.books.rows(&counts).await? {
            *self.aged.entry(row[0].clone()).or_default() += row[1].parse::<u64>().unwrap_or(0);
        }
        let changes = format!(
            "UPDATE messages SET id = 'msg_0000000000' || substr(id, 15), updated_at = 0 WHERE {over};
             UPDATE callbacks SET id = substr(id, 1, 4) || '0000000000' || substr(id, 15), received_at = 0 WHERE {};
             UPDATE receipts SET received_at = 0 WHERE {};
             UPDATE idempotency SET created_at = 0 WHERE {};",
            earlier("openid"),
            earlier("openid"),
            earlier("key"),
        );
        self.books.change(&changes).await?;
        self.settled.clear();
        Ok(())
    }
}

/// `false`: it is dead already.
async fn is_up(program: &mut Program) -> Result<bool, String> {
    let mut is_dead = false;
    wait_until("the process answers", async || {
        is_dead = program.status().is_some();
        Ok(is_dead || program.answers("/health").await)
    })
    .await?;
    Ok(!is_dead)
}

pub(crate) async fn wait_until(what: &str, mut holds: impl AsyncFnMut() -> Result<bool, String>) -> Result<(), String> {
    let started = Instant::now();
    while !holds().await? {
        if started.elapsed() > PATIENCE {
            return Err(format!("{what}: not within {PATIENCE:?}"));
        }
        tokio::time::sleep(GLANCE).await;
    }
    Ok(())
}
