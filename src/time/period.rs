//! What `--since`, `--until` and `--compare` mean: words and dates to half-open periods.
//!
//! In: text as typed, the zone whose days count, and the instant that is now. Out: instants. A date is
//! the start of that day, so `--until 2026-11-23` ends before it; `7d` is the start of the day seven days
//! ago, and lengths in hours or less count back from now.

use chrono::{Datelike as _, Days, Months, NaiveDate, NaiveDateTime};
use serde::{Deserialize, Serialize};

use super::UtcText;
use super::zone::Zone;

/// Days of a period that nobody names.
const DEFAULT_DAYS: u64 = 7;

/// How long before a period what is usual is told by, where nobody says.
pub(crate) const BASELINE: &str = "8w";

/// `[since, until)`, and never empty.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Period {
    pub since: UtcText,
    /// Its end, not included.
    pub until: UtcText,
}

/// What was typed stands for an instant, or for a period by itself.
enum Meaning {
    Instant(UtcText),
    /// Counted in whole days: it ends where today begins.
    FullDays(UtcText),
    Period(UtcText, UtcText),
}

impl Period {
    /// Joins `--since` and `--until`: by default the last seven full days. Without `until`, whole days such
    /// as `7d` end where today begins, `last-week` where it ended, and anything else now.
    ///
    /// # Errors
    /// What cannot be read, or is empty, in words that fit after the option's name.
    pub(crate) fn parse(
        since: Option<&str>,
        until: Option<&str>,
        zone: &Zone,
        now: &UtcText,
    ) -> Result<Self, String> {
        let today = day(zone, zone.date(now))?;
        let until_typed = until.map(|text| parse_instant(text, zone, now)).transpose();
        let until_typed = until_typed.map_err(|problem| format!("--until: {problem}"))?;
        let (since, until) = match since {
            None => {
                let until = until_typed.unwrap_or(today);
                (back(zone, &until, DEFAULT_DAYS)?, until)
            }
            Some(text) => match parse(text, zone, now).map_err(|problem| format!("--since: {problem}"))? {
                Meaning::Instant(since) => (since, until_typed.unwrap_or(*now)),
                Meaning::FullDays(since) => (since, until_typed.unwrap_or(today)),
                Meaning::Period(since, until) => (since, until_typed.unwrap_or(until)),
            },
        };
        // An empty period would give a report of zeros that looks like a quiet week.
        if since >= until {
            return Err(format!(
                "the period is empty: it would begin at {} and end at {}",
                zone.show_minute(&since),
                zone.show_minute(&until)
            ));
        }
        Ok(Self { since, until })
    }

    /// The period of the same length before this one: of as many days where it begins and ends with a day,
    /// or of as many milliseconds.
    ///
    /// # Errors
    /// It would begin before the year 1.
    pub(crate) fn before(&self, zone: &Zone) -> Result<Self, String> {
        let since = if zone.is_start_of_day(&self.since) && zone.is_start_of_day(&self.until) {
            let days = (zone.date(&self.until) - zone.date(&self.since)).num_days();
            back(zone, &self.since, days.unsigned_abs())?
        } else {
            self.since.minus(self.length_ticks()).ok_or_else(too_early)?
        };
        Ok(Self { since, until: self.since })
    }

    /// Reads `--compare`: `previous`, a length such as `8w` that ends where this period begins, the start of a
    /// period of the same length, or `START..END`.
    pub(crate) fn parse_compared(&self, text: &str, zone: &Zone, now: &UtcText) -> Result<Self, String> {
        if text == "previous" {
            return self.before(zone);
        }
        if let Some((since, until)) = text.split_once("..") {
            return Self::parse(Some(since), Some(until), zone, now);
        }
        if let Some(length) = Length::parse(text)? {
            return self.preceded(&length, text, zone);
        }
        let since = match parse(text, zone, now)? {
            Meaning::Period(since, until) => return Ok(Self { since, until }),
            Meaning::Instant(since) | Meaning::FullDays(since) => since,
        };
        let is_days = [&self.since, &self.until, &since].iter().all(|time| zone.is_start_of_day(time));
        let until = if is_days {
            let days = (zone.date(&self.until) - zone.date(&self.since)).num_days();
            zone.date(&since)
                .checked_add_days(Days::new(days.unsigned_abs()))
                .and_then(|date| zone.start_of(date))
        } else {
            since.minus(-self.length_ticks())
        };
        Ok(Self { since, until: until.ok_or("it would end after the year 9999")? })
    }

    /// Reads `--baseline`: a length such as `8w` that ends where this period begins.
    ///
    /// # Errors
    /// It is no length, is none at all, or would begin before the year 1.
    pub(crate) fn baseline(&self, text: &str, zone: &Zone) -> Result<Self, String> {
        let length = Length::parse(text)?
            .ok_or_else(|| format!("'{text}' is no length of time (write 8w, 56d or 36h)"))?;
        self.preceded(&length, text, zone)
    }

    /// The time of this length before the period.
    fn preceded(&self, length: &Length, text: &str, zone: &Zone) -> Result<Self, String> {
        let since = length.before(&self.since, zone)?;
        let before = Self { since, until: self.since };
        if since < self.since { Ok(before) } else { Err(format!("'{text}' is no time at all")) }
    }

    /// The bounds of so many weeks of seven local days, the last of which ends with the period. Weeks that
    /// would begin before the year 1 are left out.
    pub(crate) fn weeks_until(&self, zone: &Zone, weeks: usize) -> Vec<UtcText> {
        let mut bounds: Vec<UtcText> =
            (1..=weeks as u64).map_while(|week| back(zone, &self.until, 7 * week).ok()).collect();
        bounds.reverse();
        bounds.push(self.until);
        bounds
    }

    fn length_ticks(&self) -> i64 {
        self.until.ticks() - self.since.ticks()
    }
}

/// Reads an instant: a date, a time with or without a zone, `7d`, `36h`, `today`, `last-week` and so on.
///
/// # Errors
/// What cannot be read, with the forms that can.
pub(crate) fn parse_instant(text: &str, zone: &Zone, now: &UtcText) -> Result<UtcText, String> {
    Ok(match parse(text, zone, now)? {
        Meaning::Instant(time) | Meaning::FullDays(time) | Meaning::Period(time, _) => time,
    })
}

fn parse(text: &str, zone: &Zone, now: &UtcText) -> Result<Meaning, String> {
    let text = text.trim();
    let today = zone.date(now);
    let monday = today - Days::new(u64::from(today.weekday().num_days_from_monday()));
    let first = today.with_day(1).unwrap_or(today);
    let period =
        |since: NaiveDate, until: NaiveDate| Ok(Meaning::Period(day(zone, since)?, day(zone, until)?));
    match text.replace('_', "-").to_ascii_lowercase().as_str() {
        "now" => return Ok(Meaning::Instant(*now)),
        "today" => return Ok(Meaning::Instant(day(zone, today)?)),
        "yesterday" => return period(today - Days::new(1), today),
        "this-week" => return Ok(Meaning::Instant(day(zone, monday)?)),
        "last-week" => return period(monday - Days::new(7), monday),
        "this-month" => return Ok(Meaning::Instant(day(zone, first)?)),
        "last-month" => return period(first - Months::new(1), first),
        _ => {}
    }
    match Length::parse(text)? {
        Some(days @ Length::Days(_)) => {
            return days.before(&day(zone, today)?, zone).map(Meaning::FullDays);
        }
        Some(length @ Length::Ticks(_)) => return length.before(now, zone).map(Meaning::Instant),
        None => {}
    }
    if let Ok(date) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        return Ok(Meaning::Instant(day(zone, date)?));
    }
    let local = ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"]
        .iter()
        .find_map(|form| NaiveDateTime::parse_from_str(text, form).ok());
    if let Some(local) = local {
        return zone.instant(local).map(Meaning::Instant).ok_or_else(too_early);
    }
    // A time without seconds but with a zone, as people write it.
    let with_seconds =
        text.strip_suffix('Z').filter(|text| text.len() == 16).map(|text| format!("{text}:00Z"));
    UtcText::parse_sent(with_seconds.as_deref().unwrap_or(text)).map(Meaning::Instant).ok_or_else(|| {
        format!(
            "'{text}' is no time (write 2026-11-16, 2026-11-16T08:00, 2026-11-16T08:00:00Z, 7d, 4w, 36h, \
             today, yesterday, this-week, last-week, this-month or last-month)"
        )
    })
}

/// A length of time as it is typed.
enum Length {
    /// `7d` and `4w`: local days, however long each is.
    Days(u64),
    /// Anything shorter or mixed, such as `36h`.
    Ticks(i64),
}

impl Length {
    /// `None` where the text is no length.
    fn parse(text: &str) -> Result<Option<Self>, String> {
        let text = text.trim();
        let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
        let days = match unit {
            "d" => Some(1),
            "w" => Some(7),
            _ => None,
        };
        let length = match (number.parse::<u64>(), days) {
            (Ok(number), Some(days)) => Self::Days(number.saturating_mul(days)),
            _ => {
                let Ok(length) = humantime::parse_duration(text) else { return Ok(None) };
                Self::Ticks(i64::try_from(length.as_nanos() / 100).map_err(|_| too_early())?)
            }
        };
        match length {
            Self::Days(0) => Err(format!("'{text}' is no time at all")),
            length => Ok(Some(length)),
        }
    }

    /// The instant that is so long before another.
    fn before(&self, until: &UtcText, zone: &Zone) -> Result<UtcText, String> {
        match self {
            Self::Days(days) => back(zone, until, *days),
            Self::Ticks(ticks) => until.minus(*ticks).ok_or_else(too_early),
        }
    }
}

fn day(zone: &Zone, date: NaiveDate) -> Result<UtcText, String> {
    zone.start_of(date).ok_or_else(too_early)
}

/// The same time of day, so many local days earlier; a day's start stays one.
fn back(zone: &Zone, from: &UtcText, days: u64) -> Result<UtcText, String> {
    let local = zone.local(from);
    let date = local.date().checked_sub_days(Days::new(days)).ok_or_else(too_early)?;
    if zone.is_start_of_day(from) {
        return day(zone, date);
    }
    zone.instant(date.and_time(local.time())).ok_or_else(too_early)
}

fn too_early() -> String {
    "that is outside the years 1 to 9999".to_owned()
}

impl UtcText {
    /// So long before.
    pub fn before(&self, length: std::time::Duration) -> Option<Self> {
        self.minus(i64::try_from(length.as_nanos() / 100).ok()?)
    }

    fn minus(&self, ticks: i64) -> Option<Self> {
        let ticks = self.ticks().checked_sub(ticks)?;
        let nanoseconds = ticks.rem_euclid(super::TICKS_PER_SECOND) * 100;
        let time = chrono::DateTime::from_timestamp(
            ticks.div_euclid(super::TICKS_PER_SECOND),
            u32::try_from(nanoseconds).ok()?,
        )?;
        Self::from_datetime(&time)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> UtcText {
        UtcText::parse_sent(text).unwrap()
    }

    fn told(zone: &str, since: Option<&str>, until: Option<&str>) -> (String, String) {
        let period =
            Period::parse(since, until, &zone.parse().unwrap(), &utc("2026-11-24T06:30:00Z")).unwrap();
        (period.since.as_sent(), period.until.as_sent())
    }

    fn expect(told: (String, String), since: &str, until: &str) {
        assert_eq!(told, (since.to_owned(), until.to_owned()));
    }

    #[test]
    fn the_default_is_the_last_seven_full_days_of_the_zone() {
        expect(told("UTC", None, None), "2026-11-17T00:00:00Z", "2026-11-24T00:00:00Z");
        // In Los Angeles it is still the 23rd.
        expect(told("America/Los_Angeles", None, None), "2026-11-16T08:00:00Z", "2026-11-23T08:00:00Z");
        expect(told("UTC", Some("7d"), None), "2026-11-17T00:00:00Z", "2026-11-24T00:00:00Z");
        expect(told("UTC", None, Some("2026-11-20")), "2026-11-13T00:00:00Z", "2026-11-20T00:00:00Z");
    }

    #[test]
    fn words_dates_and_lengths_mean_what_people_mean() {
        expect(told("UTC", Some("last-week"), None), "2026-11-16T00:00:00Z", "2026-11-23T00:00:00Z");
        expect(told("UTC", Some("last-month"), None), "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z");
        expect(told("UTC", Some("yesterday"), None), "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z");
        expect(told("UTC", Some("this-week"), None), "2026-11-23T00:00:00Z", "2026-11-24T06:30:00Z");
        expect(told("UTC", Some("4w"), None), "2026-10-27T00:00:00Z", "2026-11-24T00:00:00Z");
        expect(told("UTC", Some("36h"), None), "2026-11-22T18:30:00Z", "2026-11-24T06:30:00Z");
        expect(told("UTC", Some("2026-11-20"), None), "2026-11-20T00:00:00Z", "2026-11-24T06:30:00Z");
        let berlin = told("Europe/Berlin", Some("2026-10-25"), Some("2026-10-26T12:00"));
        expect(berlin, "2026-10-24T22:00:00Z", "2026-10-26T11:00:00Z");
        let offset = told("UTC", Some("2026-11-20T10:00:00+02:00"), Some("2026-11-20T09:00Z"));
        expect(offset, "2026-11-20T08:00:00Z", "2026-11-20T09:00:00Z");
    }

    #[test]
    fn an_empty_period_and_nonsense_are_refused() {
        let now = utc("2026-11-24T06:30:00Z");
        for (since, until) in
            [("2026-11-20", "2026-11-20"), ("2026-11-21", "2026-11-20"), ("today", "yesterday")]
        {
            let error = Period::parse(Some(since), Some(until), &Zone::UTC, &now).unwrap_err();
            assert!(error.contains("empty"), "{error}");
        }
        for text in ["", "0d", "soon", "7", "-7d", "2026-13-01", "99999999999999w", "999999999999h"] {
            assert!(Period::parse(Some(text), None, &Zone::UTC, &now).is_err(), "{text}");
        }
    }

    #[test]
    fn the_period_before_has_as_many_days_across_a_clock_change() {
        let zone: Zone = "Europe/Berlin".parse().unwrap();
        let now = utc("2026-11-01T12:00:00Z");
        let period = Period::parse(Some("7d"), None, &zone, &now).unwrap();
        assert_eq!(period.since.as_sent(), "2026-10-24T22:00:00Z");
        let before = period.before(&zone).unwrap();
        assert_eq!((before.since.as_sent(), before.until), ("2026-10-17T22:00:00Z".to_owned(), period.since));
        let hours = Period::parse(Some("36h"), None, &zone, &now).unwrap().before(&zone).unwrap();
        assert_eq!(hours.since.as_sent(), "2026-10-29T12:00:00Z");
    }

    #[test]
    fn a_compared_period_may_be_named() {
        let now = utc("2026-11-24T06:30:00Z");
        let period = Period::parse(None, None, &Zone::UTC, &now).unwrap();
        let told = |text| {
            let compared = period.parse_compared(text, &Zone::UTC, &now).unwrap();
            (compared.since.as_sent(), compared.until.as_sent())
        };
        expect(told("previous"), "2026-11-10T00:00:00Z", "2026-11-17T00:00:00Z");
        expect(told("2026-01-05"), "2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z");
        expect(told("2026-01-05..2026-02-05"), "2026-01-05T00:00:00Z", "2026-02-05T00:00:00Z");
        expect(told("last-month"), "2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z");
    }

    #[test]
    fn a_length_to_compare_with_ends_where_the_period_begins() {
        let now = utc("2026-11-24T12:00:00Z");
        let period = Period::parse(None, None, &Zone::UTC, &now).unwrap();
        let told = |text| {
            let compared = period.parse_compared(text, &Zone::UTC, &now).unwrap();
            assert_eq!(compared.until, period.since, "{text}");
            compared.since.as_sent()
        };
        assert_eq!(told("8w"), "2026-09-22T00:00:00Z");
        assert_eq!(told("3d"), "2026-11-14T00:00:00Z");
        assert_eq!(told("36h"), "2026-11-15T12:00:00Z");
        for nothing in ["0d", "0s"] {
            assert!(period.parse_compared(nothing, &Zone::UTC, &now).is_err(), "{nothing}");
        }

        // Local days: the clock went back on 25 October.
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let period = Period::parse(None, None, &berlin, &now).unwrap();
        let compared = period.parse_compared("8w", &berlin, &now).unwrap();
        assert_eq!(compared.since.as_sent(), "2026-09-21T22:00:00Z");
    }
}
