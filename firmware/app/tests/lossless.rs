//! A source that waits is never asked for more than fits.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use std::collections::BTreeMap;

use desk::{Desk, config};
use peer::Heard;
use stencil_protocol::sample::OwnedValue;

#[test]
fn every_value_arrives_in_order_over_a_link_that_comes_and_goes() {
    let mut config = config();
    config.sample_interval_us = 0;
    config.lossless = true;
    config.readings_per_measure = 1;
    let mut desk = Desk::<4_096>::new(config);
    for round in 0..6 {
        desk.run_ms(400);
        desk.up_lost = round % 2 == 0;
        desk.run_ms(300);
        desk.up_lost = false;
        desk.connect();
    }
    desk.app.set_measuring(false);
    desk.run_ms(5_000);
    assert!(desk.app.progress().settled);
    assert_eq!(desk.app.counters().dropped_samples, 0);
    let mut arrived = BTreeMap::new();
    for heard in &desk.peer.heard {
        if let Heard::Batch { samples, .. } = heard {
            arrived.extend(
                samples
                    .iter()
                    .map(|(seq, sample)| (seq.0, sample.value.clone())),
            );
        }
    }
    assert!(arrived.len() > 1_000, "{}", arrived.len());
    let values: Vec<_> = arrived.into_values().collect();
    for (index, value) in values.iter().enumerate() {
        assert_eq!(*value, OwnedValue::Number((index + 1) as f64));
    }
}
