//! Strategies for what the protocol carries.
#![allow(dead_code, unreachable_pub)]

use proptest::prelude::*;
use stencil_protocol::batch::DropReason;
use stencil_protocol::id::{CommandId, DeviceId};
use stencil_protocol::sample::{OwnedSample, OwnedValue};

pub fn owned_value() -> impl Strategy<Value = OwnedValue> {
    prop_oneof![
        any::<bool>().prop_map(OwnedValue::Bool),
        any::<i64>().prop_map(OwnedValue::Integer),
        any::<f64>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(OwnedValue::Number),
        (-400i32..1000).prop_map(|n| OwnedValue::Number(f64::from(n) / 10.0)),
        any::<f32>()
            .prop_filter("finite", |n| n.is_finite())
            .prop_map(|n| OwnedValue::Number(f64::from(n))),
        "\\PC{0,40}".prop_map(OwnedValue::Text),
    ]
}

pub fn owned_sample() -> impl Strategy<Value = OwnedSample> {
    // Few names, so that some come again.
    let name = prop_oneof![
        "[a-c]",
        "\\PC{1,12}".prop_filter("names", |n| !n.is_empty())
    ];
    let unit = proptest::option::of(prop_oneof![Just("degC".to_owned()), "[A-Za-z/%]{0,16}"]);
    // Differences of these fit into 64 bits, as a batch needs.
    let time_us = prop_oneof![-1_000_000i64..1_000_000, i64::MIN / 2..i64::MAX / 2];
    (name, owned_value(), unit, time_us).prop_map(|(name, value, unit, time_us)| OwnedSample {
        name,
        value,
        unit,
        time_us,
    })
}

pub fn reason() -> impl Strategy<Value = DropReason> {
    proptest::sample::select(&DropReason::ALL[..]).prop_filter("is reported", |it| it.is_reported())
}

pub fn device() -> impl Strategy<Value = DeviceId> {
    "[A-Za-z0-9][A-Za-z0-9._-]{0,47}".prop_map(|text| DeviceId::parse(&text).unwrap())
}

pub fn command_id() -> impl Strategy<Value = CommandId> {
    any::<[u8; 16]>().prop_map(CommandId)
}
