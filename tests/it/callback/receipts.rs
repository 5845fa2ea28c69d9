//! Receipts that come twice, contradict each other, or belong to nobody.

use wxgate::sandbox::{CallbackRequest, Fault, FaultKind};

use crate::harness::TestApp;

#[tokio::test]
async fn the_first_final_receipt_wins() {
    let app = TestApp::start().await;
    for kind in [FaultKind::ReceiptTwice, FaultKind::ReceiptContradicting] {
        app.sandbox.clear_faults();
        app.sandbox.set_fault(Fault::of(kind));
        let id = app.send("sim-ok").await.field("message_id");
        app.sandbox.deliver_receipts().await;
        let message = app.message(&id).await;
        assert_eq!(message["state"], "delivered", "{kind:?}: {message}");
    }
    assert_eq!(app.metric(r#"wxgate_receipts_total{account="shop",status="delivered"}"#).await, 2.0);
    let repeats = r#"wxgate_callbacks_total{account="shop",result="repeat",type="event.TEMPLATESENDJOBFINISH"}"#;
    assert_eq!(app.metric(repeats).await, 2.0, "a receipt is known by its event and msgid, whatever it says");
}

#[tokio::test]
async fn a_receipt_that_says_neither_settles_nothing() {
    let app = TestApp::start().await;
    app.sandbox.set_fault(Fault::of(FaultKind::ReceiptUnknown));
    let id = app.send("sim-ok").await.field("message_id");
    app.sandbox.deliver_receipts().await;
    assert_eq!(app.state_of(&id).await, "sent");
    assert_eq!(app.metric(r#"wxgate_receipts_total{account="shop",status="other"}"#).await, 1.0);
}

#[tokio::test]
async fn a_receipt_of_nobodys_message_is_acknowledged_kept_and_counted() {
    let app = TestApp::start().await;
    let stray = CallbackRequest::receipt("oSTRANGER", 3_487_542_469_355_618_313, "success");
    assert!(app.sandbox.send_callback(stray).await.unwrap().accepted);
    assert_eq!(app.metric(r#"wxgate_receipts_total{account="shop",status="unmatched"}"#).await, 1.0);
}
