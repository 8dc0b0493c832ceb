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

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for fault in &self.faults {
            let Fault { line, column, width, excerpt, message, help } = fault;
            let gutter = line.to_string().len();
            writeln!(f, "error: {message}")?;
            writeln!(f, "{:gutter$}--> {}:{line}:{column}", "", self.file)?;
            writeln!(f, "{:gutter$} |", "")?;
            writeln!(f, "{line} | {excerpt}")?;
            writeln!(f, "{:gutter$} | {:indent$}{}", "", "", "^".repeat(*width), indent = column - 1)?;
            if let Some(help) = help {
                writeln!(f, "{:gutter$} = help: {help}", "")?;
            }
            writeln!(f)?;
        }
        let count = self.faults.len();
        let plural = if count == 1 { "" } else { "s" };
        write!(f, "{count} fault{plural} in {}; nothing was started or changed", self.file)
    }
}

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
    pub(super) fn into_faults(mut self, file: &str) -> Option<Faults> {
        if self.found.is_empty() {
            return None;
        }
        self.found.sort_by_key(|(span, ..)| span.start);
        let faults =
            self.found.into_iter().map(|(span, message, help)| locate(self.text, &span, message, help));
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
        excerpt: text[line_start..line_end].trim_end_matches('\r').replace('\t', " "),
        message,
        help,
    }
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
        let faults = sink.into_faults("f.toml").unwrap();
        let fault = &faults.faults[0];
        assert_eq!((fault.line, fault.column, fault.width), (2, 5, 3));
        assert!(faults.to_string().contains("--> f.toml:2:5"));
    }

    #[test]
    fn a_span_outside_the_text_does_not_panic() {
        let fault = locate("ä", &(1..99), "m".into(), None);
        assert_eq!((fault.line, fault.width), (1, 1));
    }
}
