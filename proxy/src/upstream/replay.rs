//! A request body that can be sent again, as long as it is not large.
//!
//! ```text
//!   client ─► source ─► kept ─► first attempt
//!                         └───► second attempt: what is kept, then the rest of the source
//! ```
//!
//! Nothing waits for the whole body: it is kept while it passes. Beyond the limit it is let go, and the request is
//! not repeated.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame, SizeHint};
use parking_lot::Mutex;

use crate::body::{Body, BodyError};

/// A body under way, and what has passed of it.
#[derive(Debug)]
pub(crate) struct Replay {
    passing: Arc<Mutex<Passing>>,
    size: SizeHint,
}

#[derive(Debug)]
struct Passing {
    source: Body,
    kept: Vec<Piece>,
    room: u64,
    is_whole: bool,
}

#[derive(Debug, Clone)]
enum Piece {
    Data(Bytes),
    Trailers(HeaderMap),
}

impl Replay {
    /// Keeps up to `limit` bytes of `source`.
    pub(crate) fn new(source: Body, limit: u64) -> Self {
        let size = source.size_hint();
        let passing = Passing { source, kept: Vec::new(), room: limit, is_whole: true };
        Replay { passing: Arc::new(Mutex::new(passing)), size }
    }

    /// The body from its beginning; nothing once too much has passed.
    pub(crate) fn body(&self) -> Option<Body> {
        let is_whole = self.passing.lock().is_whole;
        let body = Again { passing: Arc::clone(&self.passing), next: 0, left: self.size.exact() };
        is_whole.then(|| Body::boxed(body))
    }
}

struct Again {
    passing: Arc<Mutex<Passing>>,
    /// The next of the kept pieces.
    next: usize,
    /// Bytes to come, if known.
    left: Option<u64>,
}

impl HttpBody for Again {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let passing = Arc::clone(&self.passing);
        let mut passing = passing.lock();
        let piece = match passing.kept.get(self.next) {
            Some(piece) => piece.clone(),
            None => match ready!(Pin::new(&mut passing.source).poll_frame(cx)) {
                None => return Poll::Ready(None),
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                Some(Ok(frame)) => {
                    let piece = match frame.into_data() {
                        Ok(data) => Piece::Data(data),
                        Err(frame) => Piece::Trailers(frame.into_trailers().unwrap_or_default()),
                    };
                    passing.keep(&piece);
                    piece
                }
            },
        };
        self.next += 1;
        Poll::Ready(Some(Ok(match piece {
            Piece::Data(data) => {
                self.left = self.left.map(|left| left.saturating_sub(data.len() as u64));
                Frame::data(data)
            }
            Piece::Trailers(fields) => Frame::trailers(fields),
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == Some(0)
    }

    fn size_hint(&self) -> SizeHint {
        self.left.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl Passing {
    fn keep(&mut self, piece: &Piece) {
        let size = match piece {
            Piece::Data(data) => data.len() as u64,
            Piece::Trailers(_) => 0,
        };
        match self.room.checked_sub(size) {
            Some(room) if self.is_whole => {
                self.room = room;
                self.kept.push(piece.clone());
            }
            _ => {
                self.is_whole = false;
                self.kept = Vec::new();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt as _;
    use std::collections::VecDeque;

    struct Pieces(VecDeque<usize>);

    impl HttpBody for Pieces {
        type Data = Bytes;
        type Error = BodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
            let size = self.0.pop_front();
            Poll::Ready(size.map(|size| Ok(Frame::data(vec![size as u8; size].into()))))
        }
    }

    fn pieces(sizes: &[usize]) -> Body {
        Body::boxed(Pieces(VecDeque::from(sizes.to_vec())))
    }

    #[tokio::test]
    async fn a_second_attempt_sees_what_the_first_saw_and_the_rest() {
        let replay = Replay::new(pieces(&[3, 4, 5]), 100);
        let mut first = replay.body().unwrap();
        first.frame().await.unwrap().unwrap();
        first.frame().await.unwrap().unwrap();
        drop(first);
        let second = replay.body().unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(second, [vec![3; 3], vec![4; 4], vec![5; 5]].concat());
        assert_eq!(replay.body().unwrap().collect().await.unwrap().to_bytes(), second);
    }

    #[tokio::test]
    async fn a_large_body_passes_once() {
        let replay = Replay::new(pieces(&[60, 60, 60]), 100);
        let first = replay.body().unwrap().collect().await.unwrap().to_bytes();
        assert_eq!(first.len(), 180);
        assert!(replay.body().is_none());
    }

    #[tokio::test]
    async fn a_known_length_stays_known() {
        let replay = Replay::new(Body::from("hello"), 100);
        assert_eq!(replay.body().unwrap().size_hint().exact(), Some(5));
        let mut first = replay.body().unwrap();
        first.frame().await.unwrap().unwrap();
        assert!(first.is_end_stream());
        assert_eq!(replay.body().unwrap().collect().await.unwrap().to_bytes(), "hello");
    }
}
