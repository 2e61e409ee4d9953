//! What the platform's things are known by: opaque ids that fit into a URL path.
//!
//! In: texts that somebody typed or the platform sent. Out: ids, compared byte by byte. Three kinds of
//! connection have runs; the kind says under which path they are found.

use std::fmt;
use std::str::FromStr;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

/// What a connection does. The runs of all three have the same shape.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Exports an iModel (the Export API).
    #[default]
    Export,
    /// Synchronizes files of the platform's storage into an iModel (the Synchronization API).
    Storage,
    /// Synchronizes files that a manifest names into an iModel (the Synchronization API).
    Manifest,
}

impl Kind {
    /// Every kind, the one that is meant where none is named first.
    pub(crate) const ALL: [Self; 3] = [Self::Export, Self::Storage, Self::Manifest];

    /// The word that is typed, stored and shown.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Export => "export",
            Self::Storage => "storage",
            Self::Manifest => "manifest",
        }
    }

    pub(crate) fn from_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }

    /// The segment of a path that says so.
    pub(super) fn segment(self) -> &'static str {
        match self {
            Self::Export => "connections",
            Self::Storage => "storageconnections",
            Self::Manifest => "manifestconnections",
        }
    }

    /// The path under which connections of this kind are found.
    pub(crate) fn path(self) -> impl Iterator<Item = &'static str> {
        let folder: &[_] = match self {
            Self::Export => &["export"],
            Self::Storage | Self::Manifest => &["synchronization", "imodels"],
        };
        folder.iter().copied().chain([self.segment()])
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let expected = || Self::ALL.map(Self::as_str).join(", ");
        Self::from_word(word)
            .ok_or_else(|| format!("{word:?} is no kind of connection; there are {}", expected()))
    }
}

/// A connection's kind and its id: opaque, compared byte by byte, fit for a URL path. As a text it is the
/// id of an export connection, or `storage:ID` and `manifest:ID`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId {
    kind: Kind,
    id: String,
}

/// In JSON both stand beside what is said of the connection, the id first; the two names are a contract.
impl Serialize for ConnectionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = serializer.serialize_struct("ConnectionId", 2)?;
        names.serialize_field("id", &self.id)?;
        names.serialize_field("kind", self.kind.as_str())?;
        names.end()
    }
}

impl ConnectionId {
    /// An id that the platform sent, of a connection of this kind.
    ///
    /// # Errors
    /// The id cannot be part of a path.
    pub fn new(kind: Kind, id: &str) -> Result<Self, ConnectionIdError> {
        match id {
            "" => Err(ConnectionIdError::Empty),
            _ if vanishes_from_path(id) => Err(ConnectionIdError::VanishesFromPath(id.to_owned())),
            _ => Ok(Self { kind, id: id.to_owned() }),
        }
    }

    /// The id as the platform gave it.
    pub(crate) fn as_str(&self) -> &str {
        &self.id
    }

    /// What the connection does, and so under which path it is found.
    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// `kind:id`, of an export too: what tells it from every other connection.
    pub(crate) fn with_kind(&self) -> String {
        format!("{}:{}", self.kind.as_str(), self.id)
    }

    /// Whether the platform may spell it otherwise: a UUID that has letters.
    pub(crate) fn may_be_respelled(&self) -> bool {
        is_uuid(&self.id) && self.id.bytes().any(|byte| byte.is_ascii_alphabetic())
    }

    /// Whether the other names the same connection: byte for byte, or as a UUID in other letters.
    pub(crate) fn is_same_as(&self, other: &Self) -> bool {
        self == other || self.kind == other.kind && is_respelled(&self.id, &other.id)
    }
}

/// Whether it is a UUID as the platform writes them: five groups of hexadecimal digits.
fn is_uuid(id: &str) -> bool {
    let groups = || id.split('-');
    groups().map(str::len).eq([8, 4, 4, 4, 12])
        && groups().all(|group| group.bytes().all(|byte| byte.is_ascii_hexdigit()))
}

/// Whether two ids differ and are the same UUID: its letters may be typed, and sent, in either case. In any
/// other id the case of a letter is a bit of it.
pub(crate) fn is_respelled(one: &str, other: &str) -> bool {
    one != other && one.eq_ignore_ascii_case(other) && is_uuid(one)
}

/// The ways in which an id may be spelled, its own first: three for a UUID, else one.
pub(crate) fn spellings(id: &str) -> [String; 3] {
    if is_uuid(id) {
        [id.to_owned(), id.to_ascii_lowercase(), id.to_ascii_uppercase()]
    } else {
        [id, id, id].map(str::to_owned)
    }
}

/// What a person typed for a connection: a kind may stand before the id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TypedConnection {
    /// The connection; an export's where no kind was typed.
    pub id: ConnectionId,
    /// Whether the kind was typed (`manifest:ID`, `export:ID`), rather than left open.
    pub is_kind_said: bool,
}

impl FromStr for TypedConnection {
    type Err = ConnectionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let kind = text.split_once(':').and_then(|(word, _)| Kind::from_word(word));
        Ok(Self { id: text.parse()?, is_kind_said: kind.is_some() })
    }
}

/// A text that is no connection id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConnectionIdError {
    #[error("a connection id cannot be empty")]
    Empty,
    /// `.` and `..` vanish from a URL path, and so do control characters.
    #[error("{0:?} is no connection id: it cannot be part of a URL path")]
    VanishesFromPath(String),
}

impl FromStr for ConnectionId {
    type Err = ConnectionIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let typed = text.split_once(':').and_then(|(word, id)| Some((Kind::from_word(word)?, id)));
        let (kind, id) = typed.unwrap_or((Kind::Export, text));
        Self::new(kind, id)
    }
}

impl fmt::Display for ConnectionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Export => f.write_str(&self.id),
            kind => write!(f, "{}:{}", kind.as_str(), self.id),
        }
    }
}

/// Whether a path made with this segment would name something else. Anything not listed here is
/// percent-encoded; these the URL standard leaves out (dots, tabs, line ends).
pub(super) fn vanishes_from_path(segment: &str) -> bool {
    matches!(segment, "" | "." | "..") || segment.chars().any(char::is_control)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_uuid_is_the_same_in_other_letters() {
        let uuid = "6b1f0c52-7d1e-4f0a-9a51-0d5f3f6c2b11";
        assert!(is_respelled(uuid, &uuid.to_ascii_uppercase()));
        assert!(!is_respelled(uuid, uuid));
        // One digit less, another sign, base64url: each is what it is.
        for id in [&uuid[1..], &uuid.replace('-', "_"), "VRZHoBhrnkGrAev0-_-d_xwvyrzjgaVGka5wU967Q7M"] {
            assert!(!is_respelled(id, &id.to_ascii_uppercase()), "{id}");
            assert_eq!(spellings(id), [id; 3]);
        }
        let read = |text: &str| text.parse::<ConnectionId>().unwrap();
        assert!(read(uuid).is_same_as(&read(&uuid.to_ascii_uppercase())));
        assert!(!read(uuid).is_same_as(&read(&format!("storage:{uuid}"))));
    }

    #[test]
    fn the_rule_of_the_file_knows_every_kind() {
        let words = Kind::ALL.map(|kind| format!("'{}'", kind.as_str())).join(", ");
        let rules = include_str!("../../queries/rules.sql");
        assert!(rules.contains(&format!("kind IN ({words})")), "queries/rules.sql does not list {words}");
    }

    #[test]
    fn a_kind_stands_before_an_id_and_without_one_it_is_an_export() {
        let read = |text: &str| text.parse::<ConnectionId>().map(|id| (id.kind(), id.as_str().to_owned()));
        assert_eq!(read("-aB_"), Ok((Kind::Export, "-aB_".to_owned())));
        assert_eq!(read("export:a"), Ok((Kind::Export, "a".to_owned())));
        assert_eq!(read("storage:a:b"), Ok((Kind::Storage, "a:b".to_owned())));
        assert_eq!(read("manifest:"), Err(ConnectionIdError::Empty));
        assert_eq!(read("other:a"), Ok((Kind::Export, "other:a".to_owned())));
        for text in ["storage:x", "manifest:-y", "z"] {
            assert_eq!(text.parse::<ConnectionId>().unwrap().to_string(), text);
        }
    }
}
