//! What a device said, as the entry of a leaf.

use stencil_protocol::id::{Boot, DeviceId, Seq};
use stencil_protocol::sample::{OwnedSample, Sample, Value};

use crate::{Hash, array, tree};

const TAG: &str = "stencil-reading-1";

/// One measurement of a device, with the number that the device gave it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Who measured.
    pub device: DeviceId,
    /// In which boot.
    pub boot: Boot,
    /// Its number in the boot.
    pub seq: Seq,
    /// What was measured, when, in which unit.
    pub sample: OwnedSample,
}

impl Reading {
    /// What is hashed.
    #[must_use]
    pub fn entry(&self) -> Vec<u8> {
        entry(&self.device, self.boot, self.seq, &self.sample.as_ref())
    }

    /// Its leaf.
    #[must_use]
    pub fn leaf(&self) -> Hash {
        tree::leaf(&self.entry())
    }

    /// The leaf of what a batch holds.
    #[must_use]
    pub fn leaf_of(device: &DeviceId, boot: Boot, seq: Seq, sample: &Sample<'_>) -> Hash {
        tree::leaf(&entry(device, boot, seq, sample))
    }
}

fn entry(device: &DeviceId, boot: Boot, seq: Seq, sample: &Sample<'_>) -> Vec<u8> {
    array(|e| {
        e.array(8)?
            .str(TAG)?
            .str(device.as_str())?
            .u32(boot.0)?
            .u64(seq.0)?
            .str(sample.name)?
            .i64(sample.time_us)?;
        match sample.value {
            Value::Bool(bit) => e.bool(bit)?,
            Value::Integer(integer) => e.i64(integer)?,
            Value::Number(number) => e.f64(number)?,
            Value::Text(text) => e.str(text)?,
        };
        match sample.unit {
            Some(unit) => e.str(unit)?,
            None => e.null()?,
        };
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use stencil_protocol::sample::OwnedValue;

    use super::*;

    fn reading(value: OwnedValue) -> Reading {
        Reading {
            device: DeviceId::parse("freezer-07").unwrap(),
            boot: Boot(7),
            seq: Seq(1),
            sample: OwnedSample {
                name: "temperature".to_owned(),
                value,
                unit: Some("degC".to_owned()),
                time_us: 1_700_000_000_000_000,
            },
        }
    }

    /// Others hash this, too: it does not change.
    #[test]
    fn the_form_is_fixed() {
        let reading = reading(OwnedValue::Number(-17.5));
        let entry = [
            "88717374656e63696c2d72656164696e672d31", // [8, "stencil-reading-1"
            "6a667265657a65722d3037",                 // "freezer-07"
            "0701",
            "6b74656d7065726174757265", // "temperature"
            "1b00060a24181e4000",
            "fbc031800000000000",
            "6464656743", // "degC"
        ];
        assert_eq!(hex::encode(reading.entry()), entry.concat());
    }

    #[test]
    fn values_of_other_types_or_bits_are_other_leaves() {
        let values = [
            OwnedValue::Number(1.0),
            OwnedValue::Integer(1),
            OwnedValue::Bool(true),
            OwnedValue::Text("1".to_owned()),
            OwnedValue::Number(0.0),
            OwnedValue::Number(-0.0),
        ];
        let mut leaves: Vec<Hash> = values.into_iter().map(|it| reading(it).leaf()).collect();
        leaves.sort_unstable();
        leaves.dedup();
        assert_eq!(leaves.len(), 6);
    }
}
