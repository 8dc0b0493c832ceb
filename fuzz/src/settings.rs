//! What an operator writes.

use evenly::{
    config::Config,
    pattern::{HostPattern, PathPattern, TextPattern},
};

/// No text makes the configuration reader panic, and every fault it tells has a place within the text.
pub fn config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(faults) = Config::parse("fuzz.toml", text) {
        let lines = text.matches('\n').count() + 1;
        assert!(!faults.faults.is_empty());
        for fault in &faults.faults {
            assert!((1..=lines).contains(&fault.line), "line {} of {lines}", fault.line);
            assert!(fault.column >= 1 && fault.width >= 1);
        }
        let _ = faults.to_string();
    }
}

/// Patterns match what a matcher without regular expressions matches.
pub fn rules(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (pattern, asked) = text.split_once('\n').unwrap_or((text, ""));
    // The plain matcher tries everything.
    if pattern.len() > 64 || asked.len() > 64 || pattern.matches('*').count() > 6 {
        return;
    }
    if let Ok(host) = HostPattern::parse(pattern) {
        let name = pattern.to_ascii_lowercase();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_match = match name.strip_prefix("*.") {
            Some(parent) => asked.len() > parent.len() + 1 && asked.ends_with(&format!(".{parent}")),
            None => asked == name,
        };
        assert_eq!(host.matches(asked), is_match, "{pattern:?} {asked:?}");
    }
    if let Ok(glob) = PathPattern::glob(pattern) {
        let (pattern, asked): (Vec<_>, Vec<_>) = (pattern.chars().collect(), asked.chars().collect());
        assert_eq!(glob.matches(&asked.iter().collect::<String>()), fits(&pattern, &asked), "{text:?}");
    }
    if let Ok(exact) = TextPattern::parse(pattern)
        && !pattern.starts_with('~')
        && !pattern.contains('*')
    {
        assert_eq!(exact.matches(asked), asked == pattern);
    }
    // Whatever else is asked for compiles within its limit or is refused. A long expression takes the library tens of
    // milliseconds, and is its own fuzzers' affair.
    let _ = (PathPattern::exact(pattern), PathPattern::prefix(pattern));
    if pattern.len() <= REGEX_LEN {
        let _ = PathPattern::regex(pattern);
    }
}

/// `*` and `?` stop at `/`, `**` does not, `\` takes the next character as it is.
fn fits(pattern: &[char], text: &[char]) -> bool {
    match pattern {
        [] => text.is_empty(),
        ['*', '*', rest @ ..] => (0..=text.len()).any(|at| fits(rest, &text[at..])),
        ['*', rest @ ..] => {
            let end = text.iter().position(|character| *character == '/').unwrap_or(text.len());
            (0..=end).any(|at| fits(rest, &text[at..]))
        }
        ['?', rest @ ..] => text.split_first().is_some_and(|(one, more)| *one != '/' && fits(rest, more)),
        ['\\', literal, rest @ ..] | [literal, rest @ ..] => {
            text.split_first().is_some_and(|(one, more)| one == literal && fits(rest, more))
        }
    }
}

const REGEX_LEN: usize = 12;
