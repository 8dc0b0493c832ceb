//! Members that share the work of one name, and how they outlive a reload.

use std::{net::IpAddr, sync::Arc};

use balancers::{Algorithm, Edit, EditError, Pool, Query, Values};
use tokio::time::Instant;

use super::{backend::Backend, queue::Queue, retry::Budget};
use crate::{
    config::{HealthConfig, Member, QueueConfig, RetryConfig, Timeouts},
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
}

impl Group {
    /// A group of `members`. Those that `previous` has too keep their connections and what is thought of them; if the
    /// algorithm is the same, they keep their load as well. Nothing changes in `previous` if this fails.
    pub(crate) fn build(
        settings: Settings,
        members: &[Member],
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
        let all = |edit: &mut Edit<Backend>| edit.replace_all(members.iter().map(backend), Values::Replace);
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
        })
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
        let (settings, queue) = (Arc::clone(&self.settings), Arc::clone(&self.queue));
        let backend = Backend::new(member.address.clone(), settings, queue);
        self.pool.update(|edit| edit.add(member.address.to_string(), member.weight, backend)).map(drop)
    }

    /// Whole seconds since the group began, from ten.
    pub(crate) fn second(&self, now: Instant) -> u32 {
        (now.duration_since(self.epoch).as_secs() as u32).wrapping_add(super::window::SECONDS)
    }

    /// What the balancer is asked for a request of `client`.
    pub(crate) fn query(&self, client: IpAddr) -> Query<'static> {
        match self.settings.balance {
            Algorithm::Ring | Algorithm::BoundedRing => Query::for_ip(client),
            _ => Query::new(),
        }
    }

    /// Closes connections to members that waited longer than the idle timeout.
    pub(crate) fn close_idle(&self) {
        for member in self.pool.members() {
            // A member that has just left closes its connections by being dropped.
            let _ = self.pool.with_value(&member.id, Backend::close_idle);
        }
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
        Group::build(Settings { balance: algorithm, ..Settings::default() }, &members, previous)
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
        assert!(Group::build(Settings::default(), &[member], Some(&before)).is_err());
        assert_eq!(before.pool.members().len(), 1);
        assert_eq!(&*before.pool.members()[0].id, "a:1");
    }
}
