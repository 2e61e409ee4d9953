//! Links that change in every answer: a signed URL has another signature each time it is sent.
//!
//! In: a run as it is archived, and as it was received. Out: the fields whose URLs differ only in their query,
//! where nothing else differs; such a run has not changed. Fields that this program knows are not looked into:
//! whatever differs there is a change.

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::drift::{self, Known};
use super::{Columns as _, Drift, Job, Run, Task};
use crate::api::wire::{Object, array, string};

/// The word of the notes: URLs in this field differ from answer to answer, in their query alone.
pub(crate) const VOLATILE: &str = "volatile";

/// The unknown fields whose URLs differ only in their query between two runs that are equal otherwise; `None`
/// where anything else differs, or nothing does.
pub(crate) fn find_volatile(archived: &Run<'_>, received: &Run<'_>) -> Option<Vec<Drift>> {
    let mut fields = Vec::new();
    let is_same = archived.id == received.id
        && archived.cells().eq(received.cells())
        && archived.error == received.error
        && is_same_extra(&drift::RUN, &archived.extra, &received.extra, &mut fields)
        && all(&archived.jobs, &received.jobs, |archived, received| {
            is_same_job(archived, received, &mut fields)
        });
    fields.sort();
    fields.dedup();
    (is_same && !fields.is_empty()).then_some(fields)
}

fn is_same_job(archived: &Job<'_>, received: &Job<'_>, fields: &mut Vec<Drift>) -> bool {
    archived.cells().eq(received.cells())
        && is_same_extra(&drift::JOB, &archived.extra, &received.extra, fields)
        && all(&archived.tasks, &received.tasks, |archived, received| {
            is_same_task(archived, received, fields)
        })
}

fn is_same_task(archived: &Task<'_>, received: &Task<'_>, fields: &mut Vec<Drift>) -> bool {
    archived.cells().eq(received.cells())
        && is_same_extra(&drift::TASK, &archived.extra, &received.extra, fields)
        && match (&archived.error, &received.error) {
            (Some(archived), Some(received)) => {
                archived.cells().eq(received.cells())
                    && is_same_extra(&drift::ERROR, &archived.extra, &received.extra, fields)
            }
            (None, None) => true,
            _ => false,
        }
}

fn all<T>(archived: &[T], received: &[T], mut is_same: impl FnMut(&T, &T) -> bool) -> bool {
    archived.len() == received.len()
        && archived.iter().zip(received).all(|(archived, received)| is_same(archived, received))
}

/// Whether what no column took is the same but for the queries of URLs in fields that are not known.
fn is_same_extra(
    known: &Known,
    archived: &Option<String>,
    received: &Option<String>,
    fields: &mut Vec<Drift>,
) -> bool {
    if archived == received {
        return true;
    }
    // Both are sorted by name; the stored text outlives what is parsed of it.
    let (Some(archived), Some(received)) = (parse(archived), parse(received)) else { return false };
    archived.0.len() == received.0.len()
        && archived.0.iter().zip(&received.0).all(|((name, archived), (other, received))| {
            if name != other {
                return false;
            }
            if archived.get() == received.get() {
                return true;
            }
            let is_volatile = !known.has_field(name) && differ_in_queries(archived, received);
            if is_volatile {
                fields.push(known.note(name, VOLATILE, ""));
            }
            is_volatile
        })
}

fn parse(extra: &Option<String>) -> Option<Object<'_>> {
    Object::parse(extra.as_deref()?).ok()
}

/// Whether two values that differ do so in the queries of URLs alone, at whatever depth. The depth of what
/// comes is bounded before it is parsed.
fn differ_in_queries(archived: &RawValue, received: &RawValue) -> bool {
    if archived.get() == received.get() {
        return true;
    }
    if let (Some(archived), Some(received)) = (string(archived), string(received)) {
        return archived == received || is_same_but_query(&archived, &received);
    }
    if let (Ok(archived), Ok(received)) = (Object::parse(archived.get()), Object::parse(received.get())) {
        let (archived, received) = (sorted(archived), sorted(received));
        return all(&archived, &received, |(name, archived), (other, received)| {
            name == other && differ_in_queries(archived, received)
        });
    }
    match (array(archived), array(received)) {
        (Some(archived), Some(received)) => {
            all(&archived, &received, |archived, received| differ_in_queries(archived, received))
        }
        _ => false,
    }
}

/// An object's members by name: their order means nothing.
fn sorted(object: Object<'_>) -> Vec<(Cow<'_, str>, &RawValue)> {
    let mut members = object.0;
    members.sort_by(|(a, _), (b, _)| a.cmp(b));
    members
}

/// Whether two texts are one URL with different queries: the same scheme, host, path and fragment.
fn is_same_but_query(archived: &str, received: &str) -> bool {
    let (Some(archived), Some(received)) = (without_query(archived), without_query(received)) else {
        return false;
    };
    archived == received
}

/// What stands before a URL's query, and its fragment; `None` for what is no URL with a host.
fn without_query(text: &str) -> Option<(&str, Option<&str>)> {
    let (scheme, rest) = text.split_once("://")?;
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    let has_host = !rest.is_empty() && !rest.starts_with(['/', '?', '#']);
    if !is_scheme || !has_host || text.contains(char::is_whitespace) {
        return None;
    }
    let (url, fragment) = match text.split_once('#') {
        Some((url, fragment)) => (url, Some(fragment)),
        None => (text, None),
    };
    Some((url.split_once('?').map_or(url, |(url, _)| url), fragment))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::super::normalize;
    use super::*;

    fn found(archived: &Value, received: &Value) -> Option<Vec<String>> {
        let (archived, received) = (archived.to_string(), received.to_string());
        let fields = find_volatile(&normalize(&archived).unwrap(), &normalize(&received).unwrap())?;
        Some(fields.into_iter().map(|note| format!("{} {}", note.object, note.field)).collect())
    }

    /// A run with a value in an unknown field of a run, a job, a task or an error.
    fn run_with(level: &str, name: &str, value: Value) -> Value {
        let mut run = json!({"id":"r","state":"Completed","jobs":[{"id":"j","tasks":[{"id":"t","error":{"errorCode":"e"}}]}]});
        let pointer = match level {
            "run" => "",
            "job" => "/jobs/0",
            "task" => "/jobs/0/tasks/0",
            _ => "/jobs/0/tasks/0/error",
        };
        run.pointer_mut(pointer).unwrap()[name] = value;
        run
    }

    const LEVELS: [&str; 4] = ["run", "job", "task", "error"];

    #[test]
    fn a_signed_link_that_moves_is_told_at_every_level_and_depth() {
        let one = "https://store.example/a/log.txt?sv=1&sig=AAA#top";
        let other = "https://store.example/a/log.txt?sig=BBB&se=2#top";
        let shapes: [fn(&str) -> Value; 4] = [
            |url| json!(url),
            |url| json!([url, 1, null]),
            |url| json!({"href": url, "n": [1.0]}),
            |url| json!({"a": [[{"href": url}]], "b": {"c": url}}),
        ];
        for level in LEVELS {
            for shape in shapes {
                let told = found(&run_with(level, "log", shape(one)), &run_with(level, "log", shape(other)));
                assert_eq!(told, Some(vec![format!("{level} log")]));
                let bare = shape("https://store.example/a/log.txt#top");
                assert!(
                    found(&run_with(level, "log", bare), &run_with(level, "log", shape(other))).is_some()
                );
            }
        }
    }

    #[test]
    fn whatever_else_differs_is_a_change() {
        let one = json!({"href": "https://store.example/a?sig=1", "size": 1});
        for other in [
            json!({"href": "https://store.example/b?sig=2", "size": 1}),
            json!({"href": "https://other.example/a?sig=2", "size": 1}),
            json!({"href": "http://store.example/a?sig=2", "size": 1}),
            json!({"href": "https://store.example:8443/a?sig=2", "size": 1}),
            json!({"href": "https://store.example/a?sig=2#part", "size": 1}),
            json!({"href": "https://store.example/a?sig=2", "size": 2}),
            json!({"href": "https://store.example/a?sig=2", "size": "1"}),
            json!({"href": "https://store.example/a?sig=2"}),
            json!({"href": "https://store.example/a?sig=2", "size": 1, "more": null}),
            json!({"href": null, "size": 1}),
            json!(["https://store.example/a?sig=2", 1]),
            json!("https://store.example/a?sig=2"),
        ] {
            for level in LEVELS {
                let told =
                    found(&run_with(level, "log", one.clone()), &run_with(level, "log", other.clone()));
                assert_eq!(told, None, "{other}");
            }
        }
        // Beside a link that moves, too.
        let mut changed = run_with("task", "log", json!("https://store.example/a?sig=2"));
        let archived = run_with("task", "log", json!("https://store.example/a?sig=1"));
        assert!(found(&archived, &changed).is_some());
        changed["jobs"][0]["state"] = json!("Completed");
        assert_eq!(found(&archived, &changed), None);
    }

    #[test]
    fn a_text_that_is_no_url_and_a_known_field_are_changes() {
        for (one, other) in [
            ("what? 1", "what? 2"),
            ("a/b?1", "a/b?2"),
            ("see https://store.example/a?1", "see https://store.example/a?2"),
            ("file:///a?1", "file:///a?2"),
            ("://x?1", "://x?2"),
        ] {
            assert_eq!(
                found(&run_with("job", "log", json!(one)), &run_with("job", "log", json!(other))),
                None
            );
        }
        let link = |sig| json!(format!("https://help.example/kb?id={sig}"));
        for (level, name) in [
            ("error", "kbArticleLink"),
            ("run", "connectionId"),
            ("run", "endDateTime"),
            ("job", "connectorType"),
        ] {
            assert_eq!(
                found(&run_with(level, name, link(1)), &run_with(level, name, link(2))),
                None,
                "{name}"
            );
            // Of another type they stay in `extra`, and are known fields there as well.
            let listed = |sig| json!([link(sig)]);
            assert_eq!(found(&run_with(level, name, listed(1)), &run_with(level, name, listed(2))), None);
        }
        let same = run_with("run", "log", link(1));
        assert_eq!(found(&same, &same), None);
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i32>().prop_map(Value::from),
            "[a-z ?:/#]{0,12}".prop_map(Value::from),
            "https://[a-c]/[a-c]\\?sig=[a-c]".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 16, 3, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-c]", inner, 0..3)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// A value as another way of telling sees it: every URL without its query.
    fn stripped(value: &Value) -> Value {
        match value {
            Value::String(text) => match text.strip_prefix("https://") {
                Some(rest) if rest.starts_with(['a', 'b', 'c']) && !rest.contains(' ') => {
                    let (url, fragment) = rest.split_once('#').map_or((rest, None), |(a, b)| (a, Some(b)));
                    json!(["url", url.split('?').next(), fragment])
                }
                _ => value.clone(),
            },
            Value::Array(list) => list.iter().map(stripped).collect(),
            Value::Object(members) => {
                Value::Object(members.iter().map(|(name, value)| (name.clone(), stripped(value))).collect())
            }
            _ => value.clone(),
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn runs_are_volatile_where_they_are_equal_without_queries_and_only_there(
            one in any_value(),
            other in any_value(),
            resigned in any::<bool>(),
            level in prop::sample::select(&LEVELS[..]),
        ) {
            let other = if resigned {
                serde_json::from_str(&one.to_string().replace("?sig=a", "?sig=new")).unwrap()
            } else {
                other
            };
            let told = found(&run_with(level, "log", one.clone()), &run_with(level, "log", other.clone()));
            prop_assert_eq!(told.is_some(), one != other && stripped(&one) == stripped(&other));
        }
    }
}
