//! What is chosen by name or id, what a dry run and an estimate say, and that neither leaves a trace.

use run_archive::emulator::{Answer, On, Scripted};

use super::{connections_of, fleet, imodel, start, sync, sync_itwin, taken};
use crate::common::{Archive, run};

#[test]
fn a_connection_is_chosen_by_its_name_or_its_id() {
    let (itwin, platform) = fleet(2, 2, 1);
    let first = imodel(&platform, "Model 0001");
    let ids = connections_of(&platform, &first);
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 0);
    taken(&emulator);
    let name: String = archive.value(&format!("SELECT name FROM connections WHERE id = '{}'", ids[0]));
    for typed in [&name, &ids[0]] {
        run(sync(&archive, &emulator, &["--connection", typed, "--full"])).expect(0);
        let requests = taken(&emulator);
        assert!(!requests.is_empty());
        assert!(requests.iter().all(|request| request.path.contains(&ids[0])), "{typed}: {requests:?}");
    }
    // Several are called like this: which one is not guessed.
    let ended = run(sync(&archive, &emulator, &["--connection", "IFC nightly"])).expect(2);
    assert!(ended.stderr.contains("Model 0001: IFC nightly"), "{}", ended.stderr);
    assert!(ended.stderr.contains("Model 0002: IFC nightly"), "{}", ended.stderr);
    let ended = run(sync(&archive, &emulator, &["--connection", "Model 0001: IFC nightlz"])).expect(2);
    assert!(ended.stderr.contains("did you mean"), "{}", ended.stderr);
    assert_eq!(taken(&emulator).len(), 0);
    run(sync(&archive, &emulator, &["--connection", "no-such-id"])).expect(1);
}

#[test]
fn a_dry_run_of_a_fleet_stores_nothing() {
    let (itwin, platform) = fleet(3, 2, 2);
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--itwin", &itwin, "--dry-run", "--format", "json"];
    let told = run(sync(&archive, &emulator, &arguments)).expect(0).json();
    assert_eq!((&told["new"], &told["found"]["new_connections"]), (&12.into(), &6.into()));
    assert!(!archive.path().exists());
    sync_itwin(&archive, &emulator, &itwin, 0);
    let before = std::fs::read(archive.path()).unwrap();
    taken(&emulator);
    let told = run(sync(&archive, &emulator, &arguments)).expect(0).json();
    assert_eq!((&told["new"], &told["quiet"]), (&0.into(), &6.into()));
    assert_eq!(told["found"]["new_connections"], 0);
    assert_eq!(taken(&emulator).len(), 5);
    assert_eq!(std::fs::read(archive.path()).unwrap(), before);
}

#[test]
fn an_estimate_says_what_a_first_sync_takes_and_stores_nothing() {
    let (itwin, platform) = fleet(20, 2, 40);
    let emulator = start(platform);
    let archive = Archive::new();
    let limit = ["--request-limit", "none", "--page-size", "10"];
    let estimate = ["--itwin", &itwin, "--estimate", "--format", "json"];
    let told = run(sync(&archive, &emulator, &[&estimate, limit.as_slice()].concat())).expect(0).json();
    let asked = taken(&emulator).len() as u64;
    assert_eq!(told["requests_asked"].as_u64(), Some(asked));
    assert_eq!((&told["imodels"], &told["connections"]), (&20.into(), &40.into()));
    assert!(!archive.path().exists());
    let most = 40 * told["measured_connections"].as_u64().unwrap();
    assert!(told["measured_runs_least"].as_u64().unwrap() <= most);
    assert!(told["measured_runs_most"].as_u64().unwrap() >= most);
    run(sync(&archive, &emulator, &[&["--itwin", &itwin], limit.as_slice()].concat())).expect(0);
    let took = taken(&emulator).len() as u64;
    let (least, most) = (told["requests_least"].as_u64().unwrap(), told["requests_most"].as_u64().unwrap());
    assert!(least <= took && took <= most, "{took} requests, {least} to {most} were expected");
    assert!(most <= 3 * least, "{least} to {most}");

    let text = run(sync(&archive, &emulator, &["--itwin", &itwin, "--estimate"])).expect(0);
    assert!(text.stdout.contains("20 iModels and 40 connections found"), "{}", text.stdout);
}

#[test]
fn an_estimate_within_a_limit_says_how_long_the_limit_makes_it() {
    let (itwin, platform) = fleet(30, 2, 1);
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--itwin", &itwin, "--estimate", "--format", "json", "--request-limit", "80/1h"];
    let told = run(sync(&archive, &emulator, &arguments)).expect(0).json();
    // 92 requests: the last ones have to wait for the second hour.
    assert_eq!(told["requests_least"], 92);
    assert_eq!(told["seconds_least"], 3_600);
}

#[test]
fn an_estimate_ends_although_the_platform_does_not_heed_skip() {
    for wrap in [false, true] {
        let (itwin, mut platform) = fleet(2, 1, 7);
        (platform.faults.ignore_skip, platform.faults.wrap_skip) = (!wrap, wrap);
        let emulator = start(platform);
        let archive = Archive::new();
        run(sync(&archive, &emulator, &["--itwin", &itwin, "--estimate"])).expect(0);
        assert!(taken(&emulator).len() < 80);
    }
}

#[test]
fn an_estimate_of_nothing_says_so() {
    let (itwin, platform) = fleet(1, 0, 0);
    let emulator = start(platform);
    let archive = Archive::new();
    let ended = run(sync(&archive, &emulator, &["--itwin", &itwin, "--estimate"])).expect(3);
    assert!(ended.stderr.contains("no connection was found"), "{}", ended.stderr);
    emulator.platform().faults.script.push(Scripted::always(On::ListImodels, Answer::Documented(403)));
    run(sync(&archive, &emulator, &["--itwin", &itwin, "--estimate"])).expect(1);
}
