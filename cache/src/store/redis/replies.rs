//! From bytes to replies, within limits: a server, or whatever listens on its port, cannot make us reserve memory by
//! announcing sizes.
//!
//! ```text
//!     element  =  type byte, line, CR LF  [ for $ = !: that many bytes, CR LF ]        nesting needs no memory here
//! ```
//!
//! What most operations are answered with (`+OK`, a number, a string, nothing) is read here. Everything else is looked
//! through to its end, and then given as a whole to the client library's parser, which believes what a reply says of itself:
//! `*1000000000` alone would have it reserve room for a milliard elements. The connection fails at the first byte that cannot
//! belong to a reply to us: an unknown type, a line over [`LINE_MAX`], more than [`ELEMENTS_MAX`] elements in one aggregate, a
//! string over the limit.
//!
//! A string that does not fit the buffer is read to where it stays, without a copy. For it as many bytes are reserved as it
//! says to have, the limit of one string at most, for one string at a time.

use std::{
    io,
    pin::{Pin, pin},
    slice::Chunks,
    task::{Context, Poll, Waker},
};

use bytes::BufMut;
use redis::Value;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

/// The longest line: numbers, status and error messages.
pub(super) const LINE_MAX: usize = 64 * 1024;
/// The most elements of one array, set, map or push: far above the 1,024 that we ever ask for at a time.
pub(super) const ELEMENTS_MAX: u64 = 1 << 20;
/// Bytes asked of the socket at a time.
const READ: usize = 64 * 1024;
/// Strings from this length on are not copied out of the buffer when they are not whole inside it.
const LONG: usize = 16 * 1024;

/// Bytes that have come, and the replies in them.
pub(super) struct Replies {
    string_max: usize,
    buffer: Vec<u8>,
    /// Where in the buffer the next reply begins.
    start: usize,
    /// How far that reply has been looked through.
    seen: Seen,
    long: Option<Long>,
}

/// The part of a reply that has been looked through: bytes, and the elements still to come.
#[derive(Debug, Clone, Copy)]
struct Seen {
    len: usize,
    left: u64,
}

/// A string that is read to where it stays, with its CR LF.
struct Long {
    bytes: Vec<u8>,
    len: usize,
}

/// A type byte, its line, and what the line says.
struct Head {
    /// Bytes up to the end of the line.
    len: usize,
    /// The number in it, where it has one that says how much follows; `None` for "there is nothing".
    size: Option<u64>,
}

impl Replies {
    pub(super) fn new(string_max: usize) -> Self {
        Self { string_max, buffer: Vec::new(), start: 0, seen: Seen::NOTHING, long: None }
    }

    /// Reads what `stream` has; how much that was, 0 at its end.
    pub(super) fn poll_fill(
        &mut self,
        stream: &mut (impl AsyncRead + Unpin),
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if let Some(long) = &mut self.long {
            let left = long.len - long.bytes.len();
            return pin!(stream.read_buf(&mut (&mut long.bytes).limit(left))).poll(cx);
        }
        self.make_room();
        let room = self.buffer.capacity() - self.buffer.len();
        pin!(stream.read_buf(&mut (&mut self.buffer).limit(room))).poll(cx)
    }

    /// The next reply, if it has come.
    pub(super) fn next(&mut self) -> Result<Option<Value>, String> {
        if self.long.is_some() {
            return self.next_long();
        }
        let bytes = &self.buffer[self.start..];
        match bytes.first() {
            None => Ok(None),
            Some(b'+') if bytes.starts_with(b"+OK\r\n") => {
                self.start += 5;
                Ok(Some(Value::Okay))
            }
            Some(b'$') => self.next_string(),
            Some(_) => self.next_other(),
        }
    }

    fn next_string(&mut self) -> Result<Option<Value>, String> {
        let bytes = &self.buffer[self.start..];
        let Some(head) = head(bytes, self.string_max)? else { return Ok(None) };
        let Some(size) = head.size else {
            self.start += head.len;
            return Ok(Some(Value::Nil));
        };
        let (body, size) = (&bytes[head.len..], size as usize);
        if let Some(body) = body.get(..size + 2) {
            let string = ended(body)?.to_vec();
            self.start += head.len + size + 2;
            return Ok(Some(Value::BulkString(string)));
        }
        if size >= LONG {
            let mut bytes = Vec::with_capacity(size + 2);
            bytes.extend_from_slice(body);
            self.long = Some(Long { bytes, len: size + 2 });
            self.start = self.buffer.len();
        }
        Ok(None)
    }

    fn next_long(&mut self) -> Result<Option<Value>, String> {
        match self.long.take_if(|long| long.bytes.len() == long.len) {
            None => Ok(None),
            Some(mut long) => {
                let len = ended(&long.bytes)?.len();
                long.bytes.truncate(len);
                Ok(Some(Value::BulkString(long.bytes)))
            }
        }
    }

    fn next_other(&mut self) -> Result<Option<Value>, String> {
        let bytes = &self.buffer[self.start..];
        while self.seen.left > 0 {
            let rest = &bytes[self.seen.len.min(bytes.len())..];
            let Some(head) = head(rest, self.string_max)? else { return Ok(None) };
            self.seen.add(rest[0], &head);
        }
        let Some(reply) = bytes.get(..self.seen.len) else { return Ok(None) };
        let value = redis::parse_redis_value(reply).map_err(|error| error.to_string())?;
        self.start += self.seen.len;
        self.seen = Seen::NOTHING;
        Ok(Some(value))
    }

    /// Room for [`READ`] bytes, or for twice what there is of a reply that is longer.
    fn make_room(&mut self) {
        if self.start == self.buffer.len() {
            self.buffer.clear();
            if self.buffer.capacity() > 4 * READ {
                self.buffer = Vec::new();
            }
        } else if self.start > 0 {
            self.buffer.drain(..self.start);
        }
        self.start = 0;
        if self.buffer.len() == self.buffer.capacity() {
            self.buffer.reserve(self.buffer.len().max(READ));
        }
    }
}

impl Seen {
    const NOTHING: Self = Self { len: 0, left: 1 };

    fn add(&mut self, kind: u8, head: &Head) {
        let size = head.size.unwrap_or(0);
        self.len += head.len;
        self.left -= 1;
        match kind {
            // An end that lies beyond what has come is noticed when the next element is looked for, or at the end.
            b'$' if head.size.is_none() => {}
            b'$' | b'=' | b'!' => self.len += size as usize + 2,
            b'%' => self.left = self.left.saturating_add(2 * size),
            b'*' | b'~' | b'>' => self.left = self.left.saturating_add(size),
            _ => {}
        }
    }
}

/// What the element at the start of `bytes` says of itself, if its line has come.
fn head(bytes: &[u8], string_max: usize) -> Result<Option<Head>, String> {
    let Some(&kind) = bytes.first() else { return Ok(None) };
    if !b"+-:_#,($=!*~%>".contains(&kind) {
        return Err(format!("reply starts with byte 0x{kind:02x}, which begins no RESP type"));
    }
    let line = &bytes[1..bytes.len().min(LINE_MAX + 2)];
    let end = line.iter().position(|&byte| byte == b'\n');
    let is_sized = b"$=!*~%>".contains(&kind);
    // A size is refused before its line ends.
    if is_sized && end.unwrap_or(line.len()) > DIGITS_MAX {
        return Err(no_number(kind));
    }
    let Some(end) = end else {
        let is_too_long = line.len() > LINE_MAX;
        return if is_too_long {
            Err(format!("reply with a line of more than {LINE_MAX} bytes"))
        } else {
            Ok(None)
        };
    };
    let Some(line) = line[..end].strip_suffix(b"\r") else {
        return Err("reply with a line that ends without CR".to_owned());
    };
    let size = if is_sized { size(kind, line, string_max)? } else { None };
    Ok(Some(Head { len: end + 2, size }))
}

fn size(kind: u8, line: &[u8], string_max: usize) -> Result<Option<u64>, String> {
    if b"$*".contains(&kind) && line == b"-1" {
        return Ok(None);
    }
    if line.is_empty() || !line.iter().all(u8::is_ascii_digit) {
        return Err(no_number(kind));
    }
    let size = line
        .iter()
        .fold(0_u64, |size, digit| size.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    match kind {
        b'$' | b'=' | b'!' if size > string_max as u64 => {
            Err(format!("reply with a string of {size} bytes (at most {string_max})"))
        }
        b'*' | b'~' | b'%' | b'>' if size > ELEMENTS_MAX => {
            Err(format!("reply with {size} elements (at most {ELEMENTS_MAX})"))
        }
        _ => Ok(Some(size)),
    }
}

/// A string's bytes without the CR LF that must end them.
fn ended(string: &[u8]) -> Result<&[u8], String> {
    string.strip_suffix(b"\r\n").ok_or_else(|| "reply with a string that is longer than it says".to_owned())
}

fn no_number(kind: u8) -> String {
    format!("reply of type '{}' with a length that is no number", char::from(kind))
}

/// The replies in `bytes` when they come in pieces of `piece`, none of them longer than `string_max`: what tests and the
/// fuzzer see of it.
///
/// # Errors
/// Why the connection would fail.
#[doc(hidden)]
pub fn replies_in(bytes: &[u8], piece: usize, string_max: usize) -> Result<Vec<Value>, String> {
    let mut replies = Replies::new(string_max);
    let mut values = Vec::new();
    let mut stream = Pieces(bytes.chunks(piece), &[]);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        while let Some(value) = replies.next()? {
            values.push(value);
        }
        match replies.poll_fill(&mut stream, &mut cx) {
            Poll::Ready(Ok(1..)) => {}
            _ => return Ok(values),
        }
    }
}

/// Bytes as a network may bring them.
struct Pieces<'a>(Chunks<'a, u8>, &'a [u8]);

impl AsyncRead for Pieces<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.1.is_empty() {
            self.1 = self.0.next().unwrap_or_default();
        }
        let (now, later) = self.1.split_at(self.1.len().min(buf.remaining()));
        buf.put_slice(now);
        self.1 = later;
        Poll::Ready(Ok(()))
    }
}

/// More digits than any size has, with its CR.
const DIGITS_MAX: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], piece: usize) -> Result<Vec<Value>, String> {
        replies_in(bytes, piece, STRING_MAX)
    }

    const STRING_MAX: usize = 300_000;

    /// What the client library alone makes of one reply.
    fn parsed(reply: &[u8]) -> Value {
        redis::parse_redis_value(reply).unwrap()
    }

    #[test]
    fn real_replies_are_read_whole_and_in_pieces() {
        let replies: [&[u8]; 20] = [
            b"+OK\r\n",
            b"+QUEUED\r\n",
            b"-ERR unknown command\r\n",
            b":42\r\n",
            b":-7\r\n",
            b"$-1\r\n",
            b"$0\r\n\r\n",
            b"$5\r\n*9$\r\n\r\n",
            b"*-1\r\n",
            b"*0\r\n",
            b"*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            b"*3\r\n*2\r\n:1\r\n$-1\r\n%1\r\n+k\r\n*0\r\n$1\r\nz\r\n",
            b"%1\r\n+k\r\n,3.14\r\n",
            b"~1\r\n#t\r\n",
            b"_\r\n",
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n",
            b">2\r\n$10\r\ninvalidate\r\n_\r\n",
            b"=7\r\ntxt:abc\r\n",
            b"(3492890328409238509324850943850943825024385\r\n",
            b"!5\r\nERR x\r\n",
        ];
        let expected: Vec<Value> = replies.iter().map(|reply| parsed(reply)).collect();
        let all = replies.concat();
        for piece in 1..=all.len() {
            assert_eq!(read(&all, piece).as_ref(), Ok(&expected), "in pieces of {piece}");
        }
    }

    #[test]
    fn strings_of_every_length_are_read_in_pieces_of_any() {
        let mut all = Vec::new();
        let mut expected = Vec::new();
        for len in [0, 1, LONG - 1, LONG, READ - 3, READ, READ + 1, 3 * READ + 7, STRING_MAX] {
            let string: Vec<u8> = (0..=255).cycle().take(len).collect();
            all.extend_from_slice(format!("${len}\r\n").as_bytes());
            all.extend_from_slice(&string);
            all.extend_from_slice(b"\r\n:1\r\n");
            expected.extend([Value::BulkString(string), Value::Int(1)]);
        }
        for piece in [1, 2, 3, 1_000, LONG + 1, READ, READ + 1, 1_000_000] {
            assert!(read(&all, piece).as_ref() == Ok(&expected), "in pieces of {piece}");
        }
    }

    #[test]
    fn a_long_list_is_read_and_its_room_given_back() {
        let list = format!(
            "*10000\r\n{}",
            "$50\r\n01234567890123456789012345678901234567890123456789\r\n".repeat(10_000)
        );
        let mut replies = Replies::new(STRING_MAX);
        let mut stream = Pieces(list.as_bytes().chunks(100_000), &[]);
        let mut cx = Context::from_waker(Waker::noop());
        let value = loop {
            if let Some(value) = replies.next().unwrap() {
                break value;
            }
            assert!(matches!(replies.poll_fill(&mut stream, &mut cx), Poll::Ready(Ok(1..))));
        };
        assert_eq!(value, parsed(list.as_bytes()));
        assert!(matches!(replies.poll_fill(&mut stream, &mut cx), Poll::Ready(Ok(0))));
        assert!(replies.buffer.capacity() <= 4 * READ);
    }

    #[test]
    fn sizes_that_would_reserve_memory_are_refused() {
        for (bytes, says) in [
            (&b"*1000000000\r\n:1\r\n"[..], "1000000000 elements (at most 1048576)"),
            (b"%99999999999999999999999\r\n", "elements"),
            (b"~1048577\r\n", "1048577 elements"),
            (b">1048577\r\n", "1048577 elements"),
            (b"*2\r\n:1\r\n*1048577\r\n", "1048577 elements"),
            (b"$300001\r\n", "300001 bytes (at most 300000)"),
            (b"=300001\r\n", "300001 bytes"),
            (b"*1\r\n$300001\r\n", "300001 bytes"),
            (b"$-2\r\n", "no number"),
            (b"%-1\r\n", "no number"),
            (b"=-1\r\n", "no number"),
            (b"$1x\r\n", "no number"),
            (b"$\r\n", "no number"),
            (b"$000000000000000000000000000000000000", "no number"),
            // Found by `pieces_change_nothing`: in pieces it was refused for another reason than as a whole.
            (b"$00$$-*\r-a*\r00*\r$$$*\r$0a0*a*-a$\r0*\n", "no number"),
            (b"$1\r\nabc\r\n", "longer than it says"),
            (b"+a\nb\r\n", "without CR"),
            (b"HTTP/1.1 400 Bad Request\r\n", "0x48"),
            (b"|1\r\n+a\r\n+b\r\n", "0x7c"),
            (b"\0\0\0", "0x00"),
        ] {
            for piece in 1..=bytes.len() {
                let error = read(bytes, piece).unwrap_err();
                assert!(error.contains(says), "{error}");
            }
        }
        let long = [b"+".as_slice(), &vec![b'a'; LINE_MAX + 2]].concat();
        assert!(read(&long, 999).unwrap_err().contains("line of more than"));
        let deep = b"*1\r\n".repeat(200);
        assert!(read(&[&deep[..], b":1\r\n"].concat(), 999).unwrap_err().contains("recursion"));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(bytes in "[$*:+\\-0-9ab\r\n]{0,60}", piece in 1_usize..9) {
            prop_assert_eq!(read(bytes.as_bytes(), piece), read(bytes.as_bytes(), 1_000));
        }

        #[test]
        fn no_bytes_panic(bytes: Vec<u8>, piece in 1_usize..9) {
            let _ = read(&bytes, piece);
        }
    }
}
