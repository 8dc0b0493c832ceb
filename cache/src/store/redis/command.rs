//! A command as it goes over the wire.
//!
//! ```text
//!     *5 ⏎   $3 ⏎ SET ⏎   $18 ⏎ shop:v:{/shoes/7} ⏎   $1000040 ⏎ evn…  ░░░░░░░░ ⏎   $2 ⏎ PX ⏎   $6 ⏎ 300000 ⏎
//!     count  └─────────────────── `words` ─────────────────────┘ └ payload ┘ └──────── `words` again ───────┘
//! ```
//!
//! The words are written as they are named, each once. A value stays where it is, counted rather than copied, until it is
//! written to the socket or, when it is small, beside its neighbours.

use bytes::Bytes;
use redis::{RedisWrite, ToRedisArgs};

use super::names::Names;
use crate::store::entry::HEADER_LEN;

/// A command and its words.
#[derive(Debug, Clone)]
pub(super) struct Command {
    count: usize,
    words: Vec<u8>,
    payload: Option<Payload>,
}

/// Bytes that belong in the middle of others.
#[derive(Debug, Clone)]
pub(super) struct Payload {
    /// How many of the others are before it.
    pub(super) at: usize,
    pub(super) bytes: Bytes,
}

impl Command {
    pub(super) fn new(name: &str) -> Self {
        Self::with_capacity(name, 64)
    }

    /// With room for words of `len` bytes, their lengths included.
    pub(super) fn with_capacity(name: &str, len: usize) -> Self {
        let mut command = Self { count: 0, words: Vec::with_capacity(len + 16), payload: None };
        command.write_arg(name.as_bytes());
        command
    }

    pub(super) fn arg(&mut self, words: impl ToRedisArgs) -> &mut Self {
        words.write_redis_args(self);
        self
    }

    /// What the entry of `key` is called, written in place.
    pub(super) fn entry(&mut self, names: &Names, key: &[u8]) -> &mut Self {
        self.begin_word(names.entry_len(key));
        names.write_entry(key, &mut self.words);
        self.end_word();
        self
    }

    /// `header` and `value` as one word. There is room for one in a command.
    pub(super) fn sealed(&mut self, header: &[u8; HEADER_LEN], value: &Bytes) -> &mut Self {
        self.begin_word(header.len() + value.len());
        self.words.extend_from_slice(header);
        if value.len() < COUNTED_FROM {
            self.words.extend_from_slice(value);
        } else {
            self.payload = Some(Payload { at: self.words.len(), bytes: value.clone() });
        }
        self.end_word();
        self
    }

    /// The word at `place`, the command's name being 0; of those before a value.
    pub(super) fn word(&self, place: usize) -> Option<&[u8]> {
        let mut rest = &self.words[..];
        for at in 0.. {
            let end = rest.iter().position(|&byte| byte == b'\r')?;
            let len: usize = str::from_utf8(rest.get(1..end)?).ok()?.parse().ok()?;
            let word = rest.get(end + 2..end + 2 + len)?;
            if at == place {
                return Some(word);
            }
            rest = rest.get(end + 2 + len + 2..)?;
        }
        None
    }

    /// All of it but the payload, and that.
    pub(super) fn pack(&self) -> (Vec<u8>, Option<Payload>) {
        let mut bytes = Vec::with_capacity(self.words.len() + 16);
        write_length(b'*', self.count, &mut bytes);
        let before = bytes.len();
        bytes.extend_from_slice(&self.words);
        let payload = self.payload.as_ref();
        (bytes, payload.map(|payload| Payload { at: before + payload.at, bytes: payload.bytes.clone() }))
    }

    /// All of it in one piece, at the end of `out`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        write_length(b'*', self.count, out);
        let Some(payload) = &self.payload else { return out.extend_from_slice(&self.words) };
        out.extend_from_slice(&self.words[..payload.at]);
        out.extend_from_slice(&payload.bytes);
        out.extend_from_slice(&self.words[payload.at..]);
    }

    fn begin_word(&mut self, len: usize) {
        self.count += 1;
        write_length(b'$', len, &mut self.words);
    }

    fn end_word(&mut self) {
        self.words.extend_from_slice(b"\r\n");
    }
}

impl RedisWrite for Command {
    fn write_arg(&mut self, word: &[u8]) {
        self.begin_word(word.len());
        self.words.extend_from_slice(word);
        self.end_word();
    }

    fn writer_for_next_arg(&mut self) -> impl std::io::Write + '_ {
        Late { command: self, word: Vec::new() }
    }
}

/// A word whose length is known when all of it was written.
struct Late<'a> {
    command: &'a mut Command,
    word: Vec<u8>,
}

impl std::io::Write for Late<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.word.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Drop for Late<'_> {
    fn drop(&mut self) {
        self.command.write_arg(&self.word);
    }
}

/// `$5⏎` and the like.
fn write_length(kind: u8, len: usize, out: &mut Vec<u8>) {
    let mut digits = [0; 20];
    let mut at = digits.len();
    let mut rest = len;
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.push(kind);
    out.extend_from_slice(&digits[at..]);
    out.extend_from_slice(b"\r\n");
}

/// Bytes from which to count a value costs less than to copy it.
const COUNTED_FROM: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    /// As it reaches the server, by both ways.
    fn sent(command: &Command) -> Vec<u8> {
        let mut whole = Vec::new();
        command.write(&mut whole);
        let (mut bytes, payload) = command.pack();
        if let Some(payload) = payload {
            bytes.splice(payload.at..payload.at, payload.bytes);
        }
        assert!(bytes == whole);
        whole
    }

    #[test]
    fn a_command_is_its_words_with_their_lengths() {
        let mut command = Command::new("SET");
        command.entry(&Names::new("n"), b"a}").arg("PX").arg(1_234_567_890_u64).arg(&[b"x".to_vec(), vec![]]);
        assert_eq!(
            sent(&command).as_slice(),
            b"*6\r\n$3\r\nSET\r\n$9\r\nn:v:{a^)}\r\n$2\r\nPX\r\n$10\r\n1234567890\r\n$1\r\nx\r\n$0\r\n\r\n"
        );
        assert_eq!(command.word(0), Some(&b"SET"[..]));
        assert_eq!(command.word(1), Some(&b"n:v:{a^)}"[..]));
        assert_eq!(command.word(5), Some(&b""[..]));
        assert_eq!(command.word(6), None);
    }

    #[test]
    fn a_value_is_one_word_whether_counted_or_copied() {
        for len in [0, 1, COUNTED_FROM - 1, COUNTED_FROM, 100_000] {
            let value = Bytes::from(vec![b'v'; len]);
            let mut command = Command::new("SET");
            command.arg("k").sealed(&[b'h'; HEADER_LEN], &value).arg("PX").arg(1);
            let mut expected =
                format!("*5\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n", HEADER_LEN + len).into_bytes();
            expected.extend_from_slice(&[b'h'; HEADER_LEN]);
            expected.extend_from_slice(&value);
            expected.extend_from_slice(b"\r\n$2\r\nPX\r\n$1\r\n1\r\n");
            assert!(sent(&command) == expected, "{len}");
            assert_eq!(command.word(1), Some(&b"k"[..]));
        }
    }

    #[test]
    fn a_word_may_be_written_in_parts() {
        use std::io::Write as _;
        let mut command = Command::new("X");
        let mut word = command.writer_for_next_arg();
        word.write_all(b"ab").unwrap();
        word.write_all(b"c").unwrap();
        drop(word);
        assert_eq!(sent(&command), b"*2\r\n$1\r\nX\r\n$3\r\nabc\r\n");
    }
}
