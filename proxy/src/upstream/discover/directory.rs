//! Who asks for names, and where the answers are kept. It outlives reloads: what is known stays known.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
};

use balancers::Rng;
use parking_lot::Mutex;
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use super::{
    lookup::{Found, look_up},
    schedule::Schedule,
};
use crate::{
    config::{DnsConfig, Member, Name},
    observe::NameFacts,
};

/// What is known of names.
#[derive(Debug)]
pub(crate) struct Directory {
    known: Mutex<Known>,
    /// Counts the answers that told something new, and those that settled a name.
    news: watch::Sender<u64>,
    answered: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug)]
struct Known {
    names: HashMap<Name, Schedule>,
    chance: Rng,
}

impl Directory {
    pub(crate) fn new(seed: u64) -> Self {
        Directory {
            known: Mutex::new(Known { names: HashMap::new(), chance: Rng::new(seed) }),
            news: watch::Sender::new(0),
            answered: AtomicU64::new(0),
            failed: AtomicU64::new(0),
        }
    }

    /// The members of `name`, as last heard.
    pub(crate) fn members(&self, name: &Name) -> Vec<Member> {
        let known = self.known.lock();
        known.names.get(name).map(|schedule| schedule.members().to_vec()).unwrap_or_default()
    }

    /// Grows with each answer that changes something.
    pub(crate) fn news(&self) -> u64 {
        *self.news.borrow()
    }

    /// Questions asked so far, by how they ended.
    pub(crate) fn facts(&self) -> NameFacts {
        NameFacts { answered: self.answered.load(Relaxed), failed: self.failed.load(Relaxed) }
    }

    /// Asks for those of `names` that are due, without waiting.
    pub(crate) fn ask<'n>(
        self: &Arc<Self>,
        names: impl IntoIterator<Item = &'n Name>,
        dns: &Arc<DnsConfig>,
        now: Instant,
    ) {
        let mut known = self.known.lock();
        for name in names {
            if !known.names.contains_key(name) {
                known.names.insert(name.clone(), Schedule::new(now));
            }
            if known.names.get_mut(name).is_some_and(|schedule| schedule.begins(now)) {
                let (directory, name, dns) = (Arc::clone(self), name.clone(), Arc::clone(dns));
                tokio::spawn(async move {
                    let found = look_up(&name, &dns).await;
                    directory.take(&name, found, &dns);
                });
            }
        }
    }

    /// Asks for those of `names` that nobody asked for yet, and waits until each has an answer or none.
    pub(crate) async fn settle(self: &Arc<Self>, names: &[Name], dns: &Arc<DnsConfig>) {
        let mut news = self.news.subscribe();
        self.ask(names, dns, Instant::now());
        let are_settled = |_: &u64| {
            let known = self.known.lock();
            names.iter().all(|name| known.names.get(name).is_some_and(Schedule::is_settled))
        };
        // Each question has this limit of its own; none is waited for longer.
        let _ = timeout(dns.timeout, news.wait_for(are_settled)).await;
    }

    /// Forgets every name but these.
    pub(crate) fn keep<'n>(&self, names: impl IntoIterator<Item = &'n Name>) {
        let wanted: HashSet<&Name> = names.into_iter().collect();
        self.known.lock().names.retain(|name, _| wanted.contains(name));
    }

    fn take(&self, name: &Name, found: Result<Found, String>, dns: &DnsConfig) {
        let now = Instant::now();
        let mut known = self.known.lock();
        let chance = (known.chance.next_u64() >> 11) as f64 / (1u64 << 53) as f64;
        // Forgotten meanwhile.
        let Some(schedule) = known.names.get_mut(name) else { return };
        let was_settled = schedule.is_settled();
        let is_news = match found {
            Ok(found) => {
                self.answered.fetch_add(1, Relaxed);
                let (members, ttl_s) = (found.members.len(), found.ttl.as_secs());
                let differs = schedule.answered(found, now, chance, dns);
                if differs {
                    tracing::info!(%name, members, ttl_s, "the name has new members");
                }
                differs
            }
            Err(error) => {
                self.failed.fetch_add(1, Relaxed);
                if schedule.failed(now, chance, dns) {
                    let kept = schedule.members().len();
                    tracing::warn!(%name, error, kept, "the name has no answer; its members stay");
                }
                false
            }
        };
        drop(known);
        if is_news || !was_settled {
            self.news.send_modify(|count| *count += 1);
        }
    }
}
