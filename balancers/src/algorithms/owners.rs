//! Which index each member of an old set has in a new one: most changes are one member's, which moves all behind it by one.

use alloc::vec::Vec;

use crate::members::Members;

/// An index in the new set for each in the old one.
#[derive(Debug)]
pub(super) enum Owners {
    /// Everybody from `first` on stands one further: one member joined there.
    Up { first: u16 },
    /// Everybody after `gone` stands one before: that one left.
    Down { gone: u16 },
    /// Nobody came or left.
    Same,
    /// Anything else; `GONE` for who left.
    Any(Vec<u32>),
}

impl Owners {
    pub(super) fn between(old: &Members, new: &Members) -> Self {
        let positions = old.positions_in(new).into_iter();
        let map: Vec<u32> = positions.map(|position| position.map_or(GONE, |index| index as u32)).collect();
        let first_off = map.iter().enumerate().position(|(index, &now)| now != index as u32);
        let left = map.iter().filter(|&&now| now == GONE).count();
        // Where nobody stands elsewhere, one may have joined behind all: then no old owner is `first`.
        let first = u16::try_from(first_off.unwrap_or(map.len())).ok();
        match (first, left) {
            (_, 0) if old.len() == new.len() => Self::Same,
            (Some(first), 0) if new.len() == old.len() + 1 => Self::Up { first },
            (Some(gone), 1) if new.len() + 1 == old.len() => Self::Down { gone },
            _ => Self::Any(map),
        }
    }

    /// The old owner's new index; `None` if it left.
    #[inline]
    pub(super) fn renamed(&self, owner: u16) -> Option<u16> {
        match self {
            Self::Up { first } => Some(owner + u16::from(owner >= *first)),
            Self::Down { gone } => (owner != *gone).then(|| owner - u16::from(owner > *gone)),
            Self::Same => Some(owner),
            Self::Any(map) => map.get(usize::from(owner)).filter(|&&now| now != GONE).map(|&now| now as u16),
        }
    }

    /// Gives all of these their new index; nobody among them left.
    #[inline]
    pub(super) fn rename(&self, owners: &mut [u16]) {
        // One loop for each case, each without a branch inside.
        match self {
            Self::Up { first } => owners.iter_mut().for_each(|o| *o += u16::from(*o >= *first)),
            Self::Down { gone } => owners.iter_mut().for_each(|o| *o -= u16::from(*o > *gone)),
            Self::Same => {}
            Self::Any(map) => owners.iter_mut().for_each(|o| *o = map[usize::from(*o)] as u16),
        }
    }
}

const GONE: u32 = u32::MAX;
