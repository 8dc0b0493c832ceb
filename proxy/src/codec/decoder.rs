//! A body as it arrives: so many bytes, chunks, or everything until the peer closes.

use bytes::{Bytes, BytesMut};
use http::HeaderMap;

use super::chunked::{Chunked, ChunkedError};

/// Where a body stands between two reads.
#[derive(Debug)]
pub(crate) enum Decoder {
    /// So many bytes are to come.
    Length(u64),
    Chunked(Chunked),
    /// The body ends with the connection.
    UntilClose,
    Done,
}

/// What stands at the front of the buffer.
#[derive(Debug, PartialEq)]
pub(crate) enum Decoded {
    /// A piece of the body, never empty.
    Data(Bytes),
    /// The body is complete; `Some` if it had trailer fields.
    End(Option<HeaderMap>),
    /// Nothing more without further bytes.
    NeedMore,
}

impl Decoder {
    /// For a body of so many bytes.
    pub(crate) fn length(length: u64) -> Self {
        if length == 0 { Decoder::Done } else { Decoder::Length(length) }
    }

    /// For a body in the chunked coding.
    pub(crate) fn chunked() -> Self {
        Decoder::Chunked(Chunked::new())
    }

    /// All of the body has been taken.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self, Decoder::Done)
    }

    /// Takes what it understands from the front of `buffer`, without a copy.
    pub(crate) fn decode(&mut self, buffer: &mut BytesMut) -> Result<Decoded, ChunkedError> {
        match self {
            Decoder::Done => Ok(Decoded::End(None)),
            Decoder::Chunked(chunked) => {
                let decoded = chunked.decode(buffer)?;
                if matches!(decoded, Decoded::End(_)) {
                    *self = Decoder::Done;
                }
                Ok(decoded)
            }
            Decoder::Length(_) | Decoder::UntilClose if buffer.is_empty() => Ok(Decoded::NeedMore),
            Decoder::UntilClose => Ok(Decoded::Data(take(buffer, buffer.len()))),
            Decoder::Length(left) => {
                let length = usize::try_from(*left).unwrap_or(usize::MAX).min(buffer.len());
                *left -= length as u64;
                if *left == 0 {
                    *self = Decoder::Done;
                }
                Ok(Decoded::Data(take(buffer, length)))
            }
        }
    }

    /// How many bytes a read should have room for, at most `max`.
    pub(crate) fn room(&self, max: usize) -> usize {
        match self {
            Decoder::Length(left) => usize::try_from(*left).unwrap_or(usize::MAX).min(max),
            _ => max,
        }
    }
}

/// The first `length` bytes of the buffer. Of one that has no room beyond them nothing is left to be shared.
fn take(buffer: &mut BytesMut, length: usize) -> Bytes {
    if length == buffer.capacity() {
        std::mem::take(buffer).freeze()
    } else {
        buffer.split_to(length).freeze()
    }
}
