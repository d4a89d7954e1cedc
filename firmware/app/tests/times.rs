//! Samples carry the time at which they were taken, also those from before
//! the time was known.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use std::collections::BTreeMap;

use desk::{Desk, EPOCH_US, config};
use peer::Heard;

fn times(heard: &[Heard]) -> BTreeMap<u64, i64> {
    let mut times = BTreeMap::new();
    for heard in heard {
        if let Heard::Batch { samples, .. } = heard {
            times.extend(samples.iter().map(|(seq, sample)| (seq.0, sample.time_us)));
        }
    }
    times
}

#[test]
fn early_samples_are_corrected_when_the_time_comes() {
    let mut desk = Desk::<8_192>::new(config());
    desk.up_lost = true;
    desk.run_ms(1_000);
    desk.up_lost = false;
    desk.connect();
    desk.run_ms(1_000);
    let times = times(&desk.peer.heard);
    assert!(times.len() > 12);
    for (seq, time_us) in times {
        // One in 100 ms, the first at once; the link may take two steps of 10 ms.
        let taken_us = EPOCH_US + (seq as i64 - 1) * 100_000;
        assert!(
            (time_us - taken_us).abs() <= 20_000,
            "{seq}: {}",
            time_us - taken_us
        );
    }
}

#[test]
fn times_never_stand_still_or_go_back_over_small_corrections() {
    let mut desk = Desk::<8_192>::new(config());
    desk.run_ms(500);
    for back_ms in [300, 5, 800] {
        desk.peer.send(&stencil_protocol::link::Down::Time {
            now_us: EPOCH_US + desk.wall_us - back_ms * 1_000,
        });
        desk.run_ms(500);
    }
    let times: Vec<i64> = times(&desk.peer.heard).into_values().collect();
    assert!(times.len() > 15);
    assert!(times.is_sorted_by(|a, b| a < b), "{times:?}");
}
