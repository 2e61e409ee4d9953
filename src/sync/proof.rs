//! What a walk proves: the one place where it is decided whether it counts as complete.
//!
//! In: how the walk ended, what was found out beside it, and what the archive counted of it. Out: nothing, for
//! a walk that is complete, or why it is not. The store writes what is decided here.

use std::fmt;

use crate::store::walks::WalkTally;
use crate::walk::{Doubt, End};

/// Why a walk does not count as complete. Its text is kept with the walk and fits after "not proved complete: ".
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unproved {
    /// Something ended it: the platform's answer, or the want of room on the disk.
    Stopped(String),
    /// It has not seen the end of the listing.
    NotEnded,
    /// The listing is empty where it was not, and the connection does not say that there is no run.
    Emptied,
    /// The pages do not hang together.
    Doubted(Doubt),
    /// It reached archived runs, but no complete walk has proved those.
    OlderDoubtful,
    /// The connection names this run as its last, and the listing lacks it.
    LacksLastRun(String),
    /// Records were set aside that could not be kept.
    NotKept {
        /// The most records that are kept for a connection.
        records: u64,
        /// Their most bytes.
        bytes: u64,
    },
}

impl fmt::Display for Unproved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped(why) => f.write_str(why),
            Self::NotEnded => f.write_str("it ended before the end of the listing was seen"),
            Self::Emptied => f.write_str(
                "the platform lists no run, and does not say that there is none; has the role on the iTwin gone?",
            ),
            Self::Doubted(doubt) => doubt.fmt(f),
            Self::OlderDoubtful => f.write_str("no complete walk has proved the older runs"),
            Self::LacksLastRun(id) => write!(
                f,
                "the connection names run {id} as its last, and the listing lacks it; it is archived by its id, and \
                 the next sync looks for others"
            ),
            Self::NotKept { records, bytes } => write!(
                f,
                "records set aside have reached {records} or {} MiB for this connection, and no more are kept; \
                 archive rejects lists them, archive prune takes old ones out",
                bytes >> 20
            ),
        }
    }
}

/// All that decides whether a walk is complete, beside what the archive counted.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    pub(super) stopped: Option<String>,
    /// How it ended by itself.
    pub(super) end: Option<End>,
    /// Whether an empty listing is doubted.
    pub(super) is_emptied: bool,
    /// Whether the runs that it may end at were proved by a complete walk.
    pub(super) is_older_proved: bool,
    /// The run that the connection names as its last, where the listing lacks it.
    pub(super) lacking: Option<String>,
    pub(super) linked: u64,
}

impl Evidence {
    /// Why the walk is not complete; `None`: it is. A dry run has no tally, so it does not notice a run that is
    /// listed twice.
    pub(super) fn judge(&self, tally: Option<WalkTally>) -> Option<Unproved> {
        let own = match (&self.stopped, &self.end) {
            (Some(why), _) => Some(Unproved::Stopped(why.clone())),
            (None, None) => Some(Unproved::NotEnded),
            (None, _) if self.is_emptied => Some(Unproved::Emptied),
            (None, Some(End::Unproved(doubt))) => Some(Unproved::Doubted(doubt.clone())),
            (None, Some(End::JoinedProved)) if !self.is_older_proved => Some(Unproved::OlderDoubtful),
            (None, Some(End::Complete | End::JoinedProved)) => {
                self.lacking.clone().map(Unproved::LacksLastRun)
            }
        };
        own.or_else(|| tally.and_then(|tally| self.judge_tally(tally)))
    }

    /// Only ids prove: more entries linked than distinct runs met means that one stood at two places.
    fn judge_tally(&self, tally: WalkTally) -> Option<Unproved> {
        if tally.met.is_some_and(|met| self.linked > met) {
            return Some(Unproved::Doubted(Doubt::TwoPlaces));
        }
        let (records, bytes) = tally.most_rejects;
        (tally.not_kept > 0).then_some(Unproved::NotKept { records, bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TALLY: WalkTally = WalkTally { met: Some(5), not_kept: 0, most_rejects: (10, 1 << 20) };

    fn complete() -> Evidence {
        Evidence { end: Some(End::Complete), is_older_proved: true, linked: 5, ..Evidence::default() }
    }

    #[test]
    fn a_walk_is_complete_only_where_nothing_at_all_speaks_against_it() {
        assert_eq!(complete().judge(Some(TALLY)), None);
        let reached = Evidence { end: Some(End::JoinedProved), ..complete() };
        assert_eq!(reached.judge(Some(TALLY)), None);
        let against = [
            (Evidence { stopped: Some("why".to_owned()), ..complete() }, Unproved::Stopped("why".to_owned())),
            (Evidence { end: None, ..complete() }, Unproved::NotEnded),
            (Evidence { is_emptied: true, ..complete() }, Unproved::Emptied),
            (Evidence { is_older_proved: false, ..reached }, Unproved::OlderDoubtful),
            (
                Evidence { lacking: Some("r".to_owned()), ..complete() },
                Unproved::LacksLastRun("r".to_owned()),
            ),
            (Evidence { linked: 6, ..complete() }, Unproved::Doubted(Doubt::TwoPlaces)),
        ];
        for (evidence, why) in against {
            assert_eq!(evidence.judge(Some(TALLY)), Some(why), "{evidence:?}");
        }
        let not_kept = complete().judge(Some(WalkTally { not_kept: 1, ..TALLY }));
        assert_eq!(not_kept, Some(Unproved::NotKept { records: 10, bytes: 1 << 20 }));
    }

    #[test]
    fn what_the_archive_cannot_count_says_nothing() {
        let many = Evidence { linked: 6, ..complete() };
        assert_eq!(many.judge(None), None);
        assert_eq!(many.judge(Some(WalkTally { met: None, ..TALLY })), None);
    }
}
