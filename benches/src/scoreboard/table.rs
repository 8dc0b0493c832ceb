//! A board as Markdown, and where we lose.

use std::fmt::Write as _;

use super::{Better, Board, Row, Side};

impl Board {
    /// One table for each question: medians (lowest–highest), the ratio to the anchor within a round, what is missing, and
    /// where we lose.
    #[must_use]
    pub fn table(&self) -> String {
        let tables = self.questions().into_iter().map(|question| self.question(question));
        format!("{}{}{}", self.head(), tables.collect::<String>(), self.end())
    }

    /// What was measured, and where.
    pub(super) fn head(&self) -> String {
        let look = if self.quick { " · a quick look" } else { "" };
        format!("\n## {} · commit {} · {}{look}\n", self.bench, self.commit, self.machine)
    }

    /// Every question, in the order in which they were first noted.
    pub(super) fn questions(&self) -> Vec<&str> {
        let mut questions: Vec<&str> = Vec::new();
        for row in &self.rows {
            if !questions.contains(&row.question.as_str()) {
                questions.push(&row.question);
            }
        }
        questions
    }

    /// What is missing, and where we lose.
    pub(super) fn end(&self) -> String {
        let mut text = String::new();
        for (contender, why) in &self.missing {
            let _ = writeln!(text, "\n{contender}: {why}");
        }
        let losses = self.losses();
        let head = if losses.is_empty() { "\nWe lose nowhere.\n" } else { "\nWhere we lose:\n" };
        text.push_str(head);
        losses.iter().for_each(|loss| text.push_str(&format!("- {loss}\n")));
        text
    }

    /// Every case in which the best rival is better than we are by more than one in fifty, worst first.
    #[must_use]
    pub fn losses(&self) -> Vec<String> {
        let mut losses: Vec<(f64, String)> =
            self.rows.iter().filter(|row| row.side == Side::Ours).filter_map(|row| self.loss(row)).collect();
        losses.sort_by(|a, b| b.0.total_cmp(&a.0));
        losses.into_iter().map(|(_, line)| line).collect()
    }

    /// What a row is of its anchor, within each round; none if the anchor was not there.
    #[must_use]
    pub fn ratios_of(&self, row: &Row) -> Option<Vec<f64>> {
        Some(ratios(row, self.anchor_of(row)?))
    }

    /// The table of one question.
    pub(super) fn question(&self, question: &str) -> String {
        let mut text = String::new();
        let rows: Vec<&Row> = self.rows.iter().filter(|row| row.question == question).collect();
        let mut measures: Vec<&str> = Vec::new();
        let mut lines: Vec<(&str, &str)> = Vec::new();
        for row in &rows {
            if !measures.contains(&row.measure.name.as_str()) {
                measures.push(&row.measure.name);
            }
            if !lines.contains(&(&row.case, &row.contender)) {
                lines.push((&row.case, &row.contender));
            }
        }
        let anchor = self.anchor.as_deref().unwrap_or("ours");
        let _ = writeln!(text, "\n| {question} | who | {} | × {anchor} |", measures.join(" | "));
        let _ = writeln!(text, "|---|---|{}---|", "---|".repeat(measures.len()));
        for (case, contender) in lines {
            let cell = |measure: &str| {
                rows.iter()
                    .find(|row| row.case == case && row.contender == contender && row.measure.name == measure)
            };
            let cells: Vec<String> = measures
                .iter()
                .map(|measure| cell(measure).map_or_else(|| "–".to_owned(), |row| spread(&row.rounds)))
                .collect();
            let ratio = cell(measures[0]).and_then(|row| self.ratios_of(row));
            let ratio =
                ratio.map_or_else(|| "–".to_owned(), |ratios| spread_by(&ratios, |r| format!("{r:.2}")));
            let _ = writeln!(text, "| {case} | {contender} | {} | {ratio} |", cells.join(" | "));
        }
        text
    }

    /// Whom a row is compared with: the anchor, or ours.
    fn anchor_of<'a>(&'a self, row: &'a Row) -> Option<&'a Row> {
        self.peers(row).find(|peer| {
            self.anchor.as_ref().map_or(peer.side == Side::Ours, |anchor| peer.contender == *anchor)
        })
    }

    /// All contenders at the row's case, it among them.
    fn peers<'a>(&'a self, row: &'a Row) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(|peer| {
            peer.question == row.question && peer.case == row.case && peer.measure == row.measure
        })
    }

    fn loss(&self, row: &Row) -> Option<(f64, String)> {
        let rivals = self.peers(row).filter(|peer| peer.side == Side::Rival);
        let worse_than = |rival: &Row| {
            let mut ratios = ratios(row, rival);
            if row.measure.better == Better::More {
                ratios.iter_mut().for_each(|ratio| *ratio = 1.0 / *ratio);
            }
            ratios
        };
        let (rival, ratios) = rivals
            .map(|rival| (rival, worse_than(rival)))
            .max_by(|a, b| median(&a.1).total_cmp(&median(&b.1)))?;
        let by = median(&ratios);
        (by > WORTH_TELLING).then(|| {
            let [own, best] = [&row.rounds, &rival.rounds].map(|rounds| number(median(rounds)));
            let (question, case, measure) = (&row.question, &row.case, &row.measure.name);
            let range = spread_by(&ratios, |ratio| format!("{ratio:.2}"));
            let (us, them) = (&row.contender, &rival.contender);
            (by, format!("{question}, {case}: {us} {own} {measure}, {them} {best}: {range} times better"))
        })
    }
}

/// The middle value; not a number if there is none.
#[must_use]
pub fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

/// Round by round where both have the same rounds, else of the medians.
fn ratios(row: &Row, to: &Row) -> Vec<f64> {
    if row.rounds.len() == to.rounds.len() {
        return row.rounds.iter().zip(&to.rounds).map(|(own, other)| own / other).collect();
    }
    vec![median(&row.rounds) / median(&to.rounds)]
}

/// `median (lowest–highest)`, or the one value there is.
fn spread(values: &[f64]) -> String {
    spread_by(values, number)
}

fn spread_by(values: &[f64], show: impl Fn(f64) -> String) -> String {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    match values {
        [only] => show(*only),
        _ => format!("{} ({}–{})", show(median(values)), show(low), show(high)),
    }
}

/// Three digits that count, no more.
fn number(value: f64) -> String {
    let size = value.abs();
    if size >= 1e6 {
        return format!("{:.3} M", value / 1e6);
    }
    let text = match size {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    };
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// Less than a fiftieth is no loss that anybody would feel.
const WORTH_TELLING: f64 = 1.02;

#[cfg(test)]
mod tests {
    use super::super::{Better, Board, Measure, also_ours, ours, rival};
    use super::*;

    #[test]
    fn losses_look_at_ours_and_the_best_rival_only() {
        let mut board = Board::new("trial");
        for round in [1.0, 1.1, 1.3] {
            board.note("costs", "1", Measure::NANOSECONDS, ours("us"), 20.0 * round);
            board.note("costs", "1", Measure::NANOSECONDS, also_ours("us otherwise"), 90.0);
            board.note("costs", "1", Measure::NANOSECONDS, rival("slow"), 80.0);
            board.note("costs", "1", Measure::NANOSECONDS, rival("quick"), 10.0 * round);
            board.note("gains", "1", ("hits", Better::More), ours("us"), 50.0);
            board.note("gains", "1", ("hits", Better::More), rival("other"), 49.0);
        }
        assert_eq!(board.losses(), ["costs, 1: us 22 ns, quick 11: 2.00 (2.00–2.00) times better"]);
    }

    #[test]
    fn the_table_says_who_was_not_there_and_is_to_the_anchor() {
        let mut board = Board::new("trial").against("nginx");
        board.note("GET", "1k", ("CPU", Better::Less), rival("nginx"), 2.0);
        board.note("GET", "1k", ("CPU", Better::Less), ours("evenly"), 1.0);
        board.note("GET", "1k", ("p99 ms", Better::Less), ours("evenly"), 0.25);
        board.miss("envoy", "not installed");
        let table = board.table();
        assert!(table.contains("| GET | who | CPU | p99 ms | × nginx |"), "{table}");
        assert!(table.contains("| 1k | nginx | 2 | – | 1.00 |"), "{table}");
        assert!(table.contains("| 1k | evenly | 1 | 0.25 | 0.50 |"), "{table}");
        assert!(table.contains("\nenvoy: not installed\n"), "{table}");
        assert!(table.contains("We lose nowhere."), "{table}");
    }

    #[test]
    fn numbers_are_short() {
        assert_eq!(
            [0.0123, 1.0, 1.25, 13.04, 640.2, 4_500_000.0].map(number),
            ["0.0123", "1", "1.25", "13", "640", "4.500 M"]
        );
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0]), 2.5);
        assert!(median(&[]).is_nan());
    }
}
