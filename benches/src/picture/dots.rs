//! A row for each question, a dot for each contender, all on one axis.

use super::{
    Scale, Tone,
    scale::{Axis, named},
    svg::{Anchor, MARGIN, Sheet},
};

/// A picture of dots.
#[derive(Debug, Clone)]
pub struct Dots {
    /// What it shows.
    pub title: String,
    /// How it was measured.
    pub subtitle: String,
    /// The name of the axis and how it counts.
    pub x: (String, Scale),
    /// A number to compare with, and its name.
    pub rule: Option<(f64, String)>,
    /// From top to bottom.
    pub rows: Vec<Row>,
}

/// One question.
#[derive(Debug, Clone)]
pub struct Row {
    /// Which.
    pub name: String,
    /// Who answers it.
    pub dots: Vec<Dot>,
}

/// One contender's number.
#[derive(Debug, Clone)]
pub struct Dot {
    /// Who; the same name has the same tone in every row.
    pub name: String,
    /// Its colour.
    pub tone: Tone,
    /// The number.
    pub value: f64,
}

impl Dots {
    /// The picture as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let keys = self.keys();
        let top = TOP + KEY + (keys.last().map_or(0.0, |last| last.2)) * KEY_LINE;
        let longest = self.rows.iter().map(|row| row.name.chars().count()).max().unwrap_or(0);
        let left = LEFT.max(30.0 + LETTER * longest as f64);
        let width = WIDTH - LEFT + left;
        let bottom = top + self.rows.len() as f64 * ROW;
        let mut sheet = Sheet::new(width, bottom + 52.0, &self.title);
        sheet.subtitle(&self.subtitle);
        for (dot, x, line) in &keys {
            let (y, radius) = (TOP + line * KEY_LINE, if dot.tone == Tone::Ours { 6.0 } else { 4.2 });
            sheet.dot(*x, y - 10.0, radius, &dot.tone.fill());
            sheet.text_at(x + 11.0, y - 6.0, &dot.name, "ink", Anchor::Start);
        }
        let values = self.rows.iter().flat_map(|row| &row.dots).map(|dot| dot.value);
        let rule = self.rule.as_ref().map(|rule| rule.0);
        let from_zero = (self.x.1 == Scale::Linear).then_some(0.0);
        let x = Axis::over(self.x.1, values.chain(rule).chain(from_zero), left, width - 2.0 * MARGIN);
        for tick in x.ticks() {
            sheet.path(&[(x.place(tick), top), (x.place(tick), bottom)], "grid", 1.0);
            sheet.text_at(x.place(tick), bottom + 18.0, &named(tick), "soft", Anchor::Middle);
        }
        if let Some((value, name)) = &self.rule {
            sheet.path(&[(x.place(*value), top - 4.0), (x.place(*value), bottom)], "rule", 1.5);
            sheet.text_at(x.place(*value), top - 8.0, name, "soft", Anchor::Middle);
        }
        let middle = f64::midpoint(left, width - 2.0 * MARGIN);
        sheet.text_at(middle, bottom + 40.0, &self.x.0, "soft", Anchor::Middle);
        for (at, row) in self.rows.iter().enumerate() {
            let y = top + (at as f64 + 0.5) * ROW;
            sheet.text_at(left - 14.0, y + 4.0, &row.name, "ink", Anchor::End);
            let ends = row.dots.iter().map(|dot| x.place(dot.value));
            let span = ends.fold((f64::MAX, f64::MIN), |(low, high), at| (low.min(at), high.max(at)));
            sheet.path(&[(span.0, y), (span.1, y)], "grid", 2.0);
            // Ours last, over the others.
            let is_ours = |dot: &&Dot| dot.tone == Tone::Ours;
            let others = row.dots.iter().filter(|dot| !is_ours(dot));
            for dot in others.chain(row.dots.iter().filter(is_ours)) {
                let radius = if dot.tone == Tone::Ours { 6.0 } else { 4.2 };
                sheet.dot(x.place(dot.value), y, radius, &dot.tone.fill());
            }
        }
        sheet.finish()
    }

    /// Who has which colour, ours first; how far to the right it stands, and in which line above the rows.
    fn keys<'a>(&'a self) -> Vec<(&'a Dot, f64, f64)> {
        let mut known: Vec<&Dot> = Vec::new();
        for dot in self.rows.iter().flat_map(|row| &row.dots) {
            if known.iter().all(|one| one.name != dot.name) {
                known.push(dot);
            }
        }
        known.sort_by_key(|dot| dot.tone != Tone::Ours);
        let (mut next, mut line) = (MARGIN + 6.0, 0.0);
        let place = |dot: &'a Dot| {
            let width = 34.0 + LETTER * dot.name.chars().count() as f64;
            if next + width > WIDTH - MARGIN {
                (next, line) = (MARGIN + 6.0, line + 1.0);
            }
            next += width;
            (dot, next - width, line)
        };
        known.into_iter().map(place).collect()
    }
}

const WIDTH: f64 = 860.0;
/// Room for the rows' names, at least.
const LEFT: f64 = 190.0;
const TOP: f64 = 76.0;
/// Between the key and the first row.
const KEY: f64 = 26.0;
const KEY_LINE: f64 = 18.0;
/// The mean width of a letter.
const LETTER: f64 = 6.8;
const ROW: f64 = 24.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_contender_is_in_the_key_once() {
        let dot = |name: &str, value| Dot { name: name.into(), tone: Tone::Other(1), value };
        let row = |name: &str| Row { name: name.into(), dots: vec![dot("haproxy", 1.1), dot("envoy", 3.0)] };
        let picture = Dots {
            title: "t".into(),
            subtitle: "s".into(),
            x: ("× nginx".into(), Scale::Log),
            rule: Some((1.0, "nginx".into())),
            rows: vec![row("a"), row("b")],
        };
        let svg = picture.svg();
        assert_eq!((svg.matches(">haproxy<").count(), svg.matches(">envoy<").count()), (1, 1));
        assert!(!svg.contains("NaN"), "{svg}");
    }
}
