//! Where log lines go: a bounded channel and one thread, so that a blocked standard error never stalls the road.
//!
//! When the channel is full, lines are dropped and counted; the count is written as a line once there is room again.

use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus::IntCounter;
use tracing_subscriber::fmt::MakeWriter;

/// Lines that may wait.
const ROOM: usize = 8_192;
/// Bytes that are written at once at most, so that a flood does not fill memory.
const BATCH_BYTES: usize = 64 * 1024;
const FLUSH_WAIT: Duration = Duration::from_secs(2);

enum Item {
    Line(Vec<u8>),
    Flush(SyncSender<()>),
}

/// Makes writers that hand whole lines to the thread.
#[derive(Clone)]
pub(super) struct Lines {
    sender: SyncSender<Item>,
    dropped: Arc<AtomicU64>,
    counter: Arc<OnceLock<IntCounter>>,
}

/// Keep it until the process ends: dropping it waits (2 s at most) until what was logged is written.
#[must_use = "hold it until the end, or the last lines may be lost"]
pub struct LogGuard {
    lines: Lines,
}

/// Starts the thread that writes to `sink`.
pub(super) fn start(sink: impl Write + Send + 'static) -> io::Result<(Lines, LogGuard)> {
    let (sender, receiver) = sync_channel(ROOM);
    let dropped = Arc::new(AtomicU64::new(0));
    let lines = Lines { sender, dropped: dropped.clone(), counter: Arc::default() };
    std::thread::Builder::new().name("log".to_owned()).spawn(move || run(&receiver, sink, &dropped))?;
    Ok((lines.clone(), LogGuard { lines }))
}

fn run(receiver: &Receiver<Item>, mut sink: impl Write, dropped: &AtomicU64) {
    let mut batch = Vec::with_capacity(BATCH_BYTES);
    while let Ok(first) = receiver.recv() {
        let mut waiting = Vec::new();
        for item in std::iter::once(first).chain(receiver.try_iter()) {
            match item {
                Item::Line(line) => batch.extend_from_slice(&line),
                Item::Flush(done) => waiting.push(done),
            }
            if batch.len() >= BATCH_BYTES {
                break;
            }
        }
        let lost = dropped.swap(0, Ordering::Relaxed);
        if lost > 0 {
            let line = format!("{{\"level\":\"WARN\",\"message\":\"log lines were dropped\",\"dropped\":{lost}}}\n");
            batch.extend_from_slice(line.as_bytes());
        }
        // A sink that is gone (closed pipe) must not end the process.
        let _ = sink.write_all(&batch).and_then(|()| sink.flush());
        batch.clear();
        for done in waiting {
            let _ = done.try_send(());
        }
    }
}

impl Lines {
    fn push(&self, line: Vec<u8>) {
        if let Err(TrySendError::Full(_) | TrySendError::Disconnected(_)) = self.sender.try_send(Item::Line(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            if let Some(counter) = self.counter.get() {
                counter.inc();
            }
        }
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Line<'a>;

    fn make_writer(&'a self) -> Self::Writer {
        Line { lines: self, text: Vec::new() }
    }
}

/// One line on its way.
pub(super) struct Line<'a> {
    lines: &'a Lines,
    text: Vec<u8>,
}

impl Write for Line<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Line<'_> {
    fn drop(&mut self) {
        if !self.text.is_empty() {
            self.lines.push(std::mem::take(&mut self.text));
        }
    }
}

impl LogGuard {
    /// From now on lines that are dropped are counted there too; the first counter stays.
    pub fn count_dropped_in(&self, counter: IntCounter) {
        let _ = self.lines.counter.set(counter);
    }

    /// Waits until what was logged before is written, 2 s at most.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.lines.sender.try_send(Item::Flush(done)).is_ok() {
            let _ = wait.recv_timeout(FLUSH_WAIT);
        }
    }
}

impl Drop for LogGuard {
    fn drop(&mut self) {
        self.flush();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// A sink that writes nothing before its gate opens.
    struct Gated {
        gate: Receiver<()>,
        open: bool,
        written: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Gated {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if !self.open {
                let _ = self.gate.recv();
                self.open = true;
            }
            self.written.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_blocked_sink_drops_lines_and_says_so() {
        let (open, gate) = sync_channel(1);
        let written = Arc::new(Mutex::new(Vec::new()));
        let (lines, guard) = start(Gated { gate, open: false, written: written.clone() }).unwrap();
        let counter = IntCounter::new("dropped", "Dropped lines.").unwrap();
        guard.count_dropped_in(counter.clone());
        for number in 0..3 * ROOM {
            lines.make_writer().write_all(format!("line {number}\n").as_bytes()).unwrap();
        }
        open.send(()).unwrap();
        // Room for the flush itself comes once the thread moves on.
        while lines.sender.try_send(Item::Line(b"last\n".to_vec())).is_err() {
            std::thread::yield_now();
        }
        let (done, wait) = sync_channel(1);
        lines.sender.send(Item::Flush(done)).unwrap();
        wait.recv().unwrap();
        drop(guard);
        let text = String::from_utf8(written.lock().unwrap().clone()).unwrap();
        assert!(text.starts_with("line 0\n"), "{}", &text[..40]);
        assert!(text.contains("log lines were dropped"));
        let kept = text.lines().filter(|line| line.starts_with("line ")).count() as u64;
        assert_eq!(kept + counter.get(), 3 * ROOM as u64, "each line is written or counted");
        assert!(counter.get() > 0);
        assert!(text.contains("last\n"));
    }
}
