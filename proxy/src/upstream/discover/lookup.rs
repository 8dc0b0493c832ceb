//! Which members a name has, as DNS tells: A or AAAA records of a host, or SRV records of a service (RFC 2782).
//!
//! A host with IPv4 and IPv6 addresses counts once: its IPv6 addresses are used when it has no other. Of SRV records
//! those with the lowest priority are used; further ones only if no target of those has an address. A target with many
//! addresses is as many members, each with the record's weight; weight 0 counts as 1.
//!
//! The resolver is made for each question: nothing of it may be older than the answer asked for, and `resolv.conf` may
//! have changed. That costs some microseconds, and a name is asked for once a second at most.

use std::{collections::BTreeMap, net::IpAddr, time::Duration};

use hickory_resolver::{
    Resolver, TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolveHosts, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{RData, Record, RecordType, rdata::SRV},
};
use tokio::time::timeout;

use crate::config::{DnsConfig, Member, Name, WEIGHT_MAX};

/// An answer.
#[derive(Debug, Clone)]
pub(super) struct Found {
    /// Not empty, each address once.
    pub(super) members: Vec<Member>,
    /// How long it is good for.
    pub(super) ttl: Duration,
}

/// Asks for the members of `name`, within the time that `dns` allows.
pub(super) async fn look_up(name: &Name, dns: &DnsConfig) -> Result<Found, String> {
    let resolver = resolver(dns).map_err(|error| error.to_string())?;
    let asked = async {
        match name {
            Name::Host { host, port, weight } => {
                let (addresses, ttl_s) = addresses(&resolver, host).await?;
                Ok((addresses.into_iter().map(|ip| (ip, *port, *weight)).collect(), ttl_s))
            }
            Name::Service(service) => targets(&resolver, service).await,
        }
    };
    let (found, ttl_s): (Vec<(IpAddr, u16, u32)>, u32) = match timeout(dns.timeout, asked).await {
        Ok(Ok(found)) => found,
        Ok(Err(error)) => return Err(error.to_string()),
        Err(_) => return Err(format!("no answer within {} s", dns.timeout.as_secs())),
    };
    // Two records may lead to one address: its share is both of theirs.
    let mut weights = BTreeMap::new();
    for (ip, port, weight) in found {
        let sum: &mut u32 = weights.entry((ip, port)).or_default();
        *sum = (*sum + weight).min(WEIGHT_MAX);
    }
    match weights.len() {
        0 => Err("the answer holds no address".to_owned()),
        found if found > FOUND_MAX => Err(format!("{found} addresses (at most {FOUND_MAX})")),
        _ => {
            let member = |((ip, port), weight)| Member::found(ip, port, weight);
            let ttl = Duration::from_secs(ttl_s.into());
            Ok(Found { members: weights.into_iter().map(member).collect(), ttl })
        }
    }
}

fn resolver(dns: &DnsConfig) -> Result<TokioResolver, NetError> {
    let provider = TokioRuntimeProvider::default();
    let mut builder = if dns.servers.is_empty() {
        Resolver::builder(provider)?
    } else {
        let server = |address: &std::net::SocketAddr| {
            let at_port = |mut connection: ConnectionConfig| {
                connection.port = address.port();
                connection
            };
            let ways = vec![at_port(ConnectionConfig::udp()), at_port(ConnectionConfig::tcp())];
            NameServerConfig::new(address.ip(), true, ways)
        };
        let servers = dns.servers.iter().map(server).collect();
        Resolver::builder_with_config(ResolverConfig::from_name_servers(servers), provider)
    };
    let options = builder.options_mut();
    options.cache_size = 0;
    options.use_hosts_file = ResolveHosts::Never;
    options.attempts = ATTEMPTS;
    options.timeout = dns.timeout / (ATTEMPTS as u32 + 1);
    builder.build()
}

/// The addresses of a host, and for how many seconds they are good.
async fn addresses(resolver: &TokioResolver, host: &str) -> Result<(Vec<IpAddr>, u32), NetError> {
    // Only where there is no IPv4 address at all: a failure to tell is no reason to go elsewhere.
    let answer = match resolver.lookup(host, RecordType::A).await {
        Err(error) if error.is_no_records_found() => resolver.lookup(host, RecordType::AAAA).await?,
        answer => answer?,
    };
    Ok((answer.answers().iter().filter_map(ip_of).collect(), ttl_of(answer.answers())))
}

/// The addresses behind the SRV records of a service, with port and weight.
async fn targets(
    resolver: &TokioResolver,
    service: &str,
) -> Result<(Vec<(IpAddr, u16, u32)>, u32), NetError> {
    let answer = resolver.lookup(service, RecordType::SRV).await?;
    let mut ttl_s = ttl_of(answer.answers());
    let mut by_priority: BTreeMap<u16, Vec<&SRV>> = BTreeMap::new();
    for record in answer.answers() {
        if let RData::SRV(srv) = &record.data {
            by_priority.entry(srv.priority).or_default().push(srv);
        }
    }
    let mut failed = None;
    for services in by_priority.into_values() {
        let mut found = Vec::new();
        for srv in services {
            // What the server told unasked saves a question.
            let beside: Vec<&Record> = answer
                .additionals()
                .iter()
                .filter(|record| record.name == srv.target && ip_of(record).is_some())
                .collect();
            let (addresses, good_s) = if beside.is_empty() {
                match addresses(resolver, &srv.target.to_ascii()).await {
                    Ok(told) => told,
                    Err(error) if error.is_no_records_found() => continue,
                    Err(error) => {
                        failed = Some(error);
                        continue;
                    }
                }
            } else {
                let good_s = beside.iter().map(|record| record.ttl).min().unwrap_or_default();
                (beside.into_iter().filter_map(ip_of).collect(), good_s)
            };
            ttl_s = ttl_s.min(good_s);
            let weight = u32::from(srv.weight).max(1);
            found.extend(addresses.into_iter().map(|ip| (ip, srv.port, weight)));
        }
        // A part of the truth would take members away that are there.
        if let Some(failed) = failed {
            return Err(failed);
        }
        if !found.is_empty() {
            return Ok((found, ttl_s));
        }
    }
    Ok((Vec::new(), ttl_s))
}

fn ip_of(record: &Record) -> Option<IpAddr> {
    match &record.data {
        RData::A(address) => Some(address.0.into()),
        RData::AAAA(address) => Some(address.0.into()),
        _ => None,
    }
}

/// Aliases on the way count as well.
fn ttl_of(records: &[Record]) -> u32 {
    records.iter().map(|record| record.ttl).min().unwrap_or_default()
}

const ATTEMPTS: usize = 2;
/// Members of one name.
const FOUND_MAX: usize = 1_000;
