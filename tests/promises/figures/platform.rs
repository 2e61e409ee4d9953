//! Random histories as plain data, and the JSON that a platform would send of them.

use proptest::prelude::*;
use proptest::sample::{Index, select};
use serde_json::{Map, Value, json};

use super::clock::{self, MILLISECOND, SECOND, Ticks};

/// A member of an object: not there, null, or something.
#[derive(Debug, Clone, PartialEq)]
pub enum Field<T> {
    Absent,
    Null,
    Is(T),
}

impl<T: Clone + Into<Value>> Field<T> {
    pub fn value(&self) -> Option<T> {
        match self {
            Self::Is(value) => Some(value.clone()),
            Self::Absent | Self::Null => None,
        }
    }

    fn put(&self, object: &mut Map<String, Value>, name: &str) {
        match self {
            Self::Absent => return,
            Self::Null => object.insert(name.to_owned(), Value::Null),
            Self::Is(value) => object.insert(name.to_owned(), value.clone().into()),
        };
    }
}

pub type Word = Field<&'static str>;

/// What stands where a time is expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Time {
    Absent,
    Null,
    /// "Never", or nonsense.
    Unreal(&'static str),
    Real(Ticks, Form),
}

/// How an instant is written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Form {
    /// As the platform does.
    Trimmed,
    Padded,
    /// More digits than the platform's clock has.
    Long,
    Unzoned,
    /// Minutes ahead of UTC.
    Offset(i32),
}

impl Time {
    pub fn ticks(&self) -> Option<Ticks> {
        match self {
            Self::Real(ticks, _) => Some(*ticks),
            _ => None,
        }
    }

    fn is_unread_after(&self, older: &Self) -> bool {
        let is_never = |text: &str| text.starts_with("0001-01-01");
        let could = matches!(older, Self::Real(..)) || matches!(older, Self::Unreal(text) if is_never(text));
        could && matches!(self, Self::Unreal(text) if !is_never(text))
    }

    fn put(&self, object: &mut Map<String, Value>, name: &str) {
        let value = match self {
            Self::Absent => return,
            Self::Null => Value::Null,
            Self::Unreal(text) => json!(text),
            Self::Real(ticks, form) => json!(form.write(*ticks)),
        };
        object.insert(name.to_owned(), value);
    }
}

impl Form {
    fn write(self, ticks: Ticks) -> String {
        let stored = clock::stored(ticks);
        let bare = stored.trim_end_matches('Z');
        match self {
            Self::Trimmed => format!("{}Z", bare.trim_end_matches('0').trim_end_matches('.')),
            Self::Padded => stored,
            Self::Long => format!("{bare}99Z"),
            Self::Unzoned => bare.to_owned(),
            Self::Offset(minutes) => {
                let local = clock::stored(ticks + i64::from(minutes) * 60 * SECOND);
                let (sign, size) = (if minutes < 0 { '-' } else { '+' }, minutes.abs());
                format!("{}{sign}{:02}:{:02}", local.trim_end_matches('Z'), size / 60, size % 60)
            }
        }
    }
}

/// One answer for one run.
#[derive(Debug, Clone)]
pub struct SentRun {
    pub state: Word,
    pub result: Word,
    pub start: Time,
    pub end: Time,
    pub jobs: Field<Vec<SentJob>>,
}

#[derive(Debug, Clone)]
pub struct SentJob {
    pub state: Word,
    pub result: Word,
    pub start: Time,
    pub end: Time,
    pub tasks: Vec<SentTask>,
}

#[derive(Debug, Clone)]
pub struct SentTask {
    pub result: Word,
    pub start: Time,
    pub end: Time,
    pub retries: Field<i64>,
    pub error: Option<SentError>,
}

#[derive(Debug, Clone)]
pub struct SentError {
    pub code: Word,
    pub key: Word,
    pub fix: Field<bool>,
    pub system: Word,
    pub phase: Word,
    pub description: Word,
    pub link: Word,
}

impl SentRun {
    /// The run's JSON; jobs of different answers have different ids, so that none is another's.
    pub fn json(&self, id: &str, version: usize) -> Value {
        let mut object = Map::new();
        object.insert("id".to_owned(), json!(id));
        self.state.put(&mut object, "state");
        self.result.put(&mut object, "result");
        self.start.put(&mut object, "startDateTime");
        self.end.put(&mut object, "endDateTime");
        match &self.jobs {
            Field::Absent => None,
            Field::Null => object.insert("jobs".to_owned(), Value::Null),
            Field::Is(jobs) => {
                let jobs =
                    jobs.iter().enumerate().map(|(place, job)| job.json(&format!("{id}-{version}-{place}")));
                object.insert("jobs".to_owned(), jobs.collect())
            }
        };
        Value::Object(object)
    }

    /// Whether a time of `newer` cannot be read where one is archived that could: its text is set aside.
    pub fn has_unread(&self, newer: &Self) -> bool {
        newer.start.is_unread_after(&self.start) || newer.end.is_unread_after(&self.end)
    }

    /// What is archived once `newer` has come too: an answer without jobs says nothing of them, and leaves
    /// what it does not mention; a time that cannot be read leaves one that could.
    pub fn then(&self, newer: &Self) -> Self {
        let mut newer = newer.clone();
        for (newer, older) in [(&mut newer.start, &self.start), (&mut newer.end, &self.end)] {
            if newer.is_unread_after(older) {
                newer.clone_from(older);
            }
        }
        let has_jobs = |run: &Self| matches!(&run.jobs, Field::Is(jobs) if !jobs.is_empty());
        if has_jobs(&newer) {
            return newer;
        }
        let word =
            |newer: &Word, older: &Word| if *newer == Field::Absent { older.clone() } else { newer.clone() };
        let time =
            |newer: &Time, older: &Time| if *newer == Time::Absent { older.clone() } else { newer.clone() };
        Self {
            state: word(&newer.state, &self.state),
            result: word(&newer.result, &self.result),
            start: time(&newer.start, &self.start),
            end: time(&newer.end, &self.end),
            jobs: self.jobs.clone(),
        }
    }
}

impl SentJob {
    fn json(&self, id: &str) -> Value {
        let mut object = Map::new();
        object.insert("id".to_owned(), json!(id));
        self.state.put(&mut object, "state");
        self.result.put(&mut object, "result");
        self.start.put(&mut object, "startDateTime");
        self.end.put(&mut object, "endDateTime");
        object.insert("tasks".to_owned(), self.tasks.iter().map(SentTask::json).collect());
        Value::Object(object)
    }
}

impl SentTask {
    fn json(&self) -> Value {
        let mut object = Map::new();
        self.result.put(&mut object, "result");
        self.start.put(&mut object, "startDateTime");
        self.end.put(&mut object, "endDateTime");
        self.retries.put(&mut object, "retryAttempts");
        if let Some(error) = &self.error {
            object.insert("error".to_owned(), error.json());
        }
        Value::Object(object)
    }
}

impl SentError {
    fn json(&self) -> Value {
        let mut object = Map::new();
        let words = [
            ("errorCode", &self.code),
            ("descriptionKey", &self.key),
            ("system", &self.system),
            ("phase", &self.phase),
            ("description", &self.description),
            ("kbArticleLink", &self.link),
        ];
        for (name, word) in words {
            word.put(&mut object, name);
        }
        self.fix.put(&mut object, "canUserFix");
        Value::Object(object)
    }
}

/// A connection and what the platform said of its runs, one answer after the other.
#[derive(Debug, Clone)]
pub struct History {
    pub connections: Vec<SentConnection>,
    /// First answers: whose, and what.
    pub runs: Vec<(usize, SentRun)>,
    /// Later answers: about which run, and what.
    pub changes: Vec<(Index, SentRun)>,
    /// Runs that the platform does not know any more.
    pub forgotten: Vec<Index>,
}

#[derive(Debug, Clone)]
pub struct SentConnection {
    pub id: &'static str,
    pub name: Option<&'static str>,
    /// Records that are no runs.
    pub rejects: u64,
}

const IDS: [&str; 6] = [
    "VRZHoBhrnkGrAev0-_-d_xwvyrzjgaVGka5wU967Q7M",
    "-starts-with-a-hyphen",
    "12345",
    "[in brackets]",
    "Zebra",
    "with 'quotes' and \"more\"",
];

/// Two of these are the same, and one is another's id.
const NAMES: [Option<&str>; 5] = [None, Some("Bridge"), Some("Bridge"), Some("12345"), Some("Ärger")];

/// A history whose runs start around these instants.
pub fn history(anchors: Vec<Ticks>, has_far_dates: bool) -> impl Strategy<Value = History> {
    let connection =
        (select(&NAMES[..]), 0_u64..2).prop_map(|(name, rejects)| SentConnection { id: "", name, rejects });
    let connections = (prop::collection::vec(connection, 1..=4), Just(IDS.to_vec()).prop_shuffle());
    let run = run(anchors, has_far_dates);
    (
        connections,
        prop::collection::vec((any::<Index>(), run.clone()), 0..45),
        prop::collection::vec((any::<Index>(), run), 0..8),
        prop::collection::vec(any::<Index>(), 0..3),
    )
        .prop_map(|((mut connections, ids), runs, changes, forgotten)| {
            for (connection, id) in connections.iter_mut().zip(ids) {
                connection.id = id;
            }
            let count = connections.len();
            let runs = runs.into_iter().map(|(of, run)| (of.index(count), run)).collect();
            History { connections, runs, changes, forgotten }
        })
}

fn word(words: &'static [&'static str]) -> impl Strategy<Value = Word> + Clone {
    prop_oneof![1 => Just(Field::Absent), 1 => Just(Field::Null), 14 => select(words).prop_map(Field::Is)]
}

fn form() -> impl Strategy<Value = Form> + Clone {
    prop_oneof![
        6 => Just(Form::Trimmed),
        1 => Just(Form::Padded),
        1 => Just(Form::Long),
        1 => Just(Form::Unzoned),
        1 => select(&[120, -330, 765][..]).prop_map(Form::Offset),
    ]
}

/// At an anchor, a tick or a millisecond beside it, or some hours or days away with 0 to 7 fraction digits.
fn near(anchors: Vec<Ticks>) -> impl Strategy<Value = Ticks> + Clone {
    let fraction = (0_u32..=7, 0_i64..SECOND).prop_map(|(digits, ticks)| {
        let unit = 10_i64.pow(7 - digits);
        ticks / unit * unit
    });
    let away = prop_oneof![
        6 => select(&[0, 0, -1, 1, -MILLISECOND, MILLISECOND, -SECOND, SECOND][..]),
        6 => (-100_000_i64..100_000, fraction.clone()).prop_map(|(seconds, ticks)| seconds * SECOND + ticks),
        4 => (-700_000_i64..700_000, fraction).prop_map(|(seconds, ticks)| seconds * SECOND + ticks),
    ];
    (select(anchors), away).prop_map(|(anchor, away)| anchor + away)
}

const UNREAL: [&str; 7] = [
    "0001-01-01T00:00:00Z",
    "0001-01-01T00:00:00.0000000Z",
    "02/15/2022 08:24:45",
    "soon",
    "",
    "2023-02-30T00:00:00Z",
    "2026-13-01T00:00:00Z",
];

/// What a wrong clock may say.
const FAR: [&str; 4] = [
    "0001-01-02T00:00:00Z",
    "0002-03-04T05:06:07.08Z",
    "9999-12-30T10:00:00Z",
    "9999-12-31T23:59:59.9999999Z",
];

fn run(anchors: Vec<Ticks>, has_far_dates: bool) -> impl Strategy<Value = SentRun> + Clone {
    let mut starts = vec![
        (24, (near(anchors.clone()), form()).prop_map(|(ticks, form)| Time::Real(ticks, form)).boxed()),
        (1, Just(Time::Absent).boxed()),
        (1, Just(Time::Null).boxed()),
        (2, select(&UNREAL[..]).prop_map(Time::Unreal).boxed()),
    ];
    if has_far_dates {
        starts.push((
            3,
            select(&FAR[..]).prop_map(|text| Time::Real(clock::ticks(text), Form::Trimmed)).boxed(),
        ));
    }
    let start = prop::strategy::Union::new_weighted(starts);
    let state = prop_oneof![
        10 => Just(Field::Is("Completed")),
        3 => word(&["Queued", "Executing", "NotStarted", "completed", "Paused"]),
    ];
    let result = prop_oneof![
        12 => select(&["Success", "Success", "PartialSuccess", "Error", "Error", "TimedOut"][..]).prop_map(Field::Is),
        3 => word(&["Canceled", "Cancelled", "Skipped", "Undetermined", "success", "Exploded", ""]),
    ];
    (state, result, start, length(), jobs()).prop_map(|(state, result, start, length, mut jobs)| {
        let end = length.after(&start);
        if let Field::Is(jobs) = &mut jobs {
            for job in jobs {
                job.begin(&start);
            }
        }
        SentRun { state, result, start, end, jobs }
    })
}

/// An end as ticks from the start, to be known once that is.
#[derive(Debug, Clone)]
enum Length {
    None(Time),
    Ticks(i64, Form),
}

impl Length {
    fn after(&self, start: &Time) -> Time {
        match self {
            Self::None(time) => time.clone(),
            // The calendar ends with the year 9999.
            Self::Ticks(ticks, form) => {
                let start = start.ticks().unwrap_or(clock::ticks("2026-01-01T00:00:00Z"));
                let at = start.saturating_add(*ticks);
                let ends = clock::ticks("0001-01-03T00:00:00Z")..clock::ticks("9999-12-31T00:00:00Z");
                if ends.contains(&at) { Time::Real(at, *form) } else { Time::Real(start, Form::Trimmed) }
            }
        }
    }
}

fn length() -> impl Strategy<Value = Length> + Clone {
    let ticks = prop_oneof![
        10 => 0_i64..400 * SECOND,
        // Few different values, so that they tie, and the edges of a millisecond.
        6 => select(&[0, 1, 9_999, 10_000, 10_001, 60 * SECOND, 60 * SECOND + 9_999][..]),
        2 => -1_000_i64..0,
        1 => Just(400 * 366 * 86_400 * SECOND),
    ];
    prop_oneof![
        1 => Just(Length::None(Time::Absent)),
        1 => Just(Length::None(Time::Null)),
        1 => select(&UNREAL[..]).prop_map(|text| Length::None(Time::Unreal(text))),
        18 => (ticks, form()).prop_map(|(ticks, form)| Length::Ticks(ticks, form)),
    ]
}

impl SentJob {
    /// Times of jobs and tasks are generated as distances from the run's start.
    fn begin(&mut self, start: &Time) {
        let shift = |time: &mut Time| {
            if let Time::Real(ticks, form) = time {
                *time = Length::Ticks(*ticks, *form).after(start);
            }
        };
        shift(&mut self.start);
        shift(&mut self.end);
        for task in &mut self.tasks {
            shift(&mut task.start);
            shift(&mut task.end);
        }
    }
}

/// A distance, as [`SentJob::begin`] takes it.
fn distance() -> impl Strategy<Value = Time> + Clone {
    length().prop_map(|length| match length {
        Length::None(time) => time,
        Length::Ticks(ticks, form) => Time::Real(ticks, form),
    })
}

fn jobs() -> impl Strategy<Value = Field<Vec<SentJob>>> + Clone {
    let outcome = || word(&["Success", "Success", "Success", "Success", "Error", "TimedOut", "Canceled"]);
    let retries = prop_oneof![
        2 => Just(Field::Absent),
        1 => Just(Field::Null),
        6 => Just(Field::Is(0)),
        3 => (1_i64..5).prop_map(Field::Is),
    ];
    let task = (outcome(), distance(), distance(), retries, prop::option::weighted(0.25, error()));
    let task =
        task.prop_map(|(result, start, end, retries, error)| SentTask { result, start, end, retries, error });
    let job = (
        word(&["Completed", "Executing"]),
        outcome(),
        distance(),
        distance(),
        prop::collection::vec(task, 0..4),
    );
    let job = job.prop_map(|(state, result, start, end, tasks)| SentJob { state, result, start, end, tasks });
    prop_oneof![
        1 => Just(Field::Absent),
        1 => Just(Field::Null),
        8 => prop::collection::vec(job, 0..3).prop_map(Field::Is),
    ]
}

fn error() -> impl Strategy<Value = SentError> + Clone {
    let fix = prop_oneof![
        1 => Just(Field::Absent),
        1 => Just(Field::Null),
        4 => any::<bool>().prop_map(Field::Is),
    ];
    (
        word(&["TAE_BRW_1000", "TAE_BRW_1000", "TAE_BRW_1001", ""]),
        word(&["FailedToExport", "SavedViewNotFound"]),
        fix,
        word(&["Exporter", "exporter", "EXPORTER", "iModelHub"]),
        word(&["export_file", "open"]),
        word(&["Failed to export your file.", "View \"Ö\" was not found, it's gone."]),
        word(&[
            "",
            "https://example.org/article",
            "http://example.org/plain",
            "javascript:alert(1)",
            "https://",
        ]),
    )
        .prop_map(|(code, key, fix, system, phase, description, link)| SentError {
            code,
            key,
            fix,
            system,
            phase,
            description,
            link,
        })
}
