//! Syncs that are killed, told to stop, out of time, or not alone: what was stored stays, what is missing
//! comes with the next one, and nobody waits for the dead.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use run_archive::emulator::{Answer, Emulator, On, Order, Platform, Request, Run, Scripted, history};
use serde_json::Value;

use crate::common::{Archive, CONNECTION, Ended, ended, fixture, platform_in_order, run, runs};

/// The runs of a backfill, and how many of them come on a page.
const RUNS: u64 = 3_000;
const PAGE: u64 = 50;
/// Pages that a sync keeps in flight by default.
const IN_FLIGHT: usize = 4;

/// A command under way; it is killed if the test ends first.
pub struct Running(Option<Child>);

impl Running {
    pub fn spawn(mut command: Command) -> Self {
        Self(Some(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()))
    }

    fn child(&mut self) -> &mut Child {
        self.0.as_mut().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    /// `kill -9`.
    pub fn kill(mut self) {
        self.child().kill().unwrap();
        let status = self.child().wait().unwrap();
        assert_eq!(status.code(), None, "it ended before it was killed");
        self.0 = None;
    }

    /// `kill -9`, unless it has ended.
    pub fn kill_or_end(mut self) {
        self.child().kill().unwrap();
        self.child().wait().unwrap();
        self.0 = None;
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name}");
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        ended(self.0.take().unwrap().wait_with_output().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Looks until it is so; a minute without is a failure.
#[track_caller]
pub fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < Duration::from_secs(60), "waited a minute for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn is_list(request: &Request) -> bool {
    request.path.ends_with("/runs")
}

fn lists(emulator: &Emulator) -> u64 {
    emulator.requests().iter().filter(|request| is_list(request)).count() as u64
}

fn lists_answered(emulator: &Emulator) -> u64 {
    emulator.requests().iter().filter(|request| is_list(request) && request.status == 200).count() as u64
}

/// A platform whose every page takes a moment.
fn slow_platform(order: Order, runs: impl IntoIterator<Item = Run>) -> Platform {
    let mut platform = platform_in_order(order, runs);
    platform.faults.page_cap = Some(PAGE);
    platform.faults.delay = Duration::from_millis(4);
    platform
}

fn history(count: u64) -> Vec<Run> {
    history::listing(count, "2026-01-05T00:00:00Z".parse().unwrap(), 7).iter().cloned().collect()
}

/// What belongs to a run: how many jobs, tasks and errors.
type Trees = BTreeMap<String, [usize; 3]>;

fn trees_of(runs: &[Run]) -> Trees {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let tree = |run: &Run| {
        let value: Value = serde_json::from_str(&run.json).unwrap();
        let jobs = list(&value["jobs"]);
        let tasks: Vec<Value> = jobs.iter().flat_map(|job| list(&job["tasks"])).collect();
        let errors = tasks.iter().filter(|task| task["error"].is_object()).count();
        (run.id.clone(), [jobs.len(), tasks.len(), errors])
    };
    runs.iter().map(tree).collect()
}

fn trees_in(archive: &Archive) -> Trees {
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let count = |table| format!("(SELECT count(*) FROM {table} WHERE {table}.run_key = runs.run_key)");
    let sql = format!("SELECT id, {}, {}, {} FROM runs", count("jobs"), count("tasks"), count("errors"));
    let mut statement = database.prepare(&sql).unwrap();
    let number = |row: &rusqlite::Row<'_>, at| row.get::<_, i64>(at).map(|count| count as usize);
    statement
        .query_map([], |row| Ok((row.get(0)?, [number(row, 1)?, number(row, 2)?, number(row, 3)?])))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// What a sync left behind, copied: a look through SQLite would already clean it up.
fn copy(archive: &Archive) -> Archive {
    let copy = Archive::new();
    let beside = |archive: &Archive, ending| PathBuf::from(format!("{}{ending}", archive.path().display()));
    for ending in ["", "-wal"] {
        let from = beside(archive, ending);
        if from.exists() {
            fs::copy(from, beside(&copy, ending)).unwrap();
        }
    }
    copy
}

/// The file is sound and every run in it is there with all that belongs to it.
#[track_caller]
fn assert_whole_trees(archive: &Archive, platform: &Trees) -> usize {
    archive.assert_sound();
    let stored = trees_in(archive);
    for (id, tree) in &stored {
        assert_eq!(platform.get(id), Some(tree), "run {id}: jobs, tasks, errors");
    }
    stored.len()
}

/// A moment of a backfill, told by what the platform has answered; a failure prints it.
fn kill_after(archive: &Archive, emulator: &Emulator, answers: u64) {
    // It cannot be done before it is killed, however late that comes.
    emulator.platform().faults.script =
        vec![Scripted::always(On::ListRuns, Answer::Hang).after(answers as u32 + 6)];
    let sync = Running::spawn(archive.sync(emulator));
    wait_until("the answers", || lists_answered(emulator) >= answers);
    sync.kill();
    emulator.platform().faults.script.clear();
}

fn assert_a_killed_backfill_goes_on(order: Order) {
    let all = history(RUNS);
    let trees = trees_of(&all);
    let kind = slow_platform(order, all);
    let pages_in_all = {
        let emulator = Emulator::start(kind.clone()).unwrap();
        run(Archive::new().sync(&emulator)).expect(0);
        lists(&emulator)
    };
    assert!(pages_in_all >= RUNS / PAGE);

    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = fastrand::Rng::with_seed(seed);
    let kills = 6;
    let width = (RUNS / PAGE - 8) / kills;
    for kill in 0..kills {
        let answers = 1 + kill * width + rng.u64(0..width);
        println!("{order:?}, killed after {answers} answers");
        let archive = Archive::new();
        let emulator = Emulator::start(kind.clone()).unwrap();
        kill_after(&archive, &emulator, answers);
        drop(emulator);

        let left = copy(&archive);
        let stored = assert_whole_trees(&left, &trees);
        let pages: i64 = left.value("SELECT coalesce(sum(pages), 0) FROM walks");
        let listed: i64 = left.value("SELECT coalesce(sum(listed), 0) FROM walks");
        assert_eq!(listed as usize, stored, "what a walk says it met is there");
        assert_eq!(left.column::<String>("SELECT outcome FROM syncs"), ["running"]);
        assert_eq!(left.value::<i64>("SELECT coalesce(sum(complete), 0) FROM walks"), 0);

        let emulator = Emulator::start(kind.clone()).unwrap();
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(assert_whole_trees(&archive, &trees), trees.len());
        assert_eq!(archive.column::<String>("SELECT outcome FROM syncs"), ["interrupted", "done"]);
        assert_eq!(archive.column::<Option<String>>("SELECT ended_at FROM syncs WHERE sync_key = 1"), [None]);
        let full_walks: Vec<i64> =
            archive.column("SELECT complete FROM walks WHERE kind = 'full' ORDER BY walk_key");
        // A walk of which nothing was stored is begun anew, any other is brought to its end.
        let is_resumable = left.count("walks WHERE checkpoint IS NOT NULL") == 1;
        assert_eq!(full_walks, if is_resumable { vec![1] } else { vec![0, 1] });
        // It joins on to the last page that was stored, and looks at the newest once more.
        let asked = lists(&emulator);
        let spared = if is_resumable { pages.cast_unsigned() } else { 0 };
        let most = pages_in_all - spared + 1 + IN_FLIGHT as u64;
        assert!(asked <= most, "asked {asked} pages of {pages_in_all} with {pages} stored");
    }
}

#[test]
fn a_backfill_of_the_newest_first_that_is_killed_goes_on_where_it_stood() {
    assert_a_killed_backfill_goes_on(Order::NewestFirst);
}

#[test]
fn a_backfill_of_the_oldest_first_that_is_killed_goes_on_where_it_stood() {
    assert_a_killed_backfill_goes_on(Order::OldestFirst);
}

#[test]
fn a_backfill_killed_again_and_again_while_runs_begin_has_them_all_in_the_end() {
    for order in [Order::NewestFirst, Order::OldestFirst] {
        println!("{order:?}");
        let all = history(RUNS);
        let (first, later) = all.split_at(RUNS as usize - 300);
        let archive = Archive::new();
        let emulator = Emulator::start(slow_platform(order, first.iter().cloned())).unwrap();
        let trees = trees_of(&all);
        let mut stored = 0;
        for new in later.chunks(60) {
            emulator.clear_requests();
            kill_after(&archive, &emulator, 8);
            let now_stored = assert_whole_trees(&copy(&archive), &trees);
            assert!(now_stored >= stored, "{now_stored} runs are left of {stored}");
            stored = now_stored;
            let mut platform = emulator.platform();
            let listing = &mut platform.connections.get_mut(CONNECTION).unwrap().listing;
            new.iter().for_each(|run| listing.push_newest(run.clone()));
        }
        emulator.clear_requests();
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(assert_whole_trees(&archive, &trees), all.len());
        // What is stored is not asked for again, apart from looking for the place: the listing has shifted.
        let (asked, missing) = (lists(&emulator), (all.len() - stored) as u64);
        let most = missing / (PAGE - 1) + 3 * IN_FLIGHT as u64;
        assert!(asked <= most, "asked {asked} pages for {missing} runs");
        let walk = "SELECT complete FROM walks ORDER BY walk_key DESC LIMIT 1";
        assert_eq!(archive.value::<i64>(walk), 1);
        let outcomes: Vec<String> = archive.column("SELECT outcome FROM syncs ORDER BY sync_key");
        assert_eq!(outcomes, [["interrupted"; 5].as_slice(), &["done"]].concat());
        // And it knows that it has: nothing is left to ask for but one look.
        emulator.clear_requests();
        run(archive.sync(&emulator)).expect(0);
        assert_eq!(emulator.requests().len(), 1);
    }
}

#[test]
fn a_second_sync_leaves_at_once_and_the_first_completes() {
    let archive = Archive::new();
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 120))).unwrap();
    // While the guard is held nothing is answered: the first sync has begun and waits.
    let held = emulator.platform();
    let first = Running::spawn(archive.sync(&emulator));
    wait_until("the first request", || !emulator.requests().is_empty());
    let second = run(archive.sync(&emulator)).expect(5);
    let process = format!("process {}", first.id());
    assert!(second.stderr.contains(&process), "{process} is not named: {}", second.stderr);
    assert!(second.stderr.contains(archive.path().to_str().unwrap()), "{}", second.stderr);
    assert_eq!(second.stdout, "");
    assert_eq!(emulator.requests().len(), 1, "the second asked nothing");
    drop(held);
    first.end().expect(0);
    assert_eq!(archive.count("runs"), 120);
    assert_eq!(archive.column::<String>("SELECT outcome FROM syncs"), ["done"], "the second left no row");
    archive.assert_sound();
}

#[test]
fn an_import_beside_a_sync_leaves_at_once() {
    let archive = Archive::new();
    let saved = archive.folder().join("page.json");
    fs::write(&saved, fixture("list-runs-200.json")).unwrap();
    let import = || {
        let mut command = archive.command();
        command.arg("import").arg(&saved);
        command
    };
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 20))).unwrap();
    let held = emulator.platform();
    let sync = Running::spawn(archive.sync(&emulator));
    wait_until("the first request", || !emulator.requests().is_empty());
    let refused = run(import()).expect(5);
    assert!(refused.stderr.contains(&format!("process {}", sync.id())), "{}", refused.stderr);
    drop(held);
    sync.end().expect(0);
    assert_eq!(archive.count("runs"), 20);
    run(import()).expect(0);
    assert_eq!(archive.count("runs"), 21);
}

#[test]
fn a_sync_beside_an_import_leaves_at_once() {
    let archive = Archive::new();
    let saved = archive.folder().join("page.json");
    fs::write(&saved, fixture("list-runs-200.json")).unwrap();
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 20))).unwrap();
    // It has stored one page and waits for the next on standard input.
    let mut command = archive.command();
    command.arg("import").arg(&saved).arg("-").stdin(Stdio::piped());
    let mut import = Running::spawn(command);
    wait_until("the first page", || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        rusqlite::Connection::open_with_flags(archive.path(), flags)
            .and_then(|database| {
                database.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0))
            })
            .is_ok_and(|count| count == 1)
    });
    let refused = run(archive.sync(&emulator)).expect(5);
    assert!(refused.stderr.contains(&format!("process {}", import.id())), "{}", refused.stderr);
    assert_eq!(emulator.requests().len(), 0);
    let mut input = import.child().stdin.take().unwrap();
    input.write_all(fixture("list-runs-200.json").as_bytes()).unwrap();
    drop(input);
    import.end().expect(0);
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 21);
}

#[test]
fn a_killed_holder_blocks_nobody() {
    let archive = Archive::new();
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 20))).unwrap();
    let held = emulator.platform();
    let holder = Running::spawn(archive.sync(&emulator));
    wait_until("the first request", || !emulator.requests().is_empty());
    holder.kill();
    drop(held);
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 20);
    assert_eq!(archive.column::<String>("SELECT outcome FROM syncs"), ["interrupted", "done"]);
}

/// A sync of which `pages` pages have come and stored or to be stored, and which waits for more for ever.
fn stalled(archive: &Archive, emulator: &Emulator, pages: u64, arguments: &[&str]) -> Running {
    emulator.platform().faults.script =
        vec![Scripted::always(On::ListRuns, Answer::Hang).after(pages as u32)];
    let mut command = archive.sync(emulator);
    command.args(arguments);
    let sync = Running::spawn(command);
    // Every place is taken by a request that hangs, so whatever was answered has been received.
    wait_until("the pages", || {
        let hanging =
            emulator.requests().iter().filter(|request| is_list(request) && request.status == 0).count();
        lists_answered(emulator) == pages && hanging == IN_FLIGHT
    });
    sync
}

#[track_caller]
fn assert_ended_in_good_order(archive: &Archive, trees: &Trees, pages: u64, ended: Ended, words: &str) {
    let ended = ended.expect(3);
    assert!(ended.stderr.contains(words), "'{words}' is not said: {}", ended.stderr);
    assert!(!PathBuf::from(format!("{}-wal", archive.path().display())).exists(), "the file is not whole");
    let stored = assert_whole_trees(archive, trees) as u64;
    assert_eq!(archive.value::<i64>("SELECT pages FROM walks"), pages.cast_signed());
    assert!(stored > pages * (PAGE - 2), "{stored} runs of {pages} pages");
    assert_eq!(archive.column::<String>("SELECT outcome FROM syncs"), ["partial"]);
    assert_eq!(archive.value::<i64>("SELECT exit_code FROM syncs"), 3);
    assert_eq!(archive.value::<String>("SELECT typeof(ended_at) FROM syncs"), "text");
    assert_eq!(archive.value::<i64>("SELECT complete FROM walks"), 0);
    assert_ne!(archive.value::<Option<String>>("SELECT reason FROM walks"), None);
}

#[track_caller]
fn assert_the_next_goes_on(archive: &Archive, platform: Platform, trees: &Trees, pages: u64) {
    let emulator = Emulator::start(platform).unwrap();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(assert_whole_trees(archive, trees), trees.len());
    assert_eq!(archive.column::<i64>("SELECT complete FROM walks WHERE kind = 'full'"), [1]);
    assert_eq!(archive.column::<String>("SELECT outcome FROM syncs"), ["partial", "done"]);
    let (asked, all) = (lists(&emulator), trees.len() as u64 / (PAGE - 1) + 1);
    assert!(asked <= all - pages + 2 + IN_FLIGHT as u64, "asked {asked} pages of {all} with {pages} stored");
}

#[test]
fn a_sync_told_to_stop_keeps_what_came_and_the_next_goes_on() {
    let all = history(1_000);
    let trees = trees_of(&all);
    for signal in ["TERM", "INT"] {
        for order in [Order::NewestFirst, Order::OldestFirst] {
            println!("SIG{signal}, {order:?}");
            let platform = slow_platform(order, all.iter().cloned());
            let (archive, emulator) = (Archive::new(), Emulator::start(platform.clone()).unwrap());
            let sync = stalled(&archive, &emulator, 10, &[]);
            sync.signal(signal);
            assert_ended_in_good_order(&archive, &trees, 10, sync.end(), "asked to stop");
            assert_the_next_goes_on(&archive, platform, &trees, 10);
        }
    }
}

#[test]
fn a_resumed_walk_counts_every_run_once() {
    let all = history(1_000);
    let platform = slow_platform(Order::NewestFirst, all);
    let (archive, emulator) = (Archive::new(), Emulator::start(platform.clone()).unwrap());
    let sync = stalled(&archive, &emulator, 5, &[]);
    sync.signal("TERM");
    sync.end().expect(3);
    let emulator = Emulator::start(platform).unwrap();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.value::<i64>("SELECT listed FROM walks WHERE kind = 'full'"), 1_000);
}

#[test]
fn a_sync_told_to_stop_before_anything_came_ends_in_good_order_too() {
    let archive = Archive::new();
    let emulator = Emulator::start(platform_in_order(Order::NewestFirst, runs(0, 20))).unwrap();
    emulator.platform().faults.script = vec![Scripted::always(On::Any, Answer::Hang)];
    let sync = Running::spawn(archive.sync(&emulator));
    wait_until("the first request", || !emulator.requests().is_empty());
    sync.signal("TERM");
    sync.end().expect(3);
    assert_eq!(archive.column::<i64>("SELECT exit_code FROM syncs"), [3]);
    emulator.platform().faults.script.clear();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 20);
}

#[test]
fn a_sync_out_of_time_keeps_what_came_and_the_next_goes_on() {
    let all = history(1_000);
    let trees = trees_of(&all);
    let platform = slow_platform(Order::NewestFirst, all);
    let (archive, emulator) = (Archive::new(), Emulator::start(platform.clone()).unwrap());
    let sync = stalled(&archive, &emulator, 10, &["--time-budget", "3s"]);
    assert_ended_in_good_order(&archive, &trees, 10, sync.end(), "--time-budget");
    assert_the_next_goes_on(&archive, platform, &trees, 10);
}
