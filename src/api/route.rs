//! How a host is reached, directly or through a proxy, and why a connection to it could not be made.
//!
//! In: a base URL and the variables that name proxies. Out: a [`Route`] that names host, port and proxy for
//! messages, a resolver whose failures are told apart from others, and the [`Obstacle`] behind an error of
//! the HTTP client, told by the types of its causes. No password of a proxy leaves this module.

use std::collections::HashSet;
use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::HeaderValue;
use url::Url;

use super::refusal;

/// What keeps every request from its host until somebody changes something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// The certificate is not trusted, has expired, or is another host's.
    Certificate,
    /// The port is answered, but not with TLS that this program speaks.
    NoTls,
    UnknownHost,
    /// The proxy is of a kind that is not supported, or what names it cannot be read.
    Proxy,
    /// The proxy lets nothing through to this host, or not without a login.
    ProxyRefuses,
}

/// The variables that name the proxy of https requests, in the order in which the client looks at them.
const HTTPS_PROXY: [&str; 2] = ["HTTPS_PROXY", "https_proxy"];
/// The same for requests of every scheme; looked at where the others name no proxy that can be used.
const ALL_PROXY: [&str; 2] = ["ALL_PROXY", "all_proxy"];

/// The way to one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Route {
    /// `host:port`.
    target: String,
    proxy: Option<Proxy>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Proxy {
    /// What names it, if it is a variable.
    variable: Option<&'static str>,
    /// `http`, `https`, `socks5`, or nothing where that could not be read.
    scheme: String,
    /// `host:port`, without user and password; empty where it could not be read.
    address: String,
    /// User and password as the proxy is sent them; not shown.
    login: Option<HeaderValue>,
}

impl Route {
    /// The way to the host of this URL, as the HTTP client will take it.
    pub(super) fn find(url: &Url, variable: impl Fn(&'static str) -> Option<String>) -> Self {
        let host = url.host().map(|host| host.to_string()).unwrap_or_default();
        let port = url.port_or_known_default().map(|port| format!(":{port}")).unwrap_or_default();
        let target = format!("{host}{port}");
        // Plain http goes to this machine only, and never through a proxy.
        if url.scheme() != "https" {
            return Self { target, proxy: None };
        }
        let Ok(asked) = url.as_str().parse::<hyper::Uri>() else { return Self { target, proxy: None } };
        let first = |names: [&'static str; 2]| {
            let found = names.into_iter().find_map(|name| variable(name).map(|value| (name, value)));
            found.filter(|(_, value)| !value.trim().is_empty())
        };
        let no_proxy = ["NO_PROXY", "no_proxy"].into_iter().find_map(&variable).unwrap_or_default();
        let matcher = |value: &str| Matcher::builder().https(value.to_owned()).no(no_proxy.clone()).build();
        let is_exempt = matcher("http://proxy.invalid").intercept(&asked).is_none();
        let named = first(HTTPS_PROXY).or_else(|| first(ALL_PROXY)).filter(|_| !is_exempt);
        // The HTTP client ignores a proxy that it cannot read and asks without one. Whoever names a proxy does
        // not want a direct connection, so `problem` refuses it before anything is sent.
        let proxy = named.map(|(name, value)| {
            let found = matcher(&value).intercept(&asked);
            let uri = found.as_ref().map(|found| found.uri());
            Proxy {
                variable: Some(name),
                scheme: uri.and_then(|uri| uri.scheme_str()).unwrap_or_default().to_owned(),
                address: uri.and_then(|uri| uri.authority()).map(ToString::to_string).unwrap_or_default(),
                login: found.as_ref().and_then(hidden_login),
            }
        });
        Self { target, proxy: proxy.or_else(|| Self::of_system(&asked)) }
    }

    /// The proxy of the system's settings, where no variable names one: on macOS and Windows.
    fn of_system(asked: &hyper::Uri) -> Option<Proxy> {
        if cfg!(not(any(target_os = "macos", windows))) {
            return None;
        }
        let found = Matcher::from_system().intercept(asked)?;
        Some(Proxy {
            variable: None,
            scheme: found.uri().scheme_str().unwrap_or_default().to_owned(),
            address: found.uri().authority().map(ToString::to_string).unwrap_or_default(),
            login: hidden_login(&found),
        })
    }

    /// Why the proxy lets nothing through to the host, if this error says that it refuses for good.
    pub(super) async fn refusal(&self, error: &reqwest::Error) -> Option<String> {
        // TLS to the proxy itself is the HTTP client's own.
        let proxy = self.proxy.as_ref().filter(|proxy| proxy.scheme == "http")?;
        let status = refusal::status(error, &proxy.address, &self.target, proxy.login.as_ref()).await?;
        Some(format!("no connection to {self}: the proxy answered {status}"))
    }

    /// Why nothing can be asked this way, if that is known without trying.
    pub(super) fn problem(&self) -> Option<String> {
        let proxy = self.proxy.as_ref()?;
        match proxy.scheme.as_str() {
            "http" | "https" => None,
            "" => Some(format!("no connection to {}: {} names no proxy", self.target, proxy.named_by())),
            scheme => Some(format!(
                "no connection to {}: {} names a proxy of the kind {scheme}, which is not supported",
                self.target,
                proxy.named_by()
            )),
        }
    }
}

fn hidden_login(found: &Intercept) -> Option<HeaderValue> {
    let mut login = found.basic_auth()?.clone();
    login.set_sensitive(true);
    Some(login)
}

impl Proxy {
    fn named_by(&self) -> &'static str {
        self.variable.unwrap_or("the system")
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.proxy {
            Some(proxy) => {
                write!(f, "{} through the proxy {} of {}", self.target, proxy.address, proxy.named_by())
            }
            None => f.write_str(&self.target),
        }
    }
}

/// A name that no address was found for.
#[derive(Debug)]
struct LookupFailed {
    name: String,
    /// Whether there was one before, in this process.
    was_known: bool,
    source: io::Error,
}

impl fmt::Display for LookupFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the name {} has no address", self.name)
    }
}

impl StdError for LookupFailed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

/// The system's resolver, remembering which names it knew: what it fails at is otherwise one kind of error,
/// whether a name does not exist or no server of names answers.
#[derive(Debug, Default, Clone)]
pub(super) struct Resolver(Arc<Mutex<HashSet<String>>>);

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let known = self.0.clone();
        let name = name.as_str().to_owned();
        Box::pin(async move {
            let asked = (name.clone(), 0);
            let found = tokio::net::lookup_host(asked).await.map(|found| found.collect::<Vec<SocketAddr>>());
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            match found {
                Ok(found) => {
                    known.insert(name);
                    Ok(Box::new(found.into_iter()) as Addrs)
                }
                Err(source) => {
                    let was_known = known.contains(&name);
                    Err(LookupFailed { name, was_known, source }.into())
                }
            }
        })
    }
}

/// What is behind this error, where repeating the request is of no use. A name that had an address before is
/// a resolver's stumble.
pub(super) fn obstacle(error: &reqwest::Error) -> Option<Obstacle> {
    if let Some(failed) = cause::<LookupFailed>(error) {
        return (!failed.was_known).then_some(Obstacle::UnknownHost);
    }
    use rustls::Error as E;
    match cause::<E>(error)? {
        E::InvalidCertificate(_) | E::NoCertificatesPresented => Some(Obstacle::Certificate),
        E::InvalidMessage(_) | E::PeerIncompatible(_) => Some(Obstacle::NoTls),
        // A server that is restarted or busy sends alerts too, and may accept the next connection.
        _ => None,
    }
}

/// The first cause of this type. An `io::Error` gives what is behind its content as its source, not the
/// content.
fn cause<'a, T: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a T> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<T>() {
            return Some(found);
        }
        let content = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match content {
            Some(content) => Some(content),
            None => error.source(),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(url: &str, variables: &[(&str, &str)]) -> Route {
        Route::find(&url.parse().unwrap(), |name| {
            let found = variables.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn host_port_and_proxy_are_named_and_the_proxys_password_is_not() {
        let api = "https://api.bentley.com/x";
        assert_eq!(route(api, &[]).to_string(), "api.bentley.com:443");
        let told = route(api, &[("HTTPS_PROXY", "http://me:hush@proxy:3128")]);
        let expected = "api.bentley.com:443 through the proxy proxy:3128 of HTTPS_PROXY";
        assert_eq!((told.to_string().as_str(), told.problem()), (expected, None));
        let told = route(api, &[("all_proxy", "proxy:3128")]).to_string();
        assert_eq!(told, "api.bentley.com:443 through the proxy proxy:3128 of all_proxy");
        for exempt in ["api.bentley.com", ".bentley.com", "*"] {
            let told = route(api, &[("HTTPS_PROXY", "socks5://x:1"), ("NO_PROXY", exempt)]);
            assert_eq!((told.to_string().as_str(), told.problem()), ("api.bentley.com:443", None));
        }
        let told = route("http://127.0.0.1:8080", &[("ALL_PROXY", "http://proxy:3128")]);
        assert_eq!(told.to_string(), "127.0.0.1:8080");
        let told = route("https://[::1]:8443", &[]);
        assert_eq!(told.to_string(), "[::1]:8443");
    }

    #[test]
    fn a_proxy_that_cannot_be_used_is_told_before_anything_is_asked() {
        let problem = |value: &str| {
            let told = route("https://api.bentley.com", &[("HTTPS_PROXY", value)]).problem();
            told.unwrap_or_else(|| panic!("{value} passed"))
        };
        for kind in ["socks4", "socks5", "socks5h"] {
            let told = problem(&format!("{kind}://me:hush@proxy:1080"));
            let expected = format!(
                "no connection to api.bentley.com:443: HTTPS_PROXY names a proxy of the kind {kind}, which is \
                 not supported"
            );
            assert_eq!(told, expected);
        }
        for nonsense in ["ftp://hush:hush@proxy", "http://", "a b", "://"] {
            let told = problem(nonsense);
            assert_eq!(told, "no connection to api.bentley.com:443: HTTPS_PROXY names no proxy");
        }
    }
}
