//! What stands once an answer has come for a run that is archived already.
//!
//! In: the archived run's JSON and the text received. Out: the JSON that is archived from now on, and what of
//! the answer could not be read. A full answer replaces what was there; a shorter one never erases a fuller
//! one, and what cannot be read never replaces what could. Pure: which of two answers is newer is for `store`
//! to say.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::value::RawValue;

use super::drift::Unread;
use super::json::JsonObject;
use crate::api::wire::{Object, array, is_null, string};
use crate::time::UtcText;

/// The members that hold times, at every level.
const TIMES: [&str; 2] = ["startDateTime", "endDateTime"];

/// The outcome of a [`merge`].
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Merged {
    /// The run's JSON from now on.
    pub json: String,
    /// What of the received text is not in it, because it could not be read.
    pub unread: Option<Unread>,
}

/// One level of a run.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Level {
    Run,
    Job,
    Task,
}

impl Level {
    fn object(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Job => "job",
            Self::Task => "task",
        }
    }

    /// The member that holds what is below.
    fn children(self) -> &'static str {
        match self {
            Self::Run => "jobs",
            Self::Job => "tasks",
            Self::Task => "error",
        }
    }
}

/// What an answer says of the children of one object.
enum Children<'a> {
    /// Nothing: absent, null, or a list of none.
    Unsaid,
    /// Objects: each of a list, or the one error.
    Objects(Vec<Object<'a>>),
    /// Something that is there and cannot be read as objects.
    Unread,
}

impl<'a> Children<'a> {
    fn of(object: &Object<'a>, level: Level) -> Self {
        let Some(value) = object.get(level.children()).filter(|value| !is_null(value)) else {
            return Self::Unsaid;
        };
        let elements = match level {
            Level::Run | Level::Job => array(value),
            Level::Task => Some(vec![value]),
        };
        let Some(elements) = elements else { return Self::Unread };
        if elements.is_empty() {
            return Self::Unsaid;
        }
        let objects = elements.into_iter().map(|element| Object::parse(element.get()).ok());
        objects.collect::<Option<Vec<_>>>().map_or(Self::Unread, Self::Objects)
    }
}

/// The content that stands once `received` has come for a run archived as `archived`.
///
/// A full answer replaces what was there. A short one (no `jobs`, or none in them) says nothing of the jobs,
/// and what it does not mention stays; the same holds for a job without tasks, and for a task without an
/// error that is otherwise as it was.
pub(crate) fn merge(archived: &str, received: &str) -> Merged {
    let (Ok(old), Ok(new)) = (Object::parse(archived), Object::parse(received)) else {
        return Merged { json: received.to_owned(), unread: None };
    };
    let mut unread = None;
    let json = merge_object(Level::Run, &old, &new, &mut unread);
    Merged { json, unread }
}

fn merge_object(level: Level, old: &Object<'_>, new: &Object<'_>, unread: &mut Option<Unread>) -> String {
    let children = level.children();
    let old_children = Children::of(old, level);
    let new_children = Children::of(new, level);
    let mut json = JsonObject::new();
    for (name, value) in new.0.iter().filter(|(name, _)| name != children) {
        let kept = if let Some(archived) = archived_time(old, name, value) {
            let field = if name == TIMES[0] { TIMES[0] } else { TIMES[1] };
            unread.get_or_insert(Unread::Time { object: level.object(), field });
            archived
        } else if level == Level::Run && name == "error" {
            archived_error(old, value).unwrap_or(value)
        } else {
            value
        };
        json.raw(name, Some(kept.get()));
    }
    match (new_children, old_children) {
        (Children::Objects(new_objects), Children::Objects(old_objects)) => {
            let merged = merge_children(level, &old_objects, &new_objects, unread);
            match merged {
                Some(merged) => json.raw(children, Some(merged)),
                // The error of a task has nothing below it.
                None => json.raw(children, new.get(children).map(RawValue::get)),
            }
        }
        (Children::Objects(_), _) => json.raw(children, new.get(children).map(RawValue::get)),
        (Children::Unread, before) => {
            unread.get_or_insert(Unread::Children { object: level.object(), field: children });
            // Children that cannot be read never take the place of those that could.
            let kept = if matches!(before, Children::Objects(_)) { old } else { new };
            json.raw(children, kept.get(children).map(RawValue::get));
        }
        // A task that went on may have lost its error; one that is told shorter has not.
        (Children::Unsaid, _) if level == Level::Task && !says_the_same(old, new) => {
            json.raw(children, new.get(children).map(RawValue::get));
        }
        (Children::Unsaid, before) => {
            // A shorter answer about a run or a job leaves out more than its children: what it does not
            // mention stays archived.
            if level != Level::Task {
                let mentioned = new.index();
                for (name, value) in &old.0 {
                    if name != children && mentioned.get(name).is_none() {
                        json.raw(name, Some(value.get()));
                    }
                }
            }
            let archived = old.get(children).filter(|_| !matches!(before, Children::Unsaid));
            let kept = archived.or_else(|| new.get(children)).or_else(|| old.get(children));
            json.raw(children, kept.map(RawValue::get));
        }
    }
    json.finish()
}

/// The merged list of jobs or tasks; `None` for an error.
fn merge_children(
    level: Level,
    old: &[Object<'_>],
    new: &[Object<'_>],
    unread: &mut Option<Unread>,
) -> Option<String> {
    let below = match level {
        Level::Run => Level::Job,
        Level::Job => Level::Task,
        Level::Task => return None,
    };
    let mut merged = Vec::with_capacity(new.len());
    let mut places = None;
    for (place, child) in new.iter().enumerate() {
        merged.push(match counterpart(old, new, place, &mut places) {
            Some(archived) => merge_object(below, archived, child, unread),
            None => as_received(child),
        });
    }
    Some(format!("[{}]", merged.join(",")))
}

/// The archived child that a received one is: a child is its place and id; where the places moved, an id that
/// is told once on both sides still tells.
/// `places` are made when they are first needed.
fn counterpart<'a, 'b, 'c>(
    old: &'a [Object<'b>],
    new: &[Object<'c>],
    place: usize,
    places: &mut Option<(Places<'b>, Places<'c>)>,
) -> Option<&'a Object<'b>> {
    let id = new.get(place)?.text("id");
    let at_place = old.get(place).filter(|archived| archived.text("id") == id);
    at_place.or_else(|| {
        let id = id.as_deref()?;
        let (old_places, new_places) = places.get_or_insert_with(|| (places_of(old), places_of(new)));
        let is_unique = matches!(new_places.get(id), Some(Some(_)));
        let archived = old_places.get(id).copied().flatten().filter(|_| is_unique)?;
        old.get(archived)
    })
}

/// Where each id stands; `None` for one that stands there more than once.
type Places<'a> = HashMap<Cow<'a, str>, Option<usize>>;

fn places_of<'a>(objects: &[Object<'a>]) -> Places<'a> {
    let mut places = Places::with_capacity(objects.len());
    for (place, object) in objects.iter().enumerate() {
        if let Some(id) = object.text("id") {
            places.entry(id).and_modify(|place| *place = None).or_insert(Some(place));
        }
    }
    places
}

fn as_received(object: &Object<'_>) -> String {
    let mut json = JsonObject::new();
    for (name, value) in &object.0 {
        json.raw(name, Some(value.get()));
    }
    json.finish()
}

/// The archived time that stands in place of one which cannot be read. Null and .NET's first day mean that
/// there is none, which can be read.
fn archived_time<'a>(old: &Object<'a>, name: &str, value: &RawValue) -> Option<&'a RawValue> {
    if !TIMES.contains(&name) || is_null(value) {
        return None;
    }
    let can_be_read = |value: &RawValue| {
        string(value)
            .is_some_and(|sent| UtcText::parse_sent(&sent).is_some() || sent.starts_with("0001-01-01"))
    };
    let archived = old.get(name).filter(|archived| can_be_read(archived))?;
    (!can_be_read(value)).then_some(archived)
}

/// The archived error of a run that stands in place of one which is no object.
fn archived_error<'a>(old: &Object<'a>, value: &RawValue) -> Option<&'a RawValue> {
    let is_object = |value: &&RawValue| Object::parse(value.get()).is_ok();
    let archived = old.get("error").filter(is_object)?;
    let says_something = !is_null(value) && Object::parse(value.get()).is_err();
    says_something.then_some(archived)
}

/// Whether every member of the new object but its children is one of the old, with the same value.
fn says_the_same(old: &Object<'_>, new: &Object<'_>) -> bool {
    let is_same = |one: &RawValue, other: &RawValue| {
        one.get() == other.get() || string(one).is_some_and(|text| string(other) == Some(text))
    };
    let children = Level::Task.children();
    let mut members = new.0.iter().filter(|(name, _)| name != children);
    let archived = old.index();
    members.all(|(name, value)| {
        archived.get(name).map_or_else(|| is_null(value), |archived| is_same(archived, value))
            || archived_time(old, name, value).is_some()
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn merged(old: &Value, new: &Value) -> (Value, Option<Unread>) {
        let Merged { json, unread } = merge(&old.to_string(), &new.to_string());
        (serde_json::from_str(&json).unwrap(), unread)
    }

    fn full() -> Value {
        json!({
            "id": "r", "state": "Completed", "startDateTime": "2026-01-05T00:00:00Z",
            "jobs": [{"id": "j", "state": "Completed", "tasks": [
                {"id": "t", "state": "Completed", "result": "Error", "error": {"errorCode": "E"}}
            ]}]
        })
    }

    #[test]
    fn children_that_are_no_objects_leave_the_archived_ones_at_every_level() {
        for odd in
            [json!("@{id=j}"), json!(["@{id=j}"]), json!([{"id": "j"}, "x"]), json!(7), json!({"id": "j"})]
        {
            let mut new = full();
            new["jobs"] = odd.clone();
            let (json, unread) = merged(&full(), &new);
            assert_eq!(
                (json, unread),
                (full(), Some(Unread::Children { object: "run", field: "jobs" })),
                "{odd}"
            );
            let mut new = full();
            new["jobs"][0]["tasks"] = odd.clone();
            let (json, unread) = merged(&full(), &new);
            assert_eq!(
                (json, unread),
                (full(), Some(Unread::Children { object: "job", field: "tasks" })),
                "{odd}"
            );
        }
        for odd in [json!("@{errorCode=E}"), json!(["x"]), json!(false)] {
            let mut new = full();
            new["jobs"][0]["tasks"][0]["error"] = odd.clone();
            let (json, unread) = merged(&full(), &new);
            assert_eq!(
                (json, unread),
                (full(), Some(Unread::Children { object: "task", field: "error" })),
                "{odd}"
            );
        }
    }

    #[test]
    fn a_time_that_cannot_be_read_leaves_one_that_could_and_none_says_so() {
        for odd in [json!("/Date(1694692806872)/"), json!("01/05/2026 00:00:00"), json!(7), json!("")] {
            let mut new = full();
            new["startDateTime"] = odd.clone();
            let (json, unread) = merged(&full(), &new);
            assert_eq!(
                (json, unread),
                (full(), Some(Unread::Time { object: "run", field: "startDateTime" })),
                "{odd}"
            );
        }
        for none in [json!(null), json!("0001-01-01T00:00:00Z"), json!("2026-01-06T00:00:00Z")] {
            let mut new = full();
            new["startDateTime"] = none.clone();
            assert_eq!(merged(&full(), &new), (new, None), "{none}");
        }
    }

    #[test]
    fn a_task_told_shorter_keeps_its_error_and_one_that_went_on_may_lose_it() {
        for error in [None, Some(json!(null))] {
            let mut new = full();
            let task = new["jobs"][0]["tasks"][0].as_object_mut().unwrap();
            match &error {
                None => task.remove("error"),
                Some(null) => task.insert("error".to_owned(), null.clone()),
            };
            assert_eq!(merged(&full(), &new), (full(), None));
            new["jobs"][0]["tasks"][0]["result"] = json!("Success");
            assert_eq!(merged(&full(), &new), (new, None));
        }
    }
}
