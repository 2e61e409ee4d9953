//! `archive query`: one named query, or one statement of the user's, and its rows.
//!
//! The statement runs on a thread of its own, because a single step of SQLite may take longer than the time
//! limit: then the command ends without it.

mod calendar;
mod catalog;

use std::io::{self, BufWriter, Read as _};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, anyhow};

use calendar::not_taken;

use super::sink::sink;
use crate::api::ConnectionId;
use crate::error::{CommandError, ExitCode};
use crate::query::{self, Database, Error, Limits, Sink, Value};
use crate::render::{Output, Screen};
use crate::settings::{self, Statement};

/// The stack of the thread that SQLite works on: deeply nested statements need some.
const STACK_BYTES: usize = 16 << 20;
/// How long a query may go on after its time; SQLite ends by itself between two of its steps.
const GRACE: Duration = Duration::from_secs(2);
/// Between two looks at the clock.
const LOOK: Duration = Duration::from_millis(100);

/// Carries out the query, or lists or describes those that there are.
pub(crate) fn query(settings: settings::Query) -> Result<ExitCode, CommandError> {
    let chosen = match &settings.statement {
        Statement::List => return catalog::list(&settings),
        Statement::Named(name) => {
            let known = catalog::read(&settings)?;
            let found = catalog::find(&known, name)?;
            if settings.describe {
                return catalog::describe(found, &settings);
            }
            found.clone()
        }
        Statement::Text(sql) => query::Query::typed(sql.clone()),
        Statement::Stdin => query::Query::typed(read_stdin()?),
    };
    let database = Database::open(&settings.db)?;
    let clock = database.clock();
    let (output, out) = Output::open(settings.output.as_deref(), &settings.db)?;
    let screen = match settings.output {
        Some(_) => Screen::PLAIN,
        None => Screen::of_stdout(),
    };
    let (limit, may_be_left) = (settings.timeout, output.may_be_left());

    let (tell, told) = mpsc::channel();
    let work = move || {
        let mut out = sink(settings.format, screen, BufWriter::with_capacity(1 << 16, out));
        let ended = carry_out(&database, &chosen, &settings, out.as_mut());
        // Before the command ends with the answer: closing puts away what SQLite keeps beside the file.
        drop((database, out));
        // Nobody listens where the command has ended.
        tell.send(ended).ok();
    };
    let thread = thread::Builder::new().name("query".to_owned()).stack_size(STACK_BYTES);
    thread.spawn(work).context("starting a thread")?;
    let ended = loop {
        match told.recv_timeout(LOOK) {
            Ok(ended) => break ended,
            Err(RecvTimeoutError::Timeout) if clock.overdue().is_some_and(|overdue| overdue > GRACE) => {
                break Err(Failure::from(Error::Timeout(limit)));
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                break Err(Failure::Other(anyhow!("the query broke off").into()));
            }
        }
    };
    match ended {
        Ok(()) => output.keep()?,
        Err(Failure::Writing(error)) if may_be_left && error.kind() == io::ErrorKind::BrokenPipe => {}
        Err(Failure::Writing(error)) => return Err(output.failed(error)),
        Err(Failure::Other(error)) => return Err(error),
    }
    Ok(ExitCode::Done)
}

/// Why no more rows came.
enum Failure {
    Writing(io::Error),
    /// All else.
    Other(CommandError),
}

impl From<query::Error> for Failure {
    fn from(error: query::Error) -> Self {
        match error {
            Error::Sink(error) => Self::Writing(error),
            error => Self::Other(error.into()),
        }
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Self::Other(error)
    }
}

fn carry_out(
    database: &Database,
    chosen: &query::Query,
    settings: &settings::Query,
    sink: &mut dyn Sink,
) -> Result<(), Failure> {
    let limits = Limits { timeout: Some(settings.timeout) };
    let takes = database.parameters(&chosen.sql, limits)?;
    let parameters = fill(database, chosen, settings, &takes)?;
    let parameters: Vec<(&str, Value)> =
        parameters.iter().map(|(name, value)| (name.as_str(), value.clone())).collect();
    Ok(database.stream(&chosen.sql, &parameters, limits, sink)?)
}

/// Refuses a word that a built-in query would answer with silence.
fn check_word(chosen: &query::Query, parameter: &str, value: &str) -> Result<(), CommandError> {
    let words = query::words_of(&chosen.name, parameter).filter(|_| chosen.is_built_in);
    match words {
        Some(words) if !words.contains(&value) => {
            let error = anyhow!("the parameter {parameter} of {} cannot be {value:?}", chosen.name);
            let hint = format!("it is one of: {}", words.join(", "));
            Err(CommandError::new(ExitCode::Usage, error).with_hint(hint))
        }
        _ => Ok(()),
    }
}

/// The values of the statement's parameters: as typed, and those that options and the calendar give.
fn fill(
    database: &Database,
    chosen: &query::Query,
    settings: &settings::Query,
    takes: &[String],
) -> Result<Vec<(String, Value)>, CommandError> {
    let mut filled: Vec<(String, Value)> = Vec::new();
    for (name, value) in &settings.parameters {
        check_word(chosen, name, value)?;
        filled.push((name.clone(), Value::of_typed(value)));
    }
    let has = |name: &str| takes.iter().any(|takes| takes == name);
    let mut fill = |option: &str, name: &str, value: Value| {
        if !has(name) {
            return Err(not_taken(option, takes));
        }
        if filled.iter().any(|(known, _)| known == name) {
            let error = anyhow!("the parameter {name} is given by --param and by --{option}");
            return Err(CommandError::new(ExitCode::Usage, error));
        }
        filled.push((name.to_owned(), value));
        Ok(())
    };
    match (settings.since, settings.until) {
        (None, None) => {}
        (None, Some(until)) => fill("until", "until", until.as_str().into())?,
        (Some(since), until) => {
            fill("since", "since", since.as_str().into())?;
            // It is a default where only --since was typed, and some queries have no end.
            if let Some(until) = until.filter(|_| settings.is_until_typed || has("until")) {
                fill("until", "until", until.as_str().into())?;
            }
        }
    }
    if !settings.connections.is_empty() {
        let known = super::known_connections(&settings.db, &settings.connections)?;
        let known: Vec<String> = known.iter().map(ConnectionId::with_kind).collect();
        let list = serde_json::to_string(&known).context("writing the list of connections")?;
        fill("connection", "connection", list.into())?;
    }
    calendar::fill(database, chosen, settings, takes, &mut filled)?;
    Ok(filled)
}

/// The statement on standard input, as long as a statement may be.
fn read_stdin() -> Result<String, CommandError> {
    let most = query::SQL_BYTES;
    let mut bytes = Vec::new();
    io::stdin().take(most as u64 + 1).read_to_end(&mut bytes).context("reading standard input")?;
    let usage = |problem: String| CommandError::new(ExitCode::Usage, anyhow!("standard input: {problem}"));
    if bytes.len() > most {
        return Err(usage(format!("a statement may have at most {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| usage("the statement is not UTF-8 text".to_owned()))
}
