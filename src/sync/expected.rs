//! What is expected of iModels, and what their answers say of them: whether they are there, gone, or
//! neither is known. Pure; [`super::finding`] asks, and does what is decided here.
//!
//! In: what an iTwin lists, what it listed before, and how an iModel answered. Out: which iModels are asked, and
//! a [`Judgement`] of each answer. Nothing is said to be gone that may only be out of sight: a service
//! application that lost its role is given empty lists, not errors.

use std::collections::{HashMap, HashSet};

use super::discovery::Listed;
use crate::api::Reason;
use crate::api::wire::Named;
use crate::store::fleet::KnownImodel;

/// Why an iModel is asked, and so what is expected of it; the best that is said of it comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Expected {
    /// Somebody named it: it must be there.
    Named,
    /// Its iTwin lists it, or did when it was last asked.
    Listed,
    /// Its iTwin lists no iModel any more, where it did: whether it is there is not known.
    Doubtful,
    /// Its iTwin lists others, but no longer this one: it is gone, or out of sight.
    Missing,
}

/// How an iModel answered when it was asked for its connections of one kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ListAnswer {
    /// With a list that holds something, or may.
    Some,
    /// With an empty list, where none was known, or the one that was asked for by its id is gone or has moved.
    Nothing,
    /// With an empty list, although one that was known is there by its id, or that is not known.
    Lost,
    Failed(Reason),
}

/// What an answer says of an iModel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Presence {
    There,
    /// It is not there, or out of sight.
    Gone,
    Unclear,
    /// It was not asked: the request was not sent, or nobody answered.
    Unasked,
}

/// What follows from an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Judgement {
    pub(super) presence: Presence,
    /// Whether an error is a problem of the sync; else it is only logged.
    pub(super) is_problem: bool,
    /// Whether the service fails, so that too many such answers in a row keep others from being asked.
    pub(super) is_outage: bool,
    /// Whether the connections that were listed before are no longer.
    pub(super) is_list_gone: bool,
}

/// What an answer says of an iModel, by what was expected of it:
///
/// | answer                  | named          | listed    | doubtful  | missing   |
/// |-------------------------|----------------|-----------|-----------|-----------|
/// | some                    | there          | there     | there     | there     |
/// | nothing                 | there          | there     | unclear   | gone      |
/// | lost                    | unclear        | unclear   | unclear   | unclear   |
/// | 404                     | gone, problem  | gone      | unclear   | gone      |
/// | 403                     | problem        | problem   | unclear   | gone      |
/// | nobody was asked        | problem        | problem   | problem   | problem   |
/// | any other error         | problem        | problem   | problem   | problem   |
pub(super) fn judge(expected: Expected, answer: ListAnswer) -> Judgement {
    use Reason::{
        BudgetSpent, Forbidden, NotFound, Refused, Stopped, TimedOut, Unavailable, Unreachable, Unreadable,
    };
    let silent = |presence| Judgement { presence, is_problem: false, is_outage: false, is_list_gone: false };
    match (answer, expected) {
        (ListAnswer::Some, _) => silent(Presence::There),
        (ListAnswer::Lost, _) | (ListAnswer::Nothing, Expected::Doubtful) => silent(Presence::Unclear),
        (ListAnswer::Nothing, Expected::Missing) => silent(Presence::Gone),
        (ListAnswer::Nothing, Expected::Named | Expected::Listed) => silent(Presence::There),
        (ListAnswer::Failed(NotFound | Forbidden), Expected::Doubtful) => silent(Presence::Unclear),
        (ListAnswer::Failed(NotFound), _) | (ListAnswer::Failed(Forbidden), Expected::Missing) => Judgement {
            is_problem: expected == Expected::Named,
            is_list_gone: true,
            ..silent(Presence::Gone)
        },
        (ListAnswer::Failed(reason), _) => {
            let is_unasked = matches!(reason, BudgetSpent { .. } | Stopped | Refused | Unreachable(_));
            let presence = if is_unasked { Presence::Unasked } else { Presence::Unclear };
            let is_outage = matches!(reason, TimedOut { .. } | Unavailable | Unreadable);
            Judgement { is_problem: true, is_outage, ..silent(presence) }
        }
    }
}

/// What is to be made of a connection asked by its id, because its iModel lists none any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Probe {
    /// It is gone, and so are the others.
    Gone,
    /// It belongs to another iModel now, which says nothing against the empty list.
    Moved,
    /// It is there: the list lost it.
    Known,
    /// It is out of sight, as was said of its iTwin already.
    OutOfSight,
    /// The answer is a problem, and nothing is concluded from it.
    Failed,
}

/// What the answer about one connection says of its iModel's empty list.
pub(super) fn judge_probe(expected: Expected, answer: Result<bool, Reason>) -> Probe {
    match (answer, expected) {
        (Ok(has_moved), _) => {
            if has_moved {
                Probe::Moved
            } else {
                Probe::Known
            }
        }
        (Err(Reason::NotFound), _) | (Err(Reason::Forbidden), Expected::Missing) => Probe::Gone,
        (Err(Reason::Forbidden), Expected::Doubtful) => Probe::OutOfSight,
        (Err(_), _) => Probe::Failed,
    }
}

/// An iModel whose connections are to be listed.
#[derive(Debug, Clone)]
pub(super) struct WantedImodel {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) asked_at: Option<String>,
    pub(super) expected: Expected,
}

impl WantedImodel {
    pub(super) fn named(id: String, known: Option<KnownImodel>) -> Self {
        let name = known.as_ref().and_then(|known| known.display_name.clone());
        let name = name.unwrap_or_else(|| id.clone());
        Self { id, name, asked_at: known.and_then(|known| known.asked_at), expected: Expected::Named }
    }

    /// One that its iTwin listed before.
    pub(super) fn known(known: KnownImodel, expected: Expected) -> Self {
        Self { expected, ..Self::named(known.id.clone(), Some(known)) }
    }

    fn listed(named: &Named, known: Option<&KnownImodel>) -> Self {
        Self {
            id: named.id.clone(),
            name: named.name.clone().unwrap_or_else(|| named.id.clone()),
            asked_at: known.and_then(|known| known.asked_at.clone()),
            expected: Expected::Listed,
        }
    }

    pub(super) fn own_name(&self) -> Option<String> {
        Some(self.name.clone()).filter(|name| *name != self.id)
    }
}

/// The iModels of an iTwin that are asked: those that it lists, and those that it listed before. Gives how many
/// it listed before, too, where it lists none any more.
pub(super) fn expect_imodels(
    listed: &Listed<Named>,
    known: Vec<KnownImodel>,
) -> (Vec<WantedImodel>, Option<usize>) {
    let known_by_id: HashMap<&str, &KnownImodel> =
        known.iter().map(|known| (known.id.as_str(), known)).collect();
    let imodels =
        listed.items.iter().map(|named| WantedImodel::listed(named, known_by_id.get(&*named.id).copied()));
    let mut imodels: Vec<WantedImodel> = imodels.collect();

    let names: HashSet<&str> = listed.items.iter().map(|named| named.id.as_str()).collect();
    let is_missing = |known: &KnownImodel| known.is_listed && !names.contains(known.id.as_str());
    let missing: Vec<KnownImodel> = known.into_iter().filter(is_missing).collect();
    let emptied = Some(missing.len()).filter(|count| listed.items.is_empty() && *count > 0);
    // Where more may be there than was read, what was not met may be, too.
    let is_doubtful = emptied.is_some() || listed.doubt.is_some();
    let expected = if is_doubtful { Expected::Doubtful } else { Expected::Missing };
    imodels.extend(missing.into_iter().map(|known| WantedImodel::known(known, expected)));
    (imodels, emptied)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::sync::discovery::ListDoubt;

    const EXPECTED: [Expected; 4] =
        [Expected::Named, Expected::Listed, Expected::Doubtful, Expected::Missing];

    fn reasons() -> Vec<Reason> {
        let asked = None;
        vec![
            Reason::Refused,
            Reason::Forbidden,
            Reason::NotFound,
            Reason::PageTooLarge,
            Reason::TimedOut { after: Duration::ZERO },
            Reason::Throttled { wait: Duration::ZERO },
            Reason::Unavailable,
            Reason::Unreadable,
            Reason::Rejected,
            Reason::BudgetSpent { asked },
            Reason::ShareSpent,
            Reason::Stopped,
        ]
    }

    #[test]
    fn only_what_was_not_expected_or_was_named_is_gone_and_never_where_the_role_may_have_gone() {
        let answers = [ListAnswer::Some, ListAnswer::Nothing, ListAnswer::Lost];
        let answers = answers.into_iter().chain(reasons().into_iter().map(ListAnswer::Failed));
        for answer in answers {
            for expected in EXPECTED {
                let judgement = judge(expected, answer);
                let case = format!("{expected:?} {answer:?}: {judgement:?}");
                let is_gone = judgement.presence == Presence::Gone;
                assert!(!is_gone || expected != Expected::Doubtful, "{case}");
                assert!(!judgement.is_list_gone || is_gone, "{case}");
                assert!(!judgement.is_outage || judgement.is_problem, "{case}");
                // Every error is a problem but those that say what was expected, or that nobody counted on.
                if let ListAnswer::Failed(reason) = answer {
                    let is_silent = match reason {
                        Reason::NotFound => expected != Expected::Named,
                        Reason::Forbidden => matches!(expected, Expected::Doubtful | Expected::Missing),
                        _ => false,
                    };
                    assert_eq!(judgement.is_problem, !is_silent, "{case}");
                }
            }
        }
    }

    #[test]
    fn a_list_that_lost_a_connection_is_told_from_one_that_has_none() {
        for expected in EXPECTED {
            assert_eq!(judge_probe(expected, Ok(true)), Probe::Moved);
            assert_eq!(judge_probe(expected, Ok(false)), Probe::Known);
            assert_eq!(judge_probe(expected, Err(Reason::NotFound)), Probe::Gone);
            assert_eq!(judge_probe(expected, Err(Reason::Unavailable)), Probe::Failed);
        }
        let forbidden = EXPECTED.map(|expected| judge_probe(expected, Err(Reason::Forbidden)));
        assert_eq!(forbidden, [Probe::Failed, Probe::Failed, Probe::OutOfSight, Probe::Gone]);
    }

    fn known(id: &str, is_listed: bool) -> KnownImodel {
        KnownImodel { id: id.to_owned(), display_name: None, asked_at: None, is_listed }
    }

    fn list(ids: &[&str], doubt: Option<ListDoubt>) -> Listed<Named> {
        let items =
            ids.iter().map(|id| Named { id: (*id).to_owned(), name: None, json: String::new() }).collect();
        Listed { items, doubt, pages: 1, unusable: 0 }
    }

    #[test]
    fn an_imodel_that_is_no_longer_listed_is_missing_only_where_others_are_and_the_list_was_read_whole() {
        let before = || vec![known("a", true), known("b", true), known("c", false)];
        let expect = |listed: Listed<Named>| {
            let (imodels, emptied) = expect_imodels(&listed, before());
            let all = imodels.into_iter().map(|imodel| (imodel.id, imodel.expected)).collect::<Vec<_>>();
            (all, emptied)
        };
        let both = |a, b| vec![("a".to_owned(), a), ("b".to_owned(), b)];
        assert_eq!(expect(list(&["a"], None)), (both(Expected::Listed, Expected::Missing), None));
        let doubtful = list(&["a"], Some(ListDoubt::Beginning));
        assert_eq!(expect(doubtful), (both(Expected::Listed, Expected::Doubtful), None));
        assert_eq!(expect(list(&[], None)), (both(Expected::Doubtful, Expected::Doubtful), Some(2)));
    }
}
