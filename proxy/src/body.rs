//! The body of a message on its way through: never gathered whole, whatever its source.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body::{Body as HttpBody, Frame, SizeHint};
use http_body_util::{BodyExt, Collected, combinators::UnsyncBoxBody};
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    client_body::{ClientBody, Incoming},
    observe::Counter,
    pipe::Piped,
    rewrite,
    upstream::{Handover, ResponseBody},
};

/// A body from one of the places bodies come from.
#[derive(Debug, Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// All bytes at hand, handed out once.
    Full(Bytes),
    /// Arriving from a client. Boxed: a body is handed on often, mostly an empty one, and its size with it.
    Client(Box<ClientBody>),
    /// Arriving from a member.
    Member(Member),
    /// On its way to a member.
    Sent(Sent),
    /// Anything else.
    Boxed(UnsyncBoxBody<Bytes, BodyError>),
}

/// The body of a member's answer; its lease ends with it.
#[derive(Debug)]
pub struct Member {
    body: ResponseBody,
    /// When the whole of it must have passed.
    deadline: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Member {
    pub(crate) fn new(body: ResponseBody) -> Self {
        Member { body, deadline: None, timer: None }
    }

    pub(crate) fn into_inner(self) -> ResponseBody {
        self.body
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        self.in_time(polled, cx)
    }

    fn poll_piped(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piped, BodyError>>> {
        let polled = self.body.poll_piped(cx);
        self.in_time(polled, cx)
    }

    /// The same, if it is not too late for it.
    fn in_time<P>(
        &mut self,
        polled: Poll<Option<Result<P, BodyError>>>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<P, BodyError>>> {
        let Some(deadline) = self.deadline else { return polled };
        let is_over = match &polled {
            Poll::Pending => {
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
                timer.as_mut().poll(cx).is_ready()
            }
            // The last piece may come late.
            Poll::Ready(Some(_)) if !self.body.is_end_stream() => Instant::now() > deadline,
            Poll::Ready(_) => false,
        };
        if is_over { Poll::Ready(Some(Err(BodyError::TooLong))) } else { polled }
    }
}

/// The body of a request that is being sent; it can still be taken back.
#[derive(Debug)]
pub struct Sent(pub(crate) Handover);

impl Body {
    /// A client's body, of at most `len_max` bytes, that has to keep coming.
    pub(crate) fn client(incoming: Incoming, len_max: u64, silence_max: Duration) -> Self {
        Body::Client(Box::new(ClientBody::new(incoming, len_max, silence_max)))
    }

    /// A client's body that must bring so many bytes a second.
    pub(crate) fn at_least(mut self, rate_min: u64) -> Self {
        if let Body::Client(body) = &mut self {
            body.at_least(rate_min);
        }
        self
    }

    /// Breaks a member's answer off at `deadline`.
    pub(crate) fn limit(&mut self, deadline: Instant) {
        if let Body::Member(member) = self {
            member.deadline = Some(deadline);
        }
    }

    /// Counts the bytes of a client's body as they come. `counter` is asked for only if there will be some.
    pub(crate) fn counted(mut self, counter: impl FnOnce() -> Arc<Counter>) -> Self {
        if let Body::Client(body) = &mut self
            && !body.is_end_stream()
        {
            body.counter = Some(counter());
        }
        self
    }

    /// Waits for the end of one that was announced as empty: until then the client may still break its word.
    pub(crate) async fn settle(&mut self) -> Result<(), BodyError> {
        if let Body::Client(body) = self
            && body.is_empty_so_far()
        {
            while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
                frame?;
            }
            *self = Body::Empty;
        }
        Ok(())
    }

    /// All of it, for a body that has to be looked at as a whole.
    pub(crate) async fn gather(self, len_max: usize) -> Result<Bytes, rewrite::BodyError> {
        let gathered = http_body_util::Limited::new(self, len_max).collect().await;
        gathered.map(Collected::to_bytes).map_err(|error| match error.downcast::<BodyError>() {
            Ok(error) => rewrite::BodyError::Broken(error.to_string()),
            Err(_) => rewrite::BodyError::TooLarge { max: len_max },
        })
    }

    /// Any other body.
    pub fn boxed<B>(body: B) -> Self
    where
        B: HttpBody<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Body::Boxed(UnsyncBoxBody::new(body))
    }

    /// Lets a client take so long between two pieces, however few they are: an answer has begun, and both sides talk.
    pub(crate) fn be_patient(&mut self, silence_max: Duration) {
        match self {
            Body::Client(body) => body.be_patient(silence_max),
            Body::Boxed(_) | Body::Sent(_) | Body::Member(_) | Body::Full(_) | Body::Empty => {}
        }
    }

    /// The next piece by way of a pipe; `None` where it is to be had as a frame.
    pub(crate) fn poll_piped(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Piped, BodyError>>> {
        match self {
            Body::Member(member) => member.poll_piped(cx),
            Body::Client(_) | Body::Boxed(_) | Body::Sent(_) | Body::Full(_) | Body::Empty => {
                Poll::Ready(None)
            }
        }
    }

    /// There is nothing in it and nothing will come.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.is_end_stream()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Body::Empty } else { Body::Full(bytes) }
    }
}

impl From<String> for Body {
    fn from(text: String) -> Self {
        Bytes::from(text).into()
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl HttpBody for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self.get_mut() {
            Body::Empty => Poll::Ready(None),
            full @ Body::Full(_) => match std::mem::take(full) {
                Body::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
                _ => Poll::Ready(None),
            },
            Body::Client(body) => body.poll_frame(cx),
            Body::Member(member) => member.poll_frame(cx),
            Body::Sent(body) => body.0.poll_frame(cx),
            Body::Boxed(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Body::Empty => true,
            Body::Full(_) => false,
            Body::Client(body) => body.is_end_stream(),
            Body::Member(member) => member.body.is_end_stream(),
            Body::Sent(body) => body.0.is_end_stream(),
            Body::Boxed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Body::Empty => SizeHint::with_exact(0),
            Body::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Body::Client(body) => body.size_hint(),
            Body::Member(member) => member.body.size_hint(),
            Body::Sent(body) => body.0.size_hint(),
            Body::Boxed(body) => body.size_hint(),
        }
    }
}

/// Why a body broke off.
#[derive(Debug)]
#[non_exhaustive]
pub enum BodyError {
    /// The client went away, or sent what is not HTTP.
    Client(Box<dyn std::error::Error + Send + Sync>),
    /// More bytes came than are allowed.
    TooLarge {
        /// The limit.
        max: u64,
    },
    /// The client sent nothing for so long, or so little that it makes no difference.
    ClientSilent(Duration),
    /// More or fewer bytes came than were announced.
    LengthBroken,
    /// The member sent what is not HTTP, or stopped in the middle.
    Member(Box<dyn std::error::Error + Send + Sync>),
    /// The member sent nothing for so long.
    MemberSilent(Duration),
    /// The connection to the member was lost.
    Io(io::Error),
    /// `request_timeout` was over before the last byte of the answer.
    TooLong,
    /// Nobody wants the rest of a request's body.
    Unwanted(h2::Error),
}

impl BodyError {
    pub(crate) fn client(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        BodyError::Client(Box::new(error))
    }

    pub(crate) fn member(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        BodyError::Member(Box::new(error))
    }

    pub(crate) fn unwanted() -> Self {
        BodyError::Unwanted(h2::Reason::CANCEL.into())
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::Client(error) => write!(f, "request body: {error}"),
            BodyError::TooLarge { max } => write!(f, "request body: more than {max} bytes"),
            BodyError::ClientSilent(time) => {
                write!(f, "request body: nothing, or too little, came for {} ms", time.as_millis())
            }
            BodyError::LengthBroken => f.write_str("request body: not as many bytes as announced"),
            BodyError::Member(error) => write!(f, "response body: {error}"),
            BodyError::MemberSilent(time) => {
                write!(f, "response body: nothing came for {} ms", time.as_millis())
            }
            BodyError::Io(error) => write!(f, "response body: {error}"),
            BodyError::TooLong => f.write_str("response body: the time for the request is over"),
            BodyError::Unwanted(_) => f.write_str("request body: the rest is not wanted"),
        }
    }
}

impl std::error::Error for BodyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            BodyError::Io(error) => Some(error),
            BodyError::Unwanted(error) => Some(error),
            BodyError::Client(error) | BodyError::Member(error) => Some(&**error),
            _ => None,
        }
    }
}
