//! The callback sender against a tiny gateway: all modes and formats, receipts, everything that is broken on purpose.

use super::gateway::{Gateway, Seen};
use super::*;
use crate::domain::account::CallbackMode;
use crate::sandbox::{Broken, CallbackRequest, Fault, FaultKind, Receipts};
use crate::wechat::crypt::{self, EncodingAesKey};
use crate::wechat::inbound::Inbound;
use crate::wechat::reply::{self, Reply, SealWith};
use crate::wechat::signature;
use crate::wechat::tree::{self, Format, Node};

const TOKEN: &str = "callbackToken";

fn key() -> EncodingAesKey {
    EncodingAesKey::parse(AES_KEY).unwrap()
}

fn safe(gateway: &Gateway) -> CallbackTarget {
    CallbackTarget::safe(&gateway.url, TOKEN, AES_KEY)
}

/// Checks both signatures as a gateway must.
fn is_signed(seen: &Seen) -> (bool, bool) {
    let text = |name: &str| seen.query.get(name).map(String::as_str).unwrap_or_default();
    let (timestamp, nonce) = (text("timestamp"), text("nonce"));
    let outer = signature::verify(text("signature"), &[TOKEN, timestamp, nonce]);
    let encrypt =
        tree::parse(seen.body.as_bytes()).ok().and_then(|(node, _)| node.text_of("Encrypt").map(str::to_owned));
    let sealed = encrypt
        .is_some_and(|encrypt| signature::verify(text("msg_signature"), &[TOKEN, timestamp, nonce, encrypt.as_str()]));
    (outer, sealed)
}

fn parsed(body: &str) -> Node {
    tree::parse(body.as_bytes()).unwrap().0
}

fn opened(seen: &Seen) -> Node {
    let encrypt = parsed(&seen.body).text_of("Encrypt").unwrap().to_owned();
    let plain = crypt::decrypt(&key(), &encrypt, DEMO_APP_ID).unwrap();
    parsed(std::str::from_utf8(&plain).unwrap())
}

#[tokio::test]
async fn all_modes_and_formats_can_be_read() {
    let gateway = Gateway::content().await;
    let bench = Bench::calling(safe(&gateway)).await;
    for mode in [CallbackMode::Plain, CallbackMode::Compatible, CallbackMode::Safe] {
        for format in ["xml", "json"] {
            let request = CallbackRequest::text("oUser", "你好]]>").mode(mode).format(format);
            let result = bench.sandbox.send_callback(request).await.unwrap();
            assert!(result.accepted, "{mode:?} {format} {result:?}");
            let seen = gateway.seen().pop().unwrap();
            let sealed = mode != CallbackMode::Plain;
            assert_eq!(is_signed(&seen), (true, sealed), "{mode:?} {format}");
            assert_eq!(seen.query.get("encrypt_type").map(String::as_str), sealed.then_some("aes"));
            assert_eq!(seen.query["openid"], "oUser");
            if mode != CallbackMode::Safe {
                assert_eq!(parsed(&seen.body).text_of("Content"), Some("你好]]>"), "{mode:?} {format}");
            }
            if sealed {
                assert_eq!(opened(&seen).text_of("Content"), Some("你好]]>"), "{mode:?} {format}");
            } else {
                assert!(parsed(&seen.body).text_of("Encrypt").is_none());
            }
        }
    }
}

#[tokio::test]
async fn a_sealed_reply_is_opened_and_a_forged_one_refused() {
    for (token, is_right) in [(TOKEN, true), ("anotherToken", false)] {
        let gateway = Gateway::answering(move |seen| {
            let said = Reply::Text { content: "welcome".to_owned() };
            let plain = reply::render(&said, "oUser", "gh_de0000000001", 1_700_000_000, Format::Xml);
            let with = SealWith {
                token,
                key: &key(),
                app_id: DEMO_APP_ID,
                random: [7; 16],
                timestamp: 1_700_000_000,
                nonce: &seen.query["nonce"],
            };
            (200, reply::seal(&plain, &with, Format::Xml))
        })
        .await;
        let bench = Bench::calling(safe(&gateway)).await;
        let result = bench.sandbox.send_callback(CallbackRequest::new("subscribe", "oUser")).await.unwrap();
        assert_eq!((result.accepted, result.decrypted_reply.is_some()), (is_right, is_right), "{result:?}");
        assert_eq!(bench.sandbox.chat(Some("oUser")).len(), usize::from(is_right));
        assert_eq!(bench.sandbox.followers(), ["oUser"]);
    }
}

#[tokio::test]
async fn a_callback_is_tried_three_times_with_the_same_id() {
    let gateway = Gateway::answering(|_| (500, "oops".to_owned())).await;
    let bench = Bench::calling(CallbackTarget::plain(&gateway.url, TOKEN)).await;
    let result = bench.sandbox.send_callback(CallbackRequest::text("o1", "hi").attempts(9)).await.unwrap();
    assert_eq!((result.status, result.accepted, result.attempts), (500, false, 3));
    let ids: Vec<_> =
        gateway.seen().iter().map(|seen| parsed(&seen.body).text_of("MsgId").map(str::to_owned)).collect();
    assert_eq!(ids.len(), 3);
    assert!(ids.iter().all(|id| id.is_some() && *id == ids[0]));
}

#[tokio::test]
async fn answers_that_wechat_cannot_use_are_not_accepted() {
    for (body, accepted) in [("success", true), ("", true), ("{\"ok\":true}", false), ("<html></html>", false)] {
        let gateway = Gateway::answering(move |_| (200, body.to_owned())).await;
        let bench = Bench::calling(CallbackTarget::plain(&gateway.url, TOKEN)).await;
        let result = bench.sandbox.send_callback(CallbackRequest::text("o1", "hi")).await.unwrap();
        assert_eq!(result.accepted, accepted, "{body}");
    }
}

#[tokio::test]
async fn what_is_broken_is_broken_in_just_that_way() {
    let gateway = Gateway::content().await;
    let bench = Bench::calling(safe(&gateway)).await;
    let send = |broken: Broken| {
        let (bench, gateway) = (&bench, &gateway);
        async move {
            bench.sandbox.send_callback(CallbackRequest::text("oUser", "hi").broken(broken)).await.unwrap();
            gateway.seen().pop().unwrap()
        }
    };
    let decrypts = |seen: &Seen| {
        let encrypt = parsed(&seen.body).text_of("Encrypt").unwrap().to_owned();
        crypt::decrypt(&key(), &encrypt, DEMO_APP_ID).is_ok()
    };
    assert!(send(Broken::Doctype).await.body.contains("<!DOCTYPE"));
    let seen = send(Broken::WrongAppid).await;
    assert_eq!((is_signed(&seen), decrypts(&seen)), ((true, true), false));
    assert_eq!(is_signed(&send(Broken::WrongMsgSignature).await), (true, false));
    assert_eq!(is_signed(&send(Broken::WrongSignature).await), (false, false));
    assert!(send(Broken::NoQuery).await.query.is_empty());
    let seen = send(Broken::Plaintext).await;
    assert_eq!((is_signed(&seen), parsed(&seen.body).text_of("Content")), ((true, false), Some("hi")));
    let seen = send(Broken::OldKey).await;
    assert_eq!((is_signed(&seen), decrypts(&seen)), ((true, true), false));
    let seen = send(Broken::StaleTimestamp).await;
    assert_eq!((is_signed(&seen), seen.query["timestamp"].as_str()), ((true, true), "1699996400"));
    assert!(send(Broken::HugeBody).await.body.len() > 600 * 1024);
    let seen = send(Broken::LargeBody).await;
    assert!((200 * 1024..512 * 1024).contains(&seen.body.len()) && opened(&seen).text_of("Content") == Some("hi"));
    let names: Vec<String> =
        opened(&send(Broken::ReorderedTags).await).children.into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        (names.first().map(String::as_str), names.last().map(String::as_str)),
        (Some("MsgId"), Some("ToUserName"))
    );
    assert_eq!(opened(&send(Broken::UnknownTags).await).text_of("NobodyKnows"), Some("<this>"));
    assert_eq!(opened(&send(Broken::Blanks).await).text_of("Content"), Some("hi"));
    assert_eq!(opened(&send(Broken::WrongAccount).await).text_of("ToUserName"), Some("gh_000000000000"));
    assert!(tree::parse(send(Broken::CutBody).await.body.as_bytes()).is_err());
    assert!(send(Broken::EmptyBody).await.body.is_empty());
    assert!(tree::parse(send(Broken::Garbage).await.body.as_bytes()).is_err());
    let seen = send(Broken::BadBase64).await;
    assert_eq!((is_signed(&seen), decrypts(&seen)), ((true, true), false));
}

#[tokio::test]
async fn subscription_events_list_every_template_in_both_formats() {
    let gateway = Gateway::content().await;
    let bench = Bench::calling(safe(&gateway)).await;
    for format in ["xml", "json"] {
        for templates in ["TPL-1", "TPL-1,TPL-2"] {
            let request = CallbackRequest::new("subscribe_msg_sent_event", "oUser")
                .field("template_id", templates)
                .field("msgid", "3487542469355618313")
                .format(format);
            bench.sandbox.send_callback(request).await.unwrap();
            let root = opened(&gateway.seen().pop().unwrap());
            let format = if format == "xml" { Format::Xml } else { Format::Json };
            let reports = Inbound::from_node(root, format).delivery_reports();
            assert_eq!(reports.len(), templates.split(',').count(), "{format:?} {templates}");
            assert!(reports.iter().all(|report| report.msgid == "3487542469355618313"));
        }
    }
}

#[tokio::test]
async fn the_console_checks_the_url_with_an_echo() {
    let echo = Gateway::answering(|seen| (200, seen.query["echostr"].clone())).await;
    let bench = Bench::calling(safe(&echo)).await;
    assert!(bench.sandbox.send_callback(CallbackRequest::verify()).await.unwrap().accepted);
    assert!(is_signed(&echo.seen()[0]).0);
    let quoted = Gateway::answering(|seen| (200, format!("\"{}\"", seen.query["echostr"]))).await;
    bench.sandbox.set_callback_target(None, Some(safe(&quoted)));
    assert!(!bench.sandbox.send_callback(CallbackRequest::verify()).await.unwrap().accepted);
}

#[tokio::test]
async fn receipts_follow_when_pumped_and_name_the_msgid() {
    let gateway = Gateway::content().await;
    let bench = Bench::calling(safe(&gateway)).await;
    let answer = bench.send("sim-user-block", "a").await.unwrap();
    assert_eq!((gateway.seen().len(), bench.sandbox.pending_receipts()), (0, 1));
    assert_eq!(bench.sandbox.deliver_receipts().await, 1);
    let receipt = opened(&gateway.seen()[0]);
    assert_eq!(receipt.text_of("Event"), Some("TEMPLATESENDJOBFINISH"));
    assert_eq!(receipt.text_of("MsgID"), Some(answer["msgid"].to_string().as_str()));
    assert_eq!(receipt.text_of("Status"), Some("failed:user block"));
    assert_eq!(receipt.text_of("FromUserName"), Some("sim-user-block"));
}

#[tokio::test]
async fn receipts_follow_by_themselves_when_automatic() {
    let (told, mut heard) = tokio::sync::mpsc::unbounded_channel();
    let gateway = Gateway::answering(move |seen| {
        let _ = told.send(parsed(&seen.body).text_of("Status").map(str::to_owned));
        (200, "success".to_owned())
    })
    .await;
    let bench = Bench::calling(CallbackTarget::plain(&gateway.url, TOKEN)).await;
    bench.sandbox.change_settings(|settings| {
        settings.receipts = Receipts::Automatic;
        settings.receipt_delay_ms = 1;
    });
    bench.send("sim-system-failed", "a").await.unwrap();
    assert_eq!(heard.recv().await.flatten().as_deref(), Some("failed: system failed"));
}

#[tokio::test]
async fn receipts_may_come_first_twice_contradict_be_odd_or_never_come() {
    for (kind, expected) in [
        (FaultKind::ReceiptBefore, vec!["success"]),
        (FaultKind::ReceiptTwice, vec!["success", "success"]),
        (FaultKind::ReceiptContradicting, vec!["success", "failed: system failed"]),
        (FaultKind::ReceiptUnknown, vec!["pending review"]),
        (FaultKind::ReceiptNever, vec![]),
    ] {
        let gateway = Gateway::content().await;
        let bench = Bench::calling(CallbackTarget::plain(&gateway.url, TOKEN)).await;
        bench.sandbox.set_fault(Fault::of(kind));
        bench.send("o1", "a").await.unwrap();
        let before = usize::from(kind == FaultKind::ReceiptBefore);
        assert_eq!(gateway.seen().len(), before, "{kind:?}");
        bench.sandbox.deliver_receipts().await;
        let statuses: Vec<String> =
            gateway.seen().iter().map(|seen| parsed(&seen.body).text_of("Status").unwrap().to_owned()).collect();
        assert_eq!(statuses, expected, "{kind:?}");
    }
}

#[tokio::test]
async fn a_receipt_that_comes_first_also_comes_when_the_caller_hangs_up() {
    let gateway = Gateway::content().await;
    let bench = Bench::calling(CallbackTarget::plain(&gateway.url, TOKEN)).await;
    bench.sandbox.set_fault(Fault::of(FaultKind::ReceiptBefore));
    let uri = format!("{SEND}?access_token={}", bench.token().await);
    let body = axum::body::Body::from(push("o1", "a").to_string());
    let request = http::Request::post(uri).body(body).unwrap();
    let mut call = Box::pin(tower::ServiceExt::oneshot(bench.sandbox.router(), request));
    while bench.sandbox.message_count() == 0 {
        assert!(futures_util::poll!(&mut call).is_pending());
    }
    drop(call);
    while bench.sandbox.pending_receipts() > 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(gateway.seen().len(), 1);
}

#[tokio::test]
async fn many_failures_silence_wechat_for_a_minute() {
    let gateway = Gateway::answering(|_| (500, String::new())).await;
    let bench = Bench::calling(CallbackTarget::plain(&gateway.url, TOKEN)).await;
    bench.sandbox.change_settings(|settings| settings.silence_after = Some(2));
    for _ in 0..4 {
        bench.sandbox.send_callback(CallbackRequest::text("o1", "hi")).await.unwrap();
    }
    assert_eq!(gateway.seen().len(), 2);
    bench.clock.advance(std::time::Duration::from_secs(60));
    bench.sandbox.send_callback(CallbackRequest::text("o1", "hi")).await.unwrap();
    assert_eq!(gateway.seen().len(), 3);
}
