//! Members that share the work of one name, and how they outlive a reload.

use std::{collections::BTreeMap, net::IpAddr, num::NonZeroUsize, sync::Arc, time::Duration};

use balancers::{Algorithm, Edit, EditError, KeyUse, Pool, Query, Values};
use parking_lot::Mutex;
use tokio::time::Instant;

use super::{backend::Backend, discover::Directory, queue::Queue, retry::Budget};
use crate::{
    config::{HealthConfig, Member, Name, QueueConfig, RetryConfig, Timeouts},
    observe::MemberFacts,
    tls::MemberTls,
};

/// Members that share the work of one name.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) pool: Pool<Backend>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) queue: Arc<Queue>,
    pub(crate) budget: Arc<Budget>,
    /// What seconds are counted from.
    pub(crate) epoch: Instant,
    names: Vec<Name>,
    directory: Arc<Directory>,
    /// The members that are in the pool because a name has them, with their weights.
    found: Mutex<BTreeMap<String, u32>>,
}

/// Where the members of a group come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roster<'c> {
    /// Those that the configuration names one by one.
    pub(crate) members: &'c [Member],
    /// Those that have one name together.
    pub(crate) names: &'c [Name],
    pub(crate) directory: &'c Arc<Directory>,
}

/// How a group and its members are to be treated.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) balance: Algorithm,
    pub(crate) timeouts: Timeouts,
    /// For `https://` members.
    pub(crate) tls: Option<MemberTls>,
    pub(crate) health: HealthConfig,
    pub(crate) retry: RetryConfig,
    pub(crate) queue: QueueConfig,
    /// Threads that serve: each keeps idle connections of its own.
    pub(crate) workers: NonZeroUsize,
}

impl Group {
    /// A group of the members of `roster`. Those that `previous` has too keep their connections and what is thought of them; if the
    /// algorithm is the same, they keep their load as well. Nothing changes in `previous` if this fails.
    pub(crate) fn build(
        settings: Settings,
        roster: Roster<'_>,
        previous: Option<&Group>,
    ) -> Result<Group, EditError> {
        let settings = Arc::new(settings);
        let queue = previous.map_or_else(Arc::default, |group| Arc::clone(&group.queue));
        let backend = |member: &Member| {
            let id = member.address.to_string();
            let renew = |kept: &Backend| kept.renewed(Arc::clone(&settings));
            let kept = previous.and_then(|group| group.pool.with_value(&id, renew));
            let new = || Backend::new(member.address.clone(), Arc::clone(&settings), Arc::clone(&queue));
            (id, member.weight, kept.unwrap_or_else(new))
        };
        let mut found = roster.found();
        found.retain(|_, found| roster.members.iter().all(|member| member.address != found.address));
        let members = roster.members.iter().chain(found.values()).map(backend);
        let all = |edit: &mut Edit<Backend>| edit.replace_all(members, Values::Replace);
        let pool = match previous.filter(|group| group.settings.picks_as(&settings)) {
            Some(group) => group.pool.clone(),
            None => Pool::builder().slow_start(settings.health.slow_start).build(settings.balance)?,
        };
        pool.update(all)?;
        Ok(Group {
            pool,
            queue,
            budget: previous.map_or_else(Arc::default, |group| Arc::clone(&group.budget)),
            epoch: previous.map_or_else(Instant::now, |group| group.epoch),
            settings,
            names: roster.names.to_vec(),
            directory: Arc::clone(roster.directory),
            found: Mutex::new(found.into_iter().map(|(id, member)| (id, member.weight)).collect()),
        })
    }

    /// What some of its members are found by.
    pub(crate) fn names(&self) -> &[Name] {
        &self.names
    }

    /// Brings the members that were found by name up to date. Those that stay keep their load, health and connections;
    /// those that came another way are not touched.
    pub(crate) fn follow_names(&self) {
        if self.names.is_empty() {
            return;
        }
        let wanted = Roster { members: &[], names: &self.names, directory: &self.directory }.found();
        let mut found = self.found.lock();
        let mut next = BTreeMap::new();
        let updated = self.pool.update(|edit| {
            // Unknown is who was removed by hand: gone is gone.
            for gone in found.keys().filter(|id| !wanted.contains_key(*id)) {
                let _ = edit.remove(gone);
            }
            for (id, member) in &wanted {
                match found.get(id) {
                    Some(weight) if *weight == member.weight => {}
                    Some(_) => drop(edit.set_weight(id, member.weight)),
                    None if edit.contains(id) => continue,
                    None => edit.add(&**id, member.weight, self.backend(member))?,
                }
                next.insert(id.clone(), member.weight);
            }
            Ok(())
        });
        match updated {
            Ok(_) => *found = next,
            Err(error) => tracing::warn!(%error, "the members that were found cannot be used"),
        }
    }

    fn backend(&self, member: &Member) -> Backend {
        Backend::new(member.address.clone(), Arc::clone(&self.settings), Arc::clone(&self.queue))
    }

    /// Its members as they stand.
    pub(crate) fn facts(&self) -> Vec<MemberFacts> {
        let members = self.pool.members().into_iter().filter_map(|status| {
            let counters = self.pool.with_value(&status.id, |backend| Arc::clone(backend.counters()))?;
            Some(MemberFacts {
                id: status.id,
                weight: status.weight,
                is_up: status.is_up,
                is_draining: status.is_draining,
                in_flight: status.in_flight,
                picks: status.picks,
                counters,
                pace: None,
            })
        });
        members.collect()
    }

    /// Adds a member at run time.
    pub(crate) fn add(&self, member: &Member) -> Result<(), EditError> {
        let backend = self.backend(member);
        self.pool.update(|edit| edit.add(member.address.to_string(), member.weight, backend)).map(drop)
    }

    /// Whole seconds since the group began, from ten.
    pub(crate) fn second(&self, now: Instant) -> u32 {
        (now.duration_since(self.epoch).as_secs() as u32).wrapping_add(super::window::SECONDS)
    }

    /// What the balancer is asked for a request of `client`.
    pub(crate) fn query(&self, client: IpAddr) -> Query<'static> {
        match self.settings.balance.key_use() {
            KeyUse::Ignored => Query::new(),
            KeyUse::Any | KeyUse::ClientAddress => Query::for_ip(client),
        }
    }

    /// Closes connections to members that waited longer than the idle timeout.
    pub(crate) fn close_idle(&self) {
        self.close_older_than(self.settings.timeouts.idle);
    }

    /// Closes every connection to a member that nobody uses, and says how many those were: somebody needs their file
    /// descriptors.
    pub(crate) fn close_all_idle(&self) -> usize {
        self.close_older_than(Duration::ZERO)
    }

    fn close_older_than(&self, age: Duration) -> usize {
        let close = |backend: &Backend| backend.close_idle(age);
        // A member that has just left closes its connections by being dropped.
        self.pool.members().iter().filter_map(|member| self.pool.with_value(&member.id, close)).sum()
    }
}

impl Roster<'_> {
    /// The members that the names have, as last heard.
    fn found(&self) -> BTreeMap<String, Member> {
        let members = self.names.iter().flat_map(|name| self.directory.members(name));
        members.map(|member| (member.address.to_string(), member)).collect()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Settings {
            balance: Algorithm::P2c,
            timeouts: Timeouts::default(),
            tls: None,
            health: HealthConfig::default(),
            retry: RetryConfig::default(),
            queue: QueueConfig::default(),
            workers: NonZeroUsize::MIN,
        }
    }
}

impl Settings {
    /// One pool can serve both.
    fn picks_as(&self, other: &Settings) -> bool {
        self.balance == other.balance && self.health.slow_start == other.health.slow_start
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn group(algorithm: Algorithm, members: &[&str], previous: Option<&Group>) -> Result<Group, EditError> {
        let members: Vec<Member> = members.iter().map(|member| member.parse().unwrap()).collect();
        let settings = Settings { balance: algorithm, ..Settings::default() };
        Group::build(settings, roster(&members, &Arc::new(Directory::new(1))), previous)
    }

    fn roster<'c>(members: &'c [Member], directory: &'c Arc<Directory>) -> Roster<'c> {
        Roster { members, names: &[], directory }
    }

    #[test]
    fn members_that_stay_keep_their_load_and_health() {
        let before = group(Algorithm::LeastLoad, &["a:1", "b:1"], None).unwrap();
        before.pool.set_up("b:1", false).unwrap();
        let lease = before.pool.pick(&Query::new()).unwrap();
        let after = group(Algorithm::LeastLoad, &["a:1^3", "b:1", "c:1"], Some(&before)).unwrap();
        let status = after.pool.members();
        assert_eq!((&*status[0].id, status[0].in_flight, status[0].weight), ("a:1", 1, 3));
        assert!(!status[1].is_up);
        drop(lease);
        assert_eq!(after.pool.members()[0].in_flight, 0);
    }

    #[test]
    fn what_cannot_be_built_changes_nothing() {
        let before = group(Algorithm::P2c, &["a:1"], None).unwrap();
        let member = Member { weight: 0, .."b:1".parse().unwrap() };
        assert!(
            Group::build(Settings::default(), roster(&[member], &before.directory), Some(&before)).is_err()
        );
        assert_eq!(before.pool.members().len(), 1);
        assert_eq!(&*before.pool.members()[0].id, "a:1");
    }
}
