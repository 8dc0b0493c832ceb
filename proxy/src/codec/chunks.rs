//! A body of unknown length on its way out, in the chunked coding (RFC 9112 §7.1).

use http::HeaderMap;

use super::put_field;

/// A piece of a body. An empty one would be the end, so it is nothing at all.
pub(crate) fn put_chunk(data: &[u8], out: &mut Vec<u8>) {
    if data.is_empty() {
        return;
    }
    out.reserve(data.len() + 24);
    put_chunk_size(data.len(), out);
    out.extend_from_slice(data);
    out.extend_from_slice(b"\r\n");
}

/// What comes before a piece of so many bytes.
pub(crate) fn put_chunk_size(len: usize, out: &mut Vec<u8>) {
    let digits = (usize::BITS - len.leading_zeros()).div_ceil(4).max(1);
    for place in (0..digits).rev() {
        out.push(HEX[len >> (4 * place) & 15]);
    }
    out.extend_from_slice(b"\r\n");
}

/// The end of a body, with trailer fields if there are any.
pub(crate) fn put_last_chunk(trailers: Option<&HeaderMap>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flatten() {
        put_field(out, name.as_str(), value.as_bytes());
    }
    out.extend_from_slice(b"\r\n");
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks() {
        let mut out = Vec::new();
        put_chunk(b"hello, world....", &mut out);
        put_chunk(b"", &mut out);
        put_last_chunk(None, &mut out);
        assert_eq!(&out[..], b"10\r\nhello, world....\r\n0\r\n\r\n");
    }

    #[test]
    fn sizes_are_hexadecimal() {
        for len in [0, 1, 15, 16, 255, 256, 65_535, 65_536, usize::MAX] {
            let mut out = Vec::new();
            put_chunk_size(len, &mut out);
            assert_eq!(&out[..], format!("{len:x}\r\n").as_bytes());
        }
    }
}
