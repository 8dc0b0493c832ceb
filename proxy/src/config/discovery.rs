//! The grammar of members that are found by name, and `[dns]`: how such names are resolved.
//!
//! ```text
//! entry = member                                   as address.rs reads it
//!       | "dns+" host ":" port [ "^" weight ]      a member for each address (A, else AAAA) of the host
//!       | "srv+" name                              a member for each SRV record: its target, port and weight
//! ```

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use toml::Spanned;

use super::{
    Address, AddressError, Member,
    address::{checked_host, parse_weight, split_port},
    reader::Section,
};

/// One entry of `proxy_pass`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A member.
    Member(Member),
    /// As many members as the name has.
    Name(Name),
}

/// What members are found by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Name {
    /// `dns+host:port^weight`: the addresses of a host.
    Host {
        /// In lower case; never an IP address.
        host: String,
        /// Never 0.
        port: u16,
        /// Of each address.
        weight: u32,
    },
    /// `srv+_http._tcp.name`: the SRV records of a service, which tell host, port and weight.
    Service(String),
}

/// `[dns]`
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DnsConfig {
    /// `servers`: whom to ask; those of `/etc/resolv.conf` when empty.
    pub servers: Vec<SocketAddr>,
    /// `refresh_min`: an answer is kept for so long, however short its time to live.
    pub refresh_min: Duration,
    /// `refresh_max`: and for no longer, however long that is.
    pub refresh_max: Duration,
    /// `timeout`: for one name, all servers and attempts together.
    pub timeout: Duration,
}

impl Default for DnsConfig {
    fn default() -> Self {
        DnsConfig {
            servers: Vec::new(),
            refresh_min: Duration::from_secs(1),
            refresh_max: Duration::from_secs(60),
            timeout: Duration::from_secs(5),
        }
    }
}

impl FromStr for Entry {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if let Some(name) = text.strip_prefix("srv+") {
            let is_weighted = name.contains('^');
            let name = checked_host(name).ok().filter(|name| !is_weighted && name.contains('.'));
            return name
                .map(|name| Entry::Name(Name::Service(name)))
                .ok_or_else(|| AddressError::Service(text.to_owned()));
        }
        let Some(entry) = text.strip_prefix("dns+") else { return text.parse().map(Entry::Member) };
        let (place, weight) = match entry.rsplit_once('^') {
            None => (entry, 1),
            Some((place, weight)) => (place, parse_weight(weight)?),
        };
        let (host, port) = split_port(place)?;
        let host = checked_host(host)?;
        if host.parse::<IpAddr>().is_ok() {
            return Err(AddressError::NotAName(host));
        }
        Ok(Entry::Name(Name::Host { host, port: port.ok_or(AddressError::NoPort)?, weight }))
    }
}

impl Entry {
    /// What may not stand twice.
    pub(super) fn identity(&self) -> String {
        match self {
            Entry::Member(member) => member.address.to_string(),
            Entry::Name(Name::Host { host, port, .. }) => format!("dns+{host}:{port}"),
            Entry::Name(name) => name.to_string(),
        }
    }
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Entry::Member(Member { address, weight: 1 }) => address.fmt(f),
            Entry::Member(Member { address, weight }) => write!(f, "{address}^{weight}"),
            Entry::Name(name) => name.fmt(f),
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Name::Host { host, port, weight: 1 } => write!(f, "dns+{host}:{port}"),
            Name::Host { host, port, weight } => write!(f, "dns+{host}:{port}^{weight}"),
            Name::Service(name) => write!(f, "srv+{name}"),
        }
    }
}

impl Member {
    /// The member at an address that was found.
    pub(crate) fn found(at: IpAddr, port: u16, weight: u32) -> Member {
        Member { address: Address::Tcp { host: at.to_string(), port }, weight }
    }
}

pub(super) fn read_dns(mut dns: Section<'_, '_>) -> DnsConfig {
    let default = DnsConfig::default();
    let mut servers = Vec::new();
    for server in dns.list("servers") {
        let text = server.get_ref();
        let with_port = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, 53));
        match text.parse().ok().or_else(with_port) {
            Some(server) => servers.push(server),
            None => {
                let help = "allowed: \"10.0.0.2\", \"10.0.0.2:53\", \"[fd00::2]:53\"";
                dns.fault(&server, format!("servers: \"{text}\" is no IP address"), Some(help.to_owned()));
            }
        }
    }
    let config = DnsConfig {
        servers,
        refresh_min: dns.seconds("refresh_min", 1..=86_400).unwrap_or(default.refresh_min),
        refresh_max: dns.seconds("refresh_max", 1..=86_400).unwrap_or(default.refresh_max),
        timeout: dns.seconds("timeout", 1..=60).unwrap_or(default.timeout),
    };
    if config.refresh_min > config.refresh_max {
        let place = dns.place("refresh_min").or(dns.place("refresh_max"));
        let (least, most) = (config.refresh_min.as_secs(), config.refresh_max.as_secs());
        let message = format!("refresh_min = {least} is longer than refresh_max = {most}");
        dns.fault(&place.unwrap_or(Spanned::new(0..0, ())), message, None);
    }
    dns.finish();
    config
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<String, String> {
        text.parse::<Entry>().map(|entry| entry.to_string()).map_err(|error| error.to_string())
    }

    #[test]
    fn names_and_members_read_as_they_are_written() {
        for text in [
            "dns+web.default.svc:8080",
            "dns+web.default.svc.cluster.local.:8080^3",
            "srv+_http._tcp.web.service.consul",
            "127.0.0.1:6000^2",
            "unix:/run/app.sock",
        ] {
            assert_eq!(read(text), Ok(text.to_owned()));
        }
        assert_eq!(read("dns+WEB:80"), Ok("dns+web:80".to_owned()));
    }

    #[test]
    fn what_is_no_name_is_refused_with_a_reason() {
        for (text, told) in [
            ("dns+web", "no port"),
            ("dns+:80", "no host"),
            ("dns+10.0.0.1:80", "\"10.0.0.1\" is an address already, without dns+"),
            ("dns+web:80^0", "weight \"0\" (must be 1 to 65535)"),
            ("dns+https://web:80", "\"https://web\" is not a host name or IP address"),
            ("srv+web", "\"srv+web\" (must be as srv+_http._tcp.name, and weights are told by the records)"),
            (
                "srv+_http._tcp.web^2",
                "\"srv+_http._tcp.web^2\" (must be as srv+_http._tcp.name, and weights are told by the records)",
            ),
        ] {
            assert_eq!(read(text), Err(told.to_owned()), "{text}");
        }
    }
}
