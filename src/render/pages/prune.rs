//! What is old and may go, or has gone.

use std::path::Path;

use serde::Serialize;

use crate::error::ExitCode;
use crate::render::document::{Align, Document, Grid, Presence, Section, Topic};
use crate::render::{render_count, render_size};
use crate::store::prune::{Plan, Share};
use crate::time::UtcText;

/// A prune; its fields are a contract.
#[derive(Debug, Serialize)]
pub(crate) struct PruneResult<'a> {
    exit_code: ExitCode,
    dry_run: bool,
    before: UtcText,
    backup: Option<String>,
    revisions: &'a Share,
    rejects: &'a Share,
    walks: &'a Share,
    /// Absent where runs were not to go.
    runs: Option<&'a Share>,
}

impl<'a> PruneResult<'a> {
    /// What goes by this plan, with or without runs.
    pub(crate) fn new(plan: &'a Plan, with_runs: bool, is_done: bool, copy: Option<&Path>) -> Self {
        Self {
            exit_code: ExitCode::Done,
            dry_run: !is_done,
            before: plan.before,
            backup: copy.map(|copy| copy.display().to_string()),
            revisions: &plan.revisions,
            rejects: &plan.rejects,
            walks: &plan.walks,
            runs: with_runs.then_some(&plan.runs),
        }
    }

    pub(crate) fn document(&self) -> Document {
        let mut grid = Grid::default()
            .column("what", Align::Broken, Presence::Table)
            .column("rows", Align::Number, Presence::Table)
            .column("about", Align::Number, Presence::Table)
            .column("oldest", Align::Broken, Presence::Table);
        let always = [("revisions", self.revisions), ("rejects", self.rejects), ("walks", self.walks)];
        for (what, share) in always.into_iter().chain(self.runs.map(|share| ("runs", share))) {
            grid.row(vec![
                what.into(),
                render_count(share.rows).into(),
                render_size(share.bytes).into(),
                share.oldest.clone().unwrap_or_default().into(),
            ]);
        }
        let mut section = Section::new(Topic::Summary);
        section.grid(grid);
        section.into()
    }

    /// What that means, in a line.
    pub(crate) fn describe_outcome(&self, is_empty: bool) -> String {
        let before = self.before;
        if is_empty {
            return format!("nothing is older than {before}");
        }
        if self.dry_run {
            return format!(
                "this is older than {before} and would go; --yes takes it out, after a copy (--backup FILE)"
            );
        }
        let copy = self.backup.as_ref().map(|copy| format!("; {copy} has it all")).unwrap_or_default();
        format!("this was older than {before} and is gone; archive compact makes the file smaller{copy}")
    }
}
