//! No run is missed silently: whatever order a listing turns out to have, whatever a connection says of its
//! last run, in whatever letters its id is typed, and whichever page cannot be had.

use std::time::Duration;

use run_archive::emulator::{
    Answer, Connection, Emulator, Imodel, Itwin, Links, On, Order, Platform, Scripted,
};

use crate::common::{Archive, CONNECTION, Ended, platform_in_order, run, runs, sync};

const ITWIN: &str = "5e4b8a92-30cd-4f6e-9d0c-1f2a3b4c5d6e";
const IMODEL: &str = "a0471655-6b18-419e-ab01-ebf4fbff9dff";
const OTHER_IMODEL: &str = "b1582766-7c29-42af-bc12-fc05ac00ae00";
const UUID: &str = "6b1f0c52-7d1e-4f0a-9a51-0d5f3f6c2b11";
const LINKS: [Links; 3] = [Links::WellFormed, Links::AsPublished, Links::Absent];

#[track_caller]
fn sync_imodel(archive: &Archive, emulator: &Emulator, code: i32) -> Ended {
    run(sync(archive, emulator, &["--imodel", IMODEL])).expect(code)
}

/// Changes the one connection that the platform has.
fn change(emulator: &Emulator, change: impl FnOnce(&mut Connection)) {
    change(emulator.platform().connections.values_mut().next().unwrap());
}

fn begin(connection: &mut Connection, number: u64) {
    runs(number, 1).for_each(|run| connection.listing.push_newest(run));
}

/// What a list of connections, and the connection itself, say of the last run: a link's text, or `null`.
fn name_last_run(emulator: &Emulator, last_run: &str) {
    let connection = format!(
        r#"{{"id":"{CONNECTION}","iModelId":"{IMODEL}","displayName":"Bridge","_links":{{"lastRun":{last_run}}}}}"#
    );
    let list = format!(r#"{{"connections":[{connection}],"_links":{{}}}}"#);
    emulator.platform().faults.script = vec![
        Scripted::always(On::ListConnections, Answer::Raw { body: list }),
        Scripted::always(
            On::GetConnection,
            Answer::Raw { body: format!(r#"{{"connection":{connection}}}"#) },
        ),
    ];
}

fn link(run: &str) -> String {
    format!(r#"{{"href":"https://api.bentley.com/export/connections/{CONNECTION}/runs/{run}"}}"#)
}

#[test]
fn a_short_listing_that_turned_round_hides_no_run() {
    for links in LINKS {
        let mut platform = platform_in_order(Order::OldestFirst, runs(0, 2));
        platform.faults.links = links.clone();
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        run(archive.sync(&emulator)).expect(0);
        // [A, B], the oldest first, becomes [C, B], the newest first.
        change(&emulator, |connection| {
            connection.order = Order::NewestFirst;
            connection.listing.remove_id("run-00000");
            begin(connection, 2);
        });
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(archive.count("runs"), 3, "{links:?}");
    }
}

#[test]
fn a_short_listing_in_no_order_loses_no_run_at_any_sync() {
    for links in LINKS {
        let mut platform = platform_in_order(Order::Shuffled, runs(0, 1));
        platform.faults.links = links.clone();
        // Its last run is not told.
        platform.faults.script = vec![Scripted::always(On::GetConnection, Answer::Documented(403))];
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        run(archive.sync(&emulator)).expect(0);
        for number in 1..9 {
            change(&emulator, |connection| begin(connection, number));
            run(archive.sync(&emulator)).expect(0);
            assert_eq!(archive.count("runs") as u64, number + 1, "{links:?}");
        }
    }
}

#[test]
fn a_long_listing_that_turned_round_hides_no_run_behind_its_last_one() {
    for links in LINKS {
        let mut platform = platform_in_order(Order::OldestFirst, runs(0, 60));
        platform.faults.page_cap = Some(10);
        platform.faults.links = links.clone();
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        run(archive.sync(&emulator)).expect(0);
        // The run that was the last still is, at the same place; all before it are new.
        change(&emulator, |connection| {
            connection.order = Order::NewestFirst;
            (0..59).for_each(|_| drop(connection.listing.remove(0)));
            (60..119).for_each(|number| begin(connection, number));
        });
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(archive.count("runs"), 119, "{links:?}");
    }
}

#[test]
fn runs_dropped_from_the_head_of_an_oldest_first_listing_make_no_sync_walk_it_whole() {
    let mut platform = platform_in_order(Order::OldestFirst, runs(0, 400));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    for (dropped, begun) in [(1, 0), (3, 1), (5, 0), (20, 2)] {
        change(&emulator, |connection| {
            (0..dropped).for_each(|_| drop(connection.listing.remove(0)));
            (0..begun).for_each(|number| begin(connection, 1_000 * dropped + number));
        });
        emulator.clear_requests();
        run(archive.sync(&emulator)).expect(0);
        let requests = emulator.requests().len();
        assert!(requests <= 3, "{requests} requests after {dropped} runs were dropped");
    }
    assert_eq!(archive.count("runs"), 403);
    assert_eq!(archive.count("walks WHERE kind = 'full'"), 1);
}

#[test]
fn a_last_run_that_the_listing_lacks_is_archived_by_its_id_and_told() {
    let mut platform = platform_in_order(Order::NewestFirst, runs(0, 30));
    platform.connections.get_mut(CONNECTION).unwrap().unlisted.insert("run-00029".into());
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let told = sync_imodel(&archive, &emulator, 3);
    assert!(told.stderr.contains("run-00029"), "{}", told.stderr);
    assert_eq!(archive.count("runs"), 30);
    sync_imodel(&archive, &emulator, 0);
}

#[test]
fn a_last_run_that_a_short_way_did_not_meet_has_the_listing_walked_whole() {
    let mut platform = platform_in_order(Order::NewestFirst, runs(100, 40));
    platform.faults.page_cap = Some(10);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    sync_imodel(&archive, &emulator, 0);
    // A run that stands at the other end of the listing than where the new ones stood.
    change(&emulator, |connection| runs(1, 1).for_each(|run| connection.listing.push_oldest(run)));
    name_last_run(&emulator, &link("run-00001"));
    emulator.clear_requests();
    sync_imodel(&archive, &emulator, 0);
    assert_eq!(archive.count("runs"), 41);
    let deepest = emulator.requests().iter().filter_map(|request| request.skip).max();
    assert!(deepest.is_some_and(|skip| skip >= 30), "walked whole: {deepest:?}");
}

#[test]
fn a_last_run_that_answers_404_is_noted_once_and_blocks_nothing() {
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 30))).unwrap();
    name_last_run(&emulator, &link("gone"));
    let archive = Archive::new();
    for sync in 0..3 {
        change(&emulator, |connection| begin(connection, 100 + sync));
        emulator.clear_requests();
        sync_imodel(&archive, &emulator, 0);
        let asked = emulator.requests().iter().filter(|request| request.path.ends_with("/runs/gone")).count();
        assert_eq!(asked, usize::from(sync == 0), "sync {sync}");
        assert_eq!(archive.count("runs") as u64, 31 + sync);
    }
    assert_eq!(archive.value::<String>("SELECT last_run_id FROM checkpoints"), "gone");
}

#[test]
fn a_last_run_in_other_letters_than_its_own_is_not_taken_for_another() {
    let id = "0f0c1a52-7d1e-4f0a-9a51-0d5f3f6c2b11";
    let json = format!(
        r#"{{"id":"{id}","state":"Completed","result":"Success","startDateTime":"2026-01-05T00:00:00Z"}}"#
    );
    let only = crate::common::run_of_json(id, "2026-01-05T00:00:00Z", &json);
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, [only])).unwrap();
    name_last_run(&emulator, &link(&id.to_uppercase()));
    let by_id = Answer::Raw { body: format!(r#"{{"run":{json}}}"#) };
    emulator.platform().faults.script.push(Scripted::always(On::GetRun, by_id));
    let archive = Archive::new();
    for _ in 0..2 {
        sync_imodel(&archive, &emulator, 0);
        assert_eq!(archive.count("runs"), 1);
    }
    assert_eq!(emulator.requests().iter().filter(|request| request.path.contains("/runs/")).count(), 1);
}

#[test]
fn a_last_run_of_null_proves_nothing_where_a_run_is_archived() {
    for order in [Order::NewestFirst, Order::OldestFirst, Order::Shuffled] {
        let mut platform = platform_in_order(order, runs(0, 120));
        platform.faults.page_cap = Some(50);
        let emulator = Emulator::start(platform).unwrap();
        name_last_run(&emulator, "null");
        for is_named in [false, true] {
            let archive = Archive::new();
            let command = || match is_named {
                true => archive.sync(&emulator),
                false => sync(&archive, &emulator, &["--imodel", IMODEL]),
            };
            run(command()).expect(0);
            let before = archive.count("runs");
            change(&emulator, |connection| begin(connection, 500 + u64::from(is_named)));
            run(command()).expect(0);
            assert_eq!(archive.count("runs"), before + 1, "{order:?}, named: {is_named}");
        }
    }
}

#[test]
fn a_last_run_that_is_proved_gone_proves_nothing() {
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 30))).unwrap();
    let archive = Archive::new();
    sync_imodel(&archive, &emulator, 0);
    name_last_run(&emulator, &link("run-00029"));
    change(&emulator, |connection| drop(connection.listing.remove_id("run-00029")));
    run(sync(&archive, &emulator, &["--imodel", IMODEL, "--full"])).expect(0);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 1);
    // The list names the run that is gone for a while yet.
    change(&emulator, |connection| begin(connection, 40));
    emulator.clear_requests();
    sync_imodel(&archive, &emulator, 0);
    assert_eq!(archive.count("runs"), 31);
    assert!(emulator.requests().iter().all(|request| !request.path.contains("/runs/")), "it is archived");
}

#[test]
fn a_pruned_last_run_is_known() {
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 30))).unwrap();
    let archive = Archive::new();
    sync_imodel(&archive, &emulator, 0);
    name_last_run(&emulator, &link("pruned"));
    let columns = archive.column::<String>("SELECT name FROM pragma_table_info('pruned_runs')");
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let sql = "INSERT INTO prunes (pruned_at, before) VALUES ('2026-01-01T00:00:00.0000000Z', '2026-01-01T00:00:00.0000000Z')";
    database.execute(sql, []).unwrap();
    // A later version of the table has the key that the run had, too.
    let key = if columns.iter().any(|column| column == "run_key") { ", run_key" } else { "" };
    let value = if key.is_empty() { "" } else { ", 900" };
    let sql = format!(
        "INSERT INTO pruned_runs (connection_key, id, outcome, prune_key{key}) VALUES (1, 'pruned', 'failed', 1{value})"
    );
    database.execute(&sql, []).unwrap();
    drop(database);
    for _ in 0..2 {
        emulator.clear_requests();
        sync_imodel(&archive, &emulator, 0);
        assert!(emulator.requests().iter().all(|request| !request.path.ends_with("/runs/pruned")));
    }
    assert_eq!(emulator.requests().len(), 1, "the connection is quiet");
}

#[test]
fn pages_before_one_that_cannot_be_had_are_stored() {
    let mut platform = platform_in_order(Order::NewestFirst, runs(0, 300));
    platform.faults.page_cap = Some(10);
    // The pages of one run less than ten: the fifth is refused at once, those before it come late.
    let slow = |skip| Scripted::always(On::ListRunsAt { skip }, Answer::Slow(Duration::from_millis(400)));
    let refused = Scripted::always(On::ListRunsAt { skip: 36 }, Answer::Documented(403));
    platform.faults.script = vec![slow(9), slow(18), slow(27), refused];
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let mut command = archive.sync(&emulator);
    command.args(["--pages-in-flight", "4"]);
    run(command).expect(3);
    assert_eq!(archive.count("runs"), 37, "four pages that overlap by a run");
    emulator.platform().faults.script.clear();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 300);
}

/// A platform with an iTwin, two iModels, and a connection with this id on the first.
fn fleet(id: &str) -> Platform {
    let mut platform = Platform::default();
    platform.itwins.insert(ITWIN.to_owned(), Itwin::new("Works"));
    for (id, name) in [(IMODEL, "North"), (OTHER_IMODEL, "South")] {
        platform.imodels.insert(id.to_owned(), Imodel::new(ITWIN, name));
    }
    platform.connections.insert(id.to_owned(), Connection::new("Bridge", runs(0, 10).collect()));
    platform
}

#[test]
fn a_fleet_in_which_every_connection_is_forbidden_has_failed() {
    let emulator = Emulator::start(fleet(CONNECTION)).unwrap();
    emulator.platform().faults.script = vec![
        Scripted::always(On::ListRuns, Answer::Documented(403)),
        Scripted::always(On::GetConnection, Answer::Documented(403)),
    ];
    let archive = Archive::new();
    run(sync(&archive, &emulator, &["--itwin", ITWIN])).expect(1);
    // One that answers makes it a sync in part.
    let other =
        Connection { imodel_id: OTHER_IMODEL.to_owned(), ..Connection::new("Road", runs(0, 3).collect()) };
    emulator.platform().connections.insert("road".to_owned(), other);
    emulator.platform().faults.script =
        vec![Scripted::always(On::Connection(CONNECTION.to_owned()), Answer::Documented(403))];
    run(sync(&archive, &emulator, &["--itwin", ITWIN])).expect(3);
}

#[test]
fn a_connection_that_moved_to_another_imodel_is_no_problem_whichever_is_asked_first() {
    for (stays, asks_new_first) in [(false, false), (false, true), (true, false), (true, true)] {
        let mut platform = fleet(CONNECTION);
        if stays {
            let road = Connection::new("Road", runs(0, 3).collect());
            platform.connections.insert("road".to_owned(), road);
        }
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        run(sync(&archive, &emulator, &["--itwin", ITWIN])).expect(0);
        OTHER_IMODEL.clone_into(&mut emulator.platform().connections.get_mut(CONNECTION).unwrap().imodel_id);
        let first = if asks_new_first { OTHER_IMODEL } else { IMODEL };
        let sql = "UPDATE imodels SET asked_at = iif(id = ?1, '2000-01-01T00:00:00.0000000Z', asked_at)";
        rusqlite::Connection::open(archive.path()).unwrap().execute(sql, [first]).unwrap();
        let told = run(sync(&archive, &emulator, &["--itwin", ITWIN, "--concurrency", "1"])).expect(0);
        assert!(!told.stderr.contains("lists none"), "{}", told.stderr);
        let moved = format!("FROM connections WHERE id = '{CONNECTION}'");
        assert_eq!(archive.value::<Option<String>>(&format!("SELECT unlisted_at {moved}")), None);
        assert_eq!(archive.value::<String>(&format!("SELECT imodel_id {moved}")), OTHER_IMODEL);
        run(sync(&archive, &emulator, &["--itwin", ITWIN])).expect(0);
    }
}

#[test]
fn a_connection_that_moved_out_of_what_is_asked_is_followed_and_not_marked() {
    let mut platform = fleet(CONNECTION);
    let road =
        Connection { imodel_id: OTHER_IMODEL.to_owned(), ..Connection::new("Road", runs(0, 3).collect()) };
    platform.connections.insert("road".to_owned(), road);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let both = ["--imodel", IMODEL, "--imodel", OTHER_IMODEL];
    run(sync(&archive, &emulator, &both)).expect(0);
    let elsewhere = "c2693877-8d3a-43b0-9d23-0d16bd11bf11";
    elsewhere.clone_into(&mut emulator.platform().connections.get_mut(CONNECTION).unwrap().imodel_id);
    run(sync(&archive, &emulator, &both)).expect(0);
    assert_eq!(archive.count("connections WHERE unlisted_at IS NOT NULL"), 0);
    assert_eq!(archive.count(&format!("connections WHERE imodel_id = '{elsewhere}'")), 1);
}

#[test]
fn a_uuid_in_other_letters_is_the_same_connection_everywhere() {
    let upper = UUID.to_uppercase();
    // Spelled by the platform in either way, and typed first in either.
    for own in [UUID, upper.as_str()] {
        for typed in [[UUID, upper.as_str()], [upper.as_str(), UUID]] {
            let emulator = Emulator::start(fleet(own)).unwrap();
            let archive = Archive::new();
            for typed in typed {
                run(sync(&archive, &emulator, &["--connection", typed])).expect(0);
                assert_eq!(archive.column::<String>("SELECT id FROM connections"), [own]);
            }
            run(sync(&archive, &emulator, &["--itwin", ITWIN])).expect(0);
            run(sync(&archive, &emulator, &["--connection", typed[0], "--connection", typed[1]])).expect(0);
            assert_eq!(archive.column::<String>("SELECT id FROM connections"), [own]);
            assert_eq!(archive.count("runs"), 10);
            assert_eq!(archive.count("connections WHERE unlisted_at IS NOT NULL"), 0);
            for typed in typed {
                for arguments in [
                    vec!["report"],
                    vec!["query", "slowest-runs"],
                    vec!["verify", "--offline"],
                    vec!["status"],
                ] {
                    let mut command = archive.command();
                    command.args(&arguments);
                    if matches!(arguments[0], "report" | "query") {
                        command.args(["--connection", typed]);
                    }
                    run(command).expect(0);
                }
                let page = archive.folder().join("page.json");
                let saved = r#"{"runs":[{"id":"saved","state":"Completed","result":"Success"}],"_links":{}}"#;
                std::fs::write(&page, saved).unwrap();
                let mut import = archive.command();
                import.args(["import", "--connection", typed]).arg(&page);
                run(import).expect(0);
            }
            assert_eq!(archive.column::<String>("SELECT id FROM connections"), [own]);
            assert_eq!(archive.count("runs"), 11);
        }
    }
}

#[test]
fn an_id_that_was_typed_while_the_connection_did_not_answer_becomes_its_own() {
    let emulator = Emulator::start(fleet(UUID)).unwrap();
    emulator.platform().faults.script = vec![Scripted::always(On::GetConnection, Answer::Documented(403))];
    let archive = Archive::new();
    let upper = UUID.to_uppercase();
    run(sync(&archive, &emulator, &["--connection", &upper])).expect(0);
    assert_eq!(archive.value::<String>("SELECT id FROM connections"), upper);
    emulator.platform().faults.script.clear();
    run(sync(&archive, &emulator, &["--connection", &upper, "--full"])).expect(0);
    assert_eq!(archive.value::<String>("SELECT id FROM connections"), UUID);
    assert_eq!(archive.count("runs"), 10);
}

#[test]
fn two_connections_that_differ_in_letters_alone_are_two_where_their_ids_are_no_uuids() {
    let mut platform = fleet(CONNECTION);
    let lower = CONNECTION.to_lowercase();
    platform.connections.insert(lower.clone(), Connection::new("Road", runs(0, 3).collect()));
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    run(sync(&archive, &emulator, &["--connection", CONNECTION, "--connection", &lower])).expect(0);
    run(sync(&archive, &emulator, &["--itwin", ITWIN])).expect(0);
    assert_eq!(archive.count("connections"), 2);
    assert_eq!(archive.count("runs"), 13);
}

#[test]
fn imodels_and_itwins_in_other_letters_are_no_others() {
    let emulator = Emulator::start(fleet(UUID)).unwrap();
    let archive = Archive::new();
    let (itwin, imodel) = (ITWIN.to_uppercase(), IMODEL.to_uppercase());
    run(sync(&archive, &emulator, &["--imodel", &imodel])).expect(0);
    run(sync(&archive, &emulator, &["--imodel", IMODEL])).expect(0);
    assert_eq!(archive.column::<String>("SELECT id FROM imodels"), [IMODEL]);
    run(sync(&archive, &emulator, &["--itwin", &itwin, "--imodel", &imodel])).expect(0);
    run(sync(&archive, &emulator, &["--itwin", ITWIN, "--itwin", &itwin])).expect(0);
    assert_eq!(archive.column::<String>("SELECT id FROM itwins"), [ITWIN]);
    assert_eq!(archive.column::<String>("SELECT id FROM imodels ORDER BY id"), [IMODEL, OTHER_IMODEL]);
    assert_eq!(archive.count(&format!("imodels WHERE itwin_id = '{ITWIN}'")), 2);
    assert_eq!(archive.count("imodels WHERE asked_at IS NULL"), 0);
    assert_eq!(archive.count("connections"), 1);
}

#[test]
fn an_old_last_run_makes_no_connection_quiet() {
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 9))).unwrap();
    let archive = Archive::new();
    sync_imodel(&archive, &emulator, 0);
    // From now on the connection names a run that was not the last one even then.
    name_last_run(&emulator, &link("run-00006"));
    sync_imodel(&archive, &emulator, 0);
    change(&emulator, |connection| (9..11).for_each(|number| begin(connection, number)));
    sync_imodel(&archive, &emulator, 0);
    assert_eq!(archive.count("runs"), 11);
}

#[test]
fn what_began_before_the_place_where_an_unordered_walk_was_interrupted_is_looked_for() {
    let mut platform = platform_in_order(Order::Shuffled, runs(0, 30));
    platform.faults.page_cap = Some(4);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    sync_imodel(&archive, &emulator, 0);
    // The full walk that is asked for stops half way; what begins then stands anywhere in the listing.
    let stop = Scripted::always(On::ListRunsAt { skip: 21 }, Answer::Documented(403));
    emulator.platform().faults.script = vec![stop];
    let full = ["--imodel", IMODEL, "--full", "--pages-in-flight", "1", "--page-size", "4"];
    run(sync(&archive, &emulator, &full)).expect(3);
    emulator.platform().faults.script.clear();
    change(&emulator, |connection| (30..50).for_each(|number| begin(connection, number)));
    let mut syncs = 0;
    while archive.count("runs") < 50 {
        syncs += 1;
        assert!(syncs <= 2, "{} of 50 runs are archived", archive.count("runs"));
        run(sync(&archive, &emulator, &["--imodel", IMODEL])).expect(0);
    }
}

#[test]
fn a_listing_that_was_purged_is_empty_although_its_connection_names_a_purged_run() {
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 5))).unwrap();
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    change(&emulator, |connection| while connection.listing.remove(0).is_some() {});
    name_last_run(&emulator, &link("run-00004"));
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 5);
    // One that is there by its id says that the list is not the whole truth.
    let archive = Archive::new();
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 5))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    let ids = (0..5).map(|number| format!("run-{number:05}"));
    change(&emulator, |connection| connection.unlisted.extend(ids));
    run(archive.sync(&emulator)).expect(3);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NOT NULL"), 0);
}

#[test]
fn a_page_size_of_one_run_asks_for_two_since_pages_of_one_cannot_overlap() {
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 7))).unwrap();
    let archive = Archive::new();
    let mut command = archive.sync(&emulator);
    command.args(["--page-size", "1"]);
    run(command).expect(0);
    assert_eq!(archive.count("runs"), 7);
}

#[test]
fn a_connection_imported_in_other_letters_goes_by_those_that_its_imodel_lists() {
    let mut platform = platform_in_order(Order::NewestFirst, runs(0, 3));
    let connection = platform.connections.remove(CONNECTION).unwrap();
    platform.connections.insert(UUID.to_owned(), connection);
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let saved = archive.folder().join("saved.json");
    let href = format!("https://api.bentley.com/export/connections/{}/runs", UUID.to_uppercase());
    let run_of_it = r#"{"id":"run-00000","state":"Completed","startDateTime":"2026-01-05T00:00:00Z"}"#;
    std::fs::write(&saved, format!(r#"{{"runs":[{run_of_it}],"_links":{{"self":{{"href":"{href}"}}}}}}"#))
        .unwrap();
    let mut import = archive.command();
    import.arg("import").arg(&saved);
    run(import).expect(0);
    sync_imodel(&archive, &emulator, 0);
    assert_eq!(archive.column::<String>("SELECT id FROM connections"), [UUID]);
    assert_eq!(archive.count("runs"), 3);
}

#[test]
fn a_connection_that_names_another_id_keeps_its_own_and_is_told_as_drift() {
    let archive = Archive::new();
    let emulator = Emulator::start(crate::common::platform(runs(0, 3))).unwrap();
    let own = r#"{"connection":{"id":"another-one","displayName":"Bridge"}}"#;
    let answer = Answer::Status { code: 200, headers: vec![], body: own.to_owned() };
    emulator.platform().faults.script.push(Scripted::always(On::GetConnection, answer));
    for _ in 0..2 {
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(archive.column::<String>("SELECT id FROM connections"), [CONNECTION]);
        let told: Vec<String> =
            archive.column("SELECT object || ' ' || field || ' ' || value || ' ' || runs FROM drift");
        assert_eq!(told, ["connection id another-one 1"]);
    }
    archive.assert_sound();
}
