//! The keys that say who and what may come in: users, trusted proxies, limits.

use std::net::IpAddr;

use super::{GroupConfig, reader::Section, rules::read_rules};
use crate::{
    admit::{
        client::TrustedProxies,
        destination::{Destination, Destinations},
        password::Password,
        rules::Rules,
        sanitise::Limits,
    },
    headers::Style,
};
use ipnet::IpNet;

/// Who and what may come in.
#[derive(Debug, Clone, Default)]
pub struct AdmissionConfig {
    /// `user`: name and password, plain or hashed.
    pub users: Vec<(String, Password)>,
    /// `htpasswd`: a file with more of them.
    pub htpasswd: Option<std::path::PathBuf>,
    /// `auth_failures_per_minute`: wrong passwords of one client, after which it has to wait.
    pub failures_max: u32,
    /// `trusted_proxies`: whose word about clients is taken.
    pub trusted: TrustedProxies,
    /// `forwarded`: how members are told about clients.
    pub style: Style,
    /// `max_uri_bytes`, `max_header_fields`, `max_body_bytes`.
    pub limits: Limits,
    /// `[[rules]]`
    pub rules: Rules,
}

pub(super) fn read_admission(server: &mut Section<'_, '_>) -> AdmissionConfig {
    AdmissionConfig {
        users: read_users(server),
        htpasswd: server.string("htpasswd").map(|path| path.into_inner().into()),
        failures_max: server
            .integer("auth_failures_per_minute", 1..=1_000_000)
            .and_then(|count| u32::try_from(count).ok())
            .unwrap_or(FAILURES_PER_MINUTE),
        trusted: read_networks(server, "trusted_proxies").into_iter().collect(),
        style: read_style(server),
        limits: read_limits(server),
        rules: Rules::default(),
    }
}

/// Reads `[[rules]]`, which stand at the top level.
pub(super) fn read_admission_rules(
    root: &mut Section<'_, '_>,
    config: &mut AdmissionConfig,
    groups: &[GroupConfig],
) {
    config.rules = Rules::new(read_rules(root, groups));
}

/// A list of networks; a bare address is a network of one.
pub(super) fn read_networks(section: &mut Section<'_, '_>, key: &'static str) -> Vec<IpNet> {
    let mut networks = Vec::new();
    for text in section.list(key) {
        let address = || text.get_ref().parse::<IpAddr>().map(IpNet::from);
        match text.get_ref().parse::<IpNet>().or_else(|_| address()) {
            Ok(network) => networks.push(network),
            Err(_) => {
                let message = format!("{key}: \"{}\" is no address or network", text.get_ref());
                section.fault(&text, message, Some("as in \"10.0.0.0/8\" or \"2001:db8::1\"".to_owned()));
            }
        }
    }
    networks
}

/// `allow`: where a forward proxy may go.
pub(super) fn read_destinations(server: &mut Section<'_, '_>) -> Destinations {
    let mut destinations = Vec::new();
    for text in server.list("allow") {
        match text.get_ref().parse::<Destination>() {
            Ok(destination) => destinations.push(destination),
            Err(error) => server.fault(&text, format!("allow: {error}"), None),
        }
    }
    destinations.into_iter().collect()
}

fn read_users(server: &mut Section<'_, '_>) -> Vec<(String, Password)> {
    let mut users = Vec::new();
    for (name, password) in server.string_map("user") {
        if name.get_ref().contains(':') || name.get_ref().chars().any(char::is_control) {
            let help = "Basic authentication separates name and password by the first \":\"";
            server.fault(&name, "user name with \":\" or a control character", Some(help.to_owned()));
        }
        match server.resolved("user", &password).parse() {
            Ok(password) => users.push((name.into_inner(), password)),
            Err(error) => {
                let help = "make a hash with `evenly hash-password`".to_owned();
                server.fault(&password, format!("user \"{}\": {error}", name.get_ref()), Some(help));
            }
        }
    }
    users
}

fn read_style(server: &mut Section<'_, '_>) -> Style {
    let Some(text) = server.string("forwarded") else { return Style::default() };
    match text.get_ref().as_str() {
        "x-forwarded" => Style::XForwarded,
        "rfc7239" => Style::Rfc7239,
        "both" => Style::Both,
        "none" => Style::None,
        other => {
            let allowed = "allowed: \"x-forwarded\", \"rfc7239\", \"both\", \"none\"";
            server.fault(&text, format!("forwarded: unknown style \"{other}\""), Some(allowed.to_owned()));
            Style::default()
        }
    }
}

fn read_limits(server: &mut Section<'_, '_>) -> Limits {
    let default = Limits::default();
    let to_usize = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    Limits {
        target_len: server.integer("max_uri_bytes", 64..=60_000).map_or(default.target_len, to_usize),
        fields: server.integer("max_header_fields", 8..=4096).map_or(default.fields, to_usize),
        body_len: server.integer("max_body_bytes", 0..=1 << 50).map_or(default.body_len, i64::unsigned_abs),
    }
}

/// Wrong passwords of one client in a minute, unless the file says otherwise.
pub const FAILURES_PER_MINUTE: u32 = 60;
