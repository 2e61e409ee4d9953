//! What the demo shows: a platform, two syncs against it, and the report of the week between them.

use std::path::Path;

use super::{report, sync};
use crate::render::document::{Block, Document, Phrase, Section, Topic};
use crate::render::{counted, render_count};
use crate::report::figures::Report;
use crate::sync::Summary;

/// The platform that the demo asks.
pub(crate) fn platform(url: &str, connections: u64, runs: u64) -> Document {
    let mut section = Section::new(Topic::Summary);
    let (runs, connections) = (counted(runs, "run"), counted(connections, "connection"));
    section.line(format!("An emulated platform at {url} has an iTwin with {runs} of {connections}."));
    section.into()
}

pub(crate) fn synced(when: &str, summary: &Summary) -> Document {
    let mut section = Section::new(Topic::Summary);
    section.line(format!(
        "{when}{} stored, {} changed, {}; {}",
        counted(summary.counts.new, "new run"),
        render_count(summary.counts.changed),
        summary.outcome.as_str(),
        sync::describe_effort(summary),
    ));
    section.into()
}

/// The report of the week that passed, and how to look further.
pub(crate) fn reported(found: &Report, db: &Path) -> Document {
    let db = db.display();
    let mut further = Section::new(Topic::Summary);
    further.line(Phrase::from("The archive is ").whole(&db.to_string()).words(". To look further:"));
    further.blocks.push(Block::Commands(vec![
        format!("archive report --db {db} --format html --output report.html"),
        format!("archive query --db {db} error-codes --since 4w"),
        format!("sqlite3 -box {db} \"SELECT * FROM error_details LIMIT 5\""),
    ]));
    let mut document = report::document(found);
    document.0.push(further);
    document
}
