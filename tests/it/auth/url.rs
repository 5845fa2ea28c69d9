//! A secret in the URL is in the log of everything that the URL passes: it opens nothing.

use reqwest::Method;
use serde_json::json;
use wxgate::domain::caller::Scope;

use super::forms::{Credential, ask, claims, hs256, jwt_config};
use crate::harness::{Setup, TestApp, order_notice};

#[tokio::test]
async fn a_key_or_token_in_the_url_is_refused_also_beside_a_right_header() {
    let app = TestApp::start_with(Setup { config: jwt_config(), ..Setup::default() }).await;
    let token = hs256(&claims(&app, &Scope::ALL, None));
    let signer = app.make_signing_key("tests", &Scope::ALL, None).await;
    let body = order_notice("oURL").to_string();
    let queries = [
        format!("?key={}", app.key),
        format!("?access_token={}", app.key),
        format!("?access_token={token}"),
        format!("?api_key={}", app.key),
        format!("?a=1&whatever={}", app.key.replace("wxg_", "%77xg_")),
    ];
    for query in &queries {
        for credential in [Credential::Nothing, Credential::Bearer(app.key.clone()), Credential::Signed(signer.clone())]
        {
            for (method, path, body) in [(Method::GET, "/v1/messages", ""), (Method::POST, "/send-template", &*body)] {
                let reply = ask(&app, &credential, method, &format!("{path}{query}"), body).await;
                reply.is_problem(401, "unauthenticated");
                assert!(!reply.text.contains(&app.key) && !reply.text.contains(&token), "{}", reply.text);
            }
        }
    }
    assert_eq!(app.get("/v1/messages").send().await.json()["data"], json!([]));
}
