//! A stored response: an [`Entry`] and its bytes, shared by all who read it.

use super::entry::{Entry, Extent};
use super::ranges::{Run, content_range};
use super::settings::Profile;
use super::storable::Refusal;
use super::validate::same_strong;
use bytes::Bytes;
use http::StatusCode;
use http::header::{CONTENT_LENGTH, HeaderValue};
use std::sync::Arc;

/// A response at rest.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// Its head.
    pub(super) entry: Entry,
    /// Its bytes.
    pub(super) body: Chunks,
}

/// Bytes in the pieces they came in; clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Chunks {
    pieces: Arc<[Bytes]>,
    length: u64,
}

impl Stored {
    /// Puts a head and its complete body together.
    ///
    /// # Errors
    ///
    /// [`Refusal::Range`] for a part whose length is not what its Content-Range claims, unless the profile takes it;
    /// [`Refusal::TooLong`] is for callers that count.
    pub(super) fn new(mut entry: Entry, body: Chunks, profile: Profile) -> Result<Self, Refusal> {
        if let Extent::Part(range) = entry.extent {
            if range.run.length() != body.length() && profile.is_safe() {
                return Err(Refusal::Range);
            }
            if range.run.first == 0 && range.complete == Some(body.length()) {
                entry.make_whole(body.length());
            }
        } else if entry.status != StatusCode::NO_CONTENT {
            // Once here, not at each use; the origin may have sent chunks.
            entry.headers.insert(CONTENT_LENGTH, HeaderValue::from(body.length()));
        }
        Ok(Self { entry, body })
    }

    /// Bytes in memory, roughly.
    pub(super) fn weight(&self) -> usize {
        let body = usize::try_from(self.body.length()).unwrap_or(usize::MAX);
        body.saturating_add(self.entry.weight()).saturating_add(self.body.pieces.len() * size_of::<Bytes>())
    }

    /// Whether the bytes are as many as the extent claims, so that they may be joined with others.
    pub(super) fn is_exact(&self) -> bool {
        match self.entry.extent {
            Extent::Whole => true,
            Extent::Part(range) => range.run.length() == self.body.length(),
        }
    }

    /// Joins a newer part with an older one of the same representation (RFC 9110 §15.3.7.3): the same strong
    /// entity tag, and runs that overlap or touch.
    pub(super) fn join(self, older: &Self) -> Self {
        let (Extent::Part(new), Extent::Part(old)) = (self.entry.extent, older.entry.extent) else {
            return self;
        };
        let same = match (&self.entry.validators.etag, &older.entry.validators.etag) {
            (Some(a), Some(b)) => same_strong(a, b),
            _ => false,
        };
        let fits = same && self.is_exact() && older.is_exact() && new.complete == old.complete;
        let Some(run) = new.run.join(old.run).filter(|_| fits) else { return self };
        let mut pieces = Vec::new();
        if old.run.first < new.run.first {
            pieces.extend(older.body.cut(0, new.run.first - old.run.first));
        }
        pieces.extend(self.body.pieces.iter().cloned());
        if old.run.last > new.run.last {
            let skip = new.run.last + 1 - old.run.first;
            pieces.extend(older.body.cut(skip, old.run.last - new.run.last));
        }
        let mut entry = self.entry.clone();
        entry.extent = Extent::Part(super::ranges::ContentRange { run, complete: new.complete });
        let joined = Self::new(entry, Chunks::from_pieces(pieces), Profile::Safe);
        joined.unwrap_or(self) // the length is what the run claims, because both were exact
    }
}

impl Entry {
    /// A part that turned out to be all of it, or a whole made of parts.
    pub(super) fn make_whole(&mut self, length: u64) {
        self.extent = Extent::Whole;
        self.status = StatusCode::OK;
        self.headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
    }

    /// Whether a 206 goes on where this part ends, for the same representation.
    pub(super) fn is_continued_by(&self, response: &http::HeaderMap) -> Option<Run> {
        let Extent::Part(have) = self.extent else { return None };
        let more = content_range(response)?;
        let etag = response.get(http::header::ETAG)?;
        let same = self.validators.etag.as_ref().is_some_and(|ours| same_strong(ours, etag));
        let fits = have.run.first == 0
            && more.run.first == have.run.last.saturating_add(1)
            && have.complete == more.complete
            && more.complete == Some(more.run.last.saturating_add(1));
        (same && fits).then_some(more.run)
    }
}

impl Chunks {
    /// From pieces in order.
    pub(super) fn from_pieces(pieces: Vec<Bytes>) -> Self {
        let length = pieces.iter().map(|piece| piece.len() as u64).sum();
        Self { pieces: pieces.into(), length }
    }

    /// How many bytes.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// The pieces in order.
    pub(super) fn pieces(&self) -> &[Bytes] {
        &self.pieces
    }

    /// `length` bytes from `skip` on, or as many as there are; nothing is copied.
    pub(super) fn cut(&self, skip: u64, length: u64) -> Vec<Bytes> {
        let (mut skip, mut length) = (skip, length);
        let mut cut = Vec::new();
        for piece in self.pieces.iter() {
            let size = piece.len() as u64;
            if skip >= size {
                skip -= size;
                continue;
            }
            if length == 0 {
                break;
            }
            // Both ends are within the piece, whose length is a usize.
            let start = usize::try_from(skip).unwrap_or(piece.len());
            let end = usize::try_from((skip + length).min(size)).unwrap_or(piece.len());
            cut.push(piece.slice(start..end));
            length -= (end - start) as u64;
            skip = 0;
        }
        cut
    }
}

#[cfg(test)]
mod tests {
    use super::super::exchange::Exchange;
    use super::super::moment::Moment;
    use super::super::settings::Settings;
    use super::*;
    use http::Method;
    use http::header::{HeaderMap, HeaderName};

    fn chunks(pieces: &[&'static str]) -> Chunks {
        Chunks::from_pieces(pieces.iter().map(|piece| Bytes::from_static(piece.as_bytes())).collect())
    }

    fn text(pieces: &[Bytes]) -> String {
        String::from_utf8(pieces.concat()).expect("ascii")
    }

    fn part(
        range: &'static str,
        etag: &'static str,
        body: &[&'static str],
        profile: Profile,
    ) -> Result<Stored, Refusal> {
        let fields = [("cache-control", "max-age=9"), ("content-range", range), ("etag", etag)];
        let response: HeaderMap = fields
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect();
        let exchange = Exchange {
            method: &Method::GET,
            request: &HeaderMap::new(),
            status: StatusCode::PARTIAL_CONTENT,
            response: &response,
            sent: Moment::from_secs(1),
            received: Moment::from_secs(1),
        };
        let entry = Entry::new(&exchange, &Settings::default()).expect("storable");
        Stored::new(entry, chunks(body), profile)
    }

    fn exact(range: &'static str, etag: &'static str, body: &[&'static str]) -> Stored {
        part(range, etag, body, Profile::Safe).expect("its length is right")
    }

    #[test]
    fn a_cut_crosses_pieces_without_copying() {
        let body = chunks(&["012", "", "345", "6789"]);
        assert_eq!(text(&body.cut(2, 3)), "234");
        assert_eq!(text(&body.cut(0, 10)), "0123456789");
        assert_eq!(text(&body.cut(6, 99)), "6789");
        assert!(body.cut(10, 1).is_empty() && body.cut(0, 0).is_empty());
        assert_eq!(body.cut(3, 3)[0].as_ptr(), body.pieces()[2].as_ptr());
    }

    #[test]
    fn rfc9111_3_4_touching_parts_of_one_representation_join() {
        let old = exact("bytes 0-4/10", "\"a\"", &["01", "234"]);
        let joined = exact("bytes 5-7/10", "\"a\"", &["567"]).join(&old);
        assert_eq!(text(joined.body.pieces()), "01234567");
        let over =
            exact("bytes 3-5/10", "\"a\"", &["345"]).join(&exact("bytes 2-7/10", "\"a\"", &["234567"]));
        assert_eq!(text(over.body.pieces()), "234567");
        let whole = exact("bytes 5-9/10", "\"a\"", &["56789"]).join(&old);
        assert_eq!((whole.entry.extent, whole.entry.status), (Extent::Whole, StatusCode::OK));
        assert_eq!(whole.entry.headers[CONTENT_LENGTH], "10");
    }

    #[test]
    fn rfc9110_15_3_7_3_other_parts_do_not_join() {
        let old = exact("bytes 0-4/10", "\"a\"", &["01234"]);
        for (range, etag) in [
            ("bytes 6-9/10", "\"a\""),
            ("bytes 5-9/10", "\"b\""),
            ("bytes 5-9/10", "W/\"a\""),
            ("bytes 5-9/11", "\"a\""),
        ] {
            let body = if range.starts_with("bytes 6") { "6789" } else { "56789" };
            let alone = exact(range, etag, &[body]).join(&old);
            assert_eq!(text(alone.body.pieces()), body, "{range} {etag}");
        }
    }

    #[test]
    fn a_part_of_the_wrong_length_is_refused_by_default() {
        assert!(matches!(part("bytes 4-9/10", "\"a\"", &["01234"], Profile::Safe), Err(Refusal::Range)));
        let odd = part("bytes 4-9/10", "\"a\"", &["01234"], Profile::Rfc).expect("taken as it is");
        assert!(!odd.is_exact());
    }
}
