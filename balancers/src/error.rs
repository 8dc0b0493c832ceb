//! What can go wrong: a pick that finds nobody, an edit that is refused.

use alloc::sync::Arc;
use core::fmt;

use crate::members::{ID_LEN_MAX, MEMBERS_MAX, WEIGHT_MAX};

/// Why nobody could be picked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PickError {
    /// The pool has no members.
    Empty,
    /// Every member is down or draining.
    AllDown,
    /// Every member that is up was named in [`Query::avoiding`](crate::Query::avoiding).
    AllAvoided,
    /// Every member that is up and not avoided is at its ceiling (bounded load only).
    Saturated,
}

impl fmt::Display for PickError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Empty => "the pool has no members",
            Self::AllDown => "every member is down or draining",
            Self::AllAvoided => "every member that is up has been tried",
            Self::Saturated => "every member that is up is at its ceiling",
        })
    }
}

impl core::error::Error for PickError {}

/// Why a set of members was refused. The set stays as it was.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EditError {
    /// The id is in the set already, or twice in a list.
    Duplicate {
        /// The id.
        id: Arc<str>,
    },
    /// No member has this id.
    Unknown {
        /// The id.
        id: Arc<str>,
    },
    /// The weight is 0 or above [`WEIGHT_MAX`].
    Weight {
        /// The member's id.
        id: Arc<str>,
        /// The weight found.
        found: u32,
    },
    /// The id is empty or longer than [`ID_LEN_MAX`] bytes.
    IdLen {
        /// The length found, in bytes.
        found: usize,
    },
    /// More than [`MEMBERS_MAX`] members.
    TooMany {
        /// How many there would be.
        found: usize,
    },
    /// The set would be empty and the edit asked for that to be refused.
    Empty,
    /// The weights ask for more points on the ring, or slots in a table, than allowed.
    TooManyPoints {
        /// How many there would be.
        found: u64,
        /// The most allowed.
        max: u64,
    },
    /// An option has a value that the algorithm cannot work with.
    Option {
        /// The option.
        name: &'static str,
        /// The value found.
        found: u64,
        /// What is allowed.
        allowed: &'static str,
    },
}

impl fmt::Display for EditError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Duplicate { id } => write!(f, "member {id:?} is there twice"),
            Self::Unknown { id } => write!(f, "no member has the id {id:?}"),
            Self::Weight { id, found } => {
                write!(f, "weight {found} for member {id:?} (must be 1 to {WEIGHT_MAX})")
            }
            Self::IdLen { found } => write!(f, "an id of {found} bytes (must be 1 to {ID_LEN_MAX})"),
            Self::TooMany { found } => write!(f, "{found} members (at most {MEMBERS_MAX})"),
            Self::Empty => f.write_str("the set would have no members"),
            Self::TooManyPoints { found, max } => {
                write!(
                    f,
                    "the weights ask for {found} points (at most {max}); divide all weights by the same number"
                )
            }
            Self::Option { name, found, allowed } => {
                write!(f, "option {name} is {found} (must be {allowed})")
            }
        }
    }
}

impl core::error::Error for EditError {}
