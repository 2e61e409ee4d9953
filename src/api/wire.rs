//! What the platform sends, read without judging it.
//!
//! In: the text of an answer. Out: its runs as untouched pieces of that text, and what its links say.
//! A value is never converted here: absent, null and "another type" stay three different things, and a
//! run that cannot be read does not hide the runs beside it. Meaning is given in `normalize`.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::value::RawValue;

use super::id::{ConnectionId, Kind};

mod fleet;

pub use fleet::{Connection, Cursor, LastRun, List, Named};

/// A JSON object as the list of its members, each value as the text that was sent.
#[derive(Debug, Default)]
pub struct Object<'a>(pub Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Object<'a> {
    /// Reads an object; any other JSON, or text that is not JSON, is an error.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The value of a member as it was sent; the last one where a name occurs twice.
    pub fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|&(_, value)| value)
    }

    /// The text of a member that is a string.
    pub fn text(&self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name).and_then(string)
    }

    /// A member that is an object.
    pub fn object(&self, name: &str) -> Option<Object<'a>> {
        self.get(name).and_then(|value| Object::parse(value.get()).ok())
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
pub fn string(value: &RawValue) -> Option<Cow<'_, str>> {
    let inner = value.get().strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(value.get()).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// Whether the value is the explicit `null`.
pub fn is_null(value: &RawValue) -> bool {
    value.get() == "null"
}

/// The elements of an array, each as it was sent; `None` for any other type.
pub fn array(value: &RawValue) -> Option<Vec<&RawValue>> {
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

/// One page of a connection's runs.
#[derive(Debug)]
pub struct Page<'a> {
    /// The runs in the order sent, each as the exact text received.
    pub runs: Vec<&'a RawValue>,
    /// What the page says of a following one.
    pub more: More,
    /// The connection that the page's own links name, if they do.
    pub link: Option<Link>,
}

/// What the links of a page say of whose runs it holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Link {
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
    /// JSON of another shape.
    #[error("the answer has no {0}")]
    Missing(&'static str),
}

impl<'a> Page<'a> {
    /// Reads the answer of a list call. `runs` may be null, or absent where `_links` are there; an
    /// answer with neither is no page, so that an odd error body never passes for an empty listing.
    pub fn parse(text: &'a str) -> Result<Self, Unreadable> {
        let envelope: Envelope<'a> = serde_json::from_str(text)?;
        let links = envelope.links.map(Object::parse).and_then(Result::ok);
        let runs = match envelope.runs {
            Some(runs) => runs,
            None if links.is_some() => Vec::new(),
            None => return Err(Unreadable::Missing("list of runs")),
        };
        let more = More::of_links(links.as_ref());
        let link = links.as_ref().and_then(Link::of_links);
        Ok(Self { runs, more, link })
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
                // Read the id as a query value, which undoes percent-encoding; `+` stands for itself in a path.
                let pair = format!("id={}", segment.replace('+', "%2B"));
                let (_, id) = url::form_urlencoded::parse(pair.as_bytes()).next()?;
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

/// The members of a page that matter, read in one pass over its text.
struct Envelope<'a> {
    runs: Option<Vec<&'a RawValue>>,
    links: Option<&'a str>,
}

impl<'de: 'a, 'a> Deserialize<'de> for Envelope<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Envelope<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a page of runs")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut envelope = Envelope { runs: None, links: None };
                while let Some(Key(name)) = map.next_key()? {
                    match name.as_ref() {
                        "runs" => envelope.runs = Some(map.next_value::<Runs<'de>>()?.0),
                        "_links" => envelope.links = Some(map.next_value::<&'de RawValue>()?.get()),
                        _ => {
                            map.next_value::<de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(envelope)
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// An array of runs, or null for none.
struct Runs<'a>(Vec<&'a RawValue>);

impl<'de: 'a, 'a> Deserialize<'de> for Runs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Elements;
        impl<'de> Visitor<'de> for Elements {
            type Value = Runs<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array of runs")
            }

            fn visit_unit<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(Runs(Vec::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<Self::Value, A::Error> {
                let mut runs = Vec::with_capacity(64);
                while let Some(run) = elements.next_element()? {
                    runs.push(run);
                }
                Ok(Runs(runs))
            }
        }
        deserializer.deserialize_any(Elements)
    }
}

/// Reads the answer of the call for one run.
pub fn parse_run(text: &str) -> Result<&RawValue, Unreadable> {
    let envelope: Object<'_> = serde_json::from_str(text)?;
    envelope.get("run").filter(|run| !is_null(run)).ok_or(Unreadable::Missing("run"))
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
        for text in
            ["{}", "[]", "null", "", "<html>", r#"{"error":{"code":"x"}}"#, r#"{"runs":{}}"#, r#"{"runs":"#]
        {
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
}
