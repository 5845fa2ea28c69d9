//! `[accounts.<name>.relay]`.

use super::*;
use crate::domain::relay::{LateReply, RelayOptions, RouteMode};

fn relay(text: &str) -> RelayOptions {
    load(&format!("{SHOP}{text}"), &[]).unwrap().accounts[0].relay.clone().unwrap()
}

#[test]
fn a_url_is_enough_and_everything_can_be_said() {
    let short = relay("relay = { url = 'http://10.0.0.7:8080/wx?app=7' }\n");
    let expected = RelayOptions {
        url: Some("http://10.0.0.7:8080/wx?app=7".to_owned()),
        is_operators: true,
        ..RelayOptions::default()
    };
    assert_eq!((&short, short.timeout_ms), (&expected, 4_500));
    let long = relay(
        "[accounts.shop.relay]\nurl = 'http://old/'\ntimeout = '3s'\nlate_reply = 'custom'\ntoken = 'own12345'\n\
         [[accounts.shop.relay.routes]]\nurl = 'http://new/'\npercent = 5\ntypes = 'text'\n\
         [[accounts.shop.relay.routes]]\nurl = 'http://watch/'\nmode = 'copy'\nevents = ['SCAN', 'CLICK']\nopenids = ['oA']\n\
         timeout = '1s'\ntoken = 'other123'\n",
    );
    assert_eq!((long.timeout_ms, long.late_reply, long.routes.len()), (3_000, LateReply::Custom, 2));
    assert_eq!((long.routes[0].percent, &*long.routes[0].types), (Some(5), &["text".to_owned()][..]));
    assert_eq!((long.routes[1].mode, long.routes[1].timeout_ms), (RouteMode::Copy, Some(1_000)));
    assert_eq!(long.routes[1].token.as_ref().map(|token| token.expose()), Some("other123"));
    assert_eq!(load(SHOP, &[]).unwrap().accounts[0].relay, None);
    let by_env = load(SHOP, &[("WXGATE__ACCOUNTS__SHOP__RELAY__URL", "http://env/")]).unwrap();
    assert_eq!(by_env.accounts[0].relay.as_ref().unwrap().url.as_deref(), Some("http://env/"));
}

#[test]
fn every_mistake_is_told_with_its_place() {
    let text = format!(
        "{SHOP}[accounts.shop.relay]\ntimeout = '5s'\nlate_reply = 'sms'\nurl = 'ftp://x'\nurll = ''\n\
         [[accounts.shop.relay.routes]]\nmode = 'copy'\n\
         [[accounts.shop.relay.routes]]\nurl = 'https://u:p4ss@x/'\npercent = 101\nopenids = ['a b']\nshare = 5\n"
    );
    let lines = wrong(&text, &[]);
    has(&lines, &["accounts.shop.relay.timeout", "from \"100ms\" to \"4800ms\""]);
    has(&lines, &["accounts.shop.relay.late_reply", "\"drop\", \"custom\""]);
    has(&lines, &["accounts.shop.relay.url (", "https:// or http://"]);
    has(&lines, &["accounts.shop.relay.urll", "did you mean `url`?"]);
    has(&lines, &["accounts.shop.relay.routes.0.url: is missing"]);
    has(&lines, &["accounts.shop.relay.routes.1.url", "user or password"]);
    has(&lines, &["accounts.shop.relay.routes.1.percent", "from 0 to 100"]);
    has(&lines, &["accounts.shop.relay.routes.1.openids", "no openid"]);
    has(&lines, &["accounts.shop.relay.routes.1.share", "unknown key"]);
    has(&wrong(&format!("{SHOP}[accounts.shop.relay]\n"), &[]), &["accounts.shop.relay.url: is missing"]);
    has(&wrong(&format!("{SHOP}[accounts.shop.relay]\nroutes = 'x'\n"), &[]), &["[[accounts.shop.relay.routes]]"]);
}

#[test]
fn it_is_shown_as_it_could_be_written() {
    let text = format!(
        "{SHOP}[accounts.shop.relay]\nurl = 'http://old/'\n[[accounts.shop.relay.routes]]\nurl = 'http://new/'\ntoken = 's3cr3t-2'\n\
         [[accounts.shop.relay.routes]]\nurl = 'http://watch/'\nmode = 'copy'\n"
    );
    let shown = load(&text, &[]).unwrap().render();
    assert_eq!(shown.matches("\n[[accounts.shop.relay.routes]]\n").count(), 2, "{shown}");
    assert!(shown.contains("\n[accounts.shop.relay]\n") && !shown.contains("s3cr3t-2"), "{shown}");
    let section = &shown[shown.find("[accounts.shop.relay]").unwrap()..shown.find("[webhooks]").unwrap()];
    assert_eq!(relay(section).routes.len(), 2, "{section}");
}

#[test]
fn one_whose_account_takes_no_callbacks_is_warned_of() {
    let text = "[accounts.shop]\napp_id = 'wx1'\napp_secret = 'x'\nrelay.url = 'http://x/'\n";
    let warnings = load(text, &[]).unwrap().notes.warnings;
    assert!(warnings.iter().any(|line| line.starts_with("accounts.shop.relay: ")), "{warnings:?}");
}
