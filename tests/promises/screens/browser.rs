//! A real Chromium, asked over its DevTools pipe: what it loads, logs and runs while it shows a page.
//!
//! In: files and screens. Out: values of expressions, and every event the browser told. It speaks on the
//! child's standard streams, so there is no port, and no other process is ever ended.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// So long may one answer take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A screen to show a page on.
#[derive(Debug, Clone, Copy)]
pub struct Screen {
    pub width: u32,
    pub scheme: &'static str,
}

pub struct Browser {
    child: Child,
    pipe: ChildStdin,
    messages: Receiver<Value>,
    events: Vec<Value>,
    asked: u64,
    session: Option<String>,
    _profile: TempDir,
}

/// The first Chromium in the path.
pub fn find() -> Option<PathBuf> {
    let names = ["chromium", "chromium-browser", "google-chrome"];
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

impl Browser {
    /// Starts it with one empty page. Whatever it wanted from any host would go to `proxy`.
    pub fn start(program: &Path, proxy: SocketAddr) -> Self {
        let profile = tempfile::tempdir().unwrap();
        // The pipe of DevTools is descriptors 3 and 4.
        let mut child = Command::new("sh")
            .args(["-c", r#"exec "$0" "$@" 3<&0 4>&1 </dev/null >/dev/null 2>&1"#])
            .arg(program)
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--hide-scrollbars", "--remote-debugging-pipe"])
            .arg(format!("--proxy-server={proxy}"))
            .arg("--proxy-bypass-list=<-loopback>")
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (pipe, output) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        let (sender, messages) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(output).split(0).map_while(Result::ok) {
                let is_heard = sender.send(serde_json::from_slice(&message).unwrap()).is_ok();
                if !is_heard {
                    break;
                }
            }
        });
        let mut browser =
            Self { child, pipe, messages, events: Vec::new(), asked: 0, session: None, _profile: profile };
        let target = browser.ask("Target.createTarget", json!({ "url": "about:blank" }));
        let attached = json!({ "targetId": target["targetId"], "flatten": true });
        let session = browser.ask("Target.attachToTarget", attached);
        browser.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log", "Network"] {
            browser.ask(&format!("{domain}.enable"), json!({}));
        }
        // A script of the page that calls this is heard of.
        browser.ask("Runtime.addBinding", json!({ "name": "pwned" }));
        browser
    }

    /// Whether the page's own policy is left out, so that its markup alone has to be harmless.
    pub fn ignore_policy(&mut self, is_ignored: bool) {
        self.ask("Page.setBypassCSP", json!({ "enabled": is_ignored }));
    }

    /// Shows a file, and forgets the events before.
    pub fn open(&mut self, file: &Path) {
        self.events.clear();
        let url = format!("file://{}", file.display());
        let opened = self.ask("Page.navigate", json!({ "url": url }));
        assert_eq!(opened["errorText"], Value::Null, "{url}");
        self.wait_for("Page.loadEventFired");
        self.settle();
    }

    /// What is shown from here on is shown on this screen.
    pub fn show_on(&mut self, screen: Screen, medium: &str) {
        let size = json!({
            "width": screen.width, "height": 900, "deviceScaleFactor": 1, "mobile": screen.width < 500
        });
        self.ask("Emulation.setDeviceMetricsOverride", size);
        let scheme = json!([{ "name": "prefers-color-scheme", "value": screen.scheme }]);
        self.ask("Emulation.setEmulatedMedia", json!({ "media": medium, "features": scheme }));
        self.settle();
    }

    /// The value of an expression, in the page.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let asked = json!({ "expression": expression, "returnByValue": true, "awaitPromise": true });
        let answer = self.ask("Runtime.evaluate", asked);
        assert_eq!(answer["exceptionDetails"], Value::Null, "{:.80}", expression);
        answer["result"]["value"].clone()
    }

    /// What the browser told since the page was opened.
    pub fn events(&mut self) -> &[Value] {
        self.settle();
        &self.events
    }

    /// Two frames later, what the page does by itself has been done and told.
    fn settle(&mut self) {
        self.evaluate(
            "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(0))))",
        );
    }

    fn wait_for(&mut self, method: &str) {
        let until = Instant::now() + PATIENCE;
        while !self.events.iter().any(|event| event["method"] == method) {
            let message = self.receive(until, method);
            self.note(message);
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Value {
        self.asked += 1;
        let mut message = json!({ "id": self.asked, "method": method, "params": params });
        if let Some(session) = &self.session {
            message["sessionId"] = json!(session);
        }
        self.say(&message);
        let (id, until) = (self.asked, Instant::now() + PATIENCE);
        loop {
            let answer = self.receive(until, method);
            if answer["id"] == id {
                assert_eq!(answer["error"], Value::Null, "{method}");
                return answer["result"].clone();
            }
            self.note(answer);
        }
    }

    fn say(&mut self, message: &Value) {
        let text = message.to_string() + "\0";
        self.pipe.write_all(text.as_bytes()).and_then(|()| self.pipe.flush()).unwrap();
    }

    fn receive(&mut self, until: Instant, what: &str) -> Value {
        let left = until.saturating_duration_since(Instant::now());
        self.messages.recv_timeout(left).unwrap_or_else(|error| panic!("chromium, {what}: {error}"))
    }

    fn note(&mut self, message: Value) {
        // A dialog stops the page until somebody answers.
        if message["method"] == "Page.javascriptDialogOpening" {
            let session = &self.session;
            let close = json!({
                "id": 0, "sessionId": session, "method": "Page.handleJavaScriptDialog",
                "params": { "accept": false }
            });
            self.say(&close);
        }
        if message["method"].is_string() {
            self.events.push(message);
        }
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Its own way out takes its helpers along; a browser that does not answer is killed.
        let close = json!({ "id": u32::MAX, "method": "Browser.close" }).to_string() + "\0";
        let is_told = self.pipe.write_all(close.as_bytes()).and_then(|()| self.pipe.flush()).is_ok();
        let until = Instant::now() + Duration::from_secs(10);
        while is_told && Instant::now() < until {
            // The reader's end of the channel closes with the browser's last word.
            match self.messages.recv_timeout(Duration::from_millis(100)) {
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => break,
                _ if matches!(self.child.try_wait(), Ok(Some(_))) => return,
                _ => {}
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
