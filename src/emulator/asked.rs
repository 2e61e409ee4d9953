//! What a request asks for, read apart: its path, its query, and the headers that a right answer depends on.
//!
//! In: texts as received, still encoded. Out: what is asked, with ids decoded. Nothing here knows what the
//! platform holds.

use url::form_urlencoded;

use super::answer::{self, Reply};
use super::faults::On;
use crate::api::Kind;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Token,
    ListItwins,
    ListImodels,
    ListConnections { kind: Kind },
    GetConnection { kind: Kind, connection: String },
    ListRuns { kind: Kind, connection: String },
    GetRun { kind: Kind, connection: String, run: String },
    Unknown,
}

/// A number in a query.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Number {
    #[default]
    Absent,
    Given(u64),
    Unreadable,
}

impl Number {
    pub(super) fn value(self) -> Option<u64> {
        match self {
            Number::Given(value) => Some(value),
            Number::Absent | Number::Unreadable => None,
        }
    }
}

/// The parts of a query that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Query {
    pub(super) skip: Number,
    pub(super) top: Number,
    pub(super) itwin: Option<String>,
    pub(super) imodel: Option<String>,
    /// `$continuationToken`; empty is absent, as on the first request.
    pub(super) continuation: Option<String>,
}

/// The headers that a right answer depends on.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Headers<'a> {
    pub(super) authorization: Option<&'a str>,
    pub(super) accept: Option<&'a str>,
    pub(super) prefer: Option<&'a str>,
}

impl Headers<'_> {
    /// Whether the second version of an API is asked for.
    pub(super) fn accept_v2(&self) -> bool {
        const V2: &str = "application/vnd.bentley.itwin-platform.v2+json";
        self.accept.is_some_and(|accept| accept.to_ascii_lowercase().contains(V2))
    }

    /// Whether a list is to hold whole objects: the lists that know `Prefer` are minimal without it.
    pub(super) fn prefer_representation(&self) -> bool {
        self.prefer.is_some_and(|prefer| prefer.to_ascii_lowercase().contains("return=representation"))
    }
}

impl Asked {
    /// `path` as received: segments are split before they are decoded, so that an id may hold a slash.
    pub(super) fn of(method: &str, path: &str) -> Asked {
        let segments: Option<Vec<String>> = path.split('/').skip(1).map(percent_decode).collect();
        let segments = segments.unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        match (method, segments.as_slice()) {
            ("POST", ["connect", "token"]) => Asked::Token,
            ("GET", ["itwins"] | ["itwins", ""]) => Asked::ListItwins,
            ("GET", ["imodels"] | ["imodels", ""]) => Asked::ListImodels,
            ("GET", ["export", "connections", rest @ ..]) => {
                Asked::under(Kind::Export, rest, |segment| segment == "runs")
            }
            // The documentation writes these in several ways, and Bentley's own clients too.
            ("GET", [api, imodels, connections, rest @ ..])
                if api.eq_ignore_ascii_case("synchronization") && imodels.eq_ignore_ascii_case("imodels") =>
            {
                let kind = match connections.to_ascii_lowercase().as_str() {
                    "storageconnections" => Kind::Storage,
                    "manifestconnections" => Kind::Manifest,
                    _ => return Asked::Unknown,
                };
                Asked::under(kind, rest, |segment| segment.eq_ignore_ascii_case("runs"))
            }
            _ => Asked::Unknown,
        }
    }

    /// What is asked by the rest of a path below the list of a kind's connections.
    fn under(kind: Kind, rest: &[&str], is_runs: impl Fn(&str) -> bool) -> Asked {
        match *rest {
            [] | [""] => Asked::ListConnections { kind },
            [id] => Asked::GetConnection { kind, connection: id.to_owned() },
            [id, runs] if is_runs(runs) => Asked::ListRuns { kind, connection: id.to_owned() },
            [id, runs, run] if is_runs(runs) => {
                Asked::GetRun { kind, connection: id.to_owned(), run: run.to_owned() }
            }
            _ => Asked::Unknown,
        }
    }

    /// The connection that is asked for or about, and the kind under whose path.
    pub(super) fn connection(&self) -> Option<(Kind, &str)> {
        match self {
            Asked::GetConnection { kind, connection }
            | Asked::ListRuns { kind, connection }
            | Asked::GetRun { kind, connection, .. } => Some((*kind, connection)),
            Asked::Token
            | Asked::ListItwins
            | Asked::ListImodels
            | Asked::ListConnections { .. }
            | Asked::Unknown => None,
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut String> {
        match self {
            Asked::GetConnection { connection, .. }
            | Asked::ListRuns { connection, .. }
            | Asked::GetRun { connection, .. } => Some(connection),
            Asked::Token
            | Asked::ListItwins
            | Asked::ListImodels
            | Asked::ListConnections { .. }
            | Asked::Unknown => None,
        }
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Asked::ListConnections { kind } => Some(*kind),
            _ => self.connection().map(|(kind, _)| kind),
        }
    }

    pub(super) fn is_for(&self, on: &On, query: &Query, default_page: u64) -> bool {
        let lists_runs = matches!(self, Asked::ListRuns { .. });
        match on {
            On::Any => true,
            On::Token => *self == Asked::Token,
            On::ListItwins => *self == Asked::ListItwins,
            On::ListImodels => *self == Asked::ListImodels,
            On::ListConnections => matches!(self, Asked::ListConnections { .. }),
            On::ListRuns => lists_runs,
            On::GetRun => matches!(self, Asked::GetRun { .. }),
            On::GetConnection => matches!(self, Asked::GetConnection { .. }),
            On::Connection(id) => self.connection().is_some_and(|(_, connection)| connection == id),
            On::Kind(kind) => self.kind() == Some(*kind),
            On::ListRunsAt { skip } => lists_runs && query.skip.value().unwrap_or(0) == *skip,
            On::TopAtLeast(top) => lists_runs && query.top.value().unwrap_or(default_page) >= *top,
        }
    }
}

impl Query {
    /// Reads `%24top` and `$top` alike; of a key sent twice the last counts.
    pub(super) fn of(query: &str) -> Query {
        let mut known = Query::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = || value.parse().map_or(Number::Unreadable, Number::Given);
            match key.as_ref() {
                "$skip" => known.skip = number(),
                "$top" => known.top = number(),
                "$continuationToken" => {
                    known.continuation = Some(value.into_owned()).filter(|token| !token.is_empty());
                }
                key if key.eq_ignore_ascii_case("imodelId") => known.imodel = Some(value.into_owned()),
                key if key.eq_ignore_ascii_case("iTwinId") => known.itwin = Some(value.into_owned()),
                _ => {}
            }
        }
        known
    }

    /// `$skip` and `$top` of a list, or why they are refused, with this error code.
    pub(super) fn span(
        &self,
        default_top: u64,
        top_limit: Option<u64>,
        skip_limit: Option<u64>,
        code: &str,
    ) -> Result<(u64, u64), Reply> {
        const TOP: (&str, &str, &str) = ("InvalidValue", "Page size is out of limits.", "$top");
        const SKIP: (&str, &str, &str) = ("InvalidValue", "Skip value is out of limits.", "$skip");
        let top = match self.top {
            Number::Absent => Some(default_top),
            Number::Given(0) | Number::Unreadable => None,
            Number::Given(top) => Some(top).filter(|top| top_limit.is_none_or(|limit| *top <= limit)),
        };
        let skip = match self.skip {
            Number::Absent => Some(0),
            Number::Unreadable => None,
            Number::Given(skip) => Some(skip).filter(|skip| skip_limit.is_none_or(|limit| *skip <= limit)),
        };
        match (skip, top) {
            (Some(skip), Some(top)) => Ok((skip, top)),
            (Some(_), None) => Err(answer::unprocessable(code, &[TOP])),
            (None, Some(_)) => Err(answer::unprocessable(code, &[SKIP])),
            (None, None) => Err(answer::unprocessable(code, &[TOP, SKIP])),
        }
    }
}

/// None where the bytes are no UTF-8: no id here is.
fn percent_decode(segment: &str) -> Option<String> {
    let bytes = segment.as_bytes();
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while let Some(&byte) = bytes.get(at) {
        let hex = if byte == b'%' { segment.get(at + 1..at + 3) } else { None };
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(escaped) => {
                decoded.push(escaped);
                at += 3;
            }
            None => {
                decoded.push(byte);
                at += 1;
            }
        }
    }
    String::from_utf8(decoded).ok()
}
