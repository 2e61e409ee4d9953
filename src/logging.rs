//! What the program says on standard error: warnings, the summary, and more with `-v`.
//!
//! In: tracing events of this crate; those of other crates are dropped at every level, because an HTTP
//! library may show headers. Out: one line each, text or JSON, written around the progress display.
//! Events of the targets [`SUMMARY`] and `run_archive::error` are results rather than talk: as text they
//! are their message alone, their fields are for JSON. A field named `hint` is a line of its own.

use std::fmt::{self, Write as _};
use std::io::{self, IsTerminal as _, Write};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use chrono::{DateTime, SecondsFormat, Utc};
use indicatif::{MultiProgress, ProgressDrawTarget};
use serde::Serialize;
use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt as _};

use crate::render::{blank_signatures, clean};
use crate::settings::{Color, LogFormat, Talk};
use crate::time::datetime_of_clock;

/// The target of the one line that a command sums itself up with: shown unless `-q` is given.
pub(crate) const SUMMARY: &str = "run_archive::summary";
/// The target of the error that a command ends with.
const ERROR: &str = "run_archive::error";
/// This crate.
const CRATE: &str = "run_archive";

/// Starts logging for the rest of the process. Progress bars belong into the display that is returned:
/// it steps aside for each line, is hidden in pipes, with `-q` and in JSON. Say nothing through the log
/// inside of its `suspend`: that waits for ever.
pub(crate) fn start(talk: &Talk) -> MultiProgress {
    let progress = MultiProgress::new();
    if talk.quiet || talk.log_format == LogFormat::Json {
        progress.set_draw_target(ProgressDrawTarget::hidden());
    }
    let is_colored = match talk.color {
        Color::Auto => io::stderr().is_terminal(),
        Color::Always => true,
        Color::Never => false,
    };
    let lines = Lines::new(talk, is_colored, progress.clone(), Box::new(io::stderr()));
    let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(talk)));
    // Fails only where logging was started before, and then it is on.
    tracing::subscriber::set_global_default(subscriber).ok();
    progress
}

fn filter(talk: &Talk) -> Targets {
    let level = match talk.verbosity {
        _ if talk.quiet => LevelFilter::WARN,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        _ => LevelFilter::DEBUG,
    };
    let summary = if talk.quiet { LevelFilter::WARN } else { LevelFilter::INFO };
    Targets::new().with_target(CRATE, level).with_target(SUMMARY, level.max(summary))
}

/// Writes each event as one line.
struct Lines {
    form: Form,
    progress: MultiProgress,
    out: Mutex<Box<dyn Write + Send>>,
}

#[derive(Clone, Copy)]
enum Form {
    Text { is_colored: bool, is_timed: bool },
    Json,
}

impl Lines {
    fn new(talk: &Talk, is_colored: bool, progress: MultiProgress, out: Box<dyn Write + Send>) -> Self {
        let form = match talk.log_format {
            LogFormat::Text => Form::Text { is_colored, is_timed: talk.verbosity > 0 },
            LogFormat::Json => Form::Json,
        };
        Self { form, progress, out: Mutex::new(out) }
    }
}

impl<S: Subscriber> Layer<S> for Lines {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut said = EventText::default();
        event.record(&mut said);
        let level = *event.metadata().level();
        let target = event.metadata().target();
        let line = match self.form {
            Form::Text { is_colored, is_timed } => said.text(level, target, is_timed.then(now), is_colored),
            Form::Json => said.json(level, target, now()),
        };
        self.progress.suspend(|| {
            let mut out = self.out.lock().unwrap_or_else(PoisonError::into_inner);
            // Where standard error is closed there is no other place to report that.
            out.write_all(line.as_bytes()).and_then(|()| out.flush()).ok();
        });
    }
}

fn now() -> DateTime<Utc> {
    datetime_of_clock(SystemTime::now())
}

/// A line of JSON; its keys are a contract.
#[derive(Serialize)]
struct JsonLine<'a> {
    time: String,
    level: String,
    target: &'a str,
    message: &'a str,
    fields: &'a Map<String, Value>,
}

/// What an event holds.
#[derive(Default)]
struct EventText {
    message: String,
    fields: Map<String, Value>,
}

impl EventText {
    fn text(&self, level: Level, target: &str, now: Option<DateTime<Utc>>, is_colored: bool) -> String {
        let is_result = matches!(target, SUMMARY | ERROR);
        let paint = |color: &str, word: &str| {
            if is_colored { format!("\x1b[1;{color}m{word}\x1b[0m") } else { word.to_owned() }
        };
        let mut line = String::new();
        if let Some(now) = now.filter(|_| !is_result) {
            line += &now.format("%H:%M:%SZ ").to_string();
        }
        line += &match level {
            Level::ERROR => paint("31", "error:") + " ",
            Level::WARN => paint("33", "warning:") + " ",
            _ if line.is_empty() => String::new(),
            Level::INFO => "info: ".to_owned(),
            _ => "debug: ".to_owned(),
        };
        line += &clean(&self.message);
        for (name, value) in self.fields.iter().filter(|(name, _)| !is_result && *name != "hint") {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            // Writing into a String cannot fail.
            write!(line, " {name}={}", clean(&value)).ok();
        }
        line.push('\n');
        let excerpt = self.fields.get("excerpt").and_then(Value::as_str).unwrap_or_default();
        for part in excerpt.lines() {
            line += &format!("  {}\n", clean(part));
        }
        if let Some(hint) = self.fields.get("hint").and_then(Value::as_str) {
            line += &format!("{} {}\n", paint("36", "hint:"), clean(hint));
        }
        line
    }

    fn json(&self, level: Level, target: &str, now: DateTime<Utc>) -> String {
        // Logs are sent to services and pasted into tickets, so signatures of links are taken out here too.
        let fields = self.fields.iter().map(|(name, value)| {
            let value = value.as_str().map_or_else(|| value.clone(), |text| blank_signatures(text).into());
            (name.clone(), value)
        });
        let line = JsonLine {
            time: now.to_rfc3339_opts(SecondsFormat::Millis, true),
            level: level.as_str().to_lowercase(),
            target,
            message: &blank_signatures(&self.message),
            fields: &fields.collect(),
        };
        // Texts, numbers and maps with text keys always serialize.
        serde_json::to_string(&line).unwrap_or_default() + "\n"
    }

    fn add(&mut self, field: &Field, value: Value) {
        match (field.name(), value) {
            ("message", Value::String(text)) => self.message = text,
            (name, value) => drop(self.fields.insert(name.to_owned(), value)),
        }
    }
}

impl Visit for EventText {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}").into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add(field, value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.add(field, value.into());
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::json;

    use super::*;
    use crate::error::{CommandError, ExitCode};

    #[derive(Clone, Default)]
    struct Ear(Arc<Mutex<Vec<u8>>>);

    impl Write for Ear {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Closed;

    impl Write for Closed {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
    }

    fn say(talk: &Talk, out: Box<dyn Write + Send>) {
        let progress = MultiProgress::with_draw_target(ProgressDrawTarget::hidden());
        let lines = Lines::new(talk, false, progress, out);
        let subscriber = tracing_subscriber::registry().with(lines.with_filter(filter(talk)));
        tracing::subscriber::with_default(subscriber, || {
            tracing::error!(target: "hyper::proto", "authorization: Bearer canary");
            tracing::debug!(target: "run_archive::api", status = 200, "answered");
            tracing::info!(target: "run_archive::sync", "connection a is done");
            tracing::warn!(target: "run_archive::sync", run = "x\x1b[2J", "set aside\na run");
            tracing::info!(target: "run_archive::summary", new = 3, "3 new runs");
            let error = anyhow::anyhow!("disk full").context("writing page 3");
            CommandError::new(ExitCode::Failed, error).with_hint("free some space").report();
        });
    }

    fn hear(talk: &Talk) -> String {
        let ear = Ear::default();
        say(talk, Box::new(ear.clone()));
        let bytes = ear.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn by_default_warnings_the_summary_and_the_error_are_said_plainly() {
        let expected = "warning: set aside a run run=x[2J\n3 new runs\n\
                        error: writing page 3: disk full\nhint: free some space\n";
        assert_eq!(hear(&Talk::default()), expected);
    }

    #[test]
    fn quiet_says_only_what_is_wrong() {
        let text = hear(&Talk { quiet: true, ..Talk::default() });
        assert!(text.starts_with("warning: ") && text.contains("\nerror: "), "{text}");
        assert!(!text.contains("new runs"), "{text}");
    }

    #[test]
    fn verbose_adds_time_and_level_but_never_another_library() {
        let once = hear(&Talk { verbosity: 1, ..Talk::default() });
        let first = once.lines().next().unwrap();
        assert_eq!(&first["00:00:00".len()..], "Z info: connection a is done");
        assert!(once.contains("\n3 new runs\nerror: "), "{once}");
        let twice = hear(&Talk { verbosity: 9, ..Talk::default() });
        assert!(twice.contains("Z debug: answered status=200\n"), "{twice}");
        assert!(!twice.contains("canary"), "{twice}");
    }

    #[test]
    fn json_is_one_object_per_line_with_errors_and_hints_in_it() {
        let text = hear(&Talk { log_format: LogFormat::Json, ..Talk::default() });
        let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(lines.len(), 3);
        assert_eq!((&lines[0]["level"], &lines[0]["message"]), (&json!("warn"), &json!("set aside\na run")));
        assert_eq!(lines[1]["fields"], json!({"new": 3}));
        assert_eq!(lines[2]["message"], "writing page 3: disk full");
        assert_eq!(lines[2]["fields"], json!({"exit_code": 1, "hint": "free some space"}));
    }

    #[test]
    fn a_closed_standard_error_stops_nothing() {
        say(&Talk { verbosity: 2, ..Talk::default() }, Box::new(Closed));
    }
}
