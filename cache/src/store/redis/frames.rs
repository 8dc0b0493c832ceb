//! A gate for replies: a server, or whatever listens on its port, cannot make us reserve memory by announcing sizes.
//!
//! The reply parser believes what a reply says of itself: `*1000000000` reserves room for a milliard elements at the
//! first of them, and a process that asks for 56 GB is ended by the allocator, cache or no cache. This reader stands
//! between socket and parser and follows the framing of RESP2 and RESP3:
//!
//! ```text
//!     element  =  type byte, line, CR LF  [ for $ = !: that many bytes, CR LF ]        nesting needs no memory here
//! ```
//!
//! It lets bytes through as they came and fails the connection at the first that cannot be a reply to us: an unknown
//! type, a line over [`LINE_MAX`], more than [`ELEMENTS_MAX`] elements in one aggregate, a string over the limit.
//! Cost: the lines are looked at, the strings are skipped.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The longest line: numbers, status and error messages.
pub(super) const LINE_MAX: usize = 64 * 1024;
/// The most elements of one array, set, map or push: far above the 1,024 that we ever ask for at a time.
pub(super) const ELEMENTS_MAX: u64 = 1 << 20;

/// A stream whose replies are framed within limits.
pub(super) struct Framed<S> {
    stream: S,
    gate: Gate,
}

impl<S> Framed<S> {
    pub(super) fn new(stream: S, bulk_max: usize) -> Self {
        Self { stream, gate: Gate::new(bulk_max) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Framed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let verdict = self.gate.pass(&buf.filled()[before..]);
        Poll::Ready(verdict.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what)))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Framed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Where in the framing the next byte falls.
#[derive(Debug)]
struct Gate {
    bulk_max: usize,
    at: At,
}

#[derive(Debug, Clone, Copy)]
enum At {
    /// The type byte of the next element.
    Type,
    /// Inside its line: the type, and the number read so far.
    Line { kind: u8, len: usize, number: Number },
    /// Inside a string: bytes left, its CR LF included.
    Bulk { left: usize },
}

/// The number at the start of a line, as far as it has come.
#[derive(Debug, Clone, Copy, Default)]
struct Number {
    value: u64,
    is_negative: bool,
    is_odd: bool,
}

impl Gate {
    fn new(bulk_max: usize) -> Self {
        Self { bulk_max, at: At::Type }
    }

    fn pass(&mut self, mut bytes: &[u8]) -> Result<(), String> {
        while let Some(&first) = bytes.first() {
            match &mut self.at {
                At::Bulk { left } => {
                    let skipped = bytes.len().min(*left);
                    bytes = &bytes[skipped..];
                    *left -= skipped;
                    if *left == 0 {
                        self.at = At::Type;
                    }
                }
                At::Type => {
                    if !b"+-:_#,($=!*~%>".contains(&first) {
                        return Err(format!(
                            "reply starts with byte 0x{first:02x}, which begins no RESP type"
                        ));
                    }
                    self.at = At::Line { kind: first, len: 0, number: Number::default() };
                    bytes = &bytes[1..];
                }
                At::Line { kind, len, number } => {
                    bytes = &bytes[1..];
                    *len += 1;
                    if *len > LINE_MAX {
                        return Err(format!("reply with a line of more than {LINE_MAX} bytes"));
                    }
                    if first == b'\n' {
                        self.at = after_line(*kind, *number, self.bulk_max)?;
                    } else if b"$=!*~%>".contains(kind) {
                        number.push(first, *len);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Number {
    fn push(&mut self, byte: u8, position: usize) {
        match byte {
            b'0'..=b'9' => self.value = self.value.saturating_mul(10).saturating_add(u64::from(byte - b'0')),
            b'-' if position == 1 => self.is_negative = true,
            b'\r' => {}
            _ => self.is_odd = true,
        }
    }
}

fn after_line(kind: u8, number: Number, bulk_max: usize) -> Result<At, String> {
    let size = number.value;
    let shown = char::from(kind);
    if number.is_odd || (number.is_negative && !(b"$*".contains(&kind) && size == 1)) {
        return Err(format!("reply of type '{shown}' with a length that is no number"));
    }
    match kind {
        b'$' if number.is_negative => Ok(At::Type),
        b'$' | b'=' | b'!' if size > bulk_max as u64 => {
            Err(format!("reply with a string of {size} bytes (at most {bulk_max})"))
        }
        b'$' | b'=' | b'!' => Ok(At::Bulk { left: size as usize + 2 }),
        b'*' | b'~' | b'%' | b'>' if size > ELEMENTS_MAX => {
            Err(format!("reply with {size} elements (at most {ELEMENTS_MAX})"))
        }
        _ => Ok(At::Type),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What the gate says of `bytes` in pieces of `piece`.
    fn verdict(bytes: &[u8], piece: usize) -> Result<(), String> {
        let mut gate = Gate::new(1_000);
        bytes.chunks(piece).try_for_each(|chunk| gate.pass(chunk))
    }

    #[test]
    fn real_replies_pass_whole_and_in_pieces() {
        let replies: [&[u8]; 9] = [
            b"+OK\r\n",
            b"-ERR unknown command\r\n",
            b":42\r\n:-7\r\n",
            b"$-1\r\n$0\r\n\r\n$5\r\n*9$\r\n\r\n",
            b"*-1\r\n*0\r\n*2\r\n$1\r\na\r\n*1\r\n:1\r\n",
            b"%1\r\n+k\r\n,3.14\r\n~1\r\n#t\r\n_\r\n",
            b">2\r\n$10\r\ninvalidate\r\n*1\r\n$3\r\nkey\r\n",
            b"=7\r\ntxt:abc\r\n(3492890328409238509324850943850943825024385\r\n",
            b"!5\r\nERR x\r\n",
        ];
        for reply in replies {
            for piece in 1..=reply.len() {
                assert_eq!(verdict(reply, piece), Ok(()), "{}", String::from_utf8_lossy(reply));
            }
        }
        assert_eq!(verdict(&replies.concat(), 3), Ok(()));
    }

    #[test]
    fn sizes_that_would_reserve_memory_are_refused() {
        for (bytes, says) in [
            (&b"*1000000000\r\n:1\r\n"[..], "1000000000 elements (at most 1048576)"),
            (b"%99999999999999999999999\r\n", "elements"),
            (b"~1048577\r\n", "1048577 elements"),
            (b">1048577\r\n", "1048577 elements"),
            (b"$1001\r\n", "1001 bytes (at most 1000)"),
            (b"=1001\r\n", "1001 bytes"),
            (b"$-2\r\n", "no number"),
            (b"%-1\r\n", "no number"),
            (b"=-1\r\n", "no number"),
            (b"$1x\r\n", "no number"),
            (b"HTTP/1.1 400 Bad Request\r\n", "0x48"),
            (b"|1\r\n+a\r\n+b\r\n", "0x7c"),
            (b"\0\0\0", "0x00"),
        ] {
            for piece in 1..=bytes.len() {
                let error = verdict(bytes, piece).unwrap_err();
                assert!(error.contains(says), "{error}");
            }
        }
        let long = [b"+".as_slice(), &vec![b'a'; LINE_MAX + 1]].concat();
        assert!(verdict(&long, 999).unwrap_err().contains("line of more than"));
    }

    proptest! {
        #[test]
        fn pieces_change_nothing(bytes in "[$*:+\\-0-9ab\r\n]{0,60}", piece in 1_usize..9) {
            prop_assert_eq!(verdict(bytes.as_bytes(), piece).is_ok(), verdict(bytes.as_bytes(), 1_000).is_ok());
        }
    }
}
