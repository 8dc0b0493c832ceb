//! Who may ask: those on this machine, or those who know the token; and never a web page of somebody else.
//!
//! A browser on this machine reaches a loopback listener too, on behalf of any page it shows. So
//!
//! - changes need `Content-Type: application/json`, which a page cannot send elsewhere without asking first;
//! - an `Origin`, if there is one, must be the page's own host;
//! - without a token, `Host` must be an IP address or `localhost`: a name could have been rebound to us.

use std::net::IpAddr;

use http::{HeaderMap, Method, StatusCode, header, request::Parts, uri::Authority};

use crate::config::Secret;

/// The rules of one admin listener.
#[derive(Debug, Clone, Default)]
pub(crate) struct Guard {
    /// What `Authorization: Bearer` must say; nobody is asked when it is absent.
    pub(crate) token: Option<Secret>,
    /// A unix socket has the file system's own guard, and no browsers.
    pub(crate) is_unix: bool,
}

impl Guard {
    /// Refuses a request with a status and a sentence.
    pub(crate) fn check(&self, parts: &Parts) -> Result<(), (StatusCode, &'static str)> {
        match &self.token {
            Some(token) => {
                let given = bearer(&parts.headers).unwrap_or("");
                if !same(given.as_bytes(), token.expose().as_bytes()) {
                    return Err((StatusCode::UNAUTHORIZED, "say the token: Authorization: Bearer TOKEN"));
                }
            }
            None if !self.is_unix && !host_is_literal(&parts.headers) => {
                let told =
                    "without a token, only http://127.0.0.1, http://[::1] and http://localhost are answered";
                return Err((StatusCode::FORBIDDEN, told));
            }
            None => {}
        }
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            same_origin(&parts.headers)?;
            is_json(&parts.headers)?;
        }
        Ok(())
    }
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim())
}

/// Compares in a time that tells only the length.
fn same(left: &[u8], right: &[u8]) -> bool {
    let differences = left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b));
    left.len() == right.len() && std::hint::black_box(differences) == 0
}

fn host_is_literal(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let Some(Ok(authority)) = host.map(str::parse::<Authority>) else { return false };
    let name = authority.host();
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    bare.parse::<IpAddr>().is_ok() || bare.eq_ignore_ascii_case("localhost")
}

fn same_origin(headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let of_page = origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, host)| host);
    let ours = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    if of_page.is_some() && of_page == ours {
        Ok(())
    } else {
        Err((StatusCode::FORBIDDEN, "a page of another origin may not change anything here"))
    }
}

fn is_json(headers: &HeaderMap) -> Result<(), (StatusCode, &'static str)> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or("");
    let kind = kind.split(';').next().unwrap_or("").trim();
    if kind.eq_ignore_ascii_case("application/json") {
        Ok(())
    } else {
        Err((StatusCode::UNSUPPORTED_MEDIA_TYPE, "a change needs Content-Type: application/json"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn check(guard: &Guard, method: &str, headers: &[(&str, &str)]) -> Result<(), u16> {
        let mut request = Request::builder().method(method).uri("/api/status");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        guard.check(&parts).map_err(|(status, _)| status.as_u16())
    }

    const JSON: (&str, &str) = ("content-type", "application/json; charset=utf-8");

    #[test]
    fn without_a_token_names_are_refused_because_they_can_be_rebound() {
        let guard = Guard::default();
        for host in ["127.0.0.1:9180", "[::1]:9180", "localhost", "LocalHost:1"] {
            assert_eq!(check(&guard, "GET", &[("host", host)]), Ok(()), "{host}");
        }
        for host in ["evil.example", "127.0.0.1.evil.example:9180", "a b", ""] {
            assert_eq!(check(&guard, "GET", &[("host", host)]), Err(403), "{host}");
        }
        assert_eq!(check(&guard, "GET", &[]), Err(403));
        let unix = Guard { token: None, is_unix: true };
        assert_eq!(check(&unix, "GET", &[("host", "any.name")]), Ok(()));
    }

    #[test]
    fn a_token_is_asked_for_whatever_the_host() {
        let guard = Guard { token: Some(Secret::from("hush".to_owned())), is_unix: false };
        for (value, answer) in [
            ("Bearer hush", Ok(())),
            ("bearer hush", Ok(())),
            ("Bearer hus", Err(401)),
            ("Bearer hushh", Err(401)),
            ("Basic hush", Err(401)),
            ("hush", Err(401)),
            ("", Err(401)),
        ] {
            let headers = [("host", "proxy.example"), ("authorization", value)];
            assert_eq!(check(&guard, "GET", &headers), answer, "{value}");
        }
        assert_eq!(check(&guard, "GET", &[("host", "127.0.0.1")]), Err(401));
    }

    #[test]
    fn pages_of_others_change_nothing() {
        let guard = Guard::default();
        let host = ("host", "127.0.0.1:9180");
        assert_eq!(check(&guard, "POST", &[host, JSON]), Ok(()), "a program sends no Origin");
        assert_eq!(check(&guard, "POST", &[host, JSON, ("origin", "http://127.0.0.1:9180")]), Ok(()));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:80"] {
            assert_eq!(check(&guard, "POST", &[host, JSON, ("origin", origin)]), Err(403), "{origin}");
        }
        for kind in ["text/plain", "application/x-www-form-urlencoded", ""] {
            assert_eq!(check(&guard, "DELETE", &[host, ("content-type", kind)]), Err(415), "{kind}");
        }
        assert_eq!(check(&guard, "POST", &[host]), Err(415));
    }
}
