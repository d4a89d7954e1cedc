//! Somebody signs in, watches a value change, writes a rule, tries it on the past, sees its alarm
//! and acknowledges it.

use serde_json::json;

use crate::Visit;
use crate::history::Freezer;
use crate::support::{Hub, wait_for};

/// What is written first: with a slip.
const WRONG: &str = r#"id: too-warm
version: 1
on: { telemetry: { devices: "freezer-*", name: temperature } }
when: { abov: 8.0, for: 2s, clear: 6.0 }
alarm: { severity: major, title: "{{ event.device }} is at {{ event.value }}" }
"#;

#[test]
fn from_signing_in_to_an_acknowledged_alarm() {
    let hub = Hub::start(&["--mqtt-plain", "127.0.0.1:0"]);
    let mut freezer = Freezer::with_a_past(&hub, "freezer-1");
    let visit = Visit::of(&hub);
    visit.signs_in_again();
    watches_a_value(&visit, &mut freezer);
    writes_a_rule(&visit);
    tries_it_on_the_past(&visit, &hub);
    saves_it(&visit, &hub);
    sees_its_alarm_and_acknowledges_it(&visit, &hub, &mut freezer);
    sees_it_end(&visit, &mut freezer);
    visit.is_clean();
    hub.is_sound();
}

fn watches_a_value(visit: &Visit, freezer: &mut Freezer) {
    visit.open(&format!("/devices/{}", freezer.name()));
    visit.mark();
    let value = format!(
        "[data-device=\"{}\"] [data-name=temperature] b",
        freezer.name()
    );
    for (measured, shown) in [(5.25, "5.25"), (5.5, "5.5")] {
        freezer.measures(measured, 1);
        visit.browser.wait_for_text(&value, shown);
    }
    visit.is_the_same();
}

fn writes_a_rule(visit: &Visit) {
    let browser = &visit.browser;
    visit.open("/workflows");
    browser.click("a[href^='/workflows/new']");
    browser.wait_for_path("the editor", |path| path.starts_with("/workflows/new"));
    // The template is a rule as it stands.
    browser.wait_for_text("#check.good", "Well formed");
    visit.mark();
    browser.fill("#yaml", WRONG);
    // Where, what, and what would be right.
    browser.wait_for_text("#check.bad", "Line 4, column 9");
    browser.wait_for_text("#check.bad", "abov");
    browser.wait_for_text("#check.bad", "did you mean `above`?");
    let invalid =
        browser.run("return document.querySelector('#yaml').getAttribute('aria-invalid')");
    assert_eq!(invalid, "true");
    // The place is a way to it: the letter that is missing is typed there.
    browser.click("#check .place");
    let typed = "const text = document.querySelector('#yaml');
        text.setSelectionRange(text.selectionStart + 4, text.selectionStart + 4);";
    browser.run(typed);
    browser.press("e");
    browser.wait_for_text("#check.good", "Well formed");
    browser.wait_for_text("#check.good", "A major alarm is raised");
    visit.is_the_same();
}

fn tries_it_on_the_past(visit: &Visit, hub: &Hub) {
    let browser = &visit.browser;
    browser.click("[data-range=\"3600\"]");
    browser.click("#backtest-run");
    browser.wait_for_text(
        "#backtest-said",
        "it would have fired 2 times, with 2 alarms",
    );
    browser.wait_for_text("#backtest-said", "nothing happened really");
    // On the chart, and as words.
    browser.find("#backtest-figure .line");
    let count = |css: &str| {
        let script = "return document.querySelectorAll(arguments[0]).length";
        browser.run_with(script, json!([css])).as_u64().unwrap()
    };
    assert_eq!(count("#backtest-figure .shades .would"), 2);
    assert_eq!(count("#backtest-figure .lanes .would"), 2);
    assert_eq!(count("#firings tr"), 2);
    browser.wait_for_text("#firings", "freezer-1");
    // It has changed nothing.
    assert!(hub.items("/api/v1/workflows").is_empty());
    assert!(hub.items("/api/v1/alarms").is_empty());
}

fn saves_it(visit: &Visit, hub: &Hub) {
    let browser = &visit.browser;
    browser.click("#save");
    browser.wait_for_path("the rule", |path| path == "/workflows/too-warm");
    browser.wait_for_text("#told", "Version 1 of too-warm is in force.");
    browser.wait_for_text("body", "version 1 in force");
    let kept = hub.items("/api/v1/workflows");
    assert_eq!(kept[0]["id"], "too-warm");
}

fn sees_its_alarm_and_acknowledges_it(visit: &Visit, hub: &Hub, freezer: &mut Freezer) {
    let browser = &visit.browser;
    visit.open("/alarms");
    browser.wait_for_text("#alarms", "No alarm is active");
    visit.mark();
    freezer.measures(9.0, 5);
    freezer.measures(9.25, 5);
    browser.wait_for_text("#alarms", "freezer-1 is at 9.25");
    browser.wait_for_text("#alarms .badge", "major");
    browser.click("#alarms button[data-open=acknowledge]");
    browser.wait_for_text("#acknowledge", "freezer-1 is at 9.25");
    browser.type_into("#note", "the door was open");
    browser.click("#acknowledge button.primary");
    browser.wait_for_text("#told", "Acknowledged");
    browser.wait_for_text("#alarms .badge", "acknowledged");
    browser.wait_for_text("#alarms", "the door was open");
    visit.is_the_same();
    let alarm = &hub.items("/api/v1/alarms?active=true")[0];
    assert_eq!(alarm["acknowledged"]["note"], "the door was open");
    browser.click("#alarms button[data-open=silence]");
    browser.click("#silence button.primary");
    browser.wait_for_text("#alarms .badge", "silenced");
}

fn sees_it_end(visit: &Visit, freezer: &mut Freezer) {
    let browser = &visit.browser;
    browser.click("#alarms th a");
    browser.wait_for_path("the alarm", |path| path.starts_with("/alarms/"));
    browser.wait_for_text("#stream", "Live");
    visit.mark();
    browser.find(".measured .shade.active");
    freezer.measures(2.0, 5);
    browser.wait_for_text("#alarm .badge", "cleared");
    browser.wait_for_text(".timeline", "acknowledged by");
    visit.is_the_same();
    wait_for("the buttons to go", || {
        browser.look("button[data-open]").is_none().then_some(())
    });
}
