//! What a command has to say as sections of sentences and tables: the model that all formats share.
//!
//! In: words of the program's own and text from data, which are kept apart. Out: nothing by itself; `text`
//! gives it widths, `markdown` gives it marks, `html` makes a page of a report's. What comes from data is
//! cleaned when it enters, so that no format can forget it.

pub(super) mod html;
mod markdown;
mod model;
mod text;

pub(crate) use model::Document;
pub(super) use model::{
    Align, Block, Card, Column, Grid, GridCell, Inline, Phrase, Presence, Row, Section, Tone, Topic,
};

use super::Screen;

impl Document {
    /// As text that fits the screen.
    pub(crate) fn to_text(&self, screen: Screen) -> String {
        text::render(self, screen)
    }

    pub(crate) fn to_markdown(&self) -> String {
        markdown::render(self)
    }
}
