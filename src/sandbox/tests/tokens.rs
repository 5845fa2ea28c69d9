//! Token calls and token checks over the wire.

use std::time::Duration;

use serde_json::json;

use super::*;
use crate::sandbox::{Fault, TokenCalls};

#[tokio::test]
async fn tokens_are_given_counted_and_checked() {
    let bench = Bench::start().await;
    let first = bench.stable(false).await;
    assert_eq!(first["expires_in"], 7_200);
    assert!(first.get("errcode").is_none());
    bench.clock.advance(Duration::from_secs(60));
    let second = bench.stable(false).await;
    assert_eq!((&second["access_token"], second["expires_in"].as_i64()), (&first["access_token"], Some(7_140)));
    let legacy = bench
        .get(&format!("/cgi-bin/token?grant_type=client_credential&appid={DEMO_APP_ID}&secret={DEMO_APP_SECRET}"))
        .await;
    assert_eq!(legacy["expires_in"], 7_200);
    bench.stable(true).await;
    assert_eq!(bench.sandbox.token_calls(), TokenCalls { normal: 2, forced: 1, legacy: 1, issued: 3 });
}

#[tokio::test]
async fn wrong_credentials_are_told_apart() {
    let bench = Bench::start().await;
    let ask = |grant: &str, app_id: &str, secret: &str| {
        let body = json!({"grant_type": grant, "appid": app_id, "secret": secret});
        let bench = &bench;
        async move { bench.post("/cgi-bin/stable_token", &body).await["errcode"].as_i64() }
    };
    assert_eq!(ask("password", DEMO_APP_ID, DEMO_APP_SECRET).await, Some(40002));
    assert_eq!(ask("client_credential", "", DEMO_APP_SECRET).await, Some(41002));
    assert_eq!(ask("client_credential", DEMO_APP_ID, "").await, Some(41004));
    assert_eq!(ask("client_credential", "wx0", DEMO_APP_SECRET).await, Some(40013));
    assert_eq!(ask("client_credential", DEMO_APP_ID, "wrong").await, Some(40125));
    assert_eq!(bench.get("/cgi-bin/stable_token").await["errcode"], 43002);
}

#[tokio::test]
async fn a_caller_who_is_not_listed_is_named() {
    let mut config = SandboxConfig::for_tests(None);
    config.accounts[0].ip_list = vec!["203.0.113.7".parse().unwrap()];
    let bench = Bench::with(config).await;
    let answer = bench.stable(false).await;
    assert_eq!(answer["errcode"], 40164);
    let text = answer["errmsg"].as_str().unwrap();
    assert!(text.starts_with("invalid ip 127.0.0.1 ipv6 ::ffff:127.0.0.1, not in whitelist rid: "), "{text}");
}

#[tokio::test]
async fn token_faults_strike_token_calls_only() {
    let bench = Bench::start().await;
    bench.token().await;
    for errcode in [40164, 40125, 40013, 40243, 89503] {
        bench.sandbox.set_fault(Fault::errcode(errcode).on("/cgi-bin/stable_token").times(1));
        assert_eq!(bench.stable(false).await["errcode"], errcode);
    }
    bench.sandbox.set_fault(Fault::errcode(40243).on("/cgi-bin/token"));
    assert_eq!(bench.errcode("sim-ok", "a").await, 0);
}

#[tokio::test]
async fn business_calls_tell_what_is_wrong_with_the_token() {
    let bench = Bench::start().await;
    let send = |token: String| {
        let bench = &bench;
        async move {
            let answer = bench.post(&format!("{SEND}?access_token={token}"), &push("sim-ok", "a")).await;
            (answer["errcode"].as_i64().unwrap(), answer["errmsg"].as_str().unwrap().to_owned())
        }
    };
    let token = bench.token().await;
    assert_eq!(send(String::new()).await.0, 41001);
    assert_eq!(send("nonsense".to_owned()).await.0, 40014);
    bench.sandbox.expire_tokens();
    assert_eq!(send(token).await.0, 42001);
    let token = bench.token().await;
    bench.sandbox.revoke_tokens();
    let (errcode, errmsg) = send(token.clone()).await;
    assert_eq!(errcode, 40001);
    let rid = errmsg.rsplit_once(" rid: ").unwrap().1;
    assert_eq!(rid.split('-').map(str::len).collect::<Vec<_>>(), [8, 8, 8], "{errmsg}");
    assert_ne!(bench.token().await, token);
}

#[tokio::test]
async fn the_demo_runs_the_same_way_with_the_same_seed() {
    let (one, two) = (Bench::start().await, Bench::start().await);
    assert_eq!(one.token().await, two.token().await);
    assert_eq!(one.send("sim-ok", "a").await.unwrap(), two.send("sim-ok", "a").await.unwrap());
}
