//! A redis-server of one test alone, on a private port; it ends with the test.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

pub(crate) struct RedisServer {
    child: Option<Child>,
    pub(crate) port: u16,
    password: String,
    folder: TempDir,
}

impl RedisServer {
    pub(crate) fn start() -> Self {
        let mut this = Self::absent();
        // A free port may be another's by the time Redis takes it.
        for _ in 0..5 {
            if this.launch(&[]) {
                return this;
            }
            this.port = free_port();
        }
        panic!("redis-server does not start: run `redis-server --port 0` by hand to see why");
    }

    /// A port and a folder, where nothing runs yet.
    pub(crate) fn absent() -> Self {
        Self { child: None, port: free_port(), password: String::new(), folder: tempfile::tempdir().unwrap() }
    }

    /// SIGKILL: whatever it knew is gone.
    pub(crate) fn stop(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn restart(&mut self) {
        self.stop();
        assert!(self.launch(&[]), "the port is still ours");
    }

    /// Saves `keys` keys, and starts again so that loading them takes `micros` each: it answers LOADING meanwhile.
    pub(crate) async fn restart_loading(&mut self, keys: u32, micros: u32) {
        self.command(&["DEBUG", "POPULATE", &keys.to_string()]).await;
        self.command(&["SAVE"]).await;
        self.stop();
        let micros = micros.to_string();
        let options = ["--key-load-delay", &micros, "--loading-process-events-interval-bytes", "1024"];
        assert!(self.launch_until("Loading RDB", &options), "the port is still ours");
    }

    pub(crate) async fn until_loaded(&self) {
        while self.info("persistence").await.contains("loading:1") {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The process sleeps: connections stay, nothing answers.
    pub(crate) fn freeze(&self) {
        self.signal(Signal::SIGSTOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(Signal::SIGCONT);
    }

    /// Who connects from now on needs it; empty: nobody does.
    pub(crate) async fn set_password(&mut self, password: &str) {
        self.command(&["CONFIG", "SET", "requirepass", password]).await;
        password.clone_into(&mut self.password);
    }

    /// A connection beside the gateway's.
    pub(crate) async fn raw(&self) -> redis::aio::MultiplexedConnection {
        let credentials = if self.password.is_empty() { String::new() } else { format!(":{}@", self.password) };
        let client = redis::Client::open(format!("redis://{credentials}127.0.0.1:{}", self.port)).unwrap();
        client.get_multiplexed_async_connection().await.unwrap()
    }

    /// One command beside the gateway's.
    pub(crate) async fn command(&self, words: &[&str]) -> redis::Value {
        let mut command = redis::Cmd::new();
        for word in words {
            command.arg(*word);
        }
        command.query_async(&mut self.raw().await).await.unwrap()
    }

    /// How often it was asked to do this, scripts' own calls included.
    pub(crate) async fn calls_of(&self, command: &str) -> u64 {
        let line = format!("cmdstat_{command}:calls=");
        let stats = self.info("commandstats").await;
        let found = stats.lines().find_map(|found| found.strip_prefix(&line)?.split(',').next());
        found.map_or(0, |calls| calls.parse().unwrap())
    }

    async fn info(&self, section: &str) -> String {
        redis::cmd("INFO").arg(section).query_async(&mut self.raw().await).await.unwrap()
    }

    /// From now on it keeps every request.
    pub(crate) async fn listen_in(&self) {
        self.command(&["CONFIG", "SET", "slowlog-max-len", "100000"]).await;
        self.command(&["CONFIG", "SET", "slowlog-log-slower-than", "0"]).await;
        self.command(&["SLOWLOG", "RESET"]).await;
    }

    /// What gateways asked since, oldest first; the looks whether it is there are left out.
    pub(crate) async fn heard(&self) -> Vec<String> {
        let lines: Vec<redis::Value> =
            redis::cmd("SLOWLOG").arg("GET").arg(-1).query_async(&mut self.raw().await).await.unwrap();
        let words = |line: redis::Value| -> String {
            let parts: Vec<redis::Value> = redis::from_redis_value(line).unwrap();
            redis::from_redis_value::<Vec<String>>(parts[3].clone()).unwrap().join(" ")
        };
        let ours = |line: &String| {
            let of_a_test = ["SLOWLOG", "CLIENT", "CONFIG", "KEYS", "INFO"].iter().any(|word| line.starts_with(word));
            !of_a_test && !line.contains("wxgate:probe")
        };
        let mut heard: Vec<String> = lines.into_iter().map(words).filter(ours).collect();
        heard.reverse();
        heard
    }

    fn launch(&mut self, options: &[&str]) -> bool {
        self.launch_until("Ready to accept connections", options)
    }

    /// Returns when the log says `word`; `false` when it ended before.
    fn launch_until(&mut self, word: &str, options: &[&str]) -> bool {
        let mut child = Command::new("redis-server")
            .args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"])
            .args(["--enable-debug-command", "yes", "--dir"])
            .arg(self.folder.path())
            .args(options)
            .stdout(Stdio::piped())
            .spawn()
            .expect("these tests need the program redis-server: apt-get install redis-server (or brew install redis)");
        let mut log = BufReader::new(child.stdout.take().unwrap());
        let ready = log.by_ref().lines().map_while(Result::ok).any(|line| line.contains(word));
        // Whoever writes to a closed pipe is killed.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        match ready {
            true => self.child = Some(child),
            false => drop(child.wait().unwrap()),
        }
        ready
    }

    fn signal(&self, signal: Signal) {
        let child = self.child.as_ref().expect("it runs");
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
    }
}

impl Drop for RedisServer {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            drop(child.kill());
            drop(child.wait());
        }
    }
}

/// Not one of those that the system gives to outgoing connections: another test would soon have it again.
pub(crate) fn free_port() -> u16 {
    let mut ports = std::iter::repeat_with(|| rand::random_range(10_000..32_000));
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).expect("a port")
}
