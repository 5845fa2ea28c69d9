//! Who fails too often waits; who is right never does.

use std::time::Duration;

use reqwest::Method;
use wxgate::domain::caller::Scope;

use super::forms::{Credential, ask, jwt_config, with_rights, with_wrong_secrets};
use crate::harness::{Reply, Setup, TestApp};

async fn look(app: &TestApp, credential: &Credential) -> Reply {
    ask(app, credential, Method::GET, "/v1/messages", "").await
}

#[tokio::test]
async fn the_twenty_first_wrong_key_is_told_to_wait_and_a_right_one_never() {
    let app = TestApp::start_with(Setup { config: jwt_config(), ..Setup::default() }).await;
    let wrong = with_wrong_secrets(&app).await;
    let right = with_rights(&app, &[Scope::Read], None).await;
    for attempt in 0..20 {
        look(&app, &wrong[attempt % 3]).await.is_problem(401, "unauthenticated");
    }
    for credential in &wrong {
        let reply = look(&app, credential).await;
        reply.is_problem(429, "rate_limited");
        assert_eq!((reply.field("reason").as_str(), reply.header("retry-after")), ("auth_failures", Some("3")));
    }
    // Behind the same address others work, whatever form they use.
    for credential in &right {
        for _ in 0..5 {
            assert_eq!(look(&app, credential).await.status, 200);
        }
    }
    // Nobody without a key is guessing.
    look(&app, &Credential::Nothing).await.is_problem(401, "unauthenticated");

    app.advance(Duration::from_secs(3)).await;
    look(&app, &wrong[0]).await.is_problem(401, "unauthenticated");
    look(&app, &wrong[0]).await.is_problem(429, "rate_limited");
    let failures = async |form: &str| app.metric(&format!("wxgate_auth_failures_total{{form=\"{form}\"}}")).await;
    assert_eq!([failures("key").await, failures("jwt").await, failures("signed").await], [10.0, 8.0, 7.0]);
    assert_eq!(app.metric("wxgate_rate_limited_total{limit=\"auth_failures\"}").await, 4.0);
}

#[tokio::test]
async fn each_address_behind_a_trusted_proxy_has_its_own_account() {
    let config = "\n[server]\ntrusted_proxies = [\"127.0.0.1\"]\n".to_owned();
    let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
    let wrong = &with_wrong_secrets(&app).await[0];
    let Credential::Bearer(key) = wrong else { panic!("a key") };
    let from = async |address: &str| {
        let request = app.anonymous(Method::GET, "/v1/messages").header("authorization", &format!("Bearer {key}"));
        request.header("x-forwarded-for", address).send().await.status
    };
    for _ in 0..20 {
        assert_eq!(from("203.0.113.7").await, 401);
    }
    assert_eq!(from("203.0.113.7").await, 429);
    assert_eq!(from("6.6.6.6, 203.0.113.7").await, 429, "what the client itself wrote does not count");
    assert_eq!(from("203.0.113.8").await, 401);
}

#[tokio::test]
async fn the_limit_can_be_changed_watched_and_switched_off() {
    let limited = async |settings: &str| {
        let config = format!("\n[limits]\n{settings}\n");
        let app = TestApp::start_with(Setup { config, ..Setup::default() }).await;
        let wrong = &with_wrong_secrets(&app).await[0];
        let mut refused = 0;
        for _ in 0..30 {
            refused += usize::from(look(&app, wrong).await.status == 429);
        }
        (refused, app.metric("wxgate_rate_limit_observed_total{limit=\"auth_failures\"}").await)
    };
    assert_eq!(limited("auth_failures.burst = 5").await, (25, 0.0));
    assert_eq!(limited("auth_failures.rate = 0").await, (0, 0.0));
    assert_eq!(limited("mode = \"observe\"").await, (0, 10.0));
}
