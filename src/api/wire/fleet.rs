//! What lies above runs: connections, iModels and iTwins, and the pages that list them.
//!
//! In: the text of an answer. Out: what the archive keeps in columns, each beside the exact JSON, and
//! where a list goes on. Links give positions and are never followed.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;
use serde_json::value::RawValue;
use url::form_urlencoded;

use super::{MAX_RECORDS, More, Object, Unreadable, elements, is_null, members, shape};

/// The run that began last, as a connection's `_links` tell it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub enum LastRun {
    /// The links do not say.
    #[default]
    Unsaid,
    /// An explicit null: no run has begun yet.
    Never,
    /// Its id: the last segment of the link.
    Run(String),
}

impl LastRun {
    fn of_links(links: Option<&Object<'_>>) -> Self {
        let Some(link) = links.and_then(|links| links.get("lastRun")) else { return Self::Unsaid };
        if is_null(link) {
            return Self::Never;
        }
        let href = Object::parse(link.get()).ok().and_then(|link| link.text("href").map(Cow::into_owned));
        match href.as_deref().and_then(|href| href.rsplit_once("/runs/")) {
            Some((_, id)) if !id.is_empty() => {
                Self::Run(percent_decode_str(id).decode_utf8_lossy().into_owned())
            }
            _ => Self::Unsaid,
        }
    }

    /// What is stored for it; nothing where nothing was said.
    pub(crate) fn as_stored(&self) -> Option<&str> {
        match self {
            Self::Unsaid => None,
            Self::Never => Some(""),
            Self::Run(id) => Some(id),
        }
    }
}

/// What the platform says of a connection, as far as the archive keeps it in columns.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Its id; empty where the answer names none.
    pub id: String,
    /// The name that people gave it.
    pub display_name: Option<String>,
    /// The iModel it exports or fills.
    pub imodel_id: Option<String>,
    /// The iTwin (formerly project) that the iModel belongs to.
    pub itwin_id: Option<String>,
    /// `User` or `Service`, as sent.
    pub authentication_type: Option<String>,
    /// The run that began last.
    pub last_run: LastRun,
    /// The connection's JSON as it was sent.
    pub json: String,
}

impl Connection {
    /// Reads the answer of the call for one connection.
    pub fn parse(text: &str) -> Result<Self, Unreadable> {
        let envelope: Object<'_> = serde_json::from_str(text)?;
        let raw = envelope.get("connection").ok_or(Unreadable::Missing("connection"))?;
        Self::read(raw).ok_or(Unreadable::Missing("connection"))
    }

    /// Reads a connection, alone or in a list; `None` if it is no object.
    pub(crate) fn read(raw: &RawValue) -> Option<Self> {
        let object = Object::parse(raw.get()).ok()?;
        let owned = |name: &str| object.text(name).map(Cow::into_owned);
        Some(Self {
            id: owned("id").unwrap_or_default(),
            display_name: owned("displayName"),
            imodel_id: owned("iModelId"),
            itwin_id: owned("iTwinId").or_else(|| owned("projectId")),
            authentication_type: owned("authenticationType"),
            last_run: LastRun::of_links(object.object("_links").as_ref()),
            json: raw.get().to_owned(),
        })
    }
}

/// An iTwin or an iModel: an id and what people call it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// To the letter as the list sends it.
    pub id: String,
    /// Its name, where one was sent.
    pub name: Option<String>,
    /// Its JSON as it was sent.
    pub json: String,
}

impl Named {
    /// Reads one of a list; `None` if it is no object or has no id.
    pub(crate) fn read(raw: &RawValue) -> Option<Self> {
        let object = Object::parse(raw.get()).ok()?;
        let owned = |name: &str| object.text(name).map(Cow::into_owned).filter(|text| !text.is_empty());
        let name = owned("displayName").or_else(|| owned("name"));
        Some(Self { id: owned("id")?, name, json: raw.get().to_owned() })
    }
}

/// Where a list of iModels goes on.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Cursor {
    /// A continuation token, empty for the first page.
    Token(String),
    /// A number of entries to skip, as before continuation tokens.
    Skip(u64),
}

/// One page of a list of connections, iModels or iTwins.
#[derive(Debug)]
pub struct List<'a> {
    /// The entries in the order sent, each as the exact text received.
    pub items: Vec<&'a RawValue>,
    /// What the page says of a following one.
    pub more: More,
    /// The continuation token in its `next` link, if there is one.
    pub token: Option<String>,
}

impl<'a> List<'a> {
    /// Reads the answer of a list call whose entries stand under `name`. The list may be null, or absent
    /// where `_links` are there; an answer with neither is no list.
    pub(crate) fn parse(text: &'a str, name: &'static str) -> Result<Self, Unreadable> {
        let envelope = match members(text) {
            Some(envelope) => envelope,
            None => return Err(shape(text).err().map_or(Unreadable::Missing("list"), Unreadable::from)),
        };
        let find =
            |name: &str| envelope.iter().rev().find(|(other, _)| other == name).map(|(_, value)| *value);
        let links = find("_links").and_then(|links| Object::parse(links).ok());
        let items = match find(name) {
            Some("null") => Vec::new(),
            Some(list) => elements(list).ok_or(Unreadable::Missing("list"))?,
            None if links.is_some() => Vec::new(),
            None => return Err(Unreadable::Missing("list")),
        };
        if items.len() > MAX_RECORDS {
            return Err(Unreadable::TooMany);
        }
        // An entry that is not JSON is counted as null: left out, it would shift the `$skip` of the next page.
        let read = |item: &'a str| serde_json::from_str(item).unwrap_or(RawValue::NULL);
        let items = items.into_iter().map(read).collect();
        let next = links.as_ref().and_then(|links| links.object("next"));
        let token = next.and_then(|next| next.text("href").and_then(|href| token(&href)));
        Ok(Self { items, more: More::of_links(links.as_ref()), token })
    }
}

/// The continuation token in a link, which may lack its `?` and whose `$` may be encoded.
fn token(href: &str) -> Option<String> {
    let (_, query) = href.split_once(['?', '&'])?;
    let mut pairs = form_urlencoded::parse(query.as_bytes());
    let found = pairs.find(|(name, _)| name.eq_ignore_ascii_case("$continuationToken"));
    found.map(|(_, token)| token.into_owned()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_runs_is_told_from_one_that_does_not_say() {
        let last_run = |links: &str| {
            let text = format!(r#"{{"connection":{{"id":"c"{links}}}}}"#);
            Connection::parse(&text).unwrap().last_run
        };
        assert_eq!(last_run(""), LastRun::Unsaid);
        assert_eq!(last_run(r#","_links":{}"#), LastRun::Unsaid);
        assert_eq!(last_run(r#","_links":{"lastRun":{"href":"https://h/x"}}"#), LastRun::Unsaid);
        assert_eq!(last_run(r#","_links":{"lastRun":null}"#), LastRun::Never);
        let link = r#","_links":{"lastRun":{"href":"https://h/export/connections/c/runs/r-1"}}"#;
        assert_eq!(last_run(link), LastRun::Run("r-1".to_owned()));
        let link = r#","_links":{"lastRun":{"href":"https://h/export/connections/c/runs/a%2Fb+c%20&d"}}"#;
        assert_eq!(last_run(link), LastRun::Run("a/b+c &d".to_owned()));
    }

    #[test]
    fn a_list_goes_on_where_its_link_says_whatever_else_the_link_lost() {
        let token = |href: &str| {
            let text = format!(r#"{{"iModels":[],"_links":{{"next":{{"href":"{href}"}}}}}}"#);
            let list = List::parse(&text, "iModels").unwrap();
            (list.more, list.token)
        };
        let found = (More::Next, Some("a+b=".to_owned()));
        assert_eq!(token("https://h/imodels?iTwinId=x&$continuationToken=a%2Bb%3D&$top=9"), found);
        assert_eq!(token("https://h/imodels&%24continuationToken=a%2Bb%3D"), found);
        assert_eq!(token("https://h/imodels?$skip=100"), (More::Next, None));
        let last = List::parse(r#"{"iModels":null,"_links":{"next":null}}"#, "iModels").unwrap();
        assert_eq!((last.items.len(), last.more), (0, More::NoNext));
        assert!(List::parse(r#"{"error":{}}"#, "iModels").is_err());
        assert!(List::parse(r#"{"iModels":{}}"#, "iModels").is_err());
    }
}
