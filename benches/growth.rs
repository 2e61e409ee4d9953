//! What five years of hourly syncs of 1,000 named connections leave, and how long `archive status` takes then.
//!
//! `cargo bench --bench growth` writes what such syncs write, by the calls that a sync makes, on a clock of its
//! own: the first sync stores the runs, and of the 43,800 after it one in a hundred (or in so many as are given: `-- 10`) walks every
//! connection. A
//! walk that brings nothing leaves no row, so that the walks of the others would leave the same file; their own
//! rows in `syncs` are written for each. Ten connections are forbidden all the time, and once in every twenty
//! walked syncs the platform answers nobody; every tenth walked sync walks the listings whole.

use std::error::Error;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use run_archive::api::{ConnectionId, Kind};
use run_archive::normalize::normalize;
use run_archive::store::Archive;
use run_archive::store::records::Received;
use run_archive::store::syncs::SyncTotals;
use run_archive::store::walks::{Part, WalkEnd};
use run_archive::time::UtcText;

const CONNECTIONS: u64 = 1_000;
const RUNS_PER_CONNECTION: u64 = 20;
const SYNCS: u32 = 5 * 365 * 24;
/// Of the syncs, one in so many is walked connection by connection, unless a number is given.
const WALKED: u32 = 100;
const FORBIDDEN: u64 = 10;
const HOUR: Duration = Duration::from_secs(60 * 60);

fn main() -> Result<(), Box<dyn Error>> {
    let every = std::env::args().find_map(|argument| argument.parse().ok()).unwrap_or(WALKED);
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("archive.db");
    let end = UtcText::parse_sent("2026-11-25T12:00:00Z").ok_or("a time")?;
    let at = |sync: u32| end.before(HOUR * (SYNCS - sync)).ok_or("a time");

    let mut simulation = Simulation { archive: Archive::open(&path, 64)?, connections: Vec::new() };
    simulation.begin(&at(0)?)?;
    simulation.archive.close()?;
    let (size_before, rows_before) = (size(&path)?, rows(&path)?);
    say(&format!(
        "first sync: {CONNECTIONS} connections, {} runs, {size_before} bytes",
        CONNECTIONS * RUNS_PER_CONNECTION
    ));

    simulation.archive = Archive::open(&path, 64)?;
    let began = Instant::now();
    let walked = SYNCS / every;
    for number in 1..=walked {
        simulation.sync(number, &at(number * every)?)?;
    }
    let each = began.elapsed().as_secs_f64() / f64::from(walked);
    simulation.archive.close()?;
    say(&format!(
        "{walked} syncs that walked {CONNECTIONS} connections each: {each:.3} s of writing for one"
    ));
    fill_syncs(&path, every, &at)?;
    let (size_after, rows_after) = (size(&path)?, rows(&path)?);
    say(&format!(
        "after {} syncs: {} rows in syncs, {} in walks ({} more), {:.1} MB more",
        rows_after.0,
        rows_after.0,
        rows_after.1,
        rows_after.1 - rows_before.1,
        (size_after - size_before) as f64 / 1e6
    ));

    let mut best = Duration::MAX;
    for _ in 0..10 {
        let began = Instant::now();
        let output =
            Command::new(env!("CARGO_BIN_EXE_archive")).arg("--db").arg(&path).arg("status").output()?;
        best = best.min(began.elapsed());
        if !output.status.success() {
            return Err(String::from_utf8_lossy(&output.stderr).into());
        }
    }
    say(&format!("archive status: {} ms", best.as_millis()));
    Ok(())
}

struct Simulation {
    archive: Archive,
    connections: Vec<i64>,
}

impl Simulation {
    /// The first sync: every connection's runs, walked whole.
    fn begin(&mut self, now: &UtcText) -> Result<(), Box<dyn Error>> {
        let sync_key = self.archive.write(|archive| archive.begin_sync("sync", now))?;
        for number in 0..CONNECTIONS {
            let id = ConnectionId::new(Kind::Export, &format!("connection-{number:04}"))?;
            let texts: Vec<String> = (0..RUNS_PER_CONNECTION)
                .map(|run| {
                    format!(
                        r#"{{"id":"run-{number}-{run}","state":"Completed","result":"Success","startDateTime":"2021-11-{:02}T01:02:03Z"}}"#,
                        run + 1
                    )
                })
                .collect();
            let records: Vec<Received<'_>> = texts
                .iter()
                .enumerate()
                .map(|(place, raw)| {
                    let mut fingerprint = [0; 16];
                    fingerprint[..8].copy_from_slice(&(number << 8 | place as u64).to_be_bytes());
                    normalize(raw).map(|run| Received::Run { raw, fingerprint, run })
                })
                .collect::<Result<_, _>>()?;
            let key = self.archive.write(|archive| {
                let key = archive.upsert_connection(&id, now)?;
                let walk_key = archive.begin_walk(key, sync_key, true, now)?;
                archive.store_page(walk_key, true, &records, Part::Last { checkpoint: None }, now)?;
                archive.end_walk(walk_key, &whole(true), now)?;
                Ok(key)
            })?;
            self.connections.push(key);
        }
        Ok(self
            .archive
            .write(|archive| archive.end_sync(sync_key, now, &SyncTotals::default(), ("done", 0, None)))?)
    }

    /// A sync that brings nothing.
    fn sync(&mut self, number: u32, now: &UtcText) -> Result<(), Box<dyn Error>> {
        let is_full = number.is_multiple_of(10);
        let is_outage = number.is_multiple_of(20);
        let sync_key = self.archive.write(|archive| archive.begin_sync("sync", now))?;
        let mut first_run = 1;
        for (place, key) in (0..).zip(self.connections.clone()) {
            let met: Vec<Received<'_>> = (first_run..first_run + RUNS_PER_CONNECTION.cast_signed())
                .map(|run_key| Received::Unchanged { run_key, walk_key: Some(1), is_unfinished: false })
                .collect();
            first_run += RUNS_PER_CONNECTION.cast_signed();
            self.archive.write(|archive| {
                let walk_key = archive.begin_walk(key, sync_key, is_full, now)?;
                let end = match () {
                    () if place < FORBIDDEN => failed(&format!("403 (correlation id {number}-{place})")),
                    () if is_outage => failed("the platform cannot be reached"),
                    () => {
                        archive.store_page(walk_key, is_full, &met, Part::Last { checkpoint: None }, now)?;
                        whole(is_full)
                    }
                };
                archive.end_walk(walk_key, &end, now)
            })?;
        }
        let problem = Some("connection-0000: 403 Forbidden: the role on the iTwin is missing");
        let totals = SyncTotals { requests: CONNECTIONS, connections: CONNECTIONS, ..SyncTotals::default() };
        Ok(self.archive.write(|archive| archive.end_sync(sync_key, now, &totals, ("partial", 3, problem)))?)
    }
}

fn whole(is_full: bool) -> WalkEnd {
    WalkEnd {
        unproved: None,
        covers_listing: is_full,
        is_full,
        checkpoint: None,
        listing_end: None,
        order: Some("newest first"),
        newest_started_at: UtcText::parse_sent("2021-11-20T01:02:03Z"),
        oldest_started_at: UtcText::parse_sent("2021-11-01T01:02:03Z"),
        page_size: None,
        last_run_id: None,
    }
}

fn failed(reason: &str) -> WalkEnd {
    WalkEnd { unproved: Some(reason.to_owned()), ..whole(false) }
}

/// The rows of the syncs between those that were walked, as these are.
fn fill_syncs(
    path: &Path,
    every: u32,
    at: &impl Fn(u32) -> Result<UtcText, &'static str>,
) -> Result<(), Box<dyn Error>> {
    let mut database = rusqlite::Connection::open(path)?;
    let transaction = database.transaction()?;
    for sync in (1..=SYNCS).filter(|sync| !sync.is_multiple_of(every)) {
        let sql = "INSERT INTO syncs (command, version, started_at, ended_at, outcome, exit_code, problem, requests,
                                      connections, requested_at)
                   SELECT command, version, ?1, ?1, outcome, exit_code, problem, requests, connections, ?1
                   FROM syncs WHERE sync_key = 2";
        transaction.prepare_cached(sql)?.execute([at(sync)?.as_str()])?;
    }
    transaction.commit()?;
    Ok(())
}

/// Rows of `syncs` and of `walks`.
fn rows(path: &Path) -> Result<(i64, i64), Box<dyn Error>> {
    let database = rusqlite::Connection::open(path)?;
    let sql = "SELECT (SELECT count(*) FROM syncs), (SELECT count(*) FROM walks)";
    Ok(database.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

fn size(path: &Path) -> Result<u64, Box<dyn Error>> {
    Ok(path.metadata()?.len())
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn say(line: &str) {
    println!("{line}");
}
