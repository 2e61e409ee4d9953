//! Every figure, against the same one counted over plain runs: nothing here uses SQL or the program's own
//! arithmetic, but for getting runs in and figures out.

mod answers;
mod clock;
mod edges;
mod platform;
mod reading;
mod reports;
mod scene;
mod shell;
mod twins;
mod world;

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{FileFailurePersistence, RngSeed};
use serde_json::{Value, json};

use answers::{Answers, Asked, Level};
use clock::{MILLISECOND, Ticks, stored};
use platform::{Field, Form, History, Time, history};
use reading::{Parameters, Reading, bounds};
use reports::Wanted;
use scene::{Scene, scene};
use world::World;

use crate::common::{self, Archive, skip};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))),
        max_shrink_iters: 256,
        // The same archives everywhere: what a run proves here it proves on every machine.
        rng_seed: RngSeed::Fixed(20_261_124),
        ..ProptestConfig::default()
    }
}

/// A period and a history with runs at its edges.
fn histories() -> impl Strategy<Value = (Scene, History)> {
    (scene(), prop::bool::weighted(0.06)).prop_flat_map(|(scene, has_far_dates)| {
        let history = history(scene.anchors(), has_far_dates);
        (Just(scene), history)
    })
}

/// Adds to parameters.
fn with<const N: usize>(
    parameters: &Parameters,
    more: [(&'static str, run_archive::query::Value); N],
) -> Parameters {
    parameters.iter().cloned().chain(more).collect()
}

fn pairs(bounds: &[Ticks]) -> Vec<(Ticks, Ticks)> {
    bounds.windows(2).map(|bounds| (bounds[0], bounds[1])).collect()
}

/// The first difference; whole answers are too long to look at.
fn same(found: &[Value], expected: &[Value]) -> Result<(), String> {
    let first = found.iter().zip(expected).position(|(found, expected)| found != expected);
    match first {
        Some(at) => Err(format!("row {at}\n found    {}\n expected {}", found[at], expected[at])),
        None if found.len() != expected.len() => {
            let more = found.get(expected.len()).or(expected.get(found.len()));
            Err(format!("{} rows, expected {}: {more:?}", found.len(), expected.len()))
        }
        None => Ok(()),
    }
}

/// When the platform answered is the clock's, and no figure; `fairness` has promises of its own about it.
fn without_answers(mut rows: Vec<Value>) -> Vec<Value> {
    let told = ["changed_at", "answered_at", "answer_age_ms", "oldest_answer_at", "oldest_answer_age_ms"];
    for row in rows.iter_mut().filter_map(Value::as_object_mut) {
        told.iter().for_each(|name| drop(row.remove(*name)));
    }
    rows
}

/// Rows that are about the whole period, not a day or week of it.
fn whole(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        row["since"] = Value::Null;
        row["until"] = Value::Null;
    }
    rows
}

/// Rows of `durations`, which says beside the runs how many values there are, whatever they are of.
fn counted(mut rows: Vec<Value>) -> Vec<Value> {
    for row in &mut rows {
        row["count"] = row["runs"].clone();
    }
    rows
}

fn fail(reason: String) -> TestCaseError {
    TestCaseError::fail(reason)
}

/// Every query with these parameters and all others it takes: the name, its parameters, and its rows as counted.
fn questions(world: &World, asked: &Asked, scene: &Scene) -> Vec<(&'static str, Parameters, Vec<Value>)> {
    let answers = Answers::new(world, asked);
    let chosen = asked.chosen(world);
    let parameters = asked.parameters(world);
    let as_of = ("as_of", stored(scene.as_of).into());
    let mut all = vec![
        ("failure-rates", parameters.clone(), whole(answers.failure_rates())),
        ("error-codes", parameters.clone(), answers.error_codes()),
        ("masked-failures", parameters.clone(), answers.masked_failures(None)),
        ("masked-failures", with(&parameters, [("limit", 3.into())]), answers.masked_failures(Some(3))),
        ("retries", parameters.clone(), answers.retries()),
        ("slowest-runs", parameters.clone(), answers.slowest(20)),
        ("slowest-runs", with(&parameters, [("limit", 4.into())]), answers.slowest(4)),
        ("coverage", chosen.clone(), answers.coverage()),
        ("gaps", parameters.clone(), Vec::new()),
        ("unfinished-runs", with(&chosen, [as_of.clone()]), answers.unfinished(scene.as_of, 24, None)),
        (
            "unfinished-runs",
            with(&chosen, [as_of.clone(), ("stuck_after_hours", 2.into()), ("limit", 2.into())]),
            answers.unfinished(scene.as_of, 2, Some(2)),
        ),
        ("failing-streaks", with(&parameters, [as_of]), answers.failing_streaks(scene.as_of)),
        ("activity", parameters.clone(), answers.activity(&[(None, 0)])),
    ];
    let levels =
        [("job-durations", Level::Jobs), ("task-durations", Level::Tasks), ("queue-times", Level::Queue)];
    for (name, level) in levels {
        all.push((name, parameters.clone(), whole(answers.percentiles_by_connection(level))));
        all.push((name, with(&parameters, [("by", "all".into())]), whole(answers.percentiles_of_all(level))));
    }
    let runs = counted(whole(answers.percentiles_by_connection(Level::Runs)));
    all.push(("durations", parameters.clone(), runs));
    let runs = counted(whole(answers.percentiles_of_all(Level::Runs)));
    all.push(("durations", with(&parameters, [("by", "all".into())]), runs));
    let compare = |(since, until): (Ticks, Ticks)| {
        [("compare_since", stored(since).into()), ("compare_until", stored(until).into())]
    };
    let changes = with(&parameters, compare(scene.compared));
    all.push(("error-changes", changes, answers.error_changes(scene.compared)));
    if let (Some(since), Some(until)) = (asked.since, asked.until)
        && since % MILLISECOND == 0
        && until % MILLISECOND == 0
    {
        let before = (since - (until - since), since);
        all.push(("error-changes", parameters.clone(), answers.error_changes(before)));
    }
    let (days, weeks) = (answers.utc_bounds(false), answers.utc_bounds(true));
    all.push(("failure-rates-by-day", parameters.clone(), answers.failure_rates_between(&days)));
    all.push(("failure-rates-by-week", parameters.clone(), answers.failure_rates_between(&weeks)));
    all.push(("failure-rates-by-connection-and-day", parameters.clone(), answers.grid(&days)));
    all.push(("durations-by-week", parameters.clone(), answers.durations_between(&weeks)));
    // The zone's own.
    let (since, until) = scene.period;
    if (until - since) / clock::SECOND < 200 * 86_400 {
        let days = clock::cut(scene.zone, since, until, false);
        let weeks = clock::cut(scene.zone, since, until, true);
        let (of_days, of_weeks) =
            (with(&chosen, [("bounds", bounds(&days))]), with(&chosen, [("bounds", bounds(&weeks))]));
        let (days, weeks) = (pairs(&days), pairs(&weeks));
        all.push(("failure-rates-by-day", of_days.clone(), answers.failure_rates_between(&days)));
        all.push(("failure-rates-by-week", of_weeks.clone(), answers.failure_rates_between(&weeks)));
        all.push(("failure-rates-by-connection-and-day", of_days, answers.grid(&days)));
        all.push(("durations-by-week", of_weeks, answers.durations_between(&weeks)));
        let offsets = clock::offsets(scene.zone, since, until);
        let told: Vec<Value> = offsets
            .iter()
            .map(|(since, ahead)| json!([since.map(stored).unwrap_or_default(), ahead]))
            .collect();
        let told = with(&parameters, [("offsets", json!(told).to_string().into())]);
        all.push(("activity", told, answers.activity(&offsets)));
    }
    all
}

/// The periods and connections that the queries are asked about.
fn asked(world: &World, scene: &Scene, pick: &Index) -> Vec<Asked> {
    let count = world.connections.len();
    let one = pick.index(count);
    let (since, until) = scene.period;
    let of = |since, until, connections| Asked { since, until, connections };
    vec![
        of(None, None, None),
        of(Some(since), Some(until), None),
        of(Some(since), Some(until), Some(vec![one])),
        of(Some(since), None, Some(vec![one, (one + 1) % count])),
        of(None, Some(until), None),
        of(Some(scene.compared.0), Some(scene.compared.1), Some(Vec::new())),
    ]
}

/// What is kept beside the rows is what the rows say, and what was sent.
fn assert_derived(archive: &Archive, world: &World) {
    let database = rusqlite::Connection::open(archive.path()).unwrap();
    let texts = |sql: &str| -> Vec<String> {
        let mut statement = database.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    };
    let starts: BTreeMap<i64, (i64, Option<String>)> = database
        .prepare("SELECT run_key, connection_key, started_at FROM runs")
        .unwrap()
        .query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap();
    let mut counted: BTreeMap<String, i64> = BTreeMap::new();
    for line in texts("SELECT json_array(run_key, error_code, description_key, can_user_fix) FROM errors") {
        let error: Value = serde_json::from_str(&line).unwrap();
        let (connection, start) = &starts[&error[0].as_i64().unwrap()];
        if let Some(start) = start {
            let key = json!([error[0], connection, start, error[1], error[2], error[3]]);
            *counted.entry(key.to_string()).or_default() += 1;
        }
    }
    let counted: Vec<String> = counted.into_iter().map(|(key, tasks)| format!("{key} {tasks}")).collect();
    let mut kept = texts(
        "SELECT json_array(run_key, connection_key, started_at, error_code, description_key, can_user_fix) || ' ' || tasks
         FROM error_runs JOIN error_kinds USING (error_kind_key)",
    );
    kept.sort();
    assert_eq!(kept, counted, "error_runs is not what errors says");
    let kinds = texts("SELECT json_array(error_code, description_key, can_user_fix) FROM error_kinds");
    let distinct: std::collections::BTreeSet<_> = kinds.iter().collect();
    assert_eq!(distinct.len(), kinds.len(), "an error is in error_kinds twice");

    let outcomes = texts("SELECT outcome FROM runs ORDER BY run_key");
    assert_eq!(outcomes, world.runs.iter().map(|run| run.outcome).collect::<Vec<_>>());
    let mut listed = vec![0; world.connections.len()];
    for run in world.runs.iter().filter(|run| !run.is_unlisted) {
        listed[run.connection] += 1;
    }
    let kept: Vec<i64> = archive.column("SELECT listed FROM checkpoints ORDER BY connection_key");
    assert_eq!(kept, listed, "checkpoints.listed is not how many runs are listed");
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn every_named_query_gives_the_rows_that_counting_plain_runs_gives(
        (scene, history) in histories(),
        pick in any::<Index>(),
    ) {
        let archive = Archive::new();
        let world = world::store(&archive.path(), &history, |world| assert_derived(&archive, world));
        archive.assert_sound();
        let reading = Reading::open(&archive.path());
        for asked in asked(&world, &scene, &pick) {
            for (name, parameters, expected) in questions(&world, &asked, &scene) {
                let rows = without_answers(reading.rows(name, &parameters));
                same(&rows, &expected).map_err(|difference| fail(format!("{name} {parameters:?}: {difference}")))?;
            }
        }
    }
}

/// What is asked of a report besides its period: some of at most four connections, and when to raise an alarm.
fn wanted() -> impl Strategy<Value = Wanted> {
    let places = prop::option::weighted(0.3, prop::collection::btree_set(0_usize..4, 1..3));
    let fail_over = prop::option::of(prop::sample::select(&[0, 20, 25, 33, 50, 100][..]));
    (places, prop_oneof![3 => Just(1), 1 => 2_u64..12], fail_over).prop_map(
        |(places, min_runs, fail_over)| {
            let connections = places.map(|places| places.into_iter().collect());
            Wanted { connections, min_runs, fail_over }
        },
    )
}

/// Makes some connections break, and others recover, from one period to the next: chance alone seldom does.
fn tilt(history: &mut History, scene: &Scene, connections: &[Option<bool>]) {
    let is_in = |(since, until): (Ticks, Ticks), start: Ticks| since <= start && start < until;
    for (connection, run) in &mut history.runs {
        let (Some(gets_worse), Time::Real(start, _)) = (connections[*connection], &run.start) else {
            continue;
        };
        let is_now = is_in(scene.period, *start);
        if is_now || is_in(scene.compared, *start) {
            let is_bad = is_now == gets_worse;
            run.state = Field::Is("Completed");
            run.result = Field::Is(if is_bad { "Error" } else { "Success" });
            let seconds = if is_bad { 90 } else { 20 };
            run.end = Time::Real(start + seconds * clock::SECOND + start % 7, Form::Trimmed);
        }
    }
}

proptest! {
    #![proptest_config(config(24))]

    #[test]
    fn every_figure_of_a_report_is_the_one_that_counting_plain_runs_gives(
        (scene, mut history) in histories(),
        mut wanted in wanted(),
        tilts in prop::collection::vec(prop::option::of(any::<bool>()), 4),
    ) {
        tilt(&mut history, &scene, &tilts);
        let archive = Archive::new();
        let world = world::store(&archive.path(), &history, |_| {});
        if let Some(places) = &mut wanted.connections {
            places.retain(|&place| place < world.connections.len());
        }
        wanted.connections = wanted.connections.filter(|places| !places.is_empty());
        let mut expected = reports::report(&world, &scene, &wanted);
        let mut command = archive.command();
        command.args(["report", "--format", "json"]).args(scene.arguments());
        command.args(["--min-runs", &wanted.min_runs.to_string()]);
        for &place in wanted.connections.iter().flatten() {
            command.args(["--connection", &world.connections[place].id]);
        }
        if let Some(percent) = wanted.fail_over {
            command.args(["--fail-over", &percent.to_string()]);
        }
        let ended = common::run(command);
        let is_alarm = !expected["verdict"]["alarms"].as_array().unwrap().is_empty();
        prop_assert_eq!(ended.code, Some(if is_alarm { 6 } else { 0 }), "{}", ended.stderr);
        let mut found = ended.json();
        let text = found["verdict"].as_object_mut().unwrap().remove("text").unwrap();
        // What is inferred is counted in another way, by `inferred`.
        for name in ["attention", "headline"] {
            found["verdict"].as_object_mut().unwrap().remove(name).unwrap();
        }
        for name in ["baseline", "incidents", "states", "expected"] {
            found.as_object_mut().unwrap().remove(name).unwrap();
        }
        // What the platform sends unannounced is no figure; `keep` has promises of its own about it.
        found["coverage"].as_object_mut().unwrap().remove("drift").unwrap();
        let unfinished = found["unfinished"].as_object_mut().unwrap();
        if let Some(Value::Array(oldest)) = unfinished.get_mut("oldest") {
            *oldest = without_answers(std::mem::take(oldest));
        }
        found["unfinished"] = without_answers(vec![found["unfinished"].take()]).remove(0);
        let now = &expected["total"]["now"];
        if now["rated"] != 0 {
            let runs = if now["rated"] == 1 { "run" } else { "runs" };
            let said = format!("{} of {} {runs} failed, ", now["failed"], now["rated"]);
            prop_assert!(text.as_str().unwrap().starts_with(&said), "{} {}", text, said);
        }
        if expected["weeks"].is_null() {
            expected["weeks"] = found["weeks"].clone();
        }
        if let Some(difference) = reports::difference("report", &found, &expected) {
            return Err(fail(difference));
        }
    }
}

proptest! {
    #![proptest_config(config(3))]

    #[test]
    fn the_files_of_queries_run_unchanged_in_the_sqlite_shell((scene, history) in histories(), pick in any::<Index>()) {
        if !shell::is_installed() {
            skip("there is no sqlite3 to run the queries with");
            return Ok(());
        }
        let archive = Archive::new();
        let world = world::store(&archive.path(), &history, |_| {});
        for asked in asked(&world, &scene, &pick) {
            let questions = questions(&world, &asked, &scene);
            let names: Vec<(&str, &Parameters)> = questions.iter().map(|(name, parameters, _)| (*name, parameters)).collect();
            let answers = shell::answers(&archive.path(), &names);
            for ((name, parameters, expected), rows) in questions.iter().zip(answers) {
                let rows = without_answers(rows);
                if let Some(difference) = reports::difference("rows", &json!(rows), &json!(expected)) {
                    return Err(fail(format!("{name} {parameters:?}: {difference}")));
                }
            }
        }
    }

    #[test]
    fn imported_pages_give_the_same_rows_to_whoever_asks_by_the_command(
        (scene, history) in histories(),
        pick in any::<Index>(),
    ) {
        let archive = Archive::new();
        let (pages, world) = world::pages(&history);
        for (at, (connection, page)) in pages.iter().enumerate() {
            let name = format!("{at}.json");
            std::fs::write(archive.folder().join(&name), page).unwrap();
            let mut command = archive.command();
            command.args(["import", &name, "--connection", connection]);
            common::run(command).expect(0);
        }
        assert_derived(&archive, &world);
        for asked in asked(&world, &scene, &pick) {
            let questions = questions(&world, &asked, &scene);
            // Each costs a process.
            let (few, _) = questions.split_at(questions.len().min(14));
            for (name, parameters, expected) in few.iter().chain(&questions[questions.len() - 5..]) {
                let mut command = archive.command();
                command.args(["query", name, "--format", "json"]);
                for (parameter, value) in parameters {
                    let value = match value {
                        run_archive::query::Value::Integer(number) => number.to_string(),
                        run_archive::query::Value::Text(text) => text.clone(),
                        other => panic!("{other:?} is no parameter of these"),
                    };
                    command.arg("--param").arg(format!("{parameter}={value}"));
                }
                let rows = common::run(command).expect(0).json().as_array().unwrap().clone();
                let rows = without_answers(rows);
                if let Some(difference) = reports::difference("rows", &json!(rows), &json!(expected)) {
                    return Err(fail(format!("{name} {parameters:?}: {difference}")));
                }
            }
        }
    }
}
