//! The list of the queries that have a name, and what is said of one.

use std::io::{self, BufWriter, Write};

use anyhow::anyhow;

use crate::commands::sink::sink;
use crate::error::{CommandError, ExitCode};
use crate::query::{Catalog, Cell, Query};
use crate::render::pages::catalog::{self as page, CatalogEntry};
use crate::render::{Output, Screen};
use crate::settings::{self, QueryFormat};

/// Those of the program and of the user.
pub(super) fn read(settings: &settings::Query) -> Result<Catalog, CommandError> {
    let catalog = Catalog::built_in();
    match &settings.folder {
        Some(folder) => Ok(catalog.with_folder(folder)?),
        None => Ok(catalog),
    }
}

/// The query of this name, which must be one.
pub(super) fn find<'a>(catalog: &'a Catalog, name: &str) -> Result<&'a Query, CommandError> {
    catalog.find(name).ok_or_else(|| {
        let similar = catalog.find_similar(name);
        let hint = match similar {
            Some(similar) => format!("did you mean {}? archive query lists all", similar.name),
            None => "archive query lists those that there are; --sql takes a statement".to_owned(),
        };
        CommandError::new(ExitCode::Usage, anyhow!("there is no query '{name}'")).with_hint(hint)
    })
}

/// One line each; as JSON with all that is known of them.
pub(super) fn list(settings: &settings::Query) -> Result<ExitCode, CommandError> {
    let catalog = read(settings)?;
    put(settings, |out, screen| {
        match settings.format {
            QueryFormat::Table => {
                out.write_all(page::list(&catalog).as_bytes())?;
            }
            QueryFormat::Json => {
                let all: Vec<CatalogEntry<'_>> = catalog.iter().map(CatalogEntry::from).collect();
                writeln!(out, "{:#}", serde_json::to_value(all)?)?;
            }
            QueryFormat::Ndjson => {
                for query in catalog.iter() {
                    writeln!(out, "{}", serde_json::to_value(CatalogEntry::from(query))?)?;
                }
            }
            QueryFormat::Csv | QueryFormat::Markdown => {
                let mut rows = sink(settings.format, screen, out);
                rows.columns(&["name".to_owned(), "title".to_owned()])?;
                for query in catalog.iter() {
                    let text = |text: &'_ str| Cell::Text(text.to_owned().into());
                    rows.row(&[text(&query.name), text(&query.title)])?;
                }
                rows.end()?;
            }
        }
        Ok(())
    })
}

/// All that is known of one, but for its SQL.
pub(super) fn describe(query: &Query, settings: &settings::Query) -> Result<ExitCode, CommandError> {
    put(settings, |out, screen| match settings.format {
        QueryFormat::Table | QueryFormat::Markdown | QueryFormat::Csv => {
            out.write_all(page::describe(query, usize::from(screen.width)).as_bytes())
        }
        QueryFormat::Json | QueryFormat::Ndjson => {
            writeln!(out, "{:#}", serde_json::to_value(CatalogEntry::from(query))?)
        }
    })
}

/// Writes to where it is asked for; a reader that left is no error.
fn put(
    settings: &settings::Query,
    write: impl FnOnce(&mut dyn Write, Screen) -> io::Result<()>,
) -> Result<ExitCode, CommandError> {
    let (output, out) = Output::open(settings.output.as_deref(), &settings.db)?;
    let screen = settings.output.as_ref().map_or_else(Screen::of_stdout, |_| Screen::PLAIN);
    let mut out = BufWriter::new(out);
    match write(&mut out, screen).and_then(|()| out.flush()) {
        Ok(()) => output.keep()?,
        Err(error) if output.may_be_left() && error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(error) => return Err(output.failed(error)),
    }
    Ok(ExitCode::Done)
}
