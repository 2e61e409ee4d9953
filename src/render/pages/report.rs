//! What the report says, section by section, the same in text and in Markdown.
//!
//! In: the finished figures. Out: sections of sentences and tables, which the formats lay out. Lists are cut
//! here, each with the query that gives all of it; empty sections are one sentence or left out. Nothing is
//! computed but the wording.

mod coverage;
mod errors;
mod lists;
mod rates;
mod runs;

use lists::{ROWS, beyond, label, more};

use crate::render::document::{Document, Phrase, Section, Topic, html};
use crate::render::render_count;
use crate::render::wording::{self, counted, duration, moment, percent, relative, share};
use crate::report::figures::{Alarm, ComparedRate, Direction, DurationChange, ErrorChange, Report, Timed};

pub(crate) fn document(report: &Report) -> Document {
    Document(sections(report))
}

/// The whole report as a page with charts.
pub(crate) fn to_html(report: &Report) -> String {
    html::render(&document(report), report)
}

fn sections(report: &Report) -> Vec<Section> {
    let mut sections = vec![head(report)];
    if report.coverage.connections.is_empty() {
        sections.extend(coverage::empty(report));
        return sections;
    }
    if report.total.now.runs > 0 {
        sections.push(changes(report));
        sections.push(rates::rates(report));
    }
    sections.extend(rates::failing(report));
    if report.total.now.runs > 0 {
        sections.push(errors::errors(report));
        sections.push(runs::durations(report));
        sections.extend(runs::retries(report));
        sections.extend(runs::slowest(report));
    }
    sections.push(runs::unfinished(report));
    sections.extend(runs::masked(report));
    sections.push(rates::trend(report));
    sections.push(coverage::coverage(report));
    sections
}

fn head(report: &Report) -> Section {
    let mut section = Section::new(Topic::Summary);
    section.verdict(wording::verdict(report));
    let period = Phrase::from(format!(
        "{} ({}), compared with {}",
        wording::period(&report.period, &report.zone),
        report.zone,
        wording::period(&report.compared_with, &report.zone)
    ));
    section.say(period);
    if report.coverage.connections.is_empty() {
        let phrase = Phrase::from("It is filled by ").code("archive sync").words(" or ");
        section.say(phrase.code("archive import").words("."));
    }
    if !report.restricted_to.is_empty() {
        let names = report.restricted_to.iter().take(ROWS).map(|name| Phrase::default().data(name));
        let only = Phrase::from(match report.restricted_to.len() {
            1 => "Only connection ",
            _ => "Only connections ",
        });
        section.say(only.list(names).words(match beyond(report.restricted_to.len(), ROWS) {
            0 => String::new(),
            hidden => format!(" and {} more", render_count(hidden)),
        }));
    }
    for alarm in report.verdict.alarms.iter().take(ROWS) {
        section.item(describe_alarm(alarm));
    }
    more(&mut section, beyond(report.verdict.alarms.len(), ROWS), "failure-rates");
    section
}

fn describe_alarm(alarm: &Alarm) -> Phrase {
    let whose = match &alarm.connection {
        Some(name) => Phrase::default().data(name),
        None => Phrase::from("all connections together"),
    };
    let (rate, threshold) = (percent(alarm.failure_rate), percent(alarm.threshold));
    Phrase::default()
        .strong("ALARM")
        .words(": ")
        .and(whose)
        .words(format!(": {rate} failed, above {threshold}"))
}

fn changes(report: &Report) -> Section {
    let mut section = Section::new(Topic::Changes);
    let changes = &report.changes;
    if changes.newly_failing.is_empty() && changes.recovered.is_empty() {
        // No connection for itself, but all of them together.
        let all = Phrase::from("all connections together");
        match report.total.direction {
            Direction::Worse => section.item(describe_rate_change("Fails more", all, &report.total)),
            Direction::Better => section.item(describe_rate_change("Fails less", all, &report.total)),
            Direction::NoClearChange | Direction::NotComparable => {}
        }
    }
    for (label, connections) in [("Fails more", &changes.newly_failing), ("Fails less", &changes.recovered)] {
        for connection in connections.iter().take(ROWS) {
            let name = Phrase::default().data(&connection.connection);
            section.item(describe_rate_change(label, name, &connection.rate));
        }
        more(&mut section, beyond(connections.len(), ROWS), "failure-rates");
    }
    for (label, errors) in [
        ("New error", &changes.new_errors),
        ("Returned error", &changes.returned_errors),
        ("Gone error", &changes.gone_errors),
    ] {
        for error in errors.iter().take(ROWS) {
            section.item(describe_error_change(label, error, report));
        }
        more(&mut section, beyond(errors.len(), ROWS), "error-changes");
    }
    for change in changes.durations.iter().take(ROWS) {
        section.item(describe_duration_change(change));
    }
    more(&mut section, beyond(changes.durations.len(), ROWS), "durations");
    if report.total.before.runs == 0 {
        section.say(
            "No run started in the period compared with, so rates and durations have nothing beside them.",
        );
    } else if section.blocks.is_empty() {
        section.say("Nothing changed that a test supports.");
    }
    section
}

fn describe_rate_change(text: &str, whose: Phrase, compared: &ComparedRate) -> Phrase {
    let (now, before) = (&compared.now, &compared.before);
    let rate = |rate: Option<f64>| rate.map(|rate| format!(" ({})", percent(rate))).unwrap_or_default();
    label(text).and(whose).words(format!(
        ", {} runs failed{}, before {}{}",
        share(now.failed, now.rated),
        rate(now.failure_rate),
        share(before.failed, before.rated),
        rate(before.failure_rate)
    ))
}

fn describe_error_change(text: &str, error: &ErrorChange, report: &Report) -> Phrase {
    let (runs, connections) = (counted(error.runs, "run"), counted(error.connections, "connection"));
    let phrase = label(text).and(errors::name(&error.names()));
    match (text, error.last_seen_before) {
        ("Gone error", _) => phrase.words(format!(", before in {runs} of {connections}")),
        ("Returned error", Some(time)) => phrase.words(format!(
            ", in {runs} of {connections}, last seen {}",
            moment(&time, &report.zone, &report.as_of)
        )),
        _ => phrase.words(format!(", in {runs} of {connections}")),
    }
}

fn describe_duration_change(change: &DurationChange) -> Phrase {
    let text = match (change.level, change.direction) {
        (Timed::Queue, Direction::Worse) => "Waits longer",
        (Timed::Queue, Direction::Better) => "Waits less",
        (Timed::Queue, _) => "Wait moved",
        (Timed::Run, Direction::Worse) => "Slower",
        (Timed::Run, Direction::Better) => "Faster",
        (Timed::Run, _) => "Duration moved",
    };
    let what = match change.level {
        Timed::Queue => "queue time",
        Timed::Run => "run",
    };
    let phrase = match &change.connection {
        Some(name) => label(text).data(name),
        None => label(text).words("all connections together"),
    };
    let moved = relative(change.now_ms, change.before_ms).map(|text| format!(" ({text})"));
    phrase.words(format!(
        ", median {what} {}, before {}{}",
        duration(change.now_ms),
        duration(change.before_ms),
        moved.unwrap_or_default()
    ))
}
