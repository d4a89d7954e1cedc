//! Every link of the console leads somewhere.

use std::collections::BTreeSet;

use super::Served;

/// Pages are followed up to so many; the seed's are fewer.
const MOST: usize = 200;

/// The addresses of this hub that a page links to.
fn links(page: &str) -> Vec<String> {
    let hrefs = page.split("<a ").skip(1).filter_map(|rest| {
        let tag = rest.split('>').next()?;
        tag.split("href=\"").nth(1)?.split('"').next()
    });
    hrefs
        .map(|href| href.replace("&amp;", "&"))
        .map(|href| href.split('#').next().unwrap_or_default().to_owned())
        // A chart's window can be moved without an end.
        .filter(|href| href.starts_with('/') && !href.contains("from_us="))
        .collect()
}

#[tokio::test]
async fn every_link_leads_somewhere() {
    let served = Served::start().await;
    let mut known = BTreeSet::from(["/".to_owned()]);
    let mut ahead = vec![("the start".to_owned(), "/".to_owned())];
    while let Some((from, path)) = ahead.pop() {
        let answer = served.get(&path).bearer(&served.tokens.admin).send().await;
        assert_eq!(
            answer.status, 200,
            "{path}, which {from} links to: {answer:?}"
        );
        assert!(known.len() < MOST, "the links never end: {known:?}");
        for link in links(&answer.body) {
            if known.insert(link.clone()) {
                ahead.push((path.clone(), link));
            }
        }
    }
    for page in [
        "/devices/freezer-marked",
        "/claim",
        "/enrolment",
        "/enrolment/freezer-marked",
        "/alarms",
        "/workflows/warm-marked",
        "/runs",
        "/content/notices-marked/published-marked",
        "/p/acme/notices-marked/published-marked",
        "/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a",
        "/ledger",
        "/quarantine",
        "/settings",
        "/audit",
    ] {
        assert!(known.contains(page), "no way leads to {page}: {known:?}");
    }
}
