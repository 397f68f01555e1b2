//! A headless Chromium, driven through its own driver by the W3C WebDriver protocol: JSON over HTTP.

use crate::client::Connection;
use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Longer than Chromium takes to start on a machine that does much else.
const START_MAX: Duration = Duration::from_secs(120);

/// So often a driver may end instead of naming its port.
const STARTS_MAX: usize = 5;

/// Why no browser can be driven here; nothing where one can.
pub fn missing() -> Option<String> {
    for tool in ["chromium", "chromedriver"] {
        let found = Command::new(tool).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
        if !found.is_ok_and(|status| status.success()) {
            return Some(format!("there is no {tool} here; .ci/tools installs it"));
        }
    }
    None
}

/// Starts a driver on a port that it chooses, and says where it listens. It takes one port of IPv4, and then the same of
/// IPv6. Where somebody else has that one, it ends, and another start finds another port.
fn start_driver() -> (Child, String) {
    let mut said = String::new();
    for _ in 0..STARTS_MAX {
        let mut command = Command::new("chromedriver");
        let mut driver =
            command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the driver");
        for line in BufReader::new(driver.stdout.take().expect("a pipe")).lines().map_while(Result::ok) {
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                return (driver, format!("127.0.0.1:{}", port.trim_end_matches('.')));
            }
            said.push_str(&line);
            said.push('\n');
        }
        _ = driver.kill();
        let status = driver.wait().expect("the driver ended");
        said.push_str(&format!("{status}\n"));
    }
    panic!("{STARTS_MAX} drivers named no port:\n{said}");
}

/// One browser with one window.
pub struct Browser {
    driver: Child,
    address: String,
    session: String,
}

impl Browser {
    /// Starts one whose window is so wide and high, in a dark or a light system.
    pub fn start(width: u32, height: u32, dark: bool) -> Self {
        let (driver, address) = start_driver();
        let mut browser = Self { driver, address, session: String::new() };
        let metrics = json!({ "width": width, "height": height, "pixelRatio": 1.0, "mobile": width < 600 });
        let mut arguments =
            vec!["--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"];
        if dark {
            arguments.push("--force-dark-mode");
        }
        let options = json!({ "args": arguments, "mobileEmulation": { "deviceMetrics": metrics } });
        let wanted = json!({ "browserName": "chrome", "goog:chromeOptions": options,
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" } });
        let session = browser.call("POST", "session", &json!({ "capabilities": { "alwaysMatch": wanted } }));
        browser.session = session["sessionId"].as_str().expect("a session").to_owned();
        browser
    }

    fn call(&self, method: &str, path: &str, body: &Value) -> Value {
        let body = if method == "POST" { body.to_string() } else { String::new() };
        let request = format!(
            "{method} /{path} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
             Connection: close\r\n\r\n{body}",
            self.address,
            body.len()
        );
        let mut connection = Connection::open(&self.address).expect("the driver listens");
        connection.timeout(START_MAX).send(request.as_bytes());
        let response = connection.receive(false).expect("the driver answers");
        let answer = response.json();
        assert_eq!(response.status, 200, "{method} {path}: {answer}");
        answer["value"].clone()
    }

    fn of_session(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("session/{}/{path}", self.session), body)
    }

    /// Opens a file, with what stands behind `#`.
    pub fn open(&self, file: &Path, fragment: &str) {
        // Only the fragment would change, so the page would not load again.
        self.of_session("POST", "url", &json!({ "url": "about:blank" }));
        self.of_session("POST", "url", &json!({ "url": format!("file://{}{fragment}", file.display()) }));
    }

    /// Opens a page of a server.
    pub fn visit(&self, url: &str) {
        self.of_session("POST", "url", &json!({ "url": url }));
    }

    /// What an expression of JavaScript says.
    pub fn ask(&self, expression: &str) -> Value {
        self.of_session("POST", "execute/sync", &json!({ "script": format!("return {expression};"), "args": [] }))
    }

    /// The same as a text.
    pub fn text(&self, expression: &str) -> String {
        let value = self.ask(expression);
        value.as_str().unwrap_or_else(|| panic!("{expression}: {value}")).to_owned()
    }

    /// Presses keys, one after another. A key without a letter has its number in WebDriver.
    pub fn press(&self, keys: &[char]) {
        let presses = keys
            .iter()
            .flat_map(|key| ["keyDown", "keyUp"].map(|what| json!({ "type": what, "value": key.to_string() })));
        let actions = json!({ "actions": [{ "type": "key", "id": "keys", "actions": presses.collect::<Vec<_>>() }] });
        self.of_session("POST", "actions", &actions);
    }

    /// What the console has complained of, and which addresses were asked for beside the page itself.
    pub fn complaints(&self) -> Vec<String> {
        let log = |kind: &str| {
            let entries = self.of_session("POST", "se/log", &json!({ "type": kind }));
            entries.as_array().expect("a list of entries").clone()
        };
        let mut complaints: Vec<String> = log("browser").iter().map(|entry| entry["message"].to_string()).collect();
        for entry in log("performance") {
            let message: Value = serde_json::from_str(entry["message"].as_str().expect("a text")).expect("JSON");
            let message = &message["message"];
            let url = message["params"]["request"]["url"].as_str().unwrap_or_default();
            let is_own = url.is_empty() || ["file:", "data:", "about:"].iter().any(|scheme| url.starts_with(scheme));
            if message["method"] == "Network.requestWillBeSent" && !is_own {
                complaints.push(format!("asks for {url}"));
            }
        }
        complaints
    }

    /// A picture of the window as a PNG file.
    pub fn picture(&self) -> Vec<u8> {
        let picture = self.of_session("GET", "screenshot", &Value::Null);
        decoded(picture.as_str().expect("a text"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.of_session("DELETE", "window", &Value::Null);
        }
        _ = self.driver.kill();
        _ = self.driver.wait();
    }
}

/// Base64, which pictures come in.
fn decoded(text: &str) -> Vec<u8> {
    let alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let values: Vec<u32> = text.chars().filter_map(|letter| alphabet.find(letter)).map(|value| value as u32).collect();
    let of_four = |four: &[u32]| {
        let bits = four.iter().enumerate().fold(0, |bits, (at, value)| bits | value << (18 - 6 * at));
        bits.to_be_bytes()[1..four.len()].to_vec()
    };
    values.chunks(4).flat_map(of_four).collect()
}
