//! From numbers to places on the sheet.

/// How an axis counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// Equal steps.
    Linear,
    /// Equal ratios.
    Log,
}

/// A stretch of numbers on a stretch of the sheet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Axis {
    /// All of `values`, from one place to another, with a little room.
    pub(super) fn over(scale: Scale, values: impl Iterator<Item = f64>, from: f64, to: f64) -> Self {
        let values = values.filter(|value| value.is_finite() && (scale == Scale::Linear || *value > 0.0));
        let (mut low, mut high) =
            values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), v| (low.min(v), high.max(v)));
        if !low.is_finite() {
            (low, high) = (1.0, 10.0);
        }
        match scale {
            Scale::Linear if high <= low => high = low + 1.0,
            Scale::Linear => {}
            Scale::Log => (low, high) = (low / ROOM, high * ROOM),
        }
        Self { scale, low, high, from, to }
    }

    /// From exactly `low` to exactly `high`.
    pub(super) fn exactly(scale: Scale, low: f64, high: f64, from: f64, to: f64) -> Self {
        Self { scale, low, high, from, to }
    }

    pub(super) fn place(&self, value: f64) -> f64 {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        self.from + part * (self.to - self.from)
    }

    /// The numbers that are named: round ones, neither lonely nor crowded.
    pub(super) fn ticks(&self) -> Vec<f64> {
        match self.scale {
            Scale::Linear => {
                let step = round_step((self.high - self.low) / 6.0);
                let first = (self.low / step).ceil() as i64;
                let last = (self.high / step + 1e-9).floor() as i64;
                (first..=last).map(|n| n as f64 * step).collect()
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10();
                let digits: &[f64] = match decades {
                    ..1.6 => &[1.0, 2.0, 5.0],
                    ..2.6 => &[1.0, 3.0],
                    _ => &[1.0],
                };
                let exponents = self.low.log10().floor() as i32..=self.high.log10().ceil() as i32;
                let all = exponents.flat_map(|e| digits.iter().map(move |digit| digit * 10_f64.powi(e)));
                all.filter(|tick| *tick >= self.low * 0.999 && *tick <= self.high * 1.001).collect()
            }
        }
    }
}

/// 1, 2 or 5 and zeros.
fn round_step(rough: f64) -> f64 {
    let power = 10_f64.powf(rough.log10().floor());
    [1.0, 2.0, 5.0, 10.0].into_iter().map(|digit| digit * power).find(|step| *step >= rough).unwrap_or(rough)
}

/// A number as a reader wants it: `10,000`, `0.25`.
pub(super) fn named(value: f64) -> String {
    if value >= 1000.0 {
        let whole = format!("{value:.0}");
        let mut out = String::new();
        for (at, digit) in whole.chars().enumerate() {
            if at > 0 && (whole.len() - at).is_multiple_of(3) {
                out.push(',');
            }
            out.push(digit);
        }
        return out;
    }
    let text = format!("{value:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Beyond the lowest and the highest.
const ROOM: f64 = 1.15;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_name_round_numbers_within_them() {
        let linear = Axis::exactly(Scale::Linear, 0.0, 100.0, 0.0, 1.0);
        assert_eq!(linear.ticks(), [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let log = Axis::exactly(Scale::Log, 0.5, 8.0, 0.0, 1.0);
        assert_eq!(log.ticks(), [0.5, 1.0, 2.0, 5.0]);
        let wide = Axis::exactly(Scale::Log, 1.0, 10_000.0, 0.0, 400.0);
        assert_eq!(wide.ticks(), [1.0, 10.0, 100.0, 1000.0, 10_000.0]);
        assert!((wide.place(100.0) - 200.0).abs() < 1e-9);
    }

    #[test]
    fn an_axis_over_nothing_is_still_one() {
        assert!(Axis::over(Scale::Log, [].into_iter(), 0.0, 1.0).place(2.0).is_finite());
        assert!(Axis::over(Scale::Linear, [3.0].into_iter(), 0.0, 1.0).place(3.0).is_finite());
    }

    #[test]
    fn numbers_have_commas_and_no_idle_zeros() {
        assert_eq!([0.25, 1.0, 10_000.0, 1_234_567.0].map(named), ["0.25", "1", "10,000", "1,234,567"]);
    }
}
