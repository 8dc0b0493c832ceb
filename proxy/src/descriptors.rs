//! File descriptors: each connection needs one, and most systems give a process 1,024 unless it asks for more.
//!
//! ```text
//!   limit ─► RESERVE for listeners, logs, the admin listener, Redis, event loops ─► of the rest, half for clients,
//!                                                                                   half for their way to a member
//! ```
//!
//! So whoever was accepted can be answered. More clients wait in the kernel's queue until somebody goes.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::workers;

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

/// How many clients there are descriptors for, as the limit is now.
pub(crate) fn clients_max() -> usize {
    let limit = getrlimit(Resource::Nofile).current;
    limit.map_or(usize::MAX, |limit| clients_within(usize::try_from(limit).unwrap_or(usize::MAX)))
}

fn clients_within(limit: usize) -> usize {
    let reserve = RESERVE + PER_CORE * workers::cores().get();
    // Of a limit that is nothing but reserve, a few all the same: better slow than dead.
    (limit.saturating_sub(reserve) / 2).max(limit / 8).max(1)
}

const RESERVE: usize = 48;
/// What an event loop needs, and its share of the listeners.
const PER_CORE: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_of_what_is_left_is_for_clients() {
        let reserve = RESERVE + PER_CORE * workers::cores().get();
        assert_eq!(clients_within(1 << 20), ((1 << 20) - reserve) / 2);
        assert_eq!(clients_within(reserve + 200), 100.max((reserve + 200) / 8));
        assert_eq!((clients_within(64), clients_within(4)), (8, 1));
        assert!(clients_max() > 0);
    }
}
