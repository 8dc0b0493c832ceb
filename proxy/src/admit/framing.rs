//! Follows HTTP/1 messages byte by byte, and knows strictly where each ends.
//!
//! An HTTP library shows a request after parsing it; what it tolerated on the way (a bare LF, a second length, both
//! lengths at once, junk behind a chunk size) is gone, and tolerated ambiguity is what request smuggling lives on.
//! This follower reads the same bytes beside the parser and admits one grammar only:
//!
//! ```text
//!   head    line CRLF … CRLF CRLF        at most one Content-Length (1 to 18 digits) or one Transfer-Encoding: chunked
//!   body    n bytes │ { hex [;ext] CRLF data CRLF } 0 [;ext] CRLF { trailer CRLF } CRLF
//!   next    the next head; after CONNECT or Upgrade nothing is read until the answer has decided what follows
//! ```
//!
//! It holds no body: a body of n bytes costs one subtraction a read. A head costs one search for line ends and a look
//! at the first letter of each line; a line that is cut by the end of a read is kept (at most [`LINE_LEN_MAX`] bytes).
//! Everything else about a head (names, values, method, target) is the parser's business and
//! [`sanitise`](super::sanitise)'s.
//!
//! ```
//! use evenly::admit::framing::{Framing, Step};
//!
//! let mut framing = Framing::default();
//! assert_eq!(framing.follow(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi"), Step::All);
//! assert!(framing.is_between_messages());
//! assert!(matches!(framing.follow(b"GET / HTTP/1.1\nHost: a\r\n"), Step::Broken { at: 14, .. }));
//! ```
//!
//! Source: RFC 9112 §2.2, §6 and §7.1.

/// What became of the bytes shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// All are part of well-framed messages, or of something that is not HTTP/1 any more.
    All,
    /// What follows the first `at` bytes waits for the answer to a request that may end HTTP/1 here.
    Wait {
        /// Bytes before the pause.
        at: usize,
    },
    /// The byte at `at` breaks the framing. Nothing after it can be trusted.
    Broken {
        /// Bytes before the fault.
        at: usize,
        /// What is wrong, for the log.
        why: Fault,
    },
}

/// How a message can be wrongly framed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// A line does not end in CRLF.
    LineEnd,
    /// A line is longer than [`LINE_LEN_MAX`].
    LineLength,
    /// A field continues on a second line.
    Fold,
    /// `Content-Length` is not 1 to 18 digits, or is there twice.
    ContentLength,
    /// `Transfer-Encoding` is not one `chunked`, or is there twice, or in HTTP/1.0.
    TransferEncoding,
    /// `Content-Length` and `Transfer-Encoding` are both there.
    TwoLengths,
    /// A chunk's size line or its end is not of the grammar.
    Chunk,
    /// A trailer line is no field.
    Trailer,
}

/// The follower of one direction of one connection.
#[derive(Debug, Default)]
pub struct Framing {
    state: State,
    /// The part of the current line that earlier reads brought.
    line: Vec<u8>,
    head: Head,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum State {
    /// The first bytes of a connection: they may be HTTP/2's preface, of which so many are there.
    Preface(usize),
    #[default]
    Between,
    Fields,
    Body(u64),
    ChunkSize,
    ChunkData(u64),
    ChunkEnd,
    Trailers,
    /// The message asked to leave HTTP/1; the answer decides.
    Undecided,
    /// Not HTTP/1 (any more).
    Opaque,
    Broken(Fault),
}

#[derive(Debug, Default)]
struct Head {
    is_http_10: bool,
    asks_to_switch: bool,
    length: Option<u64>,
    is_chunked: bool,
}

impl Framing {
    /// For a new connection, whose first bytes may choose HTTP/2.
    #[must_use]
    pub fn for_connection() -> Self {
        Self { state: State::Preface(0), ..Self::default() }
    }

    /// Follows the bytes that came next.
    pub fn follow(&mut self, bytes: &[u8]) -> Step {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            let result = match self.state {
                State::Opaque => return Step::All,
                State::Undecided => return Step::Wait { at },
                State::Broken(why) => return Step::Broken { at, why },
                State::Preface(seen) => self.follow_preface(seen, rest),
                State::Body(left) => Ok(self.skip(left, rest, State::Body)),
                State::ChunkData(left) => Ok(self.skip(left, rest, State::ChunkData)),
                State::Between | State::Fields | State::ChunkSize | State::ChunkEnd | State::Trailers => {
                    self.follow_line(rest)
                }
            };
            match result {
                Ok(taken) => at += taken,
                Err((before, why)) => {
                    self.state = State::Broken(why);
                    return Step::Broken { at: at + before, why };
                }
            }
        }
        Step::All
    }

    /// Does the stream wait for [`decide`](Self::decide)?
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        self.state == State::Undecided
    }

    /// Is it at a place where a connection may end without loss?
    #[must_use]
    pub fn is_between_messages(&self) -> bool {
        matches!(self.state, State::Between | State::Preface(0)) && self.line.is_empty()
    }

    /// Is the stream something else than HTTP/1, so that there is nothing to follow?
    #[must_use]
    pub fn is_opaque(&self) -> bool {
        self.state == State::Opaque
    }

    /// Tells how the request to leave HTTP/1 was answered: what follows is a tunnel, or the next request.
    pub fn decide(&mut self, switched: bool) {
        if self.state == State::Undecided {
            self.state = if switched { State::Opaque } else { State::Between };
        }
    }

    fn follow_preface(&mut self, seen: usize, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
        let expected = &PREFACE[seen..];
        let same = bytes.iter().zip(expected).take_while(|(byte, expected)| byte == expected).count();
        if same == expected.len() {
            self.state = State::Opaque;
        } else if same == bytes.len() {
            self.state = State::Preface(seen + same);
        } else {
            // Not HTTP/2: what looked like it was the start of an HTTP/1 head.
            self.state = State::Between;
            let mut earlier = &PREFACE[..seen];
            while !earlier.is_empty() {
                let taken = self.follow_line(earlier).map_err(|(_, why)| (0, why))?;
                earlier = &earlier[taken..];
            }
            return Ok(0);
        }
        Ok(same)
    }

    fn skip(&mut self, left: u64, bytes: &[u8], state: fn(u64) -> State) -> usize {
        let available = bytes.len() as u64;
        if left > available {
            self.state = state(left - available);
            return bytes.len();
        }
        match self.state {
            State::ChunkData(_) => self.state = State::ChunkEnd,
            _ => self.end_message(),
        }
        // `left` is at most the length of a slice here.
        left as usize
    }

    /// Follows one line, or the part of it that is there.
    fn follow_line(&mut self, bytes: &[u8]) -> Result<usize, (usize, Fault)> {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            if self.line.len() + bytes.len() > LINE_LEN_MAX {
                return Err((0, Fault::LineLength));
            }
            self.line.extend_from_slice(bytes);
            return Ok(bytes.len());
        };
        let result = if self.line.is_empty() {
            self.whole_line(&bytes[..end])
        } else {
            let mut line = std::mem::take(&mut self.line);
            line.extend_from_slice(&bytes[..end]);
            let result = self.whole_line(&line);
            line.clear();
            self.line = line;
            result
        };
        match result {
            Ok(()) => Ok(end + 1),
            Err(why) => Err((end, why)),
        }
    }

    /// `line` is everything before the LF.
    fn whole_line(&mut self, line: &[u8]) -> Result<(), Fault> {
        let [line @ .., b'\r'] = line else { return Err(Fault::LineEnd) };
        if line.len() > LINE_LEN_MAX {
            return Err(Fault::LineLength);
        }
        match self.state {
            State::Between if line.is_empty() => Ok(()),
            State::Between => {
                self.head = Head {
                    is_http_10: line.ends_with(b"HTTP/1.0"),
                    asks_to_switch: line.starts_with(b"CONNECT "),
                    ..Head::default()
                };
                self.state = State::Fields;
                Ok(())
            }
            State::Fields if line.is_empty() => {
                self.end_head();
                Ok(())
            }
            State::Fields => self.head.note(line),
            State::ChunkSize => self.chunk_size(line),
            State::ChunkEnd if line.is_empty() => {
                self.state = State::ChunkSize;
                Ok(())
            }
            State::ChunkEnd => Err(Fault::Chunk),
            State::Trailers if line.is_empty() => {
                self.end_message();
                Ok(())
            }
            State::Trailers => trailer(line),
            // Only the states above are followed by lines.
            _ => Err(Fault::LineEnd),
        }
    }

    fn end_head(&mut self) {
        match self.head.length {
            _ if self.head.is_chunked => self.state = State::ChunkSize,
            Some(length) if length > 0 => self.state = State::Body(length),
            _ => self.end_message(),
        }
    }

    fn end_message(&mut self) {
        self.state = if self.head.asks_to_switch { State::Undecided } else { State::Between };
    }

    fn chunk_size(&mut self, line: &[u8]) -> Result<(), Fault> {
        let digits = line.iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let (size, extension) = line.split_at(digits);
        if size.is_empty() || size.len() > CHUNK_DIGITS_MAX || extension.len() > EXTENSION_LEN_MAX {
            return Err(Fault::Chunk);
        }
        let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
        let starts_well = extension.is_empty() || extension.trim_ascii_start().first() == Some(&b';');
        if !starts_well || !extension.iter().all(is_text) {
            return Err(Fault::Chunk);
        }
        let digit = |byte: &u8| u64::from(char::from(*byte).to_digit(16).unwrap_or_default());
        let size = size.iter().fold(0, |size, byte| size * 16 + digit(byte));
        self.state = if size == 0 { State::Trailers } else { State::ChunkData(size) };
        Ok(())
    }
}

impl Head {
    /// Notes a field that says where the message ends, or that it may be the last of HTTP/1.
    fn note(&mut self, line: &[u8]) -> Result<(), Fault> {
        match line[0] {
            b' ' | b'\t' => Err(Fault::Fold),
            b'c' | b'C' => match value(line, b"content-length") {
                Some(value) => self.content_length(value),
                None => Ok(()),
            },
            b't' | b'T' => match value(line, b"transfer-encoding") {
                Some(value) => self.transfer_encoding(value),
                None => Ok(()),
            },
            b'u' | b'U' if !self.is_http_10 && value(line, b"upgrade").is_some() => {
                self.asks_to_switch = true;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn content_length(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.is_chunked {
            return Err(Fault::TwoLengths);
        }
        let is_number = (1..=18).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
        if !is_number || self.length.is_some() {
            return Err(Fault::ContentLength);
        }
        self.length = Some(value.iter().fold(0, |length, digit| length * 10 + u64::from(digit - b'0')));
        Ok(())
    }

    fn transfer_encoding(&mut self, value: &[u8]) -> Result<(), Fault> {
        if self.length.is_some() {
            return Err(Fault::TwoLengths);
        }
        if self.is_chunked || self.is_http_10 || !value.eq_ignore_ascii_case(b"chunked") {
            return Err(Fault::TransferEncoding);
        }
        self.is_chunked = true;
        Ok(())
    }
}

/// The value of `line` if its field is `name`.
fn value<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (found, rest) = line.split_at_checked(name.len())?;
    let [b':', value @ ..] = rest else { return None };
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    found.eq_ignore_ascii_case(name).then(|| &value[start..end])
}

fn trailer(line: &[u8]) -> Result<(), Fault> {
    let name_len = memchr::memchr(b':', line).unwrap_or_default();
    let is_text = |byte: &u8| matches!(byte, b'\t' | b' '..=b'~' | 0x80..);
    let is_field = name_len > 0 && !line[..name_len].iter().any(|byte| matches!(byte, b' ' | b'\t'));
    if is_field && line.iter().all(is_text) { Ok(()) } else { Err(Fault::Trailer) }
}

/// Longest line of a head. The parser's own limit on the whole head is lower in every sensible configuration.
pub const LINE_LEN_MAX: usize = 64 * 1024;
/// Longest chunk extension; none is in known use.
pub const EXTENSION_LEN_MAX: usize = 4 * 1024;
/// 15 digits keep a chunk below 2⁶⁰ bytes.
const CHUNK_DIGITS_MAX: usize = 15;
/// How HTTP/2 begins (RFC 9113 §3.4).
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn follow(bytes: &[u8]) -> Step {
        Framing::for_connection().follow(bytes)
    }

    fn post(fields: &str, body: &str) -> Step {
        follow(format!("POST / HTTP/1.1\r\nHost: a\r\n{fields}\r\n\r\n{body}").as_bytes())
    }

    fn fault(step: Step) -> Fault {
        match step {
            Step::Broken { why, .. } => why,
            step => panic!("{step:?} is not a fault"),
        }
    }

    #[test]
    fn two_messages_follow_each_other() {
        let mut framing = Framing::for_connection();
        let chunked = b"\r\nPOST /a HTTP/1.1\r\nTransfer-Encoding: Chunked\r\n\r\n\
            5;a=\"b c\"\r\nhello\r\n0A \t;x\r\n0123456789\r\n000\r\nX-T: 1\r\n\r\n";
        assert_eq!(framing.follow(chunked), Step::All);
        assert!(framing.is_between_messages());
        assert_eq!(framing.follow(b"PUT /b HTTP/1.0\r\ncontent-length: \t 3 \r\n\r\nab"), Step::All);
        assert!(!framing.is_between_messages());
        assert_eq!(framing.follow(b"c"), Step::All);
        assert!(framing.is_between_messages());
    }

    #[test]
    fn every_doubt_about_the_length_is_a_fault() {
        for value in
            ["", "-5", "+5", "5 5", "5.0", "5;", "5,5", ",5", "0x5", "5e0", "9223372036854775808", "\u{a0}5"]
        {
            assert_eq!(fault(post(&format!("Content-Length: {value}"), "")), Fault::ContentLength, "{value}");
        }
        for value in [
            "",
            "identity",
            "gzip, chunked",
            "chunked, identity",
            "chunked;a",
            ",chunked",
            "xchunked",
            "\u{b}chunked",
        ] {
            assert_eq!(
                fault(post(&format!("Transfer-Encoding: {value}"), "")),
                Fault::TransferEncoding,
                "{value}"
            );
        }
        for (fields, why) in [
            ("Content-Length: 5\r\ncontent-length: 5", Fault::ContentLength),
            ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Fault::TransferEncoding),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5", Fault::TwoLengths),
            ("Content-Length: 5\r\nTransfer-Encoding: chunked", Fault::TwoLengths),
            ("X: y\r\n Transfer-Encoding: chunked", Fault::Fold),
            ("X: y\nTransfer-Encoding: chunked", Fault::LineEnd),
        ] {
            assert_eq!(fault(post(fields, "")), why, "{fields}");
        }
        let http_10 = b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n";
        assert_eq!(fault(follow(http_10)), Fault::TransferEncoding);
    }

    #[test]
    fn every_departure_in_a_chunked_body_is_a_fault() {
        for (body, why) in [
            ("5\nhello\r\n0\r\n\r\n", Fault::LineEnd),
            ("+5\r\nhello\r\n0\r\n\r\n", Fault::Chunk),
            ("-0x0\r\n\r\n", Fault::Chunk),
            ("G\r\n", Fault::Chunk),
            ("\r\n", Fault::Chunk),
            ("5\r\nhello\r0\r\n\r\n", Fault::Chunk),
            ("5\r\nhello0\r\n\r\n", Fault::Chunk),
            ("5\r\nhello\n0\r\n\r\n", Fault::LineEnd),
            ("5\r\r;ABCD\r\nhello\r\n", Fault::Chunk),
            ("5these-bytes\r\nhello\r\n", Fault::Chunk),
            ("5;a\0\r\nhello\r\n", Fault::Chunk),
            ("5 x\r\nhello\r\n", Fault::Chunk),
            ("1000000000000000\r\n", Fault::Chunk),
            ("5\r\nhello\r\n0\n\r\n", Fault::LineEnd),
            ("5\r\nhello\r\n0\r\n\n", Fault::LineEnd),
            ("0\r\nX: y\nGET /smuggled HTTP/1.1\n\n", Fault::LineEnd),
            ("0\r\n folded: y\r\n\r\n", Fault::Trailer),
            ("0\r\nno colon\r\n\r\n", Fault::Trailer),
        ] {
            assert_eq!(fault(post("Transfer-Encoding: chunked", body)), why, "{body:?}");
        }
        let long = format!("5;{}\r\nhello\r\n", "a".repeat(EXTENSION_LEN_MAX));
        assert_eq!(fault(post("Transfer-Encoding: chunked", &long)), Fault::Chunk);
    }

    #[test]
    fn what_follows_an_upgrade_waits_for_the_answer() {
        for switched in [true, false] {
            let head = b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
            let mut framing = Framing::for_connection();
            let whole = [&head[..], b"\x81\x00"].concat();
            assert_eq!(framing.follow(&whole), Step::Wait { at: head.len() });
            framing.decide(switched);
            assert_eq!(framing.is_opaque(), switched);
            assert_eq!(framing.follow(b"\x81\n") == Step::All, switched);
        }
        let mut framing = Framing::default();
        assert_eq!(framing.follow(b"CONNECT a:1 HTTP/1.1\r\n\r\nx"), Step::Wait { at: 24 });
        assert_eq!(follow(b"GET / HTTP/1.0\r\nUpgrade: websocket\r\n\r\n"), Step::All, "1.0 cannot upgrade");
    }

    #[test]
    fn the_preface_of_http2_makes_it_opaque_and_its_beginning_does_not() {
        let mut framing = Framing::for_connection();
        assert_eq!(framing.follow(&PREFACE[..7]), Step::All);
        assert_eq!(framing.follow(&PREFACE[7..]), Step::All);
        assert!(framing.is_opaque());
        assert_eq!(framing.follow(b"\n\n\0"), Step::All);

        let mut framing = Framing::for_connection();
        assert_eq!(framing.follow(b"P"), Step::All);
        assert_eq!(framing.follow(b"OST / HTTP/1.1\r\nContent-Length: 1\r\n\r\nx"), Step::All);
        assert!(framing.is_between_messages());
    }

    /// The naive model: take whole messages off the front of the text, each by plain splitting.
    /// Returns how many there are before something that is no whole, well-framed message.
    fn naive(text: &str) -> usize {
        fn one(text: &str) -> Option<&str> {
            let (head, body) = text.split_once("\r\n\r\n")?;
            let lines: Vec<&str> = head.split("\r\n").collect();
            if lines.iter().any(|line| line.contains('\n') || line.is_empty()) {
                return None;
            }
            let has = |field: &str| lines[1..].iter().filter(|line| **line == field).count();
            match (has("Content-Length: 5"), has("Transfer-Encoding: chunked")) {
                (0, 0) => Some(body),
                (1, 0) => body.get(5..),
                (0, 1) => chunks(body),
                _ => None,
            }
        }
        fn chunks(body: &str) -> Option<&str> {
            if let Some(rest) = body.strip_prefix("5\r\n") {
                return chunks(rest.get(5..)?.strip_prefix("\r\n")?);
            }
            body.strip_prefix("0\r\n\r\n")
        }
        let text = text.trim_start_matches("\r\n");
        one(text).map_or(0, |rest| 1 + naive(rest))
    }

    /// How many messages the follower sees end, byte by byte.
    fn followed(text: &str) -> usize {
        let mut framing = Framing::for_connection();
        let mut ends = 0;
        for byte in text.as_bytes() {
            let before = framing.is_in_message();
            if framing.follow(std::slice::from_ref(byte)) != Step::All {
                break;
            }
            ends += usize::from(before && !framing.is_in_message());
        }
        ends
    }

    impl Framing {
        fn is_in_message(&self) -> bool {
            !matches!(self.state, State::Between | State::Preface(_))
        }
    }

    proptest! {
        /// However the bytes are cut into reads, the same place is found broken.
        #[test]
        fn cuts_do_not_change_the_outcome(
            pieces in prop::collection::vec(PIECES, 0..8),
            cuts in prop::collection::vec(1_usize..20, 1..30),
        ) {
            let text: String = pieces.concat();
            let whole = follow(text.as_bytes());
            let mut framing = Framing::for_connection();
            let (mut at, mut outcome) = (0, Step::All);
            for cut in cuts.iter().cycle().take(text.len()) {
                let end = text.len().min(at + cut);
                match framing.follow(&text.as_bytes()[at..end]) {
                    Step::All => at = end,
                    Step::Wait { at: before } => { outcome = Step::Wait { at: at + before }; break; }
                    Step::Broken { at: before, why } => { outcome = Step::Broken { at: at + before, why }; break; }
                }
            }
            prop_assert_eq!(outcome, whole);
        }

        #[test]
        fn messages_end_where_the_naive_model_ends_them(pieces in prop::collection::vec(HTTP_1, 0..10)) {
            let text = pieces.concat();
            prop_assert_eq!(followed(&text), naive(&text), "{:?}", text);
        }

        #[test]
        fn any_bytes_are_followed_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = follow(&bytes);
        }
    }

    const HTTP_1: &str = "GET / HTTP/1\\.1\r\n|POST /x HTTP/1\\.1\r\n|\r\n|\r\n\r\n|\n|Host: a\r\n|Content-Length: 5\r\n|\
        Transfer-Encoding: chunked\r\n|hello|5\r\n|5\r\nhello\r\n|0\r\n\r\n";
    const PIECES: &str = "GET / HTTP/1\\.1\r\n|POST /x HTTP/1\\.1\r\n|\r\n|\n|Host: a\r\n|Content-Length: 5\r\n|\
        Transfer-Encoding: chunked\r\n|Upgrade: x\r\n|hello|5\r\nhello\r\n|0\r\n\r\n|PRI \\* HTTP/2\\.0\r\n|SM";
}
