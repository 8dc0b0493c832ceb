//! What a request points at: the four forms of a request-target, the host, and the path in one form for all.
//!
//! A rule that blocks `/admin` is worth nothing if `/%61dmin`, `/x/../admin`, `//admin`, `/;a/admin` or `/x%2f..%2fadmin`
//! walk around it and the upstream understands them. So a path is normalised once, before anything looks at it:
//!
//! ```text
//!   received   /a/./%62/%7Euser/..//c%2fd;v=1      a request line
//!   forwarded  /a/b//c%2Fd;v=1                     escapes of plain letters undone, dot segments resolved, the rest kept
//!   for rules  /a/b/c/d                            what the most lenient upstream would make of the forwarded form
//! ```
//!
//! The forwarded form keeps what changes meaning for some upstream (`%2F`, `;`, `//`): cache keys and upstreams see it.
//! Rules match the second form, which is derived from the first; a path whose two forms disagree about dot segments
//! (`/x%2f..%2fadmin`, `/..;/admin`) has no safe reading and is refused. For an ordinary path both are the received
//! bytes, found by one pass over a table, with no allocation.
//!
//! ```
//! use evenly::target::{Host, normalise};
//!
//! let path = normalise("/a/./%62/..//c%2fd;v=1")?;
//! assert_eq!(path.forward, "/a//c%2Fd;v=1");
//! assert_eq!(path.for_rules(), "/a/c/d");
//! assert!(normalise("/x%2f..%2fadmin").is_err());
//!
//! let host = Host::parse(b"[2001:db8::1]:8443")?;
//! assert_eq!((host.name, host.port), ("[2001:db8::1]", Some(8443)));
//! assert!(Host::parse(b"a.test, b.test").is_err());
//! # Ok::<(), evenly::target::TargetError>(())
//! ```
//!
//! Sources: RFC 9112 §3.2 (forms), RFC 3986 §3.2, §5.2.4 and §6.2.2 (authority, dot segments, normal form).

use std::borrow::Cow;
use std::fmt;
use std::net::Ipv6Addr;

use http::{Method, Uri};

/// The four forms of a request-target (RFC 9112 §3.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// `/path?query`: what a server or a reverse proxy gets.
    Origin,
    /// `http://host/path?query`: what a forward proxy gets.
    Absolute,
    /// `host:port`: only with `CONNECT`.
    Authority,
    /// `*`: only with `OPTIONS`.
    Asterisk,
}

impl Form {
    /// Tells the form of `uri`, and that it belongs to `method`.
    ///
    /// # Errors
    /// When the form is not one that the method may have, or the scheme is not `http` or `https`.
    pub fn of(method: &Method, uri: &Uri) -> Result<Form, TargetError> {
        let form = match (uri.scheme_str(), uri.authority(), uri.path()) {
            (Some("http" | "https"), Some(_), _) => Form::Absolute,
            (Some(_), _, _) => return Err(TargetError::Scheme),
            (None, Some(_), _) => Form::Authority,
            (None, None, "*") => Form::Asterisk,
            (None, None, path) if path.starts_with('/') => Form::Origin,
            _ => return Err(TargetError::Form),
        };
        let is_allowed = match form {
            Form::Authority => *method == Method::CONNECT,
            Form::Asterisk => *method == Method::OPTIONS && uri.query().is_none(),
            Form::Origin | Form::Absolute => *method != Method::CONNECT,
        };
        if is_allowed { Ok(form) } else { Err(TargetError::Form) }
    }
}

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
        let is_address = text[0] == b'[';
        let name_len = if is_address {
            text.iter().position(|byte| *byte == b']').ok_or(TargetError::Host)? + 1
        } else {
            text.iter().position(|byte| *byte == b':').unwrap_or(text.len())
        };
        let (name, rest) = text.split_at(name_len);
        if !is_address && !is_name(name) {
            return Err(TargetError::Host);
        }
        let name = std::str::from_utf8(name).map_err(|_| TargetError::Host)?;
        if is_address {
            name[1..name.len() - 1].parse::<Ipv6Addr>().map_err(|_| TargetError::Host)?;
        }
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

/// A path in the form that is forwarded and cached, and the one that rules match.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Path<'a> {
    /// What goes to the upstream and into the cache key.
    pub forward: Cow<'a, str>,
    for_rules: Option<String>,
}

impl Path<'_> {
    /// What rules match: escapes undone (except of `%`, control and non-ASCII bytes), `\` as `/`, parameters
    /// (`;…`) and empty segments removed.
    #[must_use]
    pub fn for_rules(&self) -> &str {
        self.for_rules.as_deref().unwrap_or(&self.forward)
    }

    /// The form for rules, where it differs from the forwarded one.
    #[must_use]
    pub fn into_parts(self) -> (Option<String>, Option<String>) {
        let changed = match self.forward {
            Cow::Owned(forward) => Some(forward),
            Cow::Borrowed(_) => None,
        };
        (changed, self.for_rules)
    }
}

/// Normalises an absolute path (without query).
///
/// # Errors
/// When it does not start with `/`, holds a byte that no path may hold (control, space, non-ASCII, `#`, `?`), a broken
/// escape or `%00`, or when lenient and strict readers would disagree about its dot segments.
pub fn normalise(path: &str) -> Result<Path<'_>, TargetError> {
    if is_normal(path.as_bytes()) {
        return Ok(Path { forward: Cow::Borrowed(path), for_rules: None });
    }
    if !path.starts_with('/') {
        return Err(TargetError::Form);
    }
    let escaped = normalise_escapes(path)?;
    let resolved = resolve_dots(&escaped);
    let for_rules = lenient_reading(&resolved)?;
    let forward = if resolved == path { Cow::Borrowed(path) } else { Cow::Owned(resolved) };
    let for_rules = (for_rules != *forward).then_some(for_rules);
    Ok(Path { forward, for_rules })
}

/// A path as written in a rule, brought to the form that rules are compared with: `pattern("/café")` matches a
/// request for `/caf%C3%A9`.
///
/// # Errors
/// As [`normalise`]: a rule for a path that no request can have is a mistake.
pub fn pattern(text: &str) -> Result<String, TargetError> {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii() && byte != b' ' {
            escaped.push(char::from(byte));
        } else {
            push_escape(&mut escaped, byte);
        }
    }
    let path = normalise(&escaped)?;
    Ok(path.for_rules().to_owned())
}

/// Why a target is refused. Always the client's fault: 400.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum TargetError {
    /// The form does not belong to the method, or is none of the four.
    Form,
    /// Neither `http` nor `https`.
    Scheme,
    /// Not a host with an optional port.
    Host,
    /// A byte that a path may not hold.
    Byte(u8),
    /// A byte that a query may not hold: control, space or non-ASCII.
    Query,
    /// `%` without two hexadecimal digits, or `%00`.
    Escape,
    /// Dot segments behind an escape or a parameter.
    HiddenDots,
}

impl fmt::Display for TargetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("request target is not of a form that this method may have"),
            Self::Scheme => f.write_str("scheme of the request target is not http or https"),
            Self::Host => f.write_str("host is not a name or address with an optional port from 1 to 65535"),
            Self::Byte(byte) => write!(f, "byte {byte:#04x} may not stand in a path"),
            Self::Query => f.write_str("control character, space or non-ASCII byte in the query"),
            Self::Escape => f.write_str("broken percent-escape (or %00) in the path"),
            Self::HiddenDots => {
                f.write_str("dot segments hidden behind an escape or a parameter in the path")
            }
        }
    }
}

impl std::error::Error for TargetError {}

/// Labels of letters, digits, `-` and `_` between single dots, and perhaps the root's final dot.
fn is_name(name: &[u8]) -> bool {
    let mut label_begins = true;
    for byte in name {
        match byte {
            b'.' if label_begins => return false,
            b'.' => label_begins = true,
            b'-' | b'_' => label_begins = false,
            byte if byte.is_ascii_alphanumeric() => label_begins = false,
            _ => return false,
        }
    }
    !name.is_empty()
}

fn parse_port(digits: &[u8]) -> Result<u16, TargetError> {
    if digits.len() > 5 || !digits.iter().all(u8::is_ascii_digit) {
        return Err(TargetError::Host);
    }
    let port = digits.iter().fold(0, |port, digit| port * 10 + u32::from(digit - b'0'));
    u16::try_from(port).ok().filter(|port| *port > 0).ok_or(TargetError::Host)
}

/// Is it a path that is its own normal form for both uses? One pass; only `/` looks at its neighbour.
fn is_normal(path: &[u8]) -> bool {
    if path.first() != Some(&b'/') {
        return false;
    }
    let mut after_slash = false;
    for (at, byte) in path.iter().enumerate() {
        if !PLAIN[usize::from(*byte)] {
            return false;
        }
        if after_slash && (*byte == b'/' || *byte == b'.' && is_dot_segment(&path[at..])) {
            return false;
        }
        after_slash = *byte == b'/';
    }
    true
}

/// Does `rest`, which starts with a segment, start with `.` or `..`?
fn is_dot_segment(rest: &[u8]) -> bool {
    matches!(rest, [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
}

/// Undoes escapes of unreserved characters, writes the others in upper case and escapes what a sloppy client did not.
fn normalise_escapes(path: &str) -> Result<String, TargetError> {
    let bytes = path.as_bytes();
    let mut out = String::with_capacity(path.len() + 16);
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        at += 1;
        match byte {
            b'%' => {
                let decoded = unescape(bytes.get(at..at + 2)).ok_or(TargetError::Escape)?;
                at += 2;
                match decoded {
                    0 => return Err(TargetError::Escape),
                    decoded if is_unreserved(decoded) => out.push(char::from(decoded)),
                    decoded => push_escape(&mut out, decoded),
                }
            }
            b'\\' | b'"' | b'<' | b'>' | b'^' | b'`' | b'{' | b'|' | b'}' | b'[' | b']' => {
                push_escape(&mut out, byte);
            }
            b';' => out.push(';'),
            byte if PLAIN[usize::from(byte)] => out.push(char::from(byte)),
            byte => return Err(TargetError::Byte(byte)),
        }
    }
    Ok(out)
}

/// RFC 3986 §5.2.4: `.` vanishes, `..` takes the segment before it along.
fn resolve_dots(path: &str) -> String {
    let mut segments: Vec<&str> = Vec::new();
    let mut is_folder = false;
    for segment in path.split('/').skip(1) {
        is_folder = matches!(segment, "." | "..");
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in &segments {
        out.push('/');
        out.push_str(segment);
    }
    if is_folder || out.is_empty() {
        out.push('/');
    }
    out
}

/// What the most lenient upstream would make of a forwarded path.
fn lenient_reading(path: &str) -> Result<String, TargetError> {
    let bytes = path.as_bytes();
    let mut decoded = String::with_capacity(path.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = if bytes[at] == b'%' { unescape(bytes.get(at + 1..at + 3)) } else { None };
        match escape {
            Some(b'\\') => decoded.push('/'),
            Some(byte) if byte != b'%' && (b' '..0x7f).contains(&byte) => decoded.push(char::from(byte)),
            Some(byte) => push_escape(&mut decoded, byte),
            None => decoded.push(char::from(bytes[at])),
        }
        at += if escape.is_some() { 3 } else { 1 };
    }
    let mut out = String::with_capacity(decoded.len());
    for segment in decoded.split('/') {
        let segment = segment.split(';').next().unwrap_or_default();
        match segment {
            "." | ".." => return Err(TargetError::HiddenDots),
            "" => {}
            segment => {
                out.push('/');
                out.push_str(segment);
            }
        }
    }
    if out.is_empty() || decoded.ends_with('/') {
        out.push('/');
    }
    Ok(out)
}

fn unescape(digits: Option<&[u8]>) -> Option<u8> {
    let [high, low] = digits? else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*high)? * 16 + digit(*low)?).ok()
}

fn push_escape(out: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    out.push('%');
    out.push(char::from(DIGITS[usize::from(byte >> 4)]));
    out.push(char::from(DIGITS[usize::from(byte & 15)]));
}

const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// Longest host with port that is read: a DNS name has at most 253 bytes.
pub const HOST_LEN_MAX: usize = 260;

/// Bytes that stand for themselves in a path, in every reading: `pchar` and `/`, without `%` and `;`.
const PLAIN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 256 {
        let b = byte as u8;
        table[byte] = is_unreserved(b)
            || matches!(
                b,
                b'/' | b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b'=' | b':' | b'@'
            );
        byte += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_paths_are_not_copied() {
        for path in ["/", "/a/b.c/d~e", "/.well-known/x", "/a..b/...", "/a/.hidden", "/a:b@c,d=e&f/"] {
            let normal = normalise(path).unwrap();
            assert!(matches!(normal.forward, Cow::Borrowed(_)), "{path}");
            assert_eq!(normal.for_rules(), path);
        }
    }

    #[test]
    fn both_forms_of_odd_paths() {
        for (received, forward, for_rules) in [
            ("/%62locked/x", "/blocked/x", "/blocked/x"),
            ("/./blocked/x", "/blocked/x", "/blocked/x"),
            ("//blocked/x", "//blocked/x", "/blocked/x"),
            ("/%2e/blocked/x", "/blocked/x", "/blocked/x"),
            ("/;/blocked/x", "/;/blocked/x", "/blocked/x"),
            ("/blocked;v=1/x", "/blocked;v=1/x", "/blocked/x"),
            ("///blocked//x", "///blocked//x", "/blocked/x"),
            ("/%42locked/../blocked/x", "/blocked/x", "/blocked/x"),
            ("/\\blocked/x", "/%5Cblocked/x", "/blocked/x"),
            ("/%5cblocked/x", "/%5Cblocked/x", "/blocked/x"),
            ("/@scope%2fname", "/@scope%2Fname", "/@scope/name"),
            ("/a/b/..", "/a/", "/a/"),
            ("/a/b/.", "/a/b/", "/a/b/"),
            ("/../../a", "/a", "/a"),
            ("/..", "/", "/"),
            ("/%252e%252e/a", "/%252e%252e/a", "/%252e%252e/a"),
            ("/a%3bb", "/a%3Bb", "/a"),
            ("/caf%c3%a9", "/caf%C3%A9", "/caf%C3%A9"),
            ("/x%0d%0aY", "/x%0D%0AY", "/x%0D%0AY"),
            ("/a%20b{c}", "/a%20b%7Bc%7D", "/a b{c}"),
            ("/a%21", "/a%21", "/a!"),
        ] {
            let path = normalise(received).unwrap_or_else(|error| panic!("{received}: {error}"));
            assert_eq!((&*path.forward, path.for_rules()), (forward, for_rules), "{received}");
        }
    }

    #[test]
    fn paths_without_a_safe_reading_are_refused() {
        for (path, why) in [
            ("/a%2f..%2fblocked/x", TargetError::HiddenDots),
            ("/a/..;/blocked", TargetError::HiddenDots),
            ("/a/..%3bx/blocked", TargetError::HiddenDots),
            ("/a\\..\\blocked", TargetError::HiddenDots),
            ("/a/.;/b", TargetError::HiddenDots),
            ("/a%00", TargetError::Escape),
            ("/a%zz", TargetError::Escape),
            ("/a%2", TargetError::Escape),
            ("/a%+1", TargetError::Escape),
            ("/é", TargetError::Byte(0xc3)),
            ("/a b", TargetError::Byte(b' ')),
            ("/a\u{1}", TargetError::Byte(1)),
            ("/a#b", TargetError::Byte(b'#')),
            ("a", TargetError::Form),
            ("", TargetError::Form),
        ] {
            assert_eq!(normalise(path).unwrap_err(), why, "{path}");
        }
    }

    #[test]
    fn a_rules_path_is_compared_in_the_form_requests_take() {
        for (written, received) in [("/café x", "/caf%c3%a9%20x"), ("/%62/", "//b;v/"), ("/a!", "/a%21")] {
            assert_eq!(pattern(written).unwrap(), normalise(received).unwrap().for_rules());
        }
        assert_eq!(pattern("a"), Err(TargetError::Form));
    }

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

    #[test]
    fn each_form_belongs_to_its_methods() {
        let form = |method: &str, target: &str| {
            Form::of(&Method::from_bytes(method.as_bytes()).unwrap(), &target.parse().unwrap())
        };
        assert_eq!(form("GET", "/a?b"), Ok(Form::Origin));
        assert_eq!(form("FROB", "http://a.test"), Ok(Form::Absolute));
        assert_eq!(form("CONNECT", "a.test:443"), Ok(Form::Authority));
        assert_eq!(form("OPTIONS", "*"), Ok(Form::Asterisk));
        assert_eq!(form("GET", "*"), Err(TargetError::Form));
        assert_eq!(form("GET", "up"), Err(TargetError::Form));
        assert_eq!(form("CONNECT", "/a"), Err(TargetError::Form));
        assert_eq!(form("CONNECT", "http://a.test/"), Err(TargetError::Form));
        assert_eq!(form("GET", "ftp://a.test/"), Err(TargetError::Scheme));
    }

    /// The naive lenient server: decode everything, `\` to `/`, cut parameters, resolve dots, merge slashes.
    fn naive(path: &str) -> Vec<u8> {
        let bytes = path.as_bytes();
        let mut decoded = Vec::new();
        let mut at = 0;
        while at < bytes.len() {
            if bytes[at] == b'%' {
                decoded.push(u8::from_str_radix(&path[at + 1..at + 3], 16).unwrap());
                at += 3;
            } else {
                decoded.push(bytes[at]);
                at += 1;
            }
        }
        let mut kept: Vec<&[u8]> = Vec::new();
        let as_slash = |byte: &u8| matches!(byte, b'/' | b'\\');
        for segment in decoded.split(as_slash) {
            match segment.split(|byte| *byte == b';').next().unwrap() {
                b"" | b"." => {}
                b".." => drop(kept.pop()),
                segment => kept.push(segment),
            }
        }
        kept.iter().flat_map(|segment| [b"/", *segment].concat()).collect()
    }

    proptest! {
        /// No path reaches a lenient upstream under another name than the rules saw.
        #[test]
        fn rules_see_what_a_lenient_upstream_sees(path in "/([ab.;/\\\\]|%2[eEfF]|%5[cC]|%3[bB]|%6[12]){0,12}") {
            if let Ok(normal) = normalise(&path) {
                let seen = naive(&normal.forward);
                prop_assert_eq!(normal.for_rules().trim_end_matches('/').as_bytes(), &seen[..]);
                let again = normalise(&normal.forward).unwrap();
                prop_assert_eq!(&again.forward, &normal.forward, "normal forms are fixed points");
                prop_assert_eq!(again.for_rules(), normal.for_rules());
            }
        }

        #[test]
        fn any_text_is_answered_without_a_panic(path in "\\PC{0,24}|/[\\x00-\\x7f]{0,24}") {
            let _ = normalise(&path);
            let _ = Host::parse(path.as_bytes());
        }

        #[test]
        fn hosts_that_parse_write_back(name in "([a-z0-9_-]{1,9}\\.){0,2}[a-z0-9_-]{1,9}\\.?", port in prop::option::of(1_u16..)) {
            let text = match port { Some(port) => format!("{name}:{port}"), None => name.clone() };
            prop_assert_eq!(Host::parse(text.as_bytes()), Ok(Host { name: &name, port }));
        }
    }
}
