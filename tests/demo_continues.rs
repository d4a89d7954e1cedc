//! The demo as a newcomer leaves it: started, looked at, ended by Ctrl-C, and started again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::mpsc::{Receiver, channel};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::{LIMIT, http, stencil, wait_for};

/// A demo that runs until it is told to end.
struct Demo {
    child: Child,
    lines: Receiver<String>,
    told: Vec<String>,
    port: u16,
    token: String,
}

impl Demo {
    /// Starts it and waits for the address of its page.
    fn start(data: &Path) -> Self {
        let mut child = stencil()
            .args(["demo", "--data-dir"])
            .arg(data)
            // Of a hub of the user's own; the demo's parts have settings of their own.
            .env("STENCIL_HUB_HTTP__LISTEN", "127.0.0.1:1")
            .env("STENCIL_GATEWAY_HUB__ADDRESS", "127.0.0.1:1")
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let (to, lines) = channel();
        std::thread::spawn(move || {
            stderr
                .lines()
                .map_while(Result::ok)
                .try_for_each(|line| to.send(line))
        });
        let mut demo = Self {
            child,
            lines,
            told: Vec::new(),
            port: 0,
            token: String::new(),
        };
        let page = demo.wait_for_line("the live page: http://127.0.0.1:");
        let (_, address) = page.split_once("127.0.0.1:").unwrap();
        let (port, token) = address.split_once("/login?token=").expect("a way in");
        demo.port = port.parse().unwrap();
        demo.token = token.to_owned();
        demo
    }

    /// Waits for a line of the story.
    fn wait_for_line(&mut self, words: &str) -> String {
        if let Some(line) = self.told.iter().find(|line| line.contains(words)) {
            return line.clone();
        }
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => self.told.push(line.clone()),
                Err(error) => panic!("{error}: no {words:?} in {:#?}", self.told),
            }
            let line = self.told.last().unwrap();
            if line.contains(words) {
                return line.clone();
            }
        }
    }

    fn items(&self, path: &str) -> Vec<Value> {
        let answer = http::get(self.port, path, Some(&self.token));
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        answer.json()["items"].as_array().unwrap().clone()
    }

    /// The boots of a device of which the hub has stored something, and how many numbers of each.
    fn boots(&self, device: &str) -> Vec<(u64, u64)> {
        let mut boots = Vec::new();
        for row in self.items(&format!("/api/v1/devices/{device}/ledger")) {
            let spans = row["ledger"]["stored"].as_array().unwrap();
            let count = spans
                .iter()
                .map(|span| span[1].as_u64().unwrap() - span[0].as_u64().unwrap() + 1);
            boots.push((row["boot"].as_u64().unwrap(), count.sum()));
        }
        boots
    }

    /// Ctrl-C; it must end well.
    fn end(mut self) {
        kill_process(Pid::from_child(&self.child), Signal::INT).unwrap();
        let child = &mut self.child;
        let status = wait_for("the demo's end", || child.try_wait().unwrap());
        let told: Vec<String> = self.told.drain(..).chain(self.lines.try_iter()).collect();
        assert_eq!(status.code(), Some(0), "{told:#?}");
    }
}

impl Drop for Demo {
    fn drop(&mut self) {
        // Its parts end with it: it is asked first.
        let _ = kill_process(Pid::from_child(&self.child), Signal::TERM);
        let child = &mut self.child;
        wait_for("the demo's end", || child.try_wait().unwrap());
    }
}

/// The values of a series by their times.
fn points(demo: &Demo, device: &str) -> BTreeSet<String> {
    let path = format!("/api/v1/devices/{device}/series/temperature?limit=10000");
    demo.items(&path)
        .iter()
        .map(|point| json!([point["time_us"], point["value"]]).to_string())
        .collect()
}

#[test]
fn it_ends_cleanly_and_continues_with_its_data() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("demo");
    let mut demo = Demo::start(&data);
    demo.wait_for_line("begins in");
    // The page opens with the address as it was printed: it signs in, and is not open without.
    let login = http::get(demo.port, &format!("/login?token={}", demo.token), None);
    assert_eq!(login.status / 100, 3, "{login:?}");
    assert_ne!(http::get(demo.port, "/", None).status, 200);
    demo.wait_for_line("51 of 51 devices are linked");
    wait_for("first numbers of a freezer", || {
        (demo.boots("freezer-01")[0].1 > 5).then_some(())
    });
    let before = points(&demo, "freezer-01");
    let recorded = points(&demo, "machine-01").len();
    // The same command in a second terminal.
    let second = stencil()
        .args(["demo", "--data-dir"])
        .arg(&data)
        .output()
        .unwrap();
    let said = support::text(&second);
    assert_eq!(second.status.code(), Some(2), "{said}");
    assert!(
        said.contains("in use") && said.contains("--data-dir"),
        "{said}"
    );
    demo.end();

    // Nothing of it is left running.
    let ports: Value =
        serde_json::from_slice(&std::fs::read(data.join("ports.json")).unwrap()).unwrap();
    let mut addresses = Vec::new();
    collect(&ports, &mut addresses);
    assert!(addresses.len() >= 9, "{ports}");
    for address in addresses {
        assert!(
            TcpStream::connect(&address).is_err(),
            "{address} is still open"
        );
    }

    let mut demo = Demo::start(&data);
    demo.wait_for_line("continues with the data in");
    demo.wait_for_line("51 of 51 devices are linked");
    wait_for("numbers of a second boot", || {
        let boots = demo.boots("freezer-01");
        (boots.len() > 1 && boots.iter().all(|(_, count)| *count > 0)).then_some(())
    });
    let after = points(&demo, "freezer-01");
    assert!(
        before.is_subset(&after),
        "{:?} are gone",
        before.difference(&after)
    );
    assert!(after.len() > before.len());
    assert!(points(&demo, "machine-01").len() >= recorded);
    demo.end();
}

/// All addresses in a JSON value.
fn collect(value: &Value, addresses: &mut Vec<String>) {
    match value {
        Value::String(address) => addresses.push(address.clone()),
        Value::Array(list) => list.iter().for_each(|value| collect(value, addresses)),
        Value::Object(object) => object.values().for_each(|value| collect(value, addresses)),
        _ => {}
    }
}
