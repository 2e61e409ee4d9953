//! The whole report in one line: runs, failure rate, change, and how fresh the data is.

use super::Asked;
use super::figures::{Alarm, Changes, ComparedRate, ConnectionRate, Coverage, Direction, Verdict};
use crate::time::ago;

pub(super) fn verdict(
    asked: &Asked,
    total: &ComparedRate,
    connections: &[ConnectionRate],
    changes: &Changes,
    coverage: &Coverage,
) -> Verdict {
    // A connection that the platform no longer knows will not get any fresher.
    let mut followed =
        coverage.connections.iter().filter(|connection| connection.unlisted_at.is_none()).peekable();
    let is_any = followed.peek().is_some();
    let complete_as_of: Option<Vec<_>> = followed.map(|connection| connection.complete_as_of).collect();
    let complete_as_of = complete_as_of.filter(|_| is_any).and_then(|times| times.into_iter().min());
    let mut sentences = vec![describe_rate(total, coverage)];
    sentences.extend(describe_changes(changes));
    if !coverage.connections.is_empty() {
        sentences.push(describe_freshness(asked, complete_as_of, coverage));
    }
    Verdict {
        text: sentences.join(" "),
        direction: total.direction,
        complete_as_of,
        is_period_covered: complete_as_of.is_some_and(|complete| complete >= asked.period.until),
        alarms: alarms(asked, total, connections),
    }
}

fn describe_rate(total: &ComparedRate, coverage: &Coverage) -> String {
    let (now, before) = (&total.now, &total.before);
    if coverage.connections.is_empty() {
        return "Nothing is archived yet.".to_owned();
    }
    if now.runs == 0 {
        let before = match before.runs {
            0 => "none in the one compared with either".to_owned(),
            runs => format!("{} in the one compared with", count(runs, "run")),
        };
        return format!("No run started in this period, {before}.");
    }
    let Some(rate) = now.failure_rate else {
        return format!("{} started, and none of them can be rated yet.", count(now.runs, "run"));
    };
    let runs =
        if now.runs == now.rated { String::new() } else { format!(" ({} started)", count(now.runs, "run")) };
    let change = match (total.direction, before.failure_rate) {
        (Direction::Worse, Some(before)) => format!("up from {}", percent(before)),
        (Direction::Better, Some(before)) => format!("down from {}", percent(before)),
        (_, Some(before)) => format!("{} before: no clear change", percent(before)),
        (_, None) => "with nothing before to compare".to_owned(),
    };
    let (failed, rated) = (grouped(now.failed), count(now.rated, "run"));
    format!("{failed} of {rated} failed, {}{runs}, {change}.", percent(rate))
}

/// What a total does not show: one connection of many, an error that was never seen.
fn describe_changes(changes: &Changes) -> Option<String> {
    let (failing, new) = (changes.newly_failing.len() as u64, changes.new_errors.len() as u64);
    let mut parts = Vec::new();
    if failing > 0 {
        let verb = if failing == 1 { "fails" } else { "fail" };
        parts.push(format!("{} {verb} more than before", count(failing, "connection")));
    }
    if new > 0 {
        let verb = if new == 1 { "is" } else { "are" };
        parts.push(format!("{} {verb} new", count(new, "error")));
    }
    (!parts.is_empty()).then(|| format!("{}.", parts.join(", ")))
}

fn describe_freshness(
    asked: &Asked,
    complete_as_of: Option<crate::time::UtcText>,
    coverage: &Coverage,
) -> String {
    let Some(complete) = complete_as_of else {
        let never = coverage.connections.iter().filter(|connection| connection.complete_as_of.is_none());
        return format!(
            "Whether runs are missing is not proved for {} of {}.",
            never.count(),
            count(coverage.connections.len() as u64, "connection")
        );
    };
    let at = asked.zone.show_minute(&complete);
    if complete < asked.period.until {
        return format!("Archived whole only up to {at}, before the period ends.");
    }
    if complete > asked.as_of {
        return format!("Archived whole up to {at}.");
    }
    format!("Archived whole up to {at}, {}.", ago(&complete, &asked.as_of))
}

fn alarms(asked: &Asked, total: &ComparedRate, connections: &[ConnectionRate]) -> Vec<Alarm> {
    let Some(threshold) = asked.fail_over else { return Vec::new() };
    let alarm = |of: Option<&ConnectionRate>, rate: &ComparedRate| {
        let failure_rate = rate.now.failure_rate?;
        let is_over = failure_rate > threshold && rate.now.rated >= asked.min_runs;
        is_over.then(|| Alarm {
            connection: of.map(|connection| connection.connection.clone()),
            connection_id: of.map(|connection| connection.connection_id.clone()),
            failure_rate,
            threshold,
        })
    };
    let each = connections.iter().filter_map(|connection| alarm(Some(connection), &connection.rate));
    alarm(None, total).into_iter().chain(each).collect()
}

/// `15.4%`.
fn percent(rate: f64) -> String {
    format!("{:.1}%", rate * 100.0)
}

/// `1,234 runs`.
fn count(number: u64, noun: &str) -> String {
    format!("{} {noun}{}", grouped(number), if number == 1 { "" } else { "s" })
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = digits
        .as_bytes()
        .rchunks(3)
        .rev()
        .map(|group| std::str::from_utf8(group).unwrap_or_default())
        .collect();
    groups.join(",")
}
