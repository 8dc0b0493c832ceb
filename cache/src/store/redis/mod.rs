//! Redis: see [`Redis`](client::Redis) for what it promises.
//!
//! | file | holds |
//! |---|---|
//! | [`client`] | the store itself: one method, one command |
//! | `commands` | what is sent for it |
//! | `purge` | many keys: by prefix, by tag, all |
//! | `config` `url` `address` | what can be told to it |
//! | `lanes` | more connections to one server, while those open are busy |
//! | `lock` | a short lock, for single flight |
//! | `names` | what keys are called on the server |
//! | `node` `keeper` `dial` | one server: requests, the task that keeps it connected, opening a connection |
//! | `route` | which server a command goes to |
//! | `breaker` `backoff` | when to stop asking, when to ask again |
//! | `cluster` `slots` `sentinel` | which node holds a key; which server is the master |
//! | `wire` `out` `replies` `cork` `window` | a connection: requests out, replies in within limits, when to write, how much to ask for |
//! | `command` `login` | how a command is written; the first of them on a connection |
//! | `watch` | hearing of what others change, for a near tier |
//! | `stats` | what can be seen from outside |

mod address;
mod backoff;
mod breaker;
mod client;
mod cluster;
mod command;
mod commands;
mod config;
mod cork;
mod dial;
mod keeper;
mod lanes;
mod lock;
mod login;
mod names;
mod node;
mod out;
mod purge;
mod replies;
mod route;
mod sentinel;
mod slots;
mod stats;
mod url;
mod watch;
mod window;
mod wire;

pub use address::Address;
pub use breaker::Circuit;
pub use client::Redis;
pub(super) use client::now_ms;
pub use config::{RedisConfig, RedisTls};
pub(super) use lock::Lock;
#[doc(hidden)]
pub use replies::replies_in;
pub use stats::RedisStats;
pub use watch::Hearing;
pub(super) use watch::{Change, Listener};
