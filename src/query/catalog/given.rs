//! Named queries that are another one with some of its parameters given, and some of its columns.
//!
//! In: a query of `queries/`. Out: a query with a name, a title, parameters and columns of its own, whose
//! SQL is that of the file with the values written in, so that it runs wherever the file does.

use crate::query::named::{Parameter, Query};

/// One such query.
pub(super) struct Given {
    name: &'static str,
    title: &'static str,
    about: &'static str,
    of: &'static str,
    /// Parameters of the file, and the words that stand in their place.
    values: &'static [(&'static str, &'static str)],
    /// Columns of the file in this query's order.
    columns: &'static [&'static [Column]],
    order: &'static str,
}

/// A column of the file, what it is called here, and what is said of it where the file's own words are too
/// wide.
struct Column(&'static str, &'static str, Option<&'static str>);

const fn same(name: &'static str) -> Column {
    Column(name, name, None)
}

const CONNECTION: &[Column] = &[
    Column("connection", "connection", Some("its name, or its id where it has none")),
    Column("connection_id", "connection_id", Some("its id")),
];
const CONNECTION_OR_ALL: &[Column] = &[same("connection"), same("connection_id")];
const KIND: &[Column] = &[Column("kind", "kind", Some("export, storage or manifest"))];
const KIND_AND_WEEK: &[Column] = &[same("kind"), same("since"), same("until")];
const DAY: &[Column] = &[
    Column("since", "since", Some("start of the day")),
    Column("until", "until", Some("its end, not included")),
];
const WEEK: &[Column] = &[
    Column("since", "since", Some("start of the week")),
    Column("until", "until", Some("its end, not included")),
];
const RATES: &[Column] = &[
    Column("runs", "runs", Some("runs that started in it")),
    same("succeeded"),
    same("partly_succeeded"),
    same("failed"),
    same("canceled"),
    same("skipped"),
    same("undetermined"),
    same("unfinished"),
    same("rated"),
    same("failure_rate"),
];
const PERCENTILES: &[Column] = &[
    same("p50_ms"),
    same("p50_low_ms"),
    same("p50_high_ms"),
    same("p90_ms"),
    same("p95_ms"),
    same("p99_ms"),
    same("max_ms"),
];

/// All of them.
pub(super) const ALL: &[Given] = &[
    Given {
        name: "durations-by-week",
        title: "Durations of runs by week",
        about: "How long runs took, week by week, of all chosen connections together: percentiles by nearest\n\
                rank. A week without a run that has a duration has no row.",
        of: "durations",
        values: &[("of", "run"), ("by", "week")],
        columns: &[
            WEEK,
            &[Column("runs", "runs", Some("runs that started in it and have a duration"))],
            PERCENTILES,
        ],
        order: "since",
    },
    Given {
        name: "failure-rates-by-connection-and-day",
        title: "Failure rates by connection and day",
        about: "How often the runs of each connection failed, day by day: the cells of a grid.",
        of: "failure-rates",
        values: &[("by", "connection-day")],
        columns: &[CONNECTION, DAY, RATES, KIND],
        order: "connection, connection_id, kind, since",
    },
    Given {
        name: "failure-rates-by-day",
        title: "Failure rates by day",
        about: "How often runs failed, day by day, of all chosen connections together; a day without runs is a\n\
                row too.",
        of: "failure-rates",
        values: &[("by", "day")],
        columns: &[DAY, RATES],
        order: "since",
    },
    Given {
        name: "failure-rates-by-week",
        title: "Failure rates by week",
        about: "How often runs failed, week by week, of all chosen connections together; a week without runs is\n\
                a row too.",
        of: "failure-rates",
        values: &[("by", "week")],
        columns: &[WEEK, RATES],
        order: "since",
    },
    Given {
        name: "job-durations",
        title: "Durations of jobs",
        about: "How long the jobs of the runs that started in the period took, from start to end, where both\n\
                are real and in this order: percentiles by nearest rank. Connections without such jobs have\n\
                no row.",
        of: "durations",
        values: &[("of", "job")],
        columns: &[
            CONNECTION_OR_ALL,
            &[Column("count", "jobs", Some("jobs with a duration"))],
            PERCENTILES,
            KIND_AND_WEEK,
        ],
        order: "connection, connection_id, kind, since",
    },
    Given {
        name: "queue-times",
        title: "Queue times",
        about: "How long the runs that started in the period waited, from a run's start to the start of its\n\
                first job, where that is not before it: percentiles by nearest rank. Connections without such\n\
                runs have no row.",
        of: "durations",
        values: &[("of", "queue")],
        columns: &[
            CONNECTION_OR_ALL,
            &[Column("runs", "runs", Some("runs with a queue time"))],
            PERCENTILES,
            KIND_AND_WEEK,
        ],
        order: "connection, connection_id, kind, since",
    },
    Given {
        name: "task-durations",
        title: "Durations of tasks",
        about: "How long the tasks of the runs that started in the period took, from start to end, where both\n\
                are real and in this order: percentiles by nearest rank. Connections without such tasks have\n\
                no row.",
        of: "durations",
        values: &[("of", "task")],
        columns: &[
            CONNECTION_OR_ALL,
            &[Column("count", "tasks", Some("tasks with a duration"))],
            PERCENTILES,
            KIND_AND_WEEK,
        ],
        order: "connection, connection_id, kind, since",
    },
];

impl Given {
    /// The query, where the file that answers it is among these.
    pub(super) fn of(&self, files: &[Query]) -> Option<Query> {
        let file = files.iter().find(|file| file.name == self.of)?;
        let is_left_open =
            |parameter: &&Parameter| !self.values.iter().any(|(name, _)| *name == parameter.name);
        let columns = self.columns.iter().copied().flatten();
        let about = |Column(name, called, about): &Column| {
            let of_file = file.columns.iter().find(|(known, _)| known == name);
            let of_file = of_file.map(|(_, about)| about.clone());
            ((*called).to_owned(), about.map(str::to_owned).or(of_file).unwrap_or_default())
        };

        Some(Query {
            name: self.name.to_owned(),
            title: self.title.to_owned(),
            about: self.about.to_owned(),
            parameters: file.parameters.iter().filter(is_left_open).cloned().collect(),
            columns: columns.map(about).collect(),
            step: file.step.as_ref().map(|step| self.write_in(step, "")),
            sql: self.sql(file),
            is_built_in: true,
        })
    }

    fn sql(&self, file: &Query) -> String {
        let columns = self.columns.iter().copied().flatten();
        let columns: Vec<String> =
            columns.map(|Column(name, called, _)| format!("{name} AS {called}")).collect();
        let lines: Vec<&str> = file.sql.lines().skip_while(|line| line.starts_with("--")).collect();
        let body = self.write_in(lines.join("\n").trim_end().trim_end_matches(';'), "'");
        format!(
            "-- {}: {}.sql with some of its parameters given.\nSELECT {}\nFROM (\n{body}\n)\nORDER BY {};\n",
            self.title,
            self.of,
            columns.join(", "),
            self.order
        )
    }

    /// The text with the values, each between these quotes, in the place of their parameters.
    fn write_in(&self, text: &str, quote: &str) -> String {
        self.values.iter().fold(text.to_owned(), |text, (name, value)| {
            text.replace(&format!(":{name}"), &format!("{quote}{value}{quote}"))
        })
    }
}

/// The words that a parameter of a built-in query takes, where it takes certain words alone: another one would give
/// no row, as if nothing had run.
pub(crate) fn words_of(query: &str, parameter: &str) -> Option<&'static [&'static str]> {
    match (query, parameter) {
        ("failure-rates", "by") => Some(&["connection", "day", "week", "connection-day"]),
        ("durations", "of") => Some(&["run", "job", "task", "queue"]),
        ("durations" | "job-durations" | "task-durations" | "queue-times", "by") => {
            Some(&["connection", "all", "week"])
        }
        _ => None,
    }
}
