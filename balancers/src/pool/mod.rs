//! The live pool: members come, go, change weight, fail and return while picks go on.
//!
//! ```text
//!     update(edit) ─ check ─ build ─► one immutable snapshot ─► one pointer          set_up(id) ─► the member's own line
//!                                                                   ▲                                ▲
//!     pick(query) ──────────────────────────────────────────────────┴──── index ─► admits? ──────────┘──► Lease<T>
//! ```
//!
//! | file | |
//! |---|---|
//! | `builder.rs` | settings |
//! | `control.rs` | who left and is still at work |
//! | `current.rs` | the one pointer |
//! | `edit.rs` | one transaction: what may be changed, what is refused, what was changed |
//! | `lease.rs` | one request under way, owned or lent |
//! | `reader.rs` | picks for a hot loop |
//! | `snapshot.rs` | what a pick looks at |
//! | `shared_pool.rs` | the pool itself |

mod builder;
mod control;
mod current;
mod edit;
mod lease;
mod reader;
mod shared_pool;
mod snapshot;

pub use builder::PoolBuilder;
pub use edit::{Change, Edit, Values};
pub use lease::{Lease, Loan};
pub use reader::Reader;
pub use shared_pool::{MemberStatus, Pool};
pub use snapshot::Peek;
