//! What a command has to say, on standard output.

use serde::Serialize;

use crate::error::CommandError;
use crate::render::{self, Document, Screen};
use crate::settings::Format;

/// What a command has to say, in the format asked for.
pub(crate) fn print(
    format: Format,
    json: &impl Serialize,
    document: impl FnOnce() -> Document,
) -> Result<(), CommandError> {
    match format {
        Format::Json => print_json(json),
        Format::Markdown => render::print(&document().to_markdown()),
        Format::Text => render::print(&document().to_text(Screen::of_stdout())),
    }
}

/// One line of JSON. Its keys are in the order of the alphabet, as they have always been.
pub(crate) fn print_json(json: &impl Serialize) -> Result<(), CommandError> {
    let value = serde_json::to_value(json).map_err(anyhow::Error::new)?;
    render::print(&format!("{value}\n"))
}
