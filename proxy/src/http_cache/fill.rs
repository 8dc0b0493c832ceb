//! One response body on its way to several readers and the store at once.
//!
//! ```text
//!     origin ──► body ──► pieces ┬──► reader of the client that asked first
//!                                ├──► readers of those who came while it arrived
//!                                └──► the store, once it is complete
//! ```
//!
//! There is no task: whichever reader has seen every piece polls the origin's body for the next one, and all readers
//! are woken. So the fastest reader sets the pace, nobody waits for a slow one, and when the last reader leaves, the
//! fetch ends. All pieces are kept until the end, for late readers and for the store, up to a limit. Past the limit
//! the fill stops keeping: nobody may join, pieces that everybody has seen are let go, and a reader that is
//! [`WINDOW_BYTES`] ahead of the slowest waits.
//!
//! A body that breaks off or has another length than announced breaks off for every reader and is never stored.

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// A body shared while it arrives.
pub(super) struct Fill<B> {
    state: Mutex<State<B>>,
    wakers: Arc<Wakers>,
    /// How many bytes are to come, when announced.
    announced: Option<u64>,
    limits: Limits,
}

/// What a fill may keep.
#[derive(Clone, Debug)]
pub(super) struct Limits {
    /// Bytes of this body.
    pub(super) object_bytes: u64,
    /// Bytes kept by all unfinished fills together.
    pub(super) all_bytes: u64,
    /// Bytes that all unfinished fills keep now.
    pub(super) kept: Arc<AtomicU64>,
}

/// Told once how a fill ended.
pub(super) type Finish = Box<dyn FnOnce(Ending) + Send>;

/// How a fill ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// Complete, all pieces kept.
    Complete(Vec<Bytes>),
    /// It grew past the limit: nobody may join any more. The readers go on.
    TooLong,
    /// Broken off, or nobody reads any more.
    Broken,
}

struct State<B> {
    body: Option<B>,
    pieces: VecDeque<Bytes>,
    /// The number of the first piece that is still there.
    first: usize,
    length: u64,
    is_keeping: bool,
    trailers: Option<HeaderMap>,
    end: Option<Result<(), String>>,
    /// The next piece of each reader; none where a reader left.
    readers: Vec<Option<usize>>,
    finish: Option<Finish>,
}

impl<B> Fill<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: fmt::Display,
{
    /// Starts with bytes already at hand, and the first reader.
    pub(super) fn start(
        body: B,
        at_hand: Vec<Bytes>,
        announced: Option<u64>,
        limits: Limits,
        finish: Finish,
    ) -> (Arc<Self>, Reader<B>) {
        let length = at_hand.iter().map(|piece| piece.len() as u64).sum();
        limits.kept.fetch_add(length, Ordering::Relaxed);
        let state = State {
            body: Some(body),
            pieces: at_hand.into(),
            first: 0,
            length,
            is_keeping: true,
            trailers: None,
            end: None,
            readers: vec![Some(0)],
            finish: Some(finish),
        };
        let fill = Arc::new(Self { state: Mutex::new(state), wakers: Arc::default(), announced, limits });
        let reader = Reader { fill: Arc::clone(&fill), slot: 0, sent_trailers: false };
        (fill, reader)
    }

    /// One more reader, from the first byte; none when it is too late. A complete body can be read until the store
    /// has it and the flight is over.
    pub(super) fn join(self: &Arc<Self>) -> Option<Reader<B>> {
        let mut state = self.state.lock();
        if !state.is_keeping || matches!(state.end, Some(Err(_))) {
            return None;
        }
        state.readers.push(Some(0));
        let slot = state.readers.len() - 1;
        Some(Reader { fill: Arc::clone(self), slot, sent_trailers: false })
    }

    /// The next piece for a reader; polls the origin when there is none.
    fn poll_piece(&self, slot: usize, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        let mut state = self.state.lock();
        loop {
            if let Some(piece) = state.take_piece(slot) {
                let is_free_to_go = !state.is_keeping;
                drop(state);
                if is_free_to_go {
                    self.wakers.wake_all(); // someone may wait for this reader
                }
                return Poll::Ready(Some(Ok(piece)));
            }
            match &state.end {
                Some(Ok(())) => return Poll::Ready(None),
                Some(Err(why)) => return Poll::Ready(Some(Err(io::Error::other(why.clone())))),
                None => {}
            }
            self.wakers.add(cx.waker());
            if !state.is_keeping && state.lag() > WINDOW_BYTES {
                return Poll::Pending;
            }
            if self.poll_origin(&mut state).is_pending() {
                return Poll::Pending;
            }
            self.wakers.wake_all();
        }
    }

    /// Polls the origin's body, and once more after the last announced byte: a client that has all bytes may leave
    /// without asking for the end.
    fn poll_origin(&self, state: &mut parking_lot::MutexGuard<'_, State<B>>) -> Poll<()> {
        let waker = Waker::from(Arc::clone(&self.wakers));
        let mut cx = Context::from_waker(&waker);
        let mut got = Poll::Pending;
        while let Some(body) = state.body.as_mut() {
            let Poll::Ready(frame) = Pin::new(body).poll_frame(&mut cx) else { return got };
            got = Poll::Ready(());
            if let Some((finish, ending)) = self.take_frame(state, frame) {
                // The store has locks of its own.
                parking_lot::MutexGuard::unlocked(state, || finish(ending));
            }
            if self.announced != Some(state.length) {
                break;
            }
        }
        got
    }

    /// Takes in what the origin's body gave; what to tell the store.
    fn take_frame(
        &self,
        state: &mut State<B>,
        frame: Option<Result<Frame<Bytes>, B::Error>>,
    ) -> Option<(Finish, Ending)> {
        let frame = match frame {
            Some(Ok(frame)) => frame,
            Some(Err(error)) => return self.end(state, Err(error.to_string())),
            None => {
                let is_as_announced = self.announced.is_none_or(|announced| announced == state.length);
                let end =
                    if is_as_announced { Ok(()) } else { Err(String::from("not the announced length")) };
                return self.end(state, end);
            }
        };
        match frame.into_data() {
            Ok(piece) if piece.is_empty() => None,
            Ok(piece) => {
                let length = piece.len() as u64;
                state.length = state.length.saturating_add(length);
                state.pieces.push_back(piece);
                if !state.is_keeping {
                    return None;
                }
                let kept = self.limits.kept.fetch_add(length, Ordering::Relaxed).saturating_add(length);
                let is_too_long = state.length > self.limits.object_bytes || kept > self.limits.all_bytes;
                is_too_long.then(|| self.stop_keeping(state)).flatten()
            }
            Err(frame) => {
                state.trailers = frame.into_trailers().ok();
                None
            }
        }
    }

    fn end(&self, state: &mut State<B>, end: Result<(), String>) -> Option<(Finish, Ending)> {
        state.body = None;
        let finish = state.finish.take();
        let ending = match &end {
            Ok(()) => Ending::Complete(state.pieces.iter().cloned().collect()),
            Err(_) => Ending::Broken,
        };
        state.end = Some(end);
        if state.is_keeping {
            self.limits.kept.fetch_sub(state.length, Ordering::Relaxed);
        }
        finish.map(|finish| (finish, ending))
    }

    fn stop_keeping(&self, state: &mut State<B>) -> Option<(Finish, Ending)> {
        state.is_keeping = false;
        self.limits.kept.fetch_sub(state.length, Ordering::Relaxed);
        state.let_go();
        state.finish.take().map(|finish| (finish, Ending::TooLong))
    }
}

impl<B> Fill<B> {
    /// A reader leaves; with the last one goes the fetch.
    fn leave(&self, slot: usize) {
        let mut state = self.state.lock();
        state.readers[slot] = None;
        let (mut told, mut body, mut ending) = (None, None, Ending::Broken);
        if state.readers.iter().all(Option::is_none) && state.end.is_none() {
            body = state.body.take();
            // Whoever has all announced bytes need not ask for the end.
            let is_complete = self.announced == Some(state.length) && state.is_keeping;
            ending = if is_complete {
                Ending::Complete(state.pieces.iter().cloned().collect())
            } else {
                Ending::Broken
            };
            state.end = Some(if is_complete { Ok(()) } else { Err(String::from("nobody reads it")) });
            if state.is_keeping {
                self.limits.kept.fetch_sub(state.length, Ordering::Relaxed);
            }
            told = state.finish.take();
        } else if !state.is_keeping {
            state.let_go();
        }
        drop(state);
        drop(body); // outside the lock: closing a connection is the body's own affair
        if let Some(finish) = told {
            finish(ending);
        }
        self.wakers.wake_all();
    }
}

impl<B> State<B> {
    fn take_piece(&mut self, slot: usize) -> Option<Bytes> {
        let next = self.readers[slot]?;
        let piece = self.pieces.get(next.checked_sub(self.first)?)?.clone();
        self.readers[slot] = Some(next + 1);
        if !self.is_keeping {
            self.let_go();
        }
        Some(piece)
    }

    /// Bytes between the slowest reader and the newest piece.
    fn lag(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum()
    }

    /// Forgets the pieces that every reader has had.
    fn let_go(&mut self) {
        let Some(slowest) = self.readers.iter().flatten().min().copied() else { return };
        while self.first < slowest && self.pieces.pop_front().is_some() {
            self.first += 1;
        }
    }
}

/// One reader's end of a body that several read while it arrives.
pub struct Reader<B> {
    fill: Arc<Fill<B>>,
    slot: usize,
    sent_trailers: bool,
}

impl<B> Body for Reader<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: fmt::Display,
{
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        match std::task::ready!(self.fill.poll_piece(self.slot, cx)) {
            Some(piece) => Poll::Ready(Some(piece.map(Frame::data))),
            None if self.sent_trailers => Poll::Ready(None),
            None => {
                self.sent_trailers = true;
                let trailers = self.fill.state.lock().trailers.clone();
                Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))))
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        self.fill.announced.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}

impl<B> Drop for Reader<B> {
    fn drop(&mut self) {
        self.fill.leave(self.slot);
    }
}

impl<B> fmt::Debug for Reader<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Reader").field("slot", &self.slot).finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for Fill<B> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Fill").field("announced", &self.announced).finish_non_exhaustive()
    }
}

/// The readers to wake when the origin's body has news.
#[derive(Default)]
struct Wakers(Mutex<Vec<Waker>>);

impl Wakers {
    fn add(&self, waker: &Waker) {
        let mut wakers = self.0.lock();
        if !wakers.iter().any(|known| known.will_wake(waker)) {
            wakers.push(waker.clone());
        }
    }

    fn wake_all(&self) {
        let wakers = std::mem::take(&mut *self.0.lock());
        for waker in wakers {
            waker.wake();
        }
    }
}

impl Wake for Wakers {
    fn wake(self: Arc<Self>) {
        self.wake_all();
    }
}

/// How far a reader may be ahead of the slowest when pieces are not kept.
const WINDOW_BYTES: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    /// A body that gives what is listed, never waits, and then ends.
    struct Script(VecDeque<Result<&'static str, &'static str>>);

    impl Body for Script {
        type Data = Bytes;
        type Error = &'static str;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            let next = self.0.pop_front();
            Poll::Ready(next.map(|piece| piece.map(|text| Frame::data(Bytes::from_static(text.as_bytes())))))
        }
    }

    /// What the store is told, once it is.
    type Told = Arc<Mutex<Vec<Ending>>>;

    fn start(
        body: &[Result<&'static str, &'static str>],
        announced: Option<u64>,
        object_bytes: u64,
    ) -> (Arc<Fill<Script>>, Reader<Script>, Told, Arc<AtomicU64>) {
        let (told, kept) = (Told::default(), Arc::new(AtomicU64::new(0)));
        let limits = Limits { object_bytes, all_bytes: 1000, kept: Arc::clone(&kept) };
        let to_tell = Arc::clone(&told);
        let finish = Box::new(move |ending| to_tell.lock().push(ending));
        let body = Script(body.iter().copied().collect());
        let (fill, reader) = Fill::start(body, Vec::new(), announced, limits, finish);
        (fill, reader, told, kept)
    }

    /// All that a reader still gets, and whether it breaks off.
    fn read(reader: &mut Reader<Script>) -> (String, bool) {
        let mut text = String::new();
        loop {
            match Pin::new(&mut *reader).poll_frame(&mut Context::from_waker(Waker::noop())) {
                Poll::Ready(Some(Ok(frame))) => {
                    text.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
                }
                Poll::Ready(Some(Err(_))) => return (text, true),
                Poll::Ready(None) => return (text, false),
                Poll::Pending => panic!("the script never waits"),
            }
        }
    }

    #[test]
    fn a_body_that_ends_is_whole_for_every_reader_and_for_the_store() {
        for announced in [None, Some(5)] {
            let (fill, mut first, told, kept) = start(&[Ok("ab"), Ok(""), Ok("cde")], announced, 5);
            let mut second = fill.join().unwrap();
            assert_eq!(read(&mut first), ("abcde".into(), false));
            let late = &mut fill.join().unwrap();
            assert_eq!((read(&mut second), read(late)), (("abcde".into(), false), ("abcde".into(), false)));
            assert!(matches!(&told.lock()[..], [Ending::Complete(pieces)] if pieces.concat() == b"abcde"));
            assert_eq!(kept.load(Ordering::Relaxed), 0, "given back");
        }
    }

    #[test]
    fn a_body_that_breaks_off_or_has_another_length_is_broken_for_all() {
        for (body, announced) in
            [(&[Ok("ab"), Err("gone")][..], None), (&[Ok("ab")], Some(3)), (&[Ok("ab"), Ok("cd")], Some(3))]
        {
            let (fill, mut reader, told, kept) = start(body, announced, 100);
            let (text, is_broken) = read(&mut reader);
            assert!(text.starts_with("ab") && is_broken, "{body:?}");
            assert!(fill.join().is_none(), "too late");
            assert!(matches!(told.lock()[..], [Ending::Broken]));
            assert_eq!(kept.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_body_past_the_limit_goes_on_for_its_readers_alone() {
        let (fill, mut reader, told, kept) = start(&[Ok("abc"), Ok("def")], None, 5);
        assert_eq!(read(&mut reader), ("abcdef".into(), false));
        assert!(fill.join().is_none());
        assert!(matches!(told.lock()[..], [Ending::TooLong]));
        assert_eq!(kept.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn when_the_last_reader_leaves_the_fetch_ends() {
        let (fill, reader, told, kept) = start(&[Ok("abc"), Ok("def")], None, 100);
        let mut second = fill.join().unwrap();
        drop(reader);
        let mut next = || Pin::new(&mut second).poll_frame(&mut Context::from_waker(Waker::noop()));
        assert!(matches!(next(), Poll::Ready(Some(Ok(_)))));
        assert_eq!((told.lock().len(), kept.load(Ordering::Relaxed)), (0, 3));
        drop(second);
        assert!(matches!(told.lock()[..], [Ending::Broken]));
        assert_eq!(kept.load(Ordering::Relaxed), 0);
        assert!(fill.join().is_none());
    }
}
