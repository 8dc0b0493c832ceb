//! The configuration in use: what the file says, the defaults for what it does not say, secrets masked.

use toml::{Table, Value};

use super::{
    Config,
    keys::{KEYS, Kind, SECTIONS},
};

impl Config {
    /// The configuration in use, as TOML with every key that has a value. Secrets are `***`.
    #[must_use]
    pub fn to_toml(&self) -> String {
        // The text was parsed when the configuration was made.
        let mut document: Table = self.source.expose().parse().unwrap_or_default();
        mask(&mut document);
        fill_in(&mut document);
        let mut out = String::new();
        for section in SECTIONS.iter().filter(|section| !section.name.contains('.') && !section.is_list) {
            let Some(mut table) = take(&mut document, section.name) else { continue };
            if !section.name.is_empty() {
                out.push_str(&format!("\n[{}]\n", section.name));
            }
            for key in KEYS.iter().filter(|key| key.section == section.name) {
                if let Some(value) = table.remove(key.name) {
                    out.push_str(&format!("{} = {value}\n", key.name));
                }
            }
            // Tables within it, such as [[tls.more]].
            if !table.is_empty() {
                document.insert(section.name.to_owned(), Value::Table(table));
            }
        }
        if !document.is_empty() {
            out.push('\n');
            // What came from TOML goes back into it.
            out.push_str(&toml::to_string(&document).unwrap_or_default());
        }
        out.trim_start().to_owned()
    }
}

/// Takes a section out of the document; the top keeps its tables.
fn take(document: &mut Table, section: &str) -> Option<Table> {
    if section.is_empty() {
        let keys: Vec<String> =
            document.iter().filter(|(_, value)| is_plain(value)).map(|(name, _)| name.clone()).collect();
        return Some(keys.into_iter().filter_map(|name| document.remove_entry(&name)).collect());
    }
    match document.remove(section)? {
        Value::Table(table) => Some(table),
        _ => None,
    }
}

fn is_plain(value: &Value) -> bool {
    let tables = |items: &Vec<Value>| items.iter().any(Value::is_table);
    !value.is_table() && !value.as_array().is_some_and(tables)
}

fn fill_in(document: &mut Table) {
    for section in SECTIONS.iter().filter(|section| !section.is_list && !section.name.is_empty()) {
        if section.is_optional && !document.contains_key(section.name) {
            continue;
        }
        let entry = document.entry(section.name).or_insert_with(|| Value::Table(Table::new()));
        let Some(table) = entry.as_table_mut() else { continue };
        let has_mode = table.contains_key("inverse_mode") || table.contains_key("reverse_mode");
        for key in KEYS.iter().filter(|key| key.section == section.name && !key.default.is_empty()) {
            let is_said_otherwise = key.name == "balance" && has_mode;
            if !is_said_otherwise && !table.contains_key(key.name) {
                let value = key.default.parse().unwrap_or(Value::Boolean(false));
                table.insert(key.name.to_owned(), value);
            }
        }
    }
}

/// Masks secrets wherever the table of keys says that there are some.
fn mask(document: &mut Table) {
    for key in KEYS.iter().filter(|key| matches!(key.kind, Kind::Secret | Kind::Secrets)) {
        match document.get_mut(key.section) {
            Some(Value::Table(table)) => mask_value(table, key.name),
            Some(Value::Array(tables)) => {
                tables
                    .iter_mut()
                    .filter_map(Value::as_table_mut)
                    .for_each(|table| mask_value(table, key.name));
            }
            _ => {}
        }
    }
}

fn mask_value(table: &mut Table, name: &str) {
    match table.get_mut(name) {
        Some(Value::String(secret)) if !secret.is_empty() && !secret.starts_with("file:") => {
            MASK.clone_into(secret);
        }
        Some(Value::Table(secrets)) => {
            secrets.iter_mut().for_each(|(_, secret)| *secret = Value::String(MASK.to_owned()));
        }
        _ => {}
    }
}

const MASK: &str = "***";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_filled_in_and_secrets_are_masked() {
        let text = "[server]\nproxy_pass = [\"a:1\"]\ninverse_mode = 1\nuser = { me = \"hush-1\" }\n\
                    [redis]\nredis_pass = \"hush-2\"\n\
                    [[rules]]\nset_headers = { x-api-key = \"hush-3\" }\npath = \"/a\"\n[rules.response]\nstatus = 200\n";
        let shown = Config::parse("f", text).unwrap().to_toml();
        assert!(!shown.contains("hush"), "{shown}");
        let read: Table = shown.parse().unwrap();
        assert_eq!(read["server"]["user"]["me"].as_str(), Some("***"));
        assert_eq!(read["server"]["port"].as_str(), Some(":8080"));
        assert_eq!(read["server"]["drain_timeout"].as_integer(), Some(30));
        assert!(read["server"].get("balance").is_none(), "inverse_mode says it");
        assert_eq!(read["mem"]["capacity"].as_integer(), Some(10_000));
        assert_eq!(read["rules"][0]["path"].as_str(), Some("/a"));
        assert_eq!(read["rules"][0]["response"]["status"].as_integer(), Some(200));
        assert!(read.get("admin").is_none(), "off stays off");
        assert!(Config::parse("f", &shown).is_ok(), "what is shown can be read:\n{shown}");
    }
}
