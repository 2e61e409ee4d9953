//! What all connections of a sync share.

use std::sync::Arc;
use std::time::Duration;

use xxhash_rust::xxh3::xxh3_64;

use super::due::Rules;
use super::options::Options;
use super::progress::Progress;
use super::recorder::Recorder;
use super::records::Readers;
use crate::api::{Client, ConnectionId};
use crate::store::room::Room;

/// Connections that may all be walked whole in one sync.
const HANDFUL: usize = 10;

/// What all connections of a sync share.
pub(super) struct Session {
    pub(super) client: Client,
    /// How many connections were archived when the sync began.
    pub(super) archived_connections: usize,
    pub(super) recorder: Recorder,
    /// For the threads that answers are read on.
    pub(super) readers: Arc<Readers>,
    /// The disk of the archive; a dry run needs none.
    pub(super) room: Option<Room>,
    pub(super) options: Options,
    pub(super) progress: Arc<Progress>,
}

impl Session {
    /// What the sync was asked for, as far as it concerns this connection.
    pub(super) fn rules(&self, id: &ConnectionId, is_next_turn: bool) -> Rules {
        Rules {
            is_full_asked: self.options.full,
            is_next_turn,
            full_every: self.full_walk_after(id),
            page_size: self.options.page_size,
            is_page_size_given: self.options.is_page_size_given,
        }
    }

    /// After how long a connection's listing is walked whole regardless. In a fleet each connection has a
    /// time of its own between half of that and all of it, so that walks which were due together once are
    /// spread over the syncs; a handful may as well be walked at once.
    fn full_walk_after(&self, id: &ConnectionId) -> Duration {
        let every = self.options.full_every;
        if self.archived_connections <= HANDFUL {
            return every;
        }
        let share = xxh3_64(id.to_string().as_bytes()) as f64 / u64::MAX as f64;
        every.mul_f64(0.5 + share / 2.0)
    }
}
