//! Room where entries differ in weight: several may have to leave for one, and the newcomer takes the last one's slot.
//!
//! What an entry weighs is reserved before it is visible and given back after it has left ([`Room`]); what leaves is
//! worth credit at once, so that nobody else gets the room that was made here.

use super::{Entry, Newcomer, Shard};
use crate::budget::Room;
use crate::departed::{Cause, Departed};
use crate::index::MAX_SLOTS;
use crate::links::NIL;
use crate::policy::Replacement;

impl<K, V> Shard<K, V> {
    /// As `insert`, for who knows the slot of the entry with this key, or that there is none (`NIL`).
    #[inline]
    pub(crate) fn insert_at(
        &mut self,
        mut keep: u32,
        newcomer: &mut Option<Newcomer<K, V>>,
        room: &mut Room<'_>,
        departed: &mut Departed<'_, K, V>,
    ) -> Result<(), u64> {
        let Some(lent) = newcomer else { return Ok(()) };
        let weight = lent.weight;
        let has = if keep == NIL { 0 } else { self.weight_of(keep) };
        let hole = self.make_room(weight.saturating_sub(has), &mut keep, room, departed)?;
        let Some(newcomer) = newcomer.take() else { return Ok(()) };
        if keep == NIL {
            self.fill(hole, newcomer, room.now, departed);
        } else {
            self.close(hole, &mut keep, departed);
            room.budget.release(has.saturating_sub(weight));
            self.overwrite(keep, newcomer, room.now, departed);
        }
        Ok(())
    }

    /// Sends away entries until `wanted` weight is free or only `floor` is left; returns the weight freed.
    pub(crate) fn shed(&mut self, wanted: u64, floor: u64, departed: &mut Departed<'_, K, V>) -> u64 {
        let mut freed = 0;
        while freed < wanted && self.weight > floor {
            let Some(hole) = self.evict(NIL) else { break };
            freed += hole.weight;
            self.close(Some(hole), &mut { NIL }, departed);
        }
        freed
    }

    /// Sends away one entry, of any weight; returns the weight freed.
    pub(crate) fn shed_one(&mut self, departed: &mut Departed<'_, K, V>) -> u64 {
        let Some(hole) = self.evict(NIL) else { return 0 };
        self.close(Some(hole), &mut { NIL }, departed);
        hole.weight
    }

    /// Makes sure of `need` reserved weight and spends it; the last victim's slot is left open for the newcomer.
    fn make_room(
        &mut self,
        need: u64,
        keep: &mut u32,
        room: &mut Room<'_>,
        departed: &mut Departed<'_, K, V>,
    ) -> Result<Option<Hole>, u64> {
        let mut hole: Option<Hole> = None;
        loop {
            let missing = need.saturating_sub(room.credit);
            let slots_left = *keep != NIL || hole.is_some() || self.facts.len() < MAX_SLOTS;
            if slots_left && (missing == 0 || room.budget.reserve(missing)) {
                room.budget.release(room.credit.saturating_sub(need));
                room.credit = 0;
                return Ok(hole);
            }
            self.close(hole.take(), keep, departed);
            hole = if room.own || !slots_left { self.evict(*keep) } else { None };
            match &hole {
                Some(hole) => room.credit += hole.weight,
                None => return Err(missing),
            }
        }
    }

    fn evict(&mut self, keep: u32) -> Option<Hole> {
        let victim = self.policy.victim(keep, &mut self.facts)?;
        let cause = if victim.rejected { Cause::Rejected } else { Cause::Size };
        let weight = self.vacate(victim.slot, cause);
        Some(Hole { slot: victim.slot, cause, weight })
    }

    fn close(&mut self, hole: Option<Hole>, keep: &mut u32, departed: &mut Departed<'_, K, V>) {
        if let Some(Hole { slot, cause, .. }) = hole {
            if *keep as usize + 1 == self.facts.len() {
                *keep = slot;
            }
            let Entry { key, value } = self.close_slot(slot);
            departed.push(key, value, cause);
        }
    }
}

/// A vacated slot still holding its old entry, and why that one left.
#[derive(Clone, Copy)]
pub(super) struct Hole {
    pub(super) slot: u32,
    pub(super) cause: Cause,
    weight: u64,
}
