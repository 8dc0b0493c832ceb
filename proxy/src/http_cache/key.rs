//! The primary key of a stored response: its target URI (RFC 9111 §2).
//!
//! ```text
//!     https://shop.example:8443/list?b=2&utm_source=x&a=1   →   https://shop.example:8443/list?a=1&b=2
//! ```
//!
//! Scheme, host (lower case), port (when not the scheme's own), path and query, as they are sent upstream. No other
//! part of a request is in the key and none may shape a stored response unless Vary names it; so forwarding code must
//! set `X-Forwarded-*` itself. GET and HEAD share a key; nothing else is answered from the store.
//!
//! With [`Settings::drop_query`] and [`Settings::sort_query`] several targets share a key. Both are off by default:
//! only the operator knows which parameters the origin ignores.

use super::settings::Settings;
use http::Uri;
use std::borrow::Borrow;
use std::sync::Arc;

/// A primary key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Arc<str>);

impl Key {
    /// The key of a target, by the operator's rules about queries.
    ///
    /// # Examples
    ///
    /// ```
    /// use evenly::http_cache::{Key, Settings};
    ///
    /// let settings = Settings { drop_query: vec!["utm_*".into()], sort_query: true, ..Settings::default() };
    /// let key = Key::new("http", "Shop.Example:80", "/list?b=2&utm_source=x&a=1", &settings);
    /// assert_eq!(key.as_str(), "http://shop.example/list?a=1&b=2");
    /// ```
    pub fn new(scheme: &str, authority: &str, path_and_query: &str, settings: &Settings) -> Self {
        Self(Self::text(scheme, authority, path_and_query, settings).into())
    }

    /// The same, as text alone: enough for a lookup.
    pub(super) fn text(scheme: &str, authority: &str, path_and_query: &str, settings: &Settings) -> String {
        let mut text = String::with_capacity(scheme.len() + authority.len() + path_and_query.len() + 4);
        text.push_str(scheme);
        text.push_str("://");
        // The scheme may say more in front: `images+https`.
        let is_https = scheme.rsplit('+').next().is_some_and(|last| last.eq_ignore_ascii_case("https"));
        let default_port = if is_https { ":443" } else { ":80" };
        let host = authority.strip_suffix(default_port).unwrap_or(authority);
        text.push_str(host.strip_suffix(':').unwrap_or(host));
        text.make_ascii_lowercase();
        if !path_and_query.starts_with('/') {
            text.push('/');
        }
        match path_and_query.split_once('?') {
            Some((path, query)) if settings.sort_query || !settings.drop_query.is_empty() => {
                text.push_str(path);
                push_query(&mut text, query, settings);
            }
            _ => text.push_str(path_and_query),
        }
        text
    }

    /// The key of an absolute URI, as purges and `Location` name it; none when the scheme or host is missing.
    pub fn from_uri(uri: &Uri, settings: &Settings) -> Option<Self> {
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        Some(Self::new(uri.scheme_str()?, uri.authority()?.as_str(), path, settings))
    }

    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A key read back from storage.
    pub fn from_text(text: &str) -> Self {
        Self(text.into())
    }
}

/// A key is found by its text.
impl Borrow<str> for Key {
    fn borrow(&self) -> &str {
        &self.0
    }
}

fn push_query(text: &mut String, query: &str, settings: &Settings) {
    let mut parameters: Vec<&str> = query.split('&').filter(|one| !is_dropped(one, settings)).collect();
    if settings.sort_query {
        // Stable and by name only: `a=2&a=1` and `a=1&a=2` are different questions.
        parameters.sort_by_key(|one| name(one));
    }
    for (nth, parameter) in parameters.iter().enumerate() {
        text.push(if nth == 0 { '?' } else { '&' });
        text.push_str(parameter);
    }
}

fn is_dropped(parameter: &str, settings: &Settings) -> bool {
    let name = name(parameter);
    settings.drop_query.iter().any(|rule| match rule.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => name == rule,
    })
}

fn name(parameter: &str) -> &str {
    parameter.split_once('=').map_or(parameter, |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(authority: &str, path: &str, settings: &Settings) -> String {
        Key::new("http", authority, path, settings).as_str().to_owned()
    }

    #[test]
    fn rfc9111_2_every_part_of_the_target_is_in_the_key() {
        let plain = Settings::default();
        let base = key("a.test", "/x?q=1", &plain);
        for (authority, path) in [
            ("b.test", "/x?q=1"),
            ("a.test:81", "/x?q=1"),
            ("a.test", "/y?q=1"),
            ("a.test", "/x?q=2"),
            ("a.test", "/x"),
        ] {
            assert_ne!(key(authority, path, &plain), base, "{authority}{path}");
        }
        assert_ne!(Key::new("https", "a.test", "/x?q=1", &plain).as_str(), base);
    }

    #[test]
    fn rfc9110_4_2_3_equal_targets_have_one_key() {
        let plain = Settings::default();
        assert_eq!(key("A.Test:80", "/", &plain), key("a.test", "", &plain));
        assert_eq!(Key::new("x+https", "a:443", "/", &plain).as_str(), "x+https://a/");
        assert_eq!(key("a.test:", "/", &plain), key("a.test", "/", &plain));
        assert_ne!(Key::new("https", "a.test:80", "/", &plain), Key::new("https", "a.test", "/", &plain));
    }

    #[test]
    fn a_host_cannot_reach_into_the_path_of_another() {
        let plain = Settings::default();
        assert_ne!(key("a.test", "/b/c", &plain), key("a.test/b", "/c", &plain).replace("/b", ""));
    }

    #[test]
    fn queries_are_kept_as_sent_unless_the_operator_says_otherwise() {
        assert_eq!(key("a", "/?b=1&a=2&", &Settings::default()), "http://a/?b=1&a=2&");
        let settings = Settings {
            drop_query: vec!["utm_*".into(), "sid".into()],
            sort_query: true,
            ..Settings::default()
        };
        assert_eq!(key("a", "/?b=1&sid=7&a=2&utm_x=1&a=1&side=3", &settings), "http://a/?a=2&a=1&b=1&side=3");
        assert_eq!(key("a", "/?sid", &settings), key("a", "/", &settings));
    }
}
