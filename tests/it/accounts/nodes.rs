//! Two gateways on one PostgreSQL database: an account of one is an account of the other.

use serde_json::json;
use wxgate::sandbox::{CallbackRequest, CallbackTarget};

use super::{make, patch, shop};
use crate::harness::{AES_KEY, CALLBACK_TOKEN, Setup, TestApp, World};
use crate::store::backend::Database;

async fn callback_to(app: &TestApp, token: &str) -> u16 {
    let target = CallbackTarget::safe(&format!("{}/wechat/shop", app.url), token, AES_KEY);
    assert!(app.sandbox.set_callback_target(None, Some(target)));
    app.sandbox.send_callback(CallbackRequest::text("oU", "help")).await.unwrap().status
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_one_node_makes_changes_and_deletes_the_other_knows_at_its_next_look() {
    let (database, world) = (Database::create().await, World::start().await);
    let node = async |listen: &str| {
        let storage = Some(format!("{}\nserver.listen = \"{listen}\"", database.toml()));
        TestApp::start_with(Setup { storage, bare: true, world: Some(world.clone()), ..Setup::default() }).await
    };
    let (a, b) = (node("127.0.0.1:1").await, node("127.0.0.1:2").await);
    assert_eq!(make(&a, &shop()).await.status, 201);
    assert_eq!(b.get("/v1/accounts/shop").send().await.status, 200, "what is read is the store's");
    b.send("oX").await.is_problem(422, "unknown_account");
    b.tick().await;
    assert_eq!(b.send("oX").await.status, 200);
    assert_eq!(callback_to(&b, CALLBACK_TOKEN).await, 200);

    assert_eq!(patch(&b, "shop", &json!({"token": "another", "previous_token": null})).await.status, 200);
    a.tick().await;
    assert_eq!((callback_to(&a, "another").await, callback_to(&a, CALLBACK_TOKEN).await), (200, 401));

    let mut twin = shop();
    twin["name"] = json!("twin");
    make(&b, &twin).await.is_problem(409, "account_conflict");
    assert_eq!(a.delete("/v1/accounts/shop").send().await.status, 200);
    b.tick().await;
    b.send("oY").await.is_problem(422, "unknown_account");
    assert_eq!(b.get("/v1/accounts").send().await.json(), json!({"data": []}));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_who_change_an_account_at_once_neither_undoes_the_other() {
    let (database, world) = (Database::create().await, World::start().await);
    let node = async |listen: &str| {
        let storage = Some(format!("{}\nserver.listen = \"{listen}\"", database.toml()));
        TestApp::start_with(Setup { storage, bare: true, world: Some(world.clone()), ..Setup::default() }).await
    };
    let (a, b) = (node("127.0.0.1:1").await, node("127.0.0.1:2").await);
    assert_eq!(make(&a, &shop()).await.status, 201);
    for round in 0..5 {
        let (left, right) =
            (json!({"templates": {format!("a{round}"): "A"}}), json!({"templates": {format!("b{round}"): "B"}}));
        let (left, right) = tokio::join!(patch(&a, "shop", &left), patch(&b, "shop", &right));
        assert_eq!((left.status, right.status), (200, 200));
    }
    let view = a.get("/v1/accounts/shop").send().await.json();
    assert_eq!(view["templates"].as_object().unwrap().len(), 11, "{view}");
}
