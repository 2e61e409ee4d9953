//! Whose turn it is: finds the connections below iTwins and iModels, and syncs those where something
//! began, several at a time.
//!
//! In: a [`Scope`](super::Scope). Out: a [`Summary`]. Each iModel is asked once for its connections, the one
//! that was asked longest ago first; what they say of their last runs decides which are asked themselves.
//! A connection's turn comes before the next iModel's, so that a sync which runs out of time has stored
//! whole connections. What is no longer listed is kept, and marked where that is sure.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use tokio::time::{Duration, Instant};

use super::connection::ConnectionSync;
use super::discovery::{self, Listed, Sizes};
use super::summary::{ConnectionSummary, Found, Problem, Summary};
use super::{Shared, Sink, WHY_NOTHING, now};
use crate::api::share::Turn;
use crate::api::wire::{self, Named};
use crate::api::{self, ConnectionId, Kind, Reason};
use crate::store::fleet::KnownImodel;
use crate::store::{self, Archive, Closed};
use crate::time::UtcText;

/// iModels in a row whose connections of one kind cannot be listed, before the others are left for later.
const MOST_OUTAGES: u32 = 3;
/// The same once other iModels' connections of that kind were listed: then it may be these iModels.
const MOST_OUTAGES_OF_SOME: u32 = 12;
/// Refusals of the credentials, or hosts that cannot be reached, in a row, after which no further request is
/// expected to be accepted.
const MOST_REFUSED: u32 = 4;

/// The least that a turn lasts while others wait: a request that comes slowly has time to be answered.
const LEAST_TURN: Duration = Duration::from_secs(30);
/// A time budget with less than this left is not divided any more.
const LAST_TURN: Duration = Duration::from_secs(1);

/// Why an iModel is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Sight {
    /// Somebody named it: it must be there.
    Named,
    /// Its iTwin lists it, or did when it was last asked.
    Listed,
    /// Its iTwin lists no iModel any more, where it did: that says nothing of what is there.
    Doubtful,
    /// Its iTwin lists others, but no longer this one: it is gone, or out of sight.
    Missing,
}

/// An iModel whose connections are to be listed.
#[derive(Debug, Clone)]
struct Imodel {
    id: String,
    /// For messages.
    name: String,
    asked_at: Option<String>,
    sight: Sight,
}

/// What became of asking an iModel for its connections, kind by kind.
#[derive(Debug, Default)]
struct Answers {
    /// Kinds still to be told of.
    left: usize,
    /// Whether it answered for one, or may be there for another reason.
    is_there: bool,
}

/// What an answer says of an iModel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It is there.
    There,
    /// It is not there, or out of sight.
    Gone,
    /// Neither: a failure.
    Nothing,
    /// It was not asked.
    Unasked,
}

/// A connection to be synced, with what a list said of it.
#[derive(Debug)]
struct Target {
    /// Its place in the summary: those that were named in the order given, then those that were found.
    at: usize,
    id: ConnectionId,
    listed: Option<wire::Connection>,
    /// What its earlier turns in this sync brought, if it had any.
    earlier: Option<ConnectionSummary>,
}

type ListedConnections = Listed<(ConnectionId, wire::Connection)>;

/// What a task has done.
enum Done {
    Listed(Imodel, Kind, Result<ListedConnections, api::Error>),
    Synced(Box<Target>, Box<ConnectionSummary>),
}

/// How often lists of one kind failed.
#[derive(Debug, Default, Clone, Copy)]
struct Outages {
    in_a_row: u32,
    was_answered: bool,
}

impl Outages {
    fn is_down(self) -> bool {
        self.in_a_row >= if self.was_answered { MOST_OUTAGES_OF_SOME } else { MOST_OUTAGES }
    }
}

/// The whole of a sync.
pub(super) struct Fleet {
    shared: Arc<Shared>,
    sizes: Arc<Sizes>,
    imodels: VecDeque<(Imodel, Kind)>,
    targets: VecDeque<Target>,
    /// Connections that gave way to others: they go on once nobody waits for a first turn.
    again: VecDeque<Target>,
    /// The turns of those under way, by their places.
    turns: HashMap<usize, Turn>,
    known: HashSet<ConnectionId>,
    /// Connections that their iModels' lists no longer name. Another may name them yet, if they moved.
    missing: Vec<ConnectionId>,
    /// iModels that answered for at least one kind of connections.
    asked: HashSet<String>,
    answers: HashMap<String, Answers>,
    outages: HashMap<Kind, Outages>,
    refused: u32,
    /// iModels that were to be asked and were not.
    unasked: HashSet<String>,
    found: Found,
    done: Vec<(usize, ConnectionSummary)>,
    /// Why nothing more is begun.
    stopped: Option<Reason>,
}

impl Fleet {
    /// Syncs all that the options name.
    pub(super) async fn sync(shared: Shared, started_at: UtcText) -> (Summary, Shared) {
        let shared = Arc::new(shared);
        let mut fleet = Self {
            shared: shared.clone(),
            sizes: Arc::default(),
            imodels: VecDeque::new(),
            targets: VecDeque::new(),
            again: VecDeque::new(),
            turns: HashMap::new(),
            known: HashSet::new(),
            missing: Vec::new(),
            asked: HashSet::new(),
            answers: HashMap::new(),
            outages: HashMap::new(),
            refused: 0,
            unasked: HashSet::new(),
            found: Found::default(),
            done: Vec::new(),
            stopped: None,
        };
        for id in shared.options.scope.connections.clone() {
            fleet.add_named(id).await;
        }
        fleet.put_in_order().await;
        // A closed writer tells by itself why it closed.
        let _ = fleet.work().await;
        let quiet = fleet.done.iter().filter(|(_, summary)| summary.is_quiet);
        let quiet: Vec<ConnectionId> = quiet.map(|(_, summary)| summary.id.clone()).collect();
        if !quiet.is_empty() {
            // Seen later than this sync began, so that much is sure.
            let _ = fleet.with_archive(move |archive| archive.mark_quiet(&quiet, &started_at)).await;
        }
        let Self { mut done, found, shared: own, .. } = fleet;
        done.sort_by_key(|(at, _)| *at);
        let connections = done.into_iter().map(|(_, summary)| summary).collect();
        let summary = Summary::new(started_at, now(), &shared.client, found, connections);
        drop(own);
        // Every task has ended, and with it its share.
        let shared = Arc::try_unwrap(shared).unwrap_or_else(|_| unreachable!("all tasks have been joined"));
        (summary, shared)
    }

    async fn work(&mut self) -> Result<(), Closed> {
        self.find_imodels().await?;
        let mut tasks = JoinSet::new();
        let ended = self.work_off(&mut tasks).await;
        // What is still under way shares the archive, which is to be closed.
        tasks.shutdown().await;
        ended?;
        self.mark_missing().await?;
        self.note_left();
        let scope = &self.shared.options.scope;
        let is_looking = !scope.itwins.is_empty() || !scope.imodels.is_empty();
        self.found.is_nothing &= self.found.connections == 0;
        if is_looking && self.found.connections == 0 && self.found.problems.is_empty() {
            self.note_nothing_found();
        }
        Ok(())
    }

    async fn work_off(&mut self, tasks: &mut JoinSet<Done>) -> Result<(), Closed> {
        loop {
            while tasks.len() < self.shared.options.concurrency.max(1) && self.begin(tasks) {}
            self.share_out(tasks.len());
            self.tell_progress(tasks.len());
            let Some(joined) = tasks.join_next().await else { return Ok(()) };
            match joined {
                Ok(Done::Synced(target, summary)) => self.take_synced(*target, *summary),
                Ok(Done::Listed(imodel, kind, listed)) => self.take_listed(imodel, kind, listed).await?,
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Begins one task, if there is any to begin.
    fn begin(&mut self, tasks: &mut JoinSet<Done>) -> bool {
        if self.stopped.is_some() {
            return false;
        }
        let shared = self.shared.clone();
        if let Some(target) = self.targets.pop_front() {
            self.begin_turn(target, tasks);
            return true;
        }
        while let Some((imodel, kind)) = self.imodels.pop_front() {
            if self.outages.get(&kind).is_some_and(|outages| outages.is_down()) {
                self.unasked.insert(imodel.id);
                continue;
            }
            let sizes = self.sizes.clone();
            tasks.spawn(async move {
                let listed = discovery::list_connections(&shared.client, &sizes, kind, &imodel.id).await;
                Done::Listed(imodel, kind, listed)
            });
            return true;
        }
        if let Some(target) = self.again.pop_front() {
            self.begin_turn(target, tasks);
            return true;
        }
        false
    }

    fn begin_turn(&mut self, mut target: Target, tasks: &mut JoinSet<Done>) {
        let (shared, turn) = (self.shared.clone(), Turn::default());
        let client = shared.client.in_turn(&turn);
        self.turns.insert(target.at, turn);
        tasks.spawn(async move {
            let (id, listed, earlier) = (target.id.clone(), target.listed.clone(), target.earlier.take());
            let summary = ConnectionSync::run(&shared, client, id, listed, earlier).await;
            Done::Synced(Box::new(target), Box::new(summary))
        });
    }

    /// While others wait, each connection under way has a fair share of what is left of the time budget;
    /// all that is left once nobody waits.
    fn share_out(&self, under_way: usize) {
        let waiting = self.targets.len() + self.imodels.len() + self.again.len();
        if waiting == 0 || self.stopped.is_some() {
            self.turns.values().for_each(Turn::lift);
            return;
        }
        let Some(deadline) = self.shared.client.deadline() else { return };
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let Some(length) = share_of(left, self.shared.options.concurrency, waiting + under_way) else {
            return;
        };
        self.turns.values().for_each(|turn| turn.limit(now + length));
    }

    fn take_synced(&mut self, mut target: Target, summary: ConnectionSummary) {
        self.turns.remove(&target.at);
        if summary.has_given_way() && self.stopped.is_none() {
            target.earlier = Some(summary);
            self.again.push_back(target);
            return;
        }
        if summary.problems.is_empty() && !summary.is_quiet {
            self.refused = 0;
        }
        for reason in summary.problems.iter().filter_map(|problem| problem.reason) {
            self.note_reason(reason);
        }
        self.shared.progress.connections.fetch_add(1, Ordering::Relaxed);
        self.done.push((target.at, summary));
    }

    /// Where no further request can succeed, no further one is begun.
    fn note_reason(&mut self, reason: Reason) {
        let is_useless = matches!(reason, Reason::Refused | Reason::Unreachable(_));
        self.refused = if is_useless { self.refused + 1 } else { 0 };
        let is_refused = self.refused > 0 && !self.shared.client.was_accepted();
        if is_refused
            || self.refused >= MOST_REFUSED
            || matches!(reason, Reason::BudgetSpent { .. } | Reason::Stopped)
        {
            self.stopped.get_or_insert(reason);
        }
    }

    fn tell_progress(&self, under_way: usize) {
        let progress = &self.shared.progress;
        progress.imodels.store(self.found.imodels, Ordering::Relaxed);
        progress.imodels_left.store(self.imodels.len() as u64, Ordering::Relaxed);
        let waiting = self.targets.len() + self.again.len();
        progress.connections_left.store((waiting + under_way) as u64, Ordering::Relaxed);
    }

    /// Adds a connection that somebody named, by the id that it is archived under where that is the same UUID
    /// in other letters.
    async fn add_named(&mut self, id: ConnectionId) {
        let known = match &self.shared.reader {
            Some(reader) if id.may_be_respelled() => reader.lock().await.read_connections(),
            _ => Ok(Vec::new()),
        };
        // An archive that cannot be read tells so when the connection itself is looked up.
        let known: Vec<ConnectionId> = known.unwrap_or_default().into_iter().map(|known| known.id).collect();
        let archived = known.iter().find(|known| **known == id);
        let archived = archived.or_else(|| known.iter().find(|known| known.is_same_as(&id)));
        self.add_target(archived.cloned().unwrap_or(id), None);
    }

    fn add_target(&mut self, id: ConnectionId, listed: Option<wire::Connection>) {
        if !self.is_known(&id) {
            self.known.insert(id.clone());
            let at = self.known.len();
            self.targets.push_back(Target { at, id, listed, earlier: None });
        }
    }

    /// Named connections have their turns like iModels: the one proved longest ago first, so that what a
    /// spent budget leaves over is never the same; those that never were proved before all others.
    async fn put_in_order(&mut self) {
        let Some(reader) = &self.shared.reader else { return };
        let reader = reader.lock().await;
        // An archive that cannot be read is told by what is written next.
        let proved_at = |target: &Target| reader.read_complete_as_of(&target.id).ok().flatten();
        self.targets.make_contiguous().sort_by_cached_key(proved_at);
    }

    /// Whether the connection has its turn already, whatever letters its UUID was named by.
    fn is_known(&self, id: &ConnectionId) -> bool {
        let in_letters = |letters: String| ConnectionId::new(id.kind(), &letters).ok();
        api::spellings(id.as_str()).into_iter().filter_map(in_letters).any(|id| self.known.contains(&id))
    }

    /// Marks what no list has named: a connection that only moved to another iModel is named by that one's.
    async fn mark_missing(&mut self) -> Result<(), Closed> {
        let missing = std::mem::take(&mut self.missing);
        let missing: Vec<ConnectionId> = missing.into_iter().filter(|id| !self.is_known(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.with_archive(move |archive| archive.mark_connections_unlisted(&missing, &now())).await
    }

    /// Has something read from or written into the archive; nothing in a dry run.
    async fn with_archive<T: Default + Send + 'static>(
        &self,
        job: impl FnOnce(&mut Archive) -> store::Result<T> + Send + 'static,
    ) -> Result<T, Closed> {
        match &self.shared.sink {
            Sink::Archive { writer, .. } => writer.ask(job).await,
            Sink::DryRun => Ok(T::default()),
        }
    }

    /// Asks iTwins for their iModels, and puts these in the order in which they are asked.
    async fn find_imodels(&mut self) -> Result<(), Closed> {
        let scope = self.shared.options.scope.clone();
        let names = if scope.itwins.is_empty() { HashMap::new() } else { self.list_itwins().await };
        let mut imodels: Vec<Imodel> = Vec::new();
        for id in scope.imodels {
            let known = {
                let id = id.clone();
                self.with_archive(move |archive| {
                    archive.upsert_imodel(&id, &now())?;
                    archive.read_imodel(&id)
                })
                .await?
            };
            imodels.push(Imodel::named(id, known));
        }
        for itwin in scope.itwins {
            if self.stopped.is_some() {
                break;
            }
            let named = names.values().find(|named| named.id == itwin);
            let named = named.or_else(|| names.values().find(|named| is_same_id(&named.id, &itwin))).cloned();
            // The platform's own list says how its UUID is spelled.
            let itwin = named.as_ref().map_or(itwin, |named| named.id.clone());
            let id = itwin.clone();
            let known = self
                .with_archive(move |archive| {
                    archive.store_itwin(&id, named.as_ref(), &now())?;
                    archive.read_imodels(&id)
                })
                .await?;
            self.found.itwins += 1;
            imodels.extend(self.find_imodels_of(&itwin, known).await?);
        }
        // One that several say counts by the best that is said of it.
        imodels.sort_by_key(|imodel| imodel.sight);
        let mut seen: HashSet<String> = HashSet::new();
        imodels.retain(|imodel| {
            let is_new = !api::spellings(&imodel.id).iter().any(|id| seen.contains(id));
            is_new && seen.insert(imodel.id.clone())
        });
        imodels.sort_by(|a, b| a.asked_at.cmp(&b.asked_at));
        let answers = || Answers { left: scope.kinds.len(), ..Answers::default() };
        self.answers = imodels.iter().map(|imodel| (imodel.id.clone(), answers())).collect();
        self.imodels = imodels
            .into_iter()
            .flat_map(|imodel| scope.kinds.iter().map(move |kind| (imodel.clone(), *kind)))
            .collect();
        Ok(())
    }

    /// What iTwins are called. Nothing depends on it, so a failure is no problem of the sync.
    async fn list_itwins(&mut self) -> HashMap<String, Named> {
        let wanted = &self.shared.options.scope.itwins;
        match discovery::list_itwins(&self.shared.client, &self.sizes, wanted).await {
            Ok(listed) => listed.items.into_iter().map(|named| (named.id.clone(), named)).collect(),
            Err(error) => {
                tracing::info!("{error}; iTwins go by their ids");
                HashMap::new()
            }
        }
    }

    async fn find_imodels_of(&mut self, itwin: &str, known: Vec<KnownImodel>) -> Result<Vec<Imodel>, Closed> {
        let listed = discovery::list_imodels(&self.shared.client, &self.sizes, itwin).await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(error) => {
                self.note_error(&error);
                if error.reason == Reason::NotFound {
                    let id = itwin.to_owned();
                    self.with_archive(move |archive| archive.mark_itwin(&id, Some(&now()))).await?;
                }
                // Those that it listed before may be there all the same.
                let is_gone = matches!(error.reason, Reason::NotFound | Reason::Forbidden);
                let before = known.into_iter().filter(|known| known.is_listed && !is_gone);
                return Ok(before.map(|known| Imodel::known(known, Sight::Listed)).collect());
            }
        };
        if let Some(doubt) = &listed.doubt {
            self.note(format!("listing the iModels of iTwin {itwin}: {doubt}; more may be there"), None);
        }
        if listed.unusable > 0 {
            let count = listed.unusable;
            self.note(format!("listing the iModels of iTwin {itwin}: {count} without an id were left out; the others are asked"), None);
        }
        let known: HashMap<String, KnownImodel> =
            known.into_iter().map(|known| (known.id.clone(), known)).collect();
        let names: HashSet<&str> = listed.items.iter().map(|named| named.id.as_str()).collect();
        let missing: Vec<KnownImodel> = known
            .values()
            .filter(|known| known.is_listed && !names.contains(known.id.as_str()))
            .cloned()
            .collect();
        let is_emptied = listed.items.is_empty() && !missing.is_empty();
        if is_emptied {
            self.found.is_nothing = true;
            self.note(
                format!(
                    "listing the iModels of iTwin {itwin}: the platform lists none, where it listed {} before; \
                     has the role on the iTwin gone?",
                    missing.len()
                ),
                None,
            );
        }
        let imodels = listed.items.iter().map(|named| Imodel::listed(named, known.get(&named.id)));
        let mut imodels: Vec<Imodel> = imodels.collect();
        // Where more may be there than was read, what was not met may be, too.
        let sight = if is_emptied || listed.doubt.is_some() { Sight::Doubtful } else { Sight::Missing };
        imodels.extend(missing.into_iter().map(|known| Imodel::known(known, sight)));
        let (id, items) = (itwin.to_owned(), listed.items);
        self.with_archive(move |archive| {
            archive.mark_itwin(&id, None)?;
            archive.store_imodels(&id, &items, &now())
        })
        .await?;
        Ok(imodels)
    }

    /// Takes what asking an iModel for its connections of one kind brought.
    async fn take_listed(
        &mut self,
        imodel: Imodel,
        kind: Kind,
        listed: Result<ListedConnections, api::Error>,
    ) -> Result<(), Closed> {
        if listed.is_ok() && self.asked.insert(imodel.id.clone()) {
            self.found.imodels += 1;
        }
        let told = match listed {
            Ok(listed) => self.take_connections(&imodel, kind, listed).await?,
            Err(error) => self.take_unlistable(&imodel, kind, &error).await?,
        };
        let Some(answers) = self.answers.get_mut(&imodel.id) else { return Ok(()) };
        answers.left = answers.left.saturating_sub(1);
        answers.is_there |= told != Told::Gone;
        let is_gone = answers.left == 0 && !answers.is_there;
        // One that its iTwin lists is there, whatever its connections are.
        let is_gone = is_gone && matches!(imodel.sight, Sight::Named | Sight::Missing);
        if is_gone && imodel.sight == Sight::Missing {
            tracing::warn!(
                "iModel {}: its iTwin no longer lists it, and neither is there a connection of it; what is \
                 archived stays",
                imodel.name
            );
        }
        let Sink::Archive { writer, sync_key } = &self.shared.sink else { return Ok(()) };
        let (sync_key, requests) = (*sync_key, self.shared.client.requests());
        let write = writer.write(move |archive| {
            archive.note_requests(sync_key, requests, &now())?;
            if is_gone {
                archive.mark_imodel_unlisted(&imodel.id, &now())?;
            }
            // Asked in vain is asked too, or those that fail would come first each time; and for one kind is
            // enough, or one that is down would keep all from being noted.
            if told == Told::Unasked { Ok(()) } else { archive.note_asked(&imodel.id, &now()) }
        });
        write.await
    }

    /// Takes the connections that an iModel lists.
    async fn take_connections(
        &mut self,
        imodel: &Imodel,
        kind: Kind,
        mut listed: ListedConnections,
    ) -> Result<Told, Closed> {
        self.outages.insert(kind, Outages { in_a_row: 0, was_answered: true });
        self.refused = 0;
        let before = match &self.shared.reader {
            Some(reader) => reader.lock().await.read_listed_connections(&imodel.id, kind),
            None => Ok(Vec::new()),
        };
        let before = match before {
            Ok(before) => before,
            Err(error) => {
                self.note(error.to_string(), None);
                return Ok(Told::Nothing);
            }
        };
        let is_missed = {
            let ids: HashSet<&ConnectionId> = listed.items.iter().map(|(id, _)| id).collect();
            before.iter().any(|id| !ids.contains(id))
        };
        let mut moved = Vec::new();
        if listed.pages > 1 && is_missed {
            // A list that shifts while it is read may hide an entry between two pages; not twice.
            match discovery::list_connections(&self.shared.client, &self.sizes, kind, &imodel.id).await {
                Ok(again) => {
                    let ids: HashSet<ConnectionId> = listed.items.iter().map(|(id, _)| id.clone()).collect();
                    listed.items.extend(again.items.into_iter().filter(|(id, _)| !ids.contains(id)));
                    listed.doubt = listed.doubt.or(again.doubt);
                }
                Err(error) => return self.take_unlistable(imodel, kind, &error).await,
            }
        }
        if let Some(doubt) = &listed.doubt {
            self.note(
                format!("{}: {doubt}; more may be there, the next sync asks again", of(imodel, kind)),
                None,
            );
        }
        if listed.unusable > 0 {
            let count = listed.unusable;
            self.note(
                format!(
                    "{}: {count} without an id that can be used were left out, the others are synced",
                    of(imodel, kind)
                ),
                None,
            );
        }
        if listed.items.is_empty() && listed.doubt.is_none() && listed.unusable == 0 {
            if !before.is_empty() && !self.is_gone(imodel, kind, &before, &mut moved).await? {
                return Ok(Told::Nothing);
            }
            // Nothing is told apart from having lost sight of everything.
            if imodel.sight == Sight::Doubtful {
                return Ok(Told::Nothing);
            }
        }
        self.found.connections += listed.items.len() as u64;
        let told = match imodel.sight {
            Sight::Missing if listed.items.is_empty() => Told::Gone,
            _ => Told::There,
        };
        self.found.new_connections += match (&self.shared.sink, &self.shared.reader) {
            (Sink::DryRun, reader) => {
                let mut new = 0;
                for (id, _) in &listed.items {
                    let state = match reader {
                        Some(reader) => reader.lock().await.read_state(id),
                        None => Ok(None),
                    };
                    new += u64::from(matches!(state, Ok(None)));
                }
                new
            }
            (Sink::Archive { writer, .. }, _) => {
                let (id, items) = (imodel.id.clone(), listed.items.clone());
                writer.ask(move |archive| archive.store_connections(&id, &items, &now())).await?
            }
        };
        // An entry without an id may be any of those that were not met.
        if listed.doubt.is_none() && listed.unusable == 0 {
            let is_listed = |id: &ConnectionId| listed.items.iter().any(|(listed, _)| listed.is_same_as(id));
            self.missing.extend(before.into_iter().filter(|id| !is_listed(id) && !moved.contains(id)));
        }
        for (id, connection) in listed.items {
            self.add_target(id, Some(connection));
        }
        Ok(told)
    }

    /// An empty list where there were connections: a service that lost its role is given one, too. One of
    /// the connections, asked by its id, tells.
    async fn is_gone(
        &mut self,
        imodel: &Imodel,
        kind: Kind,
        before: &[ConnectionId],
        moved: &mut Vec<ConnectionId>,
    ) -> Result<bool, Closed> {
        let Some(one) = before.first() else { return Ok(true) };
        let is_gone = match self.shared.client.get_connection(one).await {
            Err(error) if error.reason == Reason::NotFound => true,
            Err(error) if error.reason == Reason::Forbidden && imodel.sight == Sight::Missing => true,
            // That much was told of its iTwin.
            Err(error) if error.reason == Reason::Forbidden && imodel.sight == Sight::Doubtful => false,
            Err(error) => {
                self.note_error(&error);
                false
            }
            Ok(own) if own.imodel_id.as_deref().is_some_and(|now| !is_same_id(now, &imodel.id)) => {
                // It only moved to another iModel, which may not be one of those that are asked.
                moved.push(one.clone());
                let one = one.clone();
                self.with_archive(move |archive| {
                    let key = archive.upsert_connection(&one, &now())?;
                    archive.store_connection(key, &own)
                })
                .await?;
                true
            }
            Ok(_) => {
                let told = format!(
                    "{}: the platform lists none, where it listed {} before, and still knows {one}",
                    of(imodel, kind),
                    before.len()
                );
                self.note(told, None);
                false
            }
        };
        Ok(is_gone)
    }

    async fn take_unlistable(
        &mut self,
        imodel: &Imodel,
        kind: Kind,
        error: &api::Error,
    ) -> Result<Told, Closed> {
        use Reason::{
            BudgetSpent, Forbidden, NotFound, Refused, Stopped, TimedOut, Unavailable, Unreachable,
            Unreadable,
        };
        match (error.reason, imodel.sight) {
            (NotFound | Forbidden, Sight::Doubtful) => {
                tracing::info!("{error}; nothing is concluded from it");
                return Ok(Told::Nothing);
            }
            (NotFound, _) | (Forbidden, Sight::Missing) => {
                if let Some(reader) = &self.shared.reader {
                    let before = reader.lock().await.read_listed_connections(&imodel.id, kind);
                    // An archive that cannot be read any more ends the sync where something is written.
                    self.missing.extend(before.unwrap_or_default());
                }
                if imodel.sight == Sight::Named {
                    self.note_error(error);
                } else {
                    tracing::info!("{error}; what is archived of it stays");
                }
                return Ok(Told::Gone);
            }
            (TimedOut { .. } | Unavailable | Unreadable, _) => {
                self.outages.entry(kind).or_default().in_a_row += 1;
            }
            _ => {}
        }
        let name = if imodel.name == imodel.id { String::new() } else { format!("{}: ", imodel.name) };
        self.note(format!("{name}{error}"), Some(error.reason));
        Ok(match error.reason {
            BudgetSpent { .. } | Stopped | Refused | Unreachable(_) => Told::Unasked,
            _ => Told::Nothing,
        })
    }

    fn note_error(&mut self, error: &api::Error) {
        self.note(error.to_string(), Some(error.reason));
    }

    fn note(&mut self, message: String, reason: Option<Reason>) {
        if let Some(reason) = reason {
            self.note_reason(reason);
        }
        self.found.problems.push(Problem { message, reason });
    }

    /// What was not begun, because nothing more could be.
    fn note_left(&mut self) {
        let mut down: Vec<Kind> =
            self.outages.iter().filter(|(_, outages)| outages.is_down()).map(|(kind, _)| *kind).collect();
        down.sort();
        for kind in down {
            let (in_a_row, unasked) = (self.outages[&kind].in_a_row, self.unasked.len());
            if unasked > 0 {
                let told = format!(
                    "{} connections could not be listed {in_a_row} times in a row, so {unasked} iModels were not \
                     asked for theirs",
                    kind.as_str()
                );
                self.note(told, Some(Reason::Unavailable));
            }
        }
        // Nothing was left of the budget for another turn.
        let again =
            self.again.drain(..).filter_map(|target| target.earlier.map(|summary| (target.at, summary)));
        self.done.extend(again);
        let left: HashSet<String> = self.imodels.drain(..).map(|(imodel, _)| imodel.id).collect();
        let (imodels, targets) = (left.len(), self.targets.len());
        self.unasked.extend(left);
        self.found.unasked = self.unasked.len() as u64;
        let Some(reason) = self.stopped else { return };
        if imodels + targets > 0 {
            let why = match reason {
                Reason::Refused => "the platform refused the credentials",
                Reason::Unreachable(_) => "the platform cannot be reached",
                Reason::Stopped => "it was asked to stop",
                _ => "the time budget is spent",
            };
            let told =
                format!("{why}: {targets} connections and {imodels} iModels were left for the next sync");
            self.note(told, Some(reason));
        }
    }

    fn note_nothing_found(&mut self) {
        let where_to = |ids: &[String], what: &str| match ids {
            [] => None,
            [one] => Some(format!("{what} {one}")),
            many => Some(format!("{} {what}s", many.len())),
        };
        let scope = &self.shared.options.scope;
        let below =
            [where_to(&scope.itwins, "iTwin"), where_to(&scope.imodels, "iModel")].into_iter().flatten();
        let below = below.collect::<Vec<_>>().join(" and ");
        let told = format!("no connection was found below {below}: {WHY_NOTHING}");
        self.found.is_nothing = true;
        self.note(told, None);
    }
}

/// How long a turn lasts of what is `left` of a time budget, where so many `connections` still have theirs;
/// `None`: as long as it takes.
fn share_of(left: Duration, concurrency: usize, connections: usize) -> Option<Duration> {
    if left < LAST_TURN {
        return None;
    }
    let at_a_time = u32::try_from(concurrency.max(1)).unwrap_or(u32::MAX);
    let connections = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
    let fair = left.saturating_mul(at_a_time) / connections;
    Some(fair.max(LEAST_TURN.min(left / 4)).min(left))
}

/// Whether two ids of an iModel name the same.
fn is_same_id(one: &str, other: &str) -> bool {
    one == other || api::is_respelled(one, other)
}

/// The beginning of a sentence about a list of connections.
fn of(imodel: &Imodel, kind: Kind) -> String {
    format!("listing {} connections of iModel {}", kind.as_str(), imodel.name)
}

impl Imodel {
    fn named(id: String, known: Option<KnownImodel>) -> Self {
        let name = known.as_ref().and_then(|known| known.display_name.clone());
        let name = name.unwrap_or_else(|| id.clone());
        Self { id, name, asked_at: known.and_then(|known| known.asked_at), sight: Sight::Named }
    }

    fn known(known: KnownImodel, sight: Sight) -> Self {
        Self { sight, ..Self::named(known.id.clone(), Some(known)) }
    }

    fn listed(named: &Named, known: Option<&KnownImodel>) -> Self {
        Self {
            id: named.id.clone(),
            name: named.name.clone().unwrap_or_else(|| named.id.clone()),
            asked_at: known.and_then(|known| known.asked_at.clone()),
            sight: Sight::Listed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_is_a_fair_share_and_no_shorter_than_a_slow_answer_takes() {
        let share = |left: u64, concurrency, connections| {
            share_of(Duration::from_secs(left), concurrency, connections).map(|share| share.as_secs())
        };
        assert_eq!(share(3_600, 4, 40), Some(360));
        assert_eq!(share(3_600, 4, 10_000), Some(30));
        // A small budget is divided all the same, and its end is left to whoever has the turn.
        assert_eq!((share(40, 1, 100), share(8, 1, 2)), (Some(10), Some(4)));
        assert_eq!(share(60, 4, 3), Some(60));
        assert_eq!(share(0, 4, 3), None);
    }
}
