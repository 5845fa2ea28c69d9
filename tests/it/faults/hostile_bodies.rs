//! Bodies of callbacks that attack the reader: refused soon, in few words, and nothing is kept. In the clear (whoever can
//! reach the port may send them) and sealed (as if the key had been lost).

use std::convert::Infallible;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body_util::StreamBody;
use hyper::body::Frame;

use super::hostile_letter::{NONCE, app, is_refused, kept, now, plain_query, post, post_sealed, text};
/// Generous for a debug build on a busy machine; a reader that is not linear takes minutes.
const SOON: Duration = Duration::from_secs(5);
const LIMIT: usize = 512 * 1024;

fn bombs() -> Vec<(&'static str, String)> {
    let body = text("oBOMB", 1, "hi");
    let with_doctype =
        |doctype: &str, content: &str| format!("<!DOCTYPE xml [{doctype}]>{}", text("oBOMB", 1, content));
    let laughs = (1..10).fold("<!ENTITY l0 \"ha\">".to_owned(), |all, n| {
        format!("{all}<!ENTITY l{n} \"{}\">", format!("&l{};", n - 1).repeat(10))
    });
    let attributes: String = (0..20_000).map(|n| format!(" a{n}=\"{n}\"")).collect();
    vec![
        ("billion laughs", with_doctype(&laughs, "&l9;")),
        (
            "one big entity many times",
            with_doctype(&format!("<!ENTITY b \"{}\">", "b".repeat(50_000)), &"&b;".repeat(50_000)),
        ),
        ("an entity of itself", with_doctype("<!ENTITY a \"&b;\"><!ENTITY b \"&a;\">", "&a;")),
        ("an external entity", with_doctype("<!ENTITY x SYSTEM \"file:///etc/passwd\">", "&x;")),
        ("an external entity over HTTP", with_doctype("<!ENTITY x SYSTEM \"http://127.0.0.1:9/x\">", "&x;")),
        ("parameter entities", with_doctype("<!ENTITY % p SYSTEM \"http://127.0.0.1:9/p.dtd\">%p;", "hi")),
        ("an external DTD", body.replacen("<xml>", "<!DOCTYPE xml SYSTEM \"http://127.0.0.1:9/x.dtd\"><xml>", 1)),
        ("a DOCTYPE alone", format!("<!DOCTYPE xml>{body}")),
        ("a doctype in small letters", format!("<!doctype xml>{body}")),
        ("a DOCTYPE inside", body.replace("<MsgType>", "<!DOCTYPE x><MsgType>")),
        ("a DOCTYPE that does not end", format!("<!DOCTYPE xml [{}{body}", "<!--".repeat(1_000))),
        ("an entity that nobody declared", text("oBOMB", 1, "&x;")),
        ("an entity in capitals", text("oBOMB", 1, "&AMP;")),
        ("a reference without an end", text("oBOMB", 1, "&amp")),
        ("character nought", text("oBOMB", 1, "&#0;")),
        ("half a pair", text("oBOMB", 1, "&#xD800;")),
        ("beyond Unicode", text("oBOMB", 1, "&#x110000;")),
        ("beyond 32 bits", text("oBOMB", 1, "&#99999999999999;")),
        ("an include", text("oBOMB", 1, "<![INCLUDE[x]]>")),
        ("a CDATA that does not end", text("oBOMB", 1, "<![CDATA[x")),
        ("an instruction", text("oBOMB", 1, "<?php system('id') ?>")),
        ("a stylesheet", format!("<?xml-stylesheet href=\"http://127.0.0.1:9/\"?>{body}")),
        ("two declarations", format!("<?xml version=\"1.0\"?><?xml version=\"1.0\"?>{body}")),
        ("two roots", format!("{body}{body}")),
        ("text behind the root", format!("{body}more")),
        ("text before the root", format!("more{body}")),
        ("another root", body.replace("<xml>", "<html>").replace("</xml>", "</html>")),
        ("tags that cross", text("oBOMB", 1, "<a><b></a></b>")),
        ("a tag without a name", text("oBOMB", 1, "<>x</>")),
        ("half of it", body[..body.len() / 2].to_owned()),
        ("deeper than any tree", format!("<xml>{}", "<a>".repeat(170_000))),
        ("deep and closed", format!("<xml>{}{}</xml>", "<a>".repeat(70_000), "</a>".repeat(70_000))),
        ("33 levels", format!("<xml>{}{}</xml>", "<a>".repeat(33), "</a>".repeat(33))),
        ("more nodes than anybody needs", format!("<xml>{}</xml>", "<a/>".repeat(100_000))),
        ("ends without starts", format!("<xml>{}</xml>", "</a>".repeat(100_000))),
        ("comments that do not end", format!("<xml>{}", "<!--".repeat(100_000))),
        ("only brackets", "<".repeat(500_000)),
        ("only references", format!("<xml>{}", "&".repeat(400_000))),
        ("attributes without an end", format!("<xml{attributes}")),
        ("deep JSON", format!("{{\"a\":{}", "[".repeat(500_000))),
        ("deep JSON that is closed", format!("{{\"a\":{}{}}}", "[".repeat(200_000), "]".repeat(200_000))),
        ("deep objects", format!("{}1{}", "{\"a\":".repeat(80_000), "}".repeat(80_000))),
        ("JSON members twice", r#"{"MsgType":"text","MsgType":"event","Event":"subscribe"}"#.to_owned()),
        ("a JSON array", "[1,2,3]".to_owned()),
        ("a JSON of blanks", format!("{{{}", " ".repeat(400_000))),
        ("nothing", String::new()),
        ("blanks", " \r\n\t".repeat(1_000)),
    ]
}

/// How a bomb comes in.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// To a safe account, by somebody who knows no secret: it is read before the signature inside it can be checked.
    Unsigned,
    /// To a safe account, signed and inside a good cipher text.
    Sealed,
    /// To a plain account, with a good signature, which does not cover it.
    Plain,
}

#[rstest::rstest]
#[case(Way::Unsigned, "safe")]
#[case(Way::Sealed, "safe")]
#[case(Way::Plain, "plain")]
#[tokio::test]
async fn a_bomb_is_refused_soon_and_leaves_nothing(#[case] way: Way, #[case] mode: &'static str) {
    let app = app(mode).await;
    for (name, bomb) in bombs() {
        let started = Instant::now();
        let query = plain_query(&now(&app), NONCE);
        let reply = match way {
            Way::Sealed => post_sealed(&app, &bomb).await,
            Way::Plain => post(&app, &query, bomb).await,
            Way::Unsigned => {
                post(&app, &format!("{query}&encrypt_type=aes&msg_signature={}", "0".repeat(40)), bomb).await
            }
        };
        // Sealing makes it longer: some do not even fit.
        let status = if reply.status == 413 { 413 } else { 400 };
        is_refused(&reply, status, name);
        assert!(started.elapsed() < SOON, "{name}: {:?}", started.elapsed());
    }
    assert_eq!(kept(&app), 0);
    let good = text("oGOOD", 1, "hi");
    let reply = match way {
        Way::Plain => post(&app, &plain_query(&now(&app), NONCE), good).await,
        Way::Unsigned | Way::Sealed => post_sealed(&app, &good).await,
    };
    assert_eq!((reply.status, kept(&app)), (200, 1), "after all that: {}", reply.text);
}

#[tokio::test]
async fn what_is_only_odd_is_taken_and_soon() {
    let app = app("plain").await;
    let attributes: String = (0..20_000).map(|n| format!(" a{n}=\"{n}\"")).collect();
    let message = |n: u64, content: &str| text("oODD", n, content);
    for (number, (name, body)) in [
        ("20,000 attributes", message(1, "hi").replacen("<xml>", &format!("<xml{attributes}>"), 1)),
        (
            "an attribute of 400 KB",
            message(2, "hi").replacen("<xml>", &format!("<xml a=\"{}\">", "x".repeat(400_000)), 1),
        ),
        ("an entity in an attribute", message(3, "hi").replacen("<xml>", "<xml a=\"&unknown;\">", 1)),
        (
            "one attribute many times",
            message(4, "hi").replacen("<xml>", &format!("<xml{}>", " a=\"1\"".repeat(20_000)), 1),
        ),
        ("tags inside CDATA", message(5, &format!("<![CDATA[{}]]>", "<a>".repeat(50_000)))),
        ("a DOCTYPE inside CDATA", message(6, "<![CDATA[<!DOCTYPE xml [<!ENTITY a \"b\">]>&a;]]>")),
        ("the end of the root inside CDATA", message(7, "<![CDATA[</Content><MsgId>999</MsgId></xml>]]>")),
        ("many CDATA", message(8, &"<![CDATA[]]>".repeat(30_000))),
        ("a CDATA that is cut", message(9, "<![CDATA[a]]]]><![CDATA[>b]]>")),
        ("comments", message(10, &"<!-- -->".repeat(30_000))),
        ("references", message(11, &"&#65;&amp;".repeat(20_000))),
        (
            "a declared encoding that it has not",
            format!("<?xml version=\"1.0\" encoding=\"gbk\"?>{}", message(12, "茶")),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let started = Instant::now();
        let reply = post(&app, &plain_query(&now(&app), NONCE), body).await;
        assert_eq!(reply.status, 200, "{name}: {}", reply.text);
        assert!(started.elapsed() < SOON, "{name}: {:?}", started.elapsed());
        assert_eq!(kept(&app), i64::try_from(number).unwrap() + 1, "{name}");
    }
}

#[tokio::test]
async fn a_body_is_read_up_to_its_limit_and_no_further() {
    let app = app("plain").await;
    let frame = text("oLONG", 1, "").len();
    let longest = text("oLONG", 1, &"x".repeat(LIMIT - frame));
    assert_eq!(longest.len(), LIMIT);
    let query = plain_query(&now(&app), NONCE);
    is_refused(&post(&app, &query, format!("{longest} ")).await, 413, "one byte more");
    is_refused(&post(&app, &query, format!("<xml>{}", "<a>".repeat(1_000_000))).await, 413, "a million levels");
    let pieces = (0..600).map(|_| Ok::<_, Infallible>(Frame::data(Bytes::from(vec![b'x'; 1024]))));
    let unannounced = reqwest::Body::wrap(StreamBody::new(futures_util::stream::iter(pieces)));
    is_refused(&post(&app, &query, unannounced).await, 413, "not announced");
    assert_eq!(kept(&app), 0);
    assert_eq!(post(&app, &query, longest).await.status, 200, "the last byte that fits");
}

#[tokio::test]
async fn what_is_not_utf8_is_refused() {
    let app = app("plain").await;
    let query = plain_query(&now(&app), NONCE);
    let body = text("oBYTES", 1, "#");
    let with = |bytes: &[u8]| {
        let (before, after) = body.split_once('#').unwrap();
        [before.as_bytes(), bytes, after.as_bytes()].concat()
    };
    for (name, bytes) in [
        ("a lone byte", with(b"\xff")),
        ("GBK", with(b"\xb2\xe8")),
        ("half a character", with(b"\xe8\x8c")),
        ("an overlong zero", with(b"\xc0\x80")),
        ("half a pair", with(b"\xed\xa0\x80")),
        ("UTF-16", body.encode_utf16().flat_map(u16::to_le_bytes).collect()),
        (
            "UTF-16 with its mark",
            [b"\xff\xfe".to_vec(), body.encode_utf16().flat_map(u16::to_le_bytes).collect()].concat(),
        ),
        ("zeros", vec![0; 1_000]),
    ] {
        is_refused(&post(&app, &query, bytes).await, 400, name);
    }
    assert_eq!(kept(&app), 0);
}
