//! Field by field: a run as the platform lists it, and its archived copy.
//!
//! In: the platform's text, and the JSON that SQL put together from columns and `extra`. Out: where they
//! differ. A shorter answer is no difference: what it does not mention of the jobs or tasks may stay
//! archived (DESIGN, rule 4). What cannot be read as plain JSON values (a lone surrogate, a number beyond
//! 64 bits of floating point) is compared by digest.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::normalize::digest::digest_of_json;
use crate::store::check::Copy;

/// Differences of one run that are told.
const MOST: usize = 5;
/// Characters told of a value.
const MAX_CHARS: usize = 80;

/// One place where two runs differ.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Difference {
    /// Where: `jobs[0].tasks[2].result`.
    pub path: String,
    /// What the archive has there; `None` for nothing.
    pub archived: Option<String>,
    /// What the platform sent there; `None` for nothing.
    pub platform: Option<String>,
}

/// Where the platform's text differs from the archived copy; the first few places.
pub(super) fn differences(copy: &Copy, raw: &str) -> Vec<Difference> {
    let (Some(archived), Ok(listed)) = (&copy.json, serde_json::from_str::<Value>(raw)) else {
        let raw: Result<&RawValue, _> = serde_json::from_str(raw);
        return match raw.map(digest_of_json) {
            Ok(digest) if digest == copy.digest_of_rows => Vec::new(),
            _ => vec![Difference { path: "(the whole run)".to_owned(), archived: None, platform: None }],
        };
    };
    let mut found = Vec::new();
    let (Value::Object(archived), Value::Object(listed)) = (archived, &listed) else { return found };
    compare_levels(archived, listed, &["jobs", "tasks"], "", &mut found);
    found
}

/// One object of a level whose children may be left out of a shorter answer.
fn compare_levels(
    archived: &Map<String, Value>,
    listed: &Map<String, Value>,
    levels: &[&str],
    path: &str,
    found: &mut Vec<Difference>,
) {
    let Some((children, below)) = levels.split_first() else {
        compare_objects(archived, listed, path, found);
        return;
    };
    // A sync keeps the archived children where an answer brings none, so that they are no difference here
    // either.
    let is_short = match listed.get(*children) {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    };
    for (name, value) in listed.iter().filter(|(name, _)| name != children) {
        compare(archived.get(name), Some(value), &join(path, name), found);
    }
    if is_short {
        return;
    }
    for (name, value) in archived.iter().filter(|(name, _)| name != children && !listed.contains_key(*name)) {
        compare(Some(value), None, &join(path, name), found);
    }
    match (archived.get(*children), listed.get(*children)) {
        (Some(Value::Array(archived)), Some(Value::Array(listed))) => {
            for place in 0..archived.len().max(listed.len()) {
                let path = format!("{}[{place}]", join(path, children));
                match (archived.get(place), listed.get(place)) {
                    (Some(Value::Object(archived)), Some(Value::Object(listed))) => {
                        compare_levels(archived, listed, below, &path, found);
                    }
                    (archived, listed) => compare(archived, listed, &path, found),
                }
            }
        }
        (archived, listed) => compare(archived, listed, &join(path, children), found),
    }
}

fn compare_objects(
    archived: &Map<String, Value>,
    listed: &Map<String, Value>,
    path: &str,
    found: &mut Vec<Difference>,
) {
    for (name, value) in listed {
        compare(archived.get(name), Some(value), &join(path, name), found);
    }
    for (name, value) in archived.iter().filter(|(name, _)| !listed.contains_key(*name)) {
        compare(Some(value), None, &join(path, name), found);
    }
}

fn compare(archived: Option<&Value>, listed: Option<&Value>, path: &str, found: &mut Vec<Difference>) {
    if archived == listed || found.len() >= MOST {
        return;
    }
    if let (Some(Value::Object(archived)), Some(Value::Object(listed))) = (archived, listed) {
        compare_objects(archived, listed, path, found);
        return;
    }
    let told = |value: Option<&Value>| value.map(|value| value.to_string().chars().take(MAX_CHARS).collect());
    found.push(Difference { path: path.to_owned(), archived: told(archived), platform: told(listed) });
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn told(archived: Value, listed: Value) -> Vec<String> {
        let copy = Copy {
            run_key: 1,
            is_completed: true,
            is_unlisted: false,
            json: Some(archived),
            digest: None,
            digest_of_rows: [0; 16],
        };
        let found = differences(&copy, &listed.to_string());
        let value = |value: Option<String>| value.unwrap_or_else(|| "nothing".to_owned());
        found
            .into_iter()
            .map(|found| format!("{}: {} / {}", found.path, value(found.archived), value(found.platform)))
            .collect()
    }

    #[test]
    fn every_difference_is_told_by_its_place() {
        let archived =
            json!({"id":"r","result":"Success","jobs":[{"id":"j","tasks":[{"id":"t","retryAttempts":1}]}]});
        assert_eq!(told(archived.clone(), archived.clone()), [""; 0]);
        let listed = json!({"id":"r","result":"Error","more":null,
            "jobs":[{"id":"j","tasks":[{"id":"t","retryAttempts":"1"},{"id":"u"}]}]});
        assert_eq!(
            told(archived, listed),
            [
                "more: nothing / null",
                "result: \"Success\" / \"Error\"",
                "jobs[0].tasks[0].retryAttempts: 1 / \"1\"",
                "jobs[0].tasks[1]: nothing / {\"id\":\"u\"}",
            ]
        );
    }

    #[test]
    fn what_a_shorter_answer_does_not_mention_is_no_difference() {
        let archived = json!({"id":"r","state":"Completed","startDateTime":"s","jobs":[{"id":"j","state":"x","tasks":[{"id":"t"}]}]});
        for jobs in [json!(null), json!([])] {
            assert_eq!(told(archived.clone(), json!({"id":"r","state":"Completed","jobs":jobs})), [""; 0]);
        }
        assert_eq!(told(archived.clone(), json!({"id":"r"})), [""; 0]);
        let without_tasks =
            json!({"id":"r","state":"Completed","startDateTime":"s","jobs":[{"id":"j","tasks":[]}]});
        assert_eq!(told(archived.clone(), without_tasks), [""; 0]);
        assert_eq!(told(archived, json!({"id":"r","state":"Idle"})), ["state: \"Completed\" / \"Idle\""]);
    }
}
