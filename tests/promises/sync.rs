//! What a sync stores, asks and says, where nothing goes wrong.

use run_archive::emulator::{Emulator, Links, Order, history};
use serde_json::Value;

use crate::common::{
    Archive, CONNECTION, fixture, platform, platform_in_order, run, run_in_state, run_of_json, runs,
};

fn requests_of(archive: &Archive, emulator: &Emulator) -> usize {
    emulator.clear_requests();
    run(archive.sync(emulator)).expect(0);
    emulator.requests().len()
}

#[test]
fn every_run_of_a_long_listing_is_stored_in_either_order() {
    for order in [Order::NewestFirst, Order::OldestFirst, Order::Shuffled] {
        for links in [Links::WellFormed, Links::AsPublished, Links::Absent] {
            let mut platform = platform_in_order(order, runs(0, 333));
            platform.faults.page_cap = Some(50);
            platform.faults.links = links;
            let emulator = Emulator::start(platform).unwrap();
            let archive = Archive::new();
            let told = run({
                let mut sync = archive.sync(&emulator);
                sync.args(["--format", "json"]);
                sync
            })
            .expect(0)
            .json();
            assert_eq!((told["listed"].as_u64(), told["new"].as_u64()), (Some(333), Some(333)), "{order:?}");
            assert_eq!(
                (archive.count("runs"), archive.count("jobs"), archive.count("tasks")),
                (333, 333, 333)
            );
            assert_eq!(archive.column::<i64>("SELECT complete FROM walks"), [1]);
            archive.assert_sound();
        }
    }
}

#[test]
fn a_second_sync_with_nothing_new_changes_no_row_and_asks_once() {
    for order in [Order::NewestFirst, Order::OldestFirst, Order::Shuffled] {
        for links in [Links::WellFormed, Links::AsPublished, Links::Absent] {
            for count in [1, 2, 49, 50, 51, 333] {
                let mut platform = platform_in_order(order, runs(0, count));
                platform.faults.page_cap = Some(50);
                platform.faults.links = links.clone();
                let emulator = Emulator::start(platform).unwrap();
                let archive = Archive::new();
                run(archive.sync(&emulator)).expect(0);
                let before = archive.dump();
                // What is shuffled has no end to look at: whether anything began is asked of the connection.
                assert_eq!(requests_of(&archive, &emulator), 1, "{order:?} {links:?} {count}");
                assert_eq!(archive.dump(), before);
            }
        }
    }
}

#[test]
fn new_runs_cost_about_their_pages_whatever_the_history_holds() {
    for order in [Order::NewestFirst, Order::OldestFirst] {
        for history in [200, 3_000] {
            let mut platform = platform_in_order(order, runs(0, history));
            platform.faults.page_cap = Some(50);
            let emulator = Emulator::start(platform).unwrap();
            let archive = Archive::new();
            run(archive.sync(&emulator)).expect(0);
            let mut first = history;
            for new in [1, 49, 120] {
                for fresh in runs(first, new) {
                    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(fresh);
                }
                first += new;
                let requests = requests_of(&archive, &emulator) as u64;
                assert!(
                    requests <= new.div_ceil(49) + 1,
                    "{order:?}: {requests} requests for {new} new runs"
                );
                assert_eq!(archive.count("runs") as u64, first);
            }
        }
    }
}

#[test]
fn a_shuffled_listing_is_walked_whole_when_something_began() {
    let mut platform = platform_in_order(Order::Shuffled, runs(0, 333));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    for fresh in runs(333, 3) {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_newest(fresh);
    }
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 336);
}

#[test]
fn the_published_sample_is_archived_with_its_malformed_links() {
    let page: Value = serde_json::from_str(&fixture("list-runs-200.json")).unwrap();
    let sent = page["runs"][0].to_string();
    let mut platform = platform([run_of_json(
        "75d94fca-4a9b-4ff0-8f3a-eeedbc1fea97",
        "2023-09-14T12:00:06.8727565Z",
        &sent,
    )]);
    platform.faults.links = Links::AsPublished;
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.value::<String>("SELECT started_at FROM jobs"), "2023-09-14T12:00:09.8010860Z");
    assert_eq!(archive.value::<i64>("SELECT duration_ms FROM runs"), 424_541);
    assert_eq!(archive.value::<i64>("SELECT bridge_exit_code FROM errors"), -7002);
    let reader = run_archive::store::Reader::open(&archive.path()).unwrap();
    let rebuilt = run_archive::normalize::rebuild(&reader.read_run(1).unwrap());
    assert_eq!(serde_json::from_str::<Value>(&rebuilt).unwrap(), page["runs"][0]);
}

#[test]
fn an_unfinished_run_is_followed_until_it_completes_wherever_it_stands() {
    for order in [Order::NewestFirst, Order::OldestFirst, Order::Shuffled] {
        let mut platform = platform_in_order(order, runs(0, 300));
        platform.faults.page_cap = Some(50);
        // Deep in the listing, where no later sync comes by.
        platform.connections.get_mut(CONNECTION).unwrap().listing.replace(run_in_state(
            150,
            "Executing",
            "Undetermined",
        ));
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(archive.count("runs WHERE state = 'Executing'"), 1);
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(run_in_state(
            150,
            "Completed",
            "Error",
        ));
        let requests = requests_of(&archive, &emulator);
        assert_eq!(
            archive.value::<String>("SELECT result FROM runs WHERE id = 'run-00150'"),
            "Error",
            "{order:?}"
        );
        assert_eq!(requests, 2, "one for news, one for the run itself: {order:?}");
        let content: String = archive.value("SELECT content FROM revisions");
        assert!(content.contains("Executing"), "what a change replaced is kept: {content}");
        assert_eq!(requests_of(&archive, &emulator), 1, "a completed run is not asked for again");
    }
}

#[test]
fn an_unfinished_run_that_answers_404_is_noted_and_not_asked_for_again() {
    let mut platform = platform(runs(0, 300));
    platform.faults.page_cap = Some(50);
    platform.connections.get_mut(CONNECTION).unwrap().listing.replace(run_in_state(
        5,
        "Executing",
        "Undetermined",
    ));
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.remove_id("run-00005");
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs WHERE id = 'run-00005' AND unlisted_at IS NOT NULL"), 1);
    assert_eq!(requests_of(&archive, &emulator), 1);
}

#[test]
fn a_run_that_left_the_listing_stays_archived_and_may_come_back() {
    for count in [30, 300] {
        let mut platform = platform(runs(0, count));
        platform.faults.page_cap = Some(50);
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        run(archive.sync(&emulator)).expect(0);
        let gone = emulator
            .platform()
            .connections
            .get_mut(CONNECTION)
            .unwrap()
            .listing
            .remove_id("run-00007")
            .unwrap();
        let mut full = archive.sync(&emulator);
        full.arg("--full");
        run(full).expect(0);
        let unlisted = "SELECT id FROM runs WHERE unlisted_at IS NOT NULL";
        assert_eq!(archive.column::<String>(unlisted), ["run-00007"]);
        assert_eq!((archive.count("runs") as u64, archive.count("tasks") as u64), (count, count));
        emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.push_oldest(gone);
        let mut full = archive.sync(&emulator);
        full.arg("--full");
        run(full).expect(0);
        assert_eq!(archive.column::<String>(unlisted).len(), 0);
        assert_eq!(archive.value::<i64>("SELECT listed FROM checkpoints") as u64, count);
    }
}

#[test]
fn a_listing_on_one_page_is_checked_for_missing_runs_by_every_sync() {
    let emulator = Emulator::start(platform(runs(0, 30))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.remove_id("run-00007");
    assert_eq!(requests_of(&archive, &emulator), 1);
    assert_eq!(archive.column::<String>("SELECT id FROM runs WHERE unlisted_at IS NOT NULL"), ["run-00007"]);
}

#[test]
fn runs_that_may_have_come_and_gone_between_two_syncs_are_recorded_as_a_gap() {
    let mut platform = platform(runs(0, 100));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing = runs(500, 120).collect();
    let told = run(archive.sync(&emulator)).expect(0);
    assert!(told.stderr.contains("may have come and gone unseen"), "{}", told.stderr);
    assert_eq!(archive.column::<String>("SELECT after FROM gaps"), ["2026-01-05T01:39:00.0000000Z"]);
    assert_eq!(archive.column::<String>("SELECT until FROM gaps"), ["2026-01-05T08:20:00.0000000Z"]);
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("gaps"), 1, "a gap is recorded once");
    assert_eq!(archive.count("runs"), 220);
}

#[test]
fn a_full_walk_comes_by_itself_when_it_is_due() {
    let mut platform = platform(runs(0, 300));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    // A finished run that changed afterwards: only a full walk comes by.
    emulator.platform().connections.get_mut(CONNECTION).unwrap().listing.replace(run_in_state(
        3,
        "Completed",
        "Error",
    ));
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs WHERE result = 'Error'"), 0);
    std::fs::write(archive.folder().join("often.toml"), "full_every = \"0s\"\n").unwrap();
    let mut sync = archive.sync(&emulator);
    sync.args(["--config", "often.toml"]);
    run(sync).expect(0);
    assert_eq!(archive.count("runs WHERE result = 'Error'"), 1);
    // The one between brought nothing, and left no row.
    assert_eq!(archive.column::<String>("SELECT kind FROM walks"), ["full", "full"]);
}

#[test]
fn a_short_answer_never_erases_a_full_one() {
    let emulator = Emulator::start(platform(runs(0, 60))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let before = archive.dump();
    emulator.platform().faults.minimal = true;
    let mut full = archive.sync(&emulator);
    full.arg("--full");
    run(full).expect(0);
    assert_eq!(archive.dump(), before);
}

#[test]
fn records_that_are_no_runs_are_set_aside_and_the_runs_beside_them_stored() {
    let dirty = [r#"{"state":"Completed"}"#, r#"{"id":7}"#, "null", r#"[1,2]"#, r#"{"id":"x","a":1,"a":2}"#];
    let mut all: Vec<_> = runs(0, 20).collect();
    for (at, json) in dirty.iter().enumerate() {
        all.insert(at * 3, run_of_json(&format!("dirty-{at}"), "", json));
    }
    let emulator = Emulator::start(platform(all)).unwrap();
    let archive = Archive::new();
    for _ in 0..2 {
        let told = run(archive.sync(&emulator)).expect(3);
        assert!(told.stderr.contains("5 records could not be read"), "{}", told.stderr);
        assert_eq!((archive.count("runs"), archive.count("rejects")), (20, 5));
    }
    let mut raw = archive.column::<String>("SELECT raw FROM rejects");
    raw.sort();
    let mut expected = dirty.to_vec();
    expected.sort_unstable();
    assert_eq!(raw, expected);
    let (received, sum): (i64, i64) =
        (25, archive.value("SELECT new + rejected FROM syncs WHERE sync_key = 1"));
    assert_eq!(received, sum);
}

#[test]
fn odd_values_are_given_back_exactly() {
    let odd = r#"{"id":"odd","state":"Sublimated","result":null,"startDateTime":"02/15/2022 08:24:45","endDateTime":"0001-01-01T00:00:00Z","progress":1.0,"big":98765432109876543210,"jobs":[{"id":"j","tasks":[{"id":"t","retryAttempts":"two","error":null}]},{"id":"k","tasks":null}]}"#;
    let emulator = Emulator::start(platform([run_of_json("odd", "", odd)])).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.value::<Option<String>>("SELECT started_at FROM runs"), None);
    assert_eq!(
        archive.value::<String>("SELECT json_extract(extra, '$.startDateTime') FROM runs"),
        "02/15/2022 08:24:45"
    );
    let reader = run_archive::store::Reader::open(&archive.path()).unwrap();
    let rebuilt = run_archive::normalize::rebuild(&reader.read_run(1).unwrap());
    for exact in [r#""big":98765432109876543210"#, r#""progress":1.0"#, r#""result":null"#, r#""tasks":null"#]
    {
        assert!(rebuilt.contains(exact), "{exact} in {rebuilt}");
    }
    assert_eq!(serde_json::from_str::<Value>(&rebuilt).unwrap(), serde_json::from_str::<Value>(odd).unwrap());
}

#[test]
fn a_dry_run_tells_what_would_come_and_writes_nothing() {
    let mut platform = platform(runs(0, 300));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let dry_run = || {
        let mut sync = archive.sync(&emulator);
        sync.args(["--dry-run", "--format", "json"]);
        run(sync).expect(0).json()
    };
    let told = dry_run();
    assert_eq!((told["new"].as_u64(), told["dry_run"].as_bool()), (Some(300), Some(true)));
    assert!(!archive.path().exists());
    run(archive.sync(&emulator)).expect(0);
    let bytes = std::fs::read(archive.path()).unwrap();
    {
        let mut platform = emulator.platform();
        let listing = &mut platform.connections.get_mut(CONNECTION).unwrap().listing;
        listing.replace(run_in_state(299, "Completed", "Error"));
        runs(300, 4).for_each(|fresh| listing.push_newest(fresh));
    }
    let told = dry_run();
    assert_eq!((told["new"].as_u64(), told["changed"].as_u64()), (Some(4), Some(1)));
    assert!(std::fs::read(archive.path()).unwrap() == bytes, "the file is untouched");
}

#[test]
fn several_connections_are_synced_side_by_side_even_one_that_begins_with_a_dash() {
    let mut platform = platform(runs(0, 120));
    let dashed = "-bZHoBhrnkGrAev0-_-d_xwvyrzjgaVGka5wU967Q7M";
    let other = platform.connections[CONNECTION].clone();
    platform.connections.insert(dashed.to_owned(), other);
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let mut sync = archive.sync(&emulator);
    sync.args(["--connection", dashed, "--connection", CONNECTION]);
    run(sync).expect(0);
    let runs: Vec<i64> = archive.column("SELECT count(*) FROM runs GROUP BY connection_key");
    assert_eq!(runs, [120, 120], "the same run ids under two connections are different runs");
    let mut names = archive.column::<String>("SELECT id FROM connections");
    names.sort();
    assert_eq!(names, [dashed, CONNECTION]);
}

#[test]
fn a_cron_job_says_one_line_and_quiet_says_nothing() {
    let emulator = Emulator::start(platform(runs(0, 12))).unwrap();
    let archive = Archive::new();
    let told = run(archive.sync(&emulator)).expect(0);
    assert_eq!(told.stdout, "");
    assert_eq!(told.stderr.lines().count(), 1, "{}", told.stderr);
    assert!(
        told.stderr.starts_with("done: 1 connection, 12 runs listed, 12 new, 0 changed; "),
        "{}",
        told.stderr
    );
    let mut quiet = archive.sync(&emulator);
    quiet.arg("-q");
    let told = run(quiet).expect(0);
    assert_eq!((told.stdout.as_str(), told.stderr.as_str()), ("", ""));
}

#[test]
fn the_believable_history_of_the_demo_is_archived_field_by_field() {
    let now = "2026-03-02T09:00:00Z".parse().unwrap();
    let emulator = Emulator::start(history::platform(now, 5)).unwrap();
    let archive = Archive::new();
    let connections: Vec<_> = emulator
        .platform()
        .connections
        .iter()
        .map(|(id, connection)| (id.clone(), connection.listing.clone()))
        .collect();
    let mut sync = archive.command();
    sync.env("ITP_ACCESS_TOKEN", "emulated-token").env("ITP_API_URL", emulator.url()).arg("sync");
    for (id, _) in &connections {
        sync.args(["--connection", id]);
    }
    run(sync).expect(0);
    let reader = run_archive::store::Reader::open(&archive.path()).unwrap();
    for (id, listing) in connections {
        for sent in listing.iter() {
            let sql = format!(
                "SELECT run_key FROM runs JOIN connections USING (connection_key) WHERE connections.id = '{id}' AND runs.id = '{}'",
                sent.id
            );
            let rebuilt = run_archive::normalize::rebuild(&reader.read_run(archive.value(&sql)).unwrap());
            assert_eq!(
                serde_json::from_str::<Value>(&rebuilt).unwrap(),
                serde_json::from_str::<Value>(&sent.json).unwrap()
            );
        }
    }
}
