//! Between the platform and the archive: waits, retries, renewals, refusals, and what is never followed
//! or shown.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use run_archive::emulator::{Answer, Connection, Emulator, Faults, Links, On, Platform, RetryAfter};
use run_archive::emulator::{Request, Scripted};
use serde_json::Value;

use crate::common::{Archive, CONNECTION, Ended, platform, run, runs};

/// Beside [`CONNECTION`]; one in 64 ids begins with a hyphen.
const SECOND: &str = "-second";
const ACCEPT: &str = "application/vnd.bentley.itwin-platform.v1+json";
const ID: &str = "ITP_SERVICE_CLIENT_ID";
const SECRET: &str = "ITP_SERVICE_CLIENT_SECRET";

/// So many runs, at most 50 on a page: the pages of a first walk begin at 0, 49, 98, 147 and so on.
fn paged(count: u64) -> Platform {
    let mut platform = platform(runs(0, count));
    platform.faults.page_cap = Some(50);
    platform
}

fn start(platform: Platform) -> Emulator {
    Emulator::start(platform).unwrap()
}

/// A second connection with so many runs beside the first.
fn with_second(mut platform: Platform, count: u64) -> Platform {
    platform.connections.insert(SECOND.to_owned(), Connection::new("Tunnel", runs(0, count).collect()));
    platform
}

fn scripted(mut platform: Platform, script: impl IntoIterator<Item = Scripted>) -> Platform {
    platform.faults.script.extend(script);
    platform
}

/// `archive sync` of both connections.
fn sync_both(archive: &Archive, emulator: &Emulator) -> Command {
    let mut command = archive.sync(emulator);
    command.args(["--connection", SECOND]);
    command
}

/// The command with a service application's id and secret instead of a ready token.
fn as_service(mut command: Command, secret: &str) -> Command {
    command.env_remove("ITP_ACCESS_TOKEN").env(ID, "service-1").env(SECRET, secret);
    command
}

/// `platform` with a service application that [`as_service`] can be, by the secret `hush`.
fn with_service(mut platform: Platform) -> Platform {
    platform.access.clients.insert("service-1".to_owned(), "hush".to_owned());
    platform
}

fn with(mut command: Command, arguments: &[&str]) -> Command {
    command.args(arguments);
    command
}

/// A script's answer of this status about something other than the page size.
fn status(code: u16) -> Answer {
    let body = format!(
        r#"{{"error":{{"code":"Code{code}","message":"No.","details":[{{"code":"InvalidValue","message":"Bad id.","target":"connectionId"}}]}}}}"#
    );
    Answer::Status { code, headers: Vec::new(), body }
}

/// The requests for lists of runs.
fn lists(emulator: &Emulator) -> Vec<Request> {
    let mut requests = emulator.requests();
    requests.retain(|request| request.path.ends_with("/runs"));
    requests
}

fn tokens_asked(emulator: &Emulator) -> usize {
    emulator.requests().iter().filter(|request| request.path == "/connect/token").count()
}

fn runs_of(archive: &Archive, connection: &str) -> i64 {
    archive.value(&format!(
        "SELECT count(*) FROM runs JOIN connections USING (connection_key) WHERE connections.id = '{connection}'"
    ))
}

/// Everything the platform said of its runs, without the archive's own times.
fn content(archive: &Archive) -> Vec<String> {
    let columns = ["id", "state", "result", "started_at", "ended_at", "duration_ms", "extra"];
    let quoted = columns.map(|name| format!("quote(runs.{name})")).join("||");
    archive.column(&format!(
        "SELECT {quoted} || count(job_index) || count(task_index) FROM runs
         LEFT JOIN jobs USING (run_key) LEFT JOIN tasks USING (run_key, job_index)
         GROUP BY run_key ORDER BY runs.id"
    ))
}

/// One sync of 13 pages each of two connections side by side; one page is refused with 429. A pause may
/// seem shorter than it is by what an answer takes to arrive.
fn sync_of_a_busy_platform(retry_after: RetryAfter, pause: Duration) {
    let busy = Scripted::once(On::ListRunsAt { skip: 147 }, Answer::TooManyRequests { retry_after });
    let emulator = start(scripted(with_second(paged(600), 600), [busy]));
    let archive = Archive::new();
    let ended = run(with(sync_both(&archive, &emulator), &["--pages-in-flight", "1", "--format", "json"]));
    let ended = ended.expect(0);

    assert_eq!(ended.json()["outcome"], "done");
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!((runs_of(&archive, CONNECTION), runs_of(&archive, SECOND)), (600, 600));
    assert_eq!(archive.column::<i64>("SELECT complete FROM walks"), [1, 1]);

    let requests = emulator.requests();
    let throttled = requests.iter().position(|request| request.status == 429).unwrap();
    let since = &requests[throttled..];
    // At most what the other connection had under way arrives after it; then nothing for a while.
    let is_pause = |pair: &[Request]| pair[1].at - pair[0].at >= pause - Duration::from_millis(100);
    let late = since.windows(2).position(is_pause).expect("no pause was made");
    assert!(late <= 1, "{late} requests were sent during the pause");
    let after = &since[late + 1..];
    for connection in [CONNECTION, SECOND] {
        let path = format!("/export/connections/{connection}/runs");
        assert!(after.iter().filter(|request| request.path == path).count() >= 8, "{connection}");
    }
}

#[test]
fn a_busy_platform_is_waited_for_and_that_is_no_failure() {
    sync_of_a_busy_platform(RetryAfter::Seconds(1), Duration::from_secs(1));
}

#[test]
fn a_busy_platform_that_names_a_date_is_waited_for() {
    // A date has whole seconds: this is 2 to 3 of them, more than where nothing is said.
    sync_of_a_busy_platform(RetryAfter::Date(3), Duration::from_secs(2));
}

#[test]
fn a_busy_platform_that_uses_its_own_header_is_waited_for() {
    sync_of_a_busy_platform(RetryAfter::PlatformHeader(2), Duration::from_secs(2));
}

#[test]
fn a_busy_platform_that_does_not_say_how_long_is_waited_for() {
    sync_of_a_busy_platform(RetryAfter::None, Duration::from_secs(1));
}

#[test]
fn a_busy_token_issuer_is_waited_for() {
    let retry_after = RetryAfter::Seconds(1);
    let busy = Scripted::once(On::Token, Answer::TooManyRequests { retry_after });
    let emulator = start(scripted(with_service(paged(20)), [busy]));
    let archive = Archive::new();
    run(as_service(archive.sync(&emulator), "hush")).expect(0);
    assert_eq!(archive.count("runs"), 20);
    let requests = emulator.requests();
    assert_eq!([requests[0].status, requests[1].status], [429, 200]);
    assert!(requests[1].at - requests[0].at >= Duration::from_millis(900));
}

#[test]
fn a_pause_longer_than_the_budget_ends_the_sync_at_once_and_the_next_one_goes_on() {
    let retry_after = RetryAfter::Seconds(3_600);
    let busy = Scripted::always(On::ListRunsAt { skip: 147 }, Answer::TooManyRequests { retry_after });
    let emulator = start(scripted(paged(400), [busy]));
    let archive = Archive::new();
    let arguments = ["--pages-in-flight", "1", "--format", "json", "--time-budget", "20s"];
    let begun = Instant::now();
    let ended = run(with(archive.sync(&emulator), &arguments)).expect(3);
    assert!(begun.elapsed() < Duration::from_secs(20), "the budget was waited for");
    assert_eq!(ended.json()["exit_code"], 3);
    assert!(ended.stderr.contains("the time budget ends before the 1h"), "{}", ended.stderr);
    assert!(ended.stderr.contains("429 RateLimitExceeded"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    // Three pages that overlap by one run.
    assert_eq!(archive.count("runs"), 148);
    assert_eq!(archive.value::<String>("SELECT outcome FROM syncs"), "partial");
    archive.assert_sound();

    emulator.platform().faults.script.clear();
    emulator.clear_requests();
    run(with(archive.sync(&emulator), &["--pages-in-flight", "1"])).expect(0);
    assert_eq!(archive.count("runs"), 400);
    let skips: Vec<_> = lists(&emulator).iter().filter_map(|request| request.skip).collect();
    assert_eq!(skips[0], 147, "{skips:?}");
    assert!(!skips.contains(&49) && !skips.contains(&98), "{skips:?}");
    assert_eq!(archive.count("walks WHERE complete = 1 AND kind = 'full'"), 1);
}

#[test]
fn a_platform_that_is_busy_from_the_start_leaves_the_sync_undone_but_not_hanging() {
    let retry_after = RetryAfter::Seconds(3_600);
    let busy = Scripted::always(On::Any, Answer::TooManyRequests { retry_after });
    let emulator = start(scripted(paged(20), [busy]));
    let archive = Archive::new();
    let begun = Instant::now();
    let ended = run(with(archive.sync(&emulator), &["--time-budget", "20s"])).expect(3);
    assert!(begun.elapsed() < Duration::from_secs(20), "the budget was waited for");
    assert!(ended.stderr.contains("429"), "{}", ended.stderr);
    assert_eq!(emulator.requests().len(), 1);
}

#[test]
fn a_budget_that_is_spent_on_slow_answers_keeps_what_came() {
    let mut platform = paged(2_000);
    platform.faults.delay = Duration::from_millis(100);
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = ["--pages-in-flight", "1", "--time-budget", "2s"];
    let ended = run(with(archive.sync(&emulator), &arguments)).expect(3);
    assert!(ended.stderr.contains("the time budget is spent"), "{}", ended.stderr);
    let stored = archive.count("runs");
    assert!((50..2_000).contains(&stored), "{stored}");
    archive.assert_sound();

    emulator.platform().faults.delay = Duration::ZERO;
    emulator.clear_requests();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 2_000);
    assert_eq!(lists(&emulator)[0].skip, Some(stored as u64 - 1));
}

#[test]
fn a_platform_that_stumbles_is_asked_again() {
    let stumbles = [
        Answer::Documented(500),
        Answer::Documented(502),
        Answer::Documented(503),
        Answer::Documented(504),
        Answer::Documented(408),
        Answer::Reset,
        Answer::CutBody,
        Answer::Status { code: 502, headers: Vec::new(), body: "<html>Bad gateway</html>".to_owned() },
        Answer::Status { code: 503, headers: Vec::new(), body: String::new() },
    ];
    let script = stumbles
        .into_iter()
        .enumerate()
        .map(|(page, answer)| Scripted::once(On::ListRunsAt { skip: 49 * page as u64 }, answer));
    let first = [Scripted::once(On::GetConnection, Answer::Documented(500))];
    let emulator = start(scripted(paged(600), script.chain(first)));
    let archive = Archive::new();
    let ended = run(with(archive.sync(&emulator), &["--pages-in-flight", "16", "--format", "json"]));
    let ended = ended.expect(0);
    assert_eq!(archive.count("runs"), 600);
    assert_eq!(archive.value::<i64>("SELECT complete FROM walks"), 1);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(ended.json()["requests"], emulator.requests().len());
    let seen: Vec<_> = lists(&emulator).iter().map(|request| request.status).collect();
    for status in [500, 502, 503, 504, 408, 0] {
        assert!(seen.contains(&status), "{status}: {seen:?}");
    }
    for page in 0..9 {
        let times = lists(&emulator).iter().filter(|request| request.skip == Some(49 * page)).count();
        assert_eq!(times, 2, "page {page}");
    }
}

#[test]
fn a_token_issuer_that_stumbles_is_asked_again() {
    for answer in [Answer::Documented(503), Answer::Reset] {
        let stumble = Scripted::once(On::Token, answer);
        let emulator = start(scripted(with_service(paged(20)), [stumble]));
        let archive = Archive::new();
        run(as_service(archive.sync(&emulator), "hush")).expect(0);
        assert_eq!((archive.count("runs"), tokens_asked(&emulator)), (20, 2));
    }
}

#[test]
fn a_gateways_page_with_status_200_is_asked_again() {
    let gateway = Scripted::once(On::ListRunsAt { skip: 49 }, Answer::NotJson);
    let emulator = start(scripted(paged(120), [gateway]));
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 120);
}

#[test]
fn a_gateways_page_with_status_200_is_never_stored() {
    let gateway = Scripted::always(On::ListRunsAt { skip: 49 }, Answer::NotJson);
    let emulator = start(scripted(paged(120), [gateway]));
    let archive = Archive::new();
    let ended = run(with(archive.sync(&emulator), &["--time-budget", "2s"])).expect(3);
    assert!(ended.stderr.contains("Service unavailable"), "{}", ended.stderr);
    assert!(archive.count("runs") >= 50);
    assert_eq!(archive.count("rejects"), 0);

    emulator.platform().faults.script.clear();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 120);
}

/// Six attempts take 15 to 31 s of waiting, so those that need them wait side by side.
#[test]
fn a_failure_that_lasts_is_told_after_six_attempts() {
    let promises = [
        a_page_that_cannot_be_had_fails_its_connection_only,
        a_platform_that_times_out_on_big_pages_is_asked_for_smaller_ones,
        a_host_that_is_gone_is_a_failure_that_loses_nothing,
    ];
    std::thread::scope(|scope| {
        let waiting = promises.map(|promise| scope.spawn(promise));
        for promise in waiting {
            promise.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    });
}

fn a_page_that_cannot_be_had_fails_its_connection_only() {
    let down = Scripted::always(On::ListRunsAt { skip: 49 }, Answer::Documented(503));
    let emulator = start(scripted(with_second(paged(120), 20), [down]));
    let archive = Archive::new();
    let ended = run(with(sync_both(&archive, &emulator), &["--format", "json"])).expect(3);
    assert!(ended.stderr.contains("503 ServiceUnavailable"), "{}", ended.stderr);
    assert_eq!(outcomes(&ended), ["partial", "done"]);
    assert_eq!(runs_of(&archive, SECOND), 20);
    assert!(runs_of(&archive, CONNECTION) >= 50);
    let attempts = lists(&emulator).iter().filter(|request| request.status == 503).count();
    assert_eq!(attempts, 6);

    emulator.platform().faults.script.clear();
    run(sync_both(&archive, &emulator)).expect(0);
    assert_eq!(runs_of(&archive, CONNECTION), 120);
}

fn a_platform_that_times_out_on_big_pages_is_asked_for_smaller_ones() {
    let slow = Scripted::always(On::TopAtLeast(600), Answer::Documented(504));
    let emulator = start(scripted(platform(runs(0, 700)), [slow]));
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 700);
    // Two attempts at 1,000 for each page in flight, and then none between.
    let sizes: std::collections::BTreeSet<_> = lists(&emulator).iter().filter_map(|list| list.top).collect();
    assert_eq!(sizes, [50, 1_000].into());
    assert_eq!(archive.value::<i64>("SELECT page_size FROM checkpoints"), 50);
    emulator.clear_requests();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(lists(&emulator)[0].top, Some(50));
}

fn a_host_that_is_gone_is_a_failure_that_loses_nothing() {
    let emulator = start(paged(20));
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let before = archive.dump();
    let gone = archive.sync(&emulator);
    drop(emulator);
    let ended = run(gone).expect(1);
    assert!(ended.stderr.contains("no connection"), "{}", ended.stderr);
    assert_eq!(archive.dump(), before);
    assert_eq!(archive.value::<i64>("SELECT exit_code FROM syncs ORDER BY sync_key DESC LIMIT 1"), 1);
}

fn outcomes(ended: &Ended) -> Vec<String> {
    let json = ended.json();
    let connections = json["connections"].as_array().unwrap();
    connections.iter().map(|connection| connection["outcome"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_connection_that_only_answers_500_until_the_budget_ends_does_not_stop_the_other() {
    let down = Scripted::always(On::Connection(CONNECTION.to_owned()), Answer::Documented(500));
    let emulator = start(scripted(with_second(paged(120), 20), [down]));
    let archive = Archive::new();
    let arguments = ["--time-budget", "2s", "--format", "json"];
    let ended = run(with(sync_both(&archive, &emulator), &arguments)).expect(3);
    assert_eq!(outcomes(&ended), ["failed", "done"]);
    assert!(ended.stderr.contains("500 InternalServerError"), "{}", ended.stderr);
    assert_eq!((runs_of(&archive, CONNECTION), runs_of(&archive, SECOND)), (0, 20));
}

/// A host that answers nothing is exit 1, whatever the budget; where that is too short for six attempts it is
/// told, with what the last attempt met.
#[test]
fn a_host_that_is_gone_does_not_outlast_the_budget() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let emulator = start(paged(20));
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    let before = archive.dump();
    let mut command = with(archive.sync(&emulator), &["--time-budget", "2s"]);
    command.env("ITP_API_URL", url);
    let ended = run(command).expect(1);
    assert!(ended.stderr.contains("the time budget ends before another attempt"), "{}", ended.stderr);
    assert!(ended.stderr.contains("no connection"), "{}", ended.stderr);
    assert_eq!(archive.dump(), before);
}

#[test]
fn a_refused_request_is_not_repeated() {
    for code in [400, 403, 404, 422] {
        let emulator = start(scripted(paged(20), [Scripted::always(On::ListRuns, status(code))]));
        let archive = Archive::new();
        let ended = run(with(archive.sync(&emulator), &["--format", "json"])).expect(1);
        assert_eq!(ended.json()["outcome"], "failed");
        assert!(ended.stderr.contains(&format!("{code} Code{code}")), "{}", ended.stderr);
        assert!(ended.stderr.contains("connectionId"), "{}", ended.stderr);
        assert!(ended.stderr.contains("correlation id 00000000-0000-4000-8000-"), "{}", ended.stderr);
        assert!(ended.stderr.contains(CONNECTION), "{}", ended.stderr);
        assert_eq!(lists(&emulator).len(), 1, "{code}");
        assert_eq!(archive.count("runs"), 0);
    }
}

#[test]
fn a_refused_connection_does_not_stop_a_healthy_one() {
    for code in [403, 404] {
        let mut platform = with_second(paged(120), 20);
        platform.connections.get_mut(SECOND).unwrap().status = Some(code);
        let emulator = start(platform);
        let archive = Archive::new();
        let ended = run(with(sync_both(&archive, &emulator), &["--format", "json"])).expect(3);
        assert_eq!(outcomes(&ended), ["done", "failed"]);
        assert!(
            ended.stderr.contains(&code.to_string()) && ended.stderr.contains(SECOND),
            "{}",
            ended.stderr
        );
        assert_eq!(runs_of(&archive, CONNECTION), 120);
        let refused = format!("/export/connections/{SECOND}/runs");
        assert_eq!(lists(&emulator).iter().filter(|request| request.path == refused).count(), 1);
    }
}

#[test]
fn a_connection_that_may_not_be_read_is_told_with_a_hint() {
    let mut platform = paged(20);
    platform.connections.get_mut(CONNECTION).unwrap().status = Some(403);
    let emulator = start(platform);
    let archive = Archive::new();
    let ended = run(archive.sync(&emulator)).expect(1);
    assert!(ended.stderr.contains("403 InsufficientPermissions"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
}

#[test]
fn a_connection_deleted_upstream_keeps_its_runs_and_is_marked_until_it_comes_back() {
    let emulator = start(paged(20));
    let archive = Archive::new();
    let unlisted_at = || archive.value::<Option<String>>("SELECT unlisted_at FROM connections");
    let set_status = |status| {
        emulator.platform().connections.get_mut(CONNECTION).unwrap().status = status;
    };
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(unlisted_at(), None);
    let before = content(&archive);

    set_status(Some(404));
    let ended = run(archive.sync(&emulator)).expect(1);
    assert!(ended.stderr.contains("404 ConnectionNotFound"), "{}", ended.stderr);
    let first_missed = unlisted_at();
    assert!(first_missed.is_some());
    assert_eq!(content(&archive), before);

    run(archive.sync(&emulator)).expect(1);
    assert_eq!(unlisted_at(), first_missed, "the first time it was missed is what counts");

    set_status(None);
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(unlisted_at(), None);
    assert_eq!(content(&archive), before);
}

#[test]
fn a_forbidden_connection_is_not_taken_for_a_deleted_one() {
    let emulator = start(paged(20));
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    emulator.platform().connections.get_mut(CONNECTION).unwrap().status = Some(403);
    run(archive.sync(&emulator)).expect(1);
    assert_eq!(archive.value::<Option<String>>("SELECT unlisted_at FROM connections"), None);
    assert_eq!(archive.count("runs WHERE unlisted_at IS NULL"), 20);
}

#[test]
fn a_token_that_expires_is_renewed_once_for_all_requests() {
    let mut platform = with_service(with_second(paged(600), 600));
    platform.access.token_uses = Some(8);
    // So that several requests with the same token are under way when it expires.
    platform.faults.delay = Duration::from_millis(10);
    let emulator = start(platform);
    let archive = Archive::new();
    run(as_service(sync_both(&archive, &emulator), "hush")).expect(0);
    assert_eq!((runs_of(&archive, CONNECTION), runs_of(&archive, SECOND)), (600, 600));
    let (requests, issued) = (emulator.requests(), emulator.platform().access.issued as usize);
    let of_status = |status| {
        let of_api = requests.iter().filter(|request| request.path != "/connect/token");
        of_api.filter(|request| request.status == status).count()
    };
    let accepted = of_status(200);
    assert!(accepted > 24, "{accepted}");
    // Each token is used up before the next is asked for. Pages asked for beyond a listing's end are cut
    // when that end is seen, and with each of the two ends a renewal that such a page began.
    let used_up = accepted.div_ceil(8);
    assert!((used_up..=used_up + 2).contains(&issued), "{issued} tokens for {accepted} requests");
    assert!(of_status(401) > issued, "no token was refused to several requests at once");
}

#[test]
fn refused_credentials_are_exit_code_4() {
    // A ready token cannot be renewed: one request is enough.
    let mut platform = paged(20);
    platform.access.tokens.insert("another".to_owned());
    let emulator = start(platform);
    let archive = Archive::new();
    let ended = run(with(archive.sync(&emulator), &["--format", "json"])).expect(4);
    assert_eq!((&ended.json()["exit_code"], &ended.json()["outcome"]), (&4.into(), &"failed".into()));
    assert!(ended.stderr.contains("401 Unauthorized"), "{}", ended.stderr);
    assert!(ended.stderr.contains("correlation id 00000000-0000-4000-8000-"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: ") && ended.stderr.contains("ITP_ACCESS_TOKEN"), "{}", ended.stderr);
    assert_eq!(emulator.requests().len(), 1);
    assert_eq!(archive.value::<i64>("SELECT exit_code FROM syncs"), 4);
}

#[test]
fn a_service_that_is_refused_for_good_is_exit_code_4_after_one_renewal() {
    let mut platform = with_service(paged(20));
    platform.access.refuse_all = true;
    let emulator = start(platform);
    let archive = Archive::new();
    let ended = run(as_service(archive.sync(&emulator), "hush")).expect(4);
    assert!(ended.stderr.contains("401"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: "), "{}", ended.stderr);
    assert_eq!((tokens_asked(&emulator), emulator.requests().len()), (2, 4));
}

#[test]
fn a_wrong_client_secret_is_exit_code_4_and_the_platform_is_not_asked() {
    let emulator = start(with_service(with_second(paged(20), 20)));
    let archive = Archive::new();
    let ended = run(as_service(sync_both(&archive, &emulator), "wrong")).expect(4);
    assert!(ended.stderr.contains("invalid_client"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: ") && ended.stderr.contains(SECRET), "{}", ended.stderr);
    assert_eq!((tokens_asked(&emulator), emulator.requests().len()), (1, 1));
}

#[test]
fn credentials_that_are_refused_half_way_keep_what_came() {
    let refused = Scripted::always(On::ListRunsAt { skip: 98 }, Answer::Documented(401));
    let emulator = start(scripted(paged(200), [refused]));
    let archive = Archive::new();
    run(with(archive.sync(&emulator), &["--pages-in-flight", "1"])).expect(3);
    assert_eq!(archive.count("runs"), 99);
}

#[test]
fn a_token_file_that_is_written_anew_renews_the_token() {
    let mut platform = paged(120);
    platform.access.tokens.extend(["old", "new"].map(str::to_owned));
    let emulator = start(platform);
    let archive = Archive::new();
    let token = archive.folder().join("token");
    std::fs::write(&token, "old\n").unwrap();
    let config = archive.folder().join("archive.toml");
    let line = format!("[credentials]\naccess_token_file = {:?}\n", token.to_str().unwrap());
    std::fs::write(&config, line).unwrap();
    let command = || {
        let mut command = with(archive.sync(&emulator), &["--config", config.to_str().unwrap()]);
        command.env_remove("ITP_ACCESS_TOKEN");
        command
    };
    run(command()).expect(0);
    emulator.platform().access.tokens.remove("old");
    run(command()).expect(4);
    std::fs::write(&token, "new\n").unwrap();
    run(command()).expect(0);
    assert_eq!(archive.count("runs"), 120);
}

#[test]
fn redirects_are_not_followed() {
    let elsewhere = start(with_service(paged(20)));
    let there = format!("{}/export/connections/{CONNECTION}/runs", elsewhere.url());
    let redirects = Scripted::always(On::ListRuns, Answer::Redirect(there.clone()));
    let emulator = start(scripted(paged(20), [redirects]));
    let archive = Archive::new();
    let ended = run(archive.sync(&emulator)).expect(1);
    assert!(ended.stderr.contains("302") && ended.stderr.contains(&there[..40]), "{}", ended.stderr);
    assert_eq!(elsewhere.requests(), []);
    assert_eq!((lists(&emulator).len(), archive.count("runs")), (1, 0));

    // Nor with a secret in hand.
    let there = format!("{}/connect/token", elsewhere.url());
    let redirects = Scripted::always(On::Token, Answer::Redirect(there));
    let emulator = start(scripted(with_service(paged(20)), [redirects]));
    let archive = Archive::new();
    let ended = run(as_service(archive.sync(&emulator), "hush"));
    assert!(matches!(ended.code, Some(1 | 4)), "{:?}: {}", ended.code, ended.stderr);
    assert!(ended.stderr.contains("302"), "{}", ended.stderr);
    assert_eq!(elsewhere.requests(), []);
}

#[test]
fn a_token_is_not_sent_in_the_clear_to_another_machine() {
    let emulator = start(with_service(paged(20)));
    for url in ["http://192.0.2.1/", "http://localhost.example.com", "http://127.0.0.1.example.com:1"] {
        for name in ["ITP_API_URL", "ITP_ISSUER_URL"] {
            let archive = Archive::new();
            let mut command = archive.sync(&emulator);
            command.env(name, url);
            let begun = Instant::now();
            let ended = run(command).expect(2);
            // Nobody answers there: whoever asked would be waiting for ten seconds.
            assert!(begun.elapsed() < Duration::from_secs(9), "{url} was asked");
            assert!(ended.stderr.contains("http"), "{}", ended.stderr);
            assert!(ended.stderr.contains(name) || ended.stderr.contains(url), "{}", ended.stderr);
        }
    }
    assert_eq!(emulator.requests(), []);
}

#[test]
fn links_say_whether_more_may_follow_and_nothing_else() {
    let elsewhere = start(paged(20));
    let target = |path: &str| format!("{}{path}", elsewhere.url());
    let all = [
        Links::WellFormed,
        Links::AsPublished,
        Links::NextAlways,
        Links::NextNever,
        Links::Absent,
        Links::Null,
        Links::NextNull,
        Links::Hostile(target(&format!("/export/connections/{CONNECTION}/runs?$skip=0&$top=50"))),
        Links::Hostile("//evil.example/x".to_owned()),
        Links::Hostile("file:///etc/passwd".to_owned()),
        Links::Hostile(format!("{}@x", target(""))),
        Links::Hostile("\u{0}not an address\n".to_owned()),
    ];
    let mut expected = None;
    for links in all {
        let mut platform = platform(runs(0, 170));
        platform.faults = Faults { links: links.clone(), ..Faults::default() };
        let emulator = start(platform);
        let archive = Archive::new();
        // Pages are as long as asked: a short one with links that name no next page is an end.
        let ended = run(with(archive.sync(&emulator), &["--page-size", "50"]));
        assert_eq!(ended.code, Some(0), "{links:?}: {}", ended.stderr);
        let content = content(&archive);
        assert_eq!(content.len(), 170, "{links:?}");
        assert_eq!(&content, expected.get_or_insert_with(|| content.clone()), "{links:?}");
        let path = format!("/export/connections/{CONNECTION}/runs");
        assert!(lists(&emulator).iter().all(|request| request.path == path), "{links:?}");
        assert!(lists(&emulator).len() <= 9, "{links:?}: {}", lists(&emulator).len());
    }
    assert_eq!(elsewhere.requests(), []);
}

/// Part of each secret below, whatever became of the rest.
const CANARY: &str = "c4n4ry";

/// Fails where the canary is found in what was said or in any file below the archive's folder.
#[track_caller]
fn assert_no_canary(archive: &Archive, ended: &Ended, told: &str) {
    for stream in [&ended.stdout, &ended.stderr] {
        assert!(!stream.contains(CANARY), "{told}: {stream}");
    }
    assert_no_canary_below(archive.folder(), told);
}

#[track_caller]
fn assert_no_canary_below(folder: &Path, told: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            assert_no_canary_below(&path, told);
        } else {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(CANARY.len()).any(|bytes| bytes == CANARY.as_bytes());
            assert!(!found, "{told}: {}", path.display());
        }
    }
}

#[test]
fn a_token_is_found_nowhere() {
    const TOKEN: &str = "ey.c4n4ry-token+/=_~";
    let echo = |code, headers: &[(&str, String)], body: String| Answer::Status {
        code,
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect(),
        body,
    };
    let mut answers: Vec<_> =
        [200, 400, 401, 403, 404, 422, 429, 500, 503].into_iter().map(Answer::EchoAuthorization).collect();
    answers.extend([
        Answer::Redirect(format!("http://127.0.0.1:1/login?token={TOKEN}")),
        Answer::Raw { body: format!("<html><body>Authorization: Bearer {TOKEN}</body></html>") },
        Answer::Raw { body: format!(r#"{{"runs":"{TOKEN}"}}"#) },
        Answer::Raw { body: format!(r#"{{"runs":[],"_links":{{"next":"{TOKEN}"}}}}{TOKEN}"#) },
        echo(403, &[("x-correlation-id", TOKEN.to_owned())], format!("{}{TOKEN}", "x".repeat(90))),
        echo(502, &[("Retry-After", TOKEN.to_owned())], format!("<pre>{TOKEN}\n{TOKEN}</pre>")),
        echo(403, &[], format!(r#"{{"error":{{"code":"{TOKEN}","details":[{{"target":"{TOKEN}"}}]}}}}"#)),
    ]);
    let archive = Archive::new();
    let emulator = start(platform(runs(0, 20)));
    let mut shown = 0;
    for on in [On::ListRuns, On::Any] {
        for (answer, format) in answers.iter().flat_map(|answer| [(answer, "text"), (answer, "json")]) {
            emulator.platform().faults.script = vec![Scripted::always(on.clone(), answer.clone())];
            let arguments = ["-vv", "--log-format", format, "--format", "json", "--time-budget", "400ms"];
            let mut command = with(archive.sync(&emulator), &arguments);
            command.env("ITP_ACCESS_TOKEN", TOKEN);
            let ended = run(command);
            let told = format!("{on:?} {answer:?} {format}");
            assert!(matches!(ended.code, Some(1 | 3 | 4)), "{told}: {:?} {}", ended.code, ended.stderr);
            let is_told = ["[secret]", "[signature]"].iter().any(|blank| ended.stderr.contains(blank));
            shown += usize::from(is_told);
            assert_no_canary(&archive, &ended, &told);
        }
    }
    // What was echoed was told, without the secret.
    assert!(shown > answers.len(), "{shown}");
    emulator.platform().faults.script.clear();
    let mut command = with(archive.sync(&emulator), &["-vv"]);
    command.env("ITP_ACCESS_TOKEN", TOKEN);
    assert_no_canary(&archive, &run(command).expect(0), "all is well");
    assert_eq!(archive.count("runs"), 20);
}

#[test]
fn a_client_secret_and_the_tokens_it_brings_are_found_nowhere() {
    const CLIENT_SECRET: &str = "c4n4ry/+\"& \\$é";
    let encoded: String = url::form_urlencoded::byte_serialize(CLIENT_SECRET.as_bytes()).collect();
    let json = Value::from(CLIENT_SECRET).to_string();
    let bodies = [
        format!(r#"{{"error":"invalid_client","error_description":{json}}}"#),
        format!(r#"{{"error":"invalid_client","error_description":"client_secret={encoded}"}}"#),
        format!("<html>client_id=service-1&client_secret={encoded}</html>"),
        format!("POST /connect/token {CLIENT_SECRET}"),
        format!(r#"{{"token":"c4n4ry","secret":{json}}}"#),
    ];
    let mut platform = platform(runs(0, 20));
    platform.access.clients.insert("service-1".to_owned(), CLIENT_SECRET.to_owned());
    let emulator = start(platform);
    let archive = Archive::new();
    let sync = |format| {
        let arguments = ["-vv", "--log-format", format, "--format", "json", "--time-budget", "400ms"];
        run(as_service(with(archive.sync(&emulator), &arguments), CLIENT_SECRET))
    };
    let cases = bodies.iter().flat_map(|body| [200, 400, 401, 500].map(|code| (code, body)));
    for (code, body) in cases.filter(|(code, body)| *code == 200 || !body.contains("\"token\"")) {
        for format in ["text", "json"] {
            let answer = Answer::Status { code, headers: Vec::new(), body: body.clone() };
            emulator.platform().faults.script = vec![Scripted::always(On::Token, answer)];
            let ended = sync(format);
            let told = format!("{code} {body}");
            assert!(matches!(ended.code, Some(1 | 3 | 4)), "{told}: {:?} {}", ended.code, ended.stderr);
            assert_no_canary(&archive, &ended, &told);
        }
    }
    // An issued token, echoed.
    let token = r#"{"access_token":"c4n4ry-issued","expires_in":3600}"#.to_owned();
    let issued = Scripted::always(On::Token, Answer::Raw { body: token });
    for code in [401, 403] {
        let echo = Scripted::always(On::ListRuns, Answer::EchoAuthorization(code));
        emulator.platform().faults.script = vec![issued.clone(), echo];
        assert_no_canary(&archive, &sync("text"), &format!("issued, {code}"));
    }
    emulator.platform().faults.script.clear();
    let well = run(as_service(with(archive.sync(&emulator), &["-vv"]), CLIENT_SECRET)).expect(0);
    assert_no_canary(&archive, &well, "all is well");
    let bytes = std::fs::read(archive.path()).unwrap();
    assert!(!bytes.windows(14).any(|bytes| bytes == b"emulated-token"));
}

#[test]
fn a_page_size_that_is_refused_is_halved_and_remembered() {
    let mut platform = platform(runs(0, 400));
    platform.faults.top_limit = Some(100);
    let emulator = start(platform);
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 400);
    let mut tops: Vec<_> = lists(&emulator).iter().filter_map(|request| request.top).collect();
    tops.dedup();
    assert_eq!(tops, [1_000, 500, 250, 125, 62]);
    assert_eq!(archive.value::<i64>("SELECT page_size FROM checkpoints"), 62);

    emulator.clear_requests();
    run(archive.sync(&emulator)).expect(0);
    let requests = lists(&emulator);
    assert_eq!((requests.len(), requests[0].top), (1, Some(62)));

    emulator.clear_requests();
    run(with(archive.sync(&emulator), &["--full", "--page-size", "90"])).expect(0);
    let mut tops: Vec<_> = lists(&emulator).iter().filter_map(|request| request.top).collect();
    tops.dedup();
    assert_eq!(tops, [90]);
}

#[test]
fn a_page_size_refused_to_one_connection_is_not_held_against_another() {
    let refused = Answer::Documented(422);
    let refused = Scripted::once(On::Connection(SECOND.to_owned()), refused).after(1);
    let emulator = start(scripted(with_second(platform(runs(0, 20)), 20), [refused]));
    let archive = Archive::new();
    run(sync_both(&archive, &emulator)).expect(0);
    let learned = "SELECT page_size FROM checkpoints JOIN connections USING (connection_key) ORDER BY id";
    assert_eq!(archive.column::<Option<i64>>(learned), [Some(500), None]);
}

#[test]
fn a_page_that_is_too_long_to_read_is_asked_for_in_smaller_ones() {
    let long = Answer::Raw { body: " ".repeat((64 << 20) + 1) };
    let emulator = start(scripted(platform(runs(0, 700)), [Scripted::always(On::TopAtLeast(600), long)]));
    let archive = Archive::new();
    run(archive.sync(&emulator)).expect(0);
    assert_eq!(archive.count("runs"), 700);
    assert_eq!(archive.value::<i64>("SELECT page_size FROM checkpoints"), 500);
    let tops: Vec<_> = lists(&emulator).iter().filter_map(|request| request.top).collect();
    assert!(tops.starts_with(&[1_000, 500]), "{tops:?}");
}

#[test]
fn compressed_answers_are_asked_for() {
    const PAGE: &str = r#"{"connection":{},"runs":[],"_links":{}}"#;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let (send, received) = std::sync::mpsc::channel();
    // Ends with the test's process; each request is told before it is answered.
    std::thread::spawn(move || {
        for mut stream in listener.incoming().map_while(Result::ok) {
            let lines = BufReader::new(&stream).lines().map_while(Result::ok);
            let head: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
            // A client may open a connection that it does not need.
            if !head.is_empty() && send.send(head).is_ok() {
                let length = PAGE.len();
                let head = format!("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {length}");
                write!(stream, "{head}\r\n\r\n{PAGE}").unwrap();
            }
        }
    });
    let archive = Archive::new();
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "token").env("ITP_API_URL", url);
    run(with(command, &["sync", "--connection", CONNECTION])).expect(0);
    let heads: Vec<_> = received.try_iter().collect();
    assert!(heads.len() >= 2, "{heads:?}");
    for head in heads {
        let is_asked = |line: &String| line.to_ascii_lowercase().starts_with("accept-encoding: gzip");
        assert!(head.iter().any(is_asked), "{head:?}");
    }
}

#[test]
fn a_compressed_answer_is_the_same_answer() {
    let contents = [false, true].map(|gzip| {
        let mut platform = paged(170);
        platform.faults.gzip = gzip;
        let emulator = start(platform);
        let archive = Archive::new();
        run(archive.sync(&emulator)).expect(0);
        content(&archive)
    });
    assert_eq!(contents[0].len(), 170);
    assert_eq!(contents[0], contents[1]);
}

#[test]
fn every_request_says_which_version_and_form_is_wanted_and_who_asks() {
    let emulator = start(with_second(paged(170), 20));
    let archive = Archive::new();
    run(sync_both(&archive, &emulator)).expect(0);
    let requests = emulator.requests();
    assert!(requests.len() > 6, "{}", requests.len());
    for request in requests {
        assert_eq!(request.method, "GET");
        assert_eq!(request.accept.as_deref(), Some(ACCEPT), "{request:?}");
        assert_eq!(request.prefer.as_deref(), Some("return=representation"), "{request:?}");
        assert!(request.authorization, "{request:?}");
    }
}

#[test]
fn a_rate_limit_slows_a_sync_and_does_not_fail_it() {
    let mut platform = with_second(paged(300), 300);
    platform.faults.per_minute = Some(8);
    platform.faults.quota_window = Duration::from_millis(700);
    let emulator = start(platform);
    let archive = Archive::new();
    let ended = run(with(sync_both(&archive, &emulator), &["--format", "json"])).expect(0);
    assert_eq!(ended.json()["outcome"], "done");
    assert_eq!((runs_of(&archive, CONNECTION), runs_of(&archive, SECOND)), (300, 300));
    assert!(emulator.requests().iter().any(|request| request.status == 429));
}

/// Each line of standard error as the JSON object it must be.
#[track_caller]
fn log_of(ended: &Ended) -> Vec<Value> {
    let lines = ended.stderr.lines().map(|line| {
        let value: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["level"].is_string() && value["message"].is_string(), "{line}");
        value
    });
    lines.collect()
}

#[test]
fn messages_as_json_are_one_object_a_line_whatever_happens() {
    let mut platform = with_second(paged(170), 20);
    platform.connections.get_mut(SECOND).unwrap().status = Some(403);
    let nasty = "line one\nline two\u{1b}[31m \u{202e}red";
    let body = Value::from(nasty).to_string();
    let body = format!(r#"{{"error":{{"code":"Nasty","message":{body}}}}}"#);
    let answer = Answer::Status { code: 503, headers: Vec::new(), body };
    let emulator = start(scripted(platform, [Scripted::once(On::ListRunsAt { skip: 49 }, answer)]));
    let archive = Archive::new();
    for verbosity in ["-vv", "-v"] {
        let arguments = [verbosity, "--full", "--log-format", "json", "--format", "json"];
        let ended = run(with(sync_both(&archive, &emulator), &arguments)).expect(3);
        let log = log_of(&ended);
        assert!(log.iter().any(|line| line["level"] == "error"), "{}", ended.stderr);
        assert!(log.iter().any(|line| line["level"] == "info"), "{}", ended.stderr);
        assert_eq!(ended.stdout.lines().count(), 1);
        assert_eq!(ended.json()["exit_code"], 3);
    }

    // An error before any request.
    let mut command = with(archive.sync(&emulator), &["--log-format", "json"]);
    command.env_remove("ITP_ACCESS_TOKEN");
    let ended = run(command).expect(2);
    let log = log_of(&ended);
    assert_eq!((&log[0]["level"], &log[0]["fields"]["exit_code"]), (&"error".into(), &2.into()));
}

#[test]
fn quiet_says_nothing_unless_something_is_wrong() {
    let emulator = start(paged(120));
    let archive = Archive::new();
    let ended = run(with(archive.sync(&emulator), &["-q"])).expect(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));

    // Waiting and trying again are nothing wrong.
    let script = [
        Scripted::once(On::ListRuns, Answer::Documented(503)),
        Scripted::once(On::ListRuns, Answer::TooManyRequests { retry_after: RetryAfter::Seconds(0) }),
    ];
    emulator.platform().faults.script.extend(script);
    let ended = run(with(archive.sync(&emulator), &["-q"])).expect(0);
    assert_eq!((ended.stdout.as_str(), ended.stderr.as_str()), ("", ""));
    assert!(emulator.platform().faults.script.iter().all(|entry| entry.times == 0));

    emulator.platform().connections.get_mut(CONNECTION).unwrap().status = Some(403);
    let ended = run(with(archive.sync(&emulator), &["-q"])).expect(1);
    assert!(ended.stderr.contains("error: ") && ended.stderr.contains("403"), "{}", ended.stderr);
    assert_eq!(ended.stdout, "");
}
