//! What rules are asked: a request as conditions and rewriting see it, in the form that is the same however it was
//! written. [`admit`](crate::admit) decides by it, [`rewrite`](crate::rewrite) fills its texts from it.

use std::net::IpAddr;

use http::{HeaderMap, Method};

/// What is asked of the rules.
#[derive(Debug, Clone, Copy)]
pub struct Question<'a> {
    /// The method.
    pub method: &'a Method,
    /// The host in the form for rules.
    pub host: &'a str,
    /// The path in the form for rules.
    pub path: &'a str,
    /// The query, as it was sent.
    pub query: Option<&'a str>,
    /// The fields.
    pub headers: &'a HeaderMap,
    /// The client.
    pub client: IpAddr,
    /// The user, if one has shown a password.
    pub user: Option<&'a str>,
}
