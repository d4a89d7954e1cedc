//! The console: what holds for every page.

use super::{Served, problem};

pub(super) async fn page(served: &Served, path: &str) -> String {
    let answer = served.read(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    answer.body
}

/// Every page of the console.
const PAGES: &[&str] = &[
    "/",
    "/devices",
    "/devices/freezer-marked",
    "/gateways",
    "/gateways/gateway-marked",
    "/alarms",
    "/alarms/efefefefefefefefefefefefefefefef",
    "/workflows",
    "/workflows/new",
    "/workflows/warm-marked",
    "/workflows/warm-marked?from=1&to=1",
    "/runs",
    "/runs/abababababababababababababababababababababababababababababababab",
    "/content",
    "/content/notices-marked/published-marked",
    "/invoices",
    "/invoices?state=new",
    "/invoices/1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a1a",
    "/rollouts",
    "/rollouts/4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a4a",
    "/ledger",
    "/quarantine",
    "/settings",
];

#[tokio::test]
async fn pages_take_nothing_from_elsewhere_and_run_nothing_inline() {
    let served = Served::start().await;
    for path in PAGES {
        let page = page(&served, path).await;
        assert!(!page.contains("<b>marked</b>"), "a device's text is text");
        for inline in [
            " style=",
            "<style",
            " onclick=",
            " onsubmit=",
            "javascript:",
            "http://",
            "https://",
            "//cdn",
        ] {
            assert!(!page.contains(inline), "{path}: {inline}");
        }
        let scripts = page.split("<script").skip(1);
        for script in scripts {
            let (attributes, rest) = script.split_once('>').unwrap();
            assert!(
                attributes.contains(" src=\"/assets/"),
                "{path}: {attributes}"
            );
            assert!(rest.starts_with("</script>"), "{path}: an inline script");
        }
        let mut assets = 0;
        for start in [" src=\"", "rel=\"stylesheet\" href=\""] {
            for rest in page.split(start).skip(1) {
                let address = rest.split('"').next().unwrap();
                assert!(address.contains("?v="), "{address}");
                let asset = served.get(address).send().await;
                assert_eq!(asset.status, 200, "{address}");
                assert!(asset.header("cache-control").unwrap().contains("immutable"));
                assets += 1;
            }
        }
        assert!(assets >= 2, "{path}");
    }
    let overview = page(&served, "/").await;
    assert!(overview.contains("&lt;b&gt;marked&lt;/b&gt;"), "{overview}");
    served.get("/assets/none.js").send().await.problem(404);
}

#[tokio::test]
async fn pages_are_named_and_labelled() {
    let served = Served::start().await;
    for path in PAGES {
        let page = page(&served, path).await;
        assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"));
        assert_eq!(page.matches("<h1").count(), 1, "{path}");
        assert_eq!(page.matches("<main").count(), 1, "{path}");
        assert_eq!(page.matches("aria-current=\"page\"").count(), 1, "{path}");
        assert!(page.contains("href=\"#main\"") && page.contains("id=\"main\""));
        for named in [
            "aria-labelledby=\"",
            "aria-describedby=\"",
            " for=\"",
            "popovertarget=\"",
        ] {
            for labelled in page.split(named).skip(1) {
                for id in labelled.split('"').next().unwrap().split(' ') {
                    let there = page.contains(&format!("id=\"{id}\""));
                    assert!(there, "{path}: nothing has the id {id}");
                }
            }
        }
        for table in page
            .split("<th")
            .skip(1)
            .filter(|th| !th.starts_with("ead"))
        {
            assert!(
                table.starts_with(" scope=") || table.contains("scope="),
                "{path}: {table}"
            );
        }
        for part in page.split("data-live=").skip(1) {
            assert!(part.starts_with('"'));
        }
        let mut ids: Vec<&str> = page
            .split(" id=\"")
            .skip(1)
            .filter_map(|rest| rest.split('"').next())
            .collect();
        let count = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), count, "{path}: an id is there twice");
    }
}

#[tokio::test]
async fn what_is_wrong_is_said() {
    let served = Served::start().await;
    served.read("/devices/none").await.problem(404);
    served.read("/devices/a%20b").await.problem(400);
    served
        .read("/devices/freezer-marked?from_us=x")
        .await
        .problem(400);
    served.read("/?device=a").await.problem(400);
    let unknown = page(&served, "/devices/freezer-marked?name=pressure").await;
    assert!(unknown.contains("Nothing has been heard"), "{unknown}");
    problem(&served, "the disk is full");
    assert!(
        page(&served, "/")
            .await
            .contains("The hub has a problem: the disk is full")
    );
}
