//! What is old goes when it is asked for, and what went neither comes back nor is missed.

use std::path::PathBuf;
use std::process::Command;

use crate::common::{Archive, CONNECTION, platform, run, run_of_json, runs};
use run_archive::emulator::{Emulator, Run, history};

/// Runs of the year 2020: older than five years, as those of [`runs`] are not.
fn old_runs(count: u64) -> impl Iterator<Item = Run> {
    (0..count).map(|number| {
        let started = format!("2020-01-01T{:02}:{:02}:00Z", number / 60, number % 60);
        history::simple_run(&format!("old-{number:05}"), &started, "Completed", "Error")
    })
}

fn prune(archive: &Archive, arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.args(["prune", "--older-than", "5y"]).args(arguments);
    command
}

fn verify(archive: &Archive, emulator: &Emulator) -> Command {
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "emulated-token");
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    command.arg("verify");
    command
}

fn json(archive: &Archive, emulator: &Emulator, more: &[&str]) -> serde_json::Value {
    let mut sync = archive.sync(emulator);
    sync.args(["--format", "json"]).args(more);
    run(sync).expect(0).json()
}

/// An archive of 40 old runs and 20 that are not.
fn archived() -> (Archive, Emulator) {
    let emulator = Emulator::start(platform(old_runs(40).chain(runs(0, 20)))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    (archive, emulator)
}

fn sql(archive: &Archive, sql: &str) {
    rusqlite::Connection::open(archive.path()).unwrap().execute_batch(sql).unwrap();
}

#[test]
fn without_consent_nothing_goes_and_it_says_what_would() {
    let (archive, _emulator) = archived();
    let before = archive.dump();
    let told = run(prune(&archive, &["--runs"])).expect(0);
    assert!(told.stdout.contains("40"), "{}", told.stdout);
    assert!(told.stdout.contains("2020-01-01T00:00:00.0000000Z"), "{}", told.stdout);
    assert!(told.stderr.contains("--yes"), "{}", told.stderr);
    let told = run(prune(&archive, &["--runs", "--format", "json"])).expect(0).json();
    assert_eq!((&told["dry_run"], &told["runs"]["rows"]), (&true.into(), &40.into()));
    assert!(told["runs"]["bytes"].as_u64().unwrap() > 1_000);
    // Runs only where they are asked for.
    let told = run(prune(&archive, &["--format", "json"])).expect(0).json();
    assert!(told["runs"].is_null());
    // Consent without a word of a copy is none.
    let told = run(prune(&archive, &["--runs", "--yes"])).expect(2);
    assert!(told.stderr.contains("--no-backup"), "{}", told.stderr);
    assert_eq!(archive.dump(), before);
    assert_eq!(archive.count("prunes"), 0);
    archive.assert_sound();
}

#[test]
fn pruned_runs_count_as_archived_and_the_copy_has_them() {
    let (archive, emulator) = archived();
    let copy: PathBuf = archive.folder().join("before.db");
    run(prune(&archive, &["--runs", "--yes", "--backup", copy.to_str().unwrap()])).expect(0);
    assert_eq!((archive.count("runs"), archive.count("pruned_runs")), (20, 40));
    assert_eq!(archive.count("error_runs"), 0);
    assert_eq!(archive.value::<i64>("SELECT runs FROM prunes"), 40);
    assert_eq!(archive.value::<String>("SELECT DISTINCT outcome FROM pruned_runs"), "failed");
    let copied = rusqlite::Connection::open(&copy).unwrap();
    let runs: i64 = copied.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
    assert_eq!(runs, 60);
    archive.assert_sound();
    let mut offline = archive.command();
    offline.args(["verify", "--offline"]);
    run(offline).expect(0);

    // The platform lists them still: they do not come back, and make no gap.
    emulator.clear_requests();
    let told = json(&archive, &emulator, &[]);
    assert_eq!((&told["new"], &told["changed"]), (&0.into(), &0.into()));
    assert_eq!(emulator.requests().len(), 1);
    // Nor where their content has changed.
    let changed = history::simple_run("old-00003", "2020-01-01T00:03:00Z", "Completed", "Success");
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(changed);
    let told = json(&archive, &emulator, &["--full"]);
    assert_eq!((&told["new"], &told["unchanged"], &told["listed"]), (&0.into(), &60.into(), &60.into()));
    assert_eq!((archive.count("walks"), archive.count("gaps")), (1, 0));
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 0);
    let told = run(verify(&archive, &emulator)).expect(0);
    assert!(!told.stdout.contains("old-"), "{}", told.stdout);
    // One that is gone is noticed although the numbers would fit without the pruned ones told apart.
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.remove_id("run-00004");
    json(&archive, &emulator, &["--full"]);
    assert_eq!(archive.column::<String>("SELECT id FROM runs WHERE unlisted_at IS NOT NULL"), ["run-00004"]);
    // Nor do they come back from a file.
    let page = format!(r#"{{"id":"old-00007","connectionId":"{CONNECTION}","state":"Completed"}}"#);
    std::fs::write(archive.folder().join("saved.json"), page).unwrap();
    let mut import = archive.command();
    import.args(["import", "saved.json", "--connection", CONNECTION, "--format", "json"]);
    let told = run(import).expect(0).json();
    assert_eq!((&told["new"], &told["unchanged"]), (&0.into(), &1.into()));
    assert_eq!(archive.count("runs"), 20);
}

#[test]
fn status_report_and_query_say_what_was_pruned() {
    let (archive, _emulator) = archived();
    run(prune(&archive, &["--runs", "--yes", "--no-backup"])).expect(0);
    let mut status = archive.command();
    status.arg("status");
    let told = run(status).expect(0).stdout;
    assert!(told.contains("40 runs pruned"), "{told}");
    let report = |arguments: &[&str]| {
        let mut report = archive.command();
        report.args(["report", "--since", "2019-06-01", "--until", "2026-02-01"]).args(arguments);
        run(report).expect(0)
    };
    let told = report(&[]).stdout;
    let told: String = told.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(told.contains("40 runs that began before") && told.contains("were pruned on"), "{told}");
    assert!(told.contains("lack them"), "{told}");
    let told = report(&["--format", "json"]).json();
    assert_eq!(told["coverage"]["pruned"]["runs"], 40, "{}", told["coverage"]);
    assert_eq!(told["coverage"]["pruned"]["touches_period"], true);
    let mut query = archive.command();
    query.args(["query", "coverage", "--format", "json"]);
    let told = run(query).expect(0).json();
    assert_eq!((&told[0]["pruned"], &told[0]["runs"]), (&40.into(), &20.into()), "{told}");
}

#[test]
fn an_archive_pruned_of_all_its_runs_takes_new_ones_under_new_keys() {
    let emulator = Emulator::start(platform(old_runs(10))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    run(prune(&archive, &["--runs", "--yes", "--no-backup"])).expect(0);
    assert_eq!(archive.count("runs"), 0);
    let told = json(&archive, &emulator, &[]);
    assert_eq!((&told["new"], &told["unchanged"]), (&0.into(), &10.into()));
    runs(0, 3).for_each(|fresh| {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(fresh);
    });
    assert_eq!(json(&archive, &emulator, &[])["new"], 3);
    // Keys that the pruned ones had would make two runs one, where a walk counts what it met.
    assert_eq!(archive.column::<i64>("SELECT run_key FROM runs ORDER BY run_key"), [11, 12, 13]);
    let told = json(&archive, &emulator, &["--full"]);
    assert_eq!((&told["listed"], &told["new"]), (&13.into(), &0.into()));
    run(verify(&archive, &emulator)).expect(0);
    assert_eq!(archive.count("gaps"), 0);
}

#[test]
fn what_is_not_completed_or_not_proved_stays() {
    let unfinished =
        history::simple_run("old-executing", "2020-01-01T09:00:00Z", "Executing", "Undetermined");
    let emulator = Emulator::start(platform(old_runs(5).chain([unfinished]).chain(runs(0, 5)))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    // Imported since the last complete walk: nothing has proved that no run is missing beside it.
    let late = format!(
        r#"{{"id":"late","connectionId":"{CONNECTION}","state":"Completed","startDateTime":"2020-02-01T00:00:00Z"}}"#
    );
    std::fs::write(archive.folder().join("saved.json"), late).unwrap();
    let mut import = archive.command();
    import.args(["import", "saved.json", "--connection", CONNECTION]);
    run(import).expect(0);
    run(prune(&archive, &["--runs", "--yes", "--no-backup"])).expect(0);
    assert_eq!(archive.count("pruned_runs"), 5);
    assert_eq!(archive.count("runs WHERE id IN ('old-executing', 'late')"), 2);
}

#[test]
fn what_walks_and_gaps_stand_on_stays() {
    let (archive, _emulator) = archived();
    sql(
        &archive,
        "UPDATE walks SET started_at = '2020-01-01T00:00:00.0000000Z', ended_at = '2020-01-01T00:00:00.0000000Z';
         INSERT INTO walks (walk_key, connection_key, sync_key, kind, started_at, ended_at, complete, reason, base_run_key, checkpoint)
         SELECT n, 1, 1, 'full', '2020-01-0' || n || 'T00:00:00.0000000Z', '2020-01-0' || n || 'T00:00:00.0000000Z',
                n IN (2, 3, 5), iif(n IN (2, 3, 5), NULL, 'failed'), 0, iif(n = 6, '{}', NULL)
         FROM (SELECT value AS n FROM json_each('[2, 3, 4, 5, 6, 7, 8]'));
         INSERT INTO gaps (connection_key, walk_key, after, until, noticed_at) VALUES (1, 3,
             '2019-01-01T00:00:00.0000000Z', '2019-01-02T00:00:00.0000000Z', '2020-01-03T00:00:00.0000000Z');
         INSERT INTO revisions
         SELECT 1, value, iif(value < 3, '2020', '2026') || '-01-01T00:00:00.0000000Z',
                json_object('id', (SELECT id FROM runs WHERE run_key = 1))
         FROM json_each('[1, 2, 3]');
         INSERT INTO rejects (connection_key, rejected_at, last_seen_at, version, reason, raw, fingerprint)
         VALUES (1, '2020-01-01T00:00:00.0000000Z', NULL, '0', '', 'gone', zeroblob(16)),
                (1, '2020-01-01T00:00:00.0000000Z', '2026-01-01T00:00:00.0000000Z', '0', '', 'seen', randomblob(16));",
    );
    run(prune(&archive, &["--yes", "--no-backup"])).expect(0);
    // 3: a gap's; 5: the newest complete; 6: to go on with; 8: the newest.
    assert_eq!(archive.column::<i64>("SELECT walk_key FROM walks"), [3, 5, 6, 8]);
    assert_eq!(archive.column::<i64>("SELECT number FROM revisions"), [3]);
    assert_eq!(archive.column::<String>("SELECT raw FROM rejects"), ["seen"]);
    assert_eq!(archive.count("runs"), 60);
    let went = "SELECT runs || ' ' || revisions || ' ' || rejects || ' ' || walks FROM prunes";
    assert_eq!(archive.value::<String>(went), "0 2 1 4");
    let mut offline = archive.command();
    offline.args(["verify", "--offline"]);
    run(offline).expect(0);
    // Nothing is left to go, and nothing is noted.
    run(prune(&archive, &["--yes", "--no-backup"])).expect(0);
    assert_eq!(archive.count("prunes"), 1);
}

#[test]
fn a_note_of_drift_finds_another_example_or_goes_with_its_last() {
    let run_with = |id: &str, year: u32, field: &str| {
        let started = format!("{year}-01-01T00:00:00Z");
        let json = format!(r#"{{"id":"{id}","state":"Completed","startDateTime":"{started}","{field}":1}}"#);
        run_of_json(id, &started, &json)
    };
    let listed =
        [run_with("a", 2019, "region"), run_with("b", 2020, "bygone"), run_with("c", 2026, "region")];
    let emulator = Emulator::start(platform(listed)).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    // Newest first is how they come: the note's example is the newest; make it the one that goes.
    sql(
        &archive,
        "UPDATE drift SET example_run_key = (SELECT run_key FROM runs WHERE id = 'a') WHERE field = 'region'",
    );
    run(prune(&archive, &["--runs", "--yes", "--no-backup"])).expect(0);
    let notes = "SELECT field || ' ' || runs.id FROM drift JOIN runs ON run_key = example_run_key";
    assert_eq!(archive.column::<String>(notes), ["region c"]);
    assert_eq!(archive.count("drift"), 1);
    archive.assert_sound();
}

#[test]
fn a_sync_that_is_at_work_keeps_prune_and_compact_away() {
    let (archive, _emulator) = archived();
    let before = archive.dump();
    let held = run_archive::store::Archive::open(&archive.path(), 8).unwrap();
    run(prune(&archive, &["--runs", "--yes", "--no-backup"])).expect(5);
    let mut compact = archive.command();
    compact.arg("compact");
    run(compact).expect(5);
    held.close().unwrap();
    assert_eq!(archive.dump(), before);
}

#[test]
fn a_copy_that_is_not_sound_or_has_a_name_that_is_taken_stops_the_prune() {
    let (archive, _emulator) = archived();
    std::fs::write(archive.folder().join("taken"), "mine").unwrap();
    run(prune(&archive, &["--runs", "--yes", "--backup", "taken"])).expect(2);
    assert_eq!(std::fs::read(archive.folder().join("taken")).unwrap(), b"mine");
    run(prune(&archive, &["--runs", "--yes", "--backup", "archive.db"])).expect(2);
    sql(&archive, "UPDATE runs SET result = 'Success' WHERE id = 'old-00001'");
    let told = run(prune(&archive, &["--runs", "--yes", "--backup", "copy.db"])).expect(1);
    assert!(told.stderr.contains("nothing was taken out"), "{}", told.stderr);
    assert!(!archive.folder().join("copy.db").exists());
    assert_eq!((archive.count("runs"), archive.count("prunes")), (60, 0));
}

#[test]
fn compacting_makes_the_file_small_and_changes_nothing_in_it() {
    let emulator = Emulator::start(platform(old_runs(1_400).chain(runs(0, 20)))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    run(prune(&archive, &["--runs", "--yes", "--no-backup"])).expect(0);
    assert_eq!(archive.count("pruned_runs"), 1_400);
    let before = archive.dump();
    let mut compact = archive.command();
    compact.args(["compact", "--format", "json"]);
    let told = run(compact).expect(0);
    assert!(told.stderr.contains("before"), "{}", told.stderr);
    let told = told.json();
    let (was, is) = (told["bytes_before"].as_u64().unwrap(), told["bytes_after"].as_u64().unwrap());
    // What is left is a page for each table and index, for the most part.
    assert!(was - is > 256 << 10, "{was} {is}");
    assert_eq!(archive.path().metadata().unwrap().len(), is);
    assert_eq!(archive.dump(), before);
    archive.assert_sound();
    let folder: Vec<_> =
        std::fs::read_dir(archive.folder()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!folder.iter().any(|name| name == "archive.db-wal"), "{folder:?}");
}

#[test]
fn where_no_archive_is_nothing_is_made() {
    let archive = Archive::new();
    run(prune(&archive, &["--yes", "--no-backup"])).expect(1);
    let mut compact = archive.command();
    compact.arg("compact");
    run(compact).expect(1);
    assert!(!archive.path().exists());
}
