//! A moment of wall-clock time, and the dates of HTTP (RFC 9110 §5.6.7).
//!
//! Freshness is arithmetic over seconds since 1970 that must not overflow whatever an origin writes, so every
//! operation here saturates. Recipients must read three forms:
//!
//! ```text
//!     Sun, 06 Nov 1994 08:49:37 GMT        IMF-fixdate
//!     Sunday, 06-Nov-94 08:49:37 GMT       RFC 850: two digits; more than 50 years ahead means last century
//!     Sun Nov  6 08:49:37 1994             asctime
//! ```
//!
//! Anything else is invalid, and an invalid `Expires` means "already stale" (RFC 9111 §5.3). Letters are compared
//! without case, as RFC 9111 §4.2 asks of caches; spacing and digits are strict; a weekday that does not fit the
//! date is forgiven, for it carries no information.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, never negative, never overflowing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(u64);

impl Moment {
    /// The moment of a system clock reading; times before 1970 become 1970.
    pub fn from_system(time: SystemTime) -> Self {
        let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        Self(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
    }

    /// A moment from milliseconds since 1970.
    pub const fn from_millis(millis: u64) -> Self {
        Self(millis)
    }

    /// A moment from whole seconds since 1970.
    pub const fn from_secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1000))
    }

    /// Milliseconds since 1970.
    pub const fn millis(self) -> u64 {
        self.0
    }

    /// Whole seconds since 1970.
    pub const fn secs(self) -> u64 {
        self.0 / 1000
    }

    /// Time passed since `earlier`; zero when `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The moment `by` later.
    pub fn later(self, by: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(by.as_millis()).unwrap_or(u64::MAX)))
    }

    /// Reads one of the three date forms; `now` places two-digit years.
    pub fn parse(text: &[u8], now: Self) -> Option<Self> {
        let words = text.trim_ascii();
        fixdate(words).or_else(|| rfc850(words, now)).or_else(|| asctime(words)).map(Self::from_secs)
    }

    /// This moment as IMF-fixdate, the only form to generate.
    pub fn to_http_date(self) -> String {
        let (days, second) = (self.secs() / 86_400, self.secs() % 86_400);
        // A four-digit year is all the form can say.
        let (year, month, day) = civil_from_days(days.min(DAYS_TO_YEAR_10000 - 1));
        format!(
            "{}, {day:02} {} {year:04} {:02}:{:02}:{:02} GMT",
            capitalised(WEEKDAYS[usize::try_from((days + 3) % 7).unwrap_or(0)]),
            capitalised(MONTHS[usize::try_from(month - 1).unwrap_or(0)]),
            second / 3600,
            second / 60 % 60,
            second % 60
        )
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`
fn fixdate(text: &[u8]) -> Option<u64> {
    if text.len() != 29 || &text[3..5] != b", " || !text[25..].eq_ignore_ascii_case(b" GMT") {
        return None;
    }
    weekday(&text[..3])?;
    if text[7] != b' ' || text[11] != b' ' || text[16] != b' ' {
        return None;
    }
    seconds(number(&text[12..16])?, month(&text[8..11])?, number(&text[5..7])?, &text[17..25])
}

/// `Sunday, 06-Nov-94 08:49:37 GMT`
fn rfc850(text: &[u8], now: Moment) -> Option<u64> {
    let comma = text.iter().position(|&byte| byte == b',')?;
    let (name, rest) = text.split_at(comma);
    if !LONG_WEEKDAYS.iter().any(|long| name.eq_ignore_ascii_case(long.as_bytes())) || rest.len() != 24 {
        return None;
    }
    if &rest[..2] != b", " || rest[4] != b'-' || rest[8] != b'-' || rest[11] != b' ' {
        return None;
    }
    if !rest[20..].eq_ignore_ascii_case(b" GMT") {
        return None;
    }
    let (this_year, _, _) = civil_from_days(now.secs().min(DAYS_TO_YEAR_10000 * 86_400) / 86_400);
    let mut year = this_year - this_year % 100 + number(&rest[9..11])?;
    if year > this_year + 50 {
        year = year.checked_sub(100)?;
    } else if year + 50 < this_year {
        year += 100;
    }
    seconds(year, month(&rest[5..8])?, number(&rest[2..4])?, &rest[12..20])
}

/// `Sun Nov  6 08:49:37 1994`
fn asctime(text: &[u8]) -> Option<u64> {
    if text.len() != 24 || text[3] != b' ' || text[7] != b' ' || text[10] != b' ' || text[19] != b' ' {
        return None;
    }
    weekday(&text[..3])?;
    let day = if text[8] == b' ' { number(&text[9..10])? } else { number(&text[8..10])? };
    seconds(number(&text[20..24])?, month(&text[4..7])?, day, &text[11..19])
}

/// Seconds since 1970 of a date and a `08:49:37`; the leap second 60 counts as the next minute.
fn seconds(year: u64, month: u64, day: u64, clock: &[u8]) -> Option<u64> {
    if clock[2] != b':' || clock[5] != b':' || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let (hour, minute, second) = (number(&clock[..2])?, number(&clock[3..5])?, number(&clock[6..8])?);
    if hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    // Dates before 1970 are valid and long past: the first moment stands for all of them.
    let days = days_from_civil(year, month, day).unwrap_or(0);
    Some(days * 86_400 + hour * 3600 + minute * 60 + second)
}

fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0, |sum: u64, byte| {
        byte.is_ascii_digit().then(|| sum * 10 + u64::from(byte - b'0')) // at most four digits: no overflow
    })
}

fn month(name: &[u8]) -> Option<u64> {
    (1..).zip(MONTHS).find(|(_, known)| name.eq_ignore_ascii_case(known.as_bytes())).map(|(number, _)| number)
}

fn weekday(name: &[u8]) -> Option<()> {
    WEEKDAYS.iter().any(|known| name.eq_ignore_ascii_case(known.as_bytes())).then_some(())
}

fn capitalised(name: &str) -> String {
    let (first, rest) = name.split_at(1);
    first.to_ascii_uppercase() + rest
}

fn is_leap(year: u64) -> bool {
    year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400))
}

fn days_in_month(year: u64, month: u64) -> u64 {
    match month {
        2 => 28 + u64::from(is_leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days from 1970-01-01 to a date of the Gregorian calendar; none before 1970.
fn days_from_civil(year: u64, month: u64, day: u64) -> Option<u64> {
    let before = year.checked_sub(1)?;
    let leap_days = |years: u64| years / 4 - years / 100 + years / 400;
    let since_year_1 = before * 365 + leap_days(before);
    let this_year: u64 = (1..month).map(|month| days_in_month(year, month)).sum::<u64>() + day - 1;
    (since_year_1 + this_year).checked_sub(DAYS_TO_1970)
}

/// The inverse of [`days_from_civil`].
fn civil_from_days(days: u64) -> (u64, u64, u64) {
    // The average year is a little longer than 365 days, so this guess is never too small by more than one.
    let mut year = 1970 + days / 366;
    while days_from_civil(year + 1, 1, 1).is_some_and(|start| start <= days) {
        year += 1;
    }
    let mut rest = days - days_from_civil(year, 1, 1).unwrap_or(0);
    let mut month = 1;
    while rest >= days_in_month(year, month) {
        rest -= days_in_month(year, month);
        month += 1;
    }
    (year, month, rest + 1)
}

const WEEKDAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const LONG_WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS_TO_1970: u64 = 719_162;
const DAYS_TO_YEAR_10000: u64 = 2_932_897;

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Moment = Moment::from_secs(1_790_000_000); // September 2026

    fn parse(text: &str) -> Option<u64> {
        Moment::parse(text.as_bytes(), NOW).map(Moment::secs)
    }

    #[test]
    fn rfc9110_5_6_7_three_forms_mean_the_same_moment() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            assert_eq!(parse(text), Some(784_111_777), "{text}");
        }
    }

    #[test]
    fn every_byte_between_words_and_numbers_is_looked_at() {
        for text in
            ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"]
        {
            for at in (0..text.len()).filter(|&at| !text.as_bytes()[at].is_ascii_alphanumeric()) {
                let other = format!("{}_{}", &text[..at], &text[at + 1..]);
                assert_eq!(parse(&other), None, "{other:?}");
            }
        }
    }

    #[test]
    fn rfc9110_5_6_7_two_digit_years_more_than_fifty_ahead_are_past() {
        assert_eq!(parse("Thursday, 18-Aug-50 02:01:18 GMT"), parse("Thu, 18 Aug 2050 02:01:18 GMT"));
        assert_eq!(parse("Sunday, 06-Nov-76 00:00:00 GMT"), parse("Fri, 06 Nov 2076 00:00:00 GMT"));
        assert_eq!(parse("Sunday, 06-Nov-77 00:00:00 GMT"), parse("Sun, 06 Nov 1977 00:00:00 GMT"));
    }

    #[test]
    fn rfc9111_4_2_names_are_compared_without_case() {
        assert!(parse("THU, 18 AUG 2050 02:01:18 gmt").is_some());
    }

    #[test]
    fn anything_else_is_invalid() {
        for text in [
            "",
            "0",
            "-1",
            "Thu, 18 Aug 2050 02:01:18 UTC",
            "Thu, 18 Aug 2050 02:01:18 AEST",
            "Thu, 18 Aug 50 02:01:18 GMT",
            "Thu 18 Aug 2050 02:01:18 GMT",
            "Thu, 18  Aug  2050 02:01:18 GMT",
            "Thu, 18-Aug-2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 02.01.18 GMT",
            "Thu, 18 Aug 2050 2:01:18 GMT",
            "Thu, 31 Feb 2050 02:01:18 GMT",
            "Thu, 18 Aug 2050 24:01:18 GMT",
            "Xyz, 18 Aug 2050 02:01:18 GMT",
        ] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn dates_before_1970_are_the_first_moment() {
        assert_eq!(parse("Thu, 18 Aug 0001 00:00:00 GMT"), Some(0));
        assert_eq!(parse("Thu, 18 Aug 0000 00:00:00 GMT"), Some(0));
    }

    #[test]
    fn every_day_for_eight_thousand_years_survives_the_round_trip() {
        for days in (0..DAYS_TO_YEAR_10000).step_by(97).chain([DAYS_TO_YEAR_10000 - 1]) {
            let moment = Moment::from_secs(days * 86_400 + days % 86_400);
            assert_eq!(Moment::parse(moment.to_http_date().as_bytes(), NOW), Some(moment), "{days}");
        }
        assert_eq!(Moment::from_secs(784_111_777).to_http_date(), "Sun, 06 Nov 1994 08:49:37 GMT");
        assert!(Moment::from_millis(u64::MAX).to_http_date().contains(" 9999 "));
    }
}
