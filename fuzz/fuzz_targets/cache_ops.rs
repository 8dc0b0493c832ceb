//! Operations on a cache of any policy against the naive twins of the property tests.
#![no_main]

use cache::Policy;
use libfuzzer_sys::fuzz_target;
use operations::{Op, Setup, exact, follower};

#[path = "../../cache/tests/operations/mod.rs"]
mod operations;

fuzz_target!(|data: &[u8]| {
    let Some((&[policy, flags, ttl, tti], ops)) = data.split_first_chunk() else { return };
    let setup = Setup {
        policy: Policy::ALL[usize::from(policy) % Policy::ALL.len()],
        weighed: flags & 1 != 0,
        ttl_ticks: (flags & 2 != 0).then_some(u32::from(ttl % 100) + 1),
        tti_ticks: (flags & 4 != 0).then_some(u32::from(tti % 100) + 1),
        shards: 1 << (flags >> 3 & 3),
        halve_every: (flags & 32 != 0).then_some(u64::from(flags >> 6) * 9 + 1),
    };
    let ops = Op::decode_all(ops);
    if matches!(setup.policy, Policy::Lru | Policy::Lfu) {
        exact::run(setup, &ops);
    }
    follower::run(setup, &ops);
});
