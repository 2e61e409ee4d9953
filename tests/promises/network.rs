//! Between the platform and the archive: certificates, names, proxies, HTTP/2 servers at their worst, and
//! one connection that is throttled alone.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use run_archive::emulator::{Answer, Connection, Emulator, On, RetryAfter, Scripted};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use crate::common::{Archive, CONNECTION, Ended, fixture, platform, run, runs};

type Secured = StreamOwned<ServerConnection, TcpStream>;

fn tls_file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/tls").join(name)
}

/// A TLS server on loopback that hands each connection to `serve`, on a thread of its own. Gives its URL.
fn secured(protocol: &str, serve: impl Fn(Secured) + Send + Sync + 'static) -> String {
    let certificate = CertificateDer::from_pem_slice(fixture("tls/server.pem").as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(fixture("tls/server.key").as_bytes()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_no_client_auth().with_single_cert(vec![certificate], key).unwrap();
    config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}", listener.local_addr().unwrap());
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let (serve, config) = (serve.clone(), config.clone());
            std::thread::spawn(move || {
                serve(StreamOwned::new(ServerConnection::new(config).unwrap(), stream));
            });
        }
    });
    url
}

/// `archive sync` of one connection of the platform at this URL.
fn sync_of(archive: &Archive, url: &str) -> Command {
    let mut command = archive.command();
    command.env("ITP_ACCESS_TOKEN", "t0ken").env("ITP_API_URL", url).env("ITP_ISSUER_URL", url);
    command.args(["sync", "--connection", CONNECTION]);
    command
}

/// Runs a command that is to end without a single wait between attempts: the first is half a second.
#[track_caller]
fn run_at_once(archive: &Archive, command: Command) -> Ended {
    let ended = run(command).expect(1);
    let times = archive.column::<i64>("SELECT requests FROM syncs ORDER BY sync_key DESC LIMIT 1");
    assert!(times[0] <= 1, "{} requests: {}", times[0], ended.stderr);
    ended
}

#[test]
fn a_certificate_that_is_not_trusted_ends_the_sync_at_once_and_says_what_to_do() {
    let archive = Archive::new();
    let url = secured("http/1.1", |mut stream| {
        // The handshake is made by the first read; it fails.
        stream.read(&mut [0; 1]).unwrap_or_default();
    });
    let mut command = sync_of(&archive, &url);
    command.env("SSL_CERT_FILE", tls_file("other-ca.pem"));
    let ended = run_at_once(&archive, command);
    let address = url.strip_prefix("https://").unwrap();
    assert!(ended.stderr.contains(&format!("no connection to {address}: its certificate is not trusted")));
    assert!(ended.stderr.contains("hint: name the file of the authority"), "{}", ended.stderr);
    assert!(ended.stderr.contains("SSL_CERT_FILE"), "{}", ended.stderr);
}

#[test]
fn a_file_of_authorities_that_is_not_there_or_holds_none_is_told() {
    let archive = Archive::new();
    let url = secured("http/1.1", |mut stream| {
        stream.read(&mut [0; 1]).unwrap_or_default();
    });
    std::fs::write(archive.folder().join("empty.pem"), "no certificate").unwrap();
    for (name, problem) in [("missing.pem", "cannot be read"), ("empty.pem", "holds no certificate")] {
        let mut command = sync_of(&archive, &url);
        command.env("SSL_CERT_FILE", archive.folder().join(name));
        let told = run(command);
        assert!(matches!(told.code, Some(1 | 2)), "{}", told.stderr);
        let place = archive.folder().join(name);
        let expected = format!("SSL_CERT_FILE is set, but {} {problem}", place.display());
        assert!(told.stderr.contains(&expected), "{}", told.stderr);
        assert!(!told.stderr.contains("or set SSL_CERT_FILE"), "{}", told.stderr);
    }
}

#[test]
fn a_certificate_whose_authority_ssl_cert_file_names_is_trusted() {
    let archive = Archive::new();
    let url = secured("http/1.1", |mut stream| {
        let mut request = [0; 4096];
        while let Ok(1..) = stream.read(&mut request) {
            let body = r#"{"runs":[],"connection":{"displayName":"n","lastRun":null},"_links":{}}"#;
            write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            stream.flush().unwrap();
        }
    });
    let mut command = sync_of(&archive, &url);
    command.env("SSL_CERT_FILE", tls_file("ca.pem"));
    run(command).expect(0);
}

#[test]
fn a_port_that_speaks_no_tls_ends_the_sync_at_once() {
    let emulator = Emulator::start(platform(runs(0, 1))).unwrap();
    let archive = Archive::new();
    let mut command = sync_of(&archive, &emulator.url().to_string().replace("http://", "https://"));
    command.env("SSL_CERT_FILE", tls_file("ca.pem"));
    let ended = run_at_once(&archive, command);
    assert!(ended.stderr.contains("it speaks no TLS that is understood"), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: check host and port in ITP_API_URL"), "{}", ended.stderr);
}

#[test]
fn an_unknown_host_ends_the_sync_at_once_and_is_named() {
    let archive = Archive::new();
    let mut command = sync_of(&archive, "https://no-such-host.invalid");
    command.env("SSL_CERT_FILE", tls_file("ca.pem"));
    let ended = run_at_once(&archive, command);
    assert!(ended.stderr.contains("no connection to no-such-host.invalid:443: "), "{}", ended.stderr);
    assert!(ended.stderr.contains("hint: check the name in ITP_API_URL"), "{}", ended.stderr);
    assert!(ended.stderr.contains("HTTPS_PROXY"), "{}", ended.stderr);
}

#[test]
fn a_proxy_that_is_not_supported_ends_the_sync_at_once_and_is_not_passed_by() {
    let archive = Archive::new();
    for (variable, proxy) in [
        ("HTTPS_PROXY", "socks5://me:hush@127.0.0.1:1"),
        ("https_proxy", "ftp://me:hush@127.0.0.1:1"),
        ("ALL_PROXY", "socks4://127.0.0.1:1"),
    ] {
        let mut command = sync_of(&archive, "https://api.invalid:8443/base");
        command.env(variable, proxy).env("SSL_CERT_FILE", tls_file("ca.pem"));
        let ended = run_at_once(&archive, command);
        let told = format!("no connection to api.invalid:8443: {variable} names ");
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
        assert!(ended.stderr.contains("hint: set HTTPS_PROXY to a proxy"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
    }
}

#[test]
fn a_proxy_that_refuses_is_named() {
    let archive = Archive::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = listener.local_addr().unwrap();
    drop(listener);
    let mut command = sync_of(&archive, "https://api.invalid");
    command.env("HTTPS_PROXY", format!("http://me:hush@{proxy}")).env("SSL_CERT_FILE", tls_file("ca.pem"));
    command.args(["--time-budget", "1s"]);
    let ended = run(command);
    let told = format!("no connection to api.invalid:443 through the proxy {proxy} of HTTPS_PROXY: ");
    assert!(ended.stderr.contains(&told), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
}

/// A proxy that gives every connection this answer, and counts them.
fn refusing_proxy(
    status: &'static str,
) -> (std::net::SocketAddr, std::sync::Arc<std::sync::atomic::AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let count = std::sync::Arc::new(std::sync::atomic::AtomicU64::new(0));
    let counted = count.clone();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            use std::io::{Read as _, Write as _};
            let mut stream = stream.unwrap();
            counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut asked = [0; 4_096];
            let _ = stream.read(&mut asked);
            let _ = write!(stream, "HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        }
    });
    (address, count)
}

#[test]
fn a_proxy_that_lets_nothing_through_is_asked_no_more_and_told() {
    for (status, code) in [("407 Proxy Authentication Required", "407"), ("403 Forbidden", "403")] {
        let archive = Archive::new();
        let (proxy, count) = refusing_proxy(status);
        let mut command = sync_of(&archive, "https://api.invalid");
        command
            .env("HTTPS_PROXY", format!("http://me:hush@{proxy}"))
            .env("SSL_CERT_FILE", tls_file("ca.pem"));
        let ended = run_at_once(&archive, command);
        let told = format!(
            "no connection to api.invalid:443 through the proxy {proxy} of HTTPS_PROXY: the proxy answered {code}"
        );
        assert!(ended.stderr.contains(&told), "{}", ended.stderr);
        assert!(ended.stderr.contains("into HTTPS_PROXY"), "{}", ended.stderr);
        assert!(!ended.stderr.contains("hush"), "{}", ended.stderr);
        assert!(count.load(std::sync::atomic::Ordering::Relaxed) <= 2);
    }
    // One that cannot reach the host just now is asked again.
    let archive = Archive::new();
    let (proxy, count) = refusing_proxy("503 Service Unavailable");
    let mut command = sync_of(&archive, "https://api.invalid");
    command.env("HTTPS_PROXY", format!("http://{proxy}")).env("SSL_CERT_FILE", tls_file("ca.pem"));
    command.args(["--time-budget", "5s"]);
    run(command).expect(1);
    assert!(count.load(std::sync::atomic::Ordering::Relaxed) > 2);
}

#[test]
fn refused_credentials_are_told_with_the_place_where_they_were_found() {
    let mut platform = platform(runs(0, 1));
    platform.access.tokens.insert("a good one".to_owned());
    platform.access.clients.insert("service-1".to_owned(), "another".to_owned());
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let mut command = archive.sync(&emulator);
    command.env("ITP_ACCESS_TOKEN", "0ld-token");
    let ended = run(command).expect(4);
    let hint = "hint: the token came from the environment variable ITP_ACCESS_TOKEN: ";
    assert!(ended.stderr.contains(hint), "{}", ended.stderr);

    let (configuration, secret) = (archive.folder().join("my.toml"), archive.folder().join("my-secret"));
    let text = "[credentials]\nclient_id = 'service-1'\nclient_secret_file = 'my-secret'\n";
    std::fs::write(&configuration, text).unwrap();
    std::fs::write(&secret, "hush-hush").unwrap();
    let mut command = archive.sync(&emulator);
    command.env_remove("ITP_ACCESS_TOKEN").env("ARCHIVE_CONFIG", &configuration);
    let ended = run(command).expect(4);
    let (configuration, secret) = (configuration.display(), secret.display());
    let hint = format!(
        "hint: the client secret came from the file {secret} (client_secret_file under [credentials] in \
         {configuration}) and the client id from client_id under [credentials] in {configuration}: "
    );
    assert!(ended.stderr.contains(&hint), "{}", ended.stderr);
    assert!(!ended.stderr.contains("hush-hush") && !ended.stderr.contains("0ld-token"));
}

/// 429 for ever to one of two connections, each asking to wait a second. The other has 40 pages, one after the
/// other: while every 429 paused all requests, it got about one of them a second.
#[test]
fn a_connection_that_is_throttled_alone_does_not_slow_the_others() {
    let mut platform = platform(runs(0, 1_950));
    platform.connections.insert("second".to_owned(), Connection::new("Tunnel", runs(0, 20).collect()));
    platform.faults.page_cap = Some(50);
    let busy = Answer::TooManyRequests { retry_after: RetryAfter::Seconds(1) };
    platform.faults.script.push(Scripted::always(On::Connection("second".to_owned()), busy));
    let emulator = Emulator::start(platform).unwrap();
    let archive = Archive::new();
    let mut command = archive.sync(&emulator);
    command.args(["--connection", "second", "--pages-in-flight", "1", "--time-budget", "25s"]);
    run(command).expect(3);
    assert_eq!(archive.count("runs"), 1_950);
    assert_eq!(archive.count("walks WHERE complete = 1"), 1);
}

/// A file of this process's memory would hold the token. The limit is asked for by Linux's name of it, and the
/// process is ended by a signal that makes a file otherwise.
#[cfg(target_os = "linux")]
#[test]
fn a_sync_that_crashes_leaves_no_core_dump() {
    // Accepts by the kernel alone, and never answers.
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let archive = Archive::new();
    let sync = sync_of(&archive, &format!("http://{}", listener.local_addr().unwrap()));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -S -c \"$(ulimit -H -c)\"; exec \"$0\" \"$@\""]).arg(sync.get_program());
    command.args(sync.get_args()).current_dir(archive.folder()).env_clear();
    command.envs(sync.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    // It has begun once it asks.
    let (_asked, _) = listener.accept().unwrap();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", child.id())).unwrap();
    let limit = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let values: Vec<_> = limit.split_whitespace().skip(4).take(2).collect();
    assert!(values.iter().all(|value| matches!(*value, "0" | "1")), "{limit}");
    let ended = Command::new("kill").args(["-ABRT", &child.id().to_string()]).status().unwrap();
    assert!(ended.success());
    let status = child.wait().unwrap();
    assert!(!std::os::unix::process::ExitStatusExt::core_dumped(&status), "{status}");
}

/// A server on loopback that answers the first request of each connection with these bytes, and, if there are
/// any to repeat, with those until the client has gone.
fn http1(first: &'static str, again: Option<(&'static str, Duration)>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                if !matches!(stream.read(&mut [0; 8192]), Ok(1..))
                    || stream.write_all(first.as_bytes()).is_err()
                {
                    return;
                }
                while let Some((again, pause)) = again {
                    std::thread::sleep(pause);
                    if stream.write_all(again.as_bytes()).is_err() {
                        return;
                    }
                }
            });
        }
    });
    url
}

/// The same for HTTP/1: lengths that are wrong, headers and informational answers without end.
#[test]
fn an_http1_server_at_its_worst_costs_no_more_than_the_budget() {
    let often = Duration::ZERO;
    let servers = [
        ("ends before its length", http1("HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}", None)),
        (
            "has two lengths",
            http1("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}", None),
        ),
        ("has a length that is none", http1("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}", None)),
        (
            "has a length beyond all numbers",
            http1("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{}", None),
        ),
        (
            "has a chunk that is none",
            http1("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{}", None),
        ),
        (
            "has a chunk beyond all numbers",
            http1("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}", None),
        ),
        ("names an unknown coding", http1("HTTP/1.1 200 OK\r\ntransfer-encoding: x\r\n\r\n{}", None)),
        (
            "is no gzip",
            http1("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\n{}", None),
        ),
        ("never ends the header", http1("HTTP/1.1 200 OK\r\n", Some(("a: b\r\n", often)))),
        (
            "never ends a line",
            http1("HTTP/1.1 200 OK\r\na: ", Some(("bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb", often))),
        ),
        (
            "goes on with informational answers",
            http1("", Some(("HTTP/1.1 103 Early Hints\r\n\r\n", Duration::from_millis(1)))),
        ),
        (
            "never ends a chunk's extension",
            http1(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2;",
                Some(("aaaaaaaaaaaaaaaa", often)),
            ),
        ),
        (
            "never ends the trailers",
            http1(
                "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n",
                Some(("a: b\r\n", often)),
            ),
        ),
        (
            "sends a byte now and then",
            http1(
                "HTTP/1.1 200 OK\r\ncontent-length: 99999\r\n\r\n",
                Some((" ", Duration::from_millis(300))),
            ),
        ),
        ("is no HTTP", http1("SSH-2.0-OpenSSH_9.9\r\n", None)),
    ];
    end_in_time(servers);
}

/// One frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(content);
    frame
}

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;

/// Reads the next request's stream from the frames of a client; `None` once it has gone.
fn next_request(stream: &mut Secured) -> Option<u32> {
    loop {
        let mut head = [0; 9];
        stream.read_exact(&mut head).ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let mut content = vec![0; length];
        stream.read_exact(&mut content).ok()?;
        if head[3] == HEADERS {
            return Some(u32::from_be_bytes([head[5], head[6], head[7], head[8]]));
        }
    }
}

/// What is sent on a stream.
type Frames = fn(u32) -> Vec<u8>;

/// An HTTP/2 server that answers each request with these frames, and, if there are any to repeat, with those
/// until the client has gone.
fn http2(first: Frames, again: Option<(Frames, Duration)>) -> String {
    secured("h2", move |mut stream| {
        if stream.read_exact(&mut [0; 24]).is_err() || stream.write_all(&frame(SETTINGS, 0, 0, &[])).is_err()
        {
            return;
        }
        while let Some(id) = next_request(&mut stream) {
            if stream.write_all(&first(id)).is_err() || stream.flush().is_err() {
                return;
            }
            while let Some((again, pause)) = again {
                std::thread::sleep(pause);
                if stream.write_all(&again(id)).is_err() || stream.flush().is_err() {
                    return;
                }
            }
        }
    })
}

/// `:status: 200` as HPACK has it, and as many bytes of another header as fit into a frame.
const OK: &[u8] = &[0x88];

/// Runs one sync with a budget of 3 s against such a server, and gives what it ended with. It is to end soon
/// after its budget, and not to grow.
fn sync_against(url: &str) -> Ended {
    let archive = Archive::new();
    let mut command = sync_of(&archive, url);
    command.env("SSL_CERT_FILE", tls_file("ca.pem")).args(["--time-budget", "3s"]);
    let begun = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let (id, watched) = (child.id(), Arc::new(std::sync::atomic::AtomicBool::new(true)));
    let is_watched = watched.clone();
    let watching = std::thread::spawn(move || {
        let mut most = 0;
        while is_watched.load(std::sync::atomic::Ordering::Relaxed) {
            let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap_or_default();
            let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let peak = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
            most = most.max(peak.unwrap_or_default());
            std::thread::sleep(Duration::from_millis(20));
        }
        most
    });
    let ended = crate::common::ended(child.wait_with_output().unwrap());
    watched.store(false, std::sync::atomic::Ordering::Relaxed);
    let most = watching.join().unwrap();
    // A budget of 3 s, on a machine that may be busy with other tests.
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}: {}", begun.elapsed(), ended.stderr);
    assert!(most < 300 << 10, "{most} KiB: {}", ended.stderr);
    archive.assert_sound();
    ended
}

/// Whatever an HTTP/2 server does, the sync ends with its budget (3), tells what it met, and stores nothing
/// wrong.
#[test]
fn an_http2_server_at_its_worst_costs_no_more_than_the_budget() {
    let often = Duration::ZERO;
    let servers = [
        ("resets every stream", http2(|id| frame(RST_STREAM, 0, id, &[0, 0, 0, 2]), None)),
        ("refuses every stream", http2(|id| frame(RST_STREAM, 0, id, &[0, 0, 0, 7]), None)),
        ("goes away at each request", http2(|_| frame(GOAWAY, 0, 0, &[0; 8]), None)),
        ("floods settings", http2(|_| Vec::new(), Some((|_| frame(SETTINGS, 0, 0, &[]), often)))),
        ("floods pings", http2(|_| Vec::new(), Some((|_| frame(PING, 0, 0, &[0; 8]), often)))),
        (
            "never ends the header",
            http2(
                |id| frame(HEADERS, 0, id, OK),
                Some((|id| frame(CONTINUATION, 0, id, &[0, 1, b'a', 1, b'b'].repeat(3_000)), often)),
            ),
        ),
        (
            "begins with header after header",
            // 103, as a literal of the name at index 8.
            http2(
                |_| Vec::new(),
                Some((|id| frame(HEADERS, END_HEADERS, id, &[0x08, 3, b'1', b'0', b'3']), often)),
            ),
        ),
        (
            "sends a byte now and then",
            http2(
                |id| frame(HEADERS, END_HEADERS, id, OK),
                Some((|id| frame(DATA, 0, id, b" "), Duration::from_millis(300))),
            ),
        ),
        (
            "sends a body without end",
            http2(
                |id| frame(HEADERS, END_HEADERS, id, OK),
                Some((|id| frame(DATA, 0, id, &[b' '; 16_000]), often)),
            ),
        ),
        ("sends frames that are none", http2(|id| frame(0xff, 0xff, id, &[0xff; 99]), None)),
        ("sends no answer", http2(|_| Vec::new(), None)),
    ];
    end_in_time(servers);
}

/// Servers that flood are tried a few at a time: each of them, and each sync, takes all of a processor.
const AT_A_TIME: usize = 3;

/// Syncs against all of these: each ends in part or failed, and says what now.
fn end_in_time<const N: usize>(servers: [(&'static str, String); N]) {
    for few in servers.chunks(AT_A_TIME) {
        std::thread::scope(|scope| {
            let running: Vec<_> =
                few.iter().map(|(what, url)| (what, scope.spawn(move || sync_against(url)))).collect();
            for (what, ended) in running {
                let ended = ended.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
                println!("{what}: {:?} {}", ended.code, ended.stderr);
                assert!(matches!(ended.code, Some(1 | 3)), "{what}: {:?} {}", ended.code, ended.stderr);
                assert!(ended.stderr.contains("hint: "), "{what}: {}", ended.stderr);
            }
        });
    }
}

/// A window of no length lets no body through: the form that asks for a token cannot be sent.
#[test]
fn an_issuer_that_takes_no_byte_costs_no_more_than_the_budget() {
    let url = secured("h2", |mut stream| {
        let no_window = frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0]);
        if stream.read_exact(&mut [0; 24]).is_ok() && stream.write_all(&no_window).is_ok() {
            while next_request(&mut stream).is_some() {}
        }
    });
    let archive = Archive::new();
    let mut command = sync_of(&archive, &url);
    command.env_remove("ITP_ACCESS_TOKEN").env("ITP_SERVICE_CLIENT_ID", "me");
    command.env("ITP_SERVICE_CLIENT_SECRET", "hush").env("SSL_CERT_FILE", tls_file("ca.pem"));
    command.args(["--time-budget", "2s"]);
    let begun = Instant::now();
    let ended = run(command).expect(1);
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert!(ended.stderr.contains("the time budget is spent"), "{}", ended.stderr);
}
