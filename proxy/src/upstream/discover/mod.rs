//! Members by name: who asks DNS when, and what becomes of the answers.
//!
//! ```text
//!   names of the configuration ─► Directory: which are due? ─► look_up (hickory) ─► what is known ─► groups follow
//!                                     ▲    an answer: its time to live, within bounds        │
//!                                     └──  no answer: the last good one stays, 1, 2, 4 … s ◄─┘
//! ```
//!
//! | file | question it answers |
//! |---|---|
//! | `schedule.rs` | what is known of a name, and when is it asked for again? |
//! | `directory.rs` | who asks, and where are the answers kept? |
//! | `lookup.rs` | which members does a name have, as DNS tells? |

mod directory;
mod lookup;
mod schedule;

pub(crate) use directory::Directory;
