//! The order of a verification, and of a repair: what is looked at first, what is mended when, and what is looked at
//! again.
//!
//! In: an archive, open for writing where it is to be repaired, and a client unless the platform is not asked. Out:
//! a [`Report`]. The schema is mended before anything else is read, so that no view of somebody else is; rows that
//! belong to no run go aside before runs are stored, which may be given their key; what is told from the rows is
//! told anew once all rows are there; and the file is looked at again at the end.

use std::path::{Path, PathBuf};

use super::{Offline, Options, Report, check_offline, compare_all};
use crate::api::Client;
use crate::error::ExitCode;
use crate::query;
use crate::store::syncs::SyncTotals;
use crate::store::{self, Archive, Reader};
use crate::sync::now;

/// A verification under way.
#[derive(Debug)]
pub(crate) struct Verification {
    path: PathBuf,
    report: Report,
    repair: Option<Repair>,
}

/// The archive that is repaired, and the row of the record that tells of it.
#[derive(Debug)]
struct Repair {
    archive: Archive,
    sync_key: i64,
}

impl Verification {
    /// Looks at the file, and mends what else would be in the way where an archive to write to is given.
    ///
    /// # Errors
    /// The archive cannot be read or written, or lacks what no repair can give back.
    pub(crate) fn begin(path: &Path, archive: Option<Archive>) -> Result<Self, query::Error> {
        let mut report = Report::of_file(check_offline(path)?);
        let repair = match archive {
            Some(archive) => Some(Repair::begin(archive, &mut report)?),
            None => None,
        };
        Ok(Self { path: path.to_owned(), report, repair })
    }

    /// Whether what is archived can be read and held against the platform.
    pub(crate) fn is_comparable(&self) -> bool {
        self.report.is_repair || !self.report.offline.is_schema_altered()
    }

    /// Holds the archive against what the platform lists, and stores what differs where it is repaired.
    ///
    /// # Errors
    /// The archive cannot be read or written; what the platform refuses is in the report.
    pub(crate) async fn compare(&mut self, client: &Client, options: &Options) -> Result<(), store::Error> {
        let reader = Reader::open(&self.path)?;
        let archive = self.repair.as_mut().map(|repair| &mut repair.archive);
        let compared = compare_all(client, &reader, archive, options).await?;
        (self.report.compared, self.report.unlisted) = compared;
        (self.report.requests, self.report.was_accepted) = (client.requests(), client.was_accepted());
        Ok(())
    }

    /// Ends the repair, if there is one, and gives what was found.
    ///
    /// # Errors
    /// The archive cannot be read or written.
    pub(crate) fn end(self) -> Result<Report, query::Error> {
        match self.repair {
            Some(repair) => repair.end(&self.path, self.report),
            None => Ok(self.report),
        }
    }
}

impl Report {
    /// What the file says of itself, before anybody is asked and anything is mended.
    fn of_file(offline: Offline) -> Self {
        Self {
            offline,
            repaired_offline: 0,
            compared: Vec::new(),
            unlisted: 0,
            requests: 0,
            was_accepted: true,
            is_repair: false,
            mended: Vec::new(),
        }
    }
}

impl Repair {
    fn begin(mut archive: Archive, report: &mut Report) -> Result<Self, store::Error> {
        report.is_repair = true;
        report.mended = archive.write(Archive::repair_schema)?;
        archive.require_connections()?;
        let sync_key = archive.write(|archive| archive.begin_sync("verify", &now()))?;
        archive.write(|archive| archive.set_orphans_aside(&now()))?;
        Ok(Self { archive, sync_key })
    }

    fn end(self, path: &Path, mut report: Report) -> Result<Report, query::Error> {
        let Self { mut archive, sync_key } = self;
        let broken = report.offline.broken();
        if broken > 0 || report.offline.digests.without > 0 {
            archive.write(|archive| archive.repair_derived())?;
        }
        report.offline = check_offline(path)?;
        report.repaired_offline = broken.saturating_sub(report.offline.broken());

        let code = report.exit_code();
        let outcome = if code == ExitCode::Done { "done" } else { "partial" };
        let connections = report.compared.len() as u64;
        let totals = SyncTotals { requests: report.requests, connections, ..SyncTotals::default() };
        archive
            .write(|archive| archive.end_sync(sync_key, &now(), &totals, (outcome, code.number(), None)))?;
        archive.close()?;
        Ok(report)
    }
}
