//! The lock of a cache: where the interpreter lets one thread run at a time, that is lock enough.
//!
//! Only threads that are attached to the interpreter look into a cache, and nothing that is done under its lock runs Python
//! code or detaches. With a GIL there is therefore never anyone to wait for: [`Lock`] is a flag, which proves that claim at
//! every use, and costs none of a lock's atomic instructions. Without a GIL it is parking_lot's.

use pyo3::Python;

#[cfg(not(Py_GIL_DISABLED))]
pub(crate) use by_gil::{Guard, Lock};
#[cfg(Py_GIL_DISABLED)]
pub(crate) use by_itself::{Guard, Lock};

#[cfg(not(Py_GIL_DISABLED))]
mod by_gil {
    use std::cell::{Cell, UnsafeCell};
    use std::marker::PhantomData;
    use std::ops::{Deref, DerefMut};

    use super::Python;

    pub(crate) struct Lock<T> {
        is_held: Cell<bool>,
        content: UnsafeCell<T>,
    }

    /// Not `Send`, so that pyo3 lets nobody detach with it: it is given back by the thread that has the GIL.
    pub(crate) struct Guard<'a, T> {
        lock: &'a Lock<T>,
        _stays: PhantomData<*const ()>,
    }

    // SAFETY: flag and content are touched only by threads that are attached (`lock` is shown the proof, `try_lock` is
    // promised it, a guard stays with its thread), which are one at a time; taking over the GIL orders what they do.
    unsafe impl<T: Send> Sync for Lock<T> {}

    impl<T> Lock<T> {
        pub(crate) fn new(content: T) -> Self {
            Self { is_held: Cell::new(false), content: UnsafeCell::new(content) }
        }

        #[inline(always)]
        pub(crate) fn lock<'a>(&'a self, _py: Python<'a>) -> Guard<'a, T> {
            // SAFETY: `py` proves that the thread is attached.
            unsafe { self.try_lock() }.unwrap_or_else(|| held_already())
        }

        /// # Safety
        ///
        /// The thread is attached, or no other is while it runs, as in a garbage collection.
        #[inline(always)]
        pub(crate) unsafe fn try_lock(&self) -> Option<Guard<'_, T>> {
            (!self.is_held.replace(true)).then(|| Guard { lock: self, _stays: PhantomData })
        }
    }

    #[cold]
    fn held_already() -> ! {
        panic!("a cache was used by what runs under its own lock")
    }

    impl<T> Deref for Guard<'_, T> {
        type Target = T;

        #[inline(always)]
        fn deref(&self) -> &T {
            // SAFETY: there is one guard at a time, and this is it.
            unsafe { &*self.lock.content.get() }
        }
    }

    impl<T> DerefMut for Guard<'_, T> {
        #[inline(always)]
        fn deref_mut(&mut self) -> &mut T {
            // SAFETY: there is one guard at a time, and it is lent to one.
            unsafe { &mut *self.lock.content.get() }
        }
    }

    impl<T> Drop for Guard<'_, T> {
        #[inline(always)]
        fn drop(&mut self) {
            self.lock.is_held.set(false);
        }
    }
}

#[cfg(Py_GIL_DISABLED)]
mod by_itself {
    use parking_lot::{Mutex, MutexGuard};

    use super::Python;

    pub(crate) struct Lock<T>(Mutex<T>);

    pub(crate) type Guard<'a, T> = MutexGuard<'a, T>;

    impl<T> Lock<T> {
        pub(crate) fn new(content: T) -> Self {
            Self(Mutex::new(content))
        }

        #[inline(always)]
        pub(crate) fn lock<'a>(&'a self, _py: Python<'a>) -> Guard<'a, T> {
            self.0.lock()
        }

        /// # Safety
        ///
        /// None is needed here; with a GIL, that the thread has it.
        #[inline(always)]
        pub(crate) unsafe fn try_lock(&self) -> Option<Guard<'_, T>> {
            self.0.try_lock()
        }
    }
}
