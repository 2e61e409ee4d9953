//! From the text of an answer to records for the writer, and what the walk needs to know of them.
//!
//! In: an answer, and what is archived. Out: a [`Batch`], which holds the answer's text and the records
//! that borrow from it, so that nothing is copied on the way to the writer's thread.

use std::collections::HashSet;

use self_cell::self_cell;
use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::api::Answer;
use crate::api::wire::{self, More, Object, Page, Unreadable};
use crate::normalize::digest::digest_of_rows;
use crate::normalize::{self, Unread};
use crate::store::read::Known;
use crate::store::write::{Counts, Received};
use crate::store::{self, Reader};
use crate::time::UtcText;
use crate::walk::{Entry, Key};

/// Why an answer did not become records.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The answer is not what was asked for.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The archive could not be asked what it has.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// What is archived of the connection whose page is read.
#[derive(Debug, Clone, Copy)]
pub struct Lookup {
    /// The connection.
    pub connection_key: i64,
    /// Runs up to this key, started up to the watermark, are settled.
    pub settled_run_key: i64,
    /// See `settled_run_key`.
    pub watermark: Option<UtcText>,
    /// Whether anything is archived at all.
    pub is_needed: bool,
}

/// The entries of a page in the order sent, and what it says of a following one.
#[derive(Debug)]
pub struct PageFacts {
    /// One for each record received.
    pub entries: Vec<Entry>,
    /// What the page's links say.
    pub more: More,
}

/// One record with the id it goes by, if it has one.
#[derive(Debug)]
struct Record<'a> {
    id: Option<std::borrow::Cow<'a, str>>,
    is_known: bool,
    received: Received<'a>,
}

#[derive(Debug)]
struct Records<'a> {
    received: Vec<Received<'a>>,
    ids: Vec<(Option<std::borrow::Cow<'a, str>>, bool)>,
}

self_cell!(
    struct Cell {
        owner: Answer,
        #[covariant]
        dependent: Records,
    }

    impl {Debug}
);

/// The records of one answer, together with the text they borrow from.
#[derive(Debug)]
pub struct Batch(Cell);

impl Batch {
    /// Reads a page of a listing.
    pub fn of_page(
        answer: Answer,
        lookup: &Lookup,
        reader: Option<&Reader>,
    ) -> Result<(Self, PageFacts), Error> {
        let mut facts = PageFacts { entries: Vec::new(), more: More::Unsaid };
        let cell = Cell::try_new(answer, |answer| {
            let page = Page::parse(&answer.text)?;
            facts.more = page.more;
            facts.entries.reserve(page.runs.len());
            let mut records = Vec::with_capacity(page.runs.len());
            for raw in page.runs {
                let (record, entry) = read_listed(raw, lookup, reader)?;
                facts.entries.push(entry);
                records.push(record);
            }
            Ok::<_, Error>(collect(records))
        })?;
        Ok((Self(cell), facts))
    }

    /// Reads the answer for one run.
    pub fn of_run(answer: Answer) -> Result<Self, Unreadable> {
        let cell = Cell::try_new(answer, |answer| {
            let raw = wire::parse_run(&answer.text)?;
            Ok::<_, Unreadable>(collect(vec![read(raw.get(), fingerprint(raw.get()))]))
        })?;
        Ok(Self(cell))
    }

    /// The records, for the writer.
    pub fn records(&self) -> &[Received<'_>] {
        &self.0.borrow_dependent().received
    }

    /// The ids of the runs among them.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.borrow_dependent().ids.iter().filter_map(|(id, _)| id.as_deref())
    }

    /// What storing the records would count; `met` holds what was met before.
    pub fn count(&self, met: &mut HashSet<Key>) -> Counts {
        let records = self.0.borrow_dependent();
        let mut counts = Counts { received: records.received.len() as u64, ..Counts::default() };
        for (received, (id, is_known)) in records.received.iter().zip(&records.ids) {
            let key = id.as_deref().map(|id| Key(xxh3_128(id.as_bytes())));
            let is_first = key.is_none_or(|key| met.insert(key));
            counts.listed += u64::from(is_first && key.is_some());
            match received {
                Received::Rejected { .. } => counts.rejected += 1,
                Received::Run { run, .. } if Unread::of_run(run).is_some() => counts.rejected += 1,
                Received::Run { .. } if is_first && *is_known => counts.changed += 1,
                Received::Run { .. } if is_first => counts.new += 1,
                Received::Run { .. } | Received::Unchanged { .. } => counts.unchanged += 1,
            }
        }
        counts
    }
}

/// The id of the run that was answered where another was asked for.
pub fn other_id(answer: &Answer, asked: &str) -> Option<String> {
    let run = wire::parse_run(&answer.text).ok()?;
    let id = Object::parse(run.get()).ok()?.text("id")?.into_owned();
    (id != asked).then_some(id)
}

fn collect(records: Vec<Record<'_>>) -> Records<'_> {
    let (ids, received) =
        records.into_iter().map(|record| ((record.id, record.is_known), record.received)).unzip();
    Records { received, ids }
}

/// XXH3-128: equal texts have equal ones, and that two texts share one does not happen by accident.
pub fn fingerprint(raw: &str) -> [u8; 16] {
    xxh3_128(raw.as_bytes()).to_be_bytes()
}

/// Reads a record without asking what is archived.
fn read(raw: &str, fingerprint: [u8; 16]) -> Record<'_> {
    match normalize::normalize(raw) {
        Ok(run) => Record {
            id: Some(run.id.clone()),
            is_known: false,
            received: Received::Run { raw, fingerprint, run },
        },
        Err(reject) => {
            let reason = reject.to_string();
            Record {
                id: None,
                is_known: false,
                received: Received::Rejected { raw, fingerprint, reason, known: None },
            }
        }
    }
}

/// Reads one text as a record for an import.
pub fn read_saved(raw: &str) -> Received<'_> {
    read(raw, fingerprint(raw)).received
}

fn read_listed<'a>(
    raw: &'a RawValue,
    lookup: &Lookup,
    reader: Option<&Reader>,
) -> Result<(Record<'a>, Entry), store::Error> {
    let fingerprint = fingerprint(raw.get());
    if let (true, Some(reader)) = (lookup.is_needed, reader)
        && let Ok(object) = Object::parse(raw.get())
        && let Some(id) = object.text("id")
        && let Some(known) = reader.read_known(lookup.connection_key, &id)?
    {
        let started_at = object.text("startDateTime").and_then(|sent| UtcText::parse_sent(&sent));
        let is_settled = known.run_key <= lookup.settled_run_key
            && started_at.is_none_or(|started_at| Some(started_at) <= lookup.watermark);
        let key = Key(xxh3_128(id.as_bytes()));
        let entry = Entry { key, started_at, is_settled, is_readable: true };
        let is_same = known.fingerprint == fingerprint && !known.is_unlisted;
        if is_same || says_the_same(reader, &known, raw.get())? {
            let received = Received::Unchanged { run_key: known.run_key, walk_key: known.walk_key };
            return Ok((Record { id: Some(id), is_known: true, received }, entry));
        }
        let mut record = Record { is_known: true, ..read(raw.get(), fingerprint) };
        if let Received::Rejected { known: matched, .. } = &mut record.received {
            *matched = Some((known.run_key, known.walk_key));
        }
        let entry = Entry { is_readable: record.id.is_some(), ..entry };
        return Ok((record, entry));
    }
    let record = read(raw.get(), fingerprint);
    let started_at = match &record.received {
        Received::Run { run, .. } => run.execution.started_at,
        Received::Unchanged { .. } | Received::Rejected { .. } => None,
    };
    let key = match &record.id {
        Some(id) => Key(xxh3_128(id.as_bytes())),
        None => Key(u128::from_be_bytes(fingerprint)),
    };
    let entry = Entry { key, started_at, is_settled: false, is_readable: record.id.is_some() };
    Ok((record, entry))
}

/// Whether another text means no more than what is archived. One that could not be read whole is told each
/// time it comes, so it is for the writer.
fn says_the_same(reader: &Reader, known: &Known, raw: &str) -> Result<bool, store::Error> {
    let is_whole = |run: &normalize::Run<'_>| Unread::of_run(run).is_none();
    if known.is_unlisted || !normalize::normalize(raw).is_ok_and(|run| is_whole(&run)) {
        return Ok(false);
    }
    let archived = reader.read_run(known.run_key)?;
    let merged = normalize::merge(&normalize::rebuild(&archived), raw);
    let digest = Some(digest_of_rows(&archived));
    Ok(merged.unread.is_none() && normalize::normalize(&merged.json).is_ok_and(|run| run.digest == digest))
}
