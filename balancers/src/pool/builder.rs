//! How a pool is set up.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use super::shared_pool::Pool;
use crate::algorithm::{Algorithm, Options};
use crate::balancer::Balancer;
use crate::clock::{Clock, MonotonicClock};
use crate::error::EditError;
use crate::members::Members;
use crate::shared::{Pace, Shared};

/// Settings of a pool; see [`Pool::builder`].
#[derive(Debug)]
pub struct PoolBuilder {
    options: Options,
    seed: Option<u64>,
    panic_percent: u32,
    pace: Pace,
    clock: Option<Arc<dyn Clock>>,
}

impl PoolBuilder {
    /// Options of the algorithm.
    #[must_use]
    pub fn options(mut self, options: Options) -> Self {
        self.options = options;
        self
    }

    /// Makes [`Pool::pick`] repeatable: the same picks in the same order from one thread. (Picks of a seeded pool
    /// share one counter; without a seed each thread has its own.)
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = Some(seed);
        self
    }

    /// When fewer than this percentage of the members are up, all count as up: the health checks are more likely
    /// wrong than that many members. 0, the default, never; 100 whenever one is down.
    #[must_use]
    pub fn panic_threshold(mut self, percent: u32) -> Self {
        self.panic_percent = percent.min(100);
        self
    }

    /// A member that was down and comes back gets its share little by little over this time (default: at once).
    #[must_use]
    pub fn slow_start(mut self, window: Duration) -> Self {
        self.pace.slow_start = window;
        self
    }

    /// In what time a latency is forgotten by half (default 10 s).
    #[must_use]
    pub fn latency_memory(mut self, memory: Duration) -> Self {
        self.pace.memory = memory;
        self
    }

    /// The latency that a failed request is charged at least (default 1 s). Well above what is normal keeps traffic
    /// away from members that fail fast; they are asked again once it is forgotten.
    #[must_use]
    pub fn failure_latency(mut self, latency: Duration) -> Self {
        self.pace.failure = latency;
        self
    }

    /// The clock for slow start and latency decay (default: the system's).
    #[must_use]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// An empty pool.
    ///
    /// # Errors
    /// If an option is out of its range.
    pub fn build<T>(self, algorithm: Algorithm) -> Result<Pool<T>, EditError> {
        let options = self.options.clone();
        self.build_with(|members| algorithm.build(members, &options))
    }

    /// An empty pool with an algorithm of the caller's own. The function is called once, with no members;
    /// [`Balancer::with_members`] makes all that follow.
    ///
    /// # Errors
    /// If the function fails.
    pub fn build_with<T>(
        self,
        balancer: impl FnOnce(Members) -> Result<Box<dyn Balancer>, EditError>,
    ) -> Result<Pool<T>, EditError> {
        let clock = self.clock.unwrap_or_else(|| Arc::new(MonotonicClock::new()));
        let shared = Arc::new(Shared::new(clock, self.pace));
        let balancer = Arc::from(balancer(Members::from_parts(Vec::new(), shared.clone())?)?);
        Ok(Pool::empty(balancer, shared, self.panic_percent, self.seed))
    }
}

impl Pool<()> {
    /// Settings for a pool of any value type.
    #[must_use]
    pub fn builder() -> PoolBuilder {
        PoolBuilder {
            options: Options::default(),
            seed: None,
            panic_percent: 0,
            pace: Pace::default(),
            clock: None,
        }
    }
}
