//! Where a server listens.

use std::{fmt, path::PathBuf, str::FromStr};

/// A server's address: a host and port, or the path of a unix socket.
///
/// ```
/// use cache::store::Address;
///
/// assert_eq!("cache.internal".parse(), Ok(Address::tcp("cache.internal", 6379)));
/// assert_eq!("[::1]:7000".parse(), Ok(Address::tcp("::1", 7000)));
/// assert_eq!("/run/redis.sock".parse(), Ok(Address::Unix("/run/redis.sock".into())));
/// assert_eq!("host:port".parse::<Address>(), Err("port \"port\" of \"host:port\" (must be 1 to 65535)".to_owned()));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Address {
    /// A host name or IP address, and a port.
    Tcp {
        /// Without brackets, also for IPv6.
        host: String,
        /// 1 to 65535.
        port: u16,
    },
    /// The path of a unix socket.
    Unix(PathBuf),
}

impl Address {
    /// The address `host:port`.
    pub fn tcp(host: impl Into<String>, port: u16) -> Self {
        Self::Tcp { host: host.into(), port }
    }

    /// Redis' own port.
    pub const DEFAULT_PORT: u16 = 6379;
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Self::Unix(text.into()));
        }
        let (host, port) = split_port(text)?;
        if host.is_empty() || host.contains(|c: char| c.is_whitespace() || "/@[]".contains(c)) {
            return Err(format!("host {host:?} of {text:?} is no host name"));
        }
        let port = match port {
            None => Self::DEFAULT_PORT,
            Some(port) => match port.parse() {
                Ok(number @ 1..) if port.bytes().all(|byte| byte.is_ascii_digit()) => number,
                _ => return Err(format!("port {port:?} of {text:?} (must be 1 to 65535)")),
            },
        };
        Ok(Self::tcp(host, port))
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
            Self::Unix(path) => write!(f, "{}", path.display()),
        }
    }
}

/// Host, without brackets, and port of `host`, `host:port`, `[v6]`, `[v6]:port` or a bare IPv6 address.
fn split_port(text: &str) -> Result<(&str, Option<&str>), String> {
    if let Some(rest) = text.strip_prefix('[') {
        let (host, after) = rest.split_once(']').ok_or_else(|| format!("\"[\" without \"]\" in {text:?}"))?;
        return match (after, after.strip_prefix(':')) {
            ("", _) => Ok((host, None)),
            (_, Some(port)) => Ok((host, Some(port))),
            _ => Err(format!("{after:?} after the brackets of {text:?} (must be \":\" and a port)")),
        };
    }
    match text.split_once(':') {
        Some((_, port)) if port.contains(':') => Ok((text, None)),
        Some((host, port)) => Ok((host, Some(port))),
        None => Ok((text, None)),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn wrong_addresses_are_refused() {
        for bad in
            ["", ":6379", "a b", "host:0", "host:65536", "host:+1", "host:", "[::1", "[::1]x", "a@b", "a/b"]
        {
            assert!(bad.parse::<Address>().is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_parses_back(host in "[a-z0-9.-]{1,20}|::1|fe80::1", port in 1_u16..) {
            let address = Address::tcp(host, port);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }

        #[test]
        fn nothing_panics(text: String) {
            let _ = text.parse::<Address>();
        }
    }
}
