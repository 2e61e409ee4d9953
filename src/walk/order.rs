//! The order of a listing by start, as its pages showed it.

use serde::{Deserialize, Serialize};

use crate::time::UtcText;

/// The order of a listing by start, as observed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Order {
    /// The newest run first.
    NewestFirst,
    /// The oldest run first.
    OldestFirst,
    /// Neither.
    #[serde(rename = "None")]
    Unordered,
}

impl Order {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::NewestFirst => "newest first",
            Self::OldestFirst => "oldest first",
            Self::Unordered => "none",
        }
    }

    pub(crate) fn from_stored(word: &str) -> Option<Self> {
        [Self::NewestFirst, Self::OldestFirst, Self::Unordered]
            .into_iter()
            .find(|order| order.as_str() == word)
    }

    /// The order of starts, where there are two that differ.
    pub(super) fn of(starts: impl Iterator<Item = Option<UtcText>>) -> Option<Self> {
        let mut order = None;
        let mut last: Option<UtcText> = None;
        for started in starts.flatten() {
            let step = match last {
                Some(last) if last < started => Some(Self::OldestFirst),
                Some(last) if last > started => Some(Self::NewestFirst),
                Some(_) | None => None,
            };
            order = Self::merge(order, step);
            last = Some(started);
        }
        order
    }

    /// What two observations say together; `None` says nothing.
    pub(super) fn merge(one: Option<Self>, other: Option<Self>) -> Option<Self> {
        match (one, other) {
            (Some(one), Some(other)) if one != other => Some(Self::Unordered),
            (one, other) => one.or(other),
        }
    }
}
