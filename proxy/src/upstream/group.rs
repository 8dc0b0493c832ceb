//! Members that share the work of one name, and how they outlive a reload.

use std::{net::IpAddr, sync::Arc, time::Duration};

use balancers::{Algorithm, Edit, EditError, Pool, Query, Values};
use rustls::ClientConfig;

use super::backend::Backend;
use crate::config::{Member, Timeouts};

/// Members that share the work of one name.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) pool: Pool<Backend>,
    pub(crate) algorithm: Algorithm,
    /// For a member to begin its answer, and between two pieces of it.
    pub(crate) response_timeout: Duration,
}

impl Group {
    /// A group of `members`. Those that `previous` has too keep their connections; if the algorithm is the same, they
    /// keep their load and health as well. Nothing changes in `previous` if this fails.
    pub(crate) fn build(
        algorithm: Algorithm,
        members: &[Member],
        timeouts: &Timeouts,
        tls: Option<&Arc<ClientConfig>>,
        previous: Option<&Group>,
    ) -> Result<Group, EditError> {
        let backend = |member: &Member| {
            let id = member.address.to_string();
            let kept =
                previous.and_then(|group| group.pool.with_value(&id, |kept| kept.renewed(timeouts, tls)));
            let backend = kept.unwrap_or_else(|| Backend::new(member.address.clone(), timeouts, tls));
            (id, member.weight, backend)
        };
        let all = |edit: &mut Edit<Backend>| edit.replace_all(members.iter().map(backend), Values::Replace);
        let pool = match previous.filter(|group| group.algorithm == algorithm) {
            Some(group) => group.pool.clone(),
            None => Pool::new(algorithm),
        };
        pool.update(all)?;
        Ok(Group { pool, algorithm, response_timeout: timeouts.response })
    }

    /// What the balancer is asked for a request of `client`.
    pub(crate) fn query(&self, client: IpAddr) -> Query<'static> {
        match self.algorithm {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn group(algorithm: Algorithm, members: &[&str], previous: Option<&Group>) -> Result<Group, EditError> {
        let members: Vec<Member> = members.iter().map(|member| member.parse().unwrap()).collect();
        Group::build(algorithm, &members, &Timeouts::default(), None, previous)
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
        assert!(Group::build(Algorithm::P2c, &[member], &Timeouts::default(), None, Some(&before)).is_err());
        assert_eq!(before.pool.members().len(), 1);
        assert_eq!(&*before.pool.members()[0].id, "a:1");
    }
}
