//! Where each number of the metrics page comes from.

use super::{
    exposition::Page,
    process,
    table::{self, Metric},
};
use crate::observe::{CacheFacts, Counters, GroupFacts, MemberFacts, NameFacts};

/// Everything that is read for one page.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sources<'s> {
    pub(crate) counters: &'s Counters,
    pub(crate) groups: &'s [GroupFacts],
    pub(crate) cache: CacheFacts,
    pub(crate) names: NameFacts,
    pub(crate) access_log_dropped: u64,
}

/// The page as Prometheus reads it.
pub(crate) fn render(sources: &Sources<'_>) -> String {
    let mut page = Page::default();
    page.metric(&table::BUILD_INFO).value(&[env!("CARGO_PKG_VERSION")], true);
    requests(&mut page, sources.counters);
    members(&mut page, sources.groups);
    cache(&mut page, sources);
    let counters = sources.counters;
    let mut lookups = page.metric(&table::DNS_LOOKUPS);
    lookups.value(&["answered"], sources.names.answered);
    lookups.value(&["failed"], sources.names.failed);
    let mut reloads = page.metric(&table::RELOADS);
    reloads.value(&["done"], counters.reloads.done.count());
    reloads.value(&["refused"], counters.reloads.refused.count());
    page.metric(&table::RELOADED_AT).value(&[], counters.reloads.last_done());
    page.metric(&table::LOG_DROPPED).value(&[], sources.access_log_dropped);
    page.metric(&table::STARTED_AT).value(&[], process::started_at());
    if let Some(seconds) = process::cpu_seconds() {
        page.metric(&table::CPU).value(&[], seconds);
    }
    for (metric, number) in [
        (&table::RESIDENT, process::resident_bytes()),
        (&table::OPEN_FDS, process::open_fds()),
        (&table::MAX_FDS, process::max_fds()),
    ] {
        if let Some(number) = number {
            page.metric(metric).value(&[], number);
        }
    }
    page.into_text()
}

fn requests(page: &mut Page, counters: &Counters) {
    let mut requests = page.metric(&table::REQUESTS);
    for (status, count) in counters.statuses.seen() {
        requests.value(&[&status.to_string()], count);
    }
    page.metric(&table::DURATION).histogram(&[], &counters.latency.snapshot());
    for (metric, number) in [
        (&table::IN_FLIGHT, counters.in_flight.level()),
        (&table::BROKEN_OFF, counters.broken_off.count()),
        (&table::BYTES_IN, counters.bytes_in.count()),
        (&table::BYTES_OUT, counters.bytes_out.count()),
        (&table::CONNECTIONS, counters.connections.level()),
        (&table::CONNECTIONS_TOTAL, counters.connections_total.count()),
        (&table::ACCEPT_ERRORS, counters.accept_errors.count()),
        (&table::RETRIES, counters.retries.count()),
    ] {
        page.metric(metric).value(&[], number);
    }
}

fn members(page: &mut Page, groups: &[GroupFacts]) {
    let all = || groups.iter().flat_map(|group| group.members.iter().map(move |member| (group, member)));
    let mut queued = page.metric(&table::QUEUED);
    for group in groups {
        queued.value(&[&group.name], u64::from(group.queued));
    }
    let mut picks = page.metric(&table::PICKS);
    for (group, member) in all() {
        picks.value(&[&group.name, &member.id, group.algorithm], member.picks);
    }
    let mut responses = page.metric(&table::RESPONSES);
    for (group, member) in all() {
        for (class, count) in member.counters.by_class() {
            responses.value(&[&group.name, &member.id, class], count);
        }
    }
    let mut durations = page.metric(&table::MEMBER_DURATION);
    for (group, member) in all() {
        durations.histogram(&[&group.name, &member.id], &member.counters.latency.snapshot());
    }
    type Number = fn(&MemberFacts) -> u64;
    let by_member: [(&Metric, Number); 6] = [
        (&table::FAILURES, |member| member.counters.failures.count()),
        (&table::MEMBER_IN_FLIGHT, |member| member.in_flight.into()),
        (&table::MEMBER_UP, |member| member.is_up.into()),
        (&table::MEMBER_DRAINING, |member| member.is_draining.into()),
        (&table::MEMBER_WEIGHT, |member| member.weight.into()),
        (&table::EJECTIONS, |member| member.counters.ejections.count()),
    ];
    for (metric, number) in by_member {
        let mut samples = page.metric(metric);
        for (group, member) in all() {
            samples.value(&[&group.name, &member.id], number(member));
        }
    }
    let mut connections = page.metric(&table::MEMBER_CONNECTIONS);
    for (group, member) in all() {
        let counters = &member.counters;
        connections.value(&[&group.name, &member.id, "opened"], counters.connections_opened.count());
        connections.value(&[&group.name, &member.id, "reused"], counters.connections_reused.count());
    }
}

fn cache(page: &mut Page, sources: &Sources<'_>) {
    let mut requests = page.metric(&table::CACHE_REQUESTS);
    for (result, count) in sources.cache.by_result() {
        requests.value(&[result], count);
    }
    page.metric(&table::CACHE_ENTRIES).value(&[], sources.cache.entries);
    page.metric(&table::CACHE_BYTES).value(&[], sources.cache.bytes);
    page.metric(&table::CACHE_EVICTIONS).value(&[], sources.cache.evictions);
    let mut errors = page.metric(&table::REDIS_ERRORS);
    for (kind, count) in sources.cache.redis.by_kind() {
        errors.value(&[kind], count);
    }
    page.metric(&table::REDIS_GIVEN_UP).value(&[], u64::from(sources.cache.redis.is_given_up));
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, sync::Arc, time::Duration};

    use http::StatusCode;

    use super::*;
    use crate::observe::{METRICS, MemberCounters, MetricKind};

    fn page() -> String {
        let counters = Counters::default();
        counters.answered(Duration::from_millis(1), StatusCode::OK);
        counters.accept_errors.add(7);
        let of_member = Arc::new(MemberCounters::default());
        of_member.answered(StatusCode::NOT_FOUND, Duration::from_millis(3));
        let member = MemberFacts {
            id: "127.0.0.1:6000".into(),
            weight: 7,
            is_up: true,
            is_draining: false,
            in_flight: 2,
            picks: 11,
            counters: of_member,
            pace: None,
        };
        let groups =
            [GroupFacts { name: "default".into(), algorithm: "p2c", queued: 12, members: vec![member] }];
        let cache = CacheFacts { hits: 6, entries: 3, bytes: 4, evictions: 5, ..CacheFacts::default() };
        let names = NameFacts { answered: 8, failed: 9 };
        render(&Sources { counters: &counters, groups: &groups, cache, names, access_log_dropped: 13 })
    }

    #[test]
    fn every_metric_of_the_table_is_on_the_page_once_and_no_other() {
        let page = page();
        let types: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
        let on_page: BTreeSet<String> = types.iter().map(ToString::to_string).collect();
        let in_table: BTreeSet<String> =
            METRICS.iter().map(|metric| format!("{} {}", metric.name, metric.kind.name())).collect();
        assert_eq!(on_page, in_table);
        assert_eq!(types.len(), METRICS.len());
    }

    #[test]
    fn names_and_labels_follow_the_conventions() {
        for metric in METRICS {
            let name = metric.name;
            assert!(name.starts_with("evenly_") || name.starts_with("process_"), "{name}");
            assert_eq!(name.ends_with("_total"), metric.kind == MetricKind::Counter, "{name}");
            assert!(metric.kind != MetricKind::Histogram || name.ends_with("_seconds"), "{name}");
            assert!(metric.help.ends_with('.'), "{name}");
        }
    }

    #[test]
    fn every_sample_has_the_labels_of_the_table() {
        for line in page().lines().filter(|line| !line.starts_with('#')) {
            let (sample, number) = line.rsplit_once(' ').unwrap();
            assert!(number.parse::<f64>().is_ok(), "{line}");
            let (name, labels) = sample.split_once('{').unwrap_or((sample, "}"));
            let base = ["_bucket", "_sum", "_count"].iter().find_map(|end| name.strip_suffix(end));
            let metric = METRICS
                .iter()
                .find(|metric| metric.name == name || Some(metric.name) == base)
                .unwrap_or_else(|| panic!("{name} is not in the table"));
            for label in metric.labels {
                assert!(labels.contains(&format!("{label}=\"")), "{line} has no {label}");
            }
        }
    }

    #[test]
    fn numbers_are_those_that_were_counted() {
        let page = page();
        for line in [
            "evenly_requests_total{code=\"200\"} 1",
            "evenly_member_picks_total{group=\"default\",member=\"127.0.0.1:6000\",algorithm=\"p2c\"} 11",
            "evenly_member_responses_total{group=\"default\",member=\"127.0.0.1:6000\",class=\"4xx\"} 1",
            "evenly_member_weight{group=\"default\",member=\"127.0.0.1:6000\"} 7",
            "evenly_member_requests_in_flight{group=\"default\",member=\"127.0.0.1:6000\"} 2",
            "evenly_cache_requests_total{result=\"hit\"} 6",
            "evenly_cache_entries 3",
            "evenly_cache_bytes 4",
            "evenly_cache_evictions_total 5",
            "evenly_requests_queued{group=\"default\"} 12",
            "evenly_dns_lookups_total{result=\"answered\"} 8",
            "evenly_dns_lookups_total{result=\"failed\"} 9",
            "evenly_accept_errors_total 7",
            "evenly_access_log_dropped_total 13",
            concat!("evenly_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
        ] {
            assert!(page.lines().any(|found| found == line), "{line} is not in:\n{page}");
        }
        assert!(page.contains("evenly_request_duration_seconds_count 1"));
    }
}
