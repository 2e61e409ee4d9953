//! Refuses a schema that somebody altered, or makes it anew.

use super::error::Result;
use super::finding::{Change, Finding, ObjectKind};
use super::open::Archive;
use super::reader::Reader;
use super::schema::{expected, findings, key, quoted, refuse};

impl Reader {
    /// What is not as the migrations make it.
    pub(crate) fn read_schema_findings(&self) -> Result<Vec<Finding>> {
        findings(&self.connection, &self.path)
    }

    /// Refuses an archive whose views are not those that the migrations make: a question of ours would run
    /// what somebody else wrote.
    pub(crate) fn require_views(&self) -> Result<()> {
        let mut found = self.read_schema_findings()?;
        found.retain(|finding| {
            finding.kind == ObjectKind::View && matches!(finding.change, Change::Altered | Change::Dropped)
        });
        refuse(&self.path, found)
    }
}

impl Archive {
    /// Makes views and indexes of ours anew that are altered or not there, and drops triggers from our tables
    /// and views. Gives what it mended; a table is never touched.
    pub(crate) fn repair_schema(&mut self) -> Result<Vec<Finding>> {
        let mut mended = findings(&self.connection, &self.path)?;
        mended.retain(Finding::is_repairable);
        let expected = expected()?;
        for finding in &mended {
            if let Some(there) = finding.found {
                let kind = there.as_str().to_ascii_uppercase();
                let drop = format!("DROP {kind} {}", quoted(&finding.name));
                self.sqlite(self.connection.execute_batch(&drop))?;
            }
            if let Some(ours) = expected.get(&key(finding.kind, &finding.name)) {
                self.sqlite(self.connection.execute_batch(&ours.sql))?;
            }
        }
        Ok(mended)
    }
}
