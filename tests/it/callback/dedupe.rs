//! WeChat asks three times; it counts once.

use wxgate::sandbox::{CallbackRequest, Receipts};

use crate::harness::TestApp;

#[tokio::test]
async fn a_repeated_message_gets_its_first_reply_again_and_is_kept_once() {
    let app = TestApp::start().await;
    let text = || CallbackRequest::text("oASKS", "help").msg_id(77).create_time(1_767_400_000);
    let first = app.sandbox.send_callback(text()).await.unwrap();
    let again = app.sandbox.send_callback(text()).await.unwrap();
    assert!(first.decrypted_reply.as_ref().unwrap().contains("How can we help?"), "{first:?}");
    assert_eq!(first.decrypted_reply, again.decrypted_reply);
    assert_eq!(app.metric(r#"wxgate_callbacks_total{account="shop",result="stored",type="text"}"#).await, 1.0);
    assert_eq!(app.metric(r#"wxgate_callbacks_total{account="shop",result="repeat",type="text"}"#).await, 1.0);
}

#[tokio::test]
async fn fifty_repeats_at_once_are_one() {
    let app = TestApp::start().await;
    let repeats = (0..50)
        .map(|_| app.sandbox.send_callback(CallbackRequest::text("oASKS", "hi").msg_id(78).create_time(1_767_400_000)));
    for result in futures_util::future::join_all(repeats).await {
        assert!(result.unwrap().accepted);
    }
    assert_eq!(app.metric(r#"wxgate_callbacks_total{account="shop",result="stored",type="text"}"#).await, 1.0);
}

#[tokio::test]
async fn two_receipts_of_one_second_are_two() {
    let app = TestApp::start().await;
    assert_eq!(app.sandbox.settings().receipts, Receipts::Manual);
    let ids = [app.send("oTWO").await.field("message_id"), app.send("oTWO").await.field("message_id")];
    app.sandbox.deliver_receipts().await;
    for id in ids {
        assert_eq!(app.state_of(&id).await, "delivered");
    }
}

#[tokio::test]
async fn equal_events_of_different_moments_are_two() {
    let app = TestApp::start().await;
    for seconds in [1_767_400_000, 1_767_400_001, 1_767_400_001] {
        let click = CallbackRequest::new("click", "oCLICKS").field("event_key", "V1").create_time(seconds);
        assert!(app.sandbox.send_callback(click).await.unwrap().accepted);
    }
    assert_eq!(app.metric(r#"wxgate_callbacks_total{account="shop",result="stored",type="event.CLICK"}"#).await, 2.0);
}
