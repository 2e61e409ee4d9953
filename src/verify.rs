//! Proves the archive: that the file is sound and its rows keep the rules, that every run is what was
//! received, and that what the platform lists is what is archived.
//!
//! In: an archive and, unless offline, a client. Out: a [`Report`]; nothing is written unless a repair is
//! asked for. Runs are compared by a way of their own (`compare`), not by the one they were stored by.

mod compare;
mod run;

use std::collections::HashSet;
use std::path::Path;

use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_128;

use crate::api::wire::{LastRun, Object};
use crate::api::{self, Answer, Client, ConnectionId, Doing};
use crate::error::ExitCode;
use crate::normalize;
use crate::query::{self, Catalog, Database};
use crate::store::check::{Digests, Subject};
use crate::store::records::{Received, Source};
use crate::store::schema::{Change, Finding, ObjectKind};
use crate::store::{self, Archive, Reader, VERIFYING_LIMIT};
use crate::sync::{Pages, now, read_saved};
use crate::time::UtcText;
use crate::walk::{Ask, End, Entry, Key, Plan, Walk};

pub(crate) use compare::Difference;
pub(crate) use run::Verification;

/// One rule of `queries/rules.sql`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
pub(crate) struct Rule {
    pub rule: String,
    pub broken: u64,
    pub example: Option<String>,
}

/// What the file and its rows say of themselves.
#[derive(Debug, Default, Clone)]
pub(crate) struct Offline {
    /// Complaints of SQLite's own checks.
    pub integrity: Vec<String>,
    /// What is not as the migrations make it.
    pub schema: Vec<Finding>,
    /// Why rules and digests could not be checked: a table or a column of ours is not there.
    pub unchecked: Option<String>,
    pub rules: Vec<Rule>,
    /// Whether every run is what was received.
    pub digests: Digests,
    /// Times recorded in which runs may have come and gone unseen.
    pub gaps: u64,
    pub rejects: u64,
}

/// A listed run that is not archived as it is listed; in JSON its fields are a contract.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Different {
    pub run_id: String,
    /// Whether the rows are not what was received: then the archive was altered. Otherwise the platform
    /// changed the run.
    #[serde(rename = "altered_in_the_archive")]
    pub is_altered: bool,
    /// In what they differ; the first few.
    pub differences: Vec<Difference>,
}

/// What the platform lists of one connection, held against the archive; in JSON its fields are a contract.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Compared {
    #[serde(flatten)]
    pub id: ConnectionId,
    pub name: String,
    pub listed: u64,
    /// Runs archived as listed, when it began.
    pub archived: u64,
    /// Runs listed that should be archived and are not.
    pub missing: Vec<String>,
    /// Runs listed that began after the last complete walk: the next sync takes them.
    pub new: u64,
    /// Runs listed that are archived with other content.
    pub different: Vec<Different>,
    /// Runs archived before they were completed that went on since: the next sync takes them.
    pub went_on: u64,
    /// Runs archived as listed that the platform no longer lists.
    #[serde(rename = "gone_upstream")]
    pub gone: Vec<String>,
    /// Runs archived as no longer listed that the platform lists.
    pub back: Vec<String>,
    /// Records listed that are no runs.
    pub unreadable: u64,
    /// Why it is not proved; `None` where the whole listing was compared.
    pub problem: Option<String>,
    /// What the platform's refusal means, where that is why.
    #[serde(skip)]
    pub reason: Option<api::Reason>,
    /// Runs stored, rewritten or marked by a repair.
    pub repaired: u64,
}

/// What was found.
#[derive(Debug, Clone)]
pub(crate) struct Report {
    /// What the file says of itself: after the repair, where one was made.
    pub offline: Offline,
    /// What was wrong with the file before the repair: rules broken and runs altered.
    pub repaired_offline: u64,
    /// Connection by connection; empty where the platform was not asked.
    pub compared: Vec<Compared>,
    /// Connections that the platform no longer lists: not compared.
    pub unlisted: u64,
    pub requests: u64,
    /// Whether the platform accepted the credentials.
    pub was_accepted: bool,
    pub is_repair: bool,
    /// Views and indexes that it made anew, and triggers that it dropped.
    pub mended: Vec<Finding>,
}

/// How to compare.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// The connections; all that are archived and listed where there are none.
    pub connections: Vec<ConnectionId>,
    /// `$top` to begin with.
    pub page_size: u32,
    /// Pages of one listing in flight.
    pub pages_in_flight: usize,
}

/// Looks at the file alone.
pub(crate) fn check_offline(path: &Path) -> Result<Offline, query::Error> {
    let mut reader = Reader::open_as_it_is(path)?;
    reader.set_limit(VERIFYING_LIMIT);
    let mut offline = Offline { schema: reader.read_schema_findings()?, ..Offline::default() };
    match reader.check_integrity() {
        Ok(complaints) => offline.integrity = complaints,
        // An index that calls for a function which only another program has cannot be checked.
        Err(error) if offline.schema.iter().any(|finding| finding.constrains) => {
            offline.unchecked = Some(error.to_string());
        }
        Err(error) => return Err(error.into()),
    }
    drop(reader);
    if let Err(error) = check_rows(path, &mut offline) {
        // Where a table is not what it was, that is what is wrong with the file, and told already.
        if !offline.schema.iter().any(Finding::is_difference) {
            return Err(error);
        }
        offline.unchecked = Some(error.to_string());
    }
    Ok(offline)
}

/// What can be told only while every table of ours is there with its columns.
fn check_rows(path: &Path, offline: &mut Offline) -> Result<(), query::Error> {
    let mut reader = Reader::open(path)?;
    reader.set_limit(VERIFYING_LIMIT);
    (offline.gaps, offline.rejects) = reader.count_gaps_and_rejects()?;
    offline.digests = reader.check_digests()?;
    drop(reader);
    let catalog = Catalog::built_in();
    let database = Database::open_for_tables(path, VERIFYING_LIMIT)?;
    // The list is part of the program, and a test holds it to the folder.
    offline.rules =
        catalog.find("rules").map(|query| database.read(query, &[])).transpose()?.unwrap_or_default();
    Ok(())
}

impl Offline {
    /// Whether a view or a table of ours is not what our questions need, so that they would fail, or run what is
    /// not ours.
    pub(crate) fn is_schema_altered(&self) -> bool {
        self.unchecked.is_some()
            || self.schema.iter().any(|finding| match finding.change {
                Change::Altered | Change::Dropped => finding.kind == ObjectKind::View,
                Change::Hides => true,
                Change::Added | Change::Trigger => false,
            })
    }

    pub(crate) fn broken(&self) -> u64 {
        let rules: u64 = self.rules.iter().map(|rule| rule.broken).sum();
        let schema = self.schema.iter().filter(|finding| finding.is_difference()).count();
        let unchecked = u64::from(self.unchecked.is_some());
        self.integrity.len() as u64 + schema as u64 + unchecked + rules + self.digests.altered.len() as u64
    }
}

/// Compares every listing with the archive, and repairs it where an archive to write to is given.
///
/// # Errors
/// The archive cannot be read or written; what the platform refuses is in the answer.
async fn compare_all(
    client: &Client,
    reader: &Reader,
    mut archive: Option<&mut Archive>,
    options: &Options,
) -> Result<(Vec<Compared>, u64), store::Error> {
    let known = reader.read_connections()?;
    let is_chosen = |id: &ConnectionId| options.connections.is_empty() || options.connections.contains(id);
    let mut compared = Vec::new();
    let mut unlisted = 0;
    for known in known.into_iter().filter(|known| is_chosen(&known.id)) {
        let subject = reader.read_subject(&known.id, &now())?;
        // Somebody may have removed the connection between the list of all and this look at it.
        let Some(subject) = subject else { continue };
        // The platform would answer 404, which says nothing new; a connection that somebody named is asked all
        // the same.
        if subject.is_unlisted && options.connections.is_empty() {
            unlisted += 1;
            continue;
        }
        let mut comparison = Comparison {
            client,
            reader,
            archive: archive.as_deref_mut(),
            subject: &subject,
            met: HashSet::new(),
            back: Vec::new(),
            compared: Compared {
                id: known.id,
                name: known.name,
                listed: 0,
                archived: subject.listed,
                missing: Vec::new(),
                new: 0,
                different: Vec::new(),
                went_on: 0,
                gone: Vec::new(),
                back: Vec::new(),
                unreadable: 0,
                problem: None,
                reason: None,
                repaired: 0,
            },
        };
        comparison.compare(options).await?;
        if !subject.is_extra_readable {
            comparison.repair_extra().await?;
        }
        let ended = comparison.compared;
        let is_over = ended.reason.is_some_and(concerns_all);
        compared.push(ended);
        if is_over {
            break;
        }
    }
    Ok((compared, unlisted))
}

/// Whether the platform would answer the next connection likewise: asking it would only take time.
fn concerns_all(reason: api::Reason) -> bool {
    use api::Reason::{BudgetSpent, Refused, Stopped, Unreachable};
    matches!(reason, Refused | Unreachable(_) | BudgetSpent { .. } | Stopped)
}

/// One connection's listing, held against the archive page by page.
struct Comparison<'a> {
    client: &'a Client,
    reader: &'a Reader,
    archive: Option<&'a mut Archive>,
    subject: &'a Subject,
    /// Keys of archived runs that were listed.
    met: HashSet<i64>,
    /// Of these, those that the archive says are not listed.
    back: Vec<i64>,
    compared: Compared,
}

/// Why a comparison went no further.
enum Stop {
    Api(api::Error),
    Store(store::Error),
}

impl From<store::Error> for Stop {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl Comparison<'_> {
    async fn compare(&mut self, options: &Options) -> Result<(), store::Error> {
        let mut walk = Walk::new(Plan::Full, options.page_size, options.pages_in_flight);
        match self.walk(&mut walk).await {
            Ok(()) => {}
            Err(Stop::Store(error)) => return Err(error),
            // What the platform refused is told of this connection; whether the others are asked all the
            // same depends on the reason, which `compare_all` looks at.
            Err(Stop::Api(error)) => {
                self.compared.problem = Some(error.to_string());
                self.compared.reason = Some(error.reason);
                return Ok(());
            }
        }
        // Only a listing that was met whole, each run once, tells which archived runs are gone: otherwise a run
        // that was merely not met would be reported, and marked by a repair, as no longer listed.
        let chained = walk.checkpoint().linked;
        if let Some(End::Unproved(doubt)) = walk.end() {
            self.compared.problem = Some(format!("the listing is not proved complete: {doubt}"));
        } else if chained > self.compared.listed {
            self.compared.problem = Some("a run is listed twice, so another may be missing".to_owned());
        } else if self.compared.listed == 0 && self.subject.listed > 0 && self.may_have_runs().await {
            let told = "the platform lists no run, and does not say that there is none; has the role on the iTwin gone?";
            self.compared.problem = Some(told.to_owned());
        } else if self.compared.unreadable == 0 {
            self.find_gone()?;
        } else {
            self.compared.problem = Some(format!("{} listed records are no runs", self.compared.unreadable));
        }
        Ok(())
    }

    /// What is kept of the connection's own answer is no JSON: it is asked for anew.
    async fn repair_extra(&mut self) -> Result<(), store::Error> {
        let Some(archive) = &mut self.archive else { return Ok(()) };
        if let Ok(connection) = self.client.get_connection(&self.compared.id).await {
            let key = self.subject.connection_key;
            archive.write(|archive| archive.store_connection(key, &connection))?;
        }
        Ok(())
    }

    /// An empty listing where there were runs: a service that lost its role is given one, too. A connection
    /// that does not answer for itself may have any.
    async fn may_have_runs(&self) -> bool {
        let Ok(connection) = self.client.get_connection(&self.compared.id).await else { return true };
        let LastRun::Run(id) = connection.last_run else { return false };
        // Where all runs were purged the connection may go on naming one of them.
        let asked = self.client.get_run(&self.compared.id, &id).await;
        !asked.is_err_and(|error| error.reason == api::Reason::NotFound)
    }

    /// Asks for all pages of the listing.
    async fn walk(&mut self, walk: &mut Walk) -> Result<(), Stop> {
        let mut pages = Pages::new(self.client, &self.compared.id);
        let mut ids = HashSet::new();
        while let Some((ask, answer)) = pages.next(walk).await.map_err(Stop::Api)? {
            self.take_page(walk, ask, &answer, &mut ids)?;
        }
        Ok(())
    }

    fn take_page(
        &mut self,
        walk: &mut Walk,
        ask: Ask,
        answer: &Answer,
        ids: &mut HashSet<Key>,
    ) -> Result<(), Stop> {
        let doing = Doing::ListRuns { connection: self.compared.id.clone(), skip: ask.skip };
        let page =
            answer.page().map_err(|problem| Stop::Api(self.client.unreadable(doing.clone(), &problem)))?;
        let mut entries = Vec::with_capacity(page.runs.len());
        let mut repairs = Vec::new();
        for raw in &page.runs {
            // What a sync sets aside is no run here either.
            let object = match normalize::check_limits(raw) {
                Ok(()) => Object::parse(raw).unwrap_or_default(),
                Err(_) => Object::default(),
            };
            let id = object.text("id").filter(|id| !id.is_empty());
            let started_at = object.text("startDateTime").and_then(|sent| UtcText::parse_sent(&sent));
            let key = Key(xxh3_128(id.as_deref().unwrap_or(raw).as_bytes()));
            entries.push(Entry { key, started_at, is_proved: false, is_readable: id.is_some() });
            // Pages overlap by a run, and a listing that shifts repeats some: each run is compared once.
            if !ids.insert(key) {
                continue;
            }
            match id {
                None => self.compared.unreadable += 1,
                Some(id) => {
                    self.compared.listed += 1;
                    if self.compare_run(&id, started_at, raw)? {
                        repairs.push(*raw);
                    }
                }
            }
        }
        if let (Some(archive), false) = (&mut self.archive, repairs.is_empty()) {
            let records: Vec<Received<'_>> = repairs.into_iter().map(read_saved).collect();
            let key = self.subject.connection_key;
            let counts =
                archive.write(|archive| archive.store_records(key, Source::Repair, &records, &now()))?;
            self.compared.repaired += counts.new + counts.changed;
        }
        let read = entries.len();
        // A page of which not one record could be read is no end of the listing.
        if read > 0 || !page.is_cut {
            walk.take_page(ask, entries, page.more);
        }
        match page.is_cut && walk.end().is_none() {
            true => Err(Stop::Api(self.client.cut_short(doing, read))),
            false => Ok(()),
        }
    }

    /// Compares one listed run with its archived copy; true if the archive should take it as it is listed.
    fn compare_run(&mut self, id: &str, started_at: Option<UtcText>, raw: &str) -> Result<bool, Stop> {
        let Some(copy) = self.reader.read_copy(self.subject.connection_key, id)? else {
            // It was archived, and taken out on purpose.
            if self.reader.read_pruned(self.subject.connection_key, id)?.is_some() {
                return Ok(false);
            }
            let is_new =
                self.subject.complete_as_of.zip(started_at).is_some_and(|(then, start)| start > then)
                    || self.subject.complete_as_of.is_none();
            match is_new {
                true => self.compared.new += 1,
                false => self.compared.missing.push(id.to_owned()),
            }
            return Ok(true);
        };
        self.met.insert(copy.run_key);
        if copy.is_unlisted {
            self.back.push(copy.run_key);
            self.compared.back.push(id.to_owned());
        }
        let is_altered = copy.digest.is_some_and(|digest| digest != copy.digest_of_rows);
        let differences = compare::differences(&copy, raw);
        if !is_altered && (differences.is_empty() || self.have_links_moved(copy.run_key, raw)?) {
            return Ok(false);
        }
        // A run that was unfinished when it was archived has every right to differ by now.
        if !copy.is_completed && !is_altered {
            self.compared.went_on += 1;
        } else {
            self.compared.different.push(Different { run_id: id.to_owned(), is_altered, differences });
        }
        Ok(true)
    }

    /// Whether a run differs in links alone that are signed anew in every answer.
    fn have_links_moved(&self, run_key: i64, raw: &str) -> Result<bool, Stop> {
        let archived = self.reader.read_run(run_key)?;
        let merged = normalize::merge(&normalize::rebuild(&archived), raw);
        let listed = normalize::normalize(&merged.json).ok();
        Ok(listed.is_some_and(|listed| normalize::find_volatile(&archived, &listed).is_some()))
    }

    /// Archived runs that a whole listing did not hold.
    fn find_gone(&mut self) -> Result<(), store::Error> {
        let mut gone = Vec::new();
        for (run_key, id) in self.reader.read_listed_runs(self.subject.connection_key)? {
            // What a repair, or a sync beside this, stored meanwhile has a later key.
            if !self.met.contains(&run_key) && run_key <= self.subject.newest_run_key {
                gone.push(run_key);
                self.compared.gone.push(id);
            }
        }
        if let (Some(archive), true) = (&mut self.archive, !gone.is_empty() || !self.back.is_empty()) {
            let (key, back) = (self.subject.connection_key, &self.back);
            archive.write(|archive| archive.repair_listed(key, &gone, back, &now()))?;
            self.compared.repaired += (gone.len() + back.len()) as u64;
        }
        Ok(())
    }
}

impl Compared {
    /// Whether the archive and the platform say the same, as far as they can.
    pub(crate) fn is_sound(&self) -> bool {
        self.problem.is_none()
            && self.missing.is_empty()
            && self.different.is_empty()
            && self.gone.is_empty()
            && self.back.is_empty()
    }
}

impl Report {
    /// Whether nothing is off, or all that was is repaired.
    pub(crate) fn exit_code(&self) -> ExitCode {
        let problems = || self.compared.iter().filter(|compared| compared.problem.is_some());
        let is_sound = |compared: &Compared| match self.is_repair {
            true => compared.problem.is_none(),
            false => compared.is_sound(),
        };
        let is_refused = problems().any(|compared| compared.reason == Some(api::Reason::Refused));
        match () {
            () if is_refused && !self.was_accepted => ExitCode::Refused,
            () if self.offline.broken() > 0 || !self.compared.iter().all(is_sound) => ExitCode::Partial,
            () => ExitCode::Done,
        }
    }
}
