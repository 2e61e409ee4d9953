//! What commands have to say, as documents for people and as JSON for programs.
//!
//! In: what a command found or did. Out: a [`Document`](super::Document), or a structure whose fields are a
//! contract: a new field is fine, a renamed one breaks somebody's script.

pub(crate) mod catalog;
pub(crate) mod demo;
pub(crate) mod import;
pub(crate) mod keep;
pub(crate) mod prune;
pub(crate) mod report;
pub(crate) mod status;
pub(crate) mod sync;
pub(crate) mod verify;

use super::document::{Align, Grid, Phrase, Presence};

/// Problems and findings of one kind that are told one by one.
const MOST_NAMED: usize = 5;

/// A table whose first column is a name and whose others are numbers.
fn name_and_numbers(name: &'static str, numbers: &[&'static str]) -> Grid {
    let grid = Grid::default().column(name, Align::Broken, Presence::Table);
    numbers.iter().fold(grid, |grid, title| grid.column(title, Align::Number, Presence::Table))
}

/// A line about something of this name, as it came.
fn line_of(name: &str, sentence: impl Into<Phrase>) -> Phrase {
    Phrase::default().whole(name).words(": ").and(sentence.into())
}
