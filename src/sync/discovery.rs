//! Lists of what lies above runs, read to their ends: iTwins, the iModels of an iTwin, the connections of
//! an iModel.
//!
//! In: a client and an id. Out: everything listed, each once, and whether the list was read whole. Like
//! a listing of runs, a list ends at an empty page, or at a page that is not full and names no next one;
//! one that goes on by tokens ends where there is none. [`ListPages`] decides that without any request.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::value::RawValue;
use xxhash_rust::xxh3::xxh3_128;

use crate::api::wire::{self, Cursor, List, More, Named};
use crate::api::{self, Answer, Client, ConnectionId, Kind, Reason};

/// iModels asked for in one page: the most that the platform allows (API notes, section 4).
const IMODELS_PER_PAGE: u32 = 1_000;
/// Connections and iTwins asked for in one page. An iModel has at most 100 (API notes, section 1.9).
const PER_PAGE: u32 = 100;
/// ListPages without an entry in a row that are followed to the next one: where much is out of sight, they
/// may be many.
const MOST_EMPTY: u32 = 50;
/// Entries that a list still gives in good time, if it gives any.
const FEW: u32 = 10;

/// What a list held.
#[derive(Debug)]
pub(super) struct Listed<T> {
    /// The entries, each once, in the order sent.
    pub(super) items: Vec<T>,
    /// Why the list may hold more than was read; `None` where it was read whole.
    pub(super) doubt: Option<ListDoubt>,
    pub(super) pages: u64,
    /// Entries without an id that can be used.
    pub(super) unusable: u64,
}

/// Why a list may hold more than was read of it; the name is the list's in the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListDoubt {
    /// Only its beginning was asked for.
    Beginning,
    /// So many pages in a row held nothing.
    EmptyPages { count: u32, name: &'static str },
    /// A page held nothing that others had not held.
    NothingNew(&'static str),
    /// The next page is one that was read.
    CameRound(&'static str),
}

impl fmt::Display for ListDoubt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Beginning => f.write_str("only the beginning of the list was asked for"),
            Self::EmptyPages { count, name } => write!(f, "{count} pages in a row held none of the {name}"),
            Self::NothingNew(name) => write!(f, "a page of the list of {name} held nothing unseen"),
            Self::CameRound(name) => write!(
                f,
                "the list of {name} names a page as its next that was read before, so it was left there"
            ),
        }
    }
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

/// The iTwins that the credentials are a member of, at least until all of those wanted were met; all of them
/// where none is wanted in particular.
pub(super) async fn list_itwins(
    client: &Client,
    sizes: &Sizes,
    wanted: &[String],
) -> Result<Listed<Named>, api::Error> {
    let mut pages = ListPages::new(Cursor::Skip(0), "iTwins");
    let mut left: HashSet<&str> = wanted.iter().map(String::as_str).collect();
    while let Some(from) = pages.next() {
        let Cursor::Skip(skip) = *from else { break };
        let request = |top| async move { client.list_itwins(skip, top).await };
        let (answer, top) = ask(&sizes.others, request).await?;
        let page = parse(client, &api::Doing::ListItwins, &answer, pages.name)?;
        pages.take(&page, top, |raw| {
            let named = Named::read(raw)?;
            left.retain(|wanted| *wanted != named.id && !api::is_respelled(wanted, &named.id));
            Some((named.id.clone(), named))
        });
        if !wanted.is_empty() && left.is_empty() {
            break;
        }
    }
    Ok(pages.listed)
}

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
    let mut pages = ListPages::new(Cursor::Token(String::new()), "iModels");
    while let Some(from) = pages.next() {
        let request = |top| async move { client.list_imodels(itwin, from, top).await };
        let (answer, top) = match ask(&sizes.imodels, request).await {
            // A service that has no continuation tokens yet, or no longer, refuses them and is asked by `$skip`.
            Err(error) if *from == Cursor::Token(String::new()) && is_about_token(&error) => {
                pages.from = Some(Cursor::Skip(0));
                continue;
            }
            answer => answer?,
        };
        let page = parse(client, &doing, &answer, pages.name)?;
        pages.take(&page, top, |raw| Named::read(raw).map(|named| (named.id.clone(), named)));
        if pages.listed.pages >= most_pages && pages.next().is_some() {
            pages.listed.doubt = Some(ListDoubt::Beginning);
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
    let mut pages = ListPages::new(Cursor::Skip(0), "connections");
    while let Some(from) = pages.next() {
        let Cursor::Skip(skip) = *from else { break };
        let request = |top| async move { client.list_connections(kind, imodel, skip, top).await };
        let (answer, top) = ask(&sizes.others, request).await?;
        let page = parse(client, &doing, &answer, pages.name)?;
        pages.take(&page, top, |raw| {
            let connection = wire::Connection::read(raw)?;
            let id = ConnectionId::new(kind, &connection.id).ok()?;
            Some((id.clone(), (id, connection)))
        });
    }
    Ok(pages.listed)
}

fn parse<'a>(
    client: &Client,
    doing: &api::Doing,
    answer: &'a Answer,
    name: &'static str,
) -> Result<List<'a>, api::Error> {
    List::parse(&answer.text, name).map_err(|problem| client.unreadable(doing.clone(), &problem))
}

/// Asks for a page, and for a smaller one where it is refused as too large; gives the size asked for.
async fn ask<F>(size: &AtomicU32, request: impl Fn(u32) -> F) -> Result<(Answer, u32), api::Error>
where
    F: Future<Output = Result<Answer, api::Error>>,
{
    let mut top = size.load(Ordering::Relaxed);
    loop {
        match request(top).await {
            Err(error) if error.reason == Reason::PageTooLarge && top > 1 => {
                tracing::info!("{error}; asking for less");
                top = (top / 2).min(size.fetch_min(top / 2, Ordering::Relaxed));
            }
            // That it takes long may have other causes: what others ask for changes once less has come.
            Err(error) if matches!(error.reason, Reason::TimedOut { .. }) && top > FEW => {
                tracing::info!("{error}; asking for less");
                top = (top / 10).max(FEW);
            }
            Err(error) => return Err(error),
            Ok(answer) => {
                size.fetch_min(top, Ordering::Relaxed);
                return Ok((answer, top));
            }
        }
    }
}

fn is_about_token(error: &api::Error) -> bool {
    let targets = error.problem.details.iter().map(|detail| &detail.target).chain([&error.problem.target]);
    error.reason == Reason::Rejected
        && targets.flatten().any(|target| target.to_ascii_lowercase().contains("continuationtoken"))
}

/// What an entry is known by.
#[derive(Debug, PartialEq, Eq, Hash)]
enum EntryKey<K> {
    Id(K),
    /// The XXH3-128 of its text, where it has none.
    Text(u128),
}

/// One list under way: what its pages held, and where it goes on.
struct ListPages<T, K> {
    /// The list's name in the answer.
    name: &'static str,
    from: Option<Cursor>,
    asked: HashSet<Cursor>,
    seen: HashSet<EntryKey<K>>,
    received: u64,
    empty: u32,
    listed: Listed<T>,
}

impl<T, K: Eq + Hash> ListPages<T, K> {
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

    /// What to ask for next; nothing once the list has ended.
    fn next(&self) -> Option<&Cursor> {
        self.from.as_ref()
    }

    /// Takes a page that `top` entries were asked for.
    fn take(&mut self, page: &List<'_>, top: u32, mut read: impl FnMut(&RawValue) -> Option<(K, T)>) {
        let is_by_token = matches!(self.from, Some(Cursor::Token(_)));
        self.asked.extend(self.from.take());
        self.listed.pages += 1;
        self.received += page.items.len() as u64;
        let before = self.seen.len();
        for raw in &page.items {
            match read(raw) {
                Some((key, item)) => {
                    if self.seen.insert(EntryKey::Id(key)) {
                        self.listed.items.push(item);
                    }
                }
                None => {
                    let text = xxh3_128(raw.get().as_bytes());
                    self.listed.unusable += u64::from(self.seen.insert(EntryKey::Text(text)));
                }
            }
        }
        self.from = self.plan(page, top, is_by_token, self.seen.len() > before);
    }

    /// Where the list goes on after this page, if it does.
    fn plan(&mut self, page: &List<'_>, top: u32, is_by_token: bool, is_news: bool) -> Option<Cursor> {
        let next = page.token.clone().map_or(Cursor::Skip(self.received), Cursor::Token);
        let is_asked = self.asked.contains(&next);
        if page.items.is_empty() {
            self.empty += 1;
            // With another token there may be something further on.
            if page.more == More::NoNext || page.token.is_none() || is_asked {
                return None;
            }
            if self.empty >= MOST_EMPTY {
                return self.doubt(ListDoubt::EmptyPages { count: self.empty, name: self.name });
            }
            return Some(next);
        }
        self.empty = 0;
        // A page may be full by chance, except where a token would name the next one.
        if page.more == More::NoNext && (is_by_token || page.items.len() < top as usize) {
            return None;
        }
        if !is_news {
            return self.doubt(ListDoubt::NothingNew(self.name));
        }
        if is_asked {
            return self.doubt(ListDoubt::CameRound(self.name));
        }
        Some(next)
    }

    fn doubt(&mut self, why: ListDoubt) -> Option<Cursor> {
        self.listed.doubt = Some(why);
        None
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;
    use serde_json::{Value, json};

    use super::*;

    /// How a service in memory pages its list.
    #[derive(Debug, Clone, Copy, PartialEq)]
    enum Style {
        /// By tokens; `next` is null at the end.
        Tokens,
        /// By tokens, with one on the last page, too: what follows is empty.
        TokensToTheEnd,
        /// By `$skip`, with `next` where there is more.
        Skip,
        /// By `$skip`, with `next` always.
        SkipNextAlways,
        /// By `$skip`, without links.
        SkipUnsaid,
    }

    #[derive(Debug, Clone)]
    struct Service {
        ids: Vec<u32>,
        style: Style,
        cap: usize,
        /// ListPages of fewer entries than there are, by chance.
        short: Vec<bool>,
        /// Entries without an id, behind each so many others.
        nameless_every: Option<usize>,
    }

    impl Service {
        fn entries(&self) -> Vec<Value> {
            let mut entries = Vec::new();
            for (at, id) in self.ids.iter().enumerate() {
                entries.push(json!({"id": id.to_string()}));
                if self.nameless_every.is_some_and(|every| at % every == 0) {
                    entries.push(json!({"name": format!("nameless {at}")}));
                }
            }
            entries
        }

        fn page(&self, from: &Cursor, top: u32, number: usize) -> String {
            let entries = self.entries();
            let at = match from {
                Cursor::Token(token) => token.parse().unwrap_or(0),
                Cursor::Skip(skip) => *skip as usize,
            };
            let at = at.min(entries.len());
            let mut size = self.cap.min(top as usize);
            if self.short.get(number).is_some_and(|short| *short) {
                size = size.div_ceil(2);
            }
            let to = (at + size).min(entries.len());
            let is_last = to == entries.len();
            let token = || json!({"href": format!("https://h/x?$continuationToken={to}")});
            let skip = || json!({"href": format!("https://h/x?$skip={to}")});
            let next = match self.style {
                Style::Tokens if is_last => Value::Null,
                Style::Tokens | Style::TokensToTheEnd => token(),
                Style::Skip if is_last => Value::Null,
                Style::Skip | Style::SkipNextAlways => skip(),
                Style::SkipUnsaid => return json!({"items": &entries[at..to]}).to_string(),
            };
            json!({"items": &entries[at..to], "_links": {"next": next}}).to_string()
        }
    }

    fn read(raw: &RawValue) -> Option<(String, String)> {
        Named::read(raw).map(|named| (named.id.clone(), named.id))
    }

    /// Reads a list to its end; gives how many requests that took, too.
    fn drive(start: Cursor, top: u32, page: impl Fn(&Cursor, usize) -> String) -> (Listed<String>, usize) {
        let mut pages = ListPages::new(start, "items");
        let mut requests = 0;
        while let Some(from) = pages.next() {
            let text = page(from, requests);
            requests += 1;
            assert!(requests < 1_000, "the list does not end");
            pages.take(&List::parse(&text, "items").unwrap(), top, read);
        }
        (pages.listed, requests)
    }

    fn any_service() -> impl Strategy<Value = Service> {
        let styles =
            [Style::Tokens, Style::TokensToTheEnd, Style::Skip, Style::SkipNextAlways, Style::SkipUnsaid];
        let nameless = prop::option::of(1_usize..9);
        let short = prop::collection::vec(any::<bool>(), 0..40);
        (0_u32..90, prop::sample::select(styles.to_vec()), 1_usize..30, short, nameless).prop_map(
            |(count, style, cap, short, nameless_every)| Service {
                ids: (0..count).collect(),
                style,
                cap,
                short,
                nameless_every,
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: Some(Box::new(FileFailurePersistence::Off)), ..ProptestConfig::default() })]

        #[test]
        fn a_list_that_stands_still_is_read_whole_however_it_is_paged(service in any_service(), top in 1_u32..40) {
            let start = match service.style {
                Style::Tokens | Style::TokensToTheEnd => Cursor::Token(String::new()),
                _ => Cursor::Skip(0),
            };
            let (listed, requests) = drive(start, top, |from, number| service.page(from, top, number));
            let ids: Vec<String> = service.ids.iter().map(u32::to_string).collect();
            prop_assert_eq!(&listed.items, &ids);
            prop_assert_eq!(&listed.doubt, &None);
            let nameless = service.entries().len() - ids.len();
            prop_assert_eq!(listed.unusable, nameless as u64);
            let smallest = service.cap.min(top as usize).div_ceil(2);
            prop_assert!(requests <= service.entries().len().div_ceil(smallest) + 2, "{} requests", requests);
        }

        #[test]
        fn a_list_that_answers_anything_ends_and_gives_each_entry_once(
            answers in prop::collection::vec((prop::collection::vec(0_u32..12, 0..6), 0_u8..5, 0_u8..6), 1..8),
            is_by_token in any::<bool>(), top in 1_u32..8,
        ) {
            let start = if is_by_token { Cursor::Token(String::new()) } else { Cursor::Skip(0) };
            let (listed, _) = drive(start, top, |_, number| {
                let (ids, next, token) = &answers[number % answers.len()];
                // Every fifth id is none.
                let entry = |id: &u32| if id.is_multiple_of(5) { json!([id]) } else { json!({"id": id.to_string()}) };
                let items: Vec<Value> = ids.iter().map(entry).collect();
                let next = match next {
                    0 => return json!({"items": items}).to_string(),
                    1 => Value::Null,
                    2 => json!({"href": "https://h/x"}),
                    _ => json!({"href": format!("https://h/x?$continuationToken=t{token}")}),
                };
                json!({"items": items, "_links": {"next": next}}).to_string()
            });
            let distinct: BTreeSet<&String> = listed.items.iter().collect();
            prop_assert_eq!(distinct.len(), listed.items.len());
        }
    }

    #[test]
    fn a_full_page_is_the_last_where_no_token_names_another() {
        let service = Service {
            ids: (0..10).collect(),
            style: Style::Tokens,
            cap: 10,
            short: vec![],
            nameless_every: None,
        };
        let (listed, requests) =
            drive(Cursor::Token(String::new()), 10, |from, at| service.page(from, 10, at));
        assert_eq!((listed.items.len(), listed.doubt, requests), (10, None, 1));
    }

    #[test]
    fn empty_pages_are_followed_by_their_tokens_but_not_for_ever() {
        let page = |last: usize| {
            move |_: &Cursor, number: usize| {
                let next = json!({"href": format!("https://h/x?$continuationToken={number}")});
                match number == last {
                    true => json!({"items": [{"id": "late"}], "_links": {"next": null}}).to_string(),
                    false => json!({"items": [], "_links": {"next": next}}).to_string(),
                }
            }
        };
        let (listed, _) = drive(Cursor::Token(String::new()), 10, page(20));
        assert_eq!((listed.items, listed.doubt), (vec!["late".to_owned()], None));
        let (listed, requests) = drive(Cursor::Token(String::new()), 10, page(usize::MAX));
        assert_eq!((listed.items.len(), requests), (0, 50));
        assert!(listed.doubt.is_some());
    }
}
