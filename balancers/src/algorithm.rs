//! The only list of algorithms. Configuration files, tests, benches and the Python package loop over it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::str::FromStr;

use crate::algorithms::{
    BoundedRing, Cost, Ketama, KetamaScheme, LeastLoad, Maglev, P2c, Random, Rendezvous, Ring, RoundRobin,
};
use crate::balancer::Balancer;
use crate::error::EditError;
use crate::members::Members;

/// Which algorithm, as a user names it.
///
/// ```
/// use balancers::{Algorithm, KeyUse};
///
/// let algorithm: Algorithm = "bounded_ring".parse()?;
/// assert_eq!(algorithm, Algorithm::BoundedRing);
/// assert_eq!(algorithm.key_use(), KeyUse::Any);
/// assert_eq!(
///     "boundedring".parse::<Algorithm>().unwrap_err().to_string(),
///     "unknown algorithm \"boundedring\"; did you mean \"bounded_ring\"?"
/// );
/// # Ok::<(), balancers::UnknownAlgorithm>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Algorithm {
    /// [`Random`]: by lot and weight.
    Random,
    /// [`RoundRobin`]: in turn, smoothly by weight.
    RoundRobin,
    /// [`P2c`]: the less loaded of two drawn by lot.
    P2c,
    /// [`P2c`] by [`Cost::PeakLatency`]: of two drawn by lot, the one that will likely answer first.
    PeakEwma,
    /// [`LeastLoad`]: the least loaded of all.
    LeastLoad,
    /// [`LeastLoad`] by [`Cost::Latency`]: of all, the one that will likely answer first.
    LeastLatency,
    /// [`Ring`]: by key, on a consistent ring.
    Ring,
    /// [`BoundedRing`]: by key, on a ring, never over a ceiling.
    BoundedRing,
    /// [`Ketama`]: by key, on the ring that nginx draws.
    Ketama,
    /// [`Maglev`]: by key, in one look at a table.
    Maglev,
    /// [`Rendezvous`]: by key, the highest bidder.
    Rendezvous,
    /// [`Ring`] again, for callers that key by client address. It is an entry of its own because the choice decides
    /// where the key comes from ([`KeyUse::ClientAddress`]), which is what a user who writes `ip_hash` means.
    IpHash,
}

/// What an algorithm does with the query's key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum KeyUse {
    /// Nothing.
    Ignored,
    /// Requests with equal keys go to the same member; the caller chooses the key.
    Any,
    /// As `Any`, and the key is to be the client's address: [`Query::for_ip`](crate::Query::for_ip).
    ClientAddress,
}

/// What can be tuned. The defaults are what the documentation of each algorithm describes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Options {
    /// Points on the ring for each unit of weight (default 160). More points: evener shares, more memory.
    pub ring_points: u32,
    /// The ceiling of bounded load, in percent of the fair share (default 125; above 100, at most 100,000).
    pub bound_percent: u32,
    /// Where round robin starts: this many turns into its order (default 0). Give each process another number, so
    /// that many that start at once do not all send their first request to the same member.
    pub first_turn: u64,
    /// The slots of a Maglev table: a prime (default 65,537). A hundred a member or more keep the shares even.
    pub maglev_slots: u32,
    /// Whose ketama (default nginx's).
    pub ketama: KetamaScheme,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            ring_points: 160,
            bound_percent: 125,
            first_turn: 0,
            maglev_slots: 65_537,
            ketama: KetamaScheme::default(),
        }
    }
}

impl Options {
    /// Sets [`Self::ring_points`].
    #[must_use]
    pub fn with_ring_points(mut self, points: u32) -> Self {
        self.ring_points = points;
        self
    }

    /// Sets [`Self::bound_percent`].
    #[must_use]
    pub fn with_bound_percent(mut self, percent: u32) -> Self {
        self.bound_percent = percent;
        self
    }

    /// Sets [`Self::first_turn`].
    #[must_use]
    pub fn with_first_turn(mut self, turn: u64) -> Self {
        self.first_turn = turn;
        self
    }

    /// Sets [`Self::maglev_slots`].
    #[must_use]
    pub fn with_maglev_slots(mut self, slots: u32) -> Self {
        self.maglev_slots = slots;
        self
    }

    /// Sets [`Self::ketama`].
    #[must_use]
    pub fn with_ketama(mut self, scheme: KetamaScheme) -> Self {
        self.ketama = scheme;
        self
    }
}

impl Algorithm {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::Random,
        Self::RoundRobin,
        Self::P2c,
        Self::PeakEwma,
        Self::LeastLoad,
        Self::LeastLatency,
        Self::Ring,
        Self::BoundedRing,
        Self::Ketama,
        Self::Maglev,
        Self::Rendezvous,
        Self::IpHash,
    ];

    /// The name in configuration files, logs and Python.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::RoundRobin => "round_robin",
            Self::P2c => "p2c",
            Self::Ring => "ring",
            Self::BoundedRing => "bounded_ring",
            Self::PeakEwma => "peak_ewma",
            Self::LeastLoad => "least_load",
            Self::LeastLatency => "least_latency",
            Self::Ketama => "ketama",
            Self::Maglev => "maglev",
            Self::Rendezvous => "rendezvous",
            Self::IpHash => "ip_hash",
        }
    }

    /// What it does with the query's key.
    #[must_use]
    pub const fn key_use(self) -> KeyUse {
        match self {
            Self::Random | Self::RoundRobin => KeyUse::Ignored,
            Self::P2c | Self::PeakEwma | Self::LeastLoad | Self::LeastLatency => KeyUse::Ignored,
            Self::Ring | Self::BoundedRing | Self::Ketama | Self::Maglev | Self::Rendezvous => KeyUse::Any,
            Self::IpHash => KeyUse::ClientAddress,
        }
    }

    /// Builds it over a set of members.
    ///
    /// # Errors
    /// If an option is out of its range or the weights ask for too many points.
    pub fn build(self, members: Members, options: &Options) -> Result<Box<dyn Balancer>, EditError> {
        Ok(match self {
            Self::Random => Box::new(Random::new(members)),
            Self::RoundRobin => Box::new(RoundRobin::new(members, options.first_turn)),
            Self::P2c => Box::new(P2c::new(members, Cost::InFlight)),
            Self::PeakEwma => Box::new(P2c::new(members, Cost::PeakLatency)),
            Self::LeastLoad => Box::new(LeastLoad::new(members, Cost::InFlight)),
            Self::LeastLatency => Box::new(LeastLoad::new(members, Cost::Latency)),
            Self::Ketama => Box::new(Ketama::new(members, options.ketama)?),
            Self::Maglev => Box::new(Maglev::new(members, options.maglev_slots)?),
            Self::Rendezvous => Box::new(Rendezvous::new(members)),
            Self::Ring | Self::IpHash => Box::new(Ring::new(members, options.ring_points)?),
            Self::BoundedRing => {
                Box::new(BoundedRing::new(members, options.ring_points, options.bound_percent)?)
            }
        })
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(name: &str) -> Result<Self, UnknownAlgorithm> {
        let found = Self::ALL.into_iter().find(|algorithm| algorithm.name() == name);
        found.ok_or_else(|| UnknownAlgorithm { found: name.chars().take(64).collect() })
    }
}

/// No algorithm has this name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlgorithm {
    found: String,
}

impl UnknownAlgorithm {
    /// The nearest name there is, if one is near.
    #[must_use]
    pub fn nearest(&self) -> Option<Algorithm> {
        let plain = |name: &str| -> String {
            name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
        };
        let found = plain(&self.found);
        let distance = |algorithm: &Algorithm| edits(&plain(algorithm.name()), &found);
        Algorithm::ALL.into_iter().min_by_key(distance).filter(|best| distance(best) <= 2)
    }
}

impl fmt::Display for UnknownAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown algorithm {:?}", self.found)?;
        if let Some(nearest) = self.nearest() {
            return write!(f, "; did you mean \"{nearest}\"?");
        }
        for (n, algorithm) in Algorithm::ALL.into_iter().enumerate() {
            write!(f, "{}{algorithm}", if n == 0 { " (must be one of: " } else { ", " })?;
        }
        f.write_str(")")
    }
}

impl core::error::Error for UnknownAlgorithm {}

/// The edit distance of two short words (Levenshtein).
fn edits(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.bytes().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::Algorithm;

    #[test]
    fn every_name_reads_back() {
        for algorithm in Algorithm::ALL {
            assert_eq!(algorithm.to_string().parse(), Ok(algorithm));
        }
    }

    #[test]
    fn a_far_name_is_answered_with_the_list() {
        let message = "weighted fair".parse::<Algorithm>().unwrap_err().to_string();
        assert!(
            message.starts_with("unknown algorithm \"weighted fair\" (must be one of: random, "),
            "{message}"
        );
    }
}
