//! The commented file with every key and its default, made from the table of keys.
//!
//! Keys with a default stand as they are; the others are commented out, with an example behind `#`.

use super::keys::{Key, Kind, SECTIONS, SectionAbout};

/// The text of `evenly.toml` as it is delivered.
#[must_use]
pub fn template() -> String {
    let mut out = String::new();
    for section in &SECTIONS {
        comment(&mut out, section.about);
        let mark = if section.is_optional { "#" } else { "" };
        match section {
            SectionAbout { name: "", .. } => {}
            SectionAbout { name, is_list: true, .. } => out.push_str(&format!("{mark}[[{name}]]\n")),
            SectionAbout { name, .. } => out.push_str(&format!("{mark}[{name}]\n")),
        }
        let own_keys = section.keys().filter(|_| section.like.is_empty());
        own_keys.for_each(|key| entry(&mut out, key, section.is_optional));
        out.push('\n');
    }
    out.truncate(out.trim_end().len());
    out.push('\n');
    out
}

fn entry(out: &mut String, key: &Key, section_is_off: bool) {
    comment(out, &format!("{}{}", key.about, allowed(key)));
    let value = if key.default.is_empty() { key.example } else { key.default };
    // A proxy without members does not start: this example is live.
    let is_live = !section_is_off && (!key.default.is_empty() || key.name == "proxy_pass");
    out.push_str(&format!("{}{} = {value}\n", if is_live { "" } else { "#" }, key.name));
}

/// Which values there are, where the explanation does not say so.
fn allowed(key: &Key) -> String {
    match key.kind {
        Kind::Choice(words) => {
            let quoted: Vec<String> = words().iter().map(|word| format!("\"{word}\"")).collect();
            format!(" One of {}.", quoted.join(", "))
        }
        Kind::Number(low, high) if !key.about.starts_with("Seconds") => format!(" {low} to {high}."),
        _ => String::new(),
    }
}

/// Appends `text` as comment lines of at most 110 characters.
fn comment(out: &mut String, text: &str) {
    let mut line = String::from("#");
    for word in text.split(' ') {
        if line.chars().count() + word.chars().count() + 1 > 110 {
            out.push_str(&line);
            out.push('\n');
            line = String::from("#");
        }
        line.push(' ');
        line.push_str(word);
    }
    out.push_str(&line);
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, KEYS};

    /// Debug output without the text it came from.
    fn meaning(text: &str) -> String {
        let mut config = Config::parse("f", text).unwrap_or_else(|faults| panic!("{faults}\nin\n{text}"));
        config.source = String::new().into();
        format!("{config:#?}")
    }

    #[test]
    fn the_defaults_it_shows_are_the_defaults() {
        let members = KEYS.iter().find(|key| key.name == "proxy_pass").unwrap().example;
        assert_eq!(meaning(&template()), meaning(&format!("[server]\nproxy_pass = {members}\n")));
    }

    #[test]
    fn every_example_can_be_used() {
        for key in KEYS.iter().filter(|key| !key.example.is_empty()) {
            let pair = "certificate = \"c\"\nkey = \"k\"\n";
            let needed = match (key.section, key.name) {
                ("rules", "to") => "action = \"redirect\"\n".to_owned(),
                ("rules", "body") => "action = \"block\"\n".to_owned(),
                ("upstreams", "name") => "proxy_pass = [\"b\"]\n".to_owned(),
                ("upstreams", "proxy_pass") => "name = \"n\"\n".to_owned(),
                ("upstreams", _) => "name = \"n\"\nproxy_pass = [\"b\"]\n".to_owned(),
                ("tls", "redirect" | "proxy_protocol") => format!("port = \":1\"\n{pair}"),
                ("tls", "port") => pair.to_owned(),
                ("tls" | "tls.more" | "upstream_tls", "certificate") => "key = \"k\"\n".to_owned(),
                ("tls" | "tls.more" | "upstream_tls", "key") => "certificate = \"c\"\n".to_owned(),
                _ => String::new(),
            };
            let port = if key.section == "tls" && !["port", "redirect", "proxy_protocol"].contains(&key.name)
            {
                "port = \":1\"\n"
            } else {
                ""
            };
            let value = key.example;
            let line = format!("{} = {value}\n{needed}{port}", key.name);
            let server = "[server]\nproxy_pass = [\"a\"]\n";
            let text = match key.section {
                "" => format!("{line}{server}"),
                "server" if key.name == "proxy_pass" => format!("[server]\n{line}"),
                "server" => format!("{server}{line}"),
                "upstreams" => format!("{server}[[upstreams]]\n{line}"),
                "rules" if key.name == "upstream" => {
                    format!("{server}[[upstreams]]\nname = {value}\nproxy_pass = [\"b\"]\n[[rules]]\n{line}")
                }
                "rules" => format!("{server}[[rules]]\n{line}"),
                "rules.response" => format!("{server}[[rules]]\npath = \"/\"\n[rules.response]\n{line}"),
                "tls.more" => format!("{server}[tls]\nport = \":1\"\n{pair}[[tls.more]]\n{line}"),
                section => format!("{server}[{section}]\n{line}"),
            };
            meaning(&text);
        }
    }

    /// Whoever adds a key to the reader adds its line to `keys.rs`, and the other way round.
    #[test]
    fn the_table_has_the_keys_that_the_reader_asks_for() {
        let text = "[server]\nproxy_pass = [\"a\"]\n[tls]\n[[tls.more]]\n[upstream_tls]\n[[upstreams]]\n\
                    [upstreams.health]\n[upstreams.retry]\n[upstreams.queue]\n[health]\n[retry]\n[queue]\n[dns]\n[redis]\n[mem]\n\
                    [admin]\n[[rules]]\n[rules.response]\n";
        let mut asked = crate::config::read::keys_asked(text);
        let in_section =
            |about: &SectionAbout| about.keys().map(|key| (about.name.to_owned(), key.name.to_owned()));
        let mut known: Vec<(String, String)> = SECTIONS.iter().flat_map(in_section).collect();
        known.extend(SECTIONS.iter().filter(|section| !section.name.is_empty()).map(|section| {
            let (parent, name) = section.name.rsplit_once('.').unwrap_or(("", section.name));
            (parent.to_owned(), name.to_owned())
        }));
        asked.sort();
        asked.dedup();
        known.sort();
        let missing: Vec<_> = asked.iter().filter(|key| !known.contains(key)).collect();
        let idle: Vec<_> = known.iter().filter(|key| !asked.contains(key)).collect();
        assert!(
            missing.is_empty() && idle.is_empty(),
            "not in config/keys.rs: {missing:?}\nnot read: {idle:?}"
        );
    }
}
