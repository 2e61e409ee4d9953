//! The one file: whose it is, who may read it, and what is left of it when something is wrong.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use run_archive::emulator::{Emulator, history};
use rusqlite::OpenFlags;

use crate::common::{Archive, CONNECTION, beside, fixture, platform, run, runs, skip};
use crate::interruption::{Running, wait_until};

/// Landed migrations and FNV-1a (64 bit) of their bytes. One that an archive somewhere was made with is
/// never edited: what must change goes into the next one, and this list only grows.
const LANDED: &[(&str, u64)] = &[
    ("V1__archive.sql", 0x0cf8_e4dd_30b9_af01),
    ("V2__reading.sql", 0x364d_235e_302e_5a9a),
    ("V3__fleet.sql", 0x2754_f2da_cc6f_796a),
    ("V4__edges.sql", 0x5711_9e41_6e74_e2de),
    // The views of the newest of them: archives know their views by its number, so this line changes only
    // together with a new one above.
    ("views.sql", 0x03b6_0791_9e56_4cc7),
];

/// The name and the bytes of every file in the folder, the lock aside.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .filter(|(name, _)| !name.ends_with(".lock"))
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_keys().collect()
}

/// The commands that open the archive, by name, with a platform and a saved page they could store from.
fn commands(archive: &Archive, emulator: &Emulator, saved: &Path) -> Vec<(&'static str, Command)> {
    let mut import = archive.command();
    import.arg("import").arg(saved);
    let mut status = archive.command();
    status.arg("status");
    let mut dry_run = archive.sync(emulator);
    dry_run.arg("--dry-run");
    vec![("sync", archive.sync(emulator)), ("dry run", dry_run), ("import", import), ("status", status)]
}

/// What is beside the archive before and after: which files were changed, made or removed.
fn differences(before: &BTreeMap<String, Vec<u8>>, after: &BTreeMap<String, Vec<u8>>) -> Vec<String> {
    let changed = before.iter().filter(|(name, bytes)| after.get(*name).is_some_and(|now| now != *bytes));
    let removed = before.keys().filter(|name| !after.contains_key(*name));
    let made = after.keys().filter(|name| !before.contains_key(*name));
    let changed = changed.map(|(name, _)| format!("{name} was changed"));
    changed
        .chain(removed.map(|name| format!("{name} was removed")))
        .chain(made.map(|name| format!("{name} was made")))
        .collect()
}

/// Runs every command on a file that none of them can use: each says so with these words and the file's
/// name and leaves with 1, no request is sent, and no file is changed, made or removed.
#[track_caller]
fn assert_refused_and_untouched(archive: &Archive, words: &str) {
    let emulator = Emulator::start(platform(runs(0, 3))).unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let saved = elsewhere.path().join("page.json");
    fs::write(&saved, fixture("list-runs-200.json")).unwrap();
    let before = files(archive.folder());
    for (name, command) in commands(archive, &emulator, &saved) {
        let ended = run(command);
        let said = &ended.stderr;
        assert_eq!(ended.code, Some(1), "{name}: {said}");
        assert!(said.contains(archive.path().to_str().unwrap()), "{name} does not name the file: {said}");
        assert!(said.contains(words), "{name} does not say '{words}': {said}");
        assert_eq!(ended.stdout, "", "{name}");
        let after = files(archive.folder());
        let mut differences = differences(&before, &after);
        if matches!(name, "status" | "dry run") {
            // `nothing_is_left_beside_an_archive_that_was_only_read` is about these.
            for ending in ["-wal", "-shm"] {
                differences.retain(|difference| *difference != format!("archive.db{ending} was made"));
                if !before.contains_key(&format!("archive.db{ending}")) {
                    let _ = fs::remove_file(beside(&archive.path(), ending));
                }
            }
        }
        assert!(differences.is_empty(), "{name}: {differences:?}: {said}");
    }
    assert_eq!(emulator.requests().len(), 0);
}

/// A synced archive of so many runs.
fn archive_of(count: u64) -> Archive {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, count))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    archive
}

fn is_root() -> bool {
    let id = Command::new("id").arg("-u").output().unwrap();
    id.stdout == b"0\n"
}

/// Something mounted, until it is dropped.
pub struct Mounted(PathBuf);

impl Mounted {
    /// A file system of its own in memory; None, and said so, where this process may not mount.
    pub fn memory(at: &Path, size: &str) -> Option<Self> {
        Self::mount(at, &["-t", "tmpfs", "-o", &format!("size={size},mode=755"), "tmpfs"])
    }

    /// `at` once more, over itself, so that it can be made read-only by itself.
    fn itself(at: &Path) -> Option<Self> {
        Self::mount(at, &["--bind", at.to_str().unwrap()])
    }

    fn mount(at: &Path, arguments: &[&str]) -> Option<Self> {
        let mounted = is_root()
            && Command::new("mount").args(arguments).arg(at).stderr(Stdio::null()).status().ok()?.success();
        if !mounted {
            skip("this process may not mount file systems");
        }
        mounted.then(|| Self(at.to_owned()))
    }

    pub fn remount(&self, options: &str) {
        let status = Command::new("mount").args(["-o", &format!("remount,{options}")]).arg(&self.0).status();
        assert!(status.unwrap().success(), "remount,{options}");
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// A folder without write permission: for root, whom permission bits do not stop, a read-only mount.
struct Unwritable {
    folder: PathBuf,
    mounted: Option<Mounted>,
}

impl Unwritable {
    fn new(folder: &Path) -> Option<Self> {
        if is_root() {
            let mounted = Mounted::itself(folder)?;
            mounted.remount("ro,bind");
            return Some(Self { folder: folder.to_owned(), mounted: Some(mounted) });
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o555)).unwrap();
        Some(Self { folder: folder.to_owned(), mounted: None })
    }
}

impl Drop for Unwritable {
    fn drop(&mut self) {
        if self.mounted.is_none() {
            let _ = fs::set_permissions(&self.folder, fs::Permissions::from_mode(0o755));
        }
    }
}

/// The same command after `umask`.
fn under_umask(command: &Command, umask: &str) -> Command {
    let mut shell = Command::new("/bin/sh");
    shell.env_clear().stdin(Stdio::null());
    shell.args(["-c", &format!("umask {umask}; exec \"$@\""), "sh"]);
    shell.arg(command.get_program()).args(command.get_args());
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.current_dir(command.get_current_dir().unwrap());
    shell
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display())).permissions().mode()
        & 0o777
}

#[test]
fn a_file_that_is_no_database_is_left_as_it_is() {
    let html = "<!DOCTYPE html><title>502 Bad Gateway</title>".repeat(500);
    let cases: [(&str, &[u8]); 5] = [
        ("text", b"Dear diary,\ntoday the export failed again.\n"),
        ("a longer text", html.as_bytes()),
        ("one byte", b"S"),
        ("a database's first bytes alone", b"SQLite format 3\0"),
        ("a database's header cut short", &[b"SQLite format 3\0".as_slice(), &[0x10; 83]].concat()),
    ];
    for (name, bytes) in cases {
        println!("{name}");
        let archive = Archive::new();
        fs::write(archive.path(), bytes).unwrap();
        assert_refused_and_untouched(&archive, "is not a SQLite database");
    }
}

#[test]
fn a_folder_in_the_archives_place_is_left_as_it_is() {
    let archive = Archive::new();
    fs::create_dir(archive.path()).unwrap();
    assert_refused_and_untouched(&archive, "is not a SQLite database");
    assert_eq!(fs::read_dir(archive.path()).unwrap().count(), 0);
}

#[test]
fn a_database_of_someone_else_is_left_as_it_is() {
    for journal_mode in ["DELETE", "WAL"] {
        println!("{journal_mode}");
        let archive = Archive::new();
        let theirs = rusqlite::Connection::open(archive.path()).unwrap();
        theirs.pragma_update(None, "journal_mode", journal_mode).unwrap();
        theirs.execute_batch("CREATE TABLE runs (id TEXT); INSERT INTO runs VALUES ('marathon');").unwrap();
        // In WAL their row stands in their log, which is still open and nobody's to put away.
        if journal_mode == "WAL" {
            theirs.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(())).unwrap();
            theirs.execute("INSERT INTO runs VALUES ('sprint')", []).unwrap();
        }
        assert_refused_and_untouched(&archive, "is a SQLite database, but not an archive");
        let kept: i64 = theirs.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
        assert_eq!(kept, if journal_mode == "WAL" { 2 } else { 1 });
        assert!(!beside(&archive.path(), ".lock").exists(), "a lock beside a stranger's file");
    }
}

#[test]
fn an_archive_of_a_newer_version_is_left_as_it_is() {
    let archive = archive_of(20);
    let newer = rusqlite::Connection::open(archive.path()).unwrap();
    let sql = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
               VALUES (4711, 'later', '2030-01-01T00:00:00Z', '1')";
    newer.execute(sql, []).unwrap();
    newer.close().unwrap();
    assert_refused_and_untouched(&archive, "newer version of archive");
}

#[test]
fn an_archive_that_was_cut_short_is_left_as_it_is() {
    let whole = fs::read(archive_of(300).path()).unwrap();
    for length in [whole.len() - 1, whole.len() / 2, 16_384, 16_384 / 2, 100] {
        println!("{length} of {} bytes", whole.len());
        let archive = Archive::new();
        fs::write(archive.path(), &whole[..length]).unwrap();
        assert_refused_and_untouched(&archive, "is damaged");
    }
}

#[test]
fn an_archive_whose_pages_were_overwritten_is_left_as_it_is() {
    let whole = fs::read(archive_of(300).path()).unwrap();
    let page = 16_384;
    for (name, range) in [
        ("the first page after its header", 100..page),
        ("the first pages after the header", 100..8 * page),
        ("the second page and all after it", page..whole.len()),
        ("the page size in the header", 16..18),
    ] {
        for byte in [0x00, 0xa5, 0xff] {
            println!("{name}, {byte:#04x}");
            let archive = Archive::new();
            let mut bytes = whole.clone();
            bytes[range.clone()].fill(byte);
            fs::write(archive.path(), bytes).unwrap();
            assert_refused_and_untouched(&archive, "is damaged");
        }
    }
}

#[test]
fn an_archive_in_a_folder_that_cannot_be_written_is_read_but_not_synced() {
    let archive = archive_of(20);
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    fs::remove_file(beside(&archive.path(), ".lock")).unwrap();
    let before = files(archive.folder());
    let Some(unwritable) = Unwritable::new(archive.folder()) else { return };

    let refused = run(archive.sync(&emulator)).expect(1);
    assert!(refused.stderr.contains(archive.path().to_str().unwrap()), "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot be written"), "{}", refused.stderr);
    assert_eq!(emulator.requests().len(), 0);

    let mut status = archive.command();
    status.args(["status", "--format", "json"]);
    let status = run(status).expect(0);
    assert_eq!(status.json()["connections"][0]["runs"], 20);

    assert_eq!(differences(&before, &files(archive.folder())), Vec::<String>::new());
    drop(unwritable);
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 30);
}

#[test]
fn a_read_only_file_in_a_writable_folder_is_left_as_it_is() {
    let archive = archive_of(20);
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let before = files(archive.folder());
    let mounted = if is_root() {
        let Some(mounted) = Mounted::itself(&archive.path()) else { return };
        mounted.remount("ro,bind");
        Some(mounted)
    } else {
        fs::set_permissions(archive.path(), fs::Permissions::from_mode(0o444)).unwrap();
        None
    };
    let refused = run(archive.sync(&emulator)).expect(1);
    assert!(refused.stderr.contains(archive.path().to_str().unwrap()), "{}", refused.stderr);
    assert!(refused.stderr.contains("cannot be written"), "{}", refused.stderr);
    let differences = differences(&before, &files(archive.folder()));
    drop(mounted);
    fs::set_permissions(archive.path(), fs::Permissions::from_mode(0o600)).unwrap();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 30);
    assert!(differences.is_empty(), "{differences:?}");
}

#[test]
fn an_archive_that_was_left_with_its_log_is_read_whole_where_nothing_may_be_written() {
    // A killed sync leaves committed runs in the log. Whoever reads then sees them, or is told why not.
    for is_index_kept in [true, false] {
        println!("index kept: {is_index_kept}");
        let archive = Archive::new();
        let writer = archive_of(20);
        let database = rusqlite::Connection::open(writer.path()).unwrap();
        let connection =
            "INSERT INTO connections (id, first_seen_at) VALUES ('late', '2026-01-01T00:00:00.0000000Z')";
        database.execute(connection, []).unwrap();
        let endings: &[&str] = if is_index_kept { &["", "-wal", "-shm"] } else { &["", "-wal"] };
        for ending in endings {
            fs::copy(beside(&writer.path(), ending), beside(&archive.path(), ending)).unwrap();
        }
        let Some(_unwritable) = Unwritable::new(archive.folder()) else { return };
        let mut status = archive.command();
        status.args(["status", "--format", "json"]);
        let status = run(status);
        match status.code {
            Some(0) => {
                assert!(status.stdout.contains("\"late\""), "the log was overlooked: {}", status.stdout)
            }
            _ => {
                let status = status.expect(1);
                assert!(status.stderr.contains(archive.path().to_str().unwrap()), "{}", status.stderr);
            }
        }
    }
}

#[test]
fn a_disk_that_fills_up_loses_nothing_and_the_next_sync_completes() {
    let archive = Archive::new();
    let Some(disk) = Mounted::memory(archive.folder(), "2m") else { return };
    let listing = history::listing(2_000, "2026-01-05T00:00:00Z".parse().unwrap(), 1);
    let all: Vec<_> = listing.iter().cloned().collect();
    let emulator = Emulator::start(platform(all[..50].iter().cloned())).unwrap();
    emulator.platform().faults.page_cap = Some(50);
    run(archive.sync(&emulator)).expect(0);
    let stored = archive.dump();
    let rows_of = |archive: &Archive| -> Vec<String> {
        archive.dump().into_iter().filter(|row| !row.starts_with("connections|")).collect()
    };
    assert_eq!(archive.count("runs"), 50);

    for run in &all[50..] {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(run.clone());
    }
    let full = run(archive.sync(&emulator)).expect(1);
    assert!(full.stderr.contains("the disk is full"), "{}", full.stderr);
    assert!(full.stderr.contains(archive.path().to_str().unwrap()), "{}", full.stderr);

    // Looked at elsewhere, where there is room for SQLite to look.
    let elsewhere = Archive::new();
    for ending in ["", "-wal"] {
        let from = beside(&archive.path(), ending);
        if from.exists() {
            fs::copy(from, beside(&elsewhere.path(), ending)).unwrap();
        }
    }
    elsewhere.assert_sound();
    let kept = rows_of(&elsewhere);
    let lost: Vec<_> =
        stored.iter().filter(|row| !row.starts_with("connections|") && !kept.contains(row)).collect();
    assert!(lost.is_empty(), "{lost:?}");

    disk.remount("size=64m");
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 2_000);
    assert_eq!(
        archive.value::<i64>(
            "SELECT count(*) FROM walks WHERE walk_key = (SELECT max(walk_key) FROM walks) AND complete"
        ),
        1
    );
    archive.assert_sound();
    assert_eq!(names(archive.folder()), ["archive.db"]);
}

#[test]
fn a_disk_that_is_full_from_the_start_leaves_the_archive_as_it_is() {
    let archive = Archive::new();
    let Some(disk) = Mounted::memory(archive.folder(), "2m") else { return };
    let emulator = Emulator::start(platform(runs(0, 20))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    // What is left of the disk, to the last byte.
    let mut filler = fs::File::create(archive.folder().join("filler")).unwrap();
    let filled = std::io::copy(&mut std::io::repeat(b'x'), &mut filler);
    assert_eq!(filled.unwrap_err().kind(), std::io::ErrorKind::StorageFull);
    drop(filler);
    let before = files(archive.folder());

    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing = runs(0, 40).collect();
    let full = run(archive.sync(&emulator)).expect(1);
    assert!(full.stderr.contains(archive.path().to_str().unwrap()), "{}", full.stderr);
    let mut differences = differences(&before, &files(archive.folder()));
    // Without room SQLite leaves an empty log behind, which only it may take away.
    differences.retain(|difference| {
        !difference.ends_with("-wal was made") && !difference.ends_with("-shm was made")
    });
    assert!(differences.is_empty(), "{differences:?}: {}", full.stderr);

    fs::remove_file(archive.folder().join("filler")).unwrap();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 40);
    archive.assert_sound();
    assert!(full.stderr.contains("full") || full.stderr.contains("No space left"), "{}", full.stderr);
    drop(disk);
}

#[test]
fn a_new_archive_on_a_full_disk_is_made_once_there_is_room() {
    let archive = Archive::new();
    let Some(disk) = Mounted::memory(archive.folder(), "64k") else { return };
    let emulator = Emulator::start(platform(runs(0, 20))).unwrap();
    let full = run(archive.sync(&emulator)).expect(1);
    assert!(full.stderr.contains("full"), "{}", full.stderr);
    assert!(full.stderr.contains(archive.path().to_str().unwrap()), "{}", full.stderr);
    disk.remount("size=8m");
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 20);
    archive.assert_sound();
}

#[test]
fn a_new_archive_on_a_full_disk_says_that_the_disk_is_full_and_what_to_do() {
    let archive = Archive::new();
    let Some(_disk) = Mounted::memory(archive.folder(), "64k") else { return };
    let emulator = Emulator::start(platform(runs(0, 20))).unwrap();
    let full = run(archive.sync(&emulator)).expect(1);
    assert!(full.stderr.contains("the disk is full while writing"), "{}", full.stderr);
    assert!(full.stderr.contains("hint: make room"), "{}", full.stderr);
}

#[test]
fn only_its_owner_can_read_an_archive_whatever_the_umask() {
    for umask in ["000", "022", "077"] {
        println!("umask {umask}");
        let archive = Archive::new();
        let path = archive.folder().join("new/deeper/archive.db");
        let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
        let mut command = archive.sync(&emulator);
        command.arg("--db").arg(&path);
        // While the guard is held nothing is answered: the sync has begun and waits.
        let held = emulator.platform();
        let sync = Running::spawn(under_umask(&command, umask));
        wait_until("the first request", || !emulator.requests().is_empty());
        for ending in ["", ".lock", "-wal", "-shm"] {
            assert_eq!(mode(&beside(&path, ending)), 0o600, "umask {umask}: archive.db{ending}");
        }
        drop(held);
        sync.end().expect(0);
        assert_eq!((mode(&path), mode(&beside(&path, ".lock"))), (0o600, 0o600));
    }
}

#[test]
fn after_a_sync_the_one_file_is_whole() {
    let archive = archive_of(120);
    assert_eq!(names(archive.folder()), ["archive.db"]);
    // Taken away without anything that stood beside it.
    let copy = Archive::new();
    fs::copy(archive.path(), copy.path()).unwrap();
    assert_eq!(copy.count("runs"), 120);
    copy.assert_sound();
    assert_eq!(copy.value::<String>("PRAGMA journal_mode"), "wal");
    assert_eq!(copy.value::<i32>("PRAGMA application_id"), 0x4152_4348, "ARCH");
    assert_eq!(copy.value::<i64>("PRAGMA page_size"), 16_384);
}

#[test]
fn nothing_is_left_beside_an_archive_that_was_only_read() {
    let archive = archive_of(20);
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let before = files(archive.folder());
    let mut status = archive.command();
    status.arg("status");
    run(status).expect(0);
    assert_eq!(differences(&before, &files(archive.folder())), Vec::<String>::new(), "status");
    let mut dry_run = archive.sync(&emulator);
    dry_run.arg("--dry-run");
    run(dry_run).expect(0);
    assert_eq!(differences(&before, &files(archive.folder())), Vec::<String>::new(), "dry run");
}

#[test]
fn every_table_is_strict_and_every_child_has_its_parent() {
    let archive = archive_of(5);
    let loose = "SELECT name FROM pragma_table_list
                 WHERE schema = 'main' AND type = 'table' AND NOT strict
                   AND name NOT LIKE 'sqlite_%' AND name <> 'refinery_schema_history'";
    assert_eq!(archive.column::<String>(loose), Vec::<String>::new());
    let tables = ["connections", "runs", "jobs", "tasks", "errors", "revisions", "syncs", "walks", "rejects"];
    for table in tables {
        let sql =
            format!("SELECT count(*) FROM pragma_table_list WHERE schema = 'main' AND name = '{table}'");
        assert_eq!(archive.value::<i64>(&sql), 1, "{table}");
    }
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database.pragma_update(None, "foreign_keys", true).unwrap();
    for forbidden in [
        "DELETE FROM connections",
        "DELETE FROM runs",
        "DELETE FROM jobs",
        "INSERT INTO jobs (run_key, job_index) VALUES (4711, 0)",
        "INSERT INTO tasks (run_key, job_index, task_index) VALUES (1, 4711, 0)",
        "INSERT INTO errors (run_key, job_index, task_index) VALUES (1, 0, 4711)",
        "INSERT INTO revisions (run_key, number, replaced_at, content) VALUES (4711, 1, '', '{}')",
    ] {
        let error = database.execute(forbidden, []).expect_err(forbidden);
        assert!(error.to_string().contains("FOREIGN KEY constraint failed"), "{forbidden}: {error}");
    }
}

#[test]
fn status_of_a_missing_archive_fails_and_makes_nothing() {
    let archive = Archive::new();
    for folder in [archive.folder().to_owned(), archive.folder().join("not/there")] {
        let path = folder.join("archive.db");
        let mut status = archive.command();
        status.arg("status").arg("--db").arg(&path);
        let ended = run(status).expect(1);
        assert!(ended.stderr.contains(path.to_str().unwrap()), "{}", ended.stderr);
        assert_eq!(ended.stdout, "");
        assert_eq!(fs::read_dir(archive.folder()).unwrap().count(), 0);
    }
}

#[test]
fn status_is_told_while_a_sync_holds_the_archive() {
    let archive = archive_of(20);
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let held = emulator.platform();
    let sync = Running::spawn(archive.sync(&emulator));
    wait_until("the first request", || !emulator.requests().is_empty());
    let mut status = archive.command();
    status.args(["status", "--format", "json"]);
    let status = run(status).expect(0).json();
    assert_eq!(status["connections"][0]["runs"], 20);
    assert_eq!(status["last_sync"]["outcome"], "running");
    drop(held);
    sync.end().expect(0);
    assert_eq!(archive.count("runs"), 30);
}

#[test]
fn an_analyst_who_reads_does_not_hold_up_a_sync() {
    let archive = archive_of(20);
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let analyst =
        rusqlite::Connection::open_with_flags(archive.path(), OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
    let count = || analyst.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0)).unwrap();
    analyst.execute_batch("BEGIN").unwrap();
    assert_eq!(count(), 20);

    let began = Instant::now();
    run(archive.sync(&emulator)).expect(0);
    let took = began.elapsed();
    assert_eq!(count(), 20, "what one transaction reads does not change");
    analyst.execute_batch("COMMIT").unwrap();
    assert_eq!(count(), 30);
    drop(analyst);
    archive.assert_sound();
    assert!(took < Duration::from_secs(15), "the sync waited {took:?} for a reader");
}

fn migrations() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")
}

#[test]
fn a_landed_migration_is_never_edited() {
    let fnv = |bytes: &[u8]| {
        bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |state, byte| {
            (state ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
        })
    };
    let found: BTreeMap<String, u64> =
        files(&migrations()).into_iter().map(|(name, bytes)| (name, fnv(&bytes))).collect();
    let landed: BTreeMap<String, u64> =
        LANDED.iter().map(|(name, hash)| ((*name).to_owned(), *hash)).collect();
    let told: Vec<_> = found.iter().map(|(name, hash)| format!("(\"{name}\", {hash:#018x})")).collect();
    assert_eq!(found, landed, "LANDED at the top of this file would be [{}]", told.join(", "));
}

#[test]
fn an_archive_made_by_any_older_version_opens_with_all_it_holds() {
    let mut all = refinery::load_sql_migrations(migrations()).unwrap();
    all.sort_by_key(|migration| migration.version());
    let newest = all.last().unwrap().version();
    for older in &all {
        println!("version {}", older.version());
        let archive = Archive::new();
        let mut database = rusqlite::Connection::open(archive.path()).unwrap();
        database.execute_batch("PRAGMA page_size = 16384; PRAGMA application_id = 0x41524348").unwrap();
        database.pragma_update(None, "journal_mode", "WAL").unwrap();
        let runner = |version| {
            refinery::Runner::new(&all).set_grouped(true).set_target(refinery::Target::Version(version))
        };
        // Filled as the first version would, then brought to the version in question.
        runner(1).run(&mut database).unwrap();
        let filled = format!(
            "INSERT INTO connections (connection_key, id, first_seen_at)
             VALUES (1, '{CONNECTION}', '2025-01-01T00:00:00.0000000Z');
             INSERT INTO checkpoints (connection_key, listed) VALUES (1, 1);
             INSERT INTO runs (run_key, connection_key, id, state, result, started_at, fingerprint, first_seen_at)
             VALUES (1, 1, 'from-long-ago', 'Completed', 'Success', '2025-01-01T00:00:00.0000000Z',
                     zeroblob(16), '2025-01-01T00:00:00.0000000Z');
             INSERT INTO jobs (run_key, job_index, id, started_at)
             VALUES (1, 0, 'old-job', '2025-01-01T00:00:01.5000000Z');
             INSERT INTO tasks (run_key, job_index, task_index, id) VALUES (1, 0, 0, 'old-task'), (1, 0, 1, 'other');
             INSERT INTO errors (run_key, job_index, task_index, error_code, can_user_fix)
             VALUES (1, 0, 0, 'TAE_OLD', 1), (1, 0, 1, 'TAE_OLD', 1);"
        );
        database.execute_batch(&filled).unwrap();
        runner(older.version()).run(&mut database).unwrap();
        database.close().unwrap();

        let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
        if older.version() < newest {
            let mut status = archive.command();
            status.arg("status");
            let told = run(status).expect(1);
            assert!(told.stderr.contains("older version"), "{}", told.stderr);
        }
        run(archive.sync(&emulator)).expect(0);
        let reached: i64 = archive.value("SELECT max(version) FROM refinery_schema_history");
        assert_eq!(reached, i64::from(newest));
        assert_eq!(archive.count("runs"), 6);
        assert_eq!(archive.value::<String>("SELECT id FROM jobs WHERE run_key = 1"), "old-job");
        // What later versions write with a run is there for the old ones too.
        let told = "SELECT error_code || ' ' || error_runs.tasks || ' ' || queue_ms || ' ' || has_failure
                    FROM error_runs JOIN error_kinds USING (error_kind_key) JOIN runs USING (run_key)";
        assert_eq!(archive.value::<String>(told), "TAE_OLD 2 1500 1");
        archive.assert_sound();
    }
}
