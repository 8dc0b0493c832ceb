//! `evenly`: a thin, strict, caching and load-balancing HTTP proxy, as a library and a binary.
//!
//! ```text
//! accept ─► request: admit ─► http_cache::lookup ─► balancers: pick ─► upstream: send ─► http_cache::settle ─► response
//! ```
//!
//! | room | what it knows |
//! |---|---|
//! | [`server`](Proxy) | listeners, drain |
//! | `connection` | one client's connection: [`http_1`], HTTP/2 |
//! | `codec` | HTTP/1.1 as bytes, for both sides |
//! | [`reload`](Service), `watch`, `run` | a file that changes, and what becomes of it; signals |
//! | `serve` | the whole life of a request on one page |
//! | [`http_cache`], `cached` | the rules of HTTP caching, and the cache's place in a request's life |
//! | `upstream` | connections to members, retries |
//! | [`headers`], [`target`] | hop-by-hop fields, forwarding fields, request targets |
//! | [`config`] | the file, and every fault in it |
//! | [`observe`] | counts and latencies, access log, metrics, admin API, dashboard |
//!
//! Balancing is [`balancers`], storage is [`cache`]; both know no HTTP.
#![forbid(unsafe_code)]

pub mod admit;
mod alarm;
pub mod body;
mod cached;
pub mod cli;
mod client_body;
mod codec;
pub mod config;
mod connection;
mod demo;
mod descriptors;
mod entrance;
mod error;
pub mod filter;
mod forward;
pub mod headers;
pub mod http_cache;
mod logging;
pub mod observe;
mod pace;
pub mod pattern;
mod peek;
mod pipe;
pub mod question;
mod reload;
pub mod rewrite;
mod run;
mod serve;
mod server;
mod state;
mod stream_body;
pub mod target;
mod tls;
mod tunnel;
mod upstream;
mod watch;
mod workers;

pub use connection::http_1;
pub use reload::{ReloadError, Service};
pub use server::{Builder, Listener, Proxy};
pub use state::StartError;
pub use tls::TlsError;
#[doc(hidden)]
pub use upstream::ask;

/// The README's Rust, and that of the guides, run with the doc tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[doc = include_str!("../../docs/embedding.md")]
struct Pages;
