//! Two gateways on one PostgreSQL database: one of them runs a lane, and the other goes on with it.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::until;
use crate::harness::{Endpoint, Setup, TestApp, World};
use crate::store::backend::Database;

async fn node(database: &Database, world: &World, subscriber: &Endpoint, listen: &str) -> TestApp {
    let storage = Some(format!("{}\nserver.listen = \"{listen}\"", database.toml()));
    let config = subscriber.toml("crm", "");
    TestApp::start_with(Setup { storage, config, world: Some(world.clone()), ..Setup::default() }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_nodes_tell_everything_once_and_one_goes_on_when_the_other_ends() {
    let (database, world, subscriber) = (Database::create().await, World::start().await, Endpoint::start().await);
    let a = node(&database, &world, &subscriber, "127.0.0.1:1").await;
    let b = node(&database, &world, &subscriber, "127.0.0.1:2").await;
    let (stop_a, stop_b) = (CancellationToken::new(), CancellationToken::new());
    let running_a = tokio::spawn(a.app.courier().clone().run(stop_a.clone()));
    let running_b = tokio::spawn(b.app.courier().clone().run(stop_b.clone()));
    for number in 0..100 {
        let app = if number % 2 == 0 { &a } else { &b };
        app.raise("quota.low", None, number).await;
    }
    until(async || subscriber.count() >= 100).await;
    let runner = |boots: Vec<String>| boots.into_iter().next();
    let boot = "SELECT boot FROM webhook_lanes WHERE boot IS NOT NULL";
    let first = runner(database.column(boot).await).expect("somebody runs it");
    // Whoever runs it ends in good order.
    let a_runs = a.app.stores().webhooks.take(vec!["crm".to_owned()]).await.unwrap().len() == 1;
    let begun = std::time::Instant::now();
    let (stop, running, rest) = if a_runs { (stop_a, running_a, &b) } else { (stop_b, running_b, &a) };
    stop.cancel();
    running.await.unwrap();
    for number in 100..150 {
        rest.raise("quota.low", None, number).await;
    }
    until(async || subscriber.count() >= 150).await;
    assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", begun.elapsed());
    assert_ne!(runner(database.column(boot).await), Some(first));
    tokio::time::sleep(Duration::from_millis(200)).await;
    let ids: std::collections::HashSet<_> = subscriber.told().into_iter().map(|told| told.id).collect();
    assert_eq!((ids.len(), subscriber.count()), (150, 150), "each once");
}
