//! The page of the report in a real browser: it asks for nothing, runs nothing, and is readable on every
//! screen, whatever is in the data.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use chrono::{DateTime, TimeDelta, Utc};
use run_archive::emulator::{Connection, Emulator, Platform, Run, history};
use serde_json::{Value, json};

use self::browser::{Browser, Screen};
use crate::common::{Archive, fixture, platform, run, run_in_state, run_of_json, runs, skip};

mod browser;

/// Says what is wrong with the page that is shown.
const MEASURE: &str = include_str!("screens/measure.js");
const AS_OF: &str = "2026-11-23T06:30:00Z";
const SCREENS: [Screen; 6] = [
    Screen { width: 1280, scheme: "light" },
    Screen { width: 768, scheme: "light" },
    Screen { width: 390, scheme: "light" },
    Screen { width: 1280, scheme: "dark" },
    Screen { width: 768, scheme: "dark" },
    Screen { width: 390, scheme: "dark" },
];

/// A4 without its margins.
const SHEET: Screen = Screen { width: 718, scheme: "dark" };

/// The first lines of requests that nobody should have made.
type Asked = Arc<Mutex<Vec<String>>>;

fn as_of() -> DateTime<Utc> {
    AS_OF.parse().unwrap()
}

/// A server for whatever should never be asked, and what it was asked.
fn canary() -> (SocketAddr, Asked) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, asked) = (listener.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
    let told = Arc::clone(&asked);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let told = Arc::clone(&told);
            std::thread::spawn(move || {
                let mut start = vec![0; 4096];
                let read = stream.read(&mut start).unwrap_or(0);
                let line = String::from_utf8_lossy(&start[..read]).lines().next().unwrap_or("").to_owned();
                told.lock().unwrap().push(line);
                let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            });
        }
    });
    (address, asked)
}

/// Chromium and the server that hears of its requests; none where there is no Chromium.
fn browser() -> Option<(Browser, SocketAddr, Asked)> {
    let Some(program) = browser::find() else {
        skip("there is no chromium, chromium-browser or google-chrome in PATH");
        return None;
    };
    let (address, asked) = canary();
    Some((Browser::start(&program, address), address, asked))
}

/// Archives all of a platform.
fn archive_of(platform: Platform) -> Archive {
    let ids: Vec<String> = platform.connections.keys().cloned().collect();
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let mut sync = archive.command();
    sync.env("ITP_ACCESS_TOKEN", "emulated-token");
    sync.env("ITP_API_URL", emulator.url()).env("ITP_ISSUER_URL", emulator.url()).arg("sync");
    sync.args(ids.iter().map(|id| format!("--connection={id}")));
    let ended = run(sync);
    assert!(matches!(ended.code, Some(0 | 3)), "{}", ended.stderr);
    archive
}

/// The page of a period, in a file.
fn page(archive: &Archive, more: &[&str]) -> PathBuf {
    let file = archive.folder().join("page.html");
    let mut report = archive.command();
    report.args(["report", "--format", "html", "--tz", "Europe/Berlin", "--as-of", AS_OF]);
    report.args(more).arg("--output").arg(&file);
    run(report).expect(0);
    // To look at them: PAGES=/tmp/pages cargo test --test promises screens::
    if let Some(folder) = std::env::var_os("PAGES") {
        let name = std::thread::current().name().unwrap_or("page").replace("::", "-");
        std::fs::copy(&file, PathBuf::from(folder).join(name + ".html")).unwrap();
    }
    file
}

/// Everything the page did that it must not do: requests, words on the console, scripts, dialogs.
fn deeds(browser: &mut Browser) -> Vec<String> {
    const DEEDS: [&str; 8] = [
        "Runtime.consoleAPICalled",
        "Runtime.exceptionThrown",
        "Runtime.bindingCalled",
        "Log.entryAdded",
        "Page.javascriptDialogOpening",
        "Page.windowOpen",
        "Page.frameAttached",
        "Page.frameRequestedNavigation",
    ];
    let events = browser.events();
    let is_request = |event: &&Value| {
        let url = event["params"]["request"]["url"].as_str().unwrap_or_default();
        let is_page = event["params"]["type"] == "Document" && url.starts_with("file://");
        event["method"] == "Network.requestWillBeSent" && !is_page && !url.starts_with("data:")
    };
    let is_deed = |event: &&Value| DEEDS.iter().any(|deed| event["method"] == *deed) || is_request(event);
    events.iter().filter(is_deed).map(Value::to_string).collect()
}

/// Looks at the page on every screen, with its policy and without.
#[track_caller]
fn assert_page_is_well(archive: &Archive, more: &[&str], charts: std::ops::RangeInclusive<u64>) {
    let Some((mut browser, _, asked)) = browser() else { return };
    let file = page(archive, more);
    for is_policy_ignored in [true, false] {
        browser.ignore_policy(is_policy_ignored);
        browser.open(&file);
        let title = browser.evaluate("document.title");
        assert!(title.as_str().unwrap().starts_with("Exports "), "{title}");
        assert_eq!(browser.evaluate("document.scripts.length"), 0);
        assert_eq!(deeds(&mut browser), Vec::<String>::new());
    }
    let found = browser.evaluate(r#"document.querySelectorAll('figure svg[role="img"]').length"#);
    assert!(charts.contains(&found.as_u64().unwrap()), "{found} charts");
    // What is wrong, and where it was seen.
    let mut problems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut measure = |browser: &mut Browser, place: String| {
        let told = browser.evaluate(&format!("({MEASURE})()"));
        for problem in told.as_array().unwrap() {
            problems.entry(problem.to_string()).or_default().push(place.clone());
        }
    };
    for screen in SCREENS {
        browser.show_on(screen, "screen");
        measure(&mut browser, format!("{} {}", screen.width, screen.scheme));
        // The same with the numbers of all charts unfolded.
        browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)");
        measure(&mut browser, format!("{} {} unfolded", screen.width, screen.scheme));
        browser.evaluate("document.querySelectorAll('details').forEach(one => one.open = false)");
    }
    browser.show_on(SHEET, "print");
    measure(&mut browser, "printed".to_owned());
    assert_eq!(deeds(&mut browser), Vec::<String>::new());
    let told: Vec<String> = problems.iter().map(|(text, places)| format!("{text}: {places:?}")).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
    assert_eq!(asked.lock().unwrap().iter().find(|line| line.contains("canary")), None);
}

#[test]
fn a_busy_week_reads_well_on_every_screen() {
    let archive = archive_of(history::platform(as_of(), 7));
    assert_page_is_well(&archive, &[], 4..=8);
}

#[test]
fn the_platforms_own_sample_is_a_masked_failure_on_the_page() {
    let sample: Value = serde_json::from_str(&fixture("list-runs-200.json")).unwrap();
    let json = sample["runs"][0].to_string();
    let id = sample["runs"][0]["id"].as_str().unwrap();
    let archive = archive_of(platform([run_of_json(id, "2023-09-14T12:00:06.8727565Z", &json)]));
    let period = ["--since", "2023-09-11", "--until", "2023-09-18"];
    let text = std::fs::read_to_string(page(&archive, &period)).unwrap();
    let masked = text.split("Masked failures</h2>").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(masked.contains(id) && masked.contains("FailedToExport"), "{masked}");
    assert_page_is_well(&archive, &period, 1..=8);
}

#[test]
fn a_page_of_nothing_invents_no_number() {
    let unfinished = (0..3).map(|number| Run {
        started: "2026-11-18T10:00:00Z".to_owned(),
        ..run_of_json(
            &format!("run-{number}"),
            "",
            &format!(r#"{{"id":"run-{number}","state":"Executing","startDateTime":"2026-11-18T10:00:00Z"}}"#),
        )
    });
    let period = ["--since", "2020-01-06", "--until", "2020-01-13"];
    let never = archive_of(platform([]));
    let silent = archive_of(platform(runs(0, 5)));
    let waiting = archive_of(platform(unfinished.collect::<Vec<_>>()));
    for (archive, more) in [(&never, &[][..]), (&silent, &period[..]), (&waiting, &[][..])] {
        let text = std::fs::read_to_string(page(archive, more)).unwrap();
        let body = text.split("<body>").nth(1).unwrap();
        let told = body.split("What the words mean").next().unwrap();
        let percents = told.match_indices('%').filter(|(at, _)| {
            // A share of nothing; the axis of a chart and `95%` are no figures of the archive.
            told[..*at].ends_with("0.0") || told[..*at].ends_with(">0") || told[..*at].ends_with("NaN")
        });
        assert_eq!(percents.count(), 0, "{told}");
        for word in ["NaN", "inf%", "Infinity"] {
            assert!(!told.contains(word), "{word} in {told}");
        }
        assert_page_is_well(archive, more, 0..=3);
    }
}

#[test]
fn many_connections_over_two_months_stay_on_the_page() {
    let mut platform = Platform::default();
    for number in 0..100_u64 {
        let started = |day: u64| as_of() - TimeDelta::days(day as i64) - TimeDelta::minutes(number as i64);
        let listing = (1..=70).rev().filter(|day| (day * 7 + number) % 3 > 0).map(|day| {
            let result = if (day * number) % 7 == 3 { "Error" } else { "Success" };
            history::simple_run(
                &format!("run-{number}-{day}"),
                &history::stamp(started(day)),
                "Completed",
                result,
            )
        });
        let name = match number {
            0 => "A".repeat(200),
            _ => format!("Connection {number} of a hundred"),
        };
        platform.connections.insert(format!("c{number}"), Connection::new(&name, listing.collect()));
    }
    let archive = archive_of(platform);
    assert_page_is_well(&archive, &["--since", "2026-09-22", "--until", "2026-11-23"], 4..=8);
}

/// Texts that would ask for `canary` or call `pwned`, if they were anything but text.
fn hostile(address: SocketAddr) -> Vec<String> {
    let url = format!("http://{address}/canary");
    vec![
        "<script>pwned('script')</script>".to_owned(),
        "</title></style></script><script>document.title='x';pwned('title')</script>".to_owned(),
        format!("<img src={url} onerror=pwned('image')>"),
        format!("\"><svg onload=pwned('svg')><image href=\"{url}\"/></svg>"),
        format!("' onmouseover='pwned(1)' style='background:url({url})"),
        format!("</text></svg><iframe src=\"{url}\"></iframe>"),
        format!("<link rel=stylesheet href={url}><meta http-equiv=refresh content='0;url={url}'>"),
        "javascript:pwned('link')".to_owned(),
        format!("</table></section></main><form action={url}><input autofocus onfocus=pwned('focus')>"),
        "\u{1b}[31mred\u{7}\u{202e}gpj.exe\u{2066}\u{200b}".to_owned(),
        "&lt;script&gt;pwned('twice')&lt;/script&gt; &#x3c;b&#x3e;".to_owned(),
        "<style>body{display:none}</style><base href=http://evil.example/>".to_owned(),
        "x".repeat(1_000_000),
        "W".repeat(200),
        "日本語の接続名".repeat(40),
        "e\u{301}\u{301}\u{301}".repeat(100),
        "=cmd|' /C calc'!A0".to_owned(),
        "]]><!--<![CDATA[".to_owned(),
        "   ".to_owned(),
    ]
}

#[test]
fn whatever_the_platform_sends_is_text_on_the_page() {
    let (address, _) = canary();
    let texts = hostile(address);
    let mut platform = Platform::default();
    for (number, text) in texts.iter().enumerate() {
        let other = &texts[(number + 5) % texts.len()];
        let started = |minute: usize| format!("2026-11-18T{:02}:{minute:02}:00Z", number % 24);
        let failed = |minute: usize, result: &str, link: &str| {
            let run_id = format!("{}{number}-{minute}", other.chars().take(60).collect::<String>());
            let can_user_fix = [Some(true), Some(false), None][number % 3];
            let error = json!({
                "errorCode": text, "message": text, "details": other, "system": text, "phase": other,
                "category": text, "descriptionKey": other, "description": text, "kbArticleLink": link,
                "canUserFix": can_user_fix
            });
            let task = json!({ "id": text, "state": "Completed", "result": "Error", "error": error });
            let run = json!({
                "id": run_id, "state": "Completed", "result": result, "startDateTime": started(minute),
                "endDateTime": started(minute + 1),
                "jobs": [{ "id": text, "state": text, "result": "Error", "tasks": [task] }]
            });
            run_of_json(&run_id, &started(minute), &run.to_string())
        };
        let odd = json!({ "id": format!("odd{number}"), "state": text, "result": text,
            "startDateTime": started(30) });
        let listing = vec![
            failed(1, "Error", text),
            failed(3, "Success", "https://help.example/a?b=c&d=<script>pwned('link')</script>"),
            failed(5, "Error", "https://help.example/\"onclick=\"pwned(1)"),
            run_of_json(&format!("odd{number}"), &started(30), &odd.to_string()),
        ];
        let name: String = text.chars().take(5_000).collect();
        platform
            .connections
            .insert(format!("c{number}"), Connection::new(&name, listing.into_iter().collect()));
    }
    let archive = archive_of(platform);
    let size = std::fs::metadata(page(&archive, &[])).unwrap().len();
    assert!(size < 600_000, "{size} bytes");
    assert_page_is_well(&archive, &[], 3..=8);
}

#[test]
fn the_browser_would_tell_of_a_page_that_asks_or_runs() {
    let Some((mut browser, address, asked)) = browser() else { return };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("bad.html");
    let bad = format!(
        "<title>Bad</title><p onclick=1 style='color:#eee'>pale</p><script>console.error('heard');pwned('run');alert(1)</script>\
         <div style='width:3000px'>wide</div><img src='http://{address}/canary.png'>\
         <figure><svg role=img width=100 height=10><text y=9>a</text><text y=9>b</text></svg></figure>"
    );
    std::fs::write(&file, bad).unwrap();
    browser.open(&file);
    let told = deeds(&mut browser).join("\n");
    for deed in ["heard", "bindingCalled", "javascriptDialogOpening", "canary.png"] {
        assert!(told.contains(deed), "{deed} not in {told}");
    }
    assert!(asked.lock().unwrap().iter().any(|line| line.contains("canary.png")));
    browser.show_on(SCREENS[2], "screen");
    let problems = browser.evaluate(&format!("({MEASURE})()")).to_string();
    for problem in
        ["no part of a report", "has onclick", "the page is 3008 wide", "contrast", "lies over", "in words"]
    {
        assert!(problems.contains(problem), "{problem} not in {problems}");
    }
}

#[test]
fn the_same_archive_gives_the_same_page() {
    let archive = archive_of(platform(runs(0, 40).chain([run_in_state(40, "Executing", "Undetermined")])));
    let period = ["--since", "2026-01-05", "--until", "2026-01-12"];
    let first = std::fs::read(page(&archive, &period)).unwrap();
    assert_eq!(first, std::fs::read(page(&archive, &period)).unwrap());
}
