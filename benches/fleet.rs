//! What the README says of a fleet: requests and time of a first sync, of one with nothing new and of one with
//! news, the platform's rate limit, and how near an estimate comes.
//!
//! `cargo bench --bench fleet` measures with 200 iModels of 5 connections of 20 runs each. The emulated
//! platform runs in this process, `archive` in one of its own.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use run_archive::emulator::{Emulator, Platform, Request, history};

const IMODELS: u64 = 200;
const CONNECTIONS_PER_IMODEL: u64 = 5;
const RUNS_PER_CONNECTION: u64 = 20;
/// The platform's lowest tier allows 500 requests a minute, and 450 are sent; here a minute is a second.
const ALLOWED: u64 = 500;
const WINDOW: Duration = Duration::from_secs(1);
const KEPT: &str = "450/1s";

fn main() -> Result<(), Box<dyn Error>> {
    let (itwin, platform) = fleet()?;
    without_a_limit(&itwin, platform.clone())?;
    within_the_limit(&itwin, platform.clone())?;
    estimate(&itwin, platform)?;
    Ok(())
}

fn fleet() -> Result<(String, Platform), Box<dyn Error>> {
    let until = "2026-01-05T12:00:00Z".parse()?;
    Ok(history::fleet(IMODELS, CONNECTIONS_PER_IMODEL, RUNS_PER_CONNECTION, until, 7))
}

/// A first sync, one with nothing new, and one with a run on each of ten connections.
fn without_a_limit(itwin: &str, platform: Platform) -> Result<(), Box<dyn Error>> {
    let emulator = Emulator::start(platform)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("archive.db");
    let arguments = ["--itwin", itwin, "--request-limit", "none"];
    let measure = || -> Result<(usize, f64), Box<dyn Error>> {
        emulator.clear_requests();
        let began = Instant::now();
        run(sync(&emulator, &path, &arguments))?;
        Ok((emulator.requests().len(), began.elapsed().as_secs_f64()))
    };
    let connections = IMODELS * CONNECTIONS_PER_IMODEL;
    let (requests, seconds) = measure()?;
    say(&format!(
        "first sync: {connections} connections of {IMODELS} iModels, {} runs: {requests} requests, {:.2} for \
         each connection, {seconds:.2} s",
        connections * RUNS_PER_CONNECTION,
        requests as f64 / connections as f64
    ));
    let (mut requests, mut best) = (0, f64::INFINITY);
    for _ in 0..5 {
        let (sent, seconds) = measure()?;
        (requests, best) = (sent, best.min(seconds));
    }
    say(&format!(
        "nothing new: {requests} requests, {:.2} for each iModel, {best:.2} s",
        requests as f64 / IMODELS as f64
    ));
    news(&emulator, 10)?;
    let (requests, seconds) = measure()?;
    say(&format!("news on 10 connections: {requests} requests, {seconds:.2} s"));
    Ok(())
}

/// A run begins on each of so many connections, all over the fleet.
fn news(emulator: &Emulator, connections: usize) -> Result<(), Box<dyn Error>> {
    let mut platform = emulator.platform();
    let every = platform.connections.len() / connections;
    for connection in platform.connections.values_mut().step_by(every).take(connections) {
        let number = connection.listing.len();
        let run = history::simple_run(
            &format!("news-{number}"),
            "2026-01-06T00:00:00.0000000Z",
            "Completed",
            "Success",
        );
        connection.listing.push_newest(run);
    }
    Ok(())
}

/// A first sync, and another right after it, of a platform that refuses more requests than it allows.
fn within_the_limit(itwin: &str, mut platform: Platform) -> Result<(), Box<dyn Error>> {
    platform.faults.per_minute = Some(ALLOWED);
    platform.faults.quota_window = WINDOW;
    let emulator = Emulator::start(platform)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("archive.db");
    let began = Instant::now();
    for _ in 0..2 {
        run(sync(&emulator, &path, &["--itwin", itwin, "--request-limit", KEPT]))?;
    }
    let took = began.elapsed();
    let requests = emulator.requests();
    let refused = requests.iter().filter(|request| request.status == 429).count();
    say(&format!(
        "limit of {ALLOWED} requests in {} s, enforced by the platform, over two syncs: at most {} in any such \
         time, {refused} answers 429, {} requests in {:.2} s",
        WINDOW.as_secs(),
        busiest(&requests),
        requests.len(),
        took.as_secs_f64()
    ));
    Ok(())
}

/// The most requests that arrived within any window.
fn busiest(requests: &[Request]) -> usize {
    let mut most = 0;
    let mut first = 0;
    for (last, request) in requests.iter().enumerate() {
        while request.at.duration_since(requests[first].at) >= WINDOW {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// What an estimate says, against what the first sync then takes.
fn estimate(itwin: &str, mut platform: Platform) -> Result<(), Box<dyn Error>> {
    // Listings of several pages: more than one request each, which cannot be known beforehand.
    platform.faults.page_cap = Some(6);
    let emulator = Emulator::start(platform)?;
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("archive.db");
    let arguments = ["--itwin", itwin, "--request-limit", "none"];
    let mut command = sync(&emulator, &path, &arguments);
    command.args(["--estimate", "--format", "json"]);
    let output = command.output()?;
    let told: serde_json::Value = serde_json::from_slice(&output.stdout)?;
    emulator.clear_requests();
    let began = Instant::now();
    run(sync(&emulator, &path, &arguments))?;
    say(&format!(
        "estimate: {} to {} requests and {} to {} s, found out with {}; the first sync took {} and {:.2} s",
        told["requests_least"],
        told["requests_most"],
        told["seconds_least"],
        told["seconds_most"],
        told["requests_asked"],
        emulator.requests().len(),
        began.elapsed().as_secs_f64()
    ));
    Ok(())
}

fn sync(emulator: &Emulator, path: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archive"));
    command.env_clear().env("ITP_ACCESS_TOKEN", "token").env("HOME", path.parent().unwrap_or(path));
    command.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url());
    command.args(["-q", "sync"]).args(arguments).arg("--db").arg(path);
    command
}

fn run(mut command: Command) -> Result<(), Box<dyn Error>> {
    let status = command.status()?;
    if status.success() { Ok(()) } else { Err(format!("archive sync ended with {status}").into()) }
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn say(line: &str) {
    println!("{line}");
}
