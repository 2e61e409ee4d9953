//! One run from its queueing to its end, and its text at a moment between.
//!
//! A plan is what will have happened; [`RunPlan::as_seen_at`] hides what has not happened yet.

use std::fmt::Write as _;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::failure::{FAILURES, TaskFailure};
use super::text::{push_stamp, push_uuid, stamp, uuid};
use crate::emulator::listing::Run;

/// How runs of a connection tend to go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// What benchmarks are measured on: see [`super::run`].
    Average,
    Healthy,
    /// Mostly fails, with the error that no other habit has.
    Broken,
    /// Tasks need a second and third attempt, and sometimes do not make it.
    Retrying,
    /// Runs are canceled, skipped, time out or succeed in part.
    Interrupted,
    /// Runs say Success although a task failed or carries an error.
    Masking,
}

pub(super) struct RunPlan {
    pub(super) id: u128,
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
    result: &'static str,
    jobs: Vec<JobPlan>,
}

struct JobPlan {
    id: u128,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    result: &'static str,
    tasks: Vec<TaskPlan>,
}

struct TaskPlan {
    id: u128,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
    retries: u32,
    result: &'static str,
    failure: Option<&'static TaskFailure>,
    /// The file written, by a task that exports one.
    output: Option<u128>,
}

/// What a run will come to.
struct RunFate {
    run: &'static str,
    job: &'static str,
    /// One in so many tasks (in thousandths) fails; where any of the levels failed, one at least.
    task_failures: u32,
    /// A failed task says so itself; otherwise it says Success and carries an error all the same.
    task: &'static str,
    /// What the error is, as an index; None: drawn from those that are not [`Habit::Broken`]'s.
    failure: Option<usize>,
    retries: u32,
    times_out: bool,
}

impl RunFate {
    const SUCCESS: RunFate = RunFate {
        run: "Success",
        job: "Success",
        task_failures: 0,
        task: "Success",
        failure: None,
        retries: 0,
        times_out: false,
    };
    const ERROR: RunFate =
        RunFate { run: "Error", job: "Error", task_failures: 460, task: "Error", ..RunFate::SUCCESS };
    const PARTIAL: RunFate = RunFate { run: "PartialSuccess", job: "PartialSuccess", ..RunFate::ERROR };
    /// As the published sample of a list: the run says nothing of what its job and task say.
    const MASKED: RunFate = RunFate { run: "Success", ..RunFate::ERROR };
    /// As the newest published sample of a single run: even the task says Success.
    const MASKED_TWICE: RunFate = RunFate { job: "Success", task: "Success", ..RunFate::MASKED };

    fn drawn(habit: Habit, rng: &mut Rng) -> RunFate {
        let percent = rng.u32(0..100);
        let retries = rng.u32(1..=3);
        match (habit, percent) {
            (Habit::Average, 0..25) => RunFate::ERROR,
            (Habit::Average, 25..31) => RunFate::PARTIAL,
            (Habit::Average, 31..35) => RunFate::MASKED,
            (Habit::Healthy, 0..2) => RunFate { failure: Some(1), ..RunFate::ERROR },
            (Habit::Broken, 0..70) => RunFate { failure: Some(0), ..RunFate::ERROR },
            (Habit::Retrying, 0..9) => RunFate { retries: 3, failure: Some(2), ..RunFate::ERROR },
            (Habit::Retrying, 9..14) => RunFate { retries: 3, failure: Some(4), ..RunFate::ERROR },
            (Habit::Retrying, 14..45) => RunFate { retries, ..RunFate::SUCCESS },
            (Habit::Interrupted, 0..7) => RunFate { run: "Canceled", job: "Canceled", ..RunFate::SUCCESS },
            (Habit::Interrupted, 7..12) => RunFate { run: "Skipped", job: "Skipped", ..RunFate::SUCCESS },
            (Habit::Interrupted, 12..17) => {
                RunFate { run: "TimedOut", job: "TimedOut", times_out: true, ..RunFate::SUCCESS }
            }
            (Habit::Interrupted, 17..25) => RunFate { failure: Some(6), ..RunFate::PARTIAL },
            (Habit::Interrupted, 25..31) => RunFate::ERROR,
            (Habit::Masking, 0..12) => RunFate { failure: Some(1), ..RunFate::MASKED },
            (Habit::Masking, 12..18) => RunFate { failure: Some(5), ..RunFate::MASKED_TWICE },
            (Habit::Masking, 18..22) => RunFate::ERROR,
            _ => RunFate::SUCCESS,
        }
    }
}

impl RunPlan {
    /// A run that begins at `start` and goes as runs of this habit go.
    pub(super) fn new(habit: Habit, start: DateTime<Utc>, rng: &mut Rng) -> RunPlan {
        let fate = RunFate::drawn(habit, rng);
        let id = rng.u128(..);
        let mut at = start + span(rng, 2, 20);
        let job_count = if fate.run == "Skipped" { 0 } else { rng.usize(1..=2) };
        let mut jobs: Vec<JobPlan> = Vec::with_capacity(job_count);
        for _ in 0..job_count {
            let job = JobPlan::new(&fate, at, rng);
            at = job.end + span(rng, 1, 10);
            jobs.push(job);
        }
        if fate.task_failures > 0 {
            // A fate with failures has at least one: on the last task, the one that writes the file.
            let failed = jobs.iter().flat_map(|job| &job.tasks).any(|task| task.failure.is_some());
            if let Some(task) = jobs.last_mut().and_then(|job| job.tasks.last_mut()).filter(|_| !failed) {
                task.fail(&fate, rng);
            }
            for job in &mut jobs {
                let failed = job.tasks.iter().any(|task| task.failure.is_some());
                job.result = if failed { fate.job } else { "Success" };
            }
        }
        let mut plan = RunPlan { id, start, end: at + span(rng, 1, 20), result: fate.run, jobs };
        if fate.times_out {
            plan.end_at(start + TimeDelta::minutes(60) + span(rng, 0, 20), "TimedOut");
        }
        if fate.run == "Canceled" {
            let end = plan.end;
            plan.end_at(end, "Canceled");
        }
        plan
    }

    /// The last task and its job were still at it when the run ended.
    fn end_at(&mut self, end: DateTime<Utc>, result: &'static str) {
        self.end = end;
        if let Some(job) = self.jobs.last_mut() {
            job.end = end;
            if let Some(task) = job.tasks.last_mut() {
                task.end = end;
                task.result = result;
                task.output = None;
            }
        }
    }

    /// Moves the jobs so that the first begins at `jobs_from`, and sees to it that the run is not done at `now`.
    pub(super) fn keep_busy_at(&mut self, now: DateTime<Utc>, jobs_from: DateTime<Utc>) {
        let first = self.jobs.first().map_or(self.end, |job| job.start);
        self.shift(jobs_from - first);
        let still_to_go = now + TimeDelta::seconds(95) - self.end;
        if still_to_go > TimeDelta::zero() {
            self.end += still_to_go;
            if let Some(job) = self.jobs.last_mut() {
                job.end += still_to_go;
                if let Some(task) = job.tasks.last_mut() {
                    task.end += still_to_go;
                }
            }
        }
    }

    fn shift(&mut self, by: TimeDelta) {
        self.end += by;
        for job in &mut self.jobs {
            job.start += by;
            job.end += by;
            for task in &mut job.tasks {
                task.start += by;
                task.end += by;
            }
        }
    }

    /// The run as the platform would send it at `now`.
    pub(super) fn as_seen_at(&self, now: DateTime<Utc>) -> Run {
        // Longer than nearly all, so that writing seldom allocates twice.
        let mut text = String::with_capacity(3_000);
        text.push_str("{\"id\":\"");
        push_uuid(&mut text, self.id);
        text.push('"');
        let waiting = self.jobs.first().is_some_and(|job| job.start > now);
        let early = if now - self.start < TimeDelta::seconds(60) { "Queued" } else { "Executing" };
        push_outcome(&mut text, if waiting { early } else { "Executing" }, self.result, self.end <= now);
        push_times(&mut text, self.start, self.end, now);
        // A run that has only just begun has no jobs yet, not even an empty list of them.
        if !waiting {
            text.push_str(",\"jobs\":[");
            for (index, job) in self.jobs.iter().filter(|job| job.start <= now).enumerate() {
                if index > 0 {
                    text.push(',');
                }
                job.push(&mut text, now);
            }
            text.push(']');
        }
        text.push('}');
        Run { id: uuid(self.id), started: stamp(self.start), json: text.into() }
    }
}

impl JobPlan {
    fn new(fate: &RunFate, start: DateTime<Utc>, rng: &mut Rng) -> JobPlan {
        let id = rng.u128(..);
        let mut at = start;
        // Ten thirds on average: with 1.5 jobs a run they make the five tasks that `run` promises.
        let count = [2, 3, 3, 4, 4, 4][rng.usize(0..6)];
        let mut tasks: Vec<TaskPlan> = Vec::with_capacity(count);
        for place in 1..=count {
            let begin = at + span(rng, 1, 15);
            let mut task = TaskPlan {
                id: rng.u128(..),
                start: begin,
                end: begin + span(rng, 20, 150),
                retries: 0,
                result: "Success",
                failure: None,
                output: (place == count).then(|| rng.u128(..)),
            };
            if rng.u32(0..1_000) < fate.task_failures {
                task.fail(fate, rng);
            }
            if fate.retries > 0 && place == count {
                task.retries = fate.retries;
                task.end += TimeDelta::seconds(i64::from(fate.retries) * 80);
            }
            at = task.end;
            tasks.push(task);
        }
        JobPlan { id, start, end: at + span(rng, 0, 5), result: fate.job, tasks }
    }

    fn push(&self, text: &mut String, now: DateTime<Utc>) {
        text.push_str("{\"id\":\"");
        push_uuid(text, self.id);
        text.push('"');
        push_times(text, self.start, self.end, now);
        push_outcome(text, "Executing", self.result, self.end <= now);
        text.push_str(",\"tasks\":[");
        for (index, task) in self.tasks.iter().filter(|task| task.start <= now).enumerate() {
            if index > 0 {
                text.push(',');
            }
            task.push(text, now);
        }
        text.push_str("]}");
    }
}

impl TaskPlan {
    fn fail(&mut self, fate: &RunFate, rng: &mut Rng) {
        self.result = fate.task;
        self.failure = FAILURES.get(fate.failure.unwrap_or_else(|| rng.usize(1..FAILURES.len())));
        if fate.task != "Success" {
            self.output = None;
        }
    }

    fn push(&self, text: &mut String, now: DateTime<Utc>) {
        text.push_str("{\"id\":\"");
        push_uuid(text, self.id);
        text.push('"');
        push_times(text, self.start, self.end, now);
        let _ = write!(text, ",\"retryAttempts\":{}", self.retries);
        let ended = self.end <= now;
        push_outcome(text, "Executing", self.result, ended);
        if let Some(output) = self.output.filter(|_| ended) {
            text.push_str(",\"exportOutputFileId\":\"");
            push_uuid(text, output);
            text.push('"');
        }
        if let Some(failure) = self.failure.filter(|_| ended) {
            failure.push(text);
        }
        text.push('}');
    }
}

/// `,"state":...,"result":...`: what is not done is undetermined.
fn push_outcome(text: &mut String, active: &str, result: &str, ended: bool) {
    let (state, result) = if ended { ("Completed", result) } else { (active, "Undetermined") };
    for part in [",\"state\":\"", state, "\",\"result\":\"", result, "\""] {
        text.push_str(part);
    }
}

/// `,"startDateTime":...` and, where it has ended, `,"endDateTime":...`.
fn push_times(text: &mut String, start: DateTime<Utc>, end: DateTime<Utc>, now: DateTime<Utc>) {
    text.push_str(",\"startDateTime\":\"");
    push_stamp(text, start);
    text.push('"');
    if end <= now {
        text.push_str(",\"endDateTime\":\"");
        push_stamp(text, end);
        text.push('"');
    }
}

/// Somewhere between so many seconds, to the tick of 100 ns.
fn span(rng: &mut Rng, least_seconds: i64, most_seconds: i64) -> TimeDelta {
    TimeDelta::nanoseconds(rng.i64(least_seconds * 10_000_000..=most_seconds * 10_000_000) * 100)
}
