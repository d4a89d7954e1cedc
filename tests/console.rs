//! The console in a real browser: Chromium signs in, watches, writes a rule, tries it on the
//! past, sees its alarm and acknowledges it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use support::Hub;
use support::browser::Browser;

#[test]
fn somebody_signs_in() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let browser = Browser::start();
    let origin = format!("http://127.0.0.1:{}", hub.port("http"));
    browser.open(&origin);
    browser.click("summary");
    browser.type_into("#token", &hub.token);
    browser.click("#by-token button");
    browser.wait_for_path("the overview", |path| path == "/");
    browser.picture(std::path::Path::new("/tmp/screens/first.png"));
    eprintln!("{:?} {:?}", browser.complaints(), browser.requests());
}
