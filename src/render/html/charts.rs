//! The charts of the page, as inline SVG.
//!
//! In: finished figures. Out: one figure each, with a title and a description for those who do not see it,
//! and its numbers in a table below. A value that cannot be told is a gap, never 0. What tells things
//! apart is never color alone: failed runs are striped, the slow end of durations is dashed.

use maud::{Markup, html};

use super::{data_table, shown};
use crate::render::render_count;
use crate::render::wording::{counted, day, duration, interval, novelty, percent, share};
use crate::report::figures::{ConnectionRate, ErrorCode, Interval, Rate, Report};

/// Units of a chart's width; the page scales it to its column.
const WIDTH: f64 = 440.0;
const HEIGHT: f64 = 210.0;
/// Where the plot begins and ends.
const LEFT: f64 = 44.0;
const RIGHT: f64 = 432.0;
const TOP: f64 = 14.0;
const BOTTOM: f64 = 170.0;
/// Connections and errors of a chart.
const ROWS: usize = 12;
/// Characters of a name in a chart.
const NAME: usize = 44;

/// The failure rate by week with its interval.
pub(super) fn weekly_rates(report: &Report) -> Markup {
    let weeks = &report.weeks;
    let highest = weeks.iter().filter_map(|week| week.rate.interval).map(|interval| interval.high);
    let top = nice(highest.fold(0.05, f64::max).min(1.0), 1.0);
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
        (axis(&[0.0, top / 2.0, top], y, percent_tick))
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
            (below(x(place), is_labelled(place, weeks.len(), 4), &short(&label(&week.period.since)), &render_count(week.rate.rated)))
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
        "weeks",
        "Failure rate by week",
        "95% interval; below each week the runs it stands on",
        &text,
        HEIGHT,
        svg,
        data_table(&["week from", "failed", "rate", "95% interval"], rows),
    )
}

/// Runs by day, stacked by how they came out.
pub(super) fn daily_runs(report: &Report) -> Markup {
    type Layer = (&'static str, &'static str, fn(&Rate) -> u64);
    const LAYERS: [Layer; 5] = [
        ("failed", "failed", |rate| rate.failed),
        ("partly", "partly succeeded", |rate| rate.partly_succeeded),
        ("succeeded", "succeeded", |rate| rate.succeeded),
        ("other", "canceled, skipped, undetermined", |rate| rate.canceled + rate.skipped + rate.undetermined),
        ("unfinished", "unfinished", |rate| rate.unfinished),
    ];
    let buckets = &report.buckets.all;
    let most = buckets.iter().map(|bucket| bucket.rate.runs).max().unwrap_or(0);
    let top = nice(most.max(4) as f64, 4.0).max(4.0);
    let step = (RIGHT - LEFT) / buckets.len().max(1) as f64;
    let width = (step * 0.72).min(44.0);
    let y = |runs: f64| BOTTOM - (BOTTOM - TOP) * runs / top;
    let label = |at| day(at, &report.zone, &report.as_of);
    let svg = html! {
        (axis(&[0.0, top / 2.0, top], y, |value| render_count(value as i64)))
        @for (place, bucket) in buckets.iter().enumerate() {
            @let x = LEFT + step * (place as f64 + 0.5) - width / 2.0;
            @let mut under = 0_u64;
            g {
                title {
                    (label(&bucket.period.since)) ": " (counted(bucket.rate.runs, "run"))
                    @for (_, name, of) in LAYERS { @if of(&bucket.rate) > 0 { ", " (of(&bucket.rate)) " " (name) } }
                }
                @for (class, _, of) in LAYERS {
                    @let runs = of(&bucket.rate);
                    @if runs > 0 {
                        @let (high, low) = (y((under + runs) as f64), y(under as f64));
                        rect class=(class) x=(n(x)) width=(n(width)) y=(n(high)) height=(n(low - high)) {}
                        @if class == "failed" { (stripes(x, high, width, low - high)) }
                    }
                    @let _ = { under += runs; };
                }
            }
            (below(x + width / 2.0, is_labelled(place, buckets.len(), 7), &short(&label(&bucket.period.since)), ""))
        }
    };
    let legend = html! {
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
    };
    let rows = buckets.iter().map(|bucket| {
        let mut row = vec![label(&bucket.period.since), render_count(bucket.rate.runs)];
        row.extend(LAYERS.iter().map(|(_, _, of)| render_count(of(&bucket.rate))));
        row
    });
    let text = format!(
        "{} in {}, {} failed.",
        counted(report.total.now.runs, "run"),
        counted(buckets.len() as u64, report.buckets.unit),
        render_count(report.total.now.failed)
    );
    let title = if report.buckets.unit == "day" { "Runs by day" } else { "Runs by week" };
    let data = data_table(
        &[report.buckets.unit, "runs", "failed", "partly", "succeeded", "not rated", "unfinished"],
        rows,
    );
    figure("days", title, "by how they came out", &text, 196.0, svg, html! { (legend) (data) })
}

/// The failure rate of each connection as a point on its interval.
pub(super) fn connection_rates(report: &Report) -> Markup {
    let rated = |connection: &&ConnectionRate| connection.rate.now.rated > 0;
    let connections: Vec<&ConnectionRate> = report.connections.iter().filter(rated).take(ROWS).collect();
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
                    text x="8" y=(n(y)) { (shown(&connection.connection, NAME)) tspan class="quiet" { "  " (share(now.failed, now.rated)) } }
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
    let data = data_table(&["connection", "failed", "rate", "95% interval"], rows);
    figure(
        "connections",
        "Failure rate by connection",
        "the line is the 95% interval: long where it stands on few runs",
        &text,
        height,
        svg,
        data,
    )
}

/// The errors that hit the most runs.
pub(super) fn errors(report: &Report) -> Markup {
    let groups = [
        ("failed", "users can fix", &report.errors.users),
        ("succeeded", "platform", &report.errors.system),
        ("other", "not said", &report.errors.unknown),
    ];
    let mut errors: Vec<(&str, &str, &ErrorCode)> = groups
        .iter()
        .flat_map(|(class, who, list)| list.iter().map(move |error| (*class, *who, error)))
        .collect();
    errors.sort_by_key(|(_, _, error)| std::cmp::Reverse(error.runs));
    errors.truncate(ROWS);
    let most = errors.iter().map(|(_, _, error)| error.runs).max().unwrap_or(1).max(1);
    let name = |error: &ErrorCode| {
        let names = error.names();
        names.first().map_or_else(|| "without key or code".to_owned(), |name| shown(name, NAME))
    };
    let height = 40.0 * errors.len() as f64 + 4.0;
    let svg = html! {
        @for (place, (class, who, error)) in errors.iter().enumerate() {
            @let y = 12.0 + 40.0 * place as f64;
            @let width = (RIGHT - 8.0) * error.runs as f64 / most as f64;
            g {
                title { (name(error)) ": " (counted(error.runs, "run")) ", " (who) }
                text x="8" y=(n(y)) { (name(error)) tspan class="quiet" { "  " (counted(error.runs, "run")) ", " (who) @if !novelty(error.novelty).is_empty() { ", " (novelty(error.novelty)) } } }
                rect class=(class) x="8" y=(n(y + 6.0)) width=(n(width.max(1.0))) height="9" {}
                @if *class == "failed" { (stripes(8.0, y + 6.0, width, 9.0)) }
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
    let data = data_table(&["error", "who can act", "runs", "before"], rows);
    figure("errors", "Errors by runs hit", "and who can act", &text, height, svg, data)
}

/// Medians and 95th percentiles of run durations by week.
pub(super) fn weekly_durations(report: &Report) -> Markup {
    let weeks = &report.weeks;
    let most =
        weeks.iter().filter_map(|week| week.durations).map(|durations| durations.p95_ms).max().unwrap_or(0);
    let (unit, unit_ms) = match most {
        0..120_000 => ("s", 1_000.0),
        120_000..7_200_000 => ("min", 60_000.0),
        _ => ("h", 3_600_000.0),
    };
    let top = nice((most as f64 / unit_ms).max(1.0), 1.0);
    let x = |place: usize| LEFT + (RIGHT - LEFT) * (place as f64 + 0.5) / weeks.len().max(1) as f64;
    let y = |value: f64| BOTTOM - (BOTTOM - TOP) * value / top;
    let label = |at| day(at, &report.zone, &report.as_of);
    let line = |of: fn(&crate::report::figures::Percentiles) -> i64| {
        let at = move |ms: i64| y(ms as f64 / unit_ms);
        weeks
            .iter()
            .enumerate()
            .map(move |(place, week)| week.durations.map(|durations| (x(place), at(of(&durations)))))
            .collect::<Vec<_>>()
    };
    let (median, p95) = (line(|durations| durations.p50_ms), line(|durations| durations.p95_ms));
    let svg = html! {
        (axis(&[0.0, top / 2.0, top], y, |value| format!("{} {unit}", trimmed(value))))
        @for (class, dot, points, name) in [("median", "median-dot", &median, "median"), ("p95", "p95-dot", &p95, "95th percentile")] {
            (lines(class, points.iter().copied()))
            @for (place, point) in points.iter().enumerate() {
                @if let (Some((x, y)), Some(week)) = (point, weeks.get(place)) {
                    circle class=(dot) cx=(n(*x)) cy=(n(*y)) r="3" {
                        title { (label(&week.period.since)) ", " (name) ": " (or_dash(week.durations.map(|durations| duration(if class == "p95" { durations.p95_ms } else { durations.p50_ms })))) }
                    }
                }
            }
            @if let Some((_, y)) = points.iter().flatten().next() {
                text x=(n(LEFT + 4.0)) y=(n(*y - 8.0)) { (name) }
            }
        }
        @for (place, week) in weeks.iter().enumerate() {
            (below(x(place), is_labelled(place, weeks.len(), 4), &short(&label(&week.period.since)), ""))
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
    let of = |ms: Option<i64>| or_dash(ms.map(duration));
    let rows = weeks.iter().map(|week| {
        let durations = week.durations;
        vec![
            label(&week.period.since),
            durations.map_or_else(|| "0".to_owned(), |durations| render_count(durations.count)),
            of(durations.map(|durations| durations.p50_ms)),
            of(durations.map(|durations| durations.p95_ms)),
            of(durations.map(|durations| durations.max_ms)),
        ]
    });
    figure(
        "durations",
        "Durations of runs by week",
        "median and 95th percentile",
        &text,
        196.0,
        svg,
        data_table(&["week from", "runs", "median", "p95", "longest"], rows),
    )
}

fn figure(id: &str, title: &str, about: &str, text: &str, height: f64, svg: Markup, data: Markup) -> Markup {
    html! {
        figure {
            figcaption { (title) span { (about) } }
            svg viewBox={ "0 0 " (n(WIDTH)) " " (n(height)) } role="img" aria-labelledby={ "chart-" (id) "-title chart-" (id) "-text" } {
                title id={ "chart-" (id) "-title" } { (title) }
                desc id={ "chart-" (id) "-text" } { (text) }
                (svg)
            }
            (data)
        }
    }
}

fn axis(ticks: &[f64], y: impl Fn(f64) -> f64, label: impl Fn(f64) -> String) -> Markup {
    html! {
        @for &tick in ticks {
            line class="axis" x1=(n(LEFT)) x2=(n(RIGHT)) y1=(n(y(tick))) y2=(n(y(tick))) {}
            text class="quiet" x=(n(LEFT - 6.0)) y=(n(y(tick) + 4.0)) text-anchor="end" { (label(tick)) }
        }
    }
}

/// What stands below the plot: a day, and perhaps a number.
fn below(x: f64, is_labelled: bool, label: &str, number: &str) -> Markup {
    html! {
        @if is_labelled { text class="quiet" x=(n(x)) y=(n(BOTTOM + 17.0)) text-anchor="middle" { (label) } }
        @if !number.is_empty() {
            text class={ "quiet" @if !is_labelled { " dense" } } x=(n(x)) y=(n(BOTTOM + 33.0)) text-anchor="middle" { (number) }
        }
    }
}

/// At most so many labels, the last place among them.
fn is_labelled(place: usize, places: usize, most: usize) -> bool {
    (places - 1 - place).is_multiple_of(places.div_ceil(most).max(1))
}

/// Joined points; a gap where there is none.
fn lines(class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) -> Markup {
    let mut path = String::new();
    let mut is_down = false;
    for point in points {
        if let Some((x, y)) = point {
            path.push_str(&format!("{}{} {} ", if is_down { 'L' } else { 'M' }, n(x), n(y)));
        }
        is_down = point.is_some();
    }
    html! { @if !path.is_empty() { path class=(class) d=(path.trim_end()) {} } }
}

/// Diagonals over a shape, so that color is not all that tells it apart.
fn stripes(x: f64, y: f64, width: f64, height: f64) -> Markup {
    let mut path = String::new();
    let mut offset = 5.0;
    while offset < width + height {
        // From the upper edge or the right one down to the left edge or the lower one.
        let (x1, y1) = (offset.min(width), (offset - width).max(0.0));
        let (x2, y2) = ((offset - height).max(0.0), offset.min(height));
        path.push_str(&format!("M{} {}L{} {}", n(x + x1), n(y + y1), n(x + x2), n(y + y2)));
        offset += 7.0;
    }
    html! { path class="stripe" d=(path) {} }
}

/// The next number of 1, 2, 5 or 10 times a power of ten, and so many steps at least.
fn nice(value: f64, least: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    let found = [1.0, 2.0, 2.5, 4.0, 5.0, 6.0, 8.0, 10.0]
        .into_iter()
        .map(|step| step * power)
        .find(|step| *step >= value - 1e-9);
    let found = found.unwrap_or(value);
    if least > 1.0 {
        (found / least).ceil() * least
    } else {
        found.min(if value <= 1.0 { 1.0 } else { f64::MAX })
    }
}

/// A coordinate, to a tenth of a unit.
fn n(value: f64) -> String {
    trimmed((value * 10.0).round() / 10.0)
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

fn percent_tick(share: f64) -> String {
    format!("{}%", trimmed(share * 100.0))
}

fn rate(rate: &Rate) -> String {
    or_dash(rate.failure_rate.map(percent))
}

fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| "–".to_owned())
}

/// `16 Nov` of `Mon 16 Nov`.
fn short(label: &str) -> String {
    let words: Vec<&str> = label.split(['\u{a0}', ' ']).collect();
    match words.as_slice() {
        [weekday, rest @ ..] if weekday.chars().all(char::is_alphabetic) => rest.join("\u{a0}"),
        words => words.join("\u{a0}"),
    }
}
