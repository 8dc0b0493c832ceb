//! One request and the final response head that the origin gave it: what most decisions look at.

use super::control::ResponseControl;
use super::moment::Moment;
use super::targeted::targeted;
use http::header::HeaderMap;
use http::{Method, StatusCode};

/// A request as it was sent upstream, and the response to it.
#[derive(Clone, Copy, Debug)]
pub struct Exchange<'a> {
    /// The method.
    pub method: &'a Method,
    /// The client's request fields, without what the cache added to validate.
    pub request: &'a HeaderMap,
    /// The final status.
    pub status: StatusCode,
    /// The response fields as they came.
    pub response: &'a HeaderMap,
    /// When the request was sent.
    pub sent: Moment,
    /// When the response head came.
    pub received: Moment,
}

impl Exchange<'_> {
    /// The directives that count for this cache, and whether they are targeted (RFC 9213 §2.2).
    pub fn control(&self) -> (ResponseControl, bool) {
        match targeted(self.response) {
            Some(control) => (control, true),
            None => (ResponseControl::parse(self.response), false),
        }
    }
}
