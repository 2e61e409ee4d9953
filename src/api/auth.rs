//! The bearer token of each request: a ready one, one in a file, or one from the issuer.
//!
//! In: [`Credentials`]. Out: the newest token, renewed before it expires and after the platform refused
//! it; requests that need a new one at the same time share it. A secret leaves this module only as a
//! header marked sensitive or in the body of a token request.

use std::fmt;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use reqwest::RequestBuilder;
use reqwest::header::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;
use url::Url;

use super::error::{Doing, Error, Reason, length};
use super::options::{Credentials, SetupError};
use super::secrets::Secrets;
use super::transport::{Transport, join};

/// The scope of every iTwin Platform API.
const SCOPE: &str = "itwin-platform";
/// How long before its end a token is renewed.
const RENEW_BEFORE: Duration = Duration::from_secs(60);

/// One token, as the header that carries it.
#[derive(Clone)]
pub(super) struct Token {
    /// `Bearer …`, marked sensitive.
    pub(super) header: HeaderValue,
    /// Counts the tokens of this process, so that a refusal of an old one does not renew the newest.
    generation: u64,
    renew_at: Option<Instant>,
    fate: Arc<TokenFate>,
}

/// What became of a token, shared by all requests that were sent with it.
#[derive(Debug, Default)]
struct TokenFate {
    was_sent: AtomicBool,
    was_accepted: AtomicBool,
    was_refused_fresh: AtomicBool,
}

/// The tokens of this process: the newest one, and how to get another.
pub(super) struct Tokens {
    credentials: Credentials,
    endpoint: Url,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    newest: Option<Token>,
    /// What the issuer answered when it refused the credentials: it is not asked again.
    refusal: Option<Error>,
}

impl Tokens {
    /// Checks the credentials as far as is possible without a request, and reads a token file.
    pub(super) fn new(credentials: Credentials, issuer: &Url, secrets: &Secrets) -> Result<Self, SetupError> {
        let ready = match &credentials {
            Credentials::Token(token) => Some(token.clone()),
            Credentials::TokenFile(path) => {
                let read = read_token(path)
                    .map_err(|problem| SetupError::TokenFile { path: path.clone(), problem })?;
                Some(read)
            }
            Credentials::Client { id, secret } => {
                if id.is_empty() || secret.expose_secret().is_empty() {
                    return Err(SetupError::EmptyClient);
                }
                secrets.add(secret.expose_secret());
                None
            }
        };
        let newest = match ready {
            Some(ready) => Some(Token::new(&ready, 1, None, secrets).ok_or(SetupError::NoToken)?),
            None => None,
        };
        Ok(Self {
            credentials,
            endpoint: join(issuer, ["connect", "token"]),
            state: Mutex::new(State { newest, refusal: None }),
        })
    }

    /// The token to use now, renewed if its end is near.
    pub(super) async fn current(&self, transport: &Transport) -> Result<Token, Error> {
        // The lock is held during a renewal, so that other requests wait for the same new token instead of asking
        // the issuer for one each.
        let mut state = self.state.lock().await;
        match &state.newest {
            Some(token) if token.renew_at.is_none_or(|at| Instant::now() < at) => Ok(token.clone()),
            _ => self.renew(&mut state, transport).await,
        }
    }

    /// Another token than the one that the platform refused, or `None` if none is to be had.
    pub(super) async fn after_refusal(
        &self,
        refused: &Token,
        transport: &Transport,
    ) -> Result<Option<Token>, Error> {
        let mut state = self.state.lock().await;
        match &state.newest {
            Some(token) if token.generation != refused.generation => return Ok(Some(token.clone())),
            _ => {}
        }
        match &self.credentials {
            Credentials::Token(_) => Ok(None),
            // Whoever keeps the file may have put a new token into it since; the same one again is no other.
            Credentials::TokenFile(path) => {
                let again = read_token(path).map_err(|problem| {
                    let message = format!("the token was refused, and reading {} {problem}", path.display());
                    Error::new(Doing::GetToken, Reason::Refused, message)
                })?;
                let token = Token::new(&again, refused.generation + 1, None, &transport.secrets);
                let changed = token.filter(|token| token.header != refused.header);
                if changed.is_some() {
                    state.newest.clone_from(&changed);
                }
                Ok(changed)
            }
            Credentials::Client { .. } => self.renew(&mut state, transport).await.map(Some),
        }
    }

    /// Gets a new token from the issuer.
    async fn renew(&self, state: &mut State, transport: &Transport) -> Result<Token, Error> {
        let Credentials::Client { id, secret } = &self.credentials else {
            // A token that was given ready has no known end, so this is not reached: `renew_at` is set by an
            // issuer's answer alone.
            return Err(Error::new(Doing::GetToken, Reason::Refused, "the token cannot be renewed"));
        };
        // Credentials that the issuer refused once stay refused: asking again for each request could lock them.
        if let Some(refusal) = &state.refusal {
            return Err(refusal.clone());
        }
        let asked_at = Instant::now();
        let request = || self.request(transport, id, secret);
        let answer = transport.send(&Doing::GetToken, &mut None, request).await.map_err(|mut error| {
            if error.reason == Reason::Refused {
                state.refusal = Some(error.clone());
            }
            // A timeout makes the caller ask for a smaller page, which would not help against a slow issuer.
            if let Reason::TimedOut { after } = error.reason {
                let message = format!("no complete answer within {}", length(after));
                error = Error::new(Doing::GetToken, Reason::Unavailable, message);
            }
            error
        })?;
        let generation = state.newest.as_ref().map_or(0, |token| token.generation) + 1;
        let token = read_answer(&answer.text)
            .and_then(|(token, lifetime)| {
                let renew_at = lifetime.and_then(|lifetime| asked_at.checked_add(renew_after(lifetime)));
                Token::new(&token, generation, renew_at, &transport.secrets)
            })
            // Nothing of the answer is shown: it may hold a token under a name that is not known here.
            .ok_or_else(|| Error::new(Doing::GetToken, Reason::Unreadable, "no access_token in it"))?;
        state.newest = Some(token.clone());
        Ok(token)
    }

    fn request(&self, transport: &Transport, id: &str, secret: &SecretString) -> RequestBuilder {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", id),
            ("client_secret", secret.expose_secret()),
            ("scope", SCOPE),
        ];
        transport.issuer.post(self.endpoint.clone()).header("accept", "application/json").form(&form)
    }
}

impl Token {
    /// `None` where the text cannot be a token: empty, or not fit for a header.
    fn new(
        text: &SecretString,
        generation: u64,
        renew_at: Option<Instant>,
        secrets: &Secrets,
    ) -> Option<Self> {
        let text = text.expose_secret().trim();
        // People copy the whole header, `Bearer` included.
        let text = match text.split_at_checked(6) {
            Some((scheme, "")) if scheme.eq_ignore_ascii_case("bearer") => "",
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") && token.starts_with(' ') => {
                token.trim_start()
            }
            _ => text,
        };
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        secrets.add(text);
        let mut header = HeaderValue::from_str(&format!("Bearer {text}")).ok()?;
        header.set_sensitive(true);
        Some(Self { header, generation, renew_at, fate: Arc::default() })
    }

    /// Notes that a request is sent with it. `true`: no other was before, so the token is fresh.
    pub(super) fn mark_sent(&self) -> bool {
        !self.fate.was_sent.swap(true, Ordering::Relaxed)
    }

    /// Notes that the platform answered a request with it in a way that needs valid credentials.
    pub(super) fn mark_accepted(&self) {
        self.fate.was_accepted.store(true, Ordering::Relaxed);
    }

    /// Whether a 401 to a request with this renewed token says that the credentials are refused. With several
    /// requests in flight a token may have served others and died before this request's turn: only one that
    /// was never accepted, and that died in the hands of the first request that carried it, is a refusal.
    pub(super) fn is_refusal(&self, was_fresh: bool) -> bool {
        if self.fate.was_accepted.load(Ordering::Relaxed) {
            return false;
        }
        if was_fresh {
            self.fate.was_refused_fresh.store(true, Ordering::Relaxed);
        }
        self.fate.was_refused_fresh.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token {{ generation: {} }}", self.generation)
    }
}

/// The content of a token file, or what is wrong with it, as `failed: …`.
fn read_token(path: &Path) -> Result<SecretString, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("failed: {error}"))?;
    Ok(SecretString::from(text.trim_start_matches('\u{feff}').trim()))
}

/// The token of the issuer's answer and how long it lives, if it says so.
fn read_answer(answer: &str) -> Option<(SecretString, Option<Duration>)> {
    let answer: Value = serde_json::from_str(answer).ok()?;
    let token = answer.get("access_token")?.as_str()?.to_owned();
    let lifetime = answer.get("expires_in").and_then(|lifetime| match lifetime {
        Value::String(text) => text.trim().parse::<f64>().ok(),
        other => other.as_f64(),
    });
    let lifetime = lifetime.map(|seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default());
    Some((token.into(), lifetime))
}

/// When to renew a token: a minute before its end, or after half its life if that is short.
fn renew_after(lifetime: Duration) -> Duration {
    if lifetime > RENEW_BEFORE * 2 { lifetime - RENEW_BEFORE } else { lifetime / 2 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_a_minute_early_or_at_half_its_life() {
        let after = |seconds| renew_after(Duration::from_secs(seconds)).as_secs();
        assert_eq!([after(3600), after(121), after(120), after(10), after(0)], [3540, 61, 60, 5, 0]);
    }

    #[test]
    fn the_issuers_answer_is_read_leniently_but_never_without_a_token() {
        let lifetime = |text| read_answer(text).map(|(_, lifetime)| lifetime.map(|time| time.as_secs()));
        assert_eq!(lifetime(r#"{"access_token":"t","expires_in":3600}"#), Some(Some(3600)));
        assert_eq!(lifetime(r#"{"access_token":"t","expires_in":"60"}"#), Some(Some(60)));
        assert_eq!(lifetime(r#"{"access_token":"t","expires_in":-1}"#), Some(Some(0)));
        assert_eq!(lifetime(r#"{"access_token":"t","expires_in":null}"#), Some(None));
        assert_eq!(lifetime(r#"{"access_token":7}"#), None);
        assert_eq!(lifetime(r#"{"token":"t"}"#), None);
    }

    #[test]
    fn a_copied_header_is_a_token_and_nonsense_is_none() {
        let header = |text: &str| {
            let token = Token::new(&text.into(), 1, None, &Secrets::default());
            token.map(|token| token.header.to_str().unwrap().to_owned())
        };
        assert_eq!(header(" abc\n").as_deref(), Some("Bearer abc"));
        assert_eq!(header("bearer  abc").as_deref(), Some("Bearer abc"));
        for nonsense in ["", "  ", "Bearer ", "a b", "a\nb", "„abc“"] {
            assert_eq!(header(nonsense), None, "{nonsense}");
        }
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let secrets = Secrets::default();
        let token = Token::new(&"hush".into(), 1, None, &secrets).unwrap();
        let client = Credentials::Client { id: "service-1".to_owned(), secret: "hush".into() };
        let ready = Credentials::Token("hush".into());
        let shown = format!("{token:?} {:?} {client:?} {ready:?} {secrets:?}", token.header);
        assert!(!shown.contains("hush"), "{shown}");
    }
}
