//! What may come in: everything between the socket and the balancer.
//!
//! ```text
//!   bytes ─► http_1::head ─► sanitise ─► client ─► rules ─► auth ─► the rest of the proxy
//! ```
//!
//! | file | decides |
//! |---|---|
//! | [`admission`] | all of the following, in order |
//! | [`sanitise`] | what a request means: one host, one path, one length |
//! | [`client`], [`proxy_protocol`] | who the client is, as far as trusted proxies vouch for it |
//! | [`rules`] | what `[[rules]]` do with a request |
//! | [`destination`] | where a forward proxy may go |
//! | [`auth`], [`password`] | who has shown a right password |
//!
//! Where a message ends is decided before, where its bytes are read ([`http_1`](crate::http_1)). The decisions are pure: a request comes in, the request or a [`Refusal`] comes out. Nothing here reads configuration.

pub mod admission;
pub mod auth;
pub mod client;
pub mod destination;
pub mod password;
pub mod proxy_protocol;
mod refusal;
pub mod rules;
pub mod sanitise;

pub use refusal::Refusal;
