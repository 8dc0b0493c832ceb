//! What may come in: everything between the socket and the balancer.
//!
//! ```text
//!   bytes ─► guard (framing) ─► parser ─► sanitise ─► client ─► rules ─► auth ─► the rest of the proxy
//! ```
//!
//! | file | decides |
//! |---|---|
//! | [`framing`], [`guard`] | where a message ends, strictly; only bytes beyond doubt reach the parser |
//! | [`sanitise`] | what a request means: one host, one path, one length |
//!
//! The decisions are pure: a request comes in, the request or a [`Refusal`] comes out. Nothing here reads configuration.

pub mod framing;
pub mod guard;
mod refusal;
pub mod sanitise;

pub use refusal::Refusal;
