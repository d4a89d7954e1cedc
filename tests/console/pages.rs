//! Each page on a desk and in a hand, by light and in the dark: nothing runs out of the screen,
//! everything is named and can be read. Pictures of all are in `target/screenshots`.

use std::path::PathBuf;

use crate::Visit;
use crate::audit;
use crate::history::furnish;
use crate::support::Hub;
use crate::support::browser::{DESKTOP, PHONE, SCHEMES};

#[test]
fn every_page_can_be_read_and_used_everywhere() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let _freezer = furnish(&hub);
    let visit = Visit::of(&hub);
    let mut faults = Vec::new();
    for (name, path) in pages(&hub) {
        faults.extend(everywhere(&visit, name, || {
            visit.open(&path);
            if name == "rule" {
                tried(&visit);
            }
        }));
    }
    assert!(faults.is_empty(), "{faults:#?}");
    visit.is_clean();
}

/// Each fault of the page that `come` shows, on each screen in each scheme.
pub(crate) fn everywhere(visit: &Visit, name: &str, come: impl Fn()) -> Vec<String> {
    let mut faults = Vec::new();
    for screen in [DESKTOP, PHONE] {
        visit.browser.on_screen(screen);
        for scheme in SCHEMES {
            visit.browser.in_scheme(scheme);
            come();
            let mut found = audit::faults(&visit.browser);
            if !found.is_empty() {
                // What is just being drawn anew has not all of its colours: a fault is one that stays.
                found = audit::faults(&visit.browser);
            }
            let path = visit.browser.path();
            let which = format!("{path} on a {} in the {scheme}", screen.name);
            faults.extend(found.into_iter().map(|fault| format!("{which}: {fault}")));
            let file = format!("{name}-{}-{scheme}.png", screen.name);
            visit.browser.picture(&folder().join(file));
        }
    }
    visit.browser.on_screen(DESKTOP);
    visit.browser.in_scheme(SCHEMES[0]);
    faults
}

/// The editor with the outcome of a backtest.
fn tried(visit: &Visit) {
    visit.browser.click("#backtest-run");
    visit.browser.find("#backtest-figure .line");
}

/// Every page of the console: its name and its address.
fn pages(hub: &Hub) -> Vec<(&'static str, String)> {
    let id = |path: &str| {
        let items = hub.items(path);
        items[0]["id"].as_str().expect("an id").to_owned()
    };
    let plain = |name, path: &str| (name, path.to_owned());
    vec![
        plain("overview", "/"),
        plain("devices", "/devices"),
        plain("device", "/devices/freezer-1"),
        plain("alarms", "/alarms"),
        (
            "alarm",
            format!("/alarms/{}", id("/api/v1/alarms?active=true")),
        ),
        plain("alarms-none", "/alarms?state=silenced"),
        plain("rules", "/workflows"),
        plain("rule-new", "/workflows/new"),
        plain("rule", "/workflows/freezer-warm"),
        plain("rule-compared", "/workflows/freezer-warm?from=1&to=2"),
        plain("runs", "/runs"),
        ("run", format!("/runs/{}", id("/api/v1/runs"))),
        plain("content", "/content"),
        plain("entry", "/content/notices/freezer-1"),
        plain("rollouts-none", "/rollouts"),
        plain("ledger", "/ledger"),
        plain("quarantine", "/quarantine"),
        plain("settings", "/settings"),
        plain("audit", "/audit"),
    ]
}

/// Where the pictures are: in the build folder.
pub(crate) fn folder() -> PathBuf {
    let program = PathBuf::from(env!("CARGO_BIN_EXE_stencil"));
    let target = program.ancestors().nth(2).expect("target/profile/stencil");
    target.join("screenshots")
}
