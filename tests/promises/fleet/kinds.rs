//! The three kinds of connections: one archive, the kind beside each run, whole runs although the lists of
//! two of them are short unless asked.

use run_archive::api::Kind;
use run_archive::emulator::{Answer, Connection, On, Platform, Scripted, history};

use super::{fleet, marked, start, sync, taken};
use crate::common::{Archive, run};

const KINDS: [&str; 6] = ["--kind", "export", "--kind", "storage", "--kind", "manifest"];

/// One iModel with a connection of each kind, of three runs each.
fn of_all_kinds() -> (String, String, Platform) {
    let (itwin, mut platform) = fleet(1, 1, 3);
    let export = platform.connections.values().next().unwrap().clone();
    let imodel = export.imodel_id.clone();
    type Make = fn(&str, &str, &str, &str) -> run_archive::emulator::Run;
    let kinds: [(Kind, Make); 2] =
        [(Kind::Storage, history::synchronization_run), (Kind::Manifest, history::manifest_run)];
    for (kind, make) in kinds {
        let runs = (0..3).map(|number| {
            let result = if number == 1 { "Error" } else { "Success" };
            make(
                &format!("{}-{number}", kind.as_str()),
                &format!("2026-01-0{}T00:00:00Z", number + 1),
                "Completed",
                result,
            )
        });
        let connection = Connection { kind, listing: runs.collect(), ..export.clone() };
        platform.connections.insert(format!("{}-connection", kind.as_str()), connection);
    }
    (itwin, imodel, platform)
}

fn arguments<'a>(rest: &[&'a str]) -> Vec<&'a str> {
    KINDS.iter().copied().chain(rest.iter().copied()).collect()
}

#[test]
fn runs_of_all_three_kinds_stand_in_one_archive_whole() {
    let (itwin, _, platform) = of_all_kinds();
    let emulator = start(platform);
    let archive = Archive::new();
    run(sync(&archive, &emulator, &arguments(&["--itwin", &itwin]))).expect(0);
    let kinds: Vec<String> =
        archive.column("SELECT kind || count(*) FROM run_details GROUP BY kind ORDER BY kind");
    assert_eq!(kinds, ["export3", "manifest3", "storage3"]);
    // Whole trees: what the short lists leave out.
    let trees = "SELECT count(*) FROM runs JOIN jobs USING (run_key) JOIN tasks USING (run_key, job_index)";
    assert_eq!(archive.value::<i64>(trees), 9);
    assert_eq!(archive.count("runs WHERE started_at IS NULL"), 0);
    assert_eq!(archive.count("task_details WHERE storage_file_id IS NOT NULL"), 3);
    assert_eq!(archive.count("task_details WHERE source_file_id IS NOT NULL"), 3);
    assert_eq!(archive.count("run_details WHERE error_key IS NOT NULL AND kind = 'storage'"), 1);
    for request in taken(&emulator).iter().filter(|request| request.path != "/imodels") {
        assert_eq!(request.prefer.as_deref(), Some("return=representation"), "{request:?}");
    }
    run(sync(&archive, &emulator, &arguments(&["--itwin", &itwin]))).expect(0);
    assert_eq!(taken(&emulator).len(), 2 + 3);
    assert_eq!((archive.count("walks"), archive.count("revisions")), (3, 0));
}

#[test]
fn only_the_kinds_that_are_wanted_are_asked_for() {
    let (itwin, _, platform) = of_all_kinds();
    let emulator = start(platform);
    let archive = Archive::new();
    run(sync(&archive, &emulator, &["--itwin", &itwin])).expect(0);
    assert!(taken(&emulator).iter().all(|request| !request.path.contains("synchronization")));
    run(sync(&archive, &emulator, &["--itwin", &itwin, "--kind", "manifest"])).expect(0);
    let kinds: Vec<String> = archive.column("SELECT kind FROM connections ORDER BY kind");
    assert_eq!(kinds, ["export", "manifest"]);
    assert!(marked(&archive).is_empty());
}

#[test]
fn one_id_in_two_kinds_is_two_connections() {
    let (itwin, imodel, mut platform) = of_all_kinds();
    let storage = platform.connections.remove("storage-connection").unwrap();
    platform.connections.retain(|_, connection| connection.kind == Kind::Export);
    let (_, export) = platform.connections.pop_first().unwrap();
    platform.connections.insert("twin".to_owned(), export);
    let emulator = start(platform);
    let archive = Archive::new();
    run(sync(&archive, &emulator, &arguments(&["--imodel", &imodel]))).expect(0);
    emulator.platform().connections.insert("twin".to_owned(), storage);
    run(sync(&archive, &emulator, &arguments(&["--itwin", &itwin]))).expect(0);
    let told: Vec<String> = archive.column(
        "SELECT kind || ' ' || id || ' ' || (unlisted_at IS NULL) || ' ' ||
                (SELECT count(*) FROM runs WHERE runs.connection_key = connections.connection_key)
         FROM connections ORDER BY kind",
    );
    assert_eq!(told, ["export twin 0 3", "storage twin 1 3"]);
    assert_eq!(archive.count("(SELECT DISTINCT name FROM connections)"), 2);
    taken(&emulator);
    run(sync(&archive, &emulator, &["--connection", "storage:twin", "--full"])).expect(0);
    assert!(taken(&emulator).iter().all(|request| request.path.contains("/storageconnections/twin")));
}

#[test]
fn one_kind_that_is_down_keeps_no_other_from_being_archived() {
    let (itwin, mut platform) = fleet(12, 1, 2);
    platform.faults.script.push(Scripted::always(On::Kind(Kind::Storage), Answer::NotJson));
    let emulator = start(platform);
    let archive = Archive::new();
    let rest = ["--itwin", &itwin, "--kind", "export", "--kind", "storage", "--concurrency", "4"];
    let ended = run(sync(&archive, &emulator, &rest)).expect(3);
    assert_eq!((archive.count("connections"), archive.count("runs")), (12, 24));
    assert!(ended.stderr.contains("storage"), "{}", ended.stderr);
    assert!(ended.stderr.contains("done") || ended.stderr.contains("partial"), "{}", ended.stderr);
    // That was a turn for each of them: a kind that stays down must not keep the order from going round.
    assert_eq!(archive.count("imodels WHERE asked_at IS NULL"), 0);
    let storage = taken(&emulator).iter().filter(|request| request.path.contains("storage")).count();
    assert!(storage < 12 * 3, "{storage} requests of a kind that is down");
}

#[test]
fn a_kind_that_an_imodel_does_not_know_says_nothing_of_the_others() {
    let (itwin, mut platform) = fleet(2, 2, 1);
    let not_found = Answer::Documented(404);
    platform.faults.script.push(Scripted::always(On::Kind(Kind::Storage), not_found));
    let emulator = start(platform);
    let archive = Archive::new();
    for _ in 0..2 {
        run(sync(&archive, &emulator, &arguments(&["--itwin", &itwin]))).expect(0);
        assert!(marked(&archive).is_empty());
        assert_eq!(archive.count("imodels WHERE unlisted_at IS NOT NULL"), 0);
    }
    // Nor where the iTwin no longer lists the iModel.
    emulator.platform().imodels.values_mut().next().unwrap().unlisted = true;
    run(sync(&archive, &emulator, &arguments(&["--itwin", &itwin]))).expect(0);
    assert!(marked(&archive).is_empty());
    assert_eq!(archive.count("imodels WHERE unlisted_at IS NOT NULL"), 0);
}
