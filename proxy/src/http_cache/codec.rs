//! Stored responses as bytes, for stores outside this process.
//!
//! ```text
//!     magic "evh" · version · checksum of all that follows (xxh3, 8 bytes) · length of all that follows (8 bytes)
//!     key · number of variants · for each: status, times, extent, fields, selecting fields, body
//! ```
//!
//! All numbers are little-endian; all strings carry their length. The key is inside, so bytes that wandered to another
//! key are no answer there. Whatever is not exactly right — another version, a checksum or length that does not hold,
//! bytes left over, a status or field that HTTP does not know — decodes to nothing: a miss, never a wrong answer.
//! Bodies are slices of the bytes read, not copies.

use super::control::ResponseControl;
use super::entry::{Entry, Extent};
use super::freshness::Freshness;
use super::key::Key;
use super::moment::Moment;
use super::ranges::{ContentRange, Run};
use super::stored::{Chunks, Stored};
use super::targeted::targeted;
use super::validate::Validators;
use super::vary::Selecting;
use bytes::{Buf, BufMut, Bytes, BytesMut};
use http::StatusCode;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use std::sync::Arc;
use std::time::Duration;
use xxhash_rust::xxh3::xxh3_64;

/// The variants of a key as bytes.
pub(super) fn encode(key: &Key, variants: &[Arc<Stored>]) -> Bytes {
    let bodies: u64 = variants.iter().map(|variant| variant.body.length()).sum();
    let mut bytes =
        BytesMut::with_capacity(usize::try_from(bodies).unwrap_or(0) + 1024 * variants.len() + 256);
    bytes.put_slice(MAGIC);
    bytes.put_bytes(0, 16); // checksum and length, known at the end
    put_text(&mut bytes, key.as_str().as_bytes());
    bytes.put_u32_le(u32::try_from(variants.len()).unwrap_or(u32::MAX));
    for variant in variants {
        put_variant(&mut bytes, variant);
    }
    let content = &bytes[HEAD_BYTES..];
    let (checksum, length) = (xxh3_64(content), content.len() as u64);
    bytes[MAGIC.len()..MAGIC.len() + 8].copy_from_slice(&checksum.to_le_bytes());
    bytes[MAGIC.len() + 8..HEAD_BYTES].copy_from_slice(&length.to_le_bytes());
    bytes.freeze()
}

/// The variants of a key; none when the bytes are not exactly what [`encode`] wrote for it.
pub(super) fn decode(key: &str, mut bytes: Bytes) -> Option<Vec<Arc<Stored>>> {
    if bytes.len() < HEAD_BYTES || &bytes[..MAGIC.len()] != MAGIC {
        return None;
    }
    bytes.advance(MAGIC.len());
    let (checksum, length) = (bytes.get_u64_le(), bytes.get_u64_le());
    if bytes.len() as u64 != length || xxh3_64(&bytes) != checksum || text(&mut bytes)? != key.as_bytes() {
        return None;
    }
    let count = number(&mut bytes, Buf::try_get_u32_le)?;
    let mut variants = Vec::new();
    for _ in 0..count {
        variants.push(Arc::new(variant(&mut bytes)?));
    }
    bytes.is_empty().then_some(variants)
}

/// Bytes read and written again; none where [`decode`] has none. For those who test what comes from a store.
#[doc(hidden)]
pub fn recode(key: &str, bytes: Bytes) -> Option<Bytes> {
    Some(encode(&Key::from_text(key), &decode(key, bytes)?))
}

fn put_variant(bytes: &mut BytesMut, variant: &Stored) {
    let entry = &variant.entry;
    bytes.put_u16_le(entry.status.as_u16());
    bytes.put_u64_le(entry.sent.millis());
    bytes.put_u64_le(entry.freshness.received.millis());
    bytes.put_u64_le(millis(entry.freshness.initial_age));
    bytes.put_u64_le(millis(entry.freshness.lifetime));
    match entry.extent {
        Extent::Whole => bytes.put_u8(0),
        Extent::Part(range) => {
            bytes.put_u8(if range.complete.is_some() { 2 } else { 1 });
            bytes.put_u64_le(range.run.first);
            bytes.put_u64_le(range.run.last);
            bytes.put_u64_le(range.complete.unwrap_or(0));
        }
    }
    bytes.put_u32_le(u32::try_from(entry.headers.len()).unwrap_or(u32::MAX));
    for (name, value) in &entry.headers {
        put_text(bytes, name.as_str().as_bytes());
        put_text(bytes, value.as_bytes());
    }
    bytes.put_u32_le(u32::try_from(entry.selecting.fields().count()).unwrap_or(u32::MAX));
    for (name, value) in entry.selecting.fields() {
        put_text(bytes, name.as_str().as_bytes());
        bytes.put_u8(u8::from(value.is_some()));
        put_text(bytes, value.unwrap_or_default());
    }
    bytes.put_u64_le(variant.body.length());
    for piece in variant.body.pieces() {
        bytes.put_slice(piece);
    }
}

fn variant(bytes: &mut Bytes) -> Option<Stored> {
    let status = StatusCode::from_u16(number(bytes, Buf::try_get_u16_le)?).ok()?;
    let mut time = || number(bytes, Buf::try_get_u64_le);
    let (sent, received) = (Moment::from_millis(time()?), Moment::from_millis(time()?));
    let (initial_age, lifetime) = (Duration::from_millis(time()?), Duration::from_millis(time()?));
    let extent = extent(bytes)?;
    let mut headers = HeaderMap::new();
    for _ in 0..number(bytes, Buf::try_get_u32_le)? {
        let name = HeaderName::from_bytes(&text(bytes)?).ok()?;
        headers.try_append(name, HeaderValue::from_maybe_shared(text(bytes)?).ok()?).ok()?;
    }
    let mut selecting = Vec::new();
    for _ in 0..number(bytes, Buf::try_get_u32_le)? {
        let name = HeaderName::from_bytes(&text(bytes)?).ok()?;
        let is_there = match number(bytes, Buf::try_get_u8)? {
            0 => false,
            1 => true,
            _ => return None,
        };
        let value = text(bytes)?;
        selecting.push((name, is_there.then(|| value.to_vec())));
    }
    let length = usize::try_from(number(bytes, Buf::try_get_u64_le)?).ok()?;
    let body = (length <= bytes.len()).then(|| bytes.split_to(length))?;
    let entry = Entry {
        status,
        control: targeted(&headers).unwrap_or_else(|| ResponseControl::parse(&headers)),
        freshness: Freshness { lifetime, initial_age, received },
        validators: Validators::of(&headers),
        selecting: Selecting::from_fields(selecting),
        headers,
        extent,
        sent,
    };
    Some(Stored { entry, body: Chunks::from_pieces(if body.is_empty() { Vec::new() } else { vec![body] }) })
}

fn extent(bytes: &mut Bytes) -> Option<Extent> {
    let kind = number(bytes, Buf::try_get_u8)?;
    if kind == 0 {
        return Some(Extent::Whole);
    }
    let mut place = || number(bytes, Buf::try_get_u64_le);
    let (run, complete) = (Run { first: place()?, last: place()? }, place()?);
    let is_possible = kind <= 2 && run.first <= run.last;
    is_possible.then_some(Extent::Part(ContentRange { run, complete: (kind == 2).then_some(complete) }))
}

fn put_text(bytes: &mut BytesMut, text: &[u8]) {
    bytes.put_u32_le(u32::try_from(text.len()).unwrap_or(u32::MAX));
    bytes.put_slice(text);
}

fn text(bytes: &mut Bytes) -> Option<Bytes> {
    let length = usize::try_from(number(bytes, Buf::try_get_u32_le)?).ok()?;
    (length <= bytes.len()).then(|| bytes.split_to(length))
}

fn number<T, E>(bytes: &mut Bytes, read: impl FnOnce(&mut Bytes) -> Result<T, E>) -> Option<T> {
    read(bytes).ok()
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Three letters and the version of the format.
const MAGIC: &[u8; 4] = b"evh\x01";
const HEAD_BYTES: usize = MAGIC.len() + 16;

#[cfg(test)]
mod tests {
    use super::super::exchange::Exchange;
    use super::super::settings::{Profile, Settings};
    use super::*;
    use http::Method;
    use proptest::prelude::*;

    fn key() -> Key {
        Key::new("http", "a.test", "/x?y", &Settings::default())
    }

    fn stored(status: u16, lines: &[(&'static str, &'static str)], body: &'static str) -> Arc<Stored> {
        let mut response = HeaderMap::new();
        for (name, value) in lines {
            response.append(*name, HeaderValue::from_bytes(value.as_bytes()).expect("a valid test value"));
        }
        let mut request = HeaderMap::new();
        request.insert("accept-language", HeaderValue::from_static("de, en"));
        let exchange = Exchange {
            method: &Method::GET,
            request: &request,
            status: StatusCode::from_u16(status).expect("a valid test status"),
            response: &response,
            sent: Moment::from_millis(1_000_001),
            received: Moment::from_millis(1_000_042),
        };
        let entry = Entry::new(&exchange, &Settings::default()).expect("storable");
        let body = Chunks::from_pieces(vec![Bytes::from_static(body.as_bytes())]);
        Arc::new(Stored::new(entry, body, Profile::Rfc).expect("storable"))
    }

    fn variants() -> Vec<Arc<Stored>> {
        vec![
            stored(
                200,
                &[
                    ("cache-control", "max-age=9, no-cache=\"x\""),
                    ("vary", "a, accept-language"),
                    ("link", "1"),
                    ("link", "2"),
                ],
                "hello",
            ),
            stored(
                206,
                &[
                    ("cdn-cache-control", "max-age=5"),
                    ("content-range", "bytes 2-4/9"),
                    ("etag", "\"\u{fc}\""),
                ],
                "abc",
            ),
            stored(404, &[("cache-control", "max-age=1"), ("age", "7")], ""),
        ]
    }

    #[test]
    fn what_was_written_is_read() {
        let written = variants();
        let read = decode(key().as_str(), encode(&key(), &written)).expect("intact");
        assert_eq!(read.len(), written.len());
        for (read, written) in read.iter().zip(&written) {
            let mut expected = written.entry.clone();
            // The line as it came is only a shortcut and is not stored.
            expected.selecting = Selecting::from_fields(
                expected
                    .selecting
                    .fields()
                    .map(|(name, value)| (name.clone(), value.map(<[u8]>::to_vec)))
                    .collect(),
            );
            assert_eq!(read.entry, expected);
            assert_eq!(read.body.pieces().concat(), written.body.pieces().concat());
        }
    }

    #[test]
    fn bytes_of_another_key_are_no_answer() {
        let other = Key::new("http", "b.test", "/x?y", &Settings::default());
        assert!(decode(other.as_str(), encode(&key(), &variants())).is_none());
    }

    #[test]
    fn every_truncation_and_every_changed_byte_is_a_miss() {
        let whole = encode(&key(), &variants());
        for length in 0..whole.len() {
            assert!(decode(key().as_str(), whole.slice(..length)).is_none(), "cut at {length}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.to_vec();
            changed[at] ^= 0x41;
            assert!(decode(key().as_str(), changed.into()).is_none(), "changed at {at}");
        }
        assert!(decode(key().as_str(), [whole.as_ref(), b"x"].concat().into()).is_none(), "longer");
    }

    proptest! {
        #[test]
        fn hostile_bytes_with_a_right_checksum_do_not_panic(content in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut bytes = MAGIC.to_vec();
            let mut full = Vec::new();
            full.extend((key().as_str().len() as u32).to_le_bytes());
            full.extend(key().as_str().as_bytes());
            full.extend(content);
            bytes.extend(xxh3_64(&full).to_le_bytes());
            bytes.extend((full.len() as u64).to_le_bytes());
            bytes.extend(full);
            let _ = decode(key().as_str(), bytes.into());
        }
    }
}
