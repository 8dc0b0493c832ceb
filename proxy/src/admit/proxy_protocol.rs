//! PROXY protocol, versions 1 and 2: a line or a block before the first byte of a connection, by which a load balancer
//! in front says who connected to it.
//!
//! ```text
//!   v1   PROXY TCP4 203.0.113.5 10.0.0.2 56324 443 CRLF                       at most 107 bytes
//!   v2   12 bytes of signature │ version, command │ family │ length │ addresses │ extensions
//! ```
//!
//! [`read`] takes exactly the header off a stream and not a byte of what follows, so TLS or HTTP can start behind it.
//! Read it only from trusted peers: the header is a claim like any other. Extensions are skipped.
//!
//! Source: <https://www.haproxy.org/download/3.2/doc/proxy-protocol.txt>

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Reads the header. Returns the client's address, or none when the balancer speaks for itself (`LOCAL`, `UNKNOWN`).
///
/// # Errors
/// When the stream fails or does not start with a header.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let mut start = [0; SIGNATURE.len()];
    stream.read_exact(&mut start).await?;
    if start == SIGNATURE {
        let mut fixed = [0; 4];
        stream.read_exact(&mut fixed).await?;
        let [version_command, family, high, low] = fixed;
        let len = usize::from(u16::from_be_bytes([high, low]));
        if len > BLOCK_LEN_MAX {
            return Err(Malformed::Length(len).into());
        }
        let mut block = vec![0; len];
        stream.read_exact(&mut block).await?;
        return Ok(parse_block(version_command, family, &block)?);
    }
    let mut line = start.to_vec();
    while !line.ends_with(b"\r\n") {
        if line.len() == LINE_LEN_MAX {
            return Err(Malformed::Line.into());
        }
        // One byte at a time: what follows the line belongs to somebody else. It is once a connection.
        line.push(stream.read_u8().await?);
    }
    Ok(parse_line(&line[..line.len() - 2])?)
}

/// Reads version 1, without its CRLF.
///
/// # Errors
/// When it is not such a line.
pub fn parse_line(line: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    let text = std::str::from_utf8(line).map_err(|_| Malformed::Line)?;
    let mut words = text.split(' ');
    if words.next() != Some("PROXY") {
        return Err(Malformed::Line);
    }
    let family = words.next().ok_or(Malformed::Line)?;
    if family == "UNKNOWN" {
        return Ok(None);
    }
    let mut address = || words.next().and_then(|word| word.parse::<IpAddr>().ok()).ok_or(Malformed::Line);
    let (source, destination) = (address()?, address()?);
    let is_family = match family {
        "TCP4" => source.is_ipv4() && destination.is_ipv4(),
        "TCP6" => source.is_ipv6() && destination.is_ipv6(),
        _ => false,
    };
    let mut port = || {
        let word = words.next().filter(|word| word.bytes().all(|byte| byte.is_ascii_digit()));
        word.and_then(|word| word.parse::<u16>().ok()).ok_or(Malformed::Line)
    };
    let (source_port, _) = (port()?, port()?);
    if !is_family || words.next().is_some() {
        return Err(Malformed::Line);
    }
    Ok(Some(SocketAddr::new(source, source_port)))
}

/// Reads version 2, given the bytes behind its signature.
///
/// # Errors
/// When version, command or the length for the family are wrong.
pub fn parse_block(version_command: u8, family: u8, block: &[u8]) -> Result<Option<SocketAddr>, Malformed> {
    match version_command {
        0x20 => return Ok(None),
        0x21 => {}
        other => return Err(Malformed::Version(other)),
    }
    let port = |at: usize| u16::from_be_bytes([block[at], block[at + 1]]);
    match family >> 4 {
        1 if block.len() >= 12 => {
            let source = Ipv4Addr::new(block[0], block[1], block[2], block[3]);
            Ok(Some(SocketAddr::new(source.into(), port(8))))
        }
        2 if block.len() >= 36 => {
            let mut source = [0; 16];
            source.copy_from_slice(&block[..16]);
            Ok(Some(SocketAddr::new(Ipv6Addr::from(source).into(), port(32))))
        }
        1 | 2 => Err(Malformed::Length(block.len())),
        // Unspecified, or a unix socket: there is no address to tell.
        0 | 3 => Ok(None),
        _ => Err(Malformed::Version(family)),
    }
}

/// What is wrong with a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Malformed {
    /// Not `PROXY TCP4|TCP6 address address port port` in 107 bytes.
    Line,
    /// A version, command or family that is not defined.
    Version(u8),
    /// Too short for its family, or longer than is read.
    Length(usize),
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line => f.write_str("no line of PROXY protocol"),
            Self::Version(byte) => {
                write!(f, "byte {byte:#04x} is no version, command or family of PROXY protocol")
            }
            Self::Length(len) => write!(f, "PROXY protocol block of {len} bytes (at most {BLOCK_LEN_MAX})"),
        }
    }
}

impl std::error::Error for Malformed {}

impl From<Malformed> for io::Error {
    fn from(error: Malformed) -> Self {
        io::Error::new(io::ErrorKind::InvalidData, error)
    }
}

const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
const LINE_LEN_MAX: usize = 107;
/// Addresses take 216 bytes at most; extensions in use (TLS details, a unique id) a few hundred.
const BLOCK_LEN_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    async fn read_all(bytes: &[u8]) -> (io::Result<Option<SocketAddr>>, usize) {
        let mut rest = bytes;
        let result = read(&mut rest).await;
        (result, rest.len())
    }

    #[tokio::test]
    async fn version_1_is_taken_off_exactly() {
        for (header, expected) in [
            ("PROXY TCP4 203.0.113.5 10.0.0.2 56324 443\r\n", Some("203.0.113.5:56324")),
            ("PROXY TCP6 2001:db8::5 ::1 1 2\r\n", Some("[2001:db8::5]:1")),
            ("PROXY UNKNOWN\r\n", None),
            ("PROXY UNKNOWN whatever 1 2\r\n", None),
        ] {
            let (result, left) = read_all(format!("{header}GET /").as_bytes()).await;
            assert_eq!((result.unwrap(), left), (expected.map(|it| it.parse().unwrap()), 5), "{header}");
        }
        for header in [
            "GET / HTTP/1.1\r\n\r\n",
            "PROXY TCP4 203.0.113.5 10.0.0.2 56324\r\n",
            "PROXY TCP4 203.0.113.5 10.0.0.2 56324 443 x\r\n",
            "PROXY TCP4 ::1 ::1 1 2\r\n",
            "PROXY TCP4 203.0.113.5 10.0.0.2 +1 2\r\n",
            "PROXY TCP4 203.0.113.5 10.0.0.2 65536 2\r\n",
            "PROXY TCP5 203.0.113.5 10.0.0.2 1 2\r\n",
            "PROXY TCP4  203.0.113.5 10.0.0.2 1 2\r\n",
            "PROXY TCP4 203.0.113.5 10.0.0.2 1 2\n",
        ] {
            assert!(read_all(format!("{header}{}", "x".repeat(120)).as_bytes()).await.0.is_err(), "{header}");
        }
    }

    fn block(version_command: u8, family: u8, addresses: &[u8], extra: usize) -> Vec<u8> {
        let len = u16::try_from(addresses.len() + extra).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[version_command, family], &len, addresses, &vec![0xff; extra]].concat()
    }

    #[tokio::test]
    async fn version_2_is_taken_off_with_its_extensions() {
        let v4 = [203, 0, 113, 5, 10, 0, 0, 2, 0xdc, 0x04, 0x01, 0xbb];
        let header = [block(0x21, 0x11, &v4, 30), b"GET /".to_vec()].concat();
        let (result, left) = read_all(&header).await;
        assert_eq!((result.unwrap(), left), (Some("203.0.113.5:56324".parse().unwrap()), 5));
        assert_eq!(read_all(&block(0x20, 0x11, &v4, 0)).await.0.unwrap(), None, "LOCAL");
        assert_eq!(read_all(&block(0x21, 0x31, &[0; 216], 0)).await.0.unwrap(), None, "unix");
        assert!(read_all(&block(0x31, 0x11, &v4, 0)).await.0.is_err());
        assert!(read_all(&block(0x21, 0x21, &v4, 0)).await.0.is_err());
        assert!(read_all(&block(0x21, 0x11, &v4, BLOCK_LEN_MAX)).await.0.is_err());
    }

    proptest! {
        #[test]
        fn any_line_and_block_is_read_without_a_panic(line in prop::collection::vec(any::<u8>(), 0..110),
            version: u8, family: u8) {
            let _ = parse_line(&line);
            let _ = parse_block(version, family, &line);
        }

        #[test]
        fn lines_write_back(source: Ipv4Addr, port: u16) {
            let line = format!("PROXY TCP4 {source} 10.0.0.2 {port} 443");
            prop_assert_eq!(parse_line(line.as_bytes()), Ok(Some(SocketAddr::new(source.into(), port))));
        }
    }
}
