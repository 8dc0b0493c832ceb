//! Picks, ours and the rivals', ready to be run: one row for each question, one contender for each answer.
//!
//! `benches/pick.rs` hands them to criterion, `src/bin/picks.rs` runs them in turns in one process, which a noisy
//! machine disturbs less, and alone under callgrind.

mod ours;
mod rivals;

/// Picks `n` times.
pub type Run = Box<dyn FnMut(u64)>;

/// Someone who answers a row's question.
pub struct Contender {
    /// Who; ours start with `balancers`.
    pub name: &'static str,
    /// Builds it over that many members.
    pub build: fn(usize) -> Run,
}

/// One question, and who answers it. The first contender is ours.
pub struct Row {
    /// The question.
    pub name: &'static str,
    /// With how many members.
    pub sizes: &'static [usize],
    /// Who answers.
    pub contenders: &'static [Contender],
}

const fn by(name: &'static str, build: fn(usize) -> Run) -> Contender {
    Contender { name, build }
}

/// All rows.
pub const ROWS: &[Row] = &[
    Row {
        name: "ring",
        sizes: &[100, 1000, 10_000],
        contenders: &[
            by("balancers reader.peek", ours::ring_peek),
            by("balancers reader.pick", ours::ring_pick),
            by("balancers pool.pick", ours::ring_pool),
            by("pingora-ketama", rivals::pingora_ketama),
            by("hashring", rivals::hashring),
        ],
    },
    Row {
        name: "ketama",
        sizes: &[100, 1000],
        contenders: &[
            by("balancers reader.peek", ours::ketama),
            by("pingora-ketama", rivals::pingora_ketama),
        ],
    },
    Row {
        name: "p2c",
        sizes: &[100, 1000],
        contenders: &[
            by("balancers reader.pick", ours::p2c),
            by("balancers pool.pick", ours::p2c_pool),
            by("tower p2c pending", rivals::tower_pending),
        ],
    },
    Row {
        name: "peak_ewma",
        sizes: &[100],
        contenders: &[
            by("balancers reader.pick + finish", ours::peak_ewma),
            by("tower p2c peak-ewma", rivals::tower_peak_ewma),
        ],
    },
    Row {
        name: "least_load",
        sizes: &[10, 100, 1000, 10_000],
        contenders: &[
            by("balancers reader.pick", ours::least_load),
            by("balancers reader.pick, loaded", ours::least_loaded),
        ],
    },
    Row {
        name: "round_robin",
        sizes: &[100, 1000],
        contenders: &[
            by("balancers reader.peek", ours::round_robin),
            by("weighted-rs smooth", rivals::weighted_rs),
        ],
    },
    Row {
        name: "random",
        sizes: &[100, 1000],
        contenders: &[
            by("balancers reader.peek", ours::random),
            by("rand WeightedAliasIndex", rivals::alias_index),
        ],
    },
    Row {
        name: "maglev",
        sizes: &[100, 1000],
        contenders: &[by("balancers reader.peek", ours::maglev), by("maglev", rivals::maglev)],
    },
    Row {
        name: "rendezvous",
        sizes: &[100],
        contenders: &[
            by("balancers reader.peek", ours::rendezvous),
            by("hash-rings", rivals::rendezvous),
            by("hrw-hash", rivals::hrw_hash),
        ],
    },
    Row {
        name: "bounded_ring",
        sizes: &[100],
        contenders: &[by("balancers reader.pick", ours::bounded_ring)],
    },
];

/// Ids as servers have them.
pub fn ids(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("10.{}.{}.{}:8080", n >> 16, n >> 8 & 255, n & 255)).collect()
}

/// Weights from 1 to 50, the same each time.
pub fn weights(n: usize) -> impl Iterator<Item = u32> {
    (0..n as u32).map(|n| n.wrapping_mul(2_654_435_761) % 50 + 1)
}

/// 4,096 keys of 16 bytes: enough that no branch predictor knows them.
pub fn keys() -> Vec<[u8; 16]> {
    let mut rng = balancers::Rng::new(1);
    (0..4096).map(|_| (u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).to_le_bytes()).collect()
}

/// Runs `pick` with the keys, around and around.
pub fn over_keys(mut pick: impl FnMut(&[u8; 16]) + 'static) -> Run {
    let keys: Box<[[u8; 16]; 4096]> = keys().try_into().expect("keys() makes 4,096");
    let mut at = 0;
    Box::new(move |n| {
        let end = at + n as usize;
        for at in at..end {
            pick(&keys[at & 4095]);
        }
        at = end;
    })
}
