//! `wxgate send`: a client of a running gateway.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, anyhow};
use clap::Args;
use reqwest::StatusCode;
use serde_json::{Map, Value, json};

use super::exit::Failure;
use super::healthcheck::{client, describe};
use super::out::{complain, say};

/// Longer than a gateway may wait for WeChat (api.wait).
const LIMIT: Duration = Duration::from_secs(45);

/// Send a template message through a running gateway and print its answer
///
/// Exit code 0 when the gateway has taken the message (200: WeChat has accepted it; 202: it is under way), otherwise 1.
#[derive(Args)]
#[command(after_help = "Examples:\n  export WXGATE_KEY=wxg_...\n  \
    wxgate send --touser oABC... --template order_paid --data thing1=Coffee --data amount2=¥68.00\n  \
    wxgate send --account shop --touser oABC... --template TPL... --data thing1=Hi --async --server https://push.example.com")]
pub(super) struct Send {
    /// Who gets it: an openid of the account
    #[arg(long, value_name = "OPENID")]
    touser: String,
    /// WeChat's template id, or a short name from the configuration
    #[arg(long, value_name = "ID")]
    template: String,
    /// A field of the template; give it once for each
    #[arg(long, value_name = "KEY=VALUE", value_parser = pair)]
    data: Vec<(String, String)>,
    /// Where a tap on the message leads
    #[arg(long)]
    url: Option<String>,
    /// The account, when the key may use several
    #[arg(long)]
    account: Option<String>,
    /// Do not wait for WeChat's answer
    #[arg(long = "async")]
    is_async: bool,
    /// Your own id of this message (32 characters at most): WeChat takes it once only
    #[arg(long, value_name = "ID")]
    client_msg_id: Option<String>,
    /// The same key and message give the first answer again instead of a second message
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// The gateway
    #[arg(long, value_name = "URL", env = "WXGATE_SERVER", default_value = "http://127.0.0.1:8080")]
    server: String,
    /// Your key, wxg_…; better in WXGATE_KEY or a file, where other users of the machine do not see it
    #[arg(long, env = "WXGATE_KEY", hide_env_values = true)]
    key: Option<String>,
    /// A file that holds the key; wins over WXGATE_KEY
    #[arg(long, value_name = "FILE")]
    key_file: Option<PathBuf>,
}

impl Send {
    pub(super) async fn run(self) -> Result<(), Failure> {
        let key = self.read_key()?;
        let server = self.server.trim_end_matches('/');
        let mut request = client(LIMIT)?.post(format!("{server}/send-template")).bearer_auth(key).json(&self.body());
        if let Some(idempotency_key) = &self.idempotency_key {
            request = request.header("Idempotency-Key", idempotency_key);
        }
        let response = request.send().await.map_err(|error| cannot_reach(server, &error))?;
        let status = response.status();
        let answer = response.text().await.map_err(|error| anyhow!("{server}: {}", describe(&error)))?;
        say(pretty(&answer))?;
        if status.is_success() {
            return Ok(());
        }
        complain(format!("not sent: {status}{}", hint(status)));
        Err(Failure::Told)
    }

    fn read_key(&self) -> Result<String, Failure> {
        let key = match (&self.key, &self.key_file) {
            (_, Some(file)) => {
                std::fs::read_to_string(file).with_context(|| format!("{} cannot be read", file.display()))?
            }
            (Some(key), None) => key.clone(),
            (None, None) => {
                let problem = "no key: set WXGATE_KEY, or give --key-file or --key (wxgate key create makes one)";
                return Err(Failure::Usage(problem.to_owned()));
            }
        };
        let key = key.trim();
        if !key.starts_with("wxg_") || key.contains(|c: char| !c.is_ascii_graphic()) {
            return Err(Failure::Usage("this is no key: it has to look like wxg_<id>_<64 hex digits>".to_owned()));
        }
        Ok(key.to_owned())
    }

    fn body(&self) -> Value {
        let data: Map<String, Value> =
            self.data.iter().map(|(key, value)| (key.clone(), Value::String(value.clone()))).collect();
        let mut body = json!({ "touser": self.touser, "template_id": self.template, "data": data });
        for (name, value) in [("url", &self.url), ("account", &self.account), ("client_msg_id", &self.client_msg_id)] {
            if let Some(value) = value {
                body[name] = json!(value);
            }
        }
        if self.is_async {
            body["async"] = json!(true);
        }
        body
    }
}

fn cannot_reach(server: &str, error: &reqwest::Error) -> anyhow::Error {
    if error.is_builder() {
        return anyhow!("{server} is not a URL; write --server http://127.0.0.1:8080");
    }
    let cure = match error.is_connect() {
        true => "is a gateway running there (wxgate serve)? Choose another one with --server or WXGATE_SERVER",
        false => "whether the message was taken is not known: send it again with the same --idempotency-key",
    };
    anyhow!("{server}: {}; {cure}", describe(error))
}

fn hint(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "; the key is not known here, has expired or was revoked",
        StatusCode::FORBIDDEN => "; the key lacks the scope `send`, or may not use this account or template",
        StatusCode::NOT_FOUND => "; is --server a wxgate?",
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => "; try again in a moment",
        _ => "",
    }
}

/// JSON with line breaks; anything else as it is.
fn pretty(answer: &str) -> String {
    serde_json::from_str::<Value>(answer).map_or_else(|_| answer.trim_end().to_owned(), |value| format!("{value:#}"))
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE, such as thing1=Coffee".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::super::{Cli, Command};
    use super::*;

    fn parse(more: &[&str]) -> Send {
        let line = ["wxgate", "send", "--touser", "o1", "--template", "order_paid", "--key", "wxg_a_b"];
        match Cli::try_parse_from(line.iter().chain(more)).unwrap().command {
            Command::Send(send) => send,
            _ => panic!("send"),
        }
    }

    #[test]
    fn the_body_is_what_the_api_documents() {
        let more =
            ["--data", "thing1=a=b", "--data", "amount2=¥1", "--async", "--account", "shop", "--client-msg-id", "x"];
        let body = parse(&more).body();
        let expected = json!({
            "touser": "o1", "template_id": "order_paid", "data": {"thing1": "a=b", "amount2": "¥1"},
            "account": "shop", "client_msg_id": "x", "async": true,
        });
        assert_eq!(body, expected);
        assert_eq!(parse(&[]).body(), json!({"touser": "o1", "template_id": "order_paid", "data": {}}));
    }

    #[test]
    fn a_key_comes_from_a_file_and_a_foreign_text_is_refused() {
        let mut send = parse(&[]);
        assert_eq!(send.read_key().unwrap(), "wxg_a_b");
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "wxg_from_file\n").unwrap();
        send.key_file = Some(file.path().to_owned());
        assert_eq!(send.read_key().unwrap(), "wxg_from_file");
        std::fs::write(file.path(), "sk-something").unwrap();
        assert!(matches!(send.read_key(), Err(Failure::Usage(_))));
    }

    #[test]
    fn data_without_a_value_is_explained() {
        assert!(pair("thing1").is_err());
        assert!(pair("=x").is_err());
    }
}
