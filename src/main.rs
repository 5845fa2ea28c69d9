//! Hands over to the command line.

fn main() -> std::process::ExitCode {
    wxgate::cli::main()
}
