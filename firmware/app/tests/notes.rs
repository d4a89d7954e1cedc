//! What a board tells by itself gets a number and arrives like what is measured.
#![allow(clippy::unwrap_used, clippy::panic)]

mod desk;
mod peer;

use desk::{Desk, config};
use peer::Heard;
use stencil_firmware::{Reading, Taken};
use stencil_protocol::id::Seq;
use stencil_protocol::sample::Value;

fn reset(why: &str) -> Reading<'_> {
    Reading {
        name: "reset",
        value: Value::Text(why),
        unit: None,
        taken: Taken::Now,
    }
}

#[test]
fn a_note_before_the_link_is_up_is_the_boots_first_number() {
    let mut desk = Desk::<8_192>::new(config());
    // The desk's witness takes numbers alone.
    let note = Reading {
        value: Value::Number(7.0),
        ..reset("")
    };
    assert_eq!(desk.app.note(&note), Some(Seq(1)));
    desk.run_ms(2_000);
    assert_eq!(desk.seen.borrow().given[0].1, Seq(1));
    assert_eq!(desk.seen.borrow().given[0].2, 7.0);
    assert!(desk.app.progress().acked > Seq(1));
    let first = desk.peer.heard.iter().find_map(|heard| match heard {
        Heard::Batch { samples, .. } => samples.first().map(|(seq, _)| *seq),
        _ => None,
    });
    assert_eq!(first, Some(Seq(1)));
}

#[test]
fn a_note_beyond_the_limits_of_a_sample_gets_no_number() {
    let mut desk = Desk::<8_192>::new(config());
    assert_eq!(desk.app.note(&reset(&"x".repeat(257))), None);
    assert_eq!(desk.app.counters().unusable_readings, 1);
    assert_eq!(desk.app.progress().last_given, Seq(0));
}
