//! The program as the shell sees it: environment, exit codes, what is printed where. Each test starts the real binary.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a broken test environment may end the test")]

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// `wxgate` in an empty environment and folder, but for these variables.
fn run(folder: &TempDir, arguments: &[&str], env: &[(&str, &str)]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
    command.args(arguments).env_clear().envs(env.iter().copied()).current_dir(folder.path());
    command.output().unwrap()
}

fn texts(output: &Output) -> (String, String) {
    (String::from_utf8(output.stdout.clone()).unwrap(), String::from_utf8(output.stderr.clone()).unwrap())
}

#[test]
fn a_right_configuration_ends_with_0() {
    let folder = TempDir::new().unwrap();
    let env = [("WXGATE__ACCOUNTS__SHOP__APP_ID", "wx1"), ("WXGATE__ACCOUNTS__SHOP__APP_SECRET", "s3cr3t")];
    let checked = run(&folder, &["config", "check"], &env);
    assert_eq!(checked.status.code(), Some(0));
    assert!(texts(&checked).0.starts_with("ok: 1 account, 0 clients"), "{checked:?}");

    let (shown, _) = texts(&run(&folder, &["config", "show"], &env));
    assert!(shown.contains("app_secret = \"***\"  # environment WXGATE__ACCOUNTS__SHOP__APP_SECRET"), "{shown}");
    assert!(!shown.contains("s3cr3t"), "{shown}");
}

#[test]
fn a_wrong_configuration_ends_with_2_and_every_mistake_on_standard_error() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("my.toml"), "[server]\nlisten = 'x'\n[api]\nwiat = '1s'\n").unwrap();
    let env = [("WXGATE_CONFIG", "my.toml"), ("WXGATE__QUEUE__CONCURRENCY", "none")];
    for arguments in [&["config", "check"][..], &["serve"], &["key", "list"], &["healthcheck"]] {
        let output = run(&folder, arguments, &env);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        let (out, err) = texts(&output);
        assert_eq!(out, "");
        for part in ["3 errors", "server.listen (my.toml:2)", "api.wiat (my.toml:4): unknown key; did you mean `wait`?"]
        {
            assert!(err.contains(part), "{part} in {err}");
        }
        assert!(err.contains("queue.concurrency (environment WXGATE__QUEUE__CONCURRENCY)"), "{err}");
    }
}

#[test]
fn a_secret_comes_from_the_file_that_a_variable_names() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("secret"), "s3cr3t\n").unwrap();
    let env = [("WXGATE__ACCOUNTS__SHOP__APP_ID", "wx1"), ("WXGATE__ACCOUNTS__SHOP__APP_SECRET_FILE", "secret")];
    assert_eq!(run(&folder, &["config", "check"], &env).status.code(), Some(0));
    let missing = [env[0], ("WXGATE__ACCOUNTS__SHOP__APP_SECRET_FILE", "nowhere")];
    let output = run(&folder, &["config", "check"], &missing);
    assert_eq!(output.status.code(), Some(2));
    assert!(texts(&output).1.contains("nowhere cannot be read"), "{output:?}");
}

#[test]
fn wrong_usage_ends_with_2_and_help_with_0() {
    let folder = TempDir::new().unwrap();
    assert_eq!(run(&folder, &["bogus"], &[]).status.code(), Some(2));
    assert_eq!(run(&folder, &[], &[]).status.code(), Some(2));
    assert_eq!(run(&folder, &["send", "--touser", "o1", "--template", "t"], &[]).status.code(), Some(2), "no key");
    assert_eq!(run(&folder, &["--help"], &[]).status.code(), Some(0));
    assert_eq!(run(&folder, &["--version"], &[]).status.code(), Some(0));
}

#[test]
fn a_gateway_that_is_not_there_ends_with_1() {
    let folder = TempDir::new().unwrap();
    let nobody = "http://127.0.0.1:9";
    let health = run(&folder, &["healthcheck", "--url", nobody], &[]);
    assert_eq!(health.status.code(), Some(1));
    let arguments = ["send", "--touser", "o1", "--template", "t", "--server", nobody];
    let send = run(&folder, &arguments, &[("WXGATE_KEY", "wxg_a_b")]);
    assert_eq!(send.status.code(), Some(1));
    assert!(texts(&send).1.contains("is a gateway running there"), "{send:?}");
}

#[test]
fn a_key_is_made_shown_once_listed_and_revoked() {
    let folder = TempDir::new().unwrap();
    let made = run(&folder, &["key", "create", "--client", "crm", "--scopes", "send,read", "--expires", "90d"], &[]);
    assert_eq!(made.status.code(), Some(0), "{made:?}");
    let (text, _) = texts(&made);
    let (id, secret) = text.trim().strip_prefix("wxg_").unwrap().rsplit_once('_').unwrap();
    assert!(id.starts_with("key_") && secret.len() == 64, "{text}");

    let (listed, _) = texts(&run(&folder, &["key", "list", "--json"], &[]));
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    assert_eq!((&listed[0]["id"], &listed[0]["scopes"][1]), (&id.into(), &"read".into()));
    assert!(!listed.to_string().contains(secret));

    assert_eq!(run(&folder, &["key", "revoke", id], &[]).status.code(), Some(0));
    assert_eq!(run(&folder, &["key", "revoke", id], &[]).status.code(), Some(1), "it was revoked before");
    let (table, _) = texts(&run(&folder, &["key", "list"], &[]));
    assert!(table.contains("revoked"), "{table}");
}

#[test]
fn beyond_loopback_the_gateway_wants_a_key_first() {
    let folder = TempDir::new().unwrap();
    let output = run(&folder, &["serve"], &[("WXGATE__SERVER__LISTEN", "0.0.0.0:0")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(texts(&output).1.contains("wxgate key create"), "{output:?}");
}

#[test]
fn where_tokens_are_taken_no_key_is_made_unasked() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
    command.arg("serve").env_clear().current_dir(folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    command.env("WXGATE__SERVER__LISTEN", "0.0.0.0:0").env("WXGATE__AUTH__JWT__ALGORITHM", "HS256");
    command.env("WXGATE__AUTH__JWT__SECRET", "a secret that gateway and provider share");
    let mut gateway = Running(command.spawn().unwrap());
    let mut first = String::new();
    BufReader::new(gateway.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("listens on http://0.0.0.0:"), "{first}");
}

/// Ends the program when the test ends, however it ends.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What one of the printed commands answers, as JSON.
fn shell(command: &str) -> serde_json::Value {
    let output = Command::new("sh").args(["-c", command]).output().unwrap();
    let (out, err) = texts(&output);
    serde_json::from_str(&out).unwrap_or_else(|_| panic!("{command}\nanswered {out} {err}"))
}

/// Needs `curl`, as the reader of the banner does.
#[test]
fn the_three_commands_that_dev_prints_work() {
    let folder = TempDir::new().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_wxgate"));
    command.args(["dev", "--listen", "127.0.0.1:0", "--sandbox-listen", "127.0.0.1:0"]).env_clear();
    command.env("TMPDIR", folder.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut dev = Running(command.spawn().unwrap());
    let lines = BufReader::new(dev.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let banner: Vec<String> = lines.take_while(|line| !line.contains("Ctrl-C")).collect();
    let commands: Vec<String> = banner
        .split(|line| line.is_empty())
        .filter(|block| block.first().is_some_and(|line| line.starts_with("curl ")))
        .map(|block| block.join("\n"))
        .collect();
    assert_eq!(commands.len(), 3, "{banner:#?}");

    let sent = shell(&commands[0]);
    assert_eq!((&sent["state"], &sent["errcode"]), (&"sent".into(), &0.into()), "{sent}");
    let answered = shell(&commands[1]);
    assert!(answered["decrypted_reply"].as_str().unwrap().contains("wxgate"), "{answered}");
    let read = shell(&commands[2]);
    assert_eq!(read["data"][0]["message_id"], sent["message_id"], "{read}");

    kill(Pid::from_raw(i32::try_from(dev.0.id()).unwrap()), Signal::SIGTERM).unwrap();
    assert_eq!(dev.0.wait().unwrap().code(), Some(0));
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "the data is gone");
}
