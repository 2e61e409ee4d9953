//! Figures and foreign text to what people and programs read.
//!
//! In: finished values. Out: text or bytes; nothing is computed but widths. `rows` writes what a query gives,
//! row by row; `pages` makes documents of what a command has to say, and `document` writes them as text,
//! Markdown or HTML. What the platform sends is untrusted, so it goes through [`clean`] before a person sees it.

mod clean;
mod document;
mod layout;
mod numbers;
mod output;
pub(crate) mod pages;
mod rows;
#[cfg(test)]
mod sample;
pub(crate) mod wording;

pub(crate) use clean::blank_signatures;
pub(crate) use clean::clean;
pub(crate) use document::Document;
pub(crate) use layout::Screen;
pub(crate) use numbers::{counted, render_count, render_duration, render_size};
pub(crate) use output::{Output, print};
pub(crate) use rows::{Csv, JsonRows, MarkdownRows, TableRows};
pub(crate) use wording::verdict;
