//! How a rule changes a request before it is sent on: path, query, fields, host.

use bytes::Bytes;
use http::Uri;
use http::header::{HOST, HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use http::uri::PathAndQuery;

use super::Template;
use super::template::push_escaped;
use crate::pattern::PathPattern;
use crate::question::Question;
use crate::target::normalise;

/// Changes to a request, made in the order of the fields.
#[derive(Debug, Clone, Default)]
pub struct RequestChange {
    /// The path.
    pub path: Option<PathChange>,
    /// Query parameters to set; others of the name are removed.
    pub query_set: Vec<(String, String)>,
    /// Query parameters to remove.
    pub query_remove: Vec<String>,
    /// The fields.
    pub headers: HeaderChange,
    /// The host that the upstream sees.
    pub host: Option<HeaderValue>,
}

/// A change of the path.
#[derive(Debug, Clone)]
pub enum PathChange {
    /// Take this off the front.
    StripPrefix(String),
    /// Put this before it.
    AddPrefix(String),
    /// This instead.
    Set(Template),
}

/// Changes to the fields of a message.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderChange {
    /// Fields to remove, first.
    pub remove: Vec<HeaderName>,
    /// Fields to set, in place of those of that name.
    pub set: Vec<(HeaderName, HeaderValue)>,
    /// Fields to add to those of that name.
    pub add: Vec<(HeaderName, HeaderValue)>,
}

impl HeaderChange {
    /// Is this a field that a rule may not touch, because the proxy writes it: framing and the connection's own?
    #[must_use]
    pub fn is_reserved(name: &HeaderName) -> bool {
        const RESERVED: [&str; 7] =
            ["connection", "content-length", "host", "keep-alive", "te", "transfer-encoding", "upgrade"];
        RESERVED.contains(&name.as_str())
    }

    /// Makes the changes.
    pub fn apply(&self, headers: &mut HeaderMap) {
        for name in &self.remove {
            headers.remove(name);
        }
        for (name, value) in &self.set {
            headers.insert(name.clone(), value.clone());
        }
        for (name, value) in &self.add {
            headers.append(name.clone(), value.clone());
        }
    }
}

impl RequestChange {
    /// Makes the changes. `path` is the request's path in the form for rules, `paths` what the rule matched.
    ///
    /// # Errors
    /// When the new path is no path.
    pub fn apply(&self, parts: &mut Parts, new_path: Option<String>) -> Result<(), NotAPath> {
        self.apply_target(parts, new_path)?;
        self.headers.apply(&mut parts.headers);
        if let Some(host) = &self.host {
            parts.headers.insert(HOST, host.clone());
        }
        Ok(())
    }

    /// The path after the change; none when it stays.
    #[must_use]
    pub fn path(&self, paths: &[PathPattern], question: &Question<'_>, uri: &Uri) -> Option<String> {
        let path = match self.path.as_ref()? {
            PathChange::StripPrefix(prefix) => {
                let mut lenient = String::new();
                let rest = without(prefix, uri.path()).unwrap_or_else(|| {
                    // The rule matched another way of writing it.
                    push_escaped(&mut lenient, without(prefix, question.path).unwrap_or(question.path));
                    &lenient
                });
                if rest.starts_with('/') { rest.to_owned() } else { format!("/{rest}") }
            }
            PathChange::AddPrefix(prefix) => format!("{}{}", prefix.trim_end_matches('/'), uri.path()),
            PathChange::Set(template) => template.fill(paths, question, uri),
        };
        Some(path)
    }

    fn apply_target(&self, parts: &mut Parts, new_path: Option<String>) -> Result<(), NotAPath> {
        let keeps_query = self.query_set.is_empty() && self.query_remove.is_empty();
        if new_path.is_none() && keeps_query {
            return Ok(());
        }
        let path = new_path.unwrap_or_else(|| parts.uri.path().to_owned());
        // A template may bring a query of its own.
        let (path, own_query) = path.split_once('?').map_or((path.as_str(), None), |(p, q)| (p, Some(q)));
        // Whatever a rule puts together is as normal as what came (`/a/$1/b` with nothing in the middle).
        let normal = normalise(path).map_err(|_| NotAPath(path.to_owned()))?;
        let mut target = normal.forward.into_owned();
        let mut parameters: Vec<String> = own_query
            .or(parts.uri.query())
            .unwrap_or_default()
            .split('&')
            .filter(|parameter| !parameter.is_empty() && !self.touches(parameter))
            .map(str::to_owned)
            .collect();
        for (name, value) in &self.query_set {
            let mut parameter = String::new();
            push_form(&mut parameter, name);
            parameter.push('=');
            push_form(&mut parameter, value);
            parameters.push(parameter);
        }
        if !parameters.is_empty() {
            target.push('?');
            target.push_str(&parameters.join("&"));
        }
        let path =
            PathAndQuery::from_maybe_shared(Bytes::from(target)).map_err(|_| NotAPath(path.to_owned()))?;
        parts.uri = Uri::from(path);
        Ok(())
    }

    fn touches(&self, parameter: &str) -> bool {
        let name = parameter.split('=').next().unwrap_or_default();
        let is_name = |changed: &String| {
            let mut written = String::new();
            push_form(&mut written, changed);
            name == changed || name == written
        };
        self.query_remove.iter().any(is_name) || self.query_set.iter().any(|(name, _)| is_name(name))
    }
}

/// A rule made a path that is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotAPath(String);

impl std::fmt::Display for NotAPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a rule makes the path \"{}\", which is none", self.0)
    }
}

impl std::error::Error for NotAPath {}

/// The path below `prefix`: `/ab` is not below `/a`.
fn without<'p>(prefix: &str, path: &'p str) -> Option<&'p str> {
    let rest = path.strip_prefix(prefix)?;
    (rest.is_empty() || rest.starts_with('/') || prefix.ends_with('/')).then_some(rest)
}

/// Escapes what separates parameters besides what no URI may hold.
fn push_form(out: &mut String, text: &str) {
    for character in text.chars() {
        match character {
            '&' => out.push_str("%26"),
            '=' => out.push_str("%3D"),
            '+' => out.push_str("%2B"),
            '%' => out.push_str("%25"),
            character => push_escaped(out, character.encode_utf8(&mut [0; 4])),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(change: &RequestChange, target: &str, path_for_rules: &str) -> Result<Parts, NotAPath> {
        let (mut parts, ()) = http::Request::get(target).header("x-old", "1").body(()).unwrap().into_parts();
        let headers = HeaderMap::new();
        let question = Question {
            method: &http::Method::GET,
            host: "a.test",
            path: path_for_rules,
            query: parts.uri.query(),
            headers: &headers,
            client: [127, 0, 0, 1].into(),
            user: None,
        };
        let paths = [PathPattern::regex("^/v1/(.*)").unwrap()];
        let path = change.path(&paths, &question, &parts.uri);
        change.apply(&mut parts, path)?;
        Ok(parts)
    }

    fn path(change: PathChange, target: &str, path_for_rules: &str) -> String {
        let change = RequestChange { path: Some(change), ..RequestChange::default() };
        changed(&change, target, path_for_rules)
            .map_or_else(|error| error.to_string(), |parts| parts.uri.to_string())
    }

    #[test]
    fn the_path_is_changed_and_the_query_stays() {
        let strip = || PathChange::StripPrefix("/api".into());
        assert_eq!(path(strip(), "/api/x%2Fy?q=1", "/api/x/y"), "/x%2Fy?q=1");
        assert_eq!(path(strip(), "/api", "/api"), "/");
        assert_eq!(path(strip(), "//api/x%20y", "/api/x y"), "/x%20y");
        assert_eq!(path(strip(), "/api../x", "/api../x"), "/api../x");
        assert_eq!(path(PathChange::StripPrefix("/a/".into()), "/a//../x", "/a/x"), "/x");
        assert_eq!(path(PathChange::AddPrefix("/v2/".into()), "/x?q", "/x"), "/v2/x?q");
        let set = |to: &str| PathChange::Set(Template::parse(to).unwrap());
        assert_eq!(path(set("/v2/$1"), "/v1/a%20b?q", "/v1/a b"), "/v2/a%20b?q");
        assert_eq!(path(set("/v2?own=1"), "/v1/a?q", "/v1/a"), "/v2?own=1");
        assert_eq!(path(set("/v2/../%61"), "/v1/a", "/v1/a"), "/a");
        assert!(path(set("$1"), "/v1/a", "/v1/a").contains("none"));
    }

    #[test]
    fn parameters_are_set_and_removed() {
        let change = RequestChange {
            query_set: vec![("key".into(), "a&b=c".into())],
            query_remove: vec!["debug".into()],
            ..RequestChange::default()
        };
        let parts = changed(&change, "/x?key=1&debug=1&a=%20&key=2&debug", "/x").unwrap();
        assert_eq!(parts.uri, "/x?a=%20&key=a%26b%3Dc");
        assert_eq!(changed(&change, "/x", "/x").unwrap().uri, "/x?key=a%26b%3Dc");
    }

    #[test]
    fn fields_and_host_are_changed() {
        let field = |name: &'static str, value: &'static str| {
            (HeaderName::from_static(name), HeaderValue::from_static(value))
        };
        let change = RequestChange {
            headers: HeaderChange {
                remove: vec![HeaderName::from_static("x-old")],
                set: vec![field("x-new", "1")],
                add: vec![field("x-new", "2")],
            },
            host: Some(HeaderValue::from_static("b.test")),
            ..RequestChange::default()
        };
        let parts = changed(&change, "/x", "/x").unwrap();
        assert_eq!(parts.headers["host"], "b.test");
        assert_eq!(parts.headers.get_all("x-new").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert!(!parts.headers.contains_key("x-old"));
        assert!(HeaderChange::is_reserved(&HeaderName::from_static("content-length")));
    }
}
