//! HTTP caching: the only room that knows RFC 9111 and its family.
//!
//! The rules are pure: parsed headers and a [`Moment`] in, a decision out; no I/O, no clock, no configuration.
//!
//! ```text
//!     request ─► key ─► vary ─► reuse ─┬─ fresh, or stale and allowed ──► answer (304, 206, 200) ─► client
//!                                      └─ validate, miss ─► origin ─► storable? ─► entry ─► store
//!                                                             └─ 304 ─► entry::freshen
//!     POST, PUT, … ─► origin ─► invalidate
//! ```
//!
//! | file | question | source |
//! |---|---|---|
//! | `moment` | when is this date? | RFC 9110 §5.6.7 |
//! | `control`, `targeted` | what do the directives say? | RFC 9111 §5.2, RFC 9213, RFC 5861, RFC 8246 |
//! | `key`, `vary` | which stored response fits? | RFC 9111 §2, §4.1 |
//! | `storable`, `entry` | may it be stored, and what of it? | RFC 9111 §3 |
//! | `freshness`, `reuse` | may it be used now? | RFC 9111 §4.2, §5.2.1 |
//! | `validate` | does it still hold? | RFC 9111 §4.3, RFC 9110 §13 |
//! | `ranges` | which bytes? | RFC 9110 §14 |
//! | `invalidate` | what does a change make invalid? | RFC 9111 §4.4 |
//! | `cache_status` | what is the client told? | RFC 9211 |
//!
//! Around the rules, what has state; the clock, the storage and the way to the origin are given from outside:
//!
//! | file | question |
//! |---|---|
//! | `handle`, `trip` | [`HttpCache`]: what happens to a request, and what is asked of the origin |
//! | `flight`, `turns` | who fetches, who waits, and for how long? |
//! | `fill`, `payload` | how does one body reach several readers and the store? |
//! | `answer`, `stored` | what does a client get of a stored response? |
//! | `shelf`, `codec` | where do responses stay, and as what? |
//! | `fence`, `far_fence`, `purge` | what must not be stored any more? |
//!
//! Not in here: targeted fields other than CDN-Cache-Control, and asking with the entity tags of several variants at once
//! (RFC 9111 §4.3.1): a variant that is not stored is fetched without conditions.

mod answer;
mod cache_status;
mod codec;
mod control;
mod counts;
mod entry;
mod exchange;
mod far_fence;
mod fence;
mod fill;
mod flight;
mod freshness;
mod handle;
mod invalidate;
mod key;
mod moment;
mod payload;
mod purge;
mod ranges;
mod reuse;
mod settings;
mod shelf;
mod storable;
mod stored;
mod targeted;
mod trip;
mod turns;
mod validate;
mod vary;

pub use cache_status::{CACHE_STATUS, CacheStatus, Forward};
#[doc(hidden)]
pub use codec::recode;
pub use control::{Fields, RequestControl, ResponseControl};
pub use counts::{Counts, Reading};
pub use entry::{Entry, Extent};
pub use exchange::Exchange;
pub use fill::Reader;
pub use freshness::Freshness;
pub use handle::{Ask, Clock, Failed, HttpCache};
pub use invalidate::{Target, invalidated, is_safe};
pub use key::Key;
pub use moment::Moment;
pub use payload::{Payload, Pieces};
pub use purge::Purge;
pub use ranges::{ContentRange, Piece, Run, content_range, range, resolve};
pub use reuse::{Reuse, is_due_for_refresh, reuse, reuse_on_error};
pub use settings::{Profile, Settings};
pub use shelf::Storage;
pub use storable::{Refusal, storable};
pub use targeted::{CDN_CACHE_CONTROL, targeted};
pub use validate::{
    Validators, is_conditional, is_not_modified, needs_origin, not_modified_headers, range_holds,
    same_strong, same_weak,
};
pub use vary::Selecting;
