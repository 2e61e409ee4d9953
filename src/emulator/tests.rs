//! The server over real sockets, with a client of a few lines: it must see what a library would hide.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};

use serde_json::Value;

use super::*;

mod discovery;

const TOKEN: &str = "Authorization: Bearer t\r\n";

struct Seen {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Seen {
    fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (key, value) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn ids(&self) -> Vec<String> {
        self.ids_of("runs")
    }

    fn ids_of(&self, list: &str) -> Vec<String> {
        let page = self.json();
        let items = page[list].as_array().unwrap();
        items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Path and query of `next`, where there is one.
    fn next(&self, emulator: &Emulator) -> Option<String> {
        let page = self.json();
        let href = page["_links"]["next"]["href"].as_str()?;
        Some(href.strip_prefix(&emulator.url()).unwrap().to_owned())
    }

    /// Code and target of a refusal's first detail.
    fn detail(&self) -> (String, String) {
        let body = self.json();
        let text = |name: &str| body["error"]["details"][0][name].as_str().unwrap().to_owned();
        (text("code"), text("target"))
    }

    fn code(&self) -> (u16, String) {
        (self.status, self.json()["error"]["code"].as_str().unwrap().to_owned())
    }
}

/// None where the connection ended without an answer.
fn ask(emulator: &Emulator, method: &str, target: &str, headers: &str, body: &str) -> Option<Seen> {
    let mut stream = TcpStream::connect(emulator.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let length = body.len();
    let request = format!(
        "{method} {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut received = Vec::new();
    stream.read_to_end(&mut received).unwrap();
    let end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = String::from_utf8(received[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1)?.parse().ok()?;
    Some(Seen { status, head, body: received[end + 4..].to_vec() })
}

fn get(emulator: &Emulator, target: &str) -> Seen {
    ask(emulator, "GET", target, TOKEN, "").unwrap()
}

fn run(number: usize) -> Run {
    history::simple_run(&format!("r{number}"), "2024-01-01T00:00:00Z", "Completed", "Success")
}

/// A connection `c` with runs r0 (oldest) to the last.
fn platform(runs: usize) -> Platform {
    let connection = Connection::new("C", (0..runs).map(run).collect());
    Platform { connections: [("c".to_owned(), connection)].into(), ..Platform::default() }
}

fn start(runs: usize, faults: Faults) -> Emulator {
    Emulator::start(Platform { faults, ..platform(runs) }).unwrap()
}

#[test]
fn a_listing_is_paged_to_its_end_and_logged() {
    let emulator = start(120, Faults::default());
    let first = get(&emulator, "/export/connections/c/runs");
    assert_eq!(first.ids().len(), 50);
    assert_eq!(first.ids()[0], "r119");
    assert_eq!(first.header("x-correlation-id").unwrap(), "00000000-0000-4000-8000-000000000001");
    let next = first.json()["_links"]["next"]["href"].as_str().unwrap().to_owned();
    assert_eq!(next, format!("{}/export/connections/c/runs?$skip=50&$top=50", emulator.url()));
    let last = get(&emulator, "/export/connections/%63/runs?%24top=100&$skip=100");
    assert_eq!(last.ids().len(), 20);
    assert!(last.json()["_links"].get("next").is_none());
    assert!(get(&emulator, "/export/connections/c/runs?$skip=120").ids().is_empty());

    let log = emulator.requests();
    assert_eq!(log.len(), 3);
    assert_eq!((log[1].skip, log[1].top, log[1].status), (Some(100), Some(100), 200));
    assert!(log[1].authorization && log[1].in_flight == 1);
    assert_eq!(log[1].path, "/export/connections/%63/runs");
    emulator.clear_requests();
    assert!(emulator.requests().is_empty());
    get(&emulator, "/export/connections/c/runs");
    assert_eq!(emulator.requests()[0].status, 200);
}

#[test]
fn refusals_are_the_documented_ones() {
    let emulator = start(3, Faults { top_limit: Some(100), ..Faults::default() });
    let code = |target: &str| get(&emulator, target).code();
    let bare = ask(&emulator, "GET", "/export/connections/c/runs", "", "").unwrap();
    assert_eq!(bare.code(), (401, "HeaderNotFound".to_owned()));
    assert_eq!(code("/export/connections/C/runs"), (404, "ConnectionNotFound".to_owned()));
    assert_eq!(code("/export/connections/c/runs/R1"), (404, "RunNotFound".to_owned()));
    assert_eq!(code("/nothing").0, 404);
    for (query, target) in
        [("$top=101", "$top"), ("$top=0", "$top"), ("$top=x", "$top"), ("$skip=x", "$skip")]
    {
        let seen = get(&emulator, &format!("/export/connections/c/runs?{query}"));
        assert_eq!(seen.code(), (422, "InvalidConnectionRunsRequest".to_owned()), "{query}");
        assert_eq!(seen.json()["error"]["details"][0]["target"], target);
        assert_eq!(seen.json()["error"]["details"][0]["code"], "InvalidValue");
    }
    emulator.platform().connections.get_mut("c").unwrap().status = Some(403);
    assert_eq!(code("/export/connections/c"), (403, "InsufficientPermissions".to_owned()));
    emulator.platform().access.tokens.insert("other".to_owned());
    assert_eq!(code("/export/connections/c"), (401, "Unauthorized".to_owned()));
}

#[test]
fn one_run_and_one_connection_are_answered() {
    let emulator = start(2, Faults::default());
    let one = get(&emulator, "/export/connections/c/runs/r1").json();
    assert_eq!(one["run"]["id"], "r1");
    let connection = get(&emulator, "/export/connections/c").json();
    let href = format!("{}/export/connections/c/runs/r1", emulator.url());
    assert_eq!(connection["connection"]["_links"]["lastRun"]["href"], href);
    let imodel = connection["connection"]["iModelId"].as_str().unwrap();
    let all = get(&emulator, &format!("/export/connections?imodelId={imodel}")).json();
    assert_eq!(all["connections"][0], connection["connection"]);
    assert_eq!(get(&emulator, "/export/connections").status, 422);
    emulator.platform().connections.get_mut("c").unwrap().unlisted.insert("r0".to_owned());
    assert_eq!(get(&emulator, "/export/connections/c/runs/r0").status, 200);
    assert_eq!(get(&emulator, "/export/connections/c/runs").ids(), ["r1"]);
}

#[test]
fn a_token_is_issued_to_the_known_and_wears_out() {
    let access = Access {
        clients: [("me".to_owned(), "s&cret".to_owned())].into(),
        token_uses: Some(1),
        ..Access::default()
    };
    let emulator = Emulator::start(Platform { access, ..platform(1) }).unwrap();
    let token = |secret: &str| {
        let form = format!("grant_type=client_credentials&client_id=me&scope=x&client_secret={secret}");
        ask(&emulator, "POST", "/connect/token", "", &form).unwrap()
    };
    let wrong = token("s");
    assert_eq!((wrong.status, wrong.json()["error"].as_str()), (400, Some("invalid_client")));
    let issued = token("s%26cret").json();
    assert_eq!(issued["access_token"], "emulated-token-1");
    assert_eq!(issued["expires_in"], 3600);
    let header = "Authorization: Bearer emulated-token-1\r\n";
    let status = || ask(&emulator, "GET", "/export/connections/c/runs", header, "").unwrap().status;
    assert_eq!((status(), status()), (200, 401));
    assert_eq!(emulator.platform().access.issued, 1);
}

#[test]
fn connections_break_where_the_script_says() {
    let list = "/export/connections/c/runs";
    let faults = Faults {
        script: vec![
            Scripted::once(On::ListRunsAt { skip: 2 }, Answer::Reset),
            Scripted::once(On::ListRuns, Answer::CutBody).after(1),
        ],
        ..Faults::default()
    };
    let emulator = start(10, faults);
    assert!(ask(&emulator, "GET", &format!("{list}?$skip=2"), TOKEN, "").is_none());
    let whole = get(&emulator, list);
    assert_eq!(whole.ids().len(), 10);
    let half = get(&emulator, list);
    let promised: usize = half.header("content-length").unwrap().parse().unwrap();
    assert_eq!(promised, whole.body.len());
    assert_eq!(half.body, whole.body[..promised / 2]);
    assert_eq!(get(&emulator, list).ids().len(), 10);
    let statuses: Vec<_> = emulator.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [0, 200, 200, 200]);
}

#[test]
fn scripted_answers_are_told_in_turn() {
    let retry_after = |retry_after| Answer::TooManyRequests { retry_after };
    let answers = [
        retry_after(RetryAfter::Seconds(7)),
        retry_after(RetryAfter::Date(7)),
        retry_after(RetryAfter::PlatformHeader(7)),
        retry_after(RetryAfter::None),
        Answer::Documented(403),
        Answer::NotJson,
        Answer::EchoAuthorization(502),
        Answer::Redirect("https://evil.example/".to_owned()),
        Answer::Status {
            code: 418,
            headers: vec![("X-A".to_owned(), "b".to_owned())],
            body: "tea".to_owned(),
        },
    ];
    let script = answers.map(|answer| Scripted::once(On::Any, answer)).into();
    let emulator = start(1, Faults { script, ..Faults::default() });
    let ask = || get(&emulator, "/export/connections/c/runs");
    let (seconds, date, platform, none) = (ask(), ask(), ask(), ask());
    assert_eq!(seconds.code(), (429, "RateLimitExceeded".to_owned()));
    assert_eq!(seconds.header("retry-after"), Some("7"));
    assert!(httpdate::parse_http_date(date.header("retry-after").unwrap()).unwrap() > SystemTime::now());
    assert_eq!(platform.header("itwinplatform-ratelimit-retry-after-seconds"), Some("7"));
    assert!(platform.header("retry-after").is_none() && none.header("retry-after").is_none());
    assert_eq!(ask().code(), (403, "InsufficientPermissions".to_owned()));
    assert!(ask().body.starts_with(b"<!DOCTYPE"));
    assert!(ask().json()["error"]["message"].as_str().unwrap().contains("Bearer t"));
    assert_eq!(ask().header("location"), Some("https://evil.example/"));
    let tea = ask();
    assert_eq!((tea.status, tea.header("x-a"), tea.body.as_slice()), (418, Some("b"), &b"tea"[..]));
    assert_eq!(ask().status, 200);
}

#[test]
fn a_hanging_request_does_not_hold_up_others_nor_the_end() {
    let script = vec![Scripted::once(On::Any, Answer::Hang)];
    let emulator = start(1, Faults { script, ..Faults::default() });
    let mut hanging = TcpStream::connect(emulator.address).unwrap();
    hanging.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    while emulator.requests().is_empty() {
        std::thread::yield_now();
    }
    get(&emulator, "/export/connections/c/runs");
    let log = emulator.requests();
    assert_eq!((log[0].status, log[1].status, log[1].in_flight), (0, 200, 2));
    drop(emulator);
    let mut rest = Vec::new();
    assert!(hanging.read_to_end(&mut rest).is_err() || rest.is_empty());
    let _ = hanging.shutdown(Shutdown::Both);
}

#[test]
fn the_quota_refuses_what_is_beyond_it_until_the_window_has_passed() {
    let faults = Faults { per_minute: Some(2), ..Faults::default() };
    let emulator = start(1, faults);
    let ask = || get(&emulator, "/export/connections/c/runs");
    assert_eq!((ask().status, ask().status), (200, 200));
    let refused = ask();
    assert_eq!(refused.status, 429);
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((50..=60).contains(&wait), "{wait}");
    emulator.platform().faults.quota_window = Duration::ZERO;
    assert_eq!(ask().status, 200);
}

#[test]
fn a_listing_shifts_just_before_each_page() {
    let c = || "c".to_owned();
    let shifts = [
        vec![],
        vec![Shift::InsertNewest { connection: c(), run: run(5) }],
        vec![Shift::Remove { connection: c(), index: 0 }],
    ];
    let emulator = start(5, Faults { shifts: shifts.into(), ..Faults::default() });
    let ids = |skip: u64| get(&emulator, &format!("/export/connections/c/runs?$skip={skip}&$top=2")).ids();
    assert_eq!(ids(0), ["r4", "r3"]);
    assert_eq!(ids(2), ["r3", "r2"]);
    // r5 came at the newest end and r0 went at the oldest.
    assert_eq!(ids(2), ["r3", "r2"]);
    assert_eq!(ids(4), ["r1"]);
}

#[test]
fn servers_that_misread_skip_and_top_can_be_had() {
    let emulator = start(10, Faults { page_cap: Some(3), ..Faults::default() });
    let ids = |skip: u64| get(&emulator, &format!("/export/connections/c/runs?$skip={skip}&$top=5")).ids();
    let set = |faults: Faults| emulator.platform().faults = faults;
    assert_eq!(ids(0), ["r9", "r8", "r7"]);
    set(Faults { ignore_skip: true, ..Faults::default() });
    assert_eq!(ids(5), ids(0));
    set(Faults { clamp_skip: Some(8), ..Faults::default() });
    assert_eq!(ids(100), ["r1", "r0"]);
    set(Faults { wrap_skip: true, ..Faults::default() });
    assert_eq!(ids(19), ["r0"]);
    set(Faults { short_pages: Some(1), ..Faults::default() });
    let lengths: Vec<usize> = (0..5).map(|skip| ids(skip).len()).collect();
    assert!(lengths.iter().all(|length| (2..=5).contains(length)), "{lengths:?}");
    assert!(lengths.iter().any(|length| *length < 5) && lengths.contains(&5), "{lengths:?}");
}

#[test]
fn a_body_is_compressed_for_those_who_accept_it() {
    let emulator = start(10, Faults { gzip: true, ..Faults::default() });
    let list = "/export/connections/c/runs";
    let plain = get(&emulator, list);
    let packed = ask(&emulator, "GET", list, &format!("{TOKEN}Accept-Encoding: gzip, br\r\n"), "").unwrap();
    assert_eq!(packed.header("content-encoding"), Some("gzip"));
    let mut text = Vec::new();
    flate2::read::GzDecoder::new(packed.body.as_slice()).read_to_end(&mut text).unwrap();
    assert_eq!(text, plain.body);
}

#[test]
fn a_connection_is_kept_alive() {
    let emulator = start(1, Faults::default());
    let mut stream = TcpStream::connect(emulator.address).unwrap();
    for _ in 0..3 {
        let request = format!("GET /export/connections/c HTTP/1.1\r\nHost: x\r\n{TOKEN}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut buffer = [0; 4096];
        let read = stream.read(&mut buffer).unwrap();
        assert!(buffer[..read].starts_with(b"HTTP/1.1 200"));
    }
}
