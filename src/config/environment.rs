//! Settings from the environment: `WXGATE__SERVER__LISTEN=…` → `server.listen`.

use std::sync::Arc;

use super::origin::{ConfigError, Origin};
use super::tree::{Node, Raw, Table};

const PREFIX: &str = "WXGATE__";
const SEPARATOR: &str = "__";

/// Lays the variables that concern us on `tree`. The part of a name that means a table or key which is there already
/// finds it in either case, and with `_` for `-`; a new one is taken in lower case.
pub(super) fn lay_over(tree: &mut Table, env: &[(String, String)]) -> Vec<ConfigError> {
    let mut ours: Vec<_> = env.iter().filter(|(name, _)| name.starts_with(PREFIX)).collect();
    ours.sort();
    ours.into_iter().filter_map(|(name, value)| put(tree, name, value).err()).collect()
}

fn put(tree: &mut Table, name: &str, value: &str) -> Result<(), ConfigError> {
    let origin = Origin::Env { name: Arc::from(name) };
    let wrong = |problem: String| ConfigError { key: String::new(), origin: Some(origin.clone()), problem };
    let parts: Vec<&str> = name[PREFIX.len()..].split(SEPARATOR).collect();
    if parts.iter().any(|part| part.is_empty()) {
        return Err(wrong("a part of the name is empty; write WXGATE__SECTION__KEY".to_owned()));
    }
    let Some((last, tables)) = parts.split_last() else {
        return Ok(());
    };
    let mut table = tree;
    for part in tables {
        let key = known_name(table, part);
        let new = || Node { raw: Raw::Table(Table::new()), origin: origin.clone() };
        match &mut table.entry(key.clone()).or_insert_with(new).raw {
            Raw::Table(inner) => table = inner,
            other => return Err(wrong(format!("`{key}` is {}, it has no keys below it", other.kind()))),
        }
    }
    let key = known_name(table, last);
    table.insert(key, Node { raw: Raw::Text(value.to_owned()), origin });
    Ok(())
}

fn known_name(table: &Table, part: &str) -> String {
    let plain = |name: &str| name.to_ascii_lowercase().replace('-', "_");
    let wanted = plain(part);
    table.keys().find(|key| plain(key) == wanted).cloned().unwrap_or_else(|| part.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::super::tree::parse;
    use super::*;

    fn variables(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn a_variable_finds_a_table_with_a_dash_and_makes_a_new_one_in_lower_case() {
        let mut tree = parse("[clients.order-service]\nscopes = []\n", None).unwrap();
        let env = variables(&[
            ("WXGATE__CLIENTS__ORDER_SERVICE__SCOPES", "send"),
            ("WXGATE__CLIENTS__CRM__SCOPES", "read"),
            ("WXGATE_CONFIG", "x"),
            ("HOME", "/root"),
        ]);
        assert_eq!(lay_over(&mut tree, &env), []);
        let Raw::Table(clients) = &tree["clients"].raw else { panic!("a table") };
        assert_eq!(clients.keys().collect::<Vec<_>>(), ["crm", "order-service"]);
        let Raw::Table(order) = &clients["order-service"].raw else { panic!("a table") };
        assert_eq!(order["scopes"].raw, Raw::Text("send".to_owned()));
        assert_eq!(order["scopes"].origin.to_string(), "environment WXGATE__CLIENTS__ORDER_SERVICE__SCOPES");
    }

    #[test]
    fn a_name_that_leads_nowhere_is_an_error() {
        let mut tree = parse("[server]\nlisten = 'x'\n", None).unwrap();
        let env =
            variables(&[("WXGATE__SERVER____LISTEN", "x"), ("WXGATE__SERVER__LISTEN__PORT", "1"), ("WXGATE__", "x")]);
        let shown: Vec<_> = lay_over(&mut tree, &env).iter().map(ToString::to_string).collect();
        assert_eq!(shown.len(), 3, "{shown:?}");
        assert!(shown.iter().any(|line| line.contains("`listen` is a text")), "{shown:?}");
    }
}
