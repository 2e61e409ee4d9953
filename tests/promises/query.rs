//! A question has an answer, in the format asked for, from the named queries or from SQL.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use pulldown_cmark::{Event, Options, Parser, Tag};
use run_archive::emulator::Emulator;
use serde_json::{Value, json};

use crate::common::{Archive, CONNECTION, Ended, ended, platform, run, run_in_state, runs};

/// Twelve runs a minute apart, three of them failed.
fn archive() -> Archive {
    let archive = Archive::new();
    let failed = (12..15).map(|number| run_in_state(number, "Completed", "Error"));
    let emulator = Emulator::start(platform(runs(3, 9).chain(failed))).unwrap();
    run(archive.sync(&emulator)).expect(0);
    archive
}

fn query(archive: &Archive, arguments: &[&str]) -> Command {
    let mut command = archive.command();
    command.arg("query").args(arguments);
    command
}

fn sql(archive: &Archive, format: &str, sql: &str) -> String {
    run(query(archive, &["--format", format, "--sql", sql])).expect(0).stdout
}

fn refused(archive: &Archive, arguments: &[&str]) -> String {
    let ended = run(query(archive, arguments)).expect(2);
    assert_eq!(ended.stdout, "");
    ended.stderr
}

fn piped(mut command: Command, input: &str) -> Ended {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).ok();
    ended(child.wait_with_output().unwrap())
}

#[test]
fn without_a_name_the_queries_are_listed_one_line_each() {
    // No archive is needed to know what could be asked.
    let archive = Archive::new();
    let list = run(query(&archive, &[])).expect(0).stdout;
    // Seven names are a file with some of its parameters given.
    let given = [
        "durations-by-week",
        "failure-rates-by-connection-and-day",
        "failure-rates-by-day",
        "failure-rates-by-week",
        "job-durations",
        "queue-times",
        "task-durations",
    ];
    assert!(given.iter().all(|name| list.contains(&format!("\n{name} "))), "{list}");
    let files = fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("queries")).unwrap().count();
    let files = files + given.len();
    assert_eq!(list.lines().count(), files);
    assert!(list.lines().all(|line| line.chars().count() <= 80), "{list}");
    assert!(list.contains("\nfailure-rates                        Failure rates by connection\n"), "{list}");

    let all = run(query(&archive, &["--format", "json"])).expect(0).json();
    let rates = all.as_array().unwrap().iter().find(|query| query["name"] == "failure-rates").unwrap();
    assert_eq!(rates["parameters"][0]["name"], "since");
    assert_eq!(
        rates["columns"][0],
        json!({"name": "connection", "about": "its name, or its id where it has none"})
    );
    assert_eq!(all.as_array().unwrap().len(), files);
    let csv = run(query(&archive, &["--format", "csv"])).expect(0).stdout;
    assert!(
        csv.starts_with("name,title\n") && csv.contains("\nfailure-rates,Failure rates by connection\n"),
        "{csv}"
    );
}

#[test]
fn a_query_is_described_without_an_archive() {
    let archive = Archive::new();
    let text = run(query(&archive, &["failure_rates", "--describe"])).expect(0).stdout;
    assert!(text.starts_with("Failure rates by connection\n\nHow often "), "{text}");
    assert!(text.contains("\nParameters:\n  :since       start of the period"), "{text}");
    assert!(text.contains("\nColumns:\n  connection "), "{text}");
    assert!(!text.contains("SELECT"), "{text}");
    let entries = text.lines().skip_while(|line| *line != "Parameters:");
    assert!(entries.clone().count() > 5 && entries.clone().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn a_named_query_answers_for_a_period_and_a_connection() {
    let archive = archive();
    let rates = |arguments: &[&str]| {
        let arguments = [&["failure-rates", "--format", "json"], arguments].concat();
        run(query(&archive, &arguments)).expect(0).json()[0].clone()
    };
    let all = rates(&[]);
    assert_eq!((&all["runs"], &all["failed"], &all["failure_rate"]), (&json!(12), &json!(3), &json!(0.25)));
    assert_eq!(all["connection_id"], CONNECTION);
    // Half-open: the run at 00:12 is in, the one at 00:14 is not.
    let some = rates(&["--since", "2026-01-05T00:12", "--until", "2026-01-05T00:14:00Z"]);
    assert_eq!((&some["runs"], &some["failed"]), (&json!(2), &json!(2)));
    let local =
        rates(&["--since", "2026-01-05T01:12", "--until", "2026-01-05T01:14", "--tz", "Europe/Berlin"]);
    assert_eq!(local["runs"], 2);
    assert_eq!(rates(&["--until", "2026-01-05T00:12"])["failure_rate"], 0.0);
    assert_eq!(rates(&["--connection", CONNECTION])["runs"], 12);
    assert_eq!(rates(&["--param", "since=2026-01-05T00:12:00.0000000Z"])["runs"], 3);
    let underscores = run(query(&archive, &["failure_rates", "--format", "json"])).expect(0).json();
    assert_eq!(underscores[0], all);
}

#[test]
fn days_and_weeks_are_those_of_the_zone() {
    let archive = archive();
    let days = |arguments: &[&str]| {
        let arguments = [&["failure-rates-by-day", "--format", "json"], arguments].concat();
        let rows = run(query(&archive, &arguments)).expect(0).json();
        let row =
            |row: &Value| (row["since"].as_str().unwrap()[..16].to_owned(), row["runs"].as_i64().unwrap());
        rows.as_array().unwrap().iter().map(row).collect::<Vec<_>>()
    };
    // In New York it is still the fourth of January.
    let expected = [("2026-01-04T05:00".to_owned(), 12), ("2026-01-05T05:00".to_owned(), 0)];
    assert_eq!(
        days(&["--tz", "America/New_York", "--since", "2026-01-04", "--until", "2026-01-06"]),
        expected
    );
    let whole = days(&["--tz", "America/New_York"]);
    assert_eq!(whole.iter().map(|(_, runs)| runs).sum::<i64>(), 12);
    fs::write(archive.folder().join("zone.toml"), "time_zone = 'America/New_York'").unwrap();
    assert_eq!(days(&["--config", "zone.toml"]), whole);
    assert_eq!(days(&["--tz", "UTC"])[0].0, "2026-01-05T00:03");

    let hours =
        run(query(&archive, &["activity", "--tz", "Asia/Kolkata", "--format", "csv"])).expect(0).stdout;
    assert!(hours.lines().nth(1).unwrap().starts_with("1,5,12,3,12,0.25"), "{hours}");
}

#[test]
fn options_that_mean_nothing_to_a_query_are_refused_with_what_it_takes() {
    let archive = archive();
    for (arguments, expected) in [
        (&["coverage", "--since", "7d"][..], "--since means nothing to this query: it takes connection"),
        (&["coverage", "--until", "now"], "--until means nothing to this query: it takes connection"),
        (&["coverage", "--tz", "Europe/Berlin"], "--tz means nothing to this query: it takes connection"),
        (&["syncs", "--connection", CONNECTION], "--connection means nothing to this query: "),
        (
            &["--sql", "SELECT 1", "--since", "7d"],
            "--since means nothing to this query: it takes no parameters",
        ),
        (&["coverage", "--param", "x=1"], "there is no parameter x; the query takes connection"),
        (
            &["coverage", "--param", "connection=x", "--param", ":connection=y"],
            "the parameter connection is given twice",
        ),
        (
            &["coverage", "--param", "connection=x", "--connection", CONNECTION],
            "the parameter connection is given by --param and by --connection",
        ),
        (&["coverage", "--connection", "unknown"], "connection unknown is not in this archive"),
        (&["failure-rates", "--since", "soon"], "--since: 'soon' is no time"),
        (&["failure-rates", "--until", "soon"], "--until: 'soon' is no time"),
        (&["failure-rates", "--since", "2026-01-02", "--until", "2026-01-01"], "the period is empty"),
        (&["failure-rates", "--tz", "Mars"], "--tz: 'Mars' is no time zone"),
        (&["--since", "7d"], "no query is chosen"),
        (&["--param", "a=1"], "no query is chosen"),
        (&["-", "--describe"], "no query is chosen"),
    ] {
        let text = refused(&archive, arguments);
        assert!(text.starts_with(&format!("error: {expected}")), "{arguments:?}: {text}");
    }
    for arguments in [
        &["coverage", "--sql", "SELECT 1"][..],
        &["-", "--sql", "SELECT 1"],
        &["coverage", "--param", "x"],
        &["coverage", "--param", "=1"],
        &["coverage", "--timeout", "0s"],
        &["coverage", "--format", "xml"],
        &["--describe"],
    ] {
        refused(&archive, arguments);
    }
}

#[test]
fn an_unknown_name_is_refused_with_one_that_is_alike() {
    let archive = archive();
    for (name, alike) in
        [("failure-rate", "failure-rates"), ("eror_codes", "error-codes"), ("SLOWEST-RUNS", "slowest-runs")]
    {
        let expected = format!(
            "error: there is no query '{name}'\nhint: did you mean {alike}? archive query lists all\n"
        );
        assert_eq!(refused(&archive, &[name]), expected);
    }
    let text = refused(&archive, &["zzz"]);
    assert_eq!(
        text,
        "error: there is no query 'zzz'\nhint: archive query lists those that there are; --sql takes a statement\n"
    );
}

#[test]
fn sql_comes_from_an_option_or_from_standard_input_with_parameters() {
    let archive = archive();
    let statement = "\u{feff}-- mine\nSELECT :n + 1 AS n, typeof(:t) AS t, typeof(:r) AS r, :none AS none;\n";
    let arguments = ["--format", "csv", "--param", "n=41", "--param", "t=a=b", "--param", ":r=-0.5"];
    let expected = "n,t,r,none\n42,text,real,\n";
    let mut command = query(&archive, &arguments);
    command.args(["--sql", statement]);
    assert_eq!(run(command).expect(0).stdout, expected);
    let mut command = query(&archive, &arguments);
    command.arg("-");
    assert_eq!(piped(command, statement).expect(0).stdout, expected);
}

#[test]
fn a_mistake_in_sql_is_shown_where_it_is() {
    let archive = archive();
    let text = refused(&archive, &["--sql", "SELECT id,\n       reslt\nFROM runs"]);
    assert_eq!(text, "error: line 2, column 8: no such column: reslt\n         reslt\n         ^\n");
    let mut command = query(&archive, &["--log-format", "json", "--sql", "SELECT reslt FROM runs"]);
    command.stdout(Stdio::null());
    let line: Value = serde_json::from_str(&run(command).expect(2).stderr).unwrap();
    assert_eq!(line["fields"]["excerpt"], "SELECT reslt FROM runs\n       ^");
}

#[test]
fn every_format_holds_the_same_rows() {
    let archive = archive();
    let statement = "SELECT 1 AS n, -0.5 AS r, 'a|b, \"c\"' AS t, NULL AS e, x'00ff' AS b, 'd' AS n
                     UNION ALL SELECT 20, 2.0, 'x', NULL, NULL, NULL";
    let table = [
        " n     r  t         e  b     n",
        "-------------------------------",
        " 1  -0.5  a|b, \"c\"     00ff  d",
        "20   2.0  x",
        "",
    ]
    .join("\n");
    assert_eq!(sql(&archive, "table", statement), table);
    let rows = "[\n{\"n\":1,\"r\":-0.5,\"t\":\"a|b, \\\"c\\\"\",\"e\":null,\"b\":\"00ff\",\"n_2\":\"d\"},\n\
                {\"n\":20,\"r\":2.0,\"t\":\"x\",\"e\":null,\"b\":null,\"n_2\":null}\n]\n";
    assert_eq!(sql(&archive, "json", statement), rows);
    let lines = "{\"n\":1,\"r\":-0.5,\"t\":\"a|b, \\\"c\\\"\",\"e\":null,\"b\":\"00ff\",\"n_2\":\"d\"}\n\
                 {\"n\":20,\"r\":2.0,\"t\":\"x\",\"e\":null,\"b\":null,\"n_2\":null}\n";
    assert_eq!(sql(&archive, "ndjson", statement), lines);
    let csv = "n,r,t,e,b,n\n1,-0.5,\"a|b, \"\"c\"\"\",,00ff,d\n20,2.0,x,,,\n";
    assert_eq!(sql(&archive, "csv", statement), csv);
    let markdown = "\
| n | r | t | e | b | n |
| ---: | ---: | --- | --- | --- | --- |
| 1 | -0.5 | a\\|b, \"c\" |  | 00ff | d |
| 20 | 2.0 | x |  |  |  |
";
    assert_eq!(sql(&archive, "markdown", statement), markdown);
    // No rows are told as well as many.
    let none = "SELECT 1 AS a WHERE 0";
    let empty = ["table", "json", "ndjson", "csv", "markdown"].map(|format| sql(&archive, format, none));
    assert_eq!(empty, ["a\n--\n", "[]\n", "", "a\n", "| a |\n| --- |\n"]);
}

#[test]
fn hostile_text_is_text_in_every_format() {
    let archive = archive();
    let long = "x".repeat(1 << 20);
    let texts = [
        "\u{1b}[31mred\u{1b}[0m\u{7}",
        "\u{9b}2J\u{7f}\u{85}\u{0}",
        "\u{202e}gpj.exe\u{2066}\u{200b}\u{feff}\u{e0041}",
        "<script>alert(1)</script>",
        "![x](https://evil.example/x.png) [y](javascript:1)",
        "=HYPERLINK(\"https://evil.example\")",
        "@SUM(1+1)*cmd|' /C calc'!A0",
        "\t=1+1",
        "a|b\\|c\\",
        "\"quoted\", 'single'",
        "line\r\nline\u{2028}line",
        "` code ` **bold** _it_ #1 @team www.evil.example",
        long.as_str(),
    ];
    {
        let database = rusqlite::Connection::open(archive.path()).unwrap();
        let sql = "INSERT INTO connections (id, display_name, first_seen_at) VALUES (?1, ?2, '')";
        for (at, text) in texts.iter().enumerate() {
            database.execute(sql, (format!("hostile-{at:02}"), text)).unwrap();
        }
    }
    let statement = "SELECT id, display_name AS name FROM connections WHERE id LIKE 'hostile%' ORDER BY id";
    let steers = |c: char| {
        c.is_control() && c != '\n'
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2061}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e007f}')
    };
    for format in ["table", "json", "ndjson", "csv", "markdown"] {
        let written = sql(&archive, format, statement);
        let found = written.chars().find(|&c| steers(c) && !(format == "csv" && c == '\t'));
        assert_eq!(found, None, "{format}");
    }

    // JSON carries it exactly.
    for format in ["json", "ndjson"] {
        let written = sql(&archive, format, statement);
        let rows: Vec<Value> = match format {
            "json" => serde_json::from_str(&written).unwrap(),
            _ => written.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        };
        let names: Vec<&str> = rows.iter().map(|row| row["name"].as_str().unwrap()).collect();
        assert_eq!(names, texts);
    }
    let written = sql(&archive, "csv", statement);
    let mut csv = csv::Reader::from_reader(written.as_bytes());
    let names: Vec<String> = csv.records().map(|record| record.unwrap()[1].to_owned()).collect();
    assert_eq!(names.len(), texts.len());
    assert!(names.iter().all(|name| !name.trim_start().starts_with(['=', '@', '+', '-'])), "{names:?}");
    assert_eq!(names[3], texts[3]);
    let markdown = sql(&archive, "markdown", statement);
    assert_eq!(markdown.lines().count(), 2 + texts.len());
    assert!(!markdown.contains(['<', '>']) && !markdown.contains("https:") && !markdown.contains("www."));
    assert_eq!(markdown_texts(&markdown).len(), 2 + 2 * texts.len());
    let table = sql(&archive, "table", statement);
    assert!(table.lines().all(|line| line.chars().count() <= 80));
}

/// The cells of a Markdown table, which must hold nothing but text.
fn markdown_texts(markdown: &str) -> Vec<String> {
    let mut cells = Vec::new();
    for event in Parser::new_ext(markdown, Options::all()) {
        match event {
            Event::Start(Tag::TableCell) => cells.push(String::new()),
            Event::Text(text) => cells.last_mut().unwrap().push_str(&text),
            Event::Start(Tag::Table(_) | Tag::TableHead | Tag::TableRow) | Event::End(_) => {}
            other => panic!("{other:?} in {:?}", cells.last()),
        }
    }
    cells
}

#[test]
fn the_users_own_queries_stand_beside_the_built_in_ones() {
    let archive = archive();
    let folder = archive.folder().join("my queries");
    fs::create_dir(&folder).unwrap();
    fs::write(archive.folder().join("archive.toml"), "queries = 'my queries'").unwrap();
    fs::write(folder.join("how_many.sql"), "-- How many runs\n--\n-- Parameters:\n--   :more  so many more\nSELECT count(*) + coalesce(:more, 0) AS n FROM runs").unwrap();
    fs::write(folder.join("bare.sql"), "SELECT 1 AS one").unwrap();
    fs::write(folder.join("readme.md"), "not SQL").unwrap();
    let mine = |arguments: &[&str]| query(&archive, &[&["--config", "archive.toml"], arguments].concat());
    let counted = run(mine(&["how-many", "--param", "more=30", "--format", "csv"])).expect(0).stdout;
    assert_eq!(counted, "n\n42\n");
    assert_eq!(run(mine(&["bare", "--format", "csv"])).expect(0).stdout, "one\n1\n");
    let list = run(mine(&[])).expect(0).stdout;
    assert!(
        list.ends_with(
            "bare                                 bare\nhow-many                             How many runs\n"
        ),
        "{list}"
    );
    let described = run(mine(&["how-many", "--describe"])).expect(0).stdout;
    assert_eq!(described, "How many runs\n\nParameters:\n  :more  so many more\n");

    let complaint = || run(mine(&["bare"])).expect(2).stderr;
    fs::write(folder.join("failure_rates.sql"), "SELECT 1").unwrap();
    assert!(
        complaint()
            .contains("failure_rates.sql: a built-in query has the name failure-rates; rename the file"),
        "{}",
        complaint()
    );
    fs::write(folder.join("failure_rates.sql"), [0xff]).unwrap();
    assert!(complaint().contains("failure_rates.sql: "), "{}", complaint());
    fs::remove_dir_all(&folder).unwrap();
    assert!(complaint().contains("my queries: No such file or directory"), "{}", complaint());
    // SQL of one's own needs no list.
    run(mine(&["--sql", "SELECT 1"])).expect(0);
}

#[test]
fn a_file_is_written_whole_or_not_at_all() {
    let archive = archive();
    let path = archive.folder().join("out.csv");
    let write =
        |statement: &str| query(&archive, &["--format", "csv", "--output", "out.csv", "--sql", statement]);
    assert_eq!(run(write("SELECT 1 AS a")).expect(0).stdout, "");
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\n1\n");
    // It fails after thousands of rows.
    let late = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 20000)
                SELECT iif(x < 20000, x, json('{')) AS x FROM n";
    run(write(late)).expect(2);
    assert_eq!(fs::read_to_string(&path).unwrap(), "a\n1\n");
    let names: Vec<String> = fs::read_dir(archive.folder())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with("archive.db"))
        .collect();
    assert_eq!(names, ["out.csv"]);
    let failed = run(query(&archive, &["--output", "none/out.csv", "--sql", "SELECT 1"])).expect(1);
    assert!(
        failed.stderr.starts_with("error: writing none/out.csv: No such file or directory"),
        "{}",
        failed.stderr
    );
    assert_eq!(
        run(query(&archive, &["--format", "csv", "-o", "/dev/stdout", "--sql", "SELECT 1 AS a"]))
            .expect(0)
            .stdout,
        "a\n1\n"
    );
}

#[test]
fn a_reader_that_leaves_ends_it_quietly() {
    let archive = archive();
    let endless = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n";
    for (format, first) in [
        ("csv", "x\n"),
        ("ndjson", "{\"x\":1}\n"),
        ("json", "[\n"),
        ("markdown", "| x |\n"),
        ("table", "   x\n"),
    ] {
        let mut child = start(query(&archive, &["--format", format, "--sql", endless]));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        assert_eq!(line, first);
        drop(out);
        let ended = ended(child.wait_with_output().unwrap()).expect(0);
        assert_eq!(ended.stderr, "");
    }
    let mut child = start(query(&archive, &[]));
    drop(child.stdout.take());
    assert_eq!(ended(child.wait_with_output().unwrap()).expect(0).stderr, "");
}

fn start(mut command: Command) -> Child {
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

/// The most memory that a process had so far, in KiB.
#[cfg(target_os = "linux")]
fn most_memory(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn a_million_rows_take_no_more_memory_than_a_thousand() {
    let archive = archive();
    let many = "WITH RECURSIVE n (x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 1000000)
                SELECT x, 'some text that makes a row of a hundred bytes or so, as they are' AS text, x * 0.5 AS half FROM n";
    for (format, rows) in
        [("ndjson", 1_000_000), ("csv", 200_000), ("json", 200_000), ("markdown", 200_000), ("table", 50_000)]
    {
        let mut child = start(query(
            &archive,
            &["--timeout", "10m", "--format", format, "--sql", &many.replace("1000000", &rows.to_string())],
        ));
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        let mut skip = |count: usize| {
            for _ in 0..count {
                line.clear();
                out.read_line(&mut line).unwrap();
            }
        };
        // It is there still, because it waits for the rest to be read: more than a pipe holds.
        skip(1_000);
        let few = most_memory(&child);
        skip(rows - 11_000);
        let all = most_memory(&child);
        skip(20_000);
        ended(child.wait_with_output().unwrap()).expect(0);
        println!("{format}: {few} KiB after 1,000 rows, {all} KiB after {rows}");
        assert!(all < few + 8_192 && all < 65_536, "{format}: {few} KiB, then {all} KiB");
    }
}

#[test]
fn the_examples_of_the_readme_and_of_the_help_work_as_they_stand() {
    let archive = archive();
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let chapter = readme.split("\n## archive query\n").nth(1).unwrap().split("\n## ").next().unwrap();
    let help = run(query(&archive, &["--help"])).expect(0).stdout;
    let examples: Vec<&str> = chapter
        .lines()
        .chain(help.lines())
        .map(str::trim)
        .filter(|line| line.starts_with("archive query "))
        // What stands behind two blanks says what it is for.
        .map(|line| line.split("   ").next().unwrap_or_default())
        .collect();
    assert!(examples.len() > 10, "{examples:?}");
    fs::write(archive.folder().join("my.sql"), "SELECT id FROM runs LIMIT :limit").unwrap();
    let binary = Path::new(env!("CARGO_BIN_EXE_archive"));
    for example in examples {
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(example).env_clear().current_dir(archive.folder()).env("HOME", archive.folder());
        shell.env("PATH", format!("{}:/usr/bin:/bin", binary.parent().unwrap().display()));
        shell.env("ARCHIVE_DB", archive.path());
        println!("{example}");
        run(shell).expect(0);
    }
}
