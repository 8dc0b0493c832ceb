//! Samples become a table: medians, and the median of the ratios to nginx within a round.

use std::{collections::BTreeMap, fmt::Write, io, process::Command};

use crate::load::Seen;

/// One rival, one scenario, one round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// CPU seconds for 100,000 requests.
    pub(crate) cpu_s: f64,
    pub(crate) seen: Seen,
    pub(crate) memory: u64,
}

/// All samples of a sitting.
#[derive(Debug)]
pub(crate) struct Table {
    samples: BTreeMap<(String, String), BTreeMap<u32, Sample>>,
    /// In the order of their first sample.
    rows: Vec<(String, String)>,
    commit: String,
    machine: String,
}

impl Table {
    /// An empty one that knows where it stands.
    ///
    /// # Errors
    /// When git cannot be run.
    pub(crate) fn new() -> io::Result<Table> {
        let said = Command::new("git").args(["describe", "--always", "--dirty"]).output()?.stdout;
        let cpus = std::fs::read_to_string("/proc/cpuinfo")?;
        let model = cpus.lines().find_map(|line| line.strip_prefix("model name"));
        let model = model.map_or("unknown", |model| model.trim_start_matches([' ', '\t', ':'])).to_owned();
        Ok(Table {
            samples: BTreeMap::new(),
            rows: Vec::new(),
            commit: String::from_utf8_lossy(&said).trim().to_owned(),
            machine: format!("{model}, {} cores", cpus.matches("processor\t").count()),
        })
    }

    pub(crate) fn note(&mut self, scenario: &str, rival: &str, round: u32, sample: Sample) {
        let key = (scenario.to_owned(), rival.to_owned());
        if !self.samples.contains_key(&key) {
            self.rows.push(key.clone());
        }
        self.samples.entry(key).or_default().insert(round, sample);
    }

    /// Ratios to nginx, each within its round, sorted; nothing if nginx was not there.
    fn ratios(&self, (scenario, rival): &(String, String)) -> Vec<f64> {
        let nginx = self.samples.get(&(scenario.clone(), ANCHOR.to_owned()));
        let own = &self.samples[&(scenario.clone(), rival.clone())];
        let pairs = own.iter().filter_map(|(round, own)| Some(own.cpu_s / nginx?.get(round)?.cpu_s));
        sorted(pairs)
    }

    pub(crate) fn print(&self) {
        println!("commit {} · {}", self.commit, self.machine);
        println!(
            "| scenario | proxy | × nginx (CPU) | range | CPU s / 100k | thousand / s | p50 ms | p99 ms | own MiB |"
        );
        println!("|---|---|---|---|---|---|---|---|---|");
        for row in &self.rows {
            let samples = &self.samples[row];
            let median_of = |what: &dyn Fn(&Sample) -> f64| median(&sorted(samples.values().map(what)));
            let ratios = self.ratios(row);
            let (least, most) = (ratios.first().unwrap_or(&f64::NAN), ratios.last().unwrap_or(&f64::NAN));
            println!(
                "| {} | {} | {:.2} | {least:.2}–{most:.2} | {:.2} | {:.1} | {:.2} | {:.2} | {:.1} |",
                row.0,
                row.1,
                median(&ratios),
                median_of(&|sample| sample.cpu_s),
                median_of(&|sample| sample.seen.per_second / 1000.0),
                median_of(&|sample| sample.seen.p50_ms),
                median_of(&|sample| sample.seen.p99_ms),
                median_of(&|sample| sample.memory as f64 / 1048576.0),
            );
        }
    }

    /// Every sample, for plots and for whoever doubts the medians.
    pub(crate) fn json(&self) -> String {
        let mut lines = Vec::new();
        for row in &self.rows {
            for (round, sample) in &self.samples[row] {
                let seen = &sample.seen;
                let mut line = String::new();
                // Writing to a String cannot fail.
                let _ = write!(
                    line,
                    "{{\"scenario\":\"{}\",\"proxy\":\"{}\",\"round\":{round},\"cpu_s_per_100k\":{:.4},\"requests\":{},\
                     \"per_second\":{:.1},\"p50_ms\":{:.3},\"p99_ms\":{},\"own_bytes\":{}}}",
                    row.0,
                    row.1,
                    sample.cpu_s,
                    seen.requests,
                    seen.per_second,
                    seen.p50_ms,
                    if seen.p99_ms.is_nan() { "null".to_owned() } else { format!("{:.3}", seen.p99_ms) },
                    sample.memory
                );
                lines.push(line);
            }
        }
        let (commit, machine) = (&self.commit, &self.machine);
        let samples = lines.join(",\n");
        format!("{{\"commit\":\"{commit}\",\"machine\":\"{machine}\",\"samples\":[\n{samples}\n]}}\n")
    }
}

fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut sorted: Vec<f64> = numbers.collect();
    sorted.sort_by(f64::total_cmp);
    sorted
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

const ANCHOR: &str = "nginx";
