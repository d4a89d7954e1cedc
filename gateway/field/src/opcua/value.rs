//! From a value of the server to one of ours: its type, its time, and what the server thinks of it.

use opcua::types::{DataValue, DateTime, StatusCode, Variant};
use stencil_protocol::sample::{MAX_TEXT, OwnedValue};

use crate::{
    Fault,
    mapping::{Kind, Place, Point},
    port::{Quality, is_ahead},
};

/// 1970-01-01 in ticks of 100 ns since 1601-01-01.
const UNIX_EPOCH_TICKS: i64 = 116_444_736_000_000_000;

/// Whose time a value has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clock {
    /// The source's: when the device had the value.
    Source,
    /// The server's: when it got the value.
    Server,
    /// Ours: when it came.
    Ours,
}

/// A value as it is said.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) value: Result<OwnedValue, Fault>,
    pub(super) quality: Quality,
    pub(super) at_us: i64,
    pub(super) clock: Clock,
}

/// Reads what the server says.
pub(super) fn given(data: &DataValue, point: &Point, place: &Place, now_us: i64) -> Given {
    let (at_us, clock) = time(data, now_us);
    let (value, quality) = match quality(data.status()) {
        Err(fault) => (Err(fault), Quality::Good),
        Ok(quality) => (value(data.value.as_ref(), point, place.kind), quality),
    };
    Given {
        value,
        quality,
        at_us,
        clock,
    }
}

/// When the device had it; the server's time, or ours, where it has none, or one that is minutes ahead
/// of ours.
fn time(data: &DataValue, now_us: i64) -> (i64, Clock) {
    let of = |time: &Option<DateTime>| {
        let at_us = time.as_ref().and_then(unix_us);
        at_us.filter(|at_us| !is_ahead(*at_us, now_us))
    };
    if let Some(at_us) = of(&data.source_timestamp) {
        return (at_us, Clock::Source);
    }
    match of(&data.server_timestamp) {
        Some(at_us) => (at_us, Clock::Server),
        None => (now_us, Clock::Ours),
    }
}

fn unix_us(time: &DateTime) -> Option<i64> {
    let ticks = time.checked_ticks();
    // 0 and the largest mean that there is none.
    (ticks > 0 && ticks < i64::MAX).then(|| (ticks - UNIX_EPOCH_TICKS).div_euclid(10))
}

fn quality(status: StatusCode) -> Result<Quality, Fault> {
    if status.is_bad() {
        return Err(Fault::Refused(told(status)));
    }
    if status.is_uncertain() {
        return Ok(Quality::Uncertain(told(status).into()));
    }
    if status.overflow() {
        return Ok(Quality::Uncertain(
            "values before it were lost, the server's queue was full: raise `queue`".into(),
        ));
    }
    Ok(Quality::Good)
}

/// The name of a status and what it means.
pub(super) fn told(status: StatusCode) -> String {
    let code = status.sub_code();
    let meaning = code.description().trim();
    if code.name() == "Invalid" {
        return format!("status 0x{:08X}", status.bits());
    }
    format!("{}: {}", code.name(), meaning.trim_end_matches('.'))
}

fn value(value: Option<&Variant>, point: &Point, kind: Option<Kind>) -> Result<OwnedValue, Fault> {
    let given = match value.unwrap_or(&Variant::Empty) {
        Variant::Boolean(it) => OwnedValue::Bool(*it),
        Variant::SByte(it) => OwnedValue::Integer((*it).into()),
        Variant::Byte(it) => OwnedValue::Integer((*it).into()),
        Variant::Int16(it) => OwnedValue::Integer((*it).into()),
        Variant::UInt16(it) => OwnedValue::Integer((*it).into()),
        Variant::Int32(it) => OwnedValue::Integer((*it).into()),
        Variant::UInt32(it) => OwnedValue::Integer((*it).into()),
        Variant::Int64(it) => OwnedValue::Integer(*it),
        Variant::UInt64(it) => match i64::try_from(*it) {
            Ok(it) => OwnedValue::Integer(it),
            #[expect(clippy::cast_precision_loss, reason = "it is scaled as a number")]
            Err(_) if point.scale.is_some() => OwnedValue::Number(*it as f64),
            Err(_) => return Err(Fault::TooLarge(*it)),
        },
        Variant::Float(it) => finite(f64::from(*it))?,
        Variant::Double(it) => finite(*it)?,
        Variant::String(it) => text(it.as_ref())?,
        Variant::LocalizedText(it) => text(it.text.as_ref())?,
        other => {
            return Err(Fault::Type {
                got: name(other),
                wanted: kind.map_or("a number, a text, or true or false", wanted),
            });
        }
    };
    let got = match given {
        OwnedValue::Number(_) | OwnedValue::Integer(_) => Kind::Number,
        OwnedValue::Bool(_) => Kind::Bool,
        OwnedValue::Text(_) => Kind::Text,
    };
    // Units and bounds are of numbers, whatever else is said.
    let is_number = point.unit.is_some() || point.valid.is_some();
    let expected = kind.or(is_number.then_some(Kind::Number));
    match expected {
        Some(expected) if expected != got => Err(Fault::Type {
            got: wanted(got),
            wanted: wanted(expected),
        }),
        _ => Ok(given),
    }
}

fn finite(value: f64) -> Result<OwnedValue, Fault> {
    if value.is_finite() {
        Ok(OwnedValue::Number(value))
    } else {
        Err(Fault::NotFinite(value))
    }
}

fn text(text: &str) -> Result<OwnedValue, Fault> {
    if text.len() > MAX_TEXT {
        return Err(Fault::NotText(format!(
            "it has {} bytes, at most {MAX_TEXT} are sent",
            text.len()
        )));
    }
    if let Some(control) = text.chars().find(|character| character.is_control()) {
        return Err(Fault::NotText(format!("there is {control:?} in it")));
    }
    Ok(OwnedValue::Text(text.to_owned()))
}

const fn wanted(kind: Kind) -> &'static str {
    match kind {
        Kind::Number => "a number",
        Kind::Bool => "true or false",
        Kind::Text => "a text",
    }
}

/// What a value is that is none of ours.
pub(super) const fn name(value: &Variant) -> &'static str {
    match value {
        Variant::Empty => "nothing",
        Variant::Array(_) => "an array",
        Variant::ExtensionObject(_) => "a structure",
        Variant::DateTime(_) => "a time",
        Variant::ByteString(_) => "bytes",
        Variant::Guid(_) => "a GUID",
        Variant::NodeId(_) | Variant::ExpandedNodeId(_) => "a node id",
        Variant::StatusCode(_) => "a status",
        Variant::Boolean(_) => "true or false",
        Variant::String(_) | Variant::LocalizedText(_) => "a text",
        Variant::SByte(_)
        | Variant::Byte(_)
        | Variant::Int16(_)
        | Variant::UInt16(_)
        | Variant::Int32(_)
        | Variant::UInt32(_)
        | Variant::Int64(_)
        | Variant::UInt64(_)
        | Variant::Float(_)
        | Variant::Double(_) => "a number",
        _ => "something else",
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use opcua::types::NodeId;

    use super::*;
    use crate::mapping::{Report, Scale, Target};

    fn point(kind: Option<Kind>) -> (Point, Place) {
        let place = Place {
            node: NodeId::new(2, "x"),
            kind,
            queue: 1,
        };
        let point = Point {
            name: "x".into(),
            target: Target::OpcUa(place.clone()),
            unit: None,
            scale: None,
            valid: None,
            every: Duration::from_secs(1),
            report: Report::Always,
        };
        (point, place)
    }

    fn of(variant: Variant, kind: Option<Kind>) -> Result<OwnedValue, Fault> {
        let (point, _) = point(kind);
        value(Some(&variant), &point, kind)
    }

    #[test]
    fn types_are_what_the_server_says() {
        assert_eq!(of(Variant::Byte(7), None), Ok(OwnedValue::Integer(7)));
        assert_eq!(of(Variant::Double(1.5), None), Ok(OwnedValue::Number(1.5)));
        assert_eq!(of(Variant::Boolean(true), None), Ok(OwnedValue::Bool(true)));
        let text = of(Variant::String("a".into()), Some(Kind::Text));
        assert_eq!(text, Ok(OwnedValue::Text("a".into())));
        for (variant, kind, says) in [
            (
                Variant::String("a".into()),
                Some(Kind::Number),
                "gives a text",
            ),
            (Variant::Int16(1), Some(Kind::Bool), "says true or false"),
            (Variant::Empty, None, "gives nothing"),
            (Variant::from(vec![1_i32, 2]), None, "gives an array"),
            (Variant::ByteString(vec![1].into()), None, "gives bytes"),
            (Variant::Double(f64::NAN), None, "no number"),
            (Variant::UInt64(u64::MAX), None, "does not fit"),
            (Variant::String("x".repeat(300).into()), None, "300 bytes"),
        ] {
            let fault = of(variant, kind).unwrap_err().to_string();
            assert!(fault.contains(says), "{fault}");
        }
        let (mut scaled, _) = point(None);
        scaled.scale = Some(Scale {
            factor: 0.5,
            offset: 0.0,
        });
        let value = value(Some(&Variant::UInt64(u64::MAX)), &scaled, None);
        assert_eq!(value, Ok(OwnedValue::Number(u64::MAX as f64)));
    }

    #[test]
    fn the_time_is_the_sources() {
        let (point, place) = point(None);
        let source = DateTime::from((2025, 3, 4, 5, 6, 7));
        let mut data = DataValue::value_only(1_i32);
        assert_eq!(given(&data, &point, &place, 42).at_us, 42);
        assert_eq!(given(&data, &point, &place, 42).clock, Clock::Ours);
        data.server_timestamp = Some(DateTime::from((2025, 3, 4, 5, 6, 8)));
        assert_eq!(given(&data, &point, &place, 42).clock, Clock::Server);
        data.source_timestamp = Some(DateTime::null());
        assert_eq!(given(&data, &point, &place, 42).clock, Clock::Server);
        data.source_timestamp = Some(source);
        let source_us = 1_741_064_767_000_000;
        let of_source = given(&data, &point, &place, 42);
        assert_eq!(
            (of_source.at_us, of_source.clock),
            (source_us, Clock::Source)
        );
        // Minutes ahead of a clock of ours that was set: the hub would not take it.
        let now_us = source_us - 301_000_000;
        let ahead = given(&data, &point, &place, now_us);
        assert_eq!((ahead.at_us, ahead.clock), (now_us, Clock::Ours));
        let near = given(&data, &point, &place, now_us + 2_000_000);
        assert_eq!(near.clock, Clock::Source);
    }

    #[test]
    fn a_status_is_told_by_its_name() {
        let bad = quality(StatusCode::BadSensorFailure).unwrap_err();
        assert!(bad.to_string().contains("BadSensorFailure"), "{bad}");
        match quality(StatusCode::UncertainLastUsableValue).unwrap() {
            Quality::Uncertain(why) => assert!(why.contains("UncertainLastUsableValue"), "{why}"),
            Quality::Good => panic!("good"),
        }
        assert_eq!(quality(StatusCode::Good), Ok(Quality::Good));
        let overflow = StatusCode::Good.set_overflow(true);
        assert!(matches!(quality(overflow), Ok(Quality::Uncertain(_))));
        assert_eq!(told(StatusCode::from(0x8FFF_0000)), "status 0x8FFF0000");
        // A severity that there is not is bad.
        assert!(quality(StatusCode::from(0xC000_0000)).is_err());
    }
}
