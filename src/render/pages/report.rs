//! What the report says, section by section, the same in text and in Markdown.
//!
//! In: the finished figures. Out: sections of sentences and tables, which the formats lay out. Lists are cut
//! here, each with the query that gives all of it; empty sections are one sentence or left out. Nothing is
//! computed but the wording.

mod connections;
mod coverage;
mod errors;
mod incidents;
mod lists;
mod rates;
mod runs;

use lists::{ROWS, beyond, label, more};

use crate::render::document::{Document, Phrase, Section, Tone, Topic, html};
use crate::render::render_count;
use crate::render::wording::{self, counted, duration, moment, percent, relative, share};
use crate::report::figures::{
    Alarm, Attention, ComparedRate, ConnectionRate, Direction, DurationChange, ErrorChange, Report, Timed,
};

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
    sections.extend(incidents::incidents(report));
    sections.extend(connections::connections(report));
    if report.total.now.runs > 0 {
        sections.extend(changes(report));
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
    if let (Some(attention), Some(what)) = (report.verdict.attention, incidents::headline(report)) {
        let (tone, word) = attention_word(attention);
        section.headline(tone, word, what);
    }
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

/// What there is to do, in a line of plain text; nothing where nothing is archived.
pub(crate) fn headline(report: &Report) -> Option<String> {
    let (_, word) = attention_word(report.verdict.attention?);
    Some(format!("{word}: {}", incidents::headline(report)?.to_plain_text()))
}

fn attention_word(attention: Attention) -> (Tone, &'static str) {
    match attention {
        Attention::Act => (Tone::Act, "To do"),
        Attention::Look => (Tone::Look, "To look into"),
        Attention::Wait => (Tone::Wait, "Waiting"),
        Attention::Unsure => (Tone::Unsure, "Not known"),
        Attention::Over => (Tone::Over, "Over"),
        Attention::Quiet => (Tone::Fine, "Quiet"),
    }
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

/// What changed beside the incidents; absent where nothing did.
fn changes(report: &Report) -> Option<Section> {
    let mut section = Section::new(Topic::Changes);
    let changes = &report.changes;
    let is_told = |connection: &ConnectionRate| {
        report.incidents.iter().flat_map(|incident| &incident.connections).any(|subject| {
            subject.kind == connection.kind && subject.connection_id == connection.connection_id
        })
    };
    for (label, connections) in [("Fails more", &changes.newly_failing), ("Fails less", &changes.recovered)] {
        let news: Vec<&ConnectionRate> =
            connections.iter().filter(|connection| !is_told(connection)).collect();
        for connection in news.iter().take(ROWS) {
            let name = Phrase::default().data(&connection.connection);
            section.item(describe_rate_change(label, name, &connection.rate));
        }
        more(&mut section, beyond(news.len(), ROWS), "failure-rates");
    }
    let is_cause = |error: &ErrorChange| {
        report.incidents.iter().filter_map(|incident| incident.cause.as_ref()).any(|cause| {
            cause.error_code == error.error_code && cause.description_key == error.description_key
        })
    };
    for (label, errors, is_news) in [
        ("New error", &changes.new_errors, is_frequent as fn(&ErrorChange) -> bool),
        ("Returned error", &changes.returned_errors, is_frequent),
        ("Gone error", &changes.gone_errors, |error| error.runs >= GONE),
    ] {
        let news: Vec<&ErrorChange> =
            errors.iter().filter(|error| is_news(error) && !is_cause(error)).collect();
        for error in news.iter().take(ROWS) {
            section.item(describe_error_change(label, error, report));
        }
        more(&mut section, beyond(news.len(), ROWS), "error-changes");
    }
    for change in changes.durations.iter().take(ROWS) {
        section.item(describe_duration_change(change));
    }
    more(&mut section, beyond(changes.durations.len(), ROWS), "durations");
    if report.total.before.runs == 0 {
        section.say(
            "No run started in the period compared with, so rates and durations have nothing beside them.",
        );
    }
    (!section.blocks.is_empty()).then_some(section)
}

/// Runs before an error is told as gone: one that came once did not go.
const GONE: u64 = 4;

/// Whether an error came to more than one run or connection: a single one comes and goes in most weeks.
fn is_frequent(error: &ErrorChange) -> bool {
    error.runs >= 2 || error.connections >= 2
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
