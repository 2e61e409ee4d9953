//! What `archive verify` reads and mends: the file's own integrity, every run with its digest, a run's JSON
//! by a way of its own, and what can be told anew from the rows.
//!
//! In: an open archive. Out: plain facts; what they mean is judged in `verify`.

use rusqlite::{Connection, OptionalExtension as _, params};
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::{Error, Result};
use super::open::Archive;
use super::reader::Reader;
use super::status::freshness;
use super::{runs, schema};
use crate::api::ConnectionId;
use crate::normalize::Digest;
use crate::normalize::digest::digest_of_rows;
use crate::time::UtcText;

/// Complaints of SQLite that are told at most.
const MOST_COMPLAINTS: usize = 20;
/// Runs read at a time.
const AT_A_TIME: i64 = 1_000;

/// The lengths of time that are kept beside the rows: of which table, in which column, and what ends them. Each
/// begins when what the row stands for began.
const SPANS: [(&str, &str, &str); 4] = [
    ("runs", "duration_ms", "runs.ended_at"),
    ("jobs", "duration_ms", "jobs.ended_at"),
    ("tasks", "duration_ms", "tasks.ended_at"),
    ("runs", "queue_ms", "(SELECT min(jobs.started_at) FROM jobs WHERE jobs.run_key = runs.run_key)"),
];

/// A run whose rows are not what was received.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Altered {
    pub connection: String,
    pub run_id: String,
}

/// What the digests of all runs say.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Digests {
    /// Runs whose rows are what was received.
    pub proved: u64,
    /// Runs that were stored by a version that made no digests.
    pub without: u64,
    /// Runs whose rows are not what was received.
    pub altered: Vec<Altered>,
}

/// A connection as it is verified.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub connection_key: i64,
    /// When the last complete walk began, or nothing had begun since: what began before is archived.
    pub complete_as_of: Option<UtcText>,
    /// Whether the platform no longer lists the connection.
    pub is_unlisted: bool,
    /// Archived runs that are thought to be listed.
    pub listed: u64,
    /// The newest run key of the archive.
    pub newest_run_key: i64,
    /// Whether what is kept of the connection's own answer can be read.
    pub is_extra_readable: bool,
}

/// An archived run, by its id.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Copy {
    pub run_key: i64,
    pub is_completed: bool,
    /// Whether the archive says that the platform no longer lists it.
    pub is_unlisted: bool,
    /// Its JSON, put together from columns and `extra` by SQL names alone; `None` where `extra` is damaged.
    pub json: Option<Value>,
    /// The digest that was stored with it.
    pub digest: Option<Digest>,
    /// The digest of its rows as they are.
    pub digest_of_rows: Digest,
}

impl Reader {
    /// What SQLite's own checks complain of: damaged pages, broken references. Empty for a sound file.
    pub(crate) fn check_integrity(&self) -> Result<Vec<String>> {
        self.sqlite(integrity(&self.connection, &schema::tables()?))
    }

    /// How many gaps are noted, and how many records are set aside.
    pub(crate) fn count_gaps_and_rejects(&self) -> Result<(u64, u64)> {
        let sql = "SELECT (SELECT count(*) FROM gaps), (SELECT count(*) FROM rejects)";
        let count =
            |row: &rusqlite::Row<'_>, at| Ok::<_, rusqlite::Error>(row.get::<_, i64>(at)?.cast_unsigned());
        self.sqlite(self.connection.query_row(sql, [], |row| Ok((count(row, 0)?, count(row, 1)?))))
    }

    /// Rebuilds every run from its rows and holds it against its digest.
    pub(crate) fn check_digests(&self) -> Result<Digests> {
        // Each page has the time limit of one question: a file of a million runs takes longer than that.
        let check = || {
            let mut digests = Digests::default();
            // By the rows that there are: keys may lie as far apart as somebody likes.
            let page = "SELECT min(run_key), max(run_key)
                        FROM (SELECT run_key FROM runs WHERE run_key >= ?1 ORDER BY run_key LIMIT ?2)";
            let mut next = Some(i64::MIN);
            while let Some(from) = next {
                let keys: (Option<i64>, Option<i64>) = self
                    .connection
                    .prepare_cached(page)?
                    .query_row([from, AT_A_TIME], |row| Ok((row.get(0)?, row.get(1)?)))?;
                let (Some(first), Some(last)) = keys else { break };
                // A damaged index may give keys that were read before, for ever.
                if last < from {
                    break;
                }
                next = last.checked_add(1);
                for (run_key, run) in runs::runs_between(&self.connection, first, last)? {
                    match run.digest {
                        None => digests.without += 1,
                        Some(digest) if digest == digest_of_rows(&run) => digests.proved += 1,
                        Some(_) => digests.altered.push(self.altered(run_key, &run.id)?),
                    }
                }
            }
            Ok(digests)
        };
        self.sqlite(check())
    }

    fn altered(&self, run_key: i64, run_id: &str) -> rusqlite::Result<Altered> {
        let sql = "SELECT coalesce(name, display_name, connections.id) FROM runs
                   JOIN connections USING (connection_key) WHERE run_key = ?1";
        let connection = self.connection.query_row(sql, [run_key], |row| row.get(0)).optional()?;
        Ok(Altered { connection: connection.unwrap_or_default(), run_id: run_id.to_owned() })
    }

    /// What verifying a connection needs to know of it.
    pub(crate) fn read_subject(&self, id: &ConnectionId, now: &UtcText) -> Result<Option<Subject>> {
        self.require_views()?;
        let sql = "SELECT connection_key, unlisted_at IS NOT NULL AS is_unlisted,
                          complete_as_of,
                          extra IS NULL OR json_valid(extra) AND substr(extra, 1, 1) = '{' AS is_extra_readable,
                          (SELECT count(*) FROM runs
                           WHERE runs.connection_key = connections.connection_key
                             AND runs.unlisted_at IS NULL) AS listed,
                          (SELECT coalesce(max(run_key), 0) FROM runs) AS newest_run_key
                   FROM connections LEFT JOIN connection_coverage USING (connection_key)
                   WHERE kind = ?1 AND id = ?2";
        let kind_and_id = [id.kind().as_str(), id.as_str()];
        let subject = self.connection.query_row(sql, kind_and_id, |row| {
            let told = freshness(&self.connection, kind_and_id, row.get("complete_as_of")?, now)?;
            Ok(Subject {
                connection_key: row.get("connection_key")?,
                complete_as_of: told.complete_as_of(),
                is_unlisted: row.get("is_unlisted")?,
                listed: row.get::<_, i64>("listed")?.cast_unsigned(),
                newest_run_key: row.get("newest_run_key")?,
                is_extra_readable: row.get("is_extra_readable")?,
            })
        });
        self.sqlite(subject.optional())
    }

    pub(crate) fn read_copy(&self, connection_key: i64, id: &str) -> Result<Option<Copy>> {
        self.run(|connection| {
            let sql = "SELECT run_key, state IS 'Completed', unlisted_at IS NOT NULL FROM runs
                       WHERE connection_key = ?1 AND id = ?2";
            let found = connection
                .prepare_cached(sql)?
                .query_row(params![connection_key, id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
            let Some((run_key, is_completed, is_unlisted)) = found.optional()? else { return Ok(None) };
            let Some(run) = runs::run(connection, run_key)? else { return Ok(None) };
            Ok(Some(Copy {
                run_key,
                is_completed,
                is_unlisted,
                json: json(connection, run_key)?,
                digest: run.digest,
                digest_of_rows: digest_of_rows(&run),
            }))
        })
    }

    /// Keys and ids of the runs that are archived as listed.
    pub(crate) fn read_listed_runs(&self, connection_key: i64) -> Result<Vec<(i64, String)>> {
        let sql =
            "SELECT run_key, id FROM runs WHERE connection_key = ?1 AND unlisted_at IS NULL ORDER BY run_key";
        self.run(|connection| {
            let mut statement = connection.prepare(sql)?;
            statement.query_map([connection_key], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
        })
    }
}

/// A run's JSON, by another way than `normalize::rebuild` takes; `None` where an `extra` is no JSON object.
fn json(connection: &Connection, run_key: i64) -> rusqlite::Result<Option<Value>> {
    let (run, is_whole) = join_rows(connection, run_key)?;
    Ok(is_whole.then_some(run))
}

/// The same, with an `extra` that is no JSON object as the text it is.
pub(super) fn json_of_rows(connection: &Connection, run_key: i64) -> rusqlite::Result<Value> {
    join_rows(connection, run_key).map(|(run, _)| run)
}

/// SQL gives each row as an object, in the platform's names, and `extra` is laid over it. Rows whose parent is
/// not there stand under `orphans`. Gives also whether each `extra` is a JSON object.
fn join_rows(connection: &Connection, run_key: i64) -> rusqlite::Result<(Value, bool)> {
    let mut statement = connection.prepare_cached(include_str!("read_json.sql"))?;
    let mut rows = statement.query([run_key])?;
    let mut run = Value::Object(Map::new());
    let mut is_whole = true;
    while let Some(row) = rows.next()? {
        let (level, job, task): (String, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let index = |place: i64| usize::try_from(place).unwrap_or(usize::MAX);
        let (columns, extra): (String, Option<String>) = (row.get(3)?, row.get(4)?);
        let (object, is_joined) = join(&columns, extra.as_deref());
        is_whole &= is_joined;
        if level == "run" {
            run = object;
            continue;
        }
        let job = || format!("/jobs/{}", index(job));
        let parent = match level.as_str() {
            "job" => Some(&mut run),
            "task" => run.pointer_mut(&job()),
            _ => run.pointer_mut(&format!("{}/tasks/{}", job(), index(task))),
        };
        match (parent, level.as_str()) {
            (Some(run), "job") => push(run, "jobs", object),
            (Some(job), "task") => push(job, "tasks", object),
            (Some(task), _) => task["error"] = object,
            (None, _) => push(&mut run, "orphans", object),
        }
    }
    Ok((run, is_whole))
}

/// What SQLite's own checks complain of.
///
/// References are checked of these tables alone: somebody else's table may refer to what is no table.
pub(super) fn integrity(connection: &Connection, tables: &[&str]) -> rusqlite::Result<Vec<String>> {
    let mut statement = connection.prepare("PRAGMA integrity_check(20)")?;
    let found: Vec<String> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut complaints: Vec<String> = found.into_iter().filter(|found| found != "ok").collect();
    for table in tables {
        // One that is not there, or whose parent is not, is told by the schema.
        let Ok(mut statement) =
            connection.prepare(&format!("PRAGMA foreign_key_check({})", schema::quoted(table)))
        else {
            continue;
        };
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            if complaints.len() >= MOST_COMPLAINTS {
                return Ok(complaints);
            }
            let (table, parent): (String, String) = (row.get(0)?, row.get(2)?);
            complaints.push(format!("a row of {table} refers to a row of {parent} that is not there"));
        }
    }
    Ok(complaints)
}

/// The columns of a row without what is not there, and `extra` over them, and whether that is a JSON object.
fn join(columns: &str, extra: Option<&str>) -> (Value, bool) {
    // SQLite makes the object, and a text that is no UTF-8 in a column is all that could spoil it.
    let parsed: Option<Map<String, Value>> = serde_json::from_str(columns).ok();
    let mut is_whole = parsed.is_some();
    let mut object = parsed.unwrap_or_default();
    // A column holds NULL both for an absent field and for an explicit null; the latter stands in `extra`
    // and is laid over below.
    object.retain(|_, value| !value.is_null());
    for name in ["startDateTime", "endDateTime"] {
        // The platform trims what the fixed width fills up.
        if let Some(Value::String(time)) = object.get_mut(name)
            && let Some(stored) = UtcText::from_stored(time)
        {
            *time = stored.as_sent();
        }
    }
    if let Some(Value::Object(error)) = object.get_mut("error") {
        error.retain(|_, value| !value.is_null());
        if error.is_empty() {
            object.remove("error");
        }
    }
    if let Some(extra) = extra {
        match serde_json::from_str::<Map<String, Value>>(extra) {
            Ok(extra) => object.extend(extra),
            Err(_) => {
                is_whole = false;
                object.insert("extra".to_owned(), Value::String(extra.to_owned()));
            }
        }
    }
    (Value::Object(object), is_whole)
}

fn push(parent: &mut Value, list: &str, item: Value) {
    if let Value::Object(parent) = parent
        && let Value::Array(list) = parent.entry(list).or_insert_with(|| Value::Array(Vec::new()))
    {
        list.push(item);
    }
}

/// Takes away what belongs to no run and would be taken for part of a new one: what has a key above all runs.
pub(super) fn clear_keys_to_come(connection: &Connection, now: &UtcText) -> rusqlite::Result<()> {
    let (newest, newest_below): (i64, i64) = connection
        .prepare_cached(include_str!("read_newest_keys.sql"))?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    if newest_below > newest {
        set_orphans_aside(connection, newest, now)?;
    }
    Ok(())
}

/// Moves what belongs to no run, and has a key above this one, into `rejects`.
fn set_orphans_aside(connection: &Connection, above: i64, now: &UtcText) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare(include_str!("read_orphans.sql"))?;
    let keys: Vec<i64> = statement.query_map([above], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut reject = connection.prepare(include_str!("reject_orphan.sql"))?;
    let version = env!("CARGO_PKG_VERSION");
    for run_key in &keys {
        let mut kept = Vec::new();
        let rows = json_of_rows(connection, *run_key)?;
        if rows.as_object().is_some_and(|rows| !rows.is_empty()) {
            kept.push((
                rows.to_string(),
                "jobs and tasks whose run was not there, perhaps of this connection",
            ));
        }
        let mut revisions =
            connection.prepare_cached("SELECT content FROM revisions WHERE run_key = ?1 ORDER BY number")?;
        let contents = revisions.query_map([run_key], |row| row.get::<_, String>(0))?;
        for content in contents {
            kept.push((content?, "a revision whose run was not there, perhaps of this connection"));
        }
        for (raw, reason) in kept {
            reject.execute(params![run_key, now.as_str(), version, reason, raw])?;
        }
        for table in ["errors", "tasks", "jobs", "revisions", "error_runs"] {
            connection.execute(&format!("DELETE FROM {table} WHERE run_key = ?1"), [run_key])?;
        }
    }
    Ok(keys.len() as u64)
}

impl Archive {
    /// Refuses what no repair can mend: rows of connections that somebody removed.
    pub(crate) fn require_connections(&self) -> Result<()> {
        let sql = "SELECT count(*)
                   FROM (SELECT connection_key FROM runs UNION SELECT connection_key FROM checkpoints
                         UNION SELECT connection_key FROM walks UNION SELECT connection_key FROM rejects)
                   WHERE connection_key NOT IN (SELECT connection_key FROM connections)";
        let count: i64 = self.sqlite(self.connection.query_row(sql, [], |row| row.get(0)))?;
        match count {
            0 => Ok(()),
            count => Err(Error::NoConnection { path: self.path.clone(), count: count.cast_unsigned() }),
        }
    }

    /// Marks runs that a complete walk did not meet, and those that it met although they were marked.
    pub(crate) fn repair_listed(
        &mut self,
        connection_key: i64,
        gone: &[i64],
        back: &[i64],
        now: &UtcText,
    ) -> Result<()> {
        self.run(|connection| {
            for run_key in gone {
                let sql = "UPDATE runs SET unlisted_at = ?2 WHERE run_key = ?1 AND unlisted_at IS NULL";
                connection.prepare_cached(sql)?.execute(params![run_key, now.as_str()])?;
            }
            for run_key in back {
                let sql = "UPDATE runs SET unlisted_at = NULL, not_found_at = NULL WHERE run_key = ?1";
                connection.prepare_cached(sql)?.execute([run_key])?;
            }
            let recount = "UPDATE checkpoints
                           SET listed = (SELECT count(*) FROM runs
                                         WHERE runs.connection_key = checkpoints.connection_key
                                           AND unlisted_at IS NULL)
                           WHERE connection_key = ?1";
            connection.execute(recount, [connection_key])
        })
        .map(drop)
    }

    /// Takes rows away that belong to no run, and keeps what they say in `rejects`: a run that is stored anew
    /// may be given their key. Gives how many runs they were of.
    pub(crate) fn set_orphans_aside(&mut self, now: &UtcText) -> Result<u64> {
        self.sqlite(set_orphans_aside(&self.connection, i64::MIN, now))
    }

    /// Makes anew what can be told from the rows: durations, queue times, failures, errors by run, counts and
    /// names; and the digests of runs that were stored without one.
    pub(crate) fn repair_derived(&mut self) -> Result<()> {
        for (table, column, until) in SPANS {
            let sql = include_str!("repair_span.sql");
            let sql = sql.replace("{table}", table).replace("{column}", column).replace("{until}", until);
            self.sqlite(self.connection.execute(&sql, []))?;
        }
        self.sqlite(self.connection.execute_batch(include_str!("repair_derived.sql")))?;
        self.refresh_names()?;
        self.run(|connection| {
            let sql = "SELECT run_key FROM runs WHERE digest IS NULL";
            let keys: Vec<i64> =
                connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            for run_key in keys {
                let Some(run) = runs::run(connection, run_key)? else { continue };
                let digest = digest_of_rows(&run);
                let sql = "UPDATE runs SET digest = ?2 WHERE run_key = ?1";
                connection.prepare_cached(sql)?.execute(params![run_key, digest])?;
            }
            Ok(())
        })
    }
}
