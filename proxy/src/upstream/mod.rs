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
//! | `group.rs` | members that share the work, and how they outlive a reload |
//! | `retry.rs` | may this request be sent again? |
//! | `backend.rs` | what is kept of a member: its address and idle connections |
//! | `connect.rs` | how a connection is opened |
//! | `settlement.rs` | what happens when an answer has ended |
//! | `h1/` | HTTP/1.1 as a client |

mod backend;
mod connect;
mod group;
mod h1;
mod retry;
mod send;
mod settlement;

pub(crate) use group::Group;
pub(crate) use h1::{RequestHead, ResponseBody};
pub(crate) use send::{Answer, SendError, send, send_over};
