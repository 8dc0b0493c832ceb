//! Who the client is: the address that logs, rules and keyed balancing use.
//!
//! Anybody can write `X-Forwarded-For`. It is believed only as far as trusted proxies vouch for it: read from the right,
//! where the nearest proxy wrote, the first address that is not a trusted proxy's is the client.
//!
//! ```text
//!     X-Forwarded-For: 9.9.9.9, 203.0.113.5, 10.0.0.2      connection from 10.0.0.1, trusted: 10.0.0.0/8
//!                      └ anyone's word  └ the client  └ trusted
//! ```
//!
//! From a peer that is not trusted nothing is read, and that costs nothing. `X-Forwarded-For` is read before `Forwarded`
//! (RFC 7239) when both are there.
//!
//! ```
//! use evenly::admit::client::{Peer, TrustedProxies};
//! use http::{HeaderMap, HeaderValue};
//!
//! let trusted: TrustedProxies = ["10.0.0.0/8"].into_iter().map(|net| net.parse().unwrap()).collect();
//! let mut headers = HeaderMap::new();
//! headers.insert("x-forwarded-for", HeaderValue::from_static("9.9.9.9, 203.0.113.5, 10.0.0.2"));
//! let near = Peer::new("10.0.0.1".parse().unwrap(), &trusted);
//! assert_eq!(near.client(&headers, &trusted).to_string(), "203.0.113.5");
//! let stranger = Peer::new("192.0.2.1".parse().unwrap(), &trusted);
//! assert_eq!(stranger.client(&headers, &trusted).to_string(), "192.0.2.1");
//! ```

use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use http::header::{FORWARDED, HeaderMap, HeaderName, HeaderValue};
use ipnet::IpNet;

/// The networks whose word about clients is taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
}

impl TrustedProxies {
    /// Is this one of them? An IPv4 address in IPv6 clothes (`::ffff:…`) counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|network| network.contains(&address))
    }
}

impl FromIterator<IpNet> for TrustedProxies {
    fn from_iter<I: IntoIterator<Item = IpNet>>(networks: I) -> Self {
        Self { networks: networks.into_iter().collect() }
    }
}

/// The other end of a connection. Made once, for all its requests.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Its address; IPv4 where it is one.
    pub address: IpAddr,
    /// The address as a field value.
    pub text: HeaderValue,
    /// Is it a trusted proxy?
    pub is_trusted: bool,
}

impl Peer {
    /// The peer at `address`.
    #[must_use]
    pub fn new(address: IpAddr, trusted: &TrustedProxies) -> Self {
        let address = address.to_canonical();
        Self { address, text: text_of(address), is_trusted: trusted.contains(address) }
    }

    /// The client of one of its requests.
    #[must_use]
    pub fn client(&self, headers: &HeaderMap, trusted: &TrustedProxies) -> IpAddr {
        if !self.is_trusted {
            return self.address;
        }
        let hops: Vec<&[u8]> = if headers.contains_key(&X_FORWARDED_FOR) {
            let lines = headers.get_all(&X_FORWARDED_FOR).iter();
            lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b',')).collect()
        } else {
            headers
                .get_all(FORWARDED)
                .iter()
                .flat_map(|line| elements(line.as_bytes()))
                .map(forwarded_for)
                .collect()
        };
        let mut nearest = self.address;
        for hop in hops.into_iter().rev() {
            // Behind a hop that is no address nobody vouches for anything.
            let Some(address) = parse_hop(hop) else { break };
            nearest = address;
            if !trusted.contains(address) {
                break;
            }
        }
        nearest
    }
}

/// An address as a field's value. Made for each connection, where the general way to write four numbers took 1,384 instructions.
fn text_of(address: IpAddr) -> HeaderValue {
    let text = match address {
        IpAddr::V4(address) => {
            let mut text = Vec::with_capacity(V4_LEN_MAX);
            for part in address.octets() {
                if part >= 100 {
                    text.push(b'0' + part / 100);
                }
                if part >= 10 {
                    text.push(b'0' + part / 10 % 10);
                }
                text.extend_from_slice(&[b'0' + part % 10, b'.']);
            }
            text.pop();
            text
        }
        IpAddr::V6(address) => address.to_string().into_bytes(),
    };
    HeaderValue::from_maybe_shared(Bytes::from(text)).expect("an address is visible ASCII")
}

/// An address as hops write it: bare, with a port, IPv6 in brackets or bare.
fn parse_hop(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let bare = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    let address =
        bare.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|it| it.ip()))?;
    Some(address.to_canonical())
}

/// Splits at commas outside quotes.
fn elements(line: &[u8]) -> Vec<&[u8]> {
    split_unquoted(line, b',')
}

/// The value of `for` in one element of `Forwarded`, unquoted; empty when there is none.
fn forwarded_for(element: &[u8]) -> &[u8] {
    for parameter in split_unquoted(element, b';') {
        let parameter = parameter.trim_ascii();
        if let Some((name, value)) = parameter.split_at_checked(4)
            && name.eq_ignore_ascii_case(b"for=")
        {
            return value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\"")).unwrap_or(value);
        }
    }
    b""
}

fn split_unquoted(text: &[u8], separator: u8) -> Vec<&[u8]> {
    let mut pieces = Vec::new();
    let (mut start, mut is_quoted, mut is_escaped) = (0, false, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            byte if *byte == separator && !is_quoted => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// With the dot that is taken off again.
const V4_LEN_MAX: usize = 16;
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn trusted() -> TrustedProxies {
        ["10.0.0.0/8", "2001:db8::/32"].iter().map(|net| net.parse().unwrap()).collect()
    }

    fn client(peer: &str, fields: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, HeaderValue::from_str(value).unwrap());
        }
        Peer::new(peer.parse().unwrap(), &trusted()).client(&headers, &trusted()).to_string()
    }

    #[test]
    fn a_strangers_word_is_nothing() {
        assert_eq!(
            client("192.0.2.1", &[("x-forwarded-for", "9.9.9.9"), ("forwarded", "for=9.9.9.9")]),
            "192.0.2.1"
        );
        assert_eq!(client("::ffff:192.0.2.1", &[]), "192.0.2.1");
    }

    #[test]
    fn trusted_hops_are_passed_from_the_right() {
        for (chain, expected) in [
            ("9.9.9.9", "9.9.9.9"),
            ("1.1.1.1, 9.9.9.9", "9.9.9.9"),
            ("1.1.1.1, 9.9.9.9, 10.0.0.3", "9.9.9.9"),
            ("10.0.0.4, 10.0.0.3", "10.0.0.4"),
            ("9.9.9.9:1234", "9.9.9.9"),
            ("[2a00::1]:1234, [2001:db8::7]", "2a00::1"),
            ("2a00::1", "2a00::1"),
            ("::ffff:9.9.9.9", "9.9.9.9"),
            ("9.9.9.9, junk", "10.0.0.1"),
            ("9.9.9.9, junk, 10.0.0.3", "10.0.0.3"),
            ("9.9.9.9,", "10.0.0.1"),
            ("", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("x-forwarded-for", chain)]), expected, "{chain}");
        }
        let lines = [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "9.9.9.9, 10.0.0.3")];
        assert_eq!(client("::ffff:10.0.0.1", &lines), "9.9.9.9");
    }

    #[test]
    fn forwarded_is_read_with_its_quotes() {
        for (line, expected) in [
            ("for=9.9.9.9;proto=http, For=\"[2001:db8::7]:4711\"", "9.9.9.9"),
            ("by=x;FOR=\"[2a00::1]\";host=\"a,b;for=1.1.1.1\"", "2a00::1"),
            ("for=9.9.9.9, for=_hidden", "10.0.0.1"),
            ("for=9.9.9.9, proto=https", "10.0.0.1"),
            ("for=unknown", "10.0.0.1"),
        ] {
            assert_eq!(client("10.0.0.1", &[("forwarded", line)]), expected, "{line}");
        }
    }

    proptest! {
        #[test]
        fn an_address_is_written_as_everybody_writes_it(bits in any::<u32>(), other in any::<u128>()) {
            for address in [IpAddr::from(bits.to_be_bytes()), IpAddr::from(other.to_be_bytes())] {
                prop_assert_eq!(text_of(address), address.to_string());
            }
        }
        /// The naive model: walk the list of written addresses backwards.
        #[test]
        fn the_client_is_the_rightmost_stranger(last in prop::collection::vec((any::<bool>(), 1_u8..255), 1..8)) {
            let hops: Vec<String> =
                last.iter().map(|(near, n)| format!("{}.0.0.{n}", if *near { 10 } else { 9 })).collect();
            let model = hops.iter().rev().find(|hop| hop.starts_with('9')).unwrap_or(&hops[0]);
            prop_assert_eq!(&client("10.0.0.1", &[("x-forwarded-for", &hops.join(", "))]), model);
        }

        #[test]
        fn any_field_is_read_without_a_panic(value in "[ -~]{0,60}") {
            client("10.0.0.1", &[("x-forwarded-for", &value)]);
            client("10.0.0.1", &[("forwarded", &value)]);
        }
    }
}
