//! How a rule changes an answer before the client gets it: status, fields, body.
//!
//! A body that is changed is another representation than the upstream's: its length, validators and encoding are made
//! anew. A client's own `If-None-Match` is held against the new `ETag`, and `Range` is not passed to the upstream: part
//! of a body cannot be edited.

use bytes::Bytes;
use http::header::{
    ACCEPT_ENCODING, ACCEPT_RANGES, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, HeaderMap,
    HeaderName, HeaderValue, IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_RANGE, IF_UNMODIFIED_SINCE,
    LAST_MODIFIED, RANGE,
};
use http::{StatusCode, response};
use xxhash_rust::xxh3::xxh3_128;

use super::{BodyChange, BodyError, HeaderChange};

/// Changes to an answer.
#[derive(Debug, Clone, Default)]
pub struct ResponseChange {
    /// The status.
    pub status: Option<StatusCode>,
    /// The fields.
    pub headers: HeaderChange,
    /// The body.
    pub body: Option<BodyChange>,
}

impl ResponseChange {
    /// Prepares a request whose answer's body is to be changed: asks for the whole of it, in plain bytes, whatever the
    /// client has already. Returns the entity tags that the client has.
    pub fn prepare(&self, headers: &mut HeaderMap) -> Option<HeaderValue> {
        self.body.as_ref()?;
        let tags = headers.remove(IF_NONE_MATCH);
        for name in [RANGE, IF_RANGE, IF_MODIFIED_SINCE, IF_MATCH, IF_UNMODIFIED_SINCE] {
            headers.remove(name);
        }
        headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        tags
    }

    /// Changes status and fields. Returns the change of the body, if this answer has one to be changed.
    pub fn apply_head(&self, parts: &mut response::Parts) -> Option<&BodyChange> {
        let whole = parts.status != StatusCode::PARTIAL_CONTENT && parts.status != StatusCode::NOT_MODIFIED;
        if let Some(status) = self.status {
            parts.status = status;
        }
        self.headers.apply(&mut parts.headers);
        let kind = parts.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let change = self.body.as_ref().filter(|change| whole && change.concerns(kind))?;
        for name in [
            ACCEPT_RANGES,
            LAST_MODIFIED,
            ETAG,
            CONTENT_LENGTH,
            CONTENT_MD5,
            DIGEST,
            CONTENT_DIGEST,
            REPR_DIGEST,
        ] {
            parts.headers.remove(name);
        }
        Some(change)
    }

    /// Changes a gathered body and writes the fields that describe it. `tags` is what [`prepare`](Self::prepare) found:
    /// when the client has this very body already, the answer becomes 304 without one.
    ///
    /// # Errors
    /// When the body cannot be changed.
    pub fn apply_body(
        change: &BodyChange,
        parts: &mut response::Parts,
        body: Bytes,
        tags: Option<&HeaderValue>,
    ) -> Result<Bytes, BodyError> {
        let text = |name: HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let kind = text(CONTENT_TYPE).unwrap_or_default();
        let body = change.apply(kind, text(CONTENT_ENCODING), body)?;
        let tag = format!("\"{:032x}\"", xxh3_128(&body));
        let headers = &mut parts.headers;
        headers.remove(CONTENT_ENCODING);
        let is_known =
            tags.is_some_and(|tags| tags.to_str().is_ok_and(|tags| tags == "*" || tags.contains(&tag)));
        if parts.status == StatusCode::OK {
            headers.insert(ETAG, HeaderValue::from_str(&tag).expect("hexadecimal digits in quotes"));
            if is_known {
                parts.status = StatusCode::NOT_MODIFIED;
                return Ok(Bytes::new());
            }
        }
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        Ok(body)
    }
}

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const DIGEST: HeaderName = HeaderName::from_static("digest");
const CONTENT_DIGEST: HeaderName = HeaderName::from_static("content-digest");
const REPR_DIGEST: HeaderName = HeaderName::from_static("repr-digest");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rewrite::BodyEdit;

    fn change() -> ResponseChange {
        let edit = BodyEdit::Replace { from: "a".into(), to: "b".into() };
        ResponseChange { body: Some(BodyChange::new(vec![edit], 100)), ..ResponseChange::default() }
    }

    fn answer(status: u16, kind: &str) -> response::Parts {
        let response = http::Response::builder()
            .status(status)
            .header("content-type", kind)
            .header("content-length", "99")
            .header("etag", "\"upstream\"")
            .header("last-modified", "Thu, 01 Jan 1970 00:00:00 GMT");
        response.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_fields_describe_the_new_body() {
        let (change, mut parts) = (change(), answer(200, "text/plain"));
        let edits = change.apply_head(&mut parts).unwrap();
        let body = ResponseChange::apply_body(edits, &mut parts, Bytes::from("xax"), None).unwrap();
        assert_eq!(
            (&body[..], &parts.headers["content-length"]),
            (&b"xbx"[..], &HeaderValue::from_static("3"))
        );
        assert!(!parts.headers.contains_key("last-modified") && parts.headers["etag"] != "\"upstream\"");

        let tag = parts.headers["etag"].clone();
        let mut again = answer(200, "text/plain");
        let edits = change.apply_head(&mut again).unwrap();
        let body = ResponseChange::apply_body(edits, &mut again, Bytes::from("xax"), Some(&tag)).unwrap();
        assert!(again.status == StatusCode::NOT_MODIFIED && body.is_empty());
    }

    #[test]
    fn other_types_and_parts_stay_as_they_are() {
        for (status, kind) in [(200, "image/png"), (206, "text/plain"), (304, "text/plain")] {
            let mut parts = answer(status, kind);
            assert!(change().apply_head(&mut parts).is_none());
            assert_eq!(parts.headers["etag"], "\"upstream\"");
        }
    }

    #[test]
    fn the_request_asks_for_the_whole_in_plain_bytes() {
        let mut headers = HeaderMap::new();
        for name in ["range", "if-none-match", "if-modified-since", "accept-encoding"] {
            headers.insert(name, HeaderValue::from_static("x"));
        }
        assert_eq!(change().prepare(&mut headers).unwrap(), "x");
        assert_eq!(headers.len(), 1);
        assert_eq!(headers["accept-encoding"], "identity");
    }

    #[test]
    fn status_and_fields_change_without_touching_the_body() {
        let set = vec![(HeaderName::from_static("x-a"), HeaderValue::from_static("1"))];
        let headers = HeaderChange { set, ..HeaderChange::default() };
        let change = ResponseChange { status: Some(StatusCode::CREATED), headers, body: None };
        let mut parts = answer(200, "text/plain");
        assert!(change.apply_head(&mut parts).is_none());
        assert_eq!(
            (parts.status, &parts.headers["x-a"]),
            (StatusCode::CREATED, &HeaderValue::from_static("1"))
        );
    }
}
