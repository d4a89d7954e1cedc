//! One mapping in the place of another, while devices are read.

use super::*;
use crate::peer::{HOLDING, ModbusPeer};

#[tokio::test]
async fn what_is_the_same_is_not_interrupted_and_what_is_new_is_read() {
    let (mut same, mut changed) = (ModbusPeer::tcp(), ModbusPeer::rtu());
    same.set(1, HOLDING, 0, &[1]);
    changed.set(1, HOLDING, 0, &[2, 3]);
    let yaml = |point: &str| {
        format!(
            "version: 1\nconnections:\n  a: {{ {}, timeout: 5s }}\n  b: {{ {}, timeout: 5s }}\ndevices:\n  \
             one: {{ connection: a, unit: 1, points: {{ p: {{ holding: 0, type: u16, every: 1h }} }} }}\n  \
             two: {{ connection: b, unit: 1, points: {{ {point}, every: 100ms }} }} }}\n",
            same.connection(),
            changed.connection()
        )
    };
    let (first, second) = (
        yaml("p: { holding: 0, type: u16"),
        yaml("q: { holding: 1, type: u16"),
    );
    let mut read = Read::start(&first);
    read.wait("one", "p", integer(1)).await;
    read.wait("two", "p", integer(2)).await;
    let mapping = mapping::parse(&second).unwrap();
    let mut said = Vec::new();
    let replaced = async {
        assert!(read.field.replace(mapping).await);
    };
    // It is listened to meanwhile, as in a gateway.
    tokio::join!(replaced, async {
        while let Ok(one) = read.said.try_recv() {
            said.push(one);
        }
    });
    // The line was let go of by the one, and opened by the other.
    read.wait("two", "q", integer(3)).await;
    assert_eq!(
        same.requests(1),
        1,
        "it was read once an hour, and still is"
    );
    assert_eq!(read.field.status().len(), 2);
}
