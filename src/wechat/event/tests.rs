//! Every recorded event in both forms, field by field where a gateway acts on it.

use rstest::rstest;

use super::*;
use crate::wechat::inbound::{Inbound, Kind};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wechat/");

/// The event of a recorded file; both forms must say the same.
fn recorded(name: &str) -> Event {
    let read = |form: &str| {
        let body = std::fs::read(format!("{FIXTURES}{name}.{form}")).unwrap();
        match Inbound::parse(&body).unwrap().kind {
            Kind::Event(event) => event,
            other => panic!("{name}: {other:?}"),
        }
    };
    let event = read("xml");
    assert_eq!(event, read("json"), "{name}");
    event
}

fn owned(text: &str) -> String {
    text.to_owned()
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn report(msgid: &str, status: &str) -> DeliveryReport {
    DeliveryReport { msgid: owned(msgid), status: owned(status) }
}

#[test]
fn every_documented_event_is_recorded_and_known() {
    for (name, _) in NAMES {
        let event = recorded(&format!("event.{name}"));
        assert!(!matches!(event, Event::Unknown { .. }), "{name}");
    }
    assert_eq!(recorded("event.not_yet_documented"), Event::Unknown { event: owned("not_yet_documented") });
}

#[test]
fn a_name_is_found_whatever_its_case_and_no_two_are_alike() {
    for (name, _) in NAMES {
        let same = NAMES.iter().filter(|(other, _)| other.eq_ignore_ascii_case(name)).count();
        assert_eq!(same, 1, "{name}");
        for written in [name.to_ascii_lowercase(), name.to_ascii_uppercase()] {
            assert_eq!(Event::read(&written, &Node::default()), Event::read(name, &Node::default()));
        }
    }
    assert_eq!(Event::read("subscribed", &Node::default()), Event::Unknown { event: owned("subscribed") });
}

#[rstest]
#[case("event.subscribe", Event::Subscribe { scene: None, ticket: None })]
#[case("variants/event.subscribe.qr", Event::Subscribe { scene: some("123123"), ticket: some("TICKET-1") })]
#[case("event.unsubscribe", Event::Unsubscribe)]
#[case("event.SCAN", Event::Scan { scene: owned("SCENE-1"), ticket: some("TICKET-1") })]
#[case("event.CLICK", Event::Click { key: owned("V1001_TODAY") })]
#[case("event.VIEW", Event::View { url: owned("https://example.com/menu"), menu_id: some("411222333") })]
#[case("event.view_miniprogram", Event::ViewMiniProgram { path: owned("pages/index/index"), menu_id: some("411222333") })]
#[case("event.kf_switch_session", Event::KfSwitchSession { from: owned("agent1@shop"), to: owned("agent2@shop") })]
#[case("event.debug_demo", Event::DebugDemo { text: some("hello world") })]
fn a_simple_event_is_read(#[case] name: &str, #[case] expected: Event) {
    assert_eq!(recorded(name), expected);
}

#[test]
fn places_are_read() {
    let expected =
        Event::Location { latitude: Some(23.137_466), longitude: Some(113.352_425), precision: Some(119.385) };
    assert_eq!(recorded("event.LOCATION"), expected);
    let Event::LocationSelect { key, place } = recorded("event.location_select") else { panic!("a chosen place") };
    assert_eq!((key.as_str(), place.poi_name.as_deref(), place.scale), ("6", Some("客村"), Some(15)));
}

#[test]
fn scans_and_pictures_of_the_menu_are_read() {
    let code = ScanCode { scan_type: owned("qrcode"), result: owned("https://example.com/1") };
    assert_eq!(recorded("event.scancode_push"), Event::ScanCodePush { key: owned("6"), code: code.clone() });
    assert_eq!(recorded("event.scancode_waitmsg"), Event::ScanCodeWaitMsg { key: owned("6"), code });
    let sums = vec![owned("1b5f7c23b5bf75682a53e7b6d163e185"), owned("5a75aaca956d97be686719218f275c6b")];
    let pictures = Pictures { count: Some(2), md5_sums: sums };
    assert_eq!(recorded("event.pic_sysphoto"), Event::PicSysPhoto { key: owned("6"), pictures: pictures.clone() });
    assert_eq!(
        recorded("event.pic_photo_or_album"),
        Event::PicPhotoOrAlbum { key: owned("6"), pictures: pictures.clone() }
    );
    assert_eq!(recorded("event.pic_weixin"), Event::PicWeixin { key: owned("6"), pictures });
}

#[rstest]
#[case("event.TEMPLATESENDJOBFINISH", "success")]
#[case("variants/event.TEMPLATESENDJOBFINISH.user-block", "failed:user block")]
#[case("variants/event.TEMPLATESENDJOBFINISH.system-failed", "failed: system failed")]
fn a_receipt_of_a_template_message_is_reported(#[case] name: &str, #[case] status: &str) {
    assert_eq!(recorded(name).delivery_reports(), [report("3487542469355618313", status)]);
}

#[test]
fn each_entry_of_a_subscription_receipt_is_reported() {
    let first = report("1864323726461255680", "success");
    let both = [first.clone(), report("1864323726461255681", "failed: user refuse")];
    assert_eq!(recorded("event.subscribe_msg_sent_event").delivery_reports(), both);
    assert_eq!(recorded("variants/event.subscribe_msg_sent_event.bare-list").delivery_reports(), [first]);
}

#[test]
fn an_entry_is_found_in_any_of_the_three_containers() {
    for container in ["SubscribeMsgPopupEvent", "SubscribeMsgChangeEvent", "SubscribeMsgSentEvent"] {
        let body = format!(
            "<xml><MsgType>event</MsgType><Event>subscribe_msg_sent_event</Event><{container}><List><MsgID>7</MsgID>\
             <ErrorCode>0</ErrorCode></List></{container}></xml>"
        );
        let inbound = Inbound::parse(body.as_bytes()).unwrap();
        assert_eq!(inbound.delivery_reports(), [report("7", "success")], "{container}");
    }
}

#[test]
fn code_and_text_of_a_subscription_receipt_become_one_status() {
    let sent = |error_code, error_status: Option<&str>, msgid: &str| SubscribeSent {
        template_id: owned("TPL-1"),
        msgid: owned(msgid),
        error_code,
        error_status: error_status.map(owned),
    };
    let status = |entry: SubscribeSent| entry.delivery_report().map(|report| report.status);
    assert_eq!(status(sent(Some(0), None, "7")), some("success"));
    assert_eq!(status(sent(None, Some("success"), "7")), some("success"));
    assert_eq!(status(sent(Some(3), Some("success"), "7")), some("failed: 3"));
    assert_eq!(status(sent(Some(2), Some("user refuse"), "7")), some("failed: user refuse"));
    assert_eq!(status(sent(None, Some("failed:user block"), "7")), some("failed:user block"));
    assert_eq!(status(sent(None, None, "7")), None);
    assert_eq!(status(sent(Some(0), Some("success"), "")), None);
    assert_eq!(status(sent(Some(0), Some("success"), "0")), None);
}

#[test]
fn answers_of_a_subscriber_are_read_wherever_they_stand() {
    let answer = |template: &str, status: &str, popup_scene| SubscribeAnswer {
        template_id: owned(template),
        status: owned(status),
        popup_scene,
    };
    let both =
        |scene| Event::SubscribeMsgPopup(vec![answer("TPL-1", "accept", scene), answer("TPL-2", "reject", scene)]);
    assert_eq!(recorded("event.subscribe_msg_popup_event"), both(Some(2)));
    assert_eq!(recorded("variants/event.subscribe_msg_popup_event.bare-list"), both(Some(0)));
    let changed = Event::SubscribeMsgChange(vec![answer("TPL-1", "reject", None)]);
    assert_eq!(recorded("event.subscribe_msg_change_event"), changed);
    assert_eq!(recorded("variants/event.subscribe_msg_change_event.other-container"), changed);
}

#[test]
fn a_mass_message_is_counted_but_is_no_receipt() {
    let event = recorded("event.MASSSENDJOBFINISH");
    assert!(event.delivery_reports().is_empty());
    let Event::MassSendJobFinish(report) = event else { panic!("a mass message") };
    assert_eq!((report.msgid.as_str(), report.status.as_str()), ("1000001625", "err(30003)"));
    assert_eq!((report.total_count, report.filter_count), (Some(10), Some(8)));
    assert_eq!((report.sent_count, report.error_count), (Some(7), Some(1)));
    assert_eq!((report.copyright_state, report.copyright.len()), (Some(2), 2));
    assert_eq!(report.copyright[1].original_url.as_deref(), Some("https://example.com/o2"));
    assert_eq!(report.article_urls[0], ArticleUrl { index: Some(1), url: owned("https://example.com/a1") });
}

#[test]
fn a_published_article_is_read() {
    let article = PublishedArticle { index: Some(1), url: owned("https://example.com/article/1") };
    let report = PublishReport {
        publish_id: owned("2247503051"),
        status: Some(0),
        article_id: some("b5O2OUs25HBxRceL7hfReg"),
        articles: vec![article],
        failed: Vec::new(),
    };
    assert_eq!(recorded("event.PUBLISHJOBFINISH"), Event::PublishJobFinish(report));
    let Event::PublishJobFinish(failed) = recorded("variants/event.PUBLISHJOBFINISH.failed") else {
        panic!("a report")
    };
    assert_eq!((failed.status, failed.failed), (Some(2), vec![1, 2]));
}

#[test]
fn cards_are_read() {
    let Event::Card(card) = recorded("event.user_get_card") else { panic!("a card") };
    assert_eq!((card.kind, card.card_id.as_str()), (CardKind::Get, "pCARD0000000000000000000001"));
    assert_eq!((card.is_give_by_friend, card.is_restore_member_card), (Some(true), Some(false)));
    assert_eq!((card.code.as_deref(), card.outer_str.as_deref()), (Some("123456789012"), Some("channel-a")));
}

#[test]
fn the_accounts_verification_is_read() {
    let Event::Verification(expired) = recorded("event.verify_expired") else { panic!("a verification") };
    assert_eq!((expired.kind, expired.expired_time), (VerificationKind::Expired, Some(1_731_536_000)));
    let Event::Verification(failed) = recorded("event.naming_verify_fail") else { panic!("a verification") };
    assert_eq!((failed.fail_time, failed.fail_reason), (Some(1_699_990_000), some("by time")));
}

#[test]
fn a_users_word_on_their_data_is_read() {
    let right = UserRight {
        openid: owned("oTEST000000000000000000000001"),
        app_id: owned("wx0000000000000001"),
        revoke_info: some("301"),
    };
    assert_eq!(recorded("event.user_authorization_revoke"), Event::UserAuthorizationRevoke(right));
}
