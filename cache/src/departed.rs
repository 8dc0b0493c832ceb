//! Entries that have left, on their way out: collected under the shard's lock, told and dropped outside it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Why an entry left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Cause {
    /// Its time was over.
    Expired,
    /// Removed by name, by `retain`, by `clear` or by a computation.
    Explicit,
    /// Another value was stored under its key.
    Replaced,
    /// It had to make room.
    Size,
    /// The policy or the capacity did not admit it.
    Rejected,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 5] = [Self::Expired, Self::Explicit, Self::Replaced, Self::Size, Self::Rejected];
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Expired => "expired",
            Self::Explicit => "explicit",
            Self::Replaced => "replaced",
            Self::Size => "size",
            Self::Rejected => "rejected",
        })
    }
}

/// Told of each departed entry, outside all locks.
pub(crate) type Listener<K, V> = Box<dyn Fn(&K, &V, Cause) + Send + Sync>;

/// The entries one operation has sent away; most send one or none, and that one needs no allocation.
///
/// Declared before the lock is taken, so that it ends after the lock is released, panic or not: then it tells the
/// listener of each entry, once, and drops them.
pub(crate) struct Departed<'a, K, V> {
    listener: Option<&'a Listener<K, V>>,
    first: Option<(K, V, Cause)>,
    /// Not even an empty list where none is needed: its end would cost more than all else here.
    rest: Option<Vec<(K, V, Cause)>>,
}

impl<'a, K, V> Departed<'a, K, V> {
    pub(crate) fn new(listener: Option<&'a Listener<K, V>>) -> Self {
        Self { listener, first: None, rest: None }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    /// Hands the entries over; nobody is told of them here.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = (K, V, Cause)> + use<K, V> {
        self.first.take().into_iter().chain(self.rest.take().into_iter().flatten())
    }

    #[inline]
    pub(crate) fn push(&mut self, key: K, value: V, cause: Cause) {
        if self.first.is_none() {
            self.first = Some((key, value, cause));
        } else {
            self.rest.get_or_insert_default().push((key, value, cause));
        }
    }
}

impl<K, V> Drop for Departed<'_, K, V> {
    #[inline]
    fn drop(&mut self) {
        if self.listener.is_some() {
            self.tell();
        }
    }
}

impl<K, V> Departed<'_, K, V> {
    /// Tells the listener of each. Its panic reaches the caller, after all were told; during another panic it is that one's.
    #[inline(never)]
    fn tell(&self) {
        let Some(listener) = self.listener else { return };
        let mut panic = None;
        for (key, value, cause) in self.first.iter().chain(self.rest.iter().flatten()) {
            let told = catch_unwind(AssertUnwindSafe(|| listener(key, value, *cause)));
            panic = panic.or(told.err());
        }
        if let Some(panic) = panic
            && !std::thread::panicking()
        {
            resume_unwind(panic);
        }
    }
}
