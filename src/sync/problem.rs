//! What can go wrong in a sync without ending it, as data; each has its sentence here.
//!
//! The sentences stand beside the data because `render` does not know of syncs: the command and the JSON
//! summary print them as they are, and nothing is decided by their words.

use std::fmt;

use serde::{Serialize, Serializer};

use super::discovery::ListDoubt;
use super::interruption::Interruption;
use super::proof::Unproved;
use crate::api::{self, ConnectionId, Kind, Reason};
use crate::store;
use crate::store::room::NoRoom;

/// Why there may be nothing where something is expected.
pub(crate) const WHY_NOTHING: &str =
    "a service application without a role on an iTwin is given empty lists, not an error";

/// A list above runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListOf {
    Imodels { itwin: String },
    Connections { kind: Kind, imodel: String },
}

impl Serialize for Problem {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Display for ListOf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Imodels { itwin } => write!(f, "listing the iModels of iTwin {itwin}"),
            Self::Connections { kind, imodel } => {
                write!(f, "listing {} connections of iModel {imodel}", kind.as_str())
            }
        }
    }
}

/// Something that went wrong.
#[derive(Debug)]
pub enum Problem {
    Answered {
        /// What the connection or iModel is called, where it has a name.
        name: Option<String>,
        error: api::Error,
    },
    Archive {
        /// What the connection is called, where it has a name.
        name: Option<String>,
        error: store::Error,
    },
    /// A backfill would fill the disk.
    NoRoom {
        /// What the connection is called, where it has a name.
        name: Option<String>,
        no_room: NoRoom,
    },
    Unproved {
        /// What the connection is called, where it has a name.
        name: Option<String>,
        connection: ConnectionId,
        why: Unproved,
    },
    /// A list may hold more than was read.
    InDoubt {
        /// Which; `None` where a first sync is only estimated.
        list: Option<ListOf>,
        doubt: ListDoubt,
    },
    /// A list holds entries that cannot be used.
    Unusable {
        list: ListOf,
        count: u64,
    },
    /// A list holds nothing, where it did.
    Emptied {
        list: ListOf,
        before: usize,
        /// One of them that the platform knows by its id.
        known: Option<ConnectionId>,
    },
    /// Lists of one kind of connections failed one after the other.
    Down {
        kind: Kind,
        in_a_row: u32,
        /// iModels that were not asked therefore.
        unasked: usize,
    },
    Left {
        why: Reason,
        connections: usize,
        imodels: usize,
    },
    /// No connection was found, and nothing said why.
    NothingFound {
        itwins: Vec<String>,
        imodels: Vec<String>,
    },
}

impl Problem {
    /// What the platform's answer means, where there was one.
    pub(crate) fn reason(&self) -> Option<Reason> {
        match self {
            Self::Answered { error, .. } => Some(error.reason),
            Self::Down { .. } => Some(Reason::Unavailable),
            Self::Left { why, .. } => Some(*why),
            Self::Archive { .. }
            | Self::NoRoom { .. }
            | Self::Unproved { .. }
            | Self::InDoubt { .. }
            | Self::Unusable { .. }
            | Self::Emptied { .. }
            | Self::NothingFound { .. } => None,
        }
    }

    /// What the connection or iModel is called that it is about, where it has a name.
    fn name(&self) -> Option<&str> {
        match self {
            Self::Answered { name, .. }
            | Self::Archive { name, .. }
            | Self::NoRoom { name, .. }
            | Self::Unproved { name, .. } => name.as_deref(),
            _ => None,
        }
    }

    /// The problem of a connection that was stopped; none where the writer closed, since its own
    /// error ends the sync.
    pub(super) fn of_stop(stop: Interruption, name: Option<String>) -> Option<Self> {
        match stop {
            Interruption::Api(error) => Some(Self::Answered { name, error }),
            Interruption::Store(error) => error.map(|error| Self::Archive { name, error }),
            Interruption::NoRoom(no_room) => Some(Self::NoRoom { name, no_room }),
        }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A problem with a list is named by its list; only the others have a name of their own to begin with.
        if let Some(name) = self.name() {
            write!(f, "{name}: ")?;
        }
        match self {
            Self::Answered { error, .. } => error.fmt(f),
            Self::Archive { error, .. } => error.fmt(f),
            Self::NoRoom { no_room, .. } => no_room.fmt(f),
            Self::Unproved { connection, why, .. } => write!(
                f,
                "walking the runs of connection {connection}: not proved complete: {why}; what came is stored, and \
                 the next sync walks it again"
            ),
            Self::InDoubt { list: None, doubt } => write!(f, "{doubt}; more may be there"),
            Self::InDoubt { list: Some(list @ ListOf::Imodels { .. }), doubt } => {
                write!(f, "{list}: {doubt}; more may be there")
            }
            Self::InDoubt { list: Some(list @ ListOf::Connections { .. }), doubt } => {
                write!(f, "{list}: {doubt}; more may be there, the next sync asks again")
            }
            Self::Unusable { list: list @ ListOf::Imodels { .. }, count } => {
                write!(f, "{list}: {count} without an id were left out; the others are asked")
            }
            Self::Unusable { list: list @ ListOf::Connections { .. }, count } => write!(
                f,
                "{list}: {count} without an id that can be used were left out, the others are synced"
            ),
            Self::Emptied { list, before, known: None } => write!(
                f,
                "{list}: the platform lists none, where it listed {before} before; has the role on the iTwin gone?"
            ),
            Self::Emptied { list, before, known: Some(known) } => write!(
                f,
                "{list}: the platform lists none, where it listed {before} before, and still knows {known}"
            ),
            Self::Down { kind, in_a_row, unasked } => write!(
                f,
                "{} connections could not be listed {in_a_row} times in a row, so {unasked} iModels were not asked \
                 for theirs",
                kind.as_str()
            ),
            Self::Left { why, connections, imodels } => {
                let why = describe_end(*why);
                write!(
                    f,
                    "{why}: {connections} connections and {imodels} iModels were left for the next sync"
                )
            }
            Self::NothingFound { itwins, imodels } => {
                let below = [name_all(itwins, "iTwin"), name_all(imodels, "iModel")];
                let below: Vec<String> = below.into_iter().flatten().collect();
                write!(f, "no connection was found below {}: {WHY_NOTHING}", below.join(" and "))
            }
        }
    }
}

/// Why a sync began nothing more.
fn describe_end(why: Reason) -> &'static str {
    match why {
        Reason::Refused => "the platform refused the credentials",
        Reason::Unreachable(_) => "the platform cannot be reached",
        Reason::Stopped => "it was asked to stop",
        _ => "the time budget is spent",
    }
}

/// One by its id, several by their number.
fn name_all(ids: &[String], what: &str) -> Option<String> {
    match ids {
        [] => None,
        [one] => Some(format!("{what} {one}")),
        many => Some(format!("{} {what}s", many.len())),
    }
}
