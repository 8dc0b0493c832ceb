//! Rules: in order, the first that matches acts.
//!
//! ```text
//!   request ─► rule 1 matches? ─ no ─► rule 2 matches? ─ no ─► …  ─► as usual
//!                   │ yes                   │ yes
//!                   └───────────────────────┴─► allow │ block │ redirect,  with rewriting, users, group, cache
//! ```
//!
//! Every kind of condition that a rule has must hold; within a kind, one of the list is enough. A rule without
//! conditions matches everything. Conditions look at what [`sanitise`](super::sanitise) has settled, so a rule cannot be
//! walked around by writing the same request otherwise. Cost: one comparison a condition, from the cheapest kind on.
//!
//! ```
//! use evenly::pattern::PathPattern;
//! use evenly::admit::rules::{Question, Rule, Rules, Then, Verdict, When};
//!
//! let blocked = When { paths: vec![PathPattern::prefix("/admin").unwrap()], ..When::default() };
//! let rules = Rules::new(vec![Rule::new("no admin", blocked, Then::from(Verdict::block(403, "no\n").unwrap()))]);
//! let (method, headers) = (http::Method::GET, http::HeaderMap::new());
//! let question = Question { method: &method, host: "a.test", path: "/admin/x", query: None,
//!     headers: &headers, client: [127, 0, 0, 1].into(), user: None };
//! assert_eq!(rules.first(&question).unwrap().name, "no admin");
//! ```

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION};
use http::{Method, Response, StatusCode, Uri};
use ipnet::IpNet;

pub use crate::question::Question;

use crate::pattern::{HostPattern, PathPattern, TextPattern};
use crate::rewrite::{RequestChange, ResponseChange, Template};

/// The rules of a proxy.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    rules: Vec<Arc<Rule>>,
}

impl Rules {
    /// Rules in the order in which they are tried.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self { rules: rules.into_iter().map(Arc::new).collect() }
    }

    /// The rule that acts.
    #[must_use]
    pub fn first(&self, question: &Question<'_>) -> Option<&Arc<Rule>> {
        self.rules.iter().find(|rule| rule.when.holds(question))
    }

    /// Are there none?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Does any rule look at the user? Then credentials are checked before the rules.
    #[must_use]
    pub fn look_at_users(&self) -> bool {
        self.rules.iter().any(|rule| !rule.when.users.is_empty())
    }
}

/// One rule.
#[derive(Debug, Clone)]
pub struct Rule {
    /// For logs.
    pub name: String,
    /// Its conditions.
    pub when: When,
    /// What it does.
    pub then: Then,
}

impl Rule {
    /// A rule with a name for the logs.
    #[must_use]
    pub fn new(name: &str, when: When, then: Then) -> Self {
        Self { name: name.to_owned(), when, then }
    }
}

/// Conditions. An empty list is no condition.
#[derive(Debug, Clone, Default)]
pub struct When {
    /// One of these methods.
    pub methods: Vec<Method>,
    /// One of these hosts.
    pub hosts: Vec<HostPattern>,
    /// One of these paths.
    pub paths: Vec<PathPattern>,
    /// All of these query parameters.
    pub query: Vec<(String, TextPattern)>,
    /// All of these fields.
    pub headers: Vec<(HeaderName, TextPattern)>,
    /// A client in one of these networks.
    pub clients: Vec<IpNet>,
    /// One of these users.
    pub users: Vec<String>,
}

impl When {
    /// Do all conditions hold?
    #[must_use]
    pub fn holds(&self, question: &Question<'_>) -> bool {
        (self.methods.is_empty() || self.methods.contains(question.method))
            && (self.paths.is_empty() || self.paths.iter().any(|path| path.matches(question.path)))
            && (self.hosts.is_empty() || self.hosts.iter().any(|host| host.matches(question.host)))
            && (self.clients.is_empty() || self.clients.iter().any(|net| net.contains(&question.client)))
            && (self.users.is_empty() || self.users.iter().any(|user| Some(user.as_str()) == question.user))
            && self.headers.iter().all(|(name, pattern)| has_field(question.headers, name, pattern))
            && self.query.iter().all(|(name, pattern)| has_parameter(question.query, name, pattern))
    }
}

/// What a rule does.
#[derive(Debug, Clone, Default)]
pub struct Then {
    /// Who answers.
    pub verdict: Verdict,
    /// How the request is changed before it is sent on.
    pub request: RequestChange,
    /// How the answer is changed before the client gets it.
    pub response: Option<Arc<ResponseChange>>,
    /// Another group of upstreams.
    pub group: Option<Arc<str>>,
    /// Who must show a password.
    pub access: Access,
    /// Whether answers are kept.
    pub caching: Caching,
}

impl From<Verdict> for Then {
    fn from(verdict: Verdict) -> Self {
        Self { verdict, ..Self::default() }
    }
}

/// Who answers a request.
#[derive(Debug, Clone, Default)]
pub enum Verdict {
    /// The upstream.
    #[default]
    Allow,
    /// This proxy, with a status and a body.
    Block {
        /// The status.
        status: StatusCode,
        /// The body, plain text.
        body: Bytes,
    },
    /// Another place.
    Redirect {
        /// 301, 302, 303, 307 or 308.
        status: StatusCode,
        /// Where to.
        to: Template,
    },
}

impl Verdict {
    /// A block with this status and text; none when the status is not from 200 to 599.
    #[must_use]
    pub fn block(status: u16, body: &str) -> Option<Self> {
        let status = StatusCode::from_u16(status).ok().filter(|_| (200..600).contains(&status))?;
        Some(Self::Block { status, body: Bytes::copy_from_slice(body.as_bytes()) })
    }

    /// The answer, if it is this proxy's. `uri` and `path` are the request's, the latter in the form for rules.
    #[must_use]
    pub fn answer(&self, rule: &Rule, question: &Question<'_>, uri: &Uri) -> Option<Response<Bytes>> {
        match self {
            Self::Allow => None,
            Self::Block { status, body } => {
                let mut response = Response::new(body.clone());
                *response.status_mut() = *status;
                let text = HeaderValue::from_static("text/plain; charset=utf-8");
                response.headers_mut().insert(CONTENT_TYPE, text);
                Some(response)
            }
            Self::Redirect { status, to } => {
                let to = to.fill(&rule.when.paths, question, uri);
                let mut response = Response::new(Bytes::new());
                // A location that is no field value names nothing: better no redirect than a broken one.
                match HeaderValue::from_str(&to) {
                    Ok(to) => {
                        *response.status_mut() = *status;
                        response.headers_mut().insert(LOCATION, to);
                    }
                    Err(_) => *response.status_mut() = StatusCode::BAD_REQUEST,
                }
                Some(response)
            }
        }
    }
}

/// Who must show a password.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Access {
    /// As the whole proxy asks.
    #[default]
    AsUsual,
    /// Nobody, even when the whole proxy asks.
    Open,
    /// Any user.
    AnyUser,
    /// One of these users.
    Users(Vec<String>),
}

impl Access {
    /// May this user pass?
    #[must_use]
    pub fn lets_in(&self, user: &str) -> bool {
        match self {
            Self::Users(users) => users.iter().any(|allowed| allowed == user),
            _ => true,
        }
    }
}

/// Whether answers are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Caching {
    /// As the answers themselves say.
    #[default]
    AsUsual,
    /// So long, if they say nothing.
    Fresh(Duration),
    /// Never.
    Off,
}

fn has_field(headers: &HeaderMap, name: &HeaderName, pattern: &TextPattern) -> bool {
    headers.get_all(name).iter().any(|value| pattern.matches(&String::from_utf8_lossy(value.as_bytes())))
}

fn has_parameter(query: Option<&str>, name: &str, pattern: &TextPattern) -> bool {
    query.unwrap_or_default().split('&').any(|parameter| {
        let (found, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        decode(found) == name && pattern.matches(&decode(value))
    })
}

/// A name or value of a query, as forms write it.
fn decode(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let escape = match bytes[at] {
            b'%' => text.get(at + 1..at + 3).and_then(|digits| u8::from_str_radix(digits, 16).ok()),
            _ => None,
        };
        decoded.push(escape.unwrap_or(if bytes[at] == b'+' { b' ' } else { bytes[at] }));
        at += if escape.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&decoded).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use std::net::IpAddr;

    fn ask<'a>(headers: &'a HeaderMap, path: &'a str, query: Option<&'a str>) -> Question<'a> {
        let client = IpAddr::from([192, 0, 2, 1]);
        Question { method: &Method::GET, host: "a.test", path, query, headers, client, user: Some("alice") }
    }

    fn holds(when: &When) -> bool {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        when.holds(&ask(&headers, "/a/b", Some("q=%61+b&empty&q=2")))
    }

    #[test]
    fn every_kind_of_condition_must_hold() {
        let text = |text: &str| TextPattern::parse(text).unwrap();
        let name = HeaderName::from_static("x-a");
        assert!(holds(&When::default()));
        let yes = When {
            methods: vec![Method::PUT, Method::GET],
            hosts: vec![HostPattern::parse("b.test").unwrap(), HostPattern::parse("a.test").unwrap()],
            paths: vec![PathPattern::prefix("/a/").unwrap()],
            query: vec![("q".into(), text("a b")), ("empty".into(), text("*")), ("q".into(), text("2"))],
            headers: vec![(name.clone(), text("2")), (name.clone(), text("1"))],
            clients: vec!["192.0.2.0/24".parse().unwrap()],
            users: vec!["bob".into(), "alice".into()],
        };
        assert!(holds(&yes));
        for no in [
            When { methods: vec![Method::PUT], ..yes.clone() },
            When { hosts: vec![HostPattern::parse("*.a.test").unwrap()], ..yes.clone() },
            When { paths: vec![PathPattern::exact("/a").unwrap()], ..yes.clone() },
            When { query: vec![("q".into(), text("3"))], ..yes.clone() },
            When { headers: vec![(name, text("3"))], ..yes.clone() },
            When { clients: vec!["2001:db8::/32".parse().unwrap()], ..yes.clone() },
            When { users: vec!["bob".into()], ..yes },
        ] {
            assert!(!holds(&no), "{no:?}");
        }
    }

    #[test]
    fn a_redirect_is_filled_from_the_request() {
        let when = When { paths: vec![PathPattern::regex("^/old/(.*)$").unwrap()], ..When::default() };
        let to = Template::parse("https://$host/new/$1$query").unwrap();
        let verdict = Verdict::Redirect { status: StatusCode::MOVED_PERMANENTLY, to };
        let rule = Rule::new("moved", when, Then::from(verdict));
        let headers = HeaderMap::new();
        let uri: Uri = "/old/a%20b?x=1".parse().unwrap();
        let question = ask(&headers, "/old/a b{?}", uri.query());
        let response = rule.then.verdict.answer(&rule, &question, &uri).unwrap();
        assert_eq!(response.status(), StatusCode::MOVED_PERMANENTLY);
        assert_eq!(response.headers()["location"], "https://a.test/new/a%20b%7B%3F%7D?x=1");
    }

    #[test]
    fn a_block_has_a_final_status() {
        assert!(Verdict::block(403, "").is_some());
        assert!(Verdict::block(101, "").is_none() && Verdict::block(600, "").is_none());
    }

    proptest! {
        /// The naive model: the position of the first rule whose path is a prefix.
        #[test]
        fn the_first_match_acts(prefixes in prop::collection::vec("(/[ab]{0,2}){1,2}", 0..6), path in "(/[ab]{1,2}){1,3}") {
            let rules = prefixes.iter().enumerate().map(|(at, prefix)| {
                let when = When { paths: vec![PathPattern::prefix(prefix).unwrap()], ..When::default() };
                Rule::new(&at.to_string(), when, Then::default())
            });
            let rules = Rules::new(rules.collect());
            let normal = |prefix: &String| crate::target::pattern(prefix).unwrap();
            let model = prefixes.iter().position(|prefix| path.starts_with(&normal(prefix)));
            let headers = HeaderMap::new();
            let found = rules.first(&ask(&headers, &path, None)).map(|rule| rule.name.parse().unwrap());
            prop_assert_eq!(found, model);
        }

        #[test]
        fn any_query_is_read_without_a_panic(query in "\\PC{0,30}") {
            has_parameter(Some(&query), "a", &TextPattern::Any);
        }
    }
}
