//! The command line: one file a command. Exit codes: 0, 1 a fault at run time, 2 wrong usage or configuration.

mod actor;
mod config;
mod dev;
mod doctor;
mod exit;
mod handles;
mod healthcheck;
mod key;
mod listen;
mod migrate;
mod openapi;
mod out;
mod restore_check;
mod sandbox;
mod secrets;
mod send;
mod serve;
mod signals;
mod stored_accounts;

use std::future::Future;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, Subcommand};

use self::exit::Failure;
use crate::config::Config;
use crate::failpoint;

const ABOUT: &str = "wxgate is one program between your systems and WeChat: they POST JSON to it, it sends template \
messages, takes the callbacks, and alone holds the AppSecret and the access_token.";

const START: &str = "\x1b[1mFirst steps:\x1b[0m
  wxgate dev                            try everything against a model of WeChat
  wxgate config check --config my.toml  is my configuration right?
  wxgate doctor --config my.toml        does it work with WeChat, from this machine?
  wxgate serve --config my.toml         serve

Every setting: `wxgate config default`. Settings also come from the environment: WXGATE__SERVER__LISTEN=0.0.0.0:8080.
Exit codes: 0 done; 1 a fault at run time; 2 wrong usage or configuration.";

#[derive(Parser)]
#[command(name = "wxgate", version, about = "A standalone WeChat push gateway", long_about = ABOUT, after_help = START)]
struct Cli {
    /// The configuration file (TOML); otherwise the one that WXGATE_CONFIG names; otherwise the defaults
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Serve(serve::Serve),
    Dev(dev::Dev),
    Sandbox(sandbox::SandboxCommand),
    Send(send::Send),
    Key(key::KeyCommand),
    Config(config::ConfigCommand),
    Doctor(doctor::Doctor),
    Migrate(migrate::Migrate),
    RestoreCheck(restore_check::RestoreCheck),
    Secrets(secrets::SecretsCommand),
    Healthcheck(healthcheck::Healthcheck),
    Openapi(openapi::Openapi),
}

/// Parses the command line, runs the command and says how it ended: 0, 1 runtime, 2 usage or configuration.
pub fn main() -> ExitCode {
    if let Err(problem) = failpoint::arm_from_environment() {
        return exit::report(Err(Failure::Usage(problem)));
    }
    match Cli::try_parse() {
        Ok(cli) => exit::report(run(cli)),
        Err(error) => {
            // Help and version come this way too; clap knows which of them is no mistake.
            let _ = error.print();
            if error.use_stderr() { ExitCode::from(2) } else { ExitCode::SUCCESS }
        }
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let file = cli.config.as_deref();
    match cli.command {
        Command::Serve(command) => block_on(command.run(load(file)?)),
        Command::Dev(command) => block_on(command.run()),
        Command::Sandbox(command) => block_on(command.run()),
        Command::Send(command) => block_on(command.run()),
        Command::Key(command) => block_on(command.run(load(file)?)),
        Command::Config(command) => block_on(command.run(file)),
        Command::Doctor(command) => block_on(command.run(load(file))),
        Command::RestoreCheck(command) => block_on(command.run(load(file)?)),
        Command::Secrets(command) => block_on(command.run(load(file)?)),
        Command::Migrate(command) => block_on(command.run(load(file)?)),
        Command::Healthcheck(command) => block_on(command.run(file)),
        Command::Openapi(command) => command.run(),
    }
}

/// The settings: defaults, then the file, then the environment.
fn load(file: Option<&Path>) -> Result<Config, crate::config::ConfigErrors> {
    // A variable that is not UTF-8 cannot be one of ours.
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Config::load(file, env)
}

fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    runtime().context("the threads cannot be started")?.block_on(command)
}

/// SQLite's writer is a thread of its own. On two processors one for everything else costs least: no task wanders between
/// two, none has to be woken on the other (docs/performance.md).
fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    let processors = std::thread::available_parallelism().map_or(1, NonZero::get);
    let mut builder = match processors {
        1 | 2 => tokio::runtime::Builder::new_current_thread(),
        _ => tokio::runtime::Builder::new_multi_thread(),
    };
    builder.enable_all().build()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_fits_together() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_teaches_with_an_example() {
        for command in Cli::command().get_subcommands_mut() {
            let help = command.render_long_help().to_string();
            assert!(help.contains("Example"), "{}", command.get_name());
        }
    }
}
