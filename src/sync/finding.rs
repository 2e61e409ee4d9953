//! Finds connections: asks iTwins for their iModels and iModels for their connections, and stores what they
//! list. What is no longer listed is kept, and marked where that is sure.
//!
//! In: the scope. Out: turns for [`super::turns`], rows, and problems. What an answer says of an iModel is
//! decided in [`super::expected`].

use std::collections::HashSet;

use super::clock::now;
use super::discovery::{self, Listed};
use super::expected::{
    Expected, ListAnswer, Presence, Probe, WantedImodel, expect_imodels, judge, judge_probe,
};
use super::fleet::{Fleet, ListedConnections};
use super::problem::{ListOf, Problem};
use crate::api::wire::Named;
use crate::api::{self, ConnectionId, Kind, Reason};
use crate::store::Closed;
use crate::store::fleet::KnownImodel;

impl Fleet {
    /// Asks iTwins for their iModels, and has these and the named ones asked for their connections.
    pub(super) async fn find_imodels(&mut self) -> Result<(), Closed> {
        let scope = self.session.options.scope.clone();
        let itwins = if scope.itwins.is_empty() { Vec::new() } else { self.list_itwins().await };
        let mut imodels: Vec<WantedImodel> = Vec::new();
        for id in scope.imodels {
            let named = id.clone();
            let read = self.session.recorder.ask(move |archive| {
                archive.upsert_imodel(&named, &now())?;
                archive.read_imodel(&named)
            });
            imodels.push(WantedImodel::named(id, read.await?));
        }

        for itwin in scope.itwins {
            if self.turns.is_stopped() {
                break;
            }
            let named = itwins.iter().find(|named| named.id == itwin);
            let named = named.or_else(|| itwins.iter().find(|named| is_same_id(&named.id, &itwin))).cloned();
            // The platform's own list says how its UUID is spelled.
            let itwin = named.as_ref().map_or(itwin, |named| named.id.clone());
            let id = itwin.clone();
            let read = self.session.recorder.ask(move |archive| {
                archive.store_itwin(&id, named.as_ref(), &now())?;
                archive.read_imodels(&id)
            });
            let known = read.await?;
            self.found.itwins += 1;
            imodels.extend(self.find_imodels_of(&itwin, known).await?);
        }
        self.turns.set_imodels(imodels, &scope.kinds);
        Ok(())
    }

    /// What iTwins are called. Nothing depends on it, so a failure is no problem of the sync.
    async fn list_itwins(&self) -> Vec<Named> {
        let wanted = &self.session.options.scope.itwins;
        match discovery::list_itwins(&self.session.client, &self.sizes, wanted).await {
            Ok(listed) => listed.items,
            Err(error) => {
                tracing::info!("{error}; iTwins go by their ids");
                Vec::new()
            }
        }
    }

    async fn find_imodels_of(
        &mut self,
        itwin: &str,
        known: Vec<KnownImodel>,
    ) -> Result<Vec<WantedImodel>, Closed> {
        let id = itwin.to_owned();
        let listed = match discovery::list_imodels(&self.session.client, &self.sizes, itwin).await {
            Ok(listed) => listed,
            Err(error) => {
                let reason = error.reason;
                self.add_problem(Problem::Answered { name: None, error });
                if reason == Reason::NotFound {
                    let mark =
                        self.session.recorder.ask(move |archive| archive.mark_itwin(&id, Some(&now())));
                    mark.await?;
                }
                // Those that it listed before may be there all the same, unless it is gone or out of sight.
                let is_gone = matches!(reason, Reason::NotFound | Reason::Forbidden);
                let before = known.into_iter().filter(|known| known.is_listed && !is_gone);
                return Ok(before.map(|known| WantedImodel::known(known, Expected::Listed)).collect());
            }
        };

        let list = ListOf::Imodels { itwin: itwin.to_owned() };
        self.add_doubts(&list, &listed);
        let (imodels, emptied) = expect_imodels(&listed, known);
        if let Some(before) = emptied {
            self.found.is_nothing = true;
            self.add_problem(Problem::Emptied { list, before, known: None });
        }
        let items = listed.items;
        let store = self.session.recorder.ask(move |archive| {
            archive.mark_itwin(&id, None)?;
            archive.store_imodels(&id, &items, &now())
        });
        store.await?;
        Ok(imodels)
    }

    /// Says of a list whether it may be more than what came, and how many of its entries had no id.
    fn add_doubts<T>(&mut self, list: &ListOf, listed: &Listed<T>) {
        if let Some(doubt) = listed.doubt.clone() {
            self.add_problem(Problem::InDoubt { list: Some(list.clone()), doubt });
        }
        if listed.unusable > 0 {
            self.add_problem(Problem::Unusable { list: list.clone(), count: listed.unusable });
        }
    }

    /// Takes what asking an iModel for its connections of one kind brought.
    pub(super) async fn take_listed(
        &mut self,
        imodel: WantedImodel,
        kind: Kind,
        listed: Result<ListedConnections, api::Error>,
    ) -> Result<(), Closed> {
        if listed.is_ok() && self.answered.insert(imodel.id.clone()) {
            self.found.imodels += 1;
        }
        let presence = match listed {
            Ok(listed) => self.take_connections(&imodel, kind, listed).await?,
            Err(error) => self.take_error(&imodel, kind, error).await,
        };
        let is_gone = self.turns.count_presence(&imodel, presence);
        if is_gone && imodel.expected == Expected::Missing {
            tracing::warn!(
                "iModel {}: its iTwin no longer lists it, and neither is there a connection of it; what is \
                 archived stays",
                imodel.name
            );
        }
        let requests = self.session.client.requests();
        let write = self.session.recorder.write_with_requests(requests, move |archive| {
            if is_gone {
                archive.mark_imodel_unlisted(&imodel.id, &now())?;
            }
            // An iModel that failed counts as asked, or those that fail would come first in every sync. One kind
            // that answers is enough, or a kind that is down would keep every iModel from being marked.
            if presence == Presence::Unasked { Ok(()) } else { archive.note_asked(&imodel.id, &now()) }
        });
        write.await
    }

    /// Takes the connections that an iModel lists.
    async fn take_connections(
        &mut self,
        imodel: &WantedImodel,
        kind: Kind,
        mut listed: ListedConnections,
    ) -> Result<Presence, Closed> {
        self.turns.count_list(kind);
        let read = self.session.recorder.read(|reader| reader.read_listed_connections(&imodel.id, kind));
        let before = match read.await {
            Ok(before) => before,
            Err(error) => {
                self.add_problem(Problem::Archive { name: None, error });
                return Ok(Presence::Unclear);
            }
        };
        if listed.pages > 1 && lacks_any(&listed, &before) {
            match self.list_again(imodel, kind, listed).await {
                Ok(both) => listed = both,
                Err(error) => return Ok(self.take_error(imodel, kind, error).await),
            }
        }

        self.add_doubts(&list_of(imodel, kind), &listed);
        // An entry without an id may be any of those that were not met.
        let is_whole = listed.doubt.is_none() && listed.unusable == 0;
        let mut moved = None;
        let mut answer = ListAnswer::Some;
        if listed.items.is_empty() {
            answer = ListAnswer::Nothing;
            if is_whole && let Some(one) = before.first() {
                match self.probe(imodel, kind, one, before.len()).await? {
                    Probe::Gone => {}
                    Probe::Moved => moved = Some(one.clone()),
                    Probe::Known | Probe::OutOfSight | Probe::Failed => answer = ListAnswer::Lost,
                }
            }
        }
        let judgement = judge(imodel.expected, answer);
        if is_whole && judgement.presence == Presence::Unclear {
            return Ok(Presence::Unclear);
        }

        self.found.connections += listed.items.len() as u64;
        self.found.new_connections +=
            self.session.recorder.store_connections(&imodel.id, &listed.items).await?;
        if is_whole {
            let is_listed = |id: &ConnectionId| listed.items.iter().any(|(listed, _)| listed.is_same_as(id));
            let missing = before.into_iter().filter(|id| !is_listed(id) && Some(id) != moved.as_ref());
            self.missing.extend(missing);
        }
        for (id, connection) in listed.items {
            self.turns.add_connection(id, Some(connection));
        }
        Ok(judgement.presence)
    }

    /// Lists an iModel's connections once more and adds what the first list lacked: a list that shifts while it is
    /// read may hide an entry between two pages; not twice.
    async fn list_again(
        &self,
        imodel: &WantedImodel,
        kind: Kind,
        mut listed: ListedConnections,
    ) -> Result<ListedConnections, api::Error> {
        let again = discovery::list_connections(&self.session.client, &self.sizes, kind, &imodel.id).await?;
        let ids: HashSet<ConnectionId> = listed.items.iter().map(|(id, _)| id.clone()).collect();
        listed.items.extend(again.items.into_iter().filter(|(id, _)| !ids.contains(id)));
        listed.doubt = listed.doubt.or(again.doubt);
        Ok(listed)
    }

    /// Asks for one of the connections that were listed, by its id, where the list is empty now: a service that lost
    /// its role is given an empty list, too.
    async fn probe(
        &mut self,
        imodel: &WantedImodel,
        kind: Kind,
        one: &ConnectionId,
        before: usize,
    ) -> Result<Probe, Closed> {
        let answer = self.session.client.get_connection(one).await;
        let has_moved = |own: &api::wire::Connection| {
            own.imodel_id.as_deref().is_some_and(|now| !is_same_id(now, &imodel.id))
        };
        let said = answer.as_ref().map(has_moved).map_err(|error| error.reason);
        let probe = judge_probe(imodel.expected, said);
        match (probe, answer) {
            (Probe::Moved, Ok(own)) => {
                // The iModel that it moved to may not be one of those that are asked.
                let one = one.clone();
                let store = self.session.recorder.ask(move |archive| {
                    let key = archive.upsert_connection(&one, &now())?;
                    archive.store_connection(key, &own)
                });
                store.await?;
            }
            (Probe::Known, _) => {
                let list = list_of(imodel, kind);
                self.add_problem(Problem::Emptied { list, before, known: Some(one.clone()) });
            }
            (Probe::Failed, Err(error)) => self.add_problem(Problem::Answered { name: None, error }),
            _ => {}
        }
        Ok(probe)
    }

    /// Takes the error of a list of an iModel's connections.
    async fn take_error(&mut self, imodel: &WantedImodel, kind: Kind, error: api::Error) -> Presence {
        let judgement = judge(imodel.expected, ListAnswer::Failed(error.reason));
        if judgement.is_list_gone {
            let read = self.session.recorder.read(|reader| reader.read_listed_connections(&imodel.id, kind));
            // An archive that cannot be read any more ends the sync where something is written.
            self.missing.extend(read.await.unwrap_or_default());
        }
        if judgement.is_outage {
            self.turns.count_outage(kind);
        }
        match judgement {
            // The error names the iModel by the id that somebody gave.
            judgement if judgement.is_problem && judgement.presence == Presence::Gone => {
                self.add_problem(Problem::Answered { name: None, error });
            }
            judgement if judgement.is_problem => {
                self.add_problem(Problem::Answered { name: imodel.own_name(), error });
            }
            judgement if judgement.is_list_gone => tracing::info!("{error}; what is archived of it stays"),
            _ => tracing::info!("{error}; nothing is concluded from it"),
        }
        judgement.presence
    }
}

/// Whether any of the connections that were listed before is not among these.
fn lacks_any(listed: &ListedConnections, before: &[ConnectionId]) -> bool {
    let ids: HashSet<&ConnectionId> = listed.items.iter().map(|(id, _)| id).collect();
    before.iter().any(|id| !ids.contains(id))
}

/// Whether two ids name the same iTwin or iModel.
fn is_same_id(one: &str, other: &str) -> bool {
    one == other || api::is_respelled(one, other)
}

fn list_of(imodel: &WantedImodel, kind: Kind) -> ListOf {
    ListOf::Connections { kind, imodel: imodel.name.clone() }
}
