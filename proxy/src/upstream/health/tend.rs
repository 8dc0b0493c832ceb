//! The task that looks after the members of a group: asks them, judges them, and tells the pool.
//!
//! Every [`TICK`] it looks at what checks and requests have told, so a member that fails is taken out within that
//! time; until then its requests are retried elsewhere. A tick costs a look at each member.

use std::time::{Duration, SystemTime};

use balancers::Rng;
use tokio::time::Instant;

use super::{court::judge, probe::probe};
use crate::{
    config::Check,
    observe::{EventKind, Events},
    upstream::{backend::Backend, group::Group},
};

/// Looks after groups, tick by tick.
#[derive(Debug)]
pub(crate) struct Tender {
    chance: Rng,
    last_sweep: Instant,
}

impl Tender {
    pub(crate) fn new(seed: u64, now: Instant) -> Self {
        Tender { chance: Rng::new(seed), last_sweep: now }
    }

    /// One look at all `groups`; who goes and who comes back is told to `events`.
    pub(crate) fn tick<'g>(
        &mut self,
        groups: impl IntoIterator<Item = &'g Group>,
        now: Instant,
        events: &Events,
    ) {
        let is_sweep = now.duration_since(self.last_sweep) >= SWEEP;
        if is_sweep {
            self.last_sweep = now;
        }
        for group in groups {
            self.check(group, now);
            settle(group, now, events);
            if is_sweep {
                group.close_idle();
            }
        }
    }

    /// Begins the checks that are due.
    fn check(&mut self, group: &Group, now: Instant) {
        let settings = &group.settings.health;
        if settings.check == Check::Off {
            return;
        }
        for member in group.pool.members() {
            let spread = (self.chance.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
            let due = group.pool.with_value(&member.id, |backend| {
                backend.health().begins_check(now, spread, settings).then(|| backend.clone())
            });
            if let Some(backend) = due.flatten() {
                tokio::spawn(check(backend));
            }
        }
    }
}

async fn check(backend: Backend) {
    let settings = &backend.settings().health;
    let ok = probe(&backend, &settings.check, settings.timeout).await;
    backend.health().checked(ok, settings);
}

/// Tells the pool who is up.
fn settle(group: &Group, now: Instant, events: &Events) {
    let settings = &group.settings.health;
    let members = group.pool.members();
    let verdict = |id: &str| group.pool.with_value(id, |backend| backend.health().verdict(now, settings));
    let (members, verdicts): (Vec<_>, Vec<_>) =
        members.into_iter().filter_map(|member| verdict(&member.id).map(|verdict| (member, verdict))).unzip();
    let judged = judge(&verdicts, settings.panic_threshold);
    for ((member, verdict), is_up) in members.iter().zip(verdicts).zip(judged) {
        if is_up && verdict != super::Verdict::Up {
            let _ = group.pool.with_value(&member.id, |backend| backend.health().pardon());
        }
        if member.is_up == is_up || !matches!(group.pool.set_up(&member.id, is_up), Ok(true)) {
            continue;
        }
        if is_up {
            tracing::info!(member = %member.id, "member is up again");
            events.tell(SystemTime::now(), EventKind::Health, format!("{} is up again", member.id));
            // Whoever waits may have it.
            group.queue.wake_all();
        } else {
            let _ = group.pool.with_value(&member.id, |backend| backend.counters().ejections.add(1));
            tracing::warn!(member = %member.id, why = ?verdict, "member is taken out");
            let told = format!("{} is taken out: {verdict}", member.id);
            events.tell(SystemTime::now(), EventKind::Error, told);
        }
    }
}

/// How often members are looked at.
pub(crate) const TICK: Duration = Duration::from_millis(100);
/// How often idle connections to members are looked at.
const SWEEP: Duration = Duration::from_secs(5);
