//! What is wrong with the page that is shown, for who does not see it, sees it badly, or has a
//! small screen. The rules are those of the Web Content Accessibility Guidelines 2.2, AA, as far as
//! a script can tell.

use serde_json::Value;

use crate::support::browser::Browser;

/// Each fault in a sentence; none is right.
pub(crate) fn faults(browser: &Browser) -> Vec<String> {
    let found = browser.run(include_str!("audit.js"));
    let Value::Array(found) = found else {
        panic!("no list of faults: {found}");
    };
    let texts = found.iter().filter_map(Value::as_str);
    texts.map(str::to_owned).collect()
}

/// The audit itself finds what is wrong: each of these is a page with one fault.
#[test]
fn it_finds_what_is_wrong() {
    let browser = Browser::start();
    let page = |body: &str| {
        browser.open("about:blank");
        let whole = format!(
            "<!DOCTYPE html><html lang=en><title>t</title><main><h1>t</h1>{body}</main></html>"
        );
        let script = "document.open(); document.write(arguments[0]); document.close();";
        browser.run_with(script, serde_json::json!([whole]));
        faults(&browser)
    };
    assert_eq!(page("<p>right</p>"), Vec::<String>::new());
    for (body, word) in [
        ("<h1>again</h1>", "h1"),
        ("<h3>too deep</h3>", "h3"),
        ("<input>", "has no name"),
        ("<button></button>", "has no name"),
        ("<img src='data:,'>", "has no name"),
        ("<svg width=9 height=9></svg>", "has no name"),
        ("<label for=x>x</label>", "there is no #x"),
        ("<p id=a></p><p id=a></p>", "twice"),
        ("<p style='color:#999;background:#fff'>pale</p>", "contrast"),
        ("<p style='opacity:.4'>pale</p>", "contrast"),
        (
            "<svg role=img aria-label=l width=90 height=20><text y=15 fill='#bbb'>pale</text></svg>",
            "contrast",
        ),
        (
            "<div style='width:3000px'>wide</div>",
            "wider than the screen",
        ),
        ("<a href=x tabindex=3>a</a>", "tabindex"),
        (
            "<button style='width:10px;height:10px;padding:0'>x</button>",
            "small",
        ),
    ] {
        let found = page(body);
        assert!(
            found.iter().any(|fault| fault.contains(word)),
            "{body}: {found:?}"
        );
    }
}
