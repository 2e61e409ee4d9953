//! A whole iTwin of many iModels with plain runs: what is found from one id, and how long that takes.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};
use fastrand::Rng;

use super::simple::simple_run;
use super::text::{connection_id, stamp, uuid};
use crate::emulator::holdings::{Connection, Imodel, Itwin};
use crate::emulator::listing::{Listing, hash};
use crate::emulator::platform::Platform;

/// What the connections of every iModel are called: the same in each, as people call them.
const NAMES: [&str; 5] =
    ["IFC nightly", "PDF sheets", "IFC4.3 alignment", "IFC2x3 handover", "As-built for archive"];

/// One iTwin, whose id comes first, with iModels called `Model 0001`, `Model 0002`, ..., each with so many
/// Export connections called alike in all of them, each with so many completed runs, six hours apart, one in
/// twelve of them an error, the newest ended before `until`.
///
/// What an iModel is and holds depends on its number and the seed: a larger fleet has the same ones first.
#[must_use]
pub fn fleet(
    imodels: u64,
    connections_per_imodel: u64,
    runs_per_connection: u64,
    until: DateTime<Utc>,
    seed: u64,
) -> (String, Platform) {
    let itwin_id = uuid(Rng::with_seed(hash("fleet", seed)).u128(..));
    let mut platform =
        Platform { itwins: BTreeMap::from([(itwin_id.clone(), Itwin::new("Fleet"))]), ..Platform::default() };
    for number in 1..=imodels {
        let name = format!("Model {number:04}");
        let imodel_seed = hash(&name, seed);
        let imodel_id = uuid(Rng::with_seed(imodel_seed).u128(..));
        for index in 0..connections_per_imodel {
            let name = connection_name(index);
            // Seeded by names and not drawn from one sequence, so that a larger fleet begins with the smaller
            // one.
            let mut rng = Rng::with_seed(hash(&name, imodel_seed));
            let id = connection_id(&imodel_id, &uuid(rng.u128(..)));
            let connection = Connection {
                imodel_id: imodel_id.clone(),
                itwin_id: itwin_id.clone(),
                ..Connection::new(&name, runs(runs_per_connection, until, &mut rng))
            };
            platform.connections.insert(id, connection);
        }
        platform.imodels.insert(imodel_id, Imodel::new(&itwin_id, &name));
    }
    (itwin_id, platform)
}

/// Distinct within an iModel: when the names are used up they are numbered.
fn connection_name(index: u64) -> String {
    let count = NAMES.len() as u64;
    let name = NAMES[(index % count) as usize];
    match index / count {
        0 => name.to_owned(),
        round => format!("{name} {}", round + 1),
    }
}

fn runs(count: u64, until: DateTime<Utc>, rng: &mut Rng) -> Listing {
    let spacing = TimeDelta::hours(6);
    (0..count)
        .map(|number| {
            let back = i32::try_from(count - number).unwrap_or(i32::MAX);
            let jitter = TimeDelta::nanoseconds(rng.i64(0..36_000_000_000) * 100);
            let started =
                until.checked_sub_signed(spacing * back).unwrap_or(DateTime::<Utc>::MIN_UTC) + jitter;
            let result = if rng.u32(0..12) == 0 { "Error" } else { "Success" };
            simple_run(&uuid(rng.u128(..)), &stamp(started), "Completed", result)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn a_fleet_has_as_many_of_everything_as_was_asked_for() {
        let until = DateTime::from_timestamp_secs(1_715_000_000).unwrap();
        let (itwin_id, platform) = fleet(200, 7, 20, until, 42);
        assert_eq!(platform.itwins.keys().collect::<Vec<_>>(), [&itwin_id]);
        let names: BTreeSet<_> = platform.imodels.values().map(|imodel| &imodel.display_name).collect();
        assert_eq!((platform.imodels.len(), names.len()), (200, 200));
        assert_eq!(names.last().map(|name| name.as_str()), Some("Model 0200"));
        assert_eq!(platform.connections.len(), 200 * 7);
        let mut runs = BTreeSet::new();
        let mut errors = 0;
        for (id, connection) in &platform.connections {
            assert_eq!((id.len(), connection.listing.len()), (43, 20));
            assert_eq!(platform.imodels[&connection.imodel_id].itwin_id, itwin_id);
            for run in connection.listing.iter() {
                assert!(runs.insert(&run.id) && run.started < stamp(until));
                errors += usize::from(run.json.contains("Error"));
            }
        }
        assert!((1_000..5_000).contains(&errors), "{errors}");
        let mut names = BTreeMap::<_, u32>::new();
        for connection in platform.connections.values() {
            *names.entry(connection.display_name.as_str()).or_default() += 1;
        }
        assert!(names.len() == 7 && names.values().all(|count| *count == 200), "{names:?}");
    }

    #[test]
    fn a_larger_fleet_has_the_smaller_one_in_it() {
        let until = DateTime::from_timestamp_secs(1_715_000_000).unwrap();
        let (small_id, small) = fleet(3, 2, 4, until, 1);
        let (large_id, large) = fleet(4, 3, 4, until, 1);
        assert_eq!(small_id, large_id);
        assert!(small.connections.iter().all(|(id, held)| large.connections.get(id) == Some(held)));
        assert_ne!(small_id, fleet(3, 2, 4, until, 2).0);
    }
}
