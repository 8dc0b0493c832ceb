//! A small, strict HTTP/1.1 client for members.
//!
//! Why not hyper's: the task that serves a client reads the member's answer itself, without a second task and a
//! channel between (a third fewer instructions a request, see `research.md` part 5), back-pressure is the socket's
//! own, a request head is written by reference, so that a retry needs no copy, and framing is stricter than what a
//! general client can afford: anything ambiguous is an error, and a connection with a byte too many is never used
//! again.
//!
//! | file | part of the message |
//! |---|---|
//! | `request.rs` | the head we write |
//! | `upload.rs` | the body we send, while the answer may already arrive |
//! | `response.rs` | the head we read |
//! | `connection.rs` | one exchange on one connection, and the body that arrives |
//! | `ask.rs` | the same without everything around it, for the fuzzer |
//!
//! What it shares with the server towards clients stands in [`codec`](crate::codec).

mod ask;
mod connection;
mod request;
mod response;
mod upload;

#[doc(hidden)]
pub use ask::ask;
pub(crate) use connection::{Connection, ExchangeError, ResponseBody};
pub(crate) use request::{Interims, RequestHead};
