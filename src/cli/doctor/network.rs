//! Checks over the network: WeChat and its clock, tokens, our callback URL, Redis.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use chrono::DateTime;

use super::finding::Finding;
use super::{Report, tokens};
use crate::cli::healthcheck::{self, describe};
use crate::config::Config;
use crate::config::store::RedisConfig;
use crate::domain::account::{Account, CallbackKeys};
use crate::domain::clock::{Clock, SystemClock, Timestamp};
use crate::store::redis::Link;
use crate::upstream;
use crate::upstream::relay::host_of;
use crate::wechat::signature;

/// From here on callbacks of a machine with such a clock are refused now and then.
const SKEW_LIMIT: Duration = Duration::from_secs(60);

/// A back end has less for an answer.
const BACK_END_LIMIT: Duration = Duration::from_secs(5);

/// `accounts`: those of the configuration and of the store.
pub(super) async fn check(config: &Config, accounts: &[Arc<Account>], report: &mut Report) -> anyhow::Result<()> {
    let client = upstream::http::client(&config.wechat).context("the HTTP client cannot be built")?;
    let mut hosts: BTreeSet<&str> = accounts.iter().map(|account| account.base_url.as_str()).collect();
    if hosts.is_empty() {
        hosts.insert(&config.wechat.base_url);
    }
    for base_url in hosts {
        report.begin("wechat")?;
        report.add_all(reach(&client, base_url).await)?;
    }
    for account in accounts {
        report.begin(&format!("token of {}", account.name))?;
        report.add(tokens::check(&client, account).await)?;
    }
    if let Some(public_url) = &config.server.public_url {
        for account in accounts {
            let Some(keys) = &account.callback else { continue };
            report.begin(&format!("callback of {}", account.name))?;
            report.add(callback(&client, public_url, account, keys).await)?;
        }
    }
    for account in accounts {
        for url in account.relay.iter().flat_map(|relay| relay.urls()) {
            report.begin(&format!("relay of {}", account.name))?;
            report.add(back_end(account, url).await?)?;
        }
    }
    if let Some(redis) = &config.redis {
        report.begin("redis")?;
        report.add(try_out(redis).await)?;
    }
    Ok(())
}

/// Any HTTP answer will do: name, connection and TLS are right then. Its date shows how our clock goes.
async fn reach(client: &reqwest::Client, base_url: &str) -> Vec<Finding> {
    let begun = Instant::now();
    let response = match client.get(base_url).send().await {
        Ok(response) => response,
        Err(error) => {
            let cure = "check DNS, the firewall (443 to the outside) and wechat.proxy";
            return vec![Finding::failed("wechat", format!("{base_url}: {}", describe(&error)), cure)];
        }
    };
    let took = begun.elapsed().as_millis();
    let mut findings = vec![Finding::ok("wechat", format!("{base_url} answers, {took} ms"))];
    let date = response.headers().get(reqwest::header::DATE).and_then(|date| date.to_str().ok());
    findings.extend(date.and_then(|date| clock(date, SystemClock.now())));
    findings
}

/// `date`: as HTTP writes it. `None` when it is no date.
fn clock(date: &str, now: Timestamp) -> Option<Finding> {
    let theirs = Timestamp::from_millis(DateTime::parse_from_rfc2822(date).ok()?.timestamp_millis());
    let (ahead, behind) = (now.since(theirs), theirs.since(now));
    let skew = ahead.max(behind);
    let direction = if ahead > behind { "ahead of" } else { "behind" };
    if skew < SKEW_LIMIT {
        return Some(Finding::ok("clock", "agrees with WeChat's within a minute"));
    }
    let detail = format!("{} s {direction} WeChat's", skew.as_secs());
    Some(Finding::failed("clock", detail, "set the clock (NTP): callbacks are checked against it"))
}

/// Asks our own callback URL what WeChat's console asks when the URL is saved.
async fn callback(client: &reqwest::Client, public_url: &str, account: &Account, keys: &CallbackKeys) -> Finding {
    let name = format!("callback of {}", account.name);
    let url = format!("{public_url}/wechat/{}", account.name);
    let Some(token) = keys.tokens.first() else {
        return Finding::warning(name, "no token is configured", "set accounts.<name>.token");
    };
    let timestamp = SystemClock.now().as_seconds().to_string();
    let (nonce, echo) = (hex::encode(rand::random::<[u8; 4]>()), hex::encode(rand::random::<[u8; 8]>()));
    let signature = signature::sign(&[token.expose(), &timestamp, &nonce]);
    let query = [("signature", &signature), ("timestamp", &timestamp), ("nonce", &nonce), ("echostr", &echo)];
    let cure =
        "start the gateway; check server.public_url and what stands before the gateway (DNS, proxy, certificate)";
    let full = url::form_urlencoded::Serializer::new(format!("{url}?")).extend_pairs(query).finish();
    let response = match client.get(full).send().await {
        Ok(response) => response,
        Err(error) => return Finding::failed(name, format!("{url}: {}", describe(&error)), cure),
    };
    let status = response.status();
    match response.text().await {
        Ok(text) if status.is_success() && text == echo => {
            Finding::ok(name, format!("{url} answers as WeChat wants it"))
        }
        _ if status == reqwest::StatusCode::UNAUTHORIZED => {
            let cure = "the gateway there has another token (or another clock): give both the same configuration";
            Finding::failed(name, format!("{url} refuses our signature"), cure)
        }
        _ => Finding::failed(name, format!("{url} answered {status}, not the echostr"), cure),
    }
}

/// Any HTTP answer will do: what a back end says to a request that is not WeChat's is its own affair.
async fn back_end(account: &Account, url: &str) -> anyhow::Result<Finding> {
    let name = format!("relay of {}", account.name);
    let host = host_of(url);
    let begun = Instant::now();
    Ok(match healthcheck::client(BACK_END_LIMIT)?.get(url).send().await {
        Ok(_) => Finding::ok(name, format!("{host} answers, {} ms", begun.elapsed().as_millis())),
        Err(error) => {
            let cure = format!("check accounts.{}.relay; until it answers, WeChat gets `success`", account.name);
            Finding::failed(name, format!("{host}: {}", describe(&error)), cure)
        }
    })
}

async fn try_out(config: &RedisConfig) -> Finding {
    let tried = match Link::new(config) {
        Ok(link) => link.try_out().await,
        Err(error) => Err(error.to_string()),
    };
    match tried {
        Ok(()) => Finding::ok("redis", "answers, and keeps what it is given"),
        Err(problem) => Finding::failed(
            "redis",
            format!("of no use: {problem}"),
            "check redis.url and its password, and that it is a primary with room; without Redis each process works for itself",
        ),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::extract::Query;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::super::finding::Status;
    use super::*;
    use crate::cli::healthcheck;
    use crate::domain::secret::Secret;
    use crate::services::verify::CallbackQuery;

    /// A callback URL that knows the token "abc".
    async fn callback_url() -> String {
        let echo = |Query(query): Query<CallbackQuery>| async move {
            match signature::verify(&query.signature, &["abc", &query.timestamp, &query.nonce]) {
                true => (StatusCode::OK, query.echostr),
                false => (StatusCode::UNAUTHORIZED, String::new()),
            }
        };
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = Router::new().route("/wechat/shop", get(echo));
        tokio::spawn(async move { axum::serve(listener, router).await });
        url
    }

    #[tokio::test]
    async fn a_callback_url_is_tried_the_way_the_console_does() {
        let url = callback_url().await;
        let config = Config::parse("[accounts.shop]\napp_id = 'wx1'\napp_secret = 'x'\n").unwrap();
        let account: &Arc<Account> = &config.accounts[0];
        let client = healthcheck::client(Duration::from_secs(5)).unwrap();
        let keys = |token: &str| CallbackKeys {
            mode: crate::domain::account::CallbackMode::Plain,
            tokens: vec![Secret::new(token)],
            aes_keys: Vec::new(),
        };
        assert_eq!(callback(&client, &url, account, &keys("abc")).await.status, Status::Ok);
        let other = callback(&client, &url, account, &keys("other")).await;
        assert!(other.detail.contains("refuses our signature"), "{other}");
        let nowhere = callback(&client, &format!("{url}/elsewhere"), account, &keys("abc")).await;
        assert!(nowhere.detail.contains("404"), "{nowhere}");
    }

    #[tokio::test]
    async fn a_back_end_is_well_when_it_answers_at_all() {
        let config = Config::parse("[accounts.shop]\napp_id = 'wx1'\napp_secret = 'x'\n").unwrap();
        let url = format!("{}/wx?key=s3cr3t", callback_url().await);
        let there = back_end(&config.accounts[0], &url).await.unwrap();
        assert_eq!(there.status, Status::Ok, "{there}");
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/wx?key=s3cr3t", listener.local_addr().unwrap());
        drop(listener);
        let gone = back_end(&config.accounts[0], &url).await.unwrap();
        assert!(gone.status == Status::Failed && gone.detail.contains("no connection"), "{gone}");
        assert!(!format!("{there}{gone}").contains("s3cr3t"), "{there} {gone}");
    }

    #[test]
    fn a_clock_that_goes_wrong_is_found_either_way() {
        let date = "Sat, 31 Jan 2026 08:00:00 GMT";
        let right = Timestamp::parse("2026-01-31T08:00:00Z").unwrap();
        assert_eq!(clock(date, right.plus(Duration::from_secs(59))).unwrap().status, Status::Ok);
        let ahead = clock(date, right.plus(Duration::from_secs(90))).unwrap();
        assert!(ahead.detail.starts_with("90 s ahead"), "{ahead}");
        let behind = clock(date, right.minus(Duration::from_secs(61))).unwrap();
        assert!(behind.detail.starts_with("61 s behind"), "{behind}");
        assert_eq!(clock("yesterday", right), None);
    }
}
