//! From the text of an answer to records for the writer, and what the walk needs to know of them.
//!
//! In: an answer, and what is archived. Out: a [`Batch`], which holds the answer's text and the records
//! that borrow from it, so that nothing is copied on the way to the writer's thread.

use std::collections::HashSet;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use self_cell::self_cell;
use xxhash_rust::xxh3::xxh3_128;

use crate::api::Answer;
use crate::api::wire::{self, More, Object, Unreadable};
use crate::normalize::digest::digest_of_rows;
use crate::normalize::{self, Unread};
use crate::store::known::Known;
use crate::store::records::{Counts, Received};
use crate::store::{self, Reader};
use crate::time::UtcText;
use crate::walk::{Entry, Key};

/// Runs, jobs and tasks that are written together: what a page of a thousand runs most often has.
const ROWS_PER_PART: usize = 10_000;
/// Their bytes, after which no further run is added.
const BYTES_PER_PART: usize = 8 << 20;

/// Readers of the archive for the threads that answers are read on; each thread has one for itself, so that
/// one which goes on reading after the sync was asked to stop keeps nobody waiting.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// The archive; `None` where there is none.
    path: Option<PathBuf>,
    idle: Mutex<Vec<Reader>>,
}

impl Readers {
    pub(crate) fn new(path: Option<PathBuf>) -> Self {
        Self { path, idle: Mutex::default() }
    }

    pub(crate) fn read_page(&self, answer: Answer, lookup: &Lookup) -> Result<(Batch, PageFacts), ReadError> {
        let Some(path) = self.path.as_deref().filter(|_| lookup.is_needed) else {
            return Batch::of_page(answer, lookup, None);
        };
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let reader = match idle {
            Some(reader) => reader,
            None => Reader::open(path)?,
        };
        let read = Batch::of_page(answer, lookup, Some(&reader));
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
        read
    }
}

/// Why an answer did not become records.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadError {
    /// The answer is not what was asked for.
    #[error(transparent)]
    Unreadable(#[from] Unreadable),
    /// The archive could not be asked what it has.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Which archived runs are signs for a walk to stop at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StopSigns {
    /// Those that a complete walk has proved: up to this key, where they started up to the watermark.
    Proved {
        run_key: i64,
        /// The newest start; `None` where no complete walk has met a run with one.
        watermark: Option<UtcText>,
    },
    /// All that are archived, although nothing is proved by that.
    Archived,
}

impl StopSigns {
    /// Whether an archived run is one.
    fn is_archived_one(self, run_key: i64, started_at: Option<UtcText>) -> bool {
        match self {
            Self::Proved { run_key: last, watermark } => {
                run_key <= last && started_at.is_none_or(|started_at| Some(started_at) <= watermark)
            }
            Self::Archived => true,
        }
    }

    /// Whether a run is one that was pruned: a complete walk proved it before.
    fn is_pruned_one(self, started_at: Option<UtcText>) -> bool {
        match self {
            Self::Proved { watermark, .. } => {
                watermark.is_some_and(|newest| started_at.is_none_or(|started_at| started_at <= newest))
            }
            Self::Archived => true,
        }
    }
}

/// What is archived of the connection whose page is read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lookup {
    pub connection_key: i64,
    pub stop_signs: StopSigns,
    /// Whether anything is archived at all.
    pub is_needed: bool,
}

/// The entries of a page in the order sent, and what it says of a following one.
#[derive(Debug)]
pub(crate) struct PageFacts {
    /// One for each record received.
    pub entries: Vec<Entry>,
    pub more: More,
    /// Whether there was more on the page than is read.
    pub is_cut: bool,
}

/// One record with the id it goes by, if it has one.
#[derive(Debug)]
struct Record<'a> {
    id: Option<std::borrow::Cow<'a, str>>,
    stands: Stands,
    received: Received<'a>,
}

#[derive(Debug)]
struct Records<'a> {
    received: Vec<Received<'a>>,
    ids: Vec<(Option<std::borrow::Cow<'a, str>>, Stands)>,
}

/// How a run that is not archived with this text stands to the archive, for a sync that stores nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stands {
    New,
    Changed,
    Same,
}

self_cell!(
    struct AnswerRecords {
        owner: Answer,
        #[covariant]
        dependent: Records,
    }

    impl {Debug}
);

/// The records of one answer, together with the text they borrow from.
#[derive(Debug)]
pub(crate) struct Batch(AnswerRecords);

impl Batch {
    pub(crate) fn of_page(
        answer: Answer,
        lookup: &Lookup,
        reader: Option<&Reader>,
    ) -> Result<(Self, PageFacts), ReadError> {
        let mut facts = PageFacts { entries: Vec::new(), more: More::Unsaid, is_cut: false };
        let cell = AnswerRecords::try_new(answer, |answer| {
            let page = answer.page()?;
            (facts.more, facts.is_cut) = (page.more, page.is_cut);
            facts.entries.reserve(page.runs.len());
            let mut records = Vec::with_capacity(page.runs.len());
            for raw in page.runs {
                let (record, entry) = read_listed(raw, lookup, reader)?;
                facts.entries.push(entry);
                records.push(record);
            }
            Ok::<_, ReadError>(collect(records))
        })?;
        Ok((Self(cell), facts))
    }

    pub(crate) fn of_run(answer: Answer) -> Result<Self, Unreadable> {
        let cell = AnswerRecords::try_new(answer, |answer| {
            let raw = wire::parse_run(&answer.text)?;
            Ok::<_, Unreadable>(collect(vec![read(raw, fingerprint(raw))]))
        })?;
        Ok(Self(cell))
    }

    pub(crate) fn records(&self) -> &[Received<'_>] {
        &self.0.borrow_dependent().received
    }

    /// The records in the parts that the writer is given one by one: each is written in a moment. There is one
    /// at least, and most often one alone.
    pub(crate) fn parts(&self) -> Vec<Range<usize>> {
        let mut parts = Vec::new();
        let (mut begin, mut rows, mut bytes) = (0, 0, 0);
        let records = self.records();
        for (at, record) in records.iter().enumerate() {
            if rows >= ROWS_PER_PART || bytes >= BYTES_PER_PART {
                parts.push(begin..at);
                (begin, rows, bytes) = (at, 0, 0);
            }
            let (more_rows, more_bytes) = match record {
                Received::Run { raw, run, .. } => {
                    (run.jobs.iter().map(|job| 1 + job.tasks.len()).sum(), raw.len())
                }
                Received::Rejected { raw, .. } => (0, raw.len()),
                Received::Unchanged { .. } | Received::Pruned { .. } => (0, 0),
            };
            (rows, bytes) = (rows + 1 + more_rows, bytes + more_bytes);
        }
        parts.push(begin..records.len());
        parts
    }

    /// The ids of the runs among them.
    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.borrow_dependent().ids.iter().filter_map(|(id, _)| id.as_deref())
    }

    /// Keeps the records of these runs, and no other.
    pub(crate) fn retain(&mut self, is_kept: impl Fn(&str) -> bool) {
        self.0.with_dependent_mut(|_, records| {
            let ids = std::mem::take(&mut records.ids);
            let received = std::mem::take(&mut records.received);
            let both = ids.into_iter().zip(received);
            let kept = both.filter(|((id, _), _)| id.as_deref().is_some_and(&is_kept));
            (records.ids, records.received) = kept.unzip();
        });
    }

    /// Whether any of them is not known to be archived.
    pub(crate) fn brings_unknown(&self) -> bool {
        self.0.borrow_dependent().ids.iter().any(|(_, stands)| *stands == Stands::New)
    }

    /// What storing the records would count; `met` holds what was met before.
    pub(crate) fn count(&self, met: &mut HashSet<Key>) -> Counts {
        let records = self.0.borrow_dependent();
        let mut counts = Counts { received: records.received.len() as u64, ..Counts::default() };
        for (received, (id, stands)) in records.received.iter().zip(&records.ids) {
            let key = id.as_deref().map(|id| Key(xxh3_128(id.as_bytes())));
            let is_first = key.is_none_or(|key| met.insert(key));
            counts.listed += u64::from(is_first && key.is_some());
            match received {
                Received::Rejected { .. } => counts.rejected += 1,
                Received::Run { run, .. } if Unread::of_run(run).is_some() => counts.rejected += 1,
                Received::Run { .. } if is_first && *stands == Stands::Changed => counts.changed += 1,
                Received::Run { .. } if is_first && *stands == Stands::New => counts.new += 1,
                Received::Run { .. } | Received::Unchanged { .. } | Received::Pruned { .. } => {
                    counts.unchanged += 1;
                }
            }
        }
        counts
    }
}

/// The id of the run that was answered where another was asked for.
pub(crate) fn other_id(answer: &Answer, asked: &str) -> Option<String> {
    let run = wire::parse_run(&answer.text).ok()?;
    let id = Object::parse(run).ok()?.text("id")?.into_owned();
    (id != asked).then_some(id)
}

fn collect(records: Vec<Record<'_>>) -> Records<'_> {
    let (ids, received) =
        records.into_iter().map(|record| ((record.id, record.stands), record.received)).unzip();
    Records { received, ids }
}

/// XXH3-128: equal texts have equal ones, and that two texts share one does not happen by accident.
pub(crate) fn fingerprint(raw: &str) -> [u8; 16] {
    xxh3_128(raw.as_bytes()).to_be_bytes()
}

/// Reads a record without asking what is archived.
fn read(raw: &str, fingerprint: [u8; 16]) -> Record<'_> {
    match normalize::normalize(raw) {
        Ok(run) => Record {
            id: Some(run.id.clone()),
            stands: Stands::New,
            received: Received::Run { raw, fingerprint, run },
        },
        Err(reject) => {
            let reason = reject.to_string();
            Record {
                id: None,
                stands: Stands::New,
                received: Received::Rejected { raw, fingerprint, reason, known: None },
            }
        }
    }
}

/// Reads one text as a record for an import.
pub(crate) fn read_saved(raw: &str) -> Received<'_> {
    read(raw, fingerprint(raw)).received
}

fn read_listed<'a>(
    raw: &'a str,
    lookup: &Lookup,
    reader: Option<&Reader>,
) -> Result<(Record<'a>, Entry), store::Error> {
    let fingerprint = fingerprint(raw);
    if let (true, Some(reader)) = (lookup.is_needed, reader)
        && let Some(read) = read_archived(raw, fingerprint, lookup, reader)?
    {
        return Ok(read);
    }
    let record = read(raw, fingerprint);
    let started_at = match &record.received {
        Received::Run { run, .. } => run.started_at,
        Received::Unchanged { .. } | Received::Pruned { .. } | Received::Rejected { .. } => None,
    };
    let key = match &record.id {
        Some(id) => Key(xxh3_128(id.as_bytes())),
        None => Key(u128::from_be_bytes(fingerprint)),
    };
    let entry = Entry { key, started_at, is_proved: false, is_readable: record.id.is_some() };
    Ok((record, entry))
}

/// A record of a run that is archived, or was until it was pruned.
fn read_archived<'a>(
    raw: &'a str,
    fingerprint: [u8; 16],
    lookup: &Lookup,
    reader: &Reader,
) -> Result<Option<(Record<'a>, Entry)>, store::Error> {
    let object = Object::parse(raw).unwrap_or_default();
    let Some(id) = object.text("id") else { return Ok(None) };
    let started_at = object.text("startDateTime").and_then(|sent| UtcText::parse_sent(&sent));
    let key = Key(xxh3_128(id.as_bytes()));
    let Some(known) = reader.read_known(lookup.connection_key, &id)? else {
        let Some(run_key) = reader.read_pruned(lookup.connection_key, &id)? else { return Ok(None) };
        let is_proved = lookup.stop_signs.is_pruned_one(started_at);
        let entry = Entry { key, started_at, is_proved, is_readable: true };
        let received = Received::Pruned { run_key };
        return Ok(Some((Record { id: Some(id), stands: Stands::Same, received }, entry)));
    };
    let is_proved = lookup.stop_signs.is_archived_one(known.run_key, started_at);
    let entry = Entry { key, started_at, is_proved, is_readable: true };
    // An unlisted run is compared even where its text is the archived one: that it is listed again is news.
    let is_same = known.fingerprint == fingerprint && !known.is_unlisted;
    let change = if is_same { TextChange::Nothing } else { compare(reader, &known, raw)? };
    if change == TextChange::Nothing {
        let Known { run_key, walk_key, is_unfinished, .. } = known;
        let received = Received::Unchanged { run_key, walk_key, is_unfinished };
        return Ok(Some((Record { id: Some(id), stands: Stands::Same, received }, entry)));
    }
    let stands = if change == TextChange::OtherLinks { Stands::Same } else { Stands::Changed };
    let mut record = Record { stands, ..read(raw, fingerprint) };
    if let Received::Rejected { known: matched, .. } = &mut record.received {
        *matched = Some((known.run_key, known.walk_key));
    }
    let entry = Entry { is_readable: record.id.is_some(), ..entry };
    Ok(Some((record, entry)))
}

/// How another text differs from what is archived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TextChange {
    Nothing,
    /// Links in fields that are not known differ in their query.
    OtherLinks,
    Content,
}

/// Compares a run's text with what is archived of it. A text that cannot be read whole always differs, so that
/// the writer sets it aside, and the sync says so, each time that it comes.
fn compare(reader: &Reader, known: &Known, raw: &str) -> Result<TextChange, store::Error> {
    let is_whole = |run: &normalize::Run<'_>| Unread::of_run(run).is_none();
    if known.is_unlisted || !normalize::normalize(raw).is_ok_and(|run| is_whole(&run)) {
        return Ok(TextChange::Content);
    }
    let archived = reader.read_run(known.run_key)?;
    let merged = normalize::merge(&normalize::rebuild(&archived), raw);
    let run = normalize::normalize_merged(&merged.json).ok().filter(|_| merged.unread.is_none());
    let Some(run) = run else { return Ok(TextChange::Content) };
    Ok(match run.digest == Some(digest_of_rows(&archived)) {
        true => TextChange::Nothing,
        false if normalize::find_volatile(&archived, &run).is_some() => TextChange::OtherLinks,
        false => TextChange::Content,
    })
}
