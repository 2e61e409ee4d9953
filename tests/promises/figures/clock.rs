//! Times by counting: ticks of 100 ns since 1970, and local days by looking at a zone's clock every quarter
//! of an hour.

use chrono::{DateTime, Datelike, Days, NaiveDate, Offset, TimeZone, Utc};
use chrono_tz::Tz;

/// 100 ns since 1970.
pub type Ticks = i64;
pub const MILLISECOND: Ticks = 10_000;
pub const SECOND: Ticks = 10_000_000;
const QUARTER: Ticks = 900 * SECOND;

pub fn datetime(ticks: Ticks) -> DateTime<Utc> {
    let nanoseconds = u32::try_from(ticks.rem_euclid(SECOND)).unwrap() * 100;
    DateTime::from_timestamp(ticks.div_euclid(SECOND), nanoseconds).unwrap()
}

pub fn ticks(text: &str) -> Ticks {
    let time = DateTime::parse_from_rfc3339(text).unwrap();
    time.timestamp() * SECOND + i64::from(time.timestamp_subsec_nanos() / 100)
}

/// As the archive writes it.
pub fn stored(ticks: Ticks) -> String {
    let time = datetime(ticks);
    format!("{}.{:07}Z", time.format("%Y-%m-%dT%H:%M:%S"), ticks.rem_euclid(SECOND))
}

/// Whole milliseconds from one to the other, where that is not before it.
pub fn milliseconds(from: Ticks, to: Ticks) -> Option<i64> {
    (to >= from).then(|| (to - from) / MILLISECOND)
}

pub fn local_date(zone: Tz, at: Ticks) -> NaiveDate {
    datetime(at).with_timezone(&zone).date_naive()
}

pub fn minutes_ahead(zone: Tz, at: Ticks) -> i64 {
    i64::from(zone.offset_from_utc_datetime(&datetime(at).naive_utc()).fix().local_minus_utc()) / 60
}

/// The first instant at which it is this day there, or a later one.
pub fn start_of(zone: Tz, date: NaiveDate) -> Ticks {
    let midnight = date.and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp() * SECOND;
    (-60..60).map(|quarter| midnight + quarter * QUARTER).find(|&at| local_date(zone, at) >= date).unwrap()
}

/// Where the days, or weeks from Monday, begin inside the period; first its own start, last its end.
pub fn cut(zone: Tz, since: Ticks, until: Ticks, is_week: bool) -> Vec<Ticks> {
    let mut bounds = vec![since];
    for date in local_date(zone, since).iter_days().skip(1) {
        if is_week && date.weekday() != chrono::Weekday::Mon {
            continue;
        }
        let start = start_of(zone, date);
        if start >= until {
            break;
        }
        bounds.push(start);
    }
    bounds.push(until);
    bounds
}

/// The starts of the weeks of seven local days that end at this start of a day, and this at last.
pub fn weeks_before(zone: Tz, until: Ticks, weeks: u64) -> Vec<Ticks> {
    let last = local_date(zone, until);
    (0..=weeks).rev().map(|week| start_of(zone, last - Days::new(7 * week))).collect()
}

/// From which instant on the zone's clock is how many minutes ahead: `[["", 60], ["2026-…Z", 120]]`.
pub fn offsets(zone: Tz, since: Ticks, until: Ticks) -> Vec<(Option<Ticks>, i64)> {
    let first = since.div_euclid(QUARTER) * QUARTER;
    let mut found = vec![(None, minutes_ahead(zone, first))];
    let mut at = first;
    while at < until {
        let ahead = minutes_ahead(zone, at);
        if found.last().unwrap().1 != ahead {
            found.push((Some(at), ahead));
        }
        at += QUARTER;
    }
    found
}

/// The first instant at which the zone's clock shows what it shows at `at`, so many days earlier; `None` where
/// it skips that.
pub fn same_time_before(zone: Tz, at: Ticks, days: u64) -> Option<Ticks> {
    let local = at + minutes_ahead(zone, at) * 60 * SECOND - i64::try_from(days).unwrap() * 86_400 * SECOND;
    let around = [local - 86_400 * SECOND, local + 86_400 * SECOND].map(|near| minutes_ahead(zone, near));
    let candidates = around.map(|ahead| (local - ahead * 60 * SECOND, ahead));
    candidates.into_iter().filter(|&(at, ahead)| minutes_ahead(zone, at) == ahead).map(|(at, _)| at).min()
}
