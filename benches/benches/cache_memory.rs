//! How many bytes does an entry cost on the heap, u64 to u64, in a full cache of a million (for a look: of 100,000), all policy state counted?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench cache_memory`
//!
//! A counting allocator takes the difference of live bytes before and after building and filling: twice the capacity
//! of distinct keys, so that ghosts and sketches are there. Also: what an empty cache of capacity 10⁹ costs.
use evenly_benches::cache_rivals::rivals;
use evenly_benches::caches::ours;
use evenly_benches::counting::{Counting, live_bytes};
use evenly_benches::scoreboard::{self, Better, Board, Measure};
use evenly_benches::zipf::Zipf;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn main() -> std::io::Result<()> {
    let (capacity, spelled) = scoreboard::of_effort((1_000_000, "a million"), (100_000, "100,000"));
    let mut board = Board::new("cache_memory");
    for contender in ours().into_iter().chain(rivals()) {
        let is_ours = contender.name.starts_with("evenly");
        let who =
            if is_ours { scoreboard::ours(&contender.name) } else { scoreboard::rival(&contender.name) };
        let before = live_bytes();
        let cache = (contender.make)(capacity);
        for rank in 0..2 * capacity {
            cache.insert(Zipf::key(rank), rank as u64);
        }
        let entries = cache.len();
        let each = (live_bytes() - before) as f64 / entries as f64;
        drop(cache);
        board.note("u64 to u64, full", &format!("an entry of {spelled}"), Measure::BYTES, who, each);
        let held = format!("held at capacity {spelled}");
        board.note(&held, "entries", ("entries", Better::Less), who, entries as f64);
        // The rivals allocate for their capacity at once.
        if is_ours {
            let before = live_bytes();
            let _cache = (contender.make)(1_000_000_000);
            board.note("empty", "capacity 10⁹", Measure::BYTES, who, (live_bytes() - before) as f64);
        }
    }
    board.finish().map(drop)
}
