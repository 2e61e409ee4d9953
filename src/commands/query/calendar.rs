//! What SQLite does not know of time zones, handed to queries as parameters.
//!
//! `:bounds` are the instants at which local days (or weeks, where the query's comment says so) begin, the
//! last one being the end; `:offsets` says from which instant on local time is how far ahead of UTC. Both are
//! JSON arrays, and left out for UTC, which the queries do by themselves.

use std::io;

use anyhow::{Context as _, anyhow};
use chrono::{DateTime, TimeDelta, Utc};

use crate::error::{CommandError, ExitCode};
use crate::query::{Cell, Database, Limits, Query, Sink, Value};
use crate::settings;
use crate::time::UtcText;
use crate::time::zone::{Step, Zone};

/// Ten years of days are enough where nobody says since when: a wrong clock may have dated a run anywhere.
const MOST_DAYS: i64 = 3_653;

/// Adds the parameters that the query takes and nobody gave.
pub(super) fn fill(
    database: &Database,
    query: &Query,
    settings: &settings::Query,
    takes: &[String],
    filled: &mut Vec<(String, Value)>,
) -> Result<(), CommandError> {
    let has = |wanted: &str| takes.iter().any(|takes| takes == wanted);
    let is_for_words = settings.since.is_some() || settings.until.is_some();
    if settings.is_zone_typed && !is_for_words && !has("bounds") && !has("offsets") {
        return Err(not_taken("tz", takes));
    }
    let zone = settings.zone;
    let is_given = |wanted: &str| filled.iter().any(|(known, _)| known == wanted);
    // The queries know the days of UTC by themselves, and what somebody typed stays as it was typed.
    if zone == Zone::UTC || (is_given("bounds") || !has("bounds")) && (is_given("offsets") || !has("offsets"))
    {
        return Ok(());
    }
    let Some((since, until)) = period(database, settings)? else { return Ok(()) };
    if has("bounds") && !is_given("bounds") {
        let value = |wanted: &str| {
            let given = filled.iter().find(|(name, _)| name == wanted);
            given
                .and_then(|(_, value)| if let Value::Text(text) = value { Some(text.as_str()) } else { None })
        };
        let step = query.step(value)?;
        let bounds = zone.bounds(&since, &until, step);
        let json = serde_json::to_string(&bounds).context("writing the bounds")?;
        filled.push(("bounds".to_owned(), json.into()));
    }
    if has("offsets") && !filled.iter().any(|(known, _)| known == "offsets") {
        let offsets = offsets(&zone, &since, &until);
        let json = serde_json::to_string(&offsets).context("writing the offsets")?;
        filled.push(("offsets".to_owned(), json.into()));
    }
    Ok(())
}

/// The period asked for; where an end of it is not, that of the runs. `None` where there is no run.
fn period(
    database: &Database,
    settings: &settings::Query,
) -> Result<Option<(UtcText, UtcText)>, CommandError> {
    if let (Some(since), Some(until)) = (settings.since, settings.until) {
        return Ok(Some((since, until)));
    }
    let sql = "SELECT min(started_at), max(started_at) FROM runs WHERE started_at >= ''";
    let mut edges = Edges::default();
    database.stream(sql, &[], Limits { timeout: Some(settings.timeout) }, &mut edges)?;
    let [Some(first), Some(last)] = edges.0 else { return Ok(None) };
    // The end of the last run's day.
    let next = settings.zone.date(&last).succ_opt().and_then(|date| settings.zone.start_of(date));
    let until = settings.until.or(next).unwrap_or(last);
    let earliest = moved(&until, TimeDelta::days(-MOST_DAYS)).unwrap_or(first);
    let since = settings.since.unwrap_or(first.max(earliest));
    Ok(Some((since, until)).filter(|(since, until)| since < until))
}

/// From each instant on, minutes that local time is ahead of UTC; the first holds for all before it too.
fn offsets(zone: &Zone, since: &UtcText, until: &UtcText) -> Vec<(String, i64)> {
    let ahead = |time: &UtcText| (zone.local(time) - Zone::UTC.local(time)).num_minutes();
    let mut found = vec![(String::new(), ahead(since))];
    let mut days = zone.bounds(since, until, Step::Day).into_iter();
    let Some(mut before) = days.next() else { return found };
    for day in days {
        if ahead(&day) != ahead(&before) {
            // The minute of the change, by halves.
            let (mut low, mut high) = (before, day);
            while let Some(middle) = middle(&low, &high) {
                if ahead(&middle) == ahead(&before) {
                    low = middle;
                } else {
                    high = middle;
                }
            }
            found.push((high.to_string(), ahead(&high)));
        }
        before = day;
    }
    found
}

/// A whole minute between the two, if there is one.
fn middle(low: &UtcText, high: &UtcText) -> Option<UtcText> {
    let (low, high) = (instant(low)?, instant(high)?);
    let seconds = (low.timestamp() + high.timestamp()).div_euclid(120) * 60;
    let middle = DateTime::from_timestamp(seconds, 0).filter(|middle| low < *middle && *middle < high)?;
    UtcText::from_datetime(&middle)
}

fn moved(time: &UtcText, by: TimeDelta) -> Option<UtcText> {
    UtcText::from_datetime(&instant(time)?.checked_add_signed(by)?)
}

fn instant(time: &UtcText) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(time.as_str()).ok().map(|time| time.with_timezone(&Utc))
}

/// The first and the last start.
#[derive(Default)]
struct Edges([Option<UtcText>; 2]);

impl Sink for Edges {
    fn columns(&mut self, _: &[String]) -> io::Result<()> {
        Ok(())
    }

    fn row(&mut self, cells: &[Cell<'_>]) -> io::Result<()> {
        for (edge, cell) in self.0.iter_mut().zip(cells) {
            if let Cell::Text(text) = cell {
                *edge = UtcText::from_stored(text);
            }
        }
        Ok(())
    }
}

/// An option that the query has no use for.
pub(super) fn not_taken(option: &str, takes: &[String]) -> CommandError {
    let takes = match takes {
        [] => "it takes no parameters".to_owned(),
        takes => format!("it takes {}", takes.join(", ")),
    };
    CommandError::new(ExitCode::Usage, anyhow!("--{option} means nothing to this query: {takes}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> UtcText {
        UtcText::parse_sent(text).unwrap()
    }

    #[test]
    fn offsets_change_at_the_minute_at_which_the_clock_does() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let (since, until) = (utc("2026-01-05T10:00:00Z"), utc("2026-12-01T00:00:00Z"));
        let expected =
            [("", 60), ("2026-03-29T01:00:00.0000000Z", 120), ("2026-10-25T01:00:00.0000000Z", 60)];
        assert_eq!(offsets(&berlin, &since, &until), expected.map(|(from, ahead)| (from.to_owned(), ahead)));
        let kolkata: Zone = "Asia/Kolkata".parse().unwrap();
        assert_eq!(offsets(&kolkata, &since, &until), [(String::new(), 330)]);
    }
}
