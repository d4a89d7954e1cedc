//! `/alarms` and `/alarms/{alarm}`.

use stencil_store::{AlarmChange, AlarmId, Cleared, Commit, Raised, Severity};

use super::{ESCAPED, HOSTILE, NOW_US, Served, hides, page, seed, seen_with, shows};

const OTHER: AlarmId = AlarmId([0x11; 16]);

/// Whatever the pipeline says of alarms.
async fn change(served: &Served, position: u64, alarms: Vec<AlarmChange>) {
    let commit = Commit {
        position,
        alarms,
        ..Commit::default()
    };
    served.store.pipeline.commit(commit).await.unwrap();
}

fn cleared(id: AlarmId, at_us: i64, why: &str) -> AlarmChange {
    AlarmChange::Cleared(Cleared {
        id,
        tenant: seed::acme(),
        workflow: "warm-marked".to_owned(),
        device: seed::freezer(),
        severity: Severity::Major,
        at_us,
        why: why.to_owned(),
    })
}

fn hostile() -> AlarmChange {
    AlarmChange::Raised(Raised {
        id: OTHER,
        tenant: seed::acme(),
        workflow: "other-marked".to_owned(),
        version: 1,
        device: seed::freezer(),
        severity: Severity::Critical,
        title: HOSTILE.to_owned(),
        at_us: NOW_US - 60_000_000,
        value: None,
    })
}

#[tokio::test]
async fn the_worst_that_nobody_looks_after_stands_first() {
    let served = Served::start().await;
    change(&served, 11, vec![hostile()]).await;
    let list = page(&served, "/alarms").await;
    shows(
        &list,
        &["freezer-marked is warm", ESCAPED, ">major<", ">critical<"],
    );
    let (first, second) = (list.find(ESCAPED), list.find("freezer-marked is warm"));
    assert!(first < second, "critical is after major");
    let (acme, alarms) = (seed::acme(), &served.store.alarms);
    let noted = alarms.acknowledge(&acme, &OTHER, "user ann", Some(HOSTILE), NOW_US);
    noted.await.unwrap();
    let list = page(&served, "/alarms").await;
    shows(&list, &["user ann", ">acknowledged<"]);
    assert!(
        list.find(ESCAPED) > list.find("freezer-marked is warm"),
        "what somebody looks after is not first"
    );
    let acknowledged = page(&served, "/alarms?state=acknowledged").await;
    shows(&acknowledged, &[ESCAPED]);
    hides(&acknowledged, &["freezer-marked is warm"]);
}

#[tokio::test]
async fn lists_are_by_state_severity_device_and_rule() {
    let served = Served::start().await;
    let id = format!("alarm-{}", seed::ALARM);
    for (query, there) in [
        ("", true),
        ("?state=active&severity=&device=&workflow=", true),
        ("?state=acknowledged", false),
        ("?state=silenced", false),
        ("?state=cleared", false),
        ("?severity=major", true),
        ("?severity=minor", false),
        ("?device=freezer-marked", true),
        ("?device=lock-1", false),
        ("?workflow=warm-marked", true),
        ("?workflow=other", false),
    ] {
        let list = page(&served, &format!("/alarms{query}")).await;
        assert_eq!(list.contains(&id), there, "{query}");
    }
    for (query, right) in [
        ("?state=over", "active, acknowledged, silenced or cleared"),
        ("?severity=bad", "warning, minor, major or critical"),
        ("?device=a%20b", "device"),
        ("?colour=red", "colour"),
    ] {
        let refused = served.read(&format!("/alarms{query}")).await;
        let detail = refused.problem(400);
        assert!(detail.contains(right), "{query}: {detail}");
    }
}

#[tokio::test]
async fn a_silence_is_listed_while_it_lasts() {
    let served = Served::start().await;
    let (acme, alarms) = (seed::acme(), &served.store.alarms);
    let silence = async |until_us: i64| {
        let silenced = alarms.silence(&acme, &seed::ALARM, Some(until_us), "user ann", NOW_US);
        silenced.await.unwrap();
    };
    silence(NOW_US + 3_600_000_000).await;
    let silent = page(&served, "/alarms?state=silenced").await;
    shows(
        &silent,
        &[
            "freezer-marked is warm",
            "silent until 2023-11-14 23:13:20 UTC",
            "user ann",
        ],
    );
    silence(NOW_US - 1).await;
    hides(
        &page(&served, "/alarms?state=silenced").await,
        &["freezer-marked is warm"],
    );
}

#[tokio::test]
async fn only_who_may_act_gets_the_buttons() {
    let served = Served::start().await;
    for path in ["/alarms".to_owned(), format!("/alarms/{}", seed::ALARM)] {
        let acting = [
            "data-open=\"acknowledge\"",
            "data-open=\"silence\"",
            "<dialog",
        ];
        shows(
            &seen_with(&served, &served.tokens.editor, &path).await,
            &acting,
        );
        hides(&page(&served, &path).await, &acting);
    }
}

#[tokio::test]
async fn one_alarm_has_its_history_and_what_was_measured() {
    let served = Served::start().await;
    let path = format!("/alarms/{}", seed::ALARM);
    let active = page(&served, &path).await;
    shows(
        &active,
        &[
            ">active<",
            "-8.1",
            "version 1",
            "<b>raised</b>",
            "by the rule",
            "<polyline",
            "class=\"shade active\"",
            "temperature of freezer-marked: 120 points",
        ],
    );
    let (acme, alarms) = (seed::acme(), &served.store.alarms);
    let noted = alarms.acknowledge(&acme, &seed::ALARM, "user ann", Some(HOSTILE), NOW_US);
    noted.await.unwrap();
    let over = cleared(seed::ALARM, NOW_US + 90_000_000, "it is cold again");
    change(&served, 11, vec![over]).await;
    let over = page(&served, &path).await;
    shows(
        &over,
        &[
            ">cleared<",
            "after 1 min",
            "it is cold again",
            "<b>acknowledged</b>",
            "by user ann",
            ESCAPED,
        ],
    );
    let editor = seen_with(&served, &served.tokens.editor, &path).await;
    hides(&editor, &["data-open="]);
    served.read("/alarms/12").await.problem(400);
    let unknown = format!("/alarms/{}", "0".repeat(32));
    served.read(&unknown).await.problem(404);
}

#[tokio::test]
async fn earlier_alarms_of_the_same_rule_and_device_are_named() {
    let served = Served::start().await;
    let earlier = vec![
        seed::raised(OTHER, Severity::Major, NOW_US - 7_200_000_000),
        cleared(OTHER, NOW_US - 3_600_000_000, "cold"),
    ];
    // Of a rule and a device one alarm is active at most: the seed's has to end first.
    let over = cleared(seed::ALARM, NOW_US, "cold");
    change(&served, 11, [vec![over], earlier].concat()).await;
    let one = page(&served, &format!("/alarms/{}", seed::ALARM)).await;
    shows(
        &one,
        &[
            "The same rule and device",
            &format!("/alarms/{OTHER}"),
            "for 1.0 h",
        ],
    );
}
