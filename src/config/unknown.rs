//! What to say about a key that nobody knows: a later version's, or a slip of the pen.

use super::origin::{ConfigError, Origin};

/// Settings of features that this version does not have. `*` stands for any one name.
const LATER: [&str; 1] = ["telemetry.otlp_endpoint"];

/// How alike two names have to be for a guess.
const ALIKE: f64 = 0.8;

pub(super) fn explain(key: String, origin: Origin, known: &[String]) -> ConfigError {
    let problem = if is_later(&key) {
        "not available in this version".to_owned()
    } else {
        match nearest(&key, known) {
            Some(guess) => format!("unknown key; did you mean `{guess}`?"),
            None => "unknown key".to_owned(),
        }
    };
    ConfigError { key, origin: Some(origin), problem }
}

fn is_later(key: &str) -> bool {
    LATER.iter().any(|pattern| {
        let mut parts = key.split('.');
        pattern.split('.').all(|wanted| parts.next().is_some_and(|part| wanted == "*" || wanted == part))
    })
}

/// A neighbour with a like name; or else the same name in another section.
fn nearest(key: &str, known: &[String]) -> Option<String> {
    let (section, name) = parent_and_name(key);
    let neighbours = known.iter().map(|other| parent_and_name(other)).filter(|(parent, _)| *parent == section);
    let likeness =
        |other: &str| strsim::jaro_winkler(name, other).max(strsim::normalized_damerau_levenshtein(name, other));
    let best = neighbours.map(|(_, other)| (likeness(other), other)).max_by(|a, b| a.0.total_cmp(&b.0));
    match best {
        Some((score, other)) if score >= ALIKE => Some(other.to_owned()),
        _ => known.iter().find(|other| parent_and_name(other).1 == name).cloned(),
    }
}

fn parent_and_name(key: &str) -> (&str, &str) {
    key.rsplit_once('.').unwrap_or(("", key))
}

/// The name among `names` that was probably meant.
pub(super) fn nearest_name<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|other| (strsim::jaro_winkler(name, other), other))
        .filter(|(score, _)| *score >= ALIKE)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, other)| other)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(key: &str) -> String {
        let known = ["server.listen", "server.idle_timeout", "api.wait", "accounts.shop.app_id"].map(str::to_owned);
        explain(key.to_owned(), Origin::Default, &known).problem
    }

    #[test]
    fn a_slip_of_the_pen_is_guessed() {
        assert_eq!(problem("server.lisen"), "unknown key; did you mean `listen`?");
        assert_eq!(problem("server.idletimeout"), "unknown key; did you mean `idle_timeout`?");
        assert_eq!(problem("server.wait"), "unknown key; did you mean `api.wait`?");
        assert_eq!(problem("server.zebra"), "unknown key");
    }

    #[test]
    fn a_setting_of_a_later_version_says_so() {
        for key in ["telemetry.otlp_endpoint", "telemetry.otlp_endpoint.x"] {
            assert_eq!(problem(key), "not available in this version", "{key}");
        }
        assert_ne!(problem("server.otlp_endpoint"), "not available in this version");
    }
}
