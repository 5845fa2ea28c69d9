//! No file handles left: what was accepted ends, nothing spins, and serving resumes when there are some again.

use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use reqwest::Method;
use serde_json::Value;

use crate::binary::process::{Place, Program, command, until};
use crate::harness::order_notice;

/// Clock ticks of the processor in a second, as `/proc` counts them on Linux.
const TICKS: f64 = 100.0;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_cannot_take_the_handles_that_sends_need() {
    let place = Place::prepare("queue.concurrency = 16").await;
    let inner = command(&place.config());
    let mut serve = Command::new("sh");
    serve
        .args(["-c", "ulimit -n 200 && exec \"$@\"", "sh"])
        .arg(inner.get_program())
        .args(inner.get_args())
        .arg("serve");
    let program = place.start_as(serve).await;
    // A few connections of a caller that is known before the others come, and are kept alive.
    assert_eq!(join_all((0..4).map(|_| send(&program, "oFIRST"))).await, [200; 4]);
    let crowd: Vec<_> = (0..160).map(|_| connect(&program)).collect();
    until("the crowd has what it may have", async || handles(&program) >= 130).await;
    for n in 0..20 {
        assert_eq!(send(&program, &format!("oWITHIN{n}")).await, 200);
        assert_eq!(place.sandbox.deliveries_to(&format!("oWITHIN{n}")), 1);
    }
    let list = program.request(Method::GET, "/v1/messages?state=sent").send().await.unwrap();
    assert_eq!(list.status(), 200, "reading needs handles too");
    assert!(handles(&program) < 200);
    drop(crowd);
    let log = std::fs::read_to_string(place.log()).unwrap();
    assert_eq!(log.matches("server.max_connections").count(), 1, "said at the start:\n{log}");
    assert!(!log.contains("Too many open files"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_handles_nothing_spins_and_serving_resumes() {
    let place = Place::prepare("").await;
    let program = place.start().await;
    assert_eq!(send(&program, "oFIRST").await, 200);
    // From now on there is room for five more: an operator's mistake, or another process that takes the system's.
    let limit = handles(&program) + 5;
    let set = |limit: usize| {
        let id = program.id().to_string();
        assert!(
            Command::new("prlimit").args(["--pid", &id, &format!("--nofile={limit}:")]).status().unwrap().success()
        );
    };
    set(limit);
    let crowd: Vec<_> = (0..40).map(|_| connect(&program)).collect();
    until("there are none left", async || handles(&program) >= limit).await;
    let request = program.request(Method::POST, "/send-template").header("prefer", "respond-async");
    let reply = request.json(&order_notice("oMEANWHILE")).send().await.unwrap();
    assert_eq!(reply.status(), 202, "a caller that is connected is served");
    let path = format!("/v1/messages/{}", reply.json::<Value>().await.unwrap()["message_id"].as_str().unwrap());

    let (begun, before) = (Instant::now(), processor_seconds(&program));
    tokio::time::sleep(Duration::from_millis(1500)).await; // a span to measure over, not a wait for anything
    let share = (processor_seconds(&program) - before) / begun.elapsed().as_secs_f64();
    assert!(share < 0.25, "it spins: {share} of a processor");

    drop(crowd);
    let fresh = reqwest::Client::builder().no_proxy().build().unwrap();
    let health = fresh.get(format!("{}/health", program.url)).send().await.unwrap();
    assert_eq!(health.status(), 200);
    until("the message has ended", async || program.get(&path).await["state"] == "delivered").await;
    assert_eq!(place.sandbox.deliveries_to("oMEANWHILE"), 1);
    let log = std::fs::read_to_string(place.log()).unwrap();
    assert_eq!(log.matches("a connection could not be accepted").count(), 1, "{log}");
}

fn connect(program: &Program) -> TcpStream {
    TcpStream::connect(program.url.strip_prefix("http://").unwrap()).unwrap()
}

async fn send(program: &Program, touser: &str) -> u16 {
    let request = program.request(Method::POST, "/send-template").json(&order_notice(touser));
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    // To its end: only then is the connection good for the next.
    response.text().await.unwrap();
    status
}

fn handles(program: &Program) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", program.id())).unwrap().count()
}

fn processor_seconds(program: &Program) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", program.id())).unwrap();
    // Behind the name, which may hold anything: state is field 3, utime 14, stime 15.
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    (fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap()) / TICKS
}
