//! The charts of the page, as inline SVG.
//!
//! In: finished figures. Out: one figure each, with a title and a description for those who do not see it,
//! and its numbers in a table below. A value that cannot be told is a gap, never 0. What tells things
//! apart is never color alone: failed runs are striped, the slow end of durations is dashed, who can act on an
//! error is written beside it.

use maud::{Markup, html};

use super::drawing::{
    BOTTOM, Caption, LEFT, RIGHT, TOP, axis, below, figure, fit, is_labelled, lines, n, percent_tick,
    stripes, ticks,
};
use super::drawing::{data_table, shown};
use crate::render::render_count;
use crate::render::wording::{counted, day, duration, interval, novelty, percent, share};
use crate::report::figures::{
    Bucket, ConnectionRate, ErrorCode, Interval, Novelty, Percentiles, Rate, Report, Week,
};
use crate::time::UtcText;
use crate::time::zone::Step;

const HEIGHT: f64 = 210.0;
/// Connections and errors of a chart.
const ROWS: usize = 12;
/// Characters of a name in a chart.
const NAME: usize = 44;

/// The failure rate by week with its interval.
pub(super) fn weekly_rates(report: &Report) -> Markup {
    let weeks = &report.weeks;
    let highest = weeks.iter().filter_map(|week| week.rate.interval).map(|interval| interval.high);
    // The axis reaches 5 % at least: where next to nothing fails, a single failure would else fill the chart.
    let marks = ticks(highest.fold(0.05, f64::max).min(1.0), 0.01);
    let top = marks.last().copied().unwrap_or(1.0);
    let x = |place: usize| LEFT + (RIGHT - LEFT) * (place as f64 + 0.5) / weeks.len().max(1) as f64;
    let y = |rate: f64| BOTTOM - (BOTTOM - TOP) * rate / top;
    let label = |at| day(at, &report.zone, &report.as_of);
    let text = match (weeks.first().and_then(|week| week.rate.failure_rate), weeks.last()) {
        (_, Some(last)) if last.rate.failure_rate.is_none() => {
            "No run of the last week can be rated.".to_owned()
        }
        (first, Some(last)) => format!(
            "{} in the last week, {} in the first of {}.",
            rate(&last.rate),
            first.map_or_else(|| "none rated".to_owned(), percent),
            counted(weeks.len() as u64, "week")
        ),
        _ => "There are no weeks.".to_owned(),
    };
    let points =
        weeks.iter().enumerate().map(|(place, week)| week.rate.failure_rate.map(|rate| (x(place), y(rate))));
    let svg = html! {
        (axis(&marks, y, percent_tick))
        @for (place, week) in weeks.iter().enumerate() {
            @if let (Some(rate), Some(Interval { low, high })) = (week.rate.failure_rate, week.rate.interval) {
                g {
                    title { (label(&week.period.since)) ": " (percent(rate)) ", " (share(week.rate.failed, week.rate.rated)) }
                    line class="whisker" x1=(n(x(place))) x2=(n(x(place))) y1=(n(y(low))) y2=(n(y(high))) {}
                    line class="whisker" x1=(n(x(place) - 3.0)) x2=(n(x(place) + 3.0)) y1=(n(y(high))) y2=(n(y(high))) {}
                    line class="whisker" x1=(n(x(place) - 3.0)) x2=(n(x(place) + 3.0)) y1=(n(y(low))) y2=(n(y(low))) {}
                    circle class="dot" cx=(n(x(place))) cy=(n(y(rate))) r="3.5" {}
                }
            }
            (below(x(place), is_labelled(place, weeks.len(), 4), &date(&week.period.since, report), &render_count(week.rate.rated)))
        }
        (lines("rate", points))
    };
    let rows = weeks.iter().map(|week| {
        vec![
            label(&week.period.since),
            share(week.rate.failed, week.rate.rated),
            or_dash(week.rate.failure_rate.map(percent)),
            or_dash(week.rate.interval.map(interval)),
        ]
    });
    figure(
        &Caption {
            id: "weeks",
            title: "Failure rate by week",
            about: "95% interval; below each week the runs it stands on",
        },
        &text,
        HEIGHT,
        svg,
        data_table("Failure rate by week", &["week from", "failed", "rate", "95% interval"], rows),
    )
}

type Layer = (&'static str, &'static str, fn(&Rate) -> u64);

/// How runs come out, from the axis up: a class, the words, the number.
const LAYERS: [Layer; 5] = [
    ("failed", "failed", |rate| rate.failed),
    ("partly", "partly succeeded", |rate| rate.partly_succeeded),
    ("succeeded", "succeeded", |rate| rate.succeeded),
    ("other", "canceled, skipped, undetermined", |rate| rate.canceled + rate.skipped + rate.undetermined),
    ("unfinished", "unfinished", |rate| rate.unfinished),
];

/// Where each part of a column begins and ends; parts without a run are left out.
fn stacked(rate: &Rate) -> Vec<(&'static str, u64, u64)> {
    let mut under = 0_u64;
    let parts = LAYERS.iter().map(|(class, _, of)| {
        let from = under;
        under = under.saturating_add(of(rate));
        (*class, from, under)
    });
    parts.filter(|(_, from, to)| to > from).collect()
}

/// Runs by day, stacked by how they came out.
pub(super) fn daily_runs(report: &Report) -> Markup {
    let buckets = &report.buckets.all;
    let most = buckets.iter().map(|bucket| bucket.rate.runs).max().unwrap_or(0);
    // The axis reaches four runs at least, or one run a day would look like as many as there can be.
    let marks = ticks(most.max(4) as f64, 1.0);
    let top = marks.last().copied().unwrap_or(1.0);
    let step = (RIGHT - LEFT) / buckets.len().max(1) as f64;
    let width = (step * 0.72).min(44.0);
    let y = |runs: f64| BOTTOM - (BOTTOM - TOP) * runs / top;
    let label = |at| day(at, &report.zone, &report.as_of);
    let svg = html! {
        (axis(&marks, y, count_tick))
        @for (place, bucket) in buckets.iter().enumerate() {
            @let x = LEFT + step * (place as f64 + 0.5) - width / 2.0;
            g {
                title {
                    (label(&bucket.period.since)) ": " (counted(bucket.rate.runs, "run"))
                    @for (_, name, of) in LAYERS { @if of(&bucket.rate) > 0 { ", " (of(&bucket.rate)) " " (name) } }
                }
                @for (class, from, to) in stacked(&bucket.rate) {
                    @let (high, low) = (y(to as f64), y(from as f64));
                    rect class=(class) x=(n(x)) width=(n(width)) y=(n(high)) height=(n(low - high)) {}
                    @if class == "failed" { (stripes(x, high, width, low - high)) }
                }
            }
            (below(x + width / 2.0, is_labelled(place, buckets.len(), if buckets.len() > 7 { 5 } else { 7 }), &date(&bucket.period.since, report), ""))
        }
    };
    let rows = buckets.iter().map(|bucket| {
        let mut row = vec![label(&bucket.period.since), render_count(bucket.rate.runs)];
        row.extend(LAYERS.iter().map(|(_, _, of)| render_count(of(&bucket.rate))));
        row
    });
    let text = format!(
        "{} in {}, {} failed.",
        counted(report.total.now.runs, "run"),
        counted(buckets.len() as u64, report.buckets.unit.as_str()),
        render_count(report.total.now.failed)
    );
    let title = match report.buckets.unit {
        Step::Day => "Runs by day",
        Step::Week => "Runs by week",
    };
    let data = data_table(
        title,
        &[report.buckets.unit.as_str(), "runs", "failed", "partly", "succeeded", "not rated", "unfinished"],
        rows,
    );
    figure(
        &Caption { id: "days", title, about: "by how they came out" },
        &text,
        196.0,
        svg,
        html! { (legend(buckets)) (data) },
    )
}

/// The layers that a chart of these buckets shows, each beside its color.
fn legend(buckets: &[Bucket]) -> Markup {
    html! {
        ul class="legend" {
            @for (class, name, of) in LAYERS {
                @if buckets.iter().any(|bucket| of(&bucket.rate) > 0) {
                    li {
                        svg viewBox="0 0 14 14" aria-hidden="true" {
                            rect class=(class) x="1" y="1" width="12" height="12" {}
                            @if class == "failed" { (stripes(1.0, 1.0, 12.0, 12.0)) }
                        }
                        (name)
                    }
                }
            }
        }
    }
}

/// A line of the chart of durations, by the class that colors it.
struct Line {
    class: &'static str,
    dot: &'static str,
    name: &'static str,
    of: fn(&Percentiles) -> i64,
}

const LINES: [Line; 2] = [
    Line { class: "median", dot: "median-dot", name: "median", of: |durations| durations.p50_ms },
    Line { class: "p95", dot: "p95-dot", name: "95th percentile", of: |durations| durations.p95_ms },
];

/// A unit in which durations up to this one are numbers of few digits, and its milliseconds.
fn unit_of(longest_ms: i64) -> (&'static str, f64) {
    match longest_ms {
        0..120_000 => ("s", 1_000.0),
        120_000..7_200_000 => ("min", 60_000.0),
        _ => ("h", 3_600_000.0),
    }
}

/// The failure rate of each connection as a point on its interval.
pub(super) fn connection_rates(report: &Report) -> Markup {
    let rated = |connection: &&ConnectionRate| connection.rate.now.rated > 0;
    let connections: Vec<&ConnectionRate> = report.connections.iter().filter(rated).take(ROWS).collect();
    // Each connection takes two lines, its name above its interval, and the axis stands below them all.
    let height = 30.0 + 40.0 * connections.len() as f64;
    let x = |rate: f64| 8.0 + (RIGHT - 8.0) * rate;
    let svg = html! {
        @for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
            line class="axis" x1=(n(x(tick))) x2=(n(x(tick))) y1="4" y2=(n(height - 22.0)) {}
            text class="quiet" x=(n(x(tick))) y=(n(height - 6.0)) text-anchor=(if tick == 0.0 { "start" } else if tick == 1.0 { "end" } else { "middle" }) { (percent_tick(tick)) }
        }
        @for (place, connection) in connections.iter().enumerate() {
            @let y = 16.0 + 40.0 * place as f64;
            @let now = &connection.rate.now;
            @if let (Some(rate), Some(Interval { low, high })) = (now.failure_rate, now.interval) {
                g {
                    title { (shown(&connection.connection, NAME)) ": " (percent(rate)) " " (interval(Interval { low, high })) }
                    @let note = format!("  {}", share(now.failed, now.rated));
                    text x="8" y=(n(y)) { (fit(&shown(&connection.connection, NAME), &note)) tspan class="quiet" { (note) } }
                    line class="whisker" x1=(n(x(low))) x2=(n(x(high))) y1=(n(y + 11.0)) y2=(n(y + 11.0)) stroke-linecap="round" {}
                    circle class="dot" cx=(n(x(rate))) cy=(n(y + 11.0)) r="4.5" {}
                }
            }
        }
    };
    let text = match connections.first() {
        Some(worst) => {
            format!("The most failed runs: {}, {}.", shown(&worst.connection, NAME), rate(&worst.rate.now))
        }
        None => "No run can be rated.".to_owned(),
    };
    let rows = connections.iter().map(|connection| {
        let now = &connection.rate.now;
        vec![
            shown(&connection.connection, 200),
            share(now.failed, now.rated),
            or_dash(now.failure_rate.map(percent)),
            or_dash(now.interval.map(interval)),
        ]
    });
    let data =
        data_table("Failure rate by connection", &["connection", "failed", "rate", "95% interval"], rows);
    figure(
        &Caption {
            id: "connections",
            title: "Failure rate by connection",
            about: "the line is the 95% interval: long where it stands on few runs",
        },
        &text,
        height,
        svg,
        data,
    )
}

/// The errors that hit the most runs.
pub(super) fn errors(report: &Report) -> Markup {
    let groups = [
        ("users", "users can fix", &report.errors.users),
        ("platform", "platform", &report.errors.system),
        ("unsaid", "not said", &report.errors.unknown),
    ];
    let mut errors: Vec<(&str, &str, &ErrorCode)> = groups
        .iter()
        .flat_map(|(class, who, list)| list.iter().map(move |error| (*class, *who, error)))
        .collect();
    // The report has a list for each who can act; here they stand in one order before the chart is cut.
    errors.sort_by_key(|(_, _, error)| std::cmp::Reverse(error.runs));
    errors.truncate(ROWS);
    let most = errors.iter().map(|(_, _, error)| error.runs).max().unwrap_or(1).max(1);
    let name = |error: &ErrorCode| {
        let names = error.names();
        names.first().map_or_else(|| "without key or code".to_owned(), |name| shown(name, NAME))
    };
    let note = |who: &str, error: &ErrorCode| match error.novelty {
        Novelty::Known => format!("  {}, {who}", counted(error.runs, "run")),
        Novelty::New | Novelty::Returned => {
            format!("  {}, {who}, {}", counted(error.runs, "run"), novelty(error.novelty))
        }
    };
    let height = 40.0 * errors.len() as f64 + 4.0;
    let svg = html! {
        @for (place, (class, who, error)) in errors.iter().enumerate() {
            @let y = 12.0 + 40.0 * place as f64;
            @let width = (RIGHT - 8.0) * error.runs as f64 / most as f64;
            g {
                title { (name(error)) ": " (counted(error.runs, "run")) ", " (who) }
                text x="8" y=(n(y)) { (fit(&name(error), &note(who, error))) tspan class="quiet" { (note(who, error)) } }
                rect class=(class) x="8" y=(n(y + 6.0)) width=(n(width.max(1.0))) height="9" {}
            }
        }
    };
    let text = errors.first().map_or_else(
        || "No error.".to_owned(),
        |(_, who, error)| format!("Most runs: {}, {}, {who}.", name(error), counted(error.runs, "run")),
    );
    let rows = errors.iter().map(|(_, who, error)| {
        vec![name(error), (*who).to_owned(), render_count(error.runs), render_count(error.runs_before)]
    });
    let data = data_table("Errors by runs hit", &["error", "who can act", "runs", "before"], rows);
    figure(
        &Caption { id: "errors", title: "Errors by runs hit", about: "and who can act" },
        &text,
        height,
        svg,
        data,
    )
}

/// Medians and 95th percentiles of run durations by week.
pub(super) fn weekly_durations(report: &Report) -> Markup {
    let weeks = &report.weeks;
    let most =
        weeks.iter().filter_map(|week| week.durations).map(|durations| durations.p95_ms).max().unwrap_or(0);
    let (unit, unit_ms) = unit_of(most);
    let marks = ticks((most as f64 / unit_ms).max(1.0), 1.0);
    let top = marks.last().copied().unwrap_or(1.0);
    let x = |place: usize| LEFT + (RIGHT - LEFT) * (place as f64 + 0.5) / weeks.len().max(1) as f64;
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / top;
    let label = |at| day(at, &report.zone, &report.as_of);
    // A week without a duration is a gap in the line: a zero would show runs that took no time.
    let points = |of: fn(&Percentiles) -> i64| {
        let point = move |(place, week): (usize, &Week)| {
            week.durations.map(|durations| (x(place), y(of(&durations) as f64 / unit_ms)))
        };
        weeks.iter().enumerate().map(point)
    };
    let svg = html! {
        (axis(&marks, y, |value| format!("{} {unit}", n(value))))
        @for Line { class, dot, name, of } in LINES {
            (lines(class, points(of)))
            @for (week, point) in weeks.iter().zip(points(of)) {
                @if let (Some((x, y)), Some(durations)) = (point, &week.durations) {
                    circle class=(dot) cx=(n(x)) cy=(n(y)) r="3" {
                        title { (label(&week.period.since)) ", " (name) ": " (duration(of(durations))) }
                    }
                }
            }
        }
        @for (place, week) in weeks.iter().enumerate() {
            (below(x(place), is_labelled(place, weeks.len(), 4), &date(&week.period.since, report), ""))
        }
    };
    let text = match weeks.last().and_then(|week| week.durations) {
        Some(last) => format!(
            "In the last week the median run took {}, the 95th percentile {}.",
            duration(last.p50_ms),
            duration(last.p95_ms)
        ),
        None => "No run of the last week has a duration.".to_owned(),
    };
    let below = html! {
        ul class="legend" {
            @for Line { class, name, .. } in LINES {
                li { svg class="wide" viewBox="0 0 24 14" aria-hidden="true" { path class=(class) d="M0 7L24 7" {} } (name) }
            }
        }
        (durations_table(report))
    };
    figure(
        &Caption { id: "durations", title: "Durations of runs by week", about: "median and 95th percentile" },
        &text,
        196.0,
        svg,
        below,
    )
}

/// The same durations in a table, for readers who do not see the chart.
fn durations_table(report: &Report) -> Markup {
    let of = |ms: Option<i64>| or_dash(ms.map(duration));
    let rows = report.weeks.iter().map(|week| {
        let durations = week.durations;
        vec![
            day(&week.period.since, &report.zone, &report.as_of),
            durations.map_or_else(|| "0".to_owned(), |durations| render_count(durations.count)),
            of(durations.map(|durations| durations.p50_ms)),
            of(durations.map(|durations| durations.p95_ms)),
            of(durations.map(|durations| durations.max_ms)),
        ]
    });
    data_table("Durations of runs by week", &["week from", "runs", "median", "p95", "longest"], rows)
}

fn rate(rate: &Rate) -> String {
    or_dash(rate.failure_rate.map(percent))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// `16 Nov`, without a year: there is no room for it below a column.
fn date(time: &UtcText, report: &Report) -> String {
    report.zone.local(time).format("%-d\u{a0}%b").to_string()
}

/// A number of runs at an axis, short where it is large.
fn count_tick(value: f64) -> String {
    if value >= 1e6 { format!("{}M", n(value / 1e6)) } else { render_count(value as i64) }
}
