//! A file that somebody else has had in his hands: nothing of his runs in our commands, nothing of his stops
//! them without being named, and `archive verify` tells all of it.

use run_archive::emulator::Emulator;
use serde_json::Value;

use crate::common::{Archive, Ended, platform, run, run_in_state, runs};

/// A view that never ends, under this name.
const ENDLESS: &str =
    "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) AS x FROM n";

fn synced() -> (Archive, Emulator) {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    (archive, emulator)
}

/// Adds to the file what somebody else adds, with his own SQL shell.
fn add(archive: &Archive, sql: &str) {
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database.pragma_update(None, "foreign_keys", false).unwrap();
    database.execute_batch(sql).unwrap();
}

fn ask(archive: &Archive, arguments: &[&str]) -> Ended {
    let mut command = archive.command();
    command.args(arguments);
    run(command)
}

fn list_one_more(emulator: &Emulator, number: u64, result: &str) {
    let later = run_in_state(number, "Completed", result);
    let mut platform = emulator.platform();
    platform.connections.get_mut(crate::common::CONNECTION).unwrap().listing.push_newest(later);
}

/// What `verify --offline` tells of the schema: change, kind and name of each.
fn schema(archive: &Archive, code: i32) -> Vec<String> {
    let told = ask(archive, &["verify", "--offline", "--format", "json"]).expect(code).json();
    let word = |finding: &Value, name: &str| finding[name].as_str().unwrap().to_owned();
    let findings = told["schema"].as_array().unwrap();
    let mut found: Vec<String> = findings
        .iter()
        .map(|finding| ["change", "kind", "name"].map(|name| word(finding, name)).join(" "))
        .collect();
    found.sort();
    found
}

#[test]
fn a_trigger_of_somebody_else_never_runs_and_is_a_difference_until_it_is_dropped() {
    let (archive, emulator) = synced();
    add(
        &archive,
        "CREATE TABLE seen (what TEXT);
         CREATE TRIGGER spy AFTER INSERT ON runs BEGIN INSERT INTO seen VALUES ('run'); END;
         CREATE TRIGGER spies AFTER UPDATE ON checkpoints BEGIN INSERT INTO seen VALUES ('checkpoint'); END;
         CREATE TRIGGER stop BEFORE INSERT ON walks BEGIN SELECT raise(ABORT, 'no'); END;
         CREATE TRIGGER keep BEFORE DELETE ON jobs BEGIN SELECT raise(IGNORE); END;
         CREATE TRIGGER instead INSTEAD OF INSERT ON run_details BEGIN SELECT 1; END;
         CREATE TRIGGER own AFTER INSERT ON seen BEGIN SELECT 1; END;",
    );
    list_one_more(&emulator, 7, "Error");
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 6);
    assert_eq!(archive.count("seen"), 0);
    let expected = [
        "added table seen",
        "added trigger own",
        "trigger trigger instead",
        "trigger trigger keep",
        "trigger trigger spies",
        "trigger trigger spy",
        "trigger trigger stop",
    ];
    assert_eq!(schema(&archive, 3), expected);
    let told = ask(&archive, &["verify", "--offline"]).expect(3);
    assert!(told.stdout.contains("trigger spy is on runs"), "{}", told.stdout);
    assert!(told.stdout.contains("DROP TRIGGER \"spy\""), "{}", told.stdout);

    let told = ask(&archive, &["verify", "--offline", "--repair"]).expect(0);
    assert!(told.stdout.contains("CREATE TRIGGER spy AFTER INSERT ON runs"), "{}", told.stdout);
    assert_eq!(archive.count("seen"), 0);
    assert_eq!(schema(&archive, 0), ["added table seen", "added trigger own"]);
}

#[test]
fn what_somebody_added_for_himself_is_a_note_and_changes_no_exit_code() {
    let (archive, emulator) = synced();
    add(
        &archive,
        "CREATE TABLE notes (run TEXT PRIMARY KEY, note TEXT);
         CREATE VIEW failed AS SELECT id FROM runs WHERE result = 'Error';
         CREATE INDEX runs_by_result ON runs (result);
         CREATE VIEW broken AS SELECT * FROM nowhere;",
    );
    let expected =
        ["added index runs_by_result", "added table notes", "added view broken", "added view failed"];
    assert_eq!(schema(&archive, 0), expected);
    let told = ask(&archive, &["verify", "--offline"]).expect(0);
    assert!(told.stdout.contains("note: the index runs_by_result on runs was added"), "{}", told.stdout);
    list_one_more(&emulator, 7, "Error");
    run(archive.sync(&emulator)).expect(0);
    let told = ask(&archive, &["query", "--sql", "SELECT count(*) AS n FROM failed", "--format", "csv"]);
    assert_eq!(told.expect(0).stdout.lines().nth(1), Some("1"));
    ask(&archive, &["verify", "--offline", "--repair"]).expect(0);
    assert_eq!(schema(&archive, 0), expected, "a repair takes nothing of others away");
}

#[test]
fn what_was_dropped_or_altered_is_told_by_name_and_made_anew_where_no_row_is_lost() {
    let (archive, emulator) = synced();
    add(
        &archive,
        "DROP INDEX runs_by_outcome;
         DROP INDEX walks_complete; CREATE INDEX walks_complete ON walks (connection_key);
         DROP VIEW job_details;
         DROP VIEW error_details; CREATE VIEW error_details AS SELECT 1 AS x;
         ALTER TABLE jobs ADD COLUMN mine TEXT;",
    );
    let expected = [
        "altered index walks_complete",
        "altered table jobs",
        "altered view error_details",
        "dropped index runs_by_outcome",
        "dropped view job_details",
    ];
    assert_eq!(schema(&archive, 3), expected);
    // The view that is missing concerns whoever asks, not what is stored.
    list_one_more(&emulator, 7, "Error");
    run(archive.sync(&emulator)).expect(0);
    let told = ask(&archive, &["report"]).expect(1);
    assert!(told.stderr.contains("error_details") && told.stderr.contains("--repair"), "{}", told.stderr);

    ask(&archive, &["verify", "--offline", "--repair"]).expect(3);
    assert_eq!(schema(&archive, 3), ["altered table jobs"]);
    ask(&archive, &["report"]).expect(0);
    add(&archive, "ALTER TABLE jobs DROP COLUMN mine");
    assert_eq!(schema(&archive, 0), [""; 0]);
}

#[test]
fn a_view_in_the_place_of_ours_is_never_run() {
    for name in ["run_details", "connection_coverage"] {
        let (archive, emulator) = synced();
        add(&archive, &format!("DROP VIEW {name}; CREATE VIEW {name} AS {ENDLESS}"));
        for arguments in
            [&["status"][..], &["report"], &["query", "coverage"], &["query", "--sql", "SELECT 1"]]
        {
            if arguments == ["status"] && name == "run_details" {
                continue;
            }
            let told = ask(&archive, arguments).expect(1);
            assert!(told.stderr.contains(name), "{arguments:?}: {}", told.stderr);
            assert!(told.stderr.contains("archive verify --repair"), "{}", told.stderr);
        }
        let mut online = archive.command();
        online.env("ITP_ACCESS_TOKEN", "emulated-token").env("ITP_API_URL", emulator.url());
        let told = run({
            online.env("ITP_ISSUER_URL", emulator.url()).arg("verify");
            online
        })
        .expect(3);
        assert!(told.stdout.contains("nothing was compared"), "{}", told.stdout);
        list_one_more(&emulator, 7, "Success");
        run(archive.sync(&emulator)).expect(0);
        ask(&archive, &["verify", "--offline", "--repair"]).expect(0);
        ask(&archive, &["status"]).expect(0);
        ask(&archive, &["report"]).expect(0);
    }
}

#[test]
fn a_table_of_ours_that_is_none_any_more_is_refused_by_name() {
    for (sql, name) in [
        ("DROP TABLE drift", "drift"),
        (&*format!("DROP TABLE gaps; CREATE VIEW gaps AS {ENDLESS}"), "gaps"),
        (&*format!("CREATE VIEW json_each AS {ENDLESS}"), "json_each"),
        (&*format!("CREATE VIEW pragma_function_list AS {ENDLESS}"), "pragma_function_list"),
        ("CREATE TABLE \"PRAGMA_Table_Info\" (x)", "PRAGMA_Table_Info"),
    ] {
        let (archive, emulator) = synced();
        add(&archive, sql);
        for arguments in
            [&["status"][..], &["report"], &["query", "gaps"], &["verify", "--offline", "--repair"]]
        {
            let told = ask(&archive, arguments).expect(1);
            assert!(told.stderr.contains(name), "{sql}: {arguments:?}: {}", told.stderr);
            assert!(told.stderr.contains("hint:"), "{}", told.stderr);
        }
        assert!(run(archive.sync(&emulator)).expect(1).stderr.contains(name));
        let told = ask(&archive, &["verify", "--offline"]).expect(3);
        assert!(told.stdout.contains(name), "{sql}: {}", told.stdout);
    }
}

#[test]
fn a_column_of_ours_that_is_gone_is_told_and_verify_goes_as_far_as_it_can() {
    let (archive, _emulator) = synced();
    add(&archive, "ALTER TABLE gaps DROP COLUMN until");
    assert_eq!(schema(&archive, 3), ["altered table gaps"]);
    add(&archive, "ALTER TABLE errors RENAME COLUMN phase TO phases");
    let told = ask(&archive, &["verify", "--offline"]).expect(3);
    assert!(told.stdout.contains("the table errors is not as archive made it"), "{}", told.stdout);
    assert!(told.stdout.contains("not everything could be checked"), "{}", told.stdout);
}

#[test]
fn an_index_or_a_reference_that_refuses_our_rows_is_named_with_the_way_out() {
    let (archive, emulator) = synced();
    add(&archive, "DELETE FROM tasks; DELETE FROM jobs; DELETE FROM runs WHERE run_key > 1");
    add(&archive, "CREATE UNIQUE INDEX once ON runs (result)");
    list_one_more(&emulator, 7, "Success");
    let mut sync = archive.sync(&emulator);
    sync.arg("--full");
    let told = run(sync).expect(1);
    assert!(told.stderr.contains("index once on runs"), "{}", told.stderr);
    assert!(told.stderr.contains("DROP INDEX \"once\""), "{}", told.stderr);
    assert!(ask(&archive, &["verify", "--offline"]).stdout.contains("a sync may fail because of it"));
    add(&archive, "DROP INDEX once");
    run(archive.sync(&emulator)).expect(0);

    add(
        &archive,
        "CREATE TABLE notes (run INTEGER, job INTEGER, FOREIGN KEY (run, job) REFERENCES jobs (run_key, job_index));
         INSERT INTO notes SELECT run_key, job_index FROM jobs",
    );
    let changed = run_in_state(1, "Completed", "Error");
    emulator.platform().connections.get_mut(crate::common::CONNECTION).unwrap().listing.replace(changed);
    let mut sync = archive.sync(&emulator);
    sync.arg("--full");
    let told = run(sync).expect(1);
    assert!(told.stderr.contains("the table notes") && told.stderr.contains("REFERENCES"), "{}", told.stderr);
}

#[test]
fn an_index_that_calls_for_a_function_of_another_program_is_named() {
    let (archive, emulator) = synced();
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let flags = rusqlite::functions::FunctionFlags::SQLITE_DETERMINISTIC;
    database.create_scalar_function("theirs", 1, flags, |_| Ok(1)).unwrap();
    database.execute_batch("CREATE INDEX mine ON runs (theirs(result))").unwrap();
    drop(database);
    list_one_more(&emulator, 7, "Success");
    let told = run(archive.sync(&emulator)).expect(1);
    assert!(
        told.stderr.contains("index mine on runs") && told.stderr.contains("DROP INDEX"),
        "{}",
        told.stderr
    );
    let told = ask(&archive, &["verify", "--offline"]).expect(3);
    assert!(told.stdout.contains("index mine on runs"), "{}", told.stdout);
    add(&archive, "DROP INDEX mine");
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(schema(&archive, 0), [""; 0]);
}

#[test]
fn a_table_of_a_module_that_this_program_does_not_have_stops_nothing() {
    let (archive, emulator) = synced();
    // As another program that has the module would have written it.
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database
        .execute_batch(
            "PRAGMA writable_schema = ON;
             INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
             VALUES ('table', 'elsewhere', 'elsewhere', 0, 'CREATE VIRTUAL TABLE elsewhere USING nomodule(x)');",
        )
        .unwrap();
    drop(database);
    list_one_more(&emulator, 7, "Success");
    run(archive.sync(&emulator)).expect(0);
    ask(&archive, &["report"]).expect(0);
    assert_eq!(schema(&archive, 0), ["added table elsewhere"]);
}

#[test]
fn an_analysts_own_view_that_never_ends_is_stopped_by_the_limit() {
    let (archive, _emulator) = synced();
    add(&archive, &format!("CREATE VIEW endless AS {ENDLESS}"));
    let told = ask(&archive, &["query", "--timeout", "200ms", "--sql", "SELECT * FROM endless"]).expect(1);
    assert!(told.stderr.contains("stopped after 200ms"), "{}", told.stderr);
    ask(&archive, &["verify", "--offline"]).expect(0);
    ask(&archive, &["report"]).expect(0);
}

#[test]
fn keys_far_apart_and_keys_below_zero_are_all_proved() {
    let (archive, _emulator) = synced();
    let moved = |from: i64, to: i64| {
        ["runs", "jobs", "tasks", "errors", "error_runs"]
            .map(|table| format!("UPDATE {table} SET run_key = {to} WHERE run_key = {from};"))
            .concat()
    };
    add(&archive, &moved(1, i64::MAX));
    add(&archive, &moved(2, i64::MIN));
    add(&archive, &moved(3, 1 << 62));
    let told = ask(&archive, &["verify", "--offline", "--format", "json"]).expect(0).json();
    assert_eq!(told["runs_proved"], 5);
}

#[test]
fn a_name_that_a_later_version_gives_away_is_told_before_anything_is_migrated() {
    let mut all =
        refinery::load_sql_migrations(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations"))
            .unwrap();
    all.sort_by_key(|migration| migration.version());
    all.truncate(3);
    let archive = Archive::new();
    let mut database = rusqlite::Connection::open(archive.path()).unwrap();
    database.execute_batch("PRAGMA page_size = 16384; PRAGMA application_id = 0x41524348").unwrap();
    refinery::Runner::new(&all).run(&mut database).unwrap();
    database.execute_batch("CREATE TABLE prunes (mine TEXT)").unwrap();
    drop(database);
    let emulator = Emulator::start(platform(runs(0, 1))).unwrap();
    let told = run(archive.sync(&emulator)).expect(1);
    assert!(told.stderr.contains("prunes"), "{}", told.stderr);
    add(&archive, "ALTER TABLE prunes RENAME TO mine");
    run(archive.sync(&emulator)).expect(0);
}

#[test]
fn the_rows_of_a_connection_that_somebody_removed_become_nobody_elses() {
    let (archive, emulator) = synced();
    let before = archive.count("runs");
    // As the sqlite3 shell does it, which enforces no references.
    add(&archive, "PRAGMA foreign_keys = OFF; DELETE FROM connections");
    let mut other = emulator.platform().connections[crate::common::CONNECTION].clone();
    other.listing = runs(900, 1).collect();
    emulator.platform().connections.insert("another".to_owned(), other);
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "emulated-token");
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    command.args(["sync", "--connection", "another"]);
    run(command).expect(0);
    // Whose they were is told nowhere else, so that no repair can know it.
    let told = ask(&archive, &["verify", "--offline", "--repair"]).expect(1);
    assert!(told.stderr.contains("connections that are not there"), "{}", told.stderr);
    assert!(told.stderr.contains("archive restore"), "{}", told.stderr);
    let of_another = "runs JOIN connections USING (connection_key)";
    assert_eq!((archive.count(of_another), archive.count("runs")), (1, before + 1));
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 0);
}
