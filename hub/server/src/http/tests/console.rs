//! The console's pages over records: alarms, rules, runs, content, ledger, quarantine.

mod alarms;
mod enrolment;
mod gateways;
mod ledger;
mod records;
mod rules;
mod ways;

use super::{NOW_US, Served, seed};

/// What no page may hand on as it is.
const HOSTILE: &str = "<img src=x onerror=alert(1)>\"'&";
/// How it stands in a page.
const ESCAPED: &str = "&lt;img src=x onerror=alert(1)&gt;&quot;'&amp;";

/// A page as a viewer sees it.
async fn page(served: &Served, path: &str) -> String {
    seen_with(served, &served.tokens.reader, path).await
}

async fn seen_with(served: &Served, token: &str, path: &str) -> String {
    let answer = served.get(path).bearer(token).send().await;
    assert_eq!(answer.status, 200, "{path}: {answer:?}");
    assert!(
        !answer.body.contains("<img"),
        "{path}: what somebody sent is markup"
    );
    answer.body
}

/// All of these stand in a page.
#[track_caller]
fn shows(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

/// None of these stands in a page.
#[track_caller]
fn hides(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(!page.contains(part), "{part} is in {page}");
    }
}
