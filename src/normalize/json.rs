//! A run's JSON, made anew from its rows.
//!
//! In: a [`Run`]. Out: JSON text with the names and values that were received, in an order of its own: equal
//! rows give equal text.

use super::{Columns, Job, MAX_DEPTH, Run, Task, Value};
use crate::api::wire::{self, Object};

/// Copies JSON without the white space between its tokens; the tokens stay as they were sent.
pub(super) fn push_compact(out: &mut String, json: &str) {
    let (mut in_string, mut escaped) = (false, false);
    for character in json.chars() {
        if in_string {
            in_string = escaped || character != '"';
            escaped = !escaped && character == '\\';
        } else if character == '"' {
            in_string = true;
        } else if character.is_ascii_whitespace() {
            continue;
        }
        out.push(character);
    }
}

/// Writes one JSON object, member by member.
pub(super) struct JsonObject(String);

impl JsonObject {
    pub(super) fn new() -> Self {
        Self("{".to_owned())
    }

    pub(super) fn member(&mut self, name: &str, write: impl FnOnce(&mut String)) {
        if self.0.len() > 1 {
            self.0.push(',');
        }
        push_string(&mut self.0, name);
        self.0.push(':');
        write(&mut self.0);
    }

    pub(super) fn raw(&mut self, name: &str, value: Option<impl ToString>) {
        if let Some(value) = value {
            self.member(name, |out| out.push_str(&value.to_string()));
        }
    }

    fn text(&mut self, name: &str, value: &str) {
        self.member(name, |out| push_string(out, value));
    }

    /// The members of `extra`, then those that columns hold. A time whose form its column does not give back
    /// stands in `extra` as it was sent, and is not written again.
    fn columns<'a>(&mut self, extra: &Option<String>, columns: &impl Columns<'a>) {
        let extra = extra.as_deref().and_then(|extra| Object::parse(extra).ok());
        let in_extra = extra.map_or_else(Vec::new, |extra| extra.0);
        for (name, value) in &in_extra {
            self.member(name, |out| out.push_str(value.get()));
        }
        for (column, value) in columns.cells() {
            match value {
                None => {}
                Some(Value::Text(text)) => self.text(column.field, text),
                Some(Value::Time(_)) if in_extra.iter().any(|(name, _)| name == column.field) => {}
                Some(Value::Time(time)) => self.text(column.field, &time.as_sent()),
                Some(Value::Integer(number)) => self.raw(column.field, Some(number)),
                Some(Value::Boolean(word)) => self.raw(column.field, Some(word)),
            }
        }
    }

    fn array<T>(&mut self, name: &str, items: &[T], write: impl Fn(&T) -> String) {
        if !items.is_empty() {
            self.member(name, |out| {
                out.push('[');
                out.push_str(&items.iter().map(write).collect::<Vec<_>>().join(","));
                out.push(']');
            });
        }
    }

    pub(super) fn finish(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

fn push_string(out: &mut String, text: &str) {
    out.push_str(&serde_json::Value::from(text).to_string());
}

/// The run's JSON as it came, key for key.
pub fn rebuild(run: &Run<'_>) -> String {
    let mut json = JsonObject::new();
    json.text("id", &run.id);
    json.columns(&run.extra, run);
    json.raw("error", run.error.as_ref().map(|error| object(&None, error)));
    json.array("jobs", &run.jobs, rebuild_job);
    json.finish()
}

fn rebuild_job(job: &Job<'_>) -> String {
    let mut json = JsonObject::new();
    json.columns(&job.extra, job);
    json.array("tasks", &job.tasks, rebuild_task);
    json.finish()
}

fn rebuild_task(task: &Task<'_>) -> String {
    let mut json = JsonObject::new();
    json.columns(&task.extra, task);
    json.raw("error", task.error.as_deref().map(|error| object(&error.extra, error)));
    json.finish()
}

fn object<'a>(extra: &Option<String>, columns: &impl Columns<'a>) -> String {
    let mut json = JsonObject::new();
    json.columns(extra, columns);
    json.finish()
}

/// Whether every `extra` of a run's rows is a JSON object that every reader of JSON can read, so that [`rebuild`]
/// gives back all of it.
pub fn is_whole(run: &Run<'_>) -> bool {
    // SQLite reads a thousand levels and serde_json as many as a run may have; more were never received.
    let is_flat = |extra: &str| wire::shape(extra).is_ok_and(|shape| shape.depth <= MAX_DEPTH);
    let reads = |extra: &Option<String>| {
        extra.as_deref().is_none_or(|extra| Object::parse(extra).is_ok() && is_flat(extra))
    };
    let task =
        |task: &Task<'_>| reads(&task.extra) && task.error.as_deref().is_none_or(|error| reads(&error.extra));
    reads(&run.extra) && run.jobs.iter().all(|job| reads(&job.extra) && job.tasks.iter().all(task))
}
