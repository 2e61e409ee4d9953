//! What is archived and how fresh it is.

use serde::Serialize;

use super::{MOST_NAMED, line_of};
use crate::api::Kind;
use crate::render::document::{Align, Document, Grid, Phrase, Presence, Section, Topic};
use crate::render::{counted, render_count};
use crate::store::status::{ConnectionStatus, DriftStatus};
use crate::store::syncs::LastSync;
use crate::time::{UtcText, ago};

/// An answer about an unfinished run that is older is told: two days. Whatever moves is asked for at each sync,
/// so only what hangs is left alone for so long.
const OLD_ANSWER_MS: i64 = 2 * 24 * 3600 * 1000;

/// The status; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct ArchiveStatus {
    pub connections: Vec<ConnectionStatus>,
    pub last_sync: Option<LastSync>,
    pub drift: Vec<DriftStatus>,
}

/// The status: a table, then what needs a sentence.
pub(crate) fn document(status: &ArchiveStatus, now: &UtcText) -> Document {
    let mut section = Section::new(Topic::Summary);
    if status.connections.is_empty() {
        section.line("no connection is archived yet");
    } else {
        section.grid(table(&status.connections, now));
    }
    status.connections.iter().for_each(|connection| describe_history(&mut section, connection, now));
    describe_drift(&mut section, &status.drift, now);

    if let Some(sync) = &status.last_sync {
        section.line(format!(
            "last {}: {}, {}",
            sync.command,
            sync.outcome,
            ago_or_blank(&sync.started_at, now)
        ));
        if let Some(problem) = &sync.problem {
            section.line(Phrase::from("  ").whole(problem));
        }
    }
    section.into()
}

fn table(connections: &[ConnectionStatus], now: &UtcText) -> Grid {
    // Where all are of the usual kind, the word tells nothing.
    let has_kinds = connections.iter().any(|connection| connection.kind != Kind::Export.as_str());
    let mut grid = Grid::default().column("connection", Align::Broken, Presence::Table);
    if has_kinds {
        grid = grid.column("kind", Align::Broken, Presence::Table);
    }
    grid = grid
        .column("runs", Align::Number, Presence::Table)
        .column("unfinished", Align::Number, Presence::Table)
        .column("newest run", Align::Broken, Presence::Table)
        .column("complete as of", Align::Broken, Presence::Table);

    let mut row = |name: Phrase, kind: &str, counts: [u64; 2], times: [&Option<String>; 2]| {
        let mut cells = vec![name.into()];
        cells.extend(has_kinds.then(|| kind.into()));
        cells.extend(counts.map(|count| render_count(count).into()));
        cells.extend(times.map(|time| since(time, now).into()));
        grid.row(cells);
    };
    for connection in connections {
        row(
            Phrase::default().whole(&connection.name),
            &connection.kind,
            [connection.runs, connection.unfinished],
            [&connection.newest_started_at, &connection.complete_as_of],
        );
    }
    if connections.len() > 1 {
        let sum = |count: fn(&ConnectionStatus) -> u64| connections.iter().map(count).sum();
        let newest = connections.iter().filter_map(|connection| connection.newest_started_at.clone()).max();
        // What the platform no longer knows cannot become fresher.
        let known = connections.iter().filter(|connection| connection.unlisted_at.is_none());
        let least_fresh = known.map(|connection| connection.complete_as_of.clone()).min().flatten();
        row(
            counted(connections.len() as u64, "connection").into(),
            "",
            [sum(|connection| connection.runs), sum(|connection| connection.unfinished)],
            [&newest, &least_fresh],
        );
    }
    grid
}

fn since(time: &Option<String>, now: &UtcText) -> String {
    time.as_deref().and_then(UtcText::from_stored).map_or_else(
        || "never".to_owned(),
        // A start that the platform's clock told is a date, whatever ours shows.
        |time| if time > *now { time.as_str()[..10].to_owned() } else { ago(&time, now) },
    )
}

fn ago_or_blank(time: &str, now: &UtcText) -> String {
    UtcText::from_stored(time).map(|time| ago(&time, now)).unwrap_or_default()
}

/// What needs a sentence about a connection, a line each: first what makes its figures doubtful, then what is missing
/// from them for a known reason.
fn describe_history(section: &mut Section, connection: &ConnectionStatus, now: &UtcText) {
    let mut note = |sentence: Phrase| section.line(line_of(&connection.name, sentence));
    if let Some(then) = connection.clock_ahead_at.as_deref().and_then(UtcText::from_stored) {
        let day = &then.as_str()[..10];
        note(
            format!(
                "the clock was ahead when it was last walked whole: that walk is dated {day}, which is to come"
            )
            .into(),
        );
    }
    if let Some(problem) = &connection.last_problem {
        note(Phrase::from("last walk not complete: ").whole(problem));
    }
    if connection.unlisted_at.is_some() {
        note("the platform no longer knows this connection; its runs stay archived".into());
    }
    if connection.unlisted_runs > 0 {
        let runs = counted(connection.unlisted_runs, "run");
        note(format!("{runs} no longer listed by the platform").into());
    }
    if let (Some(before), Some(at)) = (&connection.pruned_before, &connection.pruned_at) {
        let runs = counted(connection.pruned_runs, "run");
        let last = ago_or_blank(at, now);
        note(format!("{runs} pruned, the last of them {last}; they began before {before}").into());
    }
    // A sync asks for every run that moves, so a run whose last answer is old hangs, or no sync has run.
    let answered = connection.oldest_answer_at.as_deref().and_then(UtcText::from_stored);
    if let Some(answered) = answered.filter(|then| then.milliseconds_until(now) >= Some(OLD_ANSWER_MS)) {
        let runs = counted(connection.unfinished, "run");
        let last = ago(&answered, now);
        note(
            format!("{runs} unfinished, the oldest of the platform's last answers about them was {last}")
                .into(),
        );
    }
    if connection.rejects > 0 {
        let records = counted(connection.rejects, "record");
        note(format!("{records} set aside in the table rejects").into());
    }
    if connection.gaps > 0 {
        let gaps = counted(connection.gaps, "gap");
        note(format!("{gaps} in which runs may have come and gone unseen").into());
    }
}

/// What the platform began to send without telling anybody; `archive query drift` has all of it.
fn describe_drift(section: &mut Section, drift: &[DriftStatus], now: &UtcText) {
    let label = || Phrase::from("new from the platform: ");
    for note in drift.iter().take(MOST_NAMED) {
        let field = Phrase::default().whole(&note.field);
        let object = note.object.as_str();
        let what = match note.what.as_str() {
            "field" => Phrase::from("the field ").and(field).words(format!(" of a {object}")),
            "value" => Phrase::from(format!("{object} ")).and(field).words(" is ").whole(&note.value),
            "volatile" => Phrase::from("the URLs in the field ")
                .and(field)
                .words(format!(" of {object} objects differ in every answer")),
            _ => Phrase::from(format!("{object} ")).and(field).words(format!(" came as a {}", note.value)),
        };
        let (first_seen, runs) = (ago_or_blank(&note.first_seen_at, now), counted(note.runs, "run"));
        let seen = format!(", first seen {first_seen}, in {runs}, such as ");
        section.line(label().and(what).words(seen).whole(&note.run_id));
    }
    if drift.len() > MOST_NAMED {
        let more = counted((drift.len() - MOST_NAMED) as u64, "note");
        section.line(label().words(format!("{more} more; archive query drift lists all")));
    }
}
