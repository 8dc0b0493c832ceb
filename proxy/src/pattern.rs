//! What a rule compares with: hosts, paths and texts.
//!
//! | for | written | matches |
//! |---|---|---|
//! | host | `a.test` | that name, in any case, with or without the root's dot |
//! | | `*.a.test` | every name below it, not itself |
//! | path | exact `/a`, prefix `/a` | the text; a prefix is text too: `/a` also takes `/ab`, `/a/` does not |
//! | | glob `/a/*/b`, `/a/**` | `*` within a segment, `**` across segments, `?` one character |
//! | | regex `^/a/(\d+)$` | as the `regex` crate reads it; linear time, no look-around |
//! | header, query | `text` | exactly that |
//! | | `te*t` | with `*` for any text; `*` alone: it is there |
//! | | `~regex` | somewhere in it |
//!
//! Paths are compared in the form for rules of [`target`](crate::target): `/%62`, `//b` and `/;x/b` are all `/b`.

use regex::{Regex, RegexBuilder};

use crate::target::{TargetError, pattern};

/// A host name, or all below one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPattern {
    name: String,
    is_parent: bool,
}

impl HostPattern {
    /// Reads `name` or `*.name`.
    ///
    /// # Errors
    /// When it is empty or has another `*`.
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        let (name, is_parent) = match text.strip_prefix("*.") {
            Some(name) => (name, true),
            None => (text, false),
        };
        let name = name.strip_suffix('.').unwrap_or(name);
        if name.is_empty() || name.contains(['*', '/', ' ']) {
            return Err(PatternError::Host(text.to_owned()));
        }
        Ok(Self { name: name.to_ascii_lowercase(), is_parent })
    }

    /// Does it match a host in the form for rules (lower case, no final dot)?
    #[must_use]
    pub fn matches(&self, host: &str) -> bool {
        if !self.is_parent {
            return host == self.name;
        }
        host.strip_suffix(&self.name).is_some_and(|below| below.len() > 1 && below.ends_with('.'))
    }
}

/// A path, in the form for rules.
#[derive(Debug, Clone)]
pub enum PathPattern {
    /// This path.
    Exact(String),
    /// Paths that start with this text.
    Prefix(String),
    /// Paths like this.
    Regex(Regex),
}

impl PathPattern {
    /// This path and no other.
    ///
    /// # Errors
    /// When no request can have this path.
    pub fn exact(path: &str) -> Result<Self, PatternError> {
        normal(path).map(Self::Exact)
    }

    /// Every path that starts so.
    ///
    /// # Errors
    /// When no path can start so.
    pub fn prefix(path: &str) -> Result<Self, PatternError> {
        normal(path).map(Self::Prefix)
    }

    /// Paths by `*`, `**` and `?`.
    ///
    /// # Errors
    /// When it does not start with `/`.
    pub fn glob(glob: &str) -> Result<Self, PatternError> {
        if !glob.starts_with('/') {
            return Err(PatternError::Path(glob.to_owned(), TargetError::Form));
        }
        compile(&glob_to_regex(glob, "[^/]")).map(Self::Regex)
    }

    /// Paths by a regular expression; it is not anchored unless it says so.
    ///
    /// # Errors
    /// When it does not compile within [`REGEX_LEN_MAX`].
    pub fn regex(regex: &str) -> Result<Self, PatternError> {
        compile(regex).map(Self::Regex)
    }

    /// Does it match a path in the form for rules?
    #[must_use]
    pub fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(expected) => path == expected,
            Self::Prefix(start) => path.starts_with(start.as_str()),
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

/// The value of a header field or a query parameter.
#[derive(Debug, Clone)]
pub enum TextPattern {
    /// It is there.
    Any,
    /// Exactly this.
    Exact(String),
    /// Like this.
    Regex(Regex),
}

impl TextPattern {
    /// Reads `*`, `~regex`, a text with `*` in it, or a plain text.
    ///
    /// # Errors
    /// When the expression does not compile within [`REGEX_LEN_MAX`].
    pub fn parse(text: &str) -> Result<Self, PatternError> {
        match text.strip_prefix('~') {
            Some(regex) => compile(regex).map(Self::Regex),
            None if text == "*" => Ok(Self::Any),
            None if text.contains('*') => {
                compile(&glob_to_regex(&text.replace('?', "\\?"), ".")).map(Self::Regex)
            }
            None => Ok(Self::Exact(text.to_owned())),
        }
    }

    /// Does it match?
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(expected) => text == expected,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Why a pattern cannot be used.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum PatternError {
    /// Not a host name, with or without `*.` before it.
    Host(String),
    /// Not a path, and why.
    Path(String, TargetError),
    /// Not a regular expression, or too large a one.
    Regex(regex::Error),
}

impl std::fmt::Display for PatternError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Host(text) => {
                write!(f, "\"{text}\" is no host name (a * may only stand first, as in *.a.test)")
            }
            Self::Path(text, why) => write!(f, "\"{text}\" is no path: {why}"),
            Self::Regex(error) => {
                // The crate draws the expression first; its last line says what is wrong.
                let told = error.to_string();
                let why = told.lines().last().unwrap_or_default();
                write!(f, "not a regular expression: {}", why.strip_prefix("error: ").unwrap_or(why))
            }
        }
    }
}

impl std::error::Error for PatternError {}

/// Compiles an expression from a configuration.
///
/// # Errors
/// When it is none, or compiles to more than [`REGEX_LEN_MAX`].
pub fn compile(regex: &str) -> Result<Regex, PatternError> {
    RegexBuilder::new(regex).size_limit(REGEX_LEN_MAX).build().map_err(PatternError::Regex)
}

fn normal(path: &str) -> Result<String, PatternError> {
    pattern(path).map_err(|why| PatternError::Path(path.to_owned(), why))
}

/// `\x` stands for `x` itself.
fn glob_to_regex(glob: &str, one: &str) -> String {
    let mut regex = String::from("^(?s:");
    let mut characters = glob.chars().peekable();
    while let Some(character) = characters.next() {
        match character {
            '*' if characters.next_if_eq(&'*').is_some() => regex.push_str(".*"),
            '*' => {
                regex.push_str(one);
                regex.push('*');
            }
            '?' => regex.push_str(one),
            character => {
                let literal = if character == '\\' { characters.next().unwrap_or('\\') } else { character };
                regex.push_str(&regex::escape(literal.encode_utf8(&mut [0; 4])));
            }
        }
    }
    regex.push_str(")$");
    regex
}

/// Bytes that one compiled expression may take.
pub const REGEX_LEN_MAX: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_host_is_every_name_below() {
        let below = HostPattern::parse("*.A.test.").unwrap();
        for (host, expected) in [
            ("b.a.test", true),
            ("c.b.a.test", true),
            ("a.test", false),
            (".a.test", false),
            ("xa.test", false),
        ] {
            assert_eq!(below.matches(host), expected, "{host}");
        }
        assert!(HostPattern::parse("A.test").unwrap().matches("a.test"));
        for text in ["", "*", "*.", "a.*.test", "a/b"] {
            assert!(HostPattern::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn globs_know_segments() {
        for (glob, path, expected) in [
            ("/a/*/c", "/a/b/c", true),
            ("/a/*/c", "/a/b/b/c", false),
            ("/a/**", "/a/b/b/c", true),
            ("/a/**", "/a", false),
            ("/**/x.js", "/a/b/x.js", true),
            ("/?", "/b", true),
            ("/?", "//", false),
            ("/a.b", "/axb", false),
        ] {
            assert_eq!(PathPattern::glob(glob).unwrap().matches(path), expected, "{glob} {path}");
        }
        assert!(PathPattern::glob("a").is_err());
    }

    #[test]
    fn paths_are_compared_in_normal_form() {
        assert!(PathPattern::prefix("/%62").unwrap().matches("/bc"));
        assert!(PathPattern::exact("/café").unwrap().matches("/caf%C3%A9"));
        assert!(PathPattern::regex("^/v(1|2)/").unwrap().matches("/v2/x"));
        assert!(PathPattern::regex("(").is_err() && PathPattern::exact("a").is_err());
        assert!(PathPattern::regex("a{1000}{1000}").is_err(), "too large");
    }

    #[test]
    fn texts_are_exact_unless_they_say_otherwise() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("abc", "abc", true),
            ("abc", "abcd", false),
            ("a*c?", "a--c?", true),
            ("a*c?", "a--cx", false),
            ("~^a\\d$", "a1", true),
        ] {
            assert_eq!(TextPattern::parse(pattern).unwrap().matches(text), expected, "{pattern} {text}");
        }
    }
}
