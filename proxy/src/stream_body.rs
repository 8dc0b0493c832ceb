//! The body of a request over HTTP/2, whose length may be announced and whose stream ends on its own.
//!
//! ```text
//!     HEADERS content-length: 5    DATA "hel"    DATA "lo"         DATA "GET /"   (or END_STREAM)
//!                                  passed on     held: the last    the stream is broken: never passed on
//! ```
//!
//! The piece that makes it as long as announced waits for the end of the stream. A member would else have a whole request
//! before it is known that the client broke its own framing (RFC 9113 §8.1.1), and might act on it.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// The body of a stream, hyper's but for tests.
#[derive(Debug)]
pub(crate) struct StreamBody<B = hyper::body::Incoming> {
    body: B,
    /// How many bytes are to come, if that was announced.
    left: Option<u64>,
    /// The last of them.
    last: Option<Bytes>,
    /// Trailers behind it.
    trailers: Option<Frame<Bytes>>,
}

impl<B: Body<Data = Bytes> + Unpin> StreamBody<B> {
    pub(crate) fn new(body: B) -> Self {
        StreamBody { left: body.size_hint().exact(), body, last: None, trailers: None }
    }

    /// Announced as empty, and not ended yet.
    pub(crate) fn is_empty_so_far(&self) -> bool {
        self.left == Some(0) && !self.body.is_end_stream()
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.last.is_none() && self.trailers.is_none() && self.body.is_end_stream()
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        match self.left {
            Some(left) => SizeHint::with_exact(left + self.last.as_ref().map_or(0, |last| last.len() as u64)),
            None => self.body.size_hint(),
        }
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(trailers) = self.trailers.take() {
            return Poll::Ready(Some(Ok(trailers)));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => frame,
                Some(Err(error)) => {
                    self.last = None;
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(self.last.take().map(|last| Ok(Frame::data(last)))),
            };
            let Some(data) = frame.data_ref() else {
                return Poll::Ready(Some(Ok(match self.last.take() {
                    Some(last) => {
                        self.trailers = Some(frame);
                        Frame::data(last)
                    }
                    None => frame,
                })));
            };
            let Some(left) = &mut self.left else { return Poll::Ready(Some(Ok(frame))) };
            *left = left.saturating_sub(data.len() as u64);
            if *left > 0 || self.last.is_none() && self.body.is_end_stream() {
                return Poll::Ready(Some(Ok(frame)));
            }
            // Behind the last there can only be empty ones: more is an error of the stream.
            let data = frame.into_data().unwrap_or_default();
            self.last = self.last.take().or(Some(data));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::VecDeque, convert::Infallible, task::Waker};

    use http::HeaderMap;

    use super::*;

    /// Frames as they arrive; nothing more until it is told.
    struct Stream {
        announced: Option<u64>,
        frames: VecDeque<Frame<Bytes>>,
        has_ended: bool,
    }

    impl Body for Stream {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.frames.pop_front() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None if self.has_ended => Poll::Ready(None),
                None => Poll::Pending,
            }
        }

        fn is_end_stream(&self) -> bool {
            self.has_ended && self.frames.is_empty()
        }

        fn size_hint(&self) -> SizeHint {
            self.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
        }
    }

    fn body(announced: Option<u64>, pieces: &[&'static str]) -> StreamBody<Stream> {
        let frames = pieces.iter().map(|piece| Frame::data(Bytes::from_static(piece.as_bytes()))).collect();
        StreamBody::new(Stream { announced, frames, has_ended: false })
    }

    /// What can be had now; "end" at the end.
    fn next(body: &mut StreamBody<Stream>) -> Option<String> {
        match body.poll_frame(&mut Context::from_waker(Waker::noop())) {
            Poll::Pending => None,
            Poll::Ready(None) => Some("end".to_owned()),
            Poll::Ready(Some(Ok(frame))) => Some(match frame.into_data() {
                Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
                Err(_) => "trailers".to_owned(),
            }),
            Poll::Ready(Some(Err(never))) => match never {},
        }
    }

    #[test]
    fn the_last_of_an_announced_length_waits_for_the_end() {
        let mut body = body(Some(5), &["hel", "lo"]);
        assert_eq!(next(&mut body).as_deref(), Some("hel"));
        assert_eq!(next(&mut body), None, "not whole before the stream has ended");
        assert_eq!(body.size_hint().exact(), Some(2));
        body.body.frames.push_back(Frame::data(Bytes::new()));
        body.body.has_ended = true;
        assert!(!body.is_end_stream());
        assert_eq!(next(&mut body).as_deref(), Some("lo"));
        assert!(body.is_end_stream());
        assert_eq!(next(&mut body).as_deref(), Some("end"));
    }

    #[test]
    fn trailers_come_behind_it() {
        let mut body = body(Some(2), &["lo"]);
        body.body.frames.push_back(Frame::trailers(HeaderMap::new()));
        body.body.has_ended = true;
        for expected in ["lo", "trailers", "end"] {
            assert_eq!(next(&mut body).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_ends_with_its_last_piece_or_has_no_length_does_not_wait() {
        let mut ended = body(Some(5), &["hello"]);
        ended.body.has_ended = true;
        assert_eq!(next(&mut ended).as_deref(), Some("hello"));
        let mut open = body(None, &["hello"]);
        assert_eq!(next(&mut open).as_deref(), Some("hello"));
        assert_eq!(next(&mut open), None);
    }

    #[test]
    fn an_empty_one_has_to_end_too() {
        let mut body = body(Some(0), &[]);
        assert!(body.is_empty_so_far());
        body.body.has_ended = true;
        assert!(!body.is_empty_so_far() && body.is_end_stream());
    }
}
