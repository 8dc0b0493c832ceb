//! Which policy hits most, trace by trace, and how far is each from the best and from the optimum?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench hit_ratio [-- TRACE…]`
//!
//! Traces are read from `../shared/traces` (its README: sources and licences). Capacities: 0.1, 1 and 10 % of the
//! unique keys and sizes used in papers. All entries weigh 1; a request is a get and, on a miss, an insert. "Best" is
//! the best of all contenders at a point; moka does not count as best below 500 entries, where it holds more than its
//! capacity. LRU and LFU run with one shard, where they are
//! exact; the others with their defaults. Without the feature only our own policies run.
//!
//! With `--others`, instead, traces that nothing was tuned on: made-up ones of every kind in [`synthetic`] with
//! [`SEEDS`] seeds each, and other cuts of the given ones: their second halves, and two of them interleaved.
#![allow(clippy::print_stdout)] // that is what it is for

use evenly_benches::caches::{Contender, Maker, ours_exact};
use evenly_benches::scoreboard::{self, Better, Board, Measure, is_quick};
use evenly_benches::{belady, synthetic, traces};
use std::fmt::Write as _;
use std::io;

const TRACES: &[(&str, &[usize])] = &[
    ("lirs_cs", &[141, 500]),
    ("lirs_cpp", &[100, 122]),
    ("lirs_loop", &[101, 512]),
    ("lirs_multi1", &[26, 261, 1000]),
    ("lirs_multi3", &[75, 745, 1000]),
    ("lirs_sprite", &[71, 708, 1000]),
    ("lirs_2_pools", &[99, 450, 994]),
    ("addr_gcc", &[34, 337, 841]),
    ("addr_mcf", &[90, 901, 9008, 22_519]),
    ("adaptsize_req", &[40, 402, 4024, 10_060]),
    ("c2k_web12", &[138, 300, 1376]),
    ("arc_OLTP", &[187, 1000, 1869, 18_688]),
    ("cp_w106", &[275, 2752, 16_384, 27_517]),
    ("c2k_orm_busy", &[76, 763, 7635, 19_087]),
    ("arc_P6", &[774, 7738, 32_768, 77_377]),
];

/// Seeds of each made-up trace.
const SEEDS: u64 = 3;
/// Capacities for traces that nothing was tuned on.
const OTHER_CAPACITIES: &[usize] = &[50, 200, 1000, 4000];
/// Traces cut in half, and interleaved with the next in this list.
const CUT: &[&str] =
    &["c2k_web12", "lirs_sprite", "lirs_multi3", "adaptsize_req", "lirs_2_pools", "addr_gcc", "arc_OLTP"];

/// One trace at one capacity: per cent of hits.
struct Point {
    name: String,
    capacity: usize,
    optimum: f64,
    ratios: Vec<f64>,
}

fn main() -> io::Result<()> {
    let asked: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let contenders = contenders();
    let mut board = Board::new("hit_ratio");
    let mut points = Vec::new();
    let Some(folder) = traces::folder() else {
        board.miss("all", "no traces: ../shared/traces is not there (EVENLY_TRACES names another folder)");
        return board.finish().map(drop);
    };
    print_heads(&contenders);
    if asked.iter().any(|arg| arg == "--others") {
        others(&folder, &contenders, &mut points);
        summary(&contenders, &points);
        return Ok(());
    }
    let wanted = |name: &str| match is_quick() && asked.is_empty() {
        true => SHORT.contains(&name),
        false => asked.is_empty() || asked.iter().any(|part| name.contains(part.as_str())),
    };
    for (name, capacities) in TRACES.iter().filter(|(name, _)| wanted(name)) {
        match traces::read(&folder, name) {
            Ok(trace) => run(name, &trace, capacities, &contenders, &mut points),
            Err(error) => board.miss(name, &error.to_string()),
        }
    }
    summary(&contenders, &points);
    points.iter().for_each(|point| note(point, &contenders, &mut board));
    if !asked.is_empty() {
        board.print();
        return Ok(());
    }
    board.finish().map(drop)
}

/// `auto` is what one would use; the optimum, and moka where it holds more than it may, have columns of their own.
fn note(point: &Point, contenders: &[Maker], board: &mut Board) {
    let case = point.capacity.to_string();
    for (contender, ratio) in contenders.iter().zip(&point.ratios) {
        let who = match contender.name.as_str() {
            name if name == OURS => scoreboard::ours(name),
            name if name.starts_with("evenly") => scoreboard::also_ours(name),
            name => scoreboard::rival(name),
        };
        let over = ("hits %, holding more than it may", Better::More);
        let measure = if is_fair(contender, point) { Measure::HITS } else { over };
        board.note(&point.name, &case, measure, who, *ratio);
    }
    let optimum = scoreboard::rival("optimum (Belady)");
    board.note(&point.name, &case, ("optimum %", Better::More), optimum, point.optimum);
}

/// Traces that nothing was tuned on.
fn others(folder: &std::path::Path, contenders: &[Maker], points: &mut Vec<Point>) {
    for kind in synthetic::KINDS {
        for seed in 1..=SEEDS {
            let trace = synthetic::trace(kind, seed).expect("it is in the list");
            run(&format!("{kind} {seed}"), &trace, OTHER_CAPACITIES, contenders, points);
        }
    }
    let cut: Vec<_> =
        CUT.iter().filter_map(|name| traces::read(folder, name).ok().map(|trace| (name, trace))).collect();
    for (at, (name, trace)) in cut.iter().enumerate() {
        run(&format!("{name} 2nd half"), &trace[trace.len() / 2..], OTHER_CAPACITIES, contenders, points);
        let (other, with) = &cut[(at + 1) % cut.len()];
        // The other one's keys out of the way.
        let pairs = trace.iter().zip(with).flat_map(|(a, b)| [*a, *b ^ 1 << 60]);
        run(&format!("{name} + {other}"), &pairs.collect::<Vec<_>>(), OTHER_CAPACITIES, contenders, points);
    }
}

#[cfg(feature = "cache-rivals")]
fn contenders() -> Vec<Maker> {
    use evenly_benches::{cache_rivals::rivals, w_tiny_lfu::WTinyLfu};
    let model = Maker::new("w-tinylfu", WTinyLfu::new);
    let rivals = rivals().into_iter().filter(|rival| !rival.name.contains("lru"));
    ours_exact().into_iter().chain(rivals).chain([model]).collect()
}

#[cfg(not(feature = "cache-rivals"))]
fn contenders() -> Vec<Maker> {
    ours_exact()
}

fn short(name: &str) -> &str {
    name.trim_start_matches("evenly ")
}

fn print_heads(contenders: &[Maker]) {
    print!("{:22} {:>9}", "", "optimum");
    contenders.iter().for_each(|contender| print!(" {:>11}", short(&contender.name)));
    println!();
}

fn run(name: &str, trace: &[u64], capacities: &[usize], contenders: &[Maker], points: &mut Vec<Point>) {
    let next_uses = belady::next_uses(trace);
    let per_cent = |hits: u64| hits as f64 * 100.0 / trace.len() as f64;
    for capacity in capacities {
        let optimum = per_cent(belady::hits(trace, &next_uses, *capacity));
        let ratio = |contender: &Maker| per_cent(hits((contender.make)(*capacity).as_ref(), trace));
        let ratios: Vec<_> = contenders.iter().map(ratio).collect();
        let row = ratios.iter().fold(String::new(), |mut row, ratio| {
            let _ = write!(row, " {ratio:>11.2}");
            row
        });
        println!("{:22} {optimum:>9.2}{row}", format!("{name}@{capacity}"));
        points.push(Point { name: name.to_owned(), capacity: *capacity, optimum, ratios });
    }
}

fn hits(cache: &dyn Contender, trace: &[u64]) -> u64 {
    let mut hits = 0;
    for key in trace {
        if cache.get(*key).is_some() {
            hits += 1;
        } else {
            cache.insert(*key, *key);
        }
    }
    hits
}

fn summary(contenders: &[Maker], points: &[Point]) {
    let count = points.len() as f64;
    println!(
        "\n{:18} {:>8} {:>14} {:>12} {:>13}",
        "", "mean %", "% of optimum", "mean regret", "worst regret"
    );
    for (at, contender) in contenders.iter().enumerate() {
        let mean = points.iter().map(|point| point.ratios[at]).sum::<f64>() / count;
        let optimum =
            points.iter().map(|point| point.ratios[at] / point.optimum * 100.0).sum::<f64>() / count;
        let regrets = points.iter().map(|point| (best(contenders, point) - point.ratios[at]).max(0.0));
        let (sum, worst) =
            regrets.fold((0.0, 0.0_f64), |(sum, worst), regret| (sum + regret, worst.max(regret)));
        println!("{:18} {mean:>8.2} {optimum:>14.1} {:>12.2} {worst:>13.2}", contender.name, sum / count);
    }
}

fn best(contenders: &[Maker], point: &Point) -> f64 {
    let fair = contenders.iter().zip(&point.ratios).filter(|(maker, _)| is_fair(maker, point));
    fair.map(|(_, ratio)| *ratio).fold(0.0, f64::max)
}

fn is_fair(contender: &Maker, point: &Point) -> bool {
    contender.name != "moka" || point.capacity >= 500
}

/// The policy that one would use knowing nothing about the load.
const OURS: &str = "evenly auto";

/// What is enough for a look.
const SHORT: &[&str] =
    &["lirs_cs", "lirs_multi3", "lirs_sprite", "lirs_2_pools", "addr_gcc", "adaptsize_req", "c2k_web12"];
