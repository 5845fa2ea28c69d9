//! Every message and event type, in every mode, as XML and as JSON: kept and acknowledged.

use std::path::{Path, PathBuf};

use wxgate::domain::account::CallbackMode;
use wxgate::sandbox::CallbackRequest;

use crate::harness::{Setup, TestApp};

const FIXTURES: &str = "tests/fixtures/wechat";
/// Above 2^53, on purpose.
const SAMPLE_MSG_ID: &str = "31007199254740993";

async fn every_type_is_kept(mode: &'static str, callback_mode: CallbackMode, format: &str) {
    let app = TestApp::start_with(Setup { mode, ..Setup::default() }).await;
    let mut kinds = Vec::new();
    for (number, path) in fixtures(format).into_iter().enumerate() {
        // The samples share one MsgId, which WeChat never gives twice.
        let body = std::fs::read_to_string(&path).unwrap().replace(SAMPLE_MSG_ID, &format!("{}", 9_000_000 + number));
        let request = CallbackRequest::raw(&body).mode(callback_mode).format(format);
        let result = app.sandbox.send_callback(request).await.unwrap();
        assert_eq!(result.status, 200, "{}: {result:?}", path.display());
        assert!(result.accepted, "{}: {result:?}", path.display());
        kinds.push(path.file_stem().unwrap().to_str().unwrap().to_owned());
    }
    assert!(kinds.len() > 40, "{kinds:?}");
    kinds.sort();
    assert_eq!(kept_kinds(&app.database()), kinds);
}

#[tokio::test]
async fn in_plain_mode_as_xml() {
    every_type_is_kept("plain", CallbackMode::Plain, "xml").await;
}

#[tokio::test]
async fn in_plain_mode_as_json() {
    every_type_is_kept("plain", CallbackMode::Plain, "json").await;
}

#[tokio::test]
async fn in_compatible_mode_as_xml() {
    every_type_is_kept("compatible", CallbackMode::Compatible, "xml").await;
}

#[tokio::test]
async fn in_compatible_mode_as_json() {
    every_type_is_kept("compatible", CallbackMode::Compatible, "json").await;
}

#[tokio::test]
async fn in_safe_mode_as_xml() {
    every_type_is_kept("safe", CallbackMode::Safe, "xml").await;
}

#[tokio::test]
async fn in_safe_mode_as_json() {
    every_type_is_kept("safe", CallbackMode::Safe, "json").await;
}

fn fixtures(format: &str) -> Vec<PathBuf> {
    let all = std::fs::read_dir(FIXTURES).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<_> = all.filter(|path| path.extension().is_some_and(|end| end == format)).collect();
    found.sort();
    found
}

/// The kinds on disk, looked up past the gateway.
fn kept_kinds(database: &Path) -> Vec<String> {
    let conn = rusqlite::Connection::open(database).unwrap();
    let mut select = conn.prepare("SELECT kind FROM callbacks ORDER BY kind").unwrap();
    select.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}
