//! How many bytes does an entry cost on the heap, u64 to u64, in a full cache of a million, all policy state counted?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench cache_memory`
//!
//! A counting allocator takes the difference of live bytes before and after building and filling: twice the capacity
//! of distinct keys, so that ghosts and sketches are there. Also: what an empty cache of capacity 10⁹ costs.
#![allow(clippy::print_stdout)] // that is what it is for

use evenly_benches::cache_rivals::rivals;
use evenly_benches::caches::ours;
use evenly_benches::counting::{Counting, live_bytes};
use evenly_benches::zipf::Zipf;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ENTRIES: usize = 1_000_000;

fn main() {
    println!("{:18} {:>12} {:>10} {:>18}", "", "bytes/entry", "entries", "empty at 10^9");
    for contender in ours().into_iter().chain(rivals()) {
        let before = live_bytes();
        let cache = (contender.make)(ENTRIES);
        for rank in 0..2 * ENTRIES {
            cache.insert(Zipf::key(rank), rank as u64);
        }
        let entries = cache.len();
        let each = (live_bytes() - before) as f64 / entries as f64;
        drop(cache);
        // The rivals allocate for their capacity at once.
        let empty = contender.name.starts_with("evenly").then(|| {
            let before = live_bytes();
            let _cache = (contender.make)(1_000_000_000);
            live_bytes() - before
        });
        let empty = empty.map_or_else(|| "-".to_owned(), |bytes| format!("{bytes} bytes"));
        println!("{:18} {each:>12.1} {entries:>10} {empty:>18}", contender.name);
    }
}
