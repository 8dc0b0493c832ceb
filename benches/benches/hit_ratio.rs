//! Which policy hits most, trace by trace, and how far is each from the best and from the optimum?
//!
//! `cargo bench -p evenly-benches --features cache-rivals --bench hit_ratio [-- TRACE…] [-- --svg FILE]`
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
use evenly_benches::{belady, synthetic, traces};
use std::fmt::Write as _;

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

fn main() {
    let args: Vec<_> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let svg = args.iter().position(|arg| arg == "--svg").and_then(|at| args.get(at + 1));
    let asked: Vec<_> = args.iter().filter(|arg| *arg != "--svg" && Some(*arg) != svg).collect();
    let Some(folder) = traces::folder() else {
        println!("no traces: ../shared/traces is not there (EVENLY_TRACES names another folder)");
        return;
    };
    let contenders = contenders();
    print_heads(&contenders);
    let mut points = Vec::new();
    if args.iter().any(|arg| arg == "--others") {
        others(&folder, &contenders, &mut points);
        summary(&contenders, &points);
        return;
    }
    for (name, capacities) in TRACES {
        if asked.is_empty() || asked.iter().any(|part| name.contains(part.as_str())) {
            match traces::read(&folder, name) {
                Ok(trace) => run(name, &trace, capacities, &contenders, &mut points),
                Err(error) => println!("{name}: {error}"),
            }
        }
    }
    summary(&contenders, &points);
    if let Some(file) = svg {
        std::fs::write(file, plot(&contenders, &points)).expect("the SVG file can be written");
    }
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
    let rivals = evenly_benches::cache_rivals::rivals();
    ours_exact().into_iter().chain(rivals.into_iter().filter(|rival| !rival.name.contains("lru"))).collect()
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
    let fair = contenders
        .iter()
        .zip(&point.ratios)
        .filter(|(maker, _)| maker.name != "moka" || point.capacity >= 500);
    fair.map(|(_, ratio)| *ratio).fold(0.0, f64::max)
}

/// A row of bars for each trace, at its middle capacity; the line is the optimum.
fn plot(contenders: &[Maker], points: &[Point]) -> String {
    const COLOURS: [&str; 7] = ["#1b6ca8", "#5aa9e6", "#2a9d8f", "#8ab17d", "#c9c9c9", "#e9a23b", "#d1495b"];
    let (left, top, bar_width, gap, height) = (40, 50, 9, 14, 220.0);
    let shown: Vec<_> =
        points.chunk_by(|a, b| a.name == b.name).map(|trace| &trace[trace.len() / 2]).collect();
    let group = bar_width * contenders.len() + gap;
    let width = left + shown.len() * group + 10;
    let mut svg = format!(
        "<svg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 {width} 400' font-family='sans-serif' font-size='10'>\n\
         <rect width='{width}' height='400' fill='white'/>\n<text x='{left}' y='16' font-size='13'>Hit ratio in per cent, \
         by trace and capacity; the line over each group is the optimum (Belady)</text>\n"
    );
    for (at, contender) in contenders.iter().enumerate() {
        let (x, colour) = (left + at * 110, COLOURS[at % COLOURS.len()]);
        let _ = writeln!(
            svg,
            "<rect x='{x}' y='26' width='10' height='10' fill='{colour}'/><text x='{}' y='35'>{}</text>",
            x + 14,
            contender.name
        );
    }
    for tick in 0..=5 {
        let y = f64::from(top) + height * (1.0 - f64::from(tick) / 5.0);
        let _ = writeln!(
            svg,
            "<line x1='{left}' x2='{width}' y1='{y}' y2='{y}' stroke='#eee'/><text x='14' y='{}'>{}</text>",
            y + 3.0,
            tick * 20
        );
    }
    for (at, point) in shown.iter().enumerate() {
        let x = left + at * group;
        for (bar, ratio) in point.ratios.iter().enumerate() {
            let tall = height * ratio / 100.0;
            let (x, y, colour) =
                (x + bar * bar_width, f64::from(top) + height - tall, COLOURS[bar % COLOURS.len()]);
            let _ = writeln!(
                svg,
                "<rect x='{x}' y='{y:.1}' width='{}' height='{tall:.1}' fill='{colour}'/>",
                bar_width - 1
            );
        }
        let (y, end) = (f64::from(top) + height * (1.0 - point.optimum / 100.0), x + group - gap);
        let _ = writeln!(svg, "<line x1='{x}' x2='{end}' y1='{y:.1}' y2='{y:.1}' stroke='black'/>");
        let (middle, low) = (x + group / 2 - 6, f64::from(top) + height + 12.0);
        let _ = writeln!(
            svg,
            "<text transform='translate({middle} {low}) rotate(50)'>{} @ {}</text>",
            point.name, point.capacity
        );
    }
    svg + "</svg>\n"
}
