//! What the commands print. A reader that has gone away (`| head`) is no error.

use std::fmt::Display;
use std::io::{self, Write};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

/// How long a line on standard error may take.
const PATIENCE: Duration = Duration::from_secs(1);

/// One line on standard output.
pub(super) fn say(line: impl Display) -> io::Result<()> {
    let mut out = io::stdout().lock();
    forgive(writeln!(out, "{line}").and_then(|()| out.flush()))
}

/// One line on standard error. Nobody could be told if that failed; and a pipe that nobody reads must not hold up the end
/// of the process, so it is waited for a moment only.
pub(super) fn complain(line: impl Display) {
    let line = line.to_string();
    let (done, written) = sync_channel(1);
    let writer = std::thread::Builder::new().spawn(move || {
        let _ = writeln!(io::stderr().lock(), "{line}");
        let _ = done.try_send(());
    });
    if writer.is_ok() {
        let _ = written.recv_timeout(PATIENCE);
    }
}

fn forgive(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        other => other,
    }
}

/// Lines in columns: each as wide as its widest cell, two blanks between.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..count).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["id", "client"], ["key_1", "订单"]].map(|row| row.map(str::to_owned).to_vec());
        assert_eq!(columns(&rows), "id     client\nkey_1  订单");
        assert_eq!(columns(&[]), "");
    }
}
