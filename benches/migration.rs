//! What it takes to bring an archive of the first version to this one: time, room on the disk, and what is left
//! where the process is killed in the middle.
//!
//! `cargo bench --bench migration` does it with 1,000,000 runs; a number behind `--` makes it so many. The file is
//! filled by SQL with the first version's tables, one job, one task and for every tenth run an error. It is then
//! migrated by the real binary: once to its end, and on copies killed at instants all over that time, each of
//! which must open, be whole and migrate at the next try. It ends with an error if one does not.

use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::{Connection, params};

const RUNS: u64 = 1_000_000;
/// Instants at which a migration is killed, spread evenly over the time that it takes.
const KILLS: u32 = 6;
const FIRST: &str = include_str!("../migrations/V1__archive.sql");
/// Runs a minute apart, over ten connections.
const FILL: &str = "
    INSERT INTO syncs (command, version, started_at, outcome) VALUES ('sync', '0.0.1', '2024-01-01T00:00:00.0000000Z', 'done');
    WITH RECURSIVE n (i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 9)
    INSERT INTO connections (id, display_name, first_seen_at)
    SELECT 'connection-' || i, 'Model ' || i, '2024-01-01T00:00:00.0000000Z' FROM n;
    INSERT INTO checkpoints (connection_key) SELECT connection_key FROM connections;
    WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < :runs)
    INSERT INTO runs (run_key, connection_key, id, state, result, started_at, ended_at, duration_ms, fingerprint, first_seen_at)
    SELECT i, 1 + i % 10, printf('%08x-7c1e-4e55-9a51-%012x', i, i), 'Completed', iif(i % 10 = 0, 'Error', 'Success'),
        strftime('%Y-%m-%dT%H:%M:%S', 1700000000 + i * 60, 'unixepoch') || '.0000000Z',
        strftime('%Y-%m-%dT%H:%M:%S', 1700000300 + i * 60, 'unixepoch') || '.0000000Z',
        300000, randomblob(16), '2024-01-01T00:00:00.0000000Z'
    FROM n;
    INSERT INTO jobs (run_key, job_index, id, state, result, started_at, ended_at, duration_ms)
    SELECT run_key, 0, 'job-' || run_key, state, result, started_at, ended_at, duration_ms FROM runs;
    INSERT INTO tasks (run_key, job_index, task_index, id, state, result, started_at, ended_at, duration_ms, retry_attempts)
    SELECT run_key, 0, 0, 'task-' || run_key, state, result, started_at, ended_at, duration_ms, 0 FROM runs;
    INSERT INTO errors (run_key, job_index, task_index, error_code, description_key, can_user_fix)
    SELECT run_key, 0, 0, 'TAE_BRW_1000', 'Key' || run_key % 7, run_key % 2 FROM runs WHERE result = 'Error';
    UPDATE checkpoints SET listed = (SELECT count(*) FROM runs WHERE runs.connection_key = checkpoints.connection_key);
";

fn main() -> Result<(), Box<dyn Error>> {
    let runs = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(RUNS);
    let folder = tempfile::tempdir()?;
    let old = folder.path().join("old.db");
    make_first_version(&old, folder.path(), runs)?;
    let page = folder.path().join("page.json");
    fs::write(
        &page,
        r#"{"runs":[],"_links":{"self":{"href":"https://h/export/connections/connection-0/runs"}}}"#,
    )?;

    let whole = copy(&old, &folder.path().join("whole.db"))?;
    let before = fs::metadata(&whole)?.len();
    let (seconds, most) = migrate(&whole, &page)?;
    check(&whole, runs)?;
    let after = fs::metadata(&whole)?.len();
    say(&format!(
        "migrating {runs} runs from the first version: {seconds:.1} s; the file went from {} to {}, and with its log took \
         at most {} meanwhile",
        megabytes(before),
        megabytes(after),
        megabytes(most)
    ));
    for number in 1..=KILLS {
        let path = copy(&old, &folder.path().join("killed.db"))?;
        let mut child = import(&path, &page).spawn()?;
        std::thread::sleep(Duration::from_secs_f64(seconds * f64::from(number) / f64::from(KILLS + 1)));
        child.kill()?;
        child.wait()?;
        let version = version(&path)?;
        let (seconds, _) = migrate(&path, &page)?;
        check(&path, runs)?;
        say(&format!(
            "killed after {number}/{}: left at version {version}, whole; migrated next in {seconds:.1} s",
            KILLS + 1
        ));
        for ending in ["", "-wal", "-shm", ".lock"] {
            let _ = fs::remove_file(beside(&path, ending));
        }
    }
    Ok(())
}

/// An archive with the tables of the first version only, as that version left it.
fn make_first_version(path: &Path, folder: &Path, runs: u64) -> Result<(), Box<dyn Error>> {
    // How a version is recorded is taken from an archive of today.
    let today = folder.join("today.db");
    drop(run_archive::store::Archive::open(&today, 8)?);
    let (history, row) = {
        let today = Connection::open(&today)?;
        let sql = "SELECT sql FROM sqlite_schema WHERE name = 'refinery_schema_history'";
        let history: String = today.query_row(sql, [], |row| row.get(0))?;
        let sql = "SELECT name, applied_on, checksum FROM refinery_schema_history WHERE version = 1";
        let row: (String, String, String) =
            today.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
        (history, row)
    };
    let old = Connection::open(path)?;
    old.execute_batch("PRAGMA page_size = 16384; PRAGMA application_id = 0x41524348; PRAGMA journal_mode = WAL; PRAGMA foreign_keys = OFF")?;
    old.execute_batch(FIRST)?;
    old.execute_batch(&history)?;
    let insert =
        "INSERT INTO refinery_schema_history (version, name, applied_on, checksum) VALUES (1, ?1, ?2, ?3)";
    old.execute(insert, params![row.0, row.1, row.2])?;
    old.execute_batch(&format!("BEGIN; {} COMMIT", FILL.replace(":runs", &runs.to_string())))?;
    old.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    Ok(())
}

fn import(path: &Path, page: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archive"));
    command.env_clear().env("HOME", path.parent().unwrap_or(path)).arg("-q").arg("--db").arg(path);
    command.arg("import").arg(page).stdin(Stdio::null());
    command
}

/// Migrates to the end: in how many seconds, and the most bytes that the file and its log had together.
fn migrate(path: &Path, page: &Path) -> Result<(f64, u64), Box<dyn Error>> {
    let began = Instant::now();
    let mut child = import(path, page).spawn()?;
    let size = |ending: &str| fs::metadata(beside(path, ending)).map_or(0, |metadata| metadata.len());
    let mut most = 0;
    let status = loop {
        most = most.max(size("") + size("-wal"));
        match child.try_wait()? {
            Some(status) => break status,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    if !status.success() {
        return Err(format!("migrating ended with {status}").into());
    }
    Ok((began.elapsed().as_secs_f64(), most))
}

fn version(path: &Path) -> Result<i64, Box<dyn Error>> {
    let sql = "SELECT max(version) FROM refinery_schema_history";
    Ok(Connection::open(path)?.query_row(sql, [], |row| row.get(0))?)
}

fn check(path: &Path, runs: u64) -> Result<(), Box<dyn Error>> {
    let database = Connection::open(path)?;
    let integrity: String = database.query_row("PRAGMA quick_check", [], |row| row.get(0))?;
    let counted: i64 = database.query_row(
        "SELECT count(*) FROM task_details WHERE run_outcome <> 'unfinished'",
        [],
        |row| row.get(0),
    )?;
    if integrity != "ok" || u64::try_from(counted)? != runs {
        return Err(format!("{integrity}; {counted} tasks of {runs} runs are there").into());
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<PathBuf, Box<dyn Error>> {
    fs::copy(from, to)?;
    Ok(to.to_owned())
}

fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    PathBuf::from(name)
}

fn megabytes(bytes: u64) -> String {
    format!("{:.0} MB", bytes as f64 / 1e6)
}

fn say(line: &str) {
    // Nobody listening is no reason to fail.
    let _ = writeln!(std::io::stdout(), "{line}");
}
