//! Whom the emulated platform lets in: bearer tokens, and the endpoint that issues them.

use std::collections::{BTreeMap, BTreeSet};

use url::form_urlencoded;

use super::answer::{self, HttpReply};

/// What an issued token is said to last, in seconds. The emulator never waits for its end: a token ends by
/// [`Access::token_uses`].
const TOKEN_SECONDS: u32 = 3600;

/// Whom the platform lets in. With neither tokens nor clients any token will do, but there must be one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// Ready bearer tokens that are accepted.
    pub tokens: BTreeSet<String>,
    /// Service applications: secret by client id. Without any, a token is issued to everyone who asks.
    pub clients: BTreeMap<String, String>,
    /// After so many accepted requests an issued token is refused, as an expired one is.
    pub token_uses: Option<u32>,
    /// How many tokens were issued; they are called `emulated-token-1`, `emulated-token-2`, ...
    pub issued: u32,
    /// Requests accepted with each issued token.
    pub uses: BTreeMap<String, u32>,
    /// No token is accepted any more. Tokens are issued all the same.
    pub refuse_all: bool,
}

impl Access {
    /// Whether a request with this header may pass; counts the use of an issued token.
    pub(super) fn check(&mut self, authorization: Option<&str>) -> Result<(), HttpReply> {
        let Some(header) = authorization else {
            return Err(answer::header_not_found());
        };
        let token = match header.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim(),
            _ => "",
        };
        if token.is_empty() || self.refuse_all {
            return Err(answer::unauthorized());
        }
        if self.tokens.contains(token) {
            return Ok(());
        }
        match self.uses.get_mut(token) {
            Some(uses) if self.token_uses.is_none_or(|most| *uses < most) => {
                *uses += 1;
                Ok(())
            }
            Some(_) => Err(answer::unauthorized()),
            None if self.tokens.is_empty() && self.clients.is_empty() => Ok(()),
            None => Err(answer::unauthorized()),
        }
    }

    /// The token endpoint: client credentials in a form.
    pub(super) fn issue(&mut self, body: &[u8]) -> HttpReply {
        let form: BTreeMap<_, _> = form_urlencoded::parse(body).collect();
        let field = |name: &str| form.get(name).map_or("", |value| value.as_ref());
        if field("grant_type") != "client_credentials" {
            return HttpReply::json(400, r#"{"error":"unsupported_grant_type"}"#.to_owned());
        }
        let known =
            self.clients.get(field("client_id")).is_some_and(|secret| secret == field("client_secret"));
        if !known && !self.clients.is_empty() {
            return HttpReply::json(400, r#"{"error":"invalid_client"}"#.to_owned());
        }
        self.issued += 1;
        let token = format!("emulated-token-{}", self.issued);
        let text =
            format!(r#"{{"access_token":"{token}","token_type":"Bearer","expires_in":{TOKEN_SECONDS}}}"#);
        self.uses.insert(token, 0);

        HttpReply::json(200, text)
    }
}
