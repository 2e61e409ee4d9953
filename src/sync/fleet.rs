//! Whose turn it is: finds the connections below iTwins and iModels, and syncs those where something
//! began, several at a time.
//!
//! In: a [`Scope`](super::Scope). Out: a [`Summary`]. Each iModel is asked once for its connections, the one
//! that was asked longest ago first; what they say of their last runs decides which are asked themselves.
//! A connection's turn comes before the next iModel's, so that a sync which runs out of time has stored
//! whole connections. What is no longer listed is kept and marked.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;

use super::connection::ConnectionSync;
use super::discovery::{self, Listed, Sizes};
use super::summary::{ConnectionSummary, Found, Problem, Summary};
use super::{Shared, Sink, now};
use crate::api::wire::{self, Named};
use crate::api::{self, ConnectionId, Kind, Reason};
use crate::store::fleet::KnownImodel;
use crate::store::{self, Archive, Closed};
use crate::time::UtcText;

/// iModels in a row whose connections of one kind cannot be listed, before the others are left for later.
const MOST_OUTAGES: u32 = 3;

/// An iModel whose connections are to be listed.
#[derive(Debug, Clone)]
struct Imodel {
    id: String,
    /// For messages.
    name: String,
    asked_at: Option<String>,
    /// Whether it is asked although its iTwin no longer lists it: it may be gone, or out of sight.
    is_missing: bool,
    /// Whether somebody named it: then it must be there.
    is_named: bool,
}

/// A connection to be synced, with what a list said of it.
#[derive(Debug)]
struct Target {
    id: ConnectionId,
    listed: Option<wire::Connection>,
}

type ListedConnections = Listed<(ConnectionId, wire::Connection)>;

/// What a task has done.
enum Done {
    Listed(Imodel, Kind, Result<ListedConnections, api::Error>),
    Synced(usize, Box<ConnectionSummary>),
}

/// The whole of a sync.
pub(super) struct Fleet {
    shared: Arc<Shared>,
    sizes: Arc<Sizes>,
    imodels: VecDeque<(Imodel, Kind)>,
    targets: VecDeque<Target>,
    known: HashSet<ConnectionId>,
    /// iModels that answered for at least one kind of connections.
    asked: HashSet<String>,
    outages: HashMap<Kind, u32>,
    found: Found,
    done: Vec<(usize, ConnectionSummary)>,
    started: usize,
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
            known: HashSet::new(),
            asked: HashSet::new(),
            outages: HashMap::new(),
            found: Found::default(),
            done: Vec::new(),
            started: 0,
            stopped: None,
        };
        for id in shared.options.scope.connections.clone() {
            fleet.add_target(id, None);
        }
        // A closed writer tells by itself why it closed.
        let _ = fleet.work().await;
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
        loop {
            while tasks.len() < self.shared.options.concurrency.max(1) && self.begin(&mut tasks) {}
            self.tell_progress(tasks.len());
            let Some(joined) = tasks.join_next().await else { break };
            match joined {
                Ok(Done::Synced(at, summary)) => self.take_synced(at, *summary),
                Ok(Done::Listed(imodel, kind, listed)) => self.take_listed(imodel, kind, listed).await?,
                Err(error) => {
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
        self.note_left();
        let scope = &self.shared.options.scope;
        let is_looking = !scope.itwins.is_empty() || !scope.imodels.is_empty();
        if is_looking && self.found.connections == 0 && self.found.problems.is_empty() {
            self.note_nothing_found();
        }
        Ok(())
    }

    /// Begins one task, if there is any to begin.
    fn begin(&mut self, tasks: &mut JoinSet<Done>) -> bool {
        if self.stopped.is_some() {
            return false;
        }
        let shared = self.shared.clone();
        if let Some(target) = self.targets.pop_front() {
            let at = self.started;
            self.started += 1;
            tasks.spawn(async move {
                let summary = ConnectionSync::run(&shared, target.id, target.listed).await;
                Done::Synced(at, Box::new(summary))
            });
            return true;
        }
        while let Some((imodel, kind)) = self.imodels.pop_front() {
            if self.outages.get(&kind).is_some_and(|outages| *outages >= MOST_OUTAGES) {
                self.found.unasked += 1;
                continue;
            }
            let sizes = self.sizes.clone();
            tasks.spawn(async move {
                let listed = discovery::list_connections(&shared.client, &sizes, kind, &imodel.id).await;
                Done::Listed(imodel, kind, listed)
            });
            return true;
        }
        false
    }

    fn take_synced(&mut self, at: usize, summary: ConnectionSummary) {
        let reasons = summary.problems.iter().filter_map(|problem| problem.reason);
        for reason in reasons {
            self.note_reason(reason);
        }
        self.shared.progress.connections.fetch_add(1, Ordering::Relaxed);
        self.done.push((at, summary));
    }

    /// Where no further request can succeed, no further one is begun.
    fn note_reason(&mut self, reason: Reason) {
        let is_refused = reason == Reason::Refused && !self.shared.client.was_accepted();
        if is_refused || matches!(reason, Reason::BudgetSpent { .. } | Reason::Stopped) {
            self.stopped.get_or_insert(reason);
        }
    }

    fn tell_progress(&self, under_way: usize) {
        let progress = &self.shared.progress;
        progress.imodels.store(self.found.imodels, Ordering::Relaxed);
        progress.imodels_left.store(self.imodels.len() as u64, Ordering::Relaxed);
        progress.connections_left.store((self.targets.len() + under_way) as u64, Ordering::Relaxed);
    }

    fn add_target(&mut self, id: ConnectionId, listed: Option<wire::Connection>) {
        if self.known.insert(id.clone()) {
            self.targets.push_back(Target { id, listed });
        }
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
            let named = names.get(&itwin).cloned();
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
        // A name that somebody gave counts where both say it.
        let mut seen = HashSet::new();
        imodels.retain(|imodel| seen.insert(imodel.id.clone()));
        imodels.sort_by(|a, b| a.asked_at.cmp(&b.asked_at));
        self.imodels = imodels
            .into_iter()
            .flat_map(|imodel| scope.kinds.iter().map(move |kind| (imodel.clone(), *kind)))
            .collect();
        Ok(())
    }

    /// What iTwins are called. Nothing depends on it, so a failure is no problem of the sync.
    async fn list_itwins(&mut self) -> HashMap<String, Named> {
        match discovery::list_itwins(&self.shared.client, &self.sizes).await {
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
                return Ok(before.map(|known| Imodel::known(known, false)).collect());
            }
        };
        if let Some(doubt) = &listed.doubt {
            self.note(format!("listing the iModels of iTwin {itwin}: {doubt}; more may be there"), None);
        }
        if listed.unusable > 0 {
            let count = listed.unusable;
            self.note(format!("listing the iModels of iTwin {itwin}: {count} without an id"), None);
        }
        let known: HashMap<String, KnownImodel> =
            known.into_iter().map(|known| (known.id.clone(), known)).collect();
        let names: HashSet<&str> = listed.items.iter().map(|named| named.id.as_str()).collect();
        let missing: Vec<KnownImodel> = known
            .values()
            .filter(|known| known.is_listed && !names.contains(known.id.as_str()))
            .cloned()
            .collect();
        if listed.items.is_empty() && !missing.is_empty() {
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
        imodels.extend(missing.into_iter().map(|known| Imodel::known(known, true)));
        let (id, items) = (itwin.to_owned(), listed.items);
        self.with_archive(move |archive| {
            archive.mark_itwin(&id, None)?;
            archive.store_imodels(&id, &items, &now())
        })
        .await?;
        Ok(imodels)
    }

    /// Takes the connections that an iModel lists.
    async fn take_listed(
        &mut self,
        imodel: Imodel,
        kind: Kind,
        listed: Result<ListedConnections, api::Error>,
    ) -> Result<(), Closed> {
        if listed.is_ok() && self.asked.insert(imodel.id.clone()) {
            self.found.imodels += 1;
        }
        let mut listed = match listed {
            Ok(listed) => listed,
            Err(error) => return self.take_unlistable(imodel, kind, &error).await,
        };
        self.outages.insert(kind, 0);
        let before = {
            let id = imodel.id.clone();
            self.with_archive(move |archive| archive.read_listed_connections(&id, kind)).await?
        };
        let is_missed = |listed: &ListedConnections| {
            let ids: HashSet<&ConnectionId> = listed.items.iter().map(|(id, _)| id).collect();
            before.iter().any(|id| !ids.contains(id))
        };
        if listed.pages > 1 && is_missed(&listed) {
            // A list that shifts while it is read may hide an entry between two pages; not twice.
            let again = discovery::list_connections(&self.shared.client, &self.sizes, kind, &imodel.id).await;
            match again {
                Ok(again) => listed.items.extend(again.items),
                Err(error) => return self.take_unlistable(imodel, kind, &error).await,
            }
        }
        if let Some(doubt) = &listed.doubt {
            self.note(format!("{}: {doubt}; more may be there", of(&imodel, kind)), None);
        }
        if listed.unusable > 0 {
            let count = listed.unusable;
            self.note(format!("{}: {count} without an id that can be used", of(&imodel, kind)), None);
        }
        let is_emptied = listed.items.is_empty() && !before.is_empty();
        if is_emptied && !self.is_gone(&imodel, kind, &before).await {
            return Ok(());
        }
        if imodel.is_missing && listed.items.is_empty() {
            let id = imodel.id.clone();
            return self.with_archive(move |archive| archive.mark_imodel_unlisted(&id, &now())).await;
        }
        self.found.connections += listed.items.len() as u64;
        let (id, is_whole, items) = (imodel.id.clone(), listed.doubt.is_none(), listed.items);
        let stored = items.clone();
        self.found.new_connections += self
            .with_archive(move |archive| archive.store_connections(&id, kind, &stored, is_whole, &now()))
            .await?;
        for (id, connection) in items {
            self.add_target(id, Some(connection));
        }
        Ok(())
    }

    /// An empty list where there were connections: a service that lost its role is given one, too. One of
    /// the connections, asked by its id, tells.
    async fn is_gone(&mut self, imodel: &Imodel, kind: Kind, before: &[ConnectionId]) -> bool {
        let Some(one) = before.first() else { return true };
        match self.shared.client.get_connection(one).await {
            Err(error) if error.reason == Reason::NotFound => true,
            Err(error) if error.reason == Reason::Forbidden && imodel.is_missing => true,
            Err(error) => {
                self.note_error(&error);
                false
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
        }
    }

    async fn take_unlistable(
        &mut self,
        imodel: Imodel,
        kind: Kind,
        error: &api::Error,
    ) -> Result<(), Closed> {
        let is_out_of_sight = matches!(error.reason, Reason::NotFound | Reason::Forbidden);
        if error.reason == Reason::NotFound && !imodel.is_named || imodel.is_missing && is_out_of_sight {
            tracing::info!("{error}; what is archived of it stays");
            return self.with_archive(move |archive| archive.mark_imodel_unlisted(&imodel.id, &now())).await;
        }
        use Reason::{TimedOut, Unavailable, Unreadable};
        if matches!(error.reason, TimedOut { .. } | Unavailable | Unreadable) {
            *self.outages.entry(kind).or_default() += 1;
        }
        let name = if imodel.name == imodel.id { String::new() } else { format!("{}: ", imodel.name) };
        self.note(format!("{name}{error}"), Some(error.reason));
        Ok(())
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
        let is_down = |outages: &u32| *outages >= MOST_OUTAGES;
        let mut down: Vec<Kind> =
            self.outages.iter().filter(|(_, outages)| is_down(outages)).map(|(kind, _)| *kind).collect();
        down.sort();
        for kind in down {
            let kind = kind.as_str();
            let told = format!(
                "{kind} connections could not be listed {MOST_OUTAGES} times in a row, so the other iModels were \
                 not asked for theirs"
            );
            self.note(told, Some(Reason::Unavailable));
        }
        let Some(reason) = self.stopped else { return };
        let (imodels, targets) = (self.imodels.len(), self.targets.len());
        self.found.unasked += imodels as u64;
        if imodels + targets > 0 {
            let why = match reason {
                Reason::Refused => "the platform refused the credentials",
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
        let told = format!(
            "no connection was found below {below}: a service application without a role on an iTwin is given \
             empty lists, not an error"
        );
        self.found.is_nothing = true;
        self.note(told, None);
    }
}

/// The beginning of a sentence about a list of connections.
fn of(imodel: &Imodel, kind: Kind) -> String {
    format!("listing {} connections of iModel {}", kind.as_str(), imodel.name)
}

impl Imodel {
    fn named(id: String, known: Option<KnownImodel>) -> Self {
        let name = known.as_ref().and_then(|known| known.display_name.clone());
        let name = name.unwrap_or_else(|| id.clone());
        Self { id, name, asked_at: known.and_then(|known| known.asked_at), is_missing: false, is_named: true }
    }

    fn known(known: KnownImodel, is_missing: bool) -> Self {
        Self { is_missing, is_named: false, ..Self::named(known.id.clone(), Some(known)) }
    }

    fn listed(named: &Named, known: Option<&KnownImodel>) -> Self {
        Self {
            id: named.id.clone(),
            name: named.name.clone().unwrap_or_else(|| named.id.clone()),
            asked_at: known.and_then(|known| known.asked_at.clone()),
            is_missing: false,
            is_named: false,
        }
    }
}
