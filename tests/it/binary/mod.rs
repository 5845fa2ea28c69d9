//! The real program, started and killed as an operator does; the sandbox in this process is its WeChat.

mod crash;
mod logs;
mod shutdown;

use crate::support::process::{Caller, Place, Program, until};

impl Place {
    /// Starts the program and waits until it answers.
    pub(crate) async fn start(&self) -> Program {
        let program = self.spawn(&[]);
        until("the program answers", async || program.answers("/health").await).await;
        program
    }
}

impl Caller {
    pub(crate) async fn get(&self, path: &str) -> serde_json::Value {
        self.request(reqwest::Method::GET, path).send().await.unwrap().json().await.unwrap()
    }
}
