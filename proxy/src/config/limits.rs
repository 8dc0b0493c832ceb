//! How much a client may have: connections, requests on one, what HTTP/2 adds. The table of all limits is
//! `docs/limits.md`.

use super::reader::Section;

/// What connections may be and hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// `max_connections`: of all clients together.
    pub connections: usize,
    /// `max_connections_per_client`: from one address; absent when 0.
    pub connections_per_client: Option<u32>,
    /// `max_requests_per_connection`: the last one says that the connection is closed.
    pub requests: u64,
    /// `max_header_bytes`: of a request's head.
    pub head_len: usize,
    /// `max_h2_streams`: requests under way on one HTTP/2 connection.
    pub h2_streams: u32,
    /// `max_h2_resets`: streams that a client has reset, or made us reset, without our having dealt with it
    /// (CVE-2023-44487, CVE-2025-8671).
    pub h2_resets: usize,
    /// `min_body_rate`: bytes a second that a client must send of a body, and take of one.
    pub body_rate_min: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        ConnectionLimits {
            connections: 65_536,
            connections_per_client: None,
            requests: 100_000,
            head_len: 65_536,
            h2_streams: 128,
            h2_resets: 32,
            body_rate_min: 240,
        }
    }
}

pub(super) fn read_connection_limits(server: &mut Section<'_, '_>) -> ConnectionLimits {
    let default = ConnectionLimits::default();
    let to_usize = |number: i64| usize::try_from(number).unwrap_or(usize::MAX);
    let to_u32 = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
    let positive = |number: i64| Some(to_u32(number)).filter(|&number| number > 0);
    ConnectionLimits {
        connections: server.integer("max_connections", 1..=10_000_000).map_or(default.connections, to_usize),
        connections_per_client: server
            .integer("max_connections_per_client", 0..=1_000_000)
            .map_or(default.connections_per_client, positive),
        requests: server
            .integer("max_requests_per_connection", 1..=1_000_000_000)
            .map_or(default.requests, i64::unsigned_abs),
        head_len: server.integer("max_header_bytes", 8_192..=1_048_576).map_or(default.head_len, to_usize),
        h2_streams: server.integer("max_h2_streams", 1..=10_000).map_or(default.h2_streams, to_u32),
        h2_resets: server.integer("max_h2_resets", 1..=10_000).map_or(default.h2_resets, to_usize),
        body_rate_min: server
            .integer("min_body_rate", 1..=1_000_000_000)
            .map_or(default.body_rate_min, i64::unsigned_abs),
    }
}
