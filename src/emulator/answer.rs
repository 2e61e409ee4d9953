//! The texts the emulated platform sends: pages, links, connections, and the documented error bodies.
//!
//! In: what is held, and where a page stands in its list. Out: a [`HttpReply`]. A page is put together from texts
//! that are ready; nothing is parsed unless runs are to be sent with fewer fields than they are stored with.
//! What was asked is no matter here.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::value::RawValue;

use super::faults::Links;
use super::holdings::Connection;
use crate::api::Kind;

/// An answer before it is sent.
#[derive(Clone, Debug)]
pub(super) struct HttpReply {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: String,
}

impl HttpReply {
    pub(super) fn json(status: u16, body: String) -> HttpReply {
        HttpReply { status, content_type: "application/json; charset=utf-8", headers: Vec::new(), body }
    }

    pub(super) fn html(status: u16, body: String) -> HttpReply {
        HttpReply { content_type: "text/html", ..HttpReply::json(status, body) }
    }

    pub(super) fn header(mut self, name: &str, value: impl Into<String>) -> HttpReply {
        self.headers.push((name.to_owned(), value.into()));
        self
    }
}

/// Where a page stands in its list.
pub(super) struct PageSpan<'a> {
    pub(super) base: &'a str,
    pub(super) path: &'a str,
    /// The `imodelId` a list of connections needs.
    pub(super) filter: Option<&'a str>,
    pub(super) skip: u64,
    pub(super) top: u64,
    pub(super) returned: u64,
    pub(super) more: bool,
}

impl PageSpan<'_> {
    fn href(&self, skip: u64) -> String {
        let PageSpan { base, path, top, .. } = self;
        let filter = self.filter.map(|id| format!("imodelId={}&", percent_encode(id))).unwrap_or_default();
        json_text(&format!("{base}{path}?{filter}$skip={skip}&$top={top}"))
    }

    fn href_as_published(&self, skip: u64) -> String {
        json_text(&format!("https://api.bentley.com{}&$skip={skip}&$top={}", self.path, self.top))
    }
}

/// `{"name":[items...],"_links":...}` in one allocation; `links` is what follows the array.
pub(super) fn page(name: &str, items: &[Cow<'_, str>], links: &str) -> String {
    let texts: usize = items.iter().map(|item| item.len() + 1).sum();
    let mut body = String::with_capacity(texts + name.len() + links.len() + 8);
    body.push_str("{\"");
    body.push_str(name);
    body.push_str("\":[");
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body.push_str(item);
    }
    body.push(']');
    body.push_str(links);
    body.push('}');
    body
}

/// `,"_links":...`, or nothing.
pub(super) fn links(links: &Links, span: &PageSpan<'_>) -> String {
    let next = match links {
        Links::Absent => return String::new(),
        Links::Null => return ",\"_links\":null".to_owned(),
        Links::AsPublished => {
            let this = span.href_as_published(span.skip);
            let next = span.href_as_published(span.skip.saturating_add(span.top));
            return format!(",\"_links\":{{\"self\":{{\"href\":{this}}},\"next\":{{\"href\":{next}}}}}");
        }
        Links::NextNever => None,
        Links::Hostile(address) => Some(format!("{{\"href\":{}}}", json_text(address))),
        Links::NextNull if !span.more => Some("null".to_owned()),
        Links::WellFormed if !span.more => None,
        Links::WellFormed | Links::NextNull | Links::NextAlways => {
            Some(format!("{{\"href\":{}}}", span.href(span.skip.saturating_add(span.returned))))
        }
    };
    let mut text = format!(",\"_links\":{{\"self\":{{\"href\":{}}}", span.href(span.skip));
    if span.skip > 0 && *links != Links::NextNever {
        let _ = write!(text, ",\"prev\":{{\"href\":{}}}", span.href(span.skip.saturating_sub(span.top)));
    }
    if let Some(next) = next {
        let _ = write!(text, ",\"next\":{next}");
    }
    text.push('}');
    text
}

/// `{"connection":...}`.
pub(super) fn one_connection(base: &str, id: &str, connection: &Connection) -> String {
    format!("{{\"connection\":{}}}", self::connection(base, id, connection))
}

/// A connection as the platform describes it.
pub(super) fn connection(base: &str, id: &str, connection: &Connection) -> String {
    let href = |path: String| format!("{{\"href\":{}}}", json_text(&format!("{base}{path}")));
    let last_run = connection.listing.newest().map_or_else(
        || "null".to_owned(),
        |run| {
            let list = connections_path(connection.kind);
            href(format!("{list}/{}/runs/{}", percent_encode(id), percent_encode(&run.id)))
        },
    );
    format!(
        "{{\"id\":{},\"iModelId\":{},\"iTwinId\":{},\"displayName\":{},\"authenticationType\":\"User\",\
         \"_links\":{{\"iModel\":{},\"iTwin\":{},\"lastRun\":{last_run}}}}}",
        json_text(id),
        json_text(&connection.imodel_id),
        json_text(&connection.itwin_id),
        json_text(&connection.display_name),
        href(format!("/imodels/{}", percent_encode(&connection.imodel_id))),
        href(format!("/itwins/{}", percent_encode(&connection.itwin_id))),
    )
}

/// A connection as a list describes it, with its id and its name only where that is to be `minimal`.
pub(super) fn listed_connection(base: &str, id: &str, connection: &Connection, minimal: bool) -> String {
    if !minimal {
        return self::connection(base, id, connection);
    }
    format!("{{\"id\":{},\"displayName\":{}}}", json_text(id), json_text(&connection.display_name))
}

/// The path of the list of this kind's connections.
pub(super) fn connections_path(kind: Kind) -> String {
    kind.path().fold(String::new(), |path, segment| path + "/" + segment)
}

/// The code of a 422 for a list of this kind's connections. Only the Export API's is published, and that for
/// other requests; the others are made like it.
pub(super) fn connections_refused(kind: Kind) -> &'static str {
    match kind {
        Kind::Export => "InvalidExportConnectionRequest",
        Kind::Storage => "InvalidStorageConnectionRequest",
        Kind::Manifest => "InvalidManifestConnectionRequest",
    }
}

/// A run's text with no more than its id, state and result, as they stand; what is no JSON object stays as it
/// is.
pub(super) fn minimal_run(json: &str) -> Cow<'_, str> {
    let Ok(fields) = serde_json::from_str::<BTreeMap<Cow<'_, str>, &RawValue>>(json) else {
        return Cow::Borrowed(json);
    };
    let kept = ["id", "state", "result"].into_iter().filter_map(|name| {
        let value = fields.get(name)?;
        Some(format!("\"{name}\":{value}"))
    });
    Cow::Owned(format!("{{{}}}", kept.collect::<Vec<_>>().join(",")))
}

/// 404 for a connection that is not there, or not of the kind it is asked for as.
pub(super) fn connection_not_found() -> HttpReply {
    error(404, "ConnectionNotFound", "Requested Connection is not available.")
}

/// 429 that says when to come back.
pub(super) fn documented_429(retry_after: &str) -> HttpReply {
    rate_limited().header("Retry-After", retry_after)
}

/// 429 that does not say when to come back.
pub(super) fn rate_limited() -> HttpReply {
    const TOO_MANY: &str =
        "The client sent more requests than allowed by this API for the current tier of the client.";
    error(429, "RateLimitExceeded", TOO_MANY)
}

/// 401 for a request without an Authorization header.
pub(super) fn header_not_found() -> HttpReply {
    error(401, "HeaderNotFound", "Header Authorization was not found in the request. Access denied.")
}

/// 401 for a token that is not accepted.
pub(super) fn unauthorized() -> HttpReply {
    error(401, "Unauthorized", "The access token is not valid. Access denied.")
}

/// 422 with details: code, message and target of each.
pub(super) fn unprocessable(code: &str, details: &[(&str, &str, &str)]) -> HttpReply {
    let details: Vec<String> = details
        .iter()
        .map(|(code, message, target)| {
            format!(
                "{{\"code\":{},\"message\":{},\"target\":{}}}",
                json_text(code),
                json_text(message),
                json_text(target)
            )
        })
        .collect();
    let body = format!(
        "{{\"error\":{{\"code\":{},\"message\":\"Cannot perform operation.\",\"details\":[{}]}}}}",
        json_text(code),
        details.join(",")
    );
    HttpReply::json(422, body)
}

/// An error body of the platform's shape.
pub(super) fn error(status: u16, code: &str, message: &str) -> HttpReply {
    let body = format!("{{\"error\":{{\"code\":{},\"message\":{}}}}}", json_text(code), json_text(message));
    HttpReply::json(status, body)
}

/// What a gateway says when the service behind it is gone.
pub(super) fn gateway_html() -> String {
    "<!DOCTYPE html>\r\n<html><head><title>Service unavailable</title></head>\r\n\
     <body><h2>Our services aren't available right now</h2><p>Error Info: gateway</p></body></html>\r\n"
        .to_owned()
}

/// `text` as a JSON string, quotes included.
pub(super) fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// What RFC 3986 calls reserved, and all that may not stand in a URL.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Everything but unreserved characters escaped.
pub(super) fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(skip: u64, returned: u64, more: bool) -> PageSpan<'static> {
        PageSpan { base: "http://h", path: "/runs", filter: None, skip, top: 50, returned, more }
    }

    #[test]
    fn links_say_what_their_setting_tells_them_to() {
        let this = r#""self":{"href":"http://h/runs?$skip=0&$top=50"}"#;
        let next = r#""next":{"href":"http://h/runs?$skip=30&$top=50"}"#;
        let prev = r#""prev":{"href":"http://h/runs?$skip=0&$top=50"}"#;
        let at_start = |kind: &Links, more| links(kind, &span(0, 30, more));
        assert_eq!(at_start(&Links::WellFormed, true), format!(r#","_links":{{{this},{next}}}"#));
        assert_eq!(at_start(&Links::WellFormed, false), format!(r#","_links":{{{this}}}"#));
        assert_eq!(at_start(&Links::NextAlways, false), format!(r#","_links":{{{this},{next}}}"#));
        assert_eq!(at_start(&Links::NextNull, false), format!(r#","_links":{{{this},"next":null}}"#));
        assert_eq!(at_start(&Links::NextNever, true), format!(r#","_links":{{{this}}}"#));
        assert_eq!(at_start(&Links::Null, true), r#","_links":null"#);
        assert_eq!(at_start(&Links::Absent, true), "");
        assert!(
            at_start(&Links::AsPublished, false).contains("https://api.bentley.com/runs&$skip=50&$top=50")
        );
        assert!(at_start(&Links::Hostile("https://evil/\"".into()), true).contains(r#""https://evil/\"""#));
        assert!(links(&Links::WellFormed, &span(50, 1, false)).contains(prev));
    }

    #[test]
    fn a_minimal_run_keeps_the_text_of_what_it_keeps() {
        let run = r#"{"id":"a\/b","state":"Completed","result":null,"startDateTime":"x","n":1.0,"jobs":[]}"#;
        assert_eq!(minimal_run(run), r#"{"id":"a\/b","state":"Completed","result":null}"#);
        assert_eq!(minimal_run("[1]"), "[1]");
        assert_eq!(minimal_run("{}"), "{}");
    }
}
