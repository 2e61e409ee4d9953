//! Lists of iModels and connections that are long, mislead, shrink or never end.

use run_archive::emulator::{Answer, Imodel, Itwin, Links, On, Order, Scripted};

use super::{connections_of, fleet, imodel, marked, of_imodels, start, sync, sync_itwin, taken};
use crate::common::{Archive, run};

#[test]
fn an_itwin_with_more_imodels_than_a_page_is_found_whole() {
    let (itwin, mut platform) = fleet(30, 1, 1);
    platform.faults.imodel_page_cap = Some(7);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!((archive.count("imodels"), archive.count("connections")), (30, 30));
    let requests = taken(&emulator);
    let pages: Vec<_> = requests.iter().filter(|request| request.path == "/imodels").collect();
    assert_eq!(pages.len(), 5);
    for page in pages {
        assert!(page.accept.as_deref().unwrap().contains("v2+json"), "{page:?}");
        assert_eq!(page.status, 200);
        assert!(page.query.as_deref().unwrap().contains("$continuationToken="), "{page:?}");
    }
}

#[test]
fn imodels_are_found_whatever_their_links_leave_out() {
    for (bare, skip) in [(true, false), (false, true), (true, true)] {
        let (itwin, mut platform) = fleet(20, 1, 1);
        platform.faults.imodel_page_cap = Some(6);
        (platform.faults.bare_links, platform.faults.skip_paging) = (bare, skip);
        let emulator = start(platform);
        let archive = Archive::new();
        sync_itwin(&archive, &emulator, &itwin, 0);
        assert_eq!((archive.count("imodels"), archive.count("runs")), (20, 20), "{bare} {skip}");
    }
}

#[test]
fn a_list_of_imodels_that_never_ends_is_left_in_doubt_and_what_came_is_archived() {
    let (itwin, mut platform) = fleet(30, 1, 1);
    platform.faults.imodel_page_cap = Some(10);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    emulator.platform().faults.repeat_token = true;
    for _ in 0..2 {
        taken(&emulator);
        let ended = sync_itwin(&archive, &emulator, &itwin, 3);
        assert!(ended.stderr.contains("more may be there"), "{}", ended.stderr);
        assert!(taken(&emulator).len() < 40);
        assert_eq!(archive.count("imodels WHERE unlisted_at IS NOT NULL"), 0);
        assert!(marked(&archive).is_empty());
    }
    // One that fits a page ends all the same.
    emulator.platform().faults.imodel_page_cap = None;
    sync_itwin(&archive, &emulator, &itwin, 0);
}

#[test]
fn connections_are_found_whatever_the_links_of_their_lists_say() {
    let links = [
        Links::WellFormed,
        Links::AsPublished,
        Links::NextAlways,
        Links::NextNever,
        Links::Absent,
        Links::Null,
        Links::NextNull,
        Links::Hostile("https://evil.example/export/connections".to_owned()),
    ];
    for links in links {
        let (_, mut platform) = fleet(2, 5, 2);
        // Two on a page; where nothing says that more follows, all on one.
        platform.faults.page_cap = Some(2).filter(|_| links != Links::NextNever);
        platform.faults.links = links.clone();
        let ids: Vec<String> = platform.imodels.keys().cloned().collect();
        let emulator = start(platform);
        let archive = Archive::new();
        let arguments = ["--imodel", &ids[0], "--imodel", &ids[1], "--request-limit", "none"];
        run(sync(&archive, &emulator, &arguments)).expect(0);
        assert_eq!((archive.count("connections"), archive.count("runs")), (10, 20), "{links:?}");
        run(sync(&archive, &emulator, &arguments)).expect(0);
        assert!(marked(&archive).is_empty(), "{links:?}");
        assert_eq!(archive.count("walks"), 10, "{links:?}");
    }
}

#[test]
fn a_list_of_connections_that_does_not_heed_skip_ends_in_doubt() {
    let (itwin, platform) = fleet(1, 3, 1);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    let ids: Vec<String> = emulator.platform().connections.keys().cloned().collect();
    // Always the same page: one that is known, one without an id, and a next page promised.
    let body = format!(
        r#"{{"connections":[{{"id":"{}","displayName":"IFC nightly"}},{{"displayName":"nameless"}}],
            "_links":{{"next":{{"href":"https://h/x?$skip=2"}}}}}}"#,
        ids[0]
    );
    emulator.platform().faults.script.push(Scripted::always(On::ListConnections, Answer::Raw { body }));
    taken(&emulator);
    let ended = sync_itwin(&archive, &emulator, &itwin, 3);
    assert!(ended.stderr.contains("held nothing unseen"), "{}", ended.stderr);
    assert!(ended.stderr.contains("without an id that can be used"), "{}", ended.stderr);
    assert!(taken(&emulator).len() < 12);
    assert!(marked(&archive).is_empty());
}

#[test]
fn an_entry_without_an_id_keeps_the_others_from_being_marked() {
    let (itwin, platform) = fleet(1, 2, 1);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    let body = r#"{"connections":[{"displayName":"nameless"},7],"_links":{"next":null}}"#.to_owned();
    emulator.platform().faults.script.push(Scripted::always(On::ListConnections, Answer::Raw { body }));
    let ended = sync_itwin(&archive, &emulator, &itwin, 3);
    assert!(ended.stderr.contains("2 without an id that can be used"), "{}", ended.stderr);
    assert!(marked(&archive).is_empty());
}

#[test]
fn ids_with_odd_characters_are_asked_for_as_they_are() {
    let (_, mut platform) = fleet(1, 1, 2);
    let (itwin, imodel) = ("iTwin ä/&?#=+", "imodel &imodelId=x/%2F?#+ü");
    platform.itwins.insert(itwin.to_owned(), Itwin::new("Odd"));
    platform.imodels.insert(imodel.to_owned(), Imodel::new(itwin, "Odd & odder"));
    let one = platform.connections.values().next().unwrap().clone();
    let odd = ["-begins", "a/b?c#d", "100%", "%2F", "+ blank", "ö&=;", "'; DROP TABLE runs; --", "A", "a"];
    for id in odd {
        let mut connection = one.clone();
        (connection.imodel_id, connection.itwin_id) = (imodel.to_owned(), itwin.to_owned());
        platform.connections.insert(id.to_owned(), connection);
    }
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, itwin, 0);
    let ids: Vec<String> = archive.column("SELECT id FROM connections ORDER BY id");
    let mut expected = odd.map(str::to_owned);
    expected.sort();
    assert_eq!(ids, expected);
    assert_eq!(archive.count("runs"), 2 * odd.len() as i64);
    taken(&emulator);
    sync_itwin(&archive, &emulator, itwin, 0);
    assert_eq!(taken(&emulator).len(), 3);
}

#[test]
fn two_itwins_and_an_imodel_named_beside_them_are_each_asked_once() {
    let (first, mut platform) = fleet(1, 1, 1);
    let (second, other) = {
        let until = "2026-01-05T00:00:00Z".parse().unwrap();
        run_archive::emulator::history::fleet(1, 1, 1, until, 8)
    };
    platform.itwins.extend(other.itwins);
    platform.imodels.extend(other.imodels);
    platform.connections.extend(other.connections);
    let named = imodel(&platform, "Model 0001");
    let named_connection = connections_of(&platform, &named)[0].clone();
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments =
        ["--itwin", &first, "--itwin", &second, "--imodel", &named, "--connection", &named_connection];
    run(sync(&archive, &emulator, &arguments)).expect(0);
    let requests = taken(&emulator);
    assert_eq!(of_imodels(&requests).len(), 2);
    assert_eq!((archive.count("itwins"), archive.count("imodels"), archive.count("runs")), (2, 2, 2));
    let walked = requests.iter().filter(|request| request.path.ends_with("/runs")).count();
    assert_eq!(walked, 2);
}

#[test]
fn an_imodel_that_moved_to_another_itwin_is_there() {
    let (first, mut platform) = fleet(2, 0, 1);
    platform.itwins.insert("second".to_owned(), Itwin::new("Second"));
    platform.imodels.insert("third".to_owned(), Imodel::new("second", "Third"));
    let (_, with_connections) = fleet(1, 1, 1);
    let moving = imodel(&platform, "Model 0002");
    platform.connections = with_connections.connections;
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--itwin", &first, "--itwin", "second"];
    run(sync(&archive, &emulator, &arguments)).expect(0);
    emulator.platform().imodels.get_mut(&moving).unwrap().itwin_id = "second".to_owned();
    run(sync(&archive, &emulator, &arguments)).expect(0);
    assert_eq!(archive.count("imodels WHERE unlisted_at IS NOT NULL"), 0);
    assert_eq!(archive.count("imodels WHERE itwin_id = 'second'"), 2);
}

#[test]
fn a_connection_that_shifts_out_of_a_page_while_the_list_is_read_is_not_taken_for_gone() {
    let (_, mut platform) = fleet(1, 6, 1);
    platform.faults.page_cap = Some(2);
    for connection in platform.connections.values_mut() {
        connection.order = Order::OldestFirst;
    }
    let ids: Vec<String> = platform.connections.keys().cloned().collect();
    let named = imodel(&platform, "Model 0001");
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--imodel", &named];
    run(sync(&archive, &emulator, &arguments)).expect(0);
    // The first page holds the first two, then the first vanishes: the second page begins one too late.
    let entry = |id: &str| format!(r#"{{"id":"{id}","displayName":"x","_links":{{"lastRun":null}}}}"#);
    let body = format!(
        r#"{{"connections":[{},{}],"_links":{{"next":{{"href":"https://h/x"}}}}}}"#,
        entry(&ids[0]),
        entry(&ids[1])
    );
    emulator.platform().faults.script.push(Scripted::once(On::ListConnections, Answer::Raw { body }));
    emulator.platform().connections.remove(&ids[0]);
    run(sync(&archive, &emulator, &arguments)).expect(3);
    let gone: Vec<String> = marked(&archive).into_iter().collect();
    assert!(gone.is_empty() || gone == [ids[0].clone()], "{gone:?}");
}
