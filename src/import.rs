//! Saved pages into the archive, through the same wire types and the same store as a sync.
//!
//! In: the bytes of files. Out: an [`Summary`]. A file may hold a page as the platform sent it, the
//! answer for one run, a bare run, arrays of these, or several of them one after another. An import
//! says nothing of what the platform lists now.

mod origin;

use std::path::{Path, PathBuf};

use encoding_rs::{Encoding, UTF_8, UTF_16LE};

use crate::api::wire::{self, Link, Page, Unreadable};
use crate::api::{ConnectionId, TypedConnection};
use crate::store::records::{Counts, Received, Source};
use crate::store::syncs::SyncTotals;
use crate::store::{self, Archive, Reader};
use crate::sync::{now, read_saved};

/// Runs of a file that are held as rows at a time.
const RUNS_AT_A_TIME: usize = 1_000;

/// One file's bytes, or why it could not be read.
#[derive(Debug)]
pub(crate) struct Saved {
    /// What it is called in messages.
    pub name: String,
    pub bytes: std::io::Result<Vec<u8>>,
}

/// Why a file, or a part of it, was not imported.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error("reading {name}: {source}")]
    Io { name: String, source: std::io::Error },
    /// Bytes that are no text.
    #[error("reading {0}: it is neither UTF-8 nor UTF-16 with a byte order mark")]
    Encoding(String),
    /// Text that is no page.
    #[error("reading {name}: {problem}")]
    Unreadable { name: String, problem: Unreadable },
    /// A page that does not say whose it is.
    #[error("reading {0}: the page does not name its connection; say it with --connection ID")]
    NoConnection(String),
    /// A page that does not say of which kind its connection is.
    #[error(
        "reading {name}: nothing says of which kind connection {id} is, an export or one that synchronizes; say it \
         with --connection export:{id}, storage:{id} or manifest:{id}"
    )]
    NoKind { name: String, id: String },
}

/// What an import did.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    pub files: u64,
    /// Pages and single runs found in them.
    pub pages: u64,
    pub counts: Counts,
    pub problems: Vec<Problem>,
}

/// Imports files one by one; the archive is made or touched only once a page was read.
pub(crate) fn import(
    path: &Path,
    cache_mib: u32,
    said: Option<&TypedConnection>,
    files: impl Iterator<Item = Saved>,
) -> Result<Summary, store::Error> {
    // An archive that is not there, or not of this version yet, knows none; opening it for writing tells.
    let known = Reader::open(path).and_then(|reader| reader.read_connections()).unwrap_or_default();
    let known = known.into_iter().map(|known| known.id).collect();
    let mut import = Import {
        path: path.to_owned(),
        cache_mib,
        said,
        known,
        has_other_bytes: false,
        archive: None,
        summary: Summary::default(),
    };
    for file in files {
        import.summary.files += 1;
        let name = file.name.clone();
        if let Err(error) = import.import_file(file) {
            match error {
                Error::File(problem) => import.summary.problems.push(problem),
                Error::Store(error) => return Err(error),
            }
        }
        tracing::info!("read {name}");
    }
    import.finish()
}

enum Error {
    File(Problem),
    Store(store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

struct Import<'a> {
    path: PathBuf,
    cache_mib: u32,
    said: Option<&'a TypedConnection>,
    known: Vec<ConnectionId>,
    /// Whether the file that is read has bytes that are no UTF-8.
    has_other_bytes: bool,
    /// Open once there is something to store, with the key of this import's row.
    archive: Option<(Archive, i64)>,
    summary: Summary,
}

impl Import<'_> {
    fn import_file(&mut self, file: Saved) -> Result<(), Error> {
        let Saved { name, bytes } = file;
        let bytes = bytes.map_err(|source| Error::File(Problem::Io { name: name.clone(), source }))?;
        self.has_other_bytes = std::str::from_utf8(&bytes).is_err();
        let text = decode(bytes).ok_or_else(|| Error::File(Problem::Encoding(name.clone())))?;
        let unreadable = |problem| Error::File(Problem::Unreadable { name: name.clone(), problem });
        let mut is_empty = true;
        for value in wire::values(&text) {
            let value = value.map_err(|error| unreadable(Unreadable::Malformed(error)))?;
            is_empty = false;
            match wire::elements(value) {
                Some(elements) if elements.iter().any(|element| is_answer(element)) => {
                    elements.into_iter().try_for_each(|element| self.import_value(&name, element))?;
                }
                // Bare runs: what is none is set aside, and the ones beside it stored.
                Some(elements) => self.import_runs(&name, elements, None)?,
                None => self.import_value(&name, value)?,
            }
        }
        if is_empty { Err(unreadable(Unreadable::Missing("page"))) } else { Ok(()) }
    }

    /// One answer or bare run. What is neither is a problem, and what follows it is read all the same.
    fn import_value(&mut self, name: &str, value: &str) -> Result<(), Error> {
        match runs_of(value) {
            Ok((runs, link)) => self.import_runs(name, runs, link),
            Err(problem) => {
                self.summary.problems.push(Problem::Unreadable { name: name.to_owned(), problem });
                Ok(())
            }
        }
    }

    fn import_runs(&mut self, name: &str, runs: Vec<&str>, link: Option<Link>) -> Result<(), Error> {
        let is_other_text = |run: &&str| run.contains("\\x");
        if self.has_other_bytes && !runs.is_empty() && runs.iter().all(is_other_text) {
            // Not a byte that broke, but a file in another encoding.
            return Err(Error::File(Problem::Encoding(name.to_owned())));
        }
        let connection = origin::connection_of(name, link.as_ref(), &runs, self.said, &self.known);
        let connection = connection.map_err(Error::File)?;
        if !self.known.contains(&connection) {
            self.known.push(connection.clone());
        }
        let (archive, _) = self.open()?;
        let counts = archive.write(|archive| {
            let now = now();
            let key = archive.upsert_connection(&connection, &now)?;
            let mut counts = Counts::default();
            // A file may be of any length, and its rows take more memory than its text.
            for runs in runs.chunks(RUNS_AT_A_TIME) {
                let records: Vec<Received<'_>> = runs.iter().map(|run| read_saved(run)).collect();
                counts.add(archive.store_records(key, Source::File, &records, &now)?);
            }
            Ok(counts)
        })?;
        self.summary.pages += 1;
        self.summary.counts.add(counts);
        Ok(())
    }

    fn open(&mut self) -> Result<&mut (Archive, i64), store::Error> {
        let opened = match self.archive.take() {
            Some(opened) => opened,
            None => {
                let mut archive = Archive::open(&self.path, self.cache_mib)?;
                let sync_key = archive.write(|archive| archive.begin_sync("import", &now()))?;
                (archive, sync_key)
            }
        };
        Ok(self.archive.insert(opened))
    }

    fn finish(self) -> Result<Summary, store::Error> {
        let summary = self.summary;
        if let Some((mut archive, sync_key)) = self.archive {
            let is_whole = summary.problems.is_empty() && summary.counts.rejected == 0;
            let (outcome, exit_code) = if is_whole { ("done", 0) } else { ("partial", 3) };
            let problem = summary.problems.first().map(ToString::to_string);
            let totals = SyncTotals { pages: summary.pages, counts: summary.counts, ..SyncTotals::default() };
            archive.write(|archive| {
                archive.end_sync(sync_key, &now(), &totals, (outcome, exit_code, problem.as_deref()))
            })?;
            archive.close()?;
        }
        Ok(summary)
    }
}

/// Whether it is an answer of the platform rather than a bare run.
fn is_answer(value: &str) -> bool {
    let members = wire::members(value).unwrap_or_default();
    members.iter().any(|(name, _)| ["runs", "_links", "run"].contains(&&**name))
}

/// The runs of a page, of the answer for one run, or a bare run; and what its links say of their connection.
fn runs_of(value: &str) -> Result<(Vec<&str>, Option<Link>), Unreadable> {
    let members = wire::members(value).ok_or(Unreadable::Missing("list of runs"))?;
    let has = |name: &str| members.iter().any(|(other, _)| other == name);
    if has("runs") || has("_links") {
        let page = Page::parse_saved(value)?;
        Ok((page.runs, page.link))
    } else if has("run") {
        Ok((vec![wire::parse_run(value)?], None))
    } else if has("id") {
        Ok((vec![value], None))
    } else {
        Err(Unreadable::Missing("list of runs"))
    }
}

/// UTF-8 with or without a byte order mark, or UTF-16 with one. What is neither is kept where it stands, as
/// [`wire::text_of`] says; half of a character of UTF-16 is written as JSON writes it.
fn decode(mut bytes: Vec<u8>) -> Option<String> {
    let (encoding, mark) = Encoding::for_bom(&bytes).unwrap_or((UTF_8, 0));
    if encoding == UTF_8 {
        bytes.drain(..mark);
        // UTF-16 and UTF-32 without a mark: JSON begins with two characters of one byte each.
        let is_wide = bytes.iter().take(2).any(|byte| *byte == 0);
        return (!is_wide).then(|| wire::text_of(bytes));
    }
    let units = bytes[mark..].chunks(2).map(|pair| match *pair {
        [low, high] if encoding == UTF_16LE => Some(u16::from_le_bytes([low, high])),
        [high, low] => Some(u16::from_be_bytes([high, low])),
        _ => None,
    });
    let units: Vec<u16> = units.collect::<Option<_>>()?;
    let mut text = String::with_capacity(bytes.len());
    for character in char::decode_utf16(units) {
        match character {
            Ok(character) => text.push(character),
            Err(half) => {
                wire::escape_last_backslash(&mut text);
                text.push_str(&format!("\\u{:04x}", half.unpaired_surrogate()));
            }
        }
    }
    Some(text)
}
