//! Changing what passes: requests before the upstream sees them, answers before the client does.
//!
//! | file | changes |
//! |---|---|
//! | `request` | path, query, fields and host of a request |
//! | `response` | status and fields of an answer, and whether its body is to be changed |
//! | `body` | a whole body: replace text, patch or merge JSON, decode first |
//! | `template` | texts with `$1`, `$host`, `$path`, `$query` to fill |
//!
//! What is stored by the cache is the upstream's answer; answers are changed on their way out.

mod body;
mod request;
mod response;
mod template;

pub(crate) use body::decode;
pub use body::{BodyChange, BodyEdit, BodyError};
pub use request::{HeaderChange, NotAPath, PathChange, RequestChange};
pub use response::ResponseChange;
pub use template::{Template, UnknownPlace};
