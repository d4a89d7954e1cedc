//! The list of devices.

use stencil_protocol::sample::OwnedValue;
use stencil_store::{Commit, LinkInfo, TwinUpdate};

use super::page::page;
use super::{NOW_US, Served, seed};

fn twin(device: &str, name: &str, value: OwnedValue, link: Option<LinkInfo>) -> TwinUpdate {
    TwinUpdate {
        tenant: seed::acme(),
        device: device.parse().unwrap(),
        gateway: None,
        name: name.to_owned(),
        value,
        unit: None,
        time_us: NOW_US,
        received_us: NOW_US,
        link,
    }
}

fn link(group: Option<&str>) -> Option<LinkInfo> {
    Some(LinkInfo {
        suite: None,
        group: group.map(str::to_owned),
        post_quantum: false,
    })
}

async fn commit(served: &Served, twins: Vec<TwinUpdate>) {
    let commit = Commit {
        position: 11,
        twins,
        ..Commit::default()
    };
    served.store.pipeline.commit(commit).await.unwrap();
}

/// The ids in the table, in their order.
fn ids(page: &str) -> Vec<&str> {
    let rows = page.split("<tr data-device=\"").skip(1);
    rows.filter_map(|row| row.split('"').next()).collect()
}

#[tokio::test]
async fn is_searched_and_filtered() {
    let served = Served::start().await;
    commit(
        &served,
        vec![twin(
            "old",
            "t",
            OwnedValue::Number(1.0),
            link(Some("X25519")),
        )],
    )
    .await;
    for (query, expected) in [
        ("", vec!["a-foreign-marked", "freezer-marked", "old"]),
        (
            "?search=",
            vec!["a-foreign-marked", "freezer-marked", "old"],
        ),
        ("?search=FREEZER", vec!["freezer-marked"]),
        ("?search=%25", vec![]),
        ("?link=connected", vec!["freezer-marked"]),
        ("?link=cut-off", vec![]),
        (
            "?link=unknown&search=&gateway=",
            vec!["a-foreign-marked", "old"],
        ),
        ("?gateway=gateway-marked", vec!["freezer-marked"]),
        ("?protection=classical", vec!["old"]),
        (
            "?protection=post-quantum&search=free",
            vec!["freezer-marked"],
        ),
        ("?after=freezer-marked", vec!["old"]),
    ] {
        let shown = page(&served, &format!("/devices{query}")).await;
        assert_eq!(ids(&shown), expected, "{query}");
    }
    for (query, right) in [
        ("?link=up", "connected, cut-off or unknown"),
        ("?protection=good", "post-quantum or classical"),
        ("?gateway=a%20b", "the gateway"),
        ("?limit=3", "unknown field"),
    ] {
        let answer = served.read(&format!("/devices{query}")).await;
        let detail = answer.problem(400);
        assert!(detail.contains(right), "{query}: {detail}");
    }
    let long = format!("/devices?search={}", "x".repeat(129));
    served.read(&long).await.problem(400);
}

#[tokio::test]
async fn what_strangers_sent_is_text() {
    let served = Served::start().await;
    let hostile = "<img src=x onerror=alert(1)>\"'&";
    let twins = vec![twin(
        "evil",
        hostile,
        OwnedValue::Text(hostile.to_owned()),
        None,
    )];
    commit(&served, twins).await;
    for path in ["/devices", "/", "/devices/evil"] {
        let shown = page(&served, path).await;
        assert!(!shown.contains("<img"), "{path}: {shown}");
        assert!(shown.contains("&lt;img src=x"), "{path}: {shown}");
    }
    let search = "/devices?search=%22%3E%3Cimg%3E&gateway=g";
    let shown = page(&served, search).await;
    assert!(!shown.contains("<img"), "{shown}");
    assert!(shown.contains("value=\"&quot;&gt;&lt;img&gt;\""), "{shown}");
}

#[tokio::test]
async fn goes_on_by_pages_that_keep_the_filter() {
    let served = Served::start().await;
    let twins = (0..120)
        .map(|n| twin(&format!("many-{n:03}"), "t", OwnedValue::Integer(n), None))
        .collect();
    commit(&served, twins).await;
    let mut path = "/devices?search=many".to_owned();
    let mut seen = Vec::new();
    for _ in 0..3 {
        let shown = page(&served, &path).await;
        seen.extend(ids(&shown).into_iter().map(str::to_owned));
        let next = shown.split("rel=\"next\" href=\"").nth(1);
        match next.and_then(|rest| rest.split('"').next()) {
            Some(next) => path = next.replace("&amp;", "&"),
            None => break,
        }
    }
    let all: Vec<String> = (0..120).map(|n| format!("many-{n:03}")).collect();
    assert_eq!(seen, all);
    let beyond = page(&served, "/devices?after=zzz").await;
    assert!(beyond.contains("No further devices"));
    let none = page(&served, "/devices?search=none").await;
    assert!(none.contains("No device is like that"));
}

#[tokio::test]
async fn a_link_without_tls_is_told_from_a_classical_one() {
    let served = Served::start().await;
    let one = OwnedValue::Number(1.0);
    let twins = vec![
        twin("bare", "t", one.clone(), link(None)),
        twin("old", "t", one, link(Some("X25519"))),
    ];
    commit(&served, twins).await;
    let fleet = page(&served, "/devices").await;
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
