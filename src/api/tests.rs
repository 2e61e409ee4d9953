//! The client against a server on loopback that answers as each test says.

use std::io::Write;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use url::Url;

use super::transport::MAX_ERROR_BODY;
use super::*;

const PAGE: &str = r#"{"runs":[],"_links":{}}"#;

/// A server on loopback that answers each request as a function of its text and number says, and
/// keeps what it was asked. Without `connection: close` in the answer the connection stays open.
struct Server {
    url: Url,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Server {
    async fn start(answer: impl Fn(&str, usize) -> Vec<u8> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (kept, answer) = (seen.clone(), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (kept, answer) = (kept.clone(), answer.clone());
                tokio::spawn(async move {
                    let request = read_request(&mut stream).await;
                    let number = {
                        let mut kept = kept.lock().unwrap();
                        kept.push(request.clone());
                        kept.len()
                    };
                    let answer = answer(&request, number);
                    // A client that stopped reading is no failure of the server.
                    stream.write_all(&answer).await.unwrap_or_default();
                    if !String::from_utf8_lossy(&answer).contains("connection: close") {
                        std::future::pending().await
                    }
                });
            }
        });
        Self { url, seen }
    }

    fn options(&self, credentials: Credentials) -> Options {
        let mut options = Options::new(self.url.clone(), self.url.clone(), credentials);
        options.backoff_start = Duration::from_millis(1);
        options
    }

    fn client(&self) -> Client {
        Client::new(self.options(Credentials::Token("tok3n".into()))).unwrap()
    }

    fn service(&self) -> Client {
        let (id, secret) = ("service-1".to_owned(), "hu$h hush".into());
        Client::new(self.options(Credentials::Client { id, secret })).unwrap()
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read_request(stream: &mut tokio::net::TcpStream) -> String {
    let mut request = String::new();
    let mut buffer = [0; 4096];
    loop {
        let read = stream.read(&mut buffer).await.unwrap_or_default();
        request.push_str(&String::from_utf8_lossy(&buffer[..read]));
        let Some((head, body)) = request.split_once("\r\n\r\n") else {
            continue;
        };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if read == 0 || body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return request;
        }
    }
}

fn http(status: &str, headers: &str, body: &str) -> Vec<u8> {
    let length = body.len();
    format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n{body}")
        .into_bytes()
}

fn token(number: usize, lifetime: u32) -> Vec<u8> {
    http("200 OK", "", &format!(r#"{{"access_token":"tok3n-{number}","expires_in":{lifetime}}}"#))
}

fn id(text: &str) -> ConnectionId {
    text.parse().unwrap()
}

async fn list(client: &Client) -> Result<String, Error> {
    client.list_runs(&id("X"), 0, 50).await.map(|answer| answer.text)
}

#[tokio::test]
async fn a_request_is_built_from_the_base_url_whatever_its_form() {
    let server = Server::start(|_, _| http("200 OK", "", PAGE)).await;
    for path in ["", "/", "/base", "/base/", "/base?x=1#y"] {
        let mut options = server.options(Credentials::Token("tok3n".into()));
        options.api_url = server.url.join(path).unwrap();
        let client = Client::new(options).unwrap();
        client.list_runs(&id("-aB_/..?x%2e é"), 100, 50).await.unwrap();
        let seen = server.seen().pop().unwrap();
        let prefix = if path.starts_with("/base") { "/base" } else { "" };
        let line = format!(
            "GET {prefix}/export/connections/-aB_%2F..%3Fx%252e%20%C3%A9/runs?$skip=100&$top=50 HTTP/1.1"
        );
        assert_eq!(seen.lines().next(), Some(line.as_str()));
    }
    let seen = server.seen().pop().unwrap();
    for line in [
        "accept: application/vnd.bentley.itwin-platform.v1+json",
        "prefer: return=representation",
        "authorization: Bearer tok3n",
        "accept-encoding: gzip",
        concat!("user-agent: run-archive/", env!("CARGO_PKG_VERSION")),
    ] {
        assert!(seen.lines().any(|sent| sent == line), "{line} is not in {seen}");
    }
}

#[tokio::test]
async fn runs_and_connections_are_asked_for_by_id() {
    let server = Server::start(|request, _| {
        let body = if request.contains("/runs/") {
            r#"{"run":{}}"#
        } else {
            r#"{"connection":{"displayName":"n"}}"#
        };
        http("200 OK", "", body)
    })
    .await;
    let client = server.client();
    client.get_run(&id("X"), "r/1").await.unwrap();
    let connection = client.get_connection(&id("X")).await.unwrap();
    assert_eq!(connection.display_name.as_deref(), Some("n"));
    for vanishes in ["", ".", "..", "a\tb"] {
        assert_eq!(client.get_run(&id("X"), vanishes).await.unwrap_err().reason, Reason::Rejected);
    }
    let lines: Vec<_> = server.seen().iter().map(|seen| seen.lines().next().unwrap().to_owned()).collect();
    let expected = ["GET /export/connections/X/runs/r%2F1 HTTP/1.1", "GET /export/connections/X HTTP/1.1"];
    assert_eq!(lines, expected);
    assert_eq!(client.requests(), 2);
}

#[test]
fn an_id_that_vanishes_from_a_path_is_refused() {
    for text in ["", ".", "..", "a\nb", "\t"] {
        assert!(text.parse::<ConnectionId>().is_err(), "{text:?}");
    }
    assert_eq!(id("-a.b").to_string(), "-a.b");
}

#[tokio::test]
async fn several_requests_refused_at_once_renew_the_token_once() {
    let server = Server::start(|request, number| match request {
        _ if request.starts_with("POST /connect/token ") => token(number, 3600),
        _ if request.contains("Bearer tok3n-1\r\n") => http("401 Unauthorized", "", ""),
        _ => http("200 OK", "", PAGE),
    })
    .await;
    let client = server.service();
    let (a, b, c) = tokio::join!(list(&client), list(&client), list(&client));
    assert!(a.is_ok() && b.is_ok() && c.is_ok());
    let seen = server.seen();
    let posts: Vec<_> = seen.iter().filter(|request| request.starts_with("POST")).collect();
    assert_eq!(posts.len(), 2);
    let form =
        "grant_type=client_credentials&client_id=service-1&client_secret=hu%24h+hush&scope=itwin-platform";
    assert!(posts[0].ends_with(form), "{}", posts[0]);
    assert_eq!(client.requests(), seen.len() as u64);
    assert!(client.was_accepted());
}

#[tokio::test]
async fn a_platform_that_refuses_a_new_token_too_is_not_asked_again() {
    let server = Server::start(|request, number| match request {
        _ if request.starts_with("POST") => token(number, 3600),
        _ => http("401 Unauthorized", "", r#"{"error":{"code":"HeaderNotFound"}}"#),
    })
    .await;
    let client = server.service();
    let error = list(&client).await.unwrap_err();
    assert_eq!((error.reason, client.requests(), client.was_accepted()), (Reason::Refused, 4, false));
    let told = "listing runs of connection X: the platform refused the credentials: 401 HeaderNotFound";
    assert_eq!(error.to_string(), told);
}

/// A platform where each token serves the first request that arrives with it and dies: the others, sent
/// with it at the same time, are refused twice and more although the credentials are good.
#[tokio::test]
async fn a_token_that_dies_again_and_again_after_it_served_others_is_renewed() {
    let served = Mutex::new(std::collections::HashSet::new());
    let server = Server::start(move |request, number| {
        if request.starts_with("POST /connect/token ") {
            return token(number, 3600);
        }
        let bearer = request.lines().find(|line| line.starts_with("authorization: ")).unwrap();
        if served.lock().unwrap().insert(bearer.to_owned()) {
            http("200 OK", "", PAGE)
        } else {
            http("401 Unauthorized", "", "")
        }
    })
    .await;
    let client = server.service();
    let (a, b, c, d) = tokio::join!(list(&client), list(&client), list(&client), list(&client));
    assert!(a.is_ok() && b.is_ok() && c.is_ok() && d.is_ok(), "{a:?} {b:?} {c:?} {d:?}");
}

/// The dead token is known to have served nobody: each request that is refused twice is told so, and the
/// issuer is not asked for ever.
#[tokio::test]
async fn a_platform_that_refuses_every_token_ends_requests_in_flight_after_few_renewals() {
    let server = Server::start(|request, number| match request {
        _ if request.starts_with("POST") => token(number, 3600),
        _ => http("401 Unauthorized", "", ""),
    })
    .await;
    let client = server.service();
    let (a, b, c, d) = tokio::join!(list(&client), list(&client), list(&client), list(&client));
    for outcome in [a, b, c, d] {
        assert_eq!(outcome.unwrap_err().reason, Reason::Refused);
    }
    let posts = server.seen().iter().filter(|request| request.starts_with("POST")).count();
    assert!((2..=5).contains(&posts), "{posts}");
}

#[tokio::test]
async fn an_issuer_that_refuses_is_asked_once_and_its_echo_shows_no_secret() {
    let server = Server::start(|request, _| {
        let form = request.rsplit_once("\r\n\r\n").unwrap().1;
        let body = format!(r#"{{"error":"invalid_client","error_description":"{form} hu$h hush"}}"#);
        http("400 Bad Request", "", &body)
    })
    .await;
    let client = server.service();
    for _ in 0..3 {
        let error = list(&client).await.unwrap_err();
        assert_eq!(error.reason, Reason::Refused);
        let told = error.to_string();
        let begins = "asking for a token: the token issuer refused the credentials: 400 invalid_client";
        assert!(told.starts_with(begins), "{told}");
        assert!(told.contains("client_secret=[secret]&"), "{told}");
        assert!(!format!("{told} {error:?} {client:?}").contains("hush"), "{error:?}");
    }
    assert_eq!(client.requests(), 1);
}

#[tokio::test]
async fn a_token_answer_that_cannot_be_read_is_not_shown() {
    for body in [r#"{"token":"unkn0wn"}"#, "unkn0wn", r#"{"access_token":"unkn0wn é"}"#] {
        let server = Server::start(move |_, _| http("200 OK", "", body)).await;
        let error = list(&server.service()).await.unwrap_err();
        assert_eq!(error.reason, Reason::Unreadable);
        assert!(!format!("{error} {error:?}").contains("unkn0wn"), "{error:?}");
    }
}

#[tokio::test]
async fn an_expired_token_is_renewed_before_it_is_refused() {
    let server = Server::start(|request, number| match request {
        _ if request.starts_with("POST") => token(number, u32::from(number > 1) * 3600),
        _ => http("200 OK", "", PAGE),
    })
    .await;
    let client = server.service();
    for _ in 0..3 {
        list(&client).await.unwrap();
    }
    // The first token ended at once, the second lives for an hour.
    assert_eq!(client.requests(), 5);
}

#[tokio::test]
async fn an_issuer_that_is_down_is_retried_like_the_platform() {
    let server = Server::start(|request, number| match request {
        _ if number < 3 => http("503 Service Unavailable", "", ""),
        _ if request.starts_with("POST") => token(number, 3600),
        _ => http("200 OK", "", PAGE),
    })
    .await;
    let client = server.service();
    list(&client).await.unwrap();
    assert_eq!(client.requests(), 4);
}

#[tokio::test]
async fn a_token_file_is_read_again_when_its_token_is_refused() {
    let server = Server::start(|request, _| match request {
        _ if request.contains("Bearer new\r\n") => http("200 OK", "", PAGE),
        _ => http("401 Unauthorized", "", "old"),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let missing = server.options(Credentials::TokenFile(path.clone()));
    assert!(matches!(Client::new(missing), Err(SetupError::TokenFile { .. })));
    std::fs::write(&path, "\u{feff}old\r\n").unwrap();
    let client = Client::new(server.options(Credentials::TokenFile(path.clone()))).unwrap();
    let error = list(&client).await.unwrap_err();
    assert_eq!((error.reason, client.requests()), (Reason::Refused, 1));
    assert!(error.to_string().ends_with("401: [secret]"), "{error}");
    std::fs::write(&path, "new\n").unwrap();
    list(&client).await.unwrap();
    assert_eq!(client.requests(), 3);
}

#[tokio::test]
async fn a_gateway_that_echoes_the_token_shows_it_to_nobody() {
    let server = Server::start(|request, _| {
        http("403 Forbidden", "x-correlation-id: tok3n\r\n", &format!("<pre>{request}{request}</pre>"))
    })
    .await;
    let error = list(&server.client()).await.unwrap_err();
    assert_eq!(error.reason, Reason::Forbidden);
    assert!(error.to_string().contains("[secret]"), "{error}");
    assert!(!format!("{error} {error:?}").contains("tok3n"), "{error:?}");
}

#[tokio::test]
async fn a_secret_cut_in_two_by_the_limit_is_not_shown_either() {
    let server = Server::start(|_, _| {
        let filler = format!("<{}>", "x".repeat(MAX_ERROR_BODY - 5));
        http("404 Not Found", "", &format!("{filler}tok3n and more"))
    })
    .await;
    let error = list(&server.client()).await.unwrap_err();
    assert_eq!(error.to_string(), "listing runs of connection X: the platform answered 404");
}

#[tokio::test]
async fn a_redirect_is_told_and_not_followed() {
    let server = Server::start(|_, _| http("302 Found", "location: http://127.0.0.1:1/login\r\n", "")).await;
    let client = server.client();
    let error = list(&client).await.unwrap_err();
    assert_eq!((error.reason, client.requests()), (Reason::Rejected, 1));
    let told = "the platform answered 302: a redirect to http://127.0.0.1:1/login, which is not followed";
    assert!(error.to_string().ends_with(told), "{error}");
}

#[tokio::test]
async fn what_is_not_json_is_unreadable_and_says_how_it_begins() {
    for (body, begins) in [
        ("<html><title>Sign in</title></html>", "it begins: Sign in"),
        (r#"{"runs":["#, r#"it begins: {"runs":["#),
        ("", "not JSON"),
        ("[]", "it begins: []"),
    ] {
        let server = Server::start(move |_, _| http("200 OK", "", body)).await;
        let client = server.client();
        let error = list(&client).await.unwrap_err();
        assert_eq!((error.reason, client.requests()), (Reason::Unreadable, 3));
        assert!(error.to_string().ends_with(begins), "{error}");
    }
    let server = Server::start(|_, _| http("200 OK", "", &format!("\u{feff} {PAGE}\n"))).await;
    assert_eq!(list(&server.client()).await.unwrap(), format!(" {PAGE}\n"));
}

#[tokio::test]
async fn json_of_another_shape_is_unreadable_and_quotes_no_secret() {
    let server = Server::start(|_, _| http("200 OK", "", r#"{"runs":"tok3n","connection":"tok3n"}"#)).await;
    let client = server.client();
    let page = list(&client).await.unwrap();
    let connection = id("X");
    let doing = Doing::ListRuns { connection, skip: 0 };
    let error = client.unreadable(doing, &wire::Page::parse(&page).unwrap_err());
    assert_eq!(error.reason, Reason::Unreadable);
    assert!(!error.to_string().contains("tok3n"), "{error}");
    let error = client.get_connection(&id("X")).await.unwrap_err();
    assert_eq!(error.reason, Reason::Unreadable);
    assert!(!error.to_string().contains("tok3n"), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_retried() {
    let server = Server::start(|_, number| {
        let mut answer = http("200 OK", "", PAGE);
        answer.truncate(answer.len() - usize::from(number < 3));
        answer
    })
    .await;
    let client = server.client();
    assert_eq!(list(&client).await.unwrap(), PAGE);
    assert_eq!(client.requests(), 3);
}

#[tokio::test]
async fn a_host_that_refuses_connections_is_unavailable() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url: Url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let mut options = Options::new(url.clone(), url, Credentials::Token("tok3n".into()));
    options.backoff_start = Duration::from_millis(1);
    options.max_attempts = 3;
    let client = Client::new(options).unwrap();
    let error = list(&client).await.unwrap_err();
    assert_eq!((error.reason, client.requests()), (Reason::Unavailable, 3));
    assert!(
        error.to_string().starts_with("listing runs of connection X: no connection to 127.0.0.1:"),
        "{error}"
    );
    assert!(!client.was_accepted());
}

#[tokio::test]
async fn a_list_call_that_times_out_comes_back_after_two_attempts() {
    // Two ways to be slow: no answer at all, and an answer without its end.
    let server = Server::start(|request, _| match request {
        _ if request.contains("/connections/slow/") => Vec::new(),
        _ => b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{".to_vec(),
    })
    .await;
    let mut options = server.options(Credentials::Token("tok3n".into()));
    options.timeout = Duration::from_millis(50);
    options.max_attempts = 3;
    let client = Client::new(options).unwrap();
    let after = Duration::from_millis(50);
    let slow = client.list_runs(&id("slow"), 0, 50).await.unwrap_err();
    assert_eq!((slow.reason, client.requests()), (Reason::TimedOut { after }, 2));
    assert_eq!(slow.to_string(), "listing runs of connection slow: no complete answer within 50ms");
    client.list_runs(&id("slow"), 0, 1).await.unwrap_err();
    assert_eq!(client.requests(), 5);
    let half = client.list_runs(&id("half"), 0, 50).await.unwrap_err();
    assert_eq!((half.reason, client.requests()), (Reason::TimedOut { after }, 7));
}

#[tokio::test]
async fn an_answer_that_unpacks_without_end_is_too_large() {
    let server = Server::start(|_, _| {
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        for _ in 0..=64 {
            packed.write_all(&[b' '; 1 << 20]).unwrap();
        }
        let body = packed.finish().unwrap();
        let mut answer =
            format!("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n", body.len())
                .into_bytes();
        answer.extend(body);
        answer
    })
    .await;
    let client = server.client();
    let error = list(&client).await.unwrap_err();
    assert_eq!((error.reason, client.requests()), (Reason::PageTooLarge, 1));
}

#[tokio::test]
async fn no_more_answers_than_allowed_are_held() {
    let server = Server::start(|_, _| http("200 OK", "", PAGE)).await;
    let mut options = server.options(Credentials::Token("tok3n".into()));
    options.in_flight = 1;
    let client = Client::new(options).unwrap();
    let connection = id("X");
    let held = client.list_runs(&connection, 0, 50).await.unwrap();
    let mut next = std::pin::pin!(client.list_runs(&connection, 50, 50));
    tokio::select! {
        biased;
        _ = &mut next => panic!("a second answer was given while the first was held"),
        () = tokio::task::yield_now() => {}
    }
    assert_eq!(client.requests(), 1);
    drop(held);
    next.await.unwrap();
    assert_eq!(client.requests(), 2);
}

#[tokio::test]
async fn stopping_ends_a_request_that_hangs() {
    let server = Server::start(|_, _| Vec::new()).await;
    let client = server.client();
    let stopping = async {
        while client.requests() == 0 {
            tokio::task::yield_now().await;
        }
        client.stop();
    };
    let (outcome, ()) = tokio::join!(list(&client), stopping);
    assert_eq!(outcome.unwrap_err().reason, Reason::Stopped);
}

#[test]
fn a_token_is_never_sent_in_the_clear() {
    let outcome = |api: &str| {
        let issuer = "http://localhost:1".parse().unwrap();
        Client::new(Options::new(api.parse().unwrap(), issuer, Credentials::Token("tok3n".into())))
    };
    for url in ["http://127.0.0.1", "http://127.9.9.9:80/x", "http://[::1]", "http://LOCALHOST"] {
        assert!(outcome(url).is_ok(), "{url}");
    }
    for url in ["http://api.bentley.com", "http://10.0.0.1", "http://localhost.evil", "http://0.0.0.0"] {
        assert!(matches!(outcome(url), Err(SetupError::PlainHttp(_))), "{url}");
    }
    for url in ["ftp://localhost", "data:x", "unix:/x"] {
        assert!(matches!(outcome(url), Err(SetupError::NotHttp(_))), "{url}");
    }
    let error = outcome("https://me:hush@api.bentley.com").unwrap_err().to_string();
    assert!(error.contains("api.bentley.com") && !error.contains("hush"), "{error}");
}

#[test]
fn a_client_can_be_shared_by_tasks() {
    fn is_shareable<T: Send + Sync + Clone + 'static>() {}
    fn is_send<T: Send>(_: T) {}
    is_shareable::<Client>();
    let options = Options::new(
        "http://localhost".parse().unwrap(),
        "http://localhost".parse().unwrap(),
        Credentials::Token("tok3n".into()),
    );
    let client = Client::new(options).unwrap();
    let connection = id("X");
    is_send(client.list_runs(&connection, 0, 1));
}
