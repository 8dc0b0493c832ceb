//! The grammar of addresses: where to listen, and who is behind us with which weight.
//!
//! ```text
//! listen = [ip] ":" port | "unix:" path
//! member = [ "http://" | "https://" | "h2://" ] host [ ":" port ] [ "^" weight ] | "unix:" path [ "^" weight ]
//! host   = name | ipv4 | "[" ipv6 "]"
//! ```

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    path::PathBuf,
    str::FromStr,
};

/// Where a listener stands.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Listen {
    /// One address, or with `[::]` every address of both families.
    Tcp(SocketAddr),
    /// A socket in the file system.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(path) = text.strip_prefix("unix:") {
            return unix_path(path).map(Listen::Unix);
        }
        let (host, port) = split_port(text)?;
        let port = port.ok_or(AddressError::NoPort)?;
        let ip = match host {
            "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
            "localhost" => IpAddr::from([127, 0, 0, 1]),
            host => unbracketed(host).parse().map_err(|_| AddressError::NotAnIp(host.to_owned()))?,
        };
        Ok(Listen::Tcp(SocketAddr::new(ip, port)))
    }
}

impl Listen {
    /// The port, if it is one of TCP.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        match self {
            Listen::Tcp(address) => Some(address.port()),
            Listen::Unix(_) => None,
        }
    }
}

impl fmt::Display for Listen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listen::Tcp(address) => address.fmt(f),
            Listen::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Where a member answers.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or IP address and a port.
    Tcp {
        /// Without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// The same, over TLS.
    Tls {
        /// Without brackets; the name its certificate must bear.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// HTTP/2 without TLS, known to be spoken there.
    H2 {
        /// Without brackets.
        host: String,
        /// Never 0.
        port: u16,
    },
    /// A socket in the file system.
    Unix(PathBuf),
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Address::Tcp { host, port } => write!(f, "{host}:{port}"),
            Address::Tls { host, port } if host.contains(':') => write!(f, "https://[{host}]:{port}"),
            Address::Tls { host, port } => write!(f, "https://{host}:{port}"),
            Address::H2 { host, port } if host.contains(':') => write!(f, "h2://[{host}]:{port}"),
            Address::H2 { host, port } => write!(f, "h2://{host}:{port}"),
            Address::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// One entry of `proxy_pass`: an address and its share of the traffic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Where it answers.
    pub address: Address,
    /// From 1 to [`WEIGHT_MAX`].
    pub weight: u32,
}

/// The greatest weight of a member, as in nginx.
pub const WEIGHT_MAX: u32 = 65_535;

impl FromStr for Member {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        let (place, weight) = match text.rsplit_once('^') {
            None => (text, 1),
            Some((place, weight)) => (place, parse_weight(weight)?),
        };
        if let Some(path) = place.strip_prefix("unix:") {
            return Ok(Member { address: Address::Unix(unix_path(path)?), weight });
        }
        if let Some(authority) = place.strip_prefix("https://") {
            let (host, port) = split_port(authority)?;
            let host = checked_host(host)?;
            return Ok(Member { address: Address::Tls { host, port: port.unwrap_or(443) }, weight });
        }
        if let Some(authority) = place.strip_prefix("h2://") {
            let (host, port) = split_port(authority)?;
            let host = checked_host(host)?;
            return Ok(Member { address: Address::H2 { host, port: port.unwrap_or(80) }, weight });
        }
        let authority = place.strip_prefix("http://").unwrap_or(place);
        let (host, port) = split_port(authority)?;
        let host = checked_host(host)?;
        Ok(Member { address: Address::Tcp { host, port: port.unwrap_or(80) }, weight })
    }
}

/// Why an address does not read as one.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum AddressError {
    /// Nothing before the port, or nothing at all.
    NoHost,
    /// A listener needs its port.
    NoPort,
    /// Not 1 to 65535.
    Port(String),
    /// Not 1 to [`WEIGHT_MAX`].
    Weight(String),
    /// A listener binds an IP address, not a name.
    NotAnIp(String),
    /// Neither a host name nor an IP address.
    Host(String),
    /// `unix:` without a path.
    NoPath,
    /// `dns+` before an address.
    NotAName(String),
    /// Not the name of a service.
    Service(String),
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AddressError::NoHost => f.write_str("no host"),
            AddressError::NoPort => f.write_str("no port"),
            AddressError::Port(port) => write!(f, "port \"{port}\" (must be 1 to 65535)"),
            AddressError::Weight(weight) => write!(f, "weight \"{weight}\" (must be 1 to {WEIGHT_MAX})"),
            AddressError::NotAnIp(host) => write!(f, "\"{host}\" is not an IP address"),
            AddressError::Host(host) => write!(f, "\"{host}\" is not a host name or IP address"),
            AddressError::NotAName(host) => write!(f, "\"{host}\" is an address already, without dns+"),
            AddressError::Service(text) => {
                write!(f, "\"{text}\" (must be as srv+_http._tcp.name, and weights are told by the records)")
            }
            AddressError::NoPath => f.write_str("no path after \"unix:\""),
        }
    }
}

impl std::error::Error for AddressError {}

/// `host:port` taken apart; an IPv6 address must stand in brackets to have a port.
pub(super) fn split_port(text: &str) -> Result<(&str, Option<u16>), AddressError> {
    let bracket = text.rfind(']').map_or(0, |at| at + 1);
    match text[bracket..].rfind(':') {
        Some(colon) => {
            let port = &text[bracket + colon + 1..];
            Ok((&text[..bracket + colon], Some(parse_port(port)?)))
        }
        None => Ok((text, None)),
    }
}

fn parse_port(port: &str) -> Result<u16, AddressError> {
    let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let parsed = if digits { port.parse().ok() } else { None };
    parsed.filter(|&port| port != 0).ok_or_else(|| AddressError::Port(port.to_owned()))
}

pub(super) fn parse_weight(weight: &str) -> Result<u32, AddressError> {
    let digits = !weight.is_empty() && weight.bytes().all(|byte| byte.is_ascii_digit());
    let parsed: Option<u32> = if digits { weight.parse().ok() } else { None };
    parsed
        .filter(|weight| (1..=WEIGHT_MAX).contains(weight))
        .ok_or_else(|| AddressError::Weight(weight.to_owned()))
}

pub(super) fn checked_host(host: &str) -> Result<String, AddressError> {
    if host.is_empty() {
        return Err(AddressError::NoHost);
    }
    let bare = unbracketed(host);
    let is_ip = bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv6() == host.starts_with('['));
    let label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
    };
    let is_name = host.len() <= 253 && host.trim_end_matches('.').split('.').all(label);
    if is_ip || is_name { Ok(bare.to_ascii_lowercase()) } else { Err(AddressError::Host(host.to_owned())) }
}

fn unbracketed(host: &str) -> &str {
    host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host)
}

fn unix_path(path: &str) -> Result<PathBuf, AddressError> {
    if path.is_empty() { Err(AddressError::NoPath) } else { Ok(path.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(text: &str) -> Result<(String, u32), String> {
        text.parse::<Member>()
            .map(|member| (member.address.to_string(), member.weight))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn members_as_goproxy_writes_them() {
        assert_eq!(member("127.0.0.1:6000^10"), Ok(("127.0.0.1:6000".into(), 10)));
        assert_eq!(member("127.0.0.1:20001"), Ok(("127.0.0.1:20001".into(), 1)));
        assert_eq!(member("Example.ORG"), Ok(("example.org:80".into(), 1)));
    }

    #[test]
    fn members_beyond_goproxy() {
        assert_eq!(member("[::1]:80^2"), Ok(("[::1]:80".into(), 2)));
        assert_eq!(member("h2://grpc.local:50051^2"), Ok(("h2://grpc.local:50051".into(), 2)));
        assert_eq!(member("h2://[::1]:1"), Ok(("h2://[::1]:1".into(), 1)));
        assert_eq!(member("http://a_b.local:81"), Ok(("a_b.local:81".into(), 1)));
        assert_eq!(member("unix:/run/app.sock^3"), Ok(("unix:/run/app.sock".into(), 3)));
    }

    #[test]
    fn wrong_members_say_what_is_wrong() {
        for (text, message) in [
            ("a:80^0", "weight \"0\" (must be 1 to 65535)"),
            ("a:80^", "weight \"\" (must be 1 to 65535)"),
            ("a:80^+1", "weight \"+1\" (must be 1 to 65535)"),
            ("a:0", "port \"0\" (must be 1 to 65535)"),
            ("a:99999", "port \"99999\" (must be 1 to 65535)"),
            (":80", "no host"),
            ("::1:80", "\"::1\" is not a host name or IP address"),
            ("a b:80", "\"a b\" is not a host name or IP address"),
            ("user@a:80", "\"user@a\" is not a host name or IP address"),
            ("unix:", "no path after \"unix:\""),
        ] {
            assert_eq!(member(text), Err(message.to_owned()), "{text}");
        }
    }

    #[test]
    fn listeners() {
        let parse =
            |text: &str| text.parse::<Listen>().map(|listen| listen.to_string()).map_err(|e| e.to_string());
        assert_eq!(parse(":8080"), Ok("[::]:8080".into()));
        assert_eq!(parse("127.0.0.1:1"), Ok("127.0.0.1:1".into()));
        assert_eq!(parse("[::1]:8080"), Ok("[::1]:8080".into()));
        assert_eq!(parse("unix:/tmp/x"), Ok("unix:/tmp/x".into()));
        assert_eq!(parse("8080"), Err("no port".into()));
        assert_eq!(parse("host:80"), Err("\"host\" is not an IP address".into()));
    }
}
