//! Prometheus' text format, version 0.0.4.

use std::fmt::Write;

use super::table::{Metric, MetricKind};
use crate::observe::Snapshot;

/// A page being written.
#[derive(Debug, Default)]
pub(super) struct Page {
    text: String,
}

impl Page {
    /// Begins `metric`; its samples follow.
    pub(super) fn metric(&mut self, metric: &Metric) -> Samples<'_> {
        let Metric { name, kind, help, .. } = metric;
        // Writing to a String cannot fail, here and below.
        let _ = writeln!(self.text, "# HELP {name} {help}\n# TYPE {name} {}", kind.name());
        Samples { text: &mut self.text, metric: *metric }
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}

/// The samples of one metric.
#[derive(Debug)]
pub(super) struct Samples<'p> {
    text: &'p mut String,
    metric: Metric,
}

impl Samples<'_> {
    /// One sample, with a value for each label.
    pub(super) fn value(&mut self, labels: &[&str], value: impl Into<Number>) {
        let name = self.metric.name;
        let value = value.into();
        let _ = writeln!(self.text, "{name}{} {value}", self.labelled(labels, None));
    }

    /// The buckets, sum and count of a histogram.
    pub(super) fn histogram(&mut self, labels: &[&str], durations: &Snapshot) {
        debug_assert_eq!(self.metric.kind, MetricKind::Histogram);
        let name = self.metric.name;
        for exponent in BUCKETS {
            let bound = ((1u64 << exponent) as f64 / 1e6).to_string();
            let below = durations.below_power_of_two(exponent);
            let _ = writeln!(self.text, "{name}_bucket{} {below}", self.labelled(labels, Some(&bound)));
        }
        let count = durations.count();
        let _ = writeln!(self.text, "{name}_bucket{} {count}", self.labelled(labels, Some("+Inf")));
        let plain = self.labelled(labels, None);
        let _ = writeln!(self.text, "{name}_sum{plain} {}", durations.sum().as_secs_f64());
        let _ = writeln!(self.text, "{name}_count{plain} {count}");
    }

    fn labelled(&self, values: &[&str], bound: Option<&str>) -> String {
        debug_assert_eq!(values.len(), self.metric.labels.len(), "labels of {}", self.metric.name);
        let named = self.metric.labels.iter().copied().zip(values.iter().copied());
        let pairs: Vec<String> = named
            .chain(bound.map(|bound| ("le", bound)))
            .map(|(label, value)| format!("{label}=\"{}\"", escaped(value)))
            .collect();
        if pairs.is_empty() { String::new() } else { format!("{{{}}}", pairs.join(",")) }
    }
}

/// A sample's number: counts are exact.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Count(u64),
    Real(f64),
}

impl From<u64> for Number {
    fn from(count: u64) -> Self {
        Number::Count(count)
    }
}

impl From<f64> for Number {
    fn from(real: f64) -> Self {
        Number::Real(real)
    }
}

impl From<bool> for Number {
    fn from(yes: bool) -> Self {
        Number::Count(yes.into())
    }
}

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Number::Count(count) => count.fmt(f),
            Number::Real(real) => real.fmt(f),
        }
    }
}

fn escaped(value: &str) -> String {
    value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

/// Powers of two of a microsecond: 128 µs, 256 µs, … 33.6 s.
const BUCKETS: std::ops::RangeInclusive<u32> = 7..=25;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::observe::Histogram;

    const METRIC: Metric =
        Metric { name: "m_seconds", kind: MetricKind::Histogram, labels: &["a"], help: "Help." };

    #[test]
    fn histograms_are_cumulative_and_end_in_their_count() {
        let histogram = Histogram::default();
        for micros in [100, 200, 100_000_000] {
            histogram.record(Duration::from_micros(micros));
        }
        let mut page = Page::default();
        page.metric(&METRIC).histogram(&["x\"y\\"], &histogram.snapshot());
        let text = page.into_text();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "# HELP m_seconds Help.");
        assert_eq!(lines[1], "# TYPE m_seconds histogram");
        assert_eq!(lines[2], r#"m_seconds_bucket{a="x\"y\\",le="0.000128"} 1"#);
        assert_eq!(lines[3], r#"m_seconds_bucket{a="x\"y\\",le="0.000256"} 2"#);
        assert_eq!(lines[20], r#"m_seconds_bucket{a="x\"y\\",le="33.554432"} 2"#);
        assert_eq!(lines[21], r#"m_seconds_bucket{a="x\"y\\",le="+Inf"} 3"#);
        assert_eq!(lines[22], r#"m_seconds_sum{a="x\"y\\"} 100.0003"#);
        assert_eq!(lines[23], r#"m_seconds_count{a="x\"y\\"} 3"#);
    }
}
