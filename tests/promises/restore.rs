//! A copy takes the archive's place: the old archive or the new one, at every instant, and never a new file
//! beside an old log. And the copies themselves: where they may go, and what is left of those that ended.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Instant;

use run_archive::emulator::Emulator;
use run_archive::store::restore::{Restore, Step};
use run_archive::sync::now;
use serde_json::Value;

use crate::common::{Archive, Ended, beside, platform, run, runs, skip};
use crate::file::Mounted;
use crate::interruption::{Running, wait_until};

const PAGE_SIZE: usize = 16_384;

/// An archive of so many runs; each number is synced once for all tests.
fn archive_of(count: u64) -> Archive {
    static SYNCED: Mutex<BTreeMap<u64, Vec<u8>>> = Mutex::new(BTreeMap::new());
    let mut synced = SYNCED.lock().unwrap();
    let archive = Archive::new();
    let bytes = synced.entry(count).or_insert_with(|| {
        let emulator = Emulator::start(platform(runs(0, count))).unwrap();
        run(archive.sync(&emulator)).expect(0);
        fs::read(archive.path()).unwrap()
    });
    fs::write(archive.path(), bytes).unwrap();
    fs::set_permissions(archive.path(), fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(beside(&archive.path(), ".lock"), "").unwrap();
    archive
}

/// A copy of an archive of so many runs, in a folder of its own.
fn copy_of(count: u64) -> Archive {
    let copy = Archive::new();
    let archive = archive_of(count);
    let mut command = archive.command();
    command.arg("backup").arg(copy.path());
    run(command).expect(0);
    copy
}

fn restore(archive: &Archive, file: impl AsRef<Path>) -> Ended {
    let mut command = archive.command();
    command.args(["restore", "--format", "json"]).arg(file.as_ref());
    run(command)
}

/// Everything in the folder but the lock, by its name.
fn files(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| !entry.file_name().to_str().unwrap().ends_with(".lock"))
        .map(|entry| {
            let is_file = entry.file_type().unwrap().is_file();
            let bytes = if is_file { fs::read(entry.path()).unwrap() } else { Vec::new() };
            (entry.file_name().into_string().unwrap(), bytes)
        })
        .collect()
}

fn names(folder: &Path) -> Vec<String> {
    files(folder).into_keys().collect()
}

/// What stands in the folder as a kill would leave it, in another one: a look through SQLite would change it.
fn as_left(folder: &Path) -> Archive {
    let left = Archive::new();
    for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap()) {
        if entry.file_type().unwrap().is_file() {
            fs::copy(entry.path(), left.folder().join(entry.file_name())).unwrap();
        }
    }
    left
}

/// The runs that `archive status` tells, and what was in the log alone; the reason where it tells none.
fn status(archive: &Archive) -> Result<(u64, bool), String> {
    let mut command = archive.command();
    command.args(["status", "--format", "json"]);
    let ended = run(command);
    if ended.code != Some(0) {
        return Err(ended.stderr);
    }
    let told = ended.json();
    let connections = told["connections"].as_array().unwrap();
    let runs = connections.iter().map(|connection| connection["runs"].as_u64().unwrap()).sum();
    Ok((runs, connections.iter().any(|connection| connection["display_name"] == "late")))
}

/// An archive of 20 runs as a killed sync leaves it: what was written last stands in its log alone.
fn with_log() -> Archive {
    let archive = Archive::new();
    let writer = archive_of(20);
    let database = rusqlite::Connection::open(writer.path()).unwrap();
    database.execute("UPDATE connections SET display_name = 'late', name = 'late'", []).unwrap();
    for ending in ["", "-wal", "-shm"] {
        fs::copy(beside(&writer.path(), ending), beside(&archive.path(), ending)).unwrap();
    }
    archive
}

/// The first page of an archive overwritten after its header.
fn damage(archive: Archive) -> Archive {
    let mut bytes = fs::read(archive.path()).unwrap();
    bytes[100..PAGE_SIZE].fill(0xa5);
    fs::write(archive.path(), bytes).unwrap();
    archive
}

/// What is done to an archive.
type Scene = (&'static str, fn() -> Archive, bool);

/// Archives of 20 runs in every condition, and whether a reader still makes something of them.
const SCENES: [Scene; 10] = [
    ("sound", || archive_of(20), true),
    ("with a log", with_log, true),
    ("damaged", || damage(archive_of(20)), false),
    ("damaged, with a log", || damage(with_log()), false),
    (
        "cut short",
        || {
            let archive = archive_of(20);
            let bytes = fs::read(archive.path()).unwrap();
            fs::write(archive.path(), &bytes[..bytes.len() / 2]).unwrap();
            archive
        },
        false,
    ),
    (
        "overwritten",
        || {
            let archive = archive_of(20);
            fs::write(archive.path(), "no database any more").unwrap();
            archive
        },
        false,
    ),
    (
        "lost, its log left",
        || {
            let archive = with_log();
            fs::remove_file(archive.path()).unwrap();
            archive
        },
        false,
    ),
    (
        "emptied, its log left",
        || {
            let archive = with_log();
            fs::write(archive.path(), "").unwrap();
            archive
        },
        false,
    ),
    // What came of the advice to put a copy in the archive's place by hand.
    (
        "another file over its log",
        || {
            let archive = with_log();
            fs::copy(copy_of(7).path(), archive.path()).unwrap();
            archive
        },
        false,
    ),
    ("nothing", Archive::new, false),
];

#[test]
fn a_copy_takes_the_archives_place_and_what_was_there_can_be_taken_back() {
    let archive = archive_of(20);
    let copy = archive.folder().join("copy.db");
    let mut backup = archive.command();
    backup.arg("backup").arg(&copy);
    run(backup).expect(0);
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    fs::set_permissions(archive.path(), fs::Permissions::from_mode(0o640)).unwrap();
    let before = fs::read(&copy).unwrap();

    let told = restore(&archive, "copy.db").expect(0).json();
    assert_eq!((told["runs"].as_u64(), &told["damage"]), (Some(20), &Value::Null));
    assert!(told["as_of"].as_str().unwrap().ends_with('Z'), "{told}");
    assert_eq!(told["bytes"].as_u64().unwrap(), archive.path().metadata().unwrap().len());
    let set_aside = PathBuf::from(told["set_aside"].as_str().unwrap());
    let name = set_aside.file_name().unwrap().to_str().unwrap().to_owned();
    assert!(name.starts_with("archive.db.20") && name.ends_with("Z.replaced"), "{name}");
    assert_eq!(names(archive.folder()), ["archive.db", &name, "copy.db"]);
    assert_eq!(fs::read(&copy).unwrap(), before, "the copy was changed");
    assert_eq!(archive.path().metadata().unwrap().permissions().mode() & 0o777, 0o640);
    assert_eq!(archive.path().metadata().unwrap().nlink(), 1);
    assert_eq!(archive.count("runs"), 20);
    archive.assert_sound();

    let mut undo = archive.command();
    undo.arg("restore").arg(&set_aside);
    let told = run(undo).expect(0).stderr;
    assert!(
        told.contains("30 runs") && told.contains("as of 20") && told.contains("archive restore"),
        "{told}"
    );
    assert_eq!(archive.count("runs"), 30);
    run(archive.sync(&emulator)).expect(0);
    archive.assert_sound();
}

#[test]
fn a_copy_is_restored_where_there_is_no_archive_any_more_for_its_owner_alone() {
    let (archive, copy) = (Archive::new(), copy_of(7));
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let told = restore(&archive, copy.path()).expect(0).json();
    assert_eq!(told["set_aside"], Value::Null);
    assert_eq!(archive.path().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(names(archive.folder()), ["archive.db"]);
    assert_eq!(archive.count("runs"), 7);
}

#[test]
fn a_link_to_the_archive_leads_to_the_restored_one() {
    let (archive, copy) = (archive_of(20), copy_of(5));
    let linking = Archive::new();
    std::os::unix::fs::symlink(archive.path(), linking.path()).unwrap();
    restore(&linking, copy.path()).expect(0);
    assert!(linking.path().symlink_metadata().unwrap().is_symlink());
    assert_eq!((linking.count("runs"), archive.count("runs")), (5, 5));
    assert_eq!(names(linking.folder()), ["archive.db"]);
    assert_eq!(names(archive.folder()).len(), 2);
}

#[test]
fn whatever_was_there_the_copy_is_restored_and_nothing_is_lost() {
    let copy = copy_of(5);
    for (scene, make, _) in SCENES {
        println!("{scene}");
        let archive = make();
        let before = files(archive.folder());
        let told = restore(&archive, copy.path()).expect(0).json();
        let after = files(archive.folder());
        let logs: Vec<_> = ["-wal", "-shm", "-journal"].map(|ending| format!("archive.db{ending}")).into();
        assert!(logs.iter().all(|log| !after.contains_key(log)), "{scene}: {:?}", after.keys());
        assert!(after.keys().all(|name| !name.starts_with(".archive")), "{scene}: {:?}", after.keys());
        assert_eq!(archive.count("runs"), 5, "{scene}");
        archive.assert_sound();
        let Some(set_aside) = told["set_aside"].as_str() else {
            assert!(before.is_empty(), "{scene}: nothing was set aside");
            continue;
        };
        let kept = Archive::new();
        for ending in ["", "-wal"] {
            if beside(Path::new(set_aside), ending).exists() {
                fs::copy(beside(Path::new(set_aside), ending), beside(&kept.path(), ending)).unwrap();
            }
        }
        match scene {
            "sound" | "with a log" => {
                assert!(set_aside.ends_with(".replaced"), "{set_aside}");
                assert_eq!(status(&kept), Ok((20, scene == "with a log")));
                assert!(!beside(&kept.path(), "-wal").exists());
            }
            _ if set_aside.ends_with(".damaged") => {
                // To the letter, and under names by which they still belong together.
                for (name, bytes) in before.iter().filter(|(name, _)| !name.ends_with("-shm")) {
                    let ending = name.strip_prefix("archive.db").unwrap();
                    assert_eq!(&fs::read(beside(Path::new(set_aside), ending)).unwrap(), bytes, "{scene}");
                }
            }
            // Its log made a damaged archive whole.
            _ => assert!(scene == "damaged, with a log", "{scene}: {set_aside}"),
        }
    }
}

#[test]
fn a_restore_that_ends_after_any_step_leaves_the_old_archive_or_the_new_one() {
    let copy = copy_of(5);
    let mut all: Vec<Step> = Vec::new();
    for (scene, make, is_read) in SCENES {
        for taken in 0.. {
            let archive = make();
            let before = files(archive.folder());
            let old = status(&as_left(archive.folder()));
            assert!(old.is_ok() || !is_read, "{scene}: {old:?}");
            let mut restore = Restore::begin(&archive.path(), &copy.path(), now()).unwrap();
            let steps: Vec<Step> = (0..taken).map_while(|_| restore.next_step().unwrap()).collect();
            // As the kernel keeps the files of a killed process.
            let left = as_left(archive.folder());
            let is_done = steps.len() < taken;
            all.extend(&steps);
            println!("{scene}: {steps:?}: {:?}", names(left.folder()));

            let has_log = ["-wal", "-journal"]
                .iter()
                .any(|ending| beside(&left.path(), ending).metadata().is_ok_and(|log| log.len() > 0));
            let kept: Vec<Vec<u8>> = files(left.folder()).into_values().collect();
            match status(&left) {
                Ok((5, _)) => {
                    assert!(!has_log, "a new file beside an old log");
                    assert!(steps.last().is_some_and(|step| matches!(step, Step::Replace | Step::Exchange)));
                    left.assert_sound();
                }
                told if told.is_ok() == old.is_ok() && told.is_ok() => assert_eq!(told, old),
                // What no reader made anything of: every byte is there under one name or another.
                _ => {
                    let mut lost = before
                        .iter()
                        .filter(|(name, bytes)| !name.ends_with("-shm") && !kept.contains(bytes));
                    assert!(lost.next().is_none(), "{scene}: {steps:?}");
                }
            }
            drop(restore);
            // Whoever was killed is followed by one that is not.
            self::restore(&left, copy.path()).expect(0);
            assert_eq!(left.count("runs"), 5);
            if is_done {
                assert_eq!(status(&archive), Ok((5, false)), "{scene}");
                break;
            }
        }
    }
    for step in [
        Step::Hold,
        Step::NameCopy,
        Step::Exchange,
        Step::LinkLogs,
        Step::Link,
        Step::RemoveLogs,
        Step::Replace,
    ] {
        assert!(all.contains(&step), "{step:?} was not tried");
    }
}

#[test]
fn a_restore_that_is_killed_at_any_moment_leaves_the_old_archive_or_the_new_one() {
    let copy = copy_of(5);
    let began = Instant::now();
    restore(&with_log(), copy.path()).expect(0);
    let whole = began.elapsed();
    let mut ends = BTreeMap::new();
    for number in 0..40 {
        let archive = with_log();
        let mut command = archive.command();
        command.arg("restore").arg(copy.path());
        let running = Running::spawn(command);
        // Anywhere from its start to after its end: the moment decides nothing, the state is judged.
        std::thread::sleep(whole * number / 36);
        running.kill_or_end();
        let left = as_left(archive.folder());
        let has_log = beside(&left.path(), "-wal").metadata().is_ok_and(|log| log.len() > 0);
        let told = status(&left).unwrap();
        match told {
            (5, false) => assert!(!has_log, "a new file beside an old log"),
            _ => assert_eq!(told, (20, true)),
        }
        left.assert_sound();
        *ends.entry(told.0).or_insert(0) += 1;
        restore(&archive, copy.path()).expect(0);
        assert!(
            names(archive.folder()).iter().all(|name| !name.starts_with('.')),
            "{:?}",
            names(archive.folder())
        );
    }
    assert!(ends.contains_key(&20), "{ends:?}");
}

#[test]
fn an_archive_that_somebody_reads_or_writes_is_not_replaced() {
    let copy = copy_of(5);
    for mode in ["WAL", "DELETE"] {
        for sql in ["SELECT count(*) FROM runs", "UPDATE runs SET extra = extra"] {
            println!("{mode}: {sql}");
            let archive = archive_of(20);
            let other = rusqlite::Connection::open(archive.path()).unwrap();
            other.pragma_update(None, "journal_mode", mode).unwrap();
            other.execute_batch("BEGIN").unwrap();
            other.execute_batch(sql).unwrap();
            let mut reading = other.prepare("SELECT run_key FROM runs").unwrap();
            let mut rows = reading.query([]).unwrap();
            rows.next().unwrap();
            let told = restore(&archive, copy.path()).expect(5);
            assert!(told.stderr.contains("another program has"), "{}", told.stderr);
            assert!(
                names(archive.folder())
                    .iter()
                    .all(|name| name.starts_with("archive.db") && !name.contains("Z."))
            );
            drop(rows);
            drop(reading);
            drop(other);
            assert_eq!(archive.count("runs"), 20);
            archive.assert_sound();
            restore(&archive, copy.path()).expect(0);
        }
    }
    // Who only has it open may read on at any time.
    let archive = archive_of(20);
    let idle = rusqlite::Connection::open(archive.path()).unwrap();
    let count = || idle.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(count(), 20);
    restore(&archive, copy.path()).expect(5);
    assert_eq!(count(), 20);
}

#[test]
fn a_damaged_archive_that_another_program_has_open_is_not_replaced() {
    let copy = copy_of(5);
    let archive = archive_of(20);
    let size = archive.path().metadata().unwrap().len();
    // Another process, since a lock of this one would not keep this one out.
    let mut reader = Command::new("sqlite3");
    reader.arg(archive.path()).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut reader) = reader.spawn() else { return skip("there is no sqlite3") };
    let script = "BEGIN;\nCREATE TEMP TABLE read AS SELECT count(*) FROM runs;\n.shell echo open\n";
    std::io::Write::write_all(reader.stdin.as_mut().unwrap(), script.as_bytes()).unwrap();
    let mut word = [0; 4];
    std::io::Read::read_exact(reader.stdout.as_mut().unwrap(), &mut word).unwrap();
    fs::OpenOptions::new().write(true).open(archive.path()).unwrap().set_len(size / 2).unwrap();
    restore(&archive, copy.path()).expect(5);
    assert_eq!(archive.path().metadata().unwrap().len(), size / 2);
    drop(reader.stdin.take());
    reader.wait().unwrap();
    restore(&archive, copy.path()).expect(0);
    assert_eq!(archive.count("runs"), 5);
}

#[test]
fn an_archive_that_a_sync_holds_is_not_replaced() {
    let (archive, copy) = (archive_of(20), copy_of(5));
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let held = emulator.platform();
    let sync = Running::spawn(archive.sync(&emulator));
    wait_until("the first request", || !emulator.requests().is_empty());
    let told = restore(&archive, copy.path()).expect(5);
    assert!(told.stderr.contains("another archive process holds"), "{}", told.stderr);
    drop(held);
    sync.end().expect(0);
    assert_eq!(archive.count("runs"), 30);
}

#[test]
fn what_is_no_sound_copy_is_not_restored() {
    let copy = copy_of(50);
    let whole = fs::read(copy.path()).unwrap();
    let place = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        fs::write(place.path().join(name), bytes).unwrap();
        place.path().join(name)
    };
    let changed = |name: &str, sql: &str| {
        let path = file(name, &whole);
        rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        path
    };
    let pages = |name: &str| {
        let mut bytes = whole.clone();
        bytes[3 * PAGE_SIZE..].fill(0xa5);
        file(name, &bytes)
    };
    let strangers = place.path().join("theirs.db");
    rusqlite::Connection::open(&strangers).unwrap().execute_batch("CREATE TABLE runs (id TEXT)").unwrap();
    let fifo = place.path().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    let newer = "INSERT INTO refinery_schema_history (version, name, applied_on, checksum)
                 VALUES (4711, 'later', '2030-01-01T00:00:00Z', '1')";
    // An index in which rows are missing: a copy that SQLite writes anew would have them all.
    let index = "PRAGMA writable_schema = ON;
                 UPDATE sqlite_schema SET sql = replace(sql, 'Completed', 'Executing') WHERE name = 'runs_unfinished'";
    let foreign_log = file("foreign-log.db", &whole);
    fs::copy(beside(&with_log().path(), "-wal"), place.path().join("foreign-log.db-wal")).unwrap();
    let cases = [
        (file("text", b"Dear diary"), "is not a SQLite database"),
        (file("empty", b""), "there is no archive"),
        (place.path().join("missing"), "there is no archive"),
        (place.path().to_owned(), "is not a SQLite database"),
        (fifo, "is not a SQLite database"),
        (PathBuf::from("/dev/zero"), "is not a SQLite database"),
        (strangers, "not an archive"),
        (changed("newer.db", newer), "newer version"),
        (file("cut-short.db", &whole[..whole.len() / 2]), "is damaged"),
        (pages("pages.db"), ""),
        (changed("index.db", index), "missing from index"),
        (changed("altered.db", "UPDATE runs SET result = 'Error' WHERE run_key = 2"), "is not sound"),
        (foreign_log, "the log of another file"),
    ];
    for (file, words) in cases {
        println!("{}", file.display());
        let archive = with_log();
        let before = files(archive.folder());
        let told = restore(&archive, &file).expect(1);
        assert!(told.stderr.contains(words), "{}", told.stderr);
        assert!(told.stderr.contains(file.to_str().unwrap()), "{}", told.stderr);
        assert!(!told.stderr.contains(".archive-restore"), "{}", told.stderr);
        assert_eq!(told.stdout, "");
        assert!(files(archive.folder()) == before, "{:?}", names(archive.folder()));
    }
}

#[test]
fn a_copy_of_an_earlier_version_is_restored_as_it_is() {
    let mut all =
        refinery::load_sql_migrations(Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations")).unwrap();
    all.sort_by_key(|migration| migration.version());
    let (archive, copy) = (archive_of(20), Archive::new());
    let mut database = rusqlite::Connection::open(copy.path()).unwrap();
    database.execute_batch("PRAGMA page_size = 16384; PRAGMA application_id = 0x41524348").unwrap();
    let runner = refinery::Runner::new(&all).set_grouped(true);
    runner.set_target(refinery::Target::Version(1)).run(&mut database).unwrap();
    database.close().unwrap();
    let told = restore(&archive, copy.path()).expect(0).json();
    assert_eq!((&told["runs"], &told["as_of"]), (&Value::Null, &Value::Null));
    assert_eq!(archive.value::<i64>("SELECT max(version) FROM refinery_schema_history"), 1);
    let emulator = Emulator::start(platform(runs(0, 3))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 3);
}

#[test]
fn what_was_copied_together_with_its_log_is_restored_with_what_the_log_holds() {
    let (archive, copy) = (archive_of(5), with_log());
    let before = files(copy.folder());
    restore(&archive, copy.path()).expect(0);
    assert_eq!(status(&archive), Ok((20, true)));
    assert!(files(copy.folder()) == before, "the copy was changed");
}

#[test]
fn what_is_there_and_was_never_an_archive_is_left_as_it_is() {
    let copy = copy_of(5);
    let text = Archive::new();
    fs::write(text.path(), "Dear diary").unwrap();
    let theirs = Archive::new();
    rusqlite::Connection::open(theirs.path()).unwrap().execute_batch("CREATE TABLE runs (id TEXT)").unwrap();
    let folder = Archive::new();
    fs::create_dir(folder.path()).unwrap();
    let fifo = Archive::new();
    assert!(Command::new("mkfifo").arg(fifo.path()).status().unwrap().success());
    for archive in [text, theirs, folder, fifo] {
        let before = files_of(&archive);
        restore(&archive, copy.path()).expect(1);
        assert_eq!(files_of(&archive), before);
        assert!(!beside(&archive.path(), ".lock").exists());
    }
}

/// The files of a folder that may hold what cannot be read.
fn files_of(archive: &Archive) -> Vec<(String, u64)> {
    let entries = fs::read_dir(archive.folder()).unwrap().map(|entry| entry.unwrap());
    entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.metadata().unwrap().len())).collect()
}

#[test]
fn the_archives_own_files_are_neither_restored_nor_written_over_by_a_copy() {
    let archive = with_log();
    let path = archive.path();
    fs::write(beside(&path, ".lock"), "").unwrap();
    let folder = archive.folder();
    fs::create_dir(folder.join("sub")).unwrap();
    std::os::unix::fs::symlink(&path, folder.join("link")).unwrap();
    std::os::unix::fs::symlink("archive.db-journal", folder.join("dangling")).unwrap();
    fs::hard_link(beside(&path, "-wal"), folder.join("hard-log")).unwrap();
    fs::hard_link(beside(&path, ".lock"), folder.join("hard-lock")).unwrap();
    let before = files(folder);
    let own = [
        "archive.db",
        "sub/../archive.db",
        "link",
        "archive.db-wal",
        "archive.db-shm",
        "archive.db-journal",
        "./archive.db.lock",
        "dangling",
        "hard-log",
        "hard-lock",
    ];
    for name in own {
        for command in [vec!["backup", name], vec!["backup", "--replace", name], vec!["restore", name]] {
            println!("{command:?}");
            let mut own = archive.command();
            own.args(&command);
            let told = run(own).expect(2);
            assert!(
                told.stderr.contains("the archive itself, or a file that belongs to it"),
                "{}",
                told.stderr
            );
            assert!(files(folder) == before, "{command:?}: {:?}", names(folder));
        }
    }
    fs::remove_file(folder.join("hard-log")).unwrap();
    fs::hard_link(&path, folder.join("hard")).unwrap();
    restore(&archive, "hard").expect(2);
    let mut backup = archive.command();
    backup.args(["backup", "--replace", "hard"]);
    run(backup).expect(2);
}

#[test]
fn a_copy_is_not_put_beside_the_log_of_another_database_nor_over_what_is_no_file() {
    let (archive, other) = (archive_of(3), with_log());
    let before = files(other.folder());
    let mut backup = archive.command();
    backup.args(["backup", "--replace"]).arg(other.path());
    let told = run(backup).expect(2);
    assert!(told.stderr.contains("archive.db-wal"), "{}", told.stderr);
    assert!(files(other.folder()) == before);
    let fifo = archive.folder().join("fifo");
    assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    for target in [fifo.as_path(), Path::new("/dev/null"), archive.folder()] {
        let mut backup = archive.command();
        backup.args(["backup", "--replace"]).arg(target);
        run(backup).expect(2);
    }
    assert!(Path::new("/dev/null").metadata().unwrap().len() == 0 && !Path::new("/dev/null").is_file());
}

#[test]
fn a_name_that_begins_with_file_is_a_name() {
    let archive = archive_of(3);
    for name in ["file:copy.db?mode=memory", "file:folder/copy%41.db"] {
        fs::create_dir_all(archive.folder().join("file:folder")).unwrap();
        let mut backup = archive.command();
        backup.args(["backup", name]);
        run(backup).expect(0);
        assert!(archive.folder().join(name).exists(), "{:?}", names(archive.folder()));
        let elsewhere = Archive::new();
        restore(&elsewhere, archive.folder().join(name)).expect(0);
        let mut by_name = archive.command();
        by_name.args(["restore", name]);
        run(by_name).expect(0);
        assert_eq!((elsewhere.count("runs"), archive.count("runs")), (3, 3));
    }
    assert!(!archive.folder().join("copyA.db").exists());
}

#[test]
fn what_a_killed_backup_leaves_the_next_one_takes_away() {
    let archive = archive_of(400);
    let place = archive.folder().join("backups");
    fs::create_dir(&place).unwrap();
    let backup = |name: &str| {
        let mut command = archive.command();
        command.arg("backup").arg(place.join(name));
        command
    };
    let left = |place: &Path| names(place).iter().filter(|name| name.starts_with('.')).count();
    let (mut killed, mut number) = (0, 0);
    while killed < 5 {
        number += 1;
        assert!(number < 100, "no backup was killed while it worked");
        let running = Running::spawn(backup(&format!("killed-{number}.db")));
        wait_until("the copy to begin", || {
            left(&place) > 0 || place.join(format!("killed-{number}.db")).exists()
        });
        running.kill_or_end();
        killed += usize::from(left(&place) > 0);
    }
    // One that still works is left alone, and comes to its end.
    let at_work = Running::spawn(backup("at-work.db"));
    wait_until("the copy to begin", || left(&place) > 0);
    fs::write(place.join(".archive-backup-earlier"), "of an earlier version").unwrap();
    run(backup("last.db")).expect(0);
    at_work.end().expect(0);
    run(backup("very-last.db")).expect(0);
    assert_eq!(left(&place), 0, "{:?}", names(&place));
    for name in ["at-work.db", "last.db", "very-last.db"] {
        let database = rusqlite::Connection::open(place.join(name)).unwrap();
        let runs: i64 = database.query_row("SELECT count(*) FROM runs", [], |row| row.get(0)).unwrap();
        assert_eq!(runs, 400, "{name}");
    }
}

#[test]
fn a_full_disk_stops_a_backup_and_nothing_is_left_of_it() {
    let archive = archive_of(400);
    let place = archive.folder().join("backups");
    fs::create_dir(&place).unwrap();
    let size = archive.path().metadata().unwrap().len();
    // Room for half of it, and for nothing.
    for room in [size / 2, 4_096] {
        let Some(_disk) = Mounted::memory(&place, &room.to_string()) else { return };
        let before = files(archive.folder());
        let mut backup = archive.command();
        backup.arg("backup").arg(place.join("copy.db"));
        let told = run(backup).expect(1);
        assert!(told.stderr.contains("the disk is full while writing"), "{}", told.stderr);
        assert!(told.stderr.contains(place.to_str().unwrap()), "{}", told.stderr);
        assert!(told.stderr.contains("make room for a copy"), "{}", told.stderr);
        assert_eq!(names(&place), Vec::<String>::new());
        assert!(files(archive.folder()) == before);
    }
}

#[test]
fn a_full_disk_stops_a_restore_and_the_archive_is_as_it_was() {
    let copy = copy_of(400);
    let archive = Archive::new();
    let Some(disk) = Mounted::memory(archive.folder(), "64m") else { return };
    let emulator = Emulator::start(platform(runs(0, 20))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    let used = archive.path().metadata().unwrap().len();
    for room in [copy.path().metadata().unwrap().len() / 2, 16_384] {
        disk.remount(&format!("size={}", (used + room) / 4_096 * 4_096 + 8_192));
        let before = files(archive.folder());
        let told = restore(&archive, copy.path()).expect(1);
        assert!(told.stderr.contains("the disk is full while writing"), "{}", told.stderr);
        assert!(told.stderr.contains("make room for a copy"), "{}", told.stderr);
        assert!(files(archive.folder()) == before, "{:?}", names(archive.folder()));
    }
    disk.remount("size=64m");
    restore(&archive, copy.path()).expect(0);
    assert_eq!(archive.count("runs"), 400);
}

#[test]
fn an_archive_that_root_restores_is_still_its_owners() {
    let nobody = 65_534;
    let (archive, copy) = (archive_of(20), copy_of(5));
    if archive.folder().metadata().unwrap().uid() != 0 {
        return skip("only root can become another account");
    }
    std::os::unix::fs::chown(archive.path(), Some(nobody), Some(nobody)).unwrap();
    restore(&archive, copy.path()).expect(0);
    let found = archive.path().metadata().unwrap();
    assert_eq!((found.uid(), found.gid(), found.mode() & 0o777), (nobody, nobody, 0o600));
    assert_eq!(archive.count("runs"), 5);
}

#[test]
fn who_may_only_read_an_archive_makes_a_copy_of_it_that_is_theirs() {
    let nobody = 65_534;
    let archive = archive_of(20);
    if archive.folder().metadata().unwrap().uid() != 0 {
        return skip("only root can become another account");
    }
    fs::set_permissions(archive.folder(), fs::Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(archive.path(), fs::Permissions::from_mode(0o644)).unwrap();
    let place = archive.folder().join("theirs");
    fs::create_dir(&place).unwrap();
    std::os::unix::fs::chown(&place, Some(nobody), Some(nobody)).unwrap();
    let copy = place.join("copy.db");
    let mut backup = archive.command();
    backup.arg("backup").arg(&copy).uid(nobody).gid(nobody);
    run(backup).expect(0);
    let found = copy.metadata().unwrap();
    assert_eq!((found.uid(), found.mode() & 0o777), (nobody, 0o600));
    assert_eq!(names(&place), ["copy.db"]);
    assert_eq!(names(archive.folder()), ["archive.db", "theirs"]);
    restore(&archive, &copy).expect(0);
    assert_eq!(archive.count("runs"), 20);
}

#[test]
fn a_backup_of_an_archive_that_is_not_sound_leaves_the_last_sound_copy() {
    let archive = archive_of(20);
    let copy = archive.folder().join("copy.db");
    let backup = |name: &str, arguments: &[&str]| {
        let mut command = archive.command();
        command.arg("backup").arg(archive.folder().join(name)).args(arguments);
        run(command)
    };
    backup("copy.db", &[]).expect(0);
    let before = fs::read(&copy).unwrap();
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database.execute("UPDATE runs SET result = 'Canceled' WHERE run_key = 3", []).unwrap();
    drop(database);
    let told = backup("copy.db", &["--replace"]).expect(3);
    assert!(told.stderr.contains("was left as it is"), "{}", told.stderr);
    assert!(fs::read(&copy).unwrap() == before, "the sound copy was replaced");
    // Under a new name it is kept all the same: it may be the last one.
    backup("other.db", &[]).expect(3);
    assert!(archive.folder().join("other.db").exists());
    let told = backup("archive.db.archive-new", &[]).expect(2);
    assert!(told.stderr.contains("belongs to it"), "{}", told.stderr);
}

#[test]
fn an_archive_of_two_names_is_not_restored_under_one_of_them() {
    let (archive, copy) = (archive_of(20), copy_of(5));
    fs::hard_link(archive.path(), archive.folder().join("other.db")).unwrap();
    restore(&archive, copy.path()).expect(1);
    assert_eq!(archive.count("runs"), 20);
}

#[test]
fn the_log_of_an_archive_that_is_gone_is_kept_under_a_name_that_is_there() {
    let (archive, copy) = (with_log(), copy_of(5));
    fs::remove_file(archive.path()).unwrap();
    let ended = restore(&archive, copy.path()).expect(0);
    let told = ended.json();
    let kept: Vec<&str> =
        told["kept"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    assert!(kept.iter().any(|name| name.ends_with(".damaged-wal")), "{kept:?}");
    for name in &kept {
        assert!(Path::new(name).exists() && ended.stderr.contains(name), "{name}: {}", ended.stderr);
    }
    assert!(!ended.stderr.contains("takes it back"), "{}", ended.stderr);
}

#[test]
fn a_limit_on_file_sizes_is_a_full_disk_for_a_restore_and_a_report_too() {
    let copy = copy_of(5);
    let empty = Archive::new();
    let archive = archive_of(3);
    for words in [
        vec!["restore", copy.path().to_str().unwrap()],
        vec!["report", "--format", "html", "--output", "r.html"],
    ] {
        let place = if words[0] == "restore" { &empty } else { &archive };
        let command = place.command();
        let mut limited = Command::new("sh");
        limited.args(["-c", "ulimit -c 0; ulimit -f 4; exec \"$0\" \"$@\""]);
        limited.arg(command.get_program()).args(&words);
        limited.env_clear().current_dir(place.folder());
        limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let told = run(limited).expect(1).stderr;
        assert!(told.contains("the disk is full") && told.contains("ulimit -f"), "{told}");
        assert_eq!(told.matches("os error").count(), 0, "{told}");
    }
}
