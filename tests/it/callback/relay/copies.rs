//! Others who listen: they get every callback, and nobody waits for them.

use super::backend::{BackEnd, Say, text};
use super::{kept, relayed, relays, says};
use crate::binary::process::until;
use crate::harness::{Setup, TestApp};

fn copy_to(backend: &BackEnd) -> String {
    format!("[[accounts.shop.relay.routes]]\nurl = \"{}\"\nmode = \"copy\"\n", backend.url)
}

#[tokio::test]
async fn a_copy_gets_the_same_and_its_answer_means_nothing() {
    let (owner, other) =
        (BackEnd::start(Say::Reply(text("owner"))).await, BackEnd::start(Say::Reply(text("other"))).await);
    let app = relayed(&owner, "safe", &copy_to(&other)).await;
    assert!(says(&app, "oA", "hi").await.unwrap().contains("owner"));
    let copied = other.until_asked(1).await;
    assert_eq!(copied[0].body, owner.asked()[0].body);
    until("it is counted", async || relays(&app, "copied").await == 1.0).await;
}

#[tokio::test]
async fn copies_alone_leave_the_answer_to_the_configured_replies() {
    let other = BackEnd::start(Say::Reply(text("other"))).await;
    let account = format!("[accounts.shop.relay]\n{}", copy_to(&other));
    let app = TestApp::start_with(Setup { account, ..Setup::default() }).await;
    assert!(says(&app, "oA", "help").await.unwrap().contains("How can we help?"));
    other.until_asked(1).await;
    assert_eq!(kept(&app), [None]);
}

#[tokio::test]
async fn one_that_hangs_costs_the_others_nothing() {
    let (owner, hangs, other) = (
        BackEnd::start(Say::Reply(text("owner"))).await,
        BackEnd::start(Say::Held(text(""))).await,
        BackEnd::start(Say::Text(200, "success".to_owned())).await,
    );
    let app = relayed(&owner, "safe", &(copy_to(&hangs) + &copy_to(&other))).await;
    for n in 0..40 {
        assert!(says(&app, &format!("o{n}"), "hi").await.unwrap().contains("owner"));
    }
    other.until_asked(40).await;
    hangs.until_asked(16).await;
    assert_eq!(hangs.asked().len(), 16, "so many at once, and no more");
}

/// As WeChat does: three tries, five seconds apart. This one takes its time.
#[tokio::test]
async fn a_copy_that_is_not_taken_is_tried_three_times() {
    let owner = BackEnd::start(Say::Reply(text("owner"))).await;
    let other = BackEnd::start(Say::Text(503, String::new())).await;
    let app = relayed(&owner, "safe", &copy_to(&other)).await;
    says(&app, "oA", "hi").await;
    let asked = other.until_asked(3).await;
    assert!(asked.iter().all(|asked| asked.body == asked.body));
    until("it is given up", async || relays(&app, "copy_failed").await == 1.0).await;
    assert_eq!(other.asked().len(), 3);
}
