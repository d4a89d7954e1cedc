//! A device measures one thing several times at one event time, as one whose clock counts in seconds:
//! nothing of it is lost, and it stays in the order of its numbers.

use stencil_protocol::sample::OwnedValue;

use super::harness::{Harness, Item, batch, device, publish_batch, since_1970};

const NAME: &str = "gate-1";

#[test]
fn samples_of_one_time_are_points_in_the_order_of_their_numbers() {
    let (at_us, later_us) = (5_000, 6_000);
    let items = [
        Item::Number("open", at_us, 1.0),
        Item::Number("t", at_us, 7.5),
        Item::Number("open", at_us, 0.0),
        Item::Number("open", at_us, 0.5),
        Item::Number("open", later_us, 1.0),
    ];
    let once = publish_batch(&device(NAME), batch(1, 1, 5, None, &items));
    let log = [once.clone(), once];
    let mut harness = Harness::with(&log, since_1970(), &[]);
    for _ in &log {
        harness.apply(1);
        harness.commit();
    }
    let disk = harness.finish();
    let points = |name: &str| -> Vec<(i64, OwnedValue)> {
        let of_name = disk.points.iter().filter(|point| point.name == name);
        let points = of_name.map(|point| (point.time_us, point.value.clone()));
        points.collect()
    };
    let number = |time_us: i64, value| (time_us, OwnedValue::Number(value));
    assert_eq!(
        points("open"),
        [
            number(at_us, 1.0),
            number(at_us + 1, 0.0),
            number(at_us + 2, 0.5),
            number(later_us, 1.0),
        ]
    );
    assert_eq!(points("t"), [number(at_us, 7.5)]);
    // The newest value has its own time.
    let twin = &disk.twins[&(device(NAME), "open".to_owned())];
    assert_eq!(
        (twin.time_us, &twin.value),
        (later_us, &OwnedValue::Number(1.0))
    );
}
