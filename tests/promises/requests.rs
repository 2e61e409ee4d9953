//! What syncs ask the platform, request by request, over a set of histories: a change of how the program is
//! built may not change it. The snapshots also hold what each sync said, and what it recorded of its walks.
//!
//! One request at a time goes out, and all that is random has a seed, so every history is the same each time.
//! Where a change of behaviour is meant, the snapshots are accepted anew and the difference is read.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;

use run_archive::emulator::{
    Answer, Connection, Emulator, Links, On, Order, Platform, RetryAfter, Scripted, Shift, history,
};
use serde_json::Value;

use crate::common::{Archive, CONNECTION, platform_in_order, run, run_in_state, runs, sync};

/// One archive, one platform, and what went between them so far.
struct History {
    archive: Archive,
    emulator: Emulator,
    /// Short names for the platform's ids, in the order in which they came up.
    names: BTreeMap<String, String>,
    log: String,
}

impl History {
    fn new(platform: Platform) -> Self {
        let emulator = Emulator::start(platform).unwrap();
        Self { archive: Archive::new(), emulator, names: BTreeMap::new(), log: String::new() }
    }

    /// Writes a heading for the histories of one snapshot.
    fn named(mut self, name: &str) -> Self {
        writeln!(self.log, "== {name}").unwrap();
        self
    }

    fn platform(&self, change: impl FnOnce(&mut Platform)) {
        change(&mut self.emulator.platform());
    }

    fn connection(&self, change: impl FnOnce(&mut Connection)) {
        self.platform(|platform| change(platform.connections.get_mut(CONNECTION).unwrap()));
    }

    fn script(&self, scripted: Scripted) {
        self.platform(|platform| platform.faults.script.push(scripted));
    }

    /// Changes the archive by hand, as time or another version would.
    fn alter(&self, sql: &str) {
        rusqlite::Connection::open(self.archive.path()).unwrap().execute(sql, []).unwrap();
    }

    /// Syncs the one connection.
    fn sync(&mut self, arguments: &[&str]) {
        self.sync_of(&["--connection", CONNECTION], arguments);
    }

    fn sync_of(&mut self, scope: &[&str], arguments: &[&str]) {
        let mut command: Command = sync(&self.archive, &self.emulator, scope);
        command.args(["--pages-in-flight", "1", "--concurrency", "1", "--format", "json"]).args(arguments);
        if !arguments.contains(&"--request-limit") {
            command.args(["--request-limit", "none"]);
        }
        self.emulator.clear_requests();
        let is_recorded = self.archive.path().exists();
        let last = if is_recorded { self.archive.count("walks") } else { 0 };
        let told = run(command).json();
        self.tell(arguments, &told);
        if self.archive.path().exists() {
            self.tell_walks(last);
        }
    }

    fn tell(&mut self, arguments: &[&str], told: &Value) {
        let counts = ["listed", "new", "changed", "unchanged", "rejected", "quiet"];
        let counts: Vec<String> = counts.iter().map(|name| format!("{} {name}", told[*name])).collect();
        let arguments = arguments.join(" ");
        writeln!(self.log, "sync {arguments}: {} ({})", told["outcome"], told["exit_code"]).unwrap();
        writeln!(self.log, "  {}", counts.join(", ")).unwrap();
        let mut asked = Vec::new();
        for request in self.emulator.requests() {
            let path =
                request.path.rsplit_once("connections").map_or(request.path.as_str(), |(_, path)| path);
            let query = request.query.as_deref().map(|query| format!("?{query}")).unwrap_or_default();
            let line = self.shortened(&format!("{path}{query}"));
            let refused = if request.status == 200 { String::new() } else { format!(" {}", request.status) };
            asked.push(format!("{line}{refused}"));
        }
        writeln!(self.log, "  asked: {}", asked.join(" | ")).unwrap();
        let found = told["found"]["problems"].as_array().unwrap().iter();
        let own = told["connections"].as_array().unwrap().iter();
        let own = own.flat_map(|connection| connection["problems"].as_array().unwrap());
        for problem in found.chain(own) {
            let problem = without_clock(&self.shortened(problem.as_str().unwrap()));
            writeln!(self.log, "  problem: {problem}").unwrap();
        }
    }

    fn tell_walks(&mut self, last: i64) {
        let walks: Vec<String> = self.archive.column(&format!(
            "SELECT kind || iif(complete, ' complete', ' open') || ', pages ' || pages || ', listed ' || listed
                    || coalesce(', goes on at ' || json_extract(checkpoint, '$.position'), '')
                    || coalesce(': ' || reason, '')
             FROM walks WHERE walk_key > {last} ORDER BY walk_key"
        ));
        for walk in walks {
            let walk = without_clock(&self.shortened(&walk));
            writeln!(self.log, "  walk: {walk}").unwrap();
        }
        let checkpoints: Vec<String> = self.archive.column(
            "SELECT coalesce(listing_order, '-') || ', page size ' || coalesce(page_size, '-')
                    || ', settled ' || settled_run_key || ', up to ' || coalesce(watermark, '-')
                    || ', listed ' || listed || ', end ' || coalesce(json_extract(listing_end, '$.position'), '-')
                    || ', last run ' || coalesce(last_run_id, '-')
             FROM checkpoints ORDER BY connection_key",
        );
        // A fleet has too many of them to be read.
        for checkpoint in checkpoints.iter().filter(|_| checkpoints.len() == 1) {
            writeln!(self.log, "  then: {checkpoint}").unwrap();
        }
    }

    /// The text with each id of the platform by a short name.
    fn shortened(&mut self, text: &str) -> String {
        let mut short = String::new();
        let is_of_id = |letter: char| letter.is_ascii_alphanumeric() || letter == '-' || letter == '_';
        for word in text.split_inclusive(|letter| !is_of_id(letter)) {
            let id = word.trim_end_matches(|letter| !is_of_id(letter));
            if id.len() < 36 {
                short.push_str(word);
                continue;
            }
            let count = self.names.len();
            let name = self.names.entry(id.to_owned()).or_insert_with(|| format!("#{count}"));
            short.push_str(name);
            short.push_str(&word[id.len()..]);
        }
        short
    }
}

/// What a clock decides is left out: the emulator's numbers for its answers, and how long a limit lasts yet.
fn without_clock(text: &str) -> String {
    let text = text.split(", and the next may go in 1h").collect::<String>();
    match text.split_once(" (correlation id ") {
        Some((before, after)) => {
            let end = after.find(')').map_or(after.len(), |end| end + 1);
            format!("{before}{}", &after[end..])
        }
        None => text,
    }
}

fn orders() -> [Order; 3] {
    [Order::NewestFirst, Order::OldestFirst, Order::Shuffled]
}

fn paged(order: Order, count: u64, cap: u64) -> Platform {
    let mut platform = platform_in_order(order, runs(0, count));
    platform.faults.page_cap = Some(cap);
    platform
}

/// What is recorded of these histories must be what it was.
macro_rules! assert_as_ever {
    ($histories:expr) => {
        let log: String = $histories.into_iter().map(|history| history.log).collect();
        insta::assert_snapshot!(log);
    };
}

#[test]
fn a_first_sync_nothing_new_and_news_are_asked_for_as_ever() {
    let links = [Links::WellFormed, Links::AsPublished, Links::Absent];
    let each = orders().into_iter().flat_map(|order| links.clone().map(|links| (order, links)));
    assert_as_ever!(
        (each.map(|(order, links)| {
            let mut platform = paged(order, 120, 50);
            platform.faults.links = links.clone();
            let mut history = History::new(platform).named(&format!("{order:?}, {links:?}"));
            history.sync(&["--dry-run"]);
            history.sync(&[]);
            history.sync(&[]);
            for (first, count) in [(120, 1), (121, 60)] {
                history.connection(|connection| {
                    runs(first, count).for_each(|run| connection.listing.push_newest(run))
                });
                history.sync(&["--dry-run"]);
                history.sync(&[]);
            }
            history.connection(|connection| drop(connection.listing.remove_id("run-00100")));
            history.sync(&[]);
            history.sync(&["--full"]);
            history.connection(|connection| connection.listing = runs(500, 70).collect());
            history.sync(&[]);
            history
        }))
    );
}

#[test]
fn short_listings_and_none_at_all_are_asked_for_as_ever() {
    let each = orders().into_iter().flat_map(|order| [0, 1, 2, 30].map(|count| (order, count)));
    assert_as_ever!(
        (each.map(|(order, count)| {
            let mut history =
                History::new(paged(order, count, 50)).named(&format!("{order:?}, {count} runs"));
            history.sync(&[]);
            history.sync(&[]);
            history
                .connection(|connection| runs(count, 2).for_each(|run| connection.listing.push_newest(run)));
            history.sync(&[]);
            history.connection(|connection| connection.listing = runs(0, 0).collect());
            history.sync(&[]);
            history
        }))
    );
}

#[test]
fn a_listing_that_shifts_while_it_is_paged_is_asked_for_as_ever() {
    assert_as_ever!(
        ((0..18_u64).map(|seed| {
            let mut rng = fastrand::Rng::with_seed(seed);
            let count = rng.u64(0..70);
            let mut platform = platform_in_order(orders()[(seed % 3) as usize], runs(1_000, count));
            platform.faults.page_cap = Some(rng.u64(2..20));
            platform.faults.short_pages = Some(rng.u64(..)).filter(|seed| seed % 4 == 0);
            platform.faults.links =
                [Links::WellFormed, Links::AsPublished, Links::Absent][rng.usize(0..3)].clone();
            let (mut newest, mut oldest) = (1_000 + count, 1_000);
            for _ in 0..rng.usize(0..15) {
                let shifts = (0..rng.usize(0..4)).map(|_| {
                    let connection = CONNECTION.to_owned();
                    match rng.usize(0..7) {
                        0..3 => {
                            newest += 1;
                            Shift::InsertNewest { connection, run: runs(newest - 1, 1).next().unwrap() }
                        }
                        3 => {
                            oldest -= 1;
                            Shift::InsertOldest { connection, run: runs(oldest, 1).next().unwrap() }
                        }
                        _ => Shift::Remove { connection, index: rng.usize(0..40) },
                    }
                });
                let shifts = shifts.collect();
                platform.faults.shifts.push_back(shifts);
            }
            let mut history = History::new(platform).named(&format!("seed {seed}"));
            history.sync(&[]);
            history.sync(&[]);
            history
                .connection(|connection| runs(newest, 3).for_each(|run| connection.listing.push_newest(run)));
            history.sync(&[]);
            history.sync(&["--full"]);
            history
        }))
    );
}

#[test]
fn a_walk_that_was_interrupted_goes_on_as_ever() {
    assert_as_ever!(
        (orders().map(|order| {
            let mut history = History::new(paged(order, 400, 20)).named(&format!("{order:?}"));
            let forget = "UPDATE syncs SET requested_at = NULL";
            let budget = ["--request-limit", "6/1h", "--time-budget", "2m"];
            history.sync(&budget);
            history.alter(forget);
            history
                .connection(|connection| runs(400, 25).for_each(|run| connection.listing.push_newest(run)));
            history.sync(&budget);
            history.alter(forget);
            history.sync(&[]);
            // The same where a complete walk has proved what there was.
            history.alter(forget);
            let full = [&budget[..], &["--full"]].concat();
            history.sync(&full);
            history.alter(forget);
            history.connection(|connection| runs(425, 3).for_each(|run| connection.listing.push_newest(run)));
            history.sync(&budget);
            history.alter(forget);
            history.sync(&[]);
            // An incremental walk that is stopped after many pages.
            history
                .connection(|connection| runs(428, 300).for_each(|run| connection.listing.push_newest(run)));
            history.alter(forget);
            history.sync(&["--request-limit", "12/1h", "--time-budget", "2m"]);
            history.alter(forget);
            history.sync(&[]);
            history.alter("UPDATE walks SET checkpoint = 'of another version' WHERE checkpoint IS NOT NULL");
            history.sync(&[]);
            history
        }))
    );
}

#[test]
fn a_full_walk_that_is_due_comes_as_ever() {
    assert_as_ever!(
        (orders().map(|order| {
            let mut history = History::new(paged(order, 120, 50)).named(&format!("{order:?}"));
            std::fs::write(history.archive.folder().join("often.toml"), "full_every = \"0s\"\n").unwrap();
            history.sync(&[]);
            history.sync(&["--config", "often.toml"]);
            history.connection(|connection| drop(connection.listing.remove_id("run-00007")));
            history.sync(&["--config", "often.toml"]);
            history
        }))
    );
}

#[test]
fn unfinished_runs_are_asked_for_as_ever() {
    assert_as_ever!(
        (orders().map(|order| {
            let unfinished: [u64; 9] = [2, 3, 60, 190, 191, 192, 193, 194, 199];
            let state = |number| if unfinished.contains(&number) { "Executing" } else { "Completed" };
            let all = (0..200).map(|number| run_in_state(number, state(number), "Success"));
            let mut platform = platform_in_order(order, all);
            platform.faults.page_cap = Some(50);
            let mut history = History::new(platform).named(&format!("{order:?}"));
            history.sync(&[]);
            history.sync(&[]);
            history.connection(|connection| {
                connection.listing.replace(run_in_state(60, "Completed", "Error"));
                connection.listing.replace(run_in_state(193, "Completed", "Success"));
                drop(connection.listing.remove_id("run-00002"));
                runs(200, 2).for_each(|run| connection.listing.push_newest(run));
            });
            history.sync(&[]);
            history.script(Scripted::once(On::GetRun, Answer::NotJson));
            history.sync(&[]);
            history.sync(&["--full"]);
            history.sync(&["--dry-run"]);
            history
        }))
    );
}

#[test]
fn more_unfinished_runs_than_pages_are_walked_for_as_ever() {
    let unfinished = (0..150).map(|number| run_in_state(number, "Executing", "Undetermined"));
    assert_as_ever!(
        (orders().map(|order| {
            let mut platform = platform_in_order(order, unfinished.clone());
            platform.faults.page_cap = Some(50);
            let mut history = History::new(platform).named(&format!("{order:?}"));
            history.sync(&[]);
            history.sync(&[]);
            history
        }))
    );
}

#[test]
fn a_platform_that_refuses_or_gives_less_is_asked_as_ever() {
    let mut histories = Vec::new();
    let mut faulty = |name: &str, fault: &dyn Fn(&mut Platform)| {
        let mut platform = paged(Order::NewestFirst, 120, 50);
        fault(&mut platform);
        let mut history = History::new(platform).named(name);
        history.sync(&[]);
        history.platform(|platform| platform.faults.script.clear());
        history.connection(|connection| runs(120, 2).for_each(|run| connection.listing.push_newest(run)));
        history.sync(&[]);
        histories.push(history);
    };
    let script =
        |scripted: Scripted| move |platform: &mut Platform| platform.faults.script.push(scripted.clone());
    faulty("no page above 30", &|platform| platform.faults.top_limit = Some(30));
    faulty("pages of one", &|platform| {
        platform.faults.page_cap = Some(1);
        platform.connections.get_mut(CONNECTION).unwrap().listing = runs(90, 12).collect();
    });
    faulty("$skip ignored", &|platform| platform.faults.ignore_skip = true);
    faulty("$skip clamped", &|platform| platform.faults.clamp_skip = Some(60));
    faulty("$skip wraps", &|platform| platform.faults.wrap_skip = true);
    faulty("forbidden", &script(Scripted::always(On::Any, Answer::Documented(403))));
    faulty("refused", &script(Scripted::always(On::Any, Answer::Documented(401))));
    faulty("not found", &script(Scripted::always(On::Any, Answer::Documented(404))));
    faulty(
        "the connection cannot be had",
        &script(Scripted::always(On::GetConnection, Answer::Documented(404))),
    );
    let throttled = Answer::TooManyRequests { retry_after: RetryAfter::Seconds(0) };
    faulty("throttled", &script(Scripted::once(On::ListRuns, throttled).after(1)));
    let broken = Scripted::always(On::ListRunsAt { skip: 98 }, Answer::NotJson);
    faulty("a page that is no JSON", &script(broken));
    assert_as_ever!(histories);
}

#[test]
fn a_connection_whose_last_run_is_odd_is_asked_as_ever() {
    assert_as_ever!(
        (orders().map(|order| {
            let mut history = History::new(paged(order, 120, 50)).named(&format!("{order:?}"));
            let hide = |history: &History, run: &str| {
                let run = run.to_owned();
                history.connection(|connection| assert!(connection.unlisted.insert(run)));
            };
            // The newest run is named and there by its id, but no page holds it.
            hide(&history, "run-00119");
            history.sync(&[]);
            history.sync(&[]);
            // Named, and 404 by its id.
            history.connection(|connection| runs(120, 1).for_each(|run| connection.listing.push_newest(run)));
            hide(&history, "run-00120");
            history.script(Scripted::always(On::GetRun, Answer::Documented(404)));
            history.sync(&[]);
            history.sync(&[]);
            // Nothing is listed, although runs are there by their ids.
            history.platform(|platform| platform.faults.script.clear());
            history.connection(|connection| {
                let all: Vec<String> = connection.listing.iter().map(|run| run.id.clone()).collect();
                connection.unlisted.extend(all);
            });
            history.sync(&["--full"]);
            history.sync(&[]);
            history
        }))
    );
}

#[test]
fn a_fleet_is_asked_as_ever() {
    let (itwin, platform) = history::fleet(4, 2, 5, "2026-01-05T00:00:00Z".parse().unwrap(), 7);
    let mut history = History::new(platform.clone()).named("an iTwin");
    let scope = ["--itwin", &itwin];
    history.sync_of(&scope, &[]);
    history.sync_of(&scope, &["--dry-run"]);
    history.sync_of(&scope, &[]);
    let busy = platform.connections.keys().next().unwrap().clone();
    let begin = |platform: &mut Platform, number| {
        let listing = &mut platform.connections.get_mut(&busy).unwrap().listing;
        runs(number, 1).for_each(|run| listing.push_newest(run));
    };
    history.platform(|platform| begin(platform, 900_000));
    history.sync_of(&scope, &[]);
    // A connection is gone, another is forbidden, an iModel is gone.
    let ids: Vec<String> = platform.connections.keys().cloned().collect();
    let gone = platform.imodels.keys().next_back().unwrap().clone();
    history.platform(|platform| {
        platform.connections.remove(&ids[1]);
        platform.connections.get_mut(&ids[2]).unwrap().status = Some(403);
        platform.imodels.remove(&gone);
        platform.connections.retain(|_, connection| connection.imodel_id != gone);
    });
    history.sync_of(&scope, &[]);
    history.sync_of(&scope, &[]);
    // Lists fail, and then only a few requests may be sent.
    history.script(Scripted::once(On::ListConnections, Answer::Documented(404)));
    history.script(Scripted::once(On::ListConnections, Answer::Documented(403)));
    history.sync_of(&scope, &[]);
    history.alter("UPDATE syncs SET requested_at = NULL");
    history.platform(|platform| begin(platform, 900_001));
    history.sync_of(&scope, &["--request-limit", "5/1h", "--time-budget", "2m"]);
    // The role on the iTwin goes.
    history.platform(|platform| platform.imodels.clear());
    history.sync_of(&scope, &[]);
    history.platform(|platform| platform.itwins.clear());
    history.sync_of(&scope, &[]);
    assert_as_ever!([history]);
}

#[test]
fn one_bad_connection_of_several_is_asked_as_ever() {
    let named = ["connection-a", "connection-b", "connection-c"];
    let scope: Vec<&str> = named.iter().flat_map(|id| ["--connection", id]).collect();
    let mut histories = Vec::new();
    for (name, status) in [("forbidden", 403), ("not found", 404), ("refused", 401)] {
        let mut platform = Platform::default();
        for id in named {
            platform.connections.insert(id.to_owned(), Connection::new("Bridge", runs(0, 5).collect()));
        }
        let bad = On::Connection("connection-b".to_owned());
        platform.faults.script.push(Scripted::always(bad, Answer::Documented(status)));
        let mut history = History::new(platform).named(name);
        history.sync_of(&scope, &[]);
        history.sync_of(&scope, &[]);
        history.alter("UPDATE syncs SET requested_at = NULL");
        history.sync_of(&scope, &["--request-limit", "2/1h", "--time-budget", "2m"]);
        histories.push(history);
    }
    assert_as_ever!(histories);
}
