//! A disk that is full at the worst moment: in a migration, in the last checkpoint, and while the archive is read.

use std::fs;
use std::path::Path;

use run_archive::emulator::Emulator;

use crate::common::{Archive, platform, run, runs};
use crate::file::Mounted;

/// A page size of the file systems that are mounted here.
const BLOCK: u64 = 4_096;

/// Leaves so many bytes free beside what is used.
fn leave(disk: &Mounted, folder: &Path, free: u64) {
    let used: u64 = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().metadata().unwrap().len().div_ceil(BLOCK) * BLOCK)
        .sum();
    disk.remount(&format!("size={}", used + free.div_ceil(BLOCK) * BLOCK + BLOCK));
}

/// An archive of the first version with many runs.
fn make_first_version(path: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let mut all = refinery::load_sql_migrations(folder).unwrap();
    all.sort_by_key(|migration| migration.version());
    let mut database = rusqlite::Connection::open(path).unwrap();
    database.execute_batch("PRAGMA page_size = 16384; PRAGMA application_id = 0x41524348").unwrap();
    let runner = refinery::Runner::new(&all).set_grouped(true);
    runner.set_target(refinery::Target::Version(1)).run(&mut database).unwrap();
    database
        .execute_batch(
            "INSERT INTO connections (id, first_seen_at) VALUES ('c', '2026-01-01T00:00:00.0000000Z');
             INSERT INTO checkpoints (connection_key, listed) VALUES (1, 20000);
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
             INSERT INTO runs (connection_key, id, state, result, started_at, fingerprint, first_seen_at)
             SELECT 1, 'run-' || i, 'Completed', 'Success', '2026-01-05T00:00:00.0000000Z', randomblob(16),
                    '2026-01-05T00:00:00.0000000Z'
             FROM n;",
        )
        .unwrap();
    database.close().unwrap();
}

#[test]
fn a_migration_that_finds_no_room_leaves_the_archive_as_it_was() {
    let archive = Archive::new();
    let Some(disk) = Mounted::memory(archive.folder(), "64m") else { return };
    make_first_version(&archive.path());
    let page = archive.folder().join("page.json");
    fs::write(&page, r#"{"runs":[],"_links":{"self":{"href":"https://h/export/connections/c/runs"}}}"#)
        .unwrap();
    let migrate = || {
        let mut command = archive.command();
        command.arg("import").arg(&page);
        run(command)
    };
    for room in [300_000, 1_000_000] {
        leave(&disk, archive.folder(), room);
        let told = migrate().expect(1);
        assert!(told.stderr.contains("the disk is full"), "{}", told.stderr);
        disk.remount("size=64m");
        assert_eq!(archive.value::<i64>("SELECT max(version) FROM refinery_schema_history"), 1);
        assert_eq!(archive.count("runs"), 20_000);
    }
    migrate().expect(0);
    assert_eq!(archive.value::<i64>("SELECT count(*) FROM runs WHERE outcome = 'succeeded'"), 20_000);
    archive.assert_sound();
}

#[test]
fn a_checkpoint_that_finds_no_room_loses_nothing() {
    let archive = Archive::new();
    let Some(disk) = Mounted::memory(archive.folder(), "64m") else { return };
    let emulator = Emulator::start(platform(runs(0, 5_000))).unwrap();
    let mut small = archive.sync(&emulator);
    small.args(["--min-free", "0"]);
    // As much as the log takes, so that there is no room for what it holds.
    leave(&disk, archive.folder(), 4 << 20);
    let told = run(small).expect(1);
    assert!(told.stderr.contains("the disk is full"), "{}", told.stderr);
    assert!(told.stderr.contains("make room"), "{}", told.stderr);
    // What was committed is in the log, and every reader finds it there.
    let before = archive.count("runs");
    assert!(before > 0, "nothing was committed before the disk was full");
    disk.remount("size=64m");
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 5_000);
    archive.assert_sound();
}

#[test]
fn an_archive_on_a_full_disk_is_read_and_verified() {
    let archive = Archive::new();
    let Some(disk) = Mounted::memory(archive.folder(), "64m") else { return };
    let emulator = Emulator::start(platform(runs(0, 500))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    leave(&disk, archive.folder(), 0);
    let before = fs::read(archive.path()).unwrap();
    for arguments in [&["status"][..], &["report"], &["query", "coverage"], &["verify", "--offline"]] {
        let mut command = archive.command();
        command.args(arguments);
        run(command).expect(0);
    }
    assert!(fs::read(archive.path()).unwrap() == before);
}
