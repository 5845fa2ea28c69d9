//! The commands, with a PostgreSQL database as the store.

use std::path::Path;
use std::process::Output;

use super::process::{Place, command, until};
use crate::store::backend::Database;

fn run(config: &Path, arguments: &[&str]) -> (bool, String) {
    let Output { status, stdout, stderr } = command(config).args(arguments).output().unwrap();
    let text = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(!text.contains("s3cr3t"), "{text}");
    (status.success(), text)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_command_works_on_postgresql() {
    let database = Database::create().await;
    // The server trusts everybody; the password is there to be hidden.
    let storage = database.toml().replace("postgres://wxgate@", "postgres://wxgate:s3cr3t@");
    let place = Place::prepare_in(&storage, "").await;
    let config = place.config();
    let shown = database.url().replace("postgres://wxgate@", "postgres://wxgate:***@");

    let (ok, text) = run(&config, &["config", "check"]);
    assert!(ok && text.contains(&format!("store in {shown}")), "{text}");
    let (ok, text) = run(&config, &["config", "show"]);
    assert!(ok && text.contains(&shown), "{text}");
    let (ok, text) = run(&config, &["doctor"]);
    assert!(ok && text.contains("storage: PostgreSQL ") && text.contains("will be made"), "{text}");
    let (ok, text) = run(&config, &["migrate"]);
    assert!(ok && text.contains("from schema 0 to"), "{text}");
    let (ok, text) = run(&config, &["migrate"]);
    assert!(ok && text.contains("up to date"), "{text}");
    let (ok, text) = run(&config, &["doctor"]);
    assert!(ok && text.contains("tables are up to date"), "{text}");

    let program = place.start().await;
    let (ok, text) = run(&config, &["key", "create", "--client", "late", "--scopes", "read"]);
    assert!(ok, "{text}");
    let key = text.lines().find(|line| line.starts_with("wxg_")).unwrap().to_owned();
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let works = async || {
        http.get(format!("{}/v1/messages", program.url)).bearer_auth(&key).send().await.unwrap().status() == 200
    };
    until("the running gateway knows the key", works).await;
    let (ok, text) = run(&config, &["key", "list"]);
    assert!(ok && text.contains("late"), "{text}");
    let id = key.strip_prefix("wxg_").unwrap().rsplit_once('_').unwrap().0.to_owned();
    let (ok, text) = run(&config, &["key", "revoke", &id]);
    assert!(ok, "{text}");
    until("the key works no more", async || !works().await).await;
    program.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(program.ended().await, Some(0));
    let log = std::fs::read_to_string(place.log()).unwrap();
    assert!(!log.contains("s3cr3t") && !log.contains("\"level\":\"ERROR\""), "{log}");
    assert!(database.column::<String>("SELECT boot FROM nodes").await.is_empty(), "it has signed off");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_told_with_what_to_do() {
    let key = "secrets.key = \"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"";
    let place = Place::prepare_in(&format!("storage.url = \"postgres://wx:s3cr3t@127.0.0.1:1/d\"\n{key}"), "").await;
    for arguments in [["doctor"].as_slice(), &["migrate"], &["key", "list"], &["serve"]] {
        let (ok, text) = run(&place.config(), arguments);
        assert!(!ok && text.contains("check host and port in storage.url"), "{arguments:?}: {text}");
    }
    let place = Place::prepare_in("storage.url = \"postgres://wx:s3cr3t@127.0.0.1:1/d\"", "").await;
    let (ok, text) = run(&place.config(), &["config", "check"]);
    assert!(!ok && text.contains("secrets.key") && text.contains("openssl rand -base64 32"), "{text}");
}
