//! What a sync did, what a first one would cost, and how far one is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::name_and_numbers;
use crate::render::document::{Document, Phrase, Section, Topic};
use crate::render::{counted, render_count, render_duration};
use crate::sync::{ConnectionSummary, Estimate, Outcome, Problem, Progress, Summary};
use crate::time::UtcText;

/// A sync; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct SyncResult<'a> {
    outcome: Outcome,
    exit_code: u8,
    dry_run: bool,
    started_at: UtcText,
    duration_ms: i64,
    requests: u64,
    pages: u64,
    listed: u64,
    new: u64,
    changed: u64,
    unchanged: u64,
    rejected: u64,
    quiet: u64,
    found: FoundThings,
    connections: Vec<SyncedConnection<'a>>,
}

#[derive(Debug, Serialize)]
struct FoundThings {
    itwins: u64,
    imodels: u64,
    imodels_not_asked: u64,
    connections: u64,
    new_connections: u64,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct SyncedConnection<'a> {
    id: &'a str,
    kind: &'static str,
    name: Option<&'a str>,
    outcome: Outcome,
    quiet: bool,
    pages: u64,
    listed: u64,
    new: u64,
    changed: u64,
    unchanged: u64,
    rejected: u64,
    unlisted: u64,
    gaps: Vec<UnseenTime>,
    problems: Vec<String>,
}

#[derive(Debug, Serialize)]
struct UnseenTime {
    after: UtcText,
    until: UtcText,
}

fn messages(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

impl<'a> SyncResult<'a> {
    /// What this sync, or dry run, comes to.
    pub(crate) fn new(summary: &'a Summary, is_dry_run: bool) -> Self {
        let (counts, found) = (summary.counts, &summary.found);
        Self {
            outcome: summary.outcome,
            exit_code: summary.exit_code.number(),
            dry_run: is_dry_run,
            started_at: summary.started_at,
            duration_ms: summary.duration_ms,
            requests: summary.requests,
            pages: summary.pages,
            listed: counts.listed,
            new: counts.new,
            changed: counts.changed,
            unchanged: counts.unchanged,
            rejected: counts.rejected,
            quiet: summary.quiet(),
            found: FoundThings {
                itwins: found.itwins,
                imodels: found.imodels,
                imodels_not_asked: found.unasked,
                connections: found.connections,
                new_connections: found.new_connections,
                problems: messages(&found.problems),
            },
            connections: summary.connections.iter().map(SyncedConnection::from).collect(),
        }
    }
}

impl<'a> From<&'a ConnectionSummary> for SyncedConnection<'a> {
    fn from(connection: &'a ConnectionSummary) -> Self {
        let counts = connection.counts;
        Self {
            id: connection.id.as_str(),
            kind: connection.id.kind().as_str(),
            name: connection.name.as_deref(),
            outcome: connection.outcome(),
            quiet: connection.is_quiet,
            pages: connection.pages,
            listed: counts.listed,
            new: counts.new,
            changed: counts.changed,
            unchanged: counts.unchanged,
            rejected: counts.rejected,
            unlisted: connection.unlisted,
            gaps: connection.gaps.iter().map(|&(after, until)| UnseenTime { after, until }).collect(),
            problems: messages(&connection.problems),
        }
    }
}

/// What a sync did: in a sentence, connection by connection, and what went wrong.
pub(crate) fn document(summary: &Summary, is_dry_run: bool) -> Document {
    let mut section = Section::new(Topic::Summary);
    section.verdict(describe_outcome(summary, is_dry_run));
    if !summary.connections.is_empty() {
        let mut grid = name_and_numbers("connection", &["listed", "new", "changed", "set aside", "unlisted"]);
        for connection in &summary.connections {
            let counts = connection.counts;
            let numbers = [counts.listed, counts.new, counts.changed, counts.rejected, connection.unlisted];
            let mut cells = vec![Phrase::default().whole(&connection.name()).into()];
            cells.extend(numbers.map(|number| render_count(number).into()));
            grid.row(cells);
        }
        section.grid(grid);
    }
    summary.problems().for_each(|problem| section.line(Phrase::default().whole(&problem.to_string())));
    for connection in &summary.connections {
        let notes = describe_rejects(connection).into_iter().chain(describe_gaps(connection));
        notes.for_each(|note| section.line(Phrase::default().whole(&note)));
    }
    section.into()
}

/// Records of a connection that could not be read, if there are any.
pub(crate) fn describe_rejects(connection: &ConnectionSummary) -> Option<String> {
    let rejected = connection.counts.rejected;
    (rejected > 0).then(|| {
        format!(
            "connection {}: {} could not be read and set aside in the table rejects, the runs beside are stored",
            connection.name(),
            counted(rejected, "record")
        )
    })
}

/// A sentence for each time in which runs of a connection may have been missed.
pub(crate) fn describe_gaps(connection: &ConnectionSummary) -> impl Iterator<Item = String> + '_ {
    connection.gaps.iter().map(|(after, until)| {
        format!(
            "connection {}: runs that began between {after} and {until} may have come and gone unseen; sync more often",
            connection.name()
        )
    })
}

/// What a sync did, in a line.
pub(crate) fn describe_outcome(summary: &Summary, is_dry_run: bool) -> String {
    let verb = if is_dry_run { "would be " } else { "" };
    let mut line = format!(
        "{}: {}, {} listed, {verb}{} new, {verb}{} changed",
        if is_dry_run { "dry run" } else { summary.outcome.as_str() },
        counted(summary.connections.len() as u64, "connection"),
        counted(summary.counts.listed, "run"),
        render_count(summary.counts.new),
        render_count(summary.counts.changed),
    );
    if summary.counts.rejected > 0 {
        line.push_str(&format!(", {} set aside", render_count(summary.counts.rejected)));
    }
    if summary.unlisted() > 0 {
        line.push_str(&format!(", {} no longer listed", render_count(summary.unlisted())));
    }
    if summary.quiet() > 0 {
        line.push_str(&format!("; {} quiet", counted(summary.quiet(), "connection")));
    }
    line + &format!("; {}", describe_effort(summary))
}

/// `12 requests in 3.4 s`.
pub(super) fn describe_effort(summary: &Summary) -> String {
    let length = Duration::from_millis(summary.duration_ms.unsigned_abs());
    format!("{} in {}", counted(summary.requests, "request"), render_duration(length))
}

/// How far a sync is, in a line that is written over again and again.
pub(crate) fn describe_progress(progress: &Progress, pause: Option<Duration>) -> String {
    let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let count = |counter: &AtomicU64| render_count(read(counter));
    let mut line = String::new();
    let (asked, imodels_left) = (read(&progress.imodels), read(&progress.imodels_left));
    if imodels_left > 0 {
        line = format!("{asked} of {} iModels, ", render_count(asked + imodels_left));
    }
    let (done, connections_left) = (read(&progress.connections), read(&progress.connections_left));
    if done + connections_left > 1 {
        line.push_str(&format!("{done} of {} connections, ", render_count(done + connections_left)));
    }
    line.push_str(&format!(
        "{} pages, {} runs, {} new, {} changed",
        count(&progress.pages),
        count(&progress.received),
        count(&progress.new),
        count(&progress.changed)
    ));
    if let Some(pause) = pause {
        line.push_str(&format!("; waiting {} s for the rate limit", pause.as_secs() + 1));
    }
    line
}

/// What a first sync would cost; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct EstimatedCost {
    imodels: u64,
    connections: u64,
    connections_with_runs: u64,
    measured_connections: u64,
    measured_runs_least: u64,
    measured_runs_most: u64,
    requests_least: u64,
    requests_most: u64,
    requests_to_find_connections: u64,
    seconds_least: u64,
    seconds_most: u64,
    requests_asked: u64,
    problems: Vec<String>,
}

impl<'a> From<&'a Estimate> for EstimatedCost {
    fn from(estimate: &'a Estimate) -> Self {
        Self {
            imodels: estimate.imodels,
            connections: estimate.connections,
            connections_with_runs: estimate.with_runs,
            measured_connections: estimate.measured,
            measured_runs_least: estimate.runs_measured.0,
            measured_runs_most: estimate.runs_measured.1,
            requests_least: estimate.requests.0,
            requests_most: estimate.requests.1,
            requests_to_find_connections: estimate.requests_to_find,
            seconds_least: estimate.duration.0.as_secs(),
            seconds_most: estimate.duration.1.as_secs(),
            requests_asked: estimate.asked,
            problems: messages(&estimate.problems),
        }
    }
}

/// What a first sync would cost, and what that was told by.
pub(crate) fn estimate(estimate: &Estimate) -> Document {
    let between = |least: String, most: String| {
        if least == most { format!("about {least}") } else { format!("{least} to {most}") }
    };
    let (requests, time) = (estimate.requests, estimate.duration);
    let mut section = Section::new(Topic::Summary);
    section.line(format!(
        "{} and {} found, {} of them with runs; the listings of {} measured.",
        counted(estimate.imodels, "iModel"),
        counted(estimate.connections, "connection"),
        render_count(estimate.with_runs),
        render_count(estimate.measured),
    ));
    section.line(format!(
        "A first sync takes {} requests and {}.",
        between(render_count(requests.0), render_count(requests.1)),
        between(render_duration(time.0), render_duration(time.1)),
    ));
    section.line(format!(
        "{} of these find the connections; finding this out took {}.",
        render_count(estimate.requests_to_find),
        counted(estimate.asked, "request"),
    ));
    section.into()
}
