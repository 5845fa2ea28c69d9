//! Does an account get its access_token? (stable_token page; normal mode, which disturbs no other program.)

use super::finding::Finding;
use crate::cli::healthcheck::describe;
use crate::domain::account::{Account, TokenApi};
use crate::wechat::answer::Answer;
use crate::wechat::errcode;
use crate::wechat::send::stable_token_body;

pub(super) async fn check(client: &reqwest::Client, account: &Account) -> Finding {
    let name = format!("token of {}", account.name);
    if account.token_api == TokenApi::Legacy {
        let detail = "not tried: with token_api = \"legacy\" each fetch retires the token in use";
        let cure =
            format!("set accounts.{}.token_api = \"stable\", unless another program depends on it", account.name);
        return Finding::warning(name, detail, cure);
    }
    let body = stable_token_body(&account.app_id, account.app_secret.expose(), false);
    let url = format!("{}/cgi-bin/stable_token", account.base_url);
    let answer = match client.post(url).header("content-type", "application/json").body(body).send().await {
        Ok(response) => response.text().await,
        Err(error) => Err(error),
    };
    match answer {
        Ok(text) => judge(name, &text),
        Err(error) => Finding::failed(name, describe(&error), "see the check of wechat above"),
    }
}

fn judge(name: String, text: &str) -> Finding {
    let Ok(answer) = Answer::parse(text.as_bytes()) else {
        let cure = "something between here and WeChat answers in its place: check base_url and wechat.proxy";
        return Finding::failed(name, "the answer is no JSON", cure);
    };
    match (answer.errcode, answer.expires_in) {
        (0, Some(seconds)) => Finding::ok(name, format!("fetched, {seconds} s left")),
        (0, None) => Finding::failed(name, "the answer holds no token", "check base_url"),
        (code, _) => {
            let detail = format!("errcode {code}: {}", answer.errmsg);
            match is_passing(code) {
                true => Finding::warning(name, detail, cure(code, &answer.errmsg)),
                false => Finding::failed(name, detail, cure(code, &answer.errmsg)),
            }
        }
    }
}

fn is_passing(code: i64) -> bool {
    matches!(code, -1 | 45009 | 45011)
}

fn cure(code: i64, errmsg: &str) -> String {
    match code {
        40164 => match errcode::ip_in(errmsg) {
            Some(ip) => format!("add {ip} to the IP list of the account (WeChat's console, basic configuration)"),
            None => "add this machine's public IP to the IP list of the account (WeChat's console)".to_owned(),
        },
        40013 | 41002 => "app_id is wrong: copy it from WeChat's console".to_owned(),
        40001 | 40125 | 41004 => {
            "app_secret is wrong or was reset: copy the present one from WeChat's console".to_owned()
        }
        40243 => "the AppSecret is frozen: unfreeze it in WeChat's console".to_owned(),
        89503 => {
            "an administrator has to confirm this IP: they got a WeChat message; then run doctor again here".to_owned()
        }
        89501 | 89502 | 89504 | 89505 => "an administrator's confirmation is pending: wait for it".to_owned(),
        89506 => "an administrator refused this IP: no calls for 24 hours, then ask them to confirm".to_owned(),
        89507 => "an administrator refused this IP: no calls for an hour, then ask them to confirm".to_owned(),
        50004 => {
            "this account may not use the token API: look at its type and permissions in WeChat's console".to_owned()
        }
        50007 => "the account is frozen: see the notices in WeChat's console".to_owned(),
        -1 | 45011 => "WeChat is busy: try again in a minute".to_owned(),
        45009 => "the day's quota of token calls is used up: find the program that fetches so many".to_owned(),
        _ => "look the errcode up in WeChat's documentation".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use serde_json::json;
    use tokio_util::sync::CancellationToken;

    use super::super::finding::Status;
    use super::*;
    use crate::cli::healthcheck;
    use crate::config::Config;
    use crate::domain::clock::SystemClock;
    use crate::sandbox::{Sandbox, SandboxConfig};

    #[tokio::test]
    async fn each_account_is_tried_at_wechat() {
        let sandbox = Sandbox::new(SandboxConfig::for_tests(None), Arc::new(SystemClock));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(sandbox.clone().serve(listener, CancellationToken::new()));
        let settings = format!(
            "[wechat]\nbase_url = 'http://{address}'\n[accounts.demo]\napp_id = 'wx0000000000000demo'\n\
             app_secret = 'demo-secret'\n[accounts.forged]\napp_id = 'wx1'\napp_secret = 'x'\n\
             [accounts.old]\napp_id = 'wx2'\napp_secret = 'x'\ntoken_api = 'legacy'\n"
        );
        let client = healthcheck::client(Duration::from_secs(5)).unwrap();
        let mut findings = Vec::new();
        for account in &Config::parse(&settings).unwrap().accounts {
            findings.push(check(&client, account).await);
        }
        let statuses: Vec<_> = findings.iter().map(|finding| finding.status).collect();
        assert_eq!(statuses, [Status::Ok, Status::Failed, Status::Warning], "{findings:?}");
        assert_eq!(sandbox.token_calls_of("wx2"), Default::default(), "a legacy token is not fetched");
    }

    fn judged(text: &str) -> Finding {
        judge("token of shop".to_owned(), text)
    }

    #[test]
    fn a_token_is_good_news_and_is_not_shown() {
        let finding = judged(r#"{"access_token":"ACCESS","expires_in":345}"#);
        assert_eq!(finding.to_string(), "✓ token of shop: fetched, 345 s left");
    }

    #[test]
    fn the_address_to_list_is_named() {
        let errmsg = "invalid ip 203.0.113.7 ipv6 ::ffff:203.0.113.7, not in whitelist rid: 65b9-1";
        let finding = judged(&json!({"errcode": 40164, "errmsg": errmsg}).to_string());
        assert_eq!(finding.status, Status::Failed);
        assert!(finding.cure.as_ref().unwrap().contains("add 203.0.113.7 to the IP list"), "{finding}");
        assert_eq!(errcode::ip_in("invalid ip 2001:db8::7, not in whitelist"), Some("2001:db8::7".parse().unwrap()));
        assert_eq!(errcode::ip_in("not in whitelist"), None);
    }

    #[test]
    fn a_wrong_secret_fails_and_a_busy_system_is_only_a_warning() {
        assert_eq!(judged(r#"{"errcode":40125,"errmsg":"invalid appsecret"}"#).status, Status::Failed);
        assert_eq!(judged(r#"{"errcode":-1,"errmsg":"system error"}"#).status, Status::Warning);
        assert_eq!(judged("<html>").status, Status::Failed);
        assert_eq!(judged("{}").status, Status::Failed);
    }
}
