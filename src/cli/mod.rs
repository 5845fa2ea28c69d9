//! The command line.

/// Parses the command line, runs the command and says how it ended: 0, 1 runtime, 2 usage or configuration.
pub fn main() -> std::process::ExitCode {
    todo!()
}
