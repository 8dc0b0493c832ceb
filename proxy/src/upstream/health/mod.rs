//! Who of a group can be given work: checks that ask, and requests that tell.
//!
//! | file | question it answers |
//! |---|---|
//! | `standing.rs` | what is thought of one member? |
//! | `court.rs` | who of a group is taken out, given that? |
//! | `member.rs` | how do requests tell, at the price of one addition? |
//! | `probe.rs` | how is a member asked? |
//! | `tend.rs` | the task that asks, judges and tells the pool |

mod court;
mod member;
mod probe;
mod standing;
mod tend;

pub(crate) use member::Health;
pub(crate) use standing::Verdict;
pub(crate) use tend::{TICK, Tender};
