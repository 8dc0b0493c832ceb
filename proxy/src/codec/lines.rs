//! The lines of a head, or of a trailer section: each ends in CRLF, the last is blank (RFC 9112 §2.2).

use std::ops::Range;

/// Lines that are whole up to the blank one.
#[derive(Debug)]
pub(crate) struct Lines<'e> {
    /// Where each ends, before its CRLF.
    ends: &'e [u32],
    /// Bytes of all of them, the blank one included.
    pub(crate) length: usize,
}

/// Why bytes are no such lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum BadLine {
    /// A line ends in a bare LF, which another party may or may not take for an end.
    BareLf,
    /// There are more than looked for.
    TooMany,
}

impl<'e> Lines<'e> {
    /// Finds the lines at the front of `bytes`, at most as many as `ends` has room for; nothing while the blank one is missing.
    pub(crate) fn find(bytes: &[u8], ends: &'e mut [u32]) -> Result<Option<Lines<'e>>, BadLine> {
        let (mut start, mut count) = (0, 0);
        for lf in memchr::memchr_iter(b'\n', bytes) {
            let Some(end) = lf.checked_sub(1).filter(|cr| bytes[*cr] == b'\r') else {
                return Err(BadLine::BareLf);
            };
            if end == start {
                return Ok(Some(Lines { ends: &ends[..count], length: lf + 1 }));
            }
            *ends.get_mut(count).ok_or(BadLine::TooMany)? =
                u32::try_from(end).map_err(|_| BadLine::TooMany)?;
            count += 1;
            start = lf + 1;
        }
        Ok(None)
    }

    /// How many there are before the blank one.
    pub(crate) fn count(&self) -> usize {
        self.ends.len()
    }

    /// Where each stands, without its CRLF.
    pub(crate) fn ranges(&self) -> impl Iterator<Item = Range<usize>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let end = *end as usize;
            std::mem::replace(&mut start, end + 2)..end
        })
    }
}

/// What has come of lines is sound so far.
pub(crate) fn lines_end_in_crlf(bytes: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', bytes).all(|at| at > 0 && bytes[at - 1] == b'\r')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, max: usize) -> Result<Option<Vec<&str>>, BadLine> {
        let mut ends = vec![0; max];
        let found = Lines::find(text.as_bytes(), &mut ends)?;
        Ok(found.map(|lines| {
            assert_eq!(lines.count(), lines.ranges().count());
            lines.ranges().map(|range| &text[range]).chain([&text[lines.length..]]).collect()
        }))
    }

    #[test]
    fn lines_end_before_the_blank_one() {
        assert_eq!(lines("a\r\nb: c\r\n\r\nrest\n", 2), Ok(Some(vec!["a", "b: c", "rest\n"])));
        assert_eq!(lines("\r\n\r\n", 0), Ok(Some(vec!["\r\n"])));
        assert_eq!(lines("a\r\nb\r\n\r", 9), Ok(None));
        assert_eq!(
            lines("a\rb\r\r\n\r\n", 9),
            Ok(Some(vec!["a\rb\r", ""])),
            "whether CR may stand there, fields know"
        );
    }

    #[test]
    fn a_bare_lf_ends_nothing() {
        for text in ["\n", "a\n\r\n", "a\r\n\n", "a\r\nb\nc\r\n\r\n", "a\nb"] {
            assert_eq!(lines(text, 9), Err(BadLine::BareLf), "{text:?}");
            assert!(!lines_end_in_crlf(text.as_bytes()), "{text:?}");
        }
        assert_eq!(lines("a\r\nb\r\n\r\n", 1), Err(BadLine::TooMany));
    }
}
