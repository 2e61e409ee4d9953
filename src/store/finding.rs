//! What is not as the migrations make it, one thing of the schema each.

use std::fmt;

use serde::Serialize;

/// What an entry of the schema is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum ObjectKind {
    /// A table, a virtual one too.
    Table,
    View,
    Index,
    Trigger,
}

impl ObjectKind {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::View => "view",
            Self::Index => "index",
            Self::Trigger => "trigger",
        }
    }

    pub(super) fn from_word(word: &str) -> Self {
        match word {
            "view" => Self::View,
            "index" => Self::Index,
            "trigger" => Self::Trigger,
            _ => Self::Table,
        }
    }
}

/// How an entry of the schema differs from what the migrations make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Change {
    /// Somebody's own: it concerns nobody else.
    Added,
    /// The migrations make it, and it is not there.
    Dropped,
    /// It is there under its name, and is not what the migrations make.
    Altered,
    /// A trigger on one of our tables or views: it runs whenever another program writes there.
    Trigger,
    /// Somebody's own, under the name of a table of SQLite itself that our queries read.
    Hides,
}

/// An entry of the schema that is not what the migrations make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    pub change: Change,
    /// What it is; of what is altered or dropped: what it should be.
    pub kind: ObjectKind,
    #[serde(skip)]
    pub found: Option<ObjectKind>,
    pub name: String,
    /// The table that an index or a trigger is on.
    pub table: String,
    /// The statement that made what is there.
    pub sql: Option<String>,
    /// Whether rows of ours may be refused because of it: an index that is UNIQUE or computes, or a table that
    /// refers to ours.
    #[serde(skip)]
    pub constrains: bool,
    /// Whether our own SQL cannot do without what should be there.
    #[serde(skip)]
    pub(super) is_obstacle: bool,
}

impl Finding {
    /// Whether the file is not what the migrations make of it; what somebody added for himself is no difference.
    pub(crate) fn is_difference(&self) -> bool {
        self.change != Change::Added
    }

    /// Whether it can be made anew, or taken away, without losing a row.
    pub(crate) fn is_repairable(&self) -> bool {
        match self.change {
            Change::Trigger => true,
            Change::Added | Change::Hides => false,
            Change::Dropped | Change::Altered => {
                matches!(self.kind, ObjectKind::View | ObjectKind::Index)
                    && self.found.is_none_or(|found| found != ObjectKind::Table)
            }
        }
    }
}

/// What was found, to stand in a sentence: `the view run_details is not as archive made it`.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, name, table) = (self.kind.as_str(), &self.name, &self.table);
        match (self.change, self.found) {
            (Change::Added, _) if self.kind == ObjectKind::Index => {
                write!(f, "the {kind} {name} on {table} was added by somebody else")
            }
            (Change::Added, _) => write!(f, "the {kind} {name} was added by somebody else"),
            (Change::Dropped, _) => write!(f, "the {kind} {name} is not there"),
            (Change::Altered, Some(found)) if found != self.kind => {
                write!(f, "there is a {} {name} where the {kind} of this name should be", found.as_str())
            }
            (Change::Altered, _) => write!(f, "the {kind} {name} is not as archive made it"),
            (Change::Trigger, _) => write!(f, "somebody else's {kind} {name} is on {table}"),
            (Change::Hides, _) => write!(f, "the {kind} {name} hides the one of SQLite itself"),
        }
    }
}
