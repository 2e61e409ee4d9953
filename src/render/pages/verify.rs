//! What a verification found and repaired, and what is to be done about it.

use serde::Serialize;

use super::{MOST_NAMED, line_of, name_and_numbers};
use crate::error::ExitCode;
use crate::render::document::{Document, Grid, Phrase, Section, Topic};
use crate::render::{clean, counted, render_count};
use crate::store::check::Altered;
use crate::store::schema::{Change, Finding, ObjectKind};
use crate::verify::{Compared, Different, Offline, Report, Rule};

/// Altered runs that programs are told of by name; the number of all of them stands beside.
const MOST_ALTERED: usize = 20;

/// A verification; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct VerifyResult<'a> {
    exit_code: ExitCode,
    integrity: &'a [String],
    schema: Vec<SchemaFinding<'a>>,
    unchecked: Option<&'a str>,
    rules: &'a [Rule],
    runs_proved: u64,
    runs_without_digest: u64,
    runs_altered: usize,
    altered: &'a [Altered],
    gaps: u64,
    rejects: u64,
    repaired_in_the_file: u64,
    schema_repaired: &'a [Finding],
    connections_not_listed: u64,
    requests: u64,
    connections: &'a [Compared],
}

#[derive(Debug, Serialize)]
struct SchemaFinding<'a> {
    #[serde(flatten)]
    finding: &'a Finding,
    is_difference: bool,
}

impl<'a> From<&'a Report> for VerifyResult<'a> {
    fn from(report: &'a Report) -> Self {
        let offline = &report.offline;
        let digests = &offline.digests;
        let schema = offline.schema.iter();
        Self {
            exit_code: report.exit_code(),
            integrity: &offline.integrity,
            schema: schema
                .map(|finding| SchemaFinding { finding, is_difference: finding.is_difference() })
                .collect(),
            unchecked: offline.unchecked.as_deref(),
            rules: &offline.rules,
            runs_proved: digests.proved,
            runs_without_digest: digests.without,
            runs_altered: digests.altered.len(),
            altered: &digests.altered[..digests.altered.len().min(MOST_ALTERED)],
            gaps: offline.gaps,
            rejects: offline.rejects,
            repaired_in_the_file: report.repaired_offline,
            schema_repaired: &report.mended,
            connections_not_listed: report.unlisted,
            requests: report.requests,
            connections: &report.compared,
        }
    }
}

/// What was found in the file and, where the platform was asked, beside what it lists.
pub(crate) fn document(report: &Report, is_online: bool) -> Document {
    let mut in_file = Section::new(Topic::Summary);
    describe_schema(&mut in_file, &report.offline);
    describe_rows(&mut in_file, &report.offline);
    report.mended.iter().for_each(|finding| in_file.line(describe_mended(finding)));
    if report.is_repair && report.repaired_offline > 0 {
        in_file.line(format!("{} mended in the file", counted(report.repaired_offline, "finding")));
    }
    if !is_online {
        return in_file.into();
    }

    let mut online = Section::new(Topic::Summary);
    if !report.compared.is_empty() {
        online.grid(table(&report.compared));
    } else if !report.is_repair && report.offline.is_schema_altered() {
        online.line("nothing was compared with the platform: a view or a table of the archive is altered");
    } else {
        online.line("no connection was compared with the platform");
    }
    report.compared.iter().for_each(|compared| describe_compared(&mut online, compared));
    if report.unlisted > 0 {
        let connections = counted(report.unlisted, "connection");
        online.line(format!("{connections} not compared: the platform no longer lists them"));
    }
    Document(vec![in_file, online])
}

/// What was done to the schema. A trigger is told with its text, so that its owner can have it back elsewhere.
fn describe_mended(finding: &Finding) -> Phrase {
    match &finding.sql {
        Some(sql) if finding.change == Change::Trigger => {
            let one_line = sql.split_whitespace().collect::<Vec<_>>().join(" ");
            Phrase::from("dropped the trigger ")
                .whole(&finding.name)
                .words(" on ")
                .whole(&finding.table)
                .words(", which was: ")
                .whole(&one_line)
        }
        _ => Phrase::from(format!("made the {} ", finding.kind.as_str())).whole(&finding.name).words(" anew"),
    }
}

fn describe_schema(section: &mut Section, offline: &Offline) {
    let (differences, notes): (Vec<_>, Vec<_>) =
        offline.schema.iter().partition(|finding| finding.is_difference());
    for finding in &differences {
        let sentence = Phrase::from("altered in the archive: ").whole(&finding.to_string());
        section.line(sentence.words("; ").whole(&describe_way_out(finding)));
    }
    for finding in notes.iter().take(MOST_NAMED) {
        let sentence = Phrase::from("note: ").whole(&finding.to_string());
        section.line(if finding.constrains {
            sentence.words("; a sync may fail because of it: ").whole(&describe_way_out(finding))
        } else {
            sentence
        });
    }
    let more = notes.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        section.line(format!("note: {} more were added", counted(more as u64, "object")));
    }
    if let Some(why) = &offline.unchecked {
        section.line(Phrase::from("not everything could be checked: ").whole(why));
    }
}

fn describe_rows(section: &mut Section, offline: &Offline) {
    for complaint in &offline.integrity {
        section.line(Phrase::from("the database: ").whole(complaint));
    }
    for rule in offline.rules.iter().filter(|rule| rule.broken > 0) {
        let rows = format!(" ({}; ", counted(rule.broken, "row"));
        let example = rule.example.as_deref().unwrap_or_default();
        let sentence = Phrase::from("rule broken: ").whole(&rule.rule).words(rows).whole(example);
        section.line(sentence.words(")"));
    }
    let digests = &offline.digests;
    for altered in digests.altered.iter().take(MOST_NAMED) {
        let sentence = Phrase::from("altered in the archive: run ").whole(&altered.run_id);
        section.line(sentence.words(" of ").whole(&altered.connection));
    }
    let more = digests.altered.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        section.line(format!("altered in the archive: {} more", counted(more as u64, "run")));
    }

    // The line that sums the file up stands below what is wrong with it, where a terminal shows it last.
    let state = if offline.broken() == 0 { "sound" } else { "not sound" };
    let (rules, proved) = (counted(offline.rules.len() as u64, "rule"), counted(digests.proved, "run"));
    let without = match digests.without {
        0 => String::new(),
        runs => format!(", {} of earlier versions without a digest", counted(runs, "run")),
    };
    section.line(format!(
        "the file is {state}: {rules} checked, {proved} proved to be what was received{without}"
    ));
    if offline.rejects > 0 {
        section.line(format!("{} set aside; archive rejects lists them", counted(offline.rejects, "record")));
    }
    if offline.gaps > 0 {
        let gaps = counted(offline.gaps, "gap");
        section.line(format!(
            "{gaps} in which runs may have come and gone unseen; archive query gaps lists them"
        ));
    }
}

/// The connections where something is to be seen, and all of them together.
fn table(compared: &[Compared]) -> Grid {
    let mut grid =
        name_and_numbers("connection", &["listed", "archived", "missing", "different", "gone", "since"]);
    let mut row = |name: Phrase, of: &[&Compared]| {
        let sum = |count: fn(&Compared) -> u64| {
            render_count(of.iter().map(|compared| count(compared)).sum::<u64>()).into()
        };
        grid.row(vec![
            name.into(),
            sum(|compared| compared.listed),
            sum(|compared| compared.archived),
            sum(|compared| compared.missing.len() as u64),
            sum(|compared| compared.different.len() as u64),
            sum(|compared| compared.gone.len() as u64),
            sum(since),
        ]);
    };
    for compared in compared.iter().filter(|compared| !compared.is_sound() || since(compared) > 0) {
        row(Phrase::default().whole(&compared.name), &[compared]);
    }
    let all: Vec<&Compared> = compared.iter().collect();
    row(format!("{} compared", counted(all.len() as u64, "connection")).into(), &all);
    grid
}

/// What began or went on since it was archived.
fn since(compared: &Compared) -> u64 {
    compared.new + compared.went_on
}

/// What differs, a line each. A long list is cut: a connection of the wrong environment differs in every run.
fn describe_compared(section: &mut Section, compared: &Compared) {
    let mut note = |sentence: Phrase| section.line(line_of(&compared.name, sentence));
    if let Some(problem) = &compared.problem {
        note(Phrase::from("not compared to the end: ").whole(problem));
    }
    // A connection of the wrong environment has thousands of each, which would bury the other connections.
    for (ids, what) in [
        (&compared.missing, " is listed and not archived"),
        (&compared.gone, " is archived and no longer listed"),
        (&compared.back, " is listed again"),
    ] {
        for id in ids.iter().take(MOST_NAMED) {
            note(Phrase::from("run ").whole(id).words(what));
        }
        let more = ids.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            note(format!("{} more{what}", counted(more as u64, "run")).into());
        }
    }
    compared.different.iter().take(MOST_NAMED).for_each(|different| note(describe_difference(different)));
    let more = compared.different.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        note(format!("{} more differ", counted(more as u64, "run")).into());
    }
    if since(compared) > 0 {
        let (new, went_on) = (render_count(compared.new), render_count(compared.went_on));
        note(
            format!("{new} began and {went_on} went on since they were archived; the next sync takes them")
                .into(),
        );
    }
    if compared.repaired > 0 {
        note(format!("{} repaired", counted(compared.repaired, "run")).into());
    }
}

fn describe_difference(different: &Different) -> Phrase {
    let cause =
        if different.is_altered { " was altered in the archive" } else { " was changed on the platform" };
    let value = |value: &Option<String>| match value {
        Some(value) => Phrase::default().whole(value),
        None => "nothing".into(),
    };
    let places = different.differences.iter().enumerate().map(|(number, difference)| {
        Phrase::from(if number == 0 { ": " } else { "; " })
            .whole(&difference.path)
            .words(" archived ")
            .and(value(&difference.archived))
            .words(", listed ")
            .and(value(&difference.platform))
    });
    places.fold(Phrase::from("run ").whole(&different.run_id).words(cause), Phrase::and)
}

/// What all of it comes to, in a line, and whether anything is wrong.
pub(crate) fn describe_outcome(report: &Report, code: ExitCode) -> String {
    match code {
        ExitCode::Done => return "verified: nothing is off".to_owned(),
        ExitCode::Refused => {
            return "the platform refused the credentials, so nothing was compared".to_owned();
        }
        _ => {}
    }
    let broken = report.offline.broken();
    let unread = report.compared.iter().filter(|compared| compared.problem.is_some()).count() as u64;
    let unsound = report.compared.iter().filter(|compared| !compared.is_sound()).count() as u64;
    let mut parts = Vec::new();
    if broken > 0 {
        parts.push(format!("{} in the file", counted(broken, "finding")));
    }
    if unsound > unread && !report.is_repair {
        parts.push(format!("{} not as the platform lists", counted(unsound - unread, "connection")));
    }
    if unread > 0 {
        parts.push(format!("{} not compared to the end", counted(unread, "connection")));
    }
    let what = if report.is_repair { " that could not be repaired" } else { "" };
    format!("something is off{what}: {}", parts.join(", "))
}

/// What is to be done about something in the file that archive did not make.
pub(crate) fn describe_way_out(finding: &Finding) -> String {
    let (kind, name) = (finding.kind.as_str(), clean(&finding.name));
    let name = format!("\"{}\"", name.replace('"', "\"\""));
    match (finding.change, finding.found) {
        (Change::Trigger, _) => {
            format!("archive does not run it; archive verify --repair drops it, as DROP TRIGGER {name} does")
        }
        (Change::Hides, _) => {
            format!("give it another name, with a view's text or ALTER TABLE {name} RENAME TO another")
        }
        (Change::Added, _) if finding.kind == ObjectKind::Index => {
            format!("it refuses rows that the platform sends; DROP INDEX {name}, then sync again")
        }
        (Change::Added, _) => {
            format!(
                "it refuses changes of rows that it refers to; drop the {kind} {name}, or make it anew without REFERENCES"
            )
        }
        _ if finding.is_repairable() => format!("archive verify --repair makes the {kind} {name} anew"),
        (_, Some(found)) if found != finding.kind => {
            format!(
                "rename the {} {name}, then archive verify --repair; or archive restore a backup",
                found.as_str()
            )
        }
        _ => format!("archive restore a backup, or make the {kind} {name} by hand as migrations/ says"),
    }
}
