//! What the emulated platform holds, and its right answer to each request.
//!
//! In: a request already read apart by `asked`. Out: a reply. No sockets and no waiting: those belong to the
//! server, texts to `answer`, unkindness to `faults`, the way from an iTwin to its iModels to `discovery`.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use url::form_urlencoded;

use super::answer::{self, Reply, Span};
use super::asked::{Asked, Headers, Query};
use super::discovery::{Imodel, Itwin};
use super::faults::{Answer, Faults, Shift};
use super::listing::{Listing, Order, Run, hash};
use crate::api::{Kind, is_respelled};

/// The whole state of an emulated platform; clone one to start another from it.
#[derive(Clone, Debug, Default)]
pub struct Platform {
    /// The connections of every kind by their ids.
    pub connections: BTreeMap<String, Connection>,
    /// The iTwins by their ids.
    pub itwins: BTreeMap<String, Itwin>,
    /// The iModels of all iTwins by their ids.
    pub imodels: BTreeMap<String, Imodel>,
    /// What it does wrong.
    pub faults: Faults,
    /// Whom it lets in.
    pub access: Access,
}

/// One connection and its runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Connection {
    /// What it does. It and its runs are found under the path of its kind only.
    pub kind: Kind,
    /// The iModel it exports or synchronizes.
    pub imodel_id: String,
    /// The iTwin of that iModel.
    pub itwin_id: String,
    /// Its name for people.
    pub display_name: String,
    /// `User` or `Service`.
    pub authentication_type: String,
    /// Its runs.
    pub listing: Listing,
    /// How they are listed.
    pub order: Order,
    /// All its endpoints answer with this status (403, 404); lists of connections leave it out.
    pub status: Option<u16>,
    /// Runs that answer 404 when asked for by id, although they may be listed.
    pub hidden_by_id: BTreeSet<String>,
    /// Runs of the listing that exist by id but are not listed.
    pub unlisted: BTreeSet<String>,
}

impl Connection {
    /// An Export connection of authentication type `User` with this name and these runs, newest first.
    #[must_use]
    pub fn new(display_name: &str, listing: Listing) -> Connection {
        Connection {
            imodel_id: "a0471655-6b18-419e-ab01-ebf4fbff9dff".to_owned(),
            itwin_id: "5e4b8a92-30cd-4f6e-9d0c-1f2a3b4c5d6e".to_owned(),
            display_name: display_name.to_owned(),
            authentication_type: "User".to_owned(),
            listing,
            ..Connection::default()
        }
    }
}

/// Whom the platform lets in. With neither tokens nor clients any token will do, but there must be one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Ready bearer tokens that are accepted.
    pub tokens: BTreeSet<String>,
    /// Service applications: secret by client id. Without any, a token is issued to everyone who asks.
    pub clients: BTreeMap<String, String>,
    /// How long an issued token lives.
    pub token_seconds: u64,
    /// After so many accepted requests an issued token is refused: expiry without waiting.
    pub token_uses: Option<u32>,
    /// How many tokens were issued; they are called `emulated-token-1`, `emulated-token-2`, ...
    pub issued: u32,
    /// What became of the tokens issued, by token.
    pub given: BTreeMap<String, Given>,
    /// No token is accepted any more. Tokens are issued all the same.
    pub refuse_all: bool,
}

/// An issued token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// Requests accepted with it.
    pub uses: u32,
    /// When it expires.
    pub until: Instant,
}

impl Default for Access {
    fn default() -> Access {
        Access {
            tokens: BTreeSet::new(),
            clients: BTreeMap::new(),
            token_seconds: 3600,
            token_uses: None,
            issued: 0,
            given: BTreeMap::new(),
            refuse_all: false,
        }
    }
}

impl Platform {
    /// Changes a listing.
    pub fn apply(&mut self, shift: Shift) {
        let Some(connection) = self.connections.get_mut(shift.connection()) else {
            return;
        };
        let listing = &mut connection.listing;
        match shift {
            Shift::InsertNewest { run, .. } => listing.push_newest(run),
            Shift::InsertOldest { run, .. } => listing.push_oldest(run),
            Shift::Remove { index, .. } => drop(listing.remove(index)),
            Shift::RemoveId { id, .. } => drop(listing.remove_id(&id)),
            Shift::Replace { run, .. } => drop(listing.replace(run)),
        }
    }

    /// The scripted answer to this request, if there is one; it has then been used.
    pub(super) fn scripted(&mut self, asked: &Asked, query: &Query) -> Option<Answer> {
        let default_page = self.faults.default_page;
        let entry = self.faults.script.iter_mut().find_map(|entry| {
            (asked.is_for(&entry.on, query, default_page) && entry.take_turn()).then_some(entry)
        })?;
        Some(entry.answer.clone())
    }

    /// The right answer; `base` is the emulator's own address, `body` the request's.
    pub(super) fn answer(
        &mut self,
        asked: &Asked,
        query: &Query,
        headers: &Headers<'_>,
        base: &str,
        body: &[u8],
    ) -> Reply {
        if *asked == Asked::Token {
            return self.access.issue(body);
        }
        if let Err(refusal) = self.access.check(headers.authorization) {
            return refusal;
        }
        let (asked, query) = (&self.in_own_letters(asked), &self.query_in_own_letters(query));
        if let Some((kind, id)) = asked.connection() {
            let held = self.connections.get(id).filter(|connection| connection.kind == kind);
            match held.map(|connection| connection.status) {
                None => return answer::connection_not_found(),
                Some(Some(status)) => return answer::documented(status, asked),
                Some(None) => {}
            }
        }
        match asked {
            Asked::ListItwins => self.list_itwins(query, base),
            Asked::ListImodels => self.list_imodels(query, headers, base),
            Asked::ListConnections { kind } => self.list_connections(*kind, query, headers, base),
            Asked::GetConnection { connection, .. } => match self.connections.get(connection) {
                Some(held) => Reply::json(200, answer::one_connection(base, connection, held)),
                None => answer::connection_not_found(),
            },
            Asked::ListRuns { kind, connection } => self.list_runs(*kind, connection, query, headers, base),
            Asked::GetRun { connection, run, .. } => self.get_run(asked, connection, run),
            Asked::Token | Asked::Unknown => answer::documented(404, asked),
        }
    }

    /// What is asked for, a connection's UUID in the letters that the platform spells it in.
    fn in_own_letters(&self, asked: &Asked) -> Asked {
        let mut asked = asked.clone();
        if let Some(id) = asked.connection_mut()
            && let Some(own) = self.connections.keys().find(|own| is_respelled(own, id))
        {
            *id = own.clone();
        }
        asked
    }

    fn query_in_own_letters(&self, query: &Query) -> Query {
        let mut query = query.clone();
        let imodels = self.connections.values().map(|connection| &connection.imodel_id);
        if let Some(id) = &mut query.imodel
            && let Some(own) = self.imodels.keys().chain(imodels).find(|own| is_respelled(own, id))
        {
            *id = own.clone();
        }
        if let Some(id) = &mut query.itwin
            && let Some(own) = self.itwins.keys().find(|own| is_respelled(own, id))
        {
            *id = own.clone();
        }
        query
    }

    fn list_runs(&mut self, kind: Kind, id: &str, query: &Query, headers: &Headers<'_>, base: &str) -> Reply {
        let (skip, top) = match self.faults.span(query, "InvalidConnectionRunsRequest") {
            Ok(span) => span,
            Err(refusal) => return refusal,
        };
        if let Some(shifts) = self.faults.shifts.pop_front() {
            shifts.into_iter().for_each(|shift| self.apply(shift));
        }
        let faults = &self.faults;
        let Some(connection) = self.connections.get(id) else {
            return answer::connection_not_found();
        };
        let listing = &connection.listing;
        let listed = if connection.unlisted.is_empty() {
            listing.len() as u64
        } else {
            let hidden = listing.iter().filter(|run| connection.unlisted.contains(&run.id)).count();
            (listing.len() - hidden) as u64
        };
        let from = faults.effective_skip(skip, listed);
        let limit = faults.effective_top(skip, top);
        let page = if connection.unlisted.is_empty() {
            listing.page(connection.order, from, limit, faults.page_cap)
        } else {
            listing.page_without(&connection.unlisted, connection.order, from, limit, faults.page_cap)
        };
        let returned = page.len() as u64;
        let more = faults.wrap_skip || from.saturating_add(returned) < listed;
        let path = format!("{}/{}/runs", answer::connections_path(kind), answer::percent_encode(id));
        let span = Span { base, path: &path, filter: None, skip, top, returned, more };
        let minimal = faults.minimal || is_minimal(kind, headers);
        let texts: Vec<Cow<'_, str>> = page.iter().map(|run| faults.listed(run, id, minimal)).collect();
        Reply::json(200, answer::page("runs", &texts, &answer::links(&faults.links, &span)))
    }

    fn get_run(&self, asked: &Asked, id: &str, run: &str) -> Reply {
        let found = self
            .connections
            .get(id)
            .filter(|connection| !connection.hidden_by_id.contains(run))
            .and_then(|connection| connection.listing.get(run));
        match found {
            Some(run) => {
                let faults = &self.faults;
                let owner = faults.connection_id_on_runs.then_some(id);
                let text = answer::reshape(&run.json, false, faults.without_jobs, owner);
                Reply::json(200, format!("{{\"run\":{text}}}"))
            }
            None => answer::documented(404, asked),
        }
    }

    fn list_connections(&self, kind: Kind, query: &Query, headers: &Headers<'_>, base: &str) -> Reply {
        let code = answer::connections_refused(kind);
        let Some(imodel) = &query.imodel else {
            return answer::unprocessable(
                code,
                &[("MissingRequiredParameter", "imodelId was not provided.", "imodelId")],
            );
        };
        if let Some(status) = self.imodels.get(imodel).and_then(|imodel| imodel.status) {
            return answer::documented(status, &Asked::ListConnections { kind });
        }
        let (skip, top) = match self.faults.span(query, code) {
            Ok(span) => span,
            Err(refusal) => return refusal,
        };
        let minimal = is_minimal(kind, headers);
        let matching: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.kind == kind && connection.imodel_id == *imodel)
            .filter(|(_, connection)| connection.status.is_none())
            .collect();
        let limit = self.faults.page_cap.map_or(top, |cap| cap.min(top));
        let texts: Vec<Cow<'_, str>> = matching
            .iter()
            .skip(usize::try_from(skip).unwrap_or(usize::MAX))
            .take(usize::try_from(limit).unwrap_or(usize::MAX))
            .map(|(id, connection)| Cow::Owned(answer::listed_connection(base, id, connection, minimal)))
            .collect();
        let returned = texts.len() as u64;
        let span = Span {
            base,
            path: answer::connections_path(kind),
            filter: Some(imodel),
            skip,
            top,
            returned,
            more: skip.saturating_add(returned) < matching.len() as u64,
        };
        Reply::json(200, answer::page("connections", &texts, &answer::links(&self.faults.links, &span)))
    }
}

/// Whether a list holds no more than what tells its items apart: the Synchronization API's do unless whole
/// ones are preferred; the Export API's never do.
fn is_minimal(kind: Kind, headers: &Headers<'_>) -> bool {
    kind != Kind::Export && !headers.prefer_representation()
}

impl Faults {
    fn span(&self, query: &Query, code: &str) -> Result<(u64, u64), Reply> {
        query.span(self.default_page, self.top_limit, self.skip_limit, code)
    }

    fn effective_skip(&self, skip: u64, listed: u64) -> u64 {
        if self.ignore_skip {
            return 0;
        }
        let skip = self.clamp_skip.map_or(skip, |most| skip.min(most));
        if self.wrap_skip { skip.checked_rem(listed).unwrap_or(0) } else { skip }
    }

    /// The same request gets the same length, so that a walk can be repeated.
    fn effective_top(&self, skip: u64, top: u64) -> u64 {
        let Some(seed) = self.short_pages else { return top };
        let full = self.page_cap.map_or(top, |cap| cap.min(top));
        let draw = hash("short page", seed ^ skip.rotate_left(20) ^ top.rotate_left(40));
        if full <= 2 || draw.is_multiple_of(2) { top } else { 2 + (draw >> 8) % (full - 2) }
    }

    fn listed<'a>(&self, run: &'a Run, connection: &str, minimal: bool) -> Cow<'a, str> {
        let owner = self.connection_id_in_listing.then_some(connection);
        answer::reshape(&run.json, minimal, self.without_jobs, owner)
    }
}

impl Access {
    /// Whether a request with this header may pass; counts the use of an issued token.
    fn check(&mut self, authorization: Option<&str>) -> Result<(), Reply> {
        let Some(header) = authorization else {
            return Err(answer::header_not_found());
        };
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        };
        if token.is_empty() || self.refuse_all {
            return Err(answer::unauthorized());
        }
        if self.tokens.contains(token) {
            return Ok(());
        }
        match self.given.get_mut(token) {
            Some(given) => {
                let worn = self.token_uses.is_some_and(|most| given.uses >= most);
                if worn || given.until <= Instant::now() {
                    return Err(answer::unauthorized());
                }
                given.uses += 1;
                Ok(())
            }
            None if self.tokens.is_empty() && self.clients.is_empty() => Ok(()),
            None => Err(answer::unauthorized()),
        }
    }

    /// The token endpoint: client credentials in a form.
    fn issue(&mut self, body: &[u8]) -> Reply {
        let form: BTreeMap<_, _> = form_urlencoded::parse(body).collect();
        let field = |name: &str| form.get(name).map_or("", |value| value.as_ref());
        if field("grant_type") != "client_credentials" {
            return Reply::json(400, r#"{"error":"unsupported_grant_type"}"#.to_owned());
        }
        let known =
            self.clients.get(field("client_id")).is_some_and(|secret| secret == field("client_secret"));
        if !known && !self.clients.is_empty() {
            return Reply::json(400, r#"{"error":"invalid_client"}"#.to_owned());
        }
        self.issued += 1;
        let token = format!("emulated-token-{}", self.issued);
        let seconds = self.token_seconds;
        let text = format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{seconds}}}"#);
        // A lifetime beyond the clock's reach is a century.
        let century = Duration::from_secs(3_155_760_000);
        let lifetime = Duration::from_secs(seconds).min(century);
        self.given.insert(token, Given { uses: 0, until: Instant::now() + lifetime });
        Reply::json(200, text)
    }
}
