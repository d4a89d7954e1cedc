//! A gateway's page in a browser: its log and its figures, asked of the running gateway, and what an
//! admin is told when it is away.

use crate::Visit;
use crate::pages::everywhere;
use crate::support::{Gateway, Hub, wait_for};

#[test]
fn its_log_and_figures_are_shown_and_more_is_logged_for_a_while() {
    let hub = Hub::start(&[]);
    let mut gateway = Gateway::add(&hub, "gw-1");
    gateway.start();
    wait_for("the hub to have heard of it", || {
        hub.get("/api/v1/gateways/gw-1").json()["said_us"].as_i64()
    });
    let visit = Visit::of(&hub);
    let browser = &visit.browser;
    visit.open("/gateways/gw-1");
    visit.mark();
    browser.click("#show-log");
    browser.wait_for_text("#log", "uplink connected");
    browser.click("#show-figures");
    browser.wait_for_text("#figures", "spool_waiting_bytes");
    browser.wait_for_text("#figures", "Bytes of memory that the process holds.");

    // What comes is appended while the log is followed.
    browser.run("document.querySelector('#log-level').value = 'debug'");
    browser.click("#log-follow");
    browser.click("#asked form button");
    gateway.wait_for_log(&["the hub has so much logged for a while", "seconds=600"]);
    browser.wait_for_text("#log", "the hub has so much logged for a while");
    visit.is_the_same();
    let faults = everywhere(&visit, "gateway", || {
        visit.open("/gateways/gw-1");
        browser.click("#show-log");
        browser.wait_for_text("#log", "uplink connected");
    });
    assert!(faults.is_empty(), "{faults:#?}");

    // Away: it is told when it was last heard.
    gateway.kill();
    wait_for("the end of its session", || {
        (hub.get("/api/v1/gateways/gw-1").json()["connected"] == false).then_some(())
    });
    browser.click("#show-log");
    browser.wait_for_text("#asked-problem", "it was last heard at");
    visit.complains_only_of(&[409]);
    hub.is_sound();
}
