//! What the emulated platform holds, and its right answer to each request.
//!
//! In: a request already read apart by `call`. Out: a reply. No sockets and no waiting: those belong to the
//! server, texts to `answer`, unkindness to `faults`, the way from an iTwin to its iModels to `discovery`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::access::Access;
use super::answer::{self, HttpReply, PageSpan};
use super::call::{Call, Endpoint, Headers, QueryNumber, QueryParameters};
use super::faults::{Answer, DEFAULT_TOP, Faults, Shift};
use super::holdings::{Connection, Imodel, Itwin};
use super::listing::hash;
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

impl Platform {
    pub(crate) fn apply(&mut self, shift: Shift) {
        let Some(connection) = self.connections.get_mut(shift.connection()) else {
            return;
        };
        let listing = &mut connection.listing;
        match shift {
            Shift::InsertNewest { run, .. } => listing.push_newest(run),
            Shift::InsertOldest { run, .. } => listing.push_oldest(run),
            Shift::Remove { index, .. } => drop(listing.remove(index)),
        }
    }

    /// The scripted answer to this request, if there is one; it has then been used.
    pub(super) fn scripted(&mut self, call: &Call<'_>) -> Option<Answer> {
        self.faults.script.iter_mut().find_map(|entry| {
            let is_its_turn = call.is_for(&entry.on) && entry.take_turn();
            is_its_turn.then(|| entry.answer.clone())
        })
    }

    /// The right answer; `body` is the request's.
    pub(super) fn answer(&mut self, call: &Call<'_>, body: &[u8]) -> HttpReply {
        if call.endpoint == Endpoint::Token {
            return self.access.issue(body);
        }
        if let Err(refusal) = self.access.check(call.headers.authorization) {
            return refusal;
        }
        // The platform takes a UUID in upper and lower case alike, and answers with its own spelling.
        let call = &self.in_own_letters(call);
        let endpoint = &call.endpoint;
        if let Some((kind, id)) = endpoint.connection() {
            let held = self.connections.get(id).filter(|connection| connection.kind == kind);
            match held.map(|connection| connection.status) {
                None => return answer::connection_not_found(),
                Some(Some(status)) => return documented(status, endpoint),
                Some(None) => {}
            }
        }

        match endpoint {
            Endpoint::ListItwins => self.list_itwins(call),
            Endpoint::ListImodels => self.list_imodels(call),
            Endpoint::ListConnections { kind } => self.list_connections(*kind, call),
            Endpoint::GetConnection { connection, .. } => match self.connections.get(connection) {
                Some(held) => HttpReply::json(200, answer::one_connection(call.base, connection, held)),
                None => answer::connection_not_found(),
            },
            Endpoint::ListRuns { kind, connection } => self.list_runs(*kind, connection, call),
            Endpoint::GetRun { connection, run, .. } => self.get_run(endpoint, connection, run),
            Endpoint::Token | Endpoint::Unknown => documented(404, endpoint),
        }
    }

    /// What is asked for, a UUID in the letters that the platform spells it in.
    fn in_own_letters<'a>(&self, call: &Call<'a>) -> Call<'a> {
        let mut call = call.clone();
        if let Some(id) = call.endpoint.connection_mut() {
            respell(id, self.connections.keys());
        }
        if let Some(id) = &mut call.parameters.imodel {
            let imodels = self.connections.values().map(|connection| &connection.imodel_id);
            respell(id, self.imodels.keys().chain(imodels));
        }
        if let Some(id) = &mut call.parameters.itwin {
            respell(id, self.itwins.keys());
        }
        call
    }

    fn list_runs(&mut self, kind: Kind, id: &str, call: &Call<'_>) -> HttpReply {
        let (skip, top) = match self.faults.span(&call.parameters, "InvalidConnectionRunsRequest") {
            Ok(span) => span,
            Err(refusal) => return refusal,
        };
        // A run may begin or go between any two pages, so the change comes before the page is cut.
        if let Some(shifts) = self.faults.shifts.pop_front() {
            shifts.into_iter().for_each(|shift| self.apply(shift));
        }
        let faults = &self.faults;
        let Some(connection) = self.connections.get(id) else {
            return answer::connection_not_found();
        };
        let listing = &connection.listing;
        // Counted only where runs are hidden: a listing of a million runs is paged at the cost of a page.
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
        let span = PageSpan { base: call.base, path: &path, filter: None, skip, top, returned, more };
        let minimal = faults.minimal || is_minimal(kind, &call.headers);
        let text = |json| if minimal { answer::minimal_run(json) } else { Cow::Borrowed(json) };
        let texts: Vec<Cow<'_, str>> = page.iter().map(|run| text(&run.json)).collect();
        HttpReply::json(200, answer::page("runs", &texts, &answer::links(&faults.links, &span)))
    }

    fn get_run(&self, endpoint: &Endpoint, id: &str, run: &str) -> HttpReply {
        match self.connections.get(id).and_then(|connection| connection.listing.get(run)) {
            Some(run) => HttpReply::json(200, format!("{{\"run\":{}}}", run.json)),
            None => documented(404, endpoint),
        }
    }

    fn list_connections(&self, kind: Kind, call: &Call<'_>) -> HttpReply {
        let base = call.base;
        let code = answer::connections_refused(kind);
        let Some(imodel) = &call.parameters.imodel else {
            return answer::unprocessable(code, &[IMODEL_MISSING]);
        };
        if let Some(status) = self.imodels.get(imodel).and_then(|imodel| imodel.status) {
            return documented(status, &call.endpoint);
        }
        let (skip, top) = match self.faults.span(&call.parameters, code) {
            Ok(span) => span,
            Err(refusal) => return refusal,
        };
        // A connection that nobody may see is left out without a word, as the real lists do.
        let minimal = is_minimal(kind, &call.headers);
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
        let span = PageSpan {
            base,
            path: &answer::connections_path(kind),
            filter: Some(imodel),
            skip,
            top,
            returned,
            more: skip.saturating_add(returned) < matching.len() as u64,
        };
        HttpReply::json(200, answer::page("connections", &texts, &answer::links(&self.faults.links, &span)))
    }
}

/// Puts in the place of an id that is the same UUID in other letters the one that the platform holds.
fn respell<'a>(id: &mut String, mut held: impl Iterator<Item = &'a String>) {
    if let Some(own) = held.find(|own| is_respelled(own, id)) {
        own.clone_into(id);
    }
}

/// Whether a list holds no more than what tells its items apart: the Synchronization API's do unless whole
/// ones are preferred; the Export API's never do.
fn is_minimal(kind: Kind, headers: &Headers<'_>) -> bool {
    kind != Kind::Export && !headers.prefer_representation()
}

impl Faults {
    fn span(&self, parameters: &QueryParameters, code: &str) -> Result<(u64, u64), HttpReply> {
        skip_and_top(parameters, DEFAULT_TOP, self.top_limit, code)
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
}

/// A detail of a 422: code, message and target.
type Refusal = (&'static str, &'static str, &'static str);

const TOP_OUT_OF_LIMITS: Refusal = ("InvalidValue", "Page size is out of limits.", "$top");
const SKIP_OUT_OF_LIMITS: Refusal = ("InvalidValue", "Skip value is out of limits.", "$skip");
const IMODEL_MISSING: Refusal = ("MissingRequiredParameter", "imodelId was not provided.", "imodelId");

/// `$skip` and `$top` of a list, or why they are refused, with this error code.
pub(super) fn skip_and_top(
    parameters: &QueryParameters,
    default_top: u64,
    top_limit: Option<u64>,
    code: &str,
) -> Result<(u64, u64), HttpReply> {
    let top = match parameters.top {
        QueryNumber::Absent => Some(default_top),
        QueryNumber::Given(0) | QueryNumber::Unreadable => None,
        QueryNumber::Given(top) => Some(top).filter(|top| top_limit.is_none_or(|limit| *top <= limit)),
    };
    let skip = match parameters.skip {
        QueryNumber::Absent => Some(0),
        QueryNumber::Unreadable => None,
        QueryNumber::Given(skip) => Some(skip),
    };
    match (skip, top) {
        (Some(skip), Some(top)) => Ok((skip, top)),
        (Some(_), None) => Err(answer::unprocessable(code, &[TOP_OUT_OF_LIMITS])),
        (None, Some(_)) => Err(answer::unprocessable(code, &[SKIP_OUT_OF_LIMITS])),
        (None, None) => Err(answer::unprocessable(code, &[TOP_OUT_OF_LIMITS, SKIP_OUT_OF_LIMITS])),
    }
}

/// The documented body of a status, as this endpoint answers with it, and the header that goes with it.
pub(super) fn documented(status: u16, endpoint: &Endpoint) -> HttpReply {
    // Where the documentation of an API has no body for a status, the answer has the same shape as the others.
    const FORBIDDEN: &str = "The user has insufficient permissions for the requested operation.";
    let error = answer::error;
    match status {
        401 => answer::header_not_found(),
        403 => error(403, "InsufficientPermissions", FORBIDDEN),
        404 => match endpoint {
            Endpoint::GetRun { .. } => error(404, "RunNotFound", "Requested Run is not available."),
            Endpoint::GetConnection { .. } | Endpoint::ListRuns { .. } | Endpoint::ListConnections { .. } => {
                answer::connection_not_found()
            }
            Endpoint::ListImodels => error(404, "iTwinNotFound", "Requested iTwin is not available."),
            Endpoint::Token | Endpoint::ListItwins | Endpoint::Unknown => {
                error(404, "ResourceNotFound", "Resource not found.")
            }
        },
        422 => {
            let (code, details): (_, &[_]) = match endpoint {
                Endpoint::ListItwins => ("InvalidiTwinsRequest", &[TOP_OUT_OF_LIMITS]),
                Endpoint::ListImodels => (
                    "InvalidiModelsRequest",
                    &[
                        ("MissingRequiredParameter", "iTwinId was not provided.", "iTwinId"),
                        TOP_OUT_OF_LIMITS,
                    ],
                ),
                Endpoint::ListConnections { kind } => {
                    (answer::connections_refused(*kind), &[IMODEL_MISSING, TOP_OUT_OF_LIMITS])
                }
                _ => (
                    "InvalidConnectionRunsRequest",
                    &[
                        IMODEL_MISSING,
                        TOP_OUT_OF_LIMITS,
                        ("InvalidValue", "Provided imodelId value is not valid.", "imodelId"),
                    ],
                ),
            };
            answer::unprocessable(code, details)
        }
        429 => answer::documented_429("1"),
        408 => error(408, "RequestTimeout", "The request took too long."),
        500 => error(500, "InternalServerError", "An unexpected error occurred."),
        502 => error(502, "BadGateway", "The service behind the gateway gave no valid answer."),
        503 => error(503, "ServiceUnavailable", "The service is temporarily unavailable."),
        504 => error(504, "GatewayTimeout", "The service behind the gateway did not answer in time."),
        other => error(other, "UnknownError", "The request failed."),
    }
}
