//! What a file would say in today's words: goproxy's names, and what is better said otherwise. Nothing of it is a fault;
//! all of it goes on working.

use toml::de::{DeTable, DeValue};

use super::{AccessLog, Config, Faults, LogLevel, error::Sink};

impl Config {
    /// Notes about the text that this was read from, in the order of the file `file`; nothing if there are none.
    #[must_use]
    pub fn notes(&self, file: &str) -> Option<Faults> {
        let text = self.source.expose();
        // It was parsed before.
        let (document, _) = DeTable::parse_recoverable(text);
        let mut sink = Sink::new(text);
        for (section, value) in document.get_ref() {
            let DeValue::Table(table) = value.get_ref() else { continue };
            for (key, value) in table {
                let said = self.in_todays_words(section.get_ref(), key.get_ref(), &text[value.span()]);
                if let Some((message, help)) = said {
                    sink.fault(key.span(), message, Some(help));
                }
            }
        }
        sink.faults(file)
    }

    fn in_todays_words(&self, section: &str, key: &str, value: &str) -> Option<(String, String)> {
        let server = &self.server;
        let plain =
            || server.admission.users.iter().find(|(_, password)| password.is_plain()).map(|(name, _)| name);
        let said = match (section, key) {
            ("server", "inverse_mode" | "reverse_mode") => (
                format!("{key} is goproxy's name for the algorithm"),
                format!("today: balance = \"{}\"", server.balance),
            ),
            ("server", "user") => (
                format!("the password of \"{}\" stands here as it is", plain()?),
                "today: the hash of it that `evenly hash-password` makes".to_owned(),
            ),
            ("server", "log") if server.log == LogLevel::Debug && server.access_log == AccessLog::Off => (
                "log = 1 is for finding faults: it tells why each request or connection failed".to_owned(),
                "for a line a request: access_log = \"json\" or \"combined\"".to_owned(),
            ),
            ("server", "reverse") if !server.reverse && server.destinations.is_empty() => (
                "a forward proxy goes nowhere until the file says where".to_owned(),
                "today: allow = [\"*.example.org:443\"]".to_owned(),
            ),
            ("server", "cache_type") | ("mem", "cache_replacement_policy")
                if value != value.to_ascii_lowercase() =>
            {
                (format!("{key} is written in lower case"), format!("today: {}", value.to_ascii_lowercase()))
            }
            _ => return None,
        };
        Some(said)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(text: &str) -> Vec<(usize, String)> {
        let notes = Config::parse("f", text).unwrap().notes("f");
        let notes = notes.into_iter().flat_map(|notes| notes.faults);
        notes.map(|note| (note.line, note.help.unwrap_or_default())).collect()
    }

    #[test]
    fn goproxys_file_is_told_in_todays_words() {
        let text = "[server]\nproxy_pass = [\"a\"]\nlog = 1\nuser = { me = \"hush\" }\nreverse_mode = 3\n\
                    cache_type = \"REDIS\"\n[mem]\ncache_replacement_policy = \"LRU\"\n";
        let told = notes(text);
        let lines: Vec<usize> = told.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [3, 4, 5, 6, 8]);
        assert_eq!(told[2].1, "today: balance = \"ring\"");
        assert_eq!(told[4].1, "today: \"lru\"");
        assert!(!format!("{told:?}").contains("hush"));
        assert_eq!(notes("[server]\nreverse = false\n").len(), 1);
    }

    #[test]
    fn todays_words_need_no_note() {
        let text = "[server]\nproxy_pass = [\"a\"]\nlog = 0\nbalance = \"ring\"\ncache_type = \"redis\"\n";
        assert_eq!(notes(text), []);
        assert_eq!(notes(&crate::config::template()), []);
    }
}
