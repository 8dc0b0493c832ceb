//! A path in the one form that is forwarded and cached, and the one that rules match.

use std::borrow::Cow;

use super::TargetError;

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
        }
    }
}
