//! Callers: each has a connection and one request under way.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

#[derive(Clone, Copy, Debug)]
pub(crate) enum Pace {
    /// A caller sends again when it was answered.
    Closed,
    /// Requests are due on a schedule, however long answers take; a time counts from when its request was due.
    Open { each: Duration },
}

#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Of each that was answered with 2xx.
    pub(crate) times: Vec<Duration>,
    pub(crate) others: usize,
}

pub(crate) async fn drive(
    address: SocketAddr,
    requests: &Arc<Vec<Vec<u8>>>,
    callers: usize,
    pace: Pace,
    span: Duration,
) -> anyhow::Result<Tally> {
    let (turn, begun) = (Arc::new(AtomicUsize::new(0)), Instant::now());
    // Another round begins elsewhere in the list, so that a callback does not come twice soon.
    let offset = usize::from(rand::random::<u16>()) * 37;
    let mut tasks = JoinSet::new();
    for _ in 0..callers {
        let (requests, turn) = (requests.clone(), turn.clone());
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            let mut tally = Tally::default();
            loop {
                let n = turn.fetch_add(1, Ordering::Relaxed);
                let due = match pace {
                    Pace::Closed => Instant::now(),
                    Pace::Open { each } => begun + each * u32::try_from(n).unwrap_or(u32::MAX),
                };
                if due >= begun + span {
                    return anyhow::Ok(tally);
                }
                tokio::time::sleep_until(due.into()).await;
                let request = &requests[(offset + n) % requests.len()];
                stream.write_all(request).await?;
                match status(&mut stream).await? {
                    200..300 => tally.times.push(due.elapsed()),
                    _ => tally.others += 1,
                }
            }
        });
    }
    let mut all = Tally::default();
    while let Some(tally) = tasks.join_next().await {
        let tally = tally.context("a caller died")??;
        all.times.extend(tally.times);
        all.others += tally.others;
    }
    all.times.sort_unstable();
    Ok(all)
}

/// Reads one answer with a content-length to its end.
async fn status(stream: &mut TcpStream) -> anyhow::Result<u16> {
    let (mut seen, mut chunk) = (Vec::with_capacity(1024), [0; 4096]);
    loop {
        let read = stream.read(&mut chunk).await?;
        anyhow::ensure!(read > 0, "the gateway closed a connection");
        seen.extend_from_slice(&chunk[..read]);
        let Some(end) = seen.windows(4).position(|bytes| bytes == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&seen[..end])?;
        let length =
            head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no content-length")?;
        if seen.len() >= end + 4 + length.parse::<usize>()? {
            let status = head.split(' ').nth(1).context("no status")?;
            return Ok(status.parse()?);
        }
    }
}
