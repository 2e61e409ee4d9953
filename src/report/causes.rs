//! Why runs are bad: the errors that they carry, and which of them most do.
//!
//! In: the errors of certain runs, as `run-errors.sql` tells them. Out: the runs' ids, and the error that explains
//! several runs best.

use std::collections::HashMap;

use serde::Deserialize;

use super::compare::is_https;
use super::figures::{Actor, Cause, RunAt};
use crate::time::UtcText;

/// An error of a run; or that it has none.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct RunError {
    run_key: i64,
    run_id: String,
    started_at: Option<UtcText>,
    error_kind_key: Option<i64>,
    error_code: Option<String>,
    description_key: Option<String>,
    can_user_fix: Option<bool>,
    phase: Option<String>,
    category: Option<String>,
    description: Option<String>,
    kb_article_link: Option<String>,
    tasks: u64,
}

/// What tells one error from another.
type Name<'a> = (Option<&'a str>, Option<&'a str>, Option<bool>);

impl RunError {
    fn name(&self) -> Name<'_> {
        (self.error_code.as_deref(), self.description_key.as_deref(), self.can_user_fix)
    }

    fn is_none(&self) -> bool {
        self.tasks == 0 && self.description_key.is_none() && self.description.is_none()
    }
}

/// An error that explains bad runs.
#[derive(Debug, Clone)]
pub(super) struct Carried {
    pub(super) error_kind_key: Option<i64>,
    error: RunError,
    runs: u64,
}

impl Carried {
    pub(super) fn actor(&self) -> Actor {
        match self.error.can_user_fix {
            Some(true) => Actor::Users,
            Some(false) => Actor::Platform,
            None => Actor::Unknown,
        }
    }

    /// The error as it is told, carried by as many runs as all of these.
    pub(super) fn cause<'a>(&self, all: impl Iterator<Item = &'a Self>) -> Cause {
        let error = self.error.clone();
        Cause {
            error_code: error.error_code,
            description_key: error.description_key,
            phase: error.phase,
            category: error.category,
            description: error.description,
            kb_article_link: error.kb_article_link.filter(|link| is_https(link)),
            runs: all.map(|carried| carried.runs).sum(),
        }
    }
}

/// The errors of certain runs.
pub(super) struct Causes {
    errors: Vec<RunError>,
    /// Where the errors of each run lie among all.
    of_run: HashMap<i64, std::ops::Range<usize>>,
}

impl Causes {
    /// Of rows that are in the order of their runs.
    pub(super) fn of(errors: Vec<RunError>) -> Self {
        let mut of_run: HashMap<i64, std::ops::Range<usize>> = HashMap::new();
        for (at, error) in errors.iter().enumerate() {
            of_run.entry(error.run_key).and_modify(|range| range.end = at + 1).or_insert(at..at + 1);
        }
        Self { errors, of_run }
    }

    fn errors(&self, run_key: i64) -> &[RunError] {
        self.of_run.get(&run_key).map_or(&[], |range| &self.errors[range.clone()])
    }

    /// How the run is named; `None` of one that was not asked for.
    pub(super) fn run(&self, run_key: i64) -> Option<RunAt> {
        let error = self.errors(run_key).first()?;
        Some(RunAt { run_id: error.run_id.clone(), started_at: error.started_at? })
    }

    /// The error that the most of these runs carry; of those that as many carry the one on the most tasks. `None`
    /// where most of them carry none at all.
    pub(super) fn of_most(&self, runs: &[i64]) -> Option<Carried> {
        let mut counted: HashMap<Name<'_>, (u64, u64, &RunError)> = HashMap::new();
        let mut without = 0;
        for run in runs {
            for error in self.errors(*run) {
                if error.is_none() {
                    without += 1;
                    continue;
                }
                let count = counted.entry(error.name()).or_insert((0, 0, error));
                // The newest run tells it: descriptions and links may have changed.
                *count = (count.0 + 1, count.1 + error.tasks, error);
            }
        }
        // Equal counts are told apart by their names, so that the same archive gives the same cause.
        let (_, (runs, _, error)) = counted.into_iter().max_by(
            |(name, (runs, tasks, _)), (other_name, (other_runs, other_tasks, _))| {
                (runs, tasks).cmp(&(other_runs, other_tasks)).then(other_name.cmp(name))
            },
        )?;
        (runs >= without).then(|| Carried {
            error_kind_key: error.error_kind_key,
            error: error.clone(),
            runs,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(run_key: i64, key: Option<&str>, tasks: u64) -> RunError {
        RunError {
            run_key,
            run_id: format!("run {run_key}"),
            started_at: UtcText::parse_sent("2026-11-20T00:00:00Z"),
            error_kind_key: key.map(|key| key.len() as i64),
            error_code: None,
            description_key: key.map(str::to_owned),
            can_user_fix: Some(true),
            phase: None,
            category: None,
            description: None,
            kb_article_link: Some("javascript:alert(1)".to_owned()),
            tasks,
        }
    }

    fn key_of(causes: &Causes, runs: &[i64]) -> Option<String> {
        causes.of_most(runs).and_then(|carried| carried.error.description_key)
    }

    #[test]
    fn the_cause_is_the_error_that_the_most_runs_carry_and_only_then_the_most_tasks() {
        let causes = Causes::of(vec![
            error(1, Some("Token"), 1),
            error(1, Some("Memory"), 50),
            error(2, Some("Token"), 1),
            error(3, Some("View"), 2),
            error(4, Some("Disk"), 2),
        ]);
        assert_eq!(key_of(&causes, &[1, 2, 3]).as_deref(), Some("Token"));
        assert_eq!(key_of(&causes, &[1]).as_deref(), Some("Memory"));
        assert_eq!(key_of(&causes, &[3, 4]).as_deref(), Some("Disk"), "equal ones by name");
        assert_eq!(key_of(&causes, &[9]), None);
    }

    #[test]
    fn runs_of_which_most_carry_no_error_have_no_cause_and_no_link_is_followed_that_is_not_https() {
        let causes = Causes::of(vec![error(1, Some("Token"), 1), error(2, None, 0), error(3, None, 0)]);
        assert_eq!(key_of(&causes, &[1, 2, 3]), None);
        assert_eq!(key_of(&causes, &[1, 2]).as_deref(), Some("Token"));
        assert_eq!(causes.run(2).map(|run| run.run_id).as_deref(), Some("run 2"));
        let carried = causes.of_most(&[1]).unwrap();
        assert_eq!(carried.cause([&carried].into_iter()).kb_article_link, None);
    }
}
