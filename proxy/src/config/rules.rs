//! The keys of `[[rules]]`: conditions, then what happens.
//!
//! ```toml
//! [[rules]]
//! name = "hide prices"                       # for the log
//! path_prefix = "/api/"                      # conditions: all must hold
//! method = ["GET", "HEAD"]
//! set_headers = { x-api-key = "abc" }        # the request
//! [rules.response]                           # the answer
//! json_merge = '{ "price": null }'
//! ```

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method, StatusCode};
use toml::Spanned;

use super::{GroupConfig, admission::read_networks, reader::Section};
use crate::{
    admit::rules::{Access, Caching, Rule, Then, Verdict, When},
    pattern::{HostPattern, PathPattern, PatternError, TextPattern},
    rewrite::{
        BodyChange, BodyEdit, BodyError, HeaderChange, PathChange, RequestChange, ResponseChange, Template,
    },
    target::Host,
};

pub(super) fn read_rules(root: &mut Section<'_, '_>, groups: &[GroupConfig]) -> Vec<Rule> {
    let sections = root.sections("rules");
    sections.into_iter().enumerate().map(|(at, section)| read_rule(at, section, groups)).collect()
}

fn read_rule(at: usize, mut rule: Section<'_, '_>, groups: &[GroupConfig]) -> Rule {
    let name = rule.string("name").map_or_else(|| format!("rule {}", at + 1), Spanned::into_inner);
    let when = read_when(&mut rule);
    let then = Then {
        verdict: read_verdict(&mut rule),
        request: read_request_change(&mut rule),
        response: rule.section("response").map(|response| Arc::new(read_response_change(response))),
        group: read_group(&mut rule, groups),
        access: read_access(&mut rule),
        caching: read_caching(&mut rule),
    };
    rule.finish();
    Rule { name, when, then }
}

fn read_when(rule: &mut Section<'_, '_>) -> When {
    let methods = rule.list("method");
    let methods = each(rule, &methods, |text| Method::from_bytes(text.as_bytes()).map_err(|_| "no method"));
    let hosts = rule.list("host");
    let hosts = each(rule, &hosts, HostPattern::parse);
    let mut paths = Vec::new();
    let kinds: [(&'static str, Parse<PathPattern, PatternError>); 4] = [
        ("path", PathPattern::exact),
        ("path_prefix", PathPattern::prefix),
        ("path_glob", PathPattern::glob),
        ("path_regex", PathPattern::regex),
    ];
    for (key, parse) in kinds {
        let texts = rule.list(key);
        paths.extend(each(rule, &texts, parse));
    }
    let mut query = Vec::new();
    for (name, text) in rule.string_map("query") {
        query.extend(one(rule, &text, TextPattern::parse).map(|pattern| (name.into_inner(), pattern)));
    }
    let mut headers = Vec::new();
    for (name, text) in rule.string_map("header") {
        let name = one(rule, &name, header_name);
        let pattern = one(rule, &text, TextPattern::parse);
        headers.extend(name.zip(pattern));
    }
    let users = rule.list("user").into_iter().map(Spanned::into_inner).collect();
    When { methods, hosts, paths, query, headers, clients: read_networks(rule, "client"), users }
}

fn read_verdict(rule: &mut Section<'_, '_>) -> Verdict {
    let action = rule.string("action");
    let status = rule.integer("status", 200..=599).and_then(|status| u16::try_from(status).ok());
    let body = rule.string("body");
    let to = rule.string("to");
    let only = |rule: &Section<'_, '_>, place: &Option<Spanned<String>>, key: &str, action: &str| {
        if let Some(place) = place {
            rule.fault(place, format!("{key} without action = \"{action}\""), None);
        }
    };
    match action.as_ref().map(|action| action.get_ref().as_str()) {
        Some("block") => {
            only(rule, &to, "to", "redirect");
            let body = body.map_or_else(|| "blocked\n".to_owned(), Spanned::into_inner);
            Verdict::block(status.unwrap_or(403), &body).unwrap_or_default()
        }
        Some("redirect") => {
            only(rule, &body, "body", "block");
            let status = StatusCode::from_u16(status.unwrap_or(302)).unwrap_or(StatusCode::FOUND);
            let place = rule.place("action").unwrap_or(Spanned::new(0..0, ()));
            if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
                rule.fault(
                    &place,
                    format!("a redirect with status {}", status.as_u16()),
                    Some(REDIRECTS.to_owned()),
                );
            }
            if to.is_none() {
                rule.fault(&place, "a redirect without to = \"…\"", None);
            }
            let to = to.and_then(|to| one(rule, &to, Template::parse));
            to.map_or(Verdict::Allow, |to| Verdict::Redirect { status, to })
        }
        action_name => {
            only(rule, &to, "to", "redirect");
            only(rule, &body, "body", "block");
            if let (Some(action), false) = (&action, matches!(action_name, None | Some("allow"))) {
                let help = "allowed: \"allow\", \"block\", \"redirect\"";
                rule.fault(action, format!("unknown action \"{}\"", action.get_ref()), Some(help.to_owned()));
            }
            Verdict::Allow
        }
    }
}

fn read_request_change(rule: &mut Section<'_, '_>) -> RequestChange {
    let normal = |text: &str| crate::target::pattern(text);
    let strip = rule.string("strip_prefix").and_then(|text| one(rule, &text, normal));
    let add = rule.string("add_prefix").and_then(|text| one(rule, &text, normal));
    let set = rule.string("set_path").and_then(|text| one(rule, &text, path_template));
    let mut changes = strip
        .map(PathChange::StripPrefix)
        .into_iter()
        .chain(add.map(PathChange::AddPrefix))
        .chain(set.map(PathChange::Set));
    let path = changes.next();
    if changes.next().is_some() {
        let place = rule.place("strip_prefix").or(rule.place("add_prefix")).unwrap_or(Spanned::new(0..0, ()));
        rule.fault(&place, "more than one of strip_prefix, add_prefix and set_path", None);
    }
    let host = rule.string("set_host").and_then(|text| {
        one(rule, &text, |text| {
            Host::parse(text.as_bytes()).map_err(|error| error.to_string())?;
            HeaderValue::from_str(text).map_err(|error| error.to_string())
        })
    });
    let query_set = rule.string_map("set_query");
    RequestChange {
        path,
        query_set: query_set
            .into_iter()
            .map(|(name, value)| (name.into_inner(), value.into_inner()))
            .collect(),
        query_remove: rule.list("remove_query").into_iter().map(Spanned::into_inner).collect(),
        headers: read_header_change(rule),
        host,
    }
}

fn read_response_change(mut response: Section<'_, '_>) -> ResponseChange {
    let status = response.integer("status", 200..=599);
    let status =
        status.and_then(|status| u16::try_from(status).ok()).and_then(|s| StatusCode::from_u16(s).ok());
    let headers = read_header_change(&mut response);
    let mut edits = Vec::new();
    for (from, to) in response.string_map("replace") {
        edits.push(BodyEdit::Replace { from: from.into_inner(), to: to.into_inner() });
    }
    for (from, to) in response.string_map("replace_regex") {
        edits.extend(one(&response, &from, |from| BodyEdit::regex(from, to.get_ref())));
    }
    let documents: [(&'static str, Parse<BodyEdit, BodyError>); 2] =
        [("json_patch", BodyEdit::patch), ("json_merge", BodyEdit::merge)];
    for (key, parse) in documents {
        edits.extend(response.string(key).and_then(|text| one(&response, &text, parse)));
    }
    let len_max = response.integer("max_bytes", 1..=1 << 30).and_then(|len| usize::try_from(len).ok());
    response.finish();
    let body = (!edits.is_empty()).then(|| BodyChange::new(edits, len_max.unwrap_or(REWRITTEN_LEN_MAX)));
    ResponseChange { status, headers, body }
}

fn read_header_change(section: &mut Section<'_, '_>) -> HeaderChange {
    let remove = section.list("remove_headers");
    let remove = each(section, &remove, own_header);
    let [set, add] = ["set_headers", "add_headers"].map(|key| {
        let mut fields = Vec::new();
        for (name, value) in section.string_map(key) {
            let name = one(section, &name, own_header);
            let value =
                one(section, &value, |text| HeaderValue::from_str(text).map_err(|_| "no field value"));
            fields.extend(name.zip(value));
        }
        fields
    });
    HeaderChange { remove, set, add }
}

fn read_access(rule: &mut Section<'_, '_>) -> Access {
    let auth = rule.boolean("auth");
    let users: Vec<String> = rule.list("allow_users").into_iter().map(Spanned::into_inner).collect();
    match auth {
        _ if !users.is_empty() => Access::Users(users),
        Some(true) => Access::AnyUser,
        Some(false) => Access::Open,
        None => Access::AsUsual,
    }
}

fn read_caching(rule: &mut Section<'_, '_>) -> Caching {
    let is_on = rule.boolean("cache");
    let fresh = rule.seconds("cache_timeout", 1..=31_536_000);
    match (is_on, fresh) {
        (Some(false), Some(_)) => {
            let place = rule.place("cache_timeout").unwrap_or(Spanned::new(0..0, ()));
            rule.fault(&place, "cache_timeout with cache = false", None);
            Caching::Off
        }
        (Some(false), None) => Caching::Off,
        (_, Some(time)) => Caching::Fresh(time),
        (_, None) => Caching::AsUsual,
    }
}

/// `upstream`: the name of one of `[[upstreams]]`.
fn read_group(rule: &mut Section<'_, '_>, groups: &[GroupConfig]) -> Option<Arc<str>> {
    let name = rule.string("upstream")?;
    if !groups.iter().any(|group| *group.name == **name.get_ref()) {
        let known: Vec<&str> = groups.iter().map(|group| &*group.name).collect();
        let help = format!("known: {}", if known.is_empty() { "none".to_owned() } else { known.join(", ") });
        rule.fault(&name, format!("upstream \"{}\" is none of [[upstreams]]", name.get_ref()), Some(help));
    }
    Some(name.into_inner().into())
}

fn header_name(text: &str) -> Result<HeaderName, &'static str> {
    HeaderName::from_bytes(text.as_bytes()).map_err(|_| "no field name")
}

/// A path, or a template that makes one.
fn path_template(text: &str) -> Result<Template, String> {
    if !text.starts_with(['/', '$']) {
        return Err("a path begins with /".to_owned());
    }
    Template::parse(text).map_err(|error| error.to_string())
}

/// A field that a rule may write.
fn own_header(text: &str) -> Result<HeaderName, &'static str> {
    let name = header_name(text)?;
    if HeaderChange::is_reserved(&name) { Err("a field that the proxy itself writes") } else { Ok(name) }
}

/// Parses a text, or reports why it does not.
fn one<T, E: std::fmt::Display>(
    section: &Section<'_, '_>,
    text: &Spanned<String>,
    parse: impl FnOnce(&str) -> Result<T, E>,
) -> Option<T> {
    match parse(text.get_ref()) {
        Ok(parsed) => Some(parsed),
        Err(error) => {
            section.fault(text, format!("\"{}\": {error}", text.get_ref()), None);
            None
        }
    }
}

fn each<T, E: std::fmt::Display>(
    section: &Section<'_, '_>,
    texts: &[Spanned<String>],
    parse: impl Fn(&str) -> Result<T, E>,
) -> Vec<T> {
    texts.iter().filter_map(|text| one(section, text, &parse)).collect()
}

type Parse<T, E> = fn(&str) -> Result<T, E>;

/// The largest body that is rewritten, unless the file says otherwise.
const REWRITTEN_LEN_MAX: usize = 4 << 20;
const REDIRECTS: &str = "allowed: 301, 302, 303, 307, 308";
