//! Every metric, once. The names follow Prometheus' conventions: a unit, `_total` for counts, seconds and bytes.

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metric {
    /// The name.
    pub name: &'static str,
    /// What its numbers are.
    pub kind: MetricKind,
    /// The labels of its samples, in order.
    pub labels: &'static [&'static str],
    /// What it means, in a sentence.
    pub help: &'static str,
}

/// What a metric's numbers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Durations, counted in buckets of powers of two from 128 µs to 33.6 s.
    Histogram,
}

impl MetricKind {
    /// As the text format names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            MetricKind::Counter => "counter",
            MetricKind::Gauge => "gauge",
            MetricKind::Histogram => "histogram",
        }
    }
}

macro_rules! metrics {
    ($($constant:ident $kind:ident $name:literal [$($label:literal),*] $help:literal;)*) => {
        $(pub(super) const $constant: Metric =
            Metric { name: $name, kind: MetricKind::$kind, labels: &[$($label),*], help: $help };)*

        /// Every metric there is, in the order of the page.
        pub const METRICS: [Metric; [$($name),*].len()] = [$($constant),*];
    };
}

metrics! {
    BUILD_INFO Gauge "evenly_build_info" ["version"] "1, labelled with the version that runs.";
    REQUESTS Counter "evenly_requests_total" ["code"] "Requests answered, by the status that the client got.";
    DURATION Histogram "evenly_request_duration_seconds" [] "From the request's head to the answer's head.";
    IN_FLIGHT Gauge "evenly_requests_in_flight" [] "Requests whose answer has not ended.";
    BROKEN_OFF Counter "evenly_requests_broken_off_total" [] "Answers that broke off before their last byte.";
    BYTES_IN Counter "evenly_request_body_bytes_total" [] "Bytes of request bodies read from clients.";
    BYTES_OUT Counter "evenly_response_body_bytes_total" [] "Bytes of response bodies given to clients.";
    CONNECTIONS Gauge "evenly_connections_open" [] "Connections of clients.";
    CONNECTIONS_TOTAL Counter "evenly_connections_total" [] "Connections accepted from clients.";
    ACCEPT_ERRORS Counter "evenly_accept_errors_total" [] "Connections that could not be accepted, such as for want of file descriptors.";
    RETRIES Counter "evenly_retries_total" [] "Requests sent again, to another member.";
    QUEUED Gauge "evenly_requests_queued" ["group"] "Requests that wait for a place at a member of the group.";
    PICKS Counter "evenly_member_picks_total" ["group", "member", "algorithm"] "Times the balancer chose the member.";
    RESPONSES Counter "evenly_member_responses_total" ["group", "member", "class"] "Answers of the member, by class of status.";
    FAILURES Counter "evenly_member_failures_total" ["group", "member"] "Attempts at the member without a usable answer.";
    MEMBER_DURATION Histogram "evenly_member_response_duration_seconds" ["group", "member"] "From sending a request to the head of the member's answer.";
    MEMBER_IN_FLIGHT Gauge "evenly_member_requests_in_flight" ["group", "member"] "Requests at the member.";
    MEMBER_UP Gauge "evenly_member_up" ["group", "member"] "1 if the member is healthy.";
    MEMBER_DRAINING Gauge "evenly_member_draining" ["group", "member"] "1 if the member gets no new requests because somebody said so.";
    MEMBER_WEIGHT Gauge "evenly_member_weight" ["group", "member"] "The member's weight.";
    EJECTIONS Counter "evenly_member_ejections_total" ["group", "member"] "Times the member was taken out of service for failing.";
    MEMBER_CONNECTIONS Counter "evenly_member_connections_total" ["group", "member", "kind"] "Connections used for requests to the member: opened for it, or reused.";
    CACHE_REQUESTS Counter "evenly_cache_requests_total" ["result"] "What the cache did with requests.";
    CACHE_ENTRIES Gauge "evenly_cache_entries" [] "Responses in memory.";
    CACHE_BYTES Gauge "evenly_cache_bytes" [] "What of `max_bytes` is taken: each response its bytes, headers and body, but at least max_bytes / capacity.";
    CACHE_EVICTIONS Counter "evenly_cache_evictions_total" [] "Responses that left memory to make room.";
    REDIS_ERRORS Counter "evenly_redis_errors_total" ["kind"] "Operations on Redis that failed: answered by an error, out of time, disconnected, or refused at once because it failed before.";
    REDIS_GIVEN_UP Gauge "evenly_redis_circuit_open" [] "1 while Redis is not asked, because it failed.";
    DNS_LOOKUPS Counter "evenly_dns_lookups_total" ["result"] "Questions to DNS for members by name: answered, or failed so that the last answer stays.";
    RELOADS Counter "evenly_config_reloads_total" ["result"] "Configurations that took effect (the first one too) or were refused.";
    RELOADED_AT Gauge "evenly_config_last_reload_timestamp_seconds" [] "When the configuration in use took effect.";
    LOG_DROPPED Counter "evenly_access_log_dropped_total" [] "Lines of the access log that were dropped because writing could not keep up.";
    STARTED_AT Gauge "process_start_time_seconds" [] "When the process started.";
    CPU Counter "process_cpu_seconds_total" [] "User and system time.";
    RESIDENT Gauge "process_resident_memory_bytes" [] "Resident memory.";
    OPEN_FDS Gauge "process_open_fds" [] "Open file descriptors.";
    MAX_FDS Gauge "process_max_fds" [] "File descriptors allowed.";
}
