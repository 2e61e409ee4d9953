//! What is known of a named query.

use serde::Serialize;

use crate::query::{Catalog, Query};
use crate::render::clean;
use crate::render::layout::{width, wrap};

/// The narrowest column of meanings: words are legible in it, if the lines are longer than the screen.
const NARROWEST: usize = 20;

/// A query of the catalog; the fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct CatalogEntry<'a> {
    name: &'a str,
    title: &'a str,
    about: &'a str,
    parameters: Vec<NameAndMeaning<'a>>,
    columns: Vec<NameAndMeaning<'a>>,
    built_in: bool,
}

#[derive(Debug, Serialize)]
struct NameAndMeaning<'a> {
    name: &'a str,
    about: &'a str,
}

impl<'a> From<&'a Query> for CatalogEntry<'a> {
    fn from(query: &'a Query) -> Self {
        let parameters = query.parameters.iter();
        let columns = query.columns.iter();
        Self {
            name: &query.name,
            title: &query.title,
            about: &query.about,
            parameters: parameters
                .map(|known| NameAndMeaning { name: &known.name, about: &known.about })
                .collect(),
            columns: columns.map(|(name, about)| NameAndMeaning { name, about }).collect(),
            built_in: query.is_built_in,
        }
    }
}

/// A name and a title for each query, in two columns.
pub(crate) fn list(catalog: &Catalog) -> String {
    let names = catalog.iter().map(|query| query.name.chars().count()).max().unwrap_or(0);
    catalog.iter().map(|query| format!("{:names$}  {}\n", clean(&query.name), clean(&query.title))).collect()
}

/// All that is known of one, but for its SQL.
pub(crate) fn describe(query: &Query, screen: usize) -> String {
    let mut text = format!("{}\n", clean(&query.title));
    if !query.about.is_empty() {
        text.push('\n');
        query.about.lines().for_each(|line| text += &format!("{}\n", clean(line)));
    }
    let entry = CatalogEntry::from(query);
    describe_entries("Parameters", ":", &entry.parameters, screen, &mut text);
    describe_entries("Columns", "", &entry.columns, screen, &mut text);
    text
}

fn describe_entries(
    title: &str,
    mark: &str,
    entries: &[NameAndMeaning<'_>],
    screen: usize,
    text: &mut String,
) {
    if entries.is_empty() {
        return;
    }
    *text += &format!("\n{title}:\n");
    let names: Vec<String> = entries.iter().map(|entry| format!("{mark}{}", clean(entry.name))).collect();
    let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
    for (name, entry) in names.iter().zip(entries) {
        let lines = wrap(&clean(entry.about), screen.saturating_sub(widest + 4).max(NARROWEST), "", "");
        let first = lines.first().map_or("", String::as_str);
        *text += &format!("  {name:widest$}  {first}\n");
        lines.iter().skip(1).for_each(|line| *text += &format!("  {:widest$}  {line}\n", ""));
    }
}
