//! One connection's turn in a sync: asks what is due, takes the walks in their order, then the runs that are
//! not terminal yet.
//!
//! In: a connection, what a list said of it, if one did, and what its earlier turns brought. Out: a [`ConnectionPart`].
//! What is due is decided in [`super::due`]; a walk itself is in [`super::walking`]. Nothing is asked about
//! a connection whose `lastRun` says that nothing began since all was proved stored.

use super::clock::now;
use super::due::{self, Due, NamedRun, Rules, Waiting, WalkStep, Walks};
use super::due_runs::DueRuns;
use super::interruption::Interruption;
use super::listing::SMALLEST_PAGE;
use super::problem::Problem;
use super::recorder::Ledger;
use super::records::StopSigns;
use super::session::Session;
use super::summary::ConnectionSummary;
use crate::api::wire::{self, LastRun};
use crate::api::{self, Client, ConnectionId, Doing, Reason};
use crate::store::Reader;
use crate::store::checkpoints::ConnectionState;
use crate::store::known::Standing;
use crate::walk::plan;
use crate::walk::{Checkpoint, Plan};

/// One connection's part of a sync, over all its turns.
#[derive(Debug)]
pub(super) struct ConnectionPart {
    pub(super) summary: ConnectionSummary,
    ledger: Ledger,
}

impl ConnectionPart {
    /// A part that is still to begin.
    pub(super) fn new(id: &ConnectionId) -> Self {
        Self { summary: ConnectionSummary::new(id), ledger: Ledger::default() }
    }
}

/// One turn of a connection.
pub(super) struct ConnectionTurn<'a> {
    pub(super) session: &'a Session,
    /// Asks within this connection's share of the time budget.
    pub(super) client: Client,
    pub(super) rules: Rules,
    pub(super) id: ConnectionId,
    /// What the platform said of it before anything of it was walked.
    pub(super) listed: Option<wire::Connection>,
    pub(super) state: ConnectionState,
    pub(super) page_size: u32,
    /// Whether a larger page was refused; what is learned is the first size that then came.
    pub(super) has_shrunk: bool,
    pub(super) learned_page_size: Option<u32>,
    /// Whether a page held the run that the connection names as its last.
    pub(super) has_met_last_run: bool,
    /// Where the walk under way stood before a page that was not stored whole when the sync had to end.
    pub(super) stored_until: Option<Checkpoint>,
    /// Whether the last page was one of a whole listing and held what is not archived.
    pub(super) is_backfilling: bool,
    pub(super) has_walked_full: bool,
    /// Archived runs that are not terminal, due to be asked for, and not met yet.
    pub(super) unfinished: DueRuns,
    pub(super) summary: ConnectionSummary,
    pub(super) ledger: Ledger,
}

impl<'a> ConnectionTurn<'a> {
    pub(super) async fn run(
        session: &'a Session,
        client: Client,
        id: ConnectionId,
        listed: Option<wire::Connection>,
        earlier: Option<ConnectionPart>,
    ) -> ConnectionPart {
        let rules = session.rules(&id, earlier.is_some());
        let ConnectionPart { mut summary, ledger } = earlier.unwrap_or_else(|| ConnectionPart::new(&id));
        summary.begin_turn();
        summary.name = listed.as_ref().and_then(|listed| listed.display_name.clone()).or(summary.name);
        let mut turn = Self {
            session,
            client,
            // Pages of a single run cannot overlap.
            page_size: rules.page_size.max(SMALLEST_PAGE),
            rules,
            id,
            listed,
            state: ConnectionState::default(),
            has_shrunk: false,
            learned_page_size: None,
            has_met_last_run: false,
            stored_until: None,
            is_backfilling: false,
            has_walked_full: false,
            unfinished: DueRuns::default(),
            summary,
            ledger,
        };

        if let Err(stop) = turn.sync().await {
            turn.add_problem(stop).await;
        }
        if !turn.summary.is_quiet {
            // The writer counts, and has counted all once it has done what was sent. If it is gone, its own
            // error is what ends the sync.
            let named = turn.other_id();
            let _ = session
                .recorder
                .ask(move |archive| match named {
                    Some((key, id)) => archive.note_other_id(key, &id, &now()),
                    None => Ok(()),
                })
                .await;
            turn.summary.counts = turn.ledger.counts();
        }
        ConnectionPart { summary: turn.summary, ledger: turn.ledger }
    }

    /// The connection's key and the id that its own answer names, where that is another one than it was asked by
    /// and not the same UUID in other letters.
    fn other_id(&self) -> Option<(i64, String)> {
        let own = self.listed.as_ref().filter(|own| !own.id.is_empty() && own.id != self.id.as_str())?;
        let is_respelled = api::is_respelled(&own.id, self.id.as_str());
        (!is_respelled).then(|| (self.state.connection_key, own.id.clone()))
    }

    async fn sync(&mut self) -> Result<(), Interruption> {
        if self.is_unchanged_at_first_sight().await? {
            self.summary.is_quiet = true;
            return Ok(());
        }
        let own = self.ask_for_spelling().await?;
        self.read_state().await?;
        if let Some(own) = own {
            self.store_own(&own).await?;
            self.listed = Some(own);
        }

        let waiting = if self.unfinished.is_walked_to() { Waiting::Walk } else { Waiting::Requests };
        let named = self.name_last_run(&self.state).await?;
        let named = named.as_ref().map(|(id, standing)| NamedRun { id, standing: *standing });
        match due::plan_walks(&self.state, named, waiting, &self.rules, &now()) {
            Due::Nothing | Due::OnlyUnfinished => {}
            Due::Walks(walks) => self.take_walks(walks).await?,
        }
        self.fetch_unfinished().await
    }

    /// Whether nothing is to be done at all, found out without the writer: so it is for most of a fleet, most of the
    /// time, and waiting for the writer would cost each of them a commit.
    async fn is_unchanged_at_first_sight(&self) -> Result<bool, Interruption> {
        if self.listed.is_none() {
            return Ok(false);
        }
        let recorder = &self.session.recorder;
        let Some(state) = recorder.read(|reader| reader.read_state(&self.id)).await? else {
            return Ok(false);
        };
        // Runs that have not moved for long are due now and then only, so most syncs leave them alone.
        let is_due = |reader: &Reader| Ok(!reader.read_due(state.connection_key, &now(), 1)?.is_empty());
        let is_waited_for = state.unfinished > 0 && recorder.read(is_due).await?;
        let waiting = if is_waited_for { Waiting::Requests } else { Waiting::Nothing };
        let named = self.name_last_run(&state).await?;
        let named = named.as_ref().map(|(id, standing)| NamedRun { id, standing: *standing });
        Ok(due::plan_walks(&state, named, waiting, &self.rules, &now()) == Due::Nothing)
    }

    /// The run that the connection names as its last, and what is archived of it. That is looked up only where
    /// it was named before, since another run proves nothing.
    async fn name_last_run(
        &self,
        state: &ConnectionState,
    ) -> Result<Option<(String, Standing)>, Interruption> {
        let Some(id) = self.last_run_listed() else { return Ok(None) };
        let mut standing = None;
        if due::is_repeated(state, &id) && !self.rules.is_full_asked {
            let read = |reader: &Reader| reader.read_standing(state.connection_key, &id).map(Some);
            standing = self.session.recorder.read(read).await?;
        }
        Ok(Some((id, standing.unwrap_or(Standing::Unknown))))
    }

    /// Takes walks in their order.
    async fn take_walks(&mut self, walks: Walks) -> Result<(), Interruption> {
        self.page_size = walks.page_size;
        for step in walks.steps {
            let goes_on = matches!(step, WalkStep::Resume { .. } | WalkStep::Full { starts_over: true });
            let walked = match step {
                WalkStep::Incremental => self.walk_incremental().await,
                WalkStep::Full { .. } => self.walk_full().await,
                WalkStep::Resume { walk_key, checkpoint, is_last } => {
                    let last_run = self.last_run_listed().filter(|_| is_last);
                    self.walk(Plan::Resume(checkpoint), Some(walk_key), last_run).await
                }
            };
            if goes_on {
                // What the interrupted walk has proved by now decides how the next one finds what is new.
                self.read_state().await?;
            }
            match walked {
                Err(stop) if walks.falls_back && goes_on && is_about_one_page(&stop) => {
                    // Nothing proves yet where the newest runs end, and they must not wait for a page that
                    // cannot be had, or for room on the disk: a few new ones have room where a listing has not.
                    self.add_problem(stop).await;
                    self.walk_newest_unproved().await?;
                    return Ok(());
                }
                walked => walked?,
            }
        }
        Ok(())
    }

    /// A UUID that nothing is archived under may have been typed in other letters than the platform's own, so the
    /// connection is asked how it spells its id before anything is stored under it.
    async fn ask_for_spelling(&mut self) -> Result<Option<wire::Connection>, Interruption> {
        if self.listed.is_some() || !self.id.may_be_respelled() {
            return Ok(None);
        }
        if self.session.recorder.read(|reader| reader.read_state(&self.id)).await?.is_some() {
            return Ok(None);
        }
        let own = self.ask_for_connection().await?;
        if let Some(own) = &own
            && api::is_respelled(&own.id, self.id.as_str())
        {
            self.go_by(&own.id);
        }
        Ok(own)
    }

    /// Takes the id as the platform spells it.
    fn go_by(&mut self, id: &str) {
        // A UUID fits a path in any letters.
        if let Ok(id) = ConnectionId::new(self.id.kind(), id) {
            self.summary.id = id.clone();
            self.id = id;
        }
    }

    async fn read_state(&mut self) -> Result<(), Interruption> {
        self.state = self.session.recorder.read_state(&self.id).await?;
        if self.state.name.as_deref() != Some(self.id.as_str()) {
            self.summary.name = self.state.name.clone().or(self.summary.name.take());
        }
        self.read_unfinished().await
    }

    /// Walks what began since the last complete walk.
    async fn walk_incremental(&mut self) -> Result<(), Interruption> {
        let known = due::listing_known_to_its_end(&self.state, &self.rules, &now());
        let plan = plan::plan_incremental(&known, self.page_size);
        let has_named_before = self.state.last_run_id.is_some();
        let asks_connection = plan.is_none() || has_named_before && plan::is_connection_asked_first(&known);
        if asks_connection && self.listed.is_none() {
            // In one request: whether anything began since the last complete walk.
            self.listed = self.get_connection().await?;
            if let Some((id, standing)) = self.name_last_run(&self.state).await? {
                let named = NamedRun { id: &id, standing };
                if due::is_unchanged(&self.state, named, &self.rules, &now()) {
                    return Ok(());
                }
            }
        }
        let last_run = self.last_run_listed();
        match plan {
            Some(plan) => self.walk(plan, None, last_run).await,
            None => self.walk_full().await,
        }
    }

    pub(super) async fn walk_full(&mut self) -> Result<(), Interruption> {
        if self.listed.is_none() {
            self.listed = self.get_connection().await?;
        }
        let last_run = self.last_run_listed();
        self.walk(Plan::Full, None, last_run).await
    }

    /// Takes the newest runs although no complete walk says where they end.
    async fn walk_newest_unproved(&mut self) -> Result<(), Interruption> {
        self.walk_once(Plan::Newest { listed: None }, StopSigns::Archived, None, None).await.map(drop)
    }

    /// What `lastRun` said before anything was walked.
    pub(super) fn last_run_listed(&self) -> Option<String> {
        self.listed.as_ref().and_then(|listed| listed.last_run.as_stored()).map(str::to_owned)
    }

    /// What the platform says of the connection, stored.
    async fn get_connection(&mut self) -> Result<Option<wire::Connection>, Interruption> {
        let own = self.ask_for_connection().await?;
        if let Some(own) = &own {
            self.store_own(own).await?;
        }
        Ok(own)
    }

    /// What the platform says of the connection. Its runs may be readable where this is not, so only
    /// errors that concern every request end the sync here.
    async fn ask_for_connection(&self) -> Result<Option<wire::Connection>, Interruption> {
        match self.client.get_connection(&self.id).await {
            Ok(connection) => Ok(Some(connection)),
            Err(error) if !error.is_about_one() => Err(error.into()),
            Err(error) => {
                tracing::info!("{error}; its runs are listed all the same");
                Ok(None)
            }
        }
    }

    /// Stores what the connection says of itself, its id as it spells it included.
    async fn store_own(&mut self, own: &wire::Connection) -> Result<(), Interruption> {
        let is_respelled = api::is_respelled(&own.id, self.id.as_str());
        if !is_respelled && !own.id.is_empty() && own.id != self.id.as_str() {
            tracing::info!(
                "connection {} calls itself {:?}; it keeps the id it was asked by",
                self.id,
                own.id
            );
        }
        let (key, own) = (self.state.connection_key, own.clone());
        let id = own.id.clone();
        let store = self.session.recorder.ask(move |archive| {
            archive.store_connection(key, &own)?;
            if is_respelled { archive.respell_connection(key, &own.id) } else { Ok(false) }
        });
        if store.await? {
            self.go_by(&id);
        }
        Ok(())
    }

    /// Whether a listing that is empty, where there were runs, may have some all the same: a service that lost its
    /// role is given an empty listing, too. The connection's own `lastRun` is asked for.
    pub(super) async fn may_have_runs(&mut self) -> Result<bool, Interruption> {
        let Some(connection) = self.get_connection().await? else { return Ok(true) };
        let LastRun::Run(id) = connection.last_run else { return Ok(false) };
        // Where all runs were purged the connection may go on naming one of them.
        match self.client.get_run(&self.id, &id).await {
            Err(error) if error.reason == Reason::NotFound => Ok(false),
            Err(error) if !error.is_about_one() => Err(error.into()),
            Ok(_) | Err(_) => Ok(true),
        }
    }

    /// Adds what stopped something to the summary. A connection whose runs answer 404 is marked as gone.
    pub(super) async fn add_problem(&mut self, stop: Interruption) {
        if let Interruption::Api(error) = &stop
            && error.reason == Reason::NotFound
            && matches!(error.doing, Doing::ListRuns { .. })
        {
            let key = self.state.connection_key;
            // If the writer is gone, its own error is what ends the sync.
            let mark = self.session.recorder.write(move |archive| archive.mark_connection(key, Some(&now())));
            let _ = mark.await;
        }
        self.summary.problems.extend(Problem::of_stop(stop, self.summary.name.clone()));
    }
}

/// Whether a few of the newest runs may be had where a page of a whole listing could not.
fn is_about_one_page(stop: &Interruption) -> bool {
    use Reason::{PageTooLarge, TimedOut, Unavailable, Unreadable};
    match stop {
        Interruption::Api(error) => {
            matches!(error.reason, PageTooLarge | TimedOut { .. } | Unavailable | Unreadable)
        }
        Interruption::NoRoom(_) => true,
        Interruption::Store(_) => false,
    }
}
