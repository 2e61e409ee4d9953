//! `archive verify` finds what is wrong with the file and what is wrong with the history, and mends it
//! only when told to.

use std::collections::BTreeSet;
use std::path::Path;

use run_archive::emulator::{Answer, Emulator, Listing, On, Order, Run, Scripted};
use serde_json::Value;

use crate::common::{Archive, CONNECTION, Ended, platform, run, run_in_state, run_of_json, runs};

/// A synced archive of so many runs, and its platform.
fn synced(count: u64) -> (Archive, Emulator) {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, count))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    (archive, emulator)
}

fn verify(archive: &Archive, emulator: &Emulator, arguments: &[&str]) -> Ended {
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "emulated-token");
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    command.args(["verify", "--format", "json"]).args(arguments);
    run(command)
}

/// Alters the file behind the program's back, as somebody with an SQL shell would.
fn damage(archive: &Archive, sql: &str) {
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database.pragma_update(None, "foreign_keys", false).unwrap();
    database.execute_batch(sql).unwrap();
}

/// What one connection's comparison says under this name: a number, or how many are listed.
fn found(told: &Value, name: &str) -> u64 {
    let found = &told["connections"][0][name];
    found.as_array().map_or_else(|| found.as_u64().unwrap(), |list| list.len() as u64)
}

#[track_caller]
fn assert_repaired(archive: &Archive, emulator: &Emulator) {
    verify(archive, emulator, &["--repair"]).expect(0);
    let told = verify(archive, emulator, &[]).expect(0).json();
    assert_eq!(told["runs_without_digest"], 0);
    archive.assert_sound();
}

fn replace(emulator: &Emulator, changed: Run) {
    assert!(emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(changed));
}

#[test]
fn an_archive_that_is_what_the_platform_lists_is_proved_in_every_order() {
    for order in [Order::NewestFirst, Order::OldestFirst, Order::Shuffled] {
        let (archive, emulator) = synced(120);
        emulator.platform().connections.get_mut(CONNECTION).unwrap().order = order;
        emulator.platform().faults.page_cap = Some(50);
        let before = archive.dump();
        let told = verify(&archive, &emulator, &[]).expect(0).json();
        assert_eq!((found(&told, "listed"), found(&told, "archived")), (120, 120), "{order:?}");
        for name in ["missing", "different", "gone_upstream", "new", "went_on", "back"] {
            assert_eq!(found(&told, name), 0, "{name}");
        }
        assert_eq!(
            (told["runs_proved"].as_u64(), told["runs_without_digest"].as_u64()),
            (Some(120), Some(0))
        );
        assert_eq!(archive.dump(), before);
        assert_eq!(archive.count("syncs"), 1, "looking leaves no trace");
    }
}

#[test]
fn a_row_that_was_removed_is_missed() {
    let (archive, emulator) = synced(30);
    for sql in [
        "DELETE FROM tasks WHERE run_key = 3; DELETE FROM jobs WHERE run_key = 3;
         DELETE FROM runs WHERE run_key = 3",
        "DELETE FROM tasks WHERE run_key = 5",
        "DELETE FROM tasks WHERE run_key = 6; DELETE FROM jobs WHERE run_key = 6",
        // Stored anew it is given the key that its jobs and tasks still have.
        "DELETE FROM runs WHERE run_key = (SELECT max(run_key) FROM runs)",
    ] {
        damage(&archive, sql);
        verify(&archive, &emulator, &["--offline"]).expect(3);
        let told = verify(&archive, &emulator, &[]).expect(3).json();
        assert_eq!(found(&told, "missing") + found(&told, "different"), 1, "{sql}: {told}");
        assert_repaired(&archive, &emulator);
        assert_eq!(archive.count("runs"), 30);
        assert_eq!(archive.count("tasks"), 30);
    }
    // The last one's jobs and tasks said of no run whose they were: they are kept all the same.
    let kept: String = archive.value("SELECT raw FROM rejects");
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["jobs"][0]["tasks"][0]["id"], "run-00027-task");
}

#[test]
fn a_field_that_was_altered_is_told_by_its_place_and_who_altered_it() {
    let (archive, emulator) = synced(10);
    damage(&archive, "UPDATE jobs SET result = 'Error' WHERE run_key = 4");
    let told = verify(&archive, &emulator, &["--offline"]).expect(3).json();
    assert_eq!(told["runs_altered"], 1);
    assert_eq!(told["altered"][0]["connection"], "Bridge");
    let told = verify(&archive, &emulator, &[]).expect(3).json();
    let different = &told["connections"][0]["different"][0];
    assert_eq!(different["altered_in_the_archive"], true);
    assert_eq!(different["differences"][0]["path"], "jobs[0].result");
    assert_eq!(different["differences"][0]["archived"], "\"Error\"");
    assert_eq!(different["differences"][0]["platform"], "\"Success\"");
    assert_repaired(&archive, &emulator);
    assert_eq!(archive.value::<String>("SELECT result FROM jobs WHERE run_key = 4"), "Success");
    assert_eq!(archive.count("revisions"), 1, "what a repair replaces is kept");
}

#[test]
fn every_column_of_a_run_is_under_its_digest() {
    let (archive, emulator) = synced(1);
    let sent = r#"{"id":"full","state":"Completed","result":"Error","startDateTime":"2026-01-05T00:00:00Z",
        "endDateTime":"2026-01-05T00:01:00Z","phase":"MasterFile","error":{"errorKey":"k","description":"d"},"more":[1,{"a":null}],
        "jobs":[{"id":"j","state":"Completed","result":"Error","startDateTime":"2026-01-05T00:00:01Z",
        "endDateTime":"2026-01-05T00:00:50Z","connectorType":"DWG","more":1,
        "tasks":[{"id":"t","state":"Completed","result":"Error","startDateTime":"2026-01-05T00:00:02Z",
        "endDateTime":"2026-01-05T00:00:40Z","retryAttempts":1,"exportOutputFileId":"o","storageFileId":"s",
        "sourceFileId":"f","more":true,"error":{"errorCode":"c","message":"m","details":"d","bridgeExitCode":-1,
        "system":"s","phase":"p","category":"c","descriptionKey":"k","description":"d","kbArticleLink":"l",
        "canUserFix":true,"more":0}}]}]}"#;
    let full = run_of_json("full", "2026-01-05T00:00:00Z", sent);
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(full);
    run(archive.sync(&emulator)).expect(0);
    verify(&archive, &emulator, &[]).expect(0);
    let mut tried = 0;
    for table in ["runs", "jobs", "tasks", "errors"] {
        let columns = format!("SELECT name FROM pragma_table_info('{table}')");
        for column in archive.column::<String>(&columns) {
            let is_key = column.ends_with("_key") && column != "error_key" && column != "description_key";
            let is_own = ["fingerprint", "first_seen_at", "unlisted_at", "not_found_at", "digest"];
            if is_key || column.ends_with("_index") || is_own.contains(&column.as_str()) {
                continue;
            }
            let copy = tempfile::tempdir().unwrap();
            let path = copy.path().join("archive.db");
            std::fs::copy(archive.path(), &path).unwrap();
            let database = rusqlite::Connection::open(&path).unwrap();
            let sql = format!(
                "UPDATE {table} SET {column} = CASE typeof({column})
                     WHEN 'integer' THEN 1 - {column}
                     WHEN 'null' THEN 'x'
                     ELSE CASE WHEN {column} LIKE '{{%' THEN '{{}}'
                               WHEN {column} LIKE '2026%' THEN '2026-01-05T00:00:30.0000000Z'
                               ELSE {column} || 'x' END
                 END
                 WHERE run_key = (SELECT run_key FROM runs WHERE id = 'full')"
            );
            database.execute_batch(&sql).unwrap();
            drop(database);
            let mut command = archive.command();
            command.arg("--db").arg(&path).args(["verify", "--offline"]);
            let told = run(command);
            assert_eq!(told.code, Some(3), "{table}.{column}: {}", told.stdout);
            tried += 1;
        }
    }
    assert!(tried > 40, "{tried}");
}

#[test]
fn a_run_that_the_platform_changed_is_told_apart_from_one_that_was_altered_here() {
    let (archive, emulator) = synced(10);
    replace(&emulator, run_in_state(3, "Completed", "Error"));
    let told = verify(&archive, &emulator, &[]).expect(3).json();
    let different = &told["connections"][0]["different"][0];
    assert_eq!(different["run_id"], "run-00003");
    assert_eq!(different["altered_in_the_archive"], false);
    verify(&archive, &emulator, &["--offline"]).expect(0);
    assert_repaired(&archive, &emulator);
    assert_eq!(archive.value::<String>("SELECT result FROM runs WHERE id = 'run-00003'"), "Error");
}

#[test]
fn what_went_on_since_it_was_archived_is_nothing_to_be_alarmed_about() {
    let archive = Archive::new();
    let mut listed = platform(runs(0, 10));
    listed.connections.get_mut(CONNECTION).unwrap().listing.push_newest(run_in_state(
        10,
        "Executing",
        "Undetermined",
    ));
    let emulator = Emulator::start(listed).unwrap();
    run(archive.sync(&emulator)).expect(0);
    replace(&emulator, run_in_state(10, "Completed", "Success"));
    let later = run_archive::emulator::history::simple_run(
        "later",
        "2099-01-01T00:00:00Z",
        "Executing",
        "Undetermined",
    );
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(later);
    let told = verify(&archive, &emulator, &[]).expect(0).json();
    assert_eq!((found(&told, "went_on"), found(&told, "new")), (1, 1));
    assert_repaired(&archive, &emulator);
    assert_eq!(archive.count("runs"), 11 + 1);
}

#[test]
fn runs_that_are_gone_upstream_and_a_hole_in_the_history_are_found() {
    let (archive, emulator) = synced(200);
    emulator.platform().faults.page_cap = Some(50);
    {
        let mut platform = emulator.platform();
        let listing = &mut platform.connections.get_mut(CONNECTION).unwrap().listing;
        (0..3).for_each(|_| drop(listing.remove(0)));
    }
    damage(
        &archive,
        "DELETE FROM tasks WHERE run_key BETWEEN 60 AND 90; DELETE FROM jobs WHERE run_key BETWEEN 60 AND 90;
         DELETE FROM runs WHERE run_key BETWEEN 60 AND 90",
    );
    let told = verify(&archive, &emulator, &[]).expect(3).json();
    assert_eq!((found(&told, "gone_upstream"), found(&told, "missing")), (3, 31));
    assert_repaired(&archive, &emulator);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NULL"), 197);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 3, "what is gone stays archived");
}

#[test]
fn a_run_that_is_listed_again_is_found() {
    let (archive, emulator) = synced(5);
    damage(
        &archive,
        "UPDATE runs SET unlisted_at = first_seen_at WHERE run_key = 2;
         UPDATE checkpoints SET listed = 4",
    );
    let told = verify(&archive, &emulator, &[]).expect(3).json();
    assert_eq!(found(&told, "back"), 1);
    assert_repaired(&archive, &emulator);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 0);
}

#[test]
fn what_is_told_from_the_rows_is_checked_and_made_anew() {
    let archive = Archive::new();
    let page: Value = serde_json::from_str(&crate::common::fixture("list-runs-200.json")).unwrap();
    let sample = page["runs"][0].to_string();
    let emulator =
        Emulator::start(platform([run_of_json("s", "2023-09-14T12:00:06.8727565Z", &sample)])).unwrap();
    run(archive.sync(&emulator)).expect(0);
    for (number, sql) in [
        (2, "UPDATE runs SET first_seen_at = 'yesterday'"),
        (3, "UPDATE jobs SET duration_ms = 1"),
        (5, "UPDATE runs SET queue_ms = 1"),
        (6, "UPDATE runs SET has_failure = 0"),
        (7, "UPDATE error_runs SET tasks = 2"),
        (7, "DELETE FROM error_runs"),
        (9, "UPDATE checkpoints SET listed = 7"),
        (10, "UPDATE checkpoints SET newest_started_at = NULL"),
        (14, "DELETE FROM checkpoints"),
        (2, "UPDATE walks SET started_at = 'garbage'"),
        (2, "UPDATE walks SET ended_at = '2026-02-31T00:00:00.0000000Z'"),
        (2, "UPDATE checkpoints SET full_walk_at = 'garbage', quiet_at = '', watermark = 'x'"),
        (11, "UPDATE runs SET not_found_at = '2026-01-01T00:00:00.0000000Z'"),
        (13, "UPDATE walks SET complete = 0, reason = NULL"),
        (13, "UPDATE walks SET complete = 1, reason = 'none'"),
        (1, "INSERT INTO walk_runs VALUES (7, 1)"),
        (16, "UPDATE runs SET fingerprint = x'01'"),
        (16, "UPDATE walks SET pages = -1"),
        (16, "UPDATE checkpoints SET listing_order = 'upwards'"),
        (17, "UPDATE checkpoints SET listing_end = '{'"),
        (17, "UPDATE walks SET complete = 0, reason = 'x', checkpoint = '[]'"),
    ] {
        damage(&archive, sql);
        let told = verify(&archive, &emulator, &["--offline"]).expect(3).json();
        assert!(told["rules"][number - 1]["broken"].as_u64().unwrap() > 0, "{sql}: {told}");
        assert!(told["rules"][number - 1]["example"].is_string());
        if sql.contains("first_seen_at") {
            damage(&archive, "UPDATE runs SET first_seen_at = '2026-01-01T00:00:00.0000000Z'");
        } else {
            verify(&archive, &emulator, &["--offline", "--repair"]).expect(0);
        }
        verify(&archive, &emulator, &["--offline"]).expect(0);
    }
    assert_eq!(archive.value::<i64>("SELECT has_failure FROM runs"), 1);
}

#[test]
fn a_damaged_page_is_told_and_costs_nothing_more() {
    let (archive, _emulator) = synced(2_000);
    let path = archive.path();
    let mut bytes = std::fs::read(&path).unwrap();
    let (middle, size) = (bytes.len() / 2 / 16_384 * 16_384, 16_384);
    bytes[middle..middle + size].fill(0xa5);
    std::fs::write(&path, &bytes).unwrap();
    let mut command = archive.command();
    command.args(["verify", "--offline"]);
    let told = run(command);
    assert!(matches!(told.code, Some(1 | 3)), "{:?} {}", told.code, told.stderr);
    assert!(told.stdout.contains("database") || told.stderr.contains("damaged"), "{}", told.stderr);
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
}

#[test]
fn a_listing_that_cannot_be_proved_is_no_proof() {
    let (archive, emulator) = synced(120);
    emulator.platform().faults.page_cap = Some(50);
    emulator.platform().faults.ignore_skip = true;
    let told = verify(&archive, &emulator, &[]).expect(3).json();
    assert!(told["connections"][0]["problem"].as_str().unwrap().contains("not proved"), "{told}");
    assert_eq!(found(&told, "gone_upstream"), 0, "what was not met is not called gone");

    emulator.platform().faults.ignore_skip = false;
    let kept = std::mem::take(&mut emulator.platform().connections.get_mut(CONNECTION).unwrap().listing);
    let told = verify(&archive, &emulator, &["--repair"]).json();
    assert_eq!(found(&told, "gone_upstream"), 120, "the connection says that it has no runs");
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing = kept;
    assert_repaired(&archive, &emulator);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NULL"), 120);
}

#[test]
fn an_empty_listing_that_nobody_confirms_marks_nothing_as_gone() {
    let (archive, emulator) = synced(5);
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing = Listing::new();
    emulator.platform().faults.script = vec![Scripted::always(On::GetConnection, Answer::Documented(403))];
    let told = verify(&archive, &emulator, &["--repair"]).expect(3).json();
    assert!(told["connections"][0]["problem"].as_str().unwrap().contains("role"), "{told}");
    assert_eq!(found(&told, "gone_upstream"), 0);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NULL"), 5);
}

#[test]
fn credentials_that_are_refused_and_a_connection_that_fails_are_told_apart() {
    let (archive, emulator) = synced(5);
    emulator.platform().access.refuse_all = true;
    verify(&archive, &emulator, &[]).expect(4);
    emulator.platform().access.refuse_all = false;
    emulator.platform().faults.script = vec![Scripted::always(On::ListRuns, Answer::Documented(403))];
    let told = verify(&archive, &emulator, &[]).expect(3).json();
    assert!(told["connections"][0]["problem"].as_str().unwrap().contains("403"));
    verify(&archive, &emulator, &["--connection", "Bridg"]).expect(2);
    let told = verify(&archive, &emulator, &["--connection", "Bridge"]).expect(3).json();
    assert_eq!(told["connections"].as_array().unwrap().len(), 1);
    let nothing = Archive::new();
    verify(&nothing, &emulator, &["--offline"]).expect(1);
    assert!(!nothing.path().exists());
}

#[test]
fn a_person_is_told_what_is_off_in_a_page_of_80_columns() {
    let (archive, emulator) = synced(10);
    damage(&archive, "UPDATE runs SET result = 'Error' WHERE run_key = 4");
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "emulated-token").env("COLUMNS", "80");
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url()).arg("verify");
    let told = run(command).expect(3);
    insta::assert_snapshot!(told.stdout, @r#"
    altered in the archive: run run-00006 of Bridge
    the file is not sound: 19 rules checked, 9 runs proved to be what was received

    connection             listed  archived  missing  different  gone  since
    -------------------------------------------------------------------------
    Bridge                     10        10        0          1     0      0
    1 connection compared      10        10        0          1     0      0
    Bridge: run run-00006 was altered in the archive: result archived "Error", listed "Success"
    "#);
    assert!(told.stderr.contains("archive verify --repair"), "{}", told.stderr);
}

/// What the README says cannot be proved offline: `table.column`, each. A line of it begins with the table.
fn said_to_be_unproved() -> BTreeSet<String> {
    let readme = include_str!("../../README.md");
    let list = readme.split("<!-- unproved -->").nth(1).expect("the list stands in README between two marks");
    let words = |line: &'static str| line.split('`').skip(1).step_by(2).collect::<Vec<_>>();
    let names = list.lines().map(words).filter(|words| !words.is_empty());
    names
        .flat_map(|words| {
            words[1..].iter().map(|column| format!("{}.{column}", words[0])).collect::<Vec<_>>()
        })
        .collect()
}

/// Another value of a column that stands for one of a few words; `None` for any other column.
fn other_word(column: &str) -> Option<&'static str> {
    Some(match column {
        "walks.kind" => "iif(kind = 'full', 'incremental', 'full')",
        "syncs.outcome" => "'partial'",
        "connections.kind" => "'storage'",
        "checkpoints.listing_order" => "'none'",
        "drift.object" => "'job'",
        "drift.what" => "'value'",
        "pruned_runs.outcome" => "'canceled'",
        _ => return None,
    })
}

/// Three runs walked whole twice: one changed between, and one more is not finished.
fn synced_with_a_revision_and_an_unfinished_run() -> (Archive, Emulator) {
    let (archive, emulator) = synced(3);
    replace(&emulator, run_in_state(1, "Completed", "Error"));
    let unfinished = run_in_state(3, "Executing", "Undetermined");
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(unfinished);
    let mut full = archive.sync(&emulator);
    full.arg("--full");
    run(full).expect(0);
    (archive, emulator)
}

#[test]
fn every_column_is_proved_offline_or_said_in_the_readme_not_to_be() {
    let (archive, emulator) = synced_with_a_revision_and_an_unfinished_run();
    const TIME: &str = "2026-01-05T00:00:00.0000000Z";
    damage(
        &archive,
        &format!(
            "INSERT INTO itwins VALUES (1, 't', 'iTwin', '{{\"a\":1}}', '{TIME}', '{TIME}');
             INSERT INTO imodels VALUES (1, 'm', 't', 'iModel', '{{\"a\":1}}', '{TIME}', '{TIME}', '{TIME}');
             UPDATE connections SET unlisted_at = '{TIME}', imodel_id = 'm', itwin_id = 't', extra = '{{\"a\":1}}';
             UPDATE checkpoints SET page_size = 50, quiet_at = '{TIME}', last_run_id = 'run-00002';
             UPDATE walks SET newest_before = '{TIME}';
             INSERT INTO walks (connection_key, sync_key, kind, started_at, ended_at, reason, base_run_key, newest_before, checkpoint)
             VALUES (1, 1, 'full', '{TIME}', '{TIME}', 'cut', 0, '{TIME}', '{{\"a\":1}}');
             UPDATE runs SET unlisted_at = '{TIME}', not_found_at = '{TIME}' WHERE run_key = 2;
             UPDATE checkpoints SET listed = 3;
             UPDATE syncs SET problem = 'p';
             INSERT INTO rejects VALUES (1, 1, '{TIME}', '1', 'why', 'raw', x'00', 2, '{TIME}');
             INSERT INTO gaps VALUES (1, 1, 1, '2026-01-01T00:00:00.0000000Z', '2026-01-09T00:00:00.0000000Z', '{TIME}');
             INSERT INTO drift VALUES (1, 'run', 'f', 'field', '', '{TIME}', 1, 1);
             UPDATE unfinished_runs SET changed_at = '{TIME}', answered_at = '{TIME}', asked_at = '{TIME}';
             INSERT INTO prunes (prune_key, pruned_at, before) VALUES (1, '{TIME}', '{TIME}');
             INSERT INTO pruned_runs (connection_key, id, started_at, outcome, run_key, prune_key) VALUES (1, 'gone', '{TIME}', 'failed', 9, 1);
             UPDATE checkpoints SET pruned = 1, prune_key = 1, proved_walk_key = 1;
             INSERT INTO walk_runs VALUES (1, 1);"
        ),
    );
    verify(&archive, &emulator, &["--offline"]).expect(0);
    let columns = "SELECT m.name || ' ' || c.name || ' ' || c.type FROM sqlite_schema AS m, pragma_table_info(m.name) AS c
                   WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite%'
                     AND m.name NOT IN ('jobs', 'tasks', 'errors', 'error_kinds', 'error_runs', 'refinery_schema_history')
                     -- Nothing is told by the number of a row, and its content is under the digest.
                     AND NOT (c.pk = 1 AND c.type = 'INTEGER' AND m.name <> 'walk_runs')
                     AND (m.name <> 'runs' OR c.name IN ('fingerprint', 'first_seen_at', 'walk_key', 'unlisted_at',
                                                         'not_found_at', 'digest', 'has_failure', 'connection_key'))";
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("archive.db");
    // Whether it is told that the values of a column were replaced by this one.
    let is_told = |table: &str, column: &str, value: &str| {
        std::fs::copy(archive.path(), &path).unwrap();
        let database = rusqlite::Connection::open(&path).unwrap();
        database.pragma_update(None, "foreign_keys", false).unwrap();
        let sql = format!("UPDATE OR IGNORE {table} SET {column} = {value} WHERE {column} IS NOT NULL");
        assert!(database.execute(&sql, []).unwrap() > 0, "{sql}");
        drop(database);
        let mut command = archive.command();
        command.arg("--db").arg(&path).args(["verify", "--offline"]);
        let told = run(command);
        assert!(matches!(told.code, Some(0 | 3)), "{sql}: {}", told.stderr);
        told.code == Some(3)
    };
    let mut unproved = BTreeSet::new();
    for column in archive.column::<String>(columns) {
        let [table, column, kind] = column.split(' ').collect::<Vec<_>>()[..] else { unreachable!() };
        let sample = format!(
            "SELECT iif(typeof({column}) = 'blob', 'blob', CAST({column} AS TEXT)) FROM {table} ORDER BY 1 DESC LIMIT 1"
        );
        let sample: Option<String> = archive.value(&sample);
        let sample = sample.unwrap_or_else(|| panic!("the sample has no value to alter in {table}.{column}"));
        let is_time = sample.len() == 28 && sample.ends_with('Z');
        let is_json = sample.starts_with('{');
        let other = match (kind, other_word(&format!("{table}.{column}"))) {
            (_, Some(word)) => word.to_owned(),
            ("INTEGER", _) => format!("iif({column} IN (0, 1), 1 - {column}, {column} + 1)"),
            ("BLOB", _) => "zeroblob(16)".to_owned(),
            _ if is_time => "'2026-01-06T00:00:30.0000000Z'".to_owned(),
            _ if is_json => format!("json_set({column}, '$.zz', 1)"),
            _ => format!("{column} || 'x'"),
        };
        if !is_told(table, column, &other) {
            unproved.insert(format!("{table}.{column}"));
        }
        // What cannot be proved has a form at least.
        for broken in [is_time.then_some("'yesterday'"), is_json.then_some("'{'")].into_iter().flatten() {
            assert!(is_told(table, column, broken), "{table}.{column} = {broken}");
        }
    }
    let said = said_to_be_unproved();
    let wrongly_said: Vec<_> = said.difference(&unproved).collect();
    let not_said: Vec<_> = unproved.difference(&said).map(|name| format!("`{name}`")).collect();
    assert!(
        not_said.is_empty() && wrongly_said.is_empty(),
        "not said: {}; proved all the same: {wrongly_said:?}",
        not_said.join(", ")
    );
}

/// A run with an error in a task, as an older and a newer answer of the platform tell it.
fn failed_run(code: &str) -> Run {
    let sent = format!(
        r#"{{"id":"e","state":"Completed","result":"Error","startDateTime":"2026-01-06T00:00:00Z","jobs":[{{"id":"j",
        "tasks":[{{"id":"t","error":{{"errorCode":"{code}","descriptionKey":"k","canUserFix":true}}}}]}}]}}"#
    );
    run_of_json("e", "2026-01-06T00:00:00Z", &sent)
}

#[test]
fn an_error_that_was_altered_or_removed_is_repaired_and_stops_no_later_sync() {
    for sql in [
        "UPDATE errors SET error_code = 'other'",
        "UPDATE errors SET can_user_fix = NULL",
        "DELETE FROM errors",
        "UPDATE runs SET started_at = '2026-01-07T00:00:00.0000000Z' WHERE id = 'e'",
        "UPDATE runs SET started_at = NULL WHERE id = 'e'",
        "UPDATE error_runs SET started_at = '2026-01-07T00:00:00.0000000Z'",
        "UPDATE error_runs SET connection_key = 7",
        "UPDATE error_kinds SET error_code = 'other'",
        "DELETE FROM error_kinds",
        "DELETE FROM error_runs",
        "DELETE FROM runs WHERE id = 'e'",
        "DELETE FROM errors; DELETE FROM tasks; DELETE FROM jobs; DELETE FROM runs WHERE id = 'e'",
    ] {
        println!("{sql}");
        let with_error = || {
            let (archive, emulator) = synced(2);
            emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(failed_run("c"));
            run(archive.sync(&emulator)).expect(0);
            assert_eq!(archive.count("error_runs"), 1);
            damage(&archive, sql);
            (archive, emulator)
        };
        let (archive, emulator) = with_error();
        verify(&archive, &emulator, &["--offline"]).expect(3);
        assert_repaired(&archive, &emulator);
        assert_eq!(archive.value::<String>("SELECT error_code FROM error_details"), "c");

        // And where nobody repairs, the run's next version is stored all the same.
        let (archive, emulator) = with_error();
        replace(&emulator, failed_run("d"));
        for _ in 0..2 {
            let mut full = archive.sync(&emulator);
            full.arg("--full");
            run(full).expect(0);
        }
        let code = "SELECT error_code FROM error_kinds JOIN error_runs USING (error_kind_key)
                    WHERE run_key = (SELECT run_key FROM runs WHERE id = 'e')";
        assert_eq!(archive.value::<String>(code), "d");
    }
}

#[test]
fn an_extra_that_is_no_json_is_found_and_repaired_at_every_level() {
    // The last is JSON, and deeper than SQLite reads.
    let deep = format!("{{\"a\":{}1{}}}", "[".repeat(1_100), "]".repeat(1_100));
    for spoilt in ["{", "[1]", "no", "{\"a\":1}x", &deep] {
        for (table, is_of_platform) in [
            ("runs", true),
            ("jobs", true),
            ("tasks", true),
            ("errors", true),
            ("connections", true),
            ("itwins", false),
        ] {
            let (archive, emulator) = synced(2);
            emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(failed_run("c"));
            run(archive.sync(&emulator)).expect(0);
            damage(
                &archive,
                &format!(
                    "INSERT INTO itwins (id, first_seen_at) VALUES ('t', '2026-01-05T00:00:00.0000000Z');
                     UPDATE {table} SET extra = '{spoilt}'"
                ),
            );
            let told = verify(&archive, &emulator, &["--offline"]).expect(3).json();
            assert!(told["rules"][7]["broken"].as_u64().unwrap() > 0, "{table}: {told}");
            // Only the platform knows what stood there.
            let told = verify(&archive, &emulator, &["--offline", "--repair"]).expect(3);
            assert!(told.stderr.contains("without --offline"), "{}", told.stderr);
            if !is_of_platform {
                continue;
            }
            assert_repaired(&archive, &emulator);
            if table != "connections" {
                let kept: Vec<String> = archive.column("SELECT content FROM revisions");
                let spoilt = serde_json::to_string(spoilt).unwrap();
                assert!(kept.iter().all(|kept| kept.contains(&spoilt)) && !kept.is_empty(), "{kept:?}");
            }
        }
    }
}

#[test]
fn an_error_that_somebody_wrote_into_the_archive_is_taken_out_by_a_repair_and_kept_as_a_revision() {
    let (archive, emulator) = synced(2);
    let forged = "INSERT INTO errors (run_key, job_index, task_index, error_code)
                  SELECT run_key, job_index, task_index, 'FORGED' FROM tasks
                  WHERE run_key NOT IN (SELECT run_key FROM errors) LIMIT 1";
    damage(&archive, forged);
    assert_eq!(archive.value::<i64>("SELECT count(*) FROM errors WHERE error_code = 'FORGED'"), 1);
    verify(&archive, &emulator, &["--offline"]).expect(3);
    assert_repaired(&archive, &emulator);
    assert_eq!(archive.value::<i64>("SELECT count(*) FROM errors WHERE error_code = 'FORGED'"), 0);
    let kept: i64 = archive.value("SELECT count(*) FROM revisions WHERE content LIKE '%FORGED%'");
    assert_eq!(kept, 1);
}

#[test]
fn a_revision_that_is_no_json_is_kept_as_its_text_by_a_repair() {
    let (archive, emulator) = synced(1);
    damage(
        &archive,
        "INSERT INTO revisions (run_key, number, replaced_at, content)
         SELECT run_key, 1, first_seen_at, 'gar\"bage' FROM runs LIMIT 1",
    );
    verify(&archive, &emulator, &["--offline"]).expect(3);
    assert_repaired(&archive, &emulator);
    let kept: String = archive.value("SELECT json_extract(content, '$.extra') FROM revisions");
    assert_eq!(kept, "gar\"bage");
}

#[test]
fn a_walk_that_began_at_no_time_is_walked_anew_and_told_in_our_own_words() {
    let (archive, emulator) = synced(30);
    let spoil = "UPDATE walks SET complete = 0, reason = 'cut', kind = 'full', started_at = 'garbage',
                     checkpoint = '{\"position\":5,\"anchors\":[\"00000000000000000000000000000001\"],\"chained\":5,
                         \"oldest_started_at\":null,\"newest_started_at\":null,\"last_started_at\":null,\"order\":null}'
                 WHERE walk_key = 1;
                 UPDATE checkpoints SET full_walk_at = NULL";
    damage(&archive, spoil);
    let told = verify(&archive, &emulator, &["--offline"]).expect(3);
    assert_eq!(told.json()["rules"][1]["example"], "walk 1: garbage");
    let told = run(archive.sync(&emulator)).expect(0);
    assert!(!told.stderr.contains("read-only"), "{}", told.stderr);
    assert_eq!(archive.value::<i64>("SELECT complete FROM walks ORDER BY walk_key DESC LIMIT 1"), 1);
    verify(&archive, &emulator, &["--offline", "--repair"]).expect(0);
    verify(&archive, &emulator, &["--offline"]).expect(0);
}

#[test]
fn every_removed_row_is_told_offline_or_said_in_the_readme_not_to_be() {
    let readme = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let said = readme.split("<!-- unproved rows -->").nth(1).expect("the list of the README is marked");
    let said: BTreeSet<&str> = said.split('`').skip(1).step_by(2).collect();
    let (archive, emulator) = synced_with_a_revision_and_an_unfinished_run();
    const TIME: &str = "2026-01-05T00:00:00.0000000Z";
    damage(
        &archive,
        &format!(
            "INSERT INTO itwins VALUES (1, 't', 'iTwin', '{{}}', '{TIME}', '{TIME}');
             INSERT INTO imodels VALUES (1, 'm', 't', 'iModel', '{{}}', '{TIME}', '{TIME}', '{TIME}');
             INSERT INTO rejects VALUES (1, 1, '{TIME}', '1', 'why', 'raw', x'00', 2, '{TIME}');
             INSERT INTO gaps VALUES (1, 1, 1, '2026-01-01T00:00:00.0000000Z', '2026-01-09T00:00:00.0000000Z', '{TIME}');
             INSERT INTO drift VALUES (1, 'run', 'f', 'field', '', '{TIME}', 1, 1);
             INSERT INTO prunes (prune_key, pruned_at, before) VALUES (1, '{TIME}', '{TIME}');"
        ),
    );
    verify(&archive, &emulator, &["--offline"]).expect(0);
    let copy = tempfile::tempdir().unwrap();
    let path = copy.path().join("archive.db");
    let mut unproved = BTreeSet::new();
    let tables = "SELECT name FROM sqlite_schema
                   WHERE type = 'table' AND name NOT LIKE 'sqlite%' AND name <> 'refinery_schema_history'";
    for table in archive.column::<String>(tables) {
        for order in ["ASC", "DESC"] {
            std::fs::copy(archive.path(), &path).unwrap();
            let database = rusqlite::Connection::open(&path).unwrap();
            database.pragma_update(None, "foreign_keys", false).unwrap();
            // Tables without a rowid have keys of several columns.
            let keys: Vec<String> = archive
                .column(&format!("SELECT name FROM pragma_table_info('{table}') WHERE pk > 0 ORDER BY pk"));
            let (list, order) = (keys.join(", "), keys.join(&format!(" {order}, ")) + " " + order);
            let sql = format!(
                "DELETE FROM {table} WHERE ({list}) IN (SELECT {list} FROM {table} ORDER BY {order} LIMIT 1)"
            );
            let removed = database.execute(&sql, []).unwrap_or_else(|error| panic!("{sql}: {error}"));
            drop(database);
            let mut command = archive.command();
            command.arg("--db").arg(&path).args(["verify", "--offline"]);
            if removed > 0 && run(command).code == Some(0) {
                unproved.insert(table.clone());
            }
        }
    }
    println!("{unproved:?}");
    for table in &unproved {
        assert!(
            said.contains(table.as_str()),
            "README does not say that a removed row of {table} is not told"
        );
    }
    for table in ["jobs", "tasks", "errors", "connections"] {
        assert!(!unproved.contains(table), "{table}");
    }
}
