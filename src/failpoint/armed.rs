//! The point that was asked for, and what happens there. It belongs to the process as a whole: only the command line arms it.

use std::fmt;
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::Point;

const VARIABLE: &str = "WXGATE_FAILPOINT";

static ARMED: OnceLock<Armed> = OnceLock::new();

#[derive(Debug)]
struct Armed {
    point: Point,
    /// Which time it is reached: 1 is the first.
    on: u64,
    seen: AtomicU64,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Kill,
    Panic,
}

impl fmt::Display for Armed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = if self.end == End::Panic { "=panic" } else { "" };
        write!(f, "{}@{}{end}", self.point.as_str(), self.on)
    }
}

/// Reads which point was asked for; the error says what is wrong with it.
pub fn arm_from_environment() -> Result<(), String> {
    let Some(text) = std::env::var_os(VARIABLE) else { return Ok(()) };
    let armed = parse(&text.to_string_lossy())?;
    say(&format!("armed: {armed}"));
    // It is armed once, before anything runs.
    drop(ARMED.set(armed));
    Ok(())
}

/// Dies here, when this is the point that was asked for.
pub fn reach(point: Point) {
    let Some(armed) = ARMED.get().filter(|armed| armed.point == point) else { return };
    if armed.seen.fetch_add(1, Ordering::SeqCst) + 1 == armed.on {
        die(armed);
    }
}

#[expect(clippy::panic, reason = "it was asked for")]
fn die(armed: &Armed) {
    say(&format!("reached: {armed}"));
    match armed.end {
        End::Panic => panic!("failpoint {armed}"),
        End::Kill => {
            let sent = kill(Pid::this(), Signal::SIGKILL);
            // The signal is there before the call returns; should it fail, the test has to see it.
            say(&format!("still alive: {sent:?}"));
        }
    }
}

fn parse(text: &str) -> Result<Armed, String> {
    let (place, end) = match text.split_once('=') {
        None => (text, End::Kill),
        Some((place, "panic")) => (place, End::Panic),
        Some((_, other)) => return Err(format!("{VARIABLE}: {other:?} is unknown; only `=panic` can stand there")),
    };
    let (name, on) = match place.split_once('@') {
        None => (place, Some(1)),
        Some((name, number)) => (name, number.parse().ok().filter(|number| *number > 0)),
    };
    let on = on.ok_or_else(|| format!("{VARIABLE}: after `@` stands a number from 1 on: {text:?}"))?;
    let point = Point::parse(name).ok_or_else(|| {
        let names: Vec<_> = Point::ALL.iter().map(|point| point.as_str()).collect();
        format!("{VARIABLE}: there is no point {name:?}. There are:\n  {}", names.join("\n  "))
    })?;
    Ok(Armed { point, on, seen: AtomicU64::new(0), end })
}

/// To standard error, unbuffered: it has to be there when the process is not.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "failpoint {line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        parse(text).map(|armed| armed.to_string())
    }

    #[test]
    fn a_point_is_named_with_its_count_and_its_end() {
        for (text, read_as) in [
            ("settle.kept", "settle.kept@1"),
            ("settle.kept@7", "settle.kept@7"),
            ("settle.kept@7=panic", "settle.kept@7=panic"),
            ("settle.kept=panic", "settle.kept@1=panic"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(read_as));
        }
    }

    #[test]
    fn what_is_wrong_is_told_with_what_there_is() {
        assert!(read("settle.keep").unwrap_err().contains("\n  settle.kept\n"));
        for wrong in ["", "@1", "settle.kept@0", "settle.kept@", "settle.kept@-1", "settle.kept=abort"] {
            assert!(read(wrong).unwrap_err().starts_with(VARIABLE), "{wrong}");
        }
    }

    #[test]
    fn no_two_points_share_a_name() {
        for point in Point::ALL {
            assert_eq!(Point::parse(point.as_str()), Some(*point));
        }
    }
}
