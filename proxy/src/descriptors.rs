//! File descriptors: each connection needs one, and most systems give a process 1,024 unless it asks for more.
//!
//! ```text
//!   limit ─► RESERVE for listeners, logs, the admin listener, Redis, event loops, and a sixteenth, but not more than 256, for
//!            the pipes that large bodies go by ─► of the rest, for ways to members half, but not more than 1,024 or a
//!            quarter; what is left, for clients
//! ```
//!
//! Where there are few, every client that was accepted can have a member of its own. Where there are many, most clients are
//! idle; if more need a member than there are descriptors, they take turns. More clients than that wait in the kernel's
//! queue until somebody goes.

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

/// How many pipes there are descriptors for.
#[cfg(target_os = "linux")]
pub(crate) fn pipes_max() -> usize {
    getrlimit(Resource::Nofile)
        .current
        .map_or(PIPES_MAX, |limit| pipes_within(usize::try_from(limit).unwrap_or(usize::MAX)))
}

/// Two descriptors each. As many as Linux gives one user without privileges, each of 512 KiB.
fn pipes_within(limit: usize) -> usize {
    (limit / 32).min(PIPES_MAX)
}

fn clients_within(limit: usize) -> usize {
    let reserve = RESERVE + PER_CORE * workers::cores().get() + 2 * pipes_within(limit);
    let rest = limit.saturating_sub(reserve);
    let for_members = (rest / 2).min((rest / 4).max(1024));
    // Of a limit that is nothing but reserve, a few all the same: better slow than dead.
    (rest - for_members).max(limit / 8).max(1)
}

const RESERVE: usize = 48;
/// What an event loop needs, and its share of the listeners.
const PER_CORE: usize = 8;
const PIPES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_members_may_need_is_left_to_them() {
        let reserve = RESERVE + PER_CORE * workers::cores().get();
        let of_rest = |rest: usize| {
            let limit = (reserve + rest..).find(|limit| limit - reserve - 2 * pipes_within(*limit) == rest);
            clients_within(limit.unwrap())
        };
        assert_eq!((of_rest(200), of_rest(4_000), of_rest(20_000)), (100, 2_976, 15_000));
        assert_eq!((clients_within(64), clients_within(4)), (8, 1));
        assert!(clients_max() > 0);
    }
}
