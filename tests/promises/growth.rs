//! The file grows with what is new, not with how often nothing is.

use std::process::Command;

use crate::common::{Archive, CONNECTION, platform, run, run_in_state, run_of_json, runs};
use run_archive::emulator::{Answer, Emulator, On, Scripted};

fn size(archive: &Archive) -> u64 {
    archive.path().metadata().unwrap().len()
}

fn full(archive: &Archive, emulator: &Emulator) -> Command {
    let mut sync = archive.sync(emulator);
    sync.arg("--full");
    sync
}

fn fail(emulator: &Emulator, skip: u64) {
    emulator.platform().faults.script =
        vec![Scripted::always(On::ListRunsAt { skip }, Answer::Documented(403))];
}

fn mend(emulator: &Emulator) {
    emulator.platform().faults.script.clear();
}

#[test]
fn two_hundred_quiet_syncs_leave_no_walks_and_hardly_any_bytes() {
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let before = size(&archive);
    let began: String = archive.value("SELECT started_at FROM walks");
    for number in 0..200 {
        let sync = if number % 20 == 0 { full(&archive, &emulator) } else { archive.sync(&emulator) };
        run(sync).expect(0);
    }
    assert_eq!(archive.count("walks"), 1);
    assert_eq!(archive.count("syncs"), 201);
    let grown = size(&archive) - before;
    // Their own rows: 200 of about 150 bytes, in pages of 16 KiB.
    assert!(grown <= 64 << 10, "{grown} bytes");
    let fresh: String = archive.value("SELECT complete_as_of FROM connection_coverage");
    let last: String = archive.value("SELECT started_at FROM syncs ORDER BY sync_key DESC LIMIT 1");
    assert!(fresh > last && last > began, "{began} {last} {fresh}");
    let mut status = archive.command();
    status.args(["status", "--format", "json"]);
    let status = run(status).expect(0).json();
    assert_eq!(status["connections"][0]["complete_as_of"], fresh);
    assert_eq!(status["connections"][0]["runs"], 30);
}

#[test]
fn a_walk_that_brings_anything_leaves_its_row() {
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let listing = |change: &dyn Fn(&mut run_archive::emulator::Listing)| {
        change(&mut emulator.platform().connections.get_mut(CONNECTION).unwrap().listing);
    };
    let mut walks = 1;
    let mut check = |what: &str| {
        run(full(&archive, &emulator)).expect(0);
        walks += 1;
        assert_eq!(archive.count("walks"), walks, "{what}");
        assert_eq!(archive.count("checkpoints WHERE quiet_at IS NULL"), 1, "{what}");
        run(full(&archive, &emulator)).expect(0);
        assert_eq!(archive.count("walks"), walks, "nothing after {what}");
        assert_eq!(archive.count("checkpoints WHERE quiet_at IS NOT NULL"), 1, "{what}");
    };
    listing(&|listing| listing.push_newest(run_in_state(30, "Completed", "Success")));
    check("a new run");
    listing(&|listing| assert!(listing.replace(run_in_state(3, "Completed", "Error"))));
    check("a changed run");
    listing(&|listing| drop(listing.remove_id("run-00003")));
    check("a run that is gone");
    listing(&|listing| listing.push_oldest(run_in_state(3, "Completed", "Error")));
    check("a run that is back");
}

#[test]
fn failures_of_one_kind_are_one_row_and_are_over_once_nothing_is_wrong() {
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let problem = || archive.value::<Option<String>>("SELECT last_problem FROM connection_coverage");
    fail(&emulator, 0);
    for times in 1..4 {
        run(archive.sync(&emulator)).expect(1);
        assert_eq!(archive.count("walks"), 2);
        assert_eq!(archive.value::<i64>("SELECT times FROM walks WHERE NOT complete"), times);
        assert!(problem().unwrap().contains("403"), "{:?}", problem());
    }
    mend(&emulator);
    run(archive.sync(&emulator)).expect(0);
    assert_eq!((archive.count("walks"), problem()), (2, None));
    fail(&emulator, 0);
    run(archive.sync(&emulator)).expect(1);
    assert!(problem().unwrap().contains("403"));
    assert_eq!(archive.value::<i64>("SELECT times FROM walks WHERE NOT complete"), 4);
    // Another reason is another row.
    emulator.platform().faults.script =
        vec![Scripted::always(On::ListRunsAt { skip: 0 }, Answer::Documented(404))];
    run(archive.sync(&emulator)).expect(1);
    assert_eq!(archive.count("walks"), 3);
}

#[test]
fn an_interrupted_walk_is_not_taken_up_again_once_a_quiet_one_has_passed_it() {
    let mut platform = platform(runs(0, 200));
    platform.faults.page_cap = Some(20);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    fail(&emulator, 97);
    emulator.platform().faults.script =
        (90..110).map(|skip| Scripted::always(On::ListRunsAt { skip }, Answer::Documented(403))).collect();
    run(full(&archive, &emulator)).expect(3);
    assert_eq!(archive.count("walks WHERE checkpoint IS NOT NULL"), 1);
    mend(&emulator);
    run(full(&archive, &emulator)).expect(0);
    assert_eq!(archive.count("walks WHERE checkpoint IS NOT NULL"), 0);
    assert_eq!(archive.count("walk_runs"), 0);
    emulator.clear_requests();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(emulator.requests().len(), 1, "{:?}", emulator.requests());
}

#[test]
fn a_walk_that_was_cut_short_makes_one_full_walk_due_and_not_one_at_every_sync() {
    let mut platform = platform(runs(0, 100));
    platform.faults.page_cap = Some(20);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    runs(100, 190).for_each(|fresh| {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(fresh);
    });
    // All that is new comes, and then the page that would say so does not.
    emulator.platform().faults.script =
        (190..240).map(|skip| Scripted::always(On::ListRunsAt { skip }, Answer::Documented(403))).collect();
    run(archive.sync(&emulator)).expect(3);
    assert_eq!(archive.count("runs"), 290);
    assert_eq!(archive.count("walks WHERE kind = 'incremental' AND NOT complete AND pages >= 8"), 1);
    mend(&emulator);
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("checkpoints WHERE quiet_at = full_walk_at"), 1);
    emulator.clear_requests();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(emulator.requests().len(), 1, "{:?}", emulator.requests());
}

#[test]
fn the_same_rejected_text_counts_up_and_leaves_no_walks() {
    let broken = run_of_json("broken", "2026-01-04T12:00:00Z", r#"{"state":"Completed"}"#);
    let emulator = Emulator::start(platform([broken].into_iter().chain(runs(0, 5)))).unwrap();
    let archive = Archive::new();
    for times in 1..4 {
        let mut sync = archive.sync(&emulator);
        sync.args(["--format", "json"]);
        let told = run(sync).expect(3).json();
        assert_eq!(told["rejected"], 1);
        assert_eq!(archive.column::<i64>("SELECT times FROM rejects"), [times]);
        let seen = archive.value::<bool>("SELECT last_seen_at > rejected_at IS 1 FROM rejects");
        assert_eq!(seen, times > 1);
    }
    assert_eq!(archive.count("walks"), 1);
}

#[test]
fn at_the_most_that_is_set_aside_the_walk_is_incomplete_and_says_so() {
    let emulator = Emulator::start(platform(runs(0, 5))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let fill = "WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 10000)
                INSERT INTO rejects (connection_key, rejected_at, version, reason, raw, fingerprint)
                SELECT 1, '2020-01-01T00:00:00.0000000Z', '0.1.0', 'no run', 'x' || n, randomblob(16) FROM numbers";
    database.execute_batch(fill).unwrap();
    drop(database);
    for number in ["1", "2"] {
        let broken = format!(r#"{{"state":"Completed","number":{number}}}"#);
        let broken = run_of_json("broken", "2026-01-05T12:00:00Z", &broken);
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(broken);
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(run_in_state(
            1_000 + number.parse::<u64>().unwrap(),
            "Completed",
            "Success",
        ));
        let told = run(archive.sync(&emulator)).expect(3);
        assert!(told.stderr.contains("records set aside have reached 10000"), "{}", told.stderr);
        assert!(told.stderr.contains("archive prune"), "{}", told.stderr);
    }
    assert_eq!(archive.count("rejects"), 10_000);
    assert_eq!(archive.count("runs"), 7, "its neighbours are stored");
    assert_eq!(archive.count("walks WHERE reason LIKE '%have reached 10000%'"), 2);
    // Room is made, and the walk is whole again.
    let mut prune = archive.command();
    prune.args(["prune", "--older-than", "1y", "--yes", "--no-backup"]);
    run(prune).expect(0);
    run(archive.sync(&emulator)).expect(3);
    assert_eq!(archive.count("rejects"), 2);
    assert_eq!(archive.count("connection_coverage WHERE last_problem IS NULL"), 1);
}

/// A run with a signed link in fields that nobody announced, of the run and of its task's error.
fn linked(path: &str, signature: u32) -> run_archive::emulator::Run {
    let link = format!("https://store.example/{path}?sv=1&sig={signature}");
    let json = serde_json::json!({
        "id": "linked", "state": "Completed", "result": "Error",
        "startDateTime": "2026-01-05T12:00:00Z", "_links": {"log": {"href": link}},
        "jobs": [{"id": "j", "tasks": [{"id": "t", "error": {"errorCode": "e", "traces": [link]}}]}],
    });
    run_of_json("linked", "2026-01-05T12:00:00Z", &json.to_string())
}

#[test]
fn a_signed_link_is_kept_as_last_sent_and_makes_no_revision_but_another_place_does() {
    let emulator = Emulator::start(platform(runs(0, 5).chain([linked("log", 1)]))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let sync = |run_now| {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(run_now);
        let mut sync = full(&archive, &emulator);
        sync.args(["--format", "json"]);
        run(sync).expect(0).json()
    };
    for signature in 2..4 {
        let told = sync(linked("log", signature));
        assert_eq!((&told["changed"], &told["unchanged"]), (&0.into(), &6.into()), "{told}");
        for table in ["runs", "errors"] {
            let extra: String = archive.value(&format!("SELECT extra FROM {table} WHERE extra LIKE '%sig%'"));
            assert!(extra.contains(&format!("sig={signature}")), "{extra}");
        }
    }
    assert_eq!((archive.count("revisions"), archive.count("walks")), (0, 1));
    let notes =
        "SELECT object || ' ' || field || ' ' || runs FROM drift WHERE what = 'volatile' ORDER BY object";
    assert_eq!(archive.column::<String>(notes), ["error traces 1", "run _links 1"]);
    let mut status = archive.command();
    status.arg("status");
    let told = run(status).expect(0).stdout;
    let drift = "the URLs in the field traces of error objects differ in every answer";
    assert!(told.contains(drift), "{told}");
    let mut offline = archive.command();
    offline.args(["verify", "--offline"]);
    run(offline).expect(0);
    // What the platform lists now has other links again, and is no difference.
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(linked("log", 9));
    let mut verify = archive.sync(&emulator);
    verify = {
        let mut command = archive.command();
        command
            .envs(verify.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned()))));
        command.arg("verify");
        command
    };
    run(verify).expect(0);
    // A dry run does not call it a change either.
    let mut dry = full(&archive, &emulator);
    dry.args(["--dry-run", "--format", "json"]);
    assert_eq!(run(dry).expect(0).json()["changed"], 0);
    let told = sync(linked("elsewhere", 4));
    assert_eq!(told["changed"], 1);
    let before: String = archive.value("SELECT content FROM revisions");
    assert!(before.contains("store.example/log?sv=1&sig=3"), "{before}");
    archive.assert_sound();
}

#[test]
fn links_that_move_in_a_thousand_runs_cost_no_trees() {
    let many = |signature: u32| {
        (0..1_000).map(move |number| {
            let mut json: serde_json::Value = serde_json::from_str(&linked("log", signature).json).unwrap();
            json["id"] = format!("run-{number:05}").into();
            run_of_json(&format!("run-{number:05}"), "2026-01-05T12:00:00Z", &json.to_string())
        })
    };
    let emulator = Emulator::start(platform(many(1))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let places =
        "SELECT group_concat(run_key || ' ' || id) FROM (SELECT run_key, id FROM tasks ORDER BY run_key)";
    let before: String = archive.value(places);
    let grown = size(&archive);
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing = many(2).collect();
    let mut sync = full(&archive, &emulator);
    sync.args(["--format", "json"]);
    let told = run(sync).expect(0).json();
    // One more: pages overlap by a run.
    assert_eq!((&told["changed"], &told["listed"], &told["rejected"]), (&0.into(), &1_000.into(), &0.into()));
    assert_eq!(archive.count("runs WHERE extra LIKE '%sig=2%'"), 1_000);
    assert_eq!(archive.count("errors WHERE extra LIKE '%sig=2%'"), 1_000);
    assert_eq!(archive.value::<String>(places), before);
    assert!(size(&archive) <= grown + (64 << 10), "{} bytes more", size(&archive) - grown);
}
