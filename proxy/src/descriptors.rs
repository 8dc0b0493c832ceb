//! File descriptors: each connection needs one, and most systems give a process 1,024 unless it asks for more.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit to what the system allows without privileges, and says so.
pub(crate) fn raise_limit() {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    // No number means no limit.
    let told = |limit: Option<u64>| limit.map_or_else(|| "unlimited".to_owned(), |limit| limit.to_string());
    if before.current == before.maximum {
        return tracing::info!(limit = told(before.current), "file descriptors");
    }
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => {
            let (limit, before) = (told(before.maximum), told(before.current));
            tracing::info!(limit, before, "file descriptors");
        }
        Err(error) => {
            let limit = told(before.current);
            tracing::warn!(%error, limit, "the limit of file descriptors cannot be raised");
        }
    }
}
