//! Several nodes with one Redis: a signed request passes one of them, once.

use std::time::Duration;

use reqwest::Method;
use wxgate::domain::clock::Clock;

use crate::harness::sign::{self, Signed, SigningKey};
use crate::harness::{RedisServer, Road, Setup, TestApp, Way, World, order_notice};

const SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

async fn node(redis: &RedisServer, world: &World) -> TestApp {
    let config = format!(
        "\n[redis]\nurl = \"redis://127.0.0.1:{}\"\n[clients.crm]\nsign_secret = \"{SECRET}\"\nscopes = [\"read\"]\n",
        redis.port
    );
    TestApp::start_with(Setup { config, world: Some(world.clone()), ..Setup::default() }).await
}

fn signed(world: &World) -> Vec<(&'static str, String)> {
    let key = SigningKey { id: "crm".to_owned(), secret: SECRET.to_owned() };
    let timestamp = world.clock.now().as_seconds();
    key.headers(&Signed { timestamp, nonce: sign::nonce(), method: "GET", target: "/v1/messages", body: "" })
}

async fn status(node: &TestApp, headers: &[(&'static str, String)]) -> u16 {
    let request = node.anonymous(Method::GET, "/v1/messages");
    headers.iter().fold(request, |request, (name, value)| request.header(name, value)).send().await.status
}

#[tokio::test]
async fn what_one_node_has_taken_the_others_refuse() {
    let (redis, world) = (RedisServer::start(), World::start().await);
    let (one, other) = (node(&redis, &world).await, node(&redis, &world).await);
    let request = signed(&world);
    assert_eq!((status(&one, &request).await, status(&other, &request).await), (200, 401));
    assert_eq!((status(&other, &signed(&world)).await, status(&one, &request).await), (200, 401));
    assert_eq!(one.metric("wxgate_nonce_fallbacks_total").await, 0.0);

    // A restart forgets nothing either.
    let (folder, world) = one.stop().await;
    drop(folder);
    let again = node(&redis, &world).await;
    assert_eq!(status(&again, &request).await, 401);
}

#[tokio::test]
async fn a_right_signature_alone_is_remembered() {
    let (redis, world) = (RedisServer::start(), World::start().await);
    let node = node(&redis, &world).await;
    let mut wrong = signed(&world);
    wrong[3].1 = format!("v1={}", "0".repeat(64));
    assert_eq!(status(&node, &wrong).await, 401);
    let keys: Vec<String> = redis::from_redis_value(redis.command(&["KEYS", "*nonce*"]).await).unwrap();
    assert_eq!(keys, Vec::<String>::new());
    let right = signed(&world);
    assert_eq!(status(&node, &right).await, 200);
    let keys: Vec<String> = redis::from_redis_value(redis.command(&["KEYS", "*"]).await).unwrap();
    let key = keys.iter().find(|key| key.starts_with("wxgate:nonce:")).unwrap();
    assert!(!key.contains(&right[2].1) && !key.contains("crm"), "{key}");
}

#[tokio::test]
async fn without_redis_each_node_still_takes_a_request_once() {
    let (mut redis, world) = (RedisServer::start(), World::start().await);
    let (one, other) = (node(&redis, &world).await, node(&redis, &world).await);
    let before = signed(&world);
    assert_eq!(status(&one, &before).await, 200);
    redis.stop();
    assert_eq!(status(&one, &before).await, 401, "its own memory knows it");
    let request = signed(&world);
    assert_eq!((status(&one, &request).await, status(&one, &request).await), (200, 401));
    assert_eq!((status(&other, &request).await, status(&other, &request).await), (200, 401));
    assert_eq!(one.metric("wxgate_nonce_fallbacks_total").await, 1.0);
}

/// A request has one allowance of 100 ms, however much it asks of Redis.
#[tokio::test]
async fn what_the_nonce_has_waited_the_limits_do_not_wait_again() {
    let (redis, world) = (RedisServer::start(), World::start().await);
    let road = Road::to(redis.port).await;
    let config = format!(
        "\n[redis]\nurl = \"redis://127.0.0.1:{}\"\n[limits]\nopenid = {{ rate = 60, per = \"minute\", burst = 60 }}\n\
         [clients.crm]\nsign_secret = \"{SECRET}\"\nscopes = [\"read\", \"send\"]\n",
        road.port
    );
    let node = TestApp::start_with(Setup { config, world: Some(world.clone()), ..Setup::default() }).await;
    assert_eq!(status(&node, &signed(&world)).await, 200);
    assert_eq!(node.metric("wxgate_limit_fallbacks_total").await, 0.0);

    road.set(Way::Delay(Duration::from_millis(70)));
    let body = order_notice("oSIGNED").to_string();
    let key = SigningKey { id: "crm".to_owned(), secret: SECRET.to_owned() };
    let timestamp = world.clock.now().as_seconds();
    let what = Signed { timestamp, nonce: sign::nonce(), method: "POST", target: "/send-template", body: &body };
    let request = node.anonymous(Method::POST, "/send-template");
    let request = key.headers(&what).iter().fold(request, |request, (name, value)| request.header(name, value));
    let sent = request.body("application/json", body).send().await;
    assert_eq!(sent.status, 200, "{}", sent.text);
    assert_eq!(node.metric("wxgate_limit_fallbacks_total").await, 1.0);
}
