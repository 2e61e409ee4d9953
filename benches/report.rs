//! What the README says of the speed of `archive report` and `archive query`, and what their indexes cost.
//!
//! `cargo bench --bench report` measures with 200,000 runs of a year, `cargo bench --bench report --
//! 1000000` with as many as are named; in 10 and in 100 connections. Times are the best of five, with what
//! is read in memory; beside them stands how long reading every row of `runs` once takes.

use std::error::Error;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use run_archive::emulator::history;
use run_archive::normalize::normalize;
use run_archive::store::Archive;
use run_archive::store::records::{Received, Source};
use run_archive::time::UtcText;
use rusqlite::Connection;

const UNTIL: &str = "2026-11-23T00:00:00Z";
const AS_OF: &str = "2026-11-23T06:00:00Z";
const TIMES: usize = 5;

/// What the reports' indexes are called; what else they stand on is the table `error_runs`.
const INDEXES: [&str; 3] = ["runs_by_outcome", "tasks_retried", "runs_unlisted"];

fn main() -> Result<(), Box<dyn Error>> {
    let runs = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(200_000);
    let folder = tempfile::tempdir()?;
    let without = fill(&folder.path().join("without.db"), runs, 10, false)?;
    for connections in [10, 100] {
        let path = folder.path().join(format!("{connections}.db"));
        let spent = fill(&path, runs, connections, true)?;
        say(&format!("\n{runs} runs of a year in {connections} connections"));
        if connections == 10 {
            cost(&path, spent, without)?;
        }
        measure(&path)?;
    }
    Ok(())
}

/// Stores the runs as a year of syncs would; gives the time that storing took.
fn fill(path: &Path, runs: u64, connections: usize, is_indexed: bool) -> Result<Duration, Box<dyn Error>> {
    let now = UtcText::parse_sent(AS_OF).ok_or("a time")?;
    let until: DateTime<Utc> = UNTIL.parse()?;
    let step = TimeDelta::days(365) / i32::try_from(runs)?;
    let mut archive = Archive::open(path, 64)?;
    let mut keys = Vec::new();
    for number in 0..connections {
        let id = format!("connection-{number:03}").parse()?;
        keys.push(archive.write(|archive| archive.upsert_connection(&id, &now))?);
    }
    if !is_indexed {
        archive.close()?;
        let database = Connection::open(path)?;
        for index in INDEXES {
            database.execute(&format!("DROP INDEX {index}"), [])?;
        }
        drop(database);
        archive = Archive::open(path, 64)?;
    }
    let mut rng = fastrand::Rng::with_seed(7);
    let mut spent = Duration::ZERO;
    for first in (0..runs).step_by(10_000) {
        let mut texts = vec![Vec::new(); connections];
        for number in first..(first + 10_000).min(runs) {
            let started = until - step * i32::try_from(runs - number)?;
            texts[rng.usize(0..connections)].push(history::run(number, started, &mut rng).json);
        }
        for (&key, texts) in keys.iter().zip(&texts) {
            let mut records = Vec::with_capacity(texts.len());
            for (number, raw) in (u128::from(first) << 64..).zip(texts) {
                let number = number + (key.unsigned_abs() as u128).wrapping_shl(32);
                records.push(Received::Run { raw, fingerprint: number.to_be_bytes(), run: normalize(raw)? });
            }
            let began = Instant::now();
            archive.write(|archive| archive.store_records(key, Source::File, &records, &now))?;
            spent += began.elapsed();
        }
    }
    archive.close()?;
    Ok(spent)
}

/// What the indexes and the table of errors take.
fn cost(path: &Path, spent: Duration, without: Duration) -> Result<(), Box<dyn Error>> {
    let database = Connection::open(path)?;
    let bytes = |name: &str| -> rusqlite::Result<f64> {
        let sql = "SELECT coalesce(sum(pgsize), 0) FROM dbstat WHERE name LIKE ?1";
        database.query_row(sql, [name], |row| row.get(0))
    };
    let all = bytes("%")?;
    let mut indexes = 0.0;
    for name in INDEXES {
        indexes += bytes(name)?;
    }
    say(&format!(
        "storing takes {:.2} times as long with the reports' indexes as without ({:.1} s, {:.1} s)",
        spent.as_secs_f64() / without.as_secs_f64(),
        spent.as_secs_f64(),
        without.as_secs_f64()
    ));
    say(&format!(
        "they take {:.1}% of the file, and error_runs {:.1}%",
        indexes / all * 100.0,
        bytes("error_runs")? / all * 100.0
    ));
    Ok(())
}

/// The one query that is about all of the archive.
const EVERY_ROW: &str = "rules";

fn measure(path: &Path) -> Result<(), Box<dyn Error>> {
    let database = Connection::open(path)?;
    database.execute_batch("PRAGMA cache_size = -65536")?;
    let scan = best(|| {
        database.query_row("SELECT sum(length(id)) FROM runs NOT INDEXED", [], |_| Ok(()))?;
        Ok(())
    })?;
    say(&format!("reading every row of runs once: {:.0} ms", ms(scan)));
    let week = ["--since", "2026-11-16", "--until", "2026-11-23"];
    for format in ["text", "html"] {
        let report = time(path, &["report", "--as-of", AS_OF, "--format", format])?;
        say(&format!("weekly report as {format}: {:.0} ms", ms(report)));
    }
    let mut slowest = (Duration::ZERO, "");
    let list = archive(path).args(["query", "--format", "json"]).output()?;
    let list: Vec<serde_json::Value> = serde_json::from_slice(&list.stdout)?;
    for query in &list {
        let name = query["name"].as_str().ok_or("a name")?;
        if name == EVERY_ROW {
            continue;
        }
        let takes = |parameter: &str| {
            query["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == parameter))
        };
        let mut arguments = vec!["query", name];
        if takes("since") && takes("until") {
            arguments.extend(week);
        }
        slowest = slowest.max((time(path, &arguments)?, name));
    }
    say(&format!(
        "{} named queries over a week, each: at most {:.0} ms ({})",
        list.len() - 1,
        ms(slowest.0),
        slowest.1
    ));
    for name in ["failure-rates", "failure-rates-by-day", "error-codes", "durations"] {
        say(&format!("{name} over all time: {:.0} ms", ms(time(path, &["query", name])?)));
    }
    say(&format!(
        "{EVERY_ROW} over every row of every table: {:.0} ms",
        ms(time(path, &["query", EVERY_ROW])?)
    ));
    let verify = time(path, &["verify", "--offline"])?;
    say(&format!("verify --offline, every run rebuilt and proved: {:.0} ms", ms(verify)));
    Ok(())
}

fn archive(path: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_archive"));
    command.env_clear().env("HOME", path.parent().unwrap_or(path)).env("ARCHIVE_DB", path);
    command
}

/// The whole command, from its start to its end.
fn time(path: &Path, arguments: &[&str]) -> Result<Duration, Box<dyn Error>> {
    best(|| {
        let status = archive(path).args(arguments).stdout(Stdio::null()).status()?;
        if status.success() { Ok(()) } else { Err(format!("{arguments:?} ended with {status}").into()) }
    })
}

fn best(mut work: impl FnMut() -> Result<(), Box<dyn Error>>) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..TIMES {
        let began = Instant::now();
        work()?;
        best = best.min(began.elapsed());
    }
    Ok(best)
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

#[expect(clippy::print_stdout, reason = "a benchmark's result is what it prints")]
fn say(line: &str) {
    println!("{line}");
}
