//! What appears, vanishes and comes back, is out of sight or cannot be told from it: nothing is deleted, and
//! nothing is marked that may be there.

use std::collections::BTreeSet;

use run_archive::emulator::{Answer, On, Platform, Scripted};

use super::{begin_run, connections_of, fleet, imodel, marked, start, sync, sync_itwin, taken};
use crate::common::{Archive, Ended, run};

/// Nothing archived is said to be gone.
#[track_caller]
fn assert_all_there(archive: &Archive) {
    for table in ["connections", "imodels", "itwins", "runs"] {
        assert_eq!(archive.count(&format!("{table} WHERE unlisted_at IS NOT NULL")), 0, "{table}");
    }
}

fn empty_list() -> Answer {
    Answer::Raw { body: r#"{"connections":[],"_links":{"self":{"href":"https://h/x"}}}"#.to_owned() }
}

#[track_caller]
fn assert_says(ended: &Ended, text: &str) {
    assert!(ended.stderr.contains(text), "{}", ended.stderr);
}

#[test]
fn connections_appear_vanish_and_come_back_with_their_history() {
    let (itwin, platform) = fleet(3, 2, 3);
    let first = imodel(&platform, "Model 0001");
    let id = connections_of(&platform, &first)[0].clone();
    let emulator = start(platform);
    let archive = Archive::new();
    let vanished = emulator.platform().connections.remove(&id).unwrap();
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!((archive.count("connections"), archive.count("runs")), (5, 15));

    emulator.platform().connections.insert(id.clone(), vanished.clone());
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!((archive.count("connections"), archive.count("runs")), (6, 18));

    emulator.platform().connections.remove(&id);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(marked(&archive), BTreeSet::from([id.clone()]));
    assert_eq!(archive.count("runs WHERE unlisted_at IS NULL"), 18);
    let since: String = archive.value("SELECT unlisted_at FROM connections WHERE unlisted_at IS NOT NULL");
    taken(&emulator);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(taken(&emulator).len(), 5, "what is gone is not asked for again");
    let again: String = archive.value("SELECT unlisted_at FROM connections WHERE unlisted_at IS NOT NULL");
    assert_eq!(again, since);

    emulator.platform().connections.insert(id.clone(), vanished);
    begin_run(&mut emulator.platform(), &id, 9);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_all_there(&archive);
    assert_eq!(archive.count("runs"), 19);
    archive.assert_sound();
}

#[test]
fn the_last_connection_of_an_imodel_may_vanish_too() {
    let (itwin, platform) = fleet(2, 1, 2);
    let id = connections_of(&platform, &imodel(&platform, "Model 0001"))[0].clone();
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    emulator.platform().connections.remove(&id);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(marked(&archive), BTreeSet::from([id]));
    assert_eq!((archive.count("runs"), archive.count("imodels WHERE unlisted_at IS NULL")), (4, 2));
}

#[test]
fn an_empty_list_of_connections_that_are_known_all_the_same_marks_nothing() {
    let (itwin, platform) = fleet(2, 2, 2);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    emulator.platform().faults.script.push(Scripted::always(On::ListConnections, empty_list()));
    let ended = sync_itwin(&archive, &emulator, &itwin, 3);
    assert_says(&ended, "the platform lists none, where it listed 2 before, and still knows");
    assert_all_there(&archive);
}

#[test]
fn an_imodel_that_is_gone_is_noted_once_and_comes_back() {
    let (itwin, platform) = fleet(3, 2, 2);
    let gone = imodel(&platform, "Model 0002");
    let emulator = start(platform.clone());
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    {
        let mut platform = emulator.platform();
        platform.imodels.remove(&gone);
        platform.connections.retain(|_, connection| connection.imodel_id != gone);
    }
    let ended = sync_itwin(&archive, &emulator, &itwin, 0);
    assert_says(&ended, "iModel Model 0002: its iTwin no longer lists it");
    assert_eq!(
        archive.column::<String>("SELECT id FROM imodels WHERE unlisted_at IS NOT NULL"),
        std::slice::from_ref(&gone)
    );
    assert_eq!(marked(&archive).len(), 2);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NULL"), 12);
    taken(&emulator);
    let ended = sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!((taken(&emulator).len(), ended.stderr.lines().count()), (4, 1), "{}", ended.stderr);
    *emulator.platform() = platform;
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_all_there(&archive);
}

#[test]
fn an_imodel_out_of_sight_is_left_out_without_a_word_and_the_others_go_on() {
    let (itwin, platform) = fleet(3, 2, 2);
    let hidden = imodel(&platform, "Model 0001");
    let theirs: BTreeSet<String> = connections_of(&platform, &hidden).into_iter().collect();
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    {
        let mut platform = emulator.platform();
        let imodel = platform.imodels.get_mut(&hidden).unwrap();
        (imodel.unlisted, imodel.status) = (true, Some(403));
        let other = connections_of(&platform, &imodel_named(&platform, "Model 0003"))[0].clone();
        begin_run(&mut platform, &other, 5);
    }
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!((marked(&archive), archive.count("runs")), (theirs, 13));
    let imodel = |platform: &mut Platform| {
        let imodel = platform.imodels.get_mut(&hidden).unwrap();
        (imodel.unlisted, imodel.status) = (false, None);
    };
    imodel(&mut emulator.platform());
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_all_there(&archive);
}

fn imodel_named(platform: &Platform, name: &str) -> String {
    imodel(platform, name)
}

#[test]
fn an_imodel_that_is_no_longer_listed_but_answers_is_archived_on() {
    let (itwin, platform) = fleet(2, 1, 2);
    let unlisted = imodel(&platform, "Model 0001");
    let connection = connections_of(&platform, &unlisted)[0].clone();
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    emulator.platform().imodels.get_mut(&unlisted).unwrap().unlisted = true;
    for number in 1..3 {
        begin_run(&mut emulator.platform(), &connection, number);
        sync_itwin(&archive, &emulator, &itwin, 0);
        assert_eq!(archive.count("runs"), 4 + number as i64);
        assert_all_there(&archive);
    }
}

#[test]
fn an_imodel_that_is_listed_and_forbidden_is_told_and_stops_no_other() {
    let (itwin, mut platform) = fleet(3, 2, 2);
    let forbidden = imodel(&platform, "Model 0002");
    platform.imodels.get_mut(&forbidden).unwrap().status = Some(403);
    let emulator = start(platform);
    let archive = Archive::new();
    let ended = sync_itwin(&archive, &emulator, &itwin, 3);
    assert_says(&ended, "Model 0002: ");
    assert_says(&ended, "403");
    assert_eq!((archive.count("connections"), archive.count("runs")), (4, 8));
    emulator.platform().imodels.get_mut(&forbidden).unwrap().status = None;
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!((archive.count("connections"), archive.count("runs")), (6, 12));
    // It is no less there for being forbidden later.
    emulator.platform().imodels.get_mut(&forbidden).unwrap().status = Some(403);
    sync_itwin(&archive, &emulator, &itwin, 3);
    assert_all_there(&archive);
}

#[test]
fn an_itwin_whose_list_became_empty_is_a_warning_and_nothing_is_marked() {
    type Loss = fn(&mut Platform);
    let losses: [(&str, Loss); 3] = [
        ("only the list", |platform| platform.imodels.values_mut().for_each(|imodel| imodel.unlisted = true)),
        ("all forbidden", |platform| {
            platform
                .imodels
                .values_mut()
                .for_each(|imodel| (imodel.unlisted, imodel.status) = (true, Some(403)));
            platform.connections.values_mut().for_each(|connection| connection.status = Some(403));
        }),
        ("all empty", |platform| {
            platform.imodels.clear();
            platform.connections.clear();
        }),
    ];
    for (name, lose) in losses {
        let (itwin, platform) = fleet(3, 2, 2);
        let emulator = start(platform.clone());
        let archive = Archive::new();
        sync_itwin(&archive, &emulator, &itwin, 0);
        let before = archive.dump();
        lose(&mut emulator.platform());
        for _ in 0..2 {
            let ended = sync_itwin(&archive, &emulator, &itwin, 3);
            assert_says(
                &ended,
                "the platform lists none, where it listed 3 before; has the role on the iTwin gone?",
            );
            assert_all_there(&archive);
            assert_eq!(archive.dump(), before, "{name}");
        }
        *emulator.platform() = platform;
        sync_itwin(&archive, &emulator, &itwin, 0);
    }
}

#[test]
fn nothing_found_is_a_warning_that_says_why_that_may_be() {
    let (itwin, mut platform) = fleet(2, 0, 0);
    let mut commands = vec![platform.clone()];
    platform.imodels.clear();
    commands.push(platform);
    for platform in commands {
        let emulator = start(platform);
        let archive = Archive::new();
        let ended = sync_itwin(&archive, &emulator, &itwin, 3);
        assert_says(&ended, &format!("no connection was found below iTwin {itwin}"));
        assert_says(&ended, "a service application without a role on an iTwin is given empty lists");
        assert_says(&ended, "hint: ");
        assert_eq!(archive.value::<String>("SELECT outcome || exit_code FROM syncs"), "partial3");
    }
}

#[test]
fn an_itwin_that_is_unknown_or_forbidden_is_an_error() {
    let (itwin, mut platform) = fleet(1, 1, 1);
    let emulator = start(platform.clone());
    let archive = Archive::new();
    let ended = run(sync(&archive, &emulator, &["--itwin", "no-such"])).expect(1);
    assert_says(&ended, "404");
    // Beside one that is there it is a part.
    run(sync(&archive, &emulator, &["--itwin", "no-such", "--itwin", &itwin])).expect(3);
    assert_eq!(archive.count("runs"), 1);
    platform.itwins.get_mut(&itwin).unwrap().status = Some(403);
    *emulator.platform() = platform;
    let ended = sync_itwin(&archive, &emulator, &itwin, 1);
    assert_says(&ended, "403");
    assert_all_but(&archive, "no-such");
}

/// Only this iTwin is said to be gone.
fn assert_all_but(archive: &Archive, itwin: &str) {
    assert_eq!(archive.column::<String>("SELECT id FROM itwins WHERE unlisted_at IS NOT NULL"), [itwin]);
    assert_eq!(archive.count("imodels WHERE unlisted_at IS NOT NULL"), 0);
    assert_eq!(marked(archive).len(), 0);
}

#[test]
fn a_sync_that_cannot_write_fails_in_good_order() {
    let (itwin, platform) = fleet(8, 3, 2);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    // A rule of somebody else's that lets no further connection in.
    let rule = "CREATE UNIQUE INDEX no_room ON connections (kind) WHERE connection_key = 1 OR id = 'new'";
    database.execute_batch(rule).unwrap();
    drop(database);
    {
        let mut platform = emulator.platform();
        let ids: Vec<String> = platform.connections.keys().cloned().collect();
        for id in &ids {
            begin_run(&mut platform, id, 3);
        }
        let one = platform.connections[&ids[0]].clone();
        platform.connections.insert("new".to_owned(), one);
    }
    let ended = sync_itwin(&archive, &emulator, &itwin, 1);
    assert_says(&ended, "no_room");
    let last = "SELECT outcome || ' ' || exit_code FROM syncs ORDER BY sync_key DESC LIMIT 1";
    assert_eq!(archive.value::<String>(last), "failed 1");
    assert!(archive.value::<i64>("SELECT requests FROM syncs ORDER BY sync_key DESC LIMIT 1") > 0);
    assert!(!ended.stderr.contains("panicked"), "{}", ended.stderr);
    archive.assert_sound();
}
