//! The README's pictures, drawn from what the benches left in `target/bench/`: `make pictures`.
#![expect(clippy::print_stdout, reason = "it says what it drew")]

use std::{fs, path::Path, process::ExitCode};

use evenly_benches::{
    picture::{Dot, Dots, Line, Lines, Panel, Row, Scale, Tone},
    scoreboard::{self, Board, Side, median},
};

/// Draws each picture whose board is there; which are not is told, and is a failure.
fn main() -> ExitCode {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures");
    let mut code = ExitCode::SUCCESS;
    for (name, bench, draw) in PICTURES {
        let drawn = Board::read(&scoreboard::folder(), bench).and_then(|board| {
            fs::create_dir_all(&folder)?;
            fs::write(folder.join(format!("{name}.svg")), draw(&board))
        });
        match drawn {
            Ok(()) => println!("drew docs/pictures/{name}.svg"),
            Err(error) => {
                eprintln!("no {name}: {error} (make bench)");
                code = ExitCode::FAILURE;
            }
        }
    }
    code
}

type Draw = fn(&Board) -> String;

const PICTURES: [(&str, &str, Draw); 4] = [
    ("picks", "picks", picks),
    ("hit-ratio", "hit_ratio", hit_ratio),
    ("tail", "tails", tails),
    ("proxies", "proxies", proxies),
];

fn picks(board: &Board) -> String {
    let panels =
        [("ring", "a key on a ring of 160 points a member"), ("p2c", "two at random, the less loaded")];
    Lines {
        title: "What a pick costs, by the number of members".into(),
        subtitle: measured(board, "one thread, contenders in turns, medians"),
        x: ("members".into(), Scale::Log),
        y: ("ns a pick".into(), Scale::Log),
        panels: panels.map(|(question, name)| panel(board, question, name, &tone_of_side)).into(),
    }
    .svg()
}

fn tails(board: &Board) -> String {
    let panels = [
        ("1 client(s)", "one balancer sees all requests"),
        ("10 client(s)", "ten balancers, each with its own"),
    ];
    Lines {
        title: "The 99th percentile when one of 20 servers is ten times slower".into(),
        subtitle: measured(board, "simulation, open loop, exponential service times"),
        x: ("utilisation".into(), Scale::Linear),
        y: ("p99 in service times".into(), Scale::Log),
        panels: panels.map(|(question, name)| panel(board, question, name, &tone_of_side)).into(),
    }
    .svg()
}

/// One question of a board whose cases are numbers.
fn panel(board: &Board, question: &str, name: &str, tone: &dyn Fn(Side, usize) -> Tone) -> Panel {
    let mut lines: Vec<Line> = Vec::new();
    let mut rows: Vec<_> = board
        .rows
        .iter()
        .filter(|row| row.question == question && row.measure == board.rows[0].measure)
        .filter_map(|row| Some((row.case.parse::<f64>().ok()?, row)))
        .collect();
    rows.sort_by(|a, b| a.0.total_cmp(&b.0));
    for (x, row) in rows {
        let point = (x, median(&row.rounds));
        let at = lines.iter().position(|line| line.name == row.contender);
        if let Some(at) = at {
            lines[at].points.push(point);
        } else {
            let tone = tone(row.side, lines.len());
            lines.push(Line { name: row.contender.clone(), tone, points: vec![point] });
        }
    }
    Panel { name: name.into(), lines }
}

fn tone_of_side(side: Side, at: usize) -> Tone {
    if side == Side::Ours { Tone::Ours } else { Tone::Other(at) }
}

/// How near each comes to the optimum, trace by trace, each at the middle of its capacities.
fn hit_ratio(board: &Board) -> String {
    let mut points: Vec<(&str, Vec<&str>)> = Vec::new();
    for row in &board.rows {
        match points.iter_mut().find(|(trace, _)| *trace == row.question) {
            Some((_, cases)) if !cases.contains(&row.case.as_str()) => cases.push(&row.case),
            Some(_) => {}
            None => points.push((&row.question, vec![&row.case])),
        }
    }
    let rows = points.into_iter().filter_map(|(trace, cases)| {
        let case = cases[cases.len() / 2];
        let here = || board.rows.iter().filter(|row| row.question == trace && row.case == case);
        let is_optimum = |row: &&scoreboard::Row| row.contender.starts_with("optimum");
        let optimum = here().find(is_optimum)?.rounds.first()?;
        let rivals = here().filter(|row| row.measure.name == "hits %" && !is_optimum(row));
        let dots = rivals.map(|row| Dot {
            name: row.contender.trim_start_matches("evenly ").to_owned(),
            tone: tone_of_name(&row.contender, "evenly auto"),
            value: median(&row.rounds) / optimum * 100.0,
        });
        Some(Row { name: format!("{trace} @ {case}"), dots: dots.collect() })
    });
    Dots {
        title: "Hits, in per cent of what an optimum that knows the future hits".into(),
        subtitle: format!("real request traces @ entries; commit {}", board.commit),
        x: ("% of the optimum's hits".into(), Scale::Linear),
        rule: Some((100.0, "optimum".into())),
        rows: rows.collect(),
    }
    .svg()
}

fn proxies(board: &Board) -> String {
    let mut names: Vec<&str> = Vec::new();
    let cpu = || board.rows.iter().filter(|row| row.measure.name.starts_with("CPU s"));
    for row in cpu() {
        if !names.contains(&row.case.as_str()) {
            names.push(&row.case);
        }
    }
    let rows = names.into_iter().map(|scenario| {
        // With its log nginx differs by less than a dot.
        let dots =
            cpu().filter(|row| row.case == scenario && row.contender != "nginx-log").filter_map(|row| {
                Some(Dot {
                    name: row.contender.clone(),
                    tone: tone_of_name(&row.contender, "evenly"),
                    value: median(&board.ratios_of(row)?),
                })
            });
        Row { name: spelled(scenario), dots: dots.collect() }
    });
    Dots {
        title: "CPU time of a proxy for each request, beside nginx".into(),
        subtitle: measured(board, "one worker pinned to one core, medians of the ratios within a round"),
        x: ("× nginx's CPU time, less is better".into(), Scale::Log),
        rule: Some((1.0, "nginx".into())),
        rows: rows.collect(),
    }
    .svg()
}

/// The same tone for a name in every row.
fn tone_of_name(name: &str, ours: &str) -> Tone {
    if name == ours {
        return Tone::Ours;
    }
    NAMES.iter().position(|known| *known == name).map_or(Tone::AlsoOurs, Tone::Other)
}

fn measured(board: &Board, how: &str) -> String {
    format!("{how}; commit {}, {}", board.commit, board.machine)
}

fn spelled(scenario: &str) -> String {
    let spelled = SCENARIOS.iter().find(|(name, _)| *name == scenario);
    spelled.map_or(scenario, |(_, spelled)| spelled).to_owned()
}

/// Whose colours are fixed; two of one picture are never seven apart.
const NAMES: [&str; 14] = [
    "haproxy",
    "hyper",
    "envoy",
    "caddy",
    "varnish",
    "nginx",
    "pingora",
    "moka",
    "quick_cache",
    "TinyUFO",
    "evenly lfu",
    "evenly s3_fifo",
    "evenly lru",
    "evenly tiny_lfu",
];

const SCENARIOS: [(&str, &str); 10] = [
    ("get-1k", "GET 1 KiB"),
    ("get-10k", "GET 10 KiB"),
    ("get-1m", "GET 1 MiB"),
    ("post-10k", "POST 10 KiB"),
    ("connect-1k", "new connection each"),
    ("hit-1k", "cached hit, 1 KiB"),
    ("hit-10k", "cached hit, 10 KiB"),
    ("h2c-1k", "HTTP/2, GET 1 KiB"),
    ("tls-1k", "TLS, GET 1 KiB"),
    ("paced-1k", "2,000 requests a second"),
];
