//! The admin listener: for people and programs that operate the proxy, not for its clients.
//!
//! | file | question it answers |
//! |---|---|
//! | `desk.rs` | what can be asked of a running proxy |
//! | `guard.rs` | who may ask |
//! | `api.rs` | which request asks what |
//! | `status.rs` | how facts look in JSON |
//! | `dashboard.html` | the page for people |

mod api;
mod desk;
mod guard;
mod status;

pub(crate) use api::answer;
pub(crate) use desk::{Change, Desk, Purge, Refusal};
pub(crate) use guard::Guard;
