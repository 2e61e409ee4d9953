//! `archive status` and `archive demo`: what a newcomer and an administrator look at.

use run_archive::emulator::{Emulator, history};

use crate::common::{Archive, CONNECTION, platform, run, run_in_state, run_of_json, runs};

#[test]
fn status_tells_per_connection_what_is_archived_and_what_is_not() {
    let mut all: Vec<_> = runs(0, 20).collect();
    all.push(run_in_state(20, "Executing", "Undetermined"));
    all.push(run_of_json("dirty", "", "{}"));
    let emulator = Emulator::start(platform(all)).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(3);
    let status = |arguments: &[&str]| {
        let mut status = archive.command();
        status.arg("status").args(arguments);
        run(status).expect(0)
    };
    let told = status(&["--format", "json"]).json();
    let connection = &told["connections"][0];
    assert_eq!(connection["id"], CONNECTION);
    assert_eq!(connection["display_name"], "Bridge");
    assert_eq!((connection["runs"].as_u64(), connection["unfinished"].as_u64()), (Some(21), Some(1)));
    assert_eq!((connection["rejects"].as_u64(), connection["unlisted_runs"].as_u64()), (Some(1), Some(0)));
    assert_eq!(connection["newest_started_at"], "2026-01-05T00:20:00.0000000Z");
    assert_eq!(told["last_sync"]["outcome"], "partial");
    let text = status(&[]).stdout;
    for words in ["Bridge", "21", "1 record set aside", "last sync: partial"] {
        assert!(text.contains(words), "{words} in {text}");
    }
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
    assert!(text.is_ascii(), "{text}");
}

#[test]
fn status_of_an_unknown_connection_is_a_usage_error() {
    let emulator = Emulator::start(platform(runs(0, 1))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let mut status = archive.command();
    status.args(["status", "--connection", "other"]);
    run(status).expect(2);
}

#[test]
fn names_from_the_platform_cannot_write_to_the_terminal() {
    let mut platform = platform(runs(0, 1));
    platform.connections.get_mut(CONNECTION).unwrap().display_name = "\u{1b}[2Jevil\u{202e}\u{7}".to_owned();
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let mut status = archive.command();
    status.arg("status");
    let told = run(status).expect(0).stdout;
    assert!(told.contains("evil") && !told.contains(['\u{1b}', '\u{202e}', '\u{7}']), "{told:?}");
}

#[test]
fn what_a_command_says_is_markdown_where_that_is_asked_for() {
    let mut platform = platform(runs(0, 3));
    platform.connections.get_mut(CONNECTION).unwrap().display_name = "a|b <i>".to_owned();
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let mut sync = archive.sync(&emulator);
    sync.args(["--format", "markdown"]);
    let mut estimate = archive.sync(&emulator);
    estimate.args(["--estimate", "--format", "markdown"]);
    let of_archive = |arguments: &[&str]| {
        let mut command = archive.command();
        command.args(arguments).args(["--format", "markdown"]);
        command
    };

    let synced = run(sync).expect(0).stdout;
    assert!(synced.starts_with("**done: 1 connection, 3 runs listed"), "{synced}");
    assert!(synced.contains("| connection | listed | new |"), "{synced}");
    assert!(run(estimate).expect(0).stdout.contains("- A first sync takes"), "the cost is told");
    let status = run(of_archive(&["status"])).expect(0).stdout;
    assert!(status.contains("| a\\|b &lt;i&gt; | 3 | 0 |"), "{status}");
    let verified = run(of_archive(&["verify", "--offline"])).expect(0).stdout;
    assert!(verified.starts_with("- the file is sound: "), "{verified}");
    let pruned = run(of_archive(&["prune", "--older-than", "1d", "--runs"])).expect(0).stdout;
    assert!(pruned.contains("| runs | "), "{pruned}");
}

#[test]
fn the_demo_needs_nothing_and_leaves_the_archive_where_it_says() {
    let archive = Archive::new();
    let mut demo = archive.command();
    demo.env_remove("ARCHIVE_DB").env("TMPDIR", archive.folder()).arg("demo");
    let told = run(demo).expect(0);
    assert_eq!(told.stderr, "");
    assert!(told.stdout.contains("First sync:") && told.stdout.contains("A week later:"), "{}", told.stdout);
    let path = archive.folder().join("archive-demo-1/archive.db");
    assert!(told.stdout.contains(path.to_str().unwrap()), "{}", told.stdout);
    let database = rusqlite::Connection::open(path).unwrap();
    let count = |sql: &str| database.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert!(count("SELECT count(*) FROM runs") > 1_000);
    assert_eq!(count("SELECT count(*) FROM syncs WHERE outcome = 'done'"), 2);
    assert!(count("SELECT count(*) FROM revisions") > 0, "the platform moved on in between");
    // The report of that week, with what went wrong in it.
    let said = told.stdout.replace("\n  ", " ");
    assert!(said.contains("To do: 1 thing to fix, yours: Riverside Hospital"), "{said}");
    assert!(said.contains(", SavedViewNotFound, since "), "{said}");
    // What it says to type works as it stands.
    let shown: String = told.stdout.split_once("sqlite3 -box ").unwrap().1.to_owned();
    let sql = shown.split('"').nth(1).unwrap();
    assert!(count(&format!("SELECT count(*) FROM ({sql})")) > 3);
}

#[test]
fn the_demo_never_writes_into_a_file_that_exists() {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, 3))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    let before = std::fs::read(archive.path()).unwrap();
    let mut demo = archive.command();
    demo.arg("demo").arg("--db").arg(archive.path());
    run(demo).expect(2);
    assert!(std::fs::read(archive.path()).unwrap() == before);
    // Nor is a demo put where the environment says that real data is kept.
    let mut demo = archive.command();
    demo.env("TMPDIR", archive.folder()).arg("demo");
    run(demo).expect(0);
    assert!(std::fs::read(archive.path()).unwrap() == before);
}

#[test]
fn a_reader_that_leaves_ends_nothing_badly() {
    let archive = Archive::new();
    let now = "2026-03-02T09:00:00Z".parse().unwrap();
    let emulator = Emulator::start(history::platform(now, 5)).unwrap();
    let mut sync = archive.sync(&emulator);
    sync.args(["--format", "json"]);
    let mut child =
        sync.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let told = crate::common::ended(child.wait_with_output().unwrap());
    assert!(!told.stderr.contains("panicked"), "{}", told.stderr);
}
