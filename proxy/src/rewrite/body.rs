//! Changing a whole body: replace text, patch or merge JSON.
//!
//! ```text
//!   gzip, br, deflate ─► decode ─► edit ─► edit ─► … ─► plain bytes, their length, an ETag of their own
//! ```
//!
//! The body is gathered first, so it has a limit, before and after decoding: a small compressed body may be a large one.
//! Text is edited in textual types only (`text/*`, JSON, XML, JavaScript, forms), JSON in JSON types only; another type
//! passes unchanged. What cannot be edited although it should (too large, broken, an unknown encoding) is an error: a
//! rule that hides something must not fail open.
//!
//! ```
//! use bytes::Bytes;
//! use evenly::rewrite::{BodyChange, BodyEdit};
//!
//! let change = BodyChange::new(vec![BodyEdit::merge(r#"{"price": 0, "internal": null}"#)?], 1 << 20);
//! let body = change.apply("application/json", None, Bytes::from(r#"{"name":"x","price":9,"internal":1}"#))?;
//! assert_eq!(body, Bytes::from(r#"{"name":"x","price":0}"#));
//! # Ok::<(), evenly::rewrite::BodyError>(())
//! ```
//!
//! Sources: RFC 6902 (JSON Patch), RFC 7396 (JSON Merge Patch).

use std::borrow::Cow;
use std::io::Read;

use bytes::Bytes;
use regex::bytes::{Regex, RegexBuilder};
use serde_json::Value;

/// Edits of a body, and how large it may be.
#[derive(Debug, Clone)]
pub struct BodyChange {
    edits: Vec<BodyEdit>,
    len_max: usize,
}

/// One edit.
#[derive(Debug, Clone)]
pub enum BodyEdit {
    /// Every occurrence of a text.
    Replace {
        /// The text.
        from: String,
        /// What comes in its place.
        to: String,
    },
    /// Every match of an expression; `$1` in `to` is its first group.
    ReplaceRegex {
        /// The expression.
        from: Regex,
        /// What comes in its place.
        to: String,
    },
    /// JSON Patch.
    Patch(json_patch::Patch),
    /// JSON Merge Patch.
    Merge(Value),
}

impl BodyEdit {
    /// Replaces every match of an expression.
    ///
    /// # Errors
    /// When it does not compile, or to too much.
    pub fn regex(from: &str, to: &str) -> Result<Self, BodyError> {
        let from = RegexBuilder::new(from)
            .size_limit(crate::pattern::REGEX_LEN_MAX)
            .build()
            .map_err(|error| BodyError::Edit(error.to_string()))?;
        Ok(Self::ReplaceRegex { from, to: to.to_owned() })
    }

    /// Reads a JSON Patch.
    ///
    /// # Errors
    /// When it is none.
    pub fn patch(json: &str) -> Result<Self, BodyError> {
        serde_json::from_str(json).map(Self::Patch).map_err(|error| BodyError::Edit(error.to_string()))
    }

    /// Reads a JSON Merge Patch.
    ///
    /// # Errors
    /// When it is no JSON.
    pub fn merge(json: &str) -> Result<Self, BodyError> {
        serde_json::from_str(json).map(Self::Merge).map_err(|error| BodyError::Edit(error.to_string()))
    }

    fn is_json(&self) -> bool {
        matches!(self, Self::Patch(_) | Self::Merge(_))
    }

    fn apply(&self, body: &[u8]) -> Result<Vec<u8>, BodyError> {
        match self {
            Self::Replace { from, to } => Ok(replace(body, from.as_bytes(), to.as_bytes())),
            Self::ReplaceRegex { from, to } => Ok(from.replace_all(body, to.as_bytes()).into_owned()),
            Self::Patch(patch) => edit_json(body, |document| {
                json_patch::patch(document, patch).map_err(|error| BodyError::Edit(error.to_string()))
            }),
            Self::Merge(patch) => edit_json(body, |document| {
                json_patch::merge(document, patch);
                Ok(())
            }),
        }
    }
}

impl BodyChange {
    /// These edits, for bodies of at most `len_max` bytes.
    #[must_use]
    pub fn new(edits: Vec<BodyEdit>, len_max: usize) -> Self {
        Self { edits, len_max }
    }

    /// The largest body, as it comes and decoded.
    #[must_use]
    pub fn len_max(&self) -> usize {
        self.len_max
    }

    /// Has it anything to do in a body of this type?
    #[must_use]
    pub fn concerns(&self, content_type: &str) -> bool {
        let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let is_json = kind.ends_with("/json") || kind.ends_with("+json");
        let is_text = is_json
            || kind.starts_with("text/")
            || kind.ends_with("xml")
            || kind.ends_with("/javascript")
            || kind == "application/x-www-form-urlencoded";
        self.edits.iter().any(|edit| if edit.is_json() { is_json } else { is_text })
    }

    /// Decodes and edits a body.
    ///
    /// # Errors
    /// When it is too large, cannot be decoded, or an edit fails.
    pub fn apply(&self, content_type: &str, encoding: Option<&str>, body: Bytes) -> Result<Bytes, BodyError> {
        if body.len() > self.len_max {
            return Err(BodyError::TooLarge { max: self.len_max });
        }
        if !self.concerns(content_type) {
            return Ok(body);
        }
        let is_json = Self::new(vec![BodyEdit::Merge(Value::Null)], 0).concerns(content_type);
        let mut edited = match encoding {
            None => Cow::Borrowed(&body[..]),
            Some(encoding) => Cow::Owned(decode(encoding, &body, self.len_max)?),
        };
        for edit in self.edits.iter().filter(|edit| is_json || !edit.is_json()) {
            edited = Cow::Owned(edit.apply(&edited)?);
            // Replacements may be longer than what they replace, many times over.
            if edited.len() > self.len_max.saturating_mul(GROWTH_MAX) {
                return Err(BodyError::TooLarge { max: self.len_max });
            }
        }
        Ok(Bytes::from(edited.into_owned()))
    }
}

/// Why a body cannot be changed.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// It is too large, as it came or decoded.
    TooLarge {
        /// The limit in bytes.
        max: usize,
    },
    /// It did not come whole.
    Broken(String),
    /// An encoding that is not gzip, deflate, br or identity, or bytes that are not of it.
    Encoding(String),
    /// The edit does not fit, or the body is no JSON.
    Edit(String),
}

impl std::fmt::Display for BodyError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge { max } => write!(f, "body to rewrite is larger than {max} bytes"),
            Self::Broken(error) => write!(f, "body to rewrite: {error}"),
            Self::Encoding(encoding) => write!(f, "body to rewrite cannot be decoded from \"{encoding}\""),
            Self::Edit(error) => write!(f, "body cannot be rewritten: {error}"),
        }
    }
}

impl std::error::Error for BodyError {}

fn replace(body: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len());
    let mut rest = 0;
    // An empty text occurs nowhere: replacing it everywhere would mean nothing anybody wants.
    for at in memchr::memmem::find_iter(body, from).filter(|_| !from.is_empty()) {
        out.extend_from_slice(&body[rest..at]);
        out.extend_from_slice(to);
        rest = at + from.len();
    }
    out.extend_from_slice(&body[rest..]);
    out
}

fn edit_json(
    body: &[u8],
    edit: impl FnOnce(&mut Value) -> Result<(), BodyError>,
) -> Result<Vec<u8>, BodyError> {
    let mut document = serde_json::from_slice(body).map_err(|error| BodyError::Edit(error.to_string()))?;
    edit(&mut document)?;
    serde_json::to_vec(&document).map_err(|error| BodyError::Edit(error.to_string()))
}

/// Undoes the encodings that `Content-Encoding` lists, the last one first.
pub(crate) fn decode(encodings: &str, body: &[u8], len_max: usize) -> Result<Vec<u8>, BodyError> {
    let mut decoded = body.to_vec();
    let listed: Vec<&str> = encodings.split(',').map(str::trim).filter(|name| !name.is_empty()).collect();
    if listed.len() > ENCODINGS_MAX {
        return Err(BodyError::Encoding(encodings.to_owned()));
    }
    for name in listed.into_iter().rev() {
        let wrong = |_| BodyError::Encoding(name.to_owned());
        decoded = match name.to_ascii_lowercase().as_str() {
            "identity" => decoded,
            "gzip" | "x-gzip" => {
                bounded(flate2::read::MultiGzDecoder::new(&decoded[..]), len_max).map_err(wrong)?
            }
            // Named "deflate", meant as zlib (RFC 9110 §8.4.1.2); some send it bare.
            "deflate" => bounded(flate2::read::ZlibDecoder::new(&decoded[..]), len_max)
                .or_else(|_| bounded(flate2::read::DeflateDecoder::new(&decoded[..]), len_max))
                .map_err(wrong)?,
            "br" => {
                bounded(brotli_decompressor::Decompressor::new(&decoded[..], 4096), len_max).map_err(wrong)?
            }
            _ => return Err(BodyError::Encoding(name.to_owned())),
        };
        if decoded.len() > len_max {
            return Err(BodyError::TooLarge { max: len_max });
        }
    }
    Ok(decoded)
}

/// Reads at most one byte more than allowed.
fn bounded(reader: impl Read, len_max: usize) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::new();
    reader.take(len_max as u64 + 1).read_to_end(&mut out)?;
    Ok(out)
}

/// How much larger than the limit on what comes the result may be.
const GROWTH_MAX: usize = 4;
const ENCODINGS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use proptest::prelude::*;

    use super::*;

    fn apply(
        edits: Vec<BodyEdit>,
        kind: &str,
        encoding: Option<&str>,
        body: &[u8],
    ) -> Result<String, BodyError> {
        let body = BodyChange::new(edits, 1000).apply(kind, encoding, Bytes::copy_from_slice(body))?;
        Ok(String::from_utf8(body.to_vec()).unwrap())
    }

    fn replace_a() -> BodyEdit {
        BodyEdit::Replace { from: "a".into(), to: "bc".into() }
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn edits_are_made_in_order_in_bodies_of_their_kind() {
        let patch = BodyEdit::patch(
            r#"[{"op":"replace","path":"/a","value":2},{"op":"add","path":"/l/-","value":3}]"#,
        );
        let merge = BodyEdit::merge(r#"{"b":null}"#).unwrap();
        let edited = apply(
            vec![patch.unwrap(), merge],
            "application/problem+json; charset=utf-8",
            None,
            br#"{"a":1,"b":1,"l":[1]}"#,
        );
        assert_eq!(edited.unwrap(), r#"{"a":2,"l":[1,3]}"#);
        let regex = BodyEdit::regex("(\\d+) EUR", "$1 USD").unwrap();
        assert_eq!(
            apply(vec![replace_a(), regex], "text/html", None, b"a 12 EUR a").unwrap(),
            "bc 12 USD bc"
        );
        assert_eq!(apply(vec![replace_a()], "image/png", None, b"a").unwrap(), "a");
        assert_eq!(apply(vec![BodyEdit::merge("1").unwrap()], "text/html", None, b"a").unwrap(), "a");
    }

    #[test]
    fn compressed_bodies_are_decoded_first() {
        assert_eq!(apply(vec![replace_a()], "text/plain", Some("gzip"), &gzip(b"xay")).unwrap(), "xbcy");
        let twice = gzip(&gzip(b"xay"));
        assert_eq!(apply(vec![replace_a()], "text/plain", Some("gzip, x-gzip"), &twice).unwrap(), "xbcy");
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        zlib.write_all(b"xay").unwrap();
        assert_eq!(
            apply(vec![replace_a()], "text/plain", Some("Deflate"), &zlib.finish().unwrap()).unwrap(),
            "xbcy"
        );
        // `printf xay | brotli | xxd`
        let brotli = [0x0f, 0x01, 0x80, b'x', b'a', b'y', 0x03];
        assert_eq!(apply(vec![replace_a()], "text/plain", Some("br"), &brotli).unwrap(), "xbcy");
    }

    #[test]
    fn what_cannot_be_edited_is_an_error() {
        let bomb = gzip(&vec![0; 100_000]);
        assert!(bomb.len() < 1000);
        let too_large = Err(BodyError::TooLarge { max: 1000 });
        assert_eq!(apply(vec![replace_a()], "text/plain", Some("gzip"), &bomb), too_large);
        assert_eq!(apply(vec![replace_a()], "text/plain", None, &[b'x'; 1001]), too_large);
        let grows = BodyEdit::Replace { from: "x".into(), to: "y".repeat(100) };
        assert_eq!(apply(vec![grows], "text/plain", None, &[b'x'; 1000]), too_large);
        for (encoding, body) in [("zstd", &b"a"[..]), ("gzip", b"no gzip"), ("gzip,gzip,gzip,gzip,gzip", b"")]
        {
            assert!(apply(vec![replace_a()], "text/plain", Some(encoding), body).is_err(), "{encoding}");
        }
        let missing = BodyEdit::patch(r#"[{"op":"remove","path":"/a"}]"#).unwrap();
        assert!(apply(vec![missing.clone()], "application/json", None, b"{}").is_err());
        assert!(apply(vec![missing], "application/json", None, b"no json").is_err());
        assert!(
            BodyEdit::patch("{}").is_err()
                && BodyEdit::merge("{").is_err()
                && BodyEdit::regex("(", "").is_err()
        );
    }

    proptest! {
        #[test]
        fn replacing_is_what_str_replace_does(body in "[ab]{0,20}", from in "[ab]{1,3}", to in "[abc]{0,3}") {
            let edit = BodyEdit::Replace { from: from.clone(), to: to.clone() };
            prop_assert_eq!(apply(vec![edit], "text/plain", None, body.as_bytes()).unwrap(), body.replace(&from, &to));
        }

        #[test]
        fn any_bytes_are_decoded_or_refused(body in prop::collection::vec(any::<u8>(), 0..100)) {
            for encoding in ["gzip", "deflate", "br"] {
                let _ = decode(encoding, &body, 1000);
            }
        }
    }
}
