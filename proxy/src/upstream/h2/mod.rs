//! HTTP/2 towards members: `h2://` by prior knowledge, `https://` where the member chooses it (ALPN).
//!
//! ```text
//!   request ─► Sessions: a connection with room for a stream ─┬─ there is one ──► Stream ─► exchange ─► ResponseBody
//!                                                             └─ none: open one (one at a time)
//! ```
//!
//! hyper's client does the frames; a task a connection drives it. What is ours is which connection a request takes, when a
//! failure means that a member has seen nothing (GOAWAY, REFUSED_STREAM), what of an answer is believed, and that a
//! client that leaves is felt by the member: a dropped body resets its stream.
//!
//! - A connection has at most `h2.max_streams` requests, or as many as its member allows; then another is opened.
//! - A slow client holds up nobody else: each stream may have [`STREAM_WINDOW`] unread bytes, and a connection as many as
//!   all its streams together.
//! - A connection that is silent while an answer is awaited is asked with PING, and dropped without a reply.
//! - Interim responses (103) are not passed on: hyper's client does not show them.
//!
//! | file | question it answers |
//! |---|---|
//! | `session.rs` | which connection, and when is it opened and closed? |
//! | `exchange.rs` | how a request becomes a stream, and what came of it |
//! | `response.rs` | the body that arrives |
//!
//! [`STREAM_WINDOW`]: session

mod exchange;
mod response;
mod session;

pub(crate) use exchange::StreamError;
pub(crate) use response::ResponseBody;
pub(crate) use session::{Opened, Sessions, Stream};
