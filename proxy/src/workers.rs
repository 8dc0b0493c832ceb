//! Threads that serve, each with an event loop of its own: a request and all that it waits for stay on one core.
//!
//! ```text
//!              ┌─► worker 1: accept ─► connections ─► members      its own idle connections to members
//!   listener ──┤                │ busier than another by more than a few: hands over what it accepts
//!              └─► worker 2: accept ─► connections ─► members
//!
//!   main thread: signals, reload, health checks, the admin listener
//! ```
//!
//! No work is stolen, so nothing is woken across cores and no lock is contended while a request is served. What a
//! runtime that moves tasks would even out is evened out once for each connection instead: all workers accept from
//! the same socket, and whoever has more open connections than another by [`SLACK`] hands the new one over. A few
//! connections that do all the work, and happen to share a worker, stay there: that is the price.
//!
//! The listening socket is one, shared by duplicates and not by `SO_REUSEPORT`: a port that is taken stays an error,
//! sockets passed by systemd and Unix sockets work alike, and no connection waits in a queue that nobody looks at.

use std::{
    cell::Cell,
    io,
    num::NonZeroUsize,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread::{self, JoinHandle},
};

use tokio::{
    runtime::{Builder, Handle},
    sync::oneshot,
};

/// The threads. When it is dropped they end, and with them whatever they served.
#[derive(Debug)]
pub(crate) struct Workers {
    crew: Arc<[Worker]>,
    threads: Vec<(oneshot::Sender<()>, JoinHandle<()>)>,
}

#[derive(Debug)]
struct Worker {
    handle: Handle,
    /// Open connections.
    busy: AtomicUsize,
}

/// One worker among its kind.
#[derive(Debug, Clone)]
pub(crate) struct Seat {
    crew: Arc<[Worker]>,
    at: usize,
}

/// A connection of a worker; counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Busy(Seat);

impl Workers {
    /// Starts so many threads.
    ///
    /// # Errors
    /// When the system has none left.
    pub(crate) fn start(count: NonZeroUsize) -> io::Result<Workers> {
        let mut crew = Vec::new();
        let mut threads = Vec::new();
        for at in 0..count.get() {
            let runtime = Builder::new_current_thread().enable_all().build()?;
            crew.push(Worker { handle: runtime.handle().clone(), busy: AtomicUsize::new(0) });
            let (stop, stopped) = oneshot::channel();
            let run = move || {
                CURRENT.set(at + 1);
                // The sender says nothing; it is dropped.
                runtime.block_on(async { drop(stopped.await) });
                // A password that is just being checked interests nobody any more.
                runtime.shutdown_background();
            };
            threads.push((stop, thread::Builder::new().name(format!("worker-{at}")).spawn(run)?));
        }
        Ok(Workers { crew: crew.into(), threads })
    }

    /// All of them.
    pub(crate) fn seats(&self) -> impl Iterator<Item = Seat> {
        (0..self.crew.len()).map(|at| Seat { crew: Arc::clone(&self.crew), at })
    }
}

impl Drop for Workers {
    fn drop(&mut self) {
        let (stops, threads): (Vec<_>, Vec<_>) = self.threads.drain(..).unzip();
        drop(stops);
        for thread in threads {
            // A worker that panicked has ended too.
            let _ = thread.join();
        }
    }
}

impl Seat {
    /// Its event loop.
    pub(crate) fn handle(&self) -> &Handle {
        &self.worker().handle
    }

    /// Who should serve a connection that this worker has accepted: itself, or somebody with much less to do.
    pub(crate) fn choose(&self) -> Seat {
        let busy = |at: usize| self.crew[at].busy.load(Relaxed);
        let least = (0..self.crew.len()).min_by_key(|&at| busy(at)).unwrap_or(self.at);
        let at = if busy(self.at) > busy(least) + SLACK { least } else { self.at };
        Seat { crew: Arc::clone(&self.crew), at }
    }

    /// Another connection for it.
    pub(crate) fn occupy(self) -> Busy {
        self.worker().busy.fetch_add(1, Relaxed);
        Busy(self)
    }

    /// Whether they are the same worker.
    pub(crate) fn is(&self, other: &Seat) -> bool {
        self.at == other.at
    }

    fn worker(&self) -> &Worker {
        &self.crew[self.at]
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.worker().busy.fetch_sub(1, Relaxed);
    }
}

/// The number of the worker that this thread is, from 1; 0 on every other thread.
pub(crate) fn current() -> usize {
    CURRENT.get()
}

/// As many as there are cores that this process may use.
pub(crate) fn cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

thread_local! {
    static CURRENT: Cell<usize> = const { Cell::new(0) };
}

/// A difference not worth the few system calls of handing over.
const SLACK: usize = 2;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn each_thread_is_one_worker_and_ends_with_them() {
        let workers = Workers::start(NonZeroUsize::new(3).unwrap()).unwrap();
        assert_eq!(current(), 0);
        let (tell, told) = std::sync::mpsc::channel();
        for seat in workers.seats() {
            let tell = tell.clone();
            seat.handle().spawn(async move { tell.send(current()).unwrap() });
        }
        let seen: HashSet<usize> = told.iter().take(3).collect();
        assert_eq!(seen, HashSet::from([1, 2, 3]));
        let held = Arc::new(());
        let kept = Arc::clone(&held);
        let busy = workers.seats().next().unwrap();
        busy.handle().spawn(async move {
            std::future::pending::<()>().await;
            drop(kept);
        });
        drop(workers);
        assert_eq!(Arc::strong_count(&held), 1, "what they served has ended");
    }

    #[test]
    fn who_has_much_more_to_do_hands_over() {
        let workers = Workers::start(NonZeroUsize::new(2).unwrap()).unwrap();
        let [first, second] = [0, 1].map(|at| workers.seats().nth(at).unwrap());
        let mut open = Vec::new();
        for _ in 0..100 {
            open.push(first.choose().occupy());
        }
        let of_first = open.iter().filter(|busy| busy.0.is(&first)).count();
        assert!((50..=50 + SLACK).contains(&of_first), "{of_first} of 100");
        drop(open);
        assert!(first.choose().is(&first) && second.choose().is(&second));
    }
}
