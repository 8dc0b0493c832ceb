//! Byte ranges (RFC 9110 §14): what a Range asks for, what a Content-Range says, and how they fit.
//!
//! ```text
//!     stored      0 ───────────────────────── 99         Range: bytes=0-4, 95-   →  0..=4  and  95..=99
//!     a part          40 ───────── 69 of 100             Range: bytes=50-59      →  50..=59 is in it
//! ```
//!
//! A Range that cannot be read, names another unit or asks for more than [`RANGES_MAX`] pieces is ignored, which
//! means "all of it"; ranges that touch or overlap are joined, so no request can ask for more bytes than there are
//! (CVE-2011-3192).

use http::header::{CONTENT_RANGE, HeaderMap, RANGE};

/// One piece that a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Piece {
    /// From `first` to `last`, or to the end.
    From {
        /// First byte.
        first: u64,
        /// Last byte, if named.
        last: Option<u64>,
    },
    /// The last so many bytes.
    Suffix(u64),
}

/// A run of bytes, both ends included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Run {
    /// First byte.
    pub first: u64,
    /// Last byte, not before the first.
    pub last: u64,
}

/// What a 206 says it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ContentRange {
    /// The bytes enclosed.
    pub run: Run,
    /// The length of the whole, if known.
    pub complete: Option<u64>,
}

impl Run {
    /// How many bytes.
    pub fn length(self) -> u64 {
        (self.last - self.first).saturating_add(1)
    }

    /// Whether all of `other` is in this.
    pub fn contains(self, other: Self) -> bool {
        self.first <= other.first && other.last <= self.last
    }

    /// Both together when they overlap or touch.
    pub fn join(self, other: Self) -> Option<Self> {
        let touches = |a: Self, b: Self| b.first <= a.last.saturating_add(1);
        let joined = Self { first: self.first.min(other.first), last: self.last.max(other.last) };
        (touches(self, other) && touches(other, self)).then_some(joined)
    }
}

/// Reads the Range of a request; none when there is none that must be honoured.
pub fn range(headers: &HeaderMap) -> Option<Vec<Piece>> {
    let mut lines = headers.get_all(RANGE).iter();
    let line = lines.next()?.to_str().ok()?;
    if lines.next().is_some() {
        return None;
    }
    let (unit, list) = line.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut pieces = Vec::new();
    for member in list.split(',').map(str::trim).filter(|member| !member.is_empty()) {
        if pieces.len() == RANGES_MAX {
            return None;
        }
        pieces.push(piece(member)?);
    }
    (!pieces.is_empty()).then_some(pieces)
}

fn piece(text: &str) -> Option<Piece> {
    let (first, last) = text.split_once('-')?;
    if first.is_empty() {
        return Some(Piece::Suffix(number(last)?));
    }
    let first = number(first)?;
    if last.is_empty() {
        return Some(Piece::From { first, last: None });
    }
    let last = number(last)?;
    (first <= last).then_some(Piece::From { first, last: Some(last) })
}

/// Reads the Content-Range of a 206; none when it is absent, doubled or impossible (RFC 9110 §14.4).
pub fn content_range(headers: &HeaderMap) -> Option<ContentRange> {
    let mut lines = headers.get_all(CONTENT_RANGE).iter();
    let line = lines.next()?.to_str().ok()?;
    if lines.next().is_some() {
        return None;
    }
    let (unit, rest) = line.trim().split_once(' ')?;
    if !unit.eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (run, complete) = rest.split_once('/')?;
    let (first, last) = run.split_once('-')?;
    let run = Run { first: number(first)?, last: number(last)? };
    let complete = if complete == "*" { None } else { Some(number(complete)?) };
    let is_possible = run.first <= run.last && complete.is_none_or(|complete| run.last < complete);
    is_possible.then_some(ContentRange { run, complete })
}

/// The bytes that pieces mean in something `complete` bytes long: in the order asked, joined where they touch.
/// Empty when none of them can be satisfied (416).
pub fn resolve(pieces: &[Piece], complete: u64) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for piece in pieces {
        let Some(mut run) = resolve_one(*piece, complete) else { continue };
        // Joining may make runs touch that did not, so go on until nothing joins.
        while let Some(at) = runs.iter().position(|known| known.join(run).is_some()) {
            let known = runs.remove(at);
            run = known.join(run).unwrap_or(run);
        }
        runs.push(run);
    }
    runs
}

fn resolve_one(piece: Piece, complete: u64) -> Option<Run> {
    let end = complete.checked_sub(1)?;
    match piece {
        Piece::From { first, last } => {
            (first <= end).then(|| Run { first, last: last.unwrap_or(end).min(end) })
        }
        Piece::Suffix(0) => None,
        Piece::Suffix(length) => Some(Run { first: complete.saturating_sub(length), last: end }),
    }
}

/// Digits only; a number that does not fit is refused rather than wrapped.
fn number(text: &str) -> Option<u64> {
    (!text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
}

/// More pieces than this are not cut.
pub(super) const RANGES_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn pieces(text: &str) -> Option<Vec<Piece>> {
        let mut headers = HeaderMap::new();
        headers.insert(RANGE, HeaderValue::from_str(text).expect("a valid test value"));
        range(&headers)
    }

    fn runs(text: &str, complete: u64) -> Vec<(u64, u64)> {
        let pieces = pieces(text).expect("a readable range");
        resolve(&pieces, complete).into_iter().map(|run| (run.first, run.last)).collect()
    }

    fn content(text: &str) -> Option<(u64, u64, Option<u64>)> {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_RANGE, HeaderValue::from_str(text).expect("a valid test value"));
        content_range(&headers).map(|range| (range.run.first, range.run.last, range.complete))
    }

    #[test]
    fn rfc9110_14_1_2_byte_ranges() {
        assert_eq!(runs("bytes=0-4", 10), [(0, 4)]);
        assert_eq!(runs("bytes=5-", 10), [(5, 9)]);
        assert_eq!(runs("bytes=-3", 10), [(7, 9)]);
        assert_eq!(runs("BYTES=-30", 10), [(0, 9)]);
        assert_eq!(runs("bytes=5-99", 10), [(5, 9)]);
        assert_eq!(runs("bytes=0-1, 4-5 ,,-1", 10), [(0, 1), (4, 5), (9, 9)]);
    }

    #[test]
    fn rfc9110_15_5_17_nothing_satisfiable_is_empty() {
        for (text, complete) in [("bytes=10-", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)] {
            assert!(runs(text, complete).is_empty(), "{text} of {complete}");
        }
    }

    #[test]
    fn rfc9110_14_2_unreadable_ranges_are_ignored() {
        let long = format!("bytes={}", "0-0,".repeat(RANGES_MAX + 1));
        for text in ["bytes", "bytes=", "bytes=a-b", "bytes=5-4", "bytes=1", "lines=0-1", "bytes=--1", &long]
        {
            assert_eq!(pieces(text), None, "{text}");
        }
        assert_eq!(pieces("bytes=99999999999999999999-"), None);
        assert_eq!(pieces("bytes=+1-2"), None);
    }

    #[test]
    fn rfc9110_14_2_overlapping_ranges_are_joined() {
        assert_eq!(runs("bytes=0-,0-,0-,0-", 10), [(0, 9)]);
        assert_eq!(runs("bytes=0-2,6-8,2-6", 10), [(0, 8)]);
        assert_eq!(runs("bytes=0-2,3-4", 10), [(0, 4)]);
    }

    #[test]
    fn rfc9110_14_4_content_range() {
        assert_eq!(content("bytes 4-9/10"), Some((4, 9, Some(10))));
        assert_eq!(content("bytes 4-9/*"), Some((4, 9, None)));
        for text in
            ["bytes 4-9", "bytes 9-4/10", "bytes 4-10/10", "bytes */10", "lines 0-1/2", "bytes 4-x/10", "x"]
        {
            assert_eq!(content(text), None, "{text}");
        }
    }

    #[test]
    fn the_largest_numbers_do_not_overflow() {
        let top = u64::MAX;
        let run = Run { first: 0, last: top };
        assert_eq!((run.length(), run.join(run)), (top, Some(run)));
        assert_eq!(runs(&format!("bytes=0-{top}"), top), [(0, top - 1)]);
    }
}
