//! The whole of a sync: finds connections, gives them their turns, several at a time, and sums up.
//!
//! In: a [`Session`] with the scope. Out: a [`Summary`]. Each iModel is asked once for its connections; what they
//! say of their last runs decides which are asked themselves. Whose turn it is is decided in [`super::turns`],
//! what iModels and their connections are asked is in [`super::finding`].

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::task::JoinSet;
use tokio::time::Instant;

use super::clock::now;
use super::connection::{ConnectionPart, ConnectionTurn};
use super::discovery::{self, Listed, Sizes};
use super::expected::WantedImodel;
use super::problem::Problem;
use super::session::Session;
use super::summary::{ConnectionSummary, Discovered, Summary};
use super::turns::{Begin, Turns, WantedConnection, share_of};
use crate::api::share::Turn;
use crate::api::{self, ConnectionId, Kind, wire};
use crate::store::Closed;
use crate::time::UtcText;

pub(super) type ListedConnections = Listed<(ConnectionId, wire::Connection)>;

/// What a task has done.
enum Done {
    Listed(WantedImodel, Kind, Result<ListedConnections, api::Error>),
    Synced(Box<WantedConnection>, Box<ConnectionPart>),
}

/// The whole of a sync.
pub(super) struct Fleet {
    pub(super) session: Arc<Session>,
    pub(super) sizes: Arc<Sizes>,
    pub(super) turns: Turns,
    /// The shares of the time budget of those under way, by their places.
    shares: HashMap<usize, Turn>,
    /// Connections that their iModels' lists no longer name. Another may name them yet, if they moved.
    pub(super) missing: Vec<ConnectionId>,
    /// iModels that answered for at least one kind of connections.
    pub(super) answered: HashSet<String>,
    pub(super) found: Discovered,
    done: Vec<(usize, ConnectionSummary)>,
}

impl Fleet {
    /// Syncs all that the options name, and gives the session back.
    pub(super) async fn sync(session: Session, started_at: UtcText) -> (Summary, Session) {
        let mut fleet = Self {
            session: Arc::new(session),
            sizes: Arc::default(),
            turns: Turns::default(),
            shares: HashMap::new(),
            missing: Vec::new(),
            answered: HashSet::new(),
            found: Discovered::default(),
            done: Vec::new(),
        };
        fleet.add_named().await;
        // A writer that has closed gives the reason when it finishes.
        let _ = fleet.work().await;
        let _ = fleet.mark_quiet(started_at).await;

        let Self { mut done, found, session, .. } = fleet;
        done.sort_by_key(|(place, _)| *place);
        let connections = done.into_iter().map(|(_, summary)| summary).collect();
        let summary = Summary::new(started_at, now(), &session.client, found, connections);
        // `work` has joined or shut down all tasks, and each held the session no longer than it ran.
        let session = Arc::into_inner(session).unwrap_or_else(|| unreachable!("all tasks have ended"));
        (summary, session)
    }

    async fn work(&mut self) -> Result<(), Closed> {
        self.find_imodels().await?;
        let mut tasks = JoinSet::new();
        let ended = self.take_turns(&mut tasks).await;
        // What is still under way shares the archive, which is to be closed.
        tasks.shutdown().await;
        ended?;
        self.mark_missing().await?;

        let left = self.turns.end();
        self.found.unasked = left.unasked;
        self.found.problems.extend(left.problems);
        let again = left.again.into_iter();
        self.done.extend(again.filter_map(|target| Some((target.place, target.earlier?.summary))));

        self.found.is_nothing &= self.found.connections == 0;
        let scope = &self.session.options.scope;
        let is_looking = !scope.itwins.is_empty() || !scope.imodels.is_empty();
        if is_looking && self.found.connections == 0 && self.found.problems.is_empty() {
            let (itwins, imodels) = (scope.itwins.clone(), scope.imodels.clone());
            self.found.is_nothing = true;
            self.found.problems.push(Problem::NothingFound { itwins, imodels });
        }
        Ok(())
    }

    async fn take_turns(&mut self, tasks: &mut JoinSet<Done>) -> Result<(), Closed> {
        loop {
            while tasks.len() < self.session.options.concurrency.max(1) && self.begin(tasks) {}
            self.share_out(tasks.len());
            self.show_progress(tasks.len());
            let Some(joined) = tasks.join_next().await else { return Ok(()) };
            match joined {
                Ok(Done::Synced(target, part)) => self.take_synced(*target, *part),
                Ok(Done::Listed(imodel, kind, listed)) => self.take_listed(imodel, kind, listed).await?,
                Err(error) => {
                    // A task is never aborted while others are awaited, so only a panic is left, which ends
                    // the program as it would have without tasks.
                    if let Ok(panic) = error.try_into_panic() {
                        std::panic::resume_unwind(panic);
                    }
                }
            }
        }
    }

    /// Begins one task, if there is any to begin.
    fn begin(&mut self, tasks: &mut JoinSet<Done>) -> bool {
        let session = self.session.clone();
        match self.turns.next() {
            None => return false,
            Some(Begin::List(imodel, kind)) => {
                let sizes = self.sizes.clone();
                tasks.spawn(async move {
                    let listed = discovery::list_connections(&session.client, &sizes, kind, &imodel.id).await;
                    Done::Listed(imodel, kind, listed)
                });
            }
            Some(Begin::Sync(mut target)) => {
                let share = Turn::default();
                let client = session.client.in_turn(&share);
                self.shares.insert(target.place, share);
                tasks.spawn(async move {
                    let (id, listed) = (target.id.clone(), target.listed.clone());
                    let part = ConnectionTurn::run(&session, client, id, listed, target.earlier.take()).await;
                    Done::Synced(target, Box::new(part))
                });
            }
        }
        true
    }

    /// While others wait, each connection under way has a fair share of what is left of the time budget;
    /// all that is left once nobody waits.
    fn share_out(&self, under_way: usize) {
        let (imodels, connections) = self.turns.waiting();
        let waiting = imodels + connections;
        if waiting == 0 || self.turns.is_stopped() {
            self.shares.values().for_each(Turn::lift);
            return;
        }
        // Without a time budget nobody can be left without a turn.
        let Some(deadline) = self.session.client.deadline() else { return };
        let now = Instant::now();
        let left = deadline.saturating_duration_since(now);
        let length = share_of(left, self.session.options.concurrency, waiting + under_way);
        if let Some(length) = length {
            self.shares.values().for_each(|share| share.limit(now + length));
        }
    }

    fn take_synced(&mut self, mut target: WantedConnection, part: ConnectionPart) {
        let place = target.place;
        self.shares.remove(&place);
        // A turn that gave way to others is not over: what it brought goes along with the connection to its
        // next turn, unless no further turn is begun.
        let mut ended = Some(part);
        if ended.as_ref().is_some_and(|part| part.summary.has_given_way()) {
            target.earlier = ended;
            ended = self.turns.give_way(target).and_then(|target| target.earlier);
        }
        let Some(ConnectionPart { summary, .. }) = ended else { return };
        if summary.problems.is_empty() && !summary.is_quiet {
            self.turns.count_success();
        }
        for reason in summary.problems.iter().filter_map(Problem::reason) {
            self.turns.count_failure(reason, self.session.client.was_accepted());
        }
        self.session.progress.connections.fetch_add(1, Ordering::Relaxed);
        self.done.push((place, summary));
    }

    fn show_progress(&self, under_way: usize) {
        let progress = &self.session.progress;
        let (imodels, connections) = self.turns.waiting();
        progress.imodels.store(self.found.imodels, Ordering::Relaxed);
        progress.imodels_left.store(imodels as u64, Ordering::Relaxed);
        progress.connections_left.store((connections + under_way) as u64, Ordering::Relaxed);
    }

    /// Adds the connections that somebody named, each by the id that it is archived under where that is the same
    /// UUID in other letters. They have their turns like iModels: the one proved longest ago first, so that what
    /// a spent budget leaves over is never the same; those that never were proved before all others.
    async fn add_named(&mut self) {
        let session = self.session.clone();
        let mut proved_at = HashMap::new();
        for id in &session.options.scope.connections {
            // An archive that cannot be read gives its error when the connection itself is looked up.
            let known = if id.may_be_respelled() {
                session.recorder.read(|reader| reader.read_connections()).await.unwrap_or_default()
            } else {
                Vec::new()
            };
            let mut archived = known.into_iter().map(|known| known.id).collect::<Vec<_>>();
            // The same letters come before others.
            archived.sort_by_key(|known| known != id);
            let id =
                archived.into_iter().find(|known| known == id || known.is_same_as(id)).unwrap_or(id.clone());
            let read = session.recorder.read(|reader| reader.read_complete_as_of(&id)).await;
            proved_at.insert(id.clone(), read.ok().flatten());
            self.turns.add_connection(id, None);
        }
        self.turns.sort_connections(|target| proved_at.get(&target.id).copied().flatten());
    }

    /// Marks the connections of which nothing was asked, because nothing had begun: they were listed later than
    /// this sync began, so they are proved as of its beginning.
    async fn mark_quiet(&self, started_at: UtcText) -> Result<(), Closed> {
        let quiet = self.done.iter().filter(|(_, summary)| summary.is_quiet);
        let quiet: Vec<ConnectionId> = quiet.map(|(_, summary)| summary.id.clone()).collect();
        if quiet.is_empty() {
            return Ok(());
        }
        self.session.recorder.ask(move |archive| archive.mark_quiet(&quiet, &started_at)).await
    }

    /// Marks what no list has named: a connection that only moved to another iModel is named by that one's.
    async fn mark_missing(&mut self) -> Result<(), Closed> {
        let missing = std::mem::take(&mut self.missing);
        let missing: Vec<ConnectionId> = missing.into_iter().filter(|id| !self.turns.is_known(id)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        self.session.recorder.ask(move |archive| archive.mark_connections_unlisted(&missing, &now())).await
    }

    /// Adds a problem of the search for connections.
    pub(super) fn add_problem(&mut self, problem: Problem) {
        if let Some(reason) = problem.reason() {
            self.turns.count_failure(reason, self.session.client.was_accepted());
        }
        self.found.problems.push(problem);
    }
}
