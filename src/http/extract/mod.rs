//! From a request to values: who calls, the body, the query, the headers that matter. Every refusal wears our shape.

pub mod caller;
pub mod fields;
pub mod idempotency;
pub mod json;
pub mod page;
pub mod path;
pub mod prefer;
pub mod query;
pub mod watcher;

/// ` (did you mean …?)`, when one of the names is close to what was written.
fn nearest(written: &str, names: &[&str]) -> String {
    let close = names.iter().map(|name| (strsim::osa_distance(written, name), name)).min();
    let close = close.filter(|(distance, name)| *distance <= 1.max(name.len() / 3)).map(|(_, name)| name);
    // A name that was left off in the middle: `ttl`, `template`.
    let begun = || names.iter().find(|name| written.len() >= 3 && name.starts_with(written));
    close.or_else(begun).map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slips_of_the_pen_and_beginnings_find_their_name() {
        let names = ["touser", "template_id", "ttl_s", "url"];
        for (written, name) in [("tousr", "touser"), ("ttl", "ttl_s"), ("template", "template_id"), ("URl", "")] {
            assert_eq!(
                nearest(written, &names).contains(&format!("did you mean {name}?")),
                !name.is_empty(),
                "{written}"
            );
        }
        assert_eq!(nearest("te", &names), "");
        assert_eq!(nearest("", &names), "");
    }
}
