//! The page of one device, and what its chart draws.

use serde_json::{Value, json};
use stencil_protocol::command::State;
use stencil_protocol::id::CommandId;
use stencil_protocol::sample::OwnedValue;
use stencil_store::{
    AlarmChange, AlarmId, CommandStatus, Commit, LinkInfo, NewCommand, Point, Raised, Severity,
    TwinUpdate,
};

use super::page::page;
use super::{NOW_US, Served, seed};

const S: i64 = 1_000_000;

/// The section with this id.
#[track_caller]
fn section<'p>(page: &'p str, id: &str) -> &'p str {
    let start = format!(" id=\"{id}\"");
    let found = page
        .split("<section")
        .find_map(|part| part.split_once(&start));
    let found = found.map(|(_, rest)| rest);
    let rest = found.unwrap_or_else(|| panic!("no section {id} in {page}"));
    rest.split("</section>").next().unwrap()
}

#[tokio::test]
async fn a_device_is_shown_without_its_script() {
    let served = Served::start().await;
    let shown = page(&served, "/devices/freezer-marked?name=temperature").await;
    let facts = section(&shown, "facts");
    for part in [
        ">connected<",
        "href=\"/devices?gateway=gateway-marked\"",
        "<dt>Boots</dt><dd>1</dd>",
        "every number accounted for",
        "120 stored",
        "2 dropped: the device's memory was full",
    ] {
        assert!(facts.contains(part), "{part} is not in {facts}");
    }
    let twin = section(&shown, "twin");
    for part in [
        "data-name=\"temperature\"",
        "<b>-8.1</b>",
        ">degC<",
        "title=\"2023-11-14 22:13:20 UTC\"",
        "<b>yes</b>",
        "&lt;b&gt;marked&lt;/b&gt;",
    ] {
        assert!(twin.contains(part), "{part} is not in {twin}");
    }
    let chart = section(&shown, "chart");
    for part in [
        "<polyline",
        "lowest -20 degC, highest -8.1 degC, last -8.1 degC at 2023-11-14 22:13:20.",
        "<summary>The newest 50 of 120 points as a table</summary>",
    ] {
        assert!(chart.contains(part), "{part} is not in {chart}");
    }
    // The parts that live are the same on the page and by themselves.
    let parts = page(&served, "/devices/freezer-marked/parts").await;
    for id in [
        "facts",
        "twin",
        "commands",
        "device-alarms",
        "firmware",
        "hops",
    ] {
        assert_eq!(section(&parts, id), section(&shown, id), "{id}");
        assert!(section(&shown, id).contains("data-from=\"/devices/freezer-marked/parts\""));
    }
    assert!(!parts.contains("id=\"chart\""));
}

#[tokio::test]
async fn it_says_what_it_runs_and_what_it_did_not_take_also_without_a_rollout() {
    let served = Served::start().await;
    let firmware = page(&served, "/devices/freezer-marked").await;
    let firmware = section(&firmware, "firmware").to_owned();
    for part in [
        "1.3-marked, number 3",
        ">kept<",
        "<code>4c4c4c4c4c4c4c4c</code>",
        "<dt>Did not take</dt><dd>&lt;no room&gt; marked",
        "<code>4b4b4b4b4b4b4b4b</code>",
    ] {
        assert!(firmware.contains(part), "{part} is not in {firmware}");
    }
    let said = served.read("/api/v1/devices/freezer-marked/firmware").await;
    let said = said.ok();
    assert_eq!(said["runs"]["digest"], "4c".repeat(32));
    assert_eq!(said["runs"]["version"], "1.3-marked");
    assert_eq!(said["gave_up"]["reason"], "<no room> marked");
    let other = served
        .read("/api/v1/devices/a-foreign-marked/firmware")
        .await;
    assert_eq!(other.ok(), json!({ "runs": null, "gave_up": null }));
    let page = page(&served, "/devices/a-foreign-marked").await;
    assert!(section(&page, "firmware").contains("It has not said what it runs."));
}

#[tokio::test]
async fn its_link_is_told_hop_by_hop() {
    let served = Served::start().await;
    let hops = page(&served, "/devices/freezer-marked").await;
    let hops = section(&hops, "hops").to_owned();
    assert!(
        hops.contains("Device to gateway") && hops.contains("suite-marked"),
        "{hops}"
    );
    assert!(hops.contains("TLS 1.3 X25519MLKEM768"), "{hops}");
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
    let bare = page(&served, "/devices/bare").await;
    let bare = section(&bare, "hops").to_owned();
    assert!(
        bare.contains("Device to hub") && bare.contains("no TLS"),
        "{bare}"
    );
    let old = page(&served, "/devices/old").await;
    assert!(section(&old, "hops").contains("offered no post-quantum group"));
    assert!(section(&old, "facts").contains("does not number what it sends"));
}

#[tokio::test]
async fn commands_are_sent_by_who_may_and_shown_as_far_as_they_came() {
    let served = Served::start().await;
    let viewers = page(&served, "/devices/freezer-marked").await;
    let commands = section(&viewers, "commands");
    assert!(
        commands.contains("lock-marked") && commands.contains("bolt marked"),
        "{commands}"
    );
    assert!(
        commands.contains(">done<") && !commands.contains("<form"),
        "{commands}"
    );
    let editor = served
        .get("/devices/freezer-marked")
        .bearer(&served.tokens.editor)
        .send()
        .await;
    let commands = section(&editor.body, "commands");
    assert!(
        commands.contains("data-send=\"POST /api/v1/devices/freezer-marked/commands\""),
        "{commands}"
    );
    assert!(
        !editor.body.contains("DELETE /api/v1/devices/"),
        "only an admin may erase"
    );
    let admin = served
        .get("/devices/freezer-marked")
        .bearer(&served.tokens.admin)
        .send()
        .await;
    assert!(
        admin
            .body
            .contains("data-send=\"DELETE /api/v1/devices/freezer-marked\"")
    );
    // The newest 20, and older ones by a link.
    for n in 0..25_u8 {
        let command = NewCommand {
            id: CommandId([n; 16]),
            tenant: seed::acme(),
            device: seed::freezer(),
            name: format!("n{n}"),
            argument: None,
            expires_us: NOW_US + 60 * S,
            effect_key: None,
        };
        let at = NOW_US + i64::from(n) + 1;
        served.store.commands.queue(&command, at).await.unwrap();
    }
    let status = CommandStatus {
        tenant: seed::acme(),
        command: CommandId([24; 16]),
        state: State::Failed,
        at_us: NOW_US + 100,
        detail: Some("<jammed>".to_owned()),
        gateway: None,
    };
    served.store.commands.status(&status).await.unwrap();
    let shown = page(&served, "/devices/freezer-marked").await;
    let commands = section(&shown, "commands").to_owned();
    assert_eq!(commands.matches("<th scope=\"row\">").count(), 20);
    assert!(
        commands.contains(">failed<") && commands.contains("&lt;jammed&gt;"),
        "{commands}"
    );
    assert!(commands.contains(">queued<"), "{commands}");
    let older = commands.split("rel=\"next\" href=\"").nth(1).unwrap();
    let older = older
        .split(['"', '#'])
        .next()
        .unwrap()
        .replace("&amp;", "&");
    let rest = page(&served, &older).await;
    let rest = section(&rest, "commands");
    assert_eq!(rest.matches("<th scope=\"row\">").count(), 6);
    assert!(rest.contains("lock-marked"), "{rest}");
}

#[tokio::test]
async fn its_active_alarms_are_shown() {
    let served = Served::start().await;
    let none = page(&served, "/devices/a-foreign-marked").await;
    assert!(section(&none, "device-alarms").contains("None."));
    let raised = |n: u8, device: &str| {
        AlarmChange::Raised(Raised {
            id: AlarmId([n; 16]),
            tenant: seed::acme(),
            workflow: "other-marked".to_owned(),
            version: 1,
            device: device.parse().unwrap(),
            severity: Severity::Major,
            title: format!("alarm-{n} <i>"),
            at_us: NOW_US,
            value: None,
        })
    };
    let commit = Commit {
        position: 11,
        alarms: vec![raised(1, "freezer-marked"), raised(2, "a-foreign-marked")],
        ..Commit::default()
    };
    served.store.pipeline.commit(commit).await.unwrap();
    let one = page(&served, "/devices/freezer-marked").await;
    let alarms = section(&one, "device-alarms");
    assert!(
        alarms.contains("alarm-1 &lt;i&gt;") && alarms.contains(">major<"),
        "{alarms}"
    );
    assert!(!alarms.contains("alarm-2"), "{alarms}");
}

#[tokio::test]
async fn the_chart_has_a_window_that_links_move() {
    let served = Served::start().await;
    let (from, to) = (NOW_US - 10 * S, NOW_US - 5 * S);
    let path = |from: i64, to: i64| {
        format!("/devices/freezer-marked?name=temperature&from_us={from}&to_us={to}")
    };
    let chart = page(&served, &path(from, to)).await;
    assert!(chart.contains("temperature: 5 points from"), "{chart}");
    let earlier = path(from - 2_500_000, to - 2_500_000);
    assert!(chart.contains(&earlier.replace('&', "&amp;")), "{chart}");
    for (range, points) in [("1h", 120), ("all", 120)] {
        let path = format!("/devices/freezer-marked?name=temperature&range={range}");
        let shown = page(&served, &path).await;
        assert!(
            shown.contains(&format!("{points} points")),
            "{range}: {shown}"
        );
        let current = format!("data-to-range=\"{range}\" aria-current=\"true\"");
        assert!(shown.contains(&current), "{range}: {shown}");
    }
    let door = page(&served, "/devices/freezer-marked?name=door").await;
    assert!(
        door.contains("<circle") && door.contains("data-kind=\"bool\""),
        "{door}"
    );
    let texts = page(&served, "/devices/freezer-marked?name=note").await;
    let chart = section(&texts, "chart");
    assert!(
        chart.contains("1 text from") && !chart.contains("<polyline"),
        "{chart}"
    );
    let empty = page(&served, &path(0, 1)).await;
    assert!(empty.contains("no points from 1970"), "{empty}");
    let unknown = page(&served, "/devices/freezer-marked?name=%3Cb%3E").await;
    assert!(
        unknown.contains("Nothing has been heard of <b>&lt;b&gt;</b>"),
        "{unknown}"
    );
    // Windows at the ends of time are windows too.
    for (from, to) in [(i64::MIN, i64::MAX), (i64::MAX, i64::MAX), (5, -5)] {
        page(&served, &path(from, to)).await;
    }
    for wrong in ["range=2h", "from_us=x", "colour=red"] {
        let path = format!("/devices/freezer-marked?{wrong}");
        served.read(&path).await.problem(400);
    }
}

async fn part(served: &Served, query: &str) -> Value {
    let path = format!("/devices/freezer-marked/chart?{query}");
    served.read(&path).await.ok()
}

#[tokio::test]
async fn columns_keep_the_extremes_of_what_they_gather() {
    let served = Served::start().await;
    let (from, to) = (NOW_US - 119 * S, NOW_US + 1);
    let window = format!("name=temperature&from_us={from}&to_us={to}");
    let fine = part(&served, &format!("{window}&columns=1000")).await;
    assert_eq!(
        (&fine["points"], &fine["next_us"]),
        (&json!(120), &Value::Null)
    );
    let columns = fine["columns"].as_array().unwrap();
    assert_eq!(columns.len(), 120, "each point by itself");
    assert_eq!(columns[0], json!([0, from, -20.0]));
    let coarse = part(&served, &format!("{window}&columns=2")).await;
    let columns = coarse["columns"].as_array().unwrap();
    assert_eq!(columns.len(), 2);
    let first = columns[0].as_array().unwrap();
    // Place, first and last time, first and last value, low, high, mean, count.
    assert_eq!(
        (&first[3], &first[5], &first[8]),
        (&json!(-20.0), &json!(-20.0), &json!(60))
    );
    let counts = columns.iter().map(|column| column[8].as_u64().unwrap());
    assert_eq!(counts.sum::<u64>(), 120);
    assert_eq!(columns[1][6], json!(-8.1), "the highest");
    let resumed = part(
        &served,
        &format!("{window}&columns=2&resume_us={}", NOW_US - 9 * S),
    )
    .await;
    assert_eq!(resumed["points"], 10);
    let texts = part(
        &served,
        &format!("name=note&from_us={from}&to_us={to}&columns=9"),
    )
    .await;
    assert_eq!(texts["texts"], json!([[NOW_US, "<b>marked</b>"]]));
    for (query, right) in [
        ("name=t&from_us=0&to_us=9&columns=0", "1 to 1000"),
        ("name=t&from_us=0&to_us=9&columns=1001", "1 to 1000"),
        ("name=t&from_us=9&to_us=9&columns=9", "not before"),
        ("from_us=0&to_us=9&columns=9", "name"),
    ] {
        let path = format!("/devices/freezer-marked/chart?{query}");
        let detail = served.read(&path).await.problem(400);
        assert!(detail.contains(right), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_long_window_comes_in_bounded_parts_without_a_lost_peak() {
    const POINTS: i64 = 620_000;
    const PEAK: i64 = 543_210;
    let served = Served::start().await;
    let from = NOW_US - 100_000_000_000;
    for (position, first) in (0..POINTS).step_by(62_000).enumerate() {
        let points = (first..first + 62_000).map(|n| Point {
            tenant: seed::acme(),
            device: seed::freezer(),
            name: "fast".to_owned(),
            time_us: from + n * 1_000,
            value: OwnedValue::Integer(if n == PEAK { 999 } else { n % 7 }),
            unit: None,
        });
        let commit = Commit {
            position: 20 + position as u64,
            points: points.collect(),
            ..Commit::default()
        };
        served.store.pipeline.commit(commit).await.unwrap();
    }
    let window = format!(
        "name=fast&from_us={from}&to_us={}&columns=100",
        from + POINTS * 1_000
    );
    let first = part(&served, &window).await;
    assert_eq!(first["points"], 500_000);
    let next = first["next_us"].as_i64().unwrap();
    let second = part(&served, &format!("{window}&resume_us={next}")).await;
    assert_eq!(
        (&second["points"], &second["next_us"]),
        (&json!(120_000), &Value::Null)
    );
    let highest = |part: &Value| {
        let columns = part["columns"].as_array().unwrap().iter();
        columns
            .map(|column| column[6].as_f64().unwrap())
            .fold(0.0, f64::max)
    };
    assert!(highest(&first) < 7.0, "{first}");
    assert_eq!(highest(&second), 999.0);
    let places: Vec<_> = [&first, &second]
        .iter()
        .flat_map(|part| part["columns"].as_array().unwrap())
        .map(|column| column[0].as_i64().unwrap())
        .collect();
    assert!(places.is_sorted() && places.len() <= 101, "{places:?}");
}
