//! What the numbers stand on: what is archived of each connection, gaps, what could not be read, the last
//! sync, and what the words mean.

use super::lists::{CONNECTIONS, ROWS, beyond, label, more};
use crate::render::document::Align::{Number, Text, Whole};
use crate::render::document::Presence::{IfRoom, Table};
use crate::render::document::{Grid, Phrase, Section, Topic};
use crate::render::render_count;
use crate::render::wording::{counted, moment};
use crate::report::figures::{ConnectionCoverage, Coverage, Report};

/// What the words mean, in as few as it takes.
const WORDS: [(&str, &str); 8] = [
    (
        "Failure rate",
        "failed / (succeeded + partly succeeded + failed), of the finished runs that started in the period; a \
         run that timed out failed; canceled, skipped and unfinished ones are shown, not counted",
    ),
    ("95% interval", "Wilson's; the fewer runs, the wider"),
    (
        "Change",
        "in parentheses where nothing supports it; supported are rates by Fisher's exact test at 5%, corrected \
         for the number of connections (Benjamini and Hochberg), and medians whose 95% intervals do not meet; \
         a median is listed as changed where it also moved by a quarter and a second",
    ),
    ("Masked failure", "a run that says Success although a job or task in it failed or carries an error"),
    ("Duration", "end minus start, where both are real and in this order"),
    ("Median, p90, p95, p99", "nearest rank: each is a value that occurred"),
    ("Queue", "from a run's start to its first job's start"),
    ("Stuck", "not completed a day after its start"),
];

/// Where nothing is archived there is only the last attempt to tell of.
pub(super) fn empty(report: &Report) -> Option<Section> {
    let mut section = Section::new(Topic::Coverage);
    last_sync(&mut section, report);
    rejects(&mut section, &report.coverage);
    (!section.blocks.is_empty()).then_some(section)
}

pub(super) fn coverage(report: &Report) -> Section {
    let mut section = Section::new(Topic::Coverage);
    let coverage = &report.coverage;
    archived(&mut section, report);
    // A wrong clock stands first, because it makes every other date of its connection doubtful.
    let ahead = coverage.connections.iter().filter_map(|connection| describe_clock(connection, report));
    let problems = coverage.connections.iter().filter_map(|connection| describe_problem(connection, report));
    let notes: Vec<Phrase> = ahead.chain(problems).collect();
    let hidden = beyond(notes.len(), ROWS);
    notes.into_iter().take(ROWS).for_each(|note| section.item(note));
    more(&mut section, hidden, "coverage");
    gaps(&mut section, report);
    pruned(&mut section, report);
    rejects(&mut section, coverage);
    drift(&mut section, report);
    if coverage.runs_without_start > 0 {
        let is =
            if coverage.runs_without_start == 1 { "has no start and is" } else { "have no start and are" };
        let runs = counted(coverage.runs_without_start, "run");
        section.item(label("Without a start").words(format!("{runs} {is} in no period")));
    }
    last_sync(&mut section, report);
    if report.total.now.runs > 0 || report.weeks.iter().any(|week| week.rate.rated > 0) {
        section.heading("What the words mean");
        WORDS.iter().for_each(|(word, meaning)| section.term(word, *meaning));
    }
    if !report.verdict.alarms.is_empty() && report.min_runs > 1 {
        let runs = counted(report.min_runs, "run");
        section.term("Alarm", format!("raised by no rate from fewer than {runs}"));
    }
    let as_of = moment(&report.as_of, &report.zone, &report.as_of);
    section.term("Ages", format!("counted to {as_of} ({})", report.zone));
    section
}

fn archived(section: &mut Section, report: &Report) {
    let connections = &report.coverage.connections;
    let has = |of: fn(&ConnectionCoverage) -> u64| connections.iter().any(|connection| of(connection) > 0);
    type Count = (&'static str, fn(&ConnectionCoverage) -> u64);
    let counts: [Count; 4] = [
        ("gaps", |connection| connection.gaps),
        ("rejects", |connection| connection.rejects),
        ("unlisted", |connection| connection.unlisted),
        ("unfinished", |connection| connection.unfinished),
    ];
    // A column of zeros takes the room of names and times.
    let counts: Vec<Count> = counts.into_iter().filter(|(_, of)| has(*of)).collect();
    let mut grid = Grid::default()
        .column("connection", Text, Table)
        .column("archived runs", Number, Table)
        .column("complete as of", Whole, Table);
    for (rank, (title, _)) in (1..).zip(&counts) {
        grid = grid.column(title, Number, IfRoom(rank));
    }
    grid = grid.column("newest run", Whole, IfRoom(7)).column("oldest run", Whole, IfRoom(8));
    let at = |time: crate::time::UtcText| moment(&time, &report.zone, &report.as_of);
    for connection in connections.iter().take(CONNECTIONS) {
        let mut cells = vec![
            Phrase::default().data(&connection.connection).into(),
            render_count(connection.runs).into(),
            connection.complete_as_of.map_or_else(|| "never".to_owned(), at).into(),
        ];
        cells.extend(counts.iter().map(|(_, of)| render_count(of(connection)).into()));
        cells.push(connection.newest_started_at.map(at).into());
        cells.push(connection.oldest_started_at.map(at).into());
        grid.row(cells);
    }
    section.grid(grid);
    more(section, beyond(connections.len(), CONNECTIONS), "coverage");
}

fn describe_clock(connection: &ConnectionCoverage, report: &Report) -> Option<Phrase> {
    let then = report.zone.show_minute(&connection.clock_ahead_at?);
    let name = Phrase::default().data(&connection.connection);
    let words = format!(
        ", the clock was ahead when it was last walked whole: that walk is dated {then}, which is to come"
    );
    Some(label("Clock ahead").and(name).words(words))
}

fn describe_problem(connection: &ConnectionCoverage, report: &Report) -> Option<Phrase> {
    let name = Phrase::default().data(&connection.connection);
    if let Some(time) = connection.unlisted_at {
        let since = moment(&time, &report.zone, &report.as_of);
        let words = format!(", the platform does not know it since {since}; its runs stay archived");
        return Some(label("Gone connection").and(name).words(words));
    }
    let problem = connection.last_problem.as_deref()?;
    Some(label("Not walked whole").and(name).words(", ").data(problem))
}

fn gaps(section: &mut Section, report: &Report) {
    let gaps = &report.coverage.gaps;
    let (touching, others): (Vec<_>, Vec<_>) = gaps.iter().partition(|gap| gap.touches_period);
    for gap in touching.into_iter().chain(others).take(ROWS) {
        let at = |time| moment(&time, &report.zone, &report.as_of);
        section.item(label("Gap").data(&gap.connection).words(format!(
            ", runs that started between {} and {} may be missing{}",
            at(gap.after),
            at(gap.until),
            if gap.touches_period { "; this touches the periods reported here" } else { "" }
        )));
    }
    more(section, beyond(gaps.len(), ROWS), "gaps");
}

fn pruned(section: &mut Section, report: &Report) {
    let Some(pruned) = &report.coverage.pruned else { return };
    let at = |time| moment(&time, &report.zone, &report.as_of);
    let runs = counted(pruned.runs, "run");
    let were = if pruned.runs == 1 { "was" } else { "were" };
    section.item(label("Pruned").words(format!(
        "{runs} that began before {} {were} pruned on {}{}",
        at(pruned.before),
        at(pruned.pruned_at),
        if pruned.touches_period { "; figures of the periods reported here lack them" } else { "" }
    )));
}

fn rejects(section: &mut Section, coverage: &Coverage) {
    if coverage.rejects > 0 {
        let are = if coverage.rejects == 1 { "is" } else { "are" };
        let records = counted(coverage.rejects, "record");
        let words = format!("{records} could not be read as runs and {are} counted nowhere (table rejects)");
        section.item(label("Set aside").words(words));
    }
}

/// What the platform began to send without telling anybody.
fn drift(section: &mut Section, report: &Report) {
    let new: Vec<_> = report.coverage.drift.iter().filter(|note| note.is_new).collect();
    for note in new.iter().take(ROWS) {
        let phrase = label("New from the platform");
        let phrase = match note.what.as_str() {
            "field" => phrase.words("the field ").data(&note.field).words(" of a ").data(&note.object),
            "value" => phrase.data(&note.object).words(" ").data(&note.field).words(" is ").data(&note.value),
            "volatile" => phrase
                .words("the URLs in the field ")
                .data(&note.field)
                .words(" of ")
                .data(&note.object)
                .words(" objects differ in every answer"),
            _ => {
                phrase.data(&note.object).words(" ").data(&note.field).words(" came as a ").data(&note.value)
            }
        };
        let since = moment(&note.first_seen_at, &report.zone, &report.as_of);
        let runs = counted(note.runs, "run");
        section.item(
            phrase
                .words(format!(", in {runs} since {since}, such as "))
                .data(&note.run_id)
                .words(" of ")
                .data(&note.connection),
        );
    }
    more(section, beyond(new.len(), ROWS), "drift");
}

fn last_sync(section: &mut Section, report: &Report) {
    let Some(sync) = &report.coverage.last_sync else { return };
    let began = moment(&sync.started_at, &report.zone, &report.as_of);
    let what = match sync.command.as_str() {
        "import" => "Last import",
        "verify" => "Last repair",
        "rejects" => "Last retry",
        _ => "Last sync",
    };
    let phrase = label(what).data(&sync.outcome).words(format!(", began {began}"));
    section.item(match &sync.problem {
        Some(problem) => phrase.words(": ").data(problem),
        None => phrase,
    });
}
