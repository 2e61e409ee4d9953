//! A run as sent becomes rows, and rows become the run as sent again.
//!
//! In: the exact text of one run. Out: a `Run` with its jobs, tasks and errors, where every value
//! that its column cannot give back (unknown field, other type, odd time, explicit null) stays in
//! `extra`; or the reason why the text is no run. Pure: no I/O, no clock. Which rows are new or
//! changed is decided in `store`.

use std::borrow::Cow;
use std::collections::HashSet;
use std::convert::Infallible;

use serde_json::value::RawValue;

use crate::api::wire::{self, Object};
use crate::time::UtcText;

mod columns;
pub(crate) mod digest;
mod drift;
mod json;
mod limits;
mod merge;
mod volatile;

pub(crate) use columns::{
    Column, Columns, Digest, Drift, Job, Kind, Run, RunError, Source, Task, TaskError, Text, Value,
};
pub(crate) use drift::Unread;
use drift::{Drifts, Known};
use json::{JsonObject, push_compact};
pub use json::{is_whole, rebuild};
pub(crate) use limits::{MAX_BYTES, MAX_DEPTH, MAX_JOBS, MAX_TASKS, MAX_VALUES, Reject};
pub(crate) use merge::{Merged, merge};
pub(crate) use volatile::{VOLATILE, find_volatile};

/// Reads one run from the text that was sent.
pub fn normalize(raw: &str) -> Result<Run<'_>, Reject> {
    check_limits(raw)?;
    normalize_merged(raw)
}

/// Measures a text before anything is built from it: whatever is too large is told in one pass over its bytes.
pub(crate) fn check_limits(raw: &str) -> Result<(), Reject> {
    if raw.len() > MAX_BYTES {
        return Err(Reject::TooLong(raw.len()));
    }
    let shape = wire::shape(raw).map_err(|malformed| Reject::NotAnObject(malformed.to_string()))?;
    if shape.depth > MAX_DEPTH {
        return Err(Reject::TooDeep(shape.depth));
    }
    if shape.values > MAX_VALUES {
        return Err(Reject::TooManyValues(shape.values));
    }
    if shape.objects > MAX_JOBS {
        check_rows(raw)?;
    }
    Ok(())
}

/// Counts the jobs and tasks of a run that may have too many.
fn check_rows(raw: &str) -> Result<(), Reject> {
    let jobs = list(raw, "jobs");
    if jobs.len() > MAX_JOBS {
        return Err(Reject::TooManyJobs(jobs.len()));
    }
    let tasks: usize = jobs.iter().map(|job| list(job, "tasks").len()).sum();
    match tasks > MAX_TASKS {
        true => Err(Reject::TooManyTasks(tasks)),
        false => Ok(()),
    }
}

/// Reads a run that this program put together, of rows or of an archived run and a shorter answer: together
/// they may be larger than what is received at once.
pub fn normalize_merged(raw: &str) -> Result<Run<'_>, Reject> {
    let object = Object::parse(raw).map_err(|error| unreadable(raw, &error))?;
    let mut members = Members::new(object)?;
    let id = members.take_text("id").filter(|id| !id.is_empty()).ok_or(Reject::NoId)?;
    let mut drift = Drifts::default();
    let jobs = match members.take_objects("jobs")? {
        Some(jobs) => jobs.into_iter().map(|job| normalize_job(job, &mut drift)).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let error = members.take_run_error();
    let mut run = Run { id, error, jobs, ..members.take_columns() };
    drift::RUN.note_values(&run, &mut drift);
    run.extra = members.into_extra(&drift::RUN, &mut drift);
    run.drift = drift.into_vec();
    run.digest = Some(digest::digest_of_rows(&run));
    Ok(run)
}

/// The elements of a member that is a list, as they were sent; none where it is none.
fn list<'a>(object: &'a str, name: &str) -> Vec<&'a str> {
    let members = wire::members(object).unwrap_or_default();
    let list = members.into_iter().rev().find(|(other, _)| other == name);
    list.and_then(|(_, list)| wire::elements(list)).unwrap_or_default()
}

/// Why a text is no object, and where its bytes were no text to begin with.
fn unreadable(raw: &str, error: &serde_json::Error) -> Reject {
    match raw.find("\\x") {
        Some(at) => Reject::NotUtf8(at),
        None => Reject::NotAnObject(error.to_string()),
    }
}

fn normalize_job<'a>(mut members: Members<'a>, drift: &mut Drifts) -> Result<Job<'a>, Reject> {
    let tasks = match members.take_objects("tasks")? {
        Some(tasks) => tasks.into_iter().map(|task| normalize_task(task, drift)).collect::<Result<_, _>>()?,
        None => Vec::new(),
    };
    let columns = members.take_columns();
    drift::JOB.note_values(&columns, drift);
    Ok(Job { tasks, extra: members.into_extra(&drift::JOB, drift), ..columns })
}

fn normalize_task<'a>(mut members: Members<'a>, drift: &mut Drifts) -> Result<Task<'a>, Reject> {
    let error = members.take_object("error")?.map(|error| Box::new(normalize_error(error, drift)));
    let columns = members.take_columns();
    drift::TASK.note_values(&columns, drift);
    Ok(Task { error, extra: members.into_extra(&drift::TASK, drift), ..columns })
}

fn normalize_error<'a>(mut members: Members<'a>, drift: &mut Drifts) -> TaskError<'a> {
    let columns = members.take_columns();
    TaskError { extra: members.into_extra(&drift::ERROR, drift), ..columns }
}

/// What the columns of a connection cannot give back of its JSON.
pub(crate) fn connection_extra(json: &str) -> Option<String> {
    let mut members = Members::new(Object::parse(json).ok()?).ok()?;
    for name in ["id", "displayName", "iModelId", "iTwinId", "authenticationType"] {
        members.take_text(name);
    }
    members.into_json()
}

/// What the columns of an iTwin or iModel cannot give back of its JSON.
pub(crate) fn named_extra(json: &str) -> Option<String> {
    let mut members = Members::new(Object::parse(json).ok()?).ok()?;
    for name in ["id", "displayName"] {
        members.take_text(name);
    }
    members.into_json()
}

/// Names that are compared one by one.
const FEW_NAMES: usize = 24;

/// So much of a foreign name as belongs into a sentence.
fn cut(name: &str) -> String {
    name.chars().take(100).collect()
}

/// The members of one object that no column has taken yet.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Members<'a> {
    fn new(object: Object<'a>) -> Result<Self, Reject> {
        let members = object.0;
        let twice = match members.len() {
            // Comparing each name with all before it is the fastest for the few that objects have.
            0..=FEW_NAMES => (0..members.len())
                .find(|&at| members[..at].iter().any(|(earlier, _)| *earlier == members[at].0))
                .map(|at| &members[at].0),
            _ => {
                let mut names = HashSet::with_capacity(members.len());
                members.iter().map(|(name, _)| name).find(|name| !names.insert(*name))
            }
        };
        match twice {
            Some(name) => Err(Reject::NameTwice(cut(name))),
            None => Ok(Self(members)),
        }
    }

    /// Removes a member if `read` can make a column's value of it that gives the member back.
    fn take<T>(&mut self, name: &str, read: impl FnOnce(&'a RawValue) -> Option<T>) -> Option<T> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        let value = read(self.0[at].1)?;
        self.0.swap_remove(at);
        Some(value)
    }

    fn take_text(&mut self, name: &str) -> Text<'a> {
        // SQL's text functions stop at NUL, so a column could not give such a text back to everyone.
        self.take(name, |value| wire::string(value).filter(|text| !text.contains('\0')))
    }

    fn take_columns<T: Columns<'a>>(&mut self) -> T {
        let Ok(columns) = T::read(self);
        columns
    }

    /// The error of a run, where it is an object of one or both of its texts and nothing else.
    fn take_run_error(&mut self) -> Option<RunError<'a>> {
        self.take("error", |value| {
            let mut members = Members::new(Object::parse(value.get()).ok()?).ok()?;
            let error: RunError<'_> = members.take_columns();
            let is_whole = members.0.is_empty() && error != RunError::default();
            is_whole.then_some(error)
        })
    }

    /// A time goes into its column; what was sent stays in `extra` too where the column's form differs.
    fn take_time(&mut self, name: &str) -> Option<UtcText> {
        let at = self.0.iter().position(|(key, _)| key == name)?;
        let sent = wire::string(self.0[at].1)?;
        let time = UtcText::parse_sent(&sent)?;
        if time.gives_back(&sent) {
            self.0.swap_remove(at);
        }
        Some(time)
    }

    fn take_object(&mut self, name: &str) -> Result<Option<Members<'a>>, Reject> {
        let object = |value: &'a RawValue| Object::parse(value.get()).ok();
        self.take(name, object).map(Members::new).transpose()
    }

    /// A list of objects that has at least one; a list with anything else in it stays in `extra` whole.
    fn take_objects(&mut self, name: &str) -> Result<Option<Vec<Members<'a>>>, Reject> {
        let objects = |value: &'a RawValue| {
            let elements = wire::array(value).filter(|elements| !elements.is_empty())?;
            elements.into_iter().map(|element| Object::parse(element.get()).ok()).collect::<Option<Vec<_>>>()
        };
        match self.take(name, objects) {
            Some(objects) => objects.into_iter().map(Members::new).collect::<Result<_, _>>().map(Some),
            None => Ok(None),
        }
    }

    /// What is left, noting what of it is not known.
    fn into_extra(self, known: &Known, drift: &mut Drifts) -> Option<String> {
        for (name, value) in &self.0 {
            known.note_member(name, value, drift);
        }
        self.into_json()
    }

    /// What is left, as a JSON object with sorted names and without insignificant white space.
    fn into_json(mut self) -> Option<String> {
        if self.0.is_empty() {
            return None;
        }
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut json = JsonObject::new();
        for (name, value) in &self.0 {
            json.member(name, |out| push_compact(out, value.get()));
        }
        Some(json.finish())
    }
}

/// A value that no column can give back stays with the members, and so in `extra`.
impl<'a> Source<'a> for Members<'a> {
    type Error = Infallible;

    fn text(&mut self, column: &Column) -> Result<Text<'a>, Infallible> {
        Ok(self.take_text(column.field))
    }

    fn time(&mut self, column: &Column) -> Result<Option<UtcText>, Infallible> {
        Ok(self.take_time(column.field))
    }

    fn integer(&mut self, column: &Column) -> Result<Option<i64>, Infallible> {
        Ok(self.take(column.field, |value| {
            value.get().parse::<i64>().ok().filter(|number| number.to_string() == value.get())
        }))
    }

    fn boolean(&mut self, column: &Column) -> Result<Option<bool>, Infallible> {
        Ok(self.take(column.field, |value| value.get().parse().ok()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    /// JSON values equal where their names and values are, whatever the order.
    fn value(text: &str) -> Value {
        serde_json::from_str(text).unwrap()
    }

    fn any_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_filter("finite", |number| number.is_finite()).prop_map(Value::from),
            ".*".prop_map(Value::from),
            Just(json!("2023-09-14T12:00:09.801086Z")),
            Just(json!("2023-09-14T12:00:09+02:00")),
            Just(json!("0001-01-01T00:00:00Z")),
            Just(json!("a\u{0}b")),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-z\"]{0,3}", inner, 0..4)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    fn object(
        names: &'static [&'static str],
        child: Option<(&'static str, BoxedStrategy<Value>)>,
    ) -> BoxedStrategy<Value> {
        let name =
            prop_oneof![4 => prop::sample::select(names).prop_map(str::to_owned), 1 => "[a-zA-Z]{1,4}"];
        let members = prop::collection::btree_map(name, any_value(), 0..8);
        match child {
            None => members.prop_map(|members| Value::Object(members.into_iter().collect())).boxed(),
            Some((child_name, child)) => (members, prop::option::weighted(0.8, child))
                .prop_map(move |(members, child)| {
                    let mut object: Map<String, Value> = members.into_iter().collect();
                    if let Some(child) = child {
                        object.insert(child_name.to_owned(), child);
                    }
                    Value::Object(object)
                })
                .boxed(),
        }
    }

    fn any_run() -> impl Strategy<Value = Value> {
        const COMMON: &[&str] = &[
            "id",
            "state",
            "result",
            "startDateTime",
            "endDateTime",
            "jobs",
            "tasks",
            "error",
            "retryAttempts",
            "connectorType",
            "exportOutputFileId",
            "storageFileId",
            "sourceFileId",
            "phase",
        ];
        const RUN_ERROR: &[&str] = &["errorKey", "description"];
        const ERROR: &[&str] = &[
            "errorCode",
            "message",
            "details",
            "bridgeExitCode",
            "system",
            "phase",
            "category",
            "descriptionKey",
            "description",
            "kbArticleLink",
            "canUserFix",
        ];
        let error = object(ERROR, None);
        let task = object(COMMON, Some(("error", error)));
        let tasks = prop::collection::vec(task, 0..3).prop_map(Value::from).boxed();
        let job = object(COMMON, Some(("tasks", tasks)));
        let jobs = prop::collection::vec(job, 0..3).prop_map(Value::from).boxed();
        let run_error = prop::option::of(object(RUN_ERROR, None));
        (object(COMMON, Some(("jobs", jobs))), ".+", run_error).prop_map(|(mut run, id, error)| {
            run["id"] = Value::from(id);
            if let Some(error) = error {
                run["error"] = error;
            }
            run
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]

        #[test]
        fn rows_give_back_the_json_they_came_from(run in any_run(), pretty in any::<bool>()) {
            let sent = if pretty { serde_json::to_string_pretty(&run) } else { serde_json::to_string(&run) }.unwrap();
            if run["id"].as_str().is_some_and(|id| id.contains('\0')) {
                prop_assert_eq!(normalize(&sent), Err(Reject::NoId));
            } else {
                let rows = normalize(&sent).unwrap();
                let rebuilt = rebuild(&rows);
                prop_assert_eq!(value(&rebuilt), value(&sent));
                let again = normalize(&rebuilt).unwrap();
                prop_assert_eq!(&again, &rows);
                let raw: &RawValue = serde_json::from_str(&sent).unwrap();
                prop_assert_eq!(rows.digest, Some(digest::digest_of_json(raw)));
            }
        }

        #[test]
        fn an_answer_merged_with_itself_is_itself_and_a_full_one_replaces(old in any_run(), new in any_run()) {
            let (old, new) = (old.to_string(), new.to_string());
            prop_assert_eq!(value(&merge(&new, &new).json), value(&new));
            let merged = value(&merge(&old, &new).json);
            for (name, kept) in value(&new).as_object().unwrap() {
                // A time that cannot be read, or an error that is none, does not replace one that could.
                if !["jobs", "startDateTime", "endDateTime", "error"].contains(&name.as_str()) {
                    prop_assert_eq!(&merged[name], kept);
                }
            }
        }

        #[test]
        fn dirty_text_is_a_run_or_a_reject_but_never_a_panic(text in r#"[\[\]{}":,0-9a-z\\ -]{0,60}"#) {
            let _ = normalize(&text);
        }
    }

    #[test]
    fn numbers_and_surrogates_come_back_to_the_letter() {
        let sent =
            r#"{"id":"r","big":123456789012345678901234567890,"one":1.0,"tiny":1e-400,"state":"\ud800"}"#;
        let rebuilt = rebuild(&normalize(sent).unwrap());
        for exact in [
            r#""big":123456789012345678901234567890"#,
            r#""one":1.0"#,
            r#""tiny":1e-400"#,
            r#""state":"\ud800""#,
        ] {
            assert!(rebuilt.contains(exact), "{exact} in {rebuilt}");
        }
    }

    #[test]
    fn a_name_twice_or_no_id_is_set_aside() {
        assert_eq!(normalize(r#"{"id":"r","a":1,"a":2}"#), Err(Reject::NameTwice("a".into())));
        assert_eq!(normalize(r#"{"id":"r","jobs":[{"b":1,"b":2}]}"#), Err(Reject::NameTwice("b".into())));
        for no_id in ["{}", r#"{"id":null}"#, r#"{"id":7}"#, r#"{"id":""}"#] {
            assert_eq!(normalize(no_id), Err(Reject::NoId), "{no_id}");
        }
        assert!(matches!(normalize("[1]"), Err(Reject::NotAnObject(_))));
    }

    #[test]
    fn a_digest_changes_with_every_value_name_and_place_and_with_nothing_else() {
        let digest = |text: &str| normalize(text).unwrap().digest.unwrap();
        let sent = r#"{"id":"r","state":"Completed","n":1,"jobs":[{"id":"a","tasks":[{"id":"x"}]},{"id":"b","tasks":[{"id":"y"}]}]}"#;
        let same = r#"{ "jobs":[{"tasks":[{"id":"x"}],"id":"a"},{"id":"b","tasks":[{"id":"\u0079"}]}],"n":1,"state":"Completed","id":"r"}"#;
        assert_eq!(digest(sent), digest(same));
        for (from, to) in [
            ("\"n\":1", "\"n\":\"1\""),
            ("\"n\":1", "\"n\":1.0"),
            ("\"n\":1", "\"m\":1"),
            ("\"n\":1,", ""),
            ("Completed", "completed"),
            ("\"id\":\"x\"", "\"id\":\"y\""),
            (
                r#"{"id":"a","tasks":[{"id":"x"}]},{"id":"b","tasks":[{"id":"y"}]}"#,
                r#"{"id":"b","tasks":[{"id":"y"}]},{"id":"a","tasks":[{"id":"x"}]}"#,
            ),
            (r#"[{"id":"y"}]"#, r#"[{"id":"y"},{}]"#),
            (r#",{"id":"b","tasks":[{"id":"y"}]}"#, ""),
        ] {
            assert!(sent.contains(from), "{from}");
            assert_ne!(digest(sent), digest(&sent.replacen(from, to, 1)), "{from} {to}");
        }
    }

    #[test]
    fn what_is_new_in_an_answer_is_noted_once_and_what_is_only_odd_is_not() {
        let sent = r#"{"id":"r","state":"Sleeping","result":"Cancelled","startDateTime":"02/15/2022 08:24:45",
            "endDateTime":null,"connectionId":"c","region":1,"phase":"MasterFile","error":{"errorKey":"k"},
            "jobs":[{"id":"j","tasks":[{"retryAttempts":"2","cost":1,"error":{"canUserFix":null,"hint":""}},{"cost":2}]}]}"#;
        let run = normalize(sent).unwrap();
        assert_eq!(run.error, Some(RunError { error_key: Some("k".into()), error_description: None }));
        let notes: Vec<_> = run
            .drift
            .iter()
            .map(|drift| format!("{} {} {} {}", drift.object, drift.what, drift.field, drift.value))
            .collect();
        assert_eq!(
            notes,
            [
                "error field hint ",
                "run field region ",
                "run value state Sleeping",
                "task field cost ",
                "task type retryAttempts text"
            ]
        );
        let sample = include_str!("../tests/fixtures/list-runs-200.json");
        let page = wire::Page::parse(sample).unwrap();
        assert_eq!(normalize(page.runs[0]).unwrap().drift, []);
    }

    #[test]
    fn a_shorter_answer_never_erases_a_fuller_one() {
        let full =
            r#"{"id":"r","state":"Executing","startDateTime":"s","jobs":[{"id":"j","tasks":[{"id":"t"}]}]}"#;
        for jobs in ["", r#","jobs":null"#, r#","jobs":[]"#] {
            let short = format!(r#"{{"id":"r","state":"Completed"{jobs}}}"#);
            let merged = value(&merge(full, &short).json);
            assert_eq!(merged["state"], "Completed");
            assert_eq!(merged["startDateTime"], "s");
            assert_eq!(merged["jobs"], value(full)["jobs"], "{short}");
        }
        let without_tasks = r#"{"id":"r","jobs":[{"id":"j","state":"Completed","tasks":[]}]}"#;
        assert_eq!(value(&merge(full, without_tasks).json)["jobs"][0]["tasks"][0]["id"], "t");
        let spaced = value(&merge(full, r#"{"id":"r","jobs":[ ]}"#).json);
        assert_eq!(spaced["jobs"], value(full)["jobs"]);
        let twins =
            r#"{"id":"r","jobs":[{"id":"j","tasks":[{"id":"t1"}]},{"id":"j","tasks":[{"id":"t2"}]}]}"#;
        let shorter = r#"{"id":"r","jobs":[{"id":"j","tasks":[{"id":"t1"}]},{"id":"j","tasks":null}]}"#;
        assert_eq!(value(&merge(twins, shorter).json)["jobs"], value(twins)["jobs"]);
        let other_job = r#"{"id":"r","jobs":[{"id":"k"}]}"#;
        assert_eq!(value(&merge(full, other_job).json)["jobs"], json!([{"id": "k"}]));
    }
}
