//! A redis-server of one place alone; it ends with it.

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};

pub(crate) struct Redis {
    child: Child,
    port: u16,
}

impl Redis {
    pub(crate) fn start() -> Self {
        // A free port may be another's by the time Redis takes it.
        for _ in 0..5 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let mut child = Command::new("redis-server")
                .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
                .stdout(Stdio::piped())
                .spawn()
                .expect("redis-server is needed: apt-get install redis-server (or brew install redis)");
            let log = BufReader::new(child.stdout.take().unwrap());
            if log.lines().map_while(Result::ok).any(|line| line.contains("Ready to accept connections")) {
                return Self { child, port };
            }
            child.wait().unwrap();
        }
        panic!("redis-server does not start: run `redis-server --port 0` by hand to see why");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
