//! Where connections are found: iTwins, the iModels in them, and how both are listed.
//!
//! iTwins are paged by `$top` and `$skip`. iModels are paged by tokens that name the last iModel listed, so
//! that the list may change between two pages without any being missed or listed twice.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use super::answer::{self, HttpReply, PageSpan, json_text, percent_encode};
use super::call::{Call, Endpoint};
use super::faults::Links;
use super::holdings::{Imodel, Itwin};
use super::platform::{Platform, documented, skip_and_top};

/// Items on a page when no `$top` is sent; a `$top` above the most is refused.
const DEFAULT_TOP: u64 = 100;
const MOST_TOP: u64 = 1_000;

/// The error code of a 422 for a list of iModels.
const IMODELS_REFUSED: &str = "InvalidiModelsRequest";

const UNKNOWN_TOKEN: (&str, &str, &str) =
    ("InvalidValue", "Continuation token is not valid.", "$continuationToken");

/// What a list of iModels is asked for, once it is clear that it is answered.
struct ImodelsAsked<'a> {
    itwin_id: &'a str,
    top: u64,
    skip: u64,
    /// The id of the iModel that the token names, the last one of the page before.
    after: Option<String>,
}

impl Platform {
    pub(super) fn list_itwins(&self, call: &Call<'_>) -> HttpReply {
        let code = "InvalidiTwinsRequest";
        let (skip, top) = match skip_and_top(&call.parameters, DEFAULT_TOP, Some(MOST_TOP), code) {
            Ok(span) => span,
            Err(refusal) => return refusal,
        };
        let limit = self.faults.page_cap.map_or(top, |cap| cap.min(top));
        let mut listed = self.itwins.iter().filter(|(_, itwin)| !itwin.unlisted).skip(to_index(skip));
        let page = listed.by_ref().take(to_index(limit));
        let texts: Vec<Cow<'_, str>> = page.map(|(id, itwin)| Cow::Owned(itwin_text(id, itwin))).collect();

        let returned = texts.len() as u64;
        let more = listed.next().is_some();
        let span = PageSpan { base: call.base, path: "/itwins", filter: None, skip, top, returned, more };
        HttpReply::json(200, answer::page("iTwins", &texts, &answer::links(&self.faults.links, &span)))
    }

    pub(super) fn list_imodels(&self, call: &Call<'_>) -> HttpReply {
        let asked = match self.imodels_asked(call) {
            Ok(asked) => asked,
            Err(refusal) => return refusal,
        };
        let faults = &self.faults;
        let limit = faults.imodel_page_cap.map_or(asked.top, |cap| cap.min(asked.top));
        let mut listed = self
            .imodels
            .iter()
            .filter(|(_, imodel)| imodel.itwin_id == asked.itwin_id && !imodel.unlisted)
            .filter(|(id, _)| asked.after.as_ref().is_none_or(|after| *id > after))
            .skip(to_index(asked.skip));
        let page: Vec<_> = listed.by_ref().take(to_index(limit)).collect();
        let more = listed.next().is_some();

        let links = self.imodel_links(call, &asked, &page, more);
        let full = call.headers.prefer_representation();
        let texts: Vec<Cow<'_, str>> =
            page.into_iter().map(|(id, imodel)| Cow::Owned(imodel_text(id, imodel, full))).collect();
        HttpReply::json(200, answer::page("iModels", &texts, &links))
    }

    /// What is asked for, or why it is refused.
    fn imodels_asked<'a>(&self, call: &'a Call<'_>) -> Result<ImodelsAsked<'a>, HttpReply> {
        let missing = |name: &str| {
            let message = format!("{name} was not provided.");
            answer::unprocessable(IMODELS_REFUSED, &[("MissingRequiredParameter", &message, name)])
        };
        if !call.headers.accept_v2() {
            // The first version is answered by default. It knew projects, and says nothing of iTwins.
            let refusal = missing("projectId");
            return Err(refusal.header("x-itwinplatform-media-type", "bentley.itwin-platform.v1"));
        }
        let parameters = &call.parameters;
        let itwin_id = parameters.itwin.as_deref().ok_or_else(|| missing("iTwinId"))?;
        match self.itwins.get(itwin_id).map(|itwin| itwin.status) {
            None => return Err(documented(404, &Endpoint::ListImodels)),
            Some(Some(status)) => return Err(documented(status, &Endpoint::ListImodels)),
            Some(None) => {}
        }

        let (skip, top) = skip_and_top(parameters, DEFAULT_TOP, Some(MOST_TOP), IMODELS_REFUSED)?;
        let after = match parameters.continuation.as_deref().map(read_token) {
            None => None,
            Some(Some(id)) => Some(id),
            Some(None) => return Err(answer::unprocessable(IMODELS_REFUSED, &[UNKNOWN_TOKEN])),
        };
        let skip = if self.faults.skip_paging { skip } else { 0 };
        Ok(ImodelsAsked { itwin_id, top, skip, after })
    }

    /// The links of this page, which `more` follow.
    fn imodel_links(
        &self,
        call: &Call<'_>,
        asked: &ImodelsAsked<'_>,
        page: &[(&String, &Imodel)],
        more: bool,
    ) -> String {
        let faults = &self.faults;
        let token_after_last = || token_after(page.last().map_or("", |(id, _)| id));
        let token = call.parameters.continuation.as_deref();
        let next = if faults.skip_paging {
            more.then(|| format!("$skip={}", asked.skip.saturating_add(page.len() as u64)))
        } else if faults.repeat_token {
            Some(continued(&token.map_or_else(token_after_last, str::to_owned)))
        } else {
            (more && !page.is_empty()).then(|| continued(&token_after_last()))
        };
        let whole = format!("iTwinId={}&$top={}", percent_encode(asked.itwin_id), asked.top);
        let this = match (token, asked.skip) {
            (Some(token), _) => format!("{whole}&{}", continued(token)),
            (None, 1..) => format!("{whole}&$skip={}", asked.skip),
            (None, 0) => whole.clone(),
        };
        let next = next.map(|at| if faults.bare_links { at } else { format!("{whole}&{at}") });

        let href = |address: &str| format!("{{\"href\":{}}}", json_text(address));
        let at = |query: &str| href(&format!("{}/imodels?{query}", call.base));
        let next = match &faults.links {
            Links::Absent => return String::new(),
            Links::Null => return ",\"_links\":null".to_owned(),
            Links::NextNever => None,
            Links::Hostile(address) => Some(href(address)),
            Links::WellFormed | Links::AsPublished | Links::NextAlways | Links::NextNull => {
                next.as_deref().map(at)
            }
        };
        // At the end `next` is null, and there is no way back: the list's own links say so.
        let next = next.unwrap_or_else(|| "null".to_owned());
        format!(",\"_links\":{{\"self\":{},\"prev\":null,\"next\":{next}}}", at(&this))
    }
}

/// What the client sends back to go on after the iModel with this id. The server keeps nothing: the token
/// still holds when that iModel is gone.
fn token_after(id: &str) -> String {
    // Filled up, as a client has to take care of a character that means something in a query.
    URL_SAFE.encode(format!("{TOKEN}{id}"))
}

/// Long enough that a GUID's token has to be filled up.
const TOKEN: &str = "next:";

/// The id in a token, to the letter as it was given; None for any other text.
fn read_token(token: &str) -> Option<String> {
    let text = String::from_utf8(URL_SAFE.decode(token).ok()?).ok()?;
    text.strip_prefix(TOKEN).map(str::to_owned)
}

fn continued(token: &str) -> String {
    format!("$continuationToken={}", percent_encode(token))
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
