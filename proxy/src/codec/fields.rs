//! Field lines (RFC 9112 §5): into a map and back.

use bytes::{BufMut, Bytes, BytesMut};
use http::{HeaderMap, HeaderName, HeaderValue, header};

/// What httparse found in `head`, as a map. The values are parts of `copy`, a copy of `head`, so that they keep nothing else
/// alive. `more` fields can be added without the map having to grow.
pub(crate) fn read_fields(
    fields: &[httparse::Header<'_>],
    head: &[u8],
    copy: &Bytes,
    more: usize,
) -> Result<HeaderMap, BadField> {
    let mut map = HeaderMap::with_capacity(fields.len() + more);
    for field in fields {
        let name = HeaderName::from_bytes(field.name.as_bytes()).map_err(|_| BadField)?;
        // An empty value may stand anywhere, even outside of the head.
        let start =
            if field.value.is_empty() { 0 } else { field.value.as_ptr().addr() - head.as_ptr().addr() };
        let value = copy.slice(start..start + field.value.len());
        map.append(name, HeaderValue::from_maybe_shared(value).map_err(|_| BadField)?);
    }
    Ok(map)
}

/// What `part` of `head` is in its copy.
pub(crate) fn same_part(part: &[u8], head: &[u8], copy: &Bytes) -> Bytes {
    if part.is_empty() {
        // An empty value may stand anywhere, even outside of the head.
        return Bytes::new();
    }
    let start = part.as_ptr().addr() - head.as_ptr().addr();
    copy.slice(start..start + part.len())
}

/// A field whose name or value is not of the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct BadField;

/// httparse takes a lone LF for a line end; another party may not.
pub(crate) fn lines_end_in_crlf(head: &[u8]) -> bool {
    memchr::memchr_iter(b'\n', head).all(|at| at > 0 && head[at - 1] == b'\r')
}

/// Whether `Connection` lists `option`.
pub(crate) fn has_option(headers: &HeaderMap, option: &str) -> bool {
    let values = headers.get_all(header::CONNECTION).iter();
    let mut options = values.flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    options.any(|found| found.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

/// One field line.
pub(crate) fn put_field(out: &mut BytesMut, name: &str, value: &[u8]) {
    out.reserve(name.len() + value.len() + 4);
    out.put_slice(name.as_bytes());
    out.put_slice(b": ");
    out.put_slice(value);
    out.put_slice(b"\r\n");
}
