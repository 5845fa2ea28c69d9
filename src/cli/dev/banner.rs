//! What `wxgate dev` says when all is up: addresses, and three commands that work in any POSIX shell.

use std::fmt;
use std::net::SocketAddr;

pub(super) struct Banner {
    pub(super) gateway: SocketAddr,
    pub(super) sandbox: SocketAddr,
    pub(super) key: String,
    /// `None`: the data goes when the program ends.
    pub(super) kept_in: Option<String>,
}

impl fmt::Display for Banner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { gateway, sandbox, key, kept_in } = self;
        let [send, write, read] = self.commands();
        let data = kept_in.as_deref().unwrap_or("a temporary folder, deleted at the end");
        write!(
            f,
            "
wxgate {version} is running, with a model of WeChat beside it. Nothing leaves this machine.

  gateway   http://{gateway}          documentation: http://{gateway}/docs
  sandbox   http://{sandbox}          the followers' phones: http://{sandbox}/sandbox
  key       {key}
  data      {data}

For the examples of the documentation:

export WXGATE_URL=http://{gateway} SANDBOX_URL=http://{sandbox} WXGATE_KEY={key}

Copy these into another terminal:

1. Send a template message. The answer says what WeChat said; a moment later the receipt makes it `delivered`.

{send}

2. A follower writes \"hello\" to the account. The gateway checks, opens and stores the callback, and replies.

{write}

3. Read back what became of the message.

{read}

Other recipients to try: sim-user-block, sim-not-subscribed, sim-busy, sim-slow-8s, sim-quota. Ctrl-C ends it.
",
            version = env!("CARGO_PKG_VERSION"),
        )
    }
}

impl Banner {
    /// Send, be written to, read back.
    pub(super) fn commands(&self) -> [String; 3] {
        let Self { gateway, sandbox, key, .. } = self;
        [
            format!(
                "curl -sS http://{gateway}/send-template \\\n  -H 'Authorization: Bearer {key}' \\\n  \
                 -H 'Content-Type: application/json' \\\n  \
                 -d '{{\"touser\":\"sim-ok\",\"template_id\":\"order_paid\",\"data\":{{\"thing1\":\"精选咖啡豆\",\
                 \"amount2\":\"¥68.00\",\"character_string3\":\"NO202601310001\",\"time4\":\"2026-01-31 08:00:00\"}}}}'"
            ),
            format!(
                "curl -sS http://{sandbox}/sandbox/callbacks \\\n  -H 'Content-Type: application/json' \\\n  \
                 -d '{{\"type\":\"text\",\"content\":\"hello\",\"openid\":\"demo-follower\"}}'"
            ),
            format!("curl -sS 'http://{gateway}/v1/messages?limit=1' \\\n  -H 'Authorization: Bearer {key}'"),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_plain_shell_with_json_in_quotes() {
        let banner = Banner {
            gateway: ([127, 0, 0, 1], 8080).into(),
            sandbox: ([127, 0, 0, 1], 8081).into(),
            key: "wxg_dev_0".to_owned(),
            kept_in: None,
        };
        for command in banner.commands() {
            assert_eq!(command.matches('\'').count() % 2, 0, "{command}");
            if let Some((_, rest)) = command.split_once("-d '") {
                let json = rest.strip_suffix('\'').unwrap();
                serde_json::from_str::<serde_json::Value>(json).unwrap();
            }
            assert!(banner.to_string().contains(&command));
        }
    }
}
