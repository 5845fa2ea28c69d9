//! The commands that look for accounts made at run time.

use serde_json::json;

use super::{make, shop};
use crate::binary::process::command;
use crate::harness::{Setup, TestApp};

fn run(app: &TestApp, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = command(&app.folder.path().join("wxgate.toml")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn check_doctor_and_key_know_the_accounts_of_the_store() {
    let app = TestApp::start_with(Setup { bare: true, ..Setup::default() }).await;
    let (_, before, _) = run(&app, &["config", "check"]);
    assert!(!before.contains("in the store"), "{before}");
    let (code, _, problem) = run(&app, &["key", "create", "--client", "crm", "--scopes", "send", "--accounts", "shop"]);
    assert!(code == Some(2) && problem.contains("\"shop\""), "{problem}");

    assert_eq!(make(&app, &shop()).await.status, 201);
    let mut wrong = shop();
    wrong["name"] = json!("wrong");
    wrong["app_id"] = json!("wx00000000000000no");
    assert_eq!(make(&app, &wrong).await.status, 201);
    let (code, check, _) = run(&app, &["config", "check"]);
    assert_eq!(code, Some(0));
    assert!(check.starts_with("ok: 0 accounts") && check.trim_end().ends_with("in the store: 2 accounts"), "{check}");
    assert_eq!(run(&app, &["key", "create", "--client", "crm", "--scopes", "send", "--accounts", "shop"]).0, Some(0));
    let (_, doctor, _) = run(&app, &["doctor", "--json"]);
    let doctor: serde_json::Value = serde_json::from_str(&doctor).unwrap();
    let status = |name: &str| {
        let checks = doctor["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).map(|check| check["status"].clone())
    };
    assert_eq!(
        (status("token of shop"), status("token of wrong")),
        (Some(json!("ok")), Some(json!("failed"))),
        "{doctor}"
    );
}

#[tokio::test]
async fn looking_makes_neither_a_store_nor_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("my.toml");
    std::fs::write(&config, format!("storage.url = \"sqlite://{}/wxgate.db\"\n", folder.path().display())).unwrap();
    assert!(command(&config).args(["config", "check"]).output().unwrap().status.success());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
}
