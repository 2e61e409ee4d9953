//! Listings that lie: the walk ends, and says what it could not prove.

use run_archive::emulator::{Answer, Emulator, Links, On, Order, Scripted};

use crate::common::{Archive, CONNECTION, platform, platform_in_order, run, run_in_state, run_of_json, runs};

#[test]
fn a_platform_that_ignores_or_limits_skip_does_not_loop_and_is_not_called_complete() {
    for (name, ignores, clamps, wraps) in
        [("ignores", true, None, false), ("limits", false, Some(100), false), ("wraps", false, None, true)]
    {
        let mut platform = platform(runs(0, 300));
        platform.faults.page_cap = Some(50);
        platform.faults.links = Links::NextAlways;
        platform.faults.ignore_skip = ignores;
        platform.faults.clamp_skip = clamps;
        platform.faults.wrap_skip = wraps;
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        let told = run(archive.sync(&emulator)).expect(3);
        assert!(told.stderr.contains("not proved complete"), "{name}: {}", told.stderr);
        assert!(emulator.requests().len() < 30, "{name}: {} requests", emulator.requests().len());
        assert_eq!(archive.column::<i64>("SELECT complete FROM walks"), [0], "{name}");
        assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 0, "{name}");
        archive.assert_sound();
    }
}

#[test]
fn a_right_count_with_an_id_twice_is_not_complete() {
    let mut all: Vec<_> = runs(0, 120).collect();
    // Far apart, so that no page overlaps by it.
    all[110] = run_in_state(10, "Completed", "Success");
    let mut platform = platform(all);
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let told = run(archive.sync(&emulator)).expect(3);
    assert!(told.stderr.contains("met at two places"), "{}", told.stderr);
    assert_eq!(archive.value::<i64>("SELECT complete FROM walks"), 0);
    assert_eq!(archive.count("runs"), 119);
}

#[test]
fn a_listing_in_another_order_for_each_request_is_stored_but_never_called_complete_when_it_is_not() {
    for seed in 0..10 {
        let mut platform = platform_in_order(Order::Reshuffled, runs(seed * 1_000, 200));
        platform.faults.page_cap = Some(50);
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        let code = run(archive.sync(&emulator)).code;
        let is_complete = archive.value::<i64>("SELECT complete FROM walks") == 1;
        assert!(!is_complete || archive.count("runs") == 200);
        assert_eq!(code, Some(if is_complete { 0 } else { 3 }));
    }
}

#[test]
fn a_listing_whose_order_changed_is_walked_whole_once_more() {
    for (before, after) in
        [(Order::NewestFirst, Order::OldestFirst), (Order::OldestFirst, Order::NewestFirst)]
    {
        let mut platform = platform_in_order(before, runs(0, 300));
        platform.faults.page_cap = Some(50);
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        run(archive.sync(&emulator)).expect(0);
        {
            let mut platform = emulator.platform();
            let connection = platform.connections.get_mut(CONNECTION).unwrap();
            connection.order = after;
            runs(300, 5).for_each(|fresh| connection.listing.push_newest(fresh));
            connection.listing.remove_id("run-00009");
        }
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(archive.count("runs"), 305);
        assert_eq!(archive.column::<String>("SELECT kind FROM walks"), ["full", "full"]);
        assert_eq!(
            archive.column::<String>("SELECT id FROM runs WHERE unlisted_at IS NOT NULL"),
            ["run-00009"]
        );
        let word = if after == Order::NewestFirst { "newest first" } else { "oldest first" };
        assert_eq!(archive.value::<String>("SELECT listing_order FROM checkpoints"), word);
    }
}

#[test]
fn a_known_run_is_no_stop_sign_after_an_interrupted_incremental_sync() {
    let mut platform = platform(runs(0, 300));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    {
        let mut platform = emulator.platform();
        let listing = &mut platform.connections.get_mut(CONNECTION).unwrap().listing;
        runs(300, 130).for_each(|fresh| listing.push_newest(fresh));
        // The newest page comes, the next one never does.
        platform.faults.script = vec![Scripted::always(On::ListRunsAt { skip: 49 }, Answer::Documented(403))];
    }
    run(archive.sync(&emulator)).expect(3);
    assert_eq!(archive.count("runs"), 350);
    emulator.platform().faults.script.clear();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 430, "what lies behind known runs was fetched too");
}

#[test]
fn the_newest_runs_do_not_wait_for_a_page_that_cannot_be_had() {
    let mut platform = platform(runs(0, 300));
    platform.faults.page_cap = Some(50);
    platform.faults.script = vec![Scripted::always(On::ListRunsAt { skip: 147 }, Answer::NotJson)];
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(3);
    runs(300, 60).for_each(|fresh| {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(fresh);
    });
    emulator.platform().faults.script = vec![Scripted::always(On::ListRunsAt { skip: 207 }, Answer::NotJson)];
    run(archive.sync(&emulator)).expect(3);
    assert_eq!(archive.count("runs WHERE id >= 'run-00300'"), 60);
    emulator.platform().faults.script.clear();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 360);
    assert_eq!(archive.count("connection_coverage WHERE last_problem IS NULL AND complete_as_of > ''"), 1);
}

#[test]
fn an_answer_that_is_no_page_is_never_taken_for_an_empty_listing() {
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    for body in ["{}", r#"{"error":null}"#, r#"{"runs":"none"}"#] {
        let answer = Answer::Raw { body: body.to_owned() };
        emulator.platform().faults.script = vec![Scripted::always(On::ListRuns, answer)];
        run(archive.sync(&emulator)).expect(1);
        assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 0, "{body}");
    }
    // Nor is an empty listing, while the connection itself still names a last run.
    let answer = Answer::Raw { body: r#"{"runs":null,"_links":{}}"#.to_owned() };
    emulator.platform().faults.script = vec![Scripted::always(On::ListRuns, answer)];
    let told = run(archive.sync(&emulator)).expect(3);
    assert!(told.stderr.contains("lists no run"), "{}", told.stderr);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 0);
    emulator.platform().faults.script.clear();
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing = runs(0, 0).collect();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 30);
}

/// An archive of runs 0 to 499 whose next full walk was stopped half way.
fn archive_with_an_interrupted_walk(emulator: &Emulator) -> Archive {
    let archive = Archive::new();
    run(archive.sync(emulator)).expect(0);
    emulator.platform().faults.script =
        vec![Scripted::always(On::ListRunsAt { skip: 245 }, Answer::Documented(403))];
    let mut full = archive.sync(emulator);
    full.args(["--full", "--pages-in-flight", "1"]);
    run(full).expect(3);
    emulator.platform().faults.script.clear();
    archive
}

#[test]
fn runs_that_began_while_a_full_walk_was_interrupted_are_not_taken_for_unlisted() {
    for order in [Order::NewestFirst, Order::OldestFirst] {
        let mut platform = platform_in_order(order, runs(0, 500));
        platform.faults.page_cap = Some(50);
        let emulator = Emulator::start(platform).unwrap();
        let archive = archive_with_an_interrupted_walk(&emulator);
        {
            let mut platform = emulator.platform();
            let listing = &mut platform.connections.get_mut(CONNECTION).unwrap().listing;
            runs(500, 80).for_each(|fresh| listing.push_newest(fresh));
            listing.remove_id("run-00400");
            listing.remove_id("run-00007");
        }
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(archive.count("runs"), 580);
        // What was walked before the interruption was listed then; the next full walk sees to it.
        let unlisted = archive.column::<String>("SELECT id FROM runs WHERE unlisted_at IS NOT NULL");
        let expected = if order == Order::NewestFirst { "run-00007" } else { "run-00400" };
        assert_eq!(unlisted, [expected], "{order:?}");
        assert_eq!(archive.count("walk_runs"), 0);
        assert_eq!(archive.value::<i64>("SELECT listed FROM checkpoints"), 579);
    }
}

#[test]
fn a_listed_record_that_became_unreadable_is_not_taken_for_unlisted() {
    let mut platform = platform(runs(0, 100));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    for json in [r#"{"id":"run-00005","a":1,"a":2}"#, r#"{"id":5}"#] {
        let broken = run_of_json("run-00005", "2026-01-05T00:05:00Z", json);
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(broken);
        let mut full = archive.sync(&emulator);
        full.arg("--full");
        run(full).expect(3);
        assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 0, "{json}");
    }
}

#[test]
fn a_gap_is_recorded_although_the_walk_that_saw_it_was_interrupted() {
    let mut platform = platform(runs(0, 100));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    {
        let mut platform = emulator.platform();
        platform.connections.get_mut(CONNECTION).unwrap().listing = runs(500, 300).collect();
        platform.faults.script = vec![Scripted::always(On::ListRunsAt { skip: 98 }, Answer::Documented(403))];
    }
    run(archive.sync(&emulator)).expect(3);
    emulator.platform().faults.script.clear();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.column::<String>("SELECT after FROM gaps"), ["2026-01-05T01:39:00.0000000Z"]);
}

#[test]
fn a_platform_that_refuses_every_page_size_for_an_hour_is_forgiven() {
    let mut platform = platform(runs(0, 300));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    emulator.platform().faults.script = vec![Scripted::always(On::ListRuns, Answer::Documented(422))];
    run(archive.sync(&emulator)).expect(1);
    assert!(
        emulator.requests().iter().all(|request| request.top != Some(1)),
        "one run a page proves nothing"
    );
    emulator.platform().faults.script.clear();
    runs(300, 60).for_each(|fresh| {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(fresh);
    });
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 360);
}

#[test]
fn one_run_that_cannot_be_had_does_not_keep_the_others_waiting() {
    let mut platform = platform(runs(0, 300));
    platform.faults.page_cap = Some(50);
    let odd = r#"{"id":"..","state":"Executing","startDateTime":"2026-01-05T00:03:00Z"}"#;
    {
        let listing = &mut platform.connections.get_mut(CONNECTION).unwrap().listing;
        listing.replace(run_in_state(9, "Executing", "Undetermined"));
        listing.push_oldest(run_of_json("..", "2026-01-04T00:00:00Z", odd));
    }
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let done = run_in_state(9, "Completed", "Success");
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(done);
    run(archive.sync(&emulator)).expect(3);
    assert_eq!(archive.value::<String>("SELECT state FROM runs WHERE id = 'run-00009'"), "Completed");
}

#[test]
fn news_that_do_not_fit_into_one_sync_arrive_in_several() {
    let mut platform = platform(runs(0, 100));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    runs(100, 3_000).for_each(|fresh| {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(fresh);
    });
    // Each sync is stopped some twenty pages further on than the one before could begin.
    let mut syncs = 0;
    while archive.count("runs") < 3_100 {
        syncs += 1;
        assert!(syncs < 12, "{} runs after {syncs} syncs", archive.count("runs"));
        let stop = Scripted::always(On::ListRuns, Answer::Documented(403)).after(20);
        emulator.platform().faults.script = vec![stop];
        let code = run(archive.sync(&emulator)).code;
        assert!(matches!(code, Some(0 | 3)), "{code:?}");
    }
    emulator.platform().faults.script.clear();
    run(archive.sync(&emulator)).expect(0);
}
