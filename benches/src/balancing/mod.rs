//! Picks and changes, ours and the rivals', ready to be run: one row for each question, one contender for each answer.
//!
//! `src/bin/picks` runs them in turns in one process, which a noisy machine disturbs less, and alone under callgrind.

mod changes;
mod ours;
#[cfg(feature = "pingora")]
mod pingora;
mod rivals;

/// Picks (or builds, or changes) `n` times.
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
    /// How often each is asked in one turn: enough that what the last contender left in the caches does not decide.
    pub times: u64,
    /// How many turns each has.
    pub turns: usize,
    /// Who answers.
    pub contenders: &'static [Contender],
}

const fn by(name: &'static str, build: fn(usize) -> Run) -> Contender {
    Contender { name, build }
}

const fn picks(name: &'static str, sizes: &'static [usize], contenders: &'static [Contender]) -> Row {
    Row { name, sizes, times: 50_000, turns: 31, contenders }
}

const fn changes(name: &'static str, turns: usize, contenders: &'static [Contender]) -> Row {
    Row { name, sizes: &[1000], times: 1, turns, contenders }
}

/// All rows.
pub const ROWS: &[Row] = &[
    picks(
        "ring",
        &[100, 1000, 10_000],
        &[
            by("balancers reader.peek", ours::ring_peek),
            by("balancers reader.pick", ours::ring_pick),
            by("balancers pool.pick", ours::ring_pool),
            by("pingora-ketama", rivals::pingora_ketama),
            by("hashring", rivals::hashring),
            #[cfg(feature = "pingora")]
            by("pingora LoadBalancer<Consistent>", pingora::consistent),
        ],
    ),
    picks(
        "ketama",
        &[100, 1000],
        &[by("balancers reader.peek", ours::ketama), by("pingora-ketama", rivals::pingora_ketama)],
    ),
    picks(
        "p2c",
        &[100, 1000, 10_000],
        &[
            by("balancers reader.lend", ours::p2c),
            by("balancers reader.pick", ours::p2c_pick),
            by("balancers pool.pick", ours::p2c_pool),
            by("tower p2c pending", rivals::tower_pending),
        ],
    ),
    picks(
        "peak_ewma",
        &[100],
        &[
            by("balancers reader.lend + finish", ours::peak_ewma),
            by("tower p2c peak-ewma", rivals::tower_peak_ewma),
        ],
    ),
    picks("least_load", &[10, 100, 1000, 10_000], &[by("balancers reader.lend", ours::least_load)]),
    picks("least_load, loaded", &[10, 100, 1000, 10_000], &[by("balancers reader.pick", ours::least_loaded)]),
    picks(
        "round_robin",
        &[100, 1000],
        &[
            by("balancers reader.peek", ours::round_robin),
            by("weighted-rs smooth", rivals::weighted_rs),
            #[cfg(feature = "pingora")]
            by("pingora RoundRobin", pingora::round_robin),
            #[cfg(feature = "pingora")]
            by("pingora LoadBalancer<RoundRobin>", pingora::round_robin_select),
        ],
    ),
    picks(
        "random",
        &[100, 1000],
        &[
            by("balancers reader.peek", ours::random),
            by("rand WeightedAliasIndex", rivals::alias_index),
            #[cfg(feature = "pingora")]
            by("pingora Random", pingora::random),
        ],
    ),
    picks("maglev", &[100, 1000], &[by("balancers reader.peek", ours::maglev), by("maglev", rivals::maglev)]),
    picks(
        "rendezvous",
        &[100],
        &[
            by("balancers reader.peek", ours::rendezvous),
            by("hash-rings", rivals::rendezvous),
            by("hrw-hash", rivals::hrw_hash),
        ],
    ),
    picks("bounded_ring", &[100, 1000], &[by("balancers reader.lend", ours::bounded_ring)]),
    changes(
        "ring, built",
        15,
        &[by("balancers", changes::ring), by("pingora-ketama", changes::pingora_ketama)],
    ),
    changes("ring, one leaves and joins", 31, &[by("balancers", changes::ring_churn)]),
    changes("maglev, built", 5, &[by("balancers", changes::maglev), by("maglev", changes::maglev_crate)]),
];

/// Ids as servers have them.
fn ids(n: usize) -> Vec<String> {
    (0..n).map(|n| format!("10.{}.{}.{}:8080", n >> 16, n >> 8 & 255, n & 255)).collect()
}

/// Weights from 1 to 50, the same each time.
fn weights(n: usize) -> impl Iterator<Item = u32> {
    (0..n as u32).map(|n| n.wrapping_mul(2_654_435_761) % 50 + 1)
}

/// 4,096 keys of 16 bytes.
fn keys() -> Vec<[u64; 2]> {
    let mut rng = balancers::Rng::new(1);
    (0..4096).map(|_| [rng.next_u64(), rng.next_u64()]).collect()
}

/// Runs `pick` with keys that never come again: processors learn the way of thousands of keys through a search by heart,
/// and no server sees the same keys in the same order.
fn over_keys(mut pick: impl FnMut(&[u8; 16]) + 'static) -> Run {
    let (keys, mut round) = (keys(), 0_u64);
    Box::new(move |mut times| {
        while times > 0 {
            round = round.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let some = &keys[..keys.len().min(times as usize)];
            for [a, b] in some {
                pick(&(u128::from(*b) << 64 | u128::from(a ^ round)).to_le_bytes());
            }
            times -= some.len() as u64;
        }
    })
}
