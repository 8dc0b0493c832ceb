//! What a request points at: the four forms of a request-target, the host, and the path in one form for all.
//!
//! A rule that blocks `/admin` is worth nothing if `/%61dmin`, `/x/../admin`, `//admin`, `/;a/admin` or `/x%2f..%2fadmin`
//! walk around it and the upstream understands them. So a path is normalised once, before anything looks at it:
//!
//! ```text
//!   received   /a/./%62/%7Euser/..//c%2fd;v=1      a request line
//!   forwarded  /a/b//c%2Fd;v=1                     escapes of plain letters undone, dot segments resolved, the rest kept
//!   for rules  /a/b/c/d                            what the most lenient upstream would make of the forwarded form
//! ```
//!
//! The forwarded form keeps what changes meaning for some upstream (`%2F`, `;`, `//`): cache keys and upstreams see it.
//! Rules match the second form, which is derived from the first; a path whose two forms disagree about dot segments
//! (`/x%2f..%2fadmin`, `/..;/admin`) has no safe reading and is refused. For an ordinary path both are the received
//! bytes, found by one pass over a table, with no allocation.
//!
//! ```
//! use evenly::target::{Host, normalise};
//!
//! let path = normalise("/a/./%62/..//c%2fd;v=1")?;
//! assert_eq!(path.forward, "/a//c%2Fd;v=1");
//! assert_eq!(path.for_rules(), "/a/c/d");
//! assert!(normalise("/x%2f..%2fadmin").is_err());
//!
//! let host = Host::parse(b"[2001:db8::1]:8443")?;
//! assert_eq!((host.name, host.port), ("[2001:db8::1]", Some(8443)));
//! assert!(Host::parse(b"a.test, b.test").is_err());
//! # Ok::<(), evenly::target::TargetError>(())
//! ```
//!
//! Sources: RFC 9112 §3.2 (forms), RFC 3986 §3.2, §5.2.4 and §6.2.2 (authority, dot segments, normal form).

mod error;
mod form;
mod host;
mod path;

pub use error::TargetError;
pub use form::Form;
pub use host::{HOST_LEN_MAX, Host};
pub use path::{Path, normalise, pattern};
