//! Where a forward proxy may go: closed by default, and never into private networks by accident.
//!
//! | pattern | allows |
//! |---|---|
//! | `api.test:443` | that name and port |
//! | `*.test:443` | every name below it |
//! | `*:443` | every name |
//! | `api.test:*` | every port |
//! | `10.1.0.0/16:8080`, `[fd00::/8]:443` | those addresses, also when a name leads to them |
//!
//! Two questions, both to be answered with yes: is the *name* allowed, asked of what the client wrote; is the *address*
//! allowed, asked of what is really dialled, after the name was resolved. A public address is; any other (loopback,
//! private, link-local, cloud metadata, …) only by a pattern that names its network. So a name that resolves to
//! `127.0.0.1`, now or at the second look-up, leads nowhere.
//!
//! ```
//! use evenly::admit::destination::Destinations;
//!
//! let destinations: Destinations = ["*.test:443".parse()?].into_iter().collect();
//! assert!(destinations.allow_name("a.test", 443) && !destinations.allow_name("a.test", 80));
//! assert!(destinations.allow_address("203.0.114.1".parse().unwrap(), 443));
//! assert!(!destinations.allow_address("169.254.169.254".parse().unwrap(), 443));
//! # Ok::<(), evenly::admit::destination::DestinationError>(())
//! ```

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

use crate::pattern::HostPattern;

/// The destinations that are allowed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Destinations {
    patterns: Vec<Destination>,
}

impl Destinations {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.patterns.is_empty()
    }
}

/// One pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    place: Place,
    port: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    Everywhere,
    Host(HostPattern),
    Network(IpNet),
}

impl Destinations {
    /// May a client ask for this host (as it wrote it) and port?
    #[must_use]
    pub fn allow_name(&self, host: &str, port: u16) -> bool {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if let Ok(address) = bare.parse::<IpAddr>() {
            let is_everywhere = |it: &&Destination| it.place == Place::Everywhere && it.is_port(port);
            let anywhere = self.patterns.iter().find(is_everywhere).is_some();
            return anywhere && is_public(address) || self.names_address(address, port);
        }
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        self.patterns.iter().any(|pattern| {
            pattern.is_port(port)
                && match &pattern.place {
                    Place::Everywhere => true,
                    Place::Host(name) => name.matches(&host),
                    Place::Network(_) => false,
                }
        })
    }

    /// May this address really be dialled?
    #[must_use]
    pub fn allow_address(&self, address: IpAddr, port: u16) -> bool {
        is_public(address) || self.names_address(address, port)
    }

    fn names_address(&self, address: IpAddr, port: u16) -> bool {
        let address = address.to_canonical();
        self.patterns.iter().any(|pattern| match &pattern.place {
            Place::Network(network) => pattern.is_port(port) && network.contains(&address),
            _ => false,
        })
    }
}

impl FromIterator<Destination> for Destinations {
    fn from_iter<I: IntoIterator<Item = Destination>>(patterns: I) -> Self {
        Self { patterns: patterns.into_iter().collect() }
    }
}

impl Destination {
    fn is_port(&self, port: u16) -> bool {
        self.port.is_none_or(|allowed| allowed == port)
    }
}

impl FromStr for Destination {
    type Err = DestinationError;

    fn from_str(text: &str) -> Result<Self, DestinationError> {
        let wrong = || DestinationError(text.to_owned());
        let (place, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = match port {
            "*" => None,
            port => Some(port.parse().ok().filter(|port| *port != 0).ok_or_else(wrong)?),
        };
        let bare = place.strip_prefix('[').and_then(|place| place.strip_suffix(']')).unwrap_or(place);
        let place = if place == "*" {
            Place::Everywhere
        } else if let Ok(network) = bare.parse() {
            Place::Network(network)
        } else if let Ok(address) = bare.parse::<IpAddr>() {
            Place::Network(address.into())
        } else {
            Place::Host(HostPattern::parse(place).map_err(|_| wrong())?)
        };
        Ok(Self { place, port })
    }
}

/// A text that is no pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DestinationError(String);

impl fmt::Display for DestinationError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "\"{}\" is not \"host:port\", \"*.host:port\" or \"network:port\" (port 1 to 65535 or *)",
            self.0
        )
    }
}

impl std::error::Error for DestinationError {}

/// Is it an address on the public internet? What is not listed by IANA as globally reachable is not, nor is a cloud's
/// metadata service.
#[must_use]
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    let is_special = address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || matches!(
            (a, b, c),
            (0, ..) | (100, 64..=127, _) | (192, 0, 0) | (192, 88, 99) | (198, 18..=19, _)
        )
        || a >= 224
        || address == Ipv4Addr::new(168, 63, 129, 16);
    !is_special
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let segments = address.segments();
    let embedded = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match segments {
        // NAT64 and 6to4 lead to the IPv4 address inside.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => embedded(high, low),
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Global unicast is 2000::/3; everything else is loopback, local, multicast or not assigned.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn allowed(patterns: &[&str]) -> Destinations {
        patterns.iter().map(|pattern| pattern.parse().unwrap()).collect()
    }

    #[test]
    fn nothing_is_allowed_by_default() {
        let none = Destinations::default();
        assert!(!none.allow_name("a.test", 443) && !none.allow_name("8.8.8.8", 443));
    }

    #[test]
    fn names_are_compared_as_names() {
        let some = allowed(&["Allowed.test:443", "*.below.test:*", "[::1]:9000", "10.0.0.0/8:80"]);
        for (host, port, expected) in [
            ("allowed.test", 443, true),
            ("ALLOWED.test.", 443, true),
            ("allowed.test", 80, false),
            ("xallowed.test", 443, false),
            ("allowed.test.evil.test", 443, false),
            ("a.below.test", 1, true),
            ("below.test", 1, false),
            ("[::1]", 9000, true),
            ("[::ffff:10.1.2.3]", 80, true),
            ("10.1.2.3", 80, true),
            ("10.1.2.3", 81, false),
            ("8.8.8.8", 80, false),
            ("0177.0.0.1", 80, false),
        ] {
            assert_eq!(some.allow_name(host, port), expected, "{host}:{port}");
        }
        let all = allowed(&["*:443"]);
        assert!(
            all.allow_name("8.8.8.8", 443) && !all.allow_name("127.0.0.1", 443) && all.allow_name("x", 443)
        );
    }

    #[test]
    fn only_public_addresses_are_dialled_unless_named() {
        let all = allowed(&["*:*", "192.168.1.0/24:80"]);
        for private in [
            "0.0.0.0",
            "10.1.2.3",
            "100.64.0.1",
            "100.100.100.200",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.0.1",
            "192.168.0.1",
            "198.18.0.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "fec0::1",
            "64:ff9b::7f00:1",
            "2002:7f00:1::",
            "2001:db8::1",
            "2001::1",
            "100::1",
        ] {
            assert!(!all.allow_address(private.parse().unwrap(), 80), "{private}");
        }
        for public in ["8.8.8.8", "203.0.114.1", "2606:4700::1111", "64:ff9b::808:808", "192.168.1.7"] {
            assert!(all.allow_address(public.parse().unwrap(), 80), "{public}");
        }
    }

    #[test]
    fn patterns_that_mean_nothing_are_refused() {
        for text in
            ["", "a.test", ":443", "a.test:", "a.test:0", "a.test:65536", "a.*.test:443", "10.0.0.0/33:1"]
        {
            assert!(text.parse::<Destination>().is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn mapped_addresses_are_judged_as_what_they_map(address: Ipv4Addr) {
            prop_assert_eq!(is_public(address.into()), is_public(address.to_ipv6_mapped().into()));
        }
    }
}
