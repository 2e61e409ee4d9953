//! How long things took, what was tried again, and runs worth a look: the slowest ones, unfinished ones, and
//! those that say Success and hide a failure.

use super::lists::{ROWS, beyond, more};
use crate::render::document::Align::{Number, Text, Whole};
use crate::render::document::Presence::{IfRoom, OrBelow, Table};
use crate::render::document::{Grid, GridCell, Phrase, Section, Topic};
use crate::render::render_count;
use crate::render::wording::{counted, duration, median_change, moment};
use crate::report::figures::{ComparedPercentiles, Report};

/// Connections of the table of durations, and masked failures.
const LONGER: usize = 10;

pub(super) fn durations(report: &Report) -> Section {
    let mut section = Section::new(Topic::Durations);
    let durations = &report.durations;
    let levels = [
        ("runs", &durations.runs),
        ("jobs", &durations.jobs),
        ("tasks", &durations.tasks),
        ("queue", &durations.queue),
    ];
    if levels.iter().all(|(_, compared)| compared.now.is_none()) {
        section.say("No run of this period has a start and an end to tell a duration from.");
        return section;
    }
    let mut grid = columns("level", "count");
    for (level, compared) in levels {
        grid.row(cells(level.into(), compared));
    }
    section.grid(grid);
    // A connection without a duration in the period would be a row of dashes.
    let told = durations.by_connection.iter().filter(|connection| connection.runs.now.is_some());
    let told: Vec<_> = told.collect();
    if told.len() > 1 {
        section.heading("Runs by connection");
        let mut grid = columns("connection", "runs").column("median queue", Number, IfRoom(4));
        for connection in told.iter().take(LONGER) {
            let mut cells = cells(Phrase::default().data(&connection.connection), &connection.runs);
            cells.push(connection.queue.now.map(|queue| duration(queue.p50_ms)).into());
            grid.row(cells);
        }
        section.grid(grid);
        more(&mut section, beyond(told.len(), LONGER), "durations");
    }
    section
}

fn columns(what: &'static str, count: &'static str) -> Grid {
    Grid::default()
        .column(what, Text, Table)
        .column(count, Number, IfRoom(5))
        .column("median", Number, Table)
        .column("change", Number, IfRoom(0))
        .column("p90", Number, IfRoom(3))
        .column("p95", Number, IfRoom(1))
        .column("p99", Number, IfRoom(6))
        .column("max", Number, IfRoom(2))
}

fn cells(what: Phrase, compared: &ComparedPercentiles) -> Vec<GridCell> {
    let now = compared.now;
    vec![
        what.into(),
        now.map(|now| render_count(now.count)).into(),
        now.map(|now| duration(now.p50_ms)).into(),
        median_change(compared).into(),
        now.map(|now| duration(now.p90_ms)).into(),
        now.map(|now| duration(now.p95_ms)).into(),
        now.map(|now| duration(now.p99_ms)).into(),
        now.map(|now| duration(now.max_ms)).into(),
    ]
}

/// Absent where there is no task.
pub(super) fn retries(report: &Report) -> Option<Section> {
    let retries = &report.retries;
    if retries.tasks == 0 {
        return None;
    }
    let mut section = Section::new(Topic::Retries);
    let before = match retries.attempts_before {
        0 => "none in the period before".to_owned(),
        many => format!("{} in the period before", render_count(many)),
    };
    // The period before is told here too: that nothing is tried again any more is news.
    if retries.retried_tasks == 0 {
        section.say(format!("No task was tried again; {before}."));
        return Some(section);
    }
    section.say(format!(
        "{} of {} in {} tried again, {} beyond the first; {before}.",
        render_count(retries.retried_tasks),
        counted(retries.tasks, "task"),
        counted(retries.runs, "run") + if retries.retried_tasks == 1 { " was" } else { " were" },
        counted(retries.attempts, "attempt"),
    ));
    if report.connections.len() > 1 && !retries.by_connection.is_empty() {
        let mut grid = Grid::default()
            .column("connection", Text, Table)
            .column("extra attempts", Number, Table)
            .column("tasks", Number, Table)
            .column("runs", Number, IfRoom(0));
        for connection in retries.by_connection.iter().take(ROWS) {
            grid.row(vec![
                Phrase::default().data(&connection.connection).into(),
                render_count(connection.attempts).into(),
                render_count(connection.retried_tasks).into(),
                render_count(connection.runs).into(),
            ]);
        }
        section.grid(grid);
        more(&mut section, beyond(retries.by_connection.len(), ROWS), "retries");
    }
    Some(section)
}

/// Absent where none has a duration.
pub(super) fn slowest(report: &Report) -> Option<Section> {
    let mut section = Section::new(Topic::Slowest);
    let mut grid = Grid::default()
        .column("connection", Text, Table)
        .column("took", Number, Table)
        .column("started", Whole, IfRoom(0))
        .column("outcome", Text, IfRoom(1))
        .column("run", Whole, OrBelow(2));
    for run in report.slowest.iter().take(ROWS) {
        grid.row(vec![
            Phrase::default().data(&run.connection).into(),
            duration(run.duration_ms).into(),
            moment(&run.started_at, &report.zone, &report.as_of).into(),
            Phrase::default().data(&run.outcome).into(),
            Phrase::default().code(&run.run_id).into(),
        ]);
    }
    section.grid(grid);
    (!report.slowest.is_empty()).then_some(section)
}

pub(super) fn unfinished(report: &Report) -> Section {
    let mut section = Section::new(Topic::Unfinished);
    let unfinished = &report.unfinished;
    if unfinished.runs == 0 {
        section.say("Every archived run is finished.");
        return section;
    }
    let are = if unfinished.runs == 1 { "is" } else { "are" };
    let runs = counted(unfinished.runs, "run");
    let stuck = match unfinished.stuck {
        0 => "none for longer than a day".to_owned(),
        stuck => format!("{} stuck for longer than a day", render_count(stuck)),
    };
    let unlisted = match unfinished.unlisted {
        0 => String::new(),
        1 => "; 1 is no longer listed by the platform, so nobody will know how it ended".to_owned(),
        many => format!(
            "; {} are no longer listed by the platform, so nobody will know how they ended",
            render_count(many)
        ),
    };
    // They are asked for with growing pauses, so what is told of them has an age.
    let answer = unfinished.oldest_answer_age_ms.map(|age| match unfinished.runs {
        1 => format!("; the platform's last answer about it is {} old", duration(age)),
        _ => format!("; the oldest of the platform's last answers about them is {} old", duration(age)),
    });
    let sentence = format!("{runs} {are} not finished, {stuck}{unlisted}{}", answer.unwrap_or_default());
    let worth_a_look: Vec<_> =
        unfinished.oldest.iter().filter(|run| run.is_stuck || run.is_unlisted).collect();
    if worth_a_look.is_empty() {
        let query = Phrase::from(sentence + " (").code("archive query unfinished-runs");
        section.say(query.words(")."));
        return section;
    }
    section.say(sentence + ".");
    let mut grid = Grid::default()
        .column("connection", Text, Table)
        .column("age", Number, Table)
        .column("", Text, Table)
        .column("started", Whole, IfRoom(0))
        .column("state", Text, IfRoom(1))
        .column("run", Whole, OrBelow(2));
    for run in worth_a_look.into_iter().take(ROWS) {
        let notes = [(run.is_stuck, "stuck"), (run.is_unlisted, "unlisted")];
        let notes: Vec<&str> = notes.into_iter().filter(|(is_so, _)| *is_so).map(|(_, note)| note).collect();
        grid.row(vec![
            Phrase::default().data(&run.connection).into(),
            run.age_ms.map(duration).into(),
            notes.join(", ").into(),
            run.started_at.map(|time| moment(&time, &report.zone, &report.as_of)).into(),
            run.state.as_deref().map_or(GridCell::Absent, |state| Phrase::default().code(state).into()),
            Phrase::default().code(&run.run_id).into(),
        ]);
    }
    let shown = grid.rows.len() as u64;
    section.grid(grid);
    more(&mut section, unfinished.runs.saturating_sub(shown), "unfinished-runs");
    section
}

/// Absent where no run started.
pub(super) fn masked(report: &Report) -> Option<Section> {
    let masked = &report.masked;
    if report.total.now.runs == 0 {
        return None;
    }
    let mut section = Section::new(Topic::Masked);
    if masked.runs == 0 {
        section.say("No run that says Success hides a failed job or task.");
        return Some(section);
    }
    // Success is what the platform says of these runs; that it hides a failure is seen only below them.
    let hide = if masked.runs == 1 { "hides" } else { "hide" };
    section.say(format!(
        "{} of {} that say Success {hide} a job or task that failed or carries an error; {} in the period \
         before. They count as succeeded, so no failure rate shows them, and what they exported may be \
         incomplete.",
        render_count(masked.runs),
        counted(masked.succeeded, "run"),
        render_count(masked.runs_before),
    ));
    let mut grid = Grid::default()
        .column("connection", Text, Table)
        .column("started", Whole, IfRoom(0))
        .column("failed jobs", Number, IfRoom(2))
        .column("tasks", Number, IfRoom(2))
        .column("errors", Text, Table)
        .column("run", Whole, OrBelow(3));
    for run in masked.newest.iter().take(LONGER) {
        grid.row(vec![
            Phrase::default().data(&run.connection).into(),
            moment(&run.started_at, &report.zone, &report.as_of).into(),
            render_count(run.failed_jobs).into(),
            render_count(run.failed_tasks).into(),
            run.error_keys.as_deref().map_or(GridCell::Absent, |keys| Phrase::default().data(keys).into()),
            Phrase::default().code(&run.run_id).into(),
        ]);
    }
    let shown = grid.rows.len() as u64;
    section.grid(grid);
    more(&mut section, masked.runs.saturating_sub(shown), "masked-failures");
    Some(section)
}
