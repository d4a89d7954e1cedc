//! Trying a mapping once, and writing a first one.

use std::{sync::Arc, time::Duration};

use stencil_field::{
    check,
    mapping::{Connection, parse},
    scan::{Search, scan, skeleton},
};

use super::*;
use crate::peer::{COILS, HOLDING, INPUT, ModbusPeer, f32_words};

#[tokio::test]
async fn each_point_says_what_it_gives_or_what_is_wrong() {
    let mut peer = ModbusPeer::tcp();
    peer.set(1, HOLDING, 10, &f32_words(21.5));
    peer.set(1, HOLDING, 20, &[0x7f80, 0]);
    let yaml = format!(
        "version: 1\nconnections:\n  c: {{ {}, timeout: 300ms, retries: 0 }}\n  \
         gone: {{ modbus-tcp: \"127.0.0.1:9\" }}\ndevices:\n  d:\n    connection: c\n    unit: 1\n    points:\n      \
         good: {{ holding: 10, type: f32, unit: Cel }}\n      \
         off: {{ holding: 150, type: u16 }}\n      \
         nan: {{ holding: 20, type: f32 }}\n      \
         bounds: {{ holding: 10, type: f32, valid: [30, 40] }}\n  \
         mute: {{ connection: c, unit: 77, points: {{ a: {{ coil: 0 }}, b: {{ coil: 1 }} }} }}\n  \
         lost: {{ connection: gone, points: {{ p: {{ coil: 0 }} }} }}\n",
        peer.connection()
    );
    let tried = check(&parse(&yaml).unwrap(), None).await;
    let names: Vec<&str> = tried.iter().map(|one| one.point.as_str()).collect();
    assert_eq!(names, ["good", "off", "nan", "bounds", "a", "b", "p"]);
    let [good, off, nan, bounds, a, b, p] = &tried[..] else {
        panic!()
    };
    assert_eq!(good.value, Some(OwnedValue::Number(21.5)));
    assert_eq!(
        (good.unit.as_deref(), good.place.as_str()),
        (Some("Cel"), "holding 10 f32")
    );
    assert!(good.took_us.is_some_and(|us| us > 0) && good.fault.is_none());
    for (wrong, says, right) in [
        (off, "illegal data address", "40001"),
        (nan, "no number", "`order`"),
        (bounds, "outside of what is valid, 30 to 40", "`scale`"),
        (a, "no answer within 300 ms", "scan"),
        (b, "no answer within 300 ms", "scan"),
        (p, "no connection to 127.0.0.1:9: connection refused", "502"),
    ] {
        assert!(
            wrong.value.is_none() && wrong.fault.as_deref().unwrap().contains(says),
            "{wrong:?}"
        );
        assert!(wrong.right.unwrap().contains(right), "{wrong:?}");
    }
    // The second point of a silent device is not waited for.
    assert!(a.took_us.is_some() && b.took_us.is_none());
}

async fn found(mut peer: ModbusPeer) {
    peer.set(1, HOLDING, 40, &f32_words(21.5));
    peer.set(3, INPUT, 7, &[1234]);
    peer.set_bits(3, COILS, 2, &[true]);
    peer.mode(2, "silent", 0);
    let yaml = format!(
        "version: 1\nconnections: {{ c: {{ {}, timeout: 400ms, retries: 0 }} }}\ndevices:\n  \
         d: {{ connection: c, unit: 1, points: {{ p: {{ coil: 0 }} }} }}\n",
        peer.connection()
    );
    let connection = Connection {
        devices: Vec::new(),
        timeout: Duration::from_millis(400),
        ..parse(&yaml).unwrap().connections[0].as_ref().clone()
    };
    let search = Search {
        connection: Arc::new(connection),
        units: 1..=4,
        addresses: 0..=210,
    };
    let mut said = Vec::new();
    let found = scan(&search, |doing| said.push(doing.to_owned()))
        .await
        .unwrap();
    assert_eq!(found.iter().map(|it| it.unit).collect::<Vec<_>>(), [1, 3]);
    assert!(said.iter().any(|line| line.contains("unit 4")), "{said:?}");
    let spans: Vec<String> = found[0]
        .ranges
        .iter()
        .map(|range| {
            format!(
                "{} {}+{}",
                range.table.name(),
                range.first,
                range.words.len()
            )
        })
        .collect();
    // What can be read, to the register.
    assert_eq!(
        spans,
        [
            "holding 0+100",
            "holding 200+11",
            "input 0+100",
            "coil 0+32",
            "discrete 0+32"
        ]
    );
    let yaml = skeleton(&search, &found);
    for says in [
        "holding: 40, type: f32 } # 21.5 as f32",
        "input: 7, type: u16 } # 1234",
        "coil-2: { coil: 2 } # true",
    ] {
        assert!(yaml.contains(says), "{says}\n{yaml}");
    }
    // It is a mapping that works as it is.
    let tried = check(&parse(&yaml).unwrap(), None).await;
    assert!(
        !tried.is_empty() && tried.iter().all(|one| one.fault.is_none()),
        "{tried:?}"
    );
}

#[tokio::test]
async fn a_scan_finds_what_can_be_read_over_tcp() {
    found(ModbusPeer::tcp()).await;
}

#[tokio::test]
async fn a_scan_finds_what_can_be_read_over_a_serial_line() {
    found(ModbusPeer::rtu()).await;
}
