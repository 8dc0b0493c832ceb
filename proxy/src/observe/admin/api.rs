//! Which request asks what.
//!
//! | request | answer |
//! |---|---|
//! | `GET /` | the dashboard |
//! | `GET /healthz` | 200 while the process answers |
//! | `GET /readyz` | 200 while new requests are welcome, else 503 |
//! | `GET /metrics` | for Prometheus |
//! | `GET /api/status` | everything the dashboard shows |
//! | `GET /api/members` | groups and members |
//! | `POST /api/members` `{"add": "host:port^2"}` | adds a member |
//! | `POST /api/members` `{"remove": "host:port"}` | removes one |
//! | `POST /api/members` `{"drain": "host:port"}`, `{"undrain": …}` | no new requests for it; again |
//! | `POST /api/members` `{"reweight": "host:port", "weight": 3}` | another weight |
//! | `POST /api/purge` `{"url": …}`, `{"prefix": …}`, `{"tag": …}`, `{"all": true}` | removes stored responses |
//! | `POST /api/reload` `{}` | reads the configuration again |
//! | `GET /api/config` | the configuration in use, as TOML, secrets masked |
//!
//! Changes of members live until the next reload. `"group"` names a group other than `default`.

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use serde::Deserialize;
use serde_json::json;

use super::{
    Change, Desk, Guard, Purge, Refusal,
    status::{self, Status},
};
use crate::observe::{EventKind, metrics};

/// Answers one request of an operator.
pub(crate) async fn answer(desk: &impl Desk, guard: &Guard, request: Request<Bytes>) -> Response<Bytes> {
    let (parts, body) = request.into_parts();
    let path = parts.uri.path();
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    // The page holds no facts, and it is where a token is asked for; health is for programs without secrets.
    let is_open = matches!(path, "/" | "/healthz" | "/readyz") && method == Method::GET;
    if let (false, Err((status, told))) = (is_open, guard.check(&parts)) {
        return refuse(status, told);
    }
    match (method, path) {
        (&Method::GET, "/") => html(DASHBOARD),
        (&Method::GET, "/healthz") => text(StatusCode::OK, "ok\n"),
        (&Method::GET, "/readyz") if desk.is_ready() => text(StatusCode::OK, "ready\n"),
        (&Method::GET, "/readyz") => text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n"),
        (&Method::GET, "/metrics") => metrics_page(desk),
        (&Method::GET, "/api/status") => json(StatusCode::OK, &Status::of(desk)),
        (&Method::GET, "/api/members") => json(StatusCode::OK, &status::groups(desk)),
        (&Method::GET, "/api/config") => text(StatusCode::OK, desk.config().await),
        (&Method::POST, "/api/members") => match read::<MembersAsked>(&body).and_then(MembersAsked::change) {
            Ok((group, change)) => told(desk, desk.change(&group, &change)),
            Err(wrong) => refuse(StatusCode::BAD_REQUEST, &wrong),
        },
        (&Method::POST, "/api/purge") => match read::<PurgeAsked>(&body).and_then(PurgeAsked::purge) {
            Ok(purge) => {
                let done = desk.purge(&purge).await;
                told(desk, done.map(|count| format!("purged {count} stored responses ({purge})")))
            }
            Err(wrong) => refuse(StatusCode::BAD_REQUEST, &wrong),
        },
        (&Method::POST, "/api/reload") => {
            let done = desk.reload().await;
            told(desk, done)
        }
        (_, "/" | "/healthz" | "/readyz" | "/metrics" | "/api/status" | "/api/config") => {
            not_allowed("GET, HEAD")
        }
        (_, "/api/members") => not_allowed("GET, HEAD, POST"),
        (_, "/api/purge" | "/api/reload") => not_allowed("POST"),
        _ => refuse(StatusCode::NOT_FOUND, &format!("nothing at {path}")),
    }
}

/// The body of `POST /api/members`: exactly one of the verbs.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct MembersAsked {
    #[serde(default = "default_group")]
    group: String,
    add: Option<String>,
    remove: Option<String>,
    drain: Option<String>,
    undrain: Option<String>,
    reweight: Option<String>,
    weight: Option<u32>,
}

fn default_group() -> String {
    "default".to_owned()
}

impl MembersAsked {
    fn change(self) -> Result<(String, Change), String> {
        let MembersAsked { group, add, remove, drain, undrain, reweight, weight } = self;
        if weight.is_some() && reweight.is_none() {
            return Err("weight goes with reweight; add takes \"host:port^weight\"".to_owned());
        }
        let change = match (add, remove, drain, undrain, reweight) {
            (Some(member), None, None, None, None) => {
                Change::Add(member.parse().map_err(|error| format!("add: {error}"))?)
            }
            (None, Some(id), None, None, None) => Change::Remove(id),
            (None, None, Some(id), None, None) => Change::Drain(id),
            (None, None, None, Some(id), None) => Change::Undrain(id),
            (None, None, None, None, Some(id)) => match weight {
                Some(weight @ 1..=crate::config::WEIGHT_MAX) => Change::Weight(id, weight),
                _ => return Err(format!("weight must be 1 to {}", crate::config::WEIGHT_MAX)),
            },
            _ => return Err("say one of add, remove, drain, undrain and reweight".to_owned()),
        };
        Ok((group, change))
    }
}

/// The body of `POST /api/purge`: exactly one of the four.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PurgeAsked {
    url: Option<String>,
    prefix: Option<String>,
    tag: Option<String>,
    #[serde(default)]
    all: bool,
}

impl PurgeAsked {
    fn purge(self) -> Result<Purge, String> {
        match (self.url, self.prefix, self.tag, self.all) {
            (Some(url), None, None, false) => Ok(Purge::Url(url)),
            (None, Some(prefix), None, false) => Ok(Purge::Prefix(prefix)),
            (None, None, Some(tag), false) => Ok(Purge::Tag(tag)),
            (None, None, None, true) => Ok(Purge::All),
            _ => Err("say one of url, prefix, tag and all".to_owned()),
        }
    }
}

impl std::fmt::Display for Purge {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Purge::Url(url) => write!(f, "url {url}"),
            Purge::Prefix(prefix) => write!(f, "prefix {prefix}"),
            Purge::Tag(tag) => write!(f, "tag {tag}"),
            Purge::All => f.write_str("all"),
        }
    }
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("the body is not what is expected: {error}"))
}

/// What was done is told to whoever asked, and to the dashboard.
fn told(desk: &impl Desk, done: Result<String, Refusal>) -> Response<Bytes> {
    match done {
        Ok(done) => {
            desk.events().tell(std::time::SystemTime::now(), EventKind::Admin, done.as_str());
            tracing::info!(done, "asked by the admin API");
            json(StatusCode::OK, &json!({ "done": done }))
        }
        Err(Refusal::NotFound(what)) => refuse(StatusCode::NOT_FOUND, &what),
        Err(Refusal::Impossible(why)) => refuse(StatusCode::CONFLICT, &why),
        Err(Refusal::NotConfigured(what)) => refuse(StatusCode::NOT_IMPLEMENTED, &what),
    }
}

fn metrics_page(desk: &impl Desk) -> Response<Bytes> {
    let groups = desk.groups();
    let page = metrics::render(&metrics::Sources {
        counters: desk.counters(),
        groups: &groups,
        cache: desk.cache(),
        names: desk.names(),
        access_log_dropped: desk.access_log_dropped(),
    });
    respond(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", page)
}

fn refuse(status: StatusCode, why: &str) -> Response<Bytes> {
    let mut response = json(status, &json!({ "error": why }));
    if status == StatusCode::UNAUTHORIZED {
        response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

fn not_allowed(allowed: &'static str) -> Response<Bytes> {
    let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, &format!("allowed: {allowed}"));
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Bytes> {
    match serde_json::to_vec(value) {
        Ok(json) => respond(status, "application/json", json),
        // Our own structs of strings and numbers; if it ever happens, it is seen and nothing else breaks.
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Response<Bytes> {
    respond(status, "text/plain; charset=utf-8", text)
}

fn html(page: &'static str) -> Response<Bytes> {
    let mut response = respond(StatusCode::OK, "text/html; charset=utf-8", page);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

fn respond(status: StatusCode, kind: &'static str, body: impl Into<Bytes>) -> Response<Bytes> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

const DASHBOARD: &str = include_str!("dashboard.html");
/// The page runs its own script and talks to us, and to nobody else; nobody frames it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";
