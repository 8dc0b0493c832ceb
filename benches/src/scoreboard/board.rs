//! What is noted, and where it is kept.

use std::{env, fs, io, path::Path, path::PathBuf, process::Command};

use serde::{Deserialize, Serialize};

/// Everything one bench found in one sitting.
#[derive(Debug, Serialize, Deserialize)]
pub struct Board {
    /// The bench's name, and its file's.
    pub bench: String,
    /// `git describe` of what was measured.
    pub commit: String,
    /// The processor and how many cores.
    pub machine: String,
    /// Whether it was only a look.
    pub quick: bool,
    /// Whom ratios are to; our first contender if nobody is named.
    pub anchor: Option<String>,
    /// In the order in which they were first noted.
    pub rows: Vec<Row>,
    /// Contenders that were not there, with the reason.
    pub missing: Vec<(String, String)>,
    /// How many questions' tables have been printed.
    #[serde(skip)]
    told: usize,
}

/// One contender at one case of one question: a value for each round.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What is compared: `ring`, `get or insert`, `GET 1 KiB`.
    pub question: String,
    /// Which size, capacity or kind of it.
    pub case: String,
    /// What the numbers are.
    pub measure: Measure,
    /// Who.
    pub contender: String,
    /// Whose.
    pub side: Side,
    /// One value for each round.
    pub rounds: Vec<f64>,
}

/// What numbers are, and which are good.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measure {
    /// With its unit: `ns an operation`.
    pub name: String,
    /// Which numbers are good.
    pub better: Better,
}

/// Which numbers are good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// Costs.
    Less,
    /// Gains.
    More,
}

/// Whose a contender is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Ours, as one would use it: what "where we lose" looks at.
    Ours,
    /// Ours in another way, shown beside it.
    AlsoOurs,
    /// Somebody else's.
    Rival,
}

/// Who is noted.
#[derive(Debug, Clone, Copy)]
pub struct Contender<'a> {
    name: &'a str,
    side: Side,
}

/// Ours, as one would use it.
#[must_use]
pub fn ours(name: &str) -> Contender<'_> {
    Contender { name, side: Side::Ours }
}

/// Ours in another way: shown, and not counted when it is asked whether we lose.
#[must_use]
pub fn also_ours(name: &str) -> Contender<'_> {
    Contender { name, side: Side::AlsoOurs }
}

/// Somebody else's.
#[must_use]
pub fn rival(name: &str) -> Contender<'_> {
    Contender { name, side: Side::Rival }
}

impl Measure {
    /// Time for one operation.
    pub const NANOSECONDS: (&'static str, Better) = ("ns", Better::Less);
    /// Time for one operation.
    pub const MICROSECONDS: (&'static str, Better) = ("µs", Better::Less);
    /// Of all requests.
    pub const HITS: (&'static str, Better) = ("hits %", Better::More);
    /// Memory for one entry.
    pub const BYTES: (&'static str, Better) = ("bytes", Better::Less);
    /// How many a second.
    pub const RATE: (&'static str, Better) = ("1/s", Better::More);
}

impl From<(&str, Better)> for Measure {
    fn from((name, better): (&str, Better)) -> Self {
        Self { name: name.to_owned(), better }
    }
}

impl Board {
    /// An empty one that knows commit and machine.
    #[must_use]
    pub fn new(bench: &str) -> Self {
        Self {
            bench: bench.to_owned(),
            commit: commit().unwrap_or_else(|| "unknown".to_owned()),
            machine: machine(),
            quick: super::is_quick(),
            anchor: None,
            rows: Vec::new(),
            missing: Vec::new(),
            told: 0,
        }
    }

    /// Ratios are to this contender.
    #[must_use]
    pub fn against(mut self, anchor: &str) -> Self {
        self.anchor = Some(anchor.to_owned());
        self
    }

    /// Notes the next round's value. What is no number is not noted.
    pub fn note(
        &mut self,
        question: &str,
        case: &str,
        measure: impl Into<Measure>,
        who: Contender<'_>,
        value: f64,
    ) {
        if !value.is_finite() {
            return;
        }
        let measure = measure.into();
        let is_it = |row: &&mut Row| {
            row.question == question
                && row.case == case
                && row.contender == who.name
                && row.measure.name == measure.name
        };
        if let Some(row) = self.rows.iter_mut().find(is_it) {
            row.rounds.push(value);
            return;
        }
        self.rows.push(Row {
            question: question.to_owned(),
            case: case.to_owned(),
            measure,
            contender: who.name.to_owned(),
            side: who.side,
            rounds: vec![value],
        });
    }

    /// A contender that should have been there: said in the table, not left out in silence.
    pub fn miss(&mut self, contender: &str, why: &str) {
        self.missing.push((contender.to_owned(), why.to_owned()));
    }

    /// Prints the tables of the questions that have come since the last time, so that nobody waits for the end to see
    /// them. A question is told once: when all its cases are there.
    #[expect(clippy::print_stdout, reason = "the table is what a bench is for")]
    pub fn tell(&mut self) {
        if self.told == 0 {
            print!("{}", self.head());
        }
        let questions = self.questions();
        questions[self.told..].iter().for_each(|question| print!("{}", self.question(question)));
        self.told = questions.len();
    }

    /// Prints all that was not told, and the end: for a sitting that looked at a part only, which is not to replace the
    /// whole one.
    #[expect(clippy::print_stdout, reason = "the table is what a bench is for")]
    pub fn print(&mut self) {
        self.tell();
        println!("{}", self.end());
    }

    /// Prints the table and keeps everything in `target/bench/<bench>.json`, whose place is returned, and as a picture
    /// beside it.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(&mut self) -> io::Result<PathBuf> {
        self.print();
        let folder = folder();
        fs::create_dir_all(&folder)?;
        let path = folder.join(format!("{}.json", self.bench));
        fs::write(&path, serde_json::to_string_pretty(self)?)?;
        fs::write(path.with_extension("svg"), self.chart())?;
        Ok(path)
    }

    /// What `finish` kept of a bench.
    ///
    /// # Errors
    /// When there is no such file, or it is none of ours.
    pub fn read(folder: &Path, bench: &str) -> io::Result<Self> {
        let path = folder.join(format!("{bench}.json"));
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let text = fs::read_to_string(&path).map_err(named)?;
        serde_json::from_str(&text).map_err(|error| named(error.into()))
    }
}

/// `target/bench`, where the boards are kept.
#[must_use]
pub fn folder() -> PathBuf {
    let target = env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target")).join("bench")
}

fn commit() -> Option<String> {
    let place = env!("CARGO_MANIFEST_DIR");
    let said = Command::new("git").args(["-C", place, "describe", "--always", "--dirty"]).output().ok()?;
    said.status.success().then(|| String::from_utf8_lossy(&said.stdout).trim().to_owned())
}

fn machine() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
    let model = model.map_or("unknown processor", |model| model.trim_start_matches([' ', '\t', ':']));
    let cores = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    format!("{model}, {cores} cores")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_kept_is_read_again() {
        let mut board = Board::new("trial");
        board.note("q", "1", Measure::HITS, ours("a"), 50.0);
        board.note("q", "1", Measure::HITS, ours("a"), f64::NAN);
        board.miss("b", "not installed");
        let text = serde_json::to_string(&board).expect("plain data");
        let again: Board = serde_json::from_str(&text).expect("what we wrote");
        assert_eq!(again.rows, board.rows);
        assert_eq!(again.rows[0].rounds, [50.0]);
        assert_eq!(again.missing, board.missing);
    }
}
