//! When a key was used last: kept beside the road, and not for every call.

use std::time::Duration;

use reqwest::Method;
use wxgate::domain::caller::Scope;
use wxgate::domain::clock::{Clock, Timestamp};

use super::forms::{Credential, ask};
use crate::harness::sign::SigningKey;
use crate::harness::{Setup, TestApp};

async fn last_use(app: &TestApp, id: &str) -> Option<Timestamp> {
    let keys = app.app.access().list().await.unwrap();
    keys.into_iter().find(|key| key.id == id).unwrap().last_used_at
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept_once_a_minute() {
    let app = TestApp::start().await;
    let signer = app.make_signing_key("crm", &[Scope::Read], None).await;
    let bearer = Credential::Bearer(format!("wxg_{}_{}", signer.id, signer.secret));
    let use_it = async |credential: &Credential| {
        assert_eq!(ask(&app, credential, Method::GET, "/v1/messages", "").await.status, 200);
        app.clock.now()
    };
    app.tick().await;
    assert_eq!(last_use(&app, &signer.id).await, None);

    let first = use_it(&bearer).await;
    assert_eq!(last_use(&app, &signer.id).await, None, "not on the road itself");
    app.tick().await;
    assert_eq!(last_use(&app, &signer.id).await, Some(first));

    app.advance(Duration::from_secs(20)).await;
    let second = use_it(&Credential::Signed(signer.clone())).await;
    app.tick().await;
    assert_eq!(last_use(&app, &signer.id).await, Some(first), "its minute is not over");
    app.advance(Duration::from_secs(40)).await;
    app.tick().await;
    assert_eq!(last_use(&app, &signer.id).await, Some(second));

    // A wrong secret is no use of the key, and other keys are none of this one.
    app.advance(Duration::from_secs(60)).await;
    let wrong = Credential::Signed(SigningKey { secret: "0".repeat(64), ..signer.clone() });
    assert_eq!(ask(&app, &wrong, Method::GET, "/v1/messages", "").await.status, 401);
    assert_eq!(app.get("/v1/messages").send().await.status, 200);
    app.tick().await;
    assert_eq!(last_use(&app, &signer.id).await, Some(second));
}

#[tokio::test]
async fn a_change_of_keys_forgets_no_use() {
    let app = TestApp::start().await;
    let signer = app.make_signing_key("crm", &[Scope::Read], None).await;
    let used = app.clock.now();
    assert_eq!(ask(&app, &Credential::Signed(signer.clone()), Method::GET, "/v1/messages", "").await.status, 200);
    // The tick that keeps it takes the new key over first.
    app.make_key("another", &[Scope::Read], None, None).await;
    app.tick().await;
    assert_eq!(last_use(&app, &signer.id).await, Some(used));
}

#[tokio::test]
async fn a_key_of_before_the_restart_goes_on_from_what_is_kept() {
    let app = TestApp::start().await;
    let signer = app.make_signing_key("crm", &[Scope::Read], None).await;
    assert_eq!(ask(&app, &Credential::Signed(signer.clone()), Method::GET, "/v1/messages", "").await.status, 200);
    let used = app.clock.now();
    app.tick().await;
    let (folder, world) = app.stop().await;
    let app = TestApp::start_with(Setup { folder: Some(folder), world: Some(world), ..Setup::default() }).await;
    assert_eq!(last_use(&app, &signer.id).await, Some(used));
    assert_eq!(ask(&app, &Credential::Signed(signer), Method::GET, "/v1/messages", "").await.status, 200);
}
