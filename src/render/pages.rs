//! What commands have to say, as documents.

pub(super) mod report;
