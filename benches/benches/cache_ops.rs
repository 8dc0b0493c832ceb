//! How many operations does a CPU second buy, beside quick_cache, moka and lru in the same run?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench cache_ops [-- WORKLOAD… +CONTENDER…]`, where a
//! workload is part of a name and threads (`"20 k t1"`), a contender part of its name (`+auto`). With `exact`, instead,
//! instructions under valgrind (minutes; `cache_exact`).
//!
//! Each round runs every contender once, one after the other; figures are process CPU time, medians over the rounds,
//! ratios within each round. Keys are drawn before the clock starts. The threads of a round share [`OPS`] out
//! among themselves; the [`DEAR`], ten times as slow as the others, do the first eighth of them, for else most of the
//! time would be theirs. A quick look has fewer rounds and nothing else. Each table is printed when it is there. Two boards: every policy beside quick_cache (`cache_ops`), and LRU beside the
//! `lru` crate behind a lock, exact with one shard, or several (`cache_lru`).

use cache::Policy;
use evenly_benches::cache_rivals::rivals;
use evenly_benches::caches::{Contender, Maker, ours, ours_exact};
use evenly_benches::instructions;
use evenly_benches::scoreboard::{self, Better, Board, also_ours, of_effort};
use evenly_benches::zipf::Zipf;
use rustix::time::{ClockId, clock_gettime};
use std::hint::black_box;
use std::time::Duration;

/// Operations of a round, of all threads together. As many in a quick look: a quarter of them ran in caches so cold that
/// an insertion cost twice as much beside the same rival.
const OPS: usize = 1 << 20;

/// They do an eighth of the operations.
const DEAR: [&str; 2] = ["moka", "TinyUFO"];
const COST: (&str, Better) = ("CPU ns an operation", Better::Less);

/// One row of the table: what is done with how many keys.
struct Workload {
    name: &'static str,
    keys: usize,
    capacity: usize,
    exponent: f64,
    step: fn(&dyn Contender, u64, usize),
}

const READ: fn(&dyn Contender, u64, usize) = |cache, key, _| {
    black_box(cache.get(key));
};
const READ_MOSTLY: fn(&dyn Contender, u64, usize) = |cache, key, turn| {
    if turn % 20 == 0 {
        cache.insert(key, turn as u64);
    } else {
        black_box(cache.get(key));
    }
};
const GET_OR_INSERT: fn(&dyn Contender, u64, usize) = |cache, key, _| {
    if black_box(cache.get(key)).is_none() {
        cache.insert(key, key);
    }
};
const INSERT: fn(&dyn Contender, u64, usize) = |cache, key, _| cache.insert(key, key);

const WORKLOADS: &[Workload] = &[
    Workload { name: "read hit, 20 k", keys: 20_000, capacity: 20_000, exponent: 0.99, step: READ },
    Workload { name: "read hit, 1 M", keys: 1_000_000, capacity: 1_000_000, exponent: 0.99, step: READ },
    Workload {
        name: "read 95 / write 5, 1 M",
        keys: 1_000_000,
        capacity: 1_000_000,
        exponent: 0.99,
        step: READ_MOSTLY,
    },
    Workload {
        name: "get or insert, 1 M in 100 k",
        keys: 1_000_000,
        capacity: 100_000,
        exponent: 0.9,
        step: GET_OR_INSERT,
    },
    Workload {
        name: "insert and evict, 100 k",
        keys: 1_000_000,
        capacity: 100_000,
        exponent: 0.0,
        step: INSERT,
    },
];

/// The same with fewer keys: valgrind is slow, and instructions do not depend on caches.
const COUNTED: &[Workload] = &[
    Workload { name: "read hit, 20 k", keys: 20_000, capacity: 20_000, exponent: 0.99, step: READ },
    Workload {
        name: "get or insert, 200 k in 20 k",
        keys: 200_000,
        capacity: 20_000,
        exponent: 0.9,
        step: GET_OR_INSERT,
    },
    Workload {
        name: "insert and evict, 200 k in 20 k",
        keys: 200_000,
        capacity: 20_000,
        exponent: 0.0,
        step: INSERT,
    },
];
/// Most operations counted.
const COUNTED_MAX: u64 = 3 << 16;

fn main() -> std::io::Result<()> {
    let args = std::env::args().skip(1).filter(|arg| !arg.starts_with("--"));
    let (only, filter): (Vec<_>, Vec<_>) = args.partition(|arg| arg.starts_with('+'));
    let is_asked = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(&part[1..]));

    let mut all = rivals();
    all.extend(ours());
    if let [word, workload, contender, times] = &filter[..]
        && word == "only"
    {
        alone(&all, workload, contender, times);
        return Ok(());
    }
    all.retain(|maker| maker.name == "quick_cache" || is_asked(&maker.name));
    if filter.first().is_some_and(|word| word == "exact") {
        return count(&all, &filter[1..]);
    }
    for mut maker in ours_exact().into_iter().filter(|maker| maker.name == LRU_SHARDED) {
        maker.name = LRU_EXACT.to_owned();
        all.extend(is_asked(&maker.name).then_some(maker));
    }
    let mut boards = Boards::default();
    let is_row = |workload: &Workload, threads: usize| {
        filter.is_empty() || filter.iter().any(|part| format!("{} t{threads}", workload.name).contains(part))
    };
    let mut caches = Caches::default();
    for workload in WORKLOADS {
        let threads = THREADS.into_iter().filter(|threads| is_row(workload, *threads));
        threads.for_each(|threads| measure(workload, threads, caches.of(&all, workload), &mut boards));
        boards.all.tell();
    }
    let is_whole = filter.is_empty() && only.is_empty();
    for board in [&mut boards.all, &mut boards.lru].into_iter().filter(|board| !board.rows.is_empty()) {
        if is_whole {
            board.finish()?;
        } else {
            board.print();
        }
    }
    Ok(())
}

const THREADS: [usize; 3] = [1, 2, 8];
const LRU_EXACT: &str = "evenly lru, exact";
const LRU_SHARDED: &str = "evenly lru";

/// Everybody beside quick_cache, and LRU beside a locked one: of the same rounds.
struct Boards {
    all: Board,
    lru: Board,
}

impl Default for Boards {
    fn default() -> Self {
        let [all, lru] = [("cache_ops", "quick_cache"), ("cache_lru", "Mutex<lru>")]
            .map(|(bench, anchor)| Board::new(bench).against(anchor));
        Self { all, lru }
    }
}

impl Boards {
    fn note(&mut self, question: &str, case: &str, name: &str, cost: f64) {
        if name != LRU_EXACT {
            self.all.note(question, case, COST, who(name), cost);
        }
        let who = match name {
            LRU_EXACT => scoreboard::ours(name),
            LRU_SHARDED => scoreboard::ours("evenly lru, sharded"),
            name if name.contains("Mutex<lru>") => scoreboard::rival(name),
            _ => return,
        };
        self.lru.note(question, case, COST, who, cost);
    }
}

/// The contenders' caches, filled.
#[derive(Default)]
struct Caches {
    filled_for: Option<&'static Workload>,
    caches: Vec<(String, Box<dyn Contender>)>,
}

impl Caches {
    /// Those for a workload: the last one's, if that has left them as this one would fill them.
    fn of(&mut self, makers: &[Maker], workload: &'static Workload) -> &[(String, Box<dyn Contender>)] {
        let is_same = |last: &Workload| {
            last.name == workload.name
                || (last.keys, last.capacity) == (workload.keys, workload.capacity)
                    && last.keys <= last.capacity
        };
        if !self.filled_for.is_some_and(is_same) {
            self.caches.clear();
            let filled = makers.iter().map(|maker| (maker.name.clone(), filled(maker, workload)));
            self.caches = filled.collect();
        }
        self.filled_for = Some(workload);
        &self.caches
    }
}

fn measure(
    workload: &Workload,
    threads: usize,
    caches: &[(String, Box<dyn Contender>)],
    boards: &mut Boards,
) {
    let draw = |seed| Zipf::new(workload.keys, workload.exponent, seed as u64).take(OPS / threads);
    let keys: Vec<_> = (0..threads).map(draw).collect();
    let eighths: Vec<_> = keys.iter().map(|keys| &keys[..keys.len() / 8]).collect();
    let keys: Vec<_> = keys.iter().map(Vec::as_slice).collect();
    for _ in 0..of_effort(9, 2) {
        for (name, cache) in caches {
            let keys = if DEAR.contains(&name.as_str()) { &eighths } else { &keys };
            let cost = round(cache.as_ref(), workload.step, keys);
            boards.note(workload.name, &format!("{threads} threads"), name, cost);
        }
    }
}

fn who(name: &str) -> scoreboard::Contender<'_> {
    let is_default = name.strip_prefix("evenly ") == Some(Policy::default().name());
    match name {
        name if is_default => scoreboard::ours(name),
        name if name.starts_with("evenly") => also_ours(name),
        name => scoreboard::rival(name),
    }
}

/// Instructions for an operation, each contender alone in a process.
fn count(contenders: &[Maker], asked: &[String]) -> std::io::Result<()> {
    let mut board = Board::new("cache_exact").against("quick_cache");
    let is_asked = |row: &&Workload| asked.is_empty() || asked.iter().any(|part| row.name.contains(part));
    for workload in COUNTED.iter().filter(is_asked) {
        for Maker { name, .. } in contenders {
            let each = instructions::for_each(&["only", workload.name, name], COUNTED_MAX / 3, COUNTED_MAX);
            board.note(workload.name, "1 thread", ("instructions", Better::Less), who(name), each);
        }
    }
    if asked.is_empty() {
        return board.finish().map(drop);
    }
    board.print();
    Ok(())
}

/// One contender, so many operations, in this process.
fn alone(contenders: &[Maker], workload: &str, contender: &str, times: &str) {
    let workload = COUNTED.iter().find(|row| row.name == workload).expect("a workload's name");
    let contender = contenders.iter().find(|maker| maker.name == contender).expect("a contender's name");
    let cache = filled(contender, workload);
    // Always as many, so that drawing them is not in the difference.
    let keys = Zipf::new(workload.keys, workload.exponent, 0).take(COUNTED_MAX as usize);
    let keys = keys.iter().take(times.parse().expect("a number"));
    keys.enumerate().for_each(|(turn, key)| (workload.step)(cache.as_ref(), *key, turn));
}

fn filled(contender: &Maker, workload: &Workload) -> Box<dyn Contender> {
    let cache = (contender.make)(workload.capacity);
    // The least popular first, so that the popular are resident where not all fit.
    for rank in (0..workload.keys).rev() {
        cache.insert(Zipf::key(rank), rank as u64);
    }
    cache.len();
    cache
}

fn round(cache: &dyn Contender, step: fn(&dyn Contender, u64, usize), keys: &[&[u64]]) -> f64 {
    let before = cpu_time();
    std::thread::scope(|scope| {
        for keys in keys {
            scope.spawn(move || keys.iter().enumerate().for_each(|(turn, key)| step(cache, *key, turn)));
        }
    });
    let operations = keys.iter().map(|keys| keys.len()).sum::<usize>();
    (cpu_time() - before).as_nanos() as f64 / operations as f64
}

fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
