//! A named query, and what the comment at its file's start says of it.

use super::error::{Error, Result};
use crate::time::zone::Step;

/// A parameter of a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Without the `:` that it has in SQL.
    pub name: String,
    /// What it means, its unit, and what holds where it is not given.
    pub about: String,
}

/// A named query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The file's name without `.sql`, with hyphens: `failure-rates`.
    pub name: String,
    /// One line.
    pub title: String,
    /// What it answers, in lines; may be empty.
    pub about: String,
    /// As the comment lists them; empty where there is none.
    pub parameters: Vec<Parameter>,
    /// Names and meanings, as the comment lists them; empty where there is none.
    pub columns: Vec<(String, String)>,
    /// What `:bounds` cuts its period into, as the comment says: `day`, `week`, or the parameter whose value
    /// tells, such as `:by`.
    pub step: Option<String>,
    /// The whole file.
    pub sql: String,
    /// Whether it comes with the program.
    pub is_built_in: bool,
}

impl Query {
    /// Reads a file's text; `stem` is the file's name without `.sql`.
    pub(crate) fn parse(stem: &str, sql: &str) -> Self {
        let name = canonical(stem);
        // Editors on Windows write a byte order mark, before which no line begins with `--`, and ends of
        // lines that would stand in the header's words.
        let sql = sql.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let header: Vec<&str> =
            sql.lines().map_while(|line| line.strip_prefix("--")).map(|line| line.trim_end()).collect();
        let mut sections = Sections::default();
        for line in header {
            sections.add(line.strip_prefix(' ').unwrap_or(line));
        }
        let title = if sections.title.is_empty() { name.clone() } else { sections.title };
        let parameter = |(name, about): (String, String)| Parameter {
            name: name.trim_start_matches(':').to_owned(),
            about,
        };
        Self {
            name,
            title,
            about: sections.about.join("\n").trim().to_owned(),
            parameters: sections.parameters.into_iter().map(parameter).collect(),
            columns: sections.columns,
            step: sections.step,
            sql,
            is_built_in: false,
        }
    }

    /// A statement without a name, to the letter; what its comment says of `:bounds` holds all the same.
    pub(crate) fn typed(sql: String) -> Self {
        let said = Self::parse("", &sql);
        Self { sql, ..said }
    }

    /// What `:bounds` cuts the period into, where the parameters have these values. A file that does not say
    /// is cut into weeks where its name ends so, as it was before files could say.
    pub(crate) fn step<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> Result<Step> {
        let unknown = |step: &str| Error::Step { step: step.to_owned() };
        match self.step.as_deref() {
            None if self.name.ends_with("week") => Ok(Step::Week),
            None | Some("day") => Ok(Step::Day),
            Some("week") => Ok(Step::Week),
            Some(step) if step.ends_with("-day") => Ok(Step::Day),
            Some(step) => match value(step.strip_prefix(':').ok_or_else(|| unknown(step))?) {
                Some("week") => Ok(Step::Week),
                _ => Ok(Step::Day),
            },
        }
    }
}

/// What stands in a header comment, as far as it was read.
#[derive(Default)]
struct Sections {
    title: String,
    about: Vec<String>,
    parameters: Vec<(String, String)>,
    columns: Vec<(String, String)>,
    step: Option<String>,
    part: Part,
}

#[derive(Default, Clone, Copy, PartialEq, Eq)]
enum Part {
    #[default]
    Title,
    About,
    Parameters,
    Columns,
}

impl Sections {
    /// A line without its `-- `.
    fn add(&mut self, line: &str) {
        // One word: a sentence that begins so is text like any other.
        let step = line.strip_prefix("Step:").map(str::trim);
        if let Some(step) = step.filter(|step| !step.is_empty() && !step.contains(char::is_whitespace)) {
            self.step = Some(step.to_owned());
            return;
        }
        match (line, self.part) {
            ("Parameters:", _) => self.part = Part::Parameters,
            ("Columns:", _) => self.part = Part::Columns,
            (line, Part::Title) => {
                if !line.trim().is_empty() {
                    line.trim().clone_into(&mut self.title);
                    self.part = Part::About;
                }
            }
            (line, Part::About) => self.about.push(line.to_owned()),
            (line, Part::Parameters) => add_entry(&mut self.parameters, line),
            (line, Part::Columns) => add_entry(&mut self.columns, line),
        }
    }
}

/// `  name  what it is`, or more of what the entry before is, indented deeper than names are.
fn add_entry(entries: &mut Vec<(String, String)>, line: &str) {
    let indent = line.len() - line.trim_start().len();
    let text = line.trim();
    match entries.last_mut() {
        _ if text.is_empty() => {}
        Some((_, about)) if indent > 2 => {
            if !about.is_empty() {
                about.push(' ');
            }
            about.push_str(text);
        }
        _ => {
            let (name, about) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            entries.push((name.to_owned(), about.trim().to_owned()));
        }
    }
}

/// One spelling of a name: `failure_rates` is `failure-rates`.
pub(super) fn canonical(name: &str) -> String {
    name.replace('_', "-")
}
