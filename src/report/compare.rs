//! Arithmetic on figures: sums and comparisons of rates, medians that moved, errors that came or went.
//!
//! In: figures as the queries give them. Out: figures beside those of the period before, and what a test
//! supports of the difference.

use std::cmp::Reverse;

use super::figures::*;
use super::statistics::{fisher, wilson};

/// A median counts as moved from this share of it on, and from so many milliseconds on.
const MOVED_SHARE: f64 = 0.25;
const MOVED_MS: i64 = 1_000;

/// The rate with its interval, which no query can give.
pub(super) fn with_interval(rate: Rate) -> Rate {
    Rate { interval: wilson(rate.failed, rate.rated), ..rate }
}

/// Two rates of different runs as one.
pub(super) fn add(a: Rate, b: Rate) -> Rate {
    let failed = a.failed + b.failed;
    let rated = a.rated + b.rated;
    with_interval(Rate {
        runs: a.runs + b.runs,
        succeeded: a.succeeded + b.succeeded,
        partly_succeeded: a.partly_succeeded + b.partly_succeeded,
        failed,
        canceled: a.canceled + b.canceled,
        skipped: a.skipped + b.skipped,
        undetermined: a.undetermined + b.undetermined,
        unfinished: a.unfinished + b.unfinished,
        rated,
        failure_rate: (rated > 0).then(|| failed as f64 / rated as f64),
        interval: None,
    })
}

pub(super) fn compare(now: Rate, before: Rate) -> ComparedRate {
    ComparedRate {
        now,
        before,
        difference: now.failure_rate.zip(before.failure_rate).map(|(now, before)| now - before),
        p_value: fisher((now.failed, now.rated), (before.failed, before.rated)),
        direction: Direction::NotComparable,
    }
}

/// What a test supports at this significance.
pub(super) fn direct(rate: &ComparedRate, significance: Option<f64>) -> Direction {
    match (rate.difference, rate.p_value) {
        (Some(difference), Some(p)) if significance.is_some_and(|most| p <= most) => {
            if difference > 0.0 {
                Direction::Worse
            } else {
                Direction::Better
            }
        }
        (Some(_), _) => Direction::NoClearChange,
        _ => Direction::NotComparable,
    }
}

/// Medians that moved, those of all connections first, then the largest moves.
pub(super) fn moved_durations(durations: &Durations, min_runs: u64) -> Vec<DurationChange> {
    let moved = |level, of: Option<&ConnectionDurations>, compared: &ComparedPercentiles| {
        let (now, before) = compared.now.zip(compared.before)?;
        is_moved(&now, &before, min_runs).then(|| DurationChange {
            connection: of.map(|of| of.connection.clone()),
            connection_id: of.map(|of| of.connection_id.clone()),
            kind: of.map(|of| of.kind.clone()),
            level,
            now_ms: now.p50_ms,
            before_ms: before.p50_ms,
            direction: if now.p50_ms > before.p50_ms { Direction::Worse } else { Direction::Better },
        })
    };
    let mut all = vec![moved(Timed::Run, None, &durations.runs), moved(Timed::Queue, None, &durations.queue)];
    for of in &durations.by_connection {
        all.extend([moved(Timed::Run, Some(of), &of.runs), moved(Timed::Queue, Some(of), &of.queue)]);
    }

    let mut all: Vec<DurationChange> = all.into_iter().flatten().collect();
    all.sort_by_key(|change| {
        (change.connection.is_some(), Reverse((change.now_ms - change.before_ms).abs()))
    });
    all
}

/// Whether a median moved by so much that it is worth telling, and the intervals of both do not meet.
fn is_moved(now: &Percentiles, before: &Percentiles, min_runs: u64) -> bool {
    let difference = (now.p50_ms - before.p50_ms).abs();
    let is_beyond = |low: Option<i64>, high: Option<i64>| low.zip(high).is_some_and(|(low, high)| low > high);
    let is_supported =
        is_beyond(now.p50_low_ms, before.p50_high_ms) || is_beyond(before.p50_low_ms, now.p50_high_ms);
    now.count.min(before.count) >= min_runs
        && difference >= MOVED_MS
        && difference as f64 >= MOVED_SHARE * before.p50_ms as f64
        && is_supported
}

/// Only such a link may be followed: anything else is text.
pub(super) fn is_https(link: &str) -> bool {
    url::Url::parse(link).is_ok_and(|url| url.scheme() == "https" && url.has_host())
        && link.starts_with("https://")
        && !link.chars().any(|c| c.is_control() || c.is_whitespace())
}
