//! From the archive to the figures of a report.

pub mod figures;
