//! The one pointer that picks read and updates move.

use alloc::sync::Arc;
use core::ops::Deref;

/// The newest snapshot. Reading takes no lock; under loom, which cannot look into `arc-swap`, a lock stands in for it.
#[derive(Debug)]
pub(super) struct Current<S> {
    #[cfg(not(loom))]
    newest: arc_swap::ArcSwap<S>,
    #[cfg(loom)]
    newest: loom::sync::Mutex<Arc<S>>,
}

impl<S> Current<S> {
    pub(super) fn new(first: S) -> Self {
        let first = Arc::new(first);
        #[cfg(not(loom))]
        let newest = arc_swap::ArcSwap::new(first);
        #[cfg(loom)]
        let newest = loom::sync::Mutex::new(first);
        Self { newest }
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

    /// Makes this the newest.
    pub(super) fn replace(&self, next: S) {
        #[cfg(not(loom))]
        self.newest.store(Arc::new(next));
        #[cfg(loom)]
        {
            *self.newest.lock().expect("nobody panics while holding it") = Arc::new(next);
        }
    }
}
