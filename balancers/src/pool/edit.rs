//! One transaction on a pool: a draft that is changed freely and takes effect as a whole, or not at all.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use super::snapshot::{Seat, Snapshot};
use crate::balancer::Balancer;
use crate::error::EditError;
use crate::live::Live;
use crate::members::{MEMBERS_MAX, Member, Members};
use crate::query::Query;

/// A draft of the pool's members, inside [`Pool::update`](crate::Pool::update). Nothing takes effect until it ends well.
#[derive(Debug)]
pub struct Edit<T> {
    /// In the order of ids.
    draft: Vec<Draft<T>>,
    refuse_empty: bool,
}

#[derive(Debug)]
pub(super) struct Draft<T> {
    pub(super) id: Arc<str>,
    pub(super) weight: u32,
    pub(super) is_draining: bool,
    pub(super) place: Place<T>,
}

#[derive(Debug)]
pub(super) enum Place<T> {
    /// A member that stays, with its value.
    Kept(Arc<Seat<T>>),
    /// A member that stays, with a new value.
    Renewed(Arc<Seat<T>>, T),
    /// A member that joins.
    New(T),
}

impl<T> Draft<T> {
    pub(super) fn into_seat(self, live: Arc<Live>) -> Arc<Seat<T>> {
        match self.place {
            Place::Kept(seat) => seat,
            Place::Renewed(_, value) | Place::New(value) => Arc::new(Seat { id: self.id, live, value }),
        }
    }
}

/// What happens to the value of a member that is in the pool already and in the new list too.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Values {
    /// It stays as it is: connections and caches in it live on.
    Keep,
    /// It is replaced by the list's. Leases under way keep the old one.
    Replace,
}

impl<T> Edit<T> {
    pub(super) fn of(snapshot: &Snapshot<T>) -> Self {
        let members = snapshot.balancer.members().iter().zip(snapshot.seats.iter());
        let draft = members.map(|(member, seat)| Draft {
            id: seat.id.clone(),
            weight: member.weight(),
            is_draining: seat.live.is_draining(),
            place: Place::Kept(seat.clone()),
        });
        Self { draft: draft.collect(), refuse_empty: false }
    }

    /// Adds a member. A member that was removed and still has requests in flight comes back with its load.
    ///
    /// # Errors
    /// If the id is there already. (Weights and ids are checked when the transaction ends.)
    pub fn add(&mut self, id: impl Into<Arc<str>>, weight: u32, value: T) -> Result<(), EditError> {
        let id = id.into();
        match self.find(&id) {
            Ok(_) => Err(EditError::Duplicate { id }),
            Err(at) => {
                self.draft.insert(at, Draft { id, weight, is_draining: false, place: Place::New(value) });
                Ok(())
            }
        }
    }

    /// Removes a member: no new picks. Its requests in flight finish.
    ///
    /// # Errors
    /// If there is none with this id.
    pub fn remove(&mut self, id: &str) -> Result<(), EditError> {
        let at = self.position(id)?;
        self.draft.remove(at);
        Ok(())
    }

    /// Gives a member another weight.
    ///
    /// # Errors
    /// If there is none with this id.
    pub fn set_weight(&mut self, id: &str, weight: u32) -> Result<(), EditError> {
        let at = self.position(id)?;
        self.draft[at].weight = weight;
        Ok(())
    }

    /// Sends a member no new picks. Its requests in flight finish; [`Pool::drained`](crate::Pool::drained) tells when.
    ///
    /// # Errors
    /// If there is none with this id.
    pub fn drain(&mut self, id: &str) -> Result<(), EditError> {
        let at = self.position(id)?;
        self.draft[at].is_draining = true;
        Ok(())
    }

    /// Takes a [`Self::drain`] back.
    ///
    /// # Errors
    /// If there is none with this id.
    pub fn undrain(&mut self, id: &str) -> Result<(), EditError> {
        let at = self.position(id)?;
        self.draft[at].is_draining = false;
        Ok(())
    }

    /// Makes the pool be this list of (id, weight, value). Members that stay keep their load, health and draining.
    ///
    /// # Errors
    /// If an id is in the list twice; the draft is then as it was.
    pub fn replace_all<I: Into<Arc<str>>>(
        &mut self,
        list: impl IntoIterator<Item = (I, u32, T)>,
        values: Values,
    ) -> Result<(), EditError> {
        let mut list: Vec<(Arc<str>, u32, T)> =
            list.into_iter().map(|(id, w, value)| (id.into(), w, value)).collect();
        list.sort_by(|a, b| a.0.cmp(&b.0));
        if let Some(twice) = list.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            return Err(EditError::Duplicate { id: twice[0].0.clone() });
        }
        let mut old = core::mem::take(&mut self.draft).into_iter().peekable();
        for (id, weight, value) in list {
            while old.next_if(|draft| draft.id < id).is_some() {}
            let stays = old.next_if(|draft| draft.id == id);
            let is_draining = stays.as_ref().is_some_and(|draft| draft.is_draining);
            let place = match stays.map(|draft| draft.place) {
                None => Place::New(value),
                Some(place) if values == Values::Keep => place,
                Some(Place::Kept(seat) | Place::Renewed(seat, _)) => Place::Renewed(seat, value),
                Some(Place::New(_)) => Place::New(value),
            };
            self.draft.push(Draft { id, weight, is_draining, place });
        }
        Ok(())
    }

    /// Has the transaction refused if it leaves no members: for lists that come from outside and may be empty by
    /// mistake.
    pub fn refuse_empty(&mut self) {
        self.refuse_empty = true;
    }

    /// The ids in the draft, ordered.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.draft.iter().map(|draft| draft.id.as_ref())
    }

    /// Whether the draft has a member with this id.
    #[must_use]
    pub fn contains(&self, id: &str) -> bool {
        self.find(id).is_ok()
    }

    pub(super) fn finish(self) -> Result<Vec<Draft<T>>, EditError> {
        if self.refuse_empty && self.draft.is_empty() {
            return Err(EditError::Empty);
        }
        if self.draft.len() > MEMBERS_MAX {
            return Err(EditError::TooMany { found: self.draft.len() });
        }
        self.draft.iter().try_for_each(|draft| Member::check(&draft.id, draft.weight))?;
        Ok(self.draft)
    }

    fn find(&self, id: &str) -> Result<usize, usize> {
        self.draft.binary_search_by(|draft| draft.id.as_ref().cmp(id))
    }

    fn position(&self, id: &str) -> Result<usize, EditError> {
        self.find(id).map_err(|_| EditError::Unknown { id: id.into() })
    }
}

/// What an update changed.
#[derive(Clone)]
#[non_exhaustive]
pub struct Change {
    /// Members that joined.
    pub added: Vec<Arc<str>>,
    /// Members that left.
    pub removed: Vec<Arc<str>>,
    /// Members that stayed with another weight.
    pub reweighted: Vec<Arc<str>>,
    /// Members that began to drain.
    pub drained: Vec<Arc<str>>,
    /// Members that take picks again.
    pub undrained: Vec<Arc<str>>,
    before: Arc<dyn Balancer>,
    after: Arc<dyn Balancer>,
}

// By hand: the sets before and after are tables of thousands of entries.
impl fmt::Debug for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Change")
            .field("added", &self.added)
            .field("removed", &self.removed)
            .field("reweighted", &self.reweighted)
            .field("drained", &self.drained)
            .field("undrained", &self.undrained)
            .finish_non_exhaustive()
    }
}

impl Change {
    pub(super) fn between(before: &Arc<dyn Balancer>, after: &Arc<dyn Balancer>) -> Self {
        let (old, new) = (before.members(), after.members());
        let missing = |from: &Members, positions: &[Option<usize>]| -> Vec<Arc<str>> {
            let each = from.iter().zip(positions);
            each.filter(|(_, position)| position.is_none()).map(|(member, _)| member.id_arc()).collect()
        };
        let (were, are) = (new.positions_in(old), old.positions_in(new));
        let is_other = |(member, was): &(&Member, &Option<usize>)| {
            was.is_some_and(|index| old.at(index).weight() != member.weight())
        };
        Self {
            added: missing(new, &were),
            removed: missing(old, &are),
            reweighted: new.iter().zip(&were).filter(is_other).map(|(member, _)| member.id_arc()).collect(),
            drained: Vec::new(),
            undrained: Vec::new(),
            before: before.clone(),
            after: after.clone(),
        }
    }

    pub(super) fn note_draining(&mut self, members: &Members, before: &[bool], after: &[bool]) {
        for (member, (before, after)) in members.iter().zip(before.iter().zip(after)) {
            match (before, after) {
                (false, true) => self.drained.push(member.id_arc()),
                (true, false) => self.undrained.push(member.id_arc()),
                _ => {}
            }
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        [&self.added, &self.removed, &self.reweighted, &self.drained, &self.undrained]
            .iter()
            .all(|v| v.is_empty())
    }

    /// The share of all keys that belong to another member now, from 0 to 1; 0 for algorithms that do not place by
    /// key. Found by asking for 4,096 keys spread over the circle, so exact within about 1.6 %; computed when asked.
    ///
    /// ```
    /// use balancers::{Algorithm, Pool};
    ///
    /// let pool = Pool::new(Algorithm::Ring);
    /// pool.update(|edit| (0..10).try_for_each(|n| edit.add(format!("cache-{n}"), 1, ())))?;
    /// let change = pool.update(|edit| edit.remove("cache-3"))?;
    /// assert_eq!(change.removed, ["cache-3".into()]);
    /// assert!((0.05..0.15).contains(&change.keys_moved())); // its own tenth
    /// # Ok::<(), balancers::EditError>(())
    /// ```
    #[must_use]
    pub fn keys_moved(&self) -> f64 {
        let home = |balancer: &Arc<dyn Balancer>, key: u64| -> Option<Arc<str>> {
            let index = balancer.home(&Query::keyed(key))?;
            balancer.members().get(index).map(Member::id_arc)
        };
        let moved = (0..SAMPLES).filter(|&key| home(&self.before, key) != home(&self.after, key)).count();
        moved as f64 / SAMPLES as f64
    }
}

const SAMPLES: u64 = 4096;
