//! Where connections are found: iTwins, the iModels in them, and how both are listed.
//!
//! iTwins are paged by `$top` and `$skip`. iModels are paged by tokens that name the last iModel listed, so
//! that the list may change between two pages without any being missed or told twice.

use std::borrow::Cow;

use super::answer::{self, Reply, Span, json_text, percent_encode};
use super::asked::{Asked, Headers, Query};
use super::faults::Links;
use super::platform::Platform;

/// Items on a page when no `$top` is sent; a `$top` above the most is refused.
const DEFAULT_TOP: u64 = 100;
const MOST_TOP: u64 = 1_000;

/// One iTwin.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Itwin {
    /// Its name for people.
    pub display_name: String,
    /// Lists of its iModels answer with this status (403).
    pub status: Option<u16>,
    /// Lists of iTwins leave it out. Its iModels can be listed by whoever knows its id.
    pub unlisted: bool,
}

impl Itwin {
    /// An iTwin with this name.
    #[must_use]
    pub fn new(display_name: &str) -> Itwin {
        Itwin { display_name: display_name.to_owned(), ..Itwin::default() }
    }
}

/// One iModel. Lists of connections are answered for those that the platform does not hold, too.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imodel {
    /// The iTwin it belongs to.
    pub itwin_id: String,
    /// Its name for people.
    pub display_name: String,
    /// Lists of its connections, of any kind, answer with this status (403); the list of iModels holds it
    /// all the same.
    pub status: Option<u16>,
    /// The list of iModels leaves it out without a word, as it does where the permission is missing.
    pub unlisted: bool,
}

impl Imodel {
    /// An iModel of this iTwin with this name.
    #[must_use]
    pub fn new(itwin_id: &str, display_name: &str) -> Imodel {
        Imodel { itwin_id: itwin_id.to_owned(), display_name: display_name.to_owned(), ..Imodel::default() }
    }
}

impl Platform {
    pub(super) fn list_itwins(&self, query: &Query, base: &str) -> Reply {
        let (skip, top) = match query.span(DEFAULT_TOP, Some(MOST_TOP), None, "InvalidiTwinsRequest") {
            Ok(span) => span,
            Err(refusal) => return refusal,
        };
        let limit = self.faults.page_cap.map_or(top, |cap| cap.min(top));
        let mut listed = self.itwins.iter().filter(|(_, itwin)| !itwin.unlisted).skip(to_index(skip));
        let page = listed.by_ref().take(to_index(limit));
        let texts: Vec<Cow<'_, str>> = page.map(|(id, itwin)| Cow::Owned(itwin_text(id, itwin))).collect();
        let returned = texts.len() as u64;
        let more = listed.next().is_some();
        let span = Span { base, path: "/itwins", filter: None, skip, top, returned, more };
        Reply::json(200, answer::page("iTwins", &texts, &answer::links(&self.faults.links, &span)))
    }

    pub(super) fn list_imodels(&self, query: &Query, headers: &Headers<'_>, base: &str) -> Reply {
        const CODE: &str = "InvalidiModelsRequest";
        let missing = |name: &str| {
            let message = format!("{name} was not provided.");
            answer::unprocessable(CODE, &[("MissingRequiredParameter", &message, name)])
        };
        if !headers.accept_v2() {
            // The first version is answered by default. It knew projects, and says nothing of iTwins.
            return missing("projectId").header("x-itwinplatform-media-type", "bentley.itwin-platform.v1");
        }
        let Some(itwin_id) = &query.itwin else {
            return missing("iTwinId");
        };
        match self.itwins.get(itwin_id).map(|itwin| itwin.status) {
            None => return answer::documented(404, &Asked::ListImodels),
            Some(Some(status)) => return answer::documented(status, &Asked::ListImodels),
            Some(None) => {}
        }
        let (skip, top) = match query.span(DEFAULT_TOP, Some(MOST_TOP), None, CODE) {
            Ok(span) => span,
            Err(refusal) => return refusal,
        };
        let after = match query.continuation.as_deref().map(read_token) {
            None => None,
            Some(Some(id)) => Some(id),
            Some(None) => return answer::unprocessable(CODE, &[UNKNOWN_TOKEN]),
        };

        let faults = &self.faults;
        let skip = if faults.skip_paging { skip } else { 0 };
        let limit = faults.imodel_page_cap.map_or(top, |cap| cap.min(top));
        let mut listed = self
            .imodels
            .iter()
            .filter(|(_, imodel)| imodel.itwin_id == *itwin_id && !imodel.unlisted)
            .filter(|(id, _)| after.as_ref().is_none_or(|after| *id > after))
            .skip(to_index(skip));
        let page: Vec<_> = listed.by_ref().take(to_index(limit)).collect();
        let more = listed.next().is_some();

        let next = if faults.skip_paging {
            more.then(|| format!("$skip={}", skip.saturating_add(page.len() as u64)))
        } else if faults.repeat_token {
            let last = || page.last().map_or("", |(id, _)| id.as_str());
            let token = query.continuation.clone().unwrap_or_else(|| token_after(last()));
            Some(continued(&token))
        } else {
            page.last().filter(|_| more).map(|(id, _)| continued(&token_after(id)))
        };
        let whole = format!("iTwinId={}&$top={top}", percent_encode(itwin_id));
        let this = match (&query.continuation, skip) {
            (Some(token), _) => format!("{whole}&{}", continued(token)),
            (None, 1..) => format!("{whole}&$skip={skip}"),
            (None, 0) => whole.clone(),
        };
        let next = next.map(|at| if faults.bare_links { at } else { format!("{whole}&{at}") });
        let links = imodel_links(&faults.links, base, &this, next.as_deref());
        let full = headers.prefer_representation();
        let texts: Vec<Cow<'_, str>> =
            page.into_iter().map(|(id, imodel)| Cow::Owned(imodel_text(id, imodel, full))).collect();
        Reply::json(200, answer::page("iModels", &texts, &links))
    }
}

const UNKNOWN_TOKEN: (&str, &str, &str) =
    ("InvalidValue", "Continuation token is not valid.", "$continuationToken");

/// What the client sends back to go on after the iModel with this id. The server keeps nothing: the token
/// still holds when that iModel is gone.
fn token_after(id: &str) -> String {
    let mut token = answer::base64url(format!("{TOKEN}{id}").as_bytes());
    // Filled up, as a client has to take care of a character that means something in a query.
    while !token.len().is_multiple_of(4) {
        token.push('=');
    }
    token
}

/// Long enough that a GUID's token has to be filled up.
const TOKEN: &str = "next:";

/// The id in a token, to the letter as it was given; None for any other text.
fn read_token(token: &str) -> Option<String> {
    let text = String::from_utf8(answer::base64url_decode(token.trim_end_matches('='))?).ok()?;
    let id = text.strip_prefix(TOKEN)?;
    (token_after(id) == token).then(|| id.to_owned())
}

fn continued(token: &str) -> String {
    format!("$continuationToken={}", percent_encode(token))
}

/// `self` and `next` are queries; `next` is null at the end, and there is no way back.
fn imodel_links(links: &Links, base: &str, this: &str, next: Option<&str>) -> String {
    let href = |address: &str| format!("{{\"href\":{}}}", json_text(address));
    let at = |query: &str| href(&format!("{base}/imodels?{query}"));
    let next = match links {
        Links::Absent => return String::new(),
        Links::Null => return ",\"_links\":null".to_owned(),
        Links::NextNever => None,
        Links::Hostile(address) => Some(href(address)),
        Links::WellFormed | Links::AsPublished | Links::NextAlways | Links::NextNull => next.map(at),
    };
    let next = next.unwrap_or_else(|| "null".to_owned());
    format!(",\"_links\":{{\"self\":{},\"prev\":null,\"next\":{next}}}", at(this))
}

fn itwin_text(id: &str, itwin: &Itwin) -> String {
    let name = json_text(&itwin.display_name);
    format!(
        "{{\"id\":{},\"class\":\"Endeavor\",\"subClass\":\"Project\",\"type\":null,\"number\":{name},\
         \"displayName\":{name},\"dataCenterLocation\":\"East US\",\"status\":\"Active\"}}",
        json_text(id)
    )
}

fn imodel_text(id: &str, imodel: &Imodel, full: bool) -> String {
    let (id, name) = (json_text(id), json_text(&imodel.display_name));
    if !full {
        return format!("{{\"id\":{id},\"displayName\":{name}}}");
    }
    format!(
        "{{\"id\":{id},\"displayName\":{name},\"dataCenterLocation\":\"East US\",\"name\":{name},\
         \"description\":null,\"state\":\"initialized\",\"iTwinId\":{}}}",
        json_text(&imodel.itwin_id)
    )
}

fn to_index(number: u64) -> usize {
    usize::try_from(number).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_read_back_and_nothing_else_is() {
        for id in ["", "a", "ab", "abc", "a0471655-6b18-419e-ab01-ebf4fbff9dff", "ä=?&"] {
            assert_eq!(read_token(&token_after(id)).as_deref(), Some(id));
        }
        assert!(token_after("a0471655-6b18-419e-ab01-ebf4fbff9dff").ends_with('='));
        let token = token_after("a0471655-6b18-419e-ab01-ebf4fbff9dff");
        for wrong in [token.trim_end_matches('='), &percent_encode(&token), "a", "?", "bmV4"] {
            assert_eq!(read_token(wrong), None, "{wrong}");
        }
    }
}
