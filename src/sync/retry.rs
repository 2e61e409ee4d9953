//! Records that were set aside, read once more: a later version may know what to make of them.
//!
//! In: the archive. Out: how many were read now. What is read is stored as a saved page is, of unknown
//! age, and leaves `rejects`; what is not stays there, with the version that tried last.

use super::clock::now;
use super::records::read_saved;
use crate::store::records::{Received, Source};
use crate::store::{self, Archive};

/// Records read at a time.
const AT_A_TIME: usize = 1_000;

/// What became of records that were set aside.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Retried {
    pub tried: u64,
    /// Of these, those that are archived as runs now.
    pub read: u64,
}

/// Tries records that were set aside: all of them, or those that this version has not tried.
pub(crate) fn retry_rejects(archive: &mut Archive, all: bool) -> Result<Retried, store::Error> {
    let mut retried = Retried::default();
    let mut after = 0;
    loop {
        let rejects = archive.read_rejects(after, (!all).then_some(env!("CARGO_PKG_VERSION")), AT_A_TIME)?;
        let Some(last) = rejects.last() else { return Ok(retried) };
        after = last.reject_key;
        archive.write(|archive| {
            for reject in &rejects {
                retried.tried += 1;
                match read_saved(&reject.raw) {
                    Received::Rejected { reason, .. } => {
                        archive.keep_reject(reject.reject_key, Some(&reason))?;
                    }
                    run => {
                        let counts =
                            archive.store_records(reject.connection_key, Source::File, &[run], &now())?;
                        if counts.rejected > 0 {
                            // Stored as far as it can be read, which is not whole.
                            archive.keep_reject(reject.reject_key, None)?;
                        } else {
                            archive.remove_reject(reject.reject_key)?;
                            retried.read += 1;
                        }
                    }
                }
            }
            Ok(())
        })?;
    }
}
