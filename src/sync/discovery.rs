//! Lists of what lies above runs, read to their ends: iTwins, the iModels of an iTwin, the connections of
//! an iModel.
//!
//! In: a client and an id. Out: everything listed, each once, and whether the list was read whole. Like
//! a listing of runs, a list ends at an empty page, or at a page that is not full and names no next one.

use std::collections::HashSet;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::value::RawValue;

use crate::api::wire::{self, Cursor, List, More, Named};
use crate::api::{self, Answer, Client, ConnectionId, Kind, Reason};

/// iModels asked for in one page: the most that the platform allows (API notes, section 4).
const IMODELS_PER_PAGE: u32 = 1_000;
/// Connections and iTwins asked for in one page. An iModel has at most 100 (API notes, section 1.9).
const PER_PAGE: u32 = 100;
/// Pages without an entry that are followed to the next one.
const MOST_EMPTY: u32 = 3;

/// What a list held.
#[derive(Debug)]
pub(super) struct Listed<T> {
    /// The entries, each once, in the order sent.
    pub(super) items: Vec<T>,
    /// Why the list may hold more than was read; `None` where it was read whole.
    pub(super) doubt: Option<String>,
    /// How many pages it took.
    pub(super) pages: u64,
    /// Entries without an id that can be used.
    pub(super) unusable: u64,
}

/// The page sizes that were not refused; shared by all lists of their kind.
#[derive(Debug)]
pub(super) struct Sizes {
    imodels: AtomicU32,
    others: AtomicU32,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { imodels: AtomicU32::new(IMODELS_PER_PAGE), others: AtomicU32::new(PER_PAGE) }
    }
}

/// The iTwins that the credentials are a member of.
pub(super) async fn list_itwins(client: &Client, sizes: &Sizes) -> Result<Listed<Named>, api::Error> {
    let mut pages = Pages::new(Cursor::Skip(0), "iTwins");
    while let Some(from) = pages.next() {
        let Cursor::Skip(skip) = *from else { break };
        let (answer, top) =
            ask(&sizes.others, |top| async move { client.list_itwins(skip, top).await }).await?;
        pages.take(client, &api::Doing::ListItwins, answer, top, |raw| {
            Named::read(raw).map(|named| (named.id.clone(), named))
        })?;
    }
    Ok(pages.listed)
}

/// The iModels of an iTwin.
pub(super) async fn list_imodels(
    client: &Client,
    sizes: &Sizes,
    itwin: &str,
) -> Result<Listed<Named>, api::Error> {
    list_some_imodels(client, sizes, itwin, u64::MAX).await
}

/// The iModels of an iTwin on so many pages.
pub(super) async fn list_some_imodels(
    client: &Client,
    sizes: &Sizes,
    itwin: &str,
    most_pages: u64,
) -> Result<Listed<Named>, api::Error> {
    let doing = api::Doing::ListImodels { itwin: itwin.to_owned() };
    let mut pages = Pages::new(Cursor::Token(String::new()), "iModels");
    while let Some(from) = pages.next() {
        let answer =
            ask(&sizes.imodels, |top| async move { client.list_imodels(itwin, from, top).await }).await;
        let (answer, top) = match answer {
            // A service that does not know continuation tokens yet, or no more.
            Err(error) if *from == Cursor::Token(String::new()) && is_about_token(&error) => {
                pages.from = Some(Cursor::Skip(0));
                continue;
            }
            answer => answer?,
        };
        pages.take(client, &doing, answer, top, |raw| {
            Named::read(raw).map(|named| (named.id.clone(), named))
        })?;
        if pages.listed.pages >= most_pages && pages.next().is_some() {
            pages.listed.doubt = Some("only the beginning of the list was asked for".to_owned());
            break;
        }
    }
    Ok(pages.listed)
}

/// The connections of one kind that an iModel has.
pub(super) async fn list_connections(
    client: &Client,
    sizes: &Sizes,
    kind: Kind,
    imodel: &str,
) -> Result<Listed<(ConnectionId, wire::Connection)>, api::Error> {
    let doing = api::Doing::ListConnections { kind, imodel: imodel.to_owned(), skip: 0 };
    let mut pages = Pages::new(Cursor::Skip(0), "connections");
    while let Some(from) = pages.next() {
        let Cursor::Skip(skip) = *from else { break };
        let request = |top| async move { client.list_connections(kind, imodel, skip, top).await };
        let (answer, top) = ask(&sizes.others, request).await?;
        pages.take(client, &doing, answer, top, |raw| {
            let connection = wire::Connection::read(raw)?;
            let id = ConnectionId::new(kind, &connection.id).ok()?;
            Some((id.clone(), (id, connection)))
        })?;
    }
    Ok(pages.listed)
}

/// Asks for a page, and for a smaller one where it is refused as too large; gives the size asked for.
async fn ask<F>(size: &AtomicU32, request: impl Fn(u32) -> F) -> Result<(Answer, u32), api::Error>
where
    F: Future<Output = Result<Answer, api::Error>>,
{
    loop {
        let top = size.load(Ordering::Relaxed);
        match request(top).await {
            Err(error)
                if top > 1 && matches!(error.reason, Reason::PageTooLarge | Reason::TimedOut { .. }) =>
            {
                tracing::info!("{error}; asking for less");
                size.fetch_min(top / 2, Ordering::Relaxed);
            }
            answer => return Ok((answer?, top)),
        }
    }
}

fn is_about_token(error: &api::Error) -> bool {
    let targets = error.problem.details.iter().map(|detail| &detail.target).chain([&error.problem.target]);
    error.reason == Reason::Rejected
        && targets.flatten().any(|target| target.to_ascii_lowercase().contains("continuationtoken"))
}

/// One list under way.
struct Pages<T, K> {
    /// The list's name in the answer.
    name: &'static str,
    from: Option<Cursor>,
    asked: HashSet<Cursor>,
    seen: HashSet<K>,
    received: u64,
    empty: u32,
    listed: Listed<T>,
}

impl<T, K: Eq + Hash> Pages<T, K> {
    fn new(from: Cursor, name: &'static str) -> Self {
        let listed = Listed { items: Vec::new(), doubt: None, pages: 0, unusable: 0 };
        Self {
            name,
            from: Some(from),
            asked: HashSet::new(),
            seen: HashSet::new(),
            received: 0,
            empty: 0,
            listed,
        }
    }

    fn next(&self) -> Option<&Cursor> {
        self.from.as_ref()
    }

    /// Takes what a page held, and says where the list goes on.
    fn take(
        &mut self,
        client: &Client,
        doing: &api::Doing,
        answer: Answer,
        top: u32,
        read: impl Fn(&RawValue) -> Option<(K, T)>,
    ) -> Result<(), api::Error> {
        let page = List::parse(&answer.text, self.name)
            .map_err(|problem| client.unreadable(doing.clone(), &problem))?;
        self.asked.extend(self.from.take());
        self.listed.pages += 1;
        self.received += page.items.len() as u64;
        let before = self.seen.len();
        let mut unusable = 0;
        for raw in &page.items {
            match read(raw) {
                None => unusable += 1,
                Some((key, item)) => {
                    if self.seen.insert(key) {
                        self.listed.items.push(item);
                    }
                }
            }
        }
        self.listed.unusable += unusable;
        let is_empty = page.items.is_empty();
        let has_token = page.token.is_some();
        let is_short = page.items.len() < top as usize;
        let is_last = page.more == More::NoNext && (is_short || is_empty);
        self.empty = if is_empty { self.empty + 1 } else { 0 };
        if is_last || is_empty && (!has_token || self.empty >= MOST_EMPTY) {
            return Ok(());
        }
        if self.seen.len() == before && unusable == 0 && !is_empty {
            self.listed.doubt = Some(format!("a page of the list of {} held nothing unseen", self.name));
            return Ok(());
        }
        let next = page.token.map_or(Cursor::Skip(self.received), Cursor::Token);
        if self.asked.contains(&next) {
            self.listed.doubt = Some(format!("the list of {} came round to where it was", self.name));
            return Ok(());
        }
        self.from = Some(next);
        Ok(())
    }
}
