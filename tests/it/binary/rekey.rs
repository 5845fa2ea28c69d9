//! `wxgate secrets rekey`: another `secrets.key` for everything that is sealed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::json;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::Clock;

use super::process::command;
use crate::harness::sign::{self, Signed, SigningKey};
use crate::harness::{AES_KEY, CALLBACK_TOKEN, Setup, TestApp, World};
use crate::store::backend::Database;

const NEW_KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";
const THIRD_KEY: &str = "AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI=";

/// A gateway that has sealed something of every kind.
async fn sealed(setup: Setup) -> (TestApp, SigningKey) {
    let app = TestApp::start_with(Setup { bare: true, ..setup }).await;
    let account = json!({
        "name": "shop", "app_id": "wx0000000000000demo", "app_secret": "demo-secret", "token": CALLBACK_TOKEN,
        "encoding_aes_key": AES_KEY,
    });
    assert_eq!(app.post("/v1/accounts").json(&account).send().await.status, 201);
    let key = app.make_signing_key("crm", &[Scope::Read], None).await;
    assert_eq!(app.send("sim-ok").await.status, 200);
    works(&app, &key).await;
    (app, key)
}

async fn works(app: &TestApp, key: &SigningKey) {
    assert_eq!(app.send("sim-ok").await.status, 200);
    assert_eq!(app.sandbox.token_calls().normal, 1, "the kept token is used");
    let timestamp = app.clock.now().as_seconds();
    let target = "/v1/messages";
    let headers = key.headers(&Signed { timestamp, nonce: sign::nonce(), method: "GET", target, body: "" });
    let request = headers
        .iter()
        .fold(app.anonymous(reqwest::Method::GET, target), |request, (name, value)| request.header(name, value));
    assert_eq!(request.send().await.status, 200);
}

/// → exit code (none: killed), standard output, standard error.
fn rekey(folder: &Path, new_key: &str, failpoint: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let file = folder.join("new.key");
    std::fs::write(&file, format!("{new_key}\n")).unwrap();
    let mut command = command(&folder.join("wxgate.toml"));
    command.args(["secrets", "rekey", "--new-key-file"]).arg(&file).args(more);
    if !failpoint.is_empty() {
        command.env("WXGATE_FAILPOINT", failpoint);
    }
    let output = command.output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

fn key_file(folder: &Path) -> PathBuf {
    folder.join("wxgate.db.key")
}

async fn again(folder: Arc<tempfile::TempDir>, world: World, key: &SigningKey) -> TestApp {
    let setup = Setup { bare: true, folder: Some(folder), world: Some(world), ..Setup::default() };
    let app = TestApp::start_with(setup).await;
    works(&app, key).await;
    app
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_sealed_opens_under_the_new_key_and_not_under_the_old() {
    let (app, key) = sealed(Setup::default()).await;
    let (code, _, problem) = rekey(app.folder.path(), NEW_KEY, "", &[]);
    assert!(code == Some(1) && problem.contains("is served by another wxgate process"), "{problem}");
    let (folder, world) = app.stop().await;
    let old = std::fs::read_to_string(key_file(folder.path())).unwrap();
    let (code, _, problem) = rekey(folder.path(), &old, "", &[]);
    assert!(code == Some(2) && problem.contains("is the present one"), "{problem}");
    let (code, _, problem) = rekey(folder.path(), "short", "", &[]);
    assert!(code == Some(2) && problem.contains("32 bytes in base64"), "{problem}");

    let (code, told, problem) = rekey(folder.path(), NEW_KEY, "", &[]);
    assert_eq!(code, Some(0), "{problem}");
    for line in
        ["tokens: 1 sealed", "keys: 1 sealed", "accounts: 3 sealed", "5 secrets are sealed under the new key", "mv "]
    {
        assert!(told.contains(line), "{line}: {told}");
    }
    let (code, told, _) = rekey(folder.path(), NEW_KEY, "", &[]);
    assert!(code == Some(0) && told.contains("5 were under the new key already"), "{told}");

    // Under the old key nothing opens.
    let setup = Setup { bare: true, folder: Some(folder), world: Some(world), ..Setup::default() };
    let app = TestApp::start_with(setup).await;
    let view = app.get("/v1/accounts/shop").send().await;
    assert!(view.field("problem").contains("another secrets.key"), "{}", view.text);
    let (folder, world) = app.stop().await;
    std::fs::rename(folder.path().join("new.key"), key_file(folder.path())).unwrap();
    again(folder, world, &key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_it_is_killed_everything_is_under_one_key() {
    let (app, key) = sealed(Setup::default()).await;
    let (folder, world) = app.stop().await;
    let (code, told, _) = rekey(folder.path(), NEW_KEY, "commit.before", &[]);
    assert_eq!(code, None, "{told}");
    let (folder, world) = again(folder, world, &key).await.stop().await;

    let (code, told, _) = rekey(folder.path(), NEW_KEY, "commit.after", &[]);
    assert_eq!(code, None, "{told}");
    std::fs::rename(folder.path().join("new.key"), key_file(folder.path())).unwrap();
    again(folder, world, &key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_the_wrong_present_key_nothing_is_changed() {
    let (app, key) = sealed(Setup::default()).await;
    let (folder, world) = app.stop().await;
    let right = std::fs::read_to_string(key_file(folder.path())).unwrap();
    std::fs::write(key_file(folder.path()), THIRD_KEY).unwrap();
    let (code, _, problem) = rekey(folder.path(), NEW_KEY, "", &[]);
    assert_eq!(code, Some(1));
    assert!(problem.contains("accounts shop.app_secret") && problem.contains("nothing was changed"), "{problem}");
    std::fs::write(key_file(folder.path()), right).unwrap();
    again(folder, world, &key).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_postgresql_it_waits_for_every_node_to_be_stopped() {
    let database = Database::create().await;
    let (app, key) = sealed(Setup { storage: Some(database.toml()), ..Setup::default() }).await;
    let (code, _, problem) = rekey(app.folder.path(), NEW_KEY, "", &[]);
    assert!(code == Some(1) && problem.contains("is served by 1 wxgate process"), "{problem}");
    let (folder, world) = app.stop().await;
    let (code, told, problem) = rekey(folder.path(), NEW_KEY, "", &[]);
    assert!(code == Some(0) && told.contains("5 secrets are sealed under the new key"), "{told} {problem}");
    let storage = format!("storage.url = \"{}\"\nsecrets.key = \"{NEW_KEY}\"", database.url());
    let setup = Setup { storage: Some(storage), bare: true, world: Some(world), ..Setup::default() };
    works(&TestApp::start_with(setup).await, &key).await;
}
