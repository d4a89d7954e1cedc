//! The console: what holds for every page, and the overview.

use stencil_protocol::sample::OwnedValue;
use stencil_store::{Commit, LinkInfo, TwinUpdate};

use super::{NOW_US, Served, problem, seed};

async fn page(served: &Served, path: &str) -> String {
    let answer = served.read(path).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_eq!(
        answer.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    answer.body
}

#[tokio::test]
async fn the_overview_shows_fleet_runs_and_commands_without_its_script() {
    let served = Served::start().await;
    let page = page(&served, "/").await;
    for part in [
        "<strong>acme</strong>",
        "data-device=\"freezer-marked\"",
        "post-quantum",
        "suite-marked",
        "by gateway-marked",
        "<ol class=\"steps\">",
        "page-marked",
        "340 ms",
        "2 attempts",
        "lock-marked",
        "bolt marked",
        "1 quarantined payload<",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

#[tokio::test]
async fn a_device_has_a_chart_without_its_script() {
    let served = Served::start().await;
    let page = page(&served, "/devices/freezer-marked?name=temperature").await;
    for part in [
        "<polyline",
        "lowest -20 degC, highest -8.1 degC, last -8.1 degC at 2023-11-14 22:13:20.",
    ] {
        assert!(page.contains(part), "{part} is not in {page}");
    }
}

/// Every page of the console.
const PAGES: &[&str] = &[
    "/",
    "/devices/freezer-marked",
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
    "/ledger",
    "/quarantine",
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
async fn the_chart_has_a_window_that_links_move() {
    let served = Served::start().await;
    let (from, to) = (NOW_US - 10_000_000, NOW_US - 5_000_000);
    let path = |from: i64, to: i64| {
        format!("/devices/freezer-marked?name=temperature&from_us={from}&to_us={to}")
    };
    let chart = page(&served, &path(from, to)).await;
    assert!(chart.contains("temperature: 5 points from"), "{chart}");
    let escaped = path(from - 2_500_000, to - 2_500_000);
    assert!(chart.contains(&escaped.replace('&', "&amp;")), "{chart}");
    // Without a window it ends at the newest point.
    let newest = page(&served, "/devices/freezer-marked?name=temperature").await;
    assert!(newest.contains("120 points"), "{newest}");
    assert!(newest.contains("<summary>The newest 50 of 120 points as a table</summary>"));
    let door = page(&served, "/devices/freezer-marked?name=door").await;
    assert!(door.contains("<circle"), "{door}");
    let texts = page(&served, "/devices/freezer-marked?name=note").await;
    assert!(
        texts.contains("1 texts") && !texts.contains("<polyline"),
        "{texts}"
    );
    let empty = page(&served, &path(0, 1)).await;
    assert!(empty.contains("no points from 1970"), "{empty}");
    assert!(
        empty.contains("id=\"plot\""),
        "an empty window can be left as it was entered"
    );
    // Windows at the ends of time are windows too.
    for (from, to) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (5, -5)] {
        page(&served, &path(from, to)).await;
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

#[tokio::test]
async fn an_empty_hub_has_a_page_too() {
    let served = Served::start().await;
    let page = served.get("/").bearer(&served.tokens.rival).send().await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("No device has been heard yet."));
    assert!(page.body.contains("No workflow has run yet."));
}

#[tokio::test]
async fn a_link_without_tls_is_told_from_a_classical_one() {
    let served = Served::start().await;
    let twin = |device: &str, group: Option<&str>| TwinUpdate {
        tenant: seed::acme(),
        device: device.parse().unwrap(),
        gateway: None,
        name: "t".to_owned(),
        value: OwnedValue::Number(1.0),
        unit: None,
        time_us: NOW_US,
        received_us: NOW_US,
        link: Some(LinkInfo {
            suite: None,
            group: group.map(str::to_owned),
            post_quantum: false,
        }),
    };
    let commit = Commit {
        position: 11,
        twins: vec![twin("bare", None), twin("old", Some("X25519"))],
        ..Commit::default()
    };
    served.store.pipeline.commit(commit).await.unwrap();
    let fleet = page(&served, "/").await;
    for (device, badge, not) in [
        ("bare", ">no TLS<", ">classical<"),
        ("old", ">classical<", ">no TLS<"),
    ] {
        let start = format!("data-device=\"{device}\"");
        let row = fleet.split(&start).nth(1).unwrap();
        let row = row.split("</tr>").next().unwrap();
        assert!(row.contains(badge) && !row.contains(not), "{row}");
    }
}
