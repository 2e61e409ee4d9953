//! What the README says of the speed and size of `archive sync`, as ratios measured in one run.
//!
//! `cargo bench --bench sync` measures with 200,000 runs; `cargo bench --bench sync -- 1000000` with
//! as many as are named. The emulated platform runs in this process, `archive` in one of its own.

use std::error::Error;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use run_archive::emulator::{Connection, Emulator, Listing, Order, Platform, history};
use run_archive::normalize::normalize;
use run_archive::store::Archive;
use run_archive::store::records::{Received, Source};
use run_archive::time::UtcText;

const CONNECTION: &str = "VRZHoBhrnkGrAev0-_-d_xwvyrzjgaVGka5wU967Q7M";

fn main() -> Result<(), Box<dyn Error>> {
    let runs = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200_000);
    reading_ahead()?;
    first_sync(runs)?;
    memory(runs)?;
    nothing_new(runs)?;
    Ok(())
}

/// A backfill of 400 pages where each answer takes 50 ms, against the sum of these waits.
fn reading_ahead() -> Result<(), Box<dyn Error>> {
    let emulator = platform(400 * 49 + 1, Order::NewestFirst, |platform| {
        platform.faults.page_cap = Some(50);
        platform.faults.delay = Duration::from_millis(50);
    })?;
    let folder = tempfile::tempdir()?;
    let began = Instant::now();
    run(sync(&emulator, &folder.path().join("archive.db")))?;
    let took = began.elapsed();
    let requests = emulator.requests().len() as u32;
    let waits = requests * Duration::from_millis(50);
    say(&format!(
        "reading ahead: {requests} requests of 50 ms took {:.2} s, {:.2} times the sum of their waits",
        took.as_secs_f64(),
        took.as_secs_f64() / waits.as_secs_f64()
    ));
    Ok(())
}

/// A first sync, against inserting the same rows from memory into the same schema.
fn first_sync(runs: u64) -> Result<(), Box<dyn Error>> {
    let emulator = platform(runs, Order::NewestFirst, |_| {})?;
    let texts: Vec<_> = {
        let platform = emulator.platform();
        let listing = platform.connections.get(CONNECTION).map(|connection| &connection.listing);
        listing.into_iter().flat_map(Listing::iter).rev().map(|run| run.json.clone()).collect()
    };
    let json: u64 = texts.iter().map(|text| text.len() as u64).sum();
    let (mut inserting, mut syncing) = (Vec::new(), Vec::new());
    let mut size = 0;
    for _ in 0..3 {
        let folder = tempfile::tempdir()?;
        inserting.push(insert_from_memory(&folder.path().join("memory.db"), &texts)?);
        let path = folder.path().join("archive.db");
        let began = Instant::now();
        run(sync(&emulator, &path))?;
        syncing.push(began.elapsed());
        size = std::fs::metadata(&path)?.len();
    }
    let (inserting, syncing) = (best(&inserting), best(&syncing));
    say(&format!(
        "first sync: {runs} runs in {:.2} s, {:.2} times inserting the same rows from memory ({:.2} s)",
        syncing.as_secs_f64(),
        syncing.as_secs_f64() / inserting.as_secs_f64(),
        inserting.as_secs_f64()
    ));
    say(&format!(
        "size: {} MB of JSON in a file of {} MB, {:.2} times as large",
        json / 1_000_000,
        size / 1_000_000,
        size as f64 / json as f64
    ));
    Ok(())
}

fn insert_from_memory(path: &Path, texts: &[std::sync::Arc<str>]) -> Result<Duration, Box<dyn Error>> {
    let mut received = Vec::with_capacity(texts.len());
    for (number, raw) in (0_u128..).zip(texts) {
        received.push(Received::Run { raw, fingerprint: number.to_be_bytes(), run: normalize(raw)? });
    }
    let now = UtcText::parse_sent("2026-01-01T00:00:00Z").ok_or("a time")?;
    let began = Instant::now();
    let mut archive = Archive::open(path, 64)?;
    let connection = CONNECTION.parse()?;
    let key = archive.write(|archive| archive.upsert_connection(&connection, &now))?;
    for records in received.chunks(10_000) {
        archive.write(|archive| archive.store_records(key, Source::File, records, &now))?;
    }
    archive.close()?;
    Ok(began.elapsed())
}

/// The most memory a first sync takes, for a small history and a large one.
fn memory(runs: u64) -> Result<(), Box<dyn Error>> {
    for runs in [20_000, runs] {
        let emulator = platform(runs, Order::NewestFirst, |_| {})?;
        let folder = tempfile::tempdir()?;
        let mut child = sync(&emulator, &folder.path().join("archive.db")).spawn()?;
        let peak = peak_memory(&mut child)?;
        say(&format!(
            "memory: at most {} MiB for a first sync of {runs} runs, SQLite's cache of 64 MiB included",
            peak / 1_024
        ));
    }
    Ok(())
}

/// Reads the high-water mark in KiB until the process ends.
fn peak_memory(child: &mut Child) -> Result<u64, Box<dyn Error>> {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait()?.is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(peak).max(peak);
        std::thread::sleep(Duration::from_millis(2));
    }
    Ok(peak)
}

/// The processor time of a sync that finds nothing new, for a small history and a large one.
fn nothing_new(runs: u64) -> Result<(), Box<dyn Error>> {
    for (runs, order) in
        [(20_000, Order::NewestFirst), (runs, Order::NewestFirst), (runs, Order::OldestFirst)]
    {
        let emulator = platform(runs, order, |_| {})?;
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("archive.db");
        run(sync(&emulator, &path))?;
        emulator.clear_requests();
        let times = 20;
        // The shell's `times` tells its children's processor time to the millisecond.
        let script = format!("for i in $(seq {times}); do \"$@\" || exit; done; times");
        let sync = sync(&emulator, &path);
        let mut shell = Command::new("bash");
        shell.args(["-c", &script, "bash"]).arg(sync.get_program()).args(sync.get_args());
        for (name, value) in sync.get_envs() {
            shell.env(name, value.unwrap_or_default());
        }
        let output = shell.stderr(Stdio::inherit()).output()?;
        // The second line is the children's: user and system time.
        let text = String::from_utf8(output.stdout)?;
        let spent: f64 = text.lines().last().unwrap_or_default().split_whitespace().filter_map(seconds).sum();
        say(&format!(
            "nothing new: {:.1} ms of processor time and {} request for {runs} archived runs ({order:?})",
            spent * 1_000.0 / f64::from(times),
            emulator.requests().len() / times as usize
        ));
    }
    Ok(())
}

/// `0m0.123s` as seconds.
fn seconds(text: &str) -> Option<f64> {
    let (minutes, seconds) = text.strip_suffix('s')?.split_once('m')?;
    Some(minutes.parse::<f64>().ok()? * 60.0 + seconds.parse::<f64>().ok()?)
}

fn platform(runs: u64, order: Order, set: impl FnOnce(&mut Platform)) -> Result<Emulator, Box<dyn Error>> {
    let mut connection =
        Connection::new("Benchmark", history::listing(runs, "2026-01-05T12:00:00Z".parse()?, 7));
    connection.order = order;
    let mut platform = Platform::default();
    platform.connections.insert(CONNECTION.to_owned(), connection);
    set(&mut platform);
    Ok(Emulator::start(platform)?)
}

fn sync(emulator: &Emulator, path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archive"));
    command.env_clear().env("ITP_ACCESS_TOKEN", "token").env("HOME", path.parent().unwrap_or(path));
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    // What is measured is the program, not its waiting for the platform's sake.
    command.args(["-q", "sync", "--connection", CONNECTION, "--request-limit", "none", "--db"]).arg(path);
    command
}

fn run(mut command: Command) -> Result<(), Box<dyn Error>> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("archive sync ended with {status}").into()) }
}

fn best(times: &[Duration]) -> Duration {
    times.iter().min().copied().unwrap_or_default()
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn say(line: &str) {
    println!("{line}");
}
