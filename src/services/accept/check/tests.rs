use super::super::input::{Keyword, MiniProgram};
use super::*;

type Change<'a> = &'a dyn Fn(&mut SendInput);

fn valid() -> SendInput {
    SendInput {
        template_id: "TPL".to_owned(),
        data: vec![("thing1".to_owned(), Keyword { value: "茶".to_owned(), color: None })],
        ..SendInput::default()
    }
}

fn codes(input: &SendInput) -> Vec<(String, &'static str)> {
    let mut errors = Vec::new();
    content(input, &mut errors);
    errors.into_iter().map(|error| (error.path, error.code)).collect()
}

#[test]
fn everything_wrong_is_told_at_once_with_its_path() {
    assert_eq!(codes(&valid()), []);
    let mut input = valid();
    input.template_id = "with blank".to_owned();
    input.data.push(("a/b".to_owned(), Keyword { value: "x".repeat(2_001), color: None }));
    input.url = Some("javascript:alert(1)".to_owned());
    input.miniprogram = Some(MiniProgram { appid: String::new(), pagepath: Some("a\nb".to_owned()) });
    input.client_msg_id = Some("é".to_owned());
    input.metadata = vec![("k".to_owned(), "v".repeat(3_000))];
    let paths: Vec<_> = codes(&input).into_iter().map(|(path, _)| path).collect();
    assert_eq!(
        paths,
        [
            "/template_id",
            "/data/a~1b",
            "/data/a~1b",
            "/url",
            "/miniprogram/appid",
            "/miniprogram/pagepath",
            "/client_msg_id",
            "/metadata"
        ]
    );
}

#[test]
fn each_rule_refuses_what_breaks_it_and_nothing_else() {
    let with = |change: &dyn Fn(&mut SendInput)| {
        let mut input = valid();
        change(&mut input);
        codes(&input).into_iter().map(|(path, code)| format!("{path} {code}")).collect::<Vec<_>>()
    };
    let value = |text: &str| vec![("thing1".to_owned(), Keyword { value: text.to_owned(), color: None })];
    let color =
        |text: &str| vec![("thing1".to_owned(), Keyword { value: "x".to_owned(), color: Some(text.to_owned()) })];
    let program =
        |appid: &str, path: &str| Some(MiniProgram { appid: appid.to_owned(), pagepath: Some(path.to_owned()) });
    let fine: [(&str, Change<'_>); 9] = [
        ("as long as may be", &|i| i.data = value(&"字".repeat(KEYWORD_VALUE_CHARS))),
        ("line breaks", &|i| i.data = value("a\nb\t\u{7}")),
        ("a colour by name", &|i| i.data = color("red")),
        ("https", &|i| i.url = Some("https://例子.测试/a?b=c#d".to_owned())),
        ("http with a port", &|i| i.url = Some("http://10.0.0.1:81".to_owned())),
        ("a long id", &|i| i.template_id = "x".repeat(TEMPLATE_ID_CHARS)),
        ("a program", &|i| i.miniprogram = program("wx0123456789abcdef", "pages/index?foo=吧")),
        ("metadata", &|i| i.metadata = vec![("k".to_owned(), "two\nlines".to_owned())]),
        ("32", &|i| i.client_msg_id = Some("x".repeat(CLIENT_MSG_ID_CHARS))),
    ];
    for (name, change) in fine {
        assert_eq!(with(change), Vec::<String>::new(), "{name}");
    }
    let wrong: [(&str, Change<'_>); 21] = [
        ("/template_id invalid_template_id", &|i| i.template_id = String::new()),
        ("/template_id invalid_template_id", &|i| i.template_id = "x".repeat(TEMPLATE_ID_CHARS + 1)),
        ("/template_id invalid_template_id", &|i| i.template_id = "T\n".to_owned()),
        ("/data empty", &|i| i.data.clear()),
        ("/data too_many", &|i| i.data = vec![("a".to_owned(), Keyword::default()); KEYWORDS + 1]),
        ("/data/thing1 too_long", &|i| i.data = value(&"字".repeat(KEYWORD_VALUE_CHARS + 1))),
        ("/data/thing1.DATA invalid_keyword", &|i| i.data[0].0 = "thing1.DATA".to_owned()),
        ("/data/ invalid_keyword", &|i| i.data[0].0 = String::new()),
        ("/data/thing1/color invalid_color", &|i| i.data = color(&"f".repeat(COLOR_CHARS + 1))),
        ("/data/thing1/color invalid_color", &|i| i.data = color("红")),
        ("/data/thing1/color invalid_color", &|i| i.data = color("#17\n")),
        ("/url invalid_url", &|i| i.url = Some(String::new())),
        ("/url invalid_url", &|i| i.url = Some("shop.example/orders".to_owned())),
        ("/url invalid_url", &|i| i.url = Some("ftp://shop.example".to_owned())),
        ("/url invalid_url", &|i| i.url = Some("https://shop.example/a\u{0}b".to_owned())),
        ("/url invalid_url", &|i| i.url = Some(format!("https://shop.example/{}", "x".repeat(URL_BYTES)))),
        ("/miniprogram/appid invalid_appid", &|i| i.miniprogram = program("wx 1", "p")),
        ("/miniprogram/pagepath invalid_pagepath", &|i| {
            i.miniprogram = program("wx1", &"p".repeat(PAGEPATH_BYTES + 1))
        }),
        ("/client_msg_id invalid_client_msg_id", &|i| i.client_msg_id = Some("x".repeat(CLIENT_MSG_ID_CHARS + 1))),
        ("/client_msg_id invalid_client_msg_id", &|i| i.client_msg_id = Some(String::new())),
        ("/metadata too_long", &|i| i.metadata = vec![("k".to_owned(), "v".repeat(METADATA_BYTES))]),
    ];
    for (expected, change) in wrong {
        assert_eq!(with(change), [expected]);
    }
    for (text, fits) in [("customer-7", true), ("顾客", true), ("", true), ("a\nb", false), (&"x".repeat(129), false)]
    {
        assert_eq!(user_id(text, &mut Vec::new()), fits, "{text:?}");
    }
}

#[test]
fn what_wechat_may_not_take_as_it_is_meant_is_warned_of() {
    let warned = |name: &str, value: &str, color: Option<&str>| {
        let keyword = Keyword { value: value.to_owned(), color: color.map(str::to_owned) };
        let input = SendInput { data: vec![(name.to_owned(), keyword)], ..valid() };
        warnings(&input).into_iter().map(|warning| format!("{} {}", warning.path, warning.code)).collect::<Vec<_>>()
    };
    for (name, value, color, expected) in [
        ("thing1", "茉莉花茶", None, &[][..]),
        ("keyword1", "anything goes", None, &[]),
        ("first", "Dear customer", None, &["/data/first not_displayed"]),
        ("remark", " ", None, &["/data/remark not_displayed", "/data/remark empty_value"]),
        ("thing1", "", None, &["/data/thing1 empty_value"]),
        ("thing1", "二十个字以内二十个字以内二十个字以内二十", None, &[]),
        ("thing1", "二十个字以内二十个字以内二十个字以内二十个", None, &["/data/thing1 too_long"]),
        ("thing1", "a\nb", None, &["/data/thing1 keyword_type"]),
        ("thing1", "a\u{7}b", None, &["/data/thing1 control_characters"]),
        ("keyword1", "茶🍵", None, &["/data/keyword1 emoji"]),
        ("number2", "12a", None, &["/data/number2 keyword_type"]),
        ("phrase3", "ok", None, &["/data/phrase3 keyword_type"]),
        ("thing1", "x", Some("#173177"), &["/data/thing1/color not_displayed"]),
        ("thing1", "x", Some("red"), &["/data/thing1/color invalid_color"]),
    ] {
        assert_eq!(warned(name, value, color), expected, "{name} {value:?}");
    }
}

#[test]
fn times_default_and_exclude_the_impossible() {
    let now = Timestamp::from_seconds(1_000);
    let ttl = Duration::from_secs(60);
    let plain = times(&valid(), ttl, now).unwrap();
    assert_eq!(plain, Times { send_at: None, expires_at: Timestamp::from_seconds(1_060) });
    let later = SendInput { send_at: Some(Timestamp::from_seconds(2_000)), ..valid() };
    assert_eq!(times(&later, ttl, now).unwrap().expires_at, Timestamp::from_seconds(2_060));
    let past = SendInput { send_at: Some(Timestamp::from_seconds(5)), ..valid() };
    assert_eq!(times(&past, ttl, now).unwrap().send_at, None);
    let expired = SendInput { expires_at: Some(Timestamp::from_seconds(1_500)), ..later };
    assert!(matches!(times(&expired, ttl, now), Err(TimesError::WouldExpire(_))));
    let far = SendInput { send_at: Some(now.plus(FURTHEST + ttl)), ..valid() };
    assert!(matches!(times(&far, ttl, now), Err(TimesError::Invalid(_))));
}

proptest::proptest! {
    #[test]
    fn what_needs_no_parser_is_what_the_parser_takes(
        text in "https?://[a-z0-9]{1,5}[a-z0-9.:@-]{0,12}[a-z0-9.]{0,3}([/?#\\\\][ -~]{0,9})?"
    ) {
        let parsed = url::Url::parse(&text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        proptest::prop_assert!(parsed || !is_plain_url(&text), "{}", text);
    }
}
