//! Where the rows of a query go, by the format asked for.

use std::io::Write;

use crate::query::Sink;
use crate::render::{Csv, JsonRows, MarkdownRows, Screen, TableRows};
use crate::settings::QueryFormat;

pub(super) fn sink<'a>(format: QueryFormat, screen: Screen, out: impl Write + 'a) -> Box<dyn Sink + 'a> {
    match format {
        QueryFormat::Table => Box::new(TableRows::new(out, screen)),
        QueryFormat::Json => Box::new(JsonRows::array(out)),
        QueryFormat::Ndjson => Box::new(JsonRows::lines(out)),
        QueryFormat::Csv => Box::new(Csv::new(out)),
        QueryFormat::Markdown => Box::new(MarkdownRows::new(out)),
    }
}
