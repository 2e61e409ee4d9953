//! A time zone: where days and weeks begin, and how instants are shown.
//!
//! In: an IANA name such as `Europe/Berlin`; the rules are built in, so that a report does not depend on
//! the machine. Out: UTC instants for local days, and local text for UTC instants.

use std::fmt;
use std::str::FromStr;

use chrono::{
    DateTime, Datelike as _, Days, NaiveDate, NaiveDateTime, NaiveTime, TimeDelta, TimeZone as _, Utc,
};
use chrono_tz::Tz;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::UtcText;

/// The longest gap that a zone's clock was ever set forward by, with room: whole days were skipped.
const LONGEST_JUMP_MINUTES: i64 = 26 * 60;

/// An IANA time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Zone(Tz);

impl Zone {
    /// Coordinated universal time.
    pub(crate) const UTC: Self = Self(Tz::UTC);

    pub(crate) fn name(&self) -> &'static str {
        self.0.name()
    }

    /// The local date and time of an instant.
    pub(crate) fn local(&self, time: &UtcText) -> NaiveDateTime {
        time.to_datetime().with_timezone(&self.0).naive_local()
    }

    pub(crate) fn date(&self, time: &UtcText) -> NaiveDate {
        self.local(time).date()
    }

    /// The first instant of a local date: not always its midnight, which a clock may skip, and the first of
    /// two midnights where it is set back over one. `None` beyond the years 0001 to 9999.
    pub(crate) fn start_of(&self, date: NaiveDate) -> Option<UtcText> {
        self.instant(date.and_time(NaiveTime::MIN))
    }

    /// The first instant at which the local clock shows this or, where it skips it, something later.
    pub(crate) fn instant(&self, local: NaiveDateTime) -> Option<UtcText> {
        let minutes = (0..=LONGEST_JUMP_MINUTES).map(TimeDelta::minutes);
        let found = minutes
            .filter_map(|later| self.0.from_local_datetime(&local.checked_add_signed(later)?).earliest())
            .next()?;
        UtcText::from_datetime(&found.with_timezone(&Utc))
    }

    /// Whether a local day begins at this instant.
    pub(crate) fn is_start_of_day(&self, time: &UtcText) -> bool {
        self.start_of(self.date(time)) == Some(*time)
    }

    /// The starts of the local days, or weeks from Monday, inside `(since, until)`, with `since` before and
    /// `until` after them: what cuts a period into days or weeks.
    pub(crate) fn bounds(&self, since: &UtcText, until: &UtcText, step: Step) -> Vec<UtcText> {
        let mut bounds = vec![*since];
        let mut date = match step {
            Step::Day => self.date(since),
            Step::Week => {
                let date = self.date(since);
                date - Days::new(u64::from(date.weekday().num_days_from_monday()))
            }
        };
        let days = Days::new(match step {
            Step::Day => 1,
            Step::Week => 7,
        });
        while let Some(next) = date.checked_add_days(days)
            && let Some(start) = self.start_of(next)
            && start < *until
        {
            // The period may begin within a day or a week, whose own start is then no bound of it.
            if start > *since {
                bounds.push(start);
            }
            date = next;
        }
        bounds.push(*until);
        bounds
    }

    /// `2026-11-16 13:05`.
    pub(crate) fn show_minute(&self, time: &UtcText) -> String {
        self.local(time).format("%Y-%m-%d %H:%M").to_string()
    }
}

/// What a period is cut into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    Day,
    /// Local weeks, from Monday.
    Week,
}

impl Step {
    /// `day` or `week`.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Day => "day",
            Self::Week => "week",
        }
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = chrono_tz::TZ_VARIANTS.iter().find(|zone| zone.name().eq_ignore_ascii_case(name));
        found.map(|&zone| Self(zone)).ok_or_else(|| {
            format!("'{name}' is no time zone of the IANA database, such as Europe/Berlin or UTC")
        })
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl Serialize for Zone {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

impl UtcText {
    pub(super) fn to_datetime(self) -> DateTime<Utc> {
        let ticks = self.ticks();
        let nanoseconds = ticks.rem_euclid(super::TICKS_PER_SECOND) * 100;
        // Every text names an instant of the years 1 to 9999, which this type holds.
        DateTime::from_timestamp(ticks.div_euclid(super::TICKS_PER_SECOND), nanoseconds as u32)
            .unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> UtcText {
        UtcText::parse_sent(text).unwrap()
    }

    fn zone(name: &str) -> Zone {
        name.parse().unwrap()
    }

    #[test]
    fn a_day_is_23_or_25_hours_long_where_the_clock_changes() {
        let berlin = zone("Europe/Berlin");
        let hours = |date: &str| {
            let date: NaiveDate = date.parse().unwrap();
            let (start, end) =
                (berlin.start_of(date).unwrap(), berlin.start_of(date + Days::new(1)).unwrap());
            start.milliseconds_until(&end).unwrap() / 3_600_000
        };
        assert_eq!(["2026-03-28", "2026-03-29", "2026-10-25", "2026-10-26"].map(hours), [24, 23, 25, 24]);
    }

    #[test]
    fn a_day_without_midnight_begins_when_the_clock_goes_on() {
        let start = zone("America/Sao_Paulo").start_of("2018-11-04".parse().unwrap()).unwrap();
        assert_eq!(start.as_sent(), "2018-11-04T03:00:00Z");
        let skipped = zone("Pacific/Apia").start_of("2011-12-30".parse().unwrap()).unwrap();
        assert_eq!(skipped.as_sent(), "2011-12-30T10:00:00Z");
    }

    #[test]
    fn a_period_is_cut_at_local_midnights_and_mondays() {
        let zone = zone("America/New_York");
        let (since, until) = (utc("2026-10-30T12:00:00Z"), utc("2026-11-03T05:00:00Z"));
        let days: Vec<String> = zone.bounds(&since, &until, Step::Day).iter().map(UtcText::as_sent).collect();
        let expected = [
            "2026-10-30T12:00:00Z",
            "2026-10-31T04:00:00Z",
            "2026-11-01T04:00:00Z",
            "2026-11-02T05:00:00Z",
            "2026-11-03T05:00:00Z",
        ];
        assert_eq!(days, expected);
        let weeks: Vec<String> =
            zone.bounds(&since, &until, Step::Week).iter().map(UtcText::as_sent).collect();
        assert_eq!(weeks, ["2026-10-30T12:00:00Z", "2026-11-02T05:00:00Z", "2026-11-03T05:00:00Z"]);
    }

    #[test]
    fn names_are_read_in_any_case_and_nonsense_is_refused() {
        assert_eq!(zone("europe/berlin").name(), "Europe/Berlin");
        assert!("Mars/Olympus".parse::<Zone>().unwrap_err().contains("IANA"));
    }
}
