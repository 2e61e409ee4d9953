//! What an answer's records become: a run that is new, changed or as it was, or a text that is set aside.
//!
//! In: the records of one answer, each read by `normalize`. Out: their rows, and for each what became of it:
//! `walks` tells by it which runs a listing held. Everything here runs inside a transaction that the writer
//! thread began.

use std::collections::HashSet;

use rusqlite::{Connection, params};
use serde::Serialize;

use super::cells::hash;
use super::error::Result;
use super::open::Archive;
use super::rejects::{self, SetAside};
use super::runs::{self, First, NO_FINGERPRINT, is_completed};
use super::unfinished::{self, Asked};
use super::{check, drift, links, prune};
use crate::normalize::digest::digest_of_rows;
use crate::normalize::{self, Merged, Run, Unread};
use crate::time::UtcText;

/// One record of an answer, ready for the tables.
#[derive(Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "in a backfill nearly all are runs, and a box for each costs more"
)]
#[expect(missing_docs, reason = "what a record holds is named as its columns are")]
pub enum Received<'a> {
    /// A run whose text is not the archived one, or may not be.
    Run { raw: &'a str, fingerprint: [u8; 16], run: Run<'a> },
    /// A run that is archived with this very text.
    Unchanged {
        run_key: i64,
        /// The walk that stored it first.
        walk_key: Option<i64>,
        /// Whether it is not terminal.
        is_unfinished: bool,
    },
    /// A run that was pruned: it counts as archived, whatever it says.
    Pruned { run_key: i64 },
    /// A record that is no run.
    Rejected {
        /// The exact text.
        raw: &'a str,
        /// Of that text.
        fingerprint: [u8; 16],
        /// Why.
        reason: String,
        /// The archived run of the same id and the walk that stored it first, if it can be told.
        known: Option<(i64, Option<i64>)>,
    },
}

/// What became of the records of an answer: received = new + changed + unchanged + rejected.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Records received.
    #[serde(skip)]
    pub received: u64,
    /// Runs stored for the first time.
    pub new: u64,
    /// Runs whose content differed.
    pub changed: u64,
    /// Runs that were archived like this.
    pub unchanged: u64,
    /// Records set aside.
    pub rejected: u64,
    /// Of these, those that are kept nowhere: the connection has its most.
    #[serde(skip)]
    pub not_kept: u64,
    /// Runs that this walk met for the first time.
    pub listed: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: Self) {
        self.received += other.received;
        self.new += other.new;
        self.changed += other.changed;
        self.unchanged += other.unchanged;
        self.rejected += other.rejected;
        self.not_kept += other.not_kept;
        self.listed += other.listed;
    }
}

/// Where records come from besides a walk, and what they may change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// An answer for one run by its id.
    ById,
    /// A page of a listing that is no part of a walk: it says what its runs are, not which there are.
    Page,
    /// A saved page of unknown age: it does not turn a finished run into an unfinished one.
    File,
    /// What the platform lists now, whatever the archive holds: what was altered in the archive looks like
    /// what was last received.
    Repair,
}

/// Where records come from, with what the walk knows whose page they are of.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    Walk {
        walk_key: i64,
        /// Runs that the walk changed already: an answer that was under way before must not change them back.
        changed: &'a HashSet<i64>,
    },
    Other(Source),
}

impl Origin<'_> {
    fn walk_key(self) -> Option<i64> {
        match self {
            Origin::Walk { walk_key, .. } => Some(walk_key),
            Origin::Other(_) => None,
        }
    }

    fn asked(self) -> Asked {
        match self {
            Origin::Other(Source::ById) => Asked::ById,
            Origin::Walk { .. } | Origin::Other(Source::Page | Source::File | Source::Repair) => {
                Asked::InPassing
            }
        }
    }

    fn is_file(self) -> bool {
        matches!(self, Origin::Other(Source::File))
    }

    fn is_repair(self) -> bool {
        matches!(self, Origin::Other(Source::Repair))
    }

    /// Whether a text was sent before what is archived. Completed is the last of a run's states, so a run that
    /// is not completed was sent before one that is. A walk has several requests under way, whose answers may
    /// come in another order than they were sent; a saved file may be years old.
    fn is_older(self, received: &Run<'_>, archived: &Archived) -> bool {
        let is_before = archived.is_completed() && !is_completed(received);
        let ended_before =
            received.ended_at.is_some_and(|ended| Some(ended.as_str()) < archived.ended_at.as_deref());
        match self {
            Origin::Walk { walk_key, changed } => {
                is_before && (archived.walk_key == Some(walk_key) || changed.contains(&archived.run_key))
            }
            Origin::Other(Source::File) => is_before || archived.is_completed() && ended_before,
            Origin::Other(Source::ById | Source::Page | Source::Repair) => false,
        }
    }
}

/// What became of one record.
#[derive(Debug)]
pub(super) struct Stored {
    /// The run that it is, or is about; `None` where that cannot be told.
    pub(super) run_key: Option<i64>,
    pub(super) kind: StoredKind,
    /// Whether the walk that stores the run stored it first.
    pub(super) is_own: bool,
    /// Whether the run was thought to be unlisted.
    pub(super) is_back: bool,
    /// What became of the text where it was set aside, whole or in part.
    pub(super) set_aside: Option<SetAside>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StoredKind {
    New,
    Changed,
    Unchanged,
    Pruned,
    Rejected,
}

impl Stored {
    fn new(run_key: i64, kind: StoredKind) -> Self {
        Self { run_key: Some(run_key), kind, is_own: false, is_back: false, set_aside: None }
    }
}

/// What is archived of a run that was received again.
struct Archived {
    run_key: i64,
    fingerprint: [u8; 16],
    state: Option<String>,
    ended_at: Option<String>,
    walk_key: Option<i64>,
    is_unlisted: bool,
    is_not_found: bool,
}

impl Archived {
    fn read(connection: &Connection, connection_key: i64, id: &str) -> rusqlite::Result<Self> {
        let sql = "SELECT run_key, fingerprint, state, ended_at, walk_key,
                          unlisted_at IS NOT NULL AS is_unlisted, not_found_at IS NOT NULL AS is_not_found
                   FROM runs WHERE connection_key = ?1 AND id = ?2";
        connection.prepare_cached(sql)?.query_row(params![connection_key, id], |row| {
            Ok(Self {
                run_key: row.get("run_key")?,
                fingerprint: hash(row.get_ref("fingerprint")?),
                state: row.get("state")?,
                ended_at: row.get("ended_at")?,
                walk_key: row.get("walk_key")?,
                is_unlisted: row.get("is_unlisted")?,
                is_not_found: row.get("is_not_found")?,
            })
        })
    }

    fn is_completed(&self) -> bool {
        self.state.as_deref() == Some("Completed")
    }
}

/// The records of one answer, on their way into the tables.
pub(super) struct Batch<'c> {
    connection: &'c Connection,
    connection_key: i64,
    now: &'c UtcText,
    counts: Counts,
    /// The newest start among its runs.
    newest: Option<UtcText>,
    /// Runs that are archived as listed now and were not before.
    listed_more: i64,
    /// What may still be set aside; read with the first record that is.
    room: Option<rejects::Room>,
    has_pruned: bool,
    key_above_pruned: Option<i64>,
}

impl<'c> Batch<'c> {
    pub(super) fn begin(
        connection: &'c Connection,
        connection_key: i64,
        now: &'c UtcText,
    ) -> rusqlite::Result<Self> {
        check::clear_keys_to_come(connection, now)?;
        Ok(Self {
            connection,
            connection_key,
            now,
            counts: Counts::default(),
            newest: None,
            listed_more: 0,
            room: None,
            has_pruned: prune::has_pruned(connection, connection_key)?,
            key_above_pruned: prune::key_above_pruned(connection)?,
        })
    }

    pub(super) fn store(&mut self, record: &Received<'_>, origin: Origin<'_>) -> rusqlite::Result<Stored> {
        self.counts.received += 1;
        let stored = match record {
            Received::Unchanged { run_key, walk_key, is_unfinished } => {
                // A saved page tells how the run was when it was saved, not how it is now.
                if *is_unfinished && !origin.is_file() {
                    unfinished::note_answer(self.connection, *run_key, origin.asked(), self.now)?;
                }
                let is_own = origin.walk_key().is_some() && origin.walk_key() == *walk_key;
                Stored { is_own, ..Stored::new(*run_key, StoredKind::Unchanged) }
            }
            Received::Pruned { run_key } => Stored::new(*run_key, StoredKind::Pruned),
            Received::Run { raw, fingerprint, run } => self.store_run(raw, fingerprint, run, origin)?,
            Received::Rejected { raw, fingerprint, reason, known } => {
                let kept = self.set_aside(raw, fingerprint, reason, origin)?;
                Stored {
                    run_key: known.map(|(run_key, _)| run_key),
                    kind: StoredKind::Rejected,
                    is_own: known.is_some_and(|(_, first)| first.is_some() && first == origin.walk_key()),
                    is_back: false,
                    set_aside: Some(kept),
                }
            }
        };
        self.account(&stored);
        Ok(stored)
    }

    fn account(&mut self, stored: &Stored) {
        self.counts.not_kept += u64::from(stored.set_aside == Some(SetAside::NotKept));
        self.listed_more += i64::from(stored.kind == StoredKind::New || stored.is_back);
        match stored.kind {
            // What could not be read whole is set aside, though the rest of it is stored.
            _ if stored.set_aside.is_some() => self.counts.rejected += 1,
            StoredKind::Rejected => self.counts.rejected += 1,
            StoredKind::New => self.counts.new += 1,
            StoredKind::Changed => self.counts.changed += 1,
            StoredKind::Unchanged | StoredKind::Pruned => self.counts.unchanged += 1,
        }
    }

    fn set_aside(
        &mut self,
        raw: &str,
        fingerprint: &[u8; 16],
        reason: &str,
        origin: Origin<'_>,
    ) -> rusqlite::Result<SetAside> {
        let record = (raw, fingerprint, reason);
        let room = (&mut self.room, origin.is_file());
        rejects::set_aside(self.connection, self.connection_key, room, record, self.now)
    }

    fn store_run(
        &mut self,
        raw: &str,
        fingerprint: &[u8; 16],
        run: &Run<'_>,
        origin: Origin<'_>,
    ) -> rusqlite::Result<Stored> {
        // A run that was pruned on purpose would come back with each walk that meets it.
        if self.has_pruned
            && let Some(run_key) = prune::pruned(self.connection, self.connection_key, &run.id)?
        {
            return Ok(Stored::new(run_key, StoredKind::Pruned));
        }
        self.newest = self.newest.max(run.started_at);

        let unread = Unread::of_run(run);
        // The text of a record that cannot be read whole is never taken as known, so that each sync that
        // meets it sets it aside again and says so.
        let stored_fingerprint = if unread.is_some() { &NO_FINGERPRINT } else { fingerprint };
        let first = First {
            run_key: self.key_above_pruned,
            connection_key: self.connection_key,
            walk_key: origin.walk_key(),
            now: self.now,
        };
        let (mut stored, unread) = match runs::insert(self.connection, run, stored_fingerprint, first)? {
            Some(run_key) => {
                self.key_above_pruned = None;
                drift::note(self.connection, run_key, &run.drift, &[], self.now)?;
                if !is_completed(run) {
                    unfinished::note_moved(self.connection, run_key, false, origin.asked(), self.now)?;
                }
                (Stored { is_own: true, ..Stored::new(run_key, StoredKind::New) }, unread)
            }
            None => self.store_again(raw, stored_fingerprint, run, origin)?,
        };
        if let Some(unread) = unread {
            let kept = self.set_aside(raw, fingerprint, &unread.to_string(), origin)?;
            stored.set_aside = Some(kept);
            // What is archived of the run stays, and so do its notes: this text's are noted once, with the text.
            if kept == SetAside::Kept
                && stored.kind != StoredKind::New
                && let Some(run_key) = stored.run_key
            {
                let notes: Vec<_> = run.drift.iter().cloned().chain(unread.time_drift()).collect();
                drift::note(self.connection, run_key, &notes, &[], self.now)?;
            }
        }
        Ok(stored)
    }

    /// Stores what was received of a run that is archived; gives also what of it could not be read.
    fn store_again(
        &mut self,
        raw: &str,
        fingerprint: &[u8; 16],
        run: &Run<'_>,
        origin: Origin<'_>,
    ) -> rusqlite::Result<(Stored, Option<Unread>)> {
        let unread = Unread::of_run(run);
        let archived = Archived::read(self.connection, self.connection_key, &run.id)?;
        let run_key = archived.run_key;
        // Only a walk shows that a run is listed again; an answer by its id shows that it is there.
        let is_back = archived.is_unlisted && origin.walk_key().is_some();
        if is_back || archived.is_not_found && !origin.is_file() {
            let sql = "UPDATE runs SET not_found_at = NULL, unlisted_at = iif(?2, NULL, unlisted_at) WHERE run_key = ?1";
            self.connection.prepare_cached(sql)?.execute(params![run_key, is_back])?;
        }

        let is_text_known = archived.fingerprint == *fingerprint && unread.is_none();
        let is_read = !origin.is_older(run, &archived) && (origin.is_repair() || !is_text_known);
        let change = if is_read {
            self.change_run(run_key, (raw, run, fingerprint), origin.asked())?
        } else {
            Change { is_changed: false, unread }
        };
        if !change.is_changed && !archived.is_completed() && !origin.is_file() {
            unfinished::note_answer(self.connection, run_key, origin.asked(), self.now)?;
        }

        let kind = if change.is_changed { StoredKind::Changed } else { StoredKind::Unchanged };
        let is_own = archived.walk_key.is_some() && archived.walk_key == origin.walk_key();
        Ok((Stored { is_own, is_back, ..Stored::new(run_key, kind) }, change.unread))
    }

    /// Replaces a run's content by what was received, merged, unless that says what is archived already.
    fn change_run(
        &self,
        run_key: i64,
        (raw, received, fingerprint): (&str, &Run<'_>, &[u8; 16]),
        asked: Asked,
    ) -> rusqlite::Result<Change> {
        let connection = self.connection;
        let Some(before) = runs::run(connection, run_key)? else {
            return Ok(Change { is_changed: false, unread: None });
        };
        let archived = normalize::rebuild(&before);
        // Computed, not as stored: a run that was altered in the archive is no longer what came.
        let digest_before = digest_of_rows(&before);
        let is_altered = before.digest.is_some_and(|digest| digest != digest_before);
        let Merged { json: merged, unread } = normalize::merge(&archived, raw);
        let unread = unread.or_else(|| Unread::of_run(received));
        let fingerprint = if unread.is_some() { &NO_FINGERPRINT } else { fingerprint };
        // What somebody wrote into the archive is not kept because an answer says nothing of it: an answer with
        // jobs replaces all of an altered run, and the revision keeps what stood there.
        let stands_alone = is_altered && !received.jobs.is_empty();
        // A merge of two runs is a run; if it were not, what was received stands by itself.
        let merged = if stands_alone { None } else { normalize::normalize_merged(&merged).ok() };
        let run = merged.as_ref().unwrap_or(received);
        if run.digest == Some(digest_before) {
            if before.digest != run.digest {
                let sql = "UPDATE runs SET digest = ?2 WHERE run_key = ?1";
                connection.prepare_cached(sql)?.execute(params![run_key, run.digest])?;
            }
            return Ok(Change { is_changed: false, unread });
        }
        // Of a run that was altered in the archive nothing is known but that it is not what came.
        if before.digest == Some(digest_before)
            && let Some(fields) = normalize::find_volatile(&before, run)
        {
            links::replace(connection, run_key, (&before, run), fingerprint)?;
            drift::note_volatile(connection, run_key, &fields, self.now)?;
            return Ok(Change { is_changed: false, unread });
        }

        self.insert_revision(run_key, &before, &archived)?;
        runs::replace(connection, (self.connection_key, run_key), run, fingerprint)?;
        unfinished::note_moved(connection, run_key, is_completed(run), asked, self.now)?;
        if !run.drift.is_empty() {
            let before = normalize::normalize_merged(&archived).map(|run| run.drift).unwrap_or_default();
            drift::note(connection, run_key, &run.drift, &before, self.now)?;
        }
        Ok(Change { is_changed: true, unread })
    }

    fn insert_revision(&self, run_key: i64, before: &Run<'_>, json: &str) -> rusqlite::Result<()> {
        let sql = "INSERT INTO revisions (run_key, number, replaced_at, content)
                   SELECT ?1, coalesce(max(number), 0) + 1, ?2, ?3 FROM revisions WHERE run_key = ?1";
        let mut insert = self.connection.prepare_cached(sql)?;
        if normalize::is_whole(before) {
            insert.execute(params![run_key, self.now.as_str(), json])?;
        } else {
            // An `extra` that somebody spoilt is kept as the text that it is.
            let rows = check::json_of_rows(self.connection, run_key)?.to_string();
            insert.execute(params![run_key, self.now.as_str(), rows])?;
        }
        Ok(())
    }

    /// Counts what became listed, and gives what became of the records.
    pub(super) fn end(self) -> rusqlite::Result<Counts> {
        if self.listed_more != 0 || self.newest.is_some() {
            let sql = "UPDATE checkpoints
                       SET listed = listed + ?2, newest_started_at = max(coalesce(newest_started_at, ?3), coalesce(?3, newest_started_at))
                       WHERE connection_key = ?1 AND (?2 <> 0 OR newest_started_at IS NULL OR newest_started_at < ?3)";
            let newest = self.newest.as_ref().map(UtcText::as_str);
            self.connection.prepare_cached(sql)?.execute(params![
                self.connection_key,
                self.listed_more,
                newest
            ])?;
        }
        Ok(self.counts)
    }
}

/// What an answer changed of an archived run.
struct Change {
    /// Whether it says anything that is not archived already.
    is_changed: bool,
    /// What of it could not be read.
    unread: Option<Unread>,
}

impl Archive {
    /// Stores the records of one answer that is no page of a walk.
    pub fn store_records(
        &mut self,
        connection_key: i64,
        source: Source,
        records: &[Received<'_>],
        now: &UtcText,
    ) -> Result<Counts> {
        self.uncommitted += records.len();
        let counts = self.run(|connection| {
            let mut batch = Batch::begin(connection, connection_key, now)?;
            for record in records {
                batch.store(record, Origin::Other(source))?;
            }
            batch.end()
        })?;
        self.accounted(counts, connection_key)
    }

    /// Every record received is accounted for, or nothing of the page is stored.
    pub(super) fn accounted(&self, counts: Counts, connection_key: i64) -> Result<Counts> {
        if counts.new + counts.changed + counts.unchanged + counts.rejected == counts.received {
            return Ok(counts);
        }
        let what = "records were received of which it is not told what became of them";
        Err(self.inconsistent(what, "connections", connection_key))
    }

    /// Notes that asking for a run by its id answered 404.
    pub fn mark_not_found(&mut self, connection_key: i64, run_key: i64, now: &UtcText) -> Result<()> {
        self.run(|connection| {
            let listed = "UPDATE checkpoints SET listed = listed - 1
                          WHERE connection_key = ?1
                            AND EXISTS (SELECT 1 FROM runs WHERE run_key = ?2 AND unlisted_at IS NULL)";
            connection.execute(listed, [connection_key, run_key])?;
            let sql = "UPDATE runs SET not_found_at = ?2, unlisted_at = coalesce(unlisted_at, ?2) WHERE run_key = ?1";
            connection.execute(sql, params![run_key, now.as_str()])?;
            unfinished::note_answer(connection, run_key, Asked::ById, now)
        })
    }
}
