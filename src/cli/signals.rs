//! SIGTERM and SIGINT: the first lets work under way finish, the second ends it. SIGHUP is ignored.

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use super::out::complain;
use crate::app::Stop;

/// From now on signals are caught; the tokens tell of them.
pub(super) fn catch() -> anyhow::Result<Stop> {
    let stop = Stop::default();
    let mut terminate = signal(SignalKind::terminate()).context("SIGTERM cannot be caught")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("SIGINT cannot be caught")?;
    // Once caught, a hang-up no longer ends the process, even when nobody listens to it.
    drop(signal(SignalKind::hangup()).context("SIGHUP cannot be caught")?);
    let (soft, hard) = (stop.soft.clone(), stop.hard.clone());
    tokio::spawn(async move {
        for (token, said) in [(soft, "stopping; once more to stop at once"), (hard, "stopping at once")] {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            token.cancel();
            // Elsewhere: it may take a moment, and the next signal may come.
            tokio::task::spawn_blocking(move || complain(said));
        }
    });
    Ok(stop)
}
