//! Other programs and other accounts on the file: who comes and goes costs a sync nothing, and who may only
//! read is answered, or told why not.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use run_archive::emulator::{Emulator, history};

use crate::common::{Archive, Ended, beside, ended, fixture, names, platform, run, runs, skip};
use crate::interruption::{Running, wait_until};

/// The ending of each file that SQLite keeps beside a database.
const BESIDE: [&str; 2] = ["-wal", "-shm"];

/// SQLite's own shell on the archive, in a process of its own that ends with the statement.
fn shell(archive: &Archive, sql: &str) -> String {
    let mut shell = Command::new("sqlite3");
    shell.args(["-batch", "-cmd", ".timeout 30000"]).arg(archive.path()).arg(sql);
    let ended = run(shell).expect(0);
    assert_eq!(ended.stderr, "");
    ended.stdout.trim().to_owned()
}

fn has_shell() -> bool {
    let has = Command::new("sqlite3").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !has {
        skip("there is no sqlite3");
    }
    has
}

/// Files that a process has open although they have no name any more.
fn deleted(process: u32) -> Vec<PathBuf> {
    fs::read_dir(format!("/proc/{process}/fd"))
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.unwrap().path()).ok())
        .filter(|target| target.to_string_lossy().ends_with(" (deleted)"))
        .collect()
}

#[test]
fn a_reader_that_closes_the_file_does_not_cost_the_sync_its_log() {
    if !has_shell() {
        return;
    }
    let archive = Archive::new();
    let listing = history::listing(3_000, "2026-01-05T00:00:00Z".parse().unwrap(), 3);
    let emulator = Emulator::start(platform(listing.iter().cloned())).unwrap();
    emulator.platform().faults.page_cap = Some(50);
    emulator.platform().faults.delay = Duration::from_millis(4);
    let sync = Running::spawn(archive.sync(&emulator));
    let answered = || emulator.requests().iter().filter(|request| request.status == 200).count();
    let mut committed = 0;
    for visit in 1..=5 {
        let before = answered();
        wait_until("pages", || answered() > before + 3);
        // While the guard is held nothing is answered: the sync waits, with all of its files open.
        let held = emulator.platform();
        shell(&archive, "CREATE TABLE IF NOT EXISTS my_notes (run TEXT, note TEXT)");
        shell(&archive, "INSERT INTO my_notes SELECT 'run', 'note' FROM json_each('[1,2,3,4,5,6,7,8]')");
        committed = shell(&archive, "SELECT count(*) FROM runs").parse().unwrap();
        assert_eq!(deleted(sync.id()), Vec::<PathBuf>::new(), "visit {visit}");
        for ending in BESIDE {
            assert!(beside(&archive.path(), ending).exists(), "visit {visit}: {ending}");
        }
        drop(held);
    }
    sync.kill();
    assert!(committed > 0);
    assert!(archive.count("runs") >= committed, "runs that another program had read are gone");
    assert_eq!(archive.count("my_notes"), 40);
    archive.assert_sound();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!((archive.count("runs"), archive.count("my_notes")), (3_000, 40));
    archive.assert_sound();
}

#[test]
fn an_import_never_reads_the_archives_own_files() {
    let archive = Archive::new();
    let saved = archive.folder().join("page.json");
    fs::write(&saved, fixture("list-runs-200.json")).unwrap();
    let import = |files: &[&Path]| {
        let mut command = archive.command();
        command.arg("import").args(files);
        run(command)
    };
    import(&[&saved]).expect(0);
    // After the first file the archive is open, and has a log.
    let link = archive.folder().join("link");
    std::os::unix::fs::symlink(archive.path(), &link).unwrap();
    for own in [archive.path(), beside(&archive.path(), ".lock"), beside(&archive.path(), "-shm"), link] {
        let ended = import(&[&saved, &own]).expect(3);
        assert!(ended.stderr.contains("part of the archive itself"), "{}: {}", own.display(), ended.stderr);
    }
    archive.assert_sound();
}

/// An archive that everybody may read, the program where everybody may start it, and a folder where
/// everybody may write.
struct Public {
    archive: Archive,
    program: PathBuf,
    desk: PathBuf,
}

impl Public {
    /// `None`, and said so, where this process cannot become somebody else.
    fn new(count: u64) -> Option<Self> {
        let archive = Archive::new();
        let is_root = fs::metadata(archive.folder()).unwrap().uid() == 0;
        let stranger = Command::new("su").args(["nobody", "-s", "/bin/sh", "-c", "true"]).status();
        if !is_root || !stranger.is_ok_and(|status| status.success()) {
            skip("this process cannot become another account");
            return None;
        }
        let emulator = Emulator::start(platform(runs(0, count))).unwrap();
        run(archive.sync(&emulator)).expect(0);
        let program = archive.folder().join("program");
        fs::copy(env!("CARGO_BIN_EXE_archive"), &program).unwrap();
        let desk = archive.folder().join("desk");
        fs::create_dir(&desk).unwrap();
        let set = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        set(&desk, 0o1777);
        set(archive.folder(), 0o755);
        set(&program, 0o755);
        set(&archive.path(), 0o644);
        Some(Self { archive, program, desk })
    }

    /// A command of the program by the account `nobody`.
    fn command(&self, arguments: &str) -> Command {
        let mut command = Command::new("su");
        let (program, db) = (self.program.display(), self.archive.path());
        let words = format!("exec {program} {arguments} --db {}", db.display());
        command.env_clear().env("PATH", "/usr/bin:/bin").current_dir(&self.desk).stdin(Stdio::null());
        command.args(["nobody", "-s", "/bin/sh", "-c", &words]);
        command
    }

    fn run(&self, arguments: &str) -> Ended {
        run(self.command(arguments))
    }

    /// Every command that only reads is answered.
    #[track_caller]
    fn assert_answered(&self, runs: i64) {
        let status = self.run("status --format json").expect(0).json();
        assert_eq!(status["connections"][0]["runs"], runs);
        let counted = self.run("query --sql 'SELECT count(*) AS n FROM runs' --format csv").expect(0);
        assert_eq!(counted.stdout.lines().nth(1), Some(runs.to_string().as_str()));
        self.run("report").expect(0);
        self.run("report --connection Bridge").expect(0);
        self.run("verify --offline").expect(0);
    }
}

#[test]
fn an_account_that_may_only_read_is_answered_and_leaves_nothing() {
    for folder in [0o755, 0o1777] {
        println!("folder {folder:o}");
        let Some(public) = Public::new(20) else { return };
        let archive = &public.archive;
        fs::set_permissions(archive.folder(), fs::Permissions::from_mode(folder)).unwrap();
        let before = names(archive.folder());
        public.assert_answered(20);
        public.run(&format!("backup {}", public.desk.join("copy.db").display())).expect(0);
        // What nobody made here, the owner could not write.
        assert_eq!(names(archive.folder()), before);
        let refused = public.run("rejects --retry").expect(1);
        assert!(refused.stderr.contains("cannot be written"), "{}", refused.stderr);
        let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
        run(archive.sync(&emulator)).expect(0);
        public.assert_answered(30);
    }
}

#[test]
fn an_account_that_may_only_read_sees_what_a_sync_at_work_has_stored() {
    let Some(public) = Public::new(20) else { return };
    let archive = &public.archive;
    let emulator = Emulator::start(platform(runs(0, 120))).unwrap();
    emulator.platform().faults.page_cap = Some(10);
    let sync = Running::spawn(archive.sync(&emulator));
    wait_until("some pages", || emulator.requests().len() > 6);
    let held = emulator.platform();
    // Through the log: the file alone has twenty runs.
    wait_until("runs in the log", || {
        let counted = public.run("query --sql 'SELECT count(*) AS n FROM runs' --format csv").expect(0);
        counted.stdout.lines().nth(1).unwrap().parse::<u64>().unwrap() > 20
    });
    public.run("status").expect(0);
    public.run("report").expect(0);
    public.run("verify --offline").expect(0);
    drop(held);
    sync.end().expect(0);
    public.assert_answered(120);
}

#[test]
fn a_log_that_an_account_cannot_use_is_a_reason_not_an_answer_without_it() {
    let Some(public) = Public::new(20) else { return };
    let archive = &public.archive;
    // As a killed sync leaves it: one connection more stands in the log.
    let elsewhere = Archive::new();
    fs::copy(archive.path(), elsewhere.path()).unwrap();
    let writer = rusqlite::Connection::open(elsewhere.path()).unwrap();
    let late = "INSERT INTO connections (id, first_seen_at) VALUES ('late', '2026-01-01T00:00:00.0000000Z')";
    writer.execute(late, []).unwrap();
    let place = |ending: &str, mode| {
        let to = beside(&archive.path(), ending);
        fs::copy(beside(&elsewhere.path(), ending), &to).unwrap();
        fs::set_permissions(to, fs::Permissions::from_mode(mode)).unwrap();
    };
    for (log, index) in [(0o644, None), (0o600, Some(0o644)), (0o600, Some(0o600)), (0o644, Some(0o600))] {
        println!("log {log:o}, index {index:?}");
        place("-wal", log);
        fs::remove_file(beside(&archive.path(), "-shm")).ok();
        if let Some(index) = index {
            place("-shm", index);
        }
        for command in ["status", "query failure-rates", "report", "verify --offline", "backup desk.db"] {
            let refused = public.run(command).expect(1);
            assert!(refused.stderr.contains("cannot be read"), "{command}: {}", refused.stderr);
            assert!(refused.stderr.contains("archive.db-wal"), "{command}: {}", refused.stderr);
            assert!(refused.stderr.contains("hint: "), "{command}: {}", refused.stderr);
            assert_eq!(refused.stdout, "", "{command}");
        }
    }
    // Log and index can be read: the log counts.
    place("-wal", 0o644);
    place("-shm", 0o644);
    let status = public.run("status --format json").expect(0);
    assert!(status.stdout.contains("\"late\""), "the log was overlooked: {}", status.stdout);
}

#[test]
fn an_empty_log_that_cannot_be_used_is_no_obstacle() {
    let Some(public) = Public::new(20) else { return };
    for ending in BESIDE {
        let path = beside(&public.archive.path(), ending);
        fs::write(&path, "").unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
    }
    public.assert_answered(20);
}

#[test]
fn a_file_that_may_not_be_read_is_not_said_to_be_unwritable() {
    let Some(public) = Public::new(20) else { return };
    fs::set_permissions(public.archive.path(), fs::Permissions::from_mode(0o600)).unwrap();
    for command in ["status", "query failure-rates", "report", "verify --offline", "backup copy.db"] {
        let refused = public.run(command).expect(1);
        assert!(refused.stderr.contains("cannot be read"), "{command}: {}", refused.stderr);
        assert!(!refused.stderr.contains("written"), "{command}: {}", refused.stderr);
    }
}

#[test]
fn an_answer_from_a_file_that_was_written_to_meanwhile_is_refused() {
    let Some(public) = Public::new(20) else { return };
    // More rows than a pipe holds: the query waits for its reader.
    let sql = "query --format csv --sql \"WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000) \
               SELECT i, id FROM n, runs\"";
    let mut command = public.command(sql);
    let mut query = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(query.stdout.take().unwrap()).lines();
    lines.next().unwrap().unwrap();
    // Somebody commits, and with the last connection the log goes into the file.
    let writer = rusqlite::Connection::open(public.archive.path()).unwrap();
    let late = "INSERT INTO connections (id, first_seen_at) VALUES ('late', '2026-01-01T00:00:00.0000000Z')";
    writer.execute(late, []).unwrap();
    writer.close().unwrap();
    assert_eq!(names(public.archive.folder()).iter().filter(|name| name.contains("-wal")).count(), 0);
    let read = lines.map(Result::unwrap).count();
    assert!(read > 1_000, "{read} rows");
    let ended = ended(query.wait_with_output().unwrap()).expect(1);
    assert!(ended.stderr.contains("was written to while it was read"), "{}", ended.stderr);
    public.run("status").expect(0);
}
