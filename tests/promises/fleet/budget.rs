//! Time that runs out, failures of some, and syncs that die: what is there is whole, and the next sync goes
//! on with what was not asked.

use std::collections::BTreeSet;

use run_archive::emulator::{Answer, Emulator, On, Scripted};

use super::{connections_of, fleet, imodel, imodel_of, of_imodels, start, sync, sync_itwin, taken};
use crate::common::{Archive, run};
use crate::interruption::{Running, wait_until};

fn asked(emulator: &Emulator) -> Vec<String> {
    of_imodels(&taken(emulator)).iter().map(|request| imodel_of(request)).collect()
}

#[test]
fn time_that_runs_out_leaves_whole_connections_and_the_next_sync_goes_on_with_the_others() {
    let (itwin, platform) = fleet(30, 2, 5);
    let emulator = start(platform);
    let archive = Archive::new();
    // The limit's next place is an hour away, and the budget ends before: no clock decides.
    let arguments = ["--itwin", &itwin, "--request-limit", "32/1h", "--time-budget", "2m"];
    let ended = run(sync(&archive, &emulator, &arguments)).expect(3);
    assert!(ended.stderr.contains("were left for the next sync"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: what came is stored"), "{}", ended.stderr);
    let first: BTreeSet<String> = asked(&emulator).into_iter().collect();
    assert!((9..=12).contains(&first.len()), "{}", first.len());
    // Each is there with all its runs or none.
    let counts: BTreeSet<i64> = archive
        .column(
            "SELECT count(run_key) FROM connections LEFT JOIN runs USING (connection_key)
             GROUP BY connection_key",
        )
        .into_iter()
        .collect();
    assert!(counts.is_subset(&BTreeSet::from([0, 5])) && counts.contains(&5), "{counts:?}");
    assert_eq!(archive.value::<String>("SELECT outcome || exit_code FROM syncs"), "partial3");

    sync_itwin(&archive, &emulator, &itwin, 0);
    let second = asked(&emulator);
    let others = 30 - first.len();
    assert!(second[..others].iter().all(|imodel| !first.contains(imodel)), "{first:?} {second:?}");
    assert_eq!((archive.count("connections"), archive.count("runs")), (60, 300));
    archive.assert_sound();
}

#[test]
fn syncs_that_always_run_out_of_time_get_round_to_everything() {
    let (itwin, platform) = fleet(12, 1, 1);
    let emulator = start(platform);
    let archive = Archive::new();
    let mut rounds = 0;
    while archive_is_short(&archive) {
        rounds += 1;
        assert!(rounds <= 6, "{} connections after {rounds} syncs", archive.count("connections"));
        // What was sent before is forgotten, as after an hour.
        if rounds > 1 {
            let database = rusqlite::Connection::open(archive.path()).unwrap();
            database.execute("UPDATE syncs SET requested_at = NULL", []).unwrap();
        }
        let arguments = ["--itwin", &itwin, "--request-limit", "10/1h", "--time-budget", "2m"];
        run(sync(&archive, &emulator, &arguments)).expect(3);
    }
}

fn archive_is_short(archive: &Archive) -> bool {
    !archive.path().exists() || archive.count("runs") < 12
}

#[test]
fn one_failing_imodel_or_connection_stops_no_other() {
    let (itwin, mut platform) = fleet(5, 2, 2);
    let broken = imodel(&platform, "Model 0003");
    platform.imodels.get_mut(&broken).unwrap().status = Some(422);
    let connection = connections_of(&platform, &imodel(&platform, "Model 0001"))[0].clone();
    let refuses = Answer::Documented(403);
    platform.faults.script.push(Scripted::always(On::Connection(connection), refuses));
    let emulator = start(platform);
    let archive = Archive::new();
    for _ in 0..2 {
        let ended = sync_itwin(&archive, &emulator, &itwin, 3);
        assert!(ended.stderr.contains("Model 0003: ") && ended.stderr.contains("422"), "{}", ended.stderr);
        assert!(ended.stderr.contains("403"), "{}", ended.stderr);
        assert_eq!((archive.count("connections"), archive.count("runs")), (8, 14));
        assert_eq!(archive.count("imodels WHERE unlisted_at IS NOT NULL"), 0);
    }
}

#[test]
fn imodels_that_fail_do_not_come_first_each_time() {
    let (itwin, mut platform) = fleet(8, 1, 1);
    // Three attempts at each of the first three iModels.
    platform.faults.script.push(Scripted::times(9, On::ListConnections, Answer::NotJson));
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--itwin", &itwin, "--concurrency", "1"];
    let ended = run(sync(&archive, &emulator, &arguments)).expect(1);
    assert!(ended.stderr.contains("3 times in a row, so 5 iModels were not asked"), "{}", ended.stderr);
    let failed: BTreeSet<String> = asked(&emulator).into_iter().collect();
    assert_eq!(failed.len(), 3);
    run(sync(&archive, &emulator, &arguments)).expect(0);
    let second = asked(&emulator);
    assert!(second[..5].iter().all(|imodel| !failed.contains(imodel)), "{failed:?} {second:?}");
    assert_eq!(archive.count("runs"), 8);
}

#[test]
fn a_sync_after_a_killed_one_brings_the_rest() {
    let (itwin, mut platform) = fleet(30, 2, 2);
    platform.faults.delay = std::time::Duration::from_millis(2);
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--itwin", &itwin, "--request-limit", "none"];
    let killed = Running::spawn(sync(&archive, &emulator, &arguments));
    wait_until("a third of the fleet", || emulator.requests().len() >= 60);
    killed.kill();
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!((archive.count("connections"), archive.count("runs")), (60, 120));
    let outcomes: Vec<String> = archive.column("SELECT outcome FROM syncs ORDER BY sync_key");
    assert_eq!(outcomes, ["interrupted", "done"]);
    assert_eq!(archive.count("(SELECT DISTINCT name FROM connections)"), 60);
    taken(&emulator);
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(taken(&emulator).len(), 32);
    archive.assert_sound();
}

#[test]
fn a_token_that_expires_under_way_ends_the_sync_soon() {
    let (itwin, platform) = fleet(40, 1, 1);
    let emulator = start(platform);
    let archive = Archive::new();
    let refused = Answer::Documented(401);
    emulator.platform().faults.script.push(Scripted::always(On::Any, refused).after(20));
    let ended = run(sync(&archive, &emulator, &["--itwin", &itwin, "--concurrency", "2"])).expect(3);
    assert!(ended.stderr.contains("401"), "{}", ended.stderr);
    assert!(ended.stderr.contains("were left for the next sync"), "{}", ended.stderr);
    let requests = taken(&emulator).len();
    assert!(requests <= 40, "{requests} requests");
    emulator.platform().faults.script.clear();
    sync_itwin(&archive, &emulator, &itwin, 0);
    assert_eq!(archive.count("runs"), 40);
}

#[test]
fn credentials_that_are_refused_from_the_start_are_told_as_such() {
    let (itwin, mut platform) = fleet(2, 1, 1);
    platform.access.refuse_all = true;
    let emulator = start(platform);
    let archive = Archive::new();
    sync_itwin(&archive, &emulator, &itwin, 4);
    assert!(taken(&emulator).len() <= 4);
}
