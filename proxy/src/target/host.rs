//! A host with its port: what it may be, and when two are the same place.

use std::borrow::Cow;
use std::net::Ipv6Addr;

use super::TargetError;

/// A host and perhaps a port, as `Host`, `:authority` or an absolute target give them.
///
/// Names are letters, digits, `-` and `_` between single dots; everything the URI grammar allows besides (`%`, `,`, `;`, …) has no
/// use in a real host and many in an attack. User information (`user@`) is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Host<'a> {
    /// The name or address as written; an IPv6 address with its brackets.
    pub name: &'a str,
    /// The port, when one is given.
    pub port: Option<u16>,
}

impl<'a> Host<'a> {
    /// Reads `name`, `name:port`, `[v6]` or `[v6]:port`.
    ///
    /// # Errors
    /// When the text is empty, longer than [`HOST_LEN_MAX`], or not of that grammar.
    pub fn parse(text: &'a [u8]) -> Result<Host<'a>, TargetError> {
        if text.is_empty() || text.len() > HOST_LEN_MAX {
            return Err(TargetError::Host);
        }
        let name_len = if text[0] == b'[' { address_len(text) } else { name_len(text) };
        let (name, rest) = text.split_at(name_len.ok_or(TargetError::Host)?);
        let name = std::str::from_utf8(name).map_err(|_| TargetError::Host)?;
        let port = match rest {
            // `host:` is grammatical: an empty port is the default one.
            [] | [b':'] => None,
            [b':', digits @ ..] => Some(parse_port(digits)?),
            _ => return Err(TargetError::Host),
        };
        Ok(Host { name, port })
    }

    /// Do both name the same place, given the port that the scheme implies?
    #[must_use]
    pub fn is_same(&self, other: &Host<'_>, default_port: u16) -> bool {
        self.name.eq_ignore_ascii_case(other.name)
            && self.port.unwrap_or(default_port) == other.port.unwrap_or(default_port)
    }

    /// The name as rules compare it: lower case, without the root's final dot.
    #[must_use]
    pub fn for_rules(&self) -> Cow<'a, str> {
        let name = self.name.strip_suffix('.').unwrap_or(self.name);
        if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
            Cow::Owned(name.to_ascii_lowercase())
        } else {
            Cow::Borrowed(name)
        }
    }
}

/// How long the name is at the front of `text`: labels of letters, digits, `-` and `_` between single dots, and perhaps the
/// root's final dot.
fn name_len(text: &[u8]) -> Option<usize> {
    let mut label_begins = true;
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'A'..=b'Z' | b'-' | b'_' => label_begins = false,
            b'.' if label_begins => return None,
            b'.' => label_begins = true,
            b':' => return (at > 0).then_some(at),
            _ => return None,
        }
    }
    Some(text.len())
}

/// How long the IPv6 address is at the front of `text`, with its brackets.
fn address_len(text: &[u8]) -> Option<usize> {
    let end = text.iter().position(|byte| *byte == b']')?;
    let address = std::str::from_utf8(&text[1..end]).ok()?;
    address.parse::<Ipv6Addr>().is_ok().then_some(end + 1)
}

fn parse_port(digits: &[u8]) -> Result<u16, TargetError> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(TargetError::Host);
    }
    let port = digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0'));
    u16::try_from(port).ok().filter(|port| *port > 0).ok_or(TargetError::Host)
}

/// Longest host with port that is read: a DNS name has at most 253 bytes.
pub const HOST_LEN_MAX: usize = 260;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn hosts_are_names_or_addresses_with_a_port() {
        for (text, name, port) in [
            ("a.test", "a.test", None),
            ("A.test.:80", "A.test.", Some(80)),
            ("my_app:65535", "my_app", Some(65535)),
            ("127.0.0.1:1", "127.0.0.1", Some(1)),
            ("[::1]", "[::1]", None),
            ("[::1]:443", "[::1]", Some(443)),
            ("a:", "a", None),
        ] {
            assert_eq!(Host::parse(text.as_bytes()), Ok(Host { name, port }), "{text}");
        }
        for text in [
            "",
            ":80",
            "a b",
            "a.test, b.test",
            ".",
            ".a",
            "a..b",
            "x@a.test",
            "a.test:99999",
            "a.test:0",
            "a:+80",
            "a\"b",
            "a/b",
            "a#b",
            "a\\b",
            "[",
            "[]",
            "[::1",
            "[::1]x",
            "[fe80::1%25eth0]",
            "::1",
            "a%41",
            "a\u{e9}",
            "[v1.x]",
            "<a>",
        ] {
            assert_eq!(Host::parse(text.as_bytes()), Err(TargetError::Host), "{text}");
        }
        assert!(Host::parse("a".repeat(HOST_LEN_MAX + 1).as_bytes()).is_err());
    }

    #[test]
    fn a_default_port_names_the_same_place() {
        let host = |text: &'static str| Host::parse(text.as_bytes()).unwrap();
        assert!(host("A.test:80").is_same(&host("a.test"), 80));
        assert!(!host("a.test:81").is_same(&host("a.test"), 80));
        assert_eq!(host("A.Test.").for_rules(), "a.test");
    }

    proptest! {
        #[test]
        fn hosts_that_parse_write_back(name in "([a-z0-9_-]{1,9}\\.){0,2}[a-z0-9_-]{1,9}\\.?", port in prop::option::of(1_u16..)) {
            let text = match port { Some(port) => format!("{name}:{port}"), None => name.clone() };
            prop_assert_eq!(Host::parse(text.as_bytes()), Ok(Host { name: &name, port }));
        }

        #[test]
        fn any_text_is_answered_without_a_panic(text in "\\PC{0,24}|[\\x00-\\x7f]{0,24}") {
            let _ = Host::parse(text.as_bytes());
        }
    }
}
