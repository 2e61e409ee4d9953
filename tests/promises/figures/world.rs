//! What an archive of a history holds, worked out without it, and the doors by which it gets in.

use std::collections::BTreeSet;
use std::path::Path;

use run_archive::api::wire;
use run_archive::normalize::normalize;
use run_archive::store;
use run_archive::store::records::{Received, Source};
use run_archive::time::UtcText;
use serde_json::{Value, json};
use xxhash_rust::xxh3::xxh3_128;

use super::clock::{self, Ticks};
use super::platform::{Field, History, SentRun};

/// When everything was stored.
pub const STORED_AT: &str = "2026-12-01T00:00:00Z";

/// An archive, as plain data.
#[derive(Debug, Default)]
pub struct World {
    pub connections: Vec<Connection>,
    /// In the order in which they were first stored.
    pub runs: Vec<Run>,
}

#[derive(Debug)]
pub struct Connection {
    pub id: String,
    /// Its name, or its id.
    pub label: String,
    pub rejects: u64,
}

#[derive(Debug, Clone)]
pub struct Run {
    /// Place in the order of storing.
    pub key: usize,
    pub connection: usize,
    pub id: String,
    pub outcome: &'static str,
    pub state: Option<&'static str>,
    pub start: Option<Ticks>,
    pub duration: Option<i64>,
    pub jobs: Vec<Job>,
    pub is_unlisted: bool,
}

#[derive(Debug, Clone)]
pub struct Job {
    pub is_failed: bool,
    pub start: Option<Ticks>,
    pub duration: Option<i64>,
    pub tasks: Vec<Task>,
}

#[derive(Debug, Clone)]
pub struct Task {
    pub is_failed: bool,
    pub duration: Option<i64>,
    pub retries: i64,
    pub error: Option<TaskError>,
}

/// What tells errors apart: code, key, and who can act.
pub type Kind = (Option<String>, Option<String>, Option<bool>);

#[derive(Debug, Clone)]
pub struct TaskError {
    pub kind: Kind,
    pub system: Option<String>,
    pub phase: Option<String>,
    pub description: Option<String>,
    pub link: Option<String>,
}

fn outcome(state: Option<&str>, result: Option<&str>) -> &'static str {
    match (state, result) {
        (Some("Completed"), Some(result)) => match result {
            "Success" => "succeeded",
            "PartialSuccess" => "partly succeeded",
            "Error" | "TimedOut" => "failed",
            "Canceled" | "Cancelled" => "canceled",
            "Skipped" => "skipped",
            _ => "undetermined",
        },
        (Some("Completed"), None) => "undetermined",
        _ => "unfinished",
    }
}

impl Run {
    fn new(key: usize, connection: usize, sent: &SentRun) -> Self {
        let is_failed = |result: Option<&str>| matches!(result, Some("Error" | "TimedOut"));
        let between = |start: Option<Ticks>, end: Option<Ticks>| clock::milliseconds(start?, end?);
        let text = |word: &Field<&'static str>| word.value().map(str::to_owned);
        let jobs = match &sent.jobs {
            Field::Is(jobs) => jobs.as_slice(),
            _ => &[],
        };
        let jobs = jobs.iter().map(|job| Job {
            is_failed: is_failed(job.result.value()),
            start: job.start.ticks(),
            duration: between(job.start.ticks(), job.end.ticks()),
            tasks: job
                .tasks
                .iter()
                .map(|task| Task {
                    is_failed: is_failed(task.result.value()),
                    duration: between(task.start.ticks(), task.end.ticks()),
                    retries: task.retries.value().unwrap_or(0),
                    error: task.error.as_ref().map(|error| TaskError {
                        kind: (text(&error.code), text(&error.key), error.fix.value()),
                        system: text(&error.system).map(|system| system.to_ascii_lowercase()),
                        phase: text(&error.phase),
                        description: text(&error.description),
                        link: text(&error.link).filter(|link| !link.is_empty()),
                    }),
                })
                .collect(),
        });
        Self {
            key,
            connection,
            id: run_id(key),
            outcome: outcome(sent.state.value(), sent.result.value()),
            state: sent.state.value(),
            start: sent.start.ticks(),
            duration: between(sent.start.ticks(), sent.end.ticks()),
            jobs: jobs.collect(),
            is_unlisted: false,
        }
    }

    pub fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.jobs.iter().flat_map(|job| &job.tasks)
    }

    pub fn errors(&self) -> impl Iterator<Item = &TaskError> {
        self.tasks().filter_map(|task| task.error.as_ref())
    }

    /// From its start to its first job's.
    pub fn queue(&self) -> Option<i64> {
        let first = self.jobs.iter().filter_map(|job| job.start).min()?;
        clock::milliseconds(self.start?, first)
    }

    pub fn is_rated(&self) -> bool {
        matches!(self.outcome, "succeeded" | "partly succeeded" | "failed")
    }

    pub fn is_success(&self) -> bool {
        matches!(self.outcome, "succeeded" | "partly succeeded")
    }

    pub fn is_masked(&self) -> bool {
        let is_bad =
            |job: &Job| job.is_failed || job.tasks.iter().any(|task| task.is_failed || task.error.is_some());
        self.outcome == "succeeded" && self.jobs.iter().any(is_bad)
    }
}

/// One text as a record for the store.
fn read(raw: &str) -> Received<'_> {
    let fingerprint = xxh3_128(raw.as_bytes()).to_be_bytes();
    match normalize(raw) {
        Ok(run) => Received::Run { raw, fingerprint, run },
        Err(reject) => Received::Rejected { raw, fingerprint, reason: reject.to_string(), known: None },
    }
}

fn run_id(key: usize) -> String {
    format!("run-{key:03}")
}

/// Archives a history through the library's store, as a sync does; after each step `check` is called with
/// what must be archived then.
pub fn store(path: &Path, history: &History, mut check: impl FnMut(&World)) -> World {
    let now = UtcText::parse_sent(STORED_AT).unwrap();
    let mut archive = store::Archive::open(path, 4).unwrap();
    let mut world = World::default();
    let mut keys = Vec::new();
    for connection in &history.connections {
        let key = archive
            .write(|archive| archive.upsert_connection(&connection.id.parse().unwrap(), &now))
            .unwrap();
        if let Some(name) = connection.name {
            let json = json!({ "connection": { "id": connection.id, "displayName": name } }).to_string();
            let named = wire::Connection::parse(&json).unwrap();
            archive.write(|archive| archive.store_connection(key, &named)).unwrap();
        }
        let rejects: Vec<String> =
            (0..connection.rejects).map(|number| json!({ "id": number }).to_string()).collect();
        let rejects: Vec<Received<'_>> = rejects.iter().map(|raw| read(raw)).collect();
        archive.write(|archive| archive.store_records(key, Source::File, &rejects, &now)).unwrap();
        keys.push(key);
        world.connections.push(Connection {
            id: connection.id.to_owned(),
            label: connection.name.unwrap_or(connection.id).to_owned(),
            rejects: connection.rejects,
        });
    }
    let mut put = |connection: usize, source: Source, text: &Value| {
        let text = text.to_string();
        let key = keys[connection];
        archive.write(|archive| archive.store_records(key, source, &[read(&text)], &now)).unwrap()
    };
    let mut sent: Vec<SentRun> = Vec::new();
    let mut unread = BTreeSet::new();
    for (key, (connection, run)) in history.runs.iter().enumerate() {
        put(*connection, Source::File, &run.json(&run_id(key), 0));
        world.runs.push(Run::new(key, *connection, run));
        sent.push(run.clone());
    }
    check(&world);
    for (version, (index, newer)) in history.changes.iter().enumerate().filter(|_| !history.runs.is_empty()) {
        let key = index.index(sent.len());
        let connection = world.runs[key].connection;
        let text = newer.json(&run_id(key), version + 1);
        put(connection, Source::ById, &text);
        // The same text is kept once.
        if sent[key].has_unread(newer) && unread.insert((connection, text.to_string())) {
            world.connections[connection].rejects += 1;
        }
        sent[key] = sent[key].then(newer);
        world.runs[key] = Run::new(key, connection, &sent[key]);
        check(&world);
    }
    for index in history.forgotten.iter().filter(|_| !history.runs.is_empty()) {
        let run = &mut world.runs[index.index(sent.len())];
        let (connection, key) = (keys[run.connection], i64::try_from(run.key).unwrap() + 1);
        archive.write(|archive| archive.mark_not_found(connection, key, &now)).unwrap();
        run.is_unlisted = true;
    }
    check(&world);
    archive.close().unwrap();
    world
}

/// The first answers as pages that `archive import` reads, and what is archived of them: imports tell no names.
pub fn pages(history: &History) -> (Vec<(String, String)>, World) {
    let mut world = World::default();
    for connection in &history.connections {
        let (id, label) = (connection.id.to_owned(), connection.id.to_owned());
        world.connections.push(Connection { id, label, rejects: 0 });
    }
    // Stored connection by connection, so that is the order of their keys.
    let mut pages = Vec::new();
    for connection in 0..history.connections.len() {
        let mut runs = Vec::new();
        for (_, run) in history.runs.iter().filter(|(of, _)| *of == connection) {
            let key = world.runs.len();
            runs.push(run.json(&run_id(key), 0));
            world.runs.push(Run::new(key, connection, run));
        }
        pages.push((
            world.connections[connection].id.clone(),
            json!({ "runs": runs, "_links": {} }).to_string(),
        ));
    }
    (pages, world)
}
