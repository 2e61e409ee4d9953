//! The list of the queries that have a name, and what is said of one.

use std::io::{self, BufWriter, Write};

use anyhow::anyhow;
use serde_json::{Value, json};

use super::sink;
use crate::error::{CommandError, ExitCode};
use crate::query::{Catalog, Cell, Query};
use crate::render::{Output, Screen, clean};
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
                let width = catalog.iter().map(|query| query.name.chars().count()).max().unwrap_or(0);
                for query in catalog.iter() {
                    writeln!(out, "{:width$}  {}", clean(&query.name), clean(&query.title))?;
                }
            }
            QueryFormat::Json => {
                let all: Vec<Value> = catalog.iter().map(to_json).collect();
                writeln!(out, "{:#}", Value::from(all))?;
            }
            QueryFormat::Ndjson => {
                for query in catalog.iter() {
                    writeln!(out, "{}", to_json(query))?;
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
            out.write_all(to_text(query, usize::from(screen.width)).as_bytes())
        }
        QueryFormat::Json | QueryFormat::Ndjson => writeln!(out, "{:#}", to_json(query)),
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

/// A query of the catalog; the fields are a contract.
fn to_json(query: &Query) -> Value {
    let parameters = query.parameters.iter().map(|known| json!({ "name": known.name, "about": known.about }));
    let columns = query.columns.iter().map(|(name, about)| json!({ "name": name, "about": about }));
    json!({
        "name": query.name,
        "title": query.title,
        "about": query.about,
        "parameters": parameters.collect::<Vec<_>>(),
        "columns": columns.collect::<Vec<_>>(),
        "built_in": query.is_built_in,
    })
}

fn to_text(query: &Query, width: usize) -> String {
    let mut text = format!("{}\n", clean(&query.title));
    if !query.about.is_empty() {
        text.push('\n');
        query.about.lines().for_each(|line| text += &format!("{}\n", clean(line)));
    }
    let parameters = query.parameters.iter().map(|known| (format!(":{}", known.name), known.about.as_str()));
    let columns = query.columns.iter().map(|(name, about)| (name.clone(), about.as_str()));
    for (title, entries) in
        [("Parameters", parameters.collect::<Vec<_>>()), ("Columns", columns.collect::<Vec<_>>())]
    {
        if entries.is_empty() {
            continue;
        }
        text += &format!("\n{title}:\n");
        let names = entries.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
        for (name, about) in entries {
            let mut name = clean(&name).into_owned();
            for line in wrap(&clean(about), width.saturating_sub(names + 4).max(20)) {
                text += &format!("  {name:names$}  {line}\n");
                name.clear();
            }
        }
    }
    text
}

/// Lines of whole words; at least one line.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let used = lines[last].chars().count();
        if used > 0 && used + 1 + word.chars().count() > width {
            lines.push(word.to_owned());
        } else {
            if used > 0 {
                lines[last].push(' ');
            }
            lines[last].push_str(word);
        }
    }
    lines
}
