//! The first moments of an archive, and what its name may lead to: whoever is killed leaves nothing that is
//! refused for ever, and what is no file of its own is refused at once.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use run_archive::emulator::Emulator;

use crate::common::{Archive, Ended, beside, fixture, names, platform, run, runs, skip};
use crate::interruption::{Running, wait_until};

/// Processes killed in their first moments, and the longest of these.
const KILLS: u32 = 60;
const FIRST_MOMENTS_MICROS: u64 = 120_000;

/// A saved page outside the archive's folder.
struct Page(tempfile::TempDir);

impl Page {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("page.json"), fixture("list-runs-200.json")).unwrap();
        Self(folder)
    }

    fn path(&self) -> PathBuf {
        self.0.path().join("page.json")
    }
}

fn import(archive: &Archive, page: &Page) -> Command {
    let mut command = archive.command();
    command.arg("import").arg(page.path());
    command
}

fn status(archive: &Archive) -> Ended {
    let mut command = archive.command();
    command.arg("status");
    run(command)
}

/// The command, ended with 124 where it takes longer than any refusal.
fn at_once(command: &Command) -> Command {
    let mut limited = Command::new("timeout");
    limited.arg("30").arg(command.get_program()).args(command.get_args()).stdin(Stdio::null());
    limited.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.current_dir(command.get_current_dir().unwrap());
    limited
}

#[test]
fn whoever_is_killed_in_the_first_moments_leaves_nothing_that_is_refused() {
    let page = Page::new();
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let mut unfinished = 0;
    for number in 0..KILLS {
        let archive = Archive::new();
        let mut killed = import(&archive, &page).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(random.u64(..FIRST_MOMENTS_MICROS)));
        killed.kill().unwrap();
        killed.wait().unwrap();
        let left = names(archive.folder());
        println!("{number}: {left:?}");
        if !archive.path().exists() && left.len() > 1 {
            unfinished += 1;
        }
        // What has the archive's name is one, whole, at every moment.
        let seen = status(&archive);
        match archive.path().exists() {
            true => assert_eq!(seen.code, Some(0), "{}", seen.stderr),
            false => assert!(seen.stderr.contains("there is no archive"), "{}", seen.stderr),
        }
        run(import(&archive, &page)).expect(0);
        status(&archive).expect(0);
        assert_eq!(names(archive.folder()), ["archive.db", "archive.db.lock"]);
        assert_eq!(archive.value::<i32>("PRAGMA application_id"), 0x4152_4348);
    }
    assert!(unfinished > 0, "no kill met an archive that was being made; the test shows nothing");
}

/// An archive of the migrations alone, made as an earlier version did that was killed before it had signed it.
fn unsigned(archive: &Archive) -> rusqlite::Connection {
    let mut database = rusqlite::Connection::open(archive.path()).unwrap();
    database.execute_batch("PRAGMA page_size = 16384").unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    let migrations = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let migrations = refinery::load_sql_migrations(migrations).unwrap();
    refinery::Runner::new(&migrations).set_grouped(true).run(&mut database).unwrap();
    database
}

#[test]
fn an_archive_that_an_earlier_version_left_unsigned_is_one() {
    let page = Page::new();
    for is_in_log in [false, true] {
        println!("in the log: {is_in_log}");
        let made = Archive::new();
        let database = unsigned(&made);
        let archive = Archive::new();
        if is_in_log {
            for ending in ["", "-wal"] {
                fs::copy(beside(&made.path(), ending), beside(&archive.path(), ending)).unwrap();
            }
            assert!(fs::metadata(archive.path()).unwrap().len() <= 16_384, "the tables are in the file");
        } else {
            database.close().unwrap();
            fs::copy(made.path(), archive.path()).unwrap();
        }
        status(&archive).expect(0);
        run(import(&archive, &page)).expect(0);
        status(&archive).expect(0);
        assert_eq!(archive.value::<i32>("PRAGMA application_id"), 0x4152_4348);
        archive.assert_sound();
    }
}

#[test]
fn an_unsigned_database_of_someone_else_is_left_as_it_is() {
    let page = Page::new();
    let made = Archive::new();
    let database = rusqlite::Connection::open(made.path()).unwrap();
    database.pragma_update(None, "journal_mode", "WAL").unwrap();
    let theirs = "CREATE TABLE refinery_schema_history (version INTEGER, name TEXT, checksum TEXT);
                  INSERT INTO refinery_schema_history VALUES (1, 'archive', 'of something else')";
    database.execute_batch(theirs).unwrap();
    let archive = Archive::new();
    for ending in ["", "-wal"] {
        fs::copy(beside(&made.path(), ending), beside(&archive.path(), ending)).unwrap();
    }
    let before = ["", "-wal"].map(|ending| fs::read(beside(&archive.path(), ending)).unwrap());
    for ended in [run(import(&archive, &page)), status(&archive)] {
        let ended = ended.expect(1);
        assert!(ended.stderr.contains("not an archive"), "{}", ended.stderr);
    }
    assert_eq!(before, ["", "-wal"].map(|ending| fs::read(beside(&archive.path(), ending)).unwrap()));
    assert_eq!(names(archive.folder()), ["archive.db", "archive.db-wal"]);
}

#[test]
fn a_first_change_that_was_broken_off_is_taken_back_and_the_archive_made_anew() {
    let page = Page::new();
    let archive = Archive::new();
    // As an earlier version left them that was killed in its first change: a signed page, and a journal that
    // says that there was none before.
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database.execute_batch("PRAGMA page_size = 16384; PRAGMA application_id = 0x41524348").unwrap();
    database.close().unwrap();
    assert_eq!(fs::metadata(archive.path()).unwrap().len(), 16_384);
    let mut journal = vec![0_u8; 512];
    journal[..8].copy_from_slice(&[0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7]);
    journal[20..24].copy_from_slice(&512_u32.to_be_bytes());
    journal[24..28].copy_from_slice(&16_384_u32.to_be_bytes());
    fs::write(beside(&archive.path(), "-journal"), journal).unwrap();
    run(import(&archive, &page)).expect(0);
    status(&archive).expect(0);
    assert_eq!(names(archive.folder()), ["archive.db", "archive.db.lock"]);
    assert_eq!(archive.value::<i32>("PRAGMA application_id"), 0x4152_4348);
    assert_eq!(archive.value::<i64>("PRAGMA page_size"), 16_384);
    archive.assert_sound();
}

#[test]
fn an_empty_file_becomes_an_archive_and_stays_as_readable_as_it_was() {
    let page = Page::new();
    for mode in [0o600, 0o640, 0o644] {
        let archive = Archive::new();
        fs::write(archive.path(), "").unwrap();
        fs::set_permissions(archive.path(), fs::Permissions::from_mode(mode)).unwrap();
        run(import(&archive, &page)).expect(0);
        assert_eq!(fs::metadata(archive.path()).unwrap().permissions().mode() & 0o777, mode);
        assert_eq!(names(archive.folder()), ["archive.db", "archive.db.lock"]);
        archive.assert_sound();
    }
}

#[test]
fn a_link_leads_to_the_archive_also_before_it_is_made() {
    let page = Page::new();
    let archive = Archive::new();
    let data = archive.folder().join("data");
    fs::create_dir(&data).unwrap();
    symlink("data/real.db", archive.path()).unwrap();
    run(import(&archive, &page)).expect(0);
    run(import(&archive, &page)).expect(0);
    status(&archive).expect(0);
    assert!(archive.path().is_symlink());
    assert_eq!(names(&data), ["real.db", "real.db.lock"]);
}

#[test]
fn a_log_whose_database_is_gone_is_kept_and_never_put_into_a_new_one() {
    let page = Page::new();
    let made = Archive::new();
    let database = unsigned(&made);
    let archive = Archive::new();
    fs::copy(beside(&made.path(), "-wal"), beside(&archive.path(), "-wal")).unwrap();
    drop(database);
    let log = fs::read(beside(&archive.path(), "-wal")).unwrap();
    let ended = run(import(&archive, &page)).expect(0);
    assert!(ended.stderr.contains("archive.db-wal.orphan-1"), "{}", ended.stderr);
    assert_eq!(fs::read(beside(&archive.path(), "-wal.orphan-1")).unwrap(), log);
    assert_eq!(archive.count("runs"), 1);
    archive.assert_sound();
}

#[test]
fn a_name_that_means_something_else_to_sqlite_is_a_name() {
    let page = Page::new();
    for name in ["file:a.db?mode=memory", ":memory:", "file:%61.db", "a b#?.db"] {
        println!("{name}");
        let archive = Archive::new();
        let with_name = |words: &[&str]| {
            let mut command = archive.command();
            command.env_remove("ARCHIVE_DB").args(words).args(["--db", name]);
            run(command).expect(0)
        };
        with_name(&["import", page.path().to_str().unwrap()]);
        with_name(&["status"]);
        with_name(&["report"]);
        let counted = with_name(&["query", "--sql", "SELECT count(*) AS n FROM runs", "--format", "csv"]);
        assert_eq!(counted.stdout.lines().nth(1), Some("1"));
        assert_eq!(names(archive.folder()), [name.to_owned(), format!("{name}.lock")]);
    }
}

#[test]
fn a_database_with_several_names_is_read_but_not_written() {
    let page = Page::new();
    let archive = Archive::new();
    run(import(&archive, &page)).expect(0);
    let other = archive.folder().join("other.db");
    fs::hard_link(archive.path(), &other).unwrap();
    for path in [archive.path(), other.clone()] {
        let mut command = import(&archive, &page);
        command.arg("--db").arg(&path);
        let refused = run(command).expect(1);
        assert!(refused.stderr.contains("has 2 names (hard links)"), "{}", refused.stderr);
        assert!(refused.stderr.contains("hint: "), "{}", refused.stderr);
        let mut command = archive.command();
        command.arg("status").arg("--db").arg(&path);
        run(command).expect(0);
    }
    fs::remove_file(other).unwrap();
    run(import(&archive, &page)).expect(0);
}

#[test]
fn a_lock_file_is_a_file_of_its_own_or_the_archive_is_not_written() {
    let page = Page::new();
    let archive = Archive::new();
    let lock = beside(&archive.path(), ".lock");
    let precious = archive.folder().join("precious");
    fs::write(&precious, "worth keeping\n").unwrap();
    type Lay = fn(&Path, &Path);
    let lay: [(&str, Lay); 4] = [
        ("is a link", |precious, lock| symlink(precious, lock).unwrap()),
        ("is a link", |_, lock| symlink("/nowhere/at/all", lock).unwrap()),
        ("has other names", |precious, lock| fs::hard_link(precious, lock).unwrap()),
        ("no regular file", |_, lock| assert!(Command::new("mkfifo").arg(lock).status().unwrap().success())),
    ];
    for (words, lay) in lay {
        lay(&precious, &lock);
        let refused = run(at_once(&import(&archive, &page))).expect(1);
        assert!(refused.stderr.contains(words), "{}", refused.stderr);
        assert!(refused.stderr.contains(lock.to_str().unwrap()), "{}", refused.stderr);
        assert_eq!(fs::read_to_string(&precious).unwrap(), "worth keeping\n");
        assert!(!archive.path().exists());
        fs::remove_file(&lock).unwrap();
    }
    run(import(&archive, &page)).expect(0);
}

#[test]
fn a_lock_file_that_root_makes_belongs_to_the_owner_of_the_archive() {
    const SOMEBODY: u32 = 65_534;
    let archive = Archive::new();
    let page = Page::new();
    run(import(&archive, &page)).expect(0);
    if fs::metadata(archive.path()).unwrap().uid() != 0 {
        skip("this process is not root");
        return;
    }
    chown(archive.path(), Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    let lock = beside(&archive.path(), ".lock");
    let owner = || fs::metadata(&lock).map(|found| (found.uid(), found.gid(), found.mode() & 0o777)).unwrap();
    // One that was made before, and one that is not there yet.
    run(import(&archive, &page)).expect(0);
    assert_eq!(owner(), (SOMEBODY, SOMEBODY, 0o600));
    fs::remove_file(&lock).unwrap();
    run(import(&archive, &page)).expect(0);
    assert_eq!(owner(), (SOMEBODY, SOMEBODY, 0o600));
}

#[test]
fn a_pipe_or_device_in_the_archives_place_is_refused_at_once() {
    let page = Page::new();
    let archive = Archive::new();
    assert!(Command::new("mkfifo").arg(archive.path()).status().unwrap().success());
    let socket = archive.folder().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for path in [archive.path(), socket, "/dev/null".into(), "/dev/zero".into()] {
        for words in [["import", page.path().to_str().unwrap()].as_slice(), &["status"], &["report"]] {
            let mut command = archive.command();
            command.args(words).arg("--db").arg(&path);
            let refused = run(at_once(&command)).expect(1);
            assert!(refused.stderr.contains("is not a SQLite database"), "{}", refused.stderr);
        }
        assert!(!beside(&path, ".lock").exists());
    }
}

#[test]
fn a_pipe_or_device_to_import_is_refused_at_once_and_what_the_shell_gives_is_read() {
    let page = Page::new();
    let archive = Archive::new();
    let pipe = archive.folder().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for path in [pipe.as_path(), Path::new("/dev/zero"), Path::new("/dev/null"), archive.folder()] {
        let mut command = archive.command();
        command.arg("import").arg(path);
        let refused = run(at_once(&command)).expect(1);
        assert!(refused.stderr.contains("no regular file"), "{}", refused.stderr);
        assert!(refused.stderr.contains(path.to_str().unwrap()), "{}", refused.stderr);
    }
    let page = page.path();
    for words in ["- < PAGE", "/dev/stdin < PAGE", "/dev/fd/3 3< PAGE", "/proc/self/fd/3 3< PAGE"] {
        let archive = Archive::new();
        let mut command = archive.command();
        let line = format!("cat PAGE | \"$0\" import {words}").replace("PAGE", page.to_str().unwrap());
        let program = command.get_program().to_owned();
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().env("PATH", "/usr/bin:/bin").env("ARCHIVE_DB", archive.path());
        command = shell;
        command.arg("-c").arg(line).arg(program).current_dir(archive.folder());
        run(at_once(&command)).expect(0);
        assert_eq!(archive.count("runs"), 1, "{words}");
    }
    // A pipe on a descriptor, as `<(…)` gives one.
    for name in ["-", "/dev/stdin"] {
        let archive = Archive::new();
        let mut command = archive.command();
        command.args(["import", name]).stdin(Stdio::piped());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), &fs::read(&page).unwrap()).unwrap();
        crate::common::ended(child.wait_with_output().unwrap()).expect(0);
        assert_eq!(archive.count("runs"), 1, "{name}");
    }
}

#[test]
fn where_locks_do_nothing_the_archive_is_not_written() {
    let page = Page::new();
    let archive = Archive::new();
    // A C library whose locks always succeed, as those of some network file systems do.
    let source = archive.folder().join("lockless.c");
    let library = archive.folder().join("lockless.so");
    fs::write(&source, "int flock(int fd, int how) { (void)fd; (void)how; return 0; }\n").unwrap();
    let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    if !compiled.is_ok_and(|status| status.success()) {
        skip("there is no C compiler");
        return;
    }
    let mut command = import(&archive, &page);
    command.env("LD_PRELOAD", &library);
    let refused = run(command).expect(1);
    assert!(refused.stderr.contains("lets two hold the lock"), "{}", refused.stderr);
    assert!(refused.stderr.contains("hint: keep the database on a local disk"), "{}", refused.stderr);
    assert!(!archive.path().exists());
    // What is there may be read.
    run(import(&archive, &page)).expect(0);
    let mut command = archive.command();
    command.arg("status").env("LD_PRELOAD", &library);
    run(command).expect(0);
}

#[test]
fn a_sync_that_holds_the_archive_is_named_to_the_second() {
    let archive = Archive::new();
    let mut first = archive.command();
    // Standard input that does not end keeps the import at work: its first page is stored.
    let page = Page::new();
    first.arg("import").arg(page.path()).arg("-").stdin(Stdio::piped());
    let first = Running::spawn(first);
    wait_until("the archive", || archive.path().exists());
    wait_until("the lock's holder", || {
        fs::read_to_string(beside(&archive.path(), ".lock")).is_ok_and(|text| !text.trim().is_empty())
    });
    let second = run(import(&archive, &page)).expect(5);
    assert!(second.stderr.contains(&format!("(process {})", first.id())), "{}", second.stderr);
    first.kill();
    run(import(&archive, &page)).expect(0);
}

#[test]
fn a_journal_whose_database_is_gone_is_kept_for_it() {
    let archive = Archive::new();
    let journal = archive.folder().join("archive.db-journal");
    fs::write(&journal, b"what makes a database whole that was moved away").unwrap();
    let emulator = Emulator::start(platform(runs(0, 3))).unwrap();
    let told = run(archive.sync(&emulator)).expect(0);
    assert!(told.stderr.contains("archive.db-journal.orphan-1"), "{}", told.stderr);
    let kept = fs::read(archive.folder().join("archive.db-journal.orphan-1")).unwrap();
    assert_eq!(kept, b"what makes a database whole that was moved away");
}

#[test]
fn a_pipe_that_nobody_uses_is_refused_at_once_as_settings_and_as_output() {
    let page = Page::new();
    let archive = Archive::new();
    run(import(&archive, &page)).expect(0);
    let pipe = archive.folder().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for (words, code, reason) in [
        (["report", "--output", "pipe"].as_slice(), 1, "named pipe"),
        (&["query", "coverage", "--output", "pipe"], 1, "named pipe"),
        (&["status", "--config", "pipe"], 2, "no regular file"),
    ] {
        let mut command = archive.command();
        command.args(words);
        let refused = run(at_once(&command)).expect(code);
        assert!(refused.stderr.contains(reason) && refused.stderr.contains("pipe"), "{}", refused.stderr);
    }
    for words in ["report --output /dev/stdout", "report --output /dev/null", "status --config /dev/null"] {
        let mut command = archive.command();
        let line = format!("\"$0\" {words} | cat");
        let program = command.get_program().to_owned();
        command = shell(&archive, &line, &program);
        let told = run(command).expect(0);
        assert_eq!(
            told.stdout.is_empty(),
            words.contains("/dev/null") && words.contains("output"),
            "{words}"
        );
    }
    // Standard output may be any pipe, and so may what the shell opened.
    for words in ["> pipe", "--output /dev/fd/3 3> pipe"] {
        let line = format!("cat pipe & \"$0\" report {words}; code=$?; wait; exit $code");
        let program = archive.command().get_program().to_owned();
        let told = run(shell(&archive, &line, &program)).expect(0);
        assert!(!told.stdout.is_empty(), "{words}: {}", told.stderr);
    }
}

/// A line for the shell, with the environment of the archive's own commands.
fn shell(archive: &Archive, line: &str, program: &std::ffi::OsStr) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", line]).arg(program).current_dir(archive.folder()).env("HOME", archive.folder());
    command.env("ARCHIVE_DB", archive.path()).stdin(std::process::Stdio::null());
    command
}

#[test]
fn what_is_in_the_way_of_a_new_archive_is_named() {
    let page = Page::new();
    let archive = Archive::new();
    let thing = beside(&archive.path(), ".archive-new");
    fs::create_dir(&thing).unwrap();
    let told = run(import(&archive, &page)).expect(1).stderr;
    assert!(told.contains(&format!("{} is in the way", thing.display())), "{told}");
    assert!(told.contains("rename it or remove it"), "{told}");
    fs::remove_dir(&thing).unwrap();
    run(import(&archive, &page)).expect(0);
}

#[test]
fn settings_of_another_account_that_may_not_be_read_end_only_what_needs_them() {
    let page = Page::new();
    let archive = Archive::new();
    run(import(&archive, &page)).expect(0);
    if !rustix::process::geteuid().is_root() || fs::metadata("/root").unwrap().mode() & 0o077 != 0 {
        return skip("only root can become another account that may not enter root's home");
    }
    const SOMEBODY: u32 = 65_534;
    for path in [archive.folder().to_owned(), archive.path(), beside(&archive.path(), ".lock")] {
        chown(path, Some(SOMEBODY), Some(SOMEBODY)).unwrap();
    }
    let as_somebody = |words: &[&str]| {
        let mut command = archive.command();
        std::os::unix::process::CommandExt::uid(&mut command, SOMEBODY);
        command.env("HOME", "/root").env("ITP_ACCESS_TOKEN", "x").args(words);
        command
    };
    let told = run(as_somebody(&["status"])).expect(0);
    assert!(told.stderr.contains("may not be read"), "{}", told.stderr);
    // Where the archive is, and what is synced from where, may stand in them.
    let mut unnamed = as_somebody(&["status"]);
    unnamed.env_remove("ARCHIVE_DB");
    for command in [unnamed, as_somebody(&["sync", "--connection", "c"])] {
        let told = run(command).expect(2);
        assert!(
            told.stderr.contains("reading settings") && told.stderr.contains("--config"),
            "{}",
            told.stderr
        );
    }
    let mut named = as_somebody(&["status"]);
    named.env("ARCHIVE_CONFIG", "/root/archive.toml");
    run(named).expect(2);
}
