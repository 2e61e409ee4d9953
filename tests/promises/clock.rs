//! A clock that was wrong once, or a sync that was killed, tells nobody that the archive is fresher than it is.

use run_archive::emulator::Emulator;

use crate::common::{Archive, CONNECTION, Ended, platform, run, runs, skip};

/// Far enough ahead that no test machine's clock shows it.
const AHEAD: &str = "2999-12-30T10:00:00.0000000Z";
/// As the report shows it.
const AHEAD_SHOWN: &str = "2999-12-30";

fn ask(archive: &Archive, arguments: &[&str]) -> Ended {
    let mut command = archive.command();
    command.args(arguments);
    run(command)
}

fn alter(archive: &Archive, sql: &str) {
    rusqlite::Connection::open(archive.path()).unwrap().execute_batch(sql).unwrap();
}

/// An archive of two whole walks, the second of which ran while the clock was ahead.
fn walked_ahead() -> (Archive, Emulator, String) {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    let first: String = archive.value("SELECT started_at FROM walks");
    // Something new, or the walk would leave no row.
    emulator
        .platform()
        .connections
        .get_mut(CONNECTION)
        .unwrap()
        .listing
        .push_newest(runs(5, 1).next().unwrap());
    let mut full = archive.sync(&emulator);
    full.arg("--full");
    run(full).expect(0);
    alter(
        &archive,
        &format!(
            "UPDATE walks SET started_at = '{AHEAD}', ended_at = '{AHEAD}' WHERE walk_key = 2;
             UPDATE syncs SET started_at = '{AHEAD}', ended_at = '{AHEAD}', requested_at = '{AHEAD}' WHERE sync_key = 2;
             UPDATE checkpoints SET full_walk_at = '{AHEAD}', quiet_at = NULL;"
        ),
    );
    (archive, emulator, first)
}

#[test]
fn a_walk_that_is_dated_in_the_future_is_no_freshness_and_is_told() {
    let (archive, emulator, first) = walked_ahead();
    let told = ask(&archive, &["status", "--format", "json"]).expect(0).json();
    let connection = &told["connections"][0];
    assert_eq!(connection["complete_as_of"], first.as_str());
    assert_eq!(connection["clock_ahead_at"], AHEAD);
    let told = ask(&archive, &["status"]).expect(0).stdout;
    assert!(told.contains("Bridge: the clock was ahead"), "{told}");
    assert!(told.contains("dated 2999-12-30, which is to come"), "{told}");
    let table = told.split("Bridge:").next().unwrap();
    assert!(!table.contains("in the future"), "{told}");

    let shown = first[..16].replace('T', " ");
    for format in ["text", "markdown", "html", "json"] {
        let told = ask(&archive, &["report", "--format", format]).expect(0).stdout;
        let words = told.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(!words.contains(&format!("whole up to {AHEAD_SHOWN}")), "{words}");
        assert!(words.contains(&shown) || words.contains(&first), "{format}: {words}");
        assert!(words.contains("clock") && words.contains(AHEAD_SHOWN), "{format}: {words}");
    }
    let told = ask(&archive, &["query", "coverage", "--format", "json"]).expect(0).stdout;
    assert!(told.contains(&first) && told.contains("clock_ahead_at"), "{told}");

    // A walk that the clock has right comes after it, whatever the other is dated.
    let mut full = archive.sync(&emulator);
    full.arg("--full");
    run(full).expect(0);
    let told = ask(&archive, &["status", "--format", "json"]).expect(0).json();
    let now = told["connections"][0]["complete_as_of"].as_str().unwrap().to_owned();
    assert!(now > first && now.as_str() < "2900", "{now}");
    assert_eq!(told["connections"][0]["clock_ahead_at"], serde_json::Value::Null);
    assert!(!ask(&archive, &["report"]).stdout.contains("clock was ahead"));
}

#[test]
fn a_full_walk_falls_due_although_the_last_one_is_dated_in_the_future() {
    let (archive, emulator, _) = walked_ahead();
    run(archive.sync(&emulator)).expect(0);
    let due: String = archive.value("SELECT full_walk_at FROM checkpoints");
    assert!(due.as_str() < "2900", "{due}");
    assert_eq!(archive.value::<String>("SELECT kind FROM walks ORDER BY walk_key DESC LIMIT 1"), "full");
}

#[test]
fn a_quiet_answer_that_is_dated_in_the_future_is_no_freshness() {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    alter(&archive, &format!("UPDATE checkpoints SET quiet_at = '{AHEAD}'"));
    let told = ask(&archive, &["status", "--format", "json"]).expect(0).json();
    let first: String = archive.value("SELECT started_at FROM walks");
    assert_eq!(told["connections"][0]["complete_as_of"], first.as_str());
    assert_eq!(told["connections"][0]["clock_ahead_at"], AHEAD);
}

#[test]
fn a_report_that_looks_back_is_the_same_to_the_byte_and_knows_what_was_walked_later() {
    let (archive, emulator, first) = walked_ahead();
    let look_back =
        || ask(&archive, &["report", "--as-of", "2026-01-20", "--format", "json"]).expect(0).stdout;
    assert_eq!(look_back(), look_back());
    // A sync that begins after it, but earlier by its date, proves that the clock was ahead.
    emulator.platform().access.refuse_all = true;
    run(archive.sync(&emulator)).expect(4);
    let told: serde_json::Value = serde_json::from_str(&look_back()).unwrap();
    assert_eq!(told["coverage"]["connections"][0]["complete_as_of"], first.as_str());
    assert_eq!(told["coverage"]["connections"][0]["clock_ahead_at"], AHEAD);
}

#[test]
fn verify_does_not_call_a_run_new_because_a_walk_is_dated_in_the_future() {
    let (archive, emulator, _) = walked_ahead();
    alter(
        &archive,
        "PRAGMA foreign_keys = OFF; DELETE FROM tasks WHERE run_key = 2; DELETE FROM jobs WHERE run_key = 2;
         DELETE FROM runs WHERE run_key = 2",
    );
    let later =
        run_archive::emulator::history::simple_run("later", "2998-01-01T00:00:00Z", "Completed", "Success");
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(later);
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "emulated-token").env("ITP_API_URL", emulator.url());
    command.env("ITP_ISSUER_URL", emulator.url()).args(["verify", "--format", "json"]);
    let told = run(command).expect(3).json();
    assert_eq!(told["connections"][0]["missing"].as_array().unwrap().len(), 1, "{told}");
    assert_eq!(told["connections"][0]["new"], 1, "{told}");
}

#[test]
fn a_sync_that_was_killed_is_interrupted_and_one_that_runs_is_running() {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    alter(&archive, "UPDATE syncs SET outcome = 'running', ended_at = NULL");
    let outcome = || {
        let told = ask(&archive, &["status", "--format", "json"]).expect(0).json();
        told["last_sync"]["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!(outcome(), "interrupted");
    assert!(ask(&archive, &["status"]).expect(0).stdout.contains("last sync: interrupted"));
    let lock = std::fs::File::open(archive.folder().join("archive.db.lock")).unwrap();
    lock.lock().unwrap();
    assert_eq!(outcome(), "running");
    lock.unlock().unwrap();
    assert_eq!(outcome(), "interrupted");
    std::fs::remove_file(archive.folder().join("archive.db.lock")).unwrap();
    assert_eq!(outcome(), "interrupted");
}

/// Runs the command while the clock shows this; `None` where there is no library that shows it.
fn run_at(clock: &str, mut command: std::process::Command) -> Option<Ended> {
    let libraries = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let places = libraries.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let Some(library) = places.into_iter().find(|place| place.exists()) else {
        skip("libfaketime is not installed");
        return None;
    };
    command.env("LD_PRELOAD", library).env("FAKETIME", clock);
    Some(run(command))
}

#[test]
fn a_clock_that_shows_any_time_at_all_ends_no_command_with_a_panic() {
    let archive = Archive::new();
    let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    let asked: [(&[&str], i32); 6] = [
        (&["status"], 0),
        (&["report"], 0),
        (&["query", "coverage"], 0),
        (&["verify", "--offline"], 0),
        (&["demo", "--db", "demo.db"], 1),
        (&["sync", "--connection", "c"], 2),
    ];
    for (clock, is_shown) in [("@1969-12-31 23:00:00", true), ("-3000y", false), ("+9000y", false)] {
        for (arguments, code) in asked {
            let mut command = archive.command();
            // Nothing is asked: the clock is looked at before https is.
            command.env("ITP_ACCESS_TOKEN", "x").env("ITP_API_URL", "https://127.0.0.1:1").args(arguments);
            let Some(ended) = run_at(clock, command) else { return };
            let ended = ended.expect(if is_shown { code } else { 1 });
            assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
            assert_eq!(ended.stderr.contains("the clock of this machine"), !is_shown || code != 0);
            if is_shown && arguments == ["status"] {
                assert!(ended.stdout.contains("Bridge: the clock was ahead"), "{}", ended.stdout);
            }
        }
        let mut json = archive.command();
        json.args(["--log-format", "json", "status", "--db", "missing.db"]);
        let Some(ended) = run_at(clock, json) else { return };
        assert!(ended.expect(1).stderr.contains(r#""time":""#));
        let mut sync = archive.sync(&emulator);
        sync.arg("--full");
        let Some(ended) = run_at(clock, sync) else { return };
        ended.expect(if is_shown { 0 } else { 1 });
    }
    // The right clock again: what was walked under the wrong one is as old as the order of the walks says.
    run(archive.sync(&emulator)).expect(0);
    archive.assert_sound();
}
