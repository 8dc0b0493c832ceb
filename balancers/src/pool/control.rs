//! What only whoever changes a pool looks at: members that left and are still at work, and places in the trees.

use alloc::sync::Arc;
use alloc::vec::Vec;

use super::snapshot::Seat;
use crate::live::{Leaf, Live};
use crate::members::{Member, Members};
use crate::tournament::Tournament;

/// Behind the pool's lock.
#[derive(Debug, Default)]
pub(super) struct Control {
    /// Members that left, until nobody holds them: if they come back, they come back with their load.
    pub(super) retired: Vec<(Arc<str>, Arc<Live>)>,
    free: Vec<Leaf>,
    leaves: usize,
}

impl Control {
    /// Forgets those that left whom nobody holds any more: no lease, no reader, no pick under way.
    pub(super) fn forget_idle(&mut self) {
        let free = &mut self.free;
        self.retired.retain(|(_, live)| {
            let is_held = Arc::strong_count(live) > 1;
            free.extend(live.leaf().filter(|_| !is_held).cloned());
            is_held
        });
    }

    /// A place for one more load; `size` is how many members there are to be.
    pub(super) fn leaf(&mut self, size: usize) -> Leaf {
        if self.free.is_empty() {
            // As many again, so that there are few trees, and enough for all that may join now.
            let tree = Arc::new(Tournament::new(size.max(self.leaves)));
            self.leaves += tree.leaves();
            self.free.extend((0..tree.leaves() as u32).rev().map(|at| Leaf { tree: tree.clone(), at }));
        }
        self.free.pop().expect("a tree was added if there was no leaf left")
    }

    /// After a success: who left is kept in mind, who came back no longer.
    pub(super) fn see_off<T>(&mut self, removed: &[Arc<str>], before: &[Arc<Seat<T>>], now: &Members) {
        self.retired.retain(|(id, _)| now.index_of(id).is_none());
        for seat in before.iter().filter(|seat| removed.binary_search(&seat.id).is_ok()) {
            seat.live.leave();
            self.retired.push((seat.id.clone(), seat.live.clone()));
        }
    }

    /// After a refusal: members that did not join after all give their places back, who came back is gone again.
    pub(super) fn give_up(&mut self, refused: &Members, kept: &Members) {
        let newcomers =
            refused.iter().filter(|member| kept.index_of(member.id()).is_none()).map(Member::live);
        for live in newcomers {
            live.leave();
            let came_back = self.retired.iter().any(|(_, retired)| retired.number() == live.number());
            self.free.extend(live.leaf().filter(|_| !came_back).cloned());
        }
    }
}
