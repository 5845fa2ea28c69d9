//! A redis-server of one test alone, on a private port; it ends with the test.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

pub(crate) struct RedisServer {
    child: Option<Child>,
    pub(crate) port: u16,
    folder: TempDir,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let mut this = Self { child: None, port: free_port(), folder: tempfile::tempdir().unwrap() };
        // A free port may be another's by the time Redis takes it.
        for _ in 0..5 {
            if this.launch() {
                return this;
            }
            this.port = free_port();
        }
        panic!("redis-server does not start: run `redis-server --port 0` by hand to see why");
    }

    /// SIGKILL: whatever it knew is gone.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    /// One command beside the gateway's.
    pub(crate) async fn command(&self, words: &[&str]) -> redis::Value {
        let client = redis::Client::open(format!("redis://127.0.0.1:{}", self.port)).unwrap();
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut client.get_multiplexed_async_connection().await.unwrap()).await.unwrap()
    }

    fn launch(&mut self) -> bool {
        let mut child = Command::new("redis-server")
            .args([
                "--port",
                &self.port.to_string(),
                "--bind",
                "127.0.0.1",
                "--save",
                "",
                "--appendonly",
                "no",
                "--dir",
            ])
            .arg(self.folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need the program redis-server: apt-get install redis-server (or brew install redis)");
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let ready = log.by_ref().lines().map_while(Result::ok).any(|line| line.contains("Ready to accept connections"));
        // Whoever writes to a closed pipe is killed.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        match ready {
            true => self.child = Some(child),
            false => drop(child.wait().unwrap()),
        }
        ready
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        self.stop();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
