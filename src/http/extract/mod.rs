//! From a request to values: who calls, the body, the query, the headers that matter. Every refusal wears our shape.

pub mod caller;
pub mod fields;
pub mod idempotency;
pub mod json;
pub mod page;
pub mod path;
pub mod prefer;
pub mod query;

/// ` (did you mean …?)`, when one of the names is close to what was written.
fn nearest(written: &str, names: &[&str]) -> String {
    let close = names.iter().map(|name| (strsim::osa_distance(written, name), name)).min();
    match close {
        Some((distance, name)) if distance <= 1.max(name.len() / 3) => format!(" (did you mean {name}?)"),
        _ => String::new(),
    }
}
