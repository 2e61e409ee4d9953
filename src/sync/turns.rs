//! Whose turn it is, for how long, and when nothing more is begun: without awaiting anything. [`super::fleet`]
//! does what is decided here.
//!
//! In: iModels to ask and connections to sync, and what came of each. Out: what to begin next, for how long it
//! may take, and what is left over. A connection's turn comes before the next iModel's, so that a sync which
//! runs out of time has stored whole connections; one that gave way has its next turn once nobody waits for a
//! first one.

use std::collections::{BTreeMap, HashSet, VecDeque};

use tokio::time::Duration;

use super::connection::ConnectionPart;
use super::expected::{Expected, Presence, WantedImodel};
use super::problem::Problem;
use crate::api::wire;
use crate::api::{self, ConnectionId, Kind, Reason};

/// iModels in a row whose connections of one kind cannot be listed, before the others are left for later.
const MOST_OUTAGES: u32 = 3;
/// The same once other iModels' connections of that kind were listed: then it may be these iModels.
const MOST_OUTAGES_OF_SOME: u32 = 12;
/// Refusals of the credentials, or hosts that cannot be reached, in a row, after which no further request is
/// expected to be accepted.
const MOST_REFUSED: u32 = 4;
/// The least that a turn lasts while others wait: a request that comes slowly has time to be answered.
const LEAST_TURN: Duration = Duration::from_secs(30);
/// A time budget with less than this left is not divided any more.
const LAST_TURN: Duration = Duration::from_secs(1);

/// A connection to be synced, with what a list said of it.
#[derive(Debug)]
pub(super) struct WantedConnection {
    /// Its place in the summary: those that were named in the order given, then those that were found.
    pub(super) place: usize,
    pub(super) id: ConnectionId,
    pub(super) listed: Option<wire::Connection>,
    /// What its earlier turns in this sync brought, if it had any.
    pub(super) earlier: Option<ConnectionPart>,
}

/// What to begin.
#[derive(Debug)]
pub(super) enum Begin {
    Sync(Box<WantedConnection>),
    /// A list of an iModel's connections of one kind.
    List(WantedImodel, Kind),
}

/// How often lists of one kind failed.
#[derive(Debug, Default, Clone, Copy)]
struct Outages {
    in_a_row: u32,
    was_answered: bool,
}

impl Outages {
    fn is_down(self) -> bool {
        self.in_a_row >= if self.was_answered { MOST_OUTAGES_OF_SOME } else { MOST_OUTAGES }
    }
}

/// What the kinds asked of an iModel have said so far.
#[derive(Debug, Default)]
struct Kinds {
    /// Kinds that are still to be answered for.
    left: usize,
    /// Whether one answer did not say that it is gone.
    may_be_there: bool,
}

/// Who waits, and whether anything more is begun.
#[derive(Debug, Default)]
pub(super) struct Turns {
    imodels: VecDeque<(WantedImodel, Kind)>,
    connections: VecDeque<WantedConnection>,
    /// Connections that gave way to others.
    again: VecDeque<WantedConnection>,
    known: HashSet<ConnectionId>,
    answers: BTreeMap<String, Kinds>,
    outages: BTreeMap<Kind, Outages>,
    refused_in_a_row: u32,
    unasked: HashSet<String>,
    stopped: Option<Reason>,
}

impl Turns {
    /// Has iModels asked for these kinds of connections: the one that was asked longest ago first. One that is
    /// expected for several reasons counts by the best of them.
    pub(super) fn set_imodels(&mut self, mut imodels: Vec<WantedImodel>, kinds: &[Kind]) {
        // The best expectation of an iModel stands first now, and is the one that is kept below.
        imodels.sort_by_key(|imodel| imodel.expected);
        let mut seen: HashSet<String> = HashSet::new();
        imodels.retain(|imodel| {
            let is_new = !api::spellings(&imodel.id).iter().any(|id| seen.contains(id));
            is_new && seen.insert(imodel.id.clone())
        });
        // Longest ago first, so that a time budget which is always spent leaves over other iModels each
        // time.
        imodels.sort_by(|a, b| a.asked_at.cmp(&b.asked_at));
        let unanswered = || Kinds { left: kinds.len(), may_be_there: false };
        self.answers = imodels.iter().map(|imodel| (imodel.id.clone(), unanswered())).collect();
        self.imodels = imodels
            .into_iter()
            .flat_map(|imodel| kinds.iter().map(move |kind| (imodel.clone(), *kind)))
            .collect();
    }

    /// Has a connection synced, unless it has its turn already.
    pub(super) fn add_connection(&mut self, id: ConnectionId, listed: Option<wire::Connection>) {
        if !self.is_known(&id) {
            self.known.insert(id.clone());
            let place = self.known.len();
            self.connections.push_back(WantedConnection { place, id, listed, earlier: None });
        }
    }

    /// Whether the connection has its turn already, whatever letters its UUID was named by.
    pub(super) fn is_known(&self, id: &ConnectionId) -> bool {
        let in_letters = |letters: String| ConnectionId::new(id.kind(), &letters).ok();
        api::spellings(id.as_str()).into_iter().filter_map(in_letters).any(|id| self.known.contains(&id))
    }

    /// Puts the connections that wait in the order of this key.
    pub(super) fn sort_connections<K: Ord>(&mut self, key: impl FnMut(&WantedConnection) -> K) {
        self.connections.make_contiguous().sort_by_cached_key(key);
    }

    /// What to begin next; `None` where nobody waits, or nothing more is begun.
    pub(super) fn next(&mut self) -> Option<Begin> {
        if self.stopped.is_some() {
            return None;
        }
        // Connections before lists: what was found is archived before more is looked for, and fewer wait in
        // memory.
        if let Some(connection) = self.connections.pop_front() {
            return Some(Begin::Sync(connection.into()));
        }
        while let Some((imodel, kind)) = self.imodels.pop_front() {
            if !self.outages.get(&kind).is_some_and(|outages| outages.is_down()) {
                return Some(Begin::List(imodel, kind));
            }
            self.unasked.insert(imodel.id);
        }
        self.again.pop_front().map(|connection| Begin::Sync(connection.into()))
    }

    /// A connection gave way to others: it goes on later. Gives it back where nothing more is begun.
    pub(super) fn give_way(&mut self, connection: WantedConnection) -> Option<WantedConnection> {
        if self.stopped.is_some() {
            return Some(connection);
        }
        self.again.push_back(connection);
        None
    }

    /// Those that wait: iModels by their kinds, and connections.
    pub(super) fn waiting(&self) -> (usize, usize) {
        (self.imodels.len(), self.connections.len() + self.again.len())
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.is_some()
    }

    /// The platform answered a request for lists of this kind.
    pub(super) fn count_list(&mut self, kind: Kind) {
        self.outages.insert(kind, Outages { in_a_row: 0, was_answered: true });
        self.refused_in_a_row = 0;
    }

    /// A request for lists of this kind failed for a reason that may be the service's.
    pub(super) fn count_outage(&mut self, kind: Kind) {
        self.outages.entry(kind).or_default().in_a_row += 1;
    }

    /// A connection was synced without a problem.
    pub(super) fn count_success(&mut self) {
        self.refused_in_a_row = 0;
    }

    /// Counts a failure. Where no further request can succeed, nothing more is begun: `was_accepted` says
    /// whether the platform has accepted the credentials in this sync.
    pub(super) fn count_failure(&mut self, reason: Reason, was_accepted: bool) {
        // One refusal or broken connection may concern a single connection; in a row they say that none will
        // succeed.
        let is_useless = matches!(reason, Reason::Refused | Reason::Unreachable(_));
        self.refused_in_a_row = if is_useless { self.refused_in_a_row + 1 } else { 0 };
        let is_refused = is_useless && !was_accepted;
        let is_over = matches!(reason, Reason::BudgetSpent { .. } | Reason::Stopped);
        if is_refused || is_over || self.refused_in_a_row >= MOST_REFUSED {
            self.stopped.get_or_insert(reason);
        }
    }

    /// One kind of an iModel's connections has been answered for. Gives whether the iModel is gone by what all
    /// kinds said; one that its iTwin lists is there, whatever its connections are.
    pub(super) fn count_presence(&mut self, imodel: &WantedImodel, presence: Presence) -> bool {
        let Some(kinds) = self.answers.get_mut(&imodel.id) else { return false };
        kinds.left = kinds.left.saturating_sub(1);
        kinds.may_be_there |= presence != Presence::Gone;
        // An iModel that its iTwin lists is there, and one that is doubtful may only be out of sight.
        let may_go = matches!(imodel.expected, Expected::Named | Expected::Missing);
        kinds.left == 0 && !kinds.may_be_there && may_go
    }

    /// Ends the turns: what was not begun, because nothing more could be.
    pub(super) fn end(&mut self) -> Leftover {
        let mut problems = Vec::new();
        for (&kind, outages) in self.outages.iter().filter(|(_, outages)| outages.is_down()) {
            let unasked = self.unasked.len();
            if unasked > 0 {
                problems.push(Problem::Down { kind, in_a_row: outages.in_a_row, unasked });
            }
        }
        let waited: HashSet<String> = self.imodels.drain(..).map(|(imodel, _)| imodel.id).collect();
        if let Some(why) = self.stopped.filter(|_| waited.len() + self.connections.len() > 0) {
            problems.push(Problem::Left { why, connections: self.connections.len(), imodels: waited.len() });
        }
        self.unasked.extend(waited);
        Leftover { problems, unasked: self.unasked.len() as u64, again: self.again.drain(..).collect() }
    }
}

/// What is left when the turns have ended.
#[derive(Debug)]
pub(super) struct Leftover {
    pub(super) problems: Vec<Problem>,
    /// iModels that were to be asked and were not.
    pub(super) unasked: u64,
    /// Connections that had a turn and were to have another.
    pub(super) again: Vec<WantedConnection>,
}

/// How long a turn lasts of what is `left` of a time budget, where so many `connections` still have theirs;
/// `None`: as long as it takes.
pub(super) fn share_of(left: Duration, concurrency: usize, connections: usize) -> Option<Duration> {
    if left < LAST_TURN {
        return None;
    }
    let at_a_time = u32::try_from(concurrency.max(1)).unwrap_or(u32::MAX);
    let connections = u32::try_from(connections.max(1)).unwrap_or(u32::MAX);
    let fair = left.saturating_mul(at_a_time) / connections;
    Some(fair.max(LEAST_TURN.min(left / 4)).min(left))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::FileFailurePersistence;

    use super::*;
    use crate::sync::expected::{ListAnswer, judge};

    #[test]
    fn a_turn_is_a_fair_share_and_no_shorter_than_a_slow_answer_takes() {
        let share = |left: u64, concurrency, connections| {
            share_of(Duration::from_secs(left), concurrency, connections).map(|share| share.as_secs())
        };
        assert_eq!(share(3_600, 4, 40), Some(360));
        assert_eq!(share(3_600, 4, 10_000), Some(30));
        // A small budget is divided all the same, and its end is left to whoever has the turn.
        assert_eq!((share(40, 1, 100), share(8, 1, 2)), (Some(10), Some(4)));
        assert_eq!(share(60, 4, 3), Some(60));
        assert_eq!(share(0, 4, 3), None);
    }

    fn imodel(number: u8, expected: Expected) -> WantedImodel {
        let id = format!("imodel-{number}");
        WantedImodel { name: id.clone(), id, asked_at: None, expected }
    }

    fn connection(number: u8) -> ConnectionId {
        ConnectionId::new(Kind::Export, &format!("connection-{number}")).unwrap()
    }

    /// What comes of whatever is begun.
    #[derive(Debug, Clone, Copy)]
    enum Fate {
        /// It succeeds; a list names one more connection.
        Succeeds,
        GivesWay,
        Fails(Reason),
    }

    fn any_fate() -> impl Strategy<Value = Fate> {
        let reasons = vec![
            Reason::Refused,
            Reason::Forbidden,
            Reason::NotFound,
            Reason::Unavailable,
            Reason::Stopped,
            Reason::BudgetSpent { asked: None },
        ];
        prop_oneof![
            8 => Just(Fate::Succeeds),
            2 => Just(Fate::GivesWay),
            2 => prop::sample::select(reasons).prop_map(Fate::Fails),
            1 => Just(Fate::Fails(Reason::Unavailable)),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: Some(Box::new(FileFailurePersistence::Off)), ..ProptestConfig::default() })]

        #[test]
        fn everyone_who_waits_has_a_turn_or_is_left_over_and_nobody_has_two_first_ones(
            named in prop::collection::vec(0_u8..8, 0..6), imodels in prop::collection::vec(0_u8..8, 0..12),
            fates in prop::collection::vec(any_fate(), 1..40), was_accepted in any::<bool>(),
        ) {
            let kinds = [Kind::Export, Kind::Storage];
            let mut turns = Turns::default();
            named.iter().for_each(|number| turns.add_connection(connection(*number), None));
            turns.set_imodels(imodels.iter().map(|number| imodel(*number, Expected::Listed)).collect(), &kinds);
            let (lists, _) = turns.waiting();
            let distinct: HashSet<u8> = imodels.iter().copied().collect();
            prop_assert_eq!(lists, distinct.len() * kinds.len());

            let (mut listed, mut synced, mut paused) = (HashSet::new(), HashSet::new(), HashSet::new());
            let mut fates = fates.iter().copied().cycle();
            for begun in 0..200 {
                let (_, waiting) = turns.waiting();
                let Some(next) = turns.next() else { break };
                prop_assert!(!turns.is_stopped());
                let fate = if begun < 100 { fates.next().unwrap() } else { Fate::Succeeds };
                match next {
                    Begin::List(imodel, kind) => {
                        // A connection that waits for its first turn comes before every list.
                        prop_assert_eq!(waiting, paused.len());
                        prop_assert!(listed.insert((imodel.id.clone(), kind)));
                        match fate {
                            Fate::Fails(reason) => {
                                let judgement = judge(imodel.expected, ListAnswer::Failed(reason));
                                if judgement.is_outage { turns.count_outage(kind) }
                                turns.count_failure(reason, was_accepted);
                            }
                            Fate::Succeeds | Fate::GivesWay => {
                                turns.count_list(kind);
                                turns.add_connection(connection(listed.len() as u8), None);
                            }
                        }
                    }
                    Begin::Sync(mut target) => {
                        let is_first = synced.insert(target.id.clone());
                        prop_assert!(is_first || paused.remove(&target.id), "{:?} had its turn", target);
                        // Another turn comes once no iModel waits that may be asked.
                        let (still_waiting, _) = turns.waiting();
                        prop_assert!(is_first || still_waiting == 0);
                        match fate {
                            Fate::GivesWay => {
                                target.earlier = Some(ConnectionPart::new(&target.id));
                                paused.insert(target.id.clone());
                                prop_assert!(turns.give_way(*target).is_none());
                            }
                            Fate::Succeeds => turns.count_success(),
                            Fate::Fails(reason) => turns.count_failure(reason, was_accepted),
                        }
                    }
                }
            }
            let stopped = turns.is_stopped();
            let (_, waiting) = turns.waiting();
            let known = turns.known.len();
            let left = turns.end();
            prop_assert_eq!(known - synced.len(), waiting - left.again.len());
            prop_assert!(stopped || waiting == 0, "{} wait although nothing stopped them", waiting);
            prop_assert_eq!(left.again.len(), paused.len());
            let begun: HashSet<&String> = listed.iter().map(|(id, _)| id).collect();
            prop_assert!(begun.len() as u64 + left.unasked >= distinct.len() as u64);
            let is_reported = left.problems.iter().any(|problem| matches!(problem, Problem::Down { .. } | Problem::Left { .. }));
            prop_assert!(left.unasked == 0 || is_reported, "iModels that were not asked are a problem");
        }
    }
}
