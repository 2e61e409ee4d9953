//! What the platform sends, read without judging it.
//!
//! In: the text of an answer. Out: its runs as untouched pieces of that text, and what its links say. Where
//! pieces begin and end is told by `scan`, which neither recurses nor judges what is in them.
//! A value is never converted here: absent, null and "another type" stay three different things, and a
//! run that cannot be read does not hide the runs beside it. Meaning is given in `normalize`.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

use percent_encoding::percent_decode_str;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::id::{ConnectionId, Kind};

mod fleet;
mod scan;

pub use fleet::{Connection, Cursor, LastRun, List, Named};
pub(crate) use scan::{Malformed, Scanner, elements, escape_last_backslash, members, shape, text_of, values};

/// A JSON object as the list of its members, each value as the text that was sent.
#[derive(Debug, Default)]
pub(crate) struct Object<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads an object; any other JSON, or text that is not JSON, is an error.
    pub(crate) fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The value of a member as it was sent; the last one where a name occurs twice.
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|&(_, value)| value)
    }

    /// For finding members of every name: in an object of few by looking at each.
    pub(crate) fn index(&self) -> Index<'_, 'a> {
        let is_large = self.0.len() > FEW_MEMBERS;
        let by_name = is_large.then(|| self.0.iter().map(|(name, value)| (&**name, *value)).collect());
        Index { object: self, by_name }
    }

    /// The text of a member that is a string.
    pub(crate) fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(string)
    }

    /// A member that is an object.
    pub(crate) fn object(&self, name: &str) -> Option<Object<'a>> {
        self.get(name).and_then(|value| Object::parse(value.get()).ok())
    }
}

/// Members that are looked at one by one: in so few that is the fastest.
const FEW_MEMBERS: usize = 24;

/// An object's members by name.
#[derive(Debug)]
pub(crate) struct Index<'o, 'a> {
    object: &'o Object<'a>,
    by_name: Option<HashMap<&'o str, &'a RawValue>>,
}

impl<'a> Index<'_, 'a> {
    /// As [`Object::get`].
    pub(crate) fn get(&self, name: &str) -> Option<&'a RawValue> {
        match &self.by_name {
            Some(by_name) => by_name.get(name).copied(),
            None => self.object.get(name),
        }
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::with_capacity(12);
                while let Some(Key(name)) = map.next_key()? {
                    members.push((name, map.next_value()?));
                }
                Ok(Object(members))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// A member's name, borrowed unless it holds an escape.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Name;
        impl<'de> Visitor<'de> for Name {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_borrowed_str<E: de::Error>(self, name: &'de str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Borrowed(name)))
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Self::Value, E> {
                Ok(Key(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(Name)
    }
}

/// The decoded text of a string; `None` for any other type, and for a string that is not Unicode
/// (a lone surrogate, which JSON allows and UTF-8 does not).
pub(crate) fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Whether the value is the explicit `null`.
pub(crate) fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The elements of an array, each as it was sent; `None` for any other type.
pub(crate) fn array(value: &RawValue) -> Option<Vec<&RawValue>> {
    value.get().starts_with('[').then(|| serde_json::from_str(value.get()).ok()).flatten()
}

/// What a page's `_links` say of what follows. The links themselves are never followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum More {
    /// A `next` link: there may be more (the platform's own sample has one on its last page).
    Next,
    /// Links without `next`.
    NoNext,
    /// No `_links`: the page says nothing.
    Unsaid,
}

impl More {
    fn of_links(links: Option<&Object<'_>>) -> Self {
        match links.map(|links| links.get("next")) {
            None => Self::Unsaid,
            Some(Some(next)) if !is_null(next) => Self::Next,
            Some(_) => Self::NoNext,
        }
    }
}

/// Records of one page that are read; a server that gives more than that does not heed `$top`.
pub(crate) const MAX_RECORDS: usize = 100_000;
/// Objects in them, from runs down to errors, that are read: rows take more memory than such small texts.
pub(crate) const MAX_OBJECTS: usize = 500_000;

/// One page of a connection's runs.
#[derive(Debug)]
pub(crate) struct Page<'a> {
    /// The runs in the order sent, each as the exact text received; whether it is a run at all is not
    /// looked at.
    pub runs: Vec<&'a str>,
    /// What the page says of a following one.
    pub more: More,
    /// The connection that the page's own links name, if they do.
    pub link: Option<Link>,
    /// Whether there was more on the page than is read: what follows these runs is not known.
    pub is_cut: bool,
}

/// What the links of a page say of whose runs it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Link {
    /// The kind of connection, where the path says which; of the two that synchronize, some published links
    /// leave open which it is.
    pub kind: Option<Kind>,
    /// Whether the path is one of the Synchronization API: then it is no export in any case.
    pub is_synchronization: bool,
    /// The connection's id; none where a placeholder stands in its place.
    pub id: Option<String>,
}

/// Why an answer could not be read as what was asked for.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// Not JSON, or cut short.
    #[error("the answer is not JSON: {0}")]
    NotJson(#[from] serde_json::Error),
    /// Not JSON, or cut short, between the pieces that it is made of.
    #[error("the answer is not JSON: {0}")]
    Malformed(#[from] Malformed),
    /// JSON of another shape.
    #[error("the answer has no {0}")]
    Missing(&'static str),
    /// More entries than are read.
    #[error("the answer lists more than {MAX_RECORDS} entries")]
    TooMany,
}

impl<'a> Page<'a> {
    /// Reads the answer of a list call. `runs` may be null, or absent where `_links` are there; an
    /// answer with neither is no page, so that an odd error body never passes for an empty listing.
    ///
    /// # Errors
    /// The text is no page of runs. What is wrong inside one run is not seen here.
    pub(crate) fn parse(text: &'a str) -> Result<Self, Unreadable> {
        Self::read(text, Most { records: MAX_RECORDS, objects: MAX_OBJECTS, is_cut: false })
    }

    /// Reads what was received of a page that was longer than what is read: the runs that are whole.
    pub(crate) fn parse_beginning(text: &'a str) -> Result<Self, Unreadable> {
        Self::read(text, Most { records: MAX_RECORDS, objects: MAX_OBJECTS, is_cut: true })
    }

    /// Reads a page from a file, however many runs it holds.
    pub(crate) fn parse_saved(text: &'a str) -> Result<Self, Unreadable> {
        Self::read(text, Most { records: usize::MAX, objects: usize::MAX, is_cut: false })
    }

    fn read(text: &'a str, most: Most) -> Result<Self, Unreadable> {
        let mut scanner = Scanner::new(text);
        let mut runs: Option<Vec<&'a str>> = None;
        let mut links = None;
        let mut has_more_members = false;
        let mut is_cut = false;
        scanner.take(b"{", "expected an object")?;
        let mut is_open = !scanner.take_if(b'}');
        while is_open {
            let name = scanner.name()?;
            scanner.take(b":", "expected a colon")?;
            if name == "runs" {
                // Where the name comes twice the runs of both lists are taken: dropping one would lose runs.
                is_cut = !read_runs(&mut scanner, runs.get_or_insert_default(), most)?;
                if is_cut {
                    break;
                }
            } else {
                let (value, _) = scanner.value()?;
                if name == "_links" {
                    links = Object::parse(value).ok();
                } else {
                    has_more_members = true;
                }
            }
            is_open = scanner.take(b",}", "expected a comma or a brace")? == b',';
        }
        if !is_cut && scanner.next_byte().is_some() {
            scanner.take(b"", "expected nothing more")?;
        }
        let runs = match runs {
            Some(runs) => runs,
            // A page without runs has links and nothing else. Any other member may be the runs under a new name, or
            // an error, and must not pass for an empty listing.
            None if links.is_some() && !has_more_members => Vec::new(),
            None => return Err(Unreadable::Missing("list of runs")),
        };
        // Links that come after the place where the text was cut are not known.
        let more = if is_cut { More::Unsaid } else { More::of_links(links.as_ref()) };
        let link = links.as_ref().and_then(Link::of_links);
        Ok(Self { runs, more, link, is_cut })
    }
}

/// How much of a page is read, and whether its text ends before it does.
#[derive(Clone, Copy)]
struct Most {
    records: usize,
    objects: usize,
    is_cut: bool,
}

/// Reads the list of runs, or null for none; false where there is more of it than is read.
fn read_runs<'a>(scanner: &mut Scanner<'a>, runs: &mut Vec<&'a str>, most: Most) -> Result<bool, Unreadable> {
    if scanner.next_byte() != Some(b'[') {
        return match scanner.value()?.0 {
            "null" => Ok(true),
            _ => Err(Unreadable::Missing("list of runs")),
        };
    }
    scanner.take(b"[", "expected a list")?;
    if scanner.take_if(b']') {
        return Ok(true);
    }
    let mut objects = 0;
    loop {
        if runs.len() == most.records {
            return Ok(false);
        }
        let read = scanner.value().and_then(|(run, shape)| {
            let is_last = scanner.take(b",]", "expected a comma or a bracket")? == b']';
            Ok((run, shape, is_last))
        });
        let (run, shape, is_last) = match read {
            // What the cut left unfinished is no run: the runs before it are taken, and the page counts as cut.
            Err(malformed) if malformed.is_cut_short && most.is_cut => return Ok(false),
            read => read?,
        };
        objects += shape.objects;
        if objects > most.objects && !runs.is_empty() {
            return Ok(false);
        }
        runs.push(run);
        if is_last {
            return Ok(true);
        }
    }
}

impl Link {
    /// The first link that names a kind of connection. The id is the segment after the one that says the kind,
    /// percent-decoded. Some published links hold a placeholder in its place, and `connection` in place of the
    /// kind (API notes, section 1.4).
    fn of_links(links: &Object<'_>) -> Option<Self> {
        ["self", "next", "prev"].iter().find_map(|name| {
            let href = links.object(name)?.text("href")?;
            let segments: Vec<&str> = href.split(['?', '&']).next()?.split('/').collect();
            let is_kind =
                |segment: &&str| kind(segment).is_some() || segment.eq_ignore_ascii_case("connection");
            let at = segments.iter().position(is_kind)?;
            let before = segments[..at].iter();
            let is_synchronization =
                before.clone().any(|segment| segment.eq_ignore_ascii_case("synchronization"));
            // `connections` stands below both APIs, and means exports below one of them only.
            let kind = kind(segments[at]).filter(|kind| *kind != Kind::Export || !is_synchronization);
            if kind.is_none() && !is_synchronization {
                return None;
            }
            let id = segments.get(at + 1).and_then(|segment| {
                let id = percent_decode_str(segment).decode_utf8_lossy();
                let is_id = !id.starts_with('{') && ConnectionId::new(Kind::Export, &id).is_ok();
                is_id.then(|| id.into_owned())
            });
            let is_synchronization = is_synchronization || kind.is_some_and(|kind| kind != Kind::Export);
            Some(Self { kind, is_synchronization, id })
        })
    }
}

/// The kind of connection that a path's segment stands for; the case varies in published paths.
fn kind(segment: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|kind| kind.segment().eq_ignore_ascii_case(segment))
}

/// Reads the answer of the call for one run.
///
/// # Errors
/// The text is no such answer. What is wrong inside the run is not seen here.
pub(crate) fn parse_run(text: &str) -> Result<&str, Unreadable> {
    let envelope = match members(text) {
        Some(envelope) => envelope,
        None => return Err(shape(text).err().map_or(Unreadable::Missing("run"), Unreadable::from)),
    };
    let run = envelope.into_iter().rev().find(|(name, _)| name == "run").map(|(_, run)| run);
    run.filter(|run| *run != "null").ok_or(Unreadable::Missing("run"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_meanings_of_links_are_told_apart() {
        let more = |text| Page::parse(text).unwrap().more;
        assert_eq!(more(r#"{"runs":[],"_links":{"next":{"href":"x"}}}"#), More::Next);
        assert_eq!(more(r#"{"runs":[],"_links":{"next":null}}"#), More::NoNext);
        assert_eq!(more(r#"{"runs":[],"_links":{"self":{"href":"x"}}}"#), More::NoNext);
        assert_eq!(more(r#"{"runs":[],"_links":null}"#), More::Unsaid);
        assert_eq!(more(r#"{"runs":[]}"#), More::Unsaid);
    }

    #[test]
    fn an_answer_that_is_no_page_is_never_an_empty_listing() {
        for text in [
            "{}",
            "[]",
            "null",
            "",
            "<html>",
            r#"{"error":{"code":"x"}}"#,
            r#"{"runs":{}}"#,
            r#"{"runs":"#,
            r#"{"Runs":[{"id":"a"}],"_links":{}}"#,
            r#"{"value":[],"_links":{}}"#,
        ] {
            assert!(Page::parse(text).is_err(), "{text}");
        }
        assert_eq!(Page::parse(r#"{"runs":null}"#).unwrap().runs.len(), 0);
        assert_eq!(Page::parse(r#"{"_links":{"self":{"href":"x"}}}"#).unwrap().runs.len(), 0);
    }

    #[test]
    fn the_malformed_links_of_the_published_sample_name_their_connection() {
        let text = r#"{"runs":[],"_links":{"self":{"href":"https://api.bentley.com/export/connections/VRZ%2D0-_/runs&$skip=0&$top=50"}}}"#;
        let named = |text: &str| {
            let link = Page::parse(text).unwrap().link.unwrap();
            (link.kind, link.is_synchronization, link.id)
        };
        let id = || Some("VRZ-0-_".to_owned());
        assert_eq!(named(text), (Some(Kind::Export), false, id()));
        let storage = text.replace("export/connections", "Synchronization/imodels/storageConnections");
        assert_eq!(named(&storage), (Some(Kind::Storage), true, id()));
        assert_eq!(named(&storage.replace("VRZ%2D0-_", "{connectionId}")), (Some(Kind::Storage), true, None));
        let open = text.replace("export/connections", "synchronization/imodels/connection");
        assert_eq!(named(&open), (None, true, id()));
    }

    #[test]
    fn a_run_that_cannot_be_read_hides_none_beside_it() {
        let text =
            r#"{"runs":[{"id":"a"},{"id":"\xff"},nonsense,{"id":1,},{"id":"b"}],"_links":{"next":null}}"#;
        let page = Page::parse(text).unwrap();
        assert_eq!(
            page.runs,
            [r#"{"id":"a"}"#, r#"{"id":"\xff"}"#, "nonsense", r#"{"id":1,}"#, r#"{"id":"b"}"#]
        );
        assert_eq!((page.more, page.is_cut), (More::NoNext, false));
        let twice = Page::parse(r#"{"runs":[1],"x":{"runs":[]},"runs":[2]}"#).unwrap();
        assert_eq!(twice.runs, ["1", "2"]);
    }

    #[test]
    fn of_a_page_that_was_cut_the_whole_runs_are_read() {
        let whole = r#"{"_links":{"next":null},"runs":[{"id":"a"},{"id":"b"},12,3],"more":1}"#;
        let runs_within = |length: usize| {
            let page = Page::parse_beginning(&whole[..length]).ok()?;
            assert_eq!(page.more, if page.is_cut { More::Unsaid } else { More::NoNext }, "{length}");
            Some((page.runs.len(), page.is_cut))
        };
        let counts: Vec<_> = (0..whole.len()).filter_map(runs_within).collect();
        assert!(counts.is_sorted_by_key(|(count, _)| *count), "{counts:?}");
        assert_eq!((counts.first(), counts.last()), (Some(&(0, true)), Some(&(3, true))));
        assert!(Page::parse(&whole[..whole.len() - 1]).is_err());
        assert_eq!(Page::parse_beginning(whole).unwrap().runs.len(), 4);
    }

    #[test]
    fn no_more_of_a_page_is_read_than_is_allowed() {
        let page = |runs: &str, count: usize| {
            format!(r#"{{"runs":[{}],"_links":{{}}}}"#, vec![runs; count].join(","))
        };
        for (run, count, read, is_cut) in [
            ("1", MAX_RECORDS, MAX_RECORDS, false),
            ("1", MAX_RECORDS + 1, MAX_RECORDS, true),
            (r#"{"jobs":[{},{},{},{}]}"#, MAX_RECORDS, MAX_RECORDS, false),
            (r#"{"jobs":[{},{},{},{},{}]}"#, MAX_RECORDS, MAX_OBJECTS / 6, true),
        ] {
            let text = page(run, count);
            let parsed = Page::parse(&text).unwrap();
            assert_eq!((parsed.runs.len(), parsed.is_cut), (read, is_cut), "{run}");
            assert_eq!(Page::parse_saved(&text).unwrap().runs.len(), count);
        }
    }
}
