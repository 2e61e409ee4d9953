//! Which walks of a connection are due, and with what page size they begin.
//!
//! In: what is archived of the connection, the run that it names as its last, and the rules of this sync. Out:
//! whether there is anything to ask, and the walks to take in their order. Pure: [`super::connection`] does
//! what is decided here. What a walk asks, and when it may end, is decided in [`crate::walk`].

use std::time::Duration;

use super::listing::SMALLEST_PAGE;
use crate::store::checkpoints::ConnectionState;
use crate::store::known::Standing;
use crate::time::UtcText;
use crate::walk::plan::{self, Course, LastRunKnown, ListingKnown};
use crate::walk::{Checkpoint, Order};

/// A page size that was refused once is tried again by this much more, where the whole listing is walked.
const SECOND_TRY: u32 = 10;

/// What a sync was asked for, as far as it concerns one connection.
#[derive(Debug, Clone)]
pub(super) struct Rules {
    /// Whether every listing is to be walked whole.
    pub(super) is_full_asked: bool,
    /// Whether the connection had a turn in this sync before, so that what was asked for is done already.
    pub(super) is_next_turn: bool,
    /// After how long its listing is walked whole regardless.
    pub(super) full_every: Duration,
    /// `$top` to begin with.
    pub(super) page_size: u32,
    /// Whether somebody chose the page size: then what was learned of the platform's is ignored.
    pub(super) is_page_size_given: bool,
}

/// The run that a connection names as its last, and what is archived of it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NamedRun<'a> {
    /// Its id; empty where the connection says that no run has begun.
    pub(super) id: &'a str,
    pub(super) standing: Standing,
}

/// How the runs are had that are not terminal and due to be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Waiting {
    Nothing,
    Requests,
    /// By a walk that goes down to them.
    Walk,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Due {
    /// Nothing began since all was proved stored, and nothing is waited for.
    Nothing,
    /// Nothing began, but runs that are not terminal are due to be asked for.
    OnlyUnfinished,
    Walks(Walks),
}

/// The walks to take, and how.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Walks {
    /// In their order; there is one at least.
    pub(super) steps: Vec<WalkStep>,
    /// `$top` to begin with.
    pub(super) page_size: u32,
    /// Whether the newest runs are fetched without proof where an interrupted walk cannot go on: no complete
    /// walk has proved where they end, and they must not wait for a page that cannot be had.
    pub(super) falls_back: bool,
}

/// One walk.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum WalkStep {
    /// The whole listing, from its start.
    Full {
        /// Whether it takes the place of an interrupted walk that cannot go on.
        starts_over: bool,
    },
    /// What began since the last complete walk; how is decided once the steps before it are done.
    Incremental,
    /// An interrupted walk to its end.
    Resume {
        walk_key: i64,
        checkpoint: Checkpoint,
        /// Whether no other walk follows, so that what began meanwhile shows only by the connection's last run.
        is_last: bool,
    },
}

/// What is to be done about a connection in this state.
pub(super) fn plan_walks(
    state: &ConnectionState,
    named: Option<NamedRun<'_>>,
    waiting: Waiting,
    rules: &Rules,
    now: &UtcText,
) -> Due {
    let is_unchanged = named.is_some_and(|named| is_unchanged(state, named, rules, now));
    match waiting {
        Waiting::Nothing if is_unchanged => return Due::Nothing,
        Waiting::Requests if is_unchanged => return Due::OnlyUnfinished,
        Waiting::Nothing | Waiting::Requests | Waiting::Walk => {}
    }

    let is_full_asked = rules.is_full_asked && !rules.is_next_turn;
    let open = state.open_walk.as_ref();
    let resume = |is_last| match open {
        // A checkpoint that cannot be read was written by another version: that walk starts over.
        Some((walk_key, json)) => match serde_json::from_str(json) {
            Ok(checkpoint) => WalkStep::Resume { walk_key: *walk_key, checkpoint, is_last },
            Err(_) => WalkStep::Full { starts_over: true },
        },
        None => WalkStep::Full { starts_over: false },
    };
    let steps = match plan::plan_course(&listing_known(state, rules, now), is_full_asked) {
        Course::Whole => vec![WalkStep::Full { starts_over: false }],
        Course::Incremental => vec![WalkStep::Incremental],
        Course::Resume { then_incremental: true } => vec![resume(false), WalkStep::Incremental],
        Course::Resume { then_incremental: false } => vec![resume(true)],
        Course::IncrementalThenResume => vec![WalkStep::Incremental, resume(false)],
    };

    let is_full_walk = is_full_asked || is_full_walk_due(state, rules, now);
    Due::Walks(Walks {
        steps,
        page_size: plan_page_size(state.page_size, is_full_walk, rules),
        falls_back: open.is_some() && state.full_walk_at.is_none(),
    })
}

/// Whether the run that the connection names as its last says that none began since all were proved stored.
pub(super) fn is_unchanged(
    state: &ConnectionState,
    named: NamedRun<'_>,
    rules: &Rules,
    now: &UtcText,
) -> bool {
    let known = listing_known(state, rules, now);
    !rules.is_full_asked
        && plan::is_unchanged(&known, last_run_known(state, named), is_repeated(state, named.id))
}

/// Whether the connection named the same last run before its last complete walk.
pub(super) fn is_repeated(state: &ConnectionState, last_run: &str) -> bool {
    state.last_run_id.as_deref() == Some(last_run)
}

/// What is known of the run that a connection names as its last.
pub(super) fn last_run_known(state: &ConnectionState, named: NamedRun<'_>) -> LastRunKnown {
    match named.standing {
        _ if named.id.is_empty() => LastRunKnown::Never { has_runs: state.has_runs },
        Standing::Archived => LastRunKnown::Archived,
        Standing::Superseded => LastRunKnown::Superseded,
        Standing::Gone => LastRunKnown::Gone,
        Standing::Unknown if is_repeated(state, named.id) => LastRunKnown::Noted,
        Standing::Unknown => LastRunKnown::Unknown,
    }
}

/// What the walk's own decisions need to know of the listing; where it ended is read only here, since most
/// connections have nothing new and never need it.
pub(super) fn listing_known(state: &ConnectionState, rules: &Rules, now: &UtcText) -> ListingKnown {
    ListingKnown {
        order: order(state),
        end: None,
        listed: state.listed + state.pruned,
        is_proved: state.full_walk_at.is_some(),
        is_full_due: is_full_walk_due(state, rules, now),
        is_open: state.open_walk.is_some(),
        was_cut_short: state.was_cut_short,
    }
}

/// The same with the place where the listing ended.
pub(super) fn listing_known_to_its_end(
    state: &ConnectionState,
    rules: &Rules,
    now: &UtcText,
) -> ListingKnown {
    let end = state.listing_end.as_deref().and_then(|json| serde_json::from_str(json).ok());
    ListingKnown { end, ..listing_known(state, rules, now) }
}

/// The order of the listing that the last walk saw.
pub(super) fn order(state: &ConnectionState) -> Option<Order> {
    state.listing_order.as_deref().and_then(Order::from_stored)
}

/// Whether it is time to walk the whole listing regardless. A clock that was set back makes it time, too.
fn is_full_walk_due(state: &ConnectionState, rules: &Rules, now: &UtcText) -> bool {
    let Some(then) = state.full_walk_at else { return true };
    match then.milliseconds_until(now) {
        Some(passed) => {
            i128::from(passed) >= i128::try_from(rules.full_every.as_millis()).unwrap_or(i128::MAX)
        }
        None => true,
    }
}

/// The page size to begin with. A full walk tries a larger page again, since what was refused once may have been
/// a bad hour; ten times as much, because a timeout takes as much away in one step.
fn plan_page_size(learned: Option<u32>, is_full_walk: bool, rules: &Rules) -> u32 {
    let asked = rules.page_size.max(SMALLEST_PAGE);
    let Some(learned) = learned.filter(|_| !rules.is_page_size_given) else { return asked };
    let size = if is_full_walk { learned.saturating_mul(SECOND_TRY) } else { learned };
    asked.min(size.max(SMALLEST_PAGE))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;

    use super::*;

    fn time(hour: u32) -> UtcText {
        UtcText::parse_sent(&format!("2026-01-{:02}T{:02}:00:00Z", 1 + hour / 24, hour % 24)).unwrap()
    }

    fn any_state() -> impl Strategy<Value = ConnectionState> {
        let json = prop::sample::select(vec!["{}", "of another version"]);
        let checkpoint = serde_json::to_string(&Checkpoint::default()).unwrap();
        let json = json.prop_map(move |json| if json == "{}" { checkpoint.clone() } else { json.to_owned() });
        let order =
            prop::sample::select(vec![None, Some("newest first"), Some("oldest first"), Some("none")]);
        let last_run = prop::sample::select(vec![None, Some(""), Some("a"), Some("b")]);
        let walks = (prop::option::of(0_u32..200), prop::option::of((1_i64..9, json)), any::<bool>());
        let counts = (0_u64..3, 0_u64..2, any::<bool>(), prop::option::of(0_u32..2_000));
        (order, last_run, walks, counts).prop_map(|(order, last_run, walks, counts)| ConnectionState {
            listing_order: order.map(str::to_owned),
            last_run_id: last_run.map(str::to_owned),
            full_walk_at: walks.0.map(time),
            open_walk: walks.1,
            was_cut_short: walks.2,
            listed: counts.0,
            pruned: counts.1,
            has_runs: counts.2,
            page_size: counts.3,
            ..ConnectionState::default()
        })
    }

    fn any_rules() -> impl Strategy<Value = Rules> {
        (any::<bool>(), any::<bool>(), 0_u64..200, 0_u32..2_000, any::<bool>()).prop_map(
            |(is_full_asked, is_next_turn, hours, page_size, is_page_size_given)| Rules {
                is_full_asked,
                is_next_turn,
                full_every: Duration::from_secs(hours * 3_600),
                page_size,
                is_page_size_given,
            },
        )
    }

    fn any_standing() -> impl Strategy<Value = Standing> {
        let all = vec![Standing::Archived, Standing::Superseded, Standing::Gone, Standing::Unknown];
        prop::sample::select(all)
    }

    fn any_named() -> impl Strategy<Value = Option<(&'static str, Standing)>> {
        prop::option::of((prop::sample::select(vec!["", "a", "b"]), any_standing()))
    }

    fn any_waiting() -> impl Strategy<Value = Waiting> {
        prop::sample::select(vec![Waiting::Nothing, Waiting::Requests, Waiting::Walk])
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 4_000, failure_persistence: Some(Box::new(FileFailurePersistence::Off)), ..ProptestConfig::default() })]

        #[test]
        fn a_connection_is_left_alone_only_where_all_was_proved_and_its_last_run_is_the_same(
            state in any_state(), named in any_named(), waiting in any_waiting(), rules in any_rules(), hour in 0_u32..400,
        ) {
            let run = named.map(|(id, standing)| NamedRun { id, standing });
            let due = plan_walks(&state, run, waiting, &rules, &time(hour));
            if let Due::Nothing | Due::OnlyUnfinished = due {
                prop_assert!(!rules.is_full_asked && waiting != Waiting::Walk);
                prop_assert_eq!(due == Due::OnlyUnfinished, waiting == Waiting::Requests);
                prop_assert!(state.full_walk_at.is_some_and(|then| u64::from(hour) * 3_600 < rules.full_every.as_secs() + seconds(&then)));
                prop_assert!(state.open_walk.is_none() && !state.was_cut_short);
                let (id, standing) = named.unwrap();
                prop_assert_eq!(state.last_run_id.as_deref(), Some(id));
                let proves = if id.is_empty() { !state.has_runs } else { standing == Standing::Archived };
                prop_assert!(proves, "{:?} {:?}", id, standing);
            }
        }

        #[test]
        fn walks_go_on_where_one_was_interrupted_and_cover_what_is_asked_for(
            state in any_state(), named in any_named(), waiting in any_waiting(), rules in any_rules(), hour in 0_u32..400,
        ) {
            let named = named.map(|(id, standing)| NamedRun { id, standing });
            let Due::Walks(walks) = plan_walks(&state, named, waiting, &rules, &time(hour)) else { return Ok(()) };
            prop_assert!((1..=2).contains(&walks.steps.len()));
            if rules.is_full_asked && !rules.is_next_turn {
                prop_assert_eq!(&walks.steps, &[WalkStep::Full { starts_over: false }]);
            }
            let resumed = walks.steps.iter().filter(|step| matches!(step, WalkStep::Resume { .. })).count();
            let may_resume = state.open_walk.as_ref().is_some_and(|(_, json)| json.starts_with('{'));
            prop_assert!(resumed <= usize::from(may_resume));
            // Where nothing is proved, one of the walks goes through the whole listing.
            let is_short = walks.steps.iter().all(|step| *step == WalkStep::Incremental);
            prop_assert!(!is_short || state.full_walk_at.is_some());
            prop_assert_eq!(walks.falls_back, state.open_walk.is_some() && state.full_walk_at.is_none());
            let asked = rules.page_size.max(SMALLEST_PAGE);
            prop_assert!((SMALLEST_PAGE..=asked).contains(&walks.page_size));
            prop_assert!(!rules.is_page_size_given || walks.page_size == asked);
        }

        #[test]
        fn as_time_passes_more_is_due_never_less(
            state in any_state(), named in any_named(), waiting in any_waiting(), rules in any_rules(),
            hour in 0_u32..200, later in 0_u32..200,
        ) {
            // A full walk that is to come by a clock that was wrong is not looked at here.
            if state.full_walk_at.is_some_and(|then| then > time(hour)) {
                return Ok(());
            }
            let plan = |hour: u32| {
                let named = named.map(|(id, standing)| NamedRun { id, standing });
                plan_walks(&state, named, waiting, &rules, &time(hour))
            };
            let (then, now) = (plan(hour), plan(hour + later));
            prop_assert!(matches!(now, Due::Walks(_)) || then == now, "{:?} {:?}", then, now);
        }
    }

    fn seconds(time: &UtcText) -> u64 {
        self::time(0).milliseconds_until(time).unwrap().unsigned_abs() / 1_000
    }
}
