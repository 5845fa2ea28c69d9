//! How many callbacks a gateway takes: receipts of a mass send, acknowledged while sends go on; and repeats, each told once.
//!
//! Run by `scripts/callback-load`. In: which run, and its size. Out: figures on standard output. The gateway is a process of
//! its own (this very program, started as `wxgate serve`); WeChat is the sandbox in this one.

mod latency;
mod letter;
mod place;
mod receipts;
mod repeats;

use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};

use place::Place;

fn main() -> ExitCode {
    // The gateway's own arguments begin so.
    if std::env::args().nth(1).as_deref() == Some("--config") {
        return wxgate::cli::main();
    }
    let run = || -> anyhow::Result<()> {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
        runtime.block_on(run(std::env::args().skip(1).collect()))
    };
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = say(format!("FAILED: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Vec<String>) -> anyhow::Result<()> {
    let number = |index: usize, default: usize| match arguments.get(index) {
        Some(text) => text.parse().with_context(|| format!("{text} is no number")),
        None => Ok(default),
    };
    let place = Place::open().await?;
    let run = async {
        match arguments.first().map_or("receipts", String::as_str) {
            "receipts" => receipts::run(&place, number(1, 1_000)?, number(2, 60)?, number(3, 200)?).await,
            "repeats" => repeats::run(&place, number(1, 1_000_000)?, number(2, 30)?).await,
            other => {
                bail!("{other}: receipts [PER_SECOND [SECONDS [SENDS_PER_SECOND]]], or repeats [CALLBACKS [PERCENT]]")
            }
        }
    };
    // The gateway ends with its place.
    tokio::select! {
        done = run => done,
        _ = tokio::signal::ctrl_c() => bail!("interrupted"),
    }
}

pub(crate) fn say(line: impl std::fmt::Display) -> std::io::Result<()> {
    writeln!(std::io::stdout().lock(), "{line}")
}
