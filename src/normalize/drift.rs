//! What the platform sends and this program does not know: nobody announces a new field or a new value.
//!
//! In: the members of an object that no column took, and the values of its enumerations. Out: notes of
//! what is new. Nothing is refused for it, and all of it is kept.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::{Column, Columns, Drift, Job, Kind, Run, Task, TaskError, Value};
use crate::api::wire;

/// The type of a list in which something is no object.
const LIST_WITHOUT_OBJECTS: &str = "list of other things than objects";
/// Characters kept of a value or a field's name.
const MAX_CHARS: usize = 100;

/// What of a run could not be read, although the run itself could. What is archived of it stays, and the text
/// that was received is set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Unread {
    /// `jobs`, `tasks` or `error` that are there and are no objects, as `ConvertTo-Json` of PowerShell writes
    /// them below its depth.
    #[error(
        "{field} of the {object} could not be read: no object stands there; what is archived of it stays"
    )]
    Children {
        /// `run`, `job` or `task`.
        object: &'static str,
        field: &'static str,
    },
    /// A time in a form that this program does not know, where one was archived that it does.
    #[error("{field} of the {object} could not be read as a time; the archived one stays")]
    Time {
        /// `run`, `job` or `task`.
        object: &'static str,
        field: &'static str,
    },
}

impl Unread {
    /// The note of a time that could not be read; what else could not be is among the notes of its run.
    pub(crate) fn time_drift(self) -> Option<Drift> {
        let Self::Time { object, field } = self else { return None };
        Some(Drift {
            object,
            field: field.to_owned(),
            what: "type",
            value: "text that is no time".to_owned(),
        })
    }

    /// What of a run's children could not be read, as its rows tell: they are in `extra`, and in no table.
    pub(crate) fn of_run(run: &Run<'_>) -> Option<Self> {
        run.drift.iter().find_map(|drift| drift.unread_children())
    }
}

/// Notes kept of one run: a run of 80,000 fields that nobody knows is one piece of news, not as many.
const MAX_NOTES: usize = 100;

/// The notes of one run. Where there are more than are kept, those kept are the first by their order, so that
/// the same content gives the same notes however it was sent.
#[derive(Debug, Default)]
pub(super) struct Drifts {
    types: BTreeSet<Drift>,
    others: BTreeSet<Drift>,
}

impl Drifts {
    fn add(&mut self, note: Drift) {
        match note.what {
            // There are no more of them than known fields and types, and children that were not read are
            // told by them.
            "type" => self.types.insert(note),
            _ => self.others.insert(note),
        };
        if self.others.len() > MAX_NOTES {
            self.others.pop_last();
        }
    }

    pub(super) fn into_vec(mut self) -> Vec<Drift> {
        self.others.append(&mut self.types);
        self.others.into_iter().collect()
    }
}

impl Drift {
    /// The children that this note says came as something else than objects, if it says so of children.
    pub(super) fn unread_children(&self) -> Option<Unread> {
        if self.what != "type" {
            return None;
        }
        let (object, field) = match (self.object, self.field.as_str()) {
            ("run", "jobs") => ("run", "jobs"),
            ("run", "error") => ("run", "error"),
            ("job", "tasks") => ("job", "tasks"),
            ("task", "error") => ("task", "error"),
            _ => return None,
        };
        Some(Unread::Children { object, field })
    }
}

/// What is known of one kind of object: its name, its columns, and what else is sent in it.
pub(super) struct Known {
    pub(super) object: &'static str,
    columns: &'static [Column],
    others: &'static [(&'static str, Type)],
    /// Fields of which the documentation lists the values.
    documented: &'static [(&'static str, &'static [&'static str])],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Type {
    Text,
    Number,
    Boolean,
    Object,
    List,
    Null,
}

use Type::{Boolean, List, Number, Object, Text};

pub(super) const RUN: Known = Known {
    object: "run",
    columns: Run::COLUMNS,
    others: &[("id", Text), ("connectionId", Text), ("error", Object), ("jobs", List)],
    documented: &[("state", STATES), ("result", RESULTS), ("phase", PHASES)],
};

pub(super) const JOB: Known = Known {
    object: "job",
    columns: Job::COLUMNS,
    others: &[("tasks", List)],
    documented: &[("state", STATES), ("result", RESULTS)],
};

pub(super) const TASK: Known = Known {
    object: "task",
    columns: Task::COLUMNS,
    others: &[("error", Object)],
    documented: &[("state", STATES), ("result", RESULTS)],
};

pub(super) const ERROR: Known =
    Known { object: "error", columns: TaskError::COLUMNS, others: &[], documented: &[] };

/// The documented states; see the API notes, section 1.2.
const STATES: &[&str] = &[
    "NotStarted",
    "Idle",
    "WaitingToExecute",
    "WaitingToRetry",
    "Executing",
    "Finalizing",
    "Completed",
    "Queued",
];
/// The documented results, in both spellings.
const RESULTS: &[&str] =
    &["Undetermined", "Success", "Error", "PartialSuccess", "Skipped", "Canceled", "Cancelled", "TimedOut"];
/// The documented phases of a synchronization's run.
const PHASES: &[&str] = &["Preprocessor", "MasterFile", "ReferenceFile"];

impl Known {
    /// The type that a field of this name has been sent with; `None` where no such field is known.
    fn type_of(&self, name: &str) -> Option<Type> {
        let column = self.columns.iter().find(|column| column.field == name);
        let other = || self.others.iter().find(|(known, _)| *known == name).map(|(_, sent)| *sent);
        column.map(|column| Type::in_column(column.kind)).or_else(other)
    }

    /// Notes a member that no column took.
    pub(super) fn note_member(&self, name: &str, value: &RawValue, notes: &mut Drifts) {
        let found = Type::of(value);
        match self.type_of(name) {
            None => notes.add(self.note(name, "field", "")),
            // A list stays here where something in it is no object; an empty one says nothing.
            Some(List) if found == List => {
                if wire::array(value).is_some_and(|elements| !elements.is_empty()) {
                    notes.add(self.note(name, "type", LIST_WITHOUT_OBJECTS));
                }
            }
            // An explicit null, a time in another form: known ways of saying little.
            Some(expected) if found == Type::Null || found == expected && found != Number => {}
            Some(_) => notes.add(self.note(name, "type", found.as_str())),
        }
    }

    /// Notes values that the documentation does not list.
    pub(super) fn note_values<'a>(&self, object: &impl Columns<'a>, notes: &mut Drifts) {
        for (column, value) in object.cells() {
            let Some(Value::Text(value)) = value else { continue };
            let Some((_, known)) = self.documented.iter().find(|(field, _)| *field == column.field) else {
                continue;
            };
            if !known.contains(&value) {
                notes.add(self.note(column.field, "value", value));
            }
        }
    }

    /// Whether a field of this name is known.
    pub(super) fn has_field(&self, name: &str) -> bool {
        self.type_of(name).is_some()
    }

    pub(super) fn note(&self, field: &str, what: &'static str, value: &str) -> Drift {
        let cut = |text: &str| text.chars().take(MAX_CHARS).collect();
        Drift { object: self.object, field: cut(field), what, value: cut(value) }
    }
}

impl Type {
    /// How the platform sends what a column holds.
    fn in_column(kind: Kind) -> Self {
        match kind {
            Kind::Text | Kind::Time => Text,
            Kind::Integer => Number,
            Kind::Boolean => Boolean,
        }
    }

    fn of(value: &RawValue) -> Self {
        match value.get().as_bytes().first() {
            Some(b'"') => Text,
            Some(b'{') => Object,
            Some(b'[') => List,
            Some(b't' | b'f') => Boolean,
            _ if wire::is_null(value) => Self::Null,
            _ => Number,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Text => "text",
            Number => "number",
            Boolean => "boolean",
            Object => "object",
            List => "list",
            Self::Null => "null",
        }
    }
}
