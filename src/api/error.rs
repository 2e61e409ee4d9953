//! What can go wrong between this program and the platform, named by what it means for the caller.
//!
//! In: status, headers and body of an answer, or the failure to get one. Out: an [`Error`] that says
//! what was being done, what happened, and what the platform said of it. Nothing that is known to be
//! secret leaves this module, whatever a gateway echoes: every foreign text goes through
//! [`Secrets`](super::secrets::Secrets).

use std::fmt;
use std::time::Duration;

use reqwest::header::HeaderMap;
use serde_json::Value;

use super::id::{ConnectionId, Kind};
use super::route::Obstacle;
use super::secrets::{MESSAGE_CHARS, Secrets, WORD_CHARS, clean, cut};

/// Details kept of one answer: the platform names one for each parameter that is wrong.
const MAX_DETAILS: usize = 10;

/// A request that did not succeed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{doing}: {}", sentence(doing, reason, problem))]
pub struct Error {
    pub doing: Doing,
    /// What happened, by its meaning.
    pub reason: Reason,
    /// What the platform said of it, as far as it said anything.
    pub problem: Box<Problem>,
}

impl Error {
    /// An error that no answer is behind; `message` is our own.
    pub(super) fn new(doing: Doing, reason: Reason, message: impl Into<String>) -> Self {
        let problem = Problem {
            message: Some(message.into()).filter(|message| !message.is_empty()),
            ..Problem::default()
        };
        Self { doing, reason, problem: Box::new(problem) }
    }

    /// Whether a request about something else may succeed where this one did not.
    pub(crate) fn is_about_one(&self) -> bool {
        use Reason::{BudgetSpent, Refused, ShareSpent, Stopped, Unreachable};
        !matches!(self.reason, Refused | Unreachable(_) | BudgetSpent { .. } | ShareSpent | Stopped)
    }

    /// Whether a smaller page may be answered where this one was not.
    pub(crate) fn asks_for_less(&self) -> bool {
        matches!(self.reason, Reason::PageTooLarge | Reason::TimedOut { .. })
            || self.problem.status == Some(504)
    }

    /// Whether the same request may succeed later without anybody doing anything.
    pub(crate) fn is_retriable(&self) -> bool {
        use Reason::{Throttled, TimedOut, Unavailable, Unreadable};
        match self.reason {
            TimedOut { .. } | Throttled { .. } | Unavailable => true,
            // Most often a gateway's page with status 200. An issuer's answer may hold a token under another name,
            // and would hold it each time.
            Unreadable => self.doing != Doing::GetToken,
            _ => false,
        }
    }
}

/// What a request that did not succeed means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// The credentials are not accepted: 401 after a renewal, or the token endpoint refused them.
    Refused,
    /// The credentials are accepted, but may not see this (403).
    Forbidden,
    /// There is no such thing (404).
    NotFound,
    /// The page size is not accepted, or the answer is longer than this program reads. Ask for less.
    PageTooLarge,
    /// No complete answer in time. A list call may ask for less.
    TimedOut {
        /// How long was waited, for each attempt.
        after: Duration,
    },
    /// 429, again and again.
    Throttled {
        /// The wait that the last answer asked for.
        wait: Duration,
    },
    /// 429, with a pause of this thing alone that outlasts the time budget. Others may be answered meanwhile.
    PauseTooLong {
        /// The wait that is left.
        asked: Duration,
    },
    /// 408, 5xx, or no connection, or one that broke.
    Unavailable,
    /// No connection can be made until somebody changes something: the same request fails in the same way.
    Unreachable(Obstacle),
    /// A success whose body is not JSON.
    Unreadable,
    /// Any other refusal of the request, redirects included, which are never followed.
    Rejected,
    /// The time budget is spent, or would be before the next attempt could begin.
    BudgetSpent {
        /// The wait that the platform asked for and that does not fit.
        asked: Option<Duration>,
    },
    /// The caller's turn has ended: others wait for what is left of the time budget.
    ShareSpent,
    Stopped,
}

/// What a request was for. Its text fits before a colon.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Doing {
    /// One page of a connection's runs.
    ListRuns {
        connection: ConnectionId,
        skip: u64,
    },
    GetRun {
        connection: ConnectionId,
        run: String,
    },
    GetConnection {
        connection: ConnectionId,
    },
    /// One page of the connections of an iModel.
    ListConnections {
        kind: Kind,
        imodel: String,
        skip: u64,
    },
    /// One page of the iModels of an iTwin.
    ListImodels {
        itwin: String,
    },
    ListItwins,
    GetToken,
}

impl Doing {
    /// The connection asked for, if it is one's.
    pub(crate) fn connection(&self) -> Option<&ConnectionId> {
        match self {
            Self::ListRuns { connection, .. }
            | Self::GetRun { connection, .. }
            | Self::GetConnection { connection } => Some(connection),
            Self::ListConnections { .. } | Self::ListImodels { .. } | Self::ListItwins | Self::GetToken => {
                None
            }
        }
    }

    /// The `$skip` of a list call.
    pub(crate) fn skip(&self) -> Option<u64> {
        match self {
            Self::ListRuns { skip, .. } | Self::ListConnections { skip, .. } => Some(*skip),
            _ => None,
        }
    }

    /// What the platform may throttle alone: a connection, the lists of one iModel or iTwin.
    pub(super) fn subject(&self) -> String {
        match self {
            Self::ListRuns { connection, .. }
            | Self::GetRun { connection, .. }
            | Self::GetConnection { connection } => format!("connection {connection}"),
            Self::ListConnections { kind, imodel, .. } => format!("{} of {imodel}", kind.as_str()),
            Self::ListImodels { itwin } => format!("iTwin {itwin}"),
            Self::ListItwins => "iTwins".to_owned(),
            Self::GetToken => "token".to_owned(),
        }
    }

    fn answerer(&self) -> &'static str {
        match self {
            Self::GetToken => "the token issuer",
            _ => "the platform",
        }
    }
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let id = |id: &str| cut(&clean(id), WORD_CHARS);
        match self {
            Self::ListRuns { connection, skip: 0 } => {
                write!(f, "listing runs of connection {}", id(&connection.to_string()))
            }
            Self::ListRuns { connection, skip } => {
                let connection = id(&connection.to_string());
                write!(f, "listing runs of connection {connection} at $skip={skip}")
            }
            Self::GetRun { connection, run } => {
                let (run, connection) = (id(run), id(&connection.to_string()));
                write!(f, "asking for run {run} of connection {connection}")
            }
            Self::GetConnection { connection } => {
                write!(f, "asking for connection {}", id(&connection.to_string()))
            }
            Self::ListConnections { kind, imodel, .. } => {
                write!(f, "listing {} connections of iModel {}", kind.as_str(), id(imodel))
            }
            Self::ListImodels { itwin } => write!(f, "listing the iModels of iTwin {}", id(itwin)),
            Self::ListItwins => f.write_str("listing iTwins"),
            Self::GetToken => f.write_str("asking for a token"),
        }
    }
}

/// What an answer said. All text is cleaned, shortened and free of known secrets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Problem {
    /// The HTTP status; `None` where there was no answer.
    pub status: Option<u16>,
    /// The platform's code, for example `InsufficientPermissions`.
    pub code: Option<String>,
    /// The platform's message, or the beginning of a body of another form.
    pub message: Option<String>,
    /// What the error is about, for example `$top`.
    pub target: Option<String>,
    /// The details, at most ten.
    pub details: Vec<Detail>,
    /// The header `x-correlation-id`, which the platform's support asks for.
    pub correlation_id: Option<String>,
    /// The wait asked for by a header.
    pub retry_after: Option<Duration>,
}

/// One entry of an error's `details`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// Its code, for example `InvalidValue`.
    pub code: Option<String>,
    pub message: Option<String>,
    pub target: Option<String>,
}

impl Problem {
    /// Reads an answer that is no success: the documented body with any part missing or null, the
    /// issuer's (`error`, `error_description`), other JSON, a gateway's HTML, or nothing.
    pub(super) fn read(status: u16, headers: &HeaderMap, body: &str, secrets: &Secrets) -> Self {
        let mut problem = Self {
            status: Some(status),
            correlation_id: header(headers, "x-correlation-id").map(|id| secrets.show(id, WORD_CHARS)),
            ..Self::default()
        };
        match serde_json::from_str::<Value>(body) {
            Ok(value) => problem.read_json(&value, secrets),
            Err(_) => problem.message = secrets.show_body(body),
        }
        if (300..400).contains(&status) {
            let location = header(headers, "location").map(|to| secrets.show(to, WORD_CHARS));
            let to = location.unwrap_or_else(|| "nowhere".to_owned());
            problem.message = Some(format!("a redirect to {to}, which is not followed"));
        }
        problem
    }

    fn read_json(&mut self, value: &Value, secrets: &Secrets) {
        let text = |value: Option<&Value>, limit| {
            let text = match value? {
                Value::String(text) => secrets.show(text, limit),
                Value::Number(number) => number.to_string(),
                _ => return None,
            };
            (!text.is_empty()).then_some(text)
        };
        // The platform wraps an object in `error`; a token issuer sends `error` as a word beside its description,
        // and gateways send the members bare.
        let error = value.get("error").filter(|error| error.is_object()).unwrap_or(value);
        self.code = text(error.get("code"), WORD_CHARS).or_else(|| text(value.get("error"), WORD_CHARS));
        self.message = ["message", "error_description", "detail", "title"]
            .iter()
            .find_map(|name| text(error.get(name), MESSAGE_CHARS));
        self.target = text(error.get("target"), WORD_CHARS);
        self.details = error
            .get("details")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
            .take(MAX_DETAILS)
            .map(|detail| Detail {
                code: text(detail.get("code"), WORD_CHARS),
                message: text(detail.get("message"), MESSAGE_CHARS),
                target: text(detail.get("target"), WORD_CHARS),
            })
            .filter(|detail| *detail != Detail::default())
            .collect();
        if self.code.is_none() && self.message.is_none() && self.details.is_empty() && !value.is_null() {
            self.message = secrets.show_body(&value.to_string());
        }
    }

    /// What this answer to `doing` means.
    pub(super) fn reason(&self, doing: &Doing) -> Reason {
        match self.status.unwrap_or_default() {
            400 | 401 | 403 if *doing == Doing::GetToken => Reason::Refused,
            400 | 422 if self.is_about_top() => Reason::PageTooLarge,
            401 => Reason::Refused,
            403 => Reason::Forbidden,
            404 => Reason::NotFound,
            429 => Reason::Throttled { wait: self.retry_after.unwrap_or_default() },
            408 | 500..=599 => Reason::Unavailable,
            _ => Reason::Rejected,
        }
    }

    fn is_about_top(&self) -> bool {
        let details = self.details.iter().map(|detail| &detail.target);
        details
            .chain([&self.target])
            .flatten()
            .any(|target| target.trim_start_matches('$').eq_ignore_ascii_case("top"))
    }

    /// `403 InsufficientPermissions: The user has … (correlation id …)`
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        let mut head: Vec<String> = self.status.iter().map(u16::to_string).collect();
        head.extend(self.code.clone());
        parts.push(head.join(" "));
        parts.extend(self.message.clone());
        parts.retain(|part| !part.is_empty());
        let mut summary = parts.join(": ");
        // Three are enough to see what is wrong with a request, and the line stays readable.
        for detail in self.details.iter().take(3) {
            let head = [&detail.code, &detail.target].into_iter().flatten();
            let head = head.cloned().collect::<Vec<_>>().join(" ");
            let detail = [head, detail.message.clone().unwrap_or_default()];
            let detail = detail.iter().filter(|part| !part.is_empty());
            let detail = detail.cloned().collect::<Vec<_>>().join(": ");
            summary = format!("{}; {detail}", summary.trim_end_matches('.'));
        }
        match &self.correlation_id {
            Some(id) => format!("{} (correlation id {id})", summary.trim_end_matches('.')),
            None => summary.trim_end_matches('.').to_owned(),
        }
    }
}

/// The text of a header, if it is text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What happened, as the end of a sentence that [`Doing`] begins.
fn sentence(doing: &Doing, reason: &Reason, problem: &Problem) -> String {
    let who = doing.answerer();
    let answer = problem.summary();
    // Without a status the message is this program's own and says the whole of what happened.
    match reason {
        Reason::Refused => format!("{who} refused the credentials: {answer}"),
        Reason::TimedOut { after } => format!("no complete answer within {}", length(*after)),
        Reason::Throttled { wait } => {
            let wait = length(*wait);
            format!("{who} answered {answer}, however often it was waited; it asks to wait a further {wait}")
        }
        Reason::Unreadable => format!("{who} answered what cannot be read: {answer}"),
        Reason::BudgetSpent { asked: Some(wait) } | Reason::PauseTooLong { asked: wait } => {
            let wait = length(*wait);
            let answer = problem.status.map(|_| format!(": {who} answered {answer}")).unwrap_or_default();
            format!("the time budget ends before the {wait} that {who} asks to wait{answer}")
        }
        Reason::BudgetSpent { asked: None } if answer.is_empty() => "the time budget is spent".to_owned(),
        Reason::BudgetSpent { asked: None } if problem.status.is_some() => {
            format!("the time budget ends before another attempt: {who} answered {answer}")
        }
        Reason::BudgetSpent { asked: None } => {
            format!("the time budget ends before another attempt: {answer}")
        }
        Reason::ShareSpent => {
            "its share of the time budget was used while others waited; the next sync goes on".to_owned()
        }
        Reason::Stopped => "stopped before it was done".to_owned(),
        _ if problem.status.is_some() => format!("{who} answered {answer}"),
        _ => answer,
    }
}

/// A length of time for people: whole seconds, or milliseconds below one.
pub(super) fn length(time: Duration) -> String {
    let rounded = if time < Duration::from_secs(1) {
        Duration::from_millis(u64::try_from(time.as_millis()).unwrap_or_default())
    } else {
        Duration::from_secs(time.as_secs() + u64::from(time.subsec_nanos() > 0))
    };
    humantime::format_duration(rounded).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(status: u16, body: &str) -> String {
        let secrets = Secrets::default();
        secrets.add("s3cret+/ \"x\"");
        let doing = Doing::ListRuns { connection: "X".parse().unwrap(), skip: 50 };
        let headers = [("x-correlation-id".parse().unwrap(), "c-1".parse().unwrap())];
        let problem = Problem::read(status, &HeaderMap::from_iter(headers), body, &secrets);
        let reason = problem.reason(&doing);
        let problem = Box::new(problem);
        let error = Error { doing, reason, problem }.to_string();
        let error = error.strip_prefix("listing runs of connection X at $skip=50: the platform ");
        error.unwrap().to_owned()
    }

    #[test]
    fn the_documented_body_is_told_with_its_details() {
        assert_eq!(
            told(
                403,
                r#"{"error":{"code":"InsufficientPermissions","message":"No permission.","target":null}}"#
            ),
            "answered 403 InsufficientPermissions: No permission (correlation id c-1)"
        );
        assert_eq!(
            told(
                422,
                r#"{"error":{"code":"InvalidConnectionRunsRequest","message":"Invalid.","details":[
                    {"code":"InvalidValue","message":"Page size is out of limits.","target":"$top"},null,7]}}"#
            ),
            "answered 422 InvalidConnectionRunsRequest: Invalid; InvalidValue $top: Page size is out of limits (correlation id c-1)"
        );
        assert_eq!(
            told(401, r#"{"error":{"code":"HeaderNotFound","message":"Header."}}"#),
            "refused the credentials: 401 HeaderNotFound: Header (correlation id c-1)"
        );
    }

    #[test]
    fn any_other_body_is_told_as_far_as_it_can_be() {
        let cases = [
            ("", "answered 502"),
            ("null", "answered 502"),
            ("{}", "answered 502: {}"),
            (r#"{"error":null}"#, r#"answered 502: {"error":null}"#),
            (r#"{"error":{"code":null,"message":"m","details":{}}}"#, "answered 502: m"),
            (r#"{"error":"invalid_client","error_description":"d"}"#, "answered 502 invalid_client: d"),
            (r#"{"statusCode":401,"message":"m"}"#, "answered 502: m"),
            ("[1,2]", "answered 502: [1,2]"),
            (r#"{"error":{"code":"x"#, r#"answered 502: {"error":{"code":"x"#),
            (
                "<!DOCTYPE html>\r\n<html><head><STYLE>b{}</STYLE><title>502 Bad\u{202e}\u{7} Gateway</title></head><!-- <x> --><p>nginx",
                "answered 502: 502 Bad Gateway nginx",
            ),
            ("<script>never closed", "answered 502"),
            ("< \u{130}<styleé", "answered 502"),
        ];
        for (body, expected) in cases {
            assert_eq!(told(502, body), format!("{expected} (correlation id c-1)"), "{body}");
        }
    }

    #[test]
    fn no_form_of_a_secret_is_shown() {
        let shown = [
            r#"{"error":{"code":"s3cret+/ \"x\"","message":"is \u00733cret+/ \"x\"","target":"s3cret+/ \"x\""}}"#,
            r#"{"weird":"s3cret+/ \"x\""}"#,
            "grant_type=x&client_secret=s3cret%2B%2F+%22x%22&scope=y",
            "s3cr\u{200b}et+/\u{7} \"x\"",
            "<p>s3cret<b></b> s3cret+/ \"x\"</p>",
            r#"{"cut": "s3cret+/ \"x\""#,
        ];
        for body in shown {
            let told = told(500, body);
            assert!(told.contains("[secret]") && !told.contains("cret+"), "{told}");
            assert!(!told.contains("cret%2B"), "{told}");
        }
        // Replaced before the text is cut, so that no part of it is left at the end.
        let long = format!("{}s3cret+/ \"x\"", "a".repeat(96));
        assert!(told(500, &long).contains("a[sec…"), "{}", told(500, &long));
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let body = format!(r#"{{"error":{{"code":"c","message":"{}"}}}}"#, "é".repeat(1000));
        assert_eq!(told(500, &body).matches('é').count(), 300);
    }

    #[test]
    fn a_status_is_told_by_its_meaning() {
        let connection: ConnectionId = "X".parse().unwrap();
        let list = Doing::ListRuns { connection, skip: 0 };
        let reason = |doing: &Doing, status, body: &str| {
            Problem::read(status, &HeaderMap::new(), body, &Secrets::default()).reason(doing)
        };
        for status in [408, 500, 502, 503, 504, 521, 522, 524] {
            assert_eq!(reason(&list, status, ""), Reason::Unavailable);
        }
        for status in [302, 303, 400, 409, 410, 422] {
            assert_eq!(reason(&list, status, ""), Reason::Rejected);
        }
        assert_eq!(reason(&list, 404, ""), Reason::NotFound);
        let top = r#"{"error":{"details":[{"target":"$skip"},{"target":"$top"}]}}"#;
        assert_eq!(reason(&list, 422, top), Reason::PageTooLarge);
        assert_eq!(reason(&list, 400, r#"{"error":{"target":"Top"}}"#), Reason::PageTooLarge);
        assert_eq!(reason(&list, 422, r#"{"error":{"target":"$skip"}}"#), Reason::Rejected);
        assert_eq!(reason(&Doing::GetToken, 400, ""), Reason::Refused);
    }

    #[test]
    fn an_id_cannot_break_out_of_its_line() {
        let doing = Doing::GetRun { connection: "X".parse().unwrap(), run: "a\u{202e}b\nc".to_owned() };
        assert_eq!(doing.to_string(), "asking for run ab c of connection X");
    }
}
