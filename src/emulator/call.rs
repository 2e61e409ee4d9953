//! A request read apart: its endpoint, the parameters of its query, and the headers that a right answer
//! depends on.
//!
//! In: texts as received, still encoded. Out: a [`Call`] with ids decoded. Nothing here knows what the
//! platform holds or how it answers.

use percent_encoding::percent_decode_str;
use url::form_urlencoded;

use super::faults::{DEFAULT_TOP, On};
use crate::api::Kind;

/// A request, as far as its answer depends on it.
#[derive(Clone, Debug)]
pub(super) struct Call<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) parameters: QueryParameters,
    pub(super) headers: Headers<'a>,
    /// The emulator's own address, with which links begin.
    pub(super) base: &'a str,
}

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Endpoint {
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
pub(super) enum QueryNumber {
    #[default]
    Absent,
    Given(u64),
    Unreadable,
}

impl QueryNumber {
    pub(super) fn value(self) -> Option<u64> {
        match self {
            QueryNumber::Given(value) => Some(value),
            QueryNumber::Absent | QueryNumber::Unreadable => None,
        }
    }
}

/// The parts of a query that are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct QueryParameters {
    pub(super) skip: QueryNumber,
    pub(super) top: QueryNumber,
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

impl Endpoint {
    /// `path` as received: segments are split before they are decoded, so that an id may hold a slash.
    pub(super) fn parse(method: &str, path: &str) -> Endpoint {
        let decode = |segment| percent_decode_str(segment).decode_utf8().ok();
        // A path that is no UTF-8 names nothing: no id here is such.
        let segments: Option<Vec<_>> = path.split('/').skip(1).map(decode).collect();
        let segments = segments.unwrap_or_default();
        let segments: Vec<&str> = segments.iter().map(AsRef::as_ref).collect();

        match (method, segments.as_slice()) {
            ("POST", ["connect", "token"]) => Endpoint::Token,
            ("GET", ["itwins"] | ["itwins", ""]) => Endpoint::ListItwins,
            ("GET", ["imodels"] | ["imodels", ""]) => Endpoint::ListImodels,
            ("GET", path) => Kind::ALL
                .into_iter()
                .find_map(|kind| Endpoint::of_kind(kind, path))
                .unwrap_or(Endpoint::Unknown),
            _ => Endpoint::Unknown,
        }
    }

    /// What is asked for by a path that begins with that of this kind's connections; None for another path.
    fn of_kind(kind: Kind, path: &[&str]) -> Option<Endpoint> {
        // The documentation writes the Synchronization API's segments in several ways, and Bentley's own
        // clients too; the Export API's are written in one.
        let is = |sent: &str, own: &str| match kind {
            Kind::Export => sent == own,
            Kind::Storage | Kind::Manifest => sent.eq_ignore_ascii_case(own),
        };
        let (list, rest) = path.split_at_checked(kind.path().count())?;
        if !list.iter().zip(kind.path()).all(|(sent, own)| is(sent, own)) {
            return None;
        }

        Some(match *rest {
            [] | [""] => Endpoint::ListConnections { kind },
            [id] => Endpoint::GetConnection { kind, connection: id.to_owned() },
            [id, runs] if is(runs, "runs") => Endpoint::ListRuns { kind, connection: id.to_owned() },
            [id, runs, run] if is(runs, "runs") => {
                Endpoint::GetRun { kind, connection: id.to_owned(), run: run.to_owned() }
            }
            _ => Endpoint::Unknown,
        })
    }

    /// The connection that is asked for or about, and the kind under whose path.
    pub(super) fn connection(&self) -> Option<(Kind, &str)> {
        match self {
            Endpoint::GetConnection { kind, connection }
            | Endpoint::ListRuns { kind, connection }
            | Endpoint::GetRun { kind, connection, .. } => Some((*kind, connection)),
            Endpoint::Token
            | Endpoint::ListItwins
            | Endpoint::ListImodels
            | Endpoint::ListConnections { .. }
            | Endpoint::Unknown => None,
        }
    }

    pub(super) fn connection_mut(&mut self) -> Option<&mut String> {
        match self {
            Endpoint::GetConnection { connection, .. }
            | Endpoint::ListRuns { connection, .. }
            | Endpoint::GetRun { connection, .. } => Some(connection),
            Endpoint::Token
            | Endpoint::ListItwins
            | Endpoint::ListImodels
            | Endpoint::ListConnections { .. }
            | Endpoint::Unknown => None,
        }
    }

    fn kind(&self) -> Option<Kind> {
        match self {
            Endpoint::ListConnections { kind } => Some(*kind),
            _ => self.connection().map(|(kind, _)| kind),
        }
    }
}

impl Call<'_> {
    /// Whether an entry of the script for these requests is for this one.
    pub(super) fn is_for(&self, on: &On) -> bool {
        let (endpoint, parameters) = (&self.endpoint, &self.parameters);
        let lists_runs = matches!(endpoint, Endpoint::ListRuns { .. });
        match on {
            On::Any => true,
            On::Token => *endpoint == Endpoint::Token,
            On::ListItwins => *endpoint == Endpoint::ListItwins,
            On::ListImodels => *endpoint == Endpoint::ListImodels,
            On::ListConnections => matches!(endpoint, Endpoint::ListConnections { .. }),
            On::ListRuns => lists_runs,
            On::GetRun => matches!(endpoint, Endpoint::GetRun { .. }),
            On::GetConnection => matches!(endpoint, Endpoint::GetConnection { .. }),
            On::Connection(id) => endpoint.connection().is_some_and(|(_, connection)| connection == id),
            On::Kind(kind) => endpoint.kind() == Some(*kind),
            On::ListRunsAt { skip } => lists_runs && parameters.skip.value().unwrap_or(0) == *skip,
            On::TopAtLeast(top) => lists_runs && parameters.top.value().unwrap_or(DEFAULT_TOP) >= *top,
        }
    }
}

impl QueryParameters {
    /// Reads `%24top` and `$top` alike; of a key sent twice the last counts.
    pub(super) fn parse(query: &str) -> QueryParameters {
        let mut known = QueryParameters::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            let number = || value.parse().map_or(QueryNumber::Unreadable, QueryNumber::Given);
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
}
