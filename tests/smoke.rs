use run_archive::{api::*, emulator::*, store::*, sync};
use std::sync::Arc;
use std::time::Duration;
#[test]
fn smoke() {
    let mut platform = Platform::default();
    let now = "2026-01-05T12:00:00Z".parse().unwrap();
    platform.connections.insert("-abc".into(), Connection::new("One", history::listing(20_000, now, 7)));
    platform.faults.page_cap = Some(50);
    let emulator = Emulator::start(platform).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let db = dir.path().join("a.db");
    let rt = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for n in 0..3 {
        let url: url::Url = emulator.url().parse().unwrap();
        let mut o = Options::new(url.clone(), url, Credentials::Token("t".to_string().into()));
        o.in_flight = 8;
        let client = Client::new(o).unwrap();
        let archive = Archive::open(&db, 64).unwrap();
        let t = std::time::Instant::now();
        let s = rt
            .block_on(sync::sync(
                client,
                archive,
                sync::Options {
                    connections: vec!["-abc".parse().unwrap()],
                    full: n == 2,
                    page_size: 1000,
                    is_page_size_given: false,
                    pages_in_flight: 4,
                    concurrency: 4,
                    full_every: Duration::from_secs(86400 * 7),
                },
                Arc::default(),
            ))
            .unwrap();
        println!("{:?} {}", t.elapsed(), s.to_json(false));
    }
    let _ = std::fs::copy(&db, "/tmp/smoke.db");
}
