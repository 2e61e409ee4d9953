//! How long a report's lists are, and what stands below one that is cut.

use crate::render::document::{Phrase, Section};
use crate::render::render_count;

/// Rows of a table of connections.
pub(super) const CONNECTIONS: usize = 15;

/// Incidents that are told in full.
pub(super) const INCIDENTS: usize = 7;

/// Rows of any other list.
pub(super) const ROWS: usize = 5;

/// `… and 12 more (archive query masked-failures)`, where there are more.
pub(super) fn more(section: &mut Section, hidden: u64, query: &str) {
    if hidden > 0 {
        let phrase = Phrase::from(format!("… and {} more (", render_count(hidden)));
        section.say(phrase.code(&format!("archive query {query}")).words(")"));
    }
}

/// How many of a list are not shown.
pub(super) fn beyond(listed: usize, shown: usize) -> u64 {
    listed.saturating_sub(shown) as u64
}

pub(super) fn label(text: &str) -> Phrase {
    Phrase::default().strong(text).words(": ")
}
