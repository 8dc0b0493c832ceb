//! What a successful unsafe request makes invalid (RFC 9111 §4.4): its target, and the targets that its response
//! names in Location and Content-Location when they are of the same origin, so that nobody can empty another's cache.

use super::key::Key;
use super::settings::Settings;
use http::header::{CONTENT_LOCATION, HeaderMap, HeaderName, LOCATION};
use http::{Method, StatusCode, Uri};

/// Whether a method is safe; an unknown one is not (RFC 9110 §9.2.1).
pub fn is_safe(method: &Method) -> bool {
    const SAFE: [&str; 7] = ["GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH"];
    SAFE.contains(&method.as_str())
}

/// The keys that a response makes invalid, the target's own first; none when the method is safe or failed.
pub fn invalidated(
    method: &Method,
    status: StatusCode,
    response: &HeaderMap,
    target: &Target<'_>,
    settings: &Settings,
) -> Vec<Key> {
    if is_safe(method) || !(status.is_success() || status.is_redirection()) {
        return Vec::new();
    }
    let mut keys = vec![target.key(settings)];
    for name in [LOCATION, CONTENT_LOCATION] {
        let key = target.same_origin(response, &name, settings);
        keys.extend(key.filter(|key| *key != keys[0]));
    }
    keys
}

/// The target of a request: where it goes, whatever form its request line had.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// `http` or `https`.
    pub scheme: &'a str,
    /// Host and port.
    pub authority: &'a str,
    /// Path and query.
    pub path_and_query: &'a str,
}

impl Target<'_> {
    /// The key of this target.
    pub fn key(&self, settings: &Settings) -> Key {
        Key::new(self.scheme, self.authority, self.path_and_query, settings)
    }

    /// The key of this target as text: enough for a lookup.
    pub(super) fn key_text(&self, settings: &Settings) -> String {
        Key::text(self.scheme, self.authority, self.path_and_query, settings)
    }

    /// The key that a URI reference in a field means, when it is of this target's origin.
    pub fn same_origin(&self, response: &HeaderMap, name: &HeaderName, settings: &Settings) -> Option<Key> {
        let reference = response.get(name)?.to_str().ok()?.trim();
        let reference = reference.split('#').next().unwrap_or_default();
        if reference.starts_with("//") {
            return self.absolute(&format!("{}:{reference}", self.scheme), settings);
        }
        if has_scheme(reference) {
            return self.absolute(reference, settings);
        }
        let path = self.path_and_query.split('?').next().unwrap_or_default();
        let joined = match reference {
            "" => self.path_and_query.to_owned(),
            _ if reference.starts_with('/') => reference.to_owned(),
            _ if reference.starts_with('?') => format!("{path}{reference}"),
            _ => {
                let directory = path.rsplit_once('/').map_or("", |(directory, _)| directory);
                format!("{directory}/{reference}")
            }
        };
        Some(Key::new(self.scheme, self.authority, &without_dots(&joined), settings))
    }

    fn absolute(&self, text: &str, settings: &Settings) -> Option<Key> {
        let uri: Uri = text.parse().ok()?;
        let key = Key::from_uri(&uri, settings)?;
        let (ours, theirs) = (self.key(settings), key.clone());
        (origin(ours.as_str()) == origin(theirs.as_str())).then_some(key)
    }
}

/// Scheme, host and port of a key.
fn origin(key: &str) -> &str {
    let after_scheme = key.find("://").map_or(0, |at| at + 3);
    let end = key[after_scheme..].find('/').map_or(key.len(), |at| after_scheme + at);
    &key[..end]
}

/// Whether a reference starts with `scheme:` (RFC 3986 §3.1).
fn has_scheme(reference: &str) -> bool {
    let Some((scheme, _)) = reference.split_once(':') else { return false };
    let mut letters = scheme.chars();
    letters.next().is_some_and(|first| first.is_ascii_alphabetic())
        && letters.all(|letter| letter.is_ascii_alphanumeric() || "+-.".contains(letter))
}

/// Removes `.` and `..` segments from a path (RFC 3986 §5.2.4), leaving the query alone.
fn without_dots(path_and_query: &str) -> String {
    let (path, query) = path_and_query.split_once('?').map_or((path_and_query, None), |(p, q)| (p, Some(q)));
    let mut kept: Vec<&str> = Vec::new();
    let segments: Vec<&str> = path.split('/').skip(1).collect();
    for (nth, segment) in segments.iter().enumerate() {
        let is_last = nth + 1 == segments.len();
        match *segment {
            "." | ".." => {
                if *segment == ".." {
                    kept.pop();
                }
                if is_last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let mut whole = format!("/{}", kept.join("/"));
    if let Some(query) = query {
        whole.push('?');
        whole.push_str(query);
    }
    whole
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    const TARGET: Target<'_> = Target { scheme: "http", authority: "a.test", path_and_query: "/dir/x?q" };

    fn keys(method: &str, status: u16, lines: &[(&'static str, &str)]) -> Vec<String> {
        let mut response = HeaderMap::new();
        for (name, value) in lines {
            response.insert(*name, HeaderValue::from_str(value).expect("a valid test value"));
        }
        let method = Method::from_bytes(method.as_bytes()).expect("a valid test method");
        let status = StatusCode::from_u16(status).expect("a valid test status");
        let keys = invalidated(&method, status, &response, &TARGET, &Settings::default());
        keys.iter().map(|key| key.as_str().to_owned()).collect()
    }

    #[test]
    fn rfc9111_4_4_unsafe_and_unknown_methods_invalidate_their_target() {
        for method in ["POST", "PUT", "DELETE", "PATCH", "M-SEARCH", "FOO"] {
            assert_eq!(keys(method, 204, &[]), ["http://a.test/dir/x?q"], "{method}");
            assert_eq!(keys(method, 302, &[]).len(), 1, "{method}");
            assert!(keys(method, 404, &[]).is_empty() && keys(method, 500, &[]).is_empty(), "{method}");
        }
        for method in ["GET", "HEAD", "OPTIONS", "TRACE"] {
            assert!(keys(method, 200, &[]).is_empty(), "{method}");
        }
    }

    #[test]
    fn rfc9111_4_4_location_and_content_location_of_the_same_origin() {
        let also = |reference: &str| keys("POST", 201, &[("location", reference)]).get(1).cloned();
        assert_eq!(also("/y").as_deref(), Some("http://a.test/y"));
        assert_eq!(also("y?z#f").as_deref(), Some("http://a.test/dir/y?z"));
        assert_eq!(also("../y/./z/..").as_deref(), Some("http://a.test/y/"));
        assert_eq!(also("http://A.test:80/y").as_deref(), Some("http://a.test/y"));
        assert_eq!(also("//a.test/y").as_deref(), Some("http://a.test/y"));
        for foreign in
            ["https://a.test/y", "http://b.test/y", "http://a.test:81/y", "//b.test/", "mailto:x", "a:b"]
        {
            assert_eq!(also(foreign), None, "{foreign}");
        }
        let both = [("location", "/y"), ("content-location", "/z")];
        assert_eq!(keys("PUT", 200, &both).len(), 3);
    }

    #[test]
    fn climbing_above_the_root_stays_at_the_root() {
        assert_eq!(keys("POST", 201, &[("location", "../../../../y")])[1], "http://a.test/y");
    }
}
