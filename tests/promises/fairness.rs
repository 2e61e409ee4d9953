//! One bad connection takes nothing from the others: turns, shares of the time budget, room on the disk, and
//! runs that never finish.

use std::process::Command;

use run_archive::emulator::{
    Answer, Connection, Emulator, On, Order, Platform, Request, Run, Scripted, history,
};

use crate::common::{Archive, Ended, run, run_in_state, run_of_json, runs};
use crate::file::Mounted;

/// A platform with so many connections, named `connection-a` and on, of the same runs.
fn platform(connections: u8, runs: &[Run]) -> Platform {
    let mut platform = Platform::default();
    for connection in (b'a'..).take(connections.into()).map(char::from) {
        let runs = runs.iter().cloned().collect();
        platform.connections.insert(format!("connection-{connection}"), Connection::new("Bridge", runs));
    }
    platform
}

fn start(platform: Platform) -> Emulator {
    Emulator::start(platform).unwrap()
}

/// `archive sync` of these connections, as many requests as go unless an argument says otherwise.
fn command(archive: &Archive, emulator: &Emulator, connections: &[&str], arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "emulated-token");
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    command.arg("sync");
    for connection in connections {
        command.args(["--connection", connection]);
    }
    if !arguments.contains(&"--request-limit") {
        command.args(["--request-limit", "none"]);
    }
    command.args(arguments);
    command
}

fn sync(archive: &Archive, emulator: &Emulator, connections: &[&str], arguments: &[&str]) -> Ended {
    run(command(archive, emulator, connections, arguments))
}

/// The requests since the last call.
fn taken(emulator: &Emulator) -> Vec<Request> {
    let requests = emulator.requests();
    emulator.clear_requests();
    requests
}

/// The connection that a request was about.
fn connection_of(request: &Request) -> String {
    let mut parts = request.path.split('/').skip_while(|part| *part != "connections");
    parts.nth(1).unwrap_or_default().to_owned()
}

/// Whether it asked for one run by its id.
fn is_by_id(request: &Request) -> bool {
    request.path.contains("/runs/")
}

/// Lets so many days pass for all that is noted of unfinished runs.
fn age_unfinished(archive: &Archive, days: u32) {
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let earlier = |column: &str| {
        let date = format!("strftime('%Y-%m-%dT%H:%M:%S', substr({column}, 1, 19), '-{days} days')");
        format!("{column} = {date} || substr({column}, 20)")
    };
    let sql = format!("UPDATE unfinished_runs SET {}, {}", earlier("changed_at"), earlier("answered_at"));
    assert!(database.execute(&sql, []).unwrap() > 0);
}

/// So many finished runs, the oldest first, but for those that the numbers name.
fn runs_with_unfinished(count: u64, is_unfinished: impl Fn(u64) -> bool) -> Vec<Run> {
    let state = |number| if is_unfinished(number) { "Executing" } else { "Completed" };
    (0..count).map(|number| run_in_state(number, state(number), "Success")).collect()
}

#[test]
fn the_named_connection_that_was_proved_longest_ago_has_the_first_turn() {
    let emulator = start(platform(3, &runs(0, 5).collect::<Vec<_>>()));
    let archive = Archive::new();
    let mut first = Vec::new();
    for round in 0..5 {
        if round > 0 {
            // What was sent before is forgotten, as after an hour.
            let database = rusqlite::Connection::open(archive.path()).unwrap();
            database.execute("UPDATE syncs SET requested_at = NULL", []).unwrap();
        }
        // Two requests are one connection met for the first time: no clock decides.
        let arguments = ["--request-limit", "2/1h", "--time-budget", "2m", "--concurrency", "1"];
        sync(&archive, &emulator, &["connection-c", "connection-a", "connection-b"], &arguments).expect(3);
        first.push(connection_of(&taken(&emulator)[0]));
    }
    let proved = first.iter().map(|connection| connection.rsplit('-').next().unwrap()).collect::<Vec<_>>();
    // Once each in the order given, and then again the one of long ago: two requests are two of them by now.
    assert_eq!(proved, ["c", "a", "b", "c", "b"]);
    archive.assert_sound();
}

#[test]
fn the_summary_keeps_the_order_in_which_connections_were_named() {
    let emulator = start(platform(3, &runs(0, 5).collect::<Vec<_>>()));
    let archive = Archive::new();
    sync(&archive, &emulator, &["connection-b"], &[]).expect(0);
    let ended = sync(
        &archive,
        &emulator,
        &["connection-b", "connection-c", "connection-a"],
        &["--format", "json", "--concurrency", "1"],
    );
    let summary = ended.expect(0).json();
    let ids: Vec<&str> =
        summary["connections"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["connection-b", "connection-c", "connection-a"]);
}

#[test]
fn a_connection_that_hangs_gives_way_and_has_another_turn_when_nobody_waits() {
    let mut platform = platform(3, &runs(0, 20).collect::<Vec<_>>());
    let hangs = Scripted::once(On::Connection("connection-a".to_owned()), Answer::Hang);
    platform.faults.script.push(hangs);
    let emulator = start(platform);
    let archive = Archive::new();
    let all = ["connection-a", "connection-b", "connection-c"];
    let ended = sync(&archive, &emulator, &all, &["--time-budget", "9s", "--concurrency", "1"]).expect(0);
    let asked: Vec<String> = taken(&emulator).iter().map(connection_of).collect();
    assert_eq!(
        asked,
        [
            "connection-a",
            "connection-b",
            "connection-b",
            "connection-c",
            "connection-c",
            "connection-a",
            "connection-a"
        ]
    );
    assert_eq!(archive.count("runs"), 60);
    assert!(!ended.stderr.contains("share"), "{}", ended.stderr);
}

#[test]
fn two_connections_that_hang_for_ever_do_not_keep_the_third_from_being_synced() {
    let mut platform = platform(3, &runs(0, 20).collect::<Vec<_>>());
    for bad in ["connection-a", "connection-b"] {
        platform.faults.script.push(Scripted::always(On::Connection(bad.to_owned()), Answer::Hang));
    }
    let emulator = start(platform);
    let archive = Archive::new();
    let all = ["connection-a", "connection-b", "connection-c"];
    let ended = sync(&archive, &emulator, &all, &["--time-budget", "8s", "--concurrency", "1"]).expect(3);
    let told = "its share of the time budget was used while others waited; the next sync goes on";
    assert!(ended.stderr.contains(told), "{}", ended.stderr);
    assert!(ended.stderr.contains("--time-budget gives it more time"), "{}", ended.stderr);
    assert_eq!(archive.count("runs"), 20);
    assert_eq!(archive.value::<String>("SELECT outcome || exit_code FROM syncs"), "partial3");
    archive.assert_sound();
}

#[test]
fn a_long_walk_gives_way_in_good_order_and_goes_on_where_it_was() {
    let mut platform = platform(2, &runs(0, 90).collect::<Vec<_>>());
    let slow = Answer::Slow(std::time::Duration::from_millis(100));
    platform.faults.script.push(Scripted::always(On::Connection("connection-a".to_owned()), slow));
    let emulator = start(platform);
    let archive = Archive::new();
    let both = ["connection-a", "connection-b"];
    let speed = ["--concurrency", "1", "--pages-in-flight", "1", "--page-size", "3"];
    let limited = [&speed[..], &["--time-budget", "5s"]].concat();
    let ended = sync(&archive, &emulator, &both, &limited);
    assert!(matches!(ended.code, Some(0 | 3)), "{}", ended.stderr);
    assert_eq!(
        archive.count("runs JOIN connections USING (connection_key) WHERE connections.id = 'connection-b'"),
        90
    );
    sync(&archive, &emulator, &both, &speed).expect(0);
    let lists: Vec<Request> =
        taken(&emulator).into_iter().filter(|request| request.path.ends_with("/runs")).collect();
    let of_a: Vec<usize> = lists
        .iter()
        .enumerate()
        .filter(|(_, list)| connection_of(list) == "connection-a")
        .map(|(at, _)| at)
        .collect();
    let first_of_b = lists.iter().position(|list| connection_of(list) == "connection-b").unwrap();
    assert!(
        of_a.iter().any(|at| *at < first_of_b) && of_a.iter().any(|at| *at > first_of_b),
        "{of_a:?} {first_of_b}"
    );
    let begun = archive.count(
        "walks JOIN connections USING (connection_key) WHERE connections.id = 'connection-a' AND walks.kind = 'full'",
    );
    assert_eq!((archive.count("runs"), begun), (180, 1));
    archive.assert_sound();
}

#[test]
fn a_backfill_leaves_room_on_the_disk_and_goes_on_once_there_is_some() {
    let emulator = start(platform(1, &runs(0, 1_000).collect::<Vec<_>>()));
    let archive = Archive::new();
    let one = ["connection-a"];
    let small = ["--page-size", "50", "--pages-in-flight", "1"];
    let ended =
        sync(&archive, &emulator, &one, &[&small[..], &["--min-free", "99999TiB"]].concat()).expect(3);
    for told in ["free on the disk of", "min_free is 102398976.0 GiB", "what came is stored", "--min-free"] {
        assert!(ended.stderr.contains(told), "{told}: {}", ended.stderr);
    }
    assert_eq!((archive.count("runs"), archive.count("walks WHERE checkpoint IS NOT NULL")), (50, 1));
    taken(&emulator);

    // From the configuration as well; and what is new comes in all the same.
    std::fs::write(archive.folder().join("tight.toml"), "min_free = \"99999TiB\"\n").unwrap();
    let begin = |number| {
        let begun = runs(number, 1).next().unwrap();
        emulator.platform().connections.get_mut("connection-a").unwrap().listing.push_newest(begun);
    };
    begin(1_000);
    sync(&archive, &emulator, &one, &[&small[..], &["--config", "tight.toml"]].concat()).expect(3);
    assert_eq!(archive.count("runs WHERE id = 'run-01000'"), 1);
    assert!(archive.count("runs") < 300, "{}", archive.count("runs"));
    taken(&emulator);

    sync(&archive, &emulator, &one, &[&small[..], &["--min-free", "0"]].concat()).expect(0);
    assert_eq!((archive.count("runs"), archive.count("walks WHERE kind = 'full'")), (1_001, 1));

    // An archive that is whole needs little: neither what is new nor a walk of what it has is refused.
    begin(1_001);
    sync(&archive, &emulator, &one, &[&small[..], &["--config", "tight.toml"]].concat()).expect(0);
    sync(&archive, &emulator, &one, &[&small[..], &["--config", "tight.toml", "--full"]].concat()).expect(0);
    assert_eq!(archive.count("runs"), 1_002);
    archive.assert_sound();
}

#[test]
fn a_listing_without_an_order_takes_no_more_of_a_full_disk_at_later_syncs() {
    // All runs began at once, so no run of the archive tells how far the newest ones reach.
    let at_once = |number: usize| {
        let id = format!("at-once-{number:04}");
        let json = format!(
            r#"{{"id":"{id}","state":"Completed","result":"Success","startDateTime":"2026-01-05T00:00:00Z"}}"#
        );
        run_of_json(&id, "2026-01-05T00:00:00Z", &json)
    };
    let emulator = start(platform(1, &(0..1_000).map(at_once).collect::<Vec<_>>()));
    let archive = Archive::new();
    let tight = ["--page-size", "50", "--pages-in-flight", "1", "--min-free", "99999TiB"];
    for _ in 0..3 {
        let ended = sync(&archive, &emulator, &["connection-a"], &tight).expect(3);
        assert!(ended.stderr.contains("no more is fetched of a whole listing"), "{}", ended.stderr);
    }
    assert!(archive.count("runs") <= 300, "{}", archive.count("runs"));
    archive.assert_sound();
}

#[test]
fn many_small_backfills_leave_room_on_the_disk_too() {
    let emulator = start(platform(5, &runs(0, 10).collect::<Vec<_>>()));
    let archive = Archive::new();
    let all = ["connection-a", "connection-b", "connection-c", "connection-d", "connection-e"];
    for rounds in 1..=2 {
        let ended =
            sync(&archive, &emulator, &all, &["--concurrency", "1", "--min-free", "99999TiB"]).expect(3);
        assert!(ended.stderr.contains("no more is fetched of a whole listing"), "{}", ended.stderr);
        assert_eq!(archive.count("runs"), 10 * rounds);
    }
    sync(&archive, &emulator, &all, &[]).expect(0);
    assert_eq!(archive.count("runs"), 50);
}

#[test]
fn a_listing_larger_than_the_disk_stops_before_the_disk_is_full() {
    let archive = Archive::new();
    let Some(_disk) = Mounted::memory(archive.folder(), "48m") else { return };
    let listing: Vec<Run> =
        history::listing(20_000, "2026-01-05T00:00:00Z".parse().unwrap(), 7).iter().cloned().collect();
    let emulator = start(platform(1, &listing));
    let ended = sync(&archive, &emulator, &["connection-a"], &["--page-size", "200", "--min-free", "16MiB"])
        .expect(3);
    assert!(ended.stderr.contains("min_free is 16.0 MiB"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("disk is full") && archive.count("runs") >= 200, "{}", ended.stderr);
    archive.assert_sound();
}

#[test]
fn many_unfinished_runs_among_the_newest_are_met_by_a_short_walk() {
    // A fiftieth of the runs is young, and half of that is not finished: by their ids they would be a hundred
    // requests, and the whole listing fifty.
    let listing = runs_with_unfinished(10_000, |number| number >= 9_800 && number % 2 == 0);
    let mut platform = platform(3, &listing);
    // What is unfinished for long is not all young: two runs far down hang, too.
    let old = platform.connections.get_mut("connection-c").unwrap();
    old.listing.replace(run_in_state(40, "Executing", "None"));
    old.listing.replace(run_in_state(5_000, "Executing", "None"));
    let emulator = start(platform);
    let archive = Archive::new();
    let all = ["connection-a", "connection-b", "connection-c"];
    sync(&archive, &emulator, &all, &["--page-size", "100"]).expect(0);
    assert_eq!(archive.count("unfinished_runs"), 302);
    taken(&emulator);

    let ended = sync(&archive, &emulator, &all, &["--page-size", "100", "--format", "json"]).expect(0);
    let requests = taken(&emulator);
    let count =
        |connection: &str| requests.iter().filter(|request| connection_of(request) == connection).count();
    let counts = all.map(count);
    // Pages overlap by a run, so two hundred runs are three of them, or two and one by its id; and the two old
    // ones by their ids.
    assert!(counts[0] <= 4 && counts[1] <= 4 && counts[2] <= 6, "{counts:?}");
    assert_eq!(ended.json()["changed"], 0);

    // Those that completed are stored as such, met by the walk or asked for.
    for connection in emulator.platform().connections.values_mut() {
        for number in (9_800..10_000).step_by(2).chain([40, 5_000]) {
            connection.listing.replace(run_in_state(number, "Completed", "Success"));
        }
    }
    sync(&archive, &emulator, &all, &["--page-size", "100"]).expect(0);
    assert_eq!((archive.count("unfinished_runs"), archive.count("runs WHERE state <> 'Completed'")), (0, 0));
    taken(&emulator);
    sync(&archive, &emulator, &all, &["--page-size", "100"]).expect(0);
    assert_eq!(taken(&emulator).len(), 3);
    archive.assert_sound();
}

#[test]
fn runs_that_hang_are_asked_for_with_growing_pauses() {
    // The fifty oldest of six hundred, at ten a page: by their ids is the short way.
    let emulator = start(platform(1, &runs_with_unfinished(600, |number| number < 50)));
    let archive = Archive::new();
    let by_id = |arguments: &[&str]| {
        let arguments = [&["--page-size", "10"], arguments].concat();
        taken(&emulator);
        sync(&archive, &emulator, &["connection-a"], &arguments).expect(0);
        taken(&emulator).iter().filter(|request| is_by_id(request)).count()
    };
    assert_eq!(by_id(&[]), 0);
    // On its first day each sync, then once a day, then never again by its id while it is listed.
    assert_eq!([by_id(&[]), by_id(&[])], [50, 50]);
    age_unfinished(&archive, 2);
    assert_eq!([by_id(&[]), by_id(&[])], [50, 0]);
    age_unfinished(&archive, 1);
    assert_eq!([by_id(&[]), by_id(&[])], [50, 0]);
    age_unfinished(&archive, 40);
    assert_eq!([by_id(&[]), by_id(&[])], [0, 0]);
    let oldest = || archive.value::<String>("SELECT min(answered_at) FROM unfinished_runs");
    let before = oldest();
    assert_eq!(by_id(&["--full"]), 0);
    assert!(before < oldest(), "a full walk has met them");

    // One that is not listed any more is asked for with the full walk.
    age_unfinished(&archive, 40);
    let hidden: Vec<String> = (0..3).map(|number| format!("run-{number:05}")).collect();
    emulator.platform().connections.get_mut("connection-a").unwrap().unlisted.extend(hidden);
    assert_eq!(by_id(&[]), 0);
    assert_eq!(by_id(&["--full"]), 3);

    // One that moves after all is asked for at each sync again.
    emulator
        .platform()
        .connections
        .get_mut("connection-a")
        .unwrap()
        .listing
        .replace(run_in_state(7, "Paused", "None"));
    assert_eq!(by_id(&["--full"]), 3);
    assert_eq!(by_id(&[]), 1);
    archive.assert_sound();
}

#[test]
fn a_daily_sync_asks_for_a_run_that_hangs_each_day() {
    let emulator = start(platform(1, &runs_with_unfinished(30, |number| number == 0)));
    let archive = Archive::new();
    let asks = || {
        taken(&emulator);
        sync(&archive, &emulator, &["connection-a"], &["--page-size", "10"]).expect(0);
        taken(&emulator).iter().filter(|request| is_by_id(request)).count()
    };
    asks();
    for _ in 0..5 {
        age_unfinished(&archive, 1);
        // Cron began it a minute earlier than the day before.
        let database = rusqlite::Connection::open(archive.path()).unwrap();
        let sql = "UPDATE unfinished_runs
                   SET answered_at = strftime('%Y-%m-%dT%H:%M:%S', substr(answered_at, 1, 19), '+1 minute')
                                     || substr(answered_at, 20)";
        database.execute(sql, []).unwrap();
        assert_eq!(asks(), 1);
    }
}

#[test]
fn a_connection_where_runs_only_hang_is_quiet() {
    let (itwin, mut platform) = history::fleet(1, 2, 30, "2026-01-05T00:00:00Z".parse().unwrap(), 7);
    for connection in platform.connections.values_mut() {
        let oldest = connection.listing.oldest().unwrap().clone();
        let hangs = history::simple_run(&oldest.id, &oldest.started, "Executing", "None");
        connection.listing.replace(hangs);
    }
    let emulator = start(platform);
    let archive = Archive::new();
    let sync = || {
        let mut command = command(&archive, &emulator, &[], &["--itwin", &itwin, "--format", "json"]);
        command.args(["--page-size", "5"]);
        run(command).expect(0).json()
    };
    sync();
    assert_eq!(sync()["quiet"], 0, "they are asked for on their first day");
    age_unfinished(&archive, 40);
    taken(&emulator);
    assert_eq!(sync()["quiet"], 2);
    assert!(taken(&emulator).iter().all(|request| !request.path.contains("/runs")));
}

#[test]
fn a_run_that_completes_while_its_listing_is_walked_is_finished_in_every_table() {
    let emulator = start(platform(1, &runs_with_unfinished(5, |number| number > 2)));
    let archive = Archive::new();
    let one = ["connection-a"];
    sync(&archive, &emulator, &one, &[]).expect(0);
    assert_eq!(archive.count("unfinished_runs WHERE asked_at IS NULL"), 2);
    emulator.platform().connections.get_mut("connection-a").unwrap().listing.replace(run_in_state(
        3,
        "Completed",
        "Error",
    ));
    sync(&archive, &emulator, &one, &[]).expect(0);
    assert_eq!(
        archive.column::<String>("SELECT id FROM unfinished_runs JOIN runs USING (run_key)"),
        ["run-00004"]
    );

    // What was altered is found, and told anew from the runs.
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database
        .execute_batch(
            "UPDATE unfinished_runs SET run_key = (SELECT run_key FROM runs WHERE id = 'run-00000')",
        )
        .unwrap();
    drop(database);
    let verify = |arguments: &[&str]| {
        let mut command = archive.command();
        command.args(["verify", "--offline"]).args(arguments);
        run(command)
    };
    let ended = verify(&[]).expect(3);
    assert!(
        ended.stdout.contains("unfinished_runs holds exactly the runs that are not terminal"),
        "{}",
        ended.stdout
    );
    verify(&["--repair"]);
    verify(&[]).expect(0);
    assert_eq!(
        archive.column::<String>("SELECT id FROM unfinished_runs JOIN runs USING (run_key)"),
        ["run-00004"]
    );
}

#[test]
fn reports_say_how_old_the_oldest_answer_about_unfinished_runs_is() {
    let emulator = start(platform(1, &runs_with_unfinished(5, |number| number > 2)));
    let archive = Archive::new();
    sync(&archive, &emulator, &["connection-a"], &[]).expect(0);
    age_unfinished(&archive, 3);
    let ask = |arguments: &[&str]| {
        let mut command = archive.command();
        command.args(arguments);
        run(command).expect(0)
    };
    let answered: String = archive.value("SELECT min(answered_at) FROM unfinished_runs");
    let status = ask(&["status", "--format", "json"]).json();
    assert_eq!(status["connections"][0]["oldest_answer_at"], answered.as_str());
    let told = "2 runs unfinished, the oldest of the platform's last answers about them was 3 days ago";
    let status = ask(&["status"]).stdout;
    assert!(status.contains(told), "{status}");

    let report = ask(&["report", "--format", "json"]).json();
    assert_eq!(report["unfinished"]["oldest_answer_at"], answered.as_str());
    assert!(report["unfinished"]["oldest_answer_age_ms"].as_i64() >= Some(3 * 86_400_000));
    let report = ask(&["report"]).stdout;
    let words = report.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("the oldest of the platform's last answers about them is 3 d"), "{report}");

    let rows = ask(&["query", "unfinished-runs", "--format", "json"]).json();
    assert_eq!(rows[0]["answered_at"], answered.as_str());
    assert_eq!(rows[0]["oldest_answer_at"], answered.as_str());
}

#[test]
fn unfinished_runs_at_the_end_of_a_listing_whose_newest_come_last_are_read_from_its_last_pages() {
    let mut platform = platform(1, &runs_with_unfinished(2_000, |number| number >= 1_900 && number % 2 == 0));
    platform.connections.get_mut("connection-a").unwrap().order = Order::OldestFirst;
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--page-size", "100"];
    sync(&archive, &emulator, &["connection-a"], &arguments).expect(0);
    let mut platform = emulator.platform();
    let listing = &mut platform.connections.get_mut("connection-a").unwrap().listing;
    listing.replace(run_in_state(1_902, "Completed", "Error"));
    listing.push_newest(run_in_state(2_000, "Completed", "Success"));
    drop(platform);
    taken(&emulator);
    sync(&archive, &emulator, &["connection-a"], &arguments).expect(0);
    // Not the fifty by their ids, nor all twenty pages: one behind the end, and the last hundred runs.
    let requests = taken(&emulator);
    let asked: Vec<_> = requests.iter().map(|request| (&request.path, request.skip)).collect();
    assert!(requests.len() <= 4, "{asked:?}");
    assert_eq!((archive.count("unfinished_runs"), archive.count("runs")), (49, 2_001));
    assert_eq!(archive.value::<String>("SELECT result FROM runs WHERE id = 'run-01902'"), "Error");
    assert_eq!(archive.count("unfinished_runs WHERE asked_at IS NOT NULL"), 0);
    archive.assert_sound();
}
