//! What a sync did, what a first one would cost, and how far one is.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::Serialize;

use super::name_and_numbers;
use crate::api::ConnectionId;
use crate::render::document::{Document, Phrase, Section, Topic};
use crate::render::{counted, render_count, render_duration};
use crate::sync::{ConnectionSummary, Estimate, Outcome, Progress, Summary};

/// A sync; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct SyncResult<'a> {
    #[serde(flatten)]
    summary: &'a Summary,
    dry_run: bool,
    quiet: u64,
    connections: Vec<SyncedConnection<'a>>,
}

#[derive(Debug, Serialize)]
struct SyncedConnection<'a> {
    #[serde(flatten)]
    summary: &'a ConnectionSummary,
    #[serde(flatten)]
    id: &'a ConnectionId,
    outcome: Outcome,
}

impl<'a> SyncResult<'a> {
    /// What this sync, or dry run, comes to.
    pub(crate) fn new(summary: &'a Summary, is_dry_run: bool) -> Self {
        let connections = summary.connections.iter().map(|summary| SyncedConnection {
            summary,
            id: &summary.id,
            outcome: summary.outcome(),
        });
        Self { summary, dry_run: is_dry_run, quiet: summary.quiet(), connections: connections.collect() }
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

/// What a first sync would cost, and what that was told by.
pub(crate) fn estimate(estimate: &Estimate) -> Document {
    let between = |least: String, most: String| {
        if least == most { format!("about {least}") } else { format!("{least} to {most}") }
    };
    let mut section = Section::new(Topic::Summary);
    section.line(format!(
        "{} and {} found, {} of them with runs; the listings of {} measured.",
        counted(estimate.imodels, "iModel"),
        counted(estimate.connections, "connection"),
        render_count(estimate.connections_with_runs),
        render_count(estimate.measured_connections),
    ));
    section.line(format!(
        "A first sync takes {} requests and {}.",
        between(render_count(estimate.requests_least), render_count(estimate.requests_most)),
        between(render_duration(estimate.least), render_duration(estimate.most)),
    ));
    section.line(format!(
        "{} of these find the connections; finding this out took {}.",
        render_count(estimate.requests_to_find_connections),
        counted(estimate.requests_asked, "request"),
    ));
    section.into()
}
