//! An order laid out in full, given out turn by turn for ever.
//!
//! A pick takes a ticket, one addition on a line that all threads write, and has the turn `ticket mod turns`. The remainder
//! is found without a division, which took a third of the pick:
//!
//! ```text
//!     m = ⌊(2⁶⁴ − 1) / turns⌋        q = ⌊ticket · m / 2⁶⁴⌋ is ⌊ticket / turns⌋ or one less        turn = ticket − q · turns, less turns once if it is as much
//! ```

use alloc::boxed::Box;

use crate::sync::{AtomicU64, Ordering};

/// Turns and the next ticket.
#[derive(Debug)]
pub(crate) struct Rotation {
    turns: Box<[u16]>,
    reciprocal: u64,
    next: Tickets,
}

/// The ticket counter has a line of its own: every pick writes it.
#[derive(Debug)]
#[repr(align(64))]
pub(super) struct Tickets(AtomicU64);

impl Tickets {
    pub(super) fn from(first: u64) -> Self {
        Self(AtomicU64::new(first))
    }

    #[inline(always)]
    pub(super) fn take(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed)
    }

    /// The one that is taken next.
    pub(super) fn next(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Rotation {
    pub(super) fn new(turns: Box<[u16]>, first_turn: u64) -> Self {
        let reciprocal = u64::MAX / (turns.len() as u64).max(1);
        Self { turns, reciprocal, next: Tickets::from(first_turn) }
    }

    /// Takes a turn; `None` if there are none.
    #[inline(always)]
    pub(crate) fn take(&self) -> Option<usize> {
        self.turns.get(self.turn_of(self.next.take())).map(|&index| usize::from(index))
    }

    pub(super) fn tickets(&self) -> &Tickets {
        &self.next
    }

    pub(super) fn turns(&self) -> &[u16] {
        &self.turns
    }

    #[inline(always)]
    fn turn_of(&self, ticket: u64) -> usize {
        let turns = self.turns.len() as u64;
        let rounds = ((u128::from(ticket) * u128::from(self.reciprocal)) >> 64) as u64;
        let turn = ticket.wrapping_sub(rounds.wrapping_mul(turns));
        (if turn >= turns { turn.wrapping_sub(turns) } else { turn }) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::Rotation;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_turn_is_the_ticket_modulo_all_turns(
            turns in 1_usize..=65_536,
            any in any::<u64>(),
            rounds in any::<u64>(),
            beside in 0_u64..3,
        ) {
            let rotation = Rotation::new(vec![0; turns].into(), 0);
            let turns = turns as u64;
            let edge = (rounds / turns * turns).wrapping_add(beside).wrapping_sub(1);
            for ticket in [any, edge, beside, u64::MAX - beside] {
                prop_assert_eq!(rotation.turn_of(ticket) as u64, ticket % turns);
            }
        }
    }

    #[test]
    fn without_turns_nobody_has_one() {
        assert_eq!(Rotation::new(Box::new([]), 7).take(), None);
    }
}
