//! How figures are said: rates, changes, lengths of time, moments and periods, names of errors.
//!
//! In: finished figures and the report's zone. Out: short texts, the same in every format, with `–` and `…`
//! where a format may want to write something plainer. A no-break space keeps a number and its unit
//! together. Nothing is counted or rated here.

use std::time::Duration;

use chrono::Datelike as _;

use super::{clean, numbers, render_count, render_duration};
use crate::report::figures::{
    ComparedPercentiles, ComparedRate, Direction, ErrorChange, ErrorCode, Interval, Novelty, Percentiles,
    Report,
};
use crate::report::{ArchivedWhole, Standing};
use crate::time::period::Period;
use crate::time::zone::Zone;
use crate::time::{UtcText, ago};

/// Characters of a connection's name in the verdict.
const NAME: usize = 40;

/// Between a number and its unit.
pub(crate) const NO_BREAK: char = '\u{a0}';

/// The whole report in one line: runs, failure rate, change, and how fresh the data is. Plain spaces, so that a
/// program may compare it.
pub(crate) fn verdict(report: &Report) -> String {
    let sentences = [Some(standing(report)), expectation(report), freshness(report)];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ").replace(NO_BREAK, " ")
}

fn standing(report: &Report) -> String {
    let now = &report.total.now;
    let before = &report.total.before;
    match report.standing() {
        Standing::NothingArchived => "Nothing is archived yet.".to_owned(),
        Standing::NoRuns { before: 0 } => {
            "No run started in this period, none in the one compared with either.".to_owned()
        }
        Standing::NoRuns { before } => {
            format!("No run started in this period, {} in the one compared with.", counted(before, "run"))
        }
        Standing::NoneRated => {
            format!("{} started, and none of them can be rated yet.", counted(now.runs, "run"))
        }
        Standing::Rated => {
            let change = match (report.total.direction, before.failure_rate.map(percent)) {
                (Direction::Worse, Some(before)) => format!("up from {before}{}", moved_by(report)),
                (Direction::Better, Some(before)) => format!("down from {before}{}", moved_by(report)),
                (_, Some(before)) => format!("{before} before"),
                (_, None) => "with nothing before to compare".to_owned(),
            };
            let started = counted(now.runs, "run");
            let started = if now.runs == now.rated { String::new() } else { format!(" ({started} started)") };
            let rate = percent(now.failure_rate.unwrap_or_default());
            let failed = render_count(now.failed);
            format!("{failed} of {} failed, {rate}{started}, {change}.", counted(now.rated, "run"))
        }
    }
}

/// Why the rate of all moved although no connection's did.
fn moved_by(report: &Report) -> String {
    let Some(by) = &report.expected.moved_by else { return String::new() };
    let way = if report.total.direction == Direction::Worse { "more" } else { "less" };
    format!(
        " because of how often each ran, above all {}; no connection fails {way}",
        shorten(&by.connection)
    )
}

/// As much of a name as a sentence has room for.
fn shorten(name: &str) -> String {
    let name = clean(name);
    match name.trim().char_indices().nth(NAME) {
        Some((end, _)) => format!("{}…", name.trim()[..end].trim_end()),
        None => name.trim().to_owned(),
    }
}

/// What was to be expected of the runs by what each connection usually does, and whose share the rest is.
fn expectation(report: &Report) -> Option<String> {
    let found = &report.expected;
    if report.standing() != Standing::Rated || report.states.is_empty() || found.failed == 0 {
        return None;
    }
    let rest = found.failed as f64 - found.expected;
    let whose = match &found.most {
        // One connection is told where it has most of what was not to be expected.
        Some(most) if rest >= 1.0 && (most.failed as f64 - most.expected) >= rest / 2.0 => {
            let (part, whole) = (render_count(most.failed), render_count(found.failed));
            format!("; {part} of the {whole} are of {}", shorten(&most.subject.connection))
        }
        _ => String::new(),
    };
    Some(format!("{} failures were to be expected{whose}.", expected(found.expected)))
}

fn freshness(report: &Report) -> Option<String> {
    let at = |time: UtcText| report.zone.show_minute(&time);
    Some(match report.archived_whole()? {
        ArchivedWhole::Unproved { connections } => format!(
            "Whether runs are missing is not proved for {connections} of {}.",
            counted(report.coverage.connections.len() as u64, "connection")
        ),
        ArchivedWhole::Short(time) => {
            format!("Archived whole only up to {}, before the period ends.", at(time))
        }
        ArchivedWhole::Beyond(time) => format!("Archived whole up to {}.", at(time)),
        ArchivedWhole::Enough(time) => {
            format!("Archived whole up to {}, {}.", at(time), ago(&time, &report.as_of))
        }
    })
}

/// `15.4%`.
pub(crate) fn percent(share: f64) -> String {
    format!("{:.1}%", share * 100.0)
}

/// `+7.3 pp`, percentage points.
pub(crate) fn points(difference: f64) -> String {
    let text = format!("{:+.1}", difference * 100.0);
    let text = if matches!(text.as_str(), "+0.0" | "-0.0") { "0.0" } else { &text };
    format!("{text}{NO_BREAK}pp")
}

/// A number of runs that were to be expected: `0.5`, `13`.
pub(crate) fn expected(runs: f64) -> String {
    match runs {
        runs if runs < 0.05 => "none".to_owned(),
        runs if runs < 9.95 => format!("{runs:.1}"),
        runs => render_count(runs.round() as u64),
    }
}

/// How long a period is: `8 weeks`, `10 days`, `36 h`.
pub(crate) fn length(period: &Period, zone: &Zone) -> String {
    if zone.is_start_of_day(&period.since) && zone.is_start_of_day(&period.until) {
        let days = (zone.date(&period.until) - zone.date(&period.since)).num_days().unsigned_abs();
        return if days.is_multiple_of(7) && days > 0 {
            counted(days / 7, "week")
        } else {
            counted(days, "day")
        };
    }
    duration(period.since.milliseconds_until(&period.until).unwrap_or_default())
}

/// `[8.9–24.9%]`.
pub(crate) fn interval(interval: Interval) -> String {
    format!("[{:.1}–{:.1}%]", interval.low * 100.0, interval.high * 100.0)
}

/// `1 run`, `1,234 runs`.
pub(crate) fn counted(number: u64, noun: &str) -> String {
    numbers::counted(number, noun).replacen(' ', &NO_BREAK.to_string(), 1)
}

/// `12 of 78`.
pub(crate) fn share(part: u64, whole: u64) -> String {
    format!("{}{NO_BREAK}of{NO_BREAK}{}", render_count(part), render_count(whole))
}

/// `3 min 5 s`.
pub(crate) fn duration(milliseconds: i64) -> String {
    let length = Duration::from_millis(milliseconds.max(0).unsigned_abs());
    render_duration(length).replace(' ', &NO_BREAK.to_string())
}

/// How far a length of time moved, `+23%`; nothing where there was none before.
pub(crate) fn relative(now: i64, before: i64) -> Option<String> {
    if before <= 0 {
        return None;
    }
    let percent = ((now as f64 / before as f64 - 1.0) * 100.0).round() as i64;
    let sign = if percent > 0 { "+" } else { "" };
    Some(format!("{sign}{}%", render_count(percent)))
}

/// How far a median moved, in parentheses where the 95 % intervals of the two meet or are not known.
pub(crate) fn median_change(compared: &ComparedPercentiles) -> Option<String> {
    let (now, before) = compared.now.zip(compared.before)?;
    let moved = relative(now.p50_ms, before.p50_ms)?;
    let is_below = |one: &Percentiles, other: &Percentiles| {
        one.p50_high_ms.zip(other.p50_low_ms).is_some_and(|(high, low)| high < low)
    };
    Some(if is_below(&now, &before) || is_below(&before, &now) { moved } else { format!("({moved})") })
}

/// What a supported change of a failure rate is called; empty where there is none.
pub(crate) fn direction(direction: Direction) -> &'static str {
    match direction {
        Direction::Better => "better",
        Direction::Worse => "worse",
        Direction::NoClearChange | Direction::NotComparable => "",
    }
}

/// The difference of two rates, in parentheses where no test supports it; nothing where there are no two.
pub(crate) fn change(rate: &ComparedRate) -> Option<String> {
    let difference = points(rate.difference?);
    Some(match rate.direction {
        Direction::Better | Direction::Worse => difference,
        Direction::NoClearChange | Direction::NotComparable => format!("({difference})"),
    })
}

/// Whether an error is new, in a word; empty for what is known.
pub(crate) fn novelty(novelty: Novelty) -> &'static str {
    match novelty {
        Novelty::New => "new",
        Novelty::Returned => "returned",
        Novelty::Known => "",
    }
}

/// What an error is called, the telling key before the code: either may be missing or empty, or say the same.
pub(crate) fn error_names<'a>(key: Option<&'a str>, code: Option<&'a str>) -> Vec<&'a str> {
    let mut names: Vec<&str> = key.into_iter().chain(code).filter(|name| !name.trim().is_empty()).collect();
    names.dedup();
    names
}

impl ErrorCode {
    /// See [`error_names`].
    pub(crate) fn names(&self) -> Vec<&str> {
        error_names(self.description_key.as_deref(), self.error_code.as_deref())
    }
}

impl ErrorChange {
    /// See [`error_names`].
    pub(crate) fn names(&self) -> Vec<&str> {
        error_names(self.description_key.as_deref(), self.error_code.as_deref())
    }
}

/// `Mon 16 Nov 13:05`, or `16 Nov 2025 13:05` where the year is not the one of `as_of`.
pub(crate) fn moment(time: &UtcText, zone: &Zone, as_of: &UtcText) -> String {
    let (local, today) = (zone.local(time), zone.local(as_of));
    let form = if local.year() == today.year() { "%a %-d %b %H:%M" } else { "%-d %b %Y %H:%M" };
    local.format(form).to_string().replace(' ', &NO_BREAK.to_string())
}

/// `Mon 16 Nov`, or `16 Nov 2025` where the year is not the one of `as_of`.
pub(crate) fn day(time: &UtcText, zone: &Zone, as_of: &UtcText) -> String {
    let (date, today) = (zone.date(time), zone.date(as_of));
    let form = if date.year() == today.year() { "%a %-d %b" } else { "%-d %b %Y" };
    date.format(form).to_string().replace(' ', &NO_BREAK.to_string())
}

/// `Mon 16 Nov – Sun 22 Nov 2026` where it begins and ends with a day, the last one included, or
/// `2026-11-16 13:05 – 2026-11-18 08:00`.
pub(crate) fn period(period: &Period, zone: &Zone) -> String {
    let is_days = zone.is_start_of_day(&period.since) && zone.is_start_of_day(&period.until);
    let text = match zone.date(&period.until).pred_opt().filter(|_| is_days) {
        Some(last) => {
            let first = zone.date(&period.since);
            let end = last.format("%a %-d %b %Y");
            if first >= last {
                end.to_string()
            } else if first.year() == last.year() {
                format!("{} – {end}", first.format("%a %-d %b"))
            } else {
                format!("{} – {end}", first.format("%a %-d %b %Y"))
            }
        }
        None => format!("{} – {}", zone.show_minute(&period.since), zone.show_minute(&period.until)),
    };
    // A line may end after the dash, not inside a date.
    text.replace(' ', &NO_BREAK.to_string()).replace(&format!("–{NO_BREAK}"), "– ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: String) -> String {
        text.replace(NO_BREAK, " ")
    }

    fn utc(text: &str) -> UtcText {
        UtcText::parse_sent(text).unwrap()
    }

    #[test]
    fn rates_and_changes_have_one_decimal() {
        assert_eq!(percent(12.0 / 78.0), "15.4%");
        assert_eq!(interval(Interval { low: 0.0891, high: 0.2493 }), "[8.9–24.9%]");
        let points = [0.0734, -0.0734, 0.0004, -0.0004].map(|difference| plain(points(difference)));
        assert_eq!(points, ["+7.3 pp", "-7.3 pp", "0.0 pp", "0.0 pp"]);
        assert_eq!(
            [(150, 100), (50, 100), (100, 100), (13, 1)].map(|(now, before)| relative(now, before)),
            [
                Some("+50%".to_owned()),
                Some("-50%".to_owned()),
                Some("0%".to_owned()),
                Some("+1,200%".to_owned())
            ]
        );
        assert_eq!(relative(5, 0), None);
        assert_eq!(plain(counted(1, "run")) + ", " + &plain(counted(1234, "run")), "1 run, 1,234 runs");
    }

    #[test]
    fn a_median_moved_only_where_its_intervals_do_not_meet() {
        let percentiles = |p50_ms: i64, around: Option<i64>| {
            Some(Percentiles {
                count: 20,
                p50_ms,
                p50_low_ms: around.map(|around| p50_ms - around),
                p50_high_ms: around.map(|around| p50_ms + around),
                p90_ms: p50_ms,
                p95_ms: p50_ms,
                p99_ms: p50_ms,
                max_ms: p50_ms,
            })
        };
        let told = |around| {
            let (now, before) = (percentiles(1_500, around), percentiles(1_000, around));
            median_change(&ComparedPercentiles { now, before }).unwrap()
        };
        assert_eq!([told(Some(249)), told(Some(250)), told(None)], ["+50%", "(+50%)", "(+50%)"]);
        assert_eq!(median_change(&ComparedPercentiles { now: percentiles(1, None), before: None }), None);
    }

    #[test]
    fn an_error_is_called_by_its_key_and_its_code() {
        assert_eq!(error_names(Some("FailedToExport"), Some("TAE_1")), ["FailedToExport", "TAE_1"]);
        assert_eq!(error_names(Some(" "), Some("TAE_1")), ["TAE_1"]);
        assert_eq!(error_names(Some("same"), Some("same")), ["same"]);
        assert!(error_names(None, None).is_empty());
    }

    #[test]
    fn a_period_of_days_names_its_last_day() {
        let berlin: Zone = "Europe/Berlin".parse().unwrap();
        let told = |since, until| plain(period(&Period { since: utc(since), until: utc(until) }, &berlin));
        assert_eq!(told("2026-11-15T23:00:00Z", "2026-11-22T23:00:00Z"), "Mon 16 Nov – Sun 22 Nov 2026");
        assert_eq!(told("2026-12-27T23:00:00Z", "2027-01-03T23:00:00Z"), "Mon 28 Dec 2026 – Sun 3 Jan 2027");
        assert_eq!(told("2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"), "Sun 25 Oct 2026");
        assert_eq!(
            told("2026-11-15T23:00:00Z", "2026-11-22T12:00:00Z"),
            "2026-11-16 00:00 – 2026-11-22 13:00"
        );
    }

    #[test]
    fn a_moment_of_another_year_says_so() {
        let told = |time| plain(moment(&utc(time), &Zone::UTC, &utc("2026-11-24T00:00:00Z")));
        assert_eq!(told("2026-11-16T13:05:59Z"), "Mon 16 Nov 13:05");
        assert_eq!(told("2025-11-16T13:05:59Z"), "16 Nov 2025 13:05");
    }
}
