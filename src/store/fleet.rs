//! What lies above runs: iTwins, iModels and connections, their names, and what is no longer listed.
//!
//! In: what the platform said of them. Out: rows that follow renames and are never deleted. What is no
//! longer listed is marked only where a whole list did not name it.

use rusqlite::{OptionalExtension as _, params};

use super::error::Result;
use super::open::Archive;
use super::reader::Reader;
use crate::api::wire::{self, Named};
use crate::api::{ConnectionId, Kind, is_respelled, spellings};
use crate::normalize;
use crate::time::UtcText;

/// Makes the names of connections tell them apart.
const REFRESH_NAMES: &str = include_str!("refresh_names.sql");

/// An archived connection, as far as choosing one needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownConnection {
    pub id: ConnectionId,
    pub name: String,
    pub display_name: Option<String>,
}

/// An archived iModel below an iTwin, or asked about by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownImodel {
    pub id: String,
    pub display_name: Option<String>,
    /// When its connections were last listed.
    pub asked_at: Option<String>,
    /// Whether it was listed, or answered, when last asked for.
    pub is_listed: bool,
}

impl Archive {
    /// The key of a connection, which is stored if it was never met.
    pub fn upsert_connection(&mut self, id: &ConnectionId, now: &UtcText) -> Result<i64> {
        self.insert_connection(id, now).map(|(key, _)| key)
    }

    /// Its key, and whether it was never met before.
    fn insert_connection(&mut self, id: &ConnectionId, now: &UtcText) -> Result<(i64, bool)> {
        self.run(|connection| {
            let values = params![id.kind().as_str(), id.as_str(), now.as_str()];
            if let Some(key) = find_connection(connection, id)? {
                return Ok((key, false));
            }
            // Rows of a connection that somebody removed would become those of whoever is given its key.
            let insert = "INSERT INTO connections (connection_key, kind, id, name, first_seen_at)
                          SELECT 1 + coalesce(max(connection_key), 0), ?1, ?2, ?2, ?3
                          FROM (SELECT max(connection_key) AS connection_key FROM connections
                                UNION ALL SELECT max(connection_key) FROM checkpoints
                                UNION ALL SELECT max(connection_key) FROM runs
                                UNION ALL SELECT max(connection_key) FROM walks
                                UNION ALL SELECT max(connection_key) FROM rejects
                                UNION ALL SELECT max(connection_key) FROM pruned_runs)";
            connection.prepare_cached(insert)?.execute(values)?;
            let key = connection.last_insert_rowid();
            let insert = "INSERT INTO checkpoints (connection_key) VALUES (?1) ON CONFLICT DO NOTHING";
            connection.prepare_cached(insert)?.execute([key])?;
            Ok((key, true))
        })
    }

    /// Gives a connection the id that it is known by in its own answer: its UUID in other letters than it was
    /// typed in. False where another row has that id already.
    pub(crate) fn respell_connection(&mut self, connection_key: i64, id: &str) -> Result<bool> {
        let sql = "UPDATE OR IGNORE connections SET id = ?2, name = iif(name = id, ?2, name)
                   WHERE connection_key = ?1";
        self.sqlite(self.connection.execute(sql, params![connection_key, id])).map(|changed| changed == 1)
    }

    /// Gives a connection that was archived by another spelling of its UUID, as an import may have done, the
    /// one that the platform lists it by.
    fn respell_as_listed(&mut self, connection_key: i64, id: &str) -> Result<()> {
        let sql = "SELECT id FROM connections WHERE connection_key = ?1";
        let archived: String = self.run(|connection| {
            connection.prepare_cached(sql)?.query_row([connection_key], |row| row.get(0))
        })?;
        if is_respelled(&archived, id) {
            self.respell_connection(connection_key, id)?;
        }
        Ok(())
    }

    /// Gives an iModel, or with `ITWIN` an iTwin, the id that it is listed by, wherever it is named.
    fn respell_above(&mut self, above: Above, id: &str) -> Result<()> {
        self.run(|connection| {
            let Some(archived) = find_above(connection, above, id)? else { return Ok(()) };
            if !is_respelled(&archived, id) {
                return Ok(());
            }
            for sql in above.respell() {
                connection.execute(sql, [&archived, id])?;
            }
            Ok(())
        })
    }

    /// The id by which an iModel or iTwin is archived: as it is, or as the same UUID in other letters.
    fn archived_id(&self, above: Above, id: &str) -> Result<String> {
        let found = self.sqlite(find_above(&self.connection, above, id))?;
        Ok(found.unwrap_or_else(|| id.to_owned()))
    }

    /// Stores what the platform says of a connection, where it differs.
    pub fn store_connection(&mut self, connection_key: i64, answer: &wire::Connection) -> Result<()> {
        let extra = normalize::connection_extra(&answer.json);
        let sql = "UPDATE connections
                   SET display_name = ?2, imodel_id = ?3, itwin_id = ?4, authentication_type = ?5, extra = ?6,
                       name = iif(display_name IS ?2, name, coalesce(nullif(?2, ''), id))
                   WHERE connection_key = ?1
                     AND (display_name, imodel_id, itwin_id, authentication_type, extra) IS NOT (?2, ?3, ?4, ?5, ?6)";
        self.run(|connection| {
            connection.prepare_cached(sql)?.execute(params![
                connection_key,
                answer.display_name,
                answer.imodel_id,
                answer.itwin_id,
                answer.authentication_type,
                extra
            ])
        })
        .map(drop)
    }

    /// Notes that the platform says the connection does not exist, or that it does again.
    pub(crate) fn mark_connection(
        &mut self,
        connection_key: i64,
        unlisted_at: Option<&UtcText>,
    ) -> Result<()> {
        let sql = "UPDATE connections SET unlisted_at = ?2
                   WHERE connection_key = ?1 AND (unlisted_at IS NULL) = (?2 IS NOT NULL)";
        self.run(|connection| {
            let values = params![connection_key, unlisted_at.map(UtcText::as_str)];
            connection.prepare_cached(sql)?.execute(values)
        })
        .map(drop)
    }

    /// Notes of connections that no run had begun, at that time, since their last complete walk: whatever a
    /// walk since had against it is over.
    pub(crate) fn mark_quiet(&mut self, quiet: &[ConnectionId], at: &UtcText) -> Result<()> {
        let sql = "UPDATE checkpoints
                   SET quiet_at = ?2,
                       proved_walk_key = (SELECT max(walk_key) FROM walks
                                         WHERE walks.connection_key = checkpoints.connection_key)
                   WHERE connection_key = ?1";
        self.run(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            for id in quiet {
                statement.execute(params![find_connection(connection, id)?, at.as_str()])?;
            }
            Ok(())
        })
    }

    /// Stores an iTwin, with its name where that was told.
    pub(crate) fn store_itwin(&mut self, id: &str, named: Option<&Named>, now: &UtcText) -> Result<()> {
        let sql = "INSERT INTO itwins (id, display_name, extra, first_seen_at) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (id) DO UPDATE
                   SET display_name = coalesce(excluded.display_name, display_name),
                       extra = coalesce(excluded.extra, extra)";
        if named.is_some() {
            self.respell_above(Above::Itwin, id)?;
        }
        let id = self.archived_id(Above::Itwin, id)?;
        let name = named.and_then(|named| named.name.as_deref());
        let extra = named.and_then(|named| normalize::named_extra(&named.json));
        self.sqlite(self.connection.execute(sql, params![id, name, extra, now.as_str()])).map(drop)
    }

    /// Notes that the platform says the iTwin does not exist, or that it does again.
    pub(crate) fn mark_itwin(&mut self, id: &str, unlisted_at: Option<&UtcText>) -> Result<()> {
        let sql = "UPDATE itwins SET unlisted_at = ?2
                   WHERE id = ?1 AND (unlisted_at IS NULL) = (?2 IS NOT NULL)";
        let id = self.archived_id(Above::Itwin, id)?;
        let values = params![id, unlisted_at.map(UtcText::as_str)];
        self.sqlite(self.connection.execute(sql, values)).map(drop)
    }

    /// Stores iModels that an iTwin lists. Names follow; one that was gone is back.
    pub(crate) fn store_imodels(&mut self, itwin: &str, imodels: &[Named], now: &UtcText) -> Result<()> {
        let sql = "INSERT INTO imodels (id, itwin_id, display_name, extra, first_seen_at)
                   VALUES (?1, ?2, ?3, ?4, ?5)
                   ON CONFLICT (id) DO UPDATE
                   SET itwin_id = excluded.itwin_id, display_name = excluded.display_name,
                       extra = excluded.extra, unlisted_at = NULL
                   WHERE (itwin_id, display_name, extra) IS NOT (excluded.itwin_id, excluded.display_name, excluded.extra)
                      OR unlisted_at IS NOT NULL";
        let itwin = self.archived_id(Above::Itwin, itwin)?;
        for imodel in imodels {
            self.respell_above(Above::Imodel, &imodel.id)?;
        }
        self.run(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            for imodel in imodels {
                let extra = normalize::named_extra(&imodel.json);
                statement.execute(params![imodel.id, itwin, imodel.name, extra, now.as_str()])?;
            }
            Ok(())
        })
    }

    /// Stores an iModel that was asked for by its id.
    pub(crate) fn upsert_imodel(&mut self, id: &str, now: &UtcText) -> Result<()> {
        let sql = "INSERT INTO imodels (id, first_seen_at) VALUES (?1, ?2) ON CONFLICT DO NOTHING";
        let id = self.archived_id(Above::Imodel, id)?;
        self.sqlite(self.connection.execute(sql, params![id, now.as_str()])).map(drop)
    }

    /// The iModels that an iTwin lists or once listed.
    pub(crate) fn read_imodels(&self, itwin: &str) -> Result<Vec<KnownImodel>> {
        let sql = "SELECT id, display_name, asked_at, unlisted_at IS NULL FROM imodels WHERE itwin_id = ?1";
        let itwin = self.archived_id(Above::Itwin, itwin)?;
        self.run(|connection| {
            let mut statement = connection.prepare_cached(sql)?;
            statement.query_map([itwin], known_imodel)?.collect()
        })
    }

    pub(crate) fn read_imodel(&self, id: &str) -> Result<Option<KnownImodel>> {
        let sql = "SELECT id, display_name, asked_at, unlisted_at IS NULL FROM imodels WHERE id = ?1";
        let id = self.archived_id(Above::Imodel, id)?;
        self.sqlite(self.connection.query_row(sql, [id], known_imodel).optional())
    }

    /// Stores the connections of one kind that an iModel lists. Gives how many were never met before.
    pub(crate) fn store_connections(
        &mut self,
        imodel: &str,
        listed: &[(ConnectionId, wire::Connection)],
        now: &UtcText,
    ) -> Result<u64> {
        let mut new = 0;
        // What a connection says of its iModel is how the iModel is spelled.
        let spelled = listed.iter().filter_map(|(_, connection)| connection.imodel_id.as_deref());
        if let Some(spelled) = spelled.into_iter().find(|spelled| is_respelled(spelled, imodel)) {
            self.respell_above(Above::Imodel, spelled)?;
        }
        let imodel = &self.archived_id(Above::Imodel, imodel)?;
        for (id, connection) in listed {
            let (key, is_new) = self.insert_connection(id, now)?;
            new += u64::from(is_new);
            if !is_new {
                self.respell_as_listed(key, id.as_str())?;
            }
            // A list below an iModel says whose it is, whatever its entries leave out.
            let mut connection = connection.clone();
            connection.imodel_id.get_or_insert_with(|| imodel.clone());
            self.store_connection(key, &connection)?;
            self.mark_connection(key, None)?;
        }
        if !listed.is_empty() {
            self.note_back(imodel)?;
        }
        Ok(new)
    }

    /// Notes that an iModel is there, if it was thought not to be.
    fn note_back(&mut self, imodel: &str) -> Result<()> {
        let sql = "UPDATE imodels SET unlisted_at = NULL WHERE id = ?1 AND unlisted_at IS NOT NULL";
        self.run(|connection| connection.prepare_cached(sql)?.execute([imodel])).map(drop)
    }

    /// Notes that an iModel was asked for its connections, of all kinds that are wanted.
    pub(crate) fn note_asked(&mut self, imodel: &str, now: &UtcText) -> Result<()> {
        let sql = "UPDATE imodels SET asked_at = ?2 WHERE id = ?1";
        let imodel = self.archived_id(Above::Imodel, imodel)?;
        self.run(|connection| connection.prepare_cached(sql)?.execute(params![imodel, now.as_str()]))
            .map(drop)
    }

    /// Notes that an iModel is no longer there for these credentials.
    pub(crate) fn mark_imodel_unlisted(&mut self, imodel: &str, now: &UtcText) -> Result<()> {
        let sql = "UPDATE imodels SET unlisted_at = ?2 WHERE id = ?1 AND unlisted_at IS NULL";
        let imodel = self.archived_id(Above::Imodel, imodel)?;
        self.sqlite(self.connection.execute(sql, params![imodel, now.as_str()])).map(drop)
    }

    /// Notes of connections that the lists which should name them no longer do.
    pub(crate) fn mark_connections_unlisted(
        &mut self,
        missing: &[ConnectionId],
        now: &UtcText,
    ) -> Result<()> {
        for id in missing {
            let key = self.upsert_connection(id, now)?;
            self.mark_connection(key, Some(now))?;
        }
        Ok(())
    }

    /// Makes every connection's name tell it from the others.
    pub(crate) fn refresh_names(&mut self) -> Result<()> {
        self.sqlite(self.connection.execute_batch(REFRESH_NAMES))
    }

    pub(crate) fn read_connections(&self) -> Result<Vec<KnownConnection>> {
        self.sqlite(connections(&self.connection))
    }
}

impl Reader {
    /// The connections of this kind that an iModel listed when it was last asked.
    pub(crate) fn read_listed_connections(&self, imodel: &str, kind: Kind) -> Result<Vec<ConnectionId>> {
        self.sqlite(listed_connections(&self.connection, imodel, kind))
    }

    pub(crate) fn read_connections(&self) -> Result<Vec<KnownConnection>> {
        self.sqlite(connections(&self.connection))
    }
}

/// What stands above connections.
#[derive(Debug, Clone, Copy)]
enum Above {
    Itwin,
    Imodel,
}

impl Above {
    fn find(self) -> &'static str {
        match self {
            Self::Itwin => "SELECT id FROM itwins WHERE id IN (?1, ?2, ?3) ORDER BY id = ?1 DESC LIMIT 1",
            Self::Imodel => "SELECT id FROM imodels WHERE id IN (?1, ?2, ?3) ORDER BY id = ?1 DESC LIMIT 1",
        }
    }

    /// Statements that put the second spelling in the place of the first.
    fn respell(self) -> &'static [&'static str] {
        match self {
            Self::Itwin => &[
                "UPDATE itwins SET id = ?2 WHERE id = ?1",
                "UPDATE imodels SET itwin_id = ?2 WHERE itwin_id = ?1",
                "UPDATE connections SET itwin_id = ?2 WHERE itwin_id = ?1",
            ],
            Self::Imodel => &[
                "UPDATE imodels SET id = ?2 WHERE id = ?1",
                "UPDATE connections SET imodel_id = ?2 WHERE imodel_id = ?1",
            ],
        }
    }
}

fn find_above(connection: &rusqlite::Connection, above: Above, id: &str) -> rusqlite::Result<Option<String>> {
    connection.prepare_cached(above.find())?.query_row(spellings(id), |row| row.get(0)).optional()
}

/// The key of an archived connection: of this id byte for byte, or of the same UUID in other letters.
pub(super) fn find_connection(
    connection: &rusqlite::Connection,
    id: &ConnectionId,
) -> rusqlite::Result<Option<i64>> {
    let [own, lower, upper] = spellings(id.as_str());
    let sql = "SELECT connection_key FROM connections
               WHERE kind = ?1 AND id IN (?2, ?3, ?4)
               ORDER BY id = ?2 DESC LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row([id.kind().as_str(), &own, &lower, &upper], |row| row.get(0)).optional()
}

fn listed_connections(
    connection: &rusqlite::Connection,
    imodel: &str,
    kind: Kind,
) -> rusqlite::Result<Vec<ConnectionId>> {
    let [id, lower, upper] = spellings(imodel);
    let sql = "SELECT id FROM connections
               WHERE imodel_id IN (?1, ?2, ?3) AND kind = ?4 AND unlisted_at IS NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let ids = statement.query_map([&id, &lower, &upper, kind.as_str()], |row| row.get::<_, String>(0))?;
    let ids = ids.collect::<rusqlite::Result<Vec<_>>>()?;
    // What is archived was an id once.
    Ok(ids.iter().filter_map(|id| ConnectionId::new(kind, id).ok()).collect())
}

fn known_imodel(row: &rusqlite::Row<'_>) -> rusqlite::Result<KnownImodel> {
    Ok(KnownImodel {
        id: row.get(0)?,
        display_name: row.get(1)?,
        asked_at: row.get(2)?,
        is_listed: row.get(3)?,
    })
}

fn connections(connection: &rusqlite::Connection) -> rusqlite::Result<Vec<KnownConnection>> {
    let sql = "SELECT kind, id, coalesce(name, display_name, id) AS name, display_name FROM connections
               ORDER BY name, kind, id";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut known = Vec::new();
    while let Some(row) = rows.next()? {
        let kind = Kind::from_word(&row.get::<_, String>("kind")?).unwrap_or_default();
        // An id that fits no path was never asked for; none is stored.
        if let Ok(id) = ConnectionId::new(kind, &row.get::<_, String>("id")?) {
            known.push(KnownConnection {
                id,
                name: row.get("name")?,
                display_name: row.get("display_name")?,
            });
        }
    }
    Ok(known)
}

/// What a person typed for a connection, told apart from the archived ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Choice<'a> {
    /// One connection of this id or name.
    One(&'a KnownConnection),
    /// Several of one display name: their names tell them apart.
    Several(Vec<&'a KnownConnection>),
    Unknown,
}

/// The archived connection that a person means: by its id (`storage:ID` tells kinds apart; a UUID in any
/// letters), else by its name, else by its display name.
pub(crate) fn choose<'a>(known: &'a [KnownConnection], typed: &str) -> Choice<'a> {
    let by = |is_meant: &dyn Fn(&KnownConnection) -> bool| -> Vec<&'a KnownConnection> {
        known.iter().filter(|connection| is_meant(connection)).collect()
    };
    let exact = by(&|connection| connection.id.to_string() == typed);
    let respelled = |connection: &KnownConnection| is_respelled(connection.id.as_str(), typed);
    let respelled_in_kind = |connection: &KnownConnection| {
        typed.parse().is_ok_and(|typed: ConnectionId| connection.id.is_same_as(&typed))
    };
    let found = [
        exact,
        by(&|connection| connection.id.as_str() == typed),
        by(&respelled_in_kind),
        by(&respelled),
        by(&|connection| connection.name == typed),
        by(&|connection| connection.display_name.as_deref() == Some(typed)),
    ];
    match found.into_iter().find(|found| !found.is_empty()) {
        None => Choice::Unknown,
        Some(found) if found.len() == 1 => Choice::One(found[0]),
        Some(found) => Choice::Several(found),
    }
}
