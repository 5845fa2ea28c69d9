//! The first start, without any key: no open door.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Stdio;

use super::process::command;
use crate::harness::free_port;

/// Starts, reads what it prints until it listens, asks for the audit with the key it printed, and ends it. → what it printed.
fn start(config: &Path, port: u16) -> (Vec<String>, Option<serde_json::Value>) {
    let mut serve = command(config);
    serve.arg("serve").env("WXGATE__SERVER__LISTEN", format!("127.0.0.1:{port}"));
    let mut child = serve.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        lines.push(line.unwrap());
        if lines.last().unwrap().contains("listens on") {
            break;
        }
    }
    let key = lines.iter().find_map(|line| line.trim().strip_prefix("Authorization: Bearer "));
    let acts = match key {
        Some(key) => {
            let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
            let head = "GET /v1/audit HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\nauthorization: Bearer";
            stream.write_all(format!("{head} {key}\r\n\r\n").as_bytes()).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            let (_, body) = answer.split_once("\r\n\r\n").unwrap();
            Some(serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}")))
        }
        None => None,
    };
    child.kill().unwrap();
    child.wait().unwrap();
    (lines, acts)
}

#[test]
fn a_stranger_is_not_the_first_to_see_a_key() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("my.toml");
    std::fs::write(&config, format!("storage.url = \"sqlite://{}/wxgate.db\"\n", folder.path().display())).unwrap();
    let outside = command(&config).arg("serve").env("WXGATE__SERVER__LISTEN", "0.0.0.0:0").output().unwrap();
    let problem = String::from_utf8_lossy(&outside.stderr);
    assert!(outside.status.code() == Some(2) && problem.contains("can be reached from outside"), "{problem}");
    assert!(!String::from_utf8_lossy(&outside.stdout).contains("wxg_"));

    let port = free_port();
    let (lines, acts) = start(&config, port);
    let acts = acts.unwrap_or_else(|| panic!("no key was printed: {lines:?}"));
    assert_eq!((&acts["data"][0]["action"], &acts["data"][0]["actor"]), (&"key.created".into(), &"gateway".into()));
    let (lines, _) = start(&config, port);
    assert!(!lines.concat().contains("wxg_"), "it is shown once: {lines:?}");
}
