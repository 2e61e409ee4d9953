//! `archive status`: per connection how fresh, how many runs, what is unfinished, the last problem.

use std::path::Path;

use serde_json::{Value, json};

use crate::api::Kind;
use crate::error::{CommandError, ExitCode};
use crate::render::{self, Column, Screen, Table, clean, counted, render_count};
use crate::settings::{self, Format};
use crate::store::read::{ConnectionStatus, DriftStatus, LastSync};
use crate::store::{self, Reader};
use crate::sync::now;
use crate::time::{UtcText, ago};

/// An answer about an unfinished run that is older is told: two days.
const OLD_ANSWER_MS: i64 = 2 * 24 * 3600 * 1000;
/// Notes of what the platform began to send that are told; `archive query drift` has them all.
const MOST_NOTES: usize = 5;

/// What a sync's row says until it ends.
const RUNNING: &str = "running";

/// Shows what is archived and how fresh it is.
pub fn status(settings: settings::Status) -> Result<ExitCode, CommandError> {
    let reader = Reader::open(&settings.db)?;
    let now = now();
    let mut connections = reader.read_status(&now)?;
    let chosen = super::known_connections(&settings.db, &settings.connections)?;
    if !chosen.is_empty() {
        let is_chosen = |status: &ConnectionStatus| {
            chosen.iter().any(|id| id.as_str() == status.id && id.kind().as_str() == status.kind)
        };
        connections.retain(is_chosen);
    }
    let last_sync = read_last_sync(&reader, &settings.db)?;
    let drift = reader.read_drift()?;
    match settings.format {
        Format::Json => super::print_json(&to_json(&connections, last_sync.as_ref(), &drift))?,
        Format::Text => {
            render::print(&to_text(&connections, last_sync.as_ref(), &drift, &now, Screen::of_stdout()))?
        }
    }
    Ok(ExitCode::Done)
}

/// The sync or import that began last. One that was killed says that it runs, until the next one begins; that
/// nobody holds the archive tells that it does not.
fn read_last_sync(reader: &Reader, db: &Path) -> Result<Option<LastSync>, CommandError> {
    let is_running = |sync: &Option<LastSync>| sync.as_ref().is_some_and(|sync| sync.outcome == RUNNING);
    let mut last_sync = reader.read_last_sync()?;
    if is_running(&last_sync) && store::is_held(db) == Some(false) {
        // It may have ended between the two looks; what it wrote then is there by now.
        last_sync = reader.read_last_sync()?;
        if let Some(sync) = last_sync.as_mut().filter(|sync| sync.outcome == RUNNING) {
            sync.outcome = "interrupted".to_owned();
        }
    }
    Ok(last_sync)
}

/// The status as one JSON object; its fields are a contract.
fn to_json(connections: &[ConnectionStatus], last_sync: Option<&LastSync>, drift: &[DriftStatus]) -> Value {
    let connections = connections.iter().map(|connection| {
        json!({
            "id": connection.id,
            "kind": connection.kind,
            "name": connection.name,
            "display_name": connection.display_name,
            "imodel_id": connection.imodel_id,
            "imodel": connection.imodel,
            "itwin_id": connection.itwin_id,
            "itwin": connection.itwin,
            "runs": connection.runs,
            "unlisted_runs": connection.unlisted_runs,
            "unfinished": connection.unfinished,
            "oldest_answer_at": connection.oldest_answer_at,
            "rejects": connection.rejects,
            "gaps": connection.gaps,
            "newest_started_at": connection.newest_started_at,
            "complete_as_of": connection.complete_as_of,
            "clock_ahead_at": connection.clock_ahead_at,
            "last_problem": connection.last_problem,
            "unlisted_at": connection.unlisted_at,
            "pruned_runs": connection.pruned_runs,
            "pruned_before": connection.pruned_before,
            "pruned_at": connection.pruned_at,
        })
    });
    let last_sync = last_sync.map(|sync| {
        json!({
            "command": sync.command,
            "started_at": sync.started_at,
            "ended_at": sync.ended_at,
            "outcome": sync.outcome,
            "problem": sync.problem,
        })
    });
    let drift = drift.iter().map(|note| {
        json!({
            "object": note.object,
            "field": note.field,
            "what": note.what,
            "value": note.value,
            "first_seen_at": note.first_seen_at,
            "runs": note.runs,
            "example_run_id": note.run_id,
        })
    });
    json!({
        "connections": connections.collect::<Vec<_>>(),
        "last_sync": last_sync,
        "drift": drift.collect::<Vec<_>>(),
    })
}

/// All connections as one line: how much there is, and how fresh the one is that is least so.
fn together(connections: &[ConnectionStatus], since: impl Fn(&Option<String>) -> String) -> Vec<String> {
    let sum = |count: fn(&ConnectionStatus) -> u64| connections.iter().map(count).sum::<u64>();
    let newest = connections.iter().filter_map(|connection| connection.newest_started_at.clone()).max();
    // What the platform no longer knows cannot become fresher.
    let known = connections.iter().filter(|connection| connection.unlisted_at.is_none());
    let complete_as_of = known.map(|connection| connection.complete_as_of.clone()).min().flatten();
    vec![
        counted(connections.len() as u64, "connection"),
        render_count(sum(|connection| connection.runs)),
        render_count(sum(|connection| connection.unfinished)),
        since(&newest),
        since(&complete_as_of),
    ]
}

fn since_text(time: &str, now: &UtcText) -> String {
    UtcText::from_stored(time).map(|time| ago(&time, now)).unwrap_or_default()
}

/// The status for a terminal: a table, then what needs a sentence.
pub(super) fn to_text(
    connections: &[ConnectionStatus],
    last_sync: Option<&LastSync>,
    drift: &[DriftStatus],
    now: &UtcText,
    screen: Screen,
) -> String {
    let since = |time: &Option<String>| {
        time.as_deref().and_then(UtcText::from_stored).map_or_else(
            || "never".to_owned(),
            // A start that the platform's clock told is a date, whatever ours shows.
            |time| if time > *now { time.as_str()[..10].to_owned() } else { ago(&time, now) },
        )
    };
    let has_kinds = connections.iter().any(|connection| connection.kind != Kind::Export.as_str());
    let mut columns = vec![
        Column::text("connection"),
        Column::number("runs"),
        Column::number("unfinished"),
        Column::text("newest run"),
        Column::text("complete as of"),
    ];
    let mut rows: Vec<Vec<String>> = connections
        .iter()
        .map(|connection| {
            vec![
                clean(&connection.name).into_owned(),
                render_count(connection.runs),
                render_count(connection.unfinished),
                since(&connection.newest_started_at),
                since(&connection.complete_as_of),
            ]
        })
        .collect();
    if connections.len() > 1 {
        rows.push(together(connections, since));
    }
    if has_kinds {
        columns.insert(1, Column::text("kind"));
        let kinds = connections.iter().map(|connection| connection.kind.clone()).chain([String::new()]);
        rows.iter_mut().zip(kinds).for_each(|(row, kind)| row.insert(1, kind));
    }
    let table = Table { columns, rows };
    let mut text = if connections.is_empty() {
        "no connection is archived yet\n".to_owned()
    } else {
        table.render(screen)
    };
    for connection in connections {
        let name = clean(&connection.name);
        let mut note = |sentence: String| text.push_str(&format!("{name}: {sentence}\n"));
        if let Some(then) = connection.clock_ahead_at.as_deref().and_then(UtcText::from_stored) {
            let day = &then.as_str()[..10];
            note(format!(
                "the clock was ahead when it was last walked whole: that walk is dated {day}, which is to come"
            ));
        }
        if let Some(problem) = &connection.last_problem {
            note(format!("last walk not complete: {}", clean(problem)));
        }
        if connection.unlisted_at.is_some() {
            note("the platform no longer knows this connection; its runs stay archived".to_owned());
        }
        if connection.unlisted_runs > 0 {
            note(format!("{} no longer listed by the platform", counted(connection.unlisted_runs, "run")));
        }
        if let (Some(before), Some(at)) = (&connection.pruned_before, &connection.pruned_at) {
            let runs = counted(connection.pruned_runs, "run");
            note(format!(
                "{runs} pruned, the last of them {}; they began before {before}",
                since_text(at, now)
            ));
        }
        let answered = connection.oldest_answer_at.as_deref().and_then(UtcText::from_stored);
        // Whatever moves is asked for at each sync: only what hangs is left alone for so long.
        if let Some(answered) = answered.filter(|then| then.milliseconds_until(now) >= Some(OLD_ANSWER_MS)) {
            note(format!(
                "{} unfinished, the oldest of the platform's last answers about them was {}",
                counted(connection.unfinished, "run"),
                ago(&answered, now)
            ));
        }
        if connection.rejects > 0 {
            note(format!("{} set aside in the table rejects", counted(connection.rejects, "record")));
        }
        if connection.gaps > 0 {
            note(format!("{} in which runs may have come and gone unseen", counted(connection.gaps, "gap")));
        }
    }
    for note in drift.iter().take(MOST_NOTES) {
        let what = match note.what.as_str() {
            "field" => format!("the field {} of a {}", clean(&note.field), note.object),
            "value" => format!("{} {} is {}", note.object, clean(&note.field), clean(&note.value)),
            "volatile" => {
                format!(
                    "the URLs in the field {} of {} objects differ in every answer",
                    clean(&note.field),
                    note.object
                )
            }
            _ => format!("{} {} came as a {}", note.object, clean(&note.field), note.value),
        };
        let since = UtcText::from_stored(&note.first_seen_at).map(|time| ago(&time, now)).unwrap_or_default();
        let (runs, run) = (counted(note.runs, "run"), clean(&note.run_id));
        text.push_str(&format!(
            "new from the platform: {what}, first seen {since}, in {runs}, such as {run}\n"
        ));
    }
    if drift.len() > MOST_NOTES {
        let more = counted((drift.len() - MOST_NOTES) as u64, "note");
        text.push_str(&format!("new from the platform: {more} more; archive query drift lists all\n"));
    }
    if let Some(sync) = last_sync {
        let began = UtcText::from_stored(&sync.started_at).map(|time| ago(&time, now)).unwrap_or_default();
        text.push_str(&format!("last {}: {}, {began}\n", sync.command, sync.outcome));
        if let Some(problem) = &sync.problem {
            text.push_str(&format!("  {}\n", clean(problem)));
        }
    }
    text
}
