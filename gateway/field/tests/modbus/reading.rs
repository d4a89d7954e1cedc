//! What devices hold is what is read.

use stencil_protocol::line::Line;

use super::*;
use crate::peer::{COILS, DISCRETE, HOLDING, INPUT, ModbusPeer, f32_words};

const POINTS: &str = r#"
      f: { holding: 10, type: f32, unit: Cel }
      turned: { holding: 12, type: f32, order: cdab }
      swapped: { holding: 14, type: f32, order: badc }
      little: { holding: 16, type: f32, order: dcba }
      double: { holding: 18, type: f64 }
      u: { holding: 22, type: u16 }
      i: { holding: 22, type: i16 }
      i32: { holding: 23, type: i32 }
      u64: { holding: 25, type: u64 }
      bit: { holding: 29, type: bool, bit: 3 }
      bits: { holding: 29, type: bits, bits: [4, 7] }
      text: { holding: 30, type: string, length: 8 }
      scaled: { input: 5, type: u16, scale: 0.1, offset: -40, unit: kPa }
      far: { holding: 249, type: u16 }
      coil: { coil: 17 }
      discrete: { discrete: 31 }
"#;

async fn everything(mut peer: ModbusPeer, line: Line) {
    let [high, low] = f32_words(21.5);
    peer.set(1, HOLDING, 10, &[high, low, low, high]);
    peer.set(1, HOLDING, 14, &[high.swap_bytes(), low.swap_bytes()]);
    peer.set(1, HOLDING, 16, &[low.swap_bytes(), high.swap_bytes()]);
    let double = (-0.125f64).to_be_bytes();
    let words: Vec<u16> = double
        .chunks(2)
        .map(|two| u16::from_be_bytes([two[0], two[1]]))
        .collect();
    peer.set(1, HOLDING, 18, &words);
    peer.set(1, HOLDING, 22, &[0xfffe, 0xffff, 0xfffd, 0, 1, 0, 2]);
    peer.set(1, HOLDING, 29, &[0b1010_1000]);
    peer.set(1, HOLDING, 30, &[0x5075, 0x6d70, 0x2031, 0]);
    peer.set(1, HOLDING, 249, &[4711]);
    peer.set(1, INPUT, 5, &[617]);
    peer.set_bits(1, COILS, 17, &[true]);
    peer.set_bits(1, DISCRETE, 31, &[true]);
    let begun_us = stencil_field::port::now_us();
    let mut read = Read::start(&one(&peer.connection(), "timeout: 5s", POINTS));
    let linked = read.next().await;
    assert!(
        matches!(linked, Said::Linked { line: on, .. } if on == line),
        "{linked:?}"
    );

    let number = OwnedValue::Number;
    let mut expected = vec![
        ("field.status", OwnedValue::Text("ok".into()), None),
        ("f", number(21.5), Some("Cel")),
        ("turned", number(21.5), None),
        ("swapped", number(21.5), None),
        ("little", number(21.5), None),
        ("double", number(-0.125), None),
        ("u", OwnedValue::Integer(65_534), None),
        ("i", OwnedValue::Integer(-2), None),
        ("i32", OwnedValue::Integer(-3), None),
        ("u64", OwnedValue::Integer(1 << 32 | 2), None),
        ("bit", OwnedValue::Bool(true), None),
        ("bits", OwnedValue::Integer(0b1010), None),
        ("text", OwnedValue::Text("Pump 1".into()), None),
        ("scaled", number(21.7), Some("kPa")),
        ("far", OwnedValue::Integer(4711), None),
        ("coil", OwnedValue::Bool(true), None),
        ("discrete", OwnedValue::Bool(true), None),
    ];
    while !expected.is_empty() {
        let Said::Sample { sample, .. } = read.next().await else {
            panic!("it is linked once")
        };
        let Some(at) = expected
            .iter()
            .position(|(name, _, _)| *name == sample.name)
        else {
            continue;
        };
        let (_, value, unit) = expected.swap_remove(at);
        assert_eq!(
            (&sample.value, sample.unit.as_deref()),
            (&value, unit),
            "{}",
            sample.name
        );
        let now_us = stencil_field::port::now_us();
        assert!((begun_us..=now_us).contains(&sample.time_us), "{sample:?}");
    }
    peer.set(1, HOLDING, 249, &[4712]);
    read.wait("d", "far", integer(4712)).await;
    assert!(read.field.counts().readings.get() >= 16);
}

#[tokio::test]
async fn over_tcp() {
    everything(ModbusPeer::tcp(), Line::ModbusTcp).await;
}

#[tokio::test]
async fn over_a_serial_line() {
    everything(ModbusPeer::rtu(), Line::ModbusRtu).await;
}

#[tokio::test]
async fn neighbours_are_read_in_one_request() {
    let mut peer = ModbusPeer::tcp();
    let points: String = (0..100)
        .map(|n| format!("      p{n}: {{ holding: {n}, type: u16, every: 1h }}\n"))
        .collect();
    let mut read = Read::start(&one(&peer.connection(), "timeout: 5s", &points));
    read.wait("d", "p99", integer(0)).await;
    assert_eq!(peer.requests(1), 1);
}

#[tokio::test]
async fn changes_within_the_deadband_are_not_said() {
    let mut peer = ModbusPeer::tcp();
    peer.set(1, HOLDING, 0, &[100]);
    let points =
        "      p: { holding: 0, type: u16, deadband: 5 }\n      n: { holding: 1, type: u16 }\n";
    let mut read = Read::start(&one(&peer.connection(), "timeout: 5s", points));
    read.wait("d", "p", integer(100)).await;
    peer.set(1, HOLDING, 0, &[105, 1]);
    read.wait("d", "n", integer(1)).await;
    peer.set(1, HOLDING, 0, &[106, 2]);
    // The next that is said of it is 106.
    read.wait("d", "p", |value| {
        assert_eq!(*value, OwnedValue::Integer(106));
        true
    })
    .await;
}
