//! Answers that no platform should give: too deep, too wide, too long, broken in one byte. Each costs its own
//! record and none beside it, the process survives, and a signal is heard whatever is being read.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use run_archive::emulator::{Emulator, Order};

use crate::common::{Archive, CONNECTION, Ended, platform, run, run_of_json, runs};
use crate::interruption::{Running, wait_until};

/// A platform of one connection whose every page is what `page` says of `$skip` and `$top`.
struct Server {
    url: String,
    pages: Arc<AtomicU64>,
}

impl Server {
    fn start(page: impl Fn(usize, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let pages = Arc::<AtomicU64>::default();
        let (page, counted) = (Arc::new(page), pages.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (page, counted) = (page.clone(), counted.clone());
                // A client that has seen enough hangs up.
                std::thread::spawn(move || serve(stream.unwrap(), &*page, &counted).ok());
            }
        });
        Self { url, pages }
    }

    fn command(&self, archive: &Archive, arguments: &[&str]) -> Command {
        let mut command = archive.command();
        command.env("ITP_ACCESS_TOKEN", "t0ken").env("ITP_API_URL", &self.url);
        command.env("ITP_ISSUER_URL", &self.url).args(arguments);
        command
    }

    fn sync(&self, archive: &Archive, arguments: &[&str]) -> Command {
        self.command(archive, &[&["sync", "--connection", CONNECTION], arguments].concat())
    }

    fn verify(&self, archive: &Archive, arguments: &[&str]) -> Command {
        self.command(archive, &[&["verify"], arguments].concat())
    }

    fn synced(&self, archive: &Archive) -> Ended {
        run(self.sync(archive, &[]))
    }
}

fn serve(
    stream: TcpStream,
    page: &(dyn Fn(usize, usize) -> Vec<u8> + Send + Sync),
    pages: &AtomicU64,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut request = String::new();
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut header = String::new();
        while reader.read_line(&mut header)? > 2 {
            header.clear();
        }
        let number = |name: &str| {
            let (_, value) = request.split_once(name)?;
            value.split(['&', ' ']).next()?.parse().ok()
        };
        let is_page = request.contains("/runs?");
        let body = match (number("$skip="), number("$top=")) {
            (Some(skip), Some(top)) if is_page => page(skip, top),
            _ => format!(r#"{{"connection":{{"id":"{CONNECTION}","displayName":"Bridge"}}}}"#).into_bytes(),
        };
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        stream.write_all(&body)?;
        pages.fetch_add(u64::from(is_page), Ordering::Relaxed);
    }
}

/// The page of these runs that the platform would give, its links saying where the listing ends.
fn page_of<T: AsRef<[u8]>>(runs: &[T], skip: usize, top: usize) -> Vec<u8> {
    let runs = &runs[skip.min(runs.len())..];
    let (given, rest) = runs.split_at(top.min(runs.len()));
    let given: Vec<&[u8]> = given.iter().map(AsRef::as_ref).collect();
    let next = if rest.is_empty() { "null" } else { r#"{"href":"next"}"# };
    let links = format!(r#"],"_links":{{"next":{next}}}}}"#);
    [br#"{"runs":["#, given.join(&b","[..]).as_slice(), links.as_bytes()].concat()
}

fn run_text(id: &str, more: &str) -> String {
    format!(
        r#"{{"id":"{id}","state":"Completed","result":"Success","startDateTime":"2026-01-05T00:00:00Z"{more}}}"#
    )
}

/// A run around lists, one in another, so that it is so many levels deep in all.
fn nested(id: &str, levels: usize) -> String {
    run_text(id, &format!(r#","deep":{}{}"#, "[".repeat(levels - 1), "]".repeat(levels - 1)))
}

/// A run of so many fields that nobody knows.
fn wide(id: &str, fields: usize) -> String {
    let mut more = String::new();
    for field in 0..fields {
        more.push_str(&format!(r#","f{field}":0"#));
    }
    run_text(id, &more)
}

/// A run of so many jobs with so many tasks each.
fn tall(id: &str, jobs: usize, tasks: usize) -> String {
    let job = format!(r#"{{"tasks":[{}]}}"#, vec!["{}"; tasks].join(","));
    run_text(id, &format!(r#","jobs":[{}]"#, vec![job; jobs].join(",")))
}

fn ids(archive: &Archive) -> Vec<String> {
    archive.column("SELECT id FROM runs ORDER BY id")
}

fn reasons(archive: &Archive) -> Vec<String> {
    archive.column("SELECT reason FROM rejects ORDER BY reject_key")
}

/// Imports the same runs as a saved page into an archive of their own.
fn imported(page: Vec<u8>) -> (Archive, Ended) {
    let archive = Archive::new();
    std::fs::write(archive.folder().join("page.json"), page).unwrap();
    let mut command = archive.command();
    command.args(["import", "page.json", "--connection", CONNECTION]);
    let ended = run(command);
    (archive, ended)
}

/// Fails unless a sync, a further sync and an import store these ids and set the other records aside.
#[track_caller]
fn assert_set_aside(runs: Vec<Vec<u8>>, stored: &[&str], told: &[&str]) -> Archive {
    let page = page_of(&runs, 0, usize::MAX);
    let server = Server::start(move |skip, top| page_of(&runs, skip, top));
    let archive = Archive::new();
    for _ in 0..2 {
        let ended = server.synced(&archive).expect(3);
        assert!(ended.stderr.contains("set aside"), "{}", ended.stderr);
    }
    let (saved, _) = imported(page);
    for archive in [&archive, &saved] {
        assert_eq!(ids(archive), stored);
        let reasons = reasons(archive);
        assert_eq!(reasons.len(), told.len(), "{reasons:?}");
        for (reason, told) in reasons.iter().zip(told) {
            assert!(reason.contains(told), "{reason}");
        }
        archive.assert_sound();
        let mut verify = archive.command();
        verify.args(["verify", "--offline"]);
        run(verify).expect(0);
    }
    archive
}

#[test]
fn a_run_nested_too_deep_is_set_aside_alone() {
    let runs = vec![
        nested("a", 100),
        nested("deep", 15_000),
        nested("b", 127),
        nested("deeper", 128),
        nested("deepest", 500_000),
        format!(r#"{}{{}}{}"#, r#"{"jobs":["#.repeat(200), "]}".repeat(200)),
        run_text("c", ""),
    ];
    let exact = runs[4].clone();
    let told = ["nests 15000 levels", "nests 128 levels", "nests 500000 levels", "nests 401 levels"];
    let archive =
        assert_set_aside(runs.into_iter().map(String::into_bytes).collect(), &["a", "b", "c"], &told);
    let raw: Vec<String> = archive.column("SELECT raw FROM rejects ORDER BY reject_key");
    assert_eq!(raw[2], exact);
}

#[test]
fn what_is_too_large_for_a_run_is_set_aside_alone_and_what_is_just_large_is_stored() {
    let runs = vec![
        wide("a", 80_000),
        run_text("bytes", &format!(r#","text":"{}""#, "x".repeat(16 << 20))),
        tall("b", 10_000, 2),
        tall("jobs", 10_001, 0),
        tall("c", 4, 25_000),
        tall("tasks", 4, 25_001),
        run_text("values", &format!(r#","list":[{}0]"#, "0,".repeat(1_000_000))),
        run_text("d", ""),
    ];
    let told = ["bytes, and at most", "10001 jobs", "100004 tasks", "values, and at most"];
    let archive =
        assert_set_aside(runs.into_iter().map(String::into_bytes).collect(), &["a", "b", "c", "d"], &told);
    assert_eq!(archive.value::<i64>("SELECT count(*) FROM tasks"), 120_000);
    // Eighty thousand fields that nobody knows are one piece of news.
    assert!(archive.count("drift") <= 200, "{}", archive.count("drift"));
}

#[test]
fn a_run_of_many_fields_changes_like_any_other() {
    let changed = Arc::new(AtomicU64::new(0));
    let now = changed.clone();
    let server = Server::start(move |skip, top| {
        let state = now.load(Ordering::Relaxed);
        let run = wide("a", 200_000).replacen(r#""f7":0"#, &format!(r#""f7":{state}"#), 1);
        // The second answer is short: it says nothing of the jobs, and what it does not mention stays.
        let run = run.replacen(
            r#""state""#,
            if state == 0 { r#""jobs":[{"id":"j"}],"state""# } else { r#""state""# },
            1,
        );
        page_of(&[run], skip, top)
    });
    let archive = Archive::new();
    server.synced(&archive).expect(0);
    changed.store(1, Ordering::Relaxed);
    let ended = run(server.sync(&archive, &["--full"])).expect(0);
    assert!(ended.stderr.contains("1 changed"), "{}", ended.stderr);
    assert_eq!(archive.value::<i64>("SELECT extra ->> 'f7' FROM runs"), 1);
    assert_eq!((archive.count("jobs"), archive.count("revisions")), (1, 1));
}

#[test]
fn a_byte_that_is_no_utf8_sets_aside_its_run_and_is_kept() {
    let mut broken = run_text("broken", r#","text":"x?y""#).into_bytes();
    let at = broken.iter().position(|byte| *byte == b'?').unwrap();
    broken[at] = 0xff;
    // After a backslash, and in the middle of a name.
    let escaped = [br#"{"id":"escaped","text":"\"#.as_slice(), b"\xc3\"}"].concat();
    let name = [br#"{"id":"name","#.as_slice(), b"\"\xe2\x82\":1}"].concat();
    let runs = vec![run_text("a", "").into_bytes(), broken, escaped, name, run_text("é", "").into_bytes()];
    let archive = assert_set_aside(runs, &["a", "é"], &["no UTF-8"; 3]);
    let raw: Vec<String> = archive.column("SELECT raw FROM rejects ORDER BY reject_key");
    assert!(raw[0].contains(r#""x\xffy""#), "{}", raw[0]);
    assert_eq!(raw[1], r#"{"id":"escaped","text":"\x5c\xc3"}"#);
    assert_eq!(raw[2], r#"{"id":"name","\xe2\x82":1}"#);
    // No retry makes a run of what was never sent.
    let mut retry = archive.command();
    retry.args(["rejects", "--retry"]);
    run(retry).expect(0);
    assert_eq!(ids(&archive), ["a", "é"]);
}

#[test]
fn what_is_only_odd_is_stored_to_the_letter() {
    let odd = [
        ("surrogate", r#""\ud800""#),
        ("nul", r#""a\u0000b""#),
        ("huge", "1e999999"),
        ("long", "123456789012345678901234567890.10"),
        ("mark", "\"\u{feff}\u{202e}\""),
        ("deep", r#"[[[[{"a":[[{}]]}]]]]"#),
    ];
    let runs: Vec<String> =
        odd.iter().map(|(id, value)| run_text(id, &format!(r#","odd":{value}"#))).collect();
    let server = Server::start(move |skip, top| page_of(&runs, skip, top));
    let archive = Archive::new();
    server.synced(&archive).expect(0);
    for (id, value) in odd {
        let extra: String = archive.value(&format!("SELECT extra FROM runs WHERE id = '{id}'"));
        assert_eq!(extra, format!(r#"{{"odd":{value}}}"#), "{id}");
    }
    run(server.verify(&archive, &[])).expect(0);
}

#[test]
fn a_server_that_ignores_top_is_archived_whole() {
    let runs: Vec<String> = (0..10_000).map(|number| run_text(&format!("run-{number:05}"), "")).collect();
    let server = Server::start(move |skip, _| page_of(&runs, skip, usize::MAX));
    let archive = Archive::new();
    let ended = server.synced(&archive).expect(0);
    assert!(ended.stderr.contains("10,000 new"), "{}", ended.stderr);
}

#[test]
fn of_a_page_without_end_the_first_part_is_stored_and_the_rest_is_told() {
    // It heeds neither $top nor $skip.
    let page = Arc::new(page_of(
        &(0..300_000).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect::<Vec<_>>(),
        0,
        usize::MAX,
    ));
    let server = Server::start(move |_, _| page.to_vec());
    let archive = Archive::new();
    let ended = server.synced(&archive).expect(3);
    assert!(ended.stderr.contains("its first 100000 are taken"), "{}", ended.stderr);
    assert_eq!(archive.count("runs"), 100_000);
    assert_eq!(archive.value::<i64>("SELECT complete FROM walks"), 0);
    assert_eq!(archive.value::<i64>("SELECT pages FROM walks"), 1);
    assert_eq!(server.pages.load(Ordering::Relaxed), 1);
}

#[test]
fn a_listing_that_comes_in_pages_longer_than_is_read_is_archived_by_several_syncs() {
    // It heeds $skip alone, so that each page is the whole rest of the listing.
    const RUNS: usize = 250;
    let run = |number: usize| {
        let (id, started) =
            (format!("run-{number}"), format!("2026-01-05T{:02}:{:02}:00Z", number / 60, number % 60));
        let text = "x".repeat(400_000);
        format!(r#"{{"id":"{id}","state":"Completed","startDateTime":"{started}","text":"{text}"}}"#)
    };
    let runs: Vec<String> = (0..RUNS).rev().map(run).collect();
    let server = Server::start(move |skip, _| page_of(&runs, skip, usize::MAX));
    let archive = Archive::new();
    let ended = server.synced(&archive).expect(3);
    assert!(ended.stderr.contains("longer than what is read"), "{}", ended.stderr);
    let stored = archive.count("runs");
    assert!((100..RUNS as i64).contains(&stored), "{stored}");
    server.synced(&archive).expect(0);
    assert_eq!(archive.count("runs"), RUNS as i64);
    assert_eq!(archive.column::<i64>("SELECT complete FROM walks ORDER BY walk_key").last(), Some(&1));
}

/// A page that takes long to read: of large runs, each of nearly a million values.
fn slow_page() -> Vec<u8> {
    let run = |id: usize| wide(&format!("run-{id}"), 900_000);
    page_of(&(0..5).map(run).collect::<Vec<_>>(), 0, usize::MAX)
}

#[test]
fn a_signal_ends_a_sync_whatever_is_being_read() {
    let page = Arc::new(slow_page());
    for signal in ["TERM", "INT", "HUP"] {
        let page = page.clone();
        let server = Server::start(move |_, _| page.to_vec());
        let archive = Archive::new();
        let sync = Running::spawn(server.sync(&archive, &[]));
        wait_until("the page", || server.pages.load(Ordering::Relaxed) > 0);
        let told = Instant::now();
        sync.signal(signal);
        let ended = sync.end();
        assert!(told.elapsed() < Duration::from_secs(10), "SIG{signal}: {:?}", told.elapsed());
        assert_ne!(ended.code, None, "SIG{signal}: {}", ended.stderr);
        assert!(ended.stderr.contains("asked to stop"), "SIG{signal}: {}", ended.stderr);
        archive.assert_sound();
    }
}

#[test]
fn a_page_that_was_stored_in_part_when_the_sync_was_stopped_is_not_passed_over() {
    const RUNS: i64 = 60_000;
    let runs: Vec<String> = (0..RUNS).map(|id| format!(r#"{{"id":"{id}"}}"#)).collect();
    let server = Server::start(move |skip, _| page_of(&runs, skip, usize::MAX));
    let archive = Archive::new();
    let sync = Running::spawn(server.sync(&archive, &[]));
    let stored = || {
        let database = rusqlite::Connection::open(archive.path()).ok()?;
        database.query_row("SELECT count(*) FROM runs", [], |row| row.get::<_, i64>(0)).ok()
    };
    wait_until("the first runs", || stored().is_some_and(|stored| stored > 0));
    sync.signal("TERM");
    sync.end().expect(3);
    archive.assert_sound();
    server.synced(&archive).expect(0);
    assert_eq!(archive.count("runs"), RUNS);
}

#[test]
fn a_time_budget_ends_a_sync_whatever_is_being_read() {
    let page = slow_page();
    let server = Server::start(move |_, _| page.clone());
    let archive = Archive::new();
    let began = Instant::now();
    let ended = run(server.sync(&archive, &["--time-budget", "3s"]));
    assert!(began.elapsed() < Duration::from_secs(13), "{:?}", began.elapsed());
    assert!(ended.stderr.contains("budget"), "{}", ended.stderr);
    archive.assert_sound();
}

#[cfg(unix)]
#[test]
fn a_limit_on_file_sizes_is_a_full_disk() {
    let runs: Vec<String> = (0..2_000).map(|id| tall(&format!("run-{id:05}"), 1, 3)).collect();
    let server = Server::start(move |skip, top| page_of(&runs, skip, top));
    let archive = Archive::new();
    // In blocks of 512 bytes: less than an empty archive takes, and less than this listing does.
    for blocks in [200, 2_000] {
        let command = server.sync(&archive, &[]);
        let mut limited = Command::new("sh");
        limited.args(["-c", &format!("ulimit -c 0; ulimit -f {blocks}; exec \"$0\" \"$@\"")]);
        limited.arg(command.get_program()).args(command.get_args());
        limited.env_clear().current_dir(archive.folder()).stdin(Stdio::null());
        limited.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let ended = run(limited);
        assert_eq!(ended.code, Some(1), "{blocks}: {}", ended.stderr);
        assert!(ended.stderr.contains("disk is full"), "{blocks}: {}", ended.stderr);
    }
    server.synced(&archive).expect(0);
    assert_eq!(archive.count("runs"), 2_000);
    archive.assert_sound();
}

#[test]
fn a_file_that_was_handed_over_with_anything_in_it_is_read_by_every_command() {
    let server =
        Server::start(|skip, top| page_of(&[run_text("a", r#","more":1"#), run_text("b", "")], skip, top));
    let archive = Archive::new();
    server.synced(&archive).expect(0);
    let deep = format!(r#"{{"more":{}1{}}}"#, "[".repeat(50_000), "]".repeat(50_000));
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    database.execute("UPDATE runs SET extra = ?1 WHERE id = 'a'", [&deep]).unwrap();
    database.execute("UPDATE runs SET extra = 'no json' WHERE id = 'b'", []).unwrap();
    drop(database);
    for arguments in [&["verify", "--offline"][..], &["status"], &["report"], &["query", "failures"]] {
        let mut command = archive.command();
        command.args(arguments);
        let ended = run(command);
        assert_ne!(ended.code, None, "{arguments:?}: {}", ended.stderr);
    }
    // What the platform lists is stored again.
    server.synced(&archive).expect(0);
    let ended = run(server.verify(&archive, &["--repair"]));
    assert_ne!(ended.code, None, "{}{}", ended.stdout, ended.stderr);
    assert_eq!(archive.value::<i64>("SELECT extra ->> 'more' FROM runs WHERE id = 'a'"), 1);
}

#[test]
fn a_run_longer_than_is_read_of_a_page_is_never_the_end_of_the_listing() {
    let long = format!(r#"{{"id":"long","state":"Completed","x":"{}"}}"#, "a".repeat(66 << 20));
    let long = run_of_json("long", "2026-01-04T00:00:00Z", &long);
    let emulator = Emulator::start(platform([long].into_iter().chain(runs(0, 6)))).unwrap();
    for order in [Order::NewestFirst, Order::OldestFirst] {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().order = order;
        let archive = Archive::new();
        let mut command = archive.sync(&emulator);
        command.args(["--page-size", "4", "--pages-in-flight", "1"]);
        let told = run(command).expect(if order == Order::NewestFirst { 3 } else { 1 });
        assert!(told.stderr.contains("64 MiB"), "{}", told.stderr);
        assert_eq!(archive.count("walks WHERE complete"), 0);
    }
}
