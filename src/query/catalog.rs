//! The named queries: those of `queries/`, which are part of the program, and those of the user's folder.
//!
//! In: SQL files. Out: [`Query`]s, with what the comment at a file's start says of them: a title, a text, the
//! parameters and the columns. A file of the user's may do without, and is then called by its name.

mod given;

use std::fs;
use std::path::Path;

pub(crate) use given::words_of;

use super::error::{Error, Result};
use super::guard;
use super::named::{Query, canonical};

macro_rules! embed {
    ($($stem:literal,)*) => {
        &[$(($stem, include_str!(concat!("../../queries/", $stem, ".sql")))),*]
    };
}

/// The files of `queries/`, name and text; a test holds the list to the folder.
const BUILT_IN: &[(&str, &str)] = embed![
    "activity",
    "coverage",
    "drift",
    "durations",
    "error-changes",
    "error-codes",
    "error-sightings",
    "failing-streaks",
    "failure-rates",
    "gaps",
    "masked-failures",
    "outcomes",
    "rejects",
    "retries",
    "rules",
    "run-errors",
    "slowest-runs",
    "syncs",
    "unfinished-runs",
];

/// The queries that there are, by name.
#[derive(Debug, Clone)]
pub struct Catalog {
    queries: Vec<Query>,
}

impl Catalog {
    /// Those that come with the program.
    pub fn built_in() -> Self {
        let mut queries: Vec<Query> = BUILT_IN
            .iter()
            .map(|(stem, sql)| Query { is_built_in: true, ..Query::parse(stem, sql) })
            .collect();
        let given: Vec<Query> = given::ALL.iter().filter_map(|given| given.of(&queries)).collect();
        queries.extend(given);
        queries.sort_by(|one, other| one.name.cmp(&other.name));
        Self { queries }
    }

    /// These and every `*.sql` of a folder.
    ///
    /// # Errors
    /// The folder or a file cannot be read, or a name is taken.
    pub(crate) fn with_folder(mut self, folder: &Path) -> Result<Self> {
        let unreadable = |path: &Path, problem: String| Error::File { path: path.to_owned(), problem };
        let entries = fs::read_dir(folder).map_err(|error| unreadable(folder, error.to_string()))?;
        let mut paths = Vec::new();
        for entry in entries {
            let path = entry.map_err(|error| unreadable(folder, error.to_string()))?.path();
            if path.extension().is_some_and(|extension| extension == "sql") {
                paths.push(path);
            }
        }
        // A folder is read in no certain order; of two files with one name the same is refused on every
        // machine.
        paths.sort();
        for path in paths {
            let stem = path.file_stem().unwrap_or_default().to_string_lossy();
            let length = fs::metadata(&path).map_err(|error| unreadable(&path, error.to_string()))?.len();
            if length > guard::SQL_BYTES as u64 {
                return Err(unreadable(
                    &path,
                    "the file is longer than a statement may be (1 MiB)".to_owned(),
                ));
            }
            let sql = fs::read_to_string(&path).map_err(|error| unreadable(&path, error.to_string()))?;
            let query = Query::parse(&stem, &sql);
            if let Some(known) = self.find(&query.name) {
                let whose = if known.is_built_in { "a built-in query" } else { "another file" };
                return Err(unreadable(
                    &path,
                    format!("{whose} has the name {}; rename the file", query.name),
                ));
            }
            self.queries.push(query);
        }
        Ok(self)
    }

    /// The query of this name; `_` and `-` are the same.
    pub fn find(&self, name: &str) -> Option<&Query> {
        let name = canonical(name);
        self.queries.iter().find(|query| query.name == name)
    }

    /// The query whose name is most like this one, if any is.
    pub(crate) fn find_similar(&self, name: &str) -> Option<&Query> {
        let name = canonical(name).to_lowercase();
        let alike = self.queries.iter().map(|query| (strsim::jaro_winkler(&query.name, &name), query));
        let (likeness, query) = alike.max_by(|(one, _), (other, _)| one.total_cmp(other))?;
        (likeness > 0.75).then_some(query)
    }

    /// Those that come with the program first, each by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Query> {
        self.queries.iter()
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;
    use crate::time::zone::Step;

    const EXAMPLE: &str = "\
-- Failure rates by connection
--
-- What part of the runs failed:
-- by connection.
--
-- Parameters:
--   :since       start of the period, an instant such as
--                  2026-11-16T00:00:00.0000000Z; default: the first run
--   :connection  a connection's id
--
-- Columns:
--   connection    its name
--   failure_rate  failed / rated, from 0 to 1;
--                   NULL where nothing was rated
SELECT 1 -- Parameters:
";

    #[test]
    fn a_header_gives_title_text_parameters_and_columns() {
        let query = Query::parse("failure_rates", EXAMPLE);
        assert_eq!(
            (query.name.as_str(), query.title.as_str()),
            ("failure-rates", "Failure rates by connection")
        );
        assert_eq!(query.about, "What part of the runs failed:\nby connection.");
        let parameters: Vec<(&str, &str)> =
            query.parameters.iter().map(|known| (known.name.as_str(), known.about.as_str())).collect();
        let since =
            "start of the period, an instant such as 2026-11-16T00:00:00.0000000Z; default: the first run";
        assert_eq!(parameters, [("since", since), ("connection", "a connection's id")]);
        let rate = "failed / rated, from 0 to 1; NULL where nothing was rated";
        let columns = [("connection", "its name"), ("failure_rate", rate)];
        assert_eq!(query.columns, columns.map(|(name, about)| (name.to_owned(), about.to_owned())));
        assert_eq!(query.sql, EXAMPLE);
        // A file that was saved on Windows.
        assert_eq!(
            Query::parse("failure-rates", &format!("\u{feff}{}", EXAMPLE.replace('\n', "\r\n"))),
            query
        );
    }

    #[test]
    fn a_file_without_a_header_is_called_by_its_name() {
        for sql in ["SELECT 1", "", "--\n-- \nSELECT 1", "\n-- Not at the start\nSELECT 1"] {
            let query = Query::parse("mine", sql);
            assert_eq!((query.title.as_str(), query.about.as_str()), ("mine", ""), "{sql:?}");
            assert!(query.parameters.is_empty() && query.columns.is_empty());
        }
    }

    #[test]
    fn the_list_of_built_in_queries_is_the_folder() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("queries");
        let mut files: Vec<String> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter_map(|name| name.strip_suffix(".sql").map(canonical))
            .collect();
        files.sort();
        assert_eq!(BUILT_IN.iter().map(|(stem, _)| *stem).collect::<Vec<_>>(), files);
        assert_eq!(Catalog::built_in().iter().count(), files.len() + given::ALL.len());
    }

    #[test]
    fn every_built_in_query_says_what_it_answers_takes_and_gives_and_nothing_else() {
        let (database, _folder) = super::super::tests::database();
        for query in Catalog::built_in().iter() {
            let name = &query.name;
            assert!(query.title != *name && !query.about.is_empty(), "{name}");
            // Name, two blanks and title fit a terminal.
            assert!(query.title.chars().count() <= 42 && name.len() <= 36, "{name}: {}", query.title);
            let mut said: Vec<&str> = query.parameters.iter().map(|known| known.name.as_str()).collect();
            said.sort_unstable();
            let mut takes = database.parameters(&query.sql, super::super::Limits::default()).unwrap();
            takes.sort_unstable();
            assert_eq!(said, takes, "{name}");
            let mut lines = super::super::tests::Lines::default();
            database.stream(&query.sql, &[], super::super::Limits::default(), &mut lines).unwrap();
            let said: Vec<&str> = query.columns.iter().map(|(column, _)| column.as_str()).collect();
            assert_eq!(lines.0[0], said.join("|"), "{name}");
            let about = query.parameters.iter().map(|known| &known.about);
            for about in about.chain(query.columns.iter().map(|(_, about)| about)) {
                assert!(!about.is_empty() && !about.starts_with(':'), "{name}: {about}");
            }
        }
    }

    #[test]
    fn every_query_chooses_connections_by_the_same_words() {
        let of = |sql: &str| {
            let from = sql.find("asked (connection) AS (")?;
            let until = sql[from..].find("HAVING count(*) = 1))\n)")?;
            Some(sql[from..from + until].to_owned())
        };
        let chosen: Vec<Option<String>> = BUILT_IN
            .iter()
            .filter(|(_, sql)| sql.contains(":connection"))
            .map(|(_, sql)| of(&sql.replace("\r\n", "\n")))
            .collect();
        assert!(chosen.len() > 10 && chosen[0].is_some());
        assert!(chosen.iter().all(|words| *words == chosen[0]), "{chosen:#?}");
    }

    #[test]
    fn the_step_of_bounds_is_what_the_header_says() {
        let step = |stem: &str, header: &str, by: Option<&'static str>| {
            let query = Query::parse(stem, &format!("-- Mine\n--\n{header}\nSELECT :bounds"));
            query.step(|name| by.filter(|_| name == "by"))
        };
        assert_eq!(step("mine", "-- Step: week", None).unwrap(), Step::Week);
        assert_eq!(step("by-week", "-- Step: day", None).unwrap(), Step::Day);
        assert_eq!(step("mine", "-- Columns:\n--   a  one\n-- Step: :by", Some("week")).unwrap(), Step::Week);
        assert_eq!(step("mine", "-- Step: :by", None).unwrap(), Step::Day);
        assert_eq!(step("mine", "", None).unwrap(), Step::Day);
        // As it was before a header could say.
        assert_eq!(step("failed-by-week", "", None).unwrap(), Step::Week);
        // A sentence is no step, and a day of each connection is a day.
        assert_eq!(step("mine", "-- Step: first we take the days, then count.", None).unwrap(), Step::Day);
        assert_eq!(step("mine", "-- Step: connection-day", None).unwrap(), Step::Day);
        let error = step("mine", "-- Step: month", None).unwrap_err().to_string();
        assert_eq!(error, "the comment says Step: month; write day, week, or a parameter such as :by");
        let catalog = Catalog::built_in();
        for (name, expected) in [("failure-rates-by-week", Step::Week), ("failure-rates-by-day", Step::Day)] {
            assert_eq!(catalog.find(name).unwrap().step(|_| None).unwrap(), expected);
        }
    }

    #[test]
    fn a_folder_adds_queries_and_takes_no_name_that_is_taken() {
        let folder = TempDir::new().unwrap();
        let write = |name: &str, sql: &str| fs::write(folder.path().join(name), sql).unwrap();
        write("mine_too.sql", "SELECT 1");
        write("mine.sql", "-- My own\nSELECT 2");
        write("notes.txt", "no query");
        let catalog = Catalog::built_in().with_folder(folder.path()).unwrap();
        assert_eq!(catalog.find("mine").unwrap().title, "My own");
        assert!(catalog.find("mine_too").is_some() && catalog.find("mine-too").is_some());
        assert!(catalog.find("notes").is_none());
        let last: Vec<&str> = catalog.iter().map(|query| query.name.as_str()).collect();
        assert_eq!(last[last.len() - 2..], ["mine", "mine-too"]);

        let complaint = || Catalog::built_in().with_folder(folder.path()).unwrap_err().to_string();
        write("mine-too.sql", "SELECT 1");
        assert!(complaint().ends_with("mine_too.sql: another file has the name mine-too; rename the file"));
        fs::remove_file(folder.path().join("mine-too.sql")).unwrap();
        write("failure_rates.sql", "SELECT 1");
        assert!(
            complaint()
                .ends_with("failure_rates.sql: a built-in query has the name failure-rates; rename the file")
        );
        fs::write(folder.path().join("failure_rates.sql"), [0xff]).unwrap();
        assert!(
            complaint().contains("failure_rates.sql: stream did not contain valid UTF-8"),
            "{}",
            complaint()
        );
        let missing = Catalog::built_in().with_folder(&folder.path().join("none")).unwrap_err().to_string();
        assert!(missing.contains("none: No such file"), "{missing}");
    }
}
