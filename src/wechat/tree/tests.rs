//! Both readers: what they read alike, what they refuse, and that nothing makes them panic.

use std::fmt::Write;

use proptest::prelude::*;
use rstest::rstest;

use super::*;

fn node(body: &str) -> Node {
    parse(body.as_bytes()).unwrap().0
}

fn fault(body: impl AsRef<[u8]>) -> String {
    parse(body.as_ref()).unwrap_err().0
}

#[test]
fn blanks_around_cdata_and_reordered_tags_change_nothing() {
    let tidy = node("<xml><A><![CDATA[one]]></A><B>2</B></xml>");
    let loose = node("\u{feff}\r\n <xml a='1'>\n <B x=\"y\">\t2 </B>\n<A>\n  <![CDATA[one]]>\n </A><!-- c --></xml>\n");
    for name in ["A", "B"] {
        assert_eq!(tidy.text_of(name), loose.text_of(name));
    }
    assert_eq!(tidy.text_of("A"), Some("one"));
}

#[test]
fn both_forms_of_a_repeated_list_are_one_tree() {
    let xml = node("<xml><Box><List><Id>1</Id></List><List><Id>2</Id></List></Box><N/></xml>");
    let json = node(r#"{"Box":{"List":[{"Id":1},{"Id":"2"}]},"N":null}"#);
    assert_eq!(xml, json);
    let ids: Vec<_> = json.child("Box").unwrap().all("List").filter_map(|entry| entry.text_of("Id")).collect();
    assert_eq!(ids, ["1", "2"]);
    assert_eq!(node(r#"{"Box":{"List":{"Id":1}},"N":""}"#), node("<xml><Box><List><Id>1</Id></List></Box><N/></xml>"));
}

#[test]
fn numbers_keep_the_digits_that_were_written() {
    let json =
        node(r#"{"a":9223372036854775807,"b":18446744073709551616000001,"c":23.1340,"d":-1e3,"e":true,"f":false}"#);
    for (name, text) in [
        ("a", "9223372036854775807"),
        ("b", "18446744073709551616000001"),
        ("c", "23.1340"),
        ("d", "-1e3"),
        ("e", "true"),
        ("f", "false"),
    ] {
        assert_eq!(json.text_of(name), Some(text), "{name}");
    }
}

#[test]
fn references_and_broken_up_cdata_are_put_together() {
    let xml = node(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<xml><T>a&lt;&amp;&gt;&quot;&apos;&#20013;&#x1F600;<![CDATA[]]]]><![CDATA[>]]></T></xml>",
    );
    assert_eq!(xml.text_of("T"), Some("a<&>\"'中😀]]>"));
    assert_eq!(node(r#"{"T":"a\u4e2d\ud83d\ude00"}"#).text_of("T"), Some("a中😀"));
}

#[test]
fn an_empty_child_has_no_text() {
    let xml = node("<xml><A></A><B/><C><![CDATA[]]></C><D> </D></xml>");
    assert_eq!(xml.children.len(), 4);
    for name in ["A", "B", "C", "D", "E"] {
        assert_eq!(xml.text_of(name), None, "{name}");
    }
}

#[rstest]
#[case::doctype("<!DOCTYPE xml><xml/>", "a DOCTYPE")]
#[case::entity_declaration(
    "<!DOCTYPE xml [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><xml><T>&a;</T></xml>",
    "a DOCTYPE"
)]
#[case::doctype_inside("<xml><!DOCTYPE a></xml>", "a DOCTYPE")]
#[case::unknown_entity("<xml><T>&nbsp;</T></xml>", "an unknown entity")]
#[case::impossible_reference("<xml><T>&#xD800;</T></xml>", "an impossible character reference")]
#[case::huge_reference("<xml><T>&#99999999999;</T></xml>", "an impossible character reference")]
#[case::second_root("<xml/><xml/>", "content after the root")]
#[case::text_after("<xml/>tail", "content outside the root")]
#[case::cdata_after("<xml/><![CDATA[x]]>", "content outside the root")]
#[case::instruction("<?php x?><xml/>", "a processing instruction")]
#[case::late_declaration("<xml><?xml version='1.0'?></xml>", "a processing instruction")]
#[case::other_root("<html><body/></html>", "the root is not <xml>")]
#[case::cut_off("<xml><A>1</A>", "the XML ends too early")]
#[case::cut_in_a_tag("<xml><A", "not well-formed XML")]
#[case::crossed("<xml><A><B></A></B></xml>", "not well-formed XML")]
#[case::only_a_comment("<!-- nothing -->", "no root")]
#[case::open_cdata("<xml><![CDATA[x</xml>", "not well-formed XML")]
#[case::json_duplicate(r#"{"a":1,"a":1}"#, "two members of one name")]
#[case::json_duplicate_escaped(r#"{"a":1,"\u0061":1}"#, "two members of one name")]
#[case::json_duplicate_inside(r#"{"x":[{"a":1,"b":{"c":1,"c":2}}]}"#, "two members of one name")]
#[case::json_tail(r#"{"a":1}{}"#, "not well-formed JSON")]
#[case::json_cut(r#"{"a":1"#, "not well-formed JSON")]
#[case::json_comma(r#"{"a":1,}"#, "not well-formed JSON")]
#[case::json_lone_surrogate(r#"{"a":"\ud83d"}"#, "not well-formed JSON")]
#[case::json_array("[1]", "the body is neither XML nor a JSON object")]
#[case::text("success", "the body is neither XML nor a JSON object")]
#[case::empty(" \n", "the body is empty")]
fn what_is_not_ours_to_read_is_refused(#[case] body: &str, #[case] reason: &str) {
    assert_eq!(fault(body), reason);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    assert_eq!(fault(b"<xml><A>\xff</A></xml>"), "the body is not UTF-8");
    assert_eq!(fault(b"{\"a\":\"\xc3\x28\"}"), "the body is not UTF-8");
}

#[test]
fn a_billion_laughs_are_not_even_begun() {
    let mut body = "<!DOCTYPE xml [<!ENTITY a0 \"ha\">".to_owned();
    for level in 1..30 {
        write!(body, "<!ENTITY a{level} \"&a{0};&a{0};\">", level - 1).unwrap();
    }
    body.push_str("]><xml><T>&a29;</T></xml>");
    assert_eq!(fault(body), "a DOCTYPE");
}

#[test]
fn depth_is_bounded_and_a_million_levels_do_no_harm() {
    let xml = |levels: usize| format!("<xml>{}{}</xml>", "<a>".repeat(levels), "</a>".repeat(levels));
    let json = |levels: usize| format!("{}1{}", "{\"a\":".repeat(levels), "}".repeat(levels));
    assert!(parse(xml(MAX_DEPTH).as_bytes()).is_ok());
    assert!(parse(json(MAX_DEPTH).as_bytes()).is_ok());
    for levels in [MAX_DEPTH + 1, 1_000_000] {
        assert_eq!(fault(xml(levels)), "nested too deeply");
        assert_eq!(fault(json(levels)), "nested too deeply");
        assert_eq!(fault(format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels))), "nested too deeply");
    }
    assert_eq!(fault("<xml>".repeat(1_000_000)), "nested too deeply");
    assert_eq!(fault("{\"a\":".repeat(1_000_000)), "not well-formed JSON");
}

#[test]
fn the_number_of_nodes_is_bounded() {
    let xml = |count: usize| format!("<xml>{}</xml>", "<a/>".repeat(count));
    let json = |count: usize| format!("{{\"a\":[1{}]}}", ",1".repeat(count - 1));
    assert!(parse(xml(MAX_NODES - 1).as_bytes()).is_ok());
    assert!(parse(json(MAX_NODES - 1).as_bytes()).is_ok());
    assert_eq!(fault(xml(MAX_NODES)), "too many nodes");
    assert_eq!(fault(json(MAX_NODES)), "too many nodes");
}

#[test]
fn a_fault_quotes_nothing_of_the_body() {
    for body in ["<xml><s3cr3t></other></xml>", "<xml>&s3cr3t;</xml>", r#"{"s3cr3t":1,"s3cr3t":2}"#, "s3cr3t"] {
        assert!(!fault(body).contains("s3cr3t"), "{body}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(body in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = parse(&body);
    }

    #[test]
    fn no_mutation_makes_it_panic(
        place in any::<prop::sample::Index>(),
        put in prop::sample::select(vec!["<", ">", "&", "]]>", "<![CDATA[", "</xml>", "\"", "{", "}", "[", "\\", "\0", "<!--", "<?"]),
        cut in any::<prop::sample::Index>(),
    ) {
        for body in [
            "<?xml version='1.0'?><xml><A a='b'><![CDATA[中]]></A><B>&amp;</B><!-- c --></xml>",
            r#"{"A":"中","B":[{"C":1.5},null,true],"D":{"E":"\u4e2d"}}"#,
        ] {
            let mut bytes = body.as_bytes().to_vec();
            let at = place.index(bytes.len());
            bytes.splice(at..at, put.bytes());
            let _ = parse(&bytes);
            bytes.truncate(cut.index(bytes.len()));
            let _ = parse(&bytes);
        }
    }

    #[test]
    fn the_same_members_are_the_same_tree_in_both_forms(
        members in prop::collection::btree_map("[A-Z][A-Za-z]{0,8}", "[a-z0-9<>&\" 中😀]{0,20}", 0..8),
    ) {
        let json = serde_json::to_string(&members).unwrap();
        let mut xml = "<xml>".to_owned();
        for (name, text) in &members {
            write!(xml, "<{name}><![CDATA[{text}]]></{name}>").unwrap();
        }
        xml.push_str("</xml>");
        prop_assert_eq!(node(&json), node(&xml));
    }
}
