//! What the platform sends and this program does not know: nobody announces a new field or a new value.
//!
//! In: the members of an object that no column took, and the values of its enumerations. Out: notes of
//! what is new. Nothing is refused for it, and all of it is kept.

use std::collections::BTreeSet;

use serde_json::value::RawValue;

use super::merge::Unread;
use crate::api::wire;

/// The type of a list in which something is no object.
const LIST_WITHOUT_OBJECTS: &str = "list of other things than objects";
/// Characters kept of a value or a field's name.
const MAX_CHARS: usize = 100;

/// One thing that is not known, wherever in the run it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// `run`, `job`, `task` or `error`.
    pub object: &'static str,
    /// The field's name.
    pub field: String,
    /// `field`, `value`, `type` or `volatile`.
    pub what: &'static str,
    /// The new value, or its type; empty for a new field.
    pub value: String,
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

/// What is known of one kind of object: its name, and its fields with the types they have been sent with.
pub(super) struct Known {
    pub(super) object: &'static str,
    fields: &'static [(&'static str, Type)],
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
    fields: &[
        ("id", Text),
        ("connectionId", Text),
        ("state", Text),
        ("result", Text),
        ("startDateTime", Text),
        ("endDateTime", Text),
        ("phase", Text),
        ("error", Object),
        ("jobs", List),
    ],
};

pub(super) const JOB: Known = Known {
    object: "job",
    fields: &[
        ("id", Text),
        ("state", Text),
        ("result", Text),
        ("startDateTime", Text),
        ("endDateTime", Text),
        ("connectorType", Text),
        ("tasks", List),
    ],
};

pub(super) const TASK: Known = Known {
    object: "task",
    fields: &[
        ("id", Text),
        ("state", Text),
        ("result", Text),
        ("startDateTime", Text),
        ("endDateTime", Text),
        ("retryAttempts", Number),
        ("exportOutputFileId", Text),
        ("storageFileId", Text),
        ("sourceFileId", Text),
        ("error", Object),
    ],
};

pub(super) const ERROR: Known = Known {
    object: "error",
    fields: &[
        ("errorCode", Text),
        ("message", Text),
        ("details", Text),
        ("bridgeExitCode", Number),
        ("system", Text),
        ("phase", Text),
        ("category", Text),
        ("descriptionKey", Text),
        ("description", Text),
        ("kbArticleLink", Text),
        ("canUserFix", Boolean),
    ],
};

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
    /// Notes a member that no column took.
    pub(super) fn note_member(&self, name: &str, value: &RawValue, notes: &mut Drifts) {
        let found = Type::of(value);
        match self.fields.iter().find(|(known, _)| *known == name) {
            None => notes.add(self.note(name, "field", "")),
            // A list stays here where something in it is no object; an empty one says nothing.
            Some((_, List)) if found == List => {
                if wire::array(value).is_some_and(|elements| !elements.is_empty()) {
                    notes.add(self.note(name, "type", LIST_WITHOUT_OBJECTS));
                }
            }
            // An explicit null, a time in another form: known ways of saying little.
            Some((_, expected)) if found == Type::Null || found == *expected && found != Number => {}
            Some(_) => notes.add(self.note(name, "type", found.as_str())),
        }
    }

    /// Notes the value of an enumeration.
    pub(super) fn note_value(&self, name: &str, value: Option<&str>, notes: &mut Drifts) {
        let known = match name {
            "state" => STATES,
            "result" => RESULTS,
            _ => PHASES,
        };
        if let Some(value) = value.filter(|value| !known.contains(value)) {
            notes.add(self.note(name, "value", value));
        }
    }

    /// Whether a field of this name is known.
    pub(super) fn has_field(&self, name: &str) -> bool {
        self.fields.iter().any(|(known, _)| *known == name)
    }

    pub(super) fn note(&self, field: &str, what: &'static str, value: &str) -> Drift {
        let cut = |text: &str| text.chars().take(MAX_CHARS).collect();
        Drift { object: self.object, field: cut(field), what, value: cut(value) }
    }
}

impl Type {
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
