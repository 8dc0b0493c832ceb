//! A request's body on its way to a member: how far it got, whether it can be taken back, and whose turn it is.
//!
//! ```text
//!   client ─► Body ─► Handover ─► whoever writes to the member
//!                        ▲
//!                       Hand: untouched? take it back · whose turn? · enough: stop
//! ```
//!
//! A member's time to answer begins when it has the request. While a client is still sending, that client's own limits
//! count (silence, rate), however long it takes; while the *member* takes nothing of what is there, its time runs:
//!
//! ```text
//!     deadline(t) = t + limit             waiting for the client
//!                   last piece + limit    else
//! ```
//!
//! A member of HTTP/2 may say that it has not looked at a request whose body was already on its way. Until it answers, what
//! passed is remembered (by reference, up to `retry.max_body_bytes`), so that the body can be taken back even then.
//!
//! Costs one allocation for a request with a body and an uncontended lock a piece; a request without one has none.

use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker, ready},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::{
    alarm::Alarm,
    body::{self, Body, BodyError},
};

/// The body, for whoever sends it.
#[derive(Debug)]
pub(crate) struct Handover {
    state: Arc<Mutex<State>>,
}

/// The other end of a [`Handover`]: what its sender can still do about it.
#[derive(Debug, Clone)]
pub(crate) struct Hand {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    /// Pieces that were sent once, in vain; they come first.
    again: VecDeque<Bytes>,
    /// Nothing when it was taken back, or is no longer wanted.
    body: Option<Body>,
    /// What was sent since, while it can be taken back.
    sent: Option<Sent>,
    waits_for_client: bool,
    moved: Instant,
    /// Why the client's body failed; kept if its sender would not tell.
    failure: Option<BodyError>,
    keeps_failure: bool,
    sender: Option<Waker>,
    /// An answer has begun: from now on both sides talk, each as slowly as the other may.
    answered: Option<Duration>,
}

#[derive(Debug, Default)]
struct Sent {
    pieces: VecDeque<Bytes>,
    len: u64,
    /// 0 while only what is untouched can be taken back.
    len_max: u64,
}

/// Splits `body` into what is sent and what is kept. A body that is empty has no hand: it can be made again.
pub(crate) fn hand_over(body: Body) -> (Body, Option<Hand>) {
    if body.is_empty() {
        return (Body::Empty, None);
    }
    let (again, body) = match body {
        Body::Sent(sent) => sent.0.take_apart(),
        body => (VecDeque::new(), Some(body)),
    };
    let handover = Handover::new(again, body);
    let hand = Hand { state: Arc::clone(&handover.state) };
    (handover.into(), Some(hand))
}

impl Hand {
    /// The body, if all of it is still there, so that another member can have it.
    pub(crate) fn take_back(&self) -> Option<Body> {
        let mut state = self.state.lock();
        let sent = state.sent.take()?;
        let body = state.body.take()?;
        let mut again = sent.pieces;
        again.append(&mut state.again);
        if again.is_empty() {
            return Some(body);
        }
        Some(Handover::new(again, Some(body)).into())
    }

    /// Remembers what is sent, up to `len_max` bytes, and the reason if the client's body fails: the sender will not tell.
    pub(crate) fn remember(&self, len_max: u64) {
        let mut state = self.state.lock();
        state.keeps_failure = true;
        if let Some(sent) = &mut state.sent {
            sent.len_max = len_max;
        }
    }

    /// Why the client's body failed, if that is why the exchange did.
    pub(crate) fn take_failure(&self) -> Option<BodyError> {
        self.state.lock().failure.take()
    }

    /// The member's answer has begun, and the client may take as long as a member between two pieces of the rest.
    pub(crate) fn answered(&self, silence_max: Duration) {
        let mut state = self.state.lock();
        state.answered = Some(silence_max);
        state.sent = None;
        if let Some(sender) = state.sender.take() {
            sender.wake();
        }
    }

    /// The rest is no longer wanted.
    pub(crate) fn stop(&self) {
        let mut state = self.state.lock();
        let (body, sender) = (state.body.take(), state.sender.take());
        drop(state);
        drop(body);
        if let Some(sender) = sender {
            sender.wake();
        }
    }

    /// Until when the member may be silent.
    fn deadline(&self, limit: Duration) -> Instant {
        let state = self.state.lock();
        if state.waits_for_client { Instant::now() + limit } else { state.moved + limit }
    }
}

/// How long a member is waited for that may take so long once it has the request.
#[derive(Debug)]
pub(crate) struct Patience<'h> {
    pub(crate) limit: Duration,
    hand: Option<&'h Hand>,
    deadline: Instant,
}

impl<'h> Patience<'h> {
    /// It began at `since`.
    pub(crate) fn new(limit: Duration, since: Instant, hand: Option<&'h Hand>) -> Self {
        Patience { limit, hand, deadline: since + limit }
    }

    /// Ready when it is over.
    pub(crate) fn poll(&mut self, alarm: &mut Option<Alarm>, cx: &mut Context<'_>) -> Poll<()> {
        let alarm = alarm.get_or_insert_with(|| Alarm::new(self.deadline));
        loop {
            ready!(alarm.poll(self.deadline, cx));
            let later = self.hand.map(|hand| hand.deadline(self.limit));
            let Some(later) = later.filter(|later| *later > self.deadline) else { return Poll::Ready(()) };
            self.deadline = later;
        }
    }
}

/// Waits for `answer` as long as there is patience.
pub(crate) async fn within<T>(
    mut patience: Patience<'_>,
    answer: impl Future<Output = T>,
) -> Result<T, Silent> {
    let mut answer = std::pin::pin!(answer);
    let mut alarm = None;
    poll_fn(|cx| match answer.as_mut().poll(cx) {
        Poll::Ready(answer) => Poll::Ready(Ok(answer)),
        Poll::Pending => patience.poll(&mut alarm, cx).map(|()| Err(Silent)),
    })
    .await
}

/// The member had all it needed, and did not answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Silent;

impl Sent {
    /// Notes a piece; false when there is no way back any more.
    fn note(&mut self, frame: &Frame<Bytes>) -> bool {
        let Some(piece) = frame.data_ref() else { return false };
        self.len += piece.len() as u64;
        self.pieces.push_back(piece.clone());
        self.len <= self.len_max
    }
}

impl State {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let answered = self.answered.take();
        let Some(body) = &mut self.body else { return Poll::Ready(Some(Err(BodyError::unwanted()))) };
        if let Some(silence_max) = answered {
            body.be_patient(silence_max);
        }
        match self.again.pop_front() {
            Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
            None => Pin::new(body).poll_frame(cx),
        }
    }
}

impl From<Handover> for Body {
    fn from(handover: Handover) -> Body {
        Body::Sent(body::Sent(handover))
    }
}

impl Handover {
    fn new(again: VecDeque<Bytes>, body: Option<Body>) -> Self {
        let state = State {
            again,
            body,
            sent: Some(Sent::default()),
            waits_for_client: false,
            moved: Instant::now(),
            failure: None,
            keeps_failure: false,
            sender: None,
            answered: None,
        };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    fn take_apart(self) -> (VecDeque<Bytes>, Option<Body>) {
        let mut state = self.state.lock();
        (std::mem::take(&mut state.again), state.body.take())
    }

    pub(crate) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut state = self.state.lock();
        let polled = state.poll_piece(cx);
        state.waits_for_client = polled.is_pending();
        match polled {
            Poll::Pending => {
                state.sender = Some(cx.waker().clone());
                Poll::Pending
            }
            Poll::Ready(Some(Err(error))) => {
                state.sent = None;
                if !state.keeps_failure {
                    return Poll::Ready(Some(Err(error)));
                }
                state.failure = Some(error);
                Poll::Ready(Some(Err(BodyError::unwanted())))
            }
            Poll::Ready(frame) => {
                state.moved = Instant::now();
                // The end of a body can be told again.
                if let Some(Ok(frame)) = &frame
                    && !state.sent.as_mut().is_some_and(|sent| sent.note(frame))
                {
                    state.sent = None;
                }
                Poll::Ready(frame)
            }
        }
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        let state = self.state.lock();
        state.again.is_empty() && state.body.as_ref().is_some_and(Body::is_end_stream)
    }

    pub(crate) fn size_hint(&self) -> SizeHint {
        let state = self.state.lock();
        let rest = state.body.as_ref().map(Body::size_hint).unwrap_or_default();
        let again: u64 = state.again.iter().map(|piece| piece.len() as u64).sum();
        match rest.exact() {
            Some(rest) => SizeHint::with_exact(rest + again),
            None => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};
    use tokio::sync::mpsc;

    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    /// A body of what is sent to it.
    fn dripping() -> (mpsc::UnboundedSender<Bytes>, Body) {
        let (sender, mut receiver) = mpsc::unbounded_channel();
        let pieces = futures_util::stream::poll_fn(move |cx| {
            receiver.poll_recv(cx).map(|piece| piece.map(|bytes| Ok(Frame::data(bytes))))
        });
        (sender, Body::boxed(StreamBody::new(pieces)))
    }

    #[tokio::test]
    async fn what_nobody_touched_is_taken_back_whole() {
        let (sent, hand) = hand_over(Body::from("hello"));
        let hand = hand.expect("it has a body");
        assert_eq!(sent.size_hint().exact(), Some(5));
        let back = hand.take_back().expect("untouched");
        assert_eq!(back.collect().await.unwrap().to_bytes(), "hello");
        assert!(sent.collect().await.is_err(), "it is no longer there to be sent");

        let (mut sent, hand) = hand_over(Body::from("hello"));
        sent.frame().await.unwrap().unwrap();
        assert!(hand.unwrap().take_back().is_none(), "nobody remembered");
        assert!(hand_over(Body::Empty).1.is_none());
    }

    #[tokio::test]
    async fn what_is_remembered_is_taken_back_as_often_as_it_takes() {
        let (client, body) = dripping();
        for piece in ["a", "b", "c"] {
            client.send(Bytes::from(piece)).unwrap();
        }
        drop(client);
        let mut body = body;
        for pieces in 1..4 {
            let (mut sent, hand) = hand_over(body);
            let hand = hand.unwrap();
            hand.remember(3);
            for _ in 0..pieces {
                sent.frame().await.unwrap().unwrap();
            }
            body = hand.take_back().expect("three bytes are not too many");
        }
        assert_eq!(body.collect().await.unwrap().to_bytes(), "abc");

        let (sent, hand) = hand_over(Body::from("four"));
        let hand = hand.unwrap();
        hand.remember(3);
        sent.collect().await.unwrap();
        assert!(hand.take_back().is_none());
    }

    #[tokio::test]
    async fn a_length_stays_what_it_is() {
        let (sent, hand) = hand_over(Body::from("hello"));
        let hand = hand.unwrap();
        hand.remember(100);
        assert_eq!(sent.collect().await.unwrap().to_bytes(), "hello");
        let again = hand.take_back().unwrap();
        assert_eq!(again.size_hint().exact(), Some(5));
        hand_over(again).1.unwrap().answered(LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_members_time_begins_when_it_has_the_request() {
        let (client, body) = dripping();
        let (mut sent, hand) = hand_over(body);
        let begun = Instant::now();
        let sending = tokio::spawn(async move { while sent.frame().await.is_some() {} });
        let dripping = tokio::spawn(async move {
            for _ in 0..10 {
                tokio::time::sleep(LIMIT * 2).await;
                client.send(Bytes::from_static(b"x")).unwrap();
            }
        });
        let waited =
            within(Patience::new(LIMIT, Instant::now(), hand.as_ref()), std::future::pending::<()>()).await;
        assert_eq!(waited, Err(Silent));
        assert!(begun.elapsed() >= LIMIT * 21 && begun.elapsed() <= LIMIT * 22, "{:?}", begun.elapsed());
        dripping.await.unwrap();
        sending.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_member_that_takes_nothing_has_its_limit_and_no_more() {
        let (_sent, hand) = hand_over(Body::from("hello"));
        let begun = Instant::now();
        assert_eq!(
            within(Patience::new(LIMIT, Instant::now(), hand.as_ref()), std::future::pending::<()>()).await,
            Err(Silent)
        );
        assert_eq!(begun.elapsed(), LIMIT);
        assert_eq!(within(Patience::new(LIMIT, Instant::now(), None), async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn who_sends_is_woken_to_stop() {
        let (_client, body) = dripping();
        let (sent, hand) = hand_over(body);
        let sending = tokio::spawn(sent.collect());
        tokio::task::yield_now().await;
        hand.unwrap().stop();
        assert!(matches!(sending.await.unwrap(), Err(BodyError::Unwanted(_))));
    }

    #[tokio::test]
    async fn a_clients_failure_is_remembered() {
        let failing = futures_util::stream::iter([Err(BodyError::TooLarge { max: 3 })]);
        let (sent, hand) = hand_over(Body::boxed(StreamBody::new(failing)));
        let hand = hand.unwrap();
        hand.remember(0);
        assert!(sent.collect().await.is_err());
        assert!(matches!(hand.take_failure(), Some(BodyError::TooLarge { max: 3 })));
    }
}
