//! The one pointer that picks read and updates move, with a number that tells whether it has moved.

use alloc::sync::Arc;
use core::ops::Deref;

use crate::sync::{AtomicU64, Ordering};

/// The newest snapshot. Reading takes no lock; under loom, which cannot look into `arc-swap`, a lock stands in for it.
#[derive(Debug)]
pub(super) struct Current<S> {
    #[cfg(not(loom))]
    newest: arc_swap::ArcSwap<S>,
    #[cfg(loom)]
    newest: loom::sync::Mutex<Arc<S>>,
    version: AtomicU64,
}

impl<S> Current<S> {
    pub(super) fn new(first: S) -> Self {
        let first = Arc::new(first);
        #[cfg(not(loom))]
        let newest = arc_swap::ArcSwap::new(first);
        #[cfg(loom)]
        let newest = loom::sync::Mutex::new(first);
        Self { newest, version: AtomicU64::new(0) }
    }

    /// The newest, for as long as a pick takes.
    #[cfg(not(loom))]
    #[inline]
    pub(super) fn borrow(&self) -> impl Deref<Target = Arc<S>> + '_ {
        self.newest.load()
    }

    /// The newest, for as long as a pick takes.
    #[cfg(loom)]
    pub(super) fn borrow(&self) -> impl Deref<Target = Arc<S>> + '_ {
        self.newest.lock().expect("nobody panics while holding it")
    }

    /// The newest, to keep.
    pub(super) fn keep(&self) -> Arc<S> {
        Arc::clone(&self.borrow())
    }

    /// Which one is the newest. Read it before [`Self::keep`]: if an update comes in between, the number is an old one
    /// and the next look at it says so.
    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Makes this the newest. One thread at a time.
    pub(super) fn replace(&self, next: S) {
        #[cfg(not(loom))]
        self.newest.store(Arc::new(next));
        #[cfg(loom)]
        {
            *self.newest.lock().expect("nobody panics while holding it") = Arc::new(next);
        }
        // After the pointer: whoever sees the new number finds the new state.
        self.version.fetch_add(1, Ordering::Release);
    }
}
