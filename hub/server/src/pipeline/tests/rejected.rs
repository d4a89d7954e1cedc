//! What makes no sense is set aside and accounted for; the rest is kept.

use stencil_protocol::batch::DropReason;
use stencil_protocol::id::{Boot, DeviceId};
use stencil_protocol::report::{Link, LinkEvent, LossReport};

use super::harness::{
    Entry, Harness, Item, RECEIVED_US, batch, device, gateway, previous, publish_batch, since_1970,
};
use crate::{PipelineOptions, Role};

fn freezer() -> DeviceId {
    device("freezer-1")
}

fn telemetry(json: &str) -> Entry {
    Entry::Publish {
        from: Role::Token(device("kiosk")),
        topic: "v1/devices/me/telemetry".to_owned(),
        payload: json.as_bytes().to_vec(),
    }
}

#[test]
fn a_malformed_sample_costs_only_itself_and_is_told_once() {
    let items = [
        Item::Number("t", 1, 1.0),
        Item::Null(2),
        Item::Number("t", 3, 3.0),
    ];
    let sent = publish_batch(&freezer(), batch(1, 1, 3, None, &items));
    let mut harness = Harness::new(&[sent.clone(), sent]);
    let disk = harness.finish();
    assert_eq!(disk.points.len(), 2);
    assert_eq!(disk.dropped(&freezer(), 1, DropReason::Malformed), [2]);
    assert!(disk.ledgers[&(freezer(), Boot(1))].gaps().is_empty());
    assert_eq!(disk.quarantined.len(), 1, "{:?}", disk.quarantined);
    assert_eq!(disk.quarantined[0].path.as_deref(), Some("sample 2"));
    assert_eq!(disk.quarantined[0].device, Some(freezer()));
}

#[test]
fn a_payload_that_is_no_batch_is_set_aside_whole() {
    let mut harness = Harness::new(&[publish_batch(&freezer(), b"\xff\x00nonsense".to_vec())]);
    let disk = harness.finish();
    assert!(disk.ledgers.is_empty() && disk.points.is_empty());
    assert!(
        disk.quarantined[0].reason.starts_with("batch: "),
        "{:?}",
        disk.quarantined
    );
    assert_eq!(disk.quarantined[0].payload, b"\xff\x00nonsense");
}

#[test]
fn a_clock_far_ahead_does_not_own_the_latest_value() {
    let year_2036 = RECEIVED_US + 400 * 86_400 * 1_000_000;
    let items = [
        Item::Number("t", year_2036, 1.0),
        Item::Number("t", RECEIVED_US, 2.0),
    ];
    let mut harness = Harness::new(&[publish_batch(&freezer(), batch(1, 1, 2, None, &items))]);
    let disk = harness.finish();
    assert_eq!(disk.points.len(), 1);
    assert_eq!(
        disk.twins[&(freezer(), "t".to_owned())].time_us,
        RECEIVED_US
    );
    assert_eq!(disk.dropped(&freezer(), 1, DropReason::Quarantined), [1]);
    assert!(
        disk.quarantined[0].reason.contains("is the clock right"),
        "{:?}",
        disk.quarantined
    );
}

#[test]
fn many_rejected_samples_have_few_entries_and_a_count() {
    let items: Vec<Item> = (0..100).map(Item::Null).collect();
    let mut harness = Harness::new(&[publish_batch(&freezer(), batch(1, 1, 100, None, &items))]);
    let disk = harness.finish();
    assert_eq!(
        disk.dropped(&freezer(), 1, DropReason::Malformed).len(),
        100
    );
    assert!(disk.quarantined.len() < 20);
    assert!(
        disk.quarantined.last().unwrap().reason.contains("92 more"),
        "{:?}",
        disk.quarantined
    );
}

#[test]
fn names_devices_and_spans_are_bounded() {
    let bounds = PipelineOptions {
        max_devices: 1,
        max_names: 2,
        max_ledger_spans: 3,
        ..since_1970()
    };
    let names = [
        Item::Number("a", 1, 1.0),
        Item::Number("b", 1, 1.0),
        Item::Number("c", 1, 1.0),
    ];
    let mut log = vec![publish_batch(&freezer(), batch(1, 1, 3, None, &names))];
    for seq in [10, 20, 30] {
        let one = [Item::Number("a", seq, 1.0)];
        let seq = u64::try_from(seq).unwrap();
        log.push(publish_batch(&freezer(), batch(1, seq, seq, None, &one)));
    }
    log.push(publish_batch(
        &device("other"),
        batch(1, 1, 1, None, &names[..1]),
    ));
    let mut harness = Harness::with(&log, bounds, &[]);
    let disk = harness.finish();
    let reasons: Vec<&str> = disk
        .quarantined
        .iter()
        .map(|one| one.reason.as_str())
        .collect();
    assert!(reasons[0].contains("\"c\""), "{reasons:?}");
    assert!(
        reasons
            .iter()
            .any(|reason| reason.contains("separate spans")),
        "{reasons:?}"
    );
    assert!(
        reasons.iter().any(|reason| reason.contains("1 devices")),
        "{reasons:?}"
    );
    assert!(disk.ledgers[&(freezer(), Boot(1))].spans() <= 3);
    assert!(!disk.ledgers.contains_key(&(device("other"), Boot(1))));
}

#[test]
fn a_reboot_explains_what_went_with_the_memory() {
    let first: Vec<Item> = (1..=5).map(|at| Item::Number("t", at, 1.0)).collect();
    let log = [
        publish_batch(&freezer(), batch(1, 1, 8, None, &first)),
        publish_batch(
            &freezer(),
            batch(
                2,
                1,
                1,
                Some(previous(1, 10, 5)),
                &[Item::Number("t", 20, 1.0)],
            ),
        ),
    ];
    let mut harness = Harness::new(&log);
    let disk = harness.finish();
    assert_eq!(
        disk.dropped(&freezer(), 1, DropReason::Reboot),
        [6, 7, 8, 9, 10]
    );
    assert!(disk.ledgers.values().all(|ledger| ledger.gaps().is_empty()));
}

#[test]
fn a_gap_stays_in_the_ledger_until_it_is_explained() {
    let one = |seq: u64| {
        publish_batch(
            &freezer(),
            batch(1, seq, seq, None, &[Item::Number("t", 1, 1.0)]),
        )
    };
    let mut harness = Harness::new(&[one(1), one(4)]);
    let gaps = harness.finish().ledgers[&(freezer(), Boot(1))].gaps();
    assert_eq!(gaps.iter().collect::<Vec<_>>(), [2..=3]);

    let report = LossReport {
        device: freezer(),
        boot: Boot(1),
        dropped: vec![stencil_protocol::batch::Dropped {
            first: stencil_protocol::id::Seq(2),
            count: 2,
            reason: DropReason::SpoolFull,
        }],
    };
    harness.append(&Entry::Publish {
        from: gateway(),
        topic: "stencil/v1/d/freezer-1/loss".to_owned(),
        payload: report.encode().unwrap(),
    });
    assert!(
        harness.finish().ledgers[&(freezer(), Boot(1))]
            .gaps()
            .is_empty()
    );
}

#[test]
fn reports_about_others_are_refused() {
    let event = LinkEvent {
        device: freezer(),
        gateway: "gw-2".parse().unwrap(),
        at_us: 1,
        event: Link::Connected { suite: 1 },
    };
    let log = [
        Entry::Publish {
            from: gateway(),
            topic: "stencil/v1/d/freezer-1/link".to_owned(),
            payload: event.encode(),
        },
        Entry::Publish {
            from: gateway(),
            topic: "stencil/v1/d/freezer-2/link".to_owned(),
            payload: event.encode(),
        },
    ];
    let mut harness = Harness::new(&log);
    let disk = harness.finish();
    assert!(
        disk.quarantined[0].reason.contains("gw-2"),
        "{:?}",
        disk.quarantined
    );
    assert!(
        disk.quarantined[1].reason.contains("freezer-1"),
        "{:?}",
        disk.quarantined
    );
}

#[test]
fn a_clock_that_was_never_set_is_told_and_the_rest_is_kept() {
    let log = [
        telemetry(r#"[{"ts": 0, "values": {"t": 1}}, {"ts": 1600000000000, "values": {"t": 2}}]"#),
        telemetry(r#"{"ts": -9223372036854775, "values": {"t": 3}}"#),
        // Seconds where milliseconds are meant.
        telemetry(r#"{"ts": 1600000000, "values": {"t": 4}}"#),
        telemetry(r#"{"ts": 946684800000, "values": {"t": 5}}"#),
    ];
    let mut harness = Harness::with(&log, PipelineOptions::default(), &[]);
    harness.apply(4);
    let disk = harness.finish();
    assert_eq!(disk.points.len(), 2, "{:?}", disk.points);
    let why: Vec<_> = disk.quarantined.iter().map(|it| &it.reason).collect();
    for (why, time) in why.iter().zip([
        "1970-01-01 00:00:00 UTC",
        "µs since 1970",
        "1970-01-19 12:26:40 UTC",
    ]) {
        let least = "is before 2000-01-01 00:00:00 UTC";
        assert!(why.contains(time) && why.contains(least), "{why}");
    }
    assert_eq!(why.len(), 3, "{why:?}");
}

#[test]
fn foreign_telemetry_is_known_by_name_and_time() {
    let mut harness = Harness::new(&[
        telemetry(r#"{"ts": 1600000001000, "values": {"t": 1, "bad": null}}"#),
        telemetry(r#"{"ts": 1600000002000, "values": {"t": 2}}"#),
        telemetry(r#"{"ts": 1600000001000, "values": {"t": 9}}"#),
    ]);
    // Once while the first is not yet committed, once after.
    harness.apply(3);
    harness.commit();
    harness.append(&telemetry(r#"{"ts": 1600000001000, "values": {"t": 9}}"#));
    harness.append(&telemetry("[1, 2"));
    let disk = harness.finish();
    assert_eq!(disk.points.len(), 2, "{:?}", disk.points);
    assert!(disk.ledgers.is_empty(), "it numbers nothing");
    assert_eq!(disk.quarantined[0].path.as_deref(), Some("$.values.bad"));
    assert!(
        disk.quarantined[1].reason.contains("not JSON"),
        "{:?}",
        disk.quarantined
    );
}
