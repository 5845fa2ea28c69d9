//! What `config show` and `config check` tell beside the configuration itself.

use std::fmt::Write;

use super::origin::Origin;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notes {
    /// Every setting in force, in the order of the default file. Secrets are `***`.
    pub shown: Vec<Shown>,
    /// Sections that stand in a list of them: `accounts.shop.relay.routes.0`.
    pub listed: Vec<String>,
    /// What works, but should not stay so.
    pub warnings: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// Dotted: `accounts.shop`.
    pub section: String,
    pub key: String,
    /// As TOML.
    pub value: String,
    pub origin: Origin,
}

impl Notes {
    /// The settings in force as TOML; behind each that is not a default: where it comes from.
    pub(super) fn render(&self) -> String {
        let mut sections: Vec<&str> = Vec::new();
        for shown in &self.shown {
            if !sections.contains(&shown.section.as_str()) {
                sections.push(&shown.section);
            }
        }
        let mut text = String::new();
        for section in sections {
            let gap = if text.is_empty() { "" } else { "\n" };
            let name = |section: &str| section.split('.').map(key_text).collect::<Vec<_>>().join(".");
            let list = section.rsplit_once('.').filter(|_| self.listed.iter().any(|listed| listed == section));
            let _ = match list {
                Some((list, _)) => writeln!(text, "{gap}[[{}]]", name(list)),
                None => writeln!(text, "{gap}[{}]", name(section)),
            };
            for shown in self.shown.iter().filter(|shown| shown.section == section) {
                let _ = write!(text, "{} = {}", key_text(&shown.key), shown.value);
                let _ = match &shown.origin {
                    Origin::Default => writeln!(text),
                    origin => writeln!(text, "  # {origin}"),
                };
            }
        }
        text
    }
}

fn key_text(key: &str) -> String {
    let is_bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-');
    if is_bare { key.to_owned() } else { toml::Value::String(key.to_owned()).to_string() }
}
