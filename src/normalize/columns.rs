//! The columns of runs, jobs, tasks and errors: one table says what each is called in the platform's JSON and
//! in SQL, and of what type it is.
//!
//! From this table come the structs, how they are read from JSON and from rows, how they become JSON again,
//! their digest, the field names that are no drift, and the INSERTs of `store`. A new column is a migration, a
//! line here, and a line in `store/read_json.sql`: `verify` reads rows by that SQL, not by this table, so that a
//! slip here is found.

use std::borrow::Cow;

use crate::time::UtcText;

/// What a run's content adds up to.
pub(crate) type Digest = [u8; 16];

/// One thing that is not known, wherever in the run it stands.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Drift {
    /// `run`, `job`, `task` or `error`.
    pub object: &'static str,
    pub field: String,
    /// `field`, `value`, `type` or `volatile`.
    pub what: &'static str,
    /// The new value, or its type; empty for a new field.
    pub value: String,
}

/// Text that a column holds, or nothing.
pub(crate) type Text<'a> = Option<Cow<'a, str>>;

/// One column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Column {
    pub name: &'static str,
    /// The name of the field in the platform's JSON that it holds.
    pub field: &'static str,
    pub kind: Kind,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Text,
    /// An instant, of whatever form was sent.
    Time,
    Integer,
    /// 0 or 1.
    Boolean,
}

/// A value that stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Text(&'a str),
    Time(UtcText),
    Integer(i64),
    Boolean(bool),
}

/// Where the values of columns are read from: the members of a JSON object, or a row.
pub(crate) trait Source<'a> {
    /// Why a value could not be read.
    type Error;

    /// Reads a text, or nothing.
    fn text(&mut self, column: &Column) -> Result<Text<'a>, Self::Error>;
    /// Reads an instant, or nothing.
    fn time(&mut self, column: &Column) -> Result<Option<UtcText>, Self::Error>;
    /// Reads a whole number, or nothing.
    fn integer(&mut self, column: &Column) -> Result<Option<i64>, Self::Error>;
    /// Reads whether, or nothing.
    fn boolean(&mut self, column: &Column) -> Result<Option<bool>, Self::Error>;
}

/// What the structs of the table have in common.
pub(crate) trait Columns<'a>: Sized {
    /// All columns, in the order of the struct.
    const COLUMNS: &'static [Column];

    /// Reads the columns; what else belongs to the struct stays empty.
    fn read<S: Source<'a>>(source: &mut S) -> Result<Self, S::Error>;

    /// Each column with what stands in it.
    fn cells(&self) -> impl Iterator<Item = (&'static Column, Option<Value<'_>>)>;
}

/// A type that a column's value is read into.
trait Cell<'a>: Sized {
    const KIND: Kind;

    fn read<S: Source<'a>>(source: &mut S, column: &Column) -> Result<Self, S::Error>;

    fn value(&self) -> Option<Value<'_>>;
}

macro_rules! cells {
    ($($type:ty, $kind:ident, $read:ident, $cell:ident => $value:expr;)*) => {$(
        impl<'a> Cell<'a> for $type {
            const KIND: Kind = Kind::$kind;

            fn read<S: Source<'a>>(source: &mut S, column: &Column) -> Result<Self, S::Error> {
                source.$read(column)
            }

            fn value(&self) -> Option<Value<'_>> {
                let $cell = self;
                $value
            }
        }
    )*};
}

cells! {
    Text<'a>, Text, text, text => text.as_deref().map(Value::Text);
    Option<UtcText>, Time, time, time => time.map(Value::Time);
    Option<i64>, Integer, integer, number => number.map(Value::Integer);
    Option<bool>, Boolean, boolean, word => word.map(Value::Boolean);
}

const fn column<'a, T: Cell<'a>>(name: &'static str, field: &'static str) -> Column {
    Column { name, field, kind: T::KIND }
}

/// Structs of columns, and of what else belongs to the object: what is below it, and what has no column of its own.
macro_rules! columns {
    ($(
        $(#[$meta:meta])*
        $name:ident<$life:lifetime> {
            $($(#[$column_meta:meta])* $column:ident: $type:ty = $field:literal,)*
        } and {
            $($(#[$part_meta:meta])* $part:ident: $part_type:ty,)*
        }
    )*) => {$(
        $(#[$meta])*
        #[derive(Debug, Default, Clone, PartialEq)]
        pub struct $name<$life> {
            $($(#[$column_meta])* #[doc = concat!("`", $field, "`")] pub $column: $type,)*
            $($(#[$part_meta])* pub $part: $part_type,)*
        }

        impl<$life> Columns<$life> for $name<$life> {
            const COLUMNS: &'static [Column] = &[$(column::<$type>(stringify!($column), $field)),*];

            fn read<S: Source<$life>>(source: &mut S) -> Result<Self, S::Error> {
                Ok(Self {
                    $($column: Cell::read(source, &column::<$type>(stringify!($column), $field))?,)*
                    $($part: Default::default(),)*
                })
            }

            fn cells(&self) -> impl Iterator<Item = (&'static Column, Option<Value<'_>>)> {
                Self::COLUMNS.iter().zip([$(self.$column.value()),*])
            }
        }
    )*};
}

columns! {
    /// One run with everything below it.
    Run<'a> {
        state: Text<'a> = "state",
        result: Text<'a> = "result",
        started_at: Option<UtcText> = "startDateTime",
        ended_at: Option<UtcText> = "endDateTime",
        phase: Text<'a> = "phase",
    } and {
        /// The platform's id, opaque.
        id: Cow<'a, str>,
        /// The run's own error, of a synchronization's run.
        error: Option<RunError<'a>>,
        /// What the columns cannot give back, as a JSON object.
        extra: Option<String>,
        /// The jobs in the order sent.
        jobs: Vec<Job<'a>>,
        /// Of all this; `None` where an archived run was stored without one.
        digest: Option<Digest>,
        /// What this program does not know of what was sent; not read from the archive.
        drift: Vec<Drift>,
    }

    /// The error of a run itself, in columns of `runs`; at least one of its texts is there.
    RunError<'a> {
        error_key: Text<'a> = "errorKey",
        error_description: Text<'a> = "description",
    } and {}

    /// One job of a run; its place in the list is part of its identity.
    Job<'a> {
        id: Text<'a> = "id",
        state: Text<'a> = "state",
        result: Text<'a> = "result",
        started_at: Option<UtcText> = "startDateTime",
        ended_at: Option<UtcText> = "endDateTime",
        /// Sent by older versions of the service.
        connector_type: Text<'a> = "connectorType",
    } and {
        /// What the columns cannot give back.
        extra: Option<String>,
        /// The tasks in the order sent.
        tasks: Vec<Task<'a>>,
    }

    /// One task of a job.
    Task<'a> {
        id: Text<'a> = "id",
        state: Text<'a> = "state",
        result: Text<'a> = "result",
        started_at: Option<UtcText> = "startDateTime",
        ended_at: Option<UtcText> = "endDateTime",
        retry_attempts: Option<i64> = "retryAttempts",
        /// Sent by newer versions of the service.
        export_output_file_id: Text<'a> = "exportOutputFileId",
        /// Of a storage connection's task.
        storage_file_id: Text<'a> = "storageFileId",
        /// Of a manifest connection's task: the caller's own text.
        source_file_id: Text<'a> = "sourceFileId",
    } and {
        /// What the columns cannot give back.
        extra: Option<String>,
        /// The task's error object; boxed, because most tasks have none.
        error: Option<Box<TaskError<'a>>>,
    }

    /// The error object of a task. A task that succeeded may carry one.
    TaskError<'a> {
        error_code: Text<'a> = "errorCode",
        message: Text<'a> = "message",
        details: Text<'a> = "details",
        /// Both -7002 and 4294967295 are documented.
        bridge_exit_code: Option<i64> = "bridgeExitCode",
        /// Spelled `Exporter` and `exporter`.
        system: Text<'a> = "system",
        phase: Text<'a> = "phase",
        category: Text<'a> = "category",
        /// The stable key of an error.
        description_key: Text<'a> = "descriptionKey",
        description: Text<'a> = "description",
        /// Often empty.
        kb_article_link: Text<'a> = "kbArticleLink",
        can_user_fix: Option<bool> = "canUserFix",
    } and {
        /// What the columns cannot give back.
        extra: Option<String>,
    }
}
