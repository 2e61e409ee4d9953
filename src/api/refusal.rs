//! What a proxy answers that lets no request through.
//!
//! In: the error of the HTTP client, and the proxy that it went through. Out: the status with which the proxy
//! refuses for good, if it does. The HTTP client drops every status but 407, and a proxy that cannot reach the
//! host just now (502, 503) refuses in the same words as one that never lets it through (403): so the proxy is
//! asked once more, by hand.

use std::error::Error as StdError;
use std::time::Duration;

use reqwest::header::HeaderValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// How long the proxy may take to refuse again.
const PATIENCE: Duration = Duration::from_secs(5);
/// `HTTP/1.1 403`: what is read of the answer.
const STATUS_LINE: usize = 12;

/// The status of an answer to CONNECT that no repetition changes.
pub(super) async fn status(
    error: &reqwest::Error,
    proxy: &str,
    target: &str,
    login: Option<&HeaderValue>,
) -> Option<u16> {
    let status = match told(error)? {
        Told::LoginRequired => 407,
        Told::Refused => tokio::time::timeout(PATIENCE, ask(proxy, target, login)).await.ok().flatten()?,
    };
    let may_change = matches!(status, 408 | 425 | 429);
    ((400..500).contains(&status) && !may_change).then_some(status)
}

enum Told {
    LoginRequired,
    Refused,
}

/// What the tunnel's error says. Its type has no name outside of its crate, so its text is all there is.
fn told(error: &reqwest::Error) -> Option<Told> {
    let mut causes = std::iter::successors(error.source(), |&error| error.source());
    causes.find_map(|cause| match cause.to_string().as_str() {
        "tunnel error: proxy authorization required" => Some(Told::LoginRequired),
        "tunnel error: unsuccessful" => Some(Told::Refused),
        _ => None,
    })
}

async fn ask(proxy: &str, target: &str, login: Option<&HeaderValue>) -> Option<u16> {
    let mut request = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes();
    if let Some(login) = login {
        request.extend_from_slice(b"Proxy-Authorization: ");
        request.extend_from_slice(login.as_bytes());
        request.extend_from_slice(b"\r\n");
    }
    request.extend_from_slice(b"\r\n");
    let mut stream = TcpStream::connect(proxy).await.ok()?;
    stream.write_all(&request).await.ok()?;
    let mut line = [0; STATUS_LINE];
    stream.read_exact(&mut line).await.ok()?;
    std::str::from_utf8(&line).ok()?.strip_prefix("HTTP/1.")?.get(2..)?.parse().ok()
}
