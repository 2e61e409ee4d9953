//! `archive verify`: the file against its own rules, and the archive against the platform.

use super::sync::{client, remember_requests, run_async};
use crate::error::{CommandError, ExitCode};
use crate::render::{self, Column, Screen, Table, clean, counted, render_count};
use crate::settings::{self, CredentialsSource, Format};
use crate::store::schema::{Change, Finding};
use crate::store::write::SyncTotals;
use crate::store::{Archive, Reader};
use crate::sync::now;
use crate::verify::{self, Compared, Different, Offline, Options, Report};

/// Findings of one kind and one connection that are told by name; `--format json` has them all.
const MOST_NAMED: usize = 5;

/// Proves the archive.
pub fn verify(settings: settings::Verify) -> Result<ExitCode, CommandError> {
    let connections = super::known_connections(&settings.db, &settings.connections)?;
    // Whoever cannot have the archive for a repair asks the platform nothing.
    let mut archive = match settings.repair {
        true => Some(Archive::open(&settings.db, settings.cache_mib)?),
        false => None,
    };
    let before = verify::check_offline(&settings.db)?;
    let mut report = Report {
        offline: before,
        repaired_offline: 0,
        compared: Vec::new(),
        unlisted: 0,
        requests: 0,
        was_accepted: true,
        is_repair: settings.repair,
        mended: Vec::new(),
    };
    if let Some(archive) = &mut archive {
        // First, so that no view of somebody else is read, and nothing refuses what is stored below.
        report.mended = archive.write(Archive::repair_schema)?;
        archive.require_connections()?;
    }
    let sync_key = match &mut archive {
        Some(archive) => Some(archive.write(|archive| archive.begin_sync("verify", &now()))?),
        None => None,
    };
    if let Some(archive) = &mut archive {
        archive.write(|archive| archive.set_orphans_aside(&now()))?;
    }
    let is_readable = report.is_repair || !report.offline.is_schema_altered();
    if let Some(platform) = settings.platform.as_ref().filter(|_| is_readable) {
        let options =
            Options { connections, page_size: platform.page_size, pages_in_flight: platform.pages_in_flight };
        run_async(async {
            let client = client(platform, platform.pages_in_flight + 1)?;
            let reader = Reader::open(&settings.db)?;
            remember_requests(&client, &reader, &platform.request_limits)?;
            let compared = verify::compare_all(&client, &reader, archive.as_mut(), &options).await?;
            (report.compared, report.unlisted) = compared;
            (report.requests, report.was_accepted) = (client.requests(), client.was_accepted());
            Ok::<_, CommandError>(())
        })??;
    }
    if let (Some(mut archive), Some(sync_key)) = (archive, sync_key) {
        let broken = report.offline.broken();
        if broken > 0 || report.offline.digests.without > 0 {
            archive.write(|archive| archive.repair_derived())?;
        }
        report.offline = verify::check_offline(&settings.db)?;
        report.repaired_offline = broken.saturating_sub(report.offline.broken());
        let code = report.exit_code();
        let outcome = if code == ExitCode::Done { "done" } else { "partial" };
        let totals = SyncTotals {
            requests: report.requests,
            connections: report.compared.len() as u64,
            ..SyncTotals::default()
        };
        archive
            .write(|archive| archive.end_sync(sync_key, &now(), &totals, (outcome, code.number(), None)))?;
        archive.close()?;
    }
    match settings.format {
        Format::Json => super::print_json(&report.to_json())?,
        Format::Text => render::print(&told(&report, settings.platform.is_some(), Screen::of_stdout()))?,
    }
    let code = report.exit_code();
    let source = settings.platform.as_ref().map(|platform| &platform.credentials_source);
    tell_outcome(&report, code, source);
    Ok(code)
}

/// The one line that sums it up, with what to do.
fn tell_outcome(report: &Report, code: ExitCode, credentials: Option<&CredentialsSource>) {
    if code == ExitCode::Done {
        tracing::info!(target: "run_archive::summary", "verified: nothing is off");
        return;
    }
    let reasons = report.compared.iter().filter_map(|compared| compared.reason);
    let hint = credentials.and_then(|source| {
        let mut hints = reasons.filter_map(|reason| super::hint_for(reason, source));
        hints.next()
    });
    if code == ExitCode::Refused {
        tracing::error!(
            hint = hint.as_deref(),
            "the platform refused the credentials, so nothing was compared"
        );
        return;
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
    let told = parts.join(", ");
    let hint = hint.unwrap_or_else(|| {
        let hint = match report.is_repair {
            true => {
                "what only the platform knows is repaired without --offline, while it still lists it; else restore a backup"
            }
            false => {
                "archive verify --repair stores what the platform lists and tells anew what the rows tell"
            }
        };
        hint.to_owned()
    });
    match report.is_repair {
        true => tracing::error!(hint, "something is off that could not be repaired: {told}"),
        false => tracing::error!(hint, "something is off: {told}"),
    }
}

fn told(report: &Report, is_online: bool, screen: Screen) -> String {
    let mut text = told_offline(&report.offline);
    for finding in &report.mended {
        text.push_str(&told_mended(finding));
    }
    if report.is_repair && report.repaired_offline > 0 {
        text.push_str(&format!("{} mended in the file\n", counted(report.repaired_offline, "finding")));
    }
    if !is_online {
        return text;
    }
    text.push('\n');
    if report.compared.is_empty() && !report.is_repair && report.offline.is_schema_altered() {
        text.push_str(
            "nothing was compared with the platform: a view or a table of the archive is altered\n",
        );
    } else if report.compared.is_empty() {
        text.push_str("no connection was compared with the platform\n");
    } else {
        text.push_str(&table(&report.compared).render(screen));
    }
    for compared in &report.compared {
        tell_findings(&mut text, compared);
    }
    if report.unlisted > 0 {
        let count = counted(report.unlisted, "connection");
        text.push_str(&format!("{count} not compared: the platform no longer lists them\n"));
    }
    text
}

/// What was done to the schema. A trigger is told with its text, so that its owner can have it back elsewhere.
fn told_mended(finding: &Finding) -> String {
    let name = clean(&finding.name);
    match &finding.sql {
        Some(sql) if finding.change == Change::Trigger => {
            let table = clean(&finding.table);
            format!("dropped the trigger {name} on {table}, which was: {}\n", one_line(sql))
        }
        _ => format!("made the {} {name} anew\n", finding.kind.as_str()),
    }
}

fn one_line(sql: &str) -> String {
    clean(&sql.split_whitespace().collect::<Vec<_>>().join(" ")).into_owned()
}

fn told_schema(text: &mut String, offline: &Offline) {
    let (differences, notes): (Vec<_>, Vec<_>) =
        offline.schema.iter().partition(|finding| finding.is_difference());
    for finding in &differences {
        let (told, way_out) = (finding.to_string(), super::describe_way_out(finding));
        text.push_str(&format!("altered in the archive: {}; {way_out}\n", clean(&told)));
    }
    for finding in notes.iter().take(MOST_NAMED) {
        let (told, way_out) = (finding.to_string(), super::describe_way_out(finding));
        let told = clean(&told);
        if finding.constrains {
            text.push_str(&format!("note: {told}; a sync may fail because of it: {way_out}\n"));
        } else {
            text.push_str(&format!("note: {told}\n"));
        }
    }
    let more = notes.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        text.push_str(&format!("note: {} more were added\n", counted(more as u64, "object")));
    }
    if let Some(why) = &offline.unchecked {
        text.push_str(&format!("not everything could be checked: {}\n", clean(why)));
    }
}

fn told_offline(offline: &Offline) -> String {
    let mut text = String::new();
    told_schema(&mut text, offline);
    for complaint in &offline.integrity {
        text.push_str(&format!("the database: {}\n", clean(complaint)));
    }
    for rule in offline.rules.iter().filter(|rule| rule.broken > 0) {
        let example = rule.example.as_deref().unwrap_or_default();
        text.push_str(&format!(
            "rule broken: {} ({}; {})\n",
            rule.rule,
            counted(rule.broken, "row"),
            clean(example)
        ));
    }
    let digests = &offline.digests;
    for altered in digests.altered.iter().take(MOST_NAMED) {
        let (run, connection) = (clean(&altered.run_id), clean(&altered.connection));
        text.push_str(&format!("altered in the archive: run {run} of {connection}\n"));
    }
    let more = digests.altered.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        text.push_str(&format!("altered in the archive: {} more\n", counted(more as u64, "run")));
    }
    let state = if offline.broken() == 0 { "sound" } else { "not sound" };
    text.push_str(&format!(
        "the file is {state}: {} checked, {} proved to be what was received",
        counted(offline.rules.len() as u64, "rule"),
        counted(digests.proved, "run"),
    ));
    if digests.without > 0 {
        let count = counted(digests.without, "run");
        text.push_str(&format!(", {count} of earlier versions without a digest"));
    }
    text.push('\n');
    if offline.rejects > 0 {
        let count = counted(offline.rejects, "record");
        text.push_str(&format!("{count} set aside; archive rejects lists them\n"));
    }
    if offline.gaps > 0 {
        let count = counted(offline.gaps, "gap");
        text.push_str(&format!(
            "{count} in which runs may have come and gone unseen; archive query gaps lists them\n"
        ));
    }
    text
}

/// The connections where something is to be seen, and all of them together.
fn table(compared: &[Compared]) -> Table {
    let row = |name: String, of: &[&Compared]| {
        let sum = |count: fn(&Compared) -> u64| {
            render_count(of.iter().map(|compared| count(compared)).sum::<u64>())
        };
        vec![
            name,
            sum(|compared| compared.listed),
            sum(|compared| compared.archived),
            sum(|compared| compared.missing.len() as u64),
            sum(|compared| compared.different.len() as u64),
            sum(|compared| compared.gone.len() as u64),
            sum(since),
        ]
    };
    let is_told = |compared: &&Compared| !compared.is_sound() || since(compared) > 0;
    let mut rows: Vec<Vec<String>> = compared
        .iter()
        .filter(is_told)
        .map(|compared| row(clean(&compared.name).into_owned(), &[compared]))
        .collect();
    let all: Vec<&Compared> = compared.iter().collect();
    rows.push(row(format!("{} compared", counted(all.len() as u64, "connection")), &all));
    Table {
        columns: vec![
            Column::text("connection"),
            Column::number("listed"),
            Column::number("archived"),
            Column::number("missing"),
            Column::number("different"),
            Column::number("gone"),
            Column::number("since"),
        ],
        rows,
    }
}

/// What began or went on since it was archived.
fn since(compared: &Compared) -> u64 {
    compared.new + compared.went_on
}

fn tell_findings(text: &mut String, compared: &Compared) {
    let name = clean(&compared.name);
    let mut note = |sentence: String| text.push_str(&format!("{name}: {sentence}\n"));
    if let Some(problem) = &compared.problem {
        note(format!("not compared to the end: {}", clean(problem)));
    }
    let mut list = |ids: &[String], what: &str| {
        for id in ids.iter().take(MOST_NAMED) {
            note(format!("run {} {what}", clean(id)));
        }
        let more = ids.len().saturating_sub(MOST_NAMED);
        if more > 0 {
            note(format!("{} more {what}", counted(more as u64, "run")));
        }
    };
    list(&compared.missing, "is listed and not archived");
    list(&compared.gone, "is archived and no longer listed");
    list(&compared.back, "is listed again");
    for different in compared.different.iter().take(MOST_NAMED) {
        note(told_difference(different));
    }
    let more = compared.different.len().saturating_sub(MOST_NAMED);
    if more > 0 {
        note(format!("{} more differ", counted(more as u64, "run")));
    }
    if since(compared) > 0 {
        let since =
            format!("{} began and {} went on", render_count(compared.new), render_count(compared.went_on));
        note(format!("{since} since they were archived; the next sync takes them"));
    }
    if compared.repaired > 0 {
        note(format!("{} repaired", counted(compared.repaired, "run")));
    }
}

fn told_difference(different: &Different) -> String {
    let run = clean(&different.run_id);
    let cause = if different.is_altered { "altered in the archive" } else { "changed on the platform" };
    let value =
        |value: &Option<String>| value.as_deref().map_or("nothing".into(), |value| clean(value).into_owned());
    let places = different.differences.iter().map(|difference| {
        format!(
            "{} archived {}, listed {}",
            clean(&difference.path),
            value(&difference.archived),
            value(&difference.platform)
        )
    });
    let places = places.collect::<Vec<_>>().join("; ");
    if places.is_empty() {
        format!("run {run} was {cause}")
    } else {
        format!("run {run} was {cause}: {places}")
    }
}
