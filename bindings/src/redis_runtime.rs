//! Who drives the connections to Redis: the thread that waits for an answer, and while there is none, a keeper.
//!
//! ```text
//!     one thread, call after call        thread ── writes ── waits for the socket ── reads ── returns        keeper away
//!     several threads, asyncio, nobody   threads ── request ─► keeper ── writes, waits, reads ─► answers     keeper drives
//! ```
//!
//! A runtime's own thread that does all the moving costs a lone caller two hand-overs between threads for each value, and
//! they cost more than all else. So the runtime here belongs to whoever blocks on it. A keeper drives it for everybody
//! else: for calls of asyncio, for what happens unasked (invalidations, new connections, time limits), and for several
//! threads at once, whose requests it gathers into few writes where they would pass the sockets from hand to hand.
//!
//! A thread that calls [`MANY`] times in a row, a [`PAUSE`] apart at most and with no other thread between for [`ALONE`], calls
//! the keeper out and drives. The keeper looks after it once in a `PAUSE` and drives again when the thread stays away, and at
//! once when another thread or asyncio relies on it: what happens unasked is late by two pauses at most. A server that needs
//! longer than a `PAUSE` is left to the keeper. Calls that end without waiting, as all do while there is no server, would leave
//! nothing else a turn, not even the new connection: once in a `PAUSE` the thread gives it one.
//!
//! To put a thread to sleep and to wake it costs about what a server on the same machine needs to answer. So the thread that
//! drives stays awake for [`AWAKE`], looking, before it sleeps. After doing so in vain it sleeps at once for the next 4 calls,
//! then 16, 64, 256; and always where there is one processor, which the server may need.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread::{self, Thread, ThreadId};
use std::time::{Duration, Instant};
use std::{io, sync::OnceLock};

use parking_lot::Mutex;
use tokio::runtime::{Builder, EnterGuard, Runtime};
use tokio::sync::Notify;

/// A runtime for the life of the process, and its keeper.
pub(crate) struct Shared {
    runtime: Runtime,
    pace: Mutex<Pace>,
    /// Work that waits for the keeper to drive.
    relying: AtomicUsize,
    keeper: OnceLock<Thread>,
    is_keeper_in: AtomicBool,
    call_out: Notify,
}

impl Shared {
    /// Begins the keeper. Stores may end at any time, and the interpreter's end must not wait for it: it never ends.
    pub(crate) fn begin() -> io::Result<&'static Self> {
        let shared: &'static Self = Box::leak(Box::new(Self {
            runtime: Builder::new_current_thread().enable_all().build()?,
            pace: Mutex::new(Pace::begin()),
            relying: AtomicUsize::new(0),
            keeper: OnceLock::new(),
            is_keeper_in: AtomicBool::new(true),
            call_out: Notify::new(),
        }));
        let keeper = thread::Builder::new().name("evenly-redis".into()).spawn(|| shared.keep())?;
        shared.keeper.get_or_init(|| keeper.thread().clone());
        Ok(shared)
    }

    /// For what is made in the runtime.
    pub(crate) fn enter(&self) -> EnterGuard<'_> {
        self.runtime.enter()
    }

    /// Waits for `work`.
    pub(crate) fn block_on<T>(&'static self, work: impl Future<Output = T>) -> T {
        let is_relied_on = self.relying.load(SeqCst) > 0;
        let turn = self.pace.lock().call(thread::current().id(), is_relied_on);
        let Turn::Drive { stays_awake, owes_others } = turn else {
            let _relying = self.rely();
            // A handle waits and does not drive: whoever drives in turn with the keeper takes the sockets from it.
            return self.runtime.handle().block_on(work);
        };
        if self.is_keeper_in.swap(false, SeqCst) {
            self.call_out.notify_one();
        }
        let work = async {
            if owes_others {
                tokio::task::yield_now().await;
            }
            work.await
        };
        if !stays_awake {
            return self.runtime.block_on(work);
        }
        let (answer, was_in_time) = self.runtime.block_on(awake(work));
        self.pace.lock().stayed_awake(was_in_time);
        answer
    }

    /// Starts `work`, which goes on by itself.
    pub(crate) fn spawn(&'static self, work: impl Future<Output = ()> + Send + 'static) {
        let relying = self.rely();
        self.runtime.spawn(async move {
            let _relying = relying;
            work.await;
        });
    }

    /// Has the keeper drive until what is returned is dropped.
    fn rely(&'static self) -> Relying {
        self.relying.fetch_add(1, SeqCst);
        if !self.is_keeper_in.load(SeqCst)
            && let Some(keeper) = self.keeper.get()
        {
            keeper.unpark();
        }
        Relying(&self.relying)
    }

    fn keep(&self) -> ! {
        loop {
            self.is_keeper_in.store(true, SeqCst);
            self.runtime.block_on(self.call_out.notified());
            // Who relies on the keeper says so and looks whether he is in; he leaves and looks whether somebody does.
            while self.relying.load(SeqCst) == 0 && self.pace.lock().is_alone(Instant::now()) {
                thread::park_timeout(PAUSE);
            }
        }
    }
}

/// Polls `work` without sleeping for [`AWAKE`], then as usual. Whether that was long enough.
async fn awake<T>(work: impl Future<Output = T>) -> (T, bool) {
    let (mut work, until, mut is_in_time) = (pin!(work), Instant::now() + AWAKE, true);
    let answer = poll_fn(|cx| {
        let polled = work.as_mut().poll(cx);
        if polled.is_pending() && is_in_time {
            is_in_time = Instant::now() < until;
            cx.waker().wake_by_ref();
        }
        polled
    });
    (answer.await, is_in_time)
}

/// Who blocked last, and whether it was worth staying awake.
struct Pace {
    thread: Option<ThreadId>,
    at: Instant,
    /// Calls of one thread, none a `PAUSE` after the one before.
    in_a_row: u32,
    /// When it was last not the thread of the call before.
    changed: Option<Instant>,
    is_one_processor: bool,
    /// Calls that sleep at once after one that stayed awake in vain.
    naps: u32,
    naps_left: u32,
    /// When others had their turn for certain.
    others: Instant,
}

enum Turn {
    Wait,
    Drive {
        stays_awake: bool,
        /// What else there is to do has its turn first.
        owes_others: bool,
    },
}

impl Pace {
    fn begin() -> Self {
        let is_one_processor = thread::available_parallelism().is_ok_and(|count| count.get() == 1);
        let at = Instant::now();
        Self {
            thread: None,
            at,
            in_a_row: 0,
            changed: None,
            is_one_processor,
            naps: 0,
            naps_left: 0,
            others: at,
        }
    }

    /// A call by `thread`.
    fn call(&mut self, thread: ThreadId, is_keeper_relied_on: bool) -> Turn {
        let now = Instant::now();
        let is_other = self.thread.is_some_and(|last| last != thread);
        if is_other {
            self.changed = Some(now);
        }
        let is_next = !is_other && now.duration_since(self.at) < PAUSE;
        self.in_a_row = if is_next { self.in_a_row.saturating_add(1) } else { 0 };
        (self.thread, self.at) = (Some(thread), now);
        if is_keeper_relied_on || !self.is_alone(now) {
            return Turn::Wait;
        }
        let stays_awake = !self.is_one_processor && self.naps_left == 0;
        self.naps_left = self.naps_left.saturating_sub(1);
        let owes_others = now.duration_since(self.others) >= PAUSE;
        if owes_others {
            self.others = now;
        }
        Turn::Drive { stays_awake, owes_others }
    }

    /// Whether one thread calls again and again.
    fn is_alone(&self, now: Instant) -> bool {
        self.in_a_row >= MANY
            && now.duration_since(self.at) < PAUSE
            && self.changed.is_none_or(|changed| now.duration_since(changed) > ALONE)
    }

    fn stayed_awake(&mut self, was_in_time: bool) {
        // At rest with one in three in vain.
        self.naps = if was_in_time { self.naps / 2 } else { (self.naps * 4).clamp(4, NAPS_MAX) };
        self.naps_left = self.naps;
    }
}

/// Counts down even if the work panics.
struct Relying(&'static AtomicUsize);

impl Drop for Relying {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

/// How long a thread that drives may stay away.
const PAUSE: Duration = Duration::from_millis(1);
const MANY: u32 = 8;
/// Twice as long as a thread that computes keeps the interpreter from others who ask for it.
const ALONE: Duration = Duration::from_millis(10);
/// About what sleeping costs: who stays awake in vain pays at most twice.
const AWAKE: Duration = Duration::from_micros(50);
const NAPS_MAX: u32 = 256;
