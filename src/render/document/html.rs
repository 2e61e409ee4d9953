//! The report as one page: for a browser, a phone, a mail attachment or paper, light and dark.
//!
//! In: the finished figures. Out: one self-contained file without script and without any request; what it
//! says is what text and Markdown say, with charts beside it. What comes from data is cleaned, cut and
//! escaped; the only links lead to help articles, by https.

mod charts;
mod drawing;

use maud::{DOCTYPE, Markup, PreEscaped, html};

use drawing::shown;

use super::{Align, Block, Document, Grid, GridCell, Inline, Phrase, Row, Section, Topic};
use crate::render::render_count;
use crate::render::wording::{counted, duration, interval, percent, period, share};
use crate::report::figures::{Rate, Report};
use crate::time::ago;

const STYLE: &str = include_str!("html/page.css");
/// Nothing is loaded and nothing runs, whatever is in the data.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'";
/// Buckets of the grid that are labelled each.
const LABELLED: usize = 14;

/// A report's document as a page; charts are drawn of the figures.
pub(in crate::render) fn render(document: &Document, report: &Report) -> String {
    let is_empty = report.coverage.connections.is_empty();
    let (tops, sections): (Vec<&Section>, Vec<&Section>) =
        document.0.iter().partition(|section| section.topic == Topic::Summary);
    // Each table that scrolls is a region with a label of its own, as screen readers ask for.
    let mut ids = 0;
    let mut id = || {
        ids += 1;
        ids
    };
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content=(POLICY);
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="referrer" content="no-referrer";
                link rel="icon" href="data:,";
                title { (title(report)) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                a class="skip" href="#report" { "Skip to the report" }
                div class="page" {
                    header {
                        h1 { "Exports, " (period(&report.period, &report.zone)) }
                        @for block in tops.iter().flat_map(|section| &section.blocks) {
                            @match block {
                                Block::Headline(tone, word, what) => p class={ "headline " (tone.name()) } {
                                    span class="sign" aria-hidden="true" { (tone.sign()) } " "
                                    strong { (word) ":" } " " (show(what))
                                },
                                Block::Verdict(sentence) => p class="verdict" { (sentence) },
                                _ => div class="meta" { (show_block(block, "Summary", &mut id)) },
                            }
                        }
                        @if !is_empty { (tiles(report)) }
                    }
                    main id="report" {
                        @for section in sections { (show_section(section, report, &mut id)) }
                    }
                    footer { p { "Made by archive " (env!("CARGO_PKG_VERSION")) ". Ages are counted to " (report.zone.show_minute(&report.as_of)) " (" (report.zone) ")." } }
                }
            }
        }
    };
    page.into_string() + "\n"
}

fn title(report: &Report) -> String {
    let rate = match report.total.now.failure_rate {
        Some(rate) => format!("{} failed", percent(rate)),
        None => "no rate".to_owned(),
    };
    format!("Exports {}: {rate}", period(&report.period, &report.zone))
}

/// The key figures at a glance.
fn tiles(report: &Report) -> Markup {
    let (now, unfinished, masked) = (&report.total.now, &report.unfinished, &report.masked);
    let tile = |name: &str, figure: String, note: String| {
        html! { div { dt { (name) } dd { (figure) small { (note) } } } }
    };
    let interval = now.interval.map_or_else(
        || "nothing rated".to_owned(),
        |found| {
            format!("{}, {}", share(now.failed, now.rated), interval(found).replace('–', "\u{2060}–\u{2060}"))
        },
    );
    let median = report.durations.runs.now;
    html! {
        dl class="tiles" {
            (tile("Runs started", render_count(now.runs), format!("{} before", render_count(report.total.before.runs))))
            (tile("Failure rate", now.failure_rate.map_or_else(|| "–".to_owned(), percent), interval))
            (tile("Masked failures", render_count(masked.runs), format!("of {} that say Success", render_count(masked.succeeded))))
            (tile("Unfinished", render_count(unfinished.runs), format!("{} stuck for over a day", render_count(unfinished.stuck))))
            @if let Some(median) = median {
                (tile("Median run", duration(median.p50_ms), format!("p95 {}", duration(median.p95_ms))))
            }
            @match report.verdict.complete_as_of {
                Some(complete) => (tile("Archived whole", if complete > report.as_of { "now".to_owned() } else { ago(&complete, &report.as_of) }, report.zone.show_minute(&complete))),
                None => (tile("Archived whole", "not proved".to_owned(), format!("for all of {}", counted(report.coverage.connections.len() as u64, "connection")))),
            }
        }
    }
}

fn show_section(section: &Section, report: &Report, id: &mut impl FnMut() -> usize) -> Markup {
    let title = section.topic.title().unwrap_or_default();
    html! {
        section {
            h2 { (title) }
            (show_charts(section.topic, report, id))
            @for run in section.blocks.chunk_by(|one, next| list_of(one).is_some() && list_of(one) == list_of(next)) {
                @match run.first().and_then(list_of) {
                    Some(ListKind::Items) => ul { @for block in run { @if let Block::Item(phrase) = block { li { (show(phrase)) } } } },
                    Some(ListKind::Terms) => dl class="words" { @for block in run { @if let Block::Term(word, meaning) = block { dt { (word) } dd { (meaning) } } } },
                    None => { @for block in run { (show_block(block, title, id)) } },
                }
            }
        }
    }
}

/// The charts that say what the section says.
fn show_charts(topic: Topic, report: &Report, id: &mut impl FnMut() -> usize) -> Markup {
    let errors = &report.errors;
    match topic {
        Topic::Rates => html! {
            div class="charts" {
                @if report.total.now.rated > 0 { (charts::connection_rates(report)) }
                (charts::daily_runs(report))
            }
            (heat(report, id))
        },
        Topic::Errors
            if [&errors.users, &errors.system, &errors.unknown].iter().any(|list| !list.is_empty()) =>
        {
            html! { div class="charts" { (charts::errors(report)) } }
        }
        Topic::Trend => html! {
            div class="charts" {
                @if report.weeks.iter().any(|week| week.rate.rated > 0) { (charts::weekly_rates(report)) }
                @if report.weeks.iter().any(|week| week.durations.is_some()) { (charts::weekly_durations(report)) }
            }
        },
        _ => html! {},
    }
}

/// A list that blocks of one kind make where they follow each other.
#[derive(PartialEq)]
enum ListKind {
    Items,
    Terms,
}

fn list_of(block: &Block) -> Option<ListKind> {
    match block {
        Block::Item(_) => Some(ListKind::Items),
        Block::Term(..) => Some(ListKind::Terms),
        _ => None,
    }
}

fn show_block(block: &Block, title: &str, id: &mut impl FnMut() -> usize) -> Markup {
    match block {
        Block::Heading(heading) => html! { h3 { (heading) } },
        Block::Paragraph(phrase) | Block::Line(phrase) => html! { p { (show(phrase)) } },
        Block::Headline(_, word, what) => html! { p { strong { (word) ":" } " " (show(what)) } },
        Block::Card(card) => html! {
            div class={ "card " (card.tone.name()) } {
                h3 { span class="sign" aria-hidden="true" { (card.tone.sign()) } " " (show(&card.title)) }
                @for line in &card.lines { p { (show(line)) } }
            }
        },
        Block::Verdict(sentence) => html! { p { strong { (sentence) } } },
        Block::Item(phrase) => html! { ul { li { (show(phrase)) } } },
        Block::Term(word, meaning) => html! { dl class="words" { dt { (word) } dd { (meaning) } } },
        Block::Commands(commands) => html! { pre { code { (commands.join("\n")) } } },
        Block::Grid(grid) => scrolled(id(), title, show_grid(grid)),
    }
}

/// A table that may be wider than the page scrolls by itself, by keyboard too.
fn scrolled(id: usize, label: &str, table: Markup) -> Markup {
    html! { div class="scroll" role="region" tabindex="0" aria-label={ (label) ", table " (id) } { (table) } }
}

fn show_grid(grid: &Grid) -> Markup {
    html! {
        table {
            thead { tr { @for column in &grid.columns { th scope="col" class=(class(column.align)) { (column.title) } } } }
            tbody { @for row in &grid.rows { (show_row(row, grid)) } }
        }
    }
}

fn show_row(row: &Row, grid: &Grid) -> Markup {
    html! {
        tr class=[row.is_total.then_some("total").or((!row.below.is_empty()).then_some("noted"))] {
            @for (place, (cell, column)) in row.cells.iter().zip(&grid.columns).enumerate() {
                @let is_noticed = matches!(cell, GridCell::Phrase(phrase) if matches!(phrase.0[..], [Inline::Alarm(_)]));
                @if place == 0 {
                    th scope="row" class="name" { (show_cell(cell)) }
                } @else {
                    td class={ (class(column.align)) @if is_noticed { " worse" } } { (show_cell(cell)) }
                }
            }
        }
        @if !row.below.is_empty() {
            tr class="note" {
                td colspan=(grid.columns.len()) { @for (place, phrase) in row.below.iter().enumerate() { @if place > 0 { br; } (show(phrase)) } }
            }
        }
    }
}

fn class(align: Align) -> &'static str {
    match align {
        Align::Number | Align::Share => "number",
        Align::Bar => "bar-cell",
        Align::Text | Align::Broken => "text",
        Align::Spark => "spark",
        Align::Whole => "whole",
    }
}

fn show_cell(cell: &GridCell) -> Markup {
    match cell {
        GridCell::Phrase(phrase) => show(phrase),
        GridCell::Absent => html! { "–" },
        GridCell::Spark(weeks) => drawing::spark(weeks),
        GridCell::State(tone, word) => html! {
            span class={ "state " (tone.name()) } { span class="sign" aria-hidden="true" { (tone.sign()) } " " (word) }
        },
        GridCell::Bar(share) => {
            html! { span class="bar" style={ "width:" (format!("{:.0}", share.clamp(0.0, 1.0) * 100.0)) "%" } {} }
        }
    }
}

fn show(phrase: &Phrase) -> Markup {
    html! {
        @for span in &phrase.0 {
            @match span {
                Inline::Words(words) => (words),
                Inline::Alarm(word) => (word),
                Inline::Strong(words) => strong { (words) },
                Inline::Data(text) => bdi { (text) },
                Inline::Code(text) => code { (text) },
                Inline::Link(link) => a href=(link) rel="noopener noreferrer" { (link) },
            }
        }
    }
}

/// Connections by days: how many failed of how many, darker where more did.
fn heat(report: &Report, id: &mut impl FnMut() -> usize) -> Markup {
    let buckets = &report.buckets;
    let every = buckets.all.len().div_ceil(LABELLED).max(1);
    // A label of a weekday and a day of the month is unique in two weeks; a longer period needs the month.
    let form = if buckets.all.len() > LABELLED { "%-d %b" } else { "%a %-d" };
    let label = |place: usize| {
        buckets.all.get(place).map(|bucket| report.zone.local(&bucket.period.since).format(form).to_string())
    };
    let table = html! {
        table class=(if buckets.all.len() > LABELLED { "grid many" } else { "grid" }) {
            caption { "Failed of rated runs by connection and " (buckets.unit.as_str()) "; striped: runs, but none rated" }
            thead {
                tr {
                    th scope="col" {}
                    @for place in 0..buckets.all.len() { th scope="col" { @if place.is_multiple_of(every) && place + every / 2 < buckets.all.len() { (label(place).unwrap_or_default()) } } }
                }
            }
            tbody {
                @for row in &buckets.by_connection {
                    tr {
                        th scope="row" { bdi { (shown(&row.connection, 60)) } }
                        @for (place, cell) in row.cells.iter().enumerate() {
                            td class=(heat_class(cell)) title=[label(place).map(|day| format!("{day}: {}", describe(cell)))] { (heat_text(cell)) }
                        }
                    }
                }
            }
        }
    };
    html! { h3 { "Connections by " (buckets.unit.as_str()) } (scrolled(id(), "Failures by connection and day", table)) }
}

fn heat_class(rate: &Rate) -> &'static str {
    match (rate.failure_rate, rate.runs) {
        (None, 0) => "none",
        (None, _) => "unrated",
        (Some(0.0), _) => "h0",
        (Some(rate), _) if rate <= 0.1 => "h1",
        (Some(rate), _) if rate <= 0.25 => "h2",
        (Some(rate), _) if rate <= 0.5 => "h3",
        (Some(rate), _) if rate <= 0.75 => "h4",
        _ => "h5",
    }
}

fn heat_text(rate: &Rate) -> String {
    match (rate.rated, rate.runs) {
        (0, 0) => "·".to_owned(),
        (0, runs) => render_count(runs),
        (rated, _) => format!("{}/{}", render_count(rate.failed), render_count(rated)),
    }
}

fn describe(rate: &Rate) -> String {
    match (rate.failure_rate, rate.runs) {
        (None, 0) => "no run".to_owned(),
        (None, runs) => format!("{}, none rated", counted(runs, "run")),
        (Some(found), _) => format!("{} failed, {}", share(rate.failed, rate.rated), percent(found)),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;
    use crate::render::{pages, sample};

    /// The page without its style, which no report changes.
    fn body(report: &Report) -> String {
        pages::report::to_html(report).replace(STYLE, "")
    }

    #[test]
    fn a_whole_page() {
        // One element per line, so that a change can be read.
        insta::assert_snapshot!(body(&sample::rich()).replace("><", ">\n<"));
    }

    #[test]
    fn poor_reports_show_no_number_that_was_invented() {
        for report in [sample::empty(), sample::without_runs(), sample::only_unfinished()] {
            let page = body(&report);
            assert!(!page.contains(">0.0%") && !page.contains("NaN") && !page.contains("inf"), "{page}");
        }
        assert!(body(&sample::empty()).contains("Nothing is archived yet."));
    }

    #[test]
    fn a_hundred_connections_fit() {
        let page = body(&sample::long());
        assert!(page.len() < 600_000, "{}", page.len());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn nothing_from_data_is_markup(seed: u64) {
            let page = body(&sample::any(seed));
            let elements: HashSet<&str> = page
                .split('<')
                .skip(1)
                .map(|rest| rest.split(|c: char| !(c.is_ascii_alphanumeric() || c == '/' || c == '!')).next().unwrap_or_default())
                .map(|name| name.trim_start_matches('/'))
                .collect();
            let known = "!DOCTYPE a bdi body br circle code dd desc details div dl dt figcaption figure footer g h1 h2 h3 \
                head header html li line link main meta p path rect region section small span strong style summary svg \
                table caption tbody td text th thead title tr tspan ul";
            let known: HashSet<&str> = known.split_whitespace().collect();
            prop_assert!(elements.is_subset(&known), "{:?}", elements.difference(&known));
            let ids: Vec<&str> = page.split(" id=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
            prop_assert_eq!(ids.iter().collect::<HashSet<_>>().len(), ids.len());
            for link in page.split("href=\"").skip(1) {
                let is_known = ["https://", "#report\"", "data:,\""].iter().any(|start| link.starts_with(start));
                prop_assert!(is_known, "{}", &link[..link.len().min(60)]);
            }
            prop_assert!(!page.contains("NaN") && !page.contains("inf\""));
        }
    }
}
