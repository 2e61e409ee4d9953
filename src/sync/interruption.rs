//! Why a connection, or all of a sync, goes no further.

use crate::api;
use crate::store::room::NoRoom;
use crate::store::{self, Closed};

/// Why a connection could not be synced any further.
#[derive(Debug)]
pub(super) enum Interruption {
    Api(api::Error),
    /// The archive could not be read; without an error it could not be written, and the writer has the error.
    Store(Option<store::Error>),
    /// A backfill would fill the disk.
    NoRoom(NoRoom),
}

impl From<api::Error> for Interruption {
    fn from(error: api::Error) -> Self {
        Self::Api(error)
    }
}

impl From<store::Error> for Interruption {
    fn from(error: store::Error) -> Self {
        Self::Store(Some(error))
    }
}

impl From<Closed> for Interruption {
    fn from(_: Closed) -> Self {
        Self::Store(None)
    }
}

impl Interruption {
    /// Its text, for the record of the walk that it stopped.
    pub(super) fn message(&self) -> Option<String> {
        match self {
            Self::Api(error) => Some(error.to_string()),
            Self::NoRoom(no_room) => Some(no_room.to_string()),
            Self::Store(error) => error.as_ref().map(ToString::to_string),
        }
    }
}
