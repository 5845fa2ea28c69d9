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
