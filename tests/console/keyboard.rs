//! Without a mouse: from the first tabulator to a saved rule.

use serde_json::json;

use crate::Visit;
use crate::support::Hub;
use crate::support::browser::keys;

#[test]
fn a_rule_is_written_with_the_keyboard_alone() {
    let hub = Hub::start(&[]);
    let visit = Visit::of(&hub);
    let browser = &visit.browser;
    let focus = |css: &str| {
        let script = "return document.activeElement.matches(arguments[0])";
        browser.run_with(script, json!([css])) == json!(true)
    };
    visit.open("/workflows");
    // The first thing is the way past the navigation, and it can be seen.
    browser.press(keys::TAB);
    assert!(focus(".skip"), "the skip link is not the first");
    let seen = browser.run(
        "const box = document.activeElement.getBoundingClientRect();
        return box.left >= 0 && box.top >= 0 && box.width > 0",
    );
    assert_eq!(seen, true, "the skip link cannot be seen");
    browser.press(keys::ENTER);
    assert!(focus("#main"), "it leads to the page");
    browser.tab_to("main a[href='/workflows/new']");
    let marked = browser.run(
        "const style = getComputedStyle(document.activeElement);
        return style.outlineStyle !== 'none' && parseFloat(style.outlineWidth) >= 2",
    );
    assert_eq!(marked, true, "the focus cannot be seen");
    browser.press(keys::ENTER);
    browser.wait_for_path("the editor", |path| path == "/workflows/new");
    browser.wait_for_text("#check.good", "Well formed");
    browser.tab_to("#yaml");
    // In the text the tabulator indents; Escape lets it go on.
    browser.press(&format!("{}a", keys::CONTROL));
    browser.press("id: by-key\nversion: 1\non: { telemetry: { devices: \"a\", name: t } }\nwhen:\nabove: 1\nalarm: { severity: minor, title: x }");
    let text = browser.run("return document.querySelector('#yaml').value");
    let text = text.as_str().unwrap();
    assert!(
        text.contains("when:\n  above: 1\n  alarm:"),
        "a line begins below a colon: {text}"
    );
    // The line goes back to the left, as Shift with the tabulator does.
    browser.press(&format!("{}{}{}", keys::SHIFT, keys::TAB, keys::RELEASE));
    browser.wait_for_text("#check.good", "Well formed");
    browser.press(keys::ESCAPE);
    browser.press(keys::TAB);
    assert!(focus("#save"), "Escape and the tabulator leave the text");
    browser.press(&format!("{}s", keys::CONTROL));
    browser.wait_for_path("the rule", |path| path == "/workflows/by-key");
    assert_eq!(hub.items("/api/v1/workflows")[0]["id"], "by-key");
    // The slash is the way to the search.
    browser.wait_for_text("#stream", "Live");
    browser.press("/");
    assert!(focus("#search"));
    visit.is_clean();
}
