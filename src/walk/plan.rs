//! Which walk of a listing is due, and what its end is worth beside what the connection says of itself.
//!
//! In: what is archived of the listing, and the run that the connection names as its last. Out: the walks to
//! take, whether there is anything to ask at all, and whether a walk counts as complete. Pure, so that the
//! exhaustive check of the walk decides as a sync does.

use super::page::Checkpoint;
use super::{Order, Plan};

/// What is known of a listing before anything of it is asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListingKnown {
    /// The order that the last walk saw.
    pub order: Option<Order>,
    /// Where the listing ended when a walk last saw its end.
    pub end: Option<Checkpoint>,
    /// Archived runs that are not known to be unlisted.
    pub listed: u64,
    /// Whether a complete walk once went from the listing's start to its end.
    pub is_proved: bool,
    /// Whether the whole listing is to be walked, because somebody asks for it or the last time is long ago.
    pub is_full_due: bool,
    /// Whether a full walk was interrupted and says where to go on.
    pub is_open: bool,
    /// Whether the last walk was an incremental one that was stopped after many pages.
    pub was_cut_short: bool,
}

/// The walks that a sync takes, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Course {
    /// The whole listing, from its start.
    Whole,
    /// What began since the last complete walk.
    Incremental,
    /// The interrupted walk to its end, then what began while it was interrupted. An unordered listing has no
    /// place where such runs stand, so the second walk is left to the next sync.
    Resume {
        /// Whether the second walk follows.
        then_incremental: bool,
    },
    /// What is new first, then the interrupted walk to its end.
    IncrementalThenResume,
}

/// Which walks are due, where there is anything to ask at all.
pub(crate) fn plan_course(known: &ListingKnown, is_full_asked: bool) -> Course {
    let is_unordered = known.order == Some(Order::Unordered);
    if is_full_asked {
        return Course::Whole;
    }
    if known.is_open {
        // What is new comes first, unless the way to it needs the interrupted walk, or lately led nowhere.
        let must_resume = !known.is_proved || is_unordered || known.was_cut_short;
        return if must_resume {
            Course::Resume { then_incremental: !is_unordered }
        } else {
            Course::IncrementalThenResume
        };
    }
    // A full walk goes on where it was stopped; an incremental one that was cut short would not.
    if known.was_cut_short || known.is_full_due { Course::Whole } else { Course::Incremental }
}

/// How to find what began since the last complete walk; `None` where it may stand anywhere in the
/// listing. An order
/// that was seen last time is only a guess of where to begin: the walk itself must see it again.
pub(crate) fn plan_incremental(known: &ListingKnown, page_size: u32) -> Option<Plan> {
    // A page may hold less than is asked for, so the longest page that came counts, too.
    let longest = known.end.as_ref().map_or(0, |end| end.longest);
    let fits_one_page = known.listed < u64::from(page_size) && (longest == 0 || known.listed <= longest);
    match (known.order, &known.end) {
        (Some(Order::OldestFirst | Order::Unordered), _) if fits_one_page => {
            Some(Plan::OnePage { listed: known.listed })
        }
        (Some(Order::Unordered), _) => None,
        (Some(Order::OldestFirst), Some(end)) => Some(Plan::Oldest(end.clone())),
        _ => Some(Plan::Newest { listed: Some(known.listed) }),
    }
}

/// Whether the connection itself is the one to ask first: where the newest runs come last, or in no order, and
/// no link shows the end, it takes a second page to prove that nothing began.
pub(crate) fn is_connection_asked_first(known: &ListingKnown) -> bool {
    let is_end_linked = known.end.as_ref().is_some_and(|end| end.is_end_linked);
    matches!(known.order, Some(Order::OldestFirst | Order::Unordered)) && !is_end_linked
}

/// What is archived of the run that a connection names as its last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LastRunKnown {
    /// It names none, although its links speak of it: no run has begun.
    Never {
        /// Whether any run of the connection is archived, or was.
        has_runs: bool,
    },
    /// A run that is archived, or was until it was pruned, and may be listed still.
    Archived,
    /// A run that is archived, although one that began after it is archived and listed too: the name is an old
    /// one, and says nothing of what came after it.
    Superseded,
    /// A run that is archived and proved gone: it says nothing of what came after it.
    Gone,
    /// A run that answered 404 by its id when it was last named.
    Noted,
    /// Any other.
    Unknown,
}

/// Whether nothing began since all was proved stored. `is_repeated`: the connection named the same last run
/// before the last complete walk.
pub(crate) fn is_unchanged(known: &ListingKnown, last_run: LastRunKnown, is_repeated: bool) -> bool {
    let proves = match last_run {
        LastRunKnown::Archived => is_repeated,
        LastRunKnown::Never { has_runs } => is_repeated && !has_runs,
        LastRunKnown::Superseded | LastRunKnown::Gone | LastRunKnown::Noted | LastRunKnown::Unknown => false,
    };
    proves && known.is_proved && !known.is_open && !known.was_cut_short && !known.is_full_due
}

/// Whether the named run must be asked for by its id before a walk that met it nowhere counts.
pub(crate) fn must_ask_for(last_run: LastRunKnown) -> bool {
    last_run == LastRunKnown::Unknown
}

/// What a walk is worth that did not meet the named run, although the platform has it by its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lacking {
    /// It did not see all of the listing, so the listing is walked whole.
    WalkWhole,
    /// The whole listing lacks a run that is there: it may lack others.
    NotComplete,
}

/// See [`Lacking`].
pub(crate) fn plan_after_lacking(was_whole: bool) -> Lacking {
    if was_whole { Lacking::NotComplete } else { Lacking::WalkWhole }
}
