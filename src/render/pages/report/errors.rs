//! Errors of the period by who can act.

use super::lists::{beyond, more};
use crate::render::document::Align::{Number, Text, Whole};
use crate::render::document::Presence::{IfRoom, Table};
use crate::render::document::{Grid, Phrase, Row, Section, Topic};
use crate::render::render_count;
use crate::render::wording;
use crate::report::figures::{ErrorCode, Novelty, Report};

/// Rows of each table.
const ERRORS: usize = 8;

/// An error's name: its key, its code, or both.
pub(super) fn name(names: &[&str]) -> Phrase {
    match names {
        [] => Phrase::from("without key or code"),
        [first, rest @ ..] => rest
            .iter()
            .fold(Phrase::default().code(first), |name, more| name.words(" (").code(more).words(")")),
    }
}

pub(super) fn errors(report: &Report) -> Section {
    let mut section = Section::new(Topic::Errors);
    let errors = &report.errors;
    let groups = [
        ("Users can fix", &errors.users),
        ("The platform has to fix", &errors.system),
        ("Not said who can", &errors.unknown),
    ];
    if groups.iter().all(|(_, group)| group.is_empty()) {
        section.say("No task of this period's runs carries an error.");
        return section;
    }
    let mut hidden = errors.not_shown;
    for (heading, group) in groups.into_iter().filter(|(_, group)| !group.is_empty()) {
        section.heading(heading);
        section.grid(grid(group, report));
        hidden += beyond(group.len(), ERRORS);
    }
    more(&mut section, hidden, "error-codes");
    section
}

fn grid(group: &[ErrorCode], report: &Report) -> Grid {
    let mut grid = Grid::default()
        .column("error", Text, Table)
        .column("runs", Number, Table)
        .column("before", Number, IfRoom(0))
        .column("connections", Number, IfRoom(1))
        .column("tasks", Number, IfRoom(2))
        .column("", Text, Table)
        .column("last seen", Whole, IfRoom(3));
    for error in group.iter().take(ERRORS) {
        let place = place(error);
        let description = error.description.as_deref().filter(|text| !text.trim().is_empty());
        let description = description.map(|text| Phrase::default().data(text)).unwrap_or_default();
        // Where an error came up and what it says stand in one line, whichever of the two is known.
        let colon = if place.is_blank() || description.is_blank() { "" } else { ": " };
        let article = error.kb_article_link.as_deref();
        let article = article.map(|link| Phrase::default().link(link)).unwrap_or_default();
        let below = [place.words(colon).and(description), article];
        grid.rows.push(Row {
            below: below.into_iter().filter(|phrase| !phrase.is_blank()).collect(),
            cells: vec![
                name(&error.names()).into(),
                render_count(error.runs).into(),
                render_count(error.runs_before).into(),
                render_count(error.connections).into(),
                render_count(error.tasks).into(),
                describe_novelty(error.novelty).into(),
                wording::moment(&error.last_seen, &report.zone, &report.as_of).into(),
            ],
            is_total: false,
        });
    }
    grid
}

fn describe_novelty(novelty: Novelty) -> Phrase {
    let word = wording::novelty(novelty);
    if novelty == Novelty::New { Phrase::alarm(word) } else { word.into() }
}

/// System, phase and category, as far as they are said.
fn place(error: &ErrorCode) -> Phrase {
    let parts = [&error.system, &error.phase, &error.category];
    let parts = parts.into_iter().flatten().filter(|part| !part.trim().is_empty());
    parts.enumerate().fold(Phrase::default(), |place, (number, part)| {
        let place = if number > 0 { place.words(" / ") } else { place };
        place.code(part)
    })
}
