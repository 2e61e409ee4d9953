//! The platform's rate limit: kept by counting, over all of the fleet and over several syncs; and where it
//! strikes all the same, everyone waits.

use std::time::Duration;

use run_archive::emulator::{Answer, Emulator, On, Request, RetryAfter, Scripted};

use super::{fleet, start, sync, taken};
use crate::common::{Archive, run};
use crate::interruption::{Running, wait_until};

/// A platform that allows so many requests in any time of this length.
fn limited(mut platform: run_archive::emulator::Platform, most: u64, window: Duration) -> Emulator {
    (platform.faults.per_minute, platform.faults.quota_window) = (Some(most), window);
    start(platform)
}

/// The most requests in any time of this length.
fn busiest(requests: &[Request], window: Duration) -> usize {
    let from = |first: &Request| {
        requests.iter().filter(|request| request.at >= first.at && request.at < first.at + window).count()
    };
    requests.iter().map(from).max().unwrap_or(0)
}

fn refused(requests: &[Request]) -> usize {
    requests.iter().filter(|request| request.status == 429).count()
}

#[test]
fn the_platforms_limit_is_never_exceeded_and_the_fleet_is_archived_all_the_same() {
    let window = Duration::from_millis(400);
    let (itwin, platform) = fleet(40, 2, 2);
    let emulator = limited(platform, 50, window);
    let archive = Archive::new();
    let arguments = ["--itwin", &itwin, "--request-limit", "45/400ms", "--concurrency", "16"];
    run(sync(&archive, &emulator, &arguments)).expect(0);
    assert_eq!((archive.count("connections"), archive.count("runs")), (80, 160));
    // The next one begins at once: what the first sent still counts.
    run(sync(&archive, &emulator, &arguments)).expect(0);
    let requests = taken(&emulator);
    assert_eq!(requests.len(), 122 + 42);
    assert_eq!(refused(&requests), 0);
    let most = busiest(&requests, window);
    assert!((30..=45).contains(&most), "{most} requests in a window");
}

#[test]
fn several_limits_hold_at_once() {
    let (itwin, platform) = fleet(10, 1, 1);
    let emulator = start(platform);
    let archive = Archive::new();
    let arguments = [
        "--itwin",
        &itwin,
        "--request-limit",
        "5/100ms",
        "--request-limit",
        "12/500ms",
        "--concurrency",
        "8",
    ];
    run(sync(&archive, &emulator, &arguments)).expect(0);
    let requests = taken(&emulator);
    assert_eq!(requests.len(), 22);
    let (short, long) = (Duration::from_millis(100), Duration::from_millis(500));
    assert!(busiest(&requests, short) <= 5 && busiest(&requests, long) <= 12);
}

#[test]
fn what_a_killed_sync_sent_counts_too() {
    let window = Duration::from_secs(2);
    let (itwin, platform) = fleet(20, 1, 1);
    // Room for what was under way when it was killed, but not for another full window.
    let emulator = limited(platform, 45, window);
    let archive = Archive::new();
    let arguments = ["--itwin", &itwin, "--request-limit", "30/2s", "--concurrency", "2"];
    let killed = Running::spawn(sync(&archive, &emulator, &arguments));
    let answered = || emulator.requests().iter().filter(|request| request.status == 200).count();
    wait_until("a full window of answers", || answered() == 30);
    killed.kill();
    run(sync(&archive, &emulator, &arguments)).expect(0);
    assert_eq!((archive.count("connections"), archive.count("runs")), (20, 20));
    let requests = taken(&emulator);
    assert_eq!(refused(&requests), 0, "{} in a window", busiest(&requests, window));
    archive.assert_sound();
}

#[test]
fn a_dry_run_and_an_estimate_heed_what_was_sent_before() {
    let (itwin, platform) = fleet(4, 1, 1);
    let emulator = start(platform);
    let archive = Archive::new();
    run(sync(&archive, &emulator, &["--itwin", &itwin, "--request-limit", "none"])).expect(0);
    taken(&emulator);
    for argument in ["--dry-run", "--estimate"] {
        // The ten of the sync before fill the hour: there is no time to wait for.
        let limit = ["--request-limit", "10/1h", "--time-budget", "30s"];
        let command = [&["--itwin", &itwin, argument], limit.as_slice()].concat();
        let ended = run(sync(&archive, &emulator, &command));
        assert_ne!(ended.code, Some(0), "{argument}");
        assert_eq!(taken(&emulator).len(), 0, "{argument}: {}", ended.stderr);
    }
}

#[test]
fn a_429_by_surprise_makes_everyone_wait_and_nobody_fail() {
    let (itwin, mut platform) = fleet(20, 1, 1);
    let busy = Answer::TooManyRequests { retry_after: RetryAfter::Seconds(1) };
    platform.faults.script.push(Scripted::once(On::ListConnections, busy).after(8));
    let emulator = start(platform);
    let archive = Archive::new();
    let ended = run(sync(&archive, &emulator, &["--itwin", &itwin, "--concurrency", "4"])).expect(0);
    assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    assert_eq!(archive.count("runs"), 20);
    let requests = taken(&emulator);
    let at = requests.iter().position(|request| request.status == 429).unwrap();
    let pause = Duration::from_millis(900);
    let during = requests[at + 1..].iter().filter(|request| request.at < requests[at].at + pause).count();
    // No more than was under way.
    assert!(during <= 4, "{during} requests were sent during the pause");
}
