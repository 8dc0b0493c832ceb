//! Looking whether there is a body at all.
//!
//! An HTTP/2 client may send HEADERS that do not end the request and then an empty DATA that does, and an HTTP/1.1
//! client a chunked body of no chunks. Until the first frame has come, that looks like a body; and a GET with a body
//! does not get its answer from the cache. So where it matters, the first frame is waited for: at most as long as the
//! body may be silent anyway. What has come is put back in front.

use std::{
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};

use crate::body::{Body, BodyError};

/// The same body; [`Body::Empty`] when it ends without any bytes.
pub(crate) async fn peek(mut body: Body) -> Body {
    if body.is_end_stream() {
        return Body::Empty;
    }
    if body.size_hint().lower() > 0 {
        return body;
    }
    for _ in 0..EMPTY_FRAMES_MAX {
        let first = match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            None => return Body::Empty,
            Some(Ok(frame)) if frame.data_ref().is_some_and(Bytes::is_empty) => continue,
            Some(first) => first,
        };
        return Body::boxed(Peeked { first: Some(first), rest: body });
    }
    body
}

/// A body whose first frame was looked at.
struct Peeked {
    first: Option<Result<Frame<Bytes>, BodyError>>,
    rest: Body,
}

impl Peeked {
    fn first_len(&self) -> u64 {
        let data = self.first.as_ref().and_then(|first| first.as_ref().ok()?.data_ref());
        data.map_or(0, |data| data.len() as u64)
    }
}

impl HttpBody for Peeked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.rest).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (rest, first) = (self.rest.size_hint(), self.first_len());
        let mut hint = SizeHint::new();
        hint.set_lower(rest.lower().saturating_add(first));
        if let Some(upper) = rest.upper() {
            hint.set_upper(upper.saturating_add(first));
        }
        hint
    }
}

/// Empty frames before the first that is not, or the end.
const EMPTY_FRAMES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use http::{HeaderMap, HeaderValue};
    use http_body_util::{BodyExt, StreamBody};

    fn body(frames: Vec<Frame<Bytes>>) -> Body {
        Body::boxed(StreamBody::new(futures_util::stream::iter(frames.into_iter().map(Ok))))
    }

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    #[tokio::test]
    async fn a_body_of_empty_frames_is_empty() {
        for frames in [vec![], vec![data("")], vec![data(""), data("")]] {
            assert!(matches!(peek(body(frames)).await, Body::Empty));
        }
    }

    #[tokio::test]
    async fn nothing_of_a_body_is_lost() {
        let peeked = peek(body(vec![data(""), data("he"), data("llo")])).await;
        assert_eq!((peeked.is_empty(), peeked.size_hint().lower()), (false, 2));
        assert_eq!(peeked.collect().await.expect("whole").to_bytes(), "hello");
        let trailers = HeaderMap::from_iter([(http::header::ETAG, HeaderValue::from_static("x"))]);
        let peeked = peek(body(vec![Frame::trailers(trailers.clone())])).await;
        assert_eq!(peeked.collect().await.expect("whole").trailers(), Some(&trailers));
        let many = (0..20).map(|_| data("")).chain([data("x")]).collect();
        assert_eq!(peek(body(many)).await.collect().await.expect("whole").to_bytes(), "x");
    }
}
