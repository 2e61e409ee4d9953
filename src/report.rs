//! From the archive to the figures of a report.
//!
//! In: a database opened for reading, and what is asked. Out: a [`Report`], complete and plain, that
//! `render` turns into text. Every count comes from a file of `queries/`, asked in `questions`; what is added
//! here is arithmetic on counts: sums, intervals and tests. No clock is read and no sentence made.

mod asked;
mod causes;
mod compare;
pub(crate) mod figures;
mod incidents;
mod questions;
mod statistics;
mod verdict;

pub(crate) use asked::Asked;
pub(crate) use verdict::{ArchivedWhole, Standing};

use self::figures::*;
use self::questions::{Questions, Timing};
use self::statistics::ALPHA;
use crate::query::{Catalog, Database, Error};

/// Answers a report's questions from two views of one state of the archive, half of them from each: sorting
/// durations takes as long as everything else.
pub(crate) fn compute([first, second]: [Database; 2], asked: &Asked) -> Result<Report, Error> {
    std::thread::scope(|scope| {
        let timing = scope
            .spawn(move || Questions { database: &second, catalog: Catalog::built_in(), asked }.timing());
        let questions = Questions { database: &first, catalog: Catalog::built_in(), asked };
        answer(&questions, || timing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })
}

fn answer(
    questions: &Questions<'_>,
    timing: impl FnOnce() -> Result<Timing, Error>,
) -> Result<Report, Error> {
    let asked = questions.asked;
    let coverage = questions.coverage()?;
    let connections = questions.connections()?;
    let total = compare::compare(
        connections.iter().map(|connection| connection.rate.now).fold(Rate::default(), compare::add),
        connections.iter().map(|connection| connection.rate.before).fold(Rate::default(), compare::add),
    );
    let total = ComparedRate { direction: compare::direct(&total, Some(ALPHA)), ..total };
    let errors = questions.errors()?;
    let failing = questions.failing()?;
    let retries = questions.retries()?;
    let slowest = questions.slowest()?;
    let unfinished = questions.unfinished()?;
    let masked = questions.masked(total.now.succeeded)?;
    let weeks = questions.weeks()?;
    let buckets = questions.buckets(&connections)?;
    let inferred = questions.inferred()?;
    // The other database has sorted the durations meanwhile, so they are asked for last.
    let durations = timing()?.in_order_of(&connections);

    let by_direction = |direction: Direction| {
        connections.iter().filter(|connection| connection.rate.direction == direction).cloned().collect()
    };
    let changes = Changes {
        newly_failing: by_direction(Direction::Worse),
        recovered: by_direction(Direction::Better),
        durations: compare::moved_durations(&durations, asked.min_runs),
        ..errors.changes
    };
    Ok(Report {
        as_of: asked.as_of,
        zone: asked.zone,
        period: asked.period,
        compared_with: asked.compared_with,
        baseline: asked.baseline,
        restricted_to: questions::names(&asked.connections, &coverage),
        min_runs: asked.min_runs,
        verdict: verdict::verdict(asked, &total, &connections, &coverage, &inferred.incidents),
        expected: Expected {
            moved_by: incidents::moved_by(&total, &connections, &inferred.states),
            ..inferred.expected
        },
        incidents: inferred.incidents,
        states: inferred.states,
        changes,
        errors: errors.errors,
        failing,
        retries,
        slowest,
        unfinished,
        masked,
        weeks,
        buckets,
        total,
        connections,
        durations,
        coverage,
    })
}
