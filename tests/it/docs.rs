//! What the documents say is what the code has.

use wxgate::http::code;

const BEGIN: &str = "<!-- errors:begin -->";
const END: &str = "<!-- errors:end -->";

#[test]
fn the_table_of_codes_is_the_one_of_the_code() {
    let page = std::fs::read_to_string("docs/api.md").unwrap();
    let (before, rest) = page.split_once(BEGIN).unwrap();
    let (table, after) = rest.split_once(END).unwrap();
    let right = code::render_table();
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write("docs/api.md", format!("{before}{BEGIN}\n{}\n{END}{after}", right.trim())).unwrap();
        return;
    }
    assert_eq!(table.trim(), right.trim(), "WRITE_DOCS=1 cargo test --test it docs:: puts the right one there");
}

#[test]
fn every_metric_of_the_code_stands_in_the_operators_page() {
    let page = std::fs::read_to_string("docs/operations.md").unwrap();
    let source = std::fs::read_to_string("src/telemetry/metrics.rs").unwrap();
    let is_name =
        |text: &&str| text.starts_with("wxgate_") && text.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    let names: Vec<_> = source.split('"').filter(is_name).collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        assert!(page.contains(name), "{name} is not explained in docs/operations.md");
    }
}

/// `a::b::name` → the test of this name in `tests/it/a/b.rs` or `src/a/b.rs`.
#[test]
fn every_test_that_the_page_on_security_names_exists() {
    let page = std::fs::read_to_string("docs/security.md").unwrap();
    let is_part = |part: &str| {
        !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
    };
    let named: Vec<&str> =
        page.split('`').filter(|text| text.contains("::") && text.split("::").all(is_part)).collect();
    assert!(named.len() > 40, "{named:?}");
    for name in named {
        let (path, test) = name.rsplit_once("::").unwrap();
        let path = path.replace("::", "/");
        let files = ["tests/it", "src"].map(|root| [format!("{root}/{path}.rs"), format!("{root}/{path}/mod.rs")]);
        let mut sources = files.iter().flatten().filter_map(|file| std::fs::read_to_string(file).ok());
        let is_there = |source: String| {
            let Some(at) = source.find(&format!("fn {test}(")) else { return false };
            let before: Vec<&str> = source[..at].lines().rev().take(4).collect();
            before.iter().any(|line| line.trim_start().starts_with("#[") && line.contains("test"))
        };
        assert!(sources.any(is_there), "docs/security.md names {name}: there is no such test");
    }
}

const CALLBACKS: [&str; 2] = ["<!-- callbacks:begin -->", "<!-- callbacks:end -->"];

#[test]
fn the_callbacks_of_the_page_on_events_are_those_of_the_code() {
    let [begin, end] = CALLBACKS;
    let page = std::fs::read_to_string("docs/events.md").unwrap();
    let (before, rest) = page.split_once(begin).unwrap();
    let (list, after) = rest.split_once(end).unwrap();
    let right = wxgate::http::callback_events::render();
    assert!(right.matches("### `callback.").count() >= 52);
    if std::env::var_os("WRITE_DOCS").is_some() {
        std::fs::write("docs/events.md", format!("{before}{begin}\n{}\n{end}{after}", right.trim())).unwrap();
        return;
    }
    assert_eq!(list.trim(), right.trim(), "WRITE_DOCS=1 cargo test --test it docs:: puts the right one there");
}

#[test]
fn the_samples_of_callbacks_are_the_fixtures() {
    let samples = std::fs::read_to_string("src/http/callback_events/samples.jsonl").unwrap();
    for sample in samples.lines() {
        let inbound = wxgate::wechat::inbound::Inbound::parse(sample.as_bytes()).unwrap();
        let fixture = format!("tests/fixtures/wechat/{}.json", inbound.label());
        assert_eq!(std::fs::read_to_string(&fixture).unwrap().trim(), sample, "{fixture}");
    }
    assert_eq!(samples.lines().count(), 54);
}
