//! What the program costs under load: a gateway and the sandbox as processes of their own, driven from here.
//!
//! Run by `scripts/load`. In: what to send, how many callers, how long. Out: a table, or JSON, on standard output.

mod bodies;
mod caller;
mod figures;
mod processes;

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Parser, ValueEnum};

use crate::caller::{Pace, Tally};
use crate::figures::Row;
use crate::processes::Gateway;

/// Load on the real program
#[derive(Parser)]
struct Arguments {
    /// The program
    #[arg(long, default_value = "target/release/wxgate")]
    bin: PathBuf,
    /// What is sent
    #[arg(long, value_enum, value_delimiter = ',', default_value = "send,accept,callback,mixed")]
    what: Vec<What>,
    /// Connections, each with one request under way
    #[arg(long, default_value_t = 64)]
    callers: usize,
    /// Requests a second, on a schedule; 0: each caller sends again when it was answered
    #[arg(long, default_value_t = 0)]
    rate: u32,
    /// Seconds for each
    #[arg(long, default_value_t = 5)]
    seconds: u64,
    /// How often; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// One JSON object a line in place of the table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum What {
    /// `/send-template`; answered when WeChat has
    Send,
    /// The same with `async`; answered when it is kept. The sending goes on beside
    Accept,
    /// As accept, but scheduled for tomorrow: what keeping alone costs
    Keep,
    /// A receipt of WeChat, encrypted, of a message that is not ours
    Callback,
    /// Two sends, one accept, one callback
    Mixed,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let mut rows = Vec::new();
    for what in &arguments.what {
        // A store of its own for each: what one has left behind is no cost of the next.
        let gateway = Gateway::start(&arguments.bin).await?;
        let requests = Arc::new(bodies::requests(*what, &gateway));
        load(&gateway, &requests, &arguments, Duration::from_secs(1)).await?;
        let mut rounds = Vec::new();
        for _ in 0..arguments.rounds.max(1) {
            let span = Duration::from_secs(arguments.seconds.max(1));
            rounds.push(load(&gateway, &requests, &arguments, span).await?);
        }
        rows.push(Row::of(*what, &gateway, rounds));
    }
    let text = if arguments.json { figures::json(&rows)? } else { figures::table(&rows) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(())
}

/// What one round has cost.
struct Round {
    tally: Tally,
    took: Duration,
    cpu: Duration,
    memory_bytes: u64,
}

async fn load(
    gateway: &Gateway,
    requests: &Arc<Vec<Vec<u8>>>,
    arguments: &Arguments,
    span: Duration,
) -> anyhow::Result<Round> {
    let (begun, before) = (Instant::now(), gateway.cpu()?);
    let pace = match arguments.rate {
        0 => Pace::Closed,
        rate => Pace::Open { each: Duration::from_secs(1) / rate },
    };
    let tally = caller::drive(gateway.address, requests, arguments.callers.max(1), pace, span).await?;
    let cpu = gateway.cpu()?.saturating_sub(before);
    Ok(Round { tally, took: begun.elapsed(), cpu, memory_bytes: gateway.memory()? })
}
