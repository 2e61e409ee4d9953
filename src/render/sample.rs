//! Reports for the tests of their formats: a rich one, poor ones, and any one at all.

use fastrand::Rng;

use crate::report::figures::*;
use crate::time::UtcText;
use crate::time::period::Period;

pub(super) fn utc(text: &str) -> UtcText {
    UtcText::parse_sent(text).unwrap()
}

/// A report that nothing is in: an empty archive.
pub(super) fn empty() -> Report {
    Report {
        as_of: utc("2026-11-23T06:30:00Z"),
        zone: "Europe/Berlin".parse().unwrap(),
        period: Period { since: utc("2026-11-15T23:00:00Z"), until: utc("2026-11-22T23:00:00Z") },
        compared_with: Period { since: utc("2026-11-08T23:00:00Z"), until: utc("2026-11-15T23:00:00Z") },
        restricted_to: vec![],
        min_runs: 10,
        verdict: Verdict {
            text: "Nothing is archived yet.".into(),
            direction: Direction::NotComparable,
            complete_as_of: None,
            is_period_covered: false,
            alarms: vec![],
        },
        changes: Changes::default(),
        total: compared(Rate::default(), Rate::default(), Direction::NotComparable),
        connections: vec![],
        failing: Failing::default(),
        errors: Errors::default(),
        durations: Durations {
            runs: ComparedPercentiles::default(),
            jobs: ComparedPercentiles::default(),
            tasks: ComparedPercentiles::default(),
            queue: ComparedPercentiles::default(),
            by_connection: vec![],
        },
        retries: Retries::default(),
        slowest: vec![],
        unfinished: Unfinished::default(),
        masked: Masked::default(),
        weeks: vec![],
        buckets: Buckets { unit: "day", all: vec![], by_connection: vec![] },
        coverage: Coverage::default(),
    }
}

/// So many failed of so many rated, with a plausible interval.
pub(super) fn rate(failed: u64, rated: u64) -> Rate {
    let share = failed as f64 / rated as f64;
    let around = 1.0 / (rated as f64).sqrt();
    Rate {
        runs: rated,
        succeeded: rated - failed,
        failed,
        rated,
        failure_rate: (rated > 0).then_some(share),
        interval: (rated > 0)
            .then(|| Interval { low: (share - around).max(0.0), high: (share + around).min(1.0) }),
        ..Rate::default()
    }
}

pub(super) fn compared(now: Rate, before: Rate, direction: Direction) -> ComparedRate {
    let difference = now.failure_rate.zip(before.failure_rate).map(|(now, before)| now - before);
    ComparedRate { now, before, difference, p_value: difference.map(|_| 0.2), direction }
}

fn connection(name: &str, rate: ComparedRate) -> ConnectionRate {
    ConnectionRate { connection: name.into(), connection_id: id(name), rate }
}

fn id(name: &str) -> String {
    format!("id-of-{}", name.len())
}

fn run_id(number: u64) -> String {
    format!("75d94fca-4a9b-4ff0-8f3a-eeedbc1f{number:04x}")
}

fn percentiles(count: u64, p50_ms: i64) -> Option<Percentiles> {
    let times = |tenths: i64| p50_ms * tenths / 10;
    Some(Percentiles {
        count,
        p50_ms,
        p50_low_ms: Some(times(9)),
        p50_high_ms: Some(times(11)),
        p90_ms: times(18),
        p95_ms: times(22),
        p99_ms: times(41),
        max_ms: times(93),
    })
}

fn moved(count: u64, now_ms: i64, before_ms: i64) -> ComparedPercentiles {
    ComparedPercentiles { now: percentiles(count, now_ms), before: percentiles(count, before_ms) }
}

const HOSPITAL: &str = "Riverside Hospital – IFC nightly";
const DEPOT: &str = "Metro Line 4 depot – IFC2x3 handover";
const WATER: &str = "Greenfield Water Works – as-built IFC";
const BRIDGE: &str = "Harbour Bridge – IFC4.3 alignment";
const PILOT: &str = "Pilot";

/// A week in which something of everything happened.
pub(super) fn rich() -> Report {
    let hospital = compared(rate(18, 78), rate(4, 80), Direction::Worse);
    let depot = compared(
        Rate { runs: 1_018, canceled: 12, skipped: 3, undetermined: 1, unfinished: 2, ..rate(500, 1_000) },
        rate(650, 1_004),
        Direction::Better,
    );
    let water = compared(
        Rate { partly_succeeded: 2, succeeded: 19, ..rate(0, 21) },
        rate(1, 19),
        Direction::NoClearChange,
    );
    let bridge = compared(rate(1, 2), Rate::default(), Direction::NotComparable);
    let pilot = compared(
        Rate { runs: 3, unfinished: 3, ..Rate::default() },
        Rate::default(),
        Direction::NotComparable,
    );
    let connections = vec![
        connection(DEPOT, depot),
        connection(HOSPITAL, hospital),
        connection(BRIDGE, bridge),
        connection(WATER, water),
        connection(PILOT, pilot),
    ];
    let total = compared(
        Rate {
            runs: 1_122,
            partly_succeeded: 2,
            succeeded: 580,
            canceled: 12,
            skipped: 3,
            undetermined: 1,
            unfinished: 5,
            ..rate(519, 1_101)
        },
        rate(655, 1_103),
        Direction::Better,
    );
    let change = |key: Option<&str>, code: Option<&str>, runs, seen: Option<&str>| ErrorChange {
        error_code: code.map(str::to_owned),
        description_key: key.map(str::to_owned),
        runs,
        connections: 1,
        last_seen_before: seen.map(utc),
    };
    Report {
        verdict: Verdict {
            text:
                "519 of 1,101 runs failed, 47.1% (1,122 runs started), down from 59.4%. Archived whole up to \
                   2026-11-23 07:12, 18 min ago."
                    .into(),
            direction: Direction::Better,
            complete_as_of: Some(utc("2026-11-23T06:12:00Z")),
            is_period_covered: true,
            alarms: vec![
                Alarm { connection: None, connection_id: None, failure_rate: 0.471, threshold: 0.2 },
                Alarm {
                    connection: Some(HOSPITAL.into()),
                    connection_id: Some(id(HOSPITAL)),
                    failure_rate: 0.2308,
                    threshold: 0.2,
                },
            ],
        },
        changes: Changes {
            newly_failing: vec![connections[1].clone()],
            recovered: vec![connections[0].clone()],
            new_errors: vec![change(Some("SavedViewNotFound"), Some("TAE_BRW_1000"), 14, None)],
            returned_errors: vec![change(
                Some("ExcessiveElements"),
                Some("TAE_BRW_1000"),
                2,
                Some("2026-09-03T08:00:00Z"),
            )],
            gone_errors: vec![change(None, Some("TAE_BRG_1000"), 5, Some("2026-11-12T08:00:00Z"))],
            durations: vec![
                DurationChange {
                    connection: Some(HOSPITAL.into()),
                    connection_id: Some(id(HOSPITAL)),
                    level: "run",
                    now_ms: 723_000,
                    before_ms: 302_000,
                    direction: Direction::Worse,
                },
                DurationChange {
                    connection: None,
                    connection_id: None,
                    level: "queue",
                    now_ms: 8_200,
                    before_ms: 16_400,
                    direction: Direction::Better,
                },
            ],
        },
        failing: Failing {
            streaks: vec![
                Streak {
                    connection: HOSPITAL.into(),
                    connection_id: id(HOSPITAL),
                    failures: 12,
                    failing_since: utc("2026-11-19T14:02:00Z"),
                    last_success_at: Some(utc("2026-11-19T02:02:00Z")),
                    since_last_success_ms: Some(361_680_000),
                },
                Streak {
                    connection: BRIDGE.into(),
                    connection_id: id(BRIDGE),
                    failures: 1,
                    failing_since: utc("2026-11-22T03:00:00Z"),
                    last_success_at: None,
                    since_last_success_ms: None,
                },
            ],
            recoveries: 7,
            mean_time_to_recovery_ms: Some(18_720_000),
        },
        errors: errors(),
        durations: Durations {
            runs: moved(1_117, 434_000, 411_000),
            jobs: moved(1_640, 401_000, 402_000),
            tasks: moved(5_233, 101_000, 88_000),
            queue: ComparedPercentiles { now: percentiles(1_117, 8_200), before: None },
            by_connection: vec![
                ConnectionDurations {
                    connection: DEPOT.into(),
                    connection_id: id(DEPOT),
                    runs: moved(1_015, 402_000, 409_000),
                    queue: moved(1_015, 8_000, 8_000),
                },
                ConnectionDurations {
                    connection: HOSPITAL.into(),
                    connection_id: id(HOSPITAL),
                    runs: moved(78, 723_000, 302_000),
                    queue: moved(78, 12_000, 12_000),
                },
                ConnectionDurations {
                    connection: PILOT.into(),
                    connection_id: id(PILOT),
                    runs: ComparedPercentiles::default(),
                    queue: ComparedPercentiles::default(),
                },
            ],
        },
        retries: Retries {
            tasks: 5_233,
            retried_tasks: 14,
            attempts: 21,
            runs: 12,
            attempts_before: 18,
            by_connection: vec![ConnectionRetries {
                connection: DEPOT.into(),
                connection_id: id(DEPOT),
                retried_tasks: 14,
                attempts: 21,
                runs: 12,
            }],
        },
        slowest: (0..7)
            .map(|place| SlowRun {
                connection: [HOSPITAL, DEPOT][place % 2].into(),
                connection_id: id([HOSPITAL, DEPOT][place % 2]),
                run_id: run_id(place as u64),
                started_at: utc("2026-11-20T03:10:00Z"),
                duration_ms: 6_700_000 - 120_000 * place as i64,
                outcome: ["succeeded", "failed"][place % 2].into(),
            })
            .collect(),
        unfinished: Unfinished {
            runs: 5,
            stuck: 1,
            unlisted: 1,
            oldest: vec![
                UnfinishedRun {
                    connection: PILOT.into(),
                    connection_id: id(PILOT),
                    run_id: run_id(0xa1),
                    state: Some("Executing".into()),
                    started_at: Some(utc("2026-11-17T09:00:00Z")),
                    age_ms: Some(509_400_000),
                    is_stuck: true,
                    is_unlisted: true,
                },
                UnfinishedRun {
                    connection: DEPOT.into(),
                    connection_id: id(DEPOT),
                    run_id: run_id(0xa2),
                    state: None,
                    started_at: None,
                    age_ms: None,
                    is_stuck: false,
                    is_unlisted: false,
                },
            ],
        },
        masked: Masked {
            runs: 3,
            succeeded: 580,
            runs_before: 1,
            newest: vec![
                MaskedRun {
                    connection: WATER.into(),
                    connection_id: id(WATER),
                    run_id: run_id(0xb1),
                    started_at: utc("2026-11-21T12:00:06Z"),
                    failed_jobs: 1,
                    failed_tasks: 1,
                    errors: 1,
                    error_keys: Some("FailedToExport".into()),
                },
                MaskedRun {
                    connection: WATER.into(),
                    connection_id: id(WATER),
                    run_id: run_id(0xb2),
                    started_at: utc("2026-11-18T12:00:06Z"),
                    failed_jobs: 0,
                    failed_tasks: 2,
                    errors: 0,
                    error_keys: None,
                },
            ],
        },
        weeks: weeks(),
        coverage: coverage(),
        connections,
        total,
        ..empty()
    }
}

fn errors() -> Errors {
    let base = ErrorCode {
        error_code: Some("TAE_BRW_1000".into()),
        description_key: Some("SavedViewNotFound".into()),
        system: Some("exporter".into()),
        phase: Some("initialization".into()),
        category: Some("configuration".into()),
        description: Some("The saved view of this export was not found.".into()),
        kb_article_link: Some(
            "https://bentleysystems.service-now.com/community?id=kb_article_view&sysparm_article=KB0041879#EXP_004"
                .into(),
        ),
        tasks: 18,
        runs: 14,
        runs_before: 0,
        connections: 1,
        first_seen: utc("2026-11-19T14:02:00Z"),
        last_seen: utc("2026-11-22T14:02:00Z"),
        novelty: Novelty::New,
    };
    Errors {
        users: vec![
            base.clone(),
            ErrorCode {
                description_key: Some("ExcessiveElements".into()),
                phase: Some("download_imodel".into()),
                category: Some("download_imodel".into()),
                description: Some(
                    "The requested export contained more than 1.5 million objects and the exporter is unable to \
                     export this iModel. Please try again using a saved view that has fewer elements."
                        .into(),
                ),
                kb_article_link: None,
                tasks: 2,
                runs: 2,
                novelty: Novelty::Returned,
                ..base.clone()
            },
        ],
        system: vec![ErrorCode {
            description_key: Some("FailedToExport".into()),
            phase: Some("export_file".into()),
            category: Some("other".into()),
            description: Some("Failed to export your file.".into()),
            kb_article_link: None,
            tasks: 520,
            runs: 501,
            runs_before: 650,
            connections: 3,
            novelty: Novelty::Known,
            ..base.clone()
        }],
        unknown: vec![ErrorCode {
            error_code: Some("9001".into()),
            description_key: None,
            system: None,
            phase: None,
            category: None,
            description: None,
            kb_article_link: None,
            tasks: 1,
            runs: 1,
            novelty: Novelty::Known,
            ..base
        }],
        not_shown: 4,
    }
}

fn weeks() -> Vec<Week> {
    let zone: crate::time::zone::Zone = "Europe/Berlin".parse().unwrap();
    let until = utc("2026-11-22T23:00:00Z");
    let bounds = Period { since: utc("2026-11-15T23:00:00Z"), until }.weeks_until(&zone, 12);
    let rates = [(0, 0), (3, 91), (4, 91), (8, 92), (4, 94), (0, 82), (5, 83), (6, 90), (5, 77), (12, 86)];
    let rates = rates.into_iter().chain([(655, 1_103), (519, 1_101)]);
    rates
        .zip(bounds.windows(2))
        .map(|((failed, rated), bounds)| Week {
            period: Period { since: bounds[0], until: bounds[1] },
            rate: if rated == 0 { Rate::default() } else { rate(failed, rated) },
            durations: percentiles(rated, 400_000 + failed as i64 * 100).filter(|_| rated > 0),
        })
        .collect()
}

fn coverage() -> Coverage {
    let base = ConnectionCoverage {
        connection: DEPOT.into(),
        connection_id: id(DEPOT),
        runs: 48_211,
        oldest_started_at: Some(utc("2025-11-01T04:00:00Z")),
        newest_started_at: Some(utc("2026-11-23T05:58:00Z")),
        complete_as_of: Some(utc("2026-11-23T06:12:00Z")),
        unfinished: 2,
        unlisted: 310,
        rejects: 2,
        gaps: 1,
        last_problem: None,
        unlisted_at: None,
        pruned: 0,
        clock_ahead_at: None,
    };
    let plain = ConnectionCoverage { unfinished: 0, unlisted: 0, rejects: 0, gaps: 0, ..base.clone() };
    Coverage {
        pruned: None,
        connections: vec![
            ConnectionCoverage {
                connection: BRIDGE.into(),
                runs: 120,
                unlisted_at: Some(utc("2026-11-22T06:12:00Z")),
                ..plain.clone()
            },
            base,
            ConnectionCoverage {
                connection: PILOT.into(),
                runs: 3,
                complete_as_of: None,
                unfinished: 3,
                last_problem: Some("429 Too Many Requests; the time budget ran out".into()),
                ..plain.clone()
            },
            ConnectionCoverage { connection: HOSPITAL.into(), runs: 4_012, ..plain },
        ],
        gaps: vec![Gap {
            connection: DEPOT.into(),
            connection_id: id(DEPOT),
            after: utc("2026-11-16T13:00:00Z"),
            until: utc("2026-11-18T08:00:00Z"),
            noticed_at: utc("2026-11-18T09:00:00Z"),
            touches_period: true,
        }],
        rejects: 2,
        runs_without_start: 1,
        drift: vec![
            DriftNote {
                object: "run".into(),
                field: "region".into(),
                what: "field".into(),
                value: String::new(),
                first_seen_at: utc("2026-11-20T06:12:00Z"),
                runs: 214,
                connection: DEPOT.into(),
                run_id: "75d94fca-4a9b-4ff0-8f3a-eeedbc1fea97".into(),
                is_new: true,
            },
            DriftNote {
                object: "task".into(),
                field: "result".into(),
                what: "value".into(),
                value: "Paused".into(),
                first_seen_at: utc("2025-12-01T06:12:00Z"),
                runs: 1,
                connection: BRIDGE.into(),
                run_id: "r".into(),
                is_new: false,
            },
        ],
        last_sync: Some(LastSync {
            command: "sync".into(),
            started_at: utc("2026-11-23T06:12:00Z"),
            outcome: "partial".into(),
            problem: Some("the time budget ran out".into()),
        }),
    }
}

/// Runs are archived, and none started in the period.
pub(super) fn without_runs() -> Report {
    let rich = rich();
    Report {
        verdict: Verdict {
            text: "No run started in this period, none in the one compared with either.".into(),
            alarms: vec![],
            ..rich.verdict
        },
        weeks: rich
            .weeks
            .into_iter()
            .map(|week| Week { rate: Rate::default(), durations: None, ..week })
            .collect(),
        coverage: Coverage {
            connections: rich.coverage.connections.into_iter().skip(3).collect(),
            last_sync: rich.coverage.last_sync,
            ..Coverage::default()
        },
        ..empty()
    }
}

/// One connection, and none of its runs is finished.
pub(super) fn only_unfinished() -> Report {
    let rich = rich();
    let pilot = rich.connections[4].clone();
    Report {
        verdict: Verdict {
            text: "3 runs started, and none of them can be rated yet.".into(),
            alarms: vec![],
            ..rich.verdict
        },
        total: pilot.rate,
        weeks: rich
            .weeks
            .into_iter()
            .map(|week| Week { rate: pilot.rate.now, durations: None, ..week })
            .collect(),
        connections: vec![pilot],
        unfinished: Unfinished { runs: 3, stuck: 0, unlisted: 0, ..rich.unfinished },
        coverage: Coverage {
            connections: rich.coverage.connections.into_iter().skip(2).take(1).collect(),
            ..Coverage::default()
        },
        ..empty()
    }
}

/// A hundred connections and long lists of everything.
pub(super) fn long() -> Report {
    let mut report = rich();
    fn fill<T: Clone>(list: &mut Vec<T>, rename: impl Fn(&mut T, usize)) {
        let Some(first) = list.first().cloned() else { return };
        let copies = (list.len()..100).map(|number| {
            let mut copy = first.clone();
            rename(&mut copy, number);
            copy
        });
        list.extend(copies.collect::<Vec<_>>());
    }
    let name = |number: usize| format!("Connection {number} of a hundred");
    fill(&mut report.connections, |connection, number| connection.connection = name(number));
    fill(&mut report.changes.newly_failing, |connection, number| connection.connection = name(number));
    fill(&mut report.changes.new_errors, |error, number| error.error_code = Some(format!("E_{number}")));
    fill(&mut report.errors.users, |error, number| error.error_code = Some(format!("E_{number}")));
    fill(&mut report.verdict.alarms, |alarm, number| alarm.connection = Some(name(number)));
    fill(&mut report.failing.streaks, |streak, number| streak.connection = name(number));
    fill(&mut report.durations.by_connection, |connection, number| connection.connection = name(number));
    fill(&mut report.coverage.connections, |connection, number| connection.connection = name(number));
    fill(&mut report.coverage.gaps, |gap, number| gap.connection = name(number));
    report.restricted_to = (0..100).map(name).collect();
    report.masked.runs = 4_321;
    report
}

/// Texts that would rather be something else.
pub(super) const HOSTILE: &[&str] = &[
    "\x1b[31mred\x1b[0m\x1b]0;title\x07",
    "ab\u{202e}gpj.exe\u{2066}\u{200b}",
    "<script>alert(1)</script><img src=x onerror=alert(1)>",
    "[click](javascript:alert(1)) ![image](https://evil.example/x.png)",
    "https://evil.example/?a=b www.evil.example @team someone@evil.example #1 ftp://evil.example",
    "| a | b |\n| --- | --- |\n",
    "# heading\n- item\n1. one\n> quote\n```\ncode\n```",
    "**bold** _italic_ ~~gone~~ `code` \\ \\| \\` &lt;b&gt; &#60;",
    "=cmd|' /C calc'!A0",
    "1. first",
    "- - -",
    "+ plus",
    "*",
    "",
    "   ",
    "日本語の接続名はとても長いので切らなければならないことがあります。日本語の接続名",
    "e\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}\u{301}👍🏽🇩🇪☁\u{fe0f}",
    "averyveryverylongwordthatdoesnotfitonanylineandhastobebrokensomewhereinthemiddleofitoritwillbetoowideforit",
    "https://help.example/a|b",
    "https://user@evil.example/",
    "https://evil.example/>x<b>",
];

/// The rich report with all its texts taken from data replaced by what `make` gives.
pub(super) fn with_texts(mut make: impl FnMut() -> String) -> Report {
    let mut report = rich();
    let mut set = |text: &mut String| *text = make();
    for connection in report
        .connections
        .iter_mut()
        .chain(&mut report.changes.newly_failing)
        .chain(&mut report.changes.recovered)
    {
        set(&mut connection.connection);
    }
    for change in report
        .changes
        .new_errors
        .iter_mut()
        .chain(&mut report.changes.returned_errors)
        .chain(&mut report.changes.gone_errors)
    {
        change.error_code.iter_mut().chain(&mut change.description_key).for_each(&mut set);
    }
    for error in
        report.errors.users.iter_mut().chain(&mut report.errors.system).chain(&mut report.errors.unknown)
    {
        let texts = error.error_code.iter_mut().chain(&mut error.description_key).chain(&mut error.system);
        texts
            .chain(&mut error.phase)
            .chain(&mut error.category)
            .chain(&mut error.description)
            .for_each(&mut set);
        error.kb_article_link.iter_mut().for_each(&mut set);
    }
    report.changes.durations.iter_mut().filter_map(|change| change.connection.as_mut()).for_each(&mut set);
    report.verdict.alarms.iter_mut().filter_map(|alarm| alarm.connection.as_mut()).for_each(&mut set);
    report.failing.streaks.iter_mut().for_each(|streak| set(&mut streak.connection));
    report.durations.by_connection.iter_mut().for_each(|connection| set(&mut connection.connection));
    report.retries.by_connection.iter_mut().for_each(|connection| set(&mut connection.connection));
    for run in &mut report.slowest {
        [&mut run.connection, &mut run.run_id, &mut run.outcome].into_iter().for_each(&mut set);
    }
    for run in &mut report.unfinished.oldest {
        [&mut run.connection, &mut run.run_id].into_iter().chain(&mut run.state).for_each(&mut set);
    }
    for run in &mut report.masked.newest {
        [&mut run.connection, &mut run.run_id].into_iter().chain(&mut run.error_keys).for_each(&mut set);
    }
    for connection in &mut report.coverage.connections {
        set(&mut connection.connection);
        connection.last_problem.iter_mut().for_each(&mut set);
    }
    report.coverage.gaps.iter_mut().for_each(|gap| set(&mut gap.connection));
    for note in &mut report.coverage.drift {
        [&mut note.field, &mut note.value, &mut note.connection, &mut note.run_id]
            .into_iter()
            .for_each(&mut set);
    }
    if let Some(sync) = &mut report.coverage.last_sync {
        [&mut sync.command, &mut sync.outcome].into_iter().chain(&mut sync.problem).for_each(&mut set);
    }
    report.restricted_to = vec![make(), make()];
    report
}

/// Any report: hostile texts and figures of all sizes, the same for the same seed.
pub(super) fn any(seed: u64) -> Report {
    let mut rng = Rng::with_seed(seed);
    let mut report = with_texts(|| match rng.u8(..4) {
        0 => (0..rng.usize(..60)).map(|_| rng.char(..)).collect(),
        _ => HOSTILE[rng.usize(..HOSTILE.len())].to_owned(),
    });
    let count = |rng: &mut Rng| rng.u64(..) >> rng.u32(..64);
    let rates =
        report.connections.iter_mut().map(|connection| &mut connection.rate).chain([&mut report.total]);
    for rate in rates {
        let mut any_rate = || Rate {
            runs: count(&mut rng),
            partly_succeeded: count(&mut rng) * u64::from(rng.bool()),
            failed: count(&mut rng),
            canceled: count(&mut rng) * u64::from(rng.bool()),
            skipped: count(&mut rng) * u64::from(rng.bool()),
            undetermined: count(&mut rng) * u64::from(rng.bool()),
            unfinished: count(&mut rng) * u64::from(rng.bool()),
            rated: count(&mut rng) * u64::from(rng.bool()),
            failure_rate: rng.bool().then(|| rng.f64()),
            interval: rng.bool().then(|| Interval { low: rng.f64(), high: rng.f64() }),
            ..Rate::default()
        };
        *rate = ComparedRate {
            now: any_rate(),
            before: any_rate(),
            difference: rng.bool().then(|| rng.f64() - 0.5),
            ..*rate
        };
    }
    let any_percentiles = |rng: &mut Rng| ComparedPercentiles {
        now: rng.bool().then(|| Percentiles {
            count: count(rng),
            p50_ms: rng.i64(..) >> rng.u32(..64),
            p50_low_ms: Some(rng.i64(..)),
            p50_high_ms: None,
            p90_ms: rng.i64(..) >> rng.u32(..64),
            p95_ms: rng.i64(..) >> rng.u32(..64),
            p99_ms: rng.i64(..) >> rng.u32(..64),
            max_ms: rng.i64(..) >> rng.u32(..64),
        }),
        before: percentiles(1, 1 + rng.i64(0..1_000_000)),
    };
    report.durations.runs = any_percentiles(&mut rng);
    report.durations.queue = any_percentiles(&mut rng);
    for connection in &mut report.durations.by_connection {
        connection.runs = any_percentiles(&mut rng);
        connection.queue = any_percentiles(&mut rng);
    }
    for week in &mut report.weeks {
        week.rate.failure_rate = rng.bool().then(|| rng.f64());
        week.durations = any_percentiles(&mut rng).now;
    }
    let figures = [
        &mut report.retries.tasks,
        &mut report.retries.attempts,
        &mut report.unfinished.runs,
        &mut report.unfinished.stuck,
        &mut report.unfinished.unlisted,
        &mut report.masked.runs,
        &mut report.masked.runs_before,
        &mut report.coverage.rejects,
        &mut report.coverage.runs_without_start,
        &mut report.errors.not_shown,
    ];
    figures.into_iter().for_each(|figure| *figure = count(&mut rng));
    report
}
