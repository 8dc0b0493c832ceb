//! `evenly run --listen :8080 --to HOST:PORT`: a proxy without a file.

use clap::Args;

use super::Failure;
use crate::config::{Config, Entry, Listen};

/// What can be said without a file.
#[derive(Debug, Args)]
pub(super) struct Quick {
    /// Where clients connect: ":8080", "127.0.0.1:8080", "unix:/path"
    ///
    /// ":8080" is every address of this machine, and what is taken if nothing is said. Needs --to; a file cannot be read
    /// as well.
    #[arg(long, value_name = "ADDRESS", requires = "to", conflicts_with = "config")]
    listen: Option<Listen>,
    /// A member, with its weight if it is not 1; repeat for more
    ///
    /// "host:port", "[ipv6]:port", "https://host", "h2://host:port", "unix:/path", "dns+host:port" for each address of a
    /// name, "srv+_http._tcp.name" for each SRV record.
    #[arg(long, value_name = "HOST:PORT[^W]", conflicts_with = "config")]
    to: Vec<Entry>,
    /// Who takes a request: p2c, round_robin, least_load, ring, …
    ///
    /// All of them: random, round_robin, p2c, peak_ewma, least_load, least_latency; and, so that a client stays at its
    /// member, ring, bounded_ring, ketama, maglev, rendezvous, ip_hash. p2c if nothing is said: the less loaded of two.
    #[arg(long, value_name = "ALGORITHM", requires = "to")]
    balance: Option<balancers::Algorithm>,
    /// Keep responses in memory, as RFC 9111 allows
    ///
    /// At most 10,000 of them and 256 MiB; a file can say otherwise, and that Redis keeps them.
    #[arg(long, requires = "to")]
    cache: bool,
    /// Open the dashboard, metrics and admin API here
    #[arg(long, value_name = "ADDRESS", requires = "to")]
    admin: Option<Listen>,
    /// A line for each request to standard output: json, combined or a pattern
    #[arg(long, value_name = "FORMAT", requires = "to")]
    access_log: Option<String>,
}

impl Quick {
    /// Whether it was used at all.
    pub(super) fn is_used(&self) -> bool {
        !self.to.is_empty()
    }

    /// The same in the words of a file, so that there is one way to a configuration.
    pub(super) fn config(&self) -> Result<Config, Failure> {
        Config::parse("the command line", &self.to_toml()).map_err(Failure::Faults)
    }

    fn to_toml(&self) -> String {
        let quoted = |text: String| toml::Value::String(text).to_string();
        let members = self.to.iter().map(|entry| quoted(entry.to_string()));
        let mut text = format!("[server]\nproxy_pass = [{}]\n", members.collect::<Vec<_>>().join(", "));
        let given = [
            ("port", self.listen.as_ref().map(ToString::to_string)),
            ("balance", self.balance.map(|balance| balance.to_string())),
            ("access_log", self.access_log.clone()),
        ];
        for (key, value) in given {
            if let Some(value) = value {
                text.push_str(&format!("{key} = {}\n", quoted(value)));
            }
        }
        text.push_str(&format!("cache = {}\n", self.cache));
        if let Some(admin) = &self.admin {
            text.push_str(&format!("[admin]\nlisten = {}\n", quoted(admin.to_string())));
        }
        text
    }
}
