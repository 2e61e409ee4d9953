//! Listings that shift while they are walked, over real requests: what was listed throughout is stored.
//!
//! Thousands of such histories run without a network in `walk`; these go through client and store.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::FileFailurePersistence;
use run_archive::api::{Client, Credentials, Options};
use run_archive::emulator::{Emulator, Links, Order, Shift};
use run_archive::sync;

use crate::common::{Archive, CONNECTION, platform_in_order, runs};

#[derive(Debug, Clone)]
enum Change {
    Newest,
    Oldest,
    Remove(Index),
}

fn changes() -> impl Strategy<Value = Vec<Vec<Change>>> {
    let change = prop_oneof![
        3 => Just(Change::Newest),
        1 => Just(Change::Oldest),
        3 => any::<Index>().prop_map(Change::Remove),
    ];
    prop::collection::vec(prop::collection::vec(change, 0..4), 0..15)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, failure_persistence: Some(Box::new(FileFailurePersistence::WithSource("regressions"))), ..ProptestConfig::default() })]

    #[test]
    fn what_was_listed_throughout_a_sync_is_archived(
        count in 0_u64..90,
        cap in 2_u64..20,
        order in prop::sample::select(vec![Order::NewestFirst, Order::OldestFirst, Order::Shuffled]),
        links in prop::sample::select(vec![Links::WellFormed, Links::AsPublished, Links::Absent]),
        short in prop::option::of(any::<u64>()),
        in_flight in 1_usize..6,
        changes in changes(),
    ) {
        // Room on both sides of what is listed first, so that runs can be added at either end.
        let base = 1_000;
        let mut platform = platform_in_order(order, runs(base, count));
        platform.faults.page_cap = Some(cap);
        platform.faults.links = links;
        platform.faults.short_pages = short;
        let mut listed: Vec<u64> = (base..base + count).collect();
        let mut throughout: BTreeSet<u64> = listed.iter().copied().collect();
        let (mut newest, mut oldest) = (base + count, base);
        for step in changes {
            let shifts = step.into_iter().filter_map(|change| {
                let connection = CONNECTION.to_owned();
                match change {
                    Change::Newest => {
                        listed.push(newest);
                        newest += 1;
                        runs(newest - 1, 1).next().map(|run| Shift::InsertNewest { connection, run })
                    }
                    Change::Oldest => {
                        oldest -= 1;
                        listed.insert(0, oldest);
                        runs(oldest, 1).next().map(|run| Shift::InsertOldest { connection, run })
                    }
                    Change::Remove(_) if listed.is_empty() => None,
                    Change::Remove(index) => {
                        let index = index.index(listed.len());
                        throughout.remove(&listed.remove(index));
                        Some(Shift::Remove { connection, index })
                    }
                }
            });
            platform.faults.shifts.push_back(shifts.collect());
        }
        let emulator = Emulator::start(platform).unwrap();
        let archive = Archive::new();
        let summary = sync_here(&archive, &emulator, in_flight);
        // Steps that no request came for have removed nothing.
        let unused: usize = emulator.platform().faults.shifts.len();
        let stored: BTreeSet<u64> = archive
            .column::<String>("SELECT id FROM runs")
            .iter()
            .map(|id| id.trim_start_matches("run-").parse().unwrap())
            .collect();
        let missed: Vec<_> = throughout.difference(&stored).collect();
        let is_complete = archive.value::<i64>("SELECT complete FROM walks") == 1;
        prop_assert!(missed.is_empty() || !is_complete, "missed {:?}, {} steps unused", missed, unused);
        // In a listing ordered by time nothing is in doubt, unless it loses whole pages at a time; in others
        // runs that appear may look as if runs changed places.
        let reasons = archive.column::<Option<String>>("SELECT reason FROM walks");
        let is_lost = reasons.iter().flatten().any(|reason| reason.contains("kept shifting") || reason.contains("nothing unseen"));
        if order != Order::Shuffled && cap > 8 && !is_lost {
            prop_assert!(is_complete, "{:?}", archive.column::<Option<String>>("SELECT reason FROM walks"));
            prop_assert_eq!(summary.exit_code.number(), 0);
        }
    }
}

/// A sync in this process: its own start would cost more than its requests.
fn sync_here(archive: &Archive, emulator: &Emulator, pages_in_flight: usize) -> sync::Summary {
    let url: url::Url = emulator.url().parse().unwrap();
    let mut options = Options::new(url.clone(), url, Credentials::Token("emulated-token".to_owned().into()));
    options.in_flight = pages_in_flight + 2;
    let sync = sync::Options {
        scope: sync::Scope { connections: vec![CONNECTION.parse().unwrap()], ..sync::Scope::default() },
        full: false,
        page_size: 1_000,
        is_page_size_given: false,
        pages_in_flight,
        concurrency: 4,
        full_every: Duration::from_secs(86_400),
        min_free: None,
    };
    let file = run_archive::store::Archive::open(&archive.path(), 16).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        sync::sync(Client::new(options).unwrap(), file, sync, Arc::default()).await.unwrap()
    })
}
