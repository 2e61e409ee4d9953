//! The parts that the page's charts are drawn with: frames, axes, lines, stripes, names that fit.
//!
//! In: numbers and finished texts, in units of a chart's own width, which the page scales to its column.
//! Out: SVG. Coordinates are rounded, so that the same figures give the same bytes everywhere.

use maud::{Markup, html};
use unicode_width::UnicodeWidthChar as _;

use crate::render::clean;

/// Units of a chart's width.
pub(super) const WIDTH: f64 = 440.0;
/// Where the plot begins and ends; labels of values stand to the left of it.
pub(super) const LEFT: f64 = 58.0;
pub(super) const RIGHT: f64 = 432.0;
pub(super) const TOP: f64 = 14.0;
pub(super) const BOTTOM: f64 = 170.0;

/// What stands above a chart; by its `id` the chart refers to its own texts.
pub(super) struct Caption {
    pub id: &'static str,
    pub title: &'static str,
    pub about: &'static str,
}

/// A chart in its frame: told in words, with what belongs below it.
pub(super) fn figure(caption: &Caption, text: &str, height: f64, svg: Markup, data: Markup) -> Markup {
    let Caption { id, title, about } = caption;
    html! {
        div class="chart" {
            figure {
                figcaption { (title) span { (about) } }
                svg viewBox={ "0 0 " (n(WIDTH)) " " (n(height)) } role="img" aria-labelledby={ "chart-" (id) "-title chart-" (id) "-text" } {
                    title id={ "chart-" (id) "-title" } { (title) }
                    desc id={ "chart-" (id) "-text" } { (text) }
                    (svg)
                }
            }
            (data)
        }
    }
}

/// Lines across the plot, each with its value.
pub(super) fn axis(ticks: &[f64], y: impl Fn(f64) -> f64, label: impl Fn(f64) -> String) -> Markup {
    html! {
        @for &tick in ticks {
            line class="axis" x1=(n(LEFT)) x2=(n(RIGHT)) y1=(n(y(tick))) y2=(n(y(tick))) {}
            text class="quiet" x=(n(LEFT - 6.0)) y=(n(y(tick) + 4.0)) text-anchor="end" { (label(tick)) }
        }
    }
}

/// What stands below the plot: a day, and perhaps a number.
pub(super) fn below(x: f64, is_labelled: bool, label: &str, number: &str) -> Markup {
    html! {
        @if is_labelled {
            @if x > WIDTH - 26.0 {
                text class="quiet" x=(n(WIDTH)) y=(n(BOTTOM + 17.0)) text-anchor="end" { (label) }
            } @else {
                text class="quiet" x=(n(x)) y=(n(BOTTOM + 17.0)) text-anchor="middle" { (label) }
            }
        }
        @if !number.is_empty() {
            text class={ "quiet" @if !is_labelled { " dense" } } x=(n(x)) y=(n(BOTTOM + 33.0)) text-anchor="middle" { (number) }
        }
    }
}

/// At most so many labels, the last place among them.
pub(super) fn is_labelled(place: usize, places: usize, most: usize) -> bool {
    (places - 1 - place).is_multiple_of(places.div_ceil(most).max(1))
}

/// Joined points; a gap where there is none.
pub(super) fn lines(class: &str, points: impl Iterator<Item = Option<(f64, f64)>>) -> Markup {
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

/// No chart is larger: figures that contradict each other, such as more failed runs than runs, would else ask for
/// diagonals without end.
const LONGEST_SIDE: f64 = 2_000.0;

/// Diagonals over a shape, so that color is not all that tells it apart.
pub(super) fn stripes(x: f64, y: f64, width: f64, height: f64) -> Markup {
    let (width, height) = (width.min(LONGEST_SIDE), height.min(LONGEST_SIDE));
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

/// Marks from 0 to at least this value: at most six, a round step apart that is not below `least`.
pub(super) fn ticks(value: f64, least: f64) -> Vec<f64> {
    let wanted = (value / 5.0).max(least);
    let power = 10_f64.powf(wanted.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    let step = steps.into_iter().find(|step| *step >= wanted * (1.0 - 1e-9)).unwrap_or(wanted);
    let count = (value / step - 1e-9).ceil().max(1.0) as usize;
    (0..=count).map(|place| place as f64 * step).collect()
}

/// As much of a name as fits on a chart's line before a note, by how wide its characters are at most.
pub(super) fn fit(name: &str, note: &str) -> String {
    let width = |c: char| -> f64 {
        match c {
            'i' | 'j' | 'l' | 'I' | '.' | ',' | ':' | ' ' | '\'' | '|' | '\u{a0}' => 0.4,
            'm' | 'w' | 'M' | 'W' | '@' | '%' => 1.05,
            c if c.width().unwrap_or(0) > 1 => 1.1,
            c if c.is_ascii_uppercase() || !c.is_ascii() => 0.78,
            _ => 0.64,
        }
    };
    // The larger letters of a phone.
    let room = (WIDTH - 12.0) / 14.0 - note.chars().map(width).sum::<f64>();
    let mut used = 0.0;
    let end = name.char_indices().find(|(_, c)| {
        used += width(*c);
        used > room - 1.0
    });
    match end {
        Some((at, _)) if name.chars().map(width).sum::<f64>() > room => {
            format!("{}…", name[..at].trim_end_matches('…'))
        }
        _ => name.to_owned(),
    }
}

/// A bar for each week, as high as much of it failed; a dot where nothing was rated.
pub(super) fn spark(weeks: &[(u64, u64)]) -> Markup {
    const STEP: f64 = 7.0;
    const HEIGHT: f64 = 18.0;
    let width = STEP * weeks.len().max(1) as f64;
    let failed = weeks.iter().map(|(failed, _)| failed.to_string()).collect::<Vec<_>>().join(", ");
    html! {
        svg class="spark" viewBox={ "0 0 " (n(width)) " " (n(HEIGHT)) } width=(n(width)) height=(n(HEIGHT)) role="img" aria-label={ "failed by week: " (failed) } {
            @for (place, (failed, rated)) in weeks.iter().enumerate() {
                @let x = STEP * place as f64;
                @if *rated > 0 {
                    @let share = (*failed as f64 / *rated as f64).clamp(0.0, 1.0);
                    @let high = if *failed > 0 { (share * HEIGHT).max(2.0) } else { 1.0 };
                    rect class=(if *failed > 0 { "failed" } else { "other" }) x=(n(x)) y=(n(HEIGHT - high)) width="5" height=(n(high)) {}
                }
            }
        }
    }
}

/// A coordinate, to a tenth of a unit.
pub(super) fn n(value: f64) -> String {
    trimmed((value * 10.0).round() / 10.0)
}

fn trimmed(value: f64) -> String {
    let text = format!("{value:.1}");
    text.strip_suffix(".0").map(str::to_owned).unwrap_or(text)
}

/// A share at an axis, such as `25%`.
pub(super) fn percent_tick(share: f64) -> String {
    format!("{}%", trimmed(share * 100.0))
}

/// A chart's numbers, for those who would rather read them.
pub(super) fn data_table(of: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) -> Markup {
    html! {
        details {
            summary { "Data" }
            div class="scroll" role="region" tabindex="0" aria-label={ (of) ": data" } {
                table {
                    thead { tr { @for (place, column) in columns.iter().enumerate() { th scope="col" class=[(place > 0).then_some("number")] { (column) } } } }
                    tbody { @for row in rows { tr { @for (place, cell) in row.iter().enumerate() { @if place == 0 { th scope="row" { (cell) } } @else { td class="number" { (cell) } } } } } }
                }
            }
        }
    }
}

/// Text from data, cleaned, and cut after so many characters.
pub(super) fn shown(text: &str, most: usize) -> String {
    let text = clean(text);
    let text = text.trim();
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None if text.is_empty() => "(blank)".to_owned(),
        None => text.to_owned(),
    }
}
