//! A PostgreSQL server of one test's own, and a way to it that can be broken.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::super::backend::Database;

/// Started by `scripts/private-postgres`, stopped when it is dropped.
pub(super) struct Server {
    folder: TempDir,
    pub(super) url: String,
}

impl Server {
    pub(super) fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        // The server is another user's: it has to get in.
        std::fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let place = folder.path().join("server");
        let url = script("start", &place);
        Self { folder, url }
    }

    /// Stops it as a crash would and starts it again.
    pub(super) fn restart(&self) {
        restart(&self.place());
    }

    pub(super) fn stop(&self) {
        script("stop", &self.place());
    }

    /// The first process of the server, whose children are all the others.
    pub(super) fn pid(&self) -> i32 {
        let text = std::fs::read_to_string(self.place().join("data/postmaster.pid")).unwrap();
        text.lines().next().unwrap().parse().unwrap()
    }

    pub(super) fn place(&self) -> PathBuf {
        self.folder.path().join("server")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

pub(super) fn restart(place: &Path) {
    script("restart", place);
}

fn script(command: &str, folder: &Path) -> String {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/scripts/private-postgres");
    let done = Command::new(script).arg(command).arg(folder).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
    String::from_utf8(done.stdout).unwrap().trim().to_owned()
}

/// A way to the server that can lose what comes back.
pub(super) struct Way {
    port: u16,
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    /// So many answers to COMMIT are still lost, each with its connection.
    loses: AtomicUsize,
    /// Nobody gets through; who is through is cut off.
    is_closed: AtomicBool,
    /// It closes with the next answer that is lost.
    closes: AtomicBool,
    lost: AtomicUsize,
}

impl Way {
    pub(super) async fn to(database: &Database) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (state, server) = (Arc::<State>::default(), database.address());
        let shared = state.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                if shared.is_closed.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(carry(client, server, shared.clone()));
            }
        });
        Self { port, state }
    }

    /// The database by this way. Without TLS: it reads what is said.
    pub(super) fn url(&self, database: &Database) -> String {
        database.url().replace(&database.address(), &format!("127.0.0.1:{}", self.port))
    }

    /// The next so many answers to COMMIT are lost.
    pub(super) fn lose_commits(&self, count: usize) {
        self.state.loses.store(count, Ordering::SeqCst);
    }

    pub(super) fn lost(&self) -> usize {
        self.state.lost.load(Ordering::SeqCst)
    }

    /// The next answer to COMMIT is lost, and nobody gets through from then on.
    pub(super) fn lose_commit_and_close(&self) {
        self.state.closes.store(true, Ordering::SeqCst);
        self.lose_commits(1);
    }

    pub(super) fn open(&self) {
        self.state.closes.store(false, Ordering::SeqCst);
        self.state.is_closed.store(false, Ordering::SeqCst);
    }
}

async fn carry(mut client: TcpStream, mut server: TcpStream, state: Arc<State>) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    while !state.is_closed.load(Ordering::SeqCst) {
        tokio::select! {
            read = client.read(&mut from_client) => match read {
                Ok(count) if count > 0 => {
                    if server.write_all(&from_client[..count]).await.is_err() { return }
                }
                _ => return,
            },
            read = server.read(&mut from_server) => match read {
                Ok(count) if count > 0 => {
                    if loses(&from_server[..count], &state) { return }
                    if client.write_all(&from_server[..count]).await.is_err() { return }
                }
                _ => return,
            },
            // Looks whether the way is closed.
            () = tokio::time::sleep(std::time::Duration::from_millis(20)) => {}
        }
    }
}

fn loses(answer: &[u8], state: &State) -> bool {
    let is_commit = answer.windows(7).any(|word| word == b"COMMIT\0");
    let count = |left: usize| left.checked_sub(1);
    if !is_commit || state.loses.fetch_update(Ordering::SeqCst, Ordering::SeqCst, count).is_err() {
        return false;
    }
    state.lost.fetch_add(1, Ordering::SeqCst);
    if state.closes.load(Ordering::SeqCst) {
        state.is_closed.store(true, Ordering::SeqCst);
    }
    true
}
