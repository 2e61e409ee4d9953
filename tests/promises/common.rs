//! Builders that the promises share: an archive in a folder of its own, and the command that fills it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use run_archive::emulator::{Connection, Emulator, Order, Platform, Run, history};
use rusqlite::types::FromSql;
use tempfile::TempDir;

/// A connection id as the platform makes them.
pub const CONNECTION: &str = "VRZHoBhrnkGrAev0-_-d_xwvyrzjgaVGka5wU967Q7M";

/// A folder with a database, which need not exist yet.
pub struct Archive {
    folder: TempDir,
}

impl Archive {
    pub fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("archive.db")
    }

    /// `archive --db …` with nothing else of the environment but a home folder of its own.
    pub fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_archive"));
        command.env_clear().env("HOME", self.folder()).current_dir(self.folder()).stdin(Stdio::null());
        command.env("ARCHIVE_DB", self.path());
        command
    }

    /// `archive sync` of [`CONNECTION`] against an emulated platform, with a ready token.
    pub fn sync(&self, emulator: &Emulator) -> Command {
        let mut command = self.command();
        command.env("ITP_ACCESS_TOKEN", "emulated-token");
        command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
        command.args(["sync", "--connection", CONNECTION]);
        command
    }

    /// The rows' only column, in order.
    pub fn column<T: FromSql>(&self, sql: &str) -> Vec<T> {
        let database = rusqlite::Connection::open(self.path()).unwrap();
        let mut statement = database.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// The one value of the one row.
    pub fn value<T: FromSql>(&self, sql: &str) -> T {
        let mut values = self.column(sql);
        assert_eq!(values.len(), 1, "{sql}");
        values.remove(0)
    }

    pub fn count(&self, table: &str) -> i64 {
        self.value(&format!("SELECT count(*) FROM {table}"))
    }

    /// What SQLite and the schema demand of every archive, whatever happened to it.
    pub fn assert_sound(&self) {
        assert_eq!(self.value::<String>("PRAGMA integrity_check"), "ok");
        assert_eq!(self.column::<String>("PRAGMA foreign_key_check").len(), 0);
    }

    /// The content of every table of the platform's objects, to see whether anything changed.
    pub fn dump(&self) -> Vec<String> {
        let tables = ["connections", "runs", "jobs", "tasks", "errors", "revisions", "rejects", "gaps"];
        tables
            .iter()
            .flat_map(|table| {
                let columns: Vec<String> =
                    self.column(&format!("SELECT name FROM pragma_table_info('{table}')"));
                let quoted =
                    columns.iter().map(|name| format!("quote({name})")).collect::<Vec<_>>().join("||'|'||");
                self.column::<String>(&format!("SELECT '{table}|'||{quoted} FROM {table}"))
            })
            .collect()
    }
}

/// Tests that were not tried here.
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Says that a promise is not tried on this machine, and how many were not so far. Where all of them must be
/// (`ARCHIVE_TESTS=all`, which `.ci/run` sets), it fails: a promise that nobody holds is none.
#[track_caller]
pub fn skip(why: &str) {
    let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
    let all = std::env::var_os("ARCHIVE_TESTS").is_some_and(|which| which == "all");
    assert!(!all, "every test must be tried (ARCHIVE_TESTS=all), but {why}");
    // Past the harness, which shows what a test prints only where it fails.
    let _ = writeln!(std::io::stderr(), "skipped ({count} so far): {why}");
}

/// What a command ended with.
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Runs a command to its end.
pub fn run(mut command: Command) -> Ended {
    ended(command.output().unwrap())
}

pub fn ended(output: Output) -> Ended {
    Ended {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout).unwrap(),
        stderr: String::from_utf8(output.stderr).unwrap(),
    }
}

impl Ended {
    /// Asserts the exit code, telling what was said if it is another.
    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "stdout: {}\nstderr: {}", self.stdout, self.stderr);
        self
    }

    /// The one JSON object on standard output.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {}", self.stdout))
    }
}

/// A platform with one connection of these runs, oldest first.
pub fn platform(runs: impl IntoIterator<Item = Run>) -> Platform {
    let mut platform = Platform::default();
    platform.connections.insert(CONNECTION.to_owned(), Connection::new("Bridge", runs.into_iter().collect()));
    platform
}

/// The same, listed in this order.
pub fn platform_in_order(order: Order, runs: impl IntoIterator<Item = Run>) -> Platform {
    let mut platform = platform(runs);
    platform.connections.get_mut(CONNECTION).unwrap().order = order;
    platform
}

/// Completed runs numbered from `first`, a minute apart, named `run-00001` and so on.
pub fn runs(first: u64, count: u64) -> impl Iterator<Item = Run> {
    (first..first + count).map(|number| run_in_state(number, "Completed", "Success"))
}

pub fn run_in_state(number: u64, state: &str, result: &str) -> Run {
    let base: chrono::DateTime<chrono::Utc> = "2026-01-05T00:00:00Z".parse().unwrap();
    let started = base + chrono::TimeDelta::minutes(number as i64);
    history::simple_run(&format!("run-{number:05}"), &history::stamp(started), state, result)
}

/// A run of exactly this text.
pub fn run_of_json(id: &str, started: &str, json: &str) -> Run {
    Run { id: id.to_owned(), started: started.to_owned(), json: Arc::from(json) }
}

/// A file of the platform's own published answers.
pub fn fixture(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name);
    std::fs::read_to_string(path).unwrap()
}

/// A file that stands beside another, such as `archive.db-wal`.
pub fn beside(path: &Path, ending: &str) -> PathBuf {
    PathBuf::from(format!("{}{ending}", path.display()))
}

/// What a folder holds, by name.
pub fn names(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let mut names: Vec<String> = names.map(|name| name.into_string().unwrap()).collect();
    names.sort();
    names
}

/// `archive sync` against an emulated platform, with a ready token; the arguments say of what.
pub fn sync(archive: &Archive, emulator: &Emulator, arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "emulated-token");
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    command.arg("sync").args(arguments);
    command
}
