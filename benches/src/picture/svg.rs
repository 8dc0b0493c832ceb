//! The sheet that everything is drawn on.

use std::fmt::Write as _;

/// A colour by what it says, not by how it looks: each is there for light and for dark paper.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// What the eye is to find first.
    Ours,
    /// Ours in another way.
    AlsoOurs,
    /// One of seven others, told apart also by those who do not see all colours.
    Other(usize),
}

/// Where a text stands to its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// An SVG under way.
#[derive(Debug)]
pub(super) struct Sheet {
    text: String,
}

impl Sheet {
    pub(super) fn new(width: f64, height: f64, title: &str) -> Self {
        let mut sheet = Self { text: String::new() };
        let title = escaped(title);
        sheet.put(&format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
             role=\"img\" aria-label=\"{title}\" font-family=\"system-ui, -apple-system, 'Segoe UI', 'DejaVu Sans', sans-serif\" \
             font-size=\"12\">\n<style>{}</style>\n<rect class=\"paper\" width=\"{width}\" height=\"{height}\" rx=\"8\"/>\n\
             <text class=\"ink\" x=\"{MARGIN}\" y=\"26\" font-size=\"15\" font-weight=\"600\">{title}</text>\n",
            style()
        ));
        sheet
    }

    /// Under the title, in small letters.
    pub(super) fn subtitle(&mut self, text: &str) {
        self.text_at(MARGIN, 44.0, text, "soft", Anchor::Start);
    }

    pub(super) fn text_at(&mut self, x: f64, y: f64, text: &str, class: &str, anchor: Anchor) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let text = escaped(text);
        self.put(&format!(
            "<text class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>\n"
        ));
    }

    /// A text that reads upwards, in the middle of an axis.
    pub(super) fn text_up(&mut self, x: f64, y: f64, text: &str) {
        let text = escaped(text);
        self.put(&format!(
            "<text class=\"soft\" text-anchor=\"middle\" transform=\"translate({x:.1} {y:.1}) rotate(-90)\">{text}</text>\n"
        ));
    }

    pub(super) fn path(&mut self, points: &[(f64, f64)], class: &str, width: f64) {
        let mut way = String::new();
        for (step, (x, y)) in points.iter().enumerate() {
            // Writing to a String cannot fail.
            let _ = write!(way, "{}{x:.1} {y:.1}", if step == 0 { 'M' } else { 'L' });
        }
        self.put(&format!("<path class=\"{class}\" d=\"{way}\" fill=\"none\" stroke-width=\"{width}\"/>\n"));
    }

    pub(super) fn dot(&mut self, x: f64, y: f64, radius: f64, class: &str) {
        self.put(&format!("<circle class=\"{class}\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius}\"/>\n"));
    }

    pub(super) fn finish(mut self) -> String {
        self.put("</svg>\n");
        self.text
    }

    fn put(&mut self, piece: &str) {
        self.text.push_str(piece);
    }
}

impl Tone {
    /// The class that fills with it.
    pub(super) fn fill(self) -> String {
        format!("f{}", self.number())
    }

    /// The class that strokes with it.
    pub(super) fn stroke(self) -> String {
        format!("s{}", self.number())
    }

    fn number(self) -> usize {
        match self {
            Self::Ours => 0,
            Self::AlsoOurs => 1,
            Self::Other(which) => 2 + which % (COLOURS.len() - 2),
        }
    }
}

fn style() -> String {
    let paper = |at: usize| {
        let [paper, ink, soft, grid] = PAPER.map(|pair| pair[at]);
        let tones: String = COLOURS
            .iter()
            .enumerate()
            .map(|(n, pair)| format!(".f{n}{{fill:{0}}}.s{n}{{stroke:{0}}}", pair[at]))
            .collect();
        format!(
            ".paper{{fill:{paper}}}.ink{{fill:{ink}}}.soft{{fill:{soft}}}.grid{{stroke:{grid}}}.rule{{stroke:{soft}}}{tones}"
        )
    };
    format!(".bold{{font-weight:600}}{}@media (prefers-color-scheme:dark){{{}}}", paper(0), paper(1))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Left of titles.
pub(super) const MARGIN: f64 = 20.0;

/// Paper, ink, soft ink, grid: on light and on dark.
const PAPER: [[&str; 2]; 4] =
    [["#ffffff", "#0d1117"], ["#1f2328", "#e6edf3"], ["#59636e", "#9198a1"], ["#d9dee3", "#2a313c"]];

/// Ours, also ours, and the others.
const COLOURS: [[&str; 2]; 9] = [
    ["#0969da", "#58a6ff"],
    ["#54aeff", "#1f6feb"],
    ["#bc4c00", "#f0883e"],
    ["#1a7f37", "#3fb950"],
    ["#8250df", "#bc8cff"],
    ["#bf3989", "#f778ba"],
    ["#9a6700", "#d29922"],
    ["#59636e", "#9198a1"],
    ["#0e7c86", "#39c5cf"],
];
