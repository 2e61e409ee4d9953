//! The report's page in a real browser: nothing is asked for, nothing runs, everything has a size.
//!
//! Chromium opens a frame around the page, served from loopback, and measures what is inside. All else that
//! it might ask for goes to the same listener, as its proxy.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex};

use run_archive::emulator::Emulator;

use crate::common::{Archive, CONNECTION, platform, run, run_of_json, skip};

/// Each would show itself if it were more than text.
const HOSTILE: [&str; 6] = [
    "<script>document.title='owned';parent.document.title='owned'</script>",
    "</title></style></svg><img src=http://evil.example/x onerror=alert(1)>",
    "\"><iframe src=http://evil.example></iframe><a href=javascript:alert(1)>x</a>",
    "{{7*7}} ${alert(1)} `x` &lt;b&gt; <!-- --> ]]>",
    "\u{202e}gpj.exe\u{2066} \u{1b}[31mred",
    "@import url(http://evil.example/x.css); background:url(http://evil.example/y)",
];

fn browser() -> Option<&'static str> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    names.into_iter().find(|name| {
        let found = Command::new(name).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        found.is_ok_and(|status| status.success())
    })
}

/// An archive whose every text would rather be something else.
fn hostile_archive() -> Archive {
    let archive = Archive::new();
    let runs = (0..40_usize).map(|number| {
        let text = serde_json::Value::from(HOSTILE[number % HOSTILE.len()]);
        let long = serde_json::Value::from("x".repeat(if number == 0 { 1 << 20 } else { 300 }));
        let started = format!("2026-11-{:02}T{:02}:00:00Z", 9 + number % 14, number % 24);
        let ended = format!("2026-11-{:02}T{:02}:{:02}:00Z", 9 + number % 14, number % 24, 5 + number % 50);
        let id = format!("{number}-{}", HOSTILE[number % HOSTILE.len()]);
        let result = ["Success", "Error", "PartialSuccess", "Canceled"][number % 4];
        let times = format!(r#""startDateTime":"{started}","endDateTime":"{ended}","state":"Completed""#);
        let error = format!(
            r#"{{"errorCode":{text},"descriptionKey":{long},"description":{text},"system":{text},"phase":{text},"category":{text},"kbArticleLink":{text},"canUserFix":{}}}"#,
            number % 2 == 0
        );
        let task = format!(r#"{{"id":"t",{times},"result":"Error","retryAttempts":2,"error":{error}}}"#);
        let job = format!(r#"{{"id":"j",{times},"result":"Error","tasks":[{task}]}}"#);
        let json = format!(r#"{{"id":{},{times},"result":"{result}","jobs":[{job}]}}"#, serde_json::Value::from(&*id));
        run_of_json(&id, &started, &json)
    });
    let mut platform = platform(runs);
    HOSTILE[0].clone_into(&mut platform.connections.get_mut(CONNECTION).unwrap().display_name);
    let emulator = Emulator::start(platform).unwrap();
    run(archive.sync(&emulator)).expect(0);
    archive
}

fn page(archive: &Archive) -> String {
    let mut report = archive.command();
    report.args(["report", "--as-of", "2026-11-23T06:00:00Z", "--format", "html"]);
    run(report).expect(0).stdout
}

/// What the frame says of the page inside it, and what was asked for.
fn look(browser: &str, page: &str, width: u32) -> (serde_json::Value, Vec<String>, String) {
    let frame = format!(
        r#"<!doctype html><link rel="icon" href="data:,"><title>frame</title>
<iframe id="f" src="/page" style="border:0;width:{width}px;height:900px"></iframe><pre id="told"></pre>
<script>
document.getElementById('f').onload = () => {{
  const page = document.getElementById('f').contentDocument, root = page.documentElement;
  const sizes = [...page.querySelectorAll('figure svg[role=img]')].map(svg => svg.getBoundingClientRect());
  document.getElementById('told').textContent = JSON.stringify({{
    charts: sizes.length, small: sizes.filter(size => size.width < 100 || size.height < 30).length,
    overflow: root.scrollWidth - root.clientWidth, title: document.title, scripts: page.scripts.length,
    frames: page.querySelectorAll('iframe,img,object,embed').length,
    foreign: [...page.links].filter(link => link.protocol !== 'https:' && !link.hash).length,
    named: [...page.querySelectorAll('figure svg[role=img]')].every(svg => svg.querySelector('title') && svg.querySelector('desc')),
    ids: [...page.querySelectorAll('[id]')].length - new Set([...page.querySelectorAll('[id]')].map(e => e.id)).size,
  }});
}};
</script>"#
    );
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let (seen, page) = (Arc::clone(&asked), page.to_owned());
    // Ends with the test's process: nothing asks any more once the browser is gone.
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), seen, frame, page) =
                (stream, Arc::clone(&seen), frame.clone(), page.clone())
            else {
                continue;
            };
            std::thread::spawn(move || {
                let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
                let Some(Ok(first)) = lines.next() else { return };
                for line in lines.by_ref() {
                    if line.is_ok_and(|line| line.is_empty()) {
                        break;
                    }
                }
                let target = first.split_whitespace().nth(1).unwrap_or_default().to_owned();
                let body = match target.as_str() {
                    "/frame" => &frame,
                    "/page" => &page,
                    _ => "",
                };
                seen.lock().unwrap().push(target);
                let length = body.len();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
                );
                // A browser that leaves early has said what it had to.
                stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).ok();
            });
        }
    });
    let profile = tempfile::tempdir().unwrap();
    let output = Command::new(browser)
        .args([
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-sync",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-default-apps"])
        .args([
            "--disable-dev-shm-usage",
            "--enable-logging=stderr",
            "--virtual-time-budget=4000",
            "--dump-dom",
        ])
        .arg(format!("--proxy-server=http://{address}"))
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg("--window-size=1400,1000")
        .arg(format!("http://{address}/frame"))
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let dom = String::from_utf8_lossy(&output.stdout).into_owned();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let told = dom
        .split("<pre id=\"told\">")
        .nth(1)
        .and_then(|rest| rest.split("</pre>").next())
        .unwrap_or_default();
    let told = serde_json::from_str(told).unwrap_or_else(|error| panic!("{error}: {dom}\n{said}"));
    let asked = asked.lock().unwrap().clone();
    (told, asked, said)
}

#[test]
fn the_page_asks_for_nothing_runs_nothing_and_fits_every_screen() {
    let Some(browser) = browser() else {
        skip("there is no Chromium to look at the page with");
        return;
    };
    let page = page(&hostile_archive());
    for width in [1280, 768, 390] {
        let (told, asked, said) = look(browser, &page, width);
        assert_eq!(told["title"], "frame", "a script ran: {told}");
        for (what, expected) in
            [("small", 0), ("overflow", 0), ("scripts", 0), ("frames", 0), ("foreign", 0), ("ids", 0)]
        {
            assert_eq!(told[what], expected, "{what} at {width}: {told}");
        }
        assert_eq!((told["charts"].as_u64(), told["named"].as_bool()), (Some(5), Some(true)), "{told}");
        let mut foreign: Vec<_> = asked.iter().filter(|path| *path != "/frame" && *path != "/page").collect();
        // The browser's own errands go through the proxy too; they are none of the page's.
        foreign.retain(|path| path.contains("evil") || path.starts_with('/'));
        assert!(foreign.is_empty(), "{foreign:?}");
        let consoles: Vec<_> = said.lines().filter(|line| line.contains("CONSOLE")).collect();
        assert!(consoles.is_empty(), "{consoles:?}");
    }
}

#[test]
fn what_is_in_the_data_stays_text_in_every_format() {
    let archive = hostile_archive();
    let page = page(&archive);
    assert!(page.len() < 400_000, "a megabyte of text is cut: {}", page.len());
    for markup in ["<script", "<iframe", "<img", "href=\"javascript", "href=\"http:", "\u{202e}", "\u{1b}"] {
        assert!(!page.contains(markup), "{markup}");
    }
    for format in ["text", "markdown"] {
        let mut report = archive.command();
        report.args(["report", "--as-of", "2026-11-23T06:00:00Z", "--format", format]);
        let told = run(report).expect(0).stdout;
        assert!(!told.contains(['\u{202e}', '\u{1b}']) && told.len() < 100_000, "{}", told.len());
    }
    let mut report = archive.command();
    report.args(["report", "--as-of", "2026-11-23T06:00:00Z", "--format", "json"]);
    assert!(run(report).expect(0).stdout.contains("\\u001b[31mred"), "JSON carries it exactly");
}
