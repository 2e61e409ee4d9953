//! Whose runs a saved answer holds: the connection's id and kind, from all that says something of them.
//!
//! In: the page's own link, the runs, what the caller said, and which connections are archived. Out: one
//! connection, or why it cannot be told. An answer of the Synchronization API never passes for an export's: the
//! runs of all kinds have the same shape, and a wrong kind would be a second copy of each.

use serde_json::value::RawValue;

use super::Problem;
use crate::api::wire::{Link, Object, array, is_null};
use crate::api::{ConnectionId, Kind, TypedConnection, is_respelled};

/// What runs say of the kind of their connection by the fields that they carry (API notes, section 2).
#[derive(Debug, Default, Clone, Copy)]
struct Marks {
    /// A field that only runs of the Synchronization API have.
    is_synchronization: bool,
    /// Files of the platform's storage that tasks worked on.
    is_storage: bool,
    /// Files of a manifest that tasks worked on.
    is_manifest: bool,
    /// Files that an export's tasks wrote.
    is_export: bool,
    /// The shape of a whole run, which is an export's where nothing of a synchronization is in it: a task that
    /// says how it stands, or a start without a list of jobs. A short answer and an empty list are of any kind.
    is_shaped: bool,
}

impl Marks {
    fn of_runs(runs: &[&str]) -> Self {
        let mut marks = Self::default();
        for run in runs {
            let Ok(run) = Object::parse(run) else { continue };
            let has = |name: &str| run.get(name).is_some_and(|value| !is_null(value));
            marks.is_shaped |= (has("startDateTime") || has("endDateTime")) && !has("jobs");
            marks.is_synchronization |= has("phase") || run.object("error").is_some();
            for job in objects(run.get("jobs")) {
                // Exports had it once, in pages whose links name them.
                marks.is_synchronization |= job.text("connectorType").is_some();
                for task in objects(job.get("tasks")) {
                    marks.is_storage |= task.text("storageFileId").is_some();
                    marks.is_manifest |= task.text("sourceFileId").is_some();
                    marks.is_export |= task.text("exportOutputFileId").is_some();
                    let is_told = task.text("state").is_some() || task.text("result").is_some();
                    marks.is_shaped |= is_told || task.object("error").is_some();
                }
            }
        }
        marks.is_synchronization |= marks.is_storage || marks.is_manifest;
        marks
    }

    /// The kind that a field which only this kind has says, where no field says another.
    fn kind(self) -> Option<Kind> {
        match (self.is_storage, self.is_manifest, self.is_export) {
            (true, false, false) => Some(Kind::Storage),
            (false, true, false) => Some(Kind::Manifest),
            (false, false, true) if !self.is_synchronization => Some(Kind::Export),
            _ => None,
        }
    }

    /// Whether the runs look like the published sample of an export's, which has no field of its own.
    fn looks_like_export(self) -> bool {
        self.is_shaped && !self.is_synchronization
    }
}

fn objects(list: Option<&RawValue>) -> Vec<Object<'_>> {
    let elements = list.and_then(array).unwrap_or_default();
    elements.into_iter().filter_map(|element| Object::parse(element.get()).ok()).collect()
}

/// The connection of these runs. In this order: what the page's link names whole; an archived connection of the
/// id, if it is the only one and nothing speaks against its kind; the kind that the caller said; the kind in
/// the link's path; the runs' own marks. Where several connections of the id are archived, only a field that one
/// kind alone has decides between them, and never what runs lack.
///
/// # Errors
/// Nothing names the connection, or nothing says its kind.
pub(super) fn connection_of(
    name: &str,
    link: Option<&Link>,
    runs: &[&str],
    said: Option<&TypedConnection>,
    archived: &[ConnectionId],
) -> Result<ConnectionId, Problem> {
    let linked = link.and_then(|link| link.id.clone());
    let is_of_caller = linked.is_none();
    let named = linked.or_else(|| said.map(|said| said.id.as_str().to_owned())).or_else(|| id_of_runs(runs));
    let Some(id) = named else { return Err(Problem::NoConnection(name.to_owned())) };
    let of_kind =
        |kind: Kind| ConnectionId::new(kind, &id).map_err(|_| Problem::NoConnection(name.to_owned()));
    if let Some(said) = said.filter(|said| is_of_caller && said.is_kind_said) {
        return Ok(said.id.clone());
    }
    let linked_kind = link.and_then(|link| link.kind);
    if let (Some(kind), false) = (linked_kind, is_of_caller) {
        return of_kind(kind);
    }
    let marks = Marks::of_runs(runs);
    let is_synchronization =
        link.is_some_and(|link| link.is_synchronization) || link.is_none() && marks.is_synchronization;
    let may_be = |kind: Kind| {
        linked_kind.is_none_or(|linked| linked == kind) && (kind != Kind::Export || !is_synchronization)
    };
    let is_of_this_id = |known: &&ConnectionId| known.as_str() == id || is_respelled(known.as_str(), &id);
    let of_this_id: Vec<&ConnectionId> = archived.iter().filter(is_of_this_id).collect();
    if let [only] = of_this_id[..]
        && may_be(only.kind())
    {
        return Ok(only.clone());
    }
    let shaped = (of_this_id.is_empty() && marks.looks_like_export()).then_some(Kind::Export);
    let told = linked_kind.or_else(|| marks.kind().or(shaped).filter(|kind| may_be(*kind)));
    // A caller who names an id without a kind means an export, where the page does not say otherwise.
    let meant = said.filter(|_| is_of_caller && !is_synchronization).map(|_| Kind::Export);
    match told.or(meant) {
        Some(kind) => of_kind(kind),
        None => Err(Problem::NoKind { name: name.to_owned(), id }),
    }
}

/// The connection that the runs themselves name, where all that can be read name the same.
fn id_of_runs(runs: &[&str]) -> Option<String> {
    let readable = runs.iter().filter_map(|run| Object::parse(run).ok());
    let mut names = readable.map(|run| run.text("connectionId").map(String::from));
    let first = names.next()??;
    names.all(|name| name.as_ref() == Some(&first)).then_some(first).filter(|id| !id.is_empty())
}
