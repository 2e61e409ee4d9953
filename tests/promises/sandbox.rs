//! A query only reads: whatever the statement, no byte of the archive changes and no file appears.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use run_archive::emulator::Emulator;

use crate::common::{Archive, Ended, ended, platform, run, runs};

/// Statements that are refused or not understood, every one with exit code 2.
const ATTACKS: &[&str] = &[
    // Rows.
    "DELETE FROM runs",
    "DELETE FROM runs RETURNING id",
    "WITH doomed AS (SELECT run_key FROM runs) DELETE FROM runs WHERE run_key IN doomed",
    "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) DELETE FROM runs",
    "WITH gone AS (DELETE FROM runs RETURNING *) SELECT * FROM gone",
    "INSERT INTO connections (id, first_seen_at) VALUES ('x', 'y')",
    "INSERT INTO connections (id, first_seen_at) VALUES ('x', 'y') RETURNING id",
    "INSERT INTO connections (id, first_seen_at) VALUES ('x', 'y') ON CONFLICT DO UPDATE SET id = 'z'",
    "INSERT INTO runs SELECT * FROM runs",
    "REPLACE INTO connections (id, first_seen_at) VALUES ('x', 'y')",
    "UPDATE runs SET result = 'Success'",
    "UPDATE runs SET result = 'Success' WHERE 0",
    "UPDATE runs SET result = 'Success' FROM jobs",
    "UPDATE OR REPLACE runs SET id = 'x' RETURNING id",
    "WITH a AS (SELECT 1) UPDATE runs SET result = 'Success'",
    "WITH a AS (SELECT 1) INSERT INTO connections (id, first_seen_at) SELECT 'x', 'y' FROM a",
    "EXPLAIN DELETE FROM runs",
    "EXPLAIN QUERY PLAN DELETE FROM runs",
    // The schema.
    "CREATE TABLE stolen (a)",
    "CREATE TABLE stolen AS SELECT * FROM runs",
    "CREATE TABLE IF NOT EXISTS runs (a)",
    "CREATE TEMP TABLE stolen (a)",
    "CREATE TEMPORARY TABLE stolen AS SELECT 1",
    "CREATE TEMP VIEW v AS SELECT 1",
    "CREATE TEMP TRIGGER t AFTER INSERT ON runs BEGIN SELECT 1; END",
    "CREATE VIEW v AS SELECT 1",
    "CREATE TRIGGER t AFTER INSERT ON runs BEGIN DELETE FROM runs; END",
    "CREATE INDEX i ON runs (id)",
    "CREATE VIRTUAL TABLE f USING fts5 (a)",
    "CREATE VIRTUAL TABLE r USING rtree (id, a, b)",
    "CREATE VIRTUAL TABLE temp.d USING dbstat",
    "CREATE VIRTUAL TABLE temp.v USING fts5vocab (runs, row)",
    "DROP TABLE runs",
    "DROP VIEW run_details",
    "DROP INDEX runs_unfinished",
    "DROP TRIGGER IF EXISTS nothing; DROP TABLE runs",
    "ALTER TABLE runs RENAME TO ran",
    "ALTER TABLE runs ADD COLUMN x",
    "ALTER TABLE runs DROP COLUMN result",
    "INSERT INTO sqlite_schema VALUES ('table', 'x', 'x', 0, 'CREATE TABLE x (a)')",
    "UPDATE sqlite_schema SET sql = ''",
    "UPDATE sqlite_master SET rootpage = 2",
    "DELETE FROM sqlite_master",
    "INSERT INTO sqlite_temp_schema VALUES ('table', 'x', 'x', 0, 'CREATE TABLE x (a)')",
    "SELECT * FROM temp.sqlite_master",
    "SELECT * FROM sqlite_temp_schema",
    // Other files.
    "ATTACH 'stolen.db' AS stolen",
    "ATTACH DATABASE 'other.db' AS other",
    "ATTACH 'archive.db' AS again",
    "ATTACH 'file:stolen.db?mode=rwc' AS stolen",
    "ATTACH 'file:archive.db?immutable=1' AS again",
    "ATTACH ':memory:' AS memory",
    "ATTACH '' AS temporary",
    "ATTACH DATABASE (SELECT 'stolen' || '.db') AS stolen",
    "DETACH main",
    "DETACH DATABASE temp",
    "VACUUM",
    "VACUUM main",
    "VACUUM INTO 'stolen.db'",
    "VACUUM main INTO 'stolen.db'",
    "VACUUM INTO (SELECT 'stolen' || '.db')",
    "VACUUM INTO 'file:stolen.db?mode=rwc'",
    "/* read */ VACUUM INTO 'stolen.db' -- only",
    "EXPLAIN VACUUM INTO 'stolen.db'",
    "SELECT load_extension('evil')",
    "SELECT Load_Extension('evil', 'main')",
    "SELECT \"load_extension\"('evil')",
    "SELECT 1 WHERE load_extension('evil') IS NULL",
    "SELECT count(*) FILTER (WHERE load_extension('evil')) FROM runs",
    "WITH a AS (SELECT load_extension('evil') AS x) SELECT 1 FROM a",
    "SELECT fts3_tokenizer('simple')",
    "SELECT fts3_tokenizer('simple', x'4141414141414141')",
    "SELECT optimize(runs) FROM runs",
    "SELECT rtreecheck('main', 'runs')",
    "SELECT fts5(1)",
    "SELECT sqlite_log(1, 'x')",
    "SELECT writefile('stolen.txt', 'x')",
    "SELECT readfile('other.db')",
    "SELECT edit('x')",
    "SELECT eval('DELETE FROM runs')",
    "SELECT * FROM fsdir('.')",
    "SELECT * FROM csv('other.csv')",
    "SELECT * FROM sqlite_dbpage",
    "UPDATE sqlite_dbpage SET data = zeroblob(16384)",
    "DELETE FROM dbstat",
    "INSERT INTO json_each VALUES (1)",
    // Settings.
    "PRAGMA query_only",
    "PRAGMA query_only = OFF",
    "PRAGMA query_only(0)",
    "PRAGMA main.query_only = 0",
    "EXPLAIN PRAGMA query_only = 0",
    "PRAGMA writable_schema = ON",
    "PRAGMA writable_schema = RESET",
    "PRAGMA journal_mode = DELETE",
    "PRAGMA journal_mode",
    "PRAGMA main.journal_mode = OFF",
    "PRAGMA wal_checkpoint(TRUNCATE)",
    "PRAGMA user_version = 7",
    "PRAGMA application_id = 7",
    "PRAGMA schema_version = 7",
    "PRAGMA page_size = 512",
    "PRAGMA auto_vacuum = 1",
    "PRAGMA incremental_vacuum",
    "PRAGMA optimize",
    "PRAGMA optimize(-1)",
    "PRAGMA temp_store = FILE",
    "PRAGMA temp_store_directory = '.'",
    "PRAGMA data_store_directory = '.'",
    "PRAGMA locking_mode = EXCLUSIVE",
    "PRAGMA hard_heap_limit = 0",
    "PRAGMA soft_heap_limit = 1",
    "PRAGMA cache_size = -99999999",
    "PRAGMA mmap_size = 99999999",
    "PRAGMA trusted_schema = ON",
    "PRAGMA foreign_keys = OFF",
    "PRAGMA ignore_check_constraints = ON",
    "PRAGMA case_sensitive_like = ON",
    "PRAGMA synchronous = OFF",
    "PRAGMA max_page_count = 1",
    "PRAGMA integrity_check",
    "PRAGMA foreign_key_check",
    "PRAGMA shrink_memory",
    "PRAGMA nothing_like_it",
    "SELECT * FROM pragma_wal_checkpoint",
    "SELECT * FROM pragma_optimize",
    "SELECT * FROM pragma_journal_mode",
    "SELECT * FROM pragma_query_only(0)",
    "SELECT * FROM pragma_writable_schema(1)",
    "SELECT * FROM pragma_temp_store_directory('.')",
    "SELECT * FROM pragma_integrity_check",
    // Transactions.
    "BEGIN",
    "BEGIN IMMEDIATE",
    "BEGIN EXCLUSIVE TRANSACTION",
    "COMMIT",
    "END",
    "ROLLBACK",
    "SAVEPOINT a",
    "RELEASE a",
    "ROLLBACK TO a",
    // Work on the whole.
    "ANALYZE",
    "ANALYZE runs",
    "REINDEX",
    "REINDEX runs",
    // More than one statement, and none.
    "SELECT 1; SELECT 2",
    "SELECT 1; DELETE FROM runs",
    "SELECT 1;; DELETE FROM runs",
    "; SELECT 1; SELECT 2",
    "SELECT 1; ATTACH 'stolen.db' AS stolen",
    "SELECT 1; VACUUM INTO 'stolen.db'",
    "SELECT 1; COMMIT; DELETE FROM runs",
    "SELECT 1; -- and\n DROP TABLE runs",
    "SELECT 1; /* and */ DROP TABLE runs",
    "SELECT 1; nonsense",
    "",
    " \t\r\n",
    ";;",
    "-- DELETE FROM runs",
    "/* DELETE FROM runs",
    // What is malformed, and what asks for too much at once.
    "nonsense",
    "SELECT",
    "SELECT nonsense FROM runs",
    "SELECT \"nonsense\" FROM runs",
    "SELECT 'unclosed",
    "SELECT ?",
    "SELECT randomblob(1000000000)",
    "SELECT zeroblob(1000000000) || 'x'",
    "SELECT hex(zeroblob(200000000))",
    "SELECT printf('%1000000000d', 1)",
    "SELECT replace(hex(zeroblob(1000000)), '0', hex(zeroblob(1000)))",
    "SELECT nearest_rank(x, 50) FROM (SELECT 'text' AS x)",
    "SELECT json('{')",
    "SELECT sum(x) FROM (SELECT 9223372036854775807 AS x UNION ALL SELECT 1)",
];

fn archive() -> Archive {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    // What a statement might try to reach.
    rusqlite::Connection::open(archive.folder().join("other.db"))
        .unwrap()
        .execute_batch("CREATE TABLE t (a)")
        .unwrap();
    fs::write(archive.folder().join("other.csv"), "a\n1\n").unwrap();
    archive
}

/// Every file of a folder with its bytes.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .map(|path| {
            (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(&path).unwrap_or_default())
        })
        .collect()
}

#[track_caller]
fn assert_unchanged(before: &BTreeMap<String, Vec<u8>>, archive: &Archive, what: &str) {
    let after = files(archive.folder());
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "files after {what}");
    for (name, bytes) in before {
        assert!(after[name] == *bytes, "{name} changed by {what}");
    }
}

fn query(archive: &Archive, arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.arg("query").args(arguments);
    command
}

/// The statement comes on standard input.
fn piped(archive: &Archive, sql: &[u8], arguments: &[&str]) -> Ended {
    let mut command = query(archive, arguments);
    command.arg("-").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // A refusal may come before all was read.
    child.stdin.take().unwrap().write_all(sql).ok();
    ended(child.wait_with_output().unwrap())
}

#[test]
fn a_query_never_changes_a_byte_of_the_file() {
    let archive = archive();
    let before = files(archive.folder());
    for attack in ATTACKS {
        println!("{attack}");
        let refused = run(query(&archive, &["--format", "ndjson", "--sql", attack])).expect(2);
        assert_eq!(refused.stdout, "");
        assert!(refused.stderr.starts_with("error: "), "{}", refused.stderr);
        assert_unchanged(&before, &archive, attack);
    }
    archive.assert_sound();
}

#[test]
fn what_is_refused_is_named() {
    let archive = archive();
    for (sql, expected) in [
        ("WITH a AS (SELECT 1) DELETE FROM runs", "DELETE is not allowed: this connection only reads"),
        ("insert into connections (id) values (1)", "INSERT is not allowed: this connection only reads"),
        ("EXPLAIN UPDATE runs SET id = 1", "UPDATE is not allowed: this connection only reads"),
        ("-- a\ncreate table x (a)", "CREATE is not allowed: this connection only reads"),
        ("DROP TABLE runs", "DROP is not allowed: this connection only reads"),
        ("ALTER TABLE runs RENAME TO x", "ALTER is not allowed: this connection only reads"),
        ("ATTACH 'x' AS x", "ATTACH is not allowed: this connection only reads"),
        ("VACUUM INTO 'x'", "VACUUM is not allowed: this connection only reads"),
        ("PRAGMA query_only = 0", "PRAGMA query_only is not allowed: this connection only reads"),
        (
            "SELECT load_extension('x')",
            "the function load_extension() is not allowed: this connection only reads",
        ),
        ("BEGIN", "BEGIN is not allowed: this connection only reads"),
        ("SAVEPOINT x", "SAVEPOINT is not allowed: this connection only reads"),
        ("ANALYZE", "ANALYZE is not allowed: this connection only reads"),
        ("REINDEX", "REINDEX is not allowed: this connection only reads"),
        ("SELECT 1; SELECT 2", "there is more than one SQL statement"),
        ("-- only a comment", "there is no SQL statement"),
    ] {
        let refused = run(query(&archive, &["--sql", sql])).expect(2);
        assert_eq!(refused.stderr, format!("error: {expected}\n"), "{sql}");
    }
}

#[test]
fn standard_input_and_the_users_own_files_are_held_to_the_same() {
    let archive = archive();
    fs::create_dir(archive.folder().join("sql")).unwrap();
    fs::write(archive.folder().join("archive.toml"), "queries = 'sql'").unwrap();
    fs::write(archive.folder().join("sql/mine.sql"), "").unwrap();
    let before = files(archive.folder());
    for attack in ATTACKS.iter().step_by(7) {
        piped(&archive, attack.as_bytes(), &[]).expect(2);
        fs::write(archive.folder().join("sql/mine.sql"), attack).unwrap();
        run(query(&archive, &["mine", "--config", "archive.toml"])).expect(2);
        assert_unchanged(&before, &archive, attack);
    }
    let refused = piped(&archive, b"SELECT '\xff'", &[]).expect(2);
    assert_eq!(refused.stderr, "error: standard input: the statement is not UTF-8 text\n");
    let refused = piped(&archive, b"SELECT 1\0; DELETE FROM runs", &[]).expect(2);
    assert_eq!(refused.stderr, "error: the statement holds a NUL character\n");
    let refused = piped(&archive, &vec![b' '; (1 << 20) + 1], &[]).expect(2);
    assert_eq!(refused.stderr, "error: standard input: a statement may have at most 1048576 bytes\n");
}

#[test]
fn a_statement_of_any_depth_or_width_ends_with_an_answer_or_a_refusal() {
    let archive = archive();
    let before = files(archive.folder());
    let nested = |open: &str, inner: &str, close: &str, times: usize| {
        format!("SELECT {}{inner}{}", open.repeat(times), close.repeat(times))
    };
    let doubling: String =
        (1..60).map(|at| format!(", a{at} AS (SELECT 1 AS x FROM a{0} AS p, a{0} AS q)", at - 1)).collect();
    for (what, sql) in [
        ("parentheses", nested("(", "1", ")", 100_000)),
        ("subqueries", nested("(SELECT ", "1", ")", 50_000)),
        ("tables", format!("SELECT * FROM {}runs{}", "(SELECT * FROM ".repeat(30_000), ")".repeat(30_000))),
        ("functions", nested("abs(", "1", ")", 100_000)),
        ("signs", format!("SELECT {}1", "- ".repeat(300_000))),
        ("nots", format!("SELECT {}1", "NOT ".repeat(200_000))),
        ("sums", format!("SELECT 1{}", "+1".repeat(400_000))),
        ("ands", format!("SELECT 1{}", " AND 1".repeat(100_000))),
        ("unions", format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(50_000))),
        ("columns", format!("SELECT 1{}", ",1".repeat(100_000))),
        ("arguments", format!("SELECT max(1{})", ",1".repeat(100_000))),
        ("cases", format!("SELECT {}1{}", "CASE WHEN 1 THEN ".repeat(50_000), " END".repeat(50_000))),
        ("joins", format!("SELECT 1 FROM runs{}", " CROSS JOIN runs".repeat(10_000))),
        ("brackets", format!("SELECT json('{}')", "[".repeat(500_000))),
        ("doubling", format!("WITH a0 AS (SELECT 1 AS x){doubling} SELECT 1 FROM a59")),
    ] {
        println!("{what}");
        let began = Instant::now();
        let ended = piped(&archive, sql.as_bytes(), &["--timeout", "1s", "--format", "ndjson"]);
        assert!(matches!(ended.code, Some(1 | 2)), "{what}: {:?} {}", ended.code, ended.stderr);
        assert!(began.elapsed() < Duration::from_secs(30), "{what} took {:?}", began.elapsed());
        assert_unchanged(&before, &archive, what);
    }
    // Much, but not too much.
    for sql in [
        nested("(", "1", ")", 100),
        format!("SELECT 1{}", "+1".repeat(400)),
        format!("SELECT 1{}", " UNION ALL SELECT 1".repeat(400)),
        format!("SELECT * FROM {}runs{}", "(SELECT * FROM ".repeat(20), ")".repeat(20)),
    ] {
        piped(&archive, sql.as_bytes(), &["--format", "ndjson"]).expect(0);
    }
}

#[test]
fn an_endless_query_is_stopped() {
    let archive = archive();
    let before = files(archive.folder());
    let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n)";
    for sql in [
        format!("{endless} SELECT count(*) FROM n"),
        format!("{endless} SELECT max(x) FROM n"),
        format!("{endless} SELECT x FROM n WHERE x < 0"),
        format!("{endless} SELECT median(x) FROM n"),
        format!("{endless} SELECT x FROM n ORDER BY -x"),
        "WITH RECURSIVE n (x) AS (SELECT 1 UNION SELECT x + 1 FROM n) SELECT sum(x) FROM n".to_owned(),
        format!("SELECT count(*) FROM runs{}", " CROSS JOIN runs".repeat(30)),
        format!("{endless} SELECT x FROM n"),
    ] {
        println!("{sql}");
        let mut command = query(&archive, &["--timeout", "300ms", "--format", "csv", "--sql", &sql]);
        command.stdout(Stdio::null());
        let began = Instant::now();
        let stopped = run(command).expect(1);
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        let expected =
            "error: the query was stopped after 300ms\nhint: --timeout says how long a query may take\n";
        assert_eq!(stopped.stderr, expected);
        assert_unchanged(&before, &archive, &sql);
    }
}

#[test]
fn a_single_step_that_takes_for_ever_is_stopped_too() {
    let archive = archive();
    let before = files(archive.folder());
    // One call of a function, between two looks of SQLite at the clock.
    let sql = "SELECT instr(zeroblob(60000000), CAST(zeroblob(30000000) || x'01' AS BLOB)) AS place";
    let began = Instant::now();
    let stopped = run(query(&archive, &["--timeout", "100ms", "--sql", sql])).expect(1);
    assert!(stopped.stderr.starts_with("error: the query was stopped after 100ms\n"), "{}", stopped.stderr);
    assert!(began.elapsed() < Duration::from_secs(60), "{:?}", began.elapsed());
    // The process ended in the middle of its work; whoever reads next clears up after it.
    run(query(&archive, &["--sql", "SELECT 1"])).expect(0);
    assert_unchanged(&before, &archive, sql);
}

#[test]
fn a_query_that_needs_too_much_memory_is_stopped() {
    let archive = archive();
    let before = files(archive.folder());
    // Twenty values of 100 MB, sorted; nothing may go to the disk.
    let sql = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20)
               SELECT x, printf('%.*c', 100000000, x) AS y FROM n ORDER BY y";
    let mut command = query(&archive, &["--format", "csv", "--sql", sql]);
    command.stdout(Stdio::null());
    let stopped = run(command).expect(1);
    let told = "error: the query needs more memory than it may have (1024 MiB)\nhint: ask for fewer rows or columns at a time\n";
    assert_eq!(stopped.stderr, told);
    assert_unchanged(&before, &archive, sql);
}

#[test]
fn what_only_reads_is_allowed() {
    let archive = archive();
    let before = files(archive.folder());
    for (sql, expected) in [
        ("SELECT count(*) AS n FROM runs;", "n\n5\n"),
        ("VALUES (1), (2)", "column1\n1\n2\n"),
        ("/* a */ WITH n AS MATERIALIZED (SELECT 1 AS x) SELECT x FROM n -- b", "x\n1\n"),
        (
            "WITH RECURSIVE n (x) AS (SELECT 1 UNION SELECT x + 1 FROM n WHERE x < 3) SELECT sum(x) AS s FROM n",
            "s\n6\n",
        ),
        ("SELECT name FROM sqlite_schema WHERE name = 'runs'", "name\nruns\n"),
        ("SELECT name FROM pragma_table_info('runs') WHERE pk", "name\nrun_key\n"),
        ("SELECT value FROM json_each('[7]')", "value\n7\n"),
        ("SELECT nearest_rank(duration_ms, 95) > 0 AS p95 FROM runs", "p95\n1\n"),
        ("SELECT sum(1) OVER (ORDER BY run_key) AS s FROM runs LIMIT 1", "s\n1\n"),
        ("SELECT unixepoch('1970-01-02') AS t, upper('a') AS u", "t,u\n86400,A\n"),
        ("SELECT count(*) > 0 AS has FROM run_details", "has\n1\n"),
    ] {
        assert_eq!(
            run(query(&archive, &["--format", "csv", "--sql", sql])).expect(0).stdout,
            expected,
            "{sql}"
        );
    }
    for sql in [
        "EXPLAIN QUERY PLAN SELECT * FROM runs",
        "EXPLAIN SELECT 1",
        "PRAGMA table_info(runs)",
        "SELECT * FROM dbstat",
    ] {
        run(query(&archive, &["--format", "csv", "--sql", sql])).expect(0);
    }
    assert_unchanged(&before, &archive, "reading");
}

#[test]
fn a_missing_database_stays_missing() {
    let archive = Archive::new();
    let before = files(archive.folder());
    let missing = run(query(&archive, &["failure-rates"])).expect(1);
    assert!(missing.stderr.starts_with("error: there is no archive at "), "{}", missing.stderr);
    assert_unchanged(&before, &archive, "a query without a database");
    // What is no archive is not touched either.
    fs::write(archive.path(), "text").unwrap();
    run(query(&archive, &["--sql", "SELECT 1"])).expect(1);
    assert_eq!(fs::read_to_string(archive.path()).unwrap(), "text");
}

#[test]
fn the_archive_is_not_written_over_by_output() {
    let archive = archive();
    let before = files(archive.folder());
    for output in ["archive.db", "./archive.db", "archive.db-wal", "archive.db.lock"] {
        let refused = run(query(&archive, &["--sql", "SELECT 1", "--output", output])).expect(2);
        assert!(refused.stderr.contains("part of the archive"), "{}", refused.stderr);
    }
    assert_unchanged(&before, &archive, "--output");
}
