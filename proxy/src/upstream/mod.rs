//! From a request to a member's answer.
//!
//! ```text
//! send: pick ─► connection (kept or new) ─► exchange ──► answer, its body holding the lease
//!         ▲                                    │
//!         └──────── avoiding ◄── may be repeated
//! ```
//!
//! | file | question it answers |
//! |---|---|
//! | `send.rs` | the whole way, with retries |
//! | `discover/` | which members does a name have? |
//! | `group.rs` | members that share the work, and how they outlive a reload |
//! | `retry.rs` | may this request be sent again, and how many may? |
//! | `replay.rs` | what of its body is still there? |
//! | `queue.rs` | who may have a member now, and who waits? |
//! | `health/` | who is up? |
//! | `window.rs` | what happened in the last ten seconds? |
//! | `backend.rs` | what is kept of a member: its address and idle connections |
//! | `connect.rs` | how a connection is opened |
//! | `handover.rs` | how far a request's body got, and whose turn it is |
//! | `answer.rs` | an answer, by whatever version of HTTP |
//! | `settlement.rs` | what happens when an answer has ended |
//! | `silence.rs` | has nothing come for too long? |
//! | `h1/` | HTTP/1.1 as a client |
//! | `h2/` | HTTP/2 as a client |

mod answer;
mod backend;
mod connect;
mod discover;
mod group;
mod h1;
mod h2;
mod handover;
mod health;
mod queue;
mod replay;
mod retry;
mod send;
mod settlement;
mod silence;
mod window;

pub(crate) use answer::{Answer, ResponseBody};
pub(crate) use discover::Directory;
pub(crate) use group::{Group, Roster, Settings};
#[doc(hidden)]
pub use h1::ask;
pub(crate) use h1::{Interims, RequestHead};
pub(crate) use handover::Handover;
pub(crate) use health::{TICK, Tender};
pub(crate) use send::{SendError, send, send_over};
