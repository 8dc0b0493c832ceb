//! The chunked transfer coding of RFC 9112 §7.1, read strictly.
//!
//! ```text
//! 1a;name=value CRLF   26 bytes   CRLF   …   0 CRLF   trailer: field CRLF   CRLF
//! ```
//!
//! Two parties that disagree on where a body ends can be made to see different messages, so nothing is forgiven:
//! every line ends in CRLF, sizes are at most 16 hexadecimal digits without a sign, blanks stand only before the `;` of an
//! extension (as the RFC wants them taken), extensions hold no control characters. Extensions are read over and dropped. Bytes of data are handed on without a copy.
//!
//! Limits: [`EXTENSION_MAX`] bytes of extensions a body, [`TRAILER_MAX`] bytes of trailer fields.

use std::fmt;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::{BadLine, Decoded, Lines, lines_end_in_crlf, read_fields};

/// A decoder between two calls.
#[derive(Debug)]
pub(crate) struct Chunked {
    state: State,
    extension_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Size { value: u64, digits: u8 },
    Blank { value: u64 },
    Extension { value: u64 },
    SizeLf { value: u64 },
    Data { left: u64 },
    DataCr,
    DataLf,
    Trailers,
    Done,
}

impl Chunked {
    pub(crate) fn new() -> Self {
        Chunked { state: State::Size { value: 0, digits: 0 }, extension_bytes: 0 }
    }

    /// Takes what it understands from the front of `buffer`.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, ChunkedError> {
        loop {
            match self.state {
                State::Data { left } => {
                    if buffer.is_empty() {
                        return Ok(Decoded::NeedMore);
                    }
                    let length = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                    let left = left - length as u64;
                    self.state = if left == 0 { State::DataCr } else { State::Data { left } };
                    return Ok(Decoded::Data(buffer.split_to(length).freeze()));
                }
                State::Trailers => return self.trailers(buffer),
                State::Done => return Ok(Decoded::End(None)),
                _ => {
                    let Some((&byte, _)) = buffer.split_first() else { return Ok(Decoded::NeedMore) };
                    let _ = buffer.split_to(1);
                    self.state = self.framing(byte)?;
                }
            }
        }
    }

    /// One byte of the framing between two pieces of data.
    fn framing(&mut self, byte: u8) -> Result<State, ChunkedError> {
        match (self.state, byte) {
            (State::Size { value, digits }, byte) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(ChunkedError::SizeTooLarge);
                }
                let digit = (byte as char).to_digit(16).map_or(0, u64::from);
                Ok(State::Size { value: value << 4 | digit, digits: digits + 1 })
            }
            (State::Size { digits: 0, .. }, _) => Err(ChunkedError::NoSize),
            (State::Size { value, .. }, b'\r') => Ok(State::SizeLf { value }),
            (State::Size { value, .. } | State::Blank { value }, b';') => Ok(State::Extension { value }),
            (State::Size { value, .. } | State::Blank { value }, b' ' | b'\t') => {
                self.count_extension()?;
                Ok(State::Blank { value })
            }
            (State::Size { .. } | State::Blank { .. }, _) => Err(ChunkedError::BadSize),
            (State::Extension { value }, b'\r') => Ok(State::SizeLf { value }),
            (State::Extension { value }, b'\t' | b' '..=b'~' | 0x80..=0xff) => {
                self.count_extension()?;
                Ok(State::Extension { value })
            }
            (State::Extension { .. }, _) => Err(ChunkedError::BadExtension),
            (State::SizeLf { value: 0 }, b'\n') => Ok(State::Trailers),
            (State::SizeLf { value }, b'\n') => Ok(State::Data { left: value }),
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::Size { value: 0, digits: 0 }),
            _ => Err(ChunkedError::NoCrlf),
        }
    }

    fn count_extension(&mut self) -> Result<(), ChunkedError> {
        self.extension_bytes += 1;
        if self.extension_bytes > EXTENSION_MAX { Err(ChunkedError::ExtensionTooLong) } else { Ok(()) }
    }

    fn trailers(&mut self, buffer: &mut BytesMut) -> Result<Decoded, ChunkedError> {
        if buffer.starts_with(b"\r\n") {
            let _ = buffer.split_to(2);
            self.state = State::Done;
            return Ok(Decoded::End(None));
        }
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else {
            if buffer.len() > TRAILER_MAX {
                return Err(ChunkedError::TrailersTooLong);
            }
            // No need to wait for the end of what is wrong already.
            let is_sound = lines_end_in_crlf(buffer);
            return if is_sound { Ok(Decoded::NeedMore) } else { Err(ChunkedError::NoCrlf) };
        };
        if end + 4 > TRAILER_MAX {
            return Err(ChunkedError::TrailersTooLong);
        }
        let block = buffer.split_to(end + 4);
        self.state = State::Done;
        parse_trailers(&Bytes::copy_from_slice(&block)).map(|fields| Decoded::End(Some(fields)))
    }
}

fn parse_trailers(block: &Bytes) -> Result<HeaderMap, ChunkedError> {
    let mut ends = [0; TRAILER_FIELDS_MAX];
    let lines = match Lines::find(block, &mut ends) {
        Ok(Some(lines)) => lines,
        Ok(None) | Err(BadLine::TooMany) => return Err(ChunkedError::BadTrailer),
        Err(BadLine::BareLf) => return Err(ChunkedError::NoCrlf),
    };
    let fields =
        read_fields(block, lines.ranges(), lines.count(), None).map_err(|_| ChunkedError::BadTrailer)?;
    Ok(fields.map)
}

/// Why a body is not in the chunked coding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChunkedError {
    NoSize,
    BadSize,
    SizeTooLarge,
    BadExtension,
    ExtensionTooLong,
    NoCrlf,
    BadTrailer,
    TrailersTooLong,
}

impl fmt::Display for ChunkedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ChunkedError::NoSize => "chunk without a size",
            ChunkedError::BadSize => "chunk size with other than hexadecimal digits",
            ChunkedError::SizeTooLarge => "chunk size of more than 16 digits",
            ChunkedError::BadExtension => "control character in a chunk extension",
            ChunkedError::ExtensionTooLong => "more than 4096 bytes of chunk extensions",
            ChunkedError::NoCrlf => "chunk line that does not end in CRLF",
            ChunkedError::BadTrailer => "malformed trailer field, or more than 64 of them",
            ChunkedError::TrailersTooLong => "more than 16384 bytes of trailer fields",
        })
    }
}

const SIZE_DIGITS_MAX: u8 = 16;
const EXTENSION_MAX: usize = 4096;
const TRAILER_MAX: usize = 16_384;
const TRAILER_FIELDS_MAX: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The whole body, its trailers, and how many bytes were left over.
    type Whole = (Vec<u8>, Option<HeaderMap>, usize);

    /// Decodes `wire` cut into pieces at `cuts`; nothing if the body has not ended.
    fn decode(wire: &[u8], cuts: &[usize]) -> Result<Option<Whole>, ChunkedError> {
        let mut decoder = Chunked::new();
        let mut buffer = BytesMut::new();
        let mut body = Vec::new();
        let mut fed = 0;
        for &cut in cuts.iter().chain([&wire.len()]) {
            let cut = cut.clamp(fed, wire.len());
            buffer.extend_from_slice(&wire[fed..cut]);
            fed = cut;
            loop {
                match decoder.decode(&mut buffer)? {
                    Decoded::Data(data) => body.extend_from_slice(&data),
                    Decoded::End(trailers) => {
                        return Ok(Some((body, trailers, buffer.len() + wire.len() - fed)));
                    }
                    Decoded::NeedMore => break,
                }
            }
        }
        Ok(None)
    }

    #[test]
    fn reads_sizes_extensions_and_trailers() {
        let wire = b"5;a=\"b\"\r\nhello\r\n0a \t;x\r\n, big bye!\r\n0\r\nx-sum: 7\r\n\r\nNEXT";
        let (body, trailers, left) = decode(wire, &[]).unwrap().unwrap();
        assert_eq!(body, b"hello, big bye!");
        assert_eq!(trailers.unwrap()["x-sum"], "7");
        assert_eq!(left, 4, "what follows the body is not touched");
    }

    #[test]
    fn forgives_nothing() {
        use ChunkedError::*;
        for (wire, error) in [
            (&b"\r\n"[..], NoSize),
            (b"-1\r\n", NoSize),
            (b" 1\r\n", NoSize),
            (b"0x1\r\n", BadSize),
            (b"1 \r\na", BadSize),
            (b"1 x\r\na", BadSize),
            (b"1\r\r;x\na", NoCrlf),
            (b"G\r\n", NoSize),
            (b"1\na\r\n", BadSize),
            (b"10000000000000000\r\n", SizeTooLarge),
            (b"1;\0\r\na\r\n", BadExtension),
            (b"1;a\na\r\n", BadExtension),
            (b"1\r\nab\r\n", NoCrlf),
            (b"1\r\na\n0\r\n\r\n", NoCrlf),
            (b"1\r\na\r0\r\n\r\n", NoCrlf),
            (b"0\r\nx: 1\nTE: y\r\n\r\n", NoCrlf),
            (b"0\r\nx: 1\nGET /smuggled HTTP/1.1\n\n", NoCrlf),
            (b"0\r\n\n", NoCrlf),
            (b"0\n\r\n", BadSize),
            (b"0\r\n folded: y\r\n\r\n", BadTrailer),
            (b"0\r\nno colon\r\n\r\n", BadTrailer),
            (b"0\r\nx : 1\r\n\r\n", BadTrailer),
        ] {
            assert_eq!(decode(wire, &[]), Err(error), "{:?}", String::from_utf8_lossy(wire));
        }
    }

    #[test]
    fn limits_what_it_holds_and_skips() {
        let extension = [b"1;".to_vec(), vec![b'a'; EXTENSION_MAX + 1]].concat();
        assert_eq!(decode(&extension, &[]), Err(ChunkedError::ExtensionTooLong));
        let trailer = [b"0\r\nx: ".to_vec(), vec![b'a'; TRAILER_MAX + 1]].concat();
        assert_eq!(decode(&trailer, &[]), Err(ChunkedError::TrailersTooLong));
    }

    proptest! {
        /// However the network cuts the bytes, the body is the same.
        #[test]
        fn pieces_do_not_matter(chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..6),
                                mut cuts in prop::collection::vec(0usize..300, 0..8)) {
            cuts.sort_unstable();
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let (body, trailers, left) = decode(&wire, &cuts).unwrap().unwrap();
            prop_assert_eq!(body, chunks.concat());
            prop_assert_eq!((trailers, left), (None, 0));
        }

        #[test]
        fn no_bytes_make_it_panic(wire in prop::collection::vec(any::<u8>(), 0..200), cut in 0usize..200) {
            let _ = decode(&wire, &[cut]);
        }
    }
}
