//! How each connection does: one table, those with news first.

use super::incidents::word;
use super::lists::{CONNECTIONS, beyond, more};
use crate::render::document::Align::{Number, Share, Spark, Text, Whole};
use crate::render::document::Presence::{IfRoom, Table};
use crate::render::document::{Grid, GridCell, Phrase, Section, Tone, Topic};
use crate::render::wording::{counted, error_names, moment, percent, share};
use crate::report::figures::{ConnectionState, Incident, Report, State};

/// Absent where no connection has run in the weeks that are told.
pub(super) fn connections(report: &Report) -> Option<Section> {
    let told: Vec<&ConnectionState> = report
        .states
        .iter()
        .filter(|state| !state.incidents.is_empty() || state.weeks.iter().any(|week| week.rated > 0))
        .collect();
    if told.is_empty() {
        return None;
    }
    let mut section = Section::new(Topic::Connections);
    let mut grid = Grid::default()
        .column("connection", Text, Table)
        .column("state", Whole, Table)
        .column("12 weeks", Spark, IfRoom(0))
        .column("failed", Share, Table)
        .column("usual", Number, IfRoom(1))
        .column("cause", Text, IfRoom(2))
        .column("since", Whole, IfRoom(3));
    for state in told.iter().take(CONNECTIONS) {
        grid.row(row(state, report));
    }
    section.grid(grid);
    more(&mut section, beyond(told.len(), CONNECTIONS), "failure-rates");
    section.say(notes(report));
    Some(section)
}

fn row(state: &ConnectionState, report: &Report) -> Vec<GridCell> {
    let incident = report.incidents.iter().find(|incident| state.incidents.contains(&incident.id));
    let since = incident.and_then(|incident| incident.since).or(state.since.filter(|_| is_told(state.state)));
    let failed = if state.rated == 0 { "no run".to_owned() } else { share(state.failed, state.rated) };
    vec![
        Phrase::default().data(&state.connection).into(),
        describe(state, incident),
        GridCell::Spark(state.weeks.iter().map(|week| (week.failed, week.rated)).collect()),
        failed.into(),
        percent(state.usual).into(),
        incident.and_then(cause).map_or_else(|| GridCell::from(""), GridCell::Phrase),
        since.map_or_else(|| "".into(), |since| moment(&since, &report.zone, &report.as_of).into()),
    ]
}

/// Since when a connection is fine is no news.
fn is_told(state: State) -> bool {
    state != State::Fine
}

fn describe(state: &ConnectionState, incident: Option<&Incident>) -> GridCell {
    let (tone, word) = match incident {
        Some(incident) if incident.is_open => (super::incidents::tone(incident), word(incident.kind)),
        _ => match state.state {
            State::Fine => (Tone::Fine, "fine"),
            State::Broken => (Tone::Usual, "broken, as usual"),
            State::Flaky => (Tone::Usual, "flaky, as usual"),
            State::Recovered => (Tone::Over, "recovered"),
            State::Stopped => (Tone::Usual, "silent"),
        },
    };
    GridCell::State(tone, word)
}

fn cause(incident: &Incident) -> Option<Phrase> {
    let cause = incident.cause.as_ref()?;
    let names = error_names(cause.description_key.as_deref(), cause.error_code.as_deref());
    names.first().map(|name| Phrase::default().data(name))
}

/// What the columns mean, and what could not be seen.
fn notes(report: &Report) -> String {
    let sight = match report.expected.sight {
        Some(sight) => match sight.named_from {
            Some(from) => format!(
                " A connection with {} here is named from {} on.",
                counted(sight.rated, "rated run"),
                counted(from, "failure")
            ),
            None => format!(
                " A connection with {} here is never named by failures alone.",
                counted(sight.rated, "rated run")
            ),
        },
        None => String::new(),
    };
    format!(
        "Usual: how often it fails by the {} before, and by what all connections do.{sight}",
        crate::render::wording::length(&report.baseline, &report.zone)
    )
}
