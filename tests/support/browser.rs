//! A real Chromium, driven through WebDriver by its own driver (`chromedriver`).
//!
//! Debian's packages `chromium` and `chromium-driver`, which `cargo xtask tools` installs, have
//! both of the same version. The protocol is HTTP with JSON; what WebDriver lacks (the colour
//! scheme, a phone's screen, whole-page pictures) goes through its door to Chromium's own one.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};

use base64::Engine as _;
use serde_json::{Value, json};

use super::{http, wait_for};

/// Keys that are no characters, as WebDriver names them.
pub(crate) mod keys {
    pub(crate) const ESCAPE: &str = "\u{e00c}";
    pub(crate) const TAB: &str = "\u{e004}";
    pub(crate) const ENTER: &str = "\u{e007}";
    pub(crate) const SPACE: &str = " ";
    pub(crate) const SHIFT: &str = "\u{e008}";
    pub(crate) const CONTROL: &str = "\u{e009}";
    /// Lets go of what is held, e.g. [`SHIFT`].
    pub(crate) const RELEASE: &str = "\u{e000}";
}

/// What WebDriver calls a reference to an element.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// Chromium talks to nobody but the pages that it is shown.
const FLAGS: [&str; 12] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-default-apps",
    "--hide-scrollbars",
];

/// A browser with one window.
pub(crate) struct Browser {
    driver: Driver,
    session: String,
}

/// An element of the page that was shown when it was found.
#[derive(Clone, Debug)]
pub(crate) struct Element(String);

/// A screen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) mobile: bool,
}

/// A desk's.
pub(crate) const DESKTOP: Screen = Screen {
    name: "desktop",
    width: 1280,
    height: 900,
    mobile: false,
};
/// A hand's.
pub(crate) const PHONE: Screen = Screen {
    name: "phone",
    width: 390,
    height: 844,
    mobile: true,
};

/// Light or dark.
pub(crate) const SCHEMES: [&str; 2] = ["light", "dark"];

impl Browser {
    /// Starts driver and browser; panics with what to install where one is missing.
    pub(crate) fn start() -> Self {
        Self::start_with(false)
    }

    /// As [`Browser::start`], and whatever certificate a page shows is taken.
    pub(crate) fn start_trusting_anybody() -> Self {
        Self::start_with(true)
    }

    fn start_with(any_certificate: bool) -> Self {
        let chromium = program("chromium");
        let driver = Driver::start(&program("chromedriver"));
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "acceptInsecureCerts": any_certificate,
            "goog:chromeOptions": { "binary": chromium, "args": FLAGS },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let session = driver.call("POST", "/session", Some(&wanted));
        let session = session.unwrap_or_else(|why| panic!("Chromium does not start: {why}"));
        let id = session["sessionId"].as_str().expect("a session").to_owned();
        let browser = Self {
            driver,
            session: id,
        };
        browser.on_screen(DESKTOP);
        browser
    }

    /// Runs a script in each page that is opened from now on, before its own, as an extension does.
    pub(crate) fn inject(&self, script: &str) {
        let source = json!({ "source": script });
        self.chromium("Page.addScriptToEvaluateOnNewDocument", source);
    }

    /// Opens an address, and waits until the page is loaded.
    pub(crate) fn open(&self, address: &str) {
        self.post("/url", json!({ "url": address }));
    }

    /// The path and the query of the page.
    pub(crate) fn path(&self) -> String {
        let path = self.run("return location.pathname + location.search");
        path.as_str().expect("a path").to_owned()
    }

    /// Waits until the page's path is such a one.
    pub(crate) fn wait_for_path(&self, what: &str, is_right: impl Fn(&str) -> bool) -> String {
        wait_for(&format!("the address of {what}"), || {
            let path = self.path();
            is_right(&path).then_some(path)
        })
    }

    /// Waits for an element that matches the selector and is shown.
    pub(crate) fn find(&self, css: &str) -> Element {
        wait_for(&format!("{css} on {}", self.path()), || self.look(css))
    }

    /// The first element that matches the selector and is shown.
    pub(crate) fn look(&self, css: &str) -> Option<Element> {
        let script = "return [...document.querySelectorAll(arguments[0])]
            .find((e) => e.checkVisibility()) ?? null";
        let found = self.run_with(script, json!([css]));
        Some(Element(found.get(ELEMENT)?.as_str()?.to_owned()))
    }

    /// Waits until a shown element that matches the selector has these words.
    pub(crate) fn wait_for_text(&self, css: &str, words: &str) -> Element {
        let script = "return [...document.querySelectorAll(arguments[0])]
            .find((e) => e.checkVisibility() && e.innerText.includes(arguments[1])) ?? null";
        let shown = || self.run_with("return document.body.innerText", json!([]));
        let begun = std::time::Instant::now();
        loop {
            let found = self.run_with(script, json!([css, words]));
            if let Some(id) = found.get(ELEMENT).and_then(Value::as_str) {
                return Element(id.to_owned());
            }
            assert!(
                begun.elapsed() < super::LIMIT,
                "no {css} with «{words}» on {}, which shows:\n{}",
                self.path(),
                shown().as_str().unwrap_or_default()
            );
            pause();
        }
    }

    /// The element's text as it is shown.
    pub(crate) fn text(&self, element: &Element) -> String {
        let text = self.get(&format!("/element/{}/text", element.0));
        text.as_str().expect("a text").to_owned()
    }

    /// Clicks on the first element that matches the selector.
    pub(crate) fn click(&self, css: &str) {
        let element = self.find(css);
        self.post(&format!("/element/{}/click", element.0), json!({}));
    }

    /// Says yes to what the page asks in a dialogue; what it asked.
    pub(crate) fn agree(&self) -> String {
        let asked = wait_for("a question of the page", || {
            let path = format!("/session/{}/alert/text", self.session);
            self.driver.call("GET", &path, None).ok()
        });
        self.post("/alert/accept", json!({}));
        asked.as_str().unwrap_or_default().to_owned()
    }

    /// Types into the first element that matches the selector, after what it has.
    pub(crate) fn type_into(&self, css: &str, text: &str) {
        let element = self.find(css);
        self.post(
            &format!("/element/{}/value", element.0),
            json!({ "text": text }),
        );
    }

    /// Puts a text in the place of what a field has, as a paste would.
    pub(crate) fn fill(&self, css: &str, text: &str) {
        self.find(css);
        self.run_with(
            "const field = document.querySelector(arguments[0]);
             field.focus();
             field.value = arguments[1];
             field.dispatchEvent(new InputEvent('input', { bubbles: true }));
             field.dispatchEvent(new Event('change', { bubbles: true }));",
            json!([css, text]),
        );
    }

    /// Presses keys where the focus is.
    pub(crate) fn press(&self, keys: &str) {
        let active = self.get("/element/active");
        let id = active[ELEMENT].as_str().expect("something has the focus");
        self.post(&format!("/element/{id}/value"), json!({ "text": keys }));
    }

    /// Strikes a key, wherever the focus is. What is typed into a field for files would be taken for a file.
    fn strike(&self, key: &str) {
        let strokes =
            json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": strokes });
        self.post("/actions", json!({ "actions": [keyboard] }));
    }

    /// Goes on with the tabulator until the focus is on what matches the selector, as somebody
    /// without a mouse does.
    pub(crate) fn tab_to(&self, css: &str) {
        self.find(css);
        for _ in 0..200 {
            let there = self.run_with(
                "return Boolean(document.activeElement?.matches(arguments[0]))",
                json!([css]),
            );
            if there == json!(true) {
                return;
            }
            self.strike(keys::TAB);
        }
        panic!("the tabulator never comes to {css} on {}", self.path());
    }

    /// Runs a script in the page.
    pub(crate) fn run(&self, script: &str) -> Value {
        self.run_with(script, json!([]))
    }

    /// Runs a script with arguments in the page.
    pub(crate) fn run_with(&self, script: &str, arguments: Value) -> Value {
        self.post(
            "/execute/sync",
            json!({ "script": script, "args": arguments }),
        )
    }

    /// Sets the screen.
    pub(crate) fn on_screen(&self, screen: Screen) {
        self.chromium(
            "Emulation.setDeviceMetricsOverride",
            json!({
                "width": screen.width, "height": screen.height, "deviceScaleFactor": 1,
                "mobile": screen.mobile,
            }),
        );
    }

    /// Sets what `prefers-color-scheme` says.
    pub(crate) fn in_scheme(&self, scheme: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": scheme }]);
        self.chromium(
            "Emulation.setEmulatedMedia",
            json!({ "features": features }),
        );
    }

    /// Takes a picture of the whole page.
    pub(crate) fn picture(&self, file: &Path) {
        self.run("scrollTo(0, 0)");
        let metrics = self.chromium("Page.getLayoutMetrics", json!({}));
        let size = &metrics["cssContentSize"];
        let clip = json!({
            "x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1,
        });
        let taken = self.chromium(
            "Page.captureScreenshot",
            json!({ "format": "png", "captureBeyondViewport": true, "clip": clip }),
        );
        let data = taken["data"].as_str().expect("a picture");
        let bytes = base64::engine::general_purpose::STANDARD
            .decode(data)
            .expect("base64");
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, bytes).unwrap();
    }

    /// The cookies of the page, also those that no script sees.
    pub(crate) fn cookies(&self) -> Vec<Value> {
        self.get("/cookie").as_array().expect("cookies").clone()
    }

    /// Warnings and errors of the console since it was asked last.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "browser" }));
        let entries = entries.as_array().expect("a log").iter();
        let bad = entries.filter(|entry| entry["level"] == "SEVERE" || entry["level"] == "WARNING");
        bad.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    /// The addresses that were asked for since it was asked last, whoever was to answer.
    pub(crate) fn requests(&self) -> Vec<String> {
        let entries = self.post("/se/log", json!({ "type": "performance" }));
        let entries = entries.as_array().expect("a log").iter();
        entries
            .filter_map(|entry| {
                let event: Value = serde_json::from_str(entry["message"].as_str()?).ok()?;
                let message = &event["message"];
                let url = match message["method"].as_str()? {
                    "Network.requestWillBeSent" => &message["params"]["request"]["url"],
                    "Network.webSocketCreated" => &message["params"]["url"],
                    _ => return None,
                };
                Some(url.as_str()?.to_owned())
            })
            .collect()
    }

    /// A command of Chromium's own protocol.
    fn chromium(&self, command: &str, parameters: Value) -> Value {
        self.post(
            "/goog/cdp/execute",
            json!({ "cmd": command, "params": parameters }),
        )
    }

    fn get(&self, path: &str) -> Value {
        self.call("GET", path, None)
    }

    fn post(&self, path: &str, body: Value) -> Value {
        self.call("POST", path, Some(&body))
    }

    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let whole = format!("/session/{}{path}", self.session);
        self.driver
            .call(method, &whole, body)
            .unwrap_or_else(|why| panic!("{path}: {why}"))
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // It ends the browser; the driver alone would leave it behind.
        let _ = self
            .driver
            .call("DELETE", &format!("/session/{}", self.session), None);
    }
}

/// The driver's process.
struct Driver {
    child: Child,
    port: u16,
    /// Held open: what the driver says after its first lines has to go somewhere.
    said: BufReader<ChildStdout>,
}

impl Driver {
    fn start(program: &Path) -> Self {
        let mut child = Command::new(program)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("chromedriver starts");
        let said = BufReader::new(child.stdout.take().unwrap());
        // Ended when it is dropped, also if it never says its port.
        let mut driver = Self {
            child,
            port: 0,
            said,
        };
        let mut line = String::new();
        while driver.port == 0 {
            line.clear();
            let read = driver.said.read_line(&mut line);
            let read = read.expect("the driver's words");
            assert!(read > 0, "chromedriver ended without saying its port");
            let port = line.trim_end().trim_end_matches('.').rsplit(' ').next();
            if let (true, Some(port)) = (line.contains("started successfully on port"), port) {
                driver.port = port.parse().expect("a port");
            }
        }
        driver
    }

    /// The answer's `value`, or what went wrong.
    fn call(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, String> {
        let text = body.map(Value::to_string);
        let body = text.as_deref().map(|text| ("application/json", text));
        let answer = http::request(self.port, method, path, None, body);
        let value = answer.json()["value"].take();
        if answer.status == 200 {
            Ok(value)
        } else {
            Err(format!("{}: {}", value["error"], value["message"]))
        }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another process is watched from outside: there is nothing to wait on but the clock.
fn pause() {
    #[allow(clippy::disallowed_methods)]
    std::thread::sleep(std::time::Duration::from_millis(50));
}

fn program(name: &str) -> PathBuf {
    let found = std::env::var_os("PATH").and_then(|path| {
        std::env::split_paths(&path)
            .map(|folder| folder.join(name))
            .find(|file| file.is_file())
    });
    found.unwrap_or_else(|| {
        panic!(
            "{name} is not on the PATH: the console is tested in a real browser; `cargo xtask \
             tools` installs it (Debian: apt-get install chromium chromium-driver)"
        )
    })
}
