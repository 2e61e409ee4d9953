//! Runs of one job with one task that say what they were told to, for tests that care for nothing else.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta};

use super::text::stamp;
use crate::emulator::answer::json_text;
use crate::emulator::listing::{Run, hash};

/// A run of one job with one task, all three in this state with this result and without an error. With
/// `Completed` and a readable start it ends seven minutes later. An empty `started` is not sent.
#[must_use]
pub fn simple_run(id: &str, started: &str, state: &str, result: &str) -> Run {
    let times = times(started, state);
    let outcome = outcome(state, result);
    let json = format!(
        "{{\"id\":{run},{outcome},{times}\"jobs\":[{{\"id\":{job},{times}{outcome},\
         \"tasks\":[{{\"id\":{task},{times}\"retryAttempts\":0,{outcome}}}]}}]}}",
        run = json_text(id),
        job = json_text(&format!("{id}-job")),
        task = json_text(&format!("{id}-task")),
    );
    Run { id: id.to_owned(), started: started.to_owned(), json: json.into() }
}

/// A run of a storage connection: as [`simple_run`], with what the Synchronization API has in addition: the
/// run's `phase`, the job's `connectorType`, the task's `storageFileId` and, where `result` is `Error`, the
/// run's own `error`. The API writes `Cancelled` where the Export API writes `Canceled`; here it is sent as
/// given.
#[must_use]
pub fn synchronization_run(id: &str, started: &str, state: &str, result: &str) -> Run {
    // As long as the published ones, and like them no hexadecimal number.
    let file = format!("g{:016x}{:016x}11a336d", hash(id, 1), hash(id, 2));
    synchronized("storageFileId", &file, id, started, state, result)
}

/// A run of a manifest connection: as [`synchronization_run`], but its task has a `sourceFileId`, the
/// manifest's own word for a file.
#[must_use]
pub fn manifest_run(id: &str, started: &str, state: &str, result: &str) -> Run {
    synchronized("sourceFileId", &format!("master-file-{id}"), id, started, state, result)
}

fn synchronized(file_key: &str, file: &str, id: &str, started: &str, state: &str, result: &str) -> Run {
    let times = times(started, state);
    let error = match result {
        "Error" => {
            "\"error\":{\"errorKey\":\"UserNotAuthenticated\",\"description\":\"User is not authenticated.\"},"
        }
        _ => "",
    };
    let outcome = outcome(state, result);
    let json = format!(
        "{{\"id\":{run},{times}\"phase\":\"MasterFile\",{outcome},{error}\"jobs\":[{{\"id\":{job},{times}{outcome},\
         \"connectorType\":\"DWG\",\"tasks\":[{{\"id\":{task},{times}\"retryAttempts\":0,\"{file_key}\":{file},\
         {outcome},\"error\":null}}]}}]}}",
        run = json_text(id),
        job = json_text(&format!("{id}-job")),
        task = json_text(&format!("{id}-task")),
        file = json_text(file),
    );
    Run { id: id.to_owned(), started: started.to_owned(), json: json.into() }
}

fn outcome(state: &str, result: &str) -> String {
    format!("\"state\":{},\"result\":{}", json_text(state), json_text(result))
}

/// The times of all three levels, with a comma behind each.
fn times(started: &str, state: &str) -> String {
    let mut times = String::new();
    if !started.is_empty() {
        let _ = write!(times, "\"startDateTime\":{},", json_text(started));
    }
    if state == "Completed"
        && let Ok(start) = DateTime::parse_from_rfc3339(started)
    {
        let _ = write!(times, "\"endDateTime\":\"{}\",", stamp(start.to_utc() + TimeDelta::minutes(7)));
    }
    times
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn read(run: &Run) -> Value {
        let value: Value = serde_json::from_str(&run.json).unwrap();
        assert_eq!(
            (&value["id"], &value["startDateTime"]),
            (&run.id.as_str().into(), &run.started.as_str().into())
        );
        value
    }

    #[test]
    fn a_simple_run_says_what_it_was_given() {
        let run = simple_run("a\"b", "2024-01-01T00:00:00Z", "Completed", "Error");
        let value = read(&run);
        assert_eq!(value["endDateTime"], "2024-01-01T00:07:00Z");
        assert_eq!(value["jobs"][0]["tasks"][0]["result"], "Error");
        assert!(simple_run("a", "", "Executing", "Undetermined").json.find("DateTime").is_none());
        assert!(!simple_run("a", "02/15/2022 08:24:45", "Completed", "Success").json.contains("endDateTime"));
    }

    #[test]
    fn a_run_of_synchronization_has_what_only_those_have() {
        let start = "2024-01-01T00:00:00Z";
        let stored = read(&synchronization_run("a\"b", start, "Completed", "Error"));
        let task = &stored["jobs"][0]["tasks"][0];
        assert_eq!(
            (&stored["phase"], &stored["jobs"][0]["connectorType"]),
            (&"MasterFile".into(), &"DWG".into())
        );
        assert_eq!(stored["error"]["errorKey"], "UserNotAuthenticated");
        assert_eq!(task["storageFileId"].as_str().map(str::len), Some(40));
        assert!(task["error"].is_null() && task.get("sourceFileId").is_none());
        let named = read(&manifest_run("a\"b", start, "Completed", "Cancelled"));
        let task = &named["jobs"][0]["tasks"][0];
        assert_eq!(
            (&named["result"], &task["sourceFileId"]),
            (&"Cancelled".into(), &"master-file-a\"b".into())
        );
        assert!(named.get("error").is_none() && task.get("storageFileId").is_none());
    }
}
