//! Faults of a configuration file, all of them at once, each with its place.
//!
//! ```text
//! error: unknown key "inverse_mod" in [server]
//!   --> cfg.toml:8:1
//!    |
//!  8 | inverse_mod = 2
//!    | ^^^^^^^^^^^
//!    = help: did you mean "inverse_mode"?
//! ```

use std::{fmt, ops::Range};

use super::keys::{KEYS, Key, Kind};

/// Everything that is wrong with one configuration, in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Faults {
    /// The file's name as the user gave it.
    pub file: String,
    /// At least one fault.
    pub faults: Vec<Fault>,
}

/// One fault and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Line, counted from 1.
    pub line: usize,
    /// Column in characters, counted from 1.
    pub column: usize,
    /// How many characters the caret underlines, at least 1.
    pub width: usize,
    /// The whole line of the file.
    pub excerpt: String,
    /// What was found and what is wrong with it.
    pub message: String,
    /// What is allowed, or the nearest right name.
    pub help: Option<String>,
}

impl Faults {
    /// The same for a terminal, with colours if it `is_coloured`.
    #[must_use]
    pub fn told(&self, is_coloured: bool) -> String {
        let mut text = self.drawn("error", &Style::new(RED, is_coloured));
        let count = self.faults.len();
        let plural = if count == 1 { "" } else { "s" };
        text.push_str(&format!("{count} fault{plural} in {}; nothing was started or changed", self.file));
        text
    }

    /// The same as notes about what is no fault.
    #[must_use]
    pub fn told_as_notes(&self, is_coloured: bool) -> String {
        self.drawn("note", &Style::new(GREEN, is_coloured))
    }

    fn drawn(&self, word: &str, style: &Style) -> String {
        let Style { word: of_word, bold, rule, plain } = style;
        let mut text = String::new();
        for fault in &self.faults {
            let Fault { line, column, width, excerpt, message, help } = fault;
            let margin = " ".repeat(line.to_string().len());
            let (indent, caret) = (" ".repeat(column - 1), "^".repeat(*width));
            text.push_str(&format!(
                "{of_word}{word}{plain}{bold}: {message}{plain}\n\
                 {margin}{rule}-->{plain} {file}:{line}:{column}\n\
                 {margin}{rule} |{plain}\n\
                 {rule}{line} |{plain} {excerpt}\n\
                 {margin}{rule} |{plain} {indent}{of_word}{caret}{plain}\n",
                file = self.file
            ));
            if let Some(help) = help {
                text.push_str(&format!("{margin}{rule} ={plain} {bold}help{plain}: {help}\n"));
            }
            text.push('\n');
        }
        text
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.told(false))
    }
}

/// Escape sequences of a terminal; all empty where there is none.
struct Style {
    word: &'static str,
    bold: &'static str,
    rule: &'static str,
    plain: &'static str,
}

impl Style {
    fn new(word: &'static str, is_coloured: bool) -> Style {
        if is_coloured {
            Style { word, bold: "\x1b[1m", rule: "\x1b[1;34m", plain: "\x1b[0m" }
        } else {
            Style { word: "", bold: "", rule: "", plain: "" }
        }
    }
}

const RED: &str = "\x1b[1;31m";
const GREEN: &str = "\x1b[1;32m";

impl std::error::Error for Faults {}

/// Collects faults while a file is read.
#[derive(Debug)]
pub(super) struct Sink<'t> {
    text: &'t str,
    found: Vec<(Range<usize>, String, Option<String>)>,
    /// The keys that were looked for, for the test of `keys.rs`.
    #[cfg(test)]
    pub(super) asked: Vec<(String, String)>,
}

impl<'t> Sink<'t> {
    pub(super) fn new(text: &'t str) -> Self {
        Sink {
            text,
            found: Vec::new(),
            #[cfg(test)]
            asked: Vec::new(),
        }
    }

    pub(super) fn fault(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.found.push((span, message.into(), help));
    }

    /// The faults in file order, or nothing when there were none.
    pub(super) fn faults(&self, file: &str) -> Option<Faults> {
        if self.found.is_empty() {
            return None;
        }
        let mut found = self.found.clone();
        found.sort_by_key(|(span, ..)| span.start);
        let faults = found.into_iter().map(|(span, message, help)| locate(self.text, &span, message, help));
        Some(Faults { file: file.to_owned(), faults: faults.collect() })
    }
}

fn locate(text: &str, span: &Range<usize>, message: String, help: Option<String>) -> Fault {
    let start = floor_char_boundary(text, span.start);
    let line_start = text[..start].rfind('\n').map_or(0, |newline| newline + 1);
    let line_end = text[start..].find('\n').map_or(text.len(), |newline| start + newline);
    let end = floor_char_boundary(text, span.end).clamp(start, line_end);
    Fault {
        line: text[..line_start].matches('\n').count() + 1,
        column: text[line_start..start].chars().count() + 1,
        width: text[start..end].chars().count().max(1),
        // A tab would move the caret away from its place.
        excerpt: veiled(text[line_start..line_end].trim_end_matches('\r')).replace('\t', " "),
        message,
        help,
    }
}

/// The line, with asterisks for what a secret key's strings hold: what is told may end in the log of a build.
fn veiled(line: &str) -> String {
    let key = line.trim_start().split(['=', ' ', '\t']).next().unwrap_or_default();
    let is_secret = |about: &Key| about.name == key && matches!(about.kind, Kind::Secret | Kind::Secrets);
    if !KEYS.iter().any(is_secret) {
        return line.to_owned();
    }
    let pieces = line.split_inclusive('"').enumerate().map(|(at, piece)| {
        // Every second one stands between quotes. Where a secret is to be found is none.
        let is_place = piece.starts_with("${") || piece.starts_with("file:");
        let veil = |character| if character == '"' { '"' } else { '*' };
        if at % 2 == 1 && !is_place { piece.chars().map(veil).collect() } else { piece.to_owned() }
    });
    pieces.collect()
}

fn floor_char_boundary(text: &str, index: usize) -> usize {
    (0..=index.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// The known name nearest to `found`, if it is near enough to be meant.
pub(super) fn nearest<'n>(found: &str, known: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    let limit = (found.chars().count() / 3).max(1);
    let ranked = known.into_iter().map(|name| (edit_distance(found, name), name));
    ranked
        .filter(|&(distance, _)| distance <= limit)
        .min_by_key(|&(distance, _)| distance)
        .map(|(_, name)| name)
}

/// Insertions, deletions, substitutions and swaps of neighbours that lead from one name to the other.
fn edit_distance(left: &str, right: &str) -> usize {
    let (left, right): (Vec<char>, Vec<char>) = (left.chars().collect(), right.chars().collect());
    let mut table = vec![vec![0; right.len() + 1]; left.len() + 1];
    for i in 0..=left.len() {
        for j in 0..=right.len() {
            table[i][j] = if i == 0 || j == 0 {
                i + j
            } else {
                let substituted = table[i - 1][j - 1] + usize::from(left[i - 1] != right[j - 1]);
                let is_swap = i > 1 && j > 1 && left[i - 1] == right[j - 2] && left[i - 2] == right[j - 1];
                let swapped = if is_swap { table[i - 2][j - 2] + 1 } else { usize::MAX };
                substituted.min(swapped).min(table[i - 1][j] + 1).min(table[i][j - 1] + 1)
            };
        }
    }
    table[left.len()][right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_the_nearest_key_only_when_it_is_near() {
        let known = ["inverse_mode", "reverse", "port"];
        assert_eq!(nearest("inverse_mod", known), Some("inverse_mode"));
        assert_eq!(nearest("prot", known), Some("port"));
        assert_eq!(nearest("por", known), Some("port"));
        assert_eq!(nearest("parts", known), None, "two edits in five letters is a guess");
        assert_eq!(nearest("colour", known), None);
    }

    #[test]
    fn carets_stand_under_the_fault_even_behind_wide_text() {
        let text = "a = 1\nä = \"ü\" # no\n";
        let mut sink = Sink::new(text);
        let at = text.find("\"ü\"").unwrap();
        sink.fault(at..at + 4, "wrong", None);
        let faults = sink.faults("f.toml").unwrap();
        let fault = &faults.faults[0];
        assert_eq!((fault.line, fault.column, fault.width), (2, 5, 3));
        assert!(faults.to_string().contains("--> f.toml:2:5"));
        let (coloured, plain) = (faults.told(true), faults.told(false));
        assert_eq!(plain.lines().nth(4), Some("  |     ^^^"));
        let mut stripped = coloured;
        for escape in [RED, "\x1b[1m", "\x1b[1;34m", "\x1b[0m"] {
            assert!(stripped.contains(escape), "{stripped}");
            stripped = stripped.replace(escape, "");
        }
        assert_eq!(stripped, plain);
    }

    #[test]
    fn no_secret_is_shown_in_its_line() {
        assert_eq!(
            veiled("user = { me = \"hü\", you = \"${X}\" } # no"),
            "user = { me = \"**\", you = \"${X}\" } # no"
        );
        assert_eq!(veiled("  token=\"hush"), "  token=\"****");
        assert_eq!(veiled("port = \":80\""), "port = \":80\"");
    }

    #[test]
    fn a_span_outside_the_text_does_not_panic() {
        let fault = locate("ä", &(1..99), "m".into(), None);
        assert_eq!((fault.line, fault.width), (1, 1));
    }
}
