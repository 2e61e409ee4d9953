//! Listings that lie: the walk ends, and says what it could not prove.

use run_archive::emulator::{Answer, Emulator, Links, On, Order, Scripted};

use crate::common::{Archive, CONNECTION, platform, platform_in_order, run, run_in_state, runs};

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
    assert_eq!(archive.value::<i64>("SELECT complete FROM walks ORDER BY walk_key DESC LIMIT 1"), 1);
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
    let answer = Answer::Raw { body: r#"{"runs":null,"_links":{}}"#.to_owned() };
    emulator.platform().faults.script = vec![Scripted::always(On::ListRuns, answer)];
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 30);
}
