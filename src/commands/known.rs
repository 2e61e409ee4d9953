//! Which archived connection a name or an id means.

use std::path::Path;

use crate::api::ConnectionId;
use crate::error::{CommandError, ExitCode};
use crate::store::Reader;
use crate::store::fleet::{self, Choice, KnownConnection};

/// Connections of one name that an error lists.
const MOST_NAMED: usize = 5;

/// The archived connections that these names and ids mean; one that means none, or several, is an error.
pub(crate) fn known_connections(
    path: &Path,
    typed: &[ConnectionId],
) -> Result<Vec<ConnectionId>, CommandError> {
    if typed.is_empty() {
        return Ok(Vec::new());
    }
    let known = Reader::open(path)?.read_connections()?;
    typed
        .iter()
        .map(|typed| choose_connection(&known, typed)?.ok_or_else(|| unknown(&known, typed)))
        .collect()
}

/// The archived connection that a name or an id means, if it means one.
pub(crate) fn choose_connection(
    known: &[KnownConnection],
    typed: &ConnectionId,
) -> Result<Option<ConnectionId>, CommandError> {
    match fleet::choose(known, &typed.to_string()) {
        Choice::One(found) => Ok(Some(found.id.clone())),
        Choice::Unknown => Ok(None),
        Choice::Several(found) => {
            let list = found.iter().take(MOST_NAMED).map(|found| format!("{} ({})", found.name, found.id));
            let list = list.collect::<Vec<_>>().join(", ");
            let error = anyhow::anyhow!("{} archived connections are called {typed}", found.len());
            let more = if found.len() > MOST_NAMED { " and others" } else { "" };
            Err(CommandError::new(ExitCode::Usage, error).with_hint(format!("say which: {list}{more}")))
        }
    }
}

pub(crate) fn unknown(known: &[KnownConnection], typed: &ConnectionId) -> CommandError {
    let text = typed.to_string();
    let names = known.iter().flat_map(|known| [Some(known.name.as_str()), known.display_name.as_deref()]);
    let likeness = |name: &str| strsim::jaro_winkler(&text.to_lowercase(), &name.to_lowercase());
    let close = names.flatten().map(|name| (likeness(name), name)).max_by(|a, b| a.0.total_cmp(&b.0));
    let hint = match close {
        Some((likeness, name)) if likeness > 0.8 => {
            format!("did you mean {name:?}? archive status lists those that are")
        }
        _ => "archive status lists those that are".to_owned(),
    };
    let error = anyhow::anyhow!("connection {typed} is not in this archive");
    CommandError::new(ExitCode::Usage, error).with_hint(hint)
}
