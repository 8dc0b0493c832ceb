//! Secrets in targets: `/login?user=me&password=hush` is logged as `/login?user=me&password=***`.
//!
//! A parameter is a secret if its name says so (the list below, in any case, also as the end of a longer name:
//! `X-Amz-Signature`, `my_token`). The user part of an absolute target, `http://me:hush@host/`, is masked as well.

use http::Uri;

/// A target that is written without its secrets.
#[derive(Debug)]
pub(super) struct Masked<'t> {
    scheme: &'t [u8],
    authority: &'t [u8],
    pub(super) rest: &'t [u8],
}

impl<'t> Masked<'t> {
    pub(super) fn uri(uri: &'t Uri) -> Self {
        let authority = uri.authority().map_or("", |authority| authority.as_str());
        // An authority alone is the target of CONNECT, and has no path.
        let rest = if uri.scheme().is_none() && !authority.is_empty() {
            ""
        } else {
            uri.path_and_query().map_or("/", |path| path.as_str())
        };
        Masked {
            scheme: uri.scheme_str().unwrap_or("").as_bytes(),
            authority: authority.as_bytes(),
            rest: rest.as_bytes(),
        }
    }

    /// A reference as in `Referer`.
    pub(super) fn bytes(text: &'t [u8]) -> Self {
        let none: &[u8] = b"";
        let Some(colon) = find(text, b"://").filter(|at| text[..*at].iter().all(u8::is_ascii_alphanumeric))
        else {
            return Masked { scheme: none, authority: none, rest: text };
        };
        let after = &text[colon + 3..];
        let end = after.iter().position(|byte| b"/?#".contains(byte)).unwrap_or(after.len());
        Masked { scheme: &text[..colon], authority: &after[..end], rest: &after[end..] }
    }

    /// There is only a path, and nothing to be masked in it.
    pub(super) fn is_plain(&self) -> bool {
        self.scheme.is_empty() && self.authority.is_empty() && !self.rest.contains(&b'?')
    }

    /// Appends the target; `***` stands for what is masked.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if !self.scheme.is_empty() {
            out.extend_from_slice(self.scheme);
            out.extend_from_slice(b"://");
        }
        match self.authority.iter().rposition(|byte| *byte == b'@') {
            None => out.extend_from_slice(self.authority),
            Some(at) => {
                out.extend_from_slice(b"***");
                out.extend_from_slice(&self.authority[at..]);
            }
        }
        let Some(query) = self.rest.iter().position(|byte| *byte == b'?') else {
            return out.extend_from_slice(self.rest);
        };
        out.extend_from_slice(&self.rest[..query]);
        let mut before = b'?';
        for parameter in self.rest[query + 1..].split_inclusive(|byte| matches!(byte, b'&' | b';')) {
            out.push(before);
            let (parameter, separator) = match parameter.split_last() {
                Some((&last @ (b'&' | b';'), parameter)) => (parameter, Some(last)),
                _ => (parameter, None),
            };
            match parameter.iter().position(|byte| *byte == b'=') {
                Some(equals) if is_secret(&parameter[..equals]) => {
                    out.extend_from_slice(&parameter[..=equals]);
                    out.extend_from_slice(b"***");
                }
                _ => out.extend_from_slice(parameter),
            }
            match separator {
                Some(separator) => before = separator,
                None => return,
            }
        }
        out.push(before);
    }
}

/// Whether a parameter of this name holds a secret. `%74oken` is `token` too.
fn is_secret(name: &[u8]) -> bool {
    let decoded;
    let name = if name.contains(&b'%') {
        decoded = percent_decoded(name);
        &decoded
    } else {
        name
    };
    SECRETS.iter().any(|secret| {
        name.len() >= secret.len()
            && name[name.len() - secret.len()..].eq_ignore_ascii_case(secret.as_bytes())
    })
}

fn percent_decoded(name: &[u8]) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut decoded = Vec::with_capacity(name.len());
    let mut rest = name;
    while let [first, after @ ..] = rest {
        rest = after;
        match (first, after) {
            (b'%', [high, low, behind @ ..]) => match (digit(*high), digit(*low)) {
                (Some(high), Some(low)) => {
                    decoded.push((high * 16 + low) as u8);
                    rest = behind;
                }
                _ => decoded.push(b'%'),
            },
            _ => decoded.push(*first),
        }
    }
    decoded
}

fn find(text: &[u8], needle: &[u8]) -> Option<usize> {
    text.windows(needle.len()).position(|window| window == needle)
}

const SECRETS: [&str; 14] = [
    "password",
    "passwd",
    "pass",
    "pwd",
    "secret",
    "token",
    "apikey",
    "api_key",
    "api-key",
    "signature",
    "sig",
    "credential",
    "session",
    "auth",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn uri(text: &str) -> String {
        let mut out = Vec::new();
        Masked::uri(&text.parse().unwrap()).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn referer(text: &str) -> String {
        let mut out = Vec::new();
        Masked::bytes(text.as_bytes()).write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn secrets_do_not_show() {
        for (target, logged) in [
            ("/a?user=me&password=hush", "/a?user=me&password=***"),
            ("/a?Access_Token=hush&b=1", "/a?Access_Token=***&b=1"),
            ("/a?%74oken=hush", "/a?%74oken=***"),
            ("/a?X-Amz-Signature=hush;c", "/a?X-Amz-Signature=***;c"),
            ("http://me:hush@host/x?sig=hush", "http://***@host/x?sig=***"),
        ] {
            assert_eq!(uri(target), logged);
            assert_eq!(referer(target), logged);
        }
    }

    #[test]
    fn everything_else_shows_as_it_is() {
        for target in
            ["/", "/a?", "/a?&&", "/a?b", "/a?b=c&d=e&", "/a?tokens=5", "/password=1", "http://host/", "*"]
        {
            assert_eq!(uri(target), target);
            assert_eq!(referer(target), target);
        }
        assert_eq!(uri("host:443"), "host:443");
        assert_eq!(referer("about:blank"), "about:blank");
    }
}
