//! A board as one picture: a row for each table's line of comparison, a dot for each contender.

use super::{Better, Board, Row, Side, median};
use crate::picture::{self, Dot, Dots, Scale, Tone};

impl Board {
    /// Every comparison as SVG: the median of each contender's ratios to the anchor, as the table has them.
    #[must_use]
    pub fn chart(&self) -> String {
        let mut comparisons: Vec<&Row> = Vec::new();
        for row in &self.rows {
            if comparisons.iter().all(|known| !known.is_compared_with(row)) {
                comparisons.push(row);
            }
        }
        let anchor = self.anchor.as_deref().unwrap_or("ours");
        let mut rivals: Vec<&str> = Vec::new();
        // The one whom all are compared with is the line at 1.
        for row in self.rows.iter().filter(|row| row.side == Side::Rival && row.contender != anchor) {
            if !rivals.contains(&row.contender.as_str()) {
                rivals.push(&row.contender);
            }
        }
        let tone = |row: &Row| match row.side {
            Side::Ours => Tone::Ours,
            Side::AlsoOurs => Tone::AlsoOurs,
            Side::Rival => Tone::Other(rivals.iter().position(|name| *name == row.contender).unwrap_or(0)),
        };
        let rows = comparisons.into_iter().filter_map(|one| {
            let peers = self.rows.iter().filter(|row| one.is_compared_with(row) && row.contender != anchor);
            let dots: Vec<Dot> = peers
                .filter_map(|row| {
                    let value = median(&self.ratios_of(row)?);
                    let is_drawn = value.is_finite() && value > 0.0;
                    is_drawn.then(|| Dot { name: row.contender.clone(), tone: tone(row), value })
                })
                .collect();
            let better = if one.measure.better == Better::Less { "↓" } else { "↑" };
            let name = [&one.question, &one.case, &one.measure.name].map(String::as_str).join(" · ");
            let is_compared = dots.len() > usize::from(self.anchor.is_none());
            is_compared.then(|| picture::Row { name: format!("{name} {better}"), dots })
        });
        let look = if self.quick { ", a quick look" } else { "" };
        Dots {
            title: format!("{}, × {anchor}", self.bench),
            subtitle: format!(
                "medians of the ratios within a round; commit {}, {}{look}",
                self.commit, self.machine
            ),
            x: (format!("× {anchor} (↓ less is better, ↑ more is)"), Scale::Log),
            rule: Some((1.0, anchor.to_owned())),
            rows: rows.collect(),
        }
        .svg()
    }
}

impl Row {
    fn is_compared_with(&self, other: &Row) -> bool {
        self.question == other.question && self.case == other.case && self.measure == other.measure
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scoreboard::{Measure, ours, rival};

    #[test]
    fn every_comparison_is_a_row_and_who_is_alone_is_none() {
        let mut board = Board::new("trial");
        for case in ["1", "2"] {
            board.note("ring", case, Measure::NANOSECONDS, ours("balancers"), 2.0);
            board.note("ring", case, Measure::NANOSECONDS, rival("hashring"), 8.0);
        }
        board.note("build", "1", Measure::NANOSECONDS, ours("balancers"), 3.0);
        let svg = board.chart();
        assert!(
            svg.contains("ring · 1 · ns") && svg.contains("ring · 2 · ns") && !svg.contains("build"),
            "{svg}"
        );
        assert_eq!(svg.matches(">hashring<").count(), 1, "{svg}");
    }
}
