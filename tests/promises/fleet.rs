//! From the id of an iTwin to the runs of all its connections: found without a list of them, and asked only
//! where something began.

use std::collections::BTreeSet;

use run_archive::emulator::{Connection, Emulator, Platform, Request, history};
use serde_json::Value;

use crate::common::{Archive, Ended, run, runs, sync};

mod budget;
mod choice;
mod kinds;
mod limits;
mod lists;
mod vanishing;

/// The next syncs are asked about a platform of so many iModels with so many connections, each with so many
/// runs; the iTwin's id comes first.
fn fleet(imodels: u64, connections: u64, runs: u64) -> (String, Platform) {
    history::fleet(imodels, connections, runs, "2026-01-05T00:00:00Z".parse().unwrap(), 7)
}

fn start(platform: Platform) -> Emulator {
    Emulator::start(platform).unwrap()
}

/// `archive sync` of one iTwin, to its end.
#[track_caller]
fn sync_itwin(archive: &Archive, emulator: &Emulator, itwin: &str, code: i32) -> Ended {
    let ended = run(sync(archive, emulator, &["--itwin", itwin, "--request-limit", "none"]));
    ended.expect(code)
}

/// The requests since the last call.
fn taken(emulator: &Emulator) -> Vec<Request> {
    let requests = emulator.requests();
    emulator.clear_requests();
    requests
}

/// Those for lists of the connections of iModels.
fn of_imodels(requests: &[Request]) -> Vec<&Request> {
    let is_list = |request: &&Request| {
        request.path.ends_with("connections")
            && request.query.as_ref().is_some_and(|query| query.contains("imodelId="))
    };
    requests.iter().filter(is_list).collect()
}

fn imodel_of(request: &Request) -> String {
    let query = request.query.clone().unwrap_or_default();
    let of = query.split('&').find_map(|pair| pair.strip_prefix("imodelId=")).unwrap();
    of.to_owned()
}

/// The id of the iModel of this name.
fn imodel(platform: &Platform, name: &str) -> String {
    let mut named = platform.imodels.iter().filter(|(_, imodel)| imodel.display_name == name);
    named.next().unwrap().0.clone()
}

/// The ids of the connections of an iModel.
fn connections_of(platform: &Platform, imodel: &str) -> Vec<String> {
    let of = platform.connections.iter().filter(|(_, connection)| connection.imodel_id == imodel);
    of.map(|(id, _)| id.clone()).collect()
}

/// Adds a newest run to a connection.
fn begin_run(platform: &mut Platform, connection: &str, number: u64) {
    let run = runs(number, 1).next().unwrap();
    platform.connections.get_mut(connection).unwrap().listing.push_newest(run);
}

fn marked(archive: &Archive) -> BTreeSet<String> {
    archive.column("SELECT id FROM connections WHERE unlisted_at IS NOT NULL").into_iter().collect()
}

#[test]
fn a_thousand_connections_are_found_from_one_id_and_nothing_new_costs_one_request_an_imodel() {
    let (itwin, platform) = fleet(200, 5, 3);
    let busy: Vec<String> = platform.connections.keys().step_by(100).cloned().collect();
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    let first = taken(&emulator);
    assert_eq!(archive.count("connections WHERE unlisted_at IS NULL"), 1_000);
    assert_eq!((archive.count("runs"), archive.count("imodels"), archive.count("itwins")), (3_000, 200, 1));
    assert_eq!(archive.count("walks WHERE complete = 1"), 1_000);
    assert!(first.len() <= 1_210, "{} requests", first.len());

    let ended = sync_itwin(&archive, &emulator, &itwin, 0);
    let second = taken(&emulator);
    assert!(second.len() <= 202, "{} requests, at most 1.2 for each iModel are promised", second.len());
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert!(ended.stderr.contains("1,000 connections") && ended.stderr.contains("quiet"), "{}", ended.stderr);
    assert_eq!(archive.count("walks"), 1_000);

    for connection in &busy {
        begin_run(&mut emulator.platform(), connection, 900_000);
    }
    sync_itwin(&archive, &emulator, &itwin, 0);
    let third = taken(&emulator);
    assert_eq!(third.len(), 202 + busy.len());
    assert_eq!((archive.count("runs"), archive.count("walks")), (3_010, 1_010));
    let asked: BTreeSet<&str> =
        third.iter().filter_map(|request| request.path.strip_suffix("/runs")?.rsplit('/').next()).collect();
    assert_eq!(asked, busy.iter().map(String::as_str).collect());

    let told: Vec<String> = archive.column(
        "SELECT requests || ' ' || imodels || ' ' || connections || ' ' || quiet || ' ' || outcome
         FROM syncs ORDER BY sync_key",
    );
    let counts = [first.len(), second.len(), third.len()];
    let expected =
        [(0, 0), (1, 1_000), (2, 990)].map(|(at, quiet)| format!("{} 200 1000 {quiet} done", counts[at]));
    assert_eq!(told, expected);
    archive.assert_sound();
}

#[test]
fn names_that_repeat_in_every_imodel_are_told_apart() {
    let (itwin, mut platform) = fleet(2, 2, 1);
    let first = imodel(&platform, "Model 0001");
    let alone = connections_of(&platform, &first)[0].clone();
    platform.connections.get_mut(&alone).unwrap().display_name = "Only one".to_owned();
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    let names: Vec<String> = archive.column("SELECT name FROM connections ORDER BY name");
    assert_eq!(names.len(), 4);
    assert!(names.contains(&"Only one".to_owned()), "{names:?}");
    let repeated = names.iter().filter(|name| name.starts_with("Model 000")).count();
    assert_eq!(repeated, 2, "{names:?}");
    assert_eq!(archive.count("(SELECT DISTINCT name FROM connections)"), 4);
    // Each name chooses its connection.
    for name in &names {
        run(sync(&archive, &emulator, &["--connection", name])).expect(0);
    }
    assert_eq!(archive.count("connections"), 4);
}

#[test]
fn names_are_unique_even_where_people_choose_them_to_look_alike() {
    let (itwin, mut platform) = fleet(2, 2, 1);
    let ids: Vec<String> = platform.connections.keys().cloned().collect();
    let name = |platform: &mut Platform, at: usize, name: &str| {
        platform.connections.get_mut(&ids[at]).unwrap().display_name = name.to_owned();
    };
    let imodel_of_first = platform.connections[&ids[0]].imodel_id.clone();
    let imodel_name = platform.imodels[&imodel_of_first].display_name.clone();
    name(&mut platform, 0, "Night");
    name(&mut platform, 1, "Night");
    name(&mut platform, 2, &format!("{imodel_name}: Night"));
    name(&mut platform, 3, "");
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(archive.count("(SELECT DISTINCT name FROM connections)"), 4);
    assert_eq!(
        archive.value::<String>(&format!("SELECT name FROM connections WHERE id = '{}'", ids[3])),
        ids[3]
    );
}

#[test]
fn renamed_connections_and_imodels_are_followed_although_nothing_else_is_asked() {
    let (itwin, platform) = fleet(2, 1, 2);
    let (first, second) = (imodel(&platform, "Model 0001"), imodel(&platform, "Model 0002"));
    let connection = connections_of(&platform, &first)[0].clone();
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    let name = |id: &str| archive.value::<String>(&format!("SELECT name FROM connections WHERE id = '{id}'"));
    assert_eq!(name(&connection), "Model 0001: IFC nightly");
    emulator.platform().imodels.get_mut(&first).unwrap().display_name = "Harbour".to_owned();
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(name(&connection), "Harbour: IFC nightly");
    emulator.platform().connections.get_mut(&connection).unwrap().display_name = "Nightly".to_owned();
    emulator.platform().itwins.get_mut(&itwin).unwrap().display_name = "North".to_owned();
    taken(&emulator);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(name(&connection), "Nightly");
    let other = connections_of(&emulator.platform(), &second)[0].clone();
    assert_eq!(name(&other), "IFC nightly");
    assert_eq!(archive.value::<String>("SELECT display_name FROM itwins"), "North");
    assert_eq!(taken(&emulator).len(), 4);
}

#[test]
fn a_connection_that_never_ran_is_asked_once_and_again_when_it_runs() {
    let (itwin, mut platform) = fleet(1, 1, 0);
    let (id, connection) = platform.connections.pop_first().unwrap();
    platform.connections.insert(id.clone(), Connection { ..connection });
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    taken(&emulator);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(taken(&emulator).len(), 3);
    begin_run(&mut emulator.platform(), &id, 1);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(archive.count("runs"), 1);
}

#[test]
fn an_unfinished_run_is_followed_although_nothing_began_since() {
    let (itwin, mut platform) = fleet(1, 2, 3);
    let id = platform.connections.keys().next().unwrap().clone();
    let newest = platform.connections[&id].listing.newest().unwrap().clone();
    let executing = history::simple_run(&newest.id, &newest.started, "Executing", "Undetermined");
    platform.connections.get_mut(&id).unwrap().listing.replace(executing);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(archive.count("runs WHERE state = 'Executing'"), 1);
    taken(&emulator);
    sync_itwin(&archive, &emulator, &itwin, 0);
    let requests = taken(&emulator);
    assert_eq!(requests.len(), 4);
    assert!(requests.iter().any(|request| request.path.ends_with(&format!("/runs/{}", newest.id))));
    emulator.platform().connections.get_mut(&id).unwrap().listing.replace(newest);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(archive.count("runs WHERE state = 'Completed'"), 6);
    taken(&emulator);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(taken(&emulator).len(), 3);
}

#[test]
fn a_run_that_is_named_before_it_is_listed_is_not_forgotten() {
    let (itwin, mut platform) = fleet(1, 1, 3);
    let id = platform.connections.keys().next().unwrap().clone();
    let connection = platform.connections.get_mut(&id).unwrap();
    let newest = connection.listing.newest().unwrap().id.clone();
    connection.unlisted.insert(newest.clone());
    let emulator = start(platform);
    let archive = Archive::new();
    // It is there by its id, so what the listing lacks is told once.
    for code in [3, 0] {
        sync_itwin(&archive, &emulator, &itwin, code);
        assert_eq!(archive.count("runs"), 3);
    }
    // Nothing began, but now it is listed.
    emulator.platform().connections.get_mut(&id).unwrap().unlisted.clear();
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(archive.count(&format!("runs WHERE id = '{newest}' AND unlisted_at IS NULL")), 1);
    taken(&emulator);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(taken(&emulator).len(), 3);
}

#[test]
fn full_walks_of_a_fleet_are_spread_over_the_syncs_and_none_is_forgotten() {
    let (itwin, platform) = fleet(10, 5, 2);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    let walked_after = |days: u32| {
        let database = rusqlite::Connection::open(archive.path()).unwrap();
        let sql = "UPDATE checkpoints
                   SET full_walk_at = strftime('%Y-%m-%dT%H:%M:%f', 'now', ?1) || '0000Z'";
        database.execute(sql, [format!("-{days} days")]).unwrap();
        drop(database);
        sync_itwin(&archive, &emulator, &itwin, 0);
        // Walks that bring nothing leave no row: the time tells of them.
        archive.count("checkpoints WHERE full_walk_at > strftime('%Y-%m-%dT%H:%M', 'now', '-1 hour')")
    };
    assert_eq!(walked_after(3), 0);
    let half = walked_after(5);
    assert!((5..45).contains(&half), "{half} of 50 at once");
    assert_eq!(walked_after(7), 50);
    assert_eq!(archive.count("walks WHERE kind = 'full' AND complete = 1"), archive.count("walks"));
}

#[test]
fn full_walks_of_the_whole_fleet_come_when_they_are_asked_for() {
    let (itwin, platform) = fleet(3, 2, 2);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    taken(&emulator);
    run(sync(&archive, &emulator, &["--itwin", &itwin, "--full"])).expect(0);
    assert_eq!(taken(&emulator).len(), 5 + 6);
    assert_eq!(archive.count("checkpoints WHERE quiet_at = full_walk_at"), 6);
}

#[test]
fn the_configuration_and_the_environment_name_what_is_archived_too() {
    let (itwin, platform) = fleet(2, 1, 1);
    let (first, second) = (imodel(&platform, "Model 0001"), imodel(&platform, "Model 0002"));
    let emulator = start(platform);
    for (configuration, variable, found) in [
        (format!("itwins = [\"{itwin}\"]\n"), None, 2),
        (format!("imodels = [\"{first}\"]\n"), None, 1),
        ("imodels = []\n".to_owned(), Some(("ITP_ITWIN_ID", itwin.clone())), 2),
        (String::new(), Some(("ITP_IMODEL_ID", second)), 1),
    ] {
        let archive = Archive::new();
        let file = archive.folder().join("archive.toml");
        std::fs::write(&file, configuration).unwrap();
        let mut command = sync(&archive, &emulator, &[]);
        command.env("ARCHIVE_CONFIG", &file).envs(variable);
        run(command).expect(0);
        assert_eq!(archive.count("connections"), found);
    }
}

#[test]
fn a_fleets_sync_is_told_to_programs_too() {
    let (itwin, platform) = fleet(2, 2, 1);
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--itwin", &itwin, "--format", "json"];
    let told: Value = run(sync(&archive, &emulator, &arguments)).expect(0).json();
    assert_eq!(told["found"]["imodels"], 2);
    assert_eq!((&told["found"]["connections"], &told["found"]["new_connections"]), (&4.into(), &4.into()));
    assert_eq!(told["requests"].as_u64(), Some(taken(&emulator).len() as u64));
    let told = run(sync(&archive, &emulator, &arguments)).expect(0).json();
    assert_eq!((&told["quiet"], &told["found"]["new_connections"]), (&4.into(), &0.into()));
    assert!(told["connections"].as_array().unwrap().iter().all(|connection| connection["quiet"] == true));
}
