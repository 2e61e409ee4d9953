//! The archive is kept: copied whole while it is written, and what was set aside is read again.

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use run_archive::emulator::Emulator;
use serde_json::Value;

use crate::common::{Archive, CONNECTION, platform, run, run_of_json, runs};
use crate::interruption::{Running, wait_until};

fn archive_of(count: u64) -> Archive {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, count))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    archive
}

fn backup(archive: &Archive, arguments: &[&str]) -> crate::common::Ended {
    let mut command = archive.command();
    command.arg("backup").args(arguments);
    run(command)
}

fn value(path: &Path, sql: &str) -> i64 {
    rusqlite::Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

/// What is in a folder but the lock.
fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.ends_with(".lock"))
        .collect();
    names.sort();
    names
}

#[test]
fn a_copy_is_the_whole_archive_in_one_file_for_its_owner_alone() {
    let archive = archive_of(120);
    let told = backup(&archive, &["copy.db", "--format", "json"]).expect(0).json();
    assert_eq!((told["runs"].as_u64(), told["problems"].as_array().unwrap().len()), (Some(120), 0));
    let copy = archive.folder().join("copy.db");
    assert_eq!(told["bytes"].as_u64().unwrap(), copy.metadata().unwrap().len());
    assert_eq!(copy.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(archive.folder()), ["archive.db", "copy.db"]);
    // A copy is an archive: it can be read, and a sync goes on in it.
    let mut status = archive.command();
    status.args(["--db", "copy.db", "status", "--format", "json"]);
    assert_eq!(run(status).expect(0).json()["connections"][0]["runs"], 120);
    let emulator = Emulator::start(platform(runs(0, 121))).unwrap();
    let mut sync = archive.sync(&emulator);
    sync.args(["--db", "copy.db"]);
    run(sync).expect(0);
    assert_eq!((value(&copy, "SELECT count(*) FROM runs"), archive.count("runs")), (121, 120));
}

#[test]
fn a_copy_made_while_a_sync_writes_is_sound_and_holds_whole_trees() {
    let archive = Archive::new();
    let mut listed = platform(runs(0, 20_000));
    listed.faults.page_cap = Some(100);
    let emulator = Emulator::start(listed).unwrap();
    let mut sync = archive.sync(&emulator);
    sync.args(["--request-limit", "none"]);
    let syncing = Running::spawn(sync);
    wait_until("the first runs", || {
        archive.path().exists()
            && rusqlite::Connection::open(archive.path())
                .and_then(|database| database.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)))
                .is_ok_and(|runs: i64| runs > 0)
    });
    let mut counts = Vec::new();
    for number in 0..4 {
        // No page is answered meanwhile, so the sync is under way, with what has come to be written.
        let held = emulator.platform();
        let name = format!("copy-{number}.db");
        backup(&archive, &[&name]).expect(0);
        drop(held);
        let copy = archive.folder().join(&name);
        let runs = value(&copy, "SELECT count(*) FROM runs");
        let whole = "SELECT count(*) FROM runs
                     WHERE EXISTS (SELECT 1 FROM tasks WHERE tasks.run_key = runs.run_key)";
        assert_eq!(value(&copy, whole), runs);
        assert_eq!(value(&copy, "SELECT count(*) FROM pragma_foreign_key_check"), 0);
        counts.push(runs);
    }
    assert!(counts.is_sorted() && counts[0] > 0 && counts[0] < 20_000, "{counts:?}");
    syncing.end().expect(0);
    assert_eq!(archive.count("runs"), 20_000);
}

#[test]
fn a_file_of_that_name_is_only_replaced_when_told_to_and_never_the_archive_itself() {
    let archive = archive_of(3);
    std::fs::write(archive.folder().join("taken"), "precious").unwrap();
    let told = backup(&archive, &["taken"]).expect(2);
    assert!(told.stderr.contains("--replace"), "{}", told.stderr);
    assert_eq!(std::fs::read(archive.folder().join("taken")).unwrap(), b"precious");
    backup(&archive, &["taken", "--replace"]).expect(0);
    assert_eq!(value(&archive.folder().join("taken"), "SELECT count(*) FROM runs"), 3);
    std::os::unix::fs::symlink(archive.path(), archive.folder().join("link")).unwrap();
    for own in ["archive.db", "./archive.db", "link"] {
        backup(&archive, &[own, "--replace"]).expect(2);
    }
    assert_eq!(archive.count("runs"), 3);
    backup(&archive, &["no-such-folder/copy.db"]).expect(1);
    assert_eq!(names(archive.folder()), ["archive.db", "link", "taken"]);
    let nothing = Archive::new();
    backup(&nothing, &["copy.db"]).expect(1);
    assert!(names(nothing.folder()).is_empty());
}

#[test]
fn a_copy_of_an_archive_that_is_not_sound_is_kept_and_told() {
    let archive = archive_of(3);
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database.execute("UPDATE runs SET result = 'Error' WHERE run_key = 2", []).unwrap();
    drop(database);
    let told = backup(&archive, &["copy.db"]).expect(3);
    assert!(told.stderr.contains("run-0000"), "{}", told.stderr);
    assert_eq!(value(&archive.folder().join("copy.db"), "SELECT count(*) FROM runs"), 3);
}

/// An archive in which two records were set aside: one that is no run, and one that a version before this
/// one could not read.
fn with_rejects() -> (Archive, Emulator) {
    let archive = Archive::new();
    let mut listed: Vec<_> = runs(0, 3).collect();
    listed.push(run_of_json("x", "", r#"{"id":7,"state":"Completed"}"#));
    let emulator = Emulator::start(platform(listed)).unwrap();
    run(archive.sync(&emulator)).expect(3);
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let sql = "INSERT INTO rejects (connection_key, rejected_at, version, reason, raw, fingerprint)
               VALUES (1, '2025-01-01T00:00:00.0000000Z', '0.0.1', 'not known yet',
                       '{\"id\":\"late\",\"state\":\"Completed\",\"result\":\"Success\"}', zeroblob(16))";
    database.execute(sql, []).unwrap();
    (archive, emulator)
}

#[test]
fn what_was_set_aside_is_listed_to_the_letter() {
    let (archive, _) = with_rejects();
    let mut command = archive.command();
    command.args(["rejects", "--format", "json", "--connection", "Bridge"]);
    let told = run(command).expect(0).json();
    assert_eq!(told.as_array().unwrap().len(), 2);
    assert_eq!(told[1]["raw"], r#"{"id":7,"state":"Completed"}"#);
    assert_eq!(told[1]["connection"], "Bridge");
    assert!(told[1]["reason"].as_str().unwrap().contains("no id"));
}

#[test]
fn a_later_version_reads_again_what_an_earlier_one_set_aside() {
    let (archive, emulator) = with_rejects();
    // The record that is no run is met again, so this sync ends with 3 as well.
    run(archive.sync(&emulator)).expect(3);
    assert_eq!(archive.count("runs WHERE id = 'late'"), 1);
    assert_eq!(archive.column::<String>("SELECT raw FROM rejects"), [r#"{"id":7,"state":"Completed"}"#]);
    archive.assert_sound();

    let (archive, _) = with_rejects();
    let mut command = archive.command();
    command.args(["rejects", "--retry", "--format", "json"]);
    let told = run(command).expect(0);
    assert_eq!(told.json().as_array().unwrap().len(), 1);
    assert!(told.stderr.contains("2 records tried again, 1 archived now"), "{}", told.stderr);
    assert_eq!(archive.count("runs WHERE id = 'late'"), 1);
    let mut verify = archive.command();
    verify.args(["verify", "--offline"]);
    run(verify).expect(0);
}

#[test]
fn what_was_set_aside_never_turns_back_what_came_since() {
    let (archive, _) = with_rejects();
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let older = r#"{"id":"run-00001","state":"Executing"}"#;
    database.execute("UPDATE rejects SET raw = ?1 WHERE version = '0.0.1'", [older]).unwrap();
    drop(database);
    let mut command = archive.command();
    command.args(["rejects", "--retry"]);
    run(command).expect(0);
    assert_eq!(archive.value::<String>("SELECT state FROM runs WHERE id = 'run-00001'"), "Completed");
}

#[test]
fn what_the_platform_sends_unannounced_is_archived_and_told_with_an_example() {
    let archive = Archive::new();
    let mut listed: Vec<_> = runs(0, 2).collect();
    for number in 0..3 {
        let sent = format!(
            r#"{{"id":"new-{number}","state":"Paused","region":"eu","startDateTime":"2026-02-0{}T00:00:00Z"}}"#,
            number + 1
        );
        listed.push(run_of_json(
            &format!("new-{number}"),
            &format!("2026-02-0{}T00:00:00Z", number + 1),
            &sent,
        ));
    }
    let emulator = Emulator::start(platform(listed)).unwrap();
    run(archive.sync(&emulator)).expect(0);
    // The same runs in another state: noted once for each run, not for each answer.
    {
        let mut platform = emulator.platform();
        let listing = &mut platform.connections.get_mut(CONNECTION).unwrap().listing;
        let sent =
            r#"{"id":"new-0","state":"Completed","region":"us","startDateTime":"2026-02-01T00:00:00Z"}"#;
        assert!(listing.replace(run_of_json("new-0", "2026-02-01T00:00:00Z", sent)));
    }
    run(archive.sync(&emulator)).expect(0);
    let rows = "SELECT object || ' ' || field || ' ' || what || ' ' || value || ' ' || runs FROM drift ORDER BY field";
    assert_eq!(archive.column::<String>(rows), ["run region field  3", "run state value Paused 3"]);
    let mut status = archive.command();
    status.arg("status");
    let told = run(status).expect(0).stdout;
    assert!(told.contains("new from the platform: the field region of a run, first seen"), "{told}");
    assert!(told.contains("run state is Paused") && told.contains("in 3 runs, such as new-"), "{told}");
    let mut report = archive.command();
    report.args(["report", "--since", "2026-01-01", "--until", "2026-03-01", "--format", "json"]);
    let told: Value = run(report).expect(0).json();
    let notes = told["coverage"]["drift"].as_array().unwrap();
    assert_eq!(notes.len(), 2);
    assert_eq!((notes[0]["field"].as_str(), notes[0]["runs"].as_u64()), (Some("region"), Some(3)));
    let mut report = archive.command();
    report.args(["report", "--since", "2026-01-01", "--until", "2026-03-01"]);
    let told = run(report).expect(0).stdout;
    assert!(told.contains("New from the platform"), "{told}");
}
