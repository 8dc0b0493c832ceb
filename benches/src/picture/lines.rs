//! Lines over panels side by side, which share the scale of y; each line is named at its end.

use super::{
    Scale, Tone,
    scale::{Axis, named},
    svg::{Anchor, MARGIN, Sheet},
};

/// A picture of lines.
#[derive(Debug, Clone)]
pub struct Lines {
    /// What it shows.
    pub title: String,
    /// How it was measured.
    pub subtitle: String,
    /// The name of x and how it counts.
    pub x: (String, Scale),
    /// The name of y and how it counts.
    pub y: (String, Scale),
    /// From left to right.
    pub panels: Vec<Panel>,
}

/// One of them.
#[derive(Debug, Clone)]
pub struct Panel {
    /// What it is about; nothing if there is only one.
    pub name: String,
    /// What it has.
    pub lines: Vec<Line>,
}

/// One line.
#[derive(Debug, Clone)]
pub struct Line {
    /// Written at its end.
    pub name: String,
    /// Its colour.
    pub tone: Tone,
    /// From left to right.
    pub points: Vec<(f64, f64)>,
}

impl Lines {
    /// The picture as SVG.
    #[must_use]
    pub fn svg(&self) -> String {
        let mut sheet = Sheet::new(WIDTH, HEIGHT, &self.title);
        sheet.subtitle(&self.subtitle);
        let ys = self.panels.iter().flat_map(|panel| &panel.lines).flat_map(|line| &line.points);
        let from_zero = (self.y.1 == Scale::Linear).then_some(0.0);
        let y = Axis::over(self.y.1, ys.map(|point| point.1).chain(from_zero), BOTTOM, TOP);
        sheet.text_up(MARGIN + 4.0, f64::midpoint(TOP, BOTTOM), &self.y.0);
        let left = MARGIN + 48.0;
        let share = (WIDTH - left) / self.panels.len().max(1) as f64;
        let names = self.panels.iter().flat_map(|panel| &panel.lines).map(|line| line.name.chars().count());
        let labels = 24.0 + LETTER * names.max().unwrap_or(0) as f64;
        // The next panel's numbers want room as well.
        let labels = labels + if self.panels.len() > 1 { 30.0 } else { 0.0 };
        for (at, panel) in self.panels.iter().enumerate() {
            let from = left + at as f64 * share;
            self.draw(panel, &y, from, from + share - labels, &mut sheet);
        }
        sheet.finish()
    }

    fn draw(&self, panel: &Panel, y: &Axis, left: f64, right: f64, sheet: &mut Sheet) {
        for tick in y.ticks() {
            let at = y.place(tick);
            sheet.path(&[(left, at), (right, at)], "grid", 1.0);
            sheet.text_at(left - 8.0, at + 4.0, &named(tick), "soft", Anchor::End);
        }
        let mut xs: Vec<f64> =
            panel.lines.iter().flat_map(|line| &line.points).map(|point| point.0).collect();
        xs.sort_by(f64::total_cmp);
        xs.dedup();
        let (low, high) = (xs.first().copied().unwrap_or(1.0), xs.last().copied().unwrap_or(2.0));
        let x = Axis::exactly(self.x.1, low, if high > low { high } else { low + 1.0 }, left, right);
        // What was measured is named, unless that is too much.
        let mut free_from = 0.0;
        for tick in if xs.len() <= 7 { xs } else { x.ticks() } {
            let at = x.place(tick);
            sheet.path(&[(at, BOTTOM), (at, BOTTOM + 4.0)], "rule", 1.0);
            if at >= free_from {
                sheet.text_at(at, BOTTOM + 18.0, &named(tick), "soft", Anchor::Middle);
                free_from = at + 10.0 + 6.5 * named(tick).len() as f64;
            }
        }
        let middle = f64::midpoint(left, right);
        sheet.path(&[(left, BOTTOM), (right, BOTTOM)], "rule", 1.0);
        sheet.text_at(middle, BOTTOM + 38.0, &self.x.0, "soft", Anchor::Middle);
        sheet.text_at(left, TOP - 10.0, &panel.name, "ink", Anchor::Start);
        // Ours last, over the others.
        let is_ours = |line: &&Line| line.tone == Tone::Ours;
        let others = panel.lines.iter().filter(|line| !is_ours(line));
        for line in others.chain(panel.lines.iter().filter(is_ours)) {
            let points: Vec<_> = line.points.iter().map(|(a, b)| (x.place(*a), y.place(*b))).collect();
            let width = if line.tone == Tone::Ours { 3.0 } else { 1.8 };
            sheet.path(&points, &line.tone.stroke(), width);
            for (a, b) in &points {
                sheet.dot(*a, *b, width, &line.tone.fill());
            }
        }
        name_ends(panel, &x, y, sheet);
    }
}

/// Writes each line's name at its end, moved apart where they would touch.
fn name_ends(panel: &Panel, x: &Axis, y: &Axis, sheet: &mut Sheet) {
    let mut ends: Vec<(f64, f64, &Line)> = panel
        .lines
        .iter()
        .filter_map(|line| line.points.last().map(|end| (x.place(end.0), y.place(end.1), line)))
        .collect();
    ends.sort_by(|a, b| a.1.total_cmp(&b.1));
    let places = apart(&ends.iter().map(|end| end.1).collect::<Vec<_>>());
    let right = ends.iter().map(|end| end.0).fold(0.0, f64::max);
    for ((from, height, line), place) in ends.into_iter().zip(places) {
        sheet.path(&[(from + 4.0, height), (right + 12.0, place)], &line.tone.stroke(), 0.6);
        let weight = if line.tone == Tone::Ours { " bold" } else { "" };
        let class = format!("{}{weight}", line.tone.fill());
        sheet.text_at(right + 16.0, place + 4.0, &line.name, &class, Anchor::Start);
    }
}

/// The same heights, sorted, none nearer to the next than a line of text, all on the sheet.
fn apart(heights: &[f64]) -> Vec<f64> {
    let mut places = heights.to_vec();
    for at in 1..places.len() {
        places[at] = places[at].max(places[at - 1] + LINE);
    }
    if let Some(last) = places.last_mut() {
        *last = last.min(BOTTOM + 4.0);
    }
    for at in (1..places.len()).rev() {
        places[at - 1] = places[at - 1].min(places[at] - LINE);
    }
    places
}

const WIDTH: f64 = 860.0;
const HEIGHT: f64 = 400.0;
const TOP: f64 = 78.0;
const BOTTOM: f64 = 348.0;
/// The width of a letter, about.
const LETTER: f64 = 7.2;
/// The height of a line of text.
const LINE: f64 = 14.0;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_apart_and_in_order() {
        let places = apart(&[100.0, 101.0, 102.0, 300.0]);
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= LINE), "{places:?}");
        let low = apart(&[BOTTOM, BOTTOM, BOTTOM]);
        assert!(low[2] <= BOTTOM + 4.0 && low[1] <= low[2] - LINE, "{low:?}");
    }

    #[test]
    fn names_are_text_and_nothing_else() {
        let line =
            Line { name: "Mutex<lru>".into(), tone: Tone::Other(0), points: vec![(1.0, 2.0), (10.0, 3.0)] };
        let picture = Lines {
            title: "t".into(),
            subtitle: String::new(),
            x: ("x".into(), Scale::Log),
            y: ("y".into(), Scale::Log),
            panels: vec![Panel { name: "p".into(), lines: vec![line] }],
        };
        let svg = picture.svg();
        assert!(
            svg.contains("Mutex&lt;lru&gt;") && svg.ends_with("</svg>\n") && !svg.contains("NaN"),
            "{svg}"
        );
    }
}
