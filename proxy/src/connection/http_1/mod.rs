//! A client that speaks HTTP/1.0 or 1.1: requests, one after another, served by one task.
//!
//! ```text
//!                 ┌──────────────────────────── wire ────────────────────────────┐
//!   socket ─────► │ inbound: head ─► serve ─► answer ─► outbound: head, body     │ ─────► socket
//!                 │    │              ▲   ▲                                      │
//!                 │    └─► body ──────┘   └── interim responses, 100, a tunnel   │
//!                 └──────────────────────────────────────────────────────────────┘
//! ```
//!
//! Why not hyper's server, which this replaces: it shows a request after it has tolerated what is ambiguous, so a second
//! parser had to stand before it; it has no call for interim responses, so they were written beneath it; it keeps its
//! buffers while nothing happens, so its stream was taken away from it; and a channel stood between a body and its reader. Here the
//! task that reads the request also waits for the member and writes the answer:
//!
//! - **Strict**: one grammar ([`Inbound`]), one length, CRLF; at the first doubt 400 and the end of the connection.
//! - **Back-pressure is the sockets' own**: a body is read when somebody asks for a piece of it, and a piece of the answer
//!   is made when the last one was written. A slow reader holds one piece.
//! - **A large body is not touched**: its pieces go from the member's socket to the client's in the kernel
//!   (`pipe.rs`), if nothing but bytes of an announced length is to be passed on from one plain socket to another.
//! - **Early words**: 100 is said when the body is first asked for, a member's interim responses as they come, before the
//!   answer begins.
//! - **A client that leaves** while its request is answered ends it, unless it has sent another already. One that only ends
//!   its own direction looks the same.
//! - **What is left of a body** that nobody wanted is read, up to 64 KiB; more closes the connection. When we close, what
//!   the client is still sending is read for two seconds, so that it can read its answer.
//! - **Who is slow** is ended: no head in `http_read_timeout`, nothing taken in `http_write_timeout`, fewer than
//!   `min_body_rate` bytes a second taken once it was waited for that long, or more than `request_timeout` for everything.
//! - **An idle connection** holds its socket, a timer and some hundred bytes: the buffers and all that requests need are
//!   made when one comes, and let go after a second without another.
//!
//! | file | question it answers |
//! |---|---|
//! | `head.rs` | what does a request say, beyond doubt? |
//! | `inbound.rs` | where do heads and bodies end in what came? |
//! | `wire.rs` | what is between the socket and those who read and write? |
//! | `turn.rs` | what has a request of its connection? |
//! | `write.rs` | how does an answer go out? |
//! | `requests.rs` | what happens from one request to the next? |

mod head;
mod inbound;
mod requests;
mod turn;
mod wire;
mod write;

pub use head::{Fault, Head, HeadLimits, Length};
pub use inbound::{BodyFault, Inbound, Piece};
pub(super) use requests::Connection;
pub(crate) use turn::{RequestBody, Turn};
