//! Times as the archive stores them: UTC text of one fixed width, so that text order is time order.
//!
//! In: what the platform sent, in any of the forms it is known to send. Out: [`UtcText`], or nothing
//! where the text names no instant. Nothing here reads a clock: `now` is always an argument.

pub(crate) mod period;
pub(crate) mod zone;

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, Timelike, Utc};

/// Ticks of 100 ns, the resolution of the platform's clock (.NET).
const TICKS_PER_SECOND: i64 = 10_000_000;

/// An instant as `2023-09-14T12:00:09.8010860Z`: 28 bytes, seven fractional digits, years 0001 to 9999.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UtcText([u8; 28]);

impl UtcText {
    /// The first instant that there is a text for.
    pub const MIN: Self = Self(*b"0001-01-01T00:00:00.0000000Z");
    /// The last instant that there is a text for.
    pub(crate) const MAX: Self = Self(*b"9999-12-31T23:59:59.9999999Z");

    /// The instant that `sent` names, or `None` for "never" (`0001-01-01T00:00:00Z`) and for nonsense.
    ///
    /// Read are ISO 8601 with any number of fractional digits (more than seven are cut), with `Z`, an
    /// offset, or no zone at all, which is taken as UTC: the platform's clock is UTC throughout.
    pub fn parse_sent(sent: &str) -> Option<Self> {
        let parsed = Self::parse_usual(sent.as_bytes()).or_else(|| Self::parse_unusual(sent))?;
        // 0001-01-01 is .NET's default value of a date, which says that the field was never set.
        (!parsed.as_str().starts_with("0001-01-01T")).then_some(parsed)
    }

    /// The form that nearly every answer uses, `YYYY-MM-DDTHH:MM:SS[.f{1,7}]Z`, without allocation.
    fn parse_usual(sent: &[u8]) -> Option<Self> {
        let (head, tail) = sent.split_at_checked(19)?;
        let number = |range: std::ops::Range<usize>| {
            head[range].iter().try_fold(0_u32, |sum, digit| {
                digit.is_ascii_digit().then(|| sum * 10 + u32::from(digit - b'0'))
            })
        };
        let separators = [(4, b'-'), (7, b'-'), (10, b'T'), (13, b':'), (16, b':')];
        if separators.iter().any(|&(at, byte)| head[at] != byte) {
            return None;
        }
        NaiveDate::from_ymd_opt(i32::try_from(number(0..4)?).ok()?, number(5..7)?, number(8..10)?)?;
        if number(0..4)? == 0 || number(11..13)? > 23 || number(14..16)? > 59 || number(17..19)? > 59 {
            return None;
        }
        let fraction = match tail {
            [b'Z'] => &tail[..0],
            [b'.', digits @ .., b'Z'] if (1..=7).contains(&digits.len()) => digits,
            _ => return None,
        };
        if !fraction.iter().all(u8::is_ascii_digit) {
            return None;
        }
        let mut text = *b"0000-00-00T00:00:00.0000000Z";
        text[..19].copy_from_slice(head);
        text[20..20 + fraction.len()].copy_from_slice(fraction);
        Some(Self(text))
    }

    fn parse_unusual(sent: &str) -> Option<Self> {
        let sent = sent.trim();
        if let Ok(time) = DateTime::parse_from_rfc3339(sent) {
            return Self::from_datetime(&time.with_timezone(&Utc));
        }
        ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f"]
            .iter()
            .find_map(|form| NaiveDateTime::parse_from_str(sent, form).ok())
            .and_then(|time| Self::from_datetime(&time.and_utc()))
    }

    /// The instant of a clock's reading; `None` outside the years 0001 to 9999.
    pub(crate) fn from_datetime(time: &DateTime<Utc>) -> Option<Self> {
        if !(1..=9999).contains(&time.year()) {
            return None;
        }
        // A leap second is nanoseconds past 10^9: clamp it, or the width breaks.
        let time = time.with_nanosecond(time.nanosecond().min(999_999_999))?;
        let fraction = time.nanosecond() / 100;
        let text = format!("{}.{fraction:07}Z", time.format("%Y-%m-%dT%H:%M:%S"));
        text.into_bytes().try_into().ok().map(Self)
    }

    /// A clock's reading, as [`datetime_of_clock`] gives it.
    pub fn of_clock(reading: SystemTime) -> Self {
        Self::from_datetime(&datetime_of_clock(reading)).unwrap_or(Self::MAX)
    }

    /// Reads a time back from the database, where only the fixed width occurs.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        (text.len() == 28).then(|| Self::parse_usual(text.as_bytes())).flatten()
    }

    /// As the database holds it: 28 characters, whatever the time, so that texts sort as times do.
    pub fn as_str(&self) -> &str {
        // Every constructor writes ASCII only.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// The text as the platform writes it: trailing zeros of the fraction trimmed, no fraction if zero.
    pub(crate) fn as_sent(&self) -> String {
        let trimmed = self.as_str()[..27].trim_end_matches('0').trim_end_matches('.');
        format!("{trimmed}Z")
    }

    /// Whether [`Self::as_sent`] would give back exactly `sent`.
    pub(crate) fn gives_back(&self, sent: &str) -> bool {
        let trimmed = self.as_str()[..27].trim_end_matches('0').trim_end_matches('.');
        sent.strip_suffix('Z') == Some(trimmed)
    }

    /// 100 ns ticks since 1970.
    fn ticks(&self) -> i64 {
        let number = |range: std::ops::Range<usize>| {
            self.0[range].iter().fold(0_i64, |sum, digit| sum * 10 + i64::from(digit - b'0'))
        };
        // Years 1 to 9999 and the months and days of a valid date fit these types.
        let date = NaiveDate::from_ymd_opt(number(0..4) as i32, number(5..7) as u32, number(8..10) as u32);
        let days = date.map_or(0, |date| i64::from(date.num_days_from_ce()) - 719_163);
        let seconds = days * 86_400 + number(11..13) * 3_600 + number(14..16) * 60 + number(17..19);
        seconds * TICKS_PER_SECOND + number(20..27)
    }

    /// Whole milliseconds since 1970, negative before.
    pub(crate) fn unix_ms(&self) -> i64 {
        self.ticks().div_euclid(10_000)
    }

    /// The instant of so many milliseconds since 1970; `None` outside the years 0001 to 9999.
    pub(crate) fn from_unix_ms(milliseconds: i64) -> Option<Self> {
        Self::from_datetime(&DateTime::from_timestamp_millis(milliseconds)?)
    }

    /// Whole milliseconds from `self` to `later`; `None` where `later` is before `self`.
    pub(crate) fn milliseconds_until(&self, later: &Self) -> Option<i64> {
        let ticks = later.ticks() - self.ticks();
        (ticks >= 0).then_some(ticks / 10_000)
    }
}

impl Serialize for UtcText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for UtcText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::from_stored(&text).ok_or_else(|| de::Error::custom("not a time of the archive's form"))
    }
}

impl fmt::Display for UtcText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for UtcText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A clock's reading, which may be before 1970, where chrono's own `Utc::now` panics. A clock outside the years
/// 0001 to 9999, which no text of the archive can hold, is taken to show the nearest instant inside them.
pub fn datetime_of_clock(reading: SystemTime) -> DateTime<Utc> {
    let ticks = |since: Duration| i64::try_from(since.as_nanos() / 100).unwrap_or(i64::MAX);
    let since = match reading.duration_since(UNIX_EPOCH) {
        Ok(since) => ticks(since),
        Err(error) => -ticks(error.duration()),
    };
    let since = since.clamp(UtcText::MIN.ticks(), UtcText::MAX.ticks());
    let (seconds, ticks) = (since.div_euclid(TICKS_PER_SECOND), since.rem_euclid(TICKS_PER_SECOND));
    DateTime::from_timestamp(seconds, ticks as u32 * 100).unwrap_or_default()
}

/// How long ago, in the largest unit that leaves a readable number: `12 min ago`, `3 days ago`.
pub(crate) fn ago(then: &UtcText, now: &UtcText) -> String {
    let Some(milliseconds) = then.milliseconds_until(now) else {
        return "in the future".to_owned();
    };
    let minutes = milliseconds / 60_000;
    match minutes {
        0 => "just now".to_owned(),
        1..120 => format!("{minutes} min ago"),
        120..2_880 => format!("{} h ago", minutes / 60),
        _ => format!("{} days ago", minutes / 1_440),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_the_platform_is_known_to_send_becomes_one_width() {
        let stored = |sent| UtcText::parse_sent(sent).map(|time| time.to_string());
        let cases = [
            ("2023-09-14T12:00:06.8727565Z", "2023-09-14T12:00:06.8727565Z"),
            ("2023-09-14T12:00:09.801086Z", "2023-09-14T12:00:09.8010860Z"),
            ("2023-09-14T12:00:09Z", "2023-09-14T12:00:09.0000000Z"),
            ("2023-09-14T14:00:09.5+02:00", "2023-09-14T12:00:09.5000000Z"),
            ("2023-09-14T12:00:09.123456789Z", "2023-09-14T12:00:09.1234567Z"),
            ("2023-09-14T12:00:09", "2023-09-14T12:00:09.0000000Z"),
            ("2016-12-31T23:59:60Z", "2016-12-31T23:59:59.9999999Z"),
        ];
        for (sent, expected) in cases {
            assert_eq!(stored(sent).as_deref(), Some(expected), "{sent}");
        }
    }

    #[test]
    fn never_and_nonsense_are_no_time() {
        for sent in [
            "0001-01-01T00:00:00Z",
            "02/15/2022 08:24:45",
            "",
            "soon",
            "2023-02-30T00:00:00Z",
            "２023-09-14T12:00:06Z",
            "+12023-09-14T12:00:06Z",
        ] {
            assert_eq!(UtcText::parse_sent(sent), None, "{sent}");
        }
    }

    #[test]
    fn every_reading_of_a_clock_is_a_time() {
        let read = |reading: Option<SystemTime>| UtcText::of_clock(reading.unwrap()).to_string();
        assert_eq!(read(Some(UNIX_EPOCH)), "1970-01-01T00:00:00.0000000Z");
        assert_eq!(read(UNIX_EPOCH.checked_sub(Duration::from_millis(250))), "1969-12-31T23:59:59.7500000Z");
        for seconds in [300_000_000_000, 1 << 55, 1 << 62] {
            let far = Duration::from_secs(seconds);
            assert_eq!(read(UNIX_EPOCH.checked_sub(far)), UtcText::MIN.to_string());
            assert_eq!(read(UNIX_EPOCH.checked_add(far)), UtcText::MAX.to_string());
        }
    }

    #[test]
    fn a_duration_is_whole_milliseconds_and_never_negative() {
        let time = |sent| UtcText::parse_sent(sent).unwrap();
        let (start, end) = (time("2024-02-28T23:59:59.9999Z"), time("2024-03-01T00:00:00.001Z"));
        assert_eq!(start.milliseconds_until(&end), Some(86_400_001));
        assert_eq!(end.milliseconds_until(&start), None);
    }

    proptest! {
        #[test]
        fn text_order_is_time_order_and_trimming_is_undone(a in -62_000_000_000_i64..250_000_000_000, b in -62_000_000_000_i64..250_000_000_000, fraction in 0_u32..10_000_000) {
            let text = |seconds| UtcText::from_datetime(&DateTime::from_timestamp(seconds, fraction * 100).unwrap()).unwrap();
            let (first, second) = (text(a), text(b));
            prop_assert_eq!(a.cmp(&b), first.cmp(&second));
            prop_assert_eq!(first.ticks(), a * TICKS_PER_SECOND + i64::from(fraction));
            prop_assert!(first.gives_back(&first.as_sent()));
            prop_assert_eq!(UtcText::from_stored(first.as_str()), Some(first));
        }

        #[test]
        fn no_text_is_refused_with_a_panic(sent in ".*") {
            let _ = UtcText::parse_sent(&sent);
        }
    }
}
